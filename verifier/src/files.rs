//! Holds a case's files against what its records say of them.
//!
//! In: a folder, or what was read of a bundle. Out: damages, and the files that no record names.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{
    chain::Chain,
    damage::{Damages, Flaw, Subject},
    error::VerifyError,
    hash::Hash,
    progress::{Progress, Report, Stage},
    snapshot::LOCK_FILE,
};

/// The private key of a live case, the room that a watch keeps for its end, and a sealed case's
/// manifest and signature: no record can name them.
const UNNAMED: [&str; 4] = ["signing.key", "reserve", "manifest.json", "manifest.sig"];
/// Files that no record names and that are listed; more are left out.
const UNLISTED_MAX: usize = 64;
/// Folders below the case's that are searched for unlisted files.
const DEPTH_MAX: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Length and hash of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

/// Where the files of a case are.
pub(crate) enum Files<'a> {
    /// In a folder.
    Folder(&'a Path),
    /// In a bundle that was read: by their paths in the case.
    Read(&'a BTreeMap<String, Content>),
}

impl Files<'_> {
    /// A file's content; none for what is no ordinary file (a link, a pipe, a folder).
    fn content(&self, path: &str, each: &mut dyn FnMut(u64)) -> io::Result<Option<Content>> {
        match self {
            Self::Folder(dir) => hash_file(&dir.join(path), each),
            Self::Read(files) => match files.get(path) {
                Some(content) => Ok(Some(*content)),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// The files that no record names.
    fn unlisted(&self, chain: &Chain) -> Result<Vec<String>, VerifyError> {
        let mut found = Vec::new();
        match self {
            Self::Folder(dir) => {
                list(dir, "", 0, chain, &mut found).map_err(|error| VerifyError::io(dir, error))?;
            }
            Self::Read(files) => {
                found.extend(
                    files
                        .keys()
                        .filter(|path| is_unlisted(path, chain))
                        .cloned(),
                );
            }
        }
        found.sort();
        found.truncate(UNLISTED_MAX);
        Ok(found)
    }
}

/// Checks every named file; gives those that no record names.
pub(crate) fn check(
    files: &Files<'_>,
    chain: &Chain,
    damages: &mut Damages,
    progress: Report<'_>,
) -> Result<Vec<String>, VerifyError> {
    let named = chain.files().values();
    let total = named.fold(0, |sum: u64, named| sum.saturating_add(named.entry.bytes));
    let mut done = 0;
    for named in chain.files().values() {
        let subject = || Subject::File(named.entry.path.clone());
        if !stays_inside(&named.entry.path) {
            damages.add(subject(), Flaw::FilePath(named.seq));
            continue;
        }
        let found = files.content(&named.entry.path, &mut |bytes| {
            done += bytes;
            progress(Progress {
                stage: Stage::Files,
                done,
                total,
            });
        });
        match found {
            Ok(Some(found)) => {
                if found.sha256 != named.entry.sha256 || found.bytes != named.entry.bytes {
                    let flaw = Flaw::FileChanged {
                        seq: named.seq,
                        expected: named.entry.sha256,
                        found: found.sha256,
                    };
                    damages.add(subject(), flaw);
                }
            }
            Ok(None) => damages.add(subject(), Flaw::FileType),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                damages.add(subject(), Flaw::FileMissing);
            }
            Err(error) => damages.add(subject(), Flaw::Unreadable(error.to_string())),
        }
    }
    files.unlisted(chain)
}

/// Whether a path of a record names something below the folder.
pub(crate) fn stays_inside(path: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(is_name)
}

/// Length and SHA-256 of an ordinary file; none for anything else.
fn hash_file(path: &Path, each: &mut dyn FnMut(u64)) -> io::Result<Option<Content>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            let sha256 = Hash::from_sha256(sha);
            return Ok(Some(Content { bytes, sha256 }));
        }
        sha.update(chunk.get(..read).unwrap_or_default());
        bytes += read as u64;
        each(read as u64);
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
        } else if is_unlisted(&path, chain) {
            out.push(path);
        }
    }
    Ok(())
}

fn is_unlisted(path: &str, chain: &Chain) -> bool {
    !is_own(path, chain) && !is_being_written(path, chain) && !chain.files().contains_key(path)
}

/// A segment of packets that is not closed yet, while a daemon writes or after a kill.
fn is_being_written(path: &str, chain: &Chain) -> bool {
    !chain.ended()
        && Path::new(path).parent() == Some(Path::new("packets"))
        && Path::new(path)
            .extension()
            .is_some_and(|end| end == "pcapng")
}

/// The files of the last part of the database, the lock, and what else no record can name.
fn is_own(path: &str, chain: &Chain) -> bool {
    path == LOCK_FILE
        || UNNAMED.contains(&path)
        || path
            .strip_prefix(chain.last_part().as_str())
            .is_some_and(|rest| ["", "-wal", "-shm"].contains(&rest))
}
