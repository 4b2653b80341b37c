//! What cargo builds with: a standard library, a C compiler (for SQLite), a linker.
//!
//! In: a target, the NDK if there is one, what rustup installed. Out: the words and the environment
//! for cargo. What has to be fetched or built for it is done here, a step at a time.

mod stubs;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    apt::{Archive, Index, unpacked},
    cache::Cache,
    ndk::Ndk,
    paths,
    sysroot::{self, Compiler, Purpose},
    target::Target,
};
use crate::{
    prerequisites::{self, in_path},
    steps::{Outcome, Report},
};

/// Android's API level that we build for: 7.0, the lowest whose functions we use.
pub const API: &str = "24";
/// Packages whose headers SQLite is compiled with.
const HEADERS: [&str; 2] = ["musl-dev", "linux-libc-dev"];
/// Programs that are used without an NDK, and their packages.
const PROGRAMS: [(&str, &str); 3] = [
    ("clang", "clang"),
    ("llvm-ar", "llvm"),
    ("dpkg-deb", "dpkg"),
];
/// The C compiler for musl, by its usual name.
const MUSL_GCC: &str = "aarch64-linux-musl-gcc";
/// The variable that names another.
const MUSL_CC: &str = "CC_aarch64_unknown_linux_musl";

/// Who compiles C and links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linking {
    /// Google's kit, through cargo-ndk.
    Ndk(Ndk),
    /// A C compiler for musl that is here, and the C library that rustup brought.
    Rustup,
    /// clang and packages of Debian.
    Debian,
}

/// A toolchain, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    target: Target,
    linking: Linking,
    /// The standard library that we built; none where rustup's is used.
    sysroot: Option<PathBuf>,
    /// What is built with it.
    purpose: Purpose,
    /// Whether we built it in this run.
    std_is_new: bool,
    lld: PathBuf,
    cache: PathBuf,
}

/// Gets everything that a target needs, a step at a time.
pub fn prepare(
    target: Target,
    ndk: Option<&Ndk>,
    cache: &Cache,
    report: &mut Report,
) -> Result<Toolchain, String> {
    prepare_for(Purpose::Phone, target, ndk, cache, report)
}

/// Gets everything that unit tests on the phone's processor need: the same toolchain as for the
/// static program, with a standard library that has the crate `test`.
pub fn prepare_tests(cache: &Cache, report: &mut Report) -> Result<Toolchain, String> {
    prepare_for(Purpose::Tests, Target::Musl, None, cache, report)
}

fn prepare_for(
    purpose: Purpose,
    target: Target,
    ndk: Option<&Ndk>,
    cache: &Cache,
    report: &mut Report,
) -> Result<Toolchain, String> {
    let compiler = Compiler::here()?;
    let has_std = compiler.has_std(target);
    let has_cc = std::env::var_os(MUSL_CC).is_some() || in_path(MUSL_GCC).is_some();
    let linking = choose(target, ndk, has_std, has_cc);
    match linking {
        Linking::Ndk(_) => report.step("cargo-ndk", || prerequisites::cargo_tool("ndk"))?,
        Linking::Rustup => {}
        Linking::Debian => debian(&compiler, cache, report)?,
    }
    let mut toolchain = Toolchain {
        target,
        linking,
        sysroot: None,
        purpose,
        std_is_new: false,
        lld: compiler.lld(),
        cache: cache.root().to_owned(),
    };
    if !has_std {
        toolchain.std_is_new = !cache.has(&compiler.sysroot(target, purpose));
        if toolchain.std_is_new {
            report.step("source of the standard library", || {
                sysroot::fetch_source(&compiler, cache)
            })?;
        }
        report.step(target.making_std(), || {
            toolchain.sysroot = Some(sysroot::build(target, purpose, &compiler, cache)?);
            Ok(())
        })?;
    }
    Ok(toolchain)
}

/// Who links: the NDK for Android where there is one; for musl what is complete without Debian.
fn choose(target: Target, ndk: Option<&Ndk>, has_std: bool, has_musl_cc: bool) -> Linking {
    match (target, ndk) {
        (Target::Android, Some(ndk)) => Linking::Ndk(ndk.clone()),
        (Target::Musl, _) if has_std && has_musl_cc => Linking::Rustup,
        _ => Linking::Debian,
    }
}

/// Gets what is needed where there is no NDK.
fn debian(compiler: &Compiler, cache: &Cache, report: &mut Report) -> Outcome {
    report.step("programs", || prerequisites::programs(&PROGRAMS))?;
    report.step("headers", || headers(cache))?;
    report.step("stubs", || stubs::make(&compiler.lld(), cache))
}

