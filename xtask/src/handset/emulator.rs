//! The emulator, and the programs that make and read what it boots.
//!
//! In: the search path, apt. Out: `qemu-system-aarch64` 8 or later, installed where it is missing;
//! nothing is removed for it, and the machine's package sources stay as they are.

use std::process::Command;

use crate::{
    cross::apt::Archive,
    prerequisites::{in_path, is_root, programs},
    steps::{Outcome, run_command},
};

/// Programs that every Debian has packages of.
const PROGRAMS: [(&str, &str); 5] = [
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("xz", "xz-utils"),
];
/// The emulator.
const EMULATOR: &str = "qemu-system-aarch64";
/// Its package.
const PACKAGE: &str = "qemu-system-arm";

/// Installs what is missing.
pub fn install() -> Outcome {
    programs(&PROGRAMS)?;
    if in_path(EMULATOR).is_some() {
        return Ok(());
    }
    if !is_root() || in_path("apt-get").is_none() {
        return Err(format!(
            "not here: {EMULATOR}; on Debian, as root: apt-get install {PACKAGE}"
        ));
    }
    println!("not here: {PACKAGE}; installing with apt-get");
    from_backports()
}

/// Installs the emulator of the suite's backports: the suite's own may want to remove parts of a
/// newer one that is here already.
fn from_backports() -> Outcome {
    let archive = Archive::of_this_machine()?;
    let backports = format!("{}-backports", archive.suite);
    let folder = std::env::temp_dir().join(format!("sakshi-apt-{}", std::process::id()));
    let options = archive.with_suite(&backports, &folder)?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        run_command(command.args(&options).args(words))
    };
    let installed = apt(&["update", "-qq"]).and_then(|()| {
        apt(&[
            "install",
            "-qq",
            "-y",
            "--no-remove",
            "--no-install-recommends",
            "-t",
            &backports,
            PACKAGE,
        ])
    });
    crate::cross::cache::remove(&folder)?;
    installed
}
