//! Where a case may lie: not where every app can read it.
//!
//! In: the folder of a case, which need not exist. Out: nothing, or why not there. Shared storage of
//! Android and file systems without owners give every app that asked for storage what lies there,
//! whatever the mode of the folder says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::error::StoreError;

/// Where Android's shared storage is found, links followed; `/data/media` is what lies behind it.
const SHARED: [&str; 3] = ["/sdcard", "/storage/emulated", "/data/media"];
/// Numbers of file systems (`linux/magic.h`; sdcardfs: Android's kernels) without owners or modes of
/// their own, and their names.
const OWNERLESS: [(u64, &str); 3] = [
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x5dca_2df5, "sdcardfs"),
];
/// FUSE: on Android it is shared storage, elsewhere it may be anything.
const FUSE: u64 = 0x6573_5546;
/// Only Android has it.
const ANDROID: &str = "/system/build.prop";

/// Whether a case may lie in `dir`.
pub(super) fn check(dir: &Path) -> Result<(), StoreError> {
    let (real, magic) = nearest(dir);
    let is_android = Path::new(ANDROID).exists();
    shared_by(&real, magic, is_android).map_or(Ok(()), |file_system| {
        Err(StoreError::Shared {
            path: dir.to_owned(),
            file_system,
        })
    })
}

/// The folder as it really lies, or that above it which is there; and the number of its file system.
/// What cannot be told is left to whoever makes the folder.
fn nearest(dir: &Path) -> (PathBuf, u64) {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let real = absolute
        .ancestors()
        .find_map(|above| fs::canonicalize(above).ok())
        .unwrap_or(absolute);
    let found = rustix::fs::statfs(&real).ok();
    let magic = found.and_then(|found| u64::try_from(found.f_type).ok());
    (real, magic.unwrap_or(0))
}

/// What makes a place everybody's; none: nothing does.
fn shared_by(real: &Path, magic: u64, is_android: bool) -> Option<&'static str> {
    if SHARED.iter().any(|shared| real.starts_with(shared)) {
        return Some("shared storage");
    }
    if magic == FUSE && is_android {
        return Some("FUSE (shared storage)");
    }
    let found = OWNERLESS.iter().find(|(number, _)| *number == magic);
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_storage_is_known_by_path_and_by_file_system() {
        const EXT4: u64 = 0xef53;
        for (path, magic, is_android, expected) in [
            ("/data/sakshi/case", EXT4, true, None),
            (
                "/storage/emulated/0/case",
                FUSE,
                true,
                Some("shared storage"),
            ),
            ("/data/media/0/case", EXT4, true, Some("shared storage")),
            ("/sdcard", EXT4, false, Some("shared storage")),
            ("/sdcards/case", EXT4, false, None),
            (
                "/mnt/user/0/case",
                FUSE,
                true,
                Some("FUSE (shared storage)"),
            ),
            ("/mnt/lab/case", FUSE, false, None),
            ("/mnt/stick/case", 0x4d44, false, Some("vfat")),
            ("/mnt/stick/case", 0x2011_bab0, true, Some("exfat")),
            ("/mnt/x/case", 0x5dca_2df5, true, Some("sdcardfs")),
        ] {
            let found = shared_by(Path::new(path), magic, is_android);
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_lies_where_the_one_above_it_does() {
        let dir = tempfile::tempdir().expect("a folder");
        let real = fs::canonicalize(dir.path()).expect("a path");
        let (found, magic) = nearest(&dir.path().join("no/such/folder"));
        assert_eq!(found, real);
        assert_ne!(magic, 0);
        assert!(check(dir.path()).is_ok());
    }
}
