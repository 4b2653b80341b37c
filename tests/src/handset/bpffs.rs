//! A BPF file system for a virtual handset, as a phone has one at `/sys/fs/bpf`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, Handset, Result, network::checked};

/// It is taken away on drop.
#[derive(Debug)]
pub struct Bpffs {
    path: PathBuf,
}

impl Bpffs {
    /// Mounts one in the handset's folder, seen by every process.
    pub fn mount(handset: &Handset) -> Result<Self> {
        let path = handset.dir().join("bpf");
        std::fs::create_dir(&path).map_err(Error::io("making a folder"))?;
        let mut command = Command::new("mount");
        command.args(["-t", "bpf", "bpf"]).arg(&path);
        let output = command
            .output()
            .map_err(Error::io(format!("running {command:?}")))?;
        checked(&command, &output)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is pinned in it.
    pub fn pins(&self) -> Vec<PathBuf> {
        let inside = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        };
        inside(&self.path)
            .iter()
            .flat_map(|folder| inside(folder))
            .collect()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the mount goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
