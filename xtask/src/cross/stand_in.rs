//! Shows that the command uses an NDK where one is given, with a folder that looks like one.
//!
//! In: the stubs and scripts that are used where there is no NDK. Out: the shim, built by the same
//! command through cargo-ndk, and passed by the same inspection; an error when something else was
//! used. The folder has what cargo-ndk asks for: `source.properties` and clang under its place in
//! the kit. What Google's own clang does differently is not shown.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use super::{
    PROFILE,
    cache::{self, Cache, told},
    scripts,
    target::Target,
    target_folder, toolchain, workspace,
};
use crate::{
    prerequisites,
    steps::{Outcome, Report, run_command},
};

/// Where cargo-ndk looks for programs in a kit, whatever processor it runs on.
const PROGRAMS: &str = "toolchains/llvm/prebuilt/linux-x86_64/bin";
/// Lines of a kit's `source.properties`.
const PROPERTIES: &str = "Pkg.Desc = Android NDK\nPkg.Revision = 26.3.11579264\n";
/// Where the stand-in for clang writes down what it links.
const LOG: &str = "linked";
/// Where cargo puts what it builds with the kit, in the kit's folder.
const TARGET: &str = "target";
/// What is built.
const PACKAGE: &str = "sakshi-android-shim";
/// What has to be linked.
const LIBRARY: &str = "libsakshi_android_shim.so";

/// Builds with the stand-in; what is missing for it fails where CI is set, else it is a line.
pub fn run(report: &mut Report) -> Outcome {
    let kit = target_folder().join("stand-in-ndk");
    match prepare(&kit, report) {
        Ok(()) => report.step("build with a stand-in for the NDK", || build(&kit)),
        Err(reason) => {
            prerequisites::absent(&format!("no build with a stand-in for the NDK: {reason}"))
        }
    }
}

/// Makes the stand-in. Nobody holds the cache when it is made.
fn prepare(kit: &Path, report: &mut Report) -> Outcome {
    let cache = Cache::open()?;
    let toolchain = toolchain::prepare(Target::Android, None, &cache, report)?;
    if toolchain.std_is_new() {
        // Cargo does not see that the standard library is another one, and the run that uses it
        // finds it made.
        for folder in [target_folder(), kit.join(TARGET)] {
            cache::remove(&folder.join(Target::Android.triple()))?;
        }
    }
    prerequisites::cargo_tool("ndk")?;
    make(kit, cache.root(), toolchain.lld())
}

/// Runs this very program with the stand-in as its NDK.
fn build(kit: &Path) -> Outcome {
    let me = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let folder = kit.join(TARGET);
    let mut command = Command::new(me);
    command.args(["cross", "shim"]);
    command.env("ANDROID_NDK_HOME", kit);
    command.env("CARGO_TARGET_DIR", &folder);
    // Linked anew each time: cargo does not see that the kit is another one.
    let mut clean = Command::new("cargo");
    clean.args(["clean", "--quiet", "-p", PACKAGE, "--profile", PROFILE]);
    clean.args(["--target", Target::Android.triple(), "--target-dir"]);
    run_command(clean.arg(&folder).current_dir(workspace()))?;
    run_command(&mut command)?;
    let log = kit.join(LOG);
    let linked = fs::read_to_string(&log).map_err(|error| told("read", &log, &error))?;
    if linked.lines().any(|line| line.contains(LIBRARY)) {
        println!("the clang of {} linked {LIBRARY}", kit.display());
        return Ok(());
    }
    Err(format!(
        "ANDROID_NDK_HOME={} was given, but its clang did not link {LIBRARY}",
        kit.display()
    ))
}

/// Makes a folder that looks like a kit.
fn make(kit: &Path, cache: &Path, lld: &Path) -> Outcome {
    let programs = kit.join(PROGRAMS);
    cache::remove(&kit.join("toolchains"))?;
    cache::create(&programs)?;
    cache::write(&kit.join("source.properties"), PROPERTIES)?;
    cache::write(&kit.join(LOG), "")?;
    for name in ["clang", "clang++"] {
        program(&programs.join(name), &clang(kit, cache, lld))?;
    }
    for name in ["llvm-ar", "llvm-ranlib"] {
        program(
            &programs.join(name),
            &format!("#!/bin/sh\nexec {name} \"$@\"\n"),
        )?;
    }
    Ok(())
}

/// A clang that knows where the kit's libraries are, as a script.
fn clang(kit: &Path, cache: &Path, lld: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         export SAKSHI_CROSS_CACHE={}\n\
         export SAKSHI_CROSS_LLD={}\n\
         export SAKSHI_CROSS_LOG={}\n\
         exec {} \"$@\"\n",
        quoted(cache),
        quoted(lld),
        quoted(&kit.join(LOG)),
        quoted(&scripts().join("ndk-clang")),
    )
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

fn program(file: &Path, text: &str) -> Outcome {
    cache::write(file, text)?;
    fs::set_permissions(file, Permissions::from_mode(0o755))
        .map_err(|error| told("make executable", file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cross::ndk::Ndk;

    #[test]
    fn what_is_made_is_taken_for_a_kit() {
        let kit = std::env::temp_dir().join(format!("sakshi-stand-in-{}", std::process::id()));
        make(&kit, Path::new("/a cache"), Path::new("/rust/rust-lld")).expect("made");
        let named = kit.clone().into_os_string();
        let found = Ndk::find(|name| (name == "ANDROID_NDK_HOME").then(|| named.clone()));
        let clang = fs::read_to_string(kit.join(PROGRAMS).join("clang")).expect("a script");
        fs::remove_dir_all(&kit).expect("removed");
        assert_eq!(found.expect("a kit").expect("one").version, "26.3.11579264");
        assert!(clang.contains("SAKSHI_CROSS_CACHE='/a cache'\n"), "{clang}");
        assert!(
            scripts().join("ndk-clang").is_file(),
            "what it calls is there"
        );
    }

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        assert_eq!(quoted(Path::new("/a b")), "'/a b'");
        assert_eq!(quoted(Path::new("/it's")), "'/it'\\''s'");
    }
}
