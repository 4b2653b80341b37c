//! The folder of a case: metadata, database, and copies of everything that was used.
//!
//! In: a path and the files to keep. Out: a [`Case`], and the records that name each file with its
//! SHA-256. A file that was written once is never written again: later versions lie beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    error::StoreError,
    medium,
    record::{Draft, Hash, Kind},
    signing::UNSIGNED_MODE,
};
use crate::time::Timestamp;

/// The metadata file.
pub const METADATA_FILE: &str = "case.json";
/// The database.
pub const DATABASE_FILE: &str = "evidence.db";
/// What a writer locks exclusively and a reader of a quiet case shares (`flock(2)`).
pub const LOCK_FILE: &str = "case.lock";
/// `format` of [`CaseMeta`].
pub const FORMAT: &str = "sakshi-case";
/// `version` of [`CaseMeta`]; cases of version 1 have no signatures, are read, and not continued.
pub const FORMAT_VERSION: u32 = 2;
/// The first version with signatures.
const FIRST_SIGNED: u32 = 2;
/// Longest file name in a case, in bytes: as long as a bundle takes.
pub const FILE_NAME_MAX: usize = 100;
/// Manifest of the location data.
pub const DATA_FILE: &str = "data.json";
/// The location data of a session that was given some.
pub const PLACES_FILE: &str = "places.bin";
/// Folder of files that were taken or given during a watch, with its slash.
const EXHIBIT_FOLDER: &str = "exhibits/";
/// Longest such file, in bytes: more than a screen's picture has; a longer one is refused.
pub const EXHIBIT_MAX: u64 = 32 * 1024 * 1024;
/// Longest ending of such a file's name that is kept, in bytes.
const ENDING_MAX: usize = 5;
/// Folder of the inventory's files, with its slash.
const INVENTORY_FOLDER: &str = "inventory/";
/// Longest `case.json` that is read, in bytes.
const METADATA_MAX: u64 = 64 * 1024;

/// What is known of a case from its start; `case.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseMeta {
    /// [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
    pub version: u32,
    /// 32 hex digits at random, so that no two cases are taken for each other.
    pub id: String,
    /// When it was created; null for an inspection, which reads no clock.
    pub created: Option<Timestamp>,
    /// Name and version of the program that created it.
    pub tool: String,
    /// How it is filled: `live`, `inspect`, or `prepared` before either. An open enumeration.
    pub mode: String,
}

impl CaseMeta {
    /// Metadata of a new case; `id` comes from the system's random source.
    pub fn new(
        id: [u8; 16],
        created: impl Into<Option<Timestamp>>,
        tool: &str,
        mode: &str,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: FORMAT_VERSION,
            id: format!("{:032x}", u128::from_be_bytes(id)),
            created: created.into(),
            tool: tool.to_owned(),
            mode: mode.to_owned(),
        }
    }

    /// Whether its records are signed.
    pub fn is_signed(&self) -> bool {
        self.version >= FIRST_SIGNED && self.mode != UNSIGNED_MODE
    }
}

/// Files as used, in memory: names without folders, and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaseFiles {
    /// Rule sets, in the order in which they apply.
    pub rules: Vec<(String, Vec<u8>)>,
    /// The app inventory's sources.
    pub inventory: Vec<(String, Vec<u8>)>,
    /// Manifest of the location data (`data.json`); empty: no session uses any yet.
    pub data: Vec<u8>,
    /// The location data itself (`places.bin`), where it is not what is built in and may be kept;
    /// else empty.
    pub places: Vec<u8>,
}

impl CaseFiles {
    /// Each file with its path in the folder. Names are checked, and each may occur once.
    fn entries(&self) -> Result<Vec<(String, &[u8])>, StoreError> {
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for (folder, files) in [("rules", &self.rules), ("inventory", &self.inventory)] {
            for (name, bytes) in files {
                let path = format!("{folder}/{name}");
                if !is_file_name(name) || !seen.insert(path.clone()) {
                    return Err(StoreError::FileName(name.clone()));
                }
                entries.push((path, bytes.as_slice()));
            }
        }
        if !self.data.is_empty() {
            entries.push((DATA_FILE.to_owned(), self.data.as_slice()));
        }
        if !self.places.is_empty() {
            entries.push((PLACES_FILE.to_owned(), self.places.as_slice()));
        }
        Ok(entries)
    }
}

fn is_file_name(name: &str) -> bool {
    (1..=FILE_NAME_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A file as a record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the folder, with `/`.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Hash,
}

impl FileEntry {
    fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: Hash::of(bytes),
        }
    }
}

/// Body of the first record (`case`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseBody {
    /// The metadata, as in `case.json`.
    pub case: CaseMeta,
    /// Every file in the folder but the database, the lock and the key.
    pub files: Vec<FileEntry>,
}

