//! Rust's standard library for a target: rustup's where it is installed, else built from source.
//!
//! In: the compiler that is here. Out: the folder that rustc takes as `--sysroot`. The source is
//! Debian's package of exactly the compiler's version. It is built once for each target, outside
//! the checkout and outside rustup's folders; after that, builds are those of stable cargo.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    apt::{Archive, Index, is_upstream, unpacked},
    cache::{self, Cache, told},
    paths,
    target::Target,
};
use crate::steps::{Outcome, output, run_command};

/// Suites that follow Rust's releases, the smaller index first.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];
/// The package with the source.
const PACKAGE: &str = "rust-src";

/// Leaves out the tables with which a stack is walked: where a panic ends the process nothing reads
/// them (`xtask/cross/no-unwinder.c` stands where the walker would).
pub const NO_UNWIND_TABLES: &str = "-Cforce-unwind-tables=no";

/// What a standard library is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The phone's files, in which a panic ends the process.
    Phone,
    /// Unit tests, which want the crate `test`; rustc builds them for panics that unwind only.
    Tests,
}

impl Purpose {
    /// The crates that are built.
    fn crates(self) -> &'static str {
        match self {
            Self::Phone => "-Zbuild-std=std,panic_abort,panic_unwind",
            Self::Tests => "-Zbuild-std=std,panic_unwind,test",
        }
    }

    /// Cargo's profile, as lines of a `Cargo.toml`. Nobody waits for tests, but for their build.
    fn profile(self) -> &'static str {
        match self {
            Self::Phone => "panic = \"abort\"",
            Self::Tests => "panic = \"unwind\"\nopt-level = 1",
        }
    }

    /// Ends the name of the piece of the cache.
    fn suffix(self) -> &'static str {
        match self {
            Self::Phone => "-small",
            Self::Tests => "-tests",
        }
    }
}

/// The compiler that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// Such as `1.95.0`.
    version: String,
    /// The first digits of its commit, which tell builds of one version apart.
    commit: String,
    /// The target that it runs on.
    host: String,
    /// Where it is installed.
    folder: PathBuf,
}

impl Compiler {
    /// Asks rustc.
    pub fn here() -> Result<Self, String> {
        let answer = output(Command::new("rustc").arg("-vV"))?;
        let folder = output(Command::new("rustc").args(["--print", "sysroot"]))?;
        Self::parse(&answer, Path::new(folder.trim()))
            .ok_or_else(|| format!("rustc -vV gave no release, commit and host, but: {answer}"))
    }

    fn parse(answer: &str, folder: &Path) -> Option<Self> {
        let value = |key: &str| {
            answer
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(found, _)| *found == key)
                .map(|(_, value)| value.trim().to_owned())
        };
        Some(Self {
            version: value("release")?,
            commit: value("commit-hash")?.chars().take(9).collect(),
            host: value("host")?,
            folder: folder.to_owned(),
        })
    }

    /// The linker that comes with it.
    pub fn lld(&self) -> PathBuf {
        self.libraries(&self.host).join("bin").join("rust-lld")
    }

    /// Whether the standard library for a target is installed.
    pub fn has_std(&self, target: Target) -> bool {
        let libraries = self.libraries(target.triple()).join("lib");
        fs::read_dir(libraries).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
        })
    }

    fn libraries(&self, triple: &str) -> PathBuf {
        libraries(&self.folder, triple)
    }

    /// The piece of the cache with the standard library for a target.
    pub fn sysroot(&self, target: Target, purpose: Purpose) -> String {
        format!(
            "sysroot-{}-{}-{}{}",
            self.version,
            self.commit,
            target.triple(),
            purpose.suffix()
        )
    }
}

/// Where a sysroot keeps what belongs to a target.
fn libraries(sysroot: &Path, triple: &str) -> PathBuf {
    sysroot.join("lib").join("rustlib").join(triple)
}

/// Fetches the source of the compiler's standard library.
pub fn fetch_source(compiler: &Compiler, cache: &Cache) -> Outcome {
    if source(compiler, cache).is_dir() {
        return Ok(());
    }
    // What is there is of another version.
    cache::remove(&cache.path(&unpacked(PACKAGE)))?;
    let archive = Archive::of_this_machine()?;
    for suite in SUITES {
        let index = Index::fetch(&archive, suite, cache)?;
        let wanted = |version: &str| is_upstream(version, &compiler.version);
        if let Some(version) = index.version(PACKAGE, wanted)? {
            return index.unpack(PACKAGE, &version, cache);
        }
    }
    Err(format!(
        "no {PACKAGE} {} in {}: `rustup target add` the targets, or use a Rust version that Debian has",
        compiler.version,
        SUITES.join(" or ")
    ))
}

fn source(compiler: &Compiler, cache: &Cache) -> PathBuf {
    let release = format!("rustc-{}", compiler.version);
    let folder = cache.path(&unpacked(PACKAGE));
    folder.join("usr/src").join(release).join("library")
}

