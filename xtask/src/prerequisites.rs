//! What the commands need on the machine, and how it gets there.
//!
//! In: the search path, the package managers. Out: installed tools, or a line that says what is
//! missing and what will not run for it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::steps::{Outcome, run};

/// Cargo's own tools: the subcommands, which the packages `cargo-…` bring.
const CARGO_TOOLS: [&str; 2] = ["nextest", "deny"];
/// Programs of the system: the program and its Debian package.
const SYSTEM_TOOLS: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    // Compiles the program that reads owners, to compare it with what is embedded.
    ("clang", "clang"),
];

/// Programs that judge our files in tests, which need not be root.
const JUDGES: [(&str, &str); 7] = [
    // Reaches the virtual handset as a technician would.
    ("adb", "adb"),
    // Loads the shim, as Android's Java would.
    ("javac", "default-jdk-headless"),
    // Reads segments and exports of packets.
    ("tshark", "tshark"),
    ("python3", "python3-venv"),
    // Reads what was written on paper.
    ("pdftotext", "poppler-utils"),
    // Makes the answers of a time stamping authority.
    ("openssl", "openssl"),
    // Opens an encrypted bundle.
    ("age", "age"),
];
/// What the tests' own Python has, with the versions that they were written for.
const PYTHON_PACKAGES: [&str; 1] = ["duckdb==2.0.1"];
/// Where it lies; its programs are below `bin`.
const PYTHON_HOME: &str = "target/python";
/// Written when it is whole, with the packages that it has.
const PYTHON_READY: &str = "target/python/sakshi-packages";

/// Whether a missing prerequisite fails.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Whether we run as root.
pub fn is_root() -> bool {
    // Without a dependency: the owner of our own entry in /proc is our effective UID.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Makes sure that cargo's tools are there; installs the missing ones.
pub fn cargo_tools() -> Outcome {
    for subcommand in CARGO_TOOLS {
        cargo_tool(subcommand)?;
    }
    Ok(())
}

/// Makes sure that one of cargo's tools is there.
pub fn cargo_tool(subcommand: &str) -> Outcome {
    if has_cargo_tool(subcommand) {
        return Ok(());
    }
    let package = format!("cargo-{subcommand}");
    println!("{package} is not here: installing it (this is done once)");
    run("cargo", &["install", "--locked", &package])
}

fn has_cargo_tool(subcommand: &str) -> bool {
    let mut probe = Command::new("cargo");
    probe.args([subcommand, "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Makes sure that what a virtual handset needs is there; installs it as root on Debian.
pub fn system_tools() -> Outcome {
    if !is_root() {
        return absent("not root: live tests do not run, the demo replays its capture");
    }
    let packages = missing_packages(&SYSTEM_TOOLS, |program| in_path(program).is_some());
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if in_path("apt-get").is_none() {
        return absent(&format!(
            "not found, and there is no apt-get: {names}; live tests do not run"
        ));
    }
    install(&packages)
}

/// Makes sure that those who judge our files are there: tshark, and a Python of the tests' own.
pub fn judges() -> Outcome {
    if let Err(reason) = programs(&JUDGES).and_then(|()| python()) {
        return absent(&format!("{reason}; their tests do not run"));
    }
    Ok(())
}

/// Makes the tests' Python, with its packages; done once.
fn python() -> Outcome {
    let wanted = PYTHON_PACKAGES.join("\n");
    if std::env::var_os("SAKSHI_PYTHON").is_some()
        || std::fs::read_to_string(PYTHON_READY).is_ok_and(|found| found == wanted)
    {
        return Ok(());
    }
    println!("making a Python for tests in {PYTHON_HOME} (this is done once)");
    run("python3", &["-m", "venv", "--clear", PYTHON_HOME])
        .map_err(|error| format!("{error}; on Debian: apt-get install python3-venv"))?;
    let pip = format!("{PYTHON_HOME}/bin/pip");
    let mut words = vec!["install", "--quiet", "--disable-pip-version-check"];
    words.extend(PYTHON_PACKAGES);
    run(&pip, &words)?;
    std::fs::write(PYTHON_READY, wanted).map_err(|error| format!("{PYTHON_READY}: {error}"))
}

/// Makes sure that programs are there; installs their packages as root on Debian.
pub fn programs(tools: &[(&str, &'static str)]) -> Outcome {
    let packages = missing_packages(tools, |program| in_path(program).is_some());
    if packages.is_empty() {
        return Ok(());
    }
    if !is_root() || in_path("apt-get").is_none() {
        return Err(format!(
            "not here: {0}; on Debian, as root: apt-get install {0}",
            packages.join(" ")
        ));
    }
    install(&packages)
}

/// Installs packages; removes none for it.
fn install(packages: &[&str]) -> Outcome {
    println!("not here: {}; installing with apt-get", packages.join(" "));
    // Lists may be old or absent on a fresh machine; if they cannot be fetched, what is there may do.
    if let Err(reason) = run("apt-get", &["update", "-q"]) {
        println!("{reason}; going on with the package lists that are here");
    }
    let mut words = vec![
        "install",
        "-q",
        "-y",
        "--no-remove",
        "--no-install-recommends",
    ];
    words.extend(packages);
    run("apt-get", &words)
}

/// The packages of the tools that are not there, each once.
fn missing_packages(
    tools: &[(&str, &'static str)],
    is_there: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

/// A prerequisite is absent: fails in CI, is a line elsewhere.
pub fn absent(what: &str) -> Outcome {
    if in_ci() {
        return Err(format!("required where CI is set, but: {what}"));
    }
    println!("note: {what}");
    Ok(())
}

/// Where a program is.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir: PathBuf| dir.join(program))
        .find(|file: &PathBuf| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_each_missing_package_once() {
        assert_eq!(
            missing_packages(&SYSTEM_TOOLS, |_| false),
            ["iproute2", "iptables", "clang"]
        );
        assert_eq!(
            missing_packages(&SYSTEM_TOOLS, |program| program != "ip"),
            ["iproute2"]
        );
        assert!(missing_packages(&SYSTEM_TOOLS, |_| true).is_empty());
    }
}
