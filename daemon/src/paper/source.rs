//! Where a page comes from: the folder of a case, or a bundle.
//!
//! In: a path. Out: the case, open for reading, and its files with their hashes. A bundle (POSIX
//! ustar, `docs/evidence-format.md`) is unpacked into a private temporary folder, each file compared
//! with the manifest; its signature is the verifier's work.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    evidence::{Hash, Head, Reader, StoreError},
    time::Timestamp,
};

/// Name of a bundle's list of files.
pub const MANIFEST: &str = "manifest.json";
/// Name of the signature over it.
const SIGNATURE: &str = "manifest.sig";
/// Folder of the case in a bundle, with its slash.
const CASE: &str = "case/";
/// Longest manifest that is read, in bytes; a longer one is refused.
pub const MANIFEST_MAX: u64 = 16 * 1024 * 1024;
/// Files of a case that are listed at most; a case with more is refused.
const FILES_MAX: usize = 100_000;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Names in a case's folder that are no evidence: the lock, the key that signs (which no list must
/// ever show), and the room that a watch keeps for its end.
const NO_EVIDENCE: [&str; 4] = ["case.lock", "signing.key", "evidence.next", "reserve"];
/// Ends the names of what SQLite keeps beside a database while it is open, and is no evidence either.
const SHARED_MEMORY: &str = ".db-shm";

/// Why a case or bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The case cannot be read.
    #[error(transparent)]
    Case(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{path} cannot be read: {source}; check that it is there and that you may read it")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no bundle of this format.
    #[error(
        "{path} is no bundle of Sakshi: {detail}; give a case's folder, or a file that `sakshi seal` made"
    )]
    NoBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file is not what the manifest says.
    #[error(
        "{file} in the bundle is not what its manifest says: the bundle was changed; run `sakshi verify` on it"
    )]
    Changed {
        /// The file.
        file: String,
    },
    /// There are too many files.
    #[error("more than {FILES_MAX} files in {0}: this is no case's folder")]
    TooMany(PathBuf),
}

/// A file with its hashes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HashedFile {
    /// Path in the case's folder, with `/`; a bundle's own name for the bundle.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Hash,
    /// SHA-1 in hex, where the manifest gives it.
    #[serde(default)]
    pub sha1: Option<String>,
    /// MD5 in hex, where the manifest gives it.
    #[serde(default)]
    pub md5: Option<String>,
}

/// A bundle's list of files; other members are the verifier's.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    format: String,
    version: u64,
    /// The head that the bundle vouches for.
    pub head: Head,
    /// When it was sealed.
    #[serde(default)]
    pub sealed: Option<Timestamp>,
    files: Vec<HashedFile>,
}

/// A bundle as it lies there.
#[derive(Debug)]
pub struct Bundle {
    /// The archive itself.
    pub archive: HashedFile,
    /// What its manifest says.
    pub manifest: Manifest,
    /// SHA-256 of the manifest's bytes.
    pub manifest_sha256: Hash,
}

/// A case that is open for reading.
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    dir: PathBuf,
    bundle: Option<Bundle>,
    // Removed last.
    _unpacked: Option<TempDir>,
}

impl Source {
    /// Opens a case's folder or a bundle.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        if path.is_dir() {
            return Ok(Self {
                reader: Reader::open(path)?,
                dir: path.to_owned(),
                bundle: None,
                _unpacked: None,
            });
        }
        let (unpacked, bundle) = unpack(path)?;
        let dir = unpacked.path().to_owned();
        Ok(Self {
            reader: Reader::open(&dir)?,
            dir,
            bundle: Some(bundle),
            _unpacked: Some(unpacked),
        })
    }

    /// The case.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The case's folder: its own, or a temporary one of a bundle that was unpacked.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bundle that it lies in, if it does.
    pub const fn bundle(&self) -> Option<&Bundle> {
        self.bundle.as_ref()
    }

    /// The files with their hashes, by path: those of the manifest, or those that now lie in the
    /// case's folder.
    pub fn files(&self) -> Result<Vec<HashedFile>, SourceError> {
        let mut files = match &self.bundle {
            Some(bundle) => bundle.manifest.files.clone(),
            None => folder(&self.dir)?,
        };
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

/// SHA-256 of the manifest that `path` is, or that the bundle `path` begins with.
pub fn manifest_hash(path: &Path) -> Result<Hash, SourceError> {
    let mut file = File::open(path).map_err(of(path))?;
    let mut start = [0; 1];
    let read = file.read(&mut start).map_err(of(path))?;
    if read == 1 && start == *b"{" {
        let bytes = fs::read(path).map_err(of(path))?;
        parse(path, &bytes)?;
        return Ok(Hash::of(&bytes));
    }
    not_encrypted(path)?;
    let file = File::open(path).map_err(of(path))?;
    let mut archive = tar::Archive::new(file);
    let mut entries = archive.entries().map_err(no_archive(path))?;
    let first = entries
        .next()
        .ok_or_else(|| no_bundle(path, "it is empty"))?
        .map_err(no_archive(path))?;
    let bytes = manifest(path, first)?;
    parse(path, &bytes)?;
    Ok(Hash::of(&bytes))
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io { path, source }
}

fn no_bundle(path: &Path, detail: impl Into<String>) -> SourceError {
    SourceError::NoBundle {
        path: path.to_owned(),
        detail: detail.into(),
    }
}

/// Begins a bundle that is encrypted.
const ENCRYPTED: &[u8] = b"age-encryption.org/";

/// An encrypted bundle is told from other files: there is a remedy.
fn not_encrypted(path: &Path) -> Result<(), SourceError> {
    let mut start = Vec::new();
    let bound = u64::try_from(ENCRYPTED.len()).unwrap_or(0);
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut start))
        .map_err(of(path))?;
    if start == ENCRYPTED {
        return Err(no_bundle(
            path,
            "it is encrypted: open it with `age -d` first",
        ));
    }
    Ok(())
}

