//! `cargo xtask handset`: the phone's binary on a virtual handset, booted in an emulator.
//!
//! In: the workspace, packages of Debian for arm64. Out: `target/handset/` with a kernel, a first
//! file system and the programs, and what the program `virtual-handset` makes of them. What the
//! machine needs is installed; `docs/building.md` is for readers.

mod emulator;
mod modules;
mod root;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cross::{
        self,
        apt::{Archive, Index, unpacked},
        cache::{self, Cache, told},
    },
    prerequisites,
    steps::{Outcome, Report, run, run_command},
};

/// The metapackage that depends on the kernel of the suite: small, for virtual machines.
const KERNEL: &str = "linux-image-cloud-arm64";
/// What a kernel's own package begins with.
const KERNEL_PREFIX: &str = "linux-image-";
/// Packages of the handset's user space: a shell, the packet filter, network namespaces, and the
/// libraries that they want.
const PACKAGES: [&str; 19] = [
    "busybox-static",
    "iptables",
    "iproute2",
    "libc6",
    "libbpf1",
    "libbsd0",
    "libcap2",
    "libelf1",
    "libip4tc2",
    "libip6tc2",
    "libmd0",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libpcre2-8-0",
    "libselinux1",
    "libtirpc3",
    "libxtables12",
    "zlib1g",
];
/// Programs of this workspace that run on the handset beside the daemon.
const GUEST_PROGRAMS: [&str; 2] = ["vh-guest", "vh-app"];
/// The profile that they are built with.
const GUEST_PROFILE: &str = "guest";
/// Rule files that are pushed, and the names that they have there.
const RULES: [(&str, &str); 3] = [
    ("rules/sets/in-lab/set.toml", "in-lab.toml"),
    ("rules/sets/demo/set.toml", "demo.toml"),
    ("rules/sets/demo/sample-vendor.toml", "sample-vendor.toml"),
];

/// Power cuts of the test command: after the first it is cleaned up, after the second the next watch
/// begins as it is. More are a command of their own.
const POWER_CUTS: &str = "2";

/// Everything, and power cuts, as a part of the test command. Where the emulator is missing and
/// cannot be installed, a line says so; in CI that is a failure.
pub fn test() -> Outcome {
    if let Err(reason) = emulator::install() {
        return prerequisites::absent(&format!("{reason}: the virtual handset did not run"));
    }
    let mut report = Report::default();
    let folder = prepare(&mut report)?;
    boot(&mut report, &folder, &[])?;
    boot(&mut report, &folder, &["--power-cuts", POWER_CUTS])?;
    report.print();
    Ok(())
}

/// Builds everything, boots, and judges; `words` go to the program that does the latter two.
pub fn run_handset(words: &[&str]) -> Outcome {
    let mut report = Report::default();
    report.step("emulator", emulator::install)?;
    let folder = prepare(&mut report)?;
    boot(&mut report, &folder, words)?;
    report.print();
    Ok(())
}

/// Builds what is booted and what judges it; gives the folder.
fn prepare(report: &mut Report) -> Result<PathBuf, String> {
    report.step("the phone's program", || cross::run(&["musl"]))?;
    let folder = cross::target_folder().join("handset");
    let cache = Cache::open()?;
    report.step("packages of the handset", || fetch(&cache))?;
    report.step("programs of the handset", || {
        programs(&cache, &folder.join("data/local/tmp"))
    })?;
    report.step("first file system", || root::make(&cache, &folder))?;
    drop(cache);
    report.step("programs of this machine", || {
        run(
            "cargo",
            &[
                "build",
                "--quiet",
                "-p",
                "sakshi",
                "-p",
                "sakshi-tests",
                "--bins",
            ],
        )
    })?;
    Ok(folder)
}

/// Boots what was built.
fn boot(report: &mut Report, folder: &Path, words: &[&str]) -> Outcome {
    let me = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    report.step("virtual handset", || {
        let mut command = Command::new(me.with_file_name("virtual-handset"));
        run_command(command.arg(folder).args(words))
    })
}

/// Gets the packages that are not in the cache.
fn fetch(cache: &Cache) -> Outcome {
    let missing: Vec<&str> = PACKAGES
        .into_iter()
        .filter(|package| !cache.has(&unpacked(package)))
        .collect();
    if missing.is_empty() && kernel_package(cache).is_ok() {
        return Ok(());
    }
    let archive = Archive::of_this_machine()?;
    let index = Index::fetch(&archive, &archive.suite, cache)?;
    let absent = |package: &str| format!("{} has no package {package} for arm64", archive.suite);
    let get = |package: &str| {
        let version = index
            .version(package, |_| true)?
            .ok_or_else(|| absent(package))?;
        index.unpack(package, &version, cache)
    };
    for package in missing {
        get(package)?;
    }
    if kernel_package(cache).is_err() {
        let kernel = index.depends(KERNEL)?.ok_or_else(|| absent(KERNEL))?;
        get(&kernel)?;
    }
    Ok(())
}

/// The folder of the kernel's package: kernels change their package's name with each update.
fn kernel_package(cache: &Cache) -> Result<PathBuf, String> {
    let packages = cache.path("packages");
    let mut found: Vec<PathBuf> = fs::read_dir(&packages)
        .map_err(|error| told("read", &packages, &error))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(KERNEL_PREFIX) && !name.ends_with(".partial")
        })
        .collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| format!("no kernel in {}", packages.display()))
}

/// Puts what a technician pushes into a folder: the daemon, the apps, the rules.
fn programs(cache: &Cache, folder: &Path) -> Outcome {
    cache::create(folder)?;
    let built = cross::build_programs(cache, "sakshi-tests", &GUEST_PROGRAMS, GUEST_PROFILE)?;
    copy(&cross::static_program(), &folder.join("sakshi"))?;
    for program in GUEST_PROGRAMS {
        copy(&built.join(program), &folder.join(program))?;
    }
    for (from, to) in RULES {
        copy(&cross::workspace().join(from), &folder.join(to))?;
    }
    Ok(())
}

/// Copies a file, its permissions included.
fn copy(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| told("copy", from, &error))
}