/// Body of a `files` record: what a later session uses, or a session from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesBody {
    /// Number of the session: from 2, in a case that was prepared from 1.
    pub session: u64,
    /// Every file in use; an unchanged one keeps its earlier path.
    pub files: Vec<FileEntry>,
}

/// Body of an `exhibit` record: a file that was taken or given during a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExhibitBody {
    /// When it was taken into the case.
    pub at: Timestamp,
    /// The copy in the case.
    #[serde(flatten)]
    pub file: FileEntry,
}

/// A case that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    dir: PathBuf,
    meta: CaseMeta,
}

impl Case {
    /// Opens the folder `dir` and reads its metadata; changes nothing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(METADATA_FILE);
        let found = fs::metadata(dir).map_err(|error| StoreError::io(dir, error))?;
        if !found.is_dir() {
            return Err(StoreError::NotACase(dir.to_owned()));
        }
        let bytes = match read_bounded(&path, METADATA_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NotACase(dir.to_owned()));
            }
            Err(error) => return Err(StoreError::io(&path, error)),
        };
        let meta: CaseMeta =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::Metadata {
                path: path.clone(),
                detail: error.to_string(),
            })?;
        if meta.format != FORMAT {
            return Err(StoreError::Metadata {
                path,
                detail: format!("format is {:?}, not {FORMAT:?}", meta.format),
            });
        }
        if meta.version > FORMAT_VERSION {
            return Err(StoreError::NewerSchema {
                path,
                found: meta.version.into(),
                supported: FORMAT_VERSION.into(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            meta,
        })
    }

    /// Makes the folder (mode 0700; an empty one may exist) and writes its files, durably. Gives
    /// the draft of the first record.
    pub(super) fn lay_out(
        dir: &Path,
        meta: CaseMeta,
        files: &CaseFiles,
    ) -> Result<(Self, CaseLock, Draft), StoreError> {
        let entries = files.entries()?;
        medium::check(dir)?;
        make_folder(dir)?;
        let lock = CaseLock::exclusive(dir)?;
        let mut metadata = serde_json::to_vec_pretty(&meta).map_err(|error| StoreError::Io {
            path: dir.join(METADATA_FILE),
            source: error.into(),
        })?;
        metadata.push(b'\n');
        write_file(dir, METADATA_FILE, &metadata)?;
        let mut named = vec![FileEntry::of(METADATA_FILE, &metadata)];
        for (path, bytes) in entries {
            write_file(dir, &path, bytes)?;
            named.push(FileEntry::of(&path, bytes));
        }
        sync_folder(dir)?;
        match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new("."))?,
            Some(parent) => sync_folder(parent)?,
            None => {}
        }
        let body = CaseBody {
            case: meta.clone(),
            files: named,
        };
        let case = Self {
            dir: dir.to_owned(),
            meta,
        };
        Ok((case, lock, Draft::new(Kind::CASE, &body)?))
    }

    /// Writes what differs from `known` (the newest entry of each name) into the folder of
    /// `session`, and gives the draft of the record that names every file in use.
    pub(super) fn add_files(
        &self,
        session: u64,
        files: &CaseFiles,
        known: &BTreeMap<String, FileEntry>,
    ) -> Result<Draft, StoreError> {
        let prefix = format!("session-{session}/");
        let body = FilesBody {
            session,
            files: self.write_new(&prefix, files.entries()?.into_iter(), known)?,
        };
        Ok(Draft::new(Kind::FILES, &body)?)
    }

    /// Writes the inventory's files as they became while `session` watched, where they differ from
    /// `known`, into a folder of that change, and gives the draft of the record that names every
    /// file in use from then on.
    pub(super) fn add_inventory(
        &self,
        (session, change): (u64, u32),
        files: &[(String, Vec<u8>)],
        known: &BTreeMap<String, FileEntry>,
    ) -> Result<Draft, StoreError> {
        let prefix = format!("session-{session}/change-{change}/");
        let only = CaseFiles {
            inventory: files.to_vec(),
            ..CaseFiles::default()
        };
        let mut named: Vec<FileEntry> = known
            .iter()
            .filter(|(name, _)| !name.starts_with(INVENTORY_FOLDER))
            .map(|(_, entry)| entry.clone())
            .collect();
        let entries = only.entries()?.into_iter();
        named.extend(self.write_new(
            &prefix,
            entries.filter(|(name, _)| name.starts_with(INVENTORY_FOLDER)),
            known,
        )?);
        let body = FilesBody {
            session,
            files: named,
        };
        Ok(Draft::new(Kind::FILES, &body)?)
    }

    /// Writes the files that differ from `known` below `prefix`, and gives the entries of all.
    fn write_new<'a>(
        &self,
        prefix: &str,
        files: impl Iterator<Item = (String, &'a [u8])>,
        known: &BTreeMap<String, FileEntry>,
    ) -> Result<Vec<FileEntry>, StoreError> {
        let mut named = Vec::new();
        for (name, bytes) in files {
            let entry = FileEntry::of(&name, bytes);
            match known.get(&name) {
                Some(old) if old.sha256 == entry.sha256 => named.push(old.clone()),
                _ => {
                    let path = format!("{prefix}{name}");
                    write_file(&self.dir, &path, bytes)?;
                    named.push(FileEntry { path, ..entry });
                }
            }
        }
        sync_folder(&self.dir)?;
        Ok(named)
    }

    /// Copies a file into the case, durably, under its hash; no record names it yet. The same file
    /// twice is kept once.
    pub fn keep_exhibit(&self, from: &Path) -> Result<FileEntry, StoreError> {
        let bytes =
            read_bounded(from, EXHIBIT_MAX + 1).map_err(|error| StoreError::io(from, error))?;
        if bytes.is_empty() || bytes.len() as u64 > EXHIBIT_MAX {
            return Err(StoreError::Exhibit(from.to_owned()));
        }
        let ending = from.extension().and_then(|ending| ending.to_str());
        let ending = ending.filter(|ending| {
            ending.len() <= ENDING_MAX && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let ending = ending.map_or_else(String::new, |ending| format!(".{ending}"));
        let path = format!("{EXHIBIT_FOLDER}{}{ending}", Hash::of(&bytes));
        let to = self.dir.join(&path);
        // One that is there and whole may be named by a record: it is not written again.
        let is_kept = read_bounded(&to, EXHIBIT_MAX).is_ok_and(|kept| kept == bytes);
        if !is_kept && let Err(error) = write_file(&self.dir, &path, &bytes) {
            // What came of it would only take room.
            let _ = fs::remove_file(&to);
            return Err(error);
        }
        sync_folder(&self.dir)?;
        Ok(FileEntry::of(&path, &bytes))
    }

    /// Checks that nobody else can get at the folder: before writing.
    pub(super) fn check_private(&self) -> Result<(), StoreError> {
        let found = fs::metadata(&self.dir).map_err(|error| StoreError::io(&self.dir, error))?;
        let expected = rustix::process::geteuid().as_raw();
        let mode = found.mode() & 0o7777;
        if mode == 0o700 && found.uid() == expected {
            return Ok(());
        }
        Err(StoreError::Exposed {
            path: self.dir.clone(),
            mode,
            owner: found.uid(),
            expected,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The metadata.
    pub fn meta(&self) -> &CaseMeta {
        &self.meta
    }

    /// Path of the database.
    pub fn database(&self) -> PathBuf {
        self.dir.join(DATABASE_FILE)
    }
}

/// The path of a file without the folders of its session and change: what the file is called in
/// every session.
pub fn name_of(path: &str) -> &str {
    ["session-", "change-"]
        .iter()
        .fold(path, |path, prefix| match path.split_once('/') {
            Some((folder, name)) if folder.starts_with(prefix) => name,
            _ => path,
        })
}

/// The lock on a case; released when dropped.
#[derive(Debug)]
pub(super) struct CaseLock(#[expect(dead_code, reason = "held for its lock")] File);

impl CaseLock {
    /// For a writer; makes the lock file when it is missing.
    pub(super) fn exclusive(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io(&path, error))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| StoreError::io(&path, error.into()))?;
        Ok(Self(file))
    }

    /// For a reader: none while a writer is at work, or when it cannot be told.
    pub(super) fn shared(dir: &Path) -> Option<Self> {
        let file = File::open(dir.join(LOCK_FILE)).ok()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).ok()?;
        Some(Self(file))
    }
}

fn make_folder(dir: &Path) -> Result<(), StoreError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if dir.join(METADATA_FILE).exists() {
                return Err(StoreError::Exists(dir.to_owned()));
            }
            if entries.next().is_some() {
                return Err(StoreError::NotEmpty(dir.to_owned()));
            }
            fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .map_err(|error| StoreError::io(dir, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::NoParent(dir.to_owned()),
                _ => StoreError::io(dir, error),
            }),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(StoreError::NotAFolder(dir.to_owned()))
        }
        Err(error) => Err(StoreError::io(dir, error)),
    }
}

/// Writes a file and the folders above it within `dir`; both are on the disk when it returns. A
/// file that exists is a leftover of a start that was interrupted before its record.
pub(super) fn write_file(dir: &Path, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = dir.join(relative);
    let folder = path.parent().unwrap_or(dir);
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
        .map_err(|error| StoreError::io(folder, error))?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|error| StoreError::io(&path, error))?;
    sync_folder(folder)?;
    folder
        .parent()
        .filter(|parent| parent.starts_with(dir))
        .map_or(Ok(()), sync_folder)
}

pub(super) fn sync_folder(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StoreError::io(dir, error))
}

fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, max), &mut bytes)?;
    Ok(bytes)
}
