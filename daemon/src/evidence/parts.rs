//! The databases of a case: parts of one chain of records, each a file.
//!
//! In: the folder of a case. Out: the paths of its parts in the order of their records. The first is
//! `evidence.db`; the last one is written, the others are closed, and a record behind each names its
//! SHA-256. A part has its name from the moment that it counts, and keeps it (decision 0156).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};

use super::{
    bundle,
    case::{self, DATABASE_FILE},
    error::StoreError,
    record::{Draft, Hash, Head, Kind},
    store,
};

/// A part of this many bytes is closed, and the next one begun: few enough to be hashed while the
/// queue before the store holds what comes in, and to be copied by whoever reads a running case.
pub const ROLL_BYTES: u64 = 128 * 1024 * 1024;
/// Parts of a case at most, as many as their names can tell; the last one then grows.
const PARTS_MAX: usize = 999_999;
/// A part that is being made. Nothing in it counts: it has its name once it is whole.
const NEXT_FILE: &str = "evidence.next";

/// Body of a `rolled` record, the first of each part but the first: the part before is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBody {
    /// Length of the closed part's file.
    pub bytes: u64,
    /// Its first record.
    pub first: i64,
    /// Its last record.
    pub last: i64,
    /// Number of the part that begins, from 2.
    pub part: usize,
    /// Path of the closed part in the folder.
    pub path: String,
    /// SHA-256 of its file.
    pub sha256: Hash,
}

/// File name of a part, counted from 1.
pub(super) fn name(part: usize) -> String {
    match part {
        1 => DATABASE_FILE.to_owned(),
        part => format!("evidence-{part:06}.db"),
    }
}

/// The part that a file name is of.
fn number(file: &str) -> Option<usize> {
    if file == DATABASE_FILE {
        return Some(1);
    }
    let digits = file.strip_prefix("evidence-")?.strip_suffix(".db")?;
    let number = digits.parse().ok()?;
    (number > 1 && name(number) == file).then_some(number)
}

/// The parts of the case in `dir`, in the order of their records; none where there is no database.
/// A missing one with a later one behind it is an error: what is left would pass for all.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::io(dir, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        numbers.extend(entry.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    for (expected, found) in (1..).zip(&numbers) {
        if *found != expected {
            return Err(StoreError::Corrupt {
                path: dir.join(name(expected)),
                detail: format!("it is missing, and {} is there", name(*found)),
            });
        }
    }
    Ok((1..=numbers.len())
        .map(|part| dir.join(name(part)))
        .collect())
}

/// Length of all parts of the case in `dir`, for who shows how far reading is; 0 where that cannot be
/// told.
pub fn database_bytes(dir: &Path) -> u64 {
    let parts = list(dir).unwrap_or_default();
    parts
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|found| found.len())
        .sum()
}

/// Makes one file of the part that is open, on the disk as a whole; its length and hash. None when
/// somebody else has it open, or the case has as many parts as it can: it is tried again later.
pub(super) fn close(
    connection: &Connection,
    path: &Path,
    part: usize,
) -> Result<Option<(u64, Hash)>, StoreError> {
    if part >= PARTS_MAX || !store::leave_log(connection, path)? {
        return Ok(None);
    }
    // A log that came back after a loss of power would change the file.
    path.parent().map_or(Ok(()), case::sync_folder)?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io(path, error))?;
    bundle::length_and_hash(path).map(Some)
}

/// Makes the part behind `head`, which begins by naming the closed one, and puts it on the disk
/// under a name that does not count yet.
pub(super) fn make_next(dir: &Path, head: Head, closed: &RolledBody) -> Result<(), StoreError> {
    forget_next(dir);
    let path = dir.join(NEXT_FILE);
    let draft = Draft::new(Kind::ROLLED, closed)?;
    let mut connection = store::connect(&path, OpenFlags::SQLITE_OPEN_CREATE)?;
    // No second file: what is not whole is made again.
    connection
        .pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))
        .map_err(|error| StoreError::sqlite(&path, error))?;
    store::commit(
        &mut connection,
        &path,
        None,
        |transaction| {
            store::lay_out(transaction, head.seq)?;
            store::insert(transaction, head, &[draft])
        },
        None,
    )?;
    connection
        .close()
        .map_err(|(_, error)| StoreError::sqlite(&path, error))?;
    File::open(&path)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io(&path, error))
}

/// Gives the part that was made its name: from here on it counts. The caller syncs the folder.
pub(super) fn begin_next(dir: &Path, part: usize) -> Result<(), StoreError> {
    let path = dir.join(name(part));
    fs::rename(dir.join(NEXT_FILE), &path).map_err(|error| StoreError::io(&path, error))
}

/// Removes what an interrupted making left.
pub(super) fn forget_next(dir: &Path) {
    // Nothing of it counts; where it cannot be removed, making it anew says why.
    let _ = fs::remove_file(dir.join(NEXT_FILE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_parts() {
        for part in [1, 2, 10, 999_999] {
            assert_eq!(number(&name(part)), Some(part));
        }
        for other in [
            "evidence-000001.db",
            "evidence-2.db",
            "evidence-0000002.db",
            "evidence-00000x.db",
            "evidence-+00002.db",
            "evidence.db-wal",
            "evidence.next",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