/// Builds the standard library for a target into a sysroot.
pub fn build(
    target: Target,
    purpose: Purpose,
    compiler: &Compiler,
    cache: &Cache,
) -> Result<PathBuf, String> {
    let name = compiler.sysroot(target, purpose);
    // Of its own for each sysroot, so that cargo goes on after an interruption.
    let project = cache.path(&format!("{name}.build"));
    let sysroot = cache.piece(&name, |sysroot| {
        write_project(purpose, &project)?;
        run_command(&mut build_command(
            (target, purpose),
            &source(compiler, cache),
            &project,
            paths::neutral(cache.root()),
        ))?;
        let output = project.join("target").join(target.triple());
        let place = libraries(sysroot, target.triple()).join("lib");
        cache::create(&place)?;
        copy_libraries(&output.join("release").join("deps"), &place)
    })?;
    cache::remove(&project)?;
    Ok(sysroot)
}

/// The command that builds it, in a project that depends on nothing else.
fn build_command(
    (target, purpose): (Target, Purpose),
    source: &Path,
    project: &Path,
    mut flags: Vec<OsString>,
) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", target.triple()]);
    cargo.arg(purpose.crates());
    cargo.arg("--target-dir").arg(project.join("target"));
    cargo.current_dir(project);
    // Building the standard library is not stable; it is done here only, and for it only.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", source);
    cargo.env_remove("RUSTFLAGS");
    if purpose == Purpose::Phone {
        // Without bitcode the link-time optimisation of what uses it fails.
        flags.push("-Cembed-bitcode=yes".into());
        flags.push(NO_UNWIND_TABLES.into());
        // Nor what reads debug information for a stack that nobody can walk.
        cargo.arg("-Zbuild-std-features=panic-unwind");
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", paths::encoded(&flags));
    cargo
}

fn write_project(purpose: Purpose, project: &Path) -> Outcome {
    cache::create(project)?;
    let profile = purpose.profile();
    cache::write(
        &project.join("Cargo.toml"),
        &format!(
            "[package]\nname = \"std-build\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [lib]\npath = \"lib.rs\"\n\n[profile.release]\n{profile}\n\n[workspace]\n"
        ),
    )?;
    cache::write(&project.join("lib.rs"), "")
}

/// Copies the libraries that make up a standard library.
fn copy_libraries(from: &Path, to: &Path) -> Outcome {
    let entries = fs::read_dir(from).map_err(|error| told("read", from, &error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default();
        let of_project = name.to_string_lossy().starts_with("libstd_build");
        let is_library = path
            .extension()
            .is_some_and(|extension| extension == "rlib" || extension == "rmeta");
        if is_library && !of_project {
            fs::copy(&path, to.join(name)).map_err(|error| told("copy", &path, &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const ANSWER: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    /// A compiler in a folder that is not there.
    pub fn compiler() -> Compiler {
        Compiler::parse(ANSWER, Path::new("/rust")).expect("a compiler")
    }

    #[test]
    fn reads_what_rustc_says_of_itself() {
        let compiler = compiler();
        assert_eq!(compiler.version, "1.95.0");
        let musl = "sysroot-1.95.0-59807616e-aarch64-unknown-linux-musl";
        assert_eq!(
            compiler.sysroot(Target::Musl, Purpose::Phone),
            format!("{musl}-small")
        );
        assert_eq!(
            compiler.sysroot(Target::Musl, Purpose::Tests),
            format!("{musl}-tests")
        );
        let lld = "/rust/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
        assert_eq!(compiler.lld(), Path::new(lld));
        assert!(!compiler.has_std(Target::Musl));
        assert_eq!(Compiler::parse("rustc 1.95.0\n", Path::new("/")), None);
    }

    #[test]
    fn sees_an_installed_standard_library() {
        let folder = std::env::temp_dir().join(format!("sakshi-std-{}", std::process::id()));
        let place = libraries(&folder, Target::Android.triple()).join("lib");
        fs::create_dir_all(&place).expect("a folder");
        let compiler = Compiler::parse(ANSWER, &folder).expect("a compiler");
        assert!(!compiler.has_std(Target::Android), "the folder is empty");
        fs::write(place.join("libstd-0123456789abcdef.rlib"), "").expect("a file");
        assert!(compiler.has_std(Target::Android));
        assert!(!compiler.has_std(Target::Musl));
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn copies_libraries_only() {
        let folder = std::env::temp_dir().join(format!("sakshi-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(&from).expect("a folder");
        fs::create_dir_all(&to).expect("a folder");
        for name in [
            "libcore-1.rlib",
            "libcore-1.rmeta",
            "core-1.d",
            "libstd_build-1.rlib",
        ] {
            fs::write(from.join(name), "").expect("a file");
        }
        copy_libraries(&from, &to).expect("copied");
        let mut copied: Vec<_> = fs::read_dir(&to)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        copied.sort();
        assert_eq!(copied, ["libcore-1.rlib", "libcore-1.rmeta"]);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
