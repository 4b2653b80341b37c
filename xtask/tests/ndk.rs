//! `cargo xtask cross`, given a folder that looks like an NDK, calls cargo-ndk: seen from outside.
//!
//! In: the program, with a cargo and a rustc that only write down what they are asked. Out: the
//! words. That a build comes out of it is shown by `cargo xtask cross --stand-in`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const CLANG: &str = "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin/clang";
/// Where rustup would put Android's standard library.
const STD: &str = "rust/lib/rustlib/aarch64-linux-android/lib/libstd-0123456789abcdef.rlib";
const RUSTC: &str = "#!/bin/sh
case \"$1\" in
-vV) printf 'release: 1.95.0\\ncommit-hash: 59807616e1fa\\nhost: x86_64-unknown-linux-gnu\\n' ;;
*) echo \"$FAKE/rust\" ;;
esac
";
const CARGO: &str = "#!/bin/sh
echo \"$ANDROID_NDK_HOME: $*\" >>\"$FAKE/log\"
";

/// An empty folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let place = format!("sakshi-xtask-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(place);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("executable");
}

/// Runs the program in a folder with the stand-ins; the words that cargo was called with.
fn cross(folder: &Path, kit: &str) -> (Output, String) {
    file(&folder.join("bin/rustc"), RUSTC);
    file(&folder.join("bin/cargo"), CARGO);
    file(&folder.join(STD), "");
    file(&folder.join(CLANG), "");
    file(
        &folder.join("ndk/source.properties"),
        "Pkg.Revision = 26.3.11579264\n",
    );
    let mut program = Command::new(env!("CARGO_BIN_EXE_xtask"));
    program.args(["cross", "android"]);
    program.env("FAKE", folder);
    program.env(
        "PATH",
        format!("{}:/usr/bin:/bin", folder.join("bin").display()),
    );
    program.env("XDG_CACHE_HOME", folder.join("cache"));
    program.env("CARGO_TARGET_DIR", folder.join("target"));
    program.env("ANDROID_NDK_HOME", folder.join(kit));
    let output = program.output().expect("runs");
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    (output, log)
}

#[test]
fn a_kit_is_used_and_what_comes_out_is_looked_at() {
    let folder = folder("kit");
    let (output, log) = cross(&folder, "ndk");
    let kit = folder.join("ndk");
    let start = format!(
        "{}: ndk -t arm64-v8a --platform 24 build --locked --profile phone",
        kit.display()
    );
    let builds: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" build "))
        .collect();
    assert_eq!(builds.len(), 1, "{log}");
    assert!(builds[0].starts_with(&start), "{log}");
    for package in ["-p sakshi", "-p sakshi-android-shim"] {
        assert!(builds[0].contains(package), "{log}");
    }
    // The stand-in built nothing: the inspection says so, rather than that all is well.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    let product = folder.join("target/aarch64-linux-android/phone/sakshi");
    assert!(told.contains(&product.display().to_string()), "{told}");
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn what_is_no_kit_is_told_and_nothing_is_built() {
    let folder = folder("none");
    let (output, log) = cross(&folder, "no-such-ndk");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("is not an NDK"), "{told}");
    assert!(!log.contains(" build "), "{log}");
    fs::remove_dir_all(&folder).expect("removed");
}
