//! Holds the folder's files against what the records say of them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path},
};

use sha2::{Digest, Sha256};

use super::{Chain, Damages, Flaw, Subject};
use crate::evidence::{
    case::{Case, DATABASE_FILE, LOCK_FILE},
    error::StoreError,
    record::Hash,
    reserve::RESERVE_FILE,
    signing::KEY_FILE,
};

/// Files that no record names and that are listed; more are left out.
const UNLISTED_MAX: usize = 64;
/// Folders below the case's that are searched for unlisted files.
const DEPTH_MAX: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Checks every named file; gives those that no record names.
pub(super) fn check(
    dir: &Path,
    case: Option<&Case>,
    chain: &Chain,
    damages: &mut Damages,
) -> Result<Vec<String>, StoreError> {
    for (seq, entry) in chain.files() {
        let subject = || Subject::File(entry.path.clone());
        if !stays_inside(&entry.path) {
            damages.add(subject(), Flaw::FilePath(*seq));
            continue;
        }
        match hash_file(&dir.join(&entry.path)) {
            Ok(Some((found, bytes))) => {
                if found != entry.sha256 || bytes != entry.bytes {
                    let flaw = Flaw::FileChanged {
                        seq: *seq,
                        expected: entry.sha256,
                        found,
                    };
                    damages.add(subject(), flaw);
                }
            }
            Ok(None) => damages.add(subject(), Flaw::FileType),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                damages.add(subject(), Flaw::FileMissing);
            }
            Err(error) => damages.add(subject(), Flaw::Unreadable(error.to_string())),
        }
    }
    if let (Some(case), Some(body)) = (case, chain.case())
        && case.meta() != &body.case
    {
        damages.add(Subject::File("case.json".to_owned()), Flaw::OtherCase);
    }
    let mut unlisted = Vec::new();
    list(dir, "", 0, chain, &mut unlisted).map_err(|error| StoreError::io(dir, error))?;
    unlisted.sort();
    unlisted.truncate(UNLISTED_MAX);
    Ok(unlisted)
}

/// Whether a path of a record names something below the folder.
fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// SHA-256 and length of an ordinary file; none for anything else (a link, a pipe, a folder).
fn hash_file(path: &Path) -> io::Result<Option<(Hash, u64)>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0_u64;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(Some((Hash::from_sha256(sha), bytes)));
        }
        sha.update(chunk.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
}

fn list(
    dir: &Path,
    prefix: &str,
    depth: usize,
    chain: &Chain,
    out: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() && depth < DEPTH_MAX {
            list(&entry.path(), &format!("{path}/"), depth + 1, chain, out)?;
        } else if !is_own(&path) && !chain.files().iter().any(|(_, file)| file.path == path) {
            out.push(path);
        }
    }
    Ok(())
}

/// The files of the database, the lock and the key, whose content no record can name.
fn is_own(path: &str) -> bool {
    path == LOCK_FILE
        || path == KEY_FILE
        || path == RESERVE_FILE
        || path
            .strip_prefix(DATABASE_FILE)
            .is_some_and(|rest| ["", "-wal", "-shm"].contains(&rest))
}