/// Gets the headers, of the suite that this machine runs.
fn headers(cache: &Cache) -> Outcome {
    let missing: Vec<_> = HEADERS
        .into_iter()
        .filter(|package| !cache.has(&unpacked(package)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let archive = Archive::of_this_machine()?;
    let index = Index::fetch(&archive, &archive.suite, cache)?;
    for package in missing {
        let version = index
            .version(package, |_| true)?
            .ok_or_else(|| format!("{} has no package {package} for arm64", archive.suite))?;
        index.unpack(package, &version, cache)?;
    }
    Ok(())
}

impl Toolchain {
    /// Whether the standard library was built in this run.
    pub fn std_is_new(&self) -> bool {
        self.std_is_new
    }

    /// Rust's own linker.
    pub fn lld(&self) -> &Path {
        &self.lld
    }

    /// What is used, for the reader.
    pub fn describe(&self) -> String {
        let std = match &self.sysroot {
            Some(_) => "a standard library built from Debian's rust-src",
            None => "rustup's standard library",
        };
        let linking = match &self.linking {
            Linking::Ndk(ndk) => format!("the NDK {} ({})", ndk.version, ndk.folder.display()),
            Linking::Rustup => "rustup's musl and a C compiler for it".to_owned(),
            Linking::Debian => "clang, rust-lld and packages of Debian".to_owned(),
        };
        format!("with {std}, {linking}")
    }

    /// Words that come before `build`.
    pub fn cargo_words(&self) -> &'static [&'static str] {
        match self.linking {
            Linking::Ndk(_) => &["ndk", "-t", "arm64-v8a", "--platform", API],
            Linking::Rustup | Linking::Debian => &[],
        }
    }

    /// Words that come after `build`: cargo-ndk says the target itself.
    pub fn target_words(&self) -> Vec<&'static str> {
        match self.linking {
            Linking::Ndk(_) => Vec::new(),
            Linking::Rustup | Linking::Debian => vec!["--target", self.target.triple()],
        }
    }

    /// Flags for rustc, as `CARGO_ENCODED_RUSTFLAGS` wants them.
    pub fn rustflags(&self) -> OsString {
        let mut flags = paths::neutral(&self.cache);
        if self.purpose == Purpose::Phone {
            flags.push(sysroot::NO_UNWIND_TABLES.into());
            flags.extend(self.smaller().map(OsString::from));
        }
        flags.extend(self.own_flags());
        paths::encoded(&flags)
    }

    /// What makes the linker write less: functions that are the same are one (no code of ours
    /// compares their addresses), and Android's relocations are packed, as its loader has read them
    /// since API 23.
    fn smaller(&self) -> impl Iterator<Item = String> {
        // The NDK's linker is called by a compiler.
        let through = match self.linking {
            Linking::Ndk(_) => "-Wl,",
            Linking::Rustup | Linking::Debian => "",
        };
        let packed = (self.target == Target::Android).then_some("--pack-dyn-relocs=android");
        ["--icf=all"]
            .into_iter()
            .chain(packed)
            .map(move |word| format!("-Clink-arg={through}{word}"))
    }

    /// Flags that say what to link with.
    fn own_flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        if let Some(sysroot) = &self.sysroot {
            flags.extend(["--sysroot".into(), sysroot.into()]);
        }
        if (self.target, &self.linking) == (Target::Musl, &Linking::Debian) {
            // The start files and the C library are Debian's.
            flags.push("-Clink-self-contained=no".into());
        }
        flags
    }

    /// Gives cargo, which is to be started, what it builds with.
    pub fn equip(&self, cargo: &mut Command) {
        // What is set for the host's builds is not meant for the phone's.
        cargo.env_remove("RUSTFLAGS");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags());
        cargo.envs(self.environment());
    }

    /// Variables that tell cargo and the crate `cc` what to use.
    pub fn environment(&self) -> Vec<(String, OsString)> {
        let underscored = self.target.triple().replace('-', "_");
        let linker = format!("CARGO_TARGET_{}_LINKER", underscored.to_uppercase());
        match &self.linking {
            Linking::Ndk(ndk) => vec![("ANDROID_NDK_HOME".to_owned(), ndk.folder.clone().into())],
            Linking::Rustup => vec![(linker, self.lld.clone().into())],
            Linking::Debian => {
                let name = match self.target {
                    Target::Musl => "musl",
                    Target::Android => "android",
                };
                let script = |what: &str| super::scripts().join(format!("{name}-{what}")).into();
                vec![
                    (format!("CC_{underscored}"), script("cc")),
                    (format!("AR_{underscored}"), "llvm-ar".into()),
                    (linker, script("ld")),
                    ("SAKSHI_CROSS_CACHE".to_owned(), self.cache.clone().into()),
                    ("SAKSHI_CROSS_LLD".to_owned(), self.lld.clone().into()),
                ]
            }
        }
    }
}

#[cfg(test)]
impl Toolchain {
    /// What would be used where rustup installed nothing.
    pub fn for_test(target: Target, ndk: Option<&Ndk>) -> Self {
        Self {
            target,
            linking: choose(target, ndk, false, false),
            sysroot: Some("/cache/sysroot".into()),
            purpose: Purpose::Phone,
            std_is_new: false,
            lld: "/rust/rust-lld".into(),
            cache: "/cache".into(),
        }
    }
}

#[cfg(test)]
mod tests;
