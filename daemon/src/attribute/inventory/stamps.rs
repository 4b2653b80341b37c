//! Whether the inventory's files may have changed, without reading them.
//!
//! In: the folder. Out: [`Stamps`], which differ when a file was written, replaced, added or
//! removed. The package manager replaces its files (a new inode) and never writes in place; length
//! and times are compared as well, for folders that others write.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::read::FILES;

/// What the file system says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the content.
    modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of content or attributes, which no program sets.
    changed: (i64, i64),
}

/// What the file system says of every file of an inventory folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps(Vec<Option<Stamp>>);

impl Stamps {
    /// Looks at the folder; a file that is not there or cannot be looked at has no stamp.
    pub fn of(dir: &Path) -> Self {
        let stamp = |name: &&str| {
            let found = fs::metadata(dir.join(name)).ok()?;
            Some(Stamp {
                device: found.dev(),
                inode: found.ino(),
                bytes: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })
        };
        Self(FILES.iter().map(stamp).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_by_one_of_the_same_length_differs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("packages.list");
        let empty = Stamps::of(dir.path());
        fs::write(&file, b"one").unwrap();
        let one = Stamps::of(dir.path());
        assert_ne!(empty, one);
        assert_eq!(one, Stamps::of(dir.path()));
        let next = dir.path().join("next");
        fs::write(&next, b"two").unwrap();
        fs::rename(&next, &file).unwrap();
        assert_ne!(one, Stamps::of(dir.path()));
    }
}
