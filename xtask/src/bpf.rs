//! Compiles the program that reads owners in the kernel.
//!
//! In: `daemon/bpf/owner.bpf.c` and `flags`, clang. Out: `owner.bpf.o`, which the daemon embeds, and
//! `compiler`, which says by which clang. The test `owner_program` compares them with the source.

use std::{fs, path::Path, process::Command};

use crate::{prerequisites, steps::Outcome};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../daemon/bpf");

/// Compiles it.
pub fn compile() -> Outcome {
    prerequisites::programs(&[("clang", "clang")])?;
    let folder = Path::new(FOLDER);
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let version = Command::new("clang")
        .arg("--version")
        .output()
        .map_err(told)?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.lines().next().unwrap_or_default();
    let flags = fs::read_to_string(folder.join("flags")).map_err(told)?;
    let ended = Command::new("clang")
        .current_dir(folder)
        .args(flags.split_whitespace())
        .args(["owner.bpf.c", "-o", "owner.bpf.o"])
        .status()
        .map_err(told)?;
    if !ended.success() {
        return Err("clang could not compile daemon/bpf/owner.bpf.c".to_owned());
    }
    fs::write(folder.join("compiler"), format!("{version}\n")).map_err(told)?;
    println!("daemon/bpf/owner.bpf.o, by {version}");
    Ok(())
}
