//! The data partition of the emulated handset: an ext4 image, filled and read without mounting it.
//!
//! In: a folder. Out: an image with its contents, by `mke2fs`; and from an image that was unmounted
//! in order, a folder, by `debugfs` (both of e2fsprogs). Neither needs root.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    daemon::text,
    handset::{Error, Result, network::checked},
};

/// Size of the partition, in the form of `mke2fs`.
const SIZE: &str = "512M";

/// Makes an image with what is in `tree`.
pub fn make(image: &Path, tree: &Path) -> Result<()> {
    if image.exists() {
        fs::remove_file(image).map_err(Error::io(format!("removing {}", image.display())))?;
    }
    let mut command = Command::new("mke2fs");
    command
        .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", text(tree)])
        .args([text(image), SIZE]);
    run(&mut command)
}

/// Copies a folder of the image, with all in it, into the folder `to`.
pub fn take_out(image: &Path, folder: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io(format!("making {}", to.display())))?;
    let request = format!("rdump {folder} {}", text(to));
    let mut command = Command::new("debugfs");
    command.args(["-R", &request, text(image)]);
    run(&mut command)?;
    let name = folder.rsplit('/').next().unwrap_or(folder);
    if to.join(name).is_dir() {
        return Ok(());
    }
    // debugfs ends with 0 whatever happens.
    Err(Error::Unexpected(format!(
        "{} has no folder {folder}",
        image.display()
    )))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!(
            "running {command:?} (package e2fsprogs)"
        )))?;
    checked(command, &output).map(drop)
}
