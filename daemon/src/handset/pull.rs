//! A bundle's way from the handset to this PC.
//!
//! In: a case there. Out: its bundle here, whole: each time that the connection breaks it goes on
//! from the byte that is here, and in the end the handset's hash of it must be this PC's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    error::HandsetError,
    phone::{Answer, Phone},
};
use crate::evidence::Hash;

/// What was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// SHA-256 of the bundle.
    pub sha256: Hash,
    /// Its bytes.
    pub bytes: u64,
    /// How often the connection broke.
    pub drops: u32,
    /// What the handset said when it sealed.
    pub said: String,
}

fn of(path: &Path) -> impl Fn(io::Error) -> HandsetError {
    let path = path.to_owned();
    move |source| HandsetError::File {
        path: path.clone(),
        source,
    }
}

/// The file that a bundle grows in.
pub fn part_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Seals a case on the handset and brings its bundle here. `progress` is told how many bytes are
/// here.
pub fn pull(
    phone: &Phone<'_>,
    case: &str,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Pulled, HandsetError> {
    if to.exists() {
        let there = io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is there already; name another",
        );
        return Err(of(to)(there));
    }
    let part = part_of(to);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&part)
        .map_err(of(&part))?;
    let mut here = file.metadata().map_err(of(&part))?.len();
    let mut drops = 0;
    let answer: Answer = loop {
        progress(here);
        let mut sink = |bytes: &[u8]| {
            file.write_all(bytes).map_err(of(&part))?;
            here += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            progress(here);
            Ok(())
        };
        let from = part.metadata().map_err(of(&part))?.len();
        match phone.stream(&["seal", case, "-o", "-"], from, &mut sink) {
            Err(HandsetError::Dropped(said)) => {
                drops += 1;
                phone.wait(&said)?;
            }
            other => break other?,
        }
    };
    file.sync_all().map_err(of(&part))?;
    let sha256 = hash(&part)?;
    if sha256 != answer.ending.sha256 {
        return Err(HandsetError::Damaged {
            path: part,
            got: sha256.to_string(),
            expected: answer.ending.sha256.to_string(),
        });
    }
    fs::rename(&part, to).map_err(of(to))?;
    Ok(Pulled {
        sha256,
        bytes: answer.ending.bytes,
        drops,
        said: answer.err,
    })
}

/// SHA-256 of a file.
pub fn hash(path: &Path) -> Result<Hash, HandsetError> {
    let mut file = File::open(path).map_err(of(path))?;
    let mut sha = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk).map_err(of(path))? {
            0 => return Ok(Hash::from_sha256(sha)),
            read => sha.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}
