//! `cargo xtask cross`: what runs on the phone, built and checked on this machine.
//!
//! In: the workspace; rustup's targets and an NDK where there are any, else packages of Debian.
//! Out: the phone's files under `target/`, their sizes, the number of crates in them; a failure
//! when a file is too big, is not what a phone can load, or wants a function that Android has not.
//! `docs/building.md` is for its readers.

mod allowed;
pub mod apt;
pub mod cache;
mod comparison;
pub mod elf;
mod inspection;
mod ndk;
mod paths;
mod sysroot;
mod target;
mod toolchain;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::steps::{Outcome, Report, run_command};
use cache::Cache;
use ndk::Ndk;
use target::Target;
use toolchain::Toolchain;

/// The profile of `Cargo.toml` that the phone's files are built with.
const PROFILE: &str = "phone";

/// The option that also runs the static program.
const COMPARE: &str = "--compare";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    targets: Vec<Target>,
    compares: bool,
}

impl Wish {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let (options, names): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.starts_with('-'));
        if let Some(unknown) = options.iter().find(|option| **option != COMPARE) {
            return Err(format!("unknown option `{unknown}`; expected {COMPARE}"));
        }
        Ok(Self {
            targets: Target::parse(&names)?,
            compares: !options.is_empty(),
        })
    }
}

/// Builds for the given targets, for all when none is given.
pub fn run(words: &[&str]) -> Outcome {
    let wish = Wish::parse(words)?;
    let cache = Cache::open()?;
    println!("cache: {}", cache.root().display());
    let ndk = Ndk::find(|name| std::env::var_os(name))?;
    let mut report = Report::default();
    let mut lines = Vec::new();
    for target in wish.targets {
        let toolchain = toolchain::prepare(target, ndk.as_ref(), &cache, &mut report)?;
        report.step(target.building(), || build(target, &toolchain))?;
        report.step(target.checking(), || {
            lines.extend(inspection::inspect(target, &output_folder(target))?);
            Ok(())
        })?;
        if wish.compares && target == Target::Musl {
            report.step("run under an emulator, compare", || {
                comparison::compare(&output_folder(target).join("sakshi"))
            })?;
        }
    }
    report.print();
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// Builds programs of a package for the static target, with a profile of their own.
pub fn build_programs(
    cache: &Cache,
    package: &str,
    programs: &[&str],
    profile: &str,
) -> Result<PathBuf, String> {
    let mut report = Report::default();
    let toolchain = toolchain::prepare(Target::Musl, None, cache, &mut report)?;
    let mut cargo = cargo(&toolchain, profile);
    cargo.args(["-p", package]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    run_command(&mut cargo)?;
    Ok(target_folder().join(Target::Musl.triple()).join(profile))
}

/// The folder of the phone's static program.
pub fn static_program() -> PathBuf {
    output_folder(Target::Musl).join("sakshi")
}

/// Runs cargo, or cargo-ndk, as the toolchain says.
fn build(target: Target, toolchain: &Toolchain) -> Outcome {
    println!("{}", toolchain.describe());
    if toolchain.std_is_new() {
        // Cargo does not see that the standard library is another one.
        cache::remove(&target_folder().join(target.triple()))?;
    }
    run_command(&mut build_command(target, toolchain))
}

/// The command that builds for a target.
fn build_command(target: Target, toolchain: &Toolchain) -> Command {
    let mut cargo = cargo(toolchain, PROFILE);
    for package in target.packages() {
        cargo.args(["-p", package]);
    }
    cargo
}

/// The part of it that no package changes.
fn cargo(toolchain: &Toolchain, profile: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(toolchain.cargo_words());
    cargo.args(["build", "--locked", "--profile", profile]);
    cargo.args(["--no-default-features", "--target-dir"]);
    cargo.arg(target_folder()).args(toolchain.target_words());
    cargo.current_dir(workspace());
    // What is set for the host's builds is not meant for the phone's.
    cargo.env_remove("RUSTFLAGS");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", toolchain.rustflags());
    cargo.envs(toolchain.environment().iter().cloned());
    cargo
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The folder of the scripts and lists that this command uses.
fn scripts() -> PathBuf {
    workspace().join("xtask").join("cross")
}

/// Where cargo puts what it builds.
pub fn target_folder() -> PathBuf {
    let chosen: Option<OsString> = std::env::var_os("CARGO_TARGET_DIR");
    workspace().join(chosen.unwrap_or_else(|| "target".into()))
}

fn output_folder(target: Target) -> PathBuf {
    target_folder().join(target.triple()).join(PROFILE)
}

#[cfg(test)]
mod tests;
