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
mod emulated;
mod inspection;
mod ndk;
mod paths;
mod stand_in;
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
use target::{Kind, Product, Target};
use toolchain::Toolchain;

/// The profile of `Cargo.toml` that the phone's files are built with.
const PROFILE: &str = "phone";

/// The option that also runs the static program.
const COMPARE: &str = "--compare";

/// The options that do something else instead, and go alone.
const TESTS: &str = "--tests";
/// Follows it: the slow tests too.
const ALL: &str = "--all";
const STAND_IN: &str = "--stand-in";
/// The word that means, of Android's files, only the one that is built in seconds.
const SHIM: &str = "shim";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    targets: Vec<Target>,
    only_shim: bool,
    compares: bool,
}

impl Wish {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let (options, names): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.starts_with('-'));
        if let Some(unknown) = options.iter().find(|option| **option != COMPARE) {
            return Err(format!(
                "unknown option `{unknown}`; expected {COMPARE}, or alone {TESTS} or {STAND_IN}"
            ));
        }
        let only_shim = names == [SHIM];
        let targets = if only_shim {
            vec![Target::Android]
        } else {
            Target::parse(&names)?
        };
        Ok(Self {
            targets,
            only_shim,
            compares: !options.is_empty(),
        })
    }

    /// The files of a target that are asked for.
    fn products(&self, target: Target) -> Vec<Product> {
        let all = target.products().iter().copied();
        all.filter(|product| !self.only_shim || product.kind == Kind::AndroidLibrary)
            .collect()
    }
}

/// Builds for the given targets, for all when none is given; or shows that they can be built.
pub fn run(words: &[&str]) -> Outcome {
    let mut report = Report::default();
    match words {
        [TESTS] => emulated_tests(&mut report)?,
        [TESTS, ALL] => emulated::run(emulated::Scope::All, &mut report)?,
        [STAND_IN] => stand_in_ndk(&mut report)?,
        _ => return build_all(&Wish::parse(words)?, &mut report),
    }
    report.print();
    Ok(())
}

/// The unit tests, on an emulated arm64.
pub fn emulated_tests(report: &mut Report) -> Outcome {
    emulated::run(emulated::Scope::Unit, report)
}

/// The shim, built with a folder that looks like an NDK.
pub fn stand_in_ndk(report: &mut Report) -> Outcome {
    stand_in::run(report)
}

fn build_all(wish: &Wish, report: &mut Report) -> Outcome {
    let cache = Cache::open()?;
    println!("cache: {}", cache.root().display());
    let ndk = Ndk::find(|name| std::env::var_os(name))?;
    let mut lines = Vec::new();
    for target in wish.targets.iter().copied() {
        let products = wish.products(target);
        let toolchain = toolchain::prepare(target, ndk.as_ref(), &cache, report)?;
        report.step(target.building(), || build(target, &products, &toolchain))?;
        report.step(target.checking(), || {
            lines.extend(inspection::inspect(
                target,
                &products,
                &output_folder(target),
            )?);
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
fn build(target: Target, products: &[Product], toolchain: &Toolchain) -> Outcome {
    println!("{}", toolchain.describe());
    if toolchain.std_is_new() {
        // Cargo does not see that the standard library is another one.
        cache::remove(&target_folder().join(target.triple()))?;
    }
    run_command(&mut build_command(products, toolchain))
}

/// The command that builds files of a target.
fn build_command(products: &[Product], toolchain: &Toolchain) -> Command {
    let mut cargo = cargo(toolchain, PROFILE);
    for product in products {
        cargo.args(["-p", product.package]);
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
    toolchain.equip(&mut cargo);
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
