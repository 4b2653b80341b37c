//! `cargo xtask shim`: the Java part of the shim, as the file that `app_process` runs.
//!
//! In: `android-shim/java`; Debian's `dx` and Android's class stubs (API 23, bullseye, the last suite
//! that has both), fetched and checked by apt in a folder of its own. Out: `target/shim/shim.jar`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cross::{
        apt::{Archive, Index, unpacked},
        cache::{self, Cache, told},
        target_folder, workspace,
    },
    prerequisites,
    steps::{Outcome, run_command},
};

/// The suite that has both packages.
const SUITE: &str = "bullseye";
/// The packages, and the file of each that is used.
const DX: (&str, &str) = ("dalvik-exchange", "usr/share/java/com.android.dx.jar");
const STUBS: (&str, &str) = (
    "libandroid-23-java",
    "usr/share/java/com.android.android-23.jar",
);
/// The oldest Android that runs it (8.0): the first whose dex has what `javac` makes of lambdas.
const API_MIN: u32 = 26;

/// Builds it.
pub fn build() -> Outcome {
    prerequisites::programs(&[("javac", "default-jdk-headless")])?;
    let cache = Cache::open()?;
    let (dx, stubs) = (piece(&cache, DX)?, piece(&cache, STUBS)?);
    let out = target_folder().join("shim");
    cache::remove(&out)?;
    let classes = out.join("classes");
    cache::create(&classes)?;
    let mut javac = Command::new("javac");
    javac.args([
        "--release",
        "8",
        "-Xlint:all,-options,-deprecation",
        "-Werror",
    ]);
    javac.arg("-cp").arg(&stubs).arg("-d").arg(&classes);
    run_command(javac.args(sources()?))?;
    let jar = out.join("shim.jar");
    let mut dex = Command::new("java");
    dex.arg("-cp").arg(&dx).arg("com.android.dx.command.Main");
    dex.args(["--dex", &format!("--min-sdk-version={API_MIN}")]);
    dex.arg(format!("--output={}", jar.display()));
    run_command(dex.arg(&classes))?;
    let bytes = fs::metadata(&jar).map_err(|error| told("read", &jar, &error))?;
    println!("{}: {} bytes", jar.display(), bytes.len());
    Ok(())
}

/// A file of a package.
fn piece(cache: &Cache, (package, file): (&str, &str)) -> Result<PathBuf, String> {
    let path = cache.path(&unpacked(package)).join(file);
    if !path.exists() {
        let archive = Archive::of_this_machine()?;
        let index = Index::fetch(&archive, SUITE, cache)?;
        let version = index
            .version(package, |_| true)?
            .ok_or_else(|| format!("{SUITE} has no {package}"))?;
        index.unpack(package, &version, cache)?;
    }
    Ok(path)
}

fn sources() -> Result<Vec<PathBuf>, String> {
    let folder: PathBuf = workspace().join("android-shim/java/org/sakshi");
    let entries = fs::read_dir(&folder).map_err(|error| told("read", &folder, &error))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| Path::extension(file).is_some_and(|extension| extension == "java"));
    files.sort();
    Ok(files)
}