fn no_archive(path: &Path) -> impl Fn(io::Error) -> SourceError {
    let path = path.to_owned();
    move |error| no_bundle(&path, error.to_string())
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest, SourceError> {
    let manifest: Manifest = serde_json::from_slice(bytes)
        .map_err(|error| no_bundle(path, format!("its manifest cannot be read: {error}")))?;
    if manifest.format != "sakshi-bundle" || manifest.version != 1 {
        return Err(no_bundle(
            path,
            "its manifest is of another format or a later version",
        ));
    }
    Ok(manifest)
}

/// The bytes of the first entry, which must be the manifest.
fn manifest(path: &Path, mut entry: tar::Entry<'_, impl Read>) -> Result<Vec<u8>, SourceError> {
    if inside(path, &entry)? != MANIFEST || entry.size() > MANIFEST_MAX {
        return Err(no_bundle(path, "it does not begin with manifest.json"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(no_archive(path))?;
    Ok(bytes)
}

/// The path of an entry: an ordinary file below the archive's root.
fn inside(path: &Path, entry: &tar::Entry<'_, impl Read>) -> Result<String, SourceError> {
    let name = entry.path().map_err(no_archive(path))?;
    let plain = name
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    match name.to_str() {
        Some(name) if plain && entry.header().entry_type().is_file() => Ok(name.to_owned()),
        _ => Err(no_bundle(
            path,
            format!("it holds {}, which is no ordinary file", name.display()),
        )),
    }
}

fn unpack(path: &Path) -> Result<(TempDir, Bundle), SourceError> {
    not_encrypted(path)?;
    let archive_file = hashed(
        path,
        path.file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("bundle"),
    )?;
    let dir = tempfile::Builder::new()
        .prefix("sakshi-bundle-")
        .tempdir()
        .map_err(of(&std::env::temp_dir()))?;
    let mut archive = tar::Archive::new(File::open(path).map_err(of(path))?);
    let mut entries = archive.entries().map_err(no_archive(path))?;
    let first = entries
        .next()
        .ok_or_else(|| no_bundle(path, "it is empty"))?
        .map_err(no_archive(path))?;
    let bytes = manifest(path, first)?;
    let bundle = Bundle {
        archive: archive_file,
        manifest: parse(path, &bytes)?,
        manifest_sha256: Hash::of(&bytes),
    };
    let mut listed: BTreeMap<&str, &HashedFile> = BTreeMap::new();
    for file in &bundle.manifest.files {
        listed.insert(file.path.strip_prefix(CASE).unwrap_or(&file.path), file);
    }
    for entry in entries {
        let mut entry = entry.map_err(no_archive(path))?;
        let name = inside(path, &entry)?;
        if name == SIGNATURE {
            continue;
        }
        let inner = name
            .strip_prefix(CASE)
            .ok_or_else(|| no_bundle(path, format!("it holds {name}, which is not of a case")))?;
        let (bytes, sha256) = copy(&mut entry, &dir.path().join(inner))?;
        let as_listed = listed
            .remove(inner)
            .is_some_and(|file| file.sha256 == sha256 && file.bytes == bytes);
        if !as_listed {
            return Err(SourceError::Changed { file: name });
        }
    }
    if let Some(missing) = listed.into_values().next() {
        return Err(SourceError::Changed {
            file: missing.path.clone(),
        });
    }
    Ok((dir, bundle))
}

/// Writes an entry to `to`; its length and hash.
fn copy(from: &mut impl Read, to: &Path) -> Result<(u64, Hash), SourceError> {
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).map_err(of(above))?;
    }
    let mut file = File::create_new(to).map_err(of(to))?;
    hash_through(from, &mut file).map_err(of(to))
}

fn hash_through(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, Hash)> {
    let mut sha = Sha256::new();
    let mut bytes = 0_u64;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            return Ok((bytes, Hash::from_sha256(sha)));
        };
        sha.update(part);
        to.write_all(part)?;
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn hashed(path: &Path, name: &str) -> Result<HashedFile, SourceError> {
    let mut file = File::open(path).map_err(of(path))?;
    let (bytes, sha256) = hash_through(&mut file, &mut io::sink()).map_err(of(path))?;
    Ok(HashedFile {
        path: name.to_owned(),
        bytes,
        sha256,
        sha1: None,
        md5: None,
    })
}

/// The ordinary files below a case's folder, with their hashes.
fn folder(dir: &Path) -> Result<Vec<HashedFile>, SourceError> {
    let mut files = Vec::new();
    let mut folders = vec![(dir.to_owned(), String::new())];
    while let Some((folder, before)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(of(&folder))? {
            let entry = entry.map_err(of(&folder))?;
            let kind = entry.file_type().map_err(of(&folder))?;
            let name = format!("{before}{}", entry.file_name().display());
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else if kind.is_file()
                && !NO_EVIDENCE.contains(&name.as_str())
                && !name.ends_with(SHARED_MEMORY)
            {
                files.push(hashed(&entry.path(), &name)?);
            }
            if files.len() + folders.len() > FILES_MAX {
                return Err(SourceError::TooMany(dir.to_owned()));
            }
        }
    }
    Ok(files)
}
