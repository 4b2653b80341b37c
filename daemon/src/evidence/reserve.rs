//! Room that a watch keeps for its end: a file that is given up when the disk is full.
//!
//! In: the folder of a case. Out: space for the last records, so that a watch without room ends in
//! order and says so, and does not break off.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::error::StoreError;

/// The file; it is in the folder while a watch runs, or was killed, and is no evidence.
pub const RESERVE_FILE: &str = "reserve";
/// Its length in bytes: a batch of records as large as one is made, its log, and the end.
pub const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// The room that is kept.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Takes the room in the case `dir`, whose lock the caller has.
    pub fn keep(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(RESERVE_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io(&path, error))?;
        let taken = match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // A file system that cannot promise blocks has them written.
            Err(Errno::OPNOTSUPP) => written(&file),
            other => other.map_err(io::Error::from),
        };
        let synced = taken.and_then(|()| file.sync_all());
        match synced {
            Ok(()) => Ok(Self { path }),
            Err(error) => {
                // What was taken of it would be missing elsewhere; the first error counts.
                let _ = fs::remove_file(&path);
                Err(match StoreError::io(&path, error) {
                    StoreError::DiskFull(_) => StoreError::NoReserve(dir.to_owned()),
                    other => other,
                })
            }
        }
    }

    /// Gives the room back; whether there was any.
    pub fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

fn written(mut file: &fs::File) -> io::Result<()> {
    io::copy(
        &mut io::Read::take(io::repeat(0xff), RESERVE_BYTES),
        &mut file,
    )
    .map(drop)
}
