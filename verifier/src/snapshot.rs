//! The database of a case, opened for reading without changing a byte of the folder, also while a
//! daemon writes into it or after it was killed.
//!
//! SQLite makes a `-shm` file even when it only reads a database with a write-ahead log, so it is
//! never let at one in the case. A quiet database (no log, and nobody has it locked) is opened in
//! place as immutable, under a shared lock. Otherwise database and log are copied to a private
//! temporary folder, so a long verification never holds back the writer's log either. Of a case with
//! several parts only the last is ever written, so the others are opened in place.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, limits::Limit};
use tempfile::TempDir;

use crate::error::VerifyError;

/// The database.
pub(crate) const DATABASE_FILE: &str = "evidence.db";
/// What a writer locks.
pub(crate) const LOCK_FILE: &str = "case.lock";
/// How often a copy is tried again when the log was reset meanwhile.
const TRIES_MAX: usize = 8;
/// Bytes of a write-ahead log's header; its salts change whenever the log starts anew.
const WAL_HEADER: u64 = 32;
/// Longest row that is read: body, attachment, and room for the rest, in bytes.
const ROW_MAX: i32 = (16 + 64) * 1024 * 1024 + 64 * 1024;

/// The file name of a part of the database, counted from 1.
pub(crate) fn part_name(part: u64) -> String {
    match part {
        1 => DATABASE_FILE.to_owned(),
        part => format!("evidence-{part:06}.db"),
    }
}

/// The part that a file name is of; none for every other file.
pub(crate) fn part_number(file: &str) -> Option<u64> {
    if file == DATABASE_FILE {
        return Some(1);
    }
    let digits = file.strip_prefix("evidence-")?.strip_suffix(".db")?;
    let part = digits.parse().ok()?;
    (part > 1 && part_name(part) == file).then_some(part)
}

/// A part of the database, where it is to be opened.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) number: u64,
    path: PathBuf,
    /// Nobody else can write it.
    quiet: bool,
}

/// The database of a case: its parts in the order of their numbers, of which some may be missing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    parts: Vec<Part>,
    // Given up and removed when it is dropped.
    _lock: Option<File>,
    _folder: Option<TempDir>,
}

/// What came of opening a part.
pub(crate) enum Opened {
    /// It can be read; the connection refuses to write.
    Readable(Connection),
    /// It is no database, or a damaged one: what SQLite says.
    Damaged(String),
}

impl Snapshot {
    /// The database of the case in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, VerifyError> {
        let lock = lock_shared(dir);
        let writer_possible = lock.is_none() && dir.join(LOCK_FILE).exists();
        let mut parts = list(dir)?;
        let mut folder = None;
        if let Some(last) = parts.last_mut()
            && (writer_possible || !Log::read(&last.path)?.is_empty())
        {
            let copy = copy(&last.path)?;
            last.path = copy.path().join(DATABASE_FILE);
            last.quiet = false;
            folder = Some(copy);
        }
        Ok(Self {
            parts,
            _lock: lock,
            _folder: folder,
        })
    }

    /// A database that nobody else has, in a folder of ours.
    pub(crate) fn open_own(folder: TempDir) -> Result<Self, VerifyError> {
        Ok(Self {
            parts: list(folder.path())?,
            _lock: None,
            _folder: Some(folder),
        })
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Opened, VerifyError> {
        if !self.path.is_file() {
            return Ok(Opened::Damaged("it is no ordinary file".to_owned()));
        }
        let connection = if self.quiet {
            connect(&immutable(&self.path))
        } else {
            connect(&self.path)
        };
        match connection {
            Ok(connection) => Ok(Opened::Readable(connection)),
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                ) =>
            {
                Ok(Opened::Damaged(error.to_string()))
            }
            Err(source) => Err(VerifyError::Sqlite {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

fn list(dir: &Path) -> Result<Vec<Part>, VerifyError> {
    let failed = |error| VerifyError::io(dir, error);
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let number = entry.file_name().to_str().and_then(part_number);
        parts.extend(number.map(|number| Part {
            number,
            path: entry.path(),
            quiet: true,
        }));
    }
    parts.sort_by_key(|part| part.number);
    Ok(parts)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, ROW_MAX)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "query_only", true)?;
    // Reads the header, so that a file of another sort is told from a damaged record.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// `file:` URI (RFC 8089, SQLite's reading of it) that promises that nobody writes.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    PathBuf::from(uri)
}

/// A shared lock; none while a writer is at work, or when it cannot be told.
fn lock_shared(dir: &Path) -> Option<File> {
    let file = File::open(dir.join(LOCK_FILE)).ok()?;
    file.try_lock_shared().ok()?;
    Some(file)
}

/// What tells one state of the log from another.
#[derive(Debug, PartialEq, Eq)]
enum Log {
    /// No log, or an empty one: then the database itself is compared, by length and time.
    Empty(Option<(u64, Option<SystemTime>)>),
    /// The log's header.
    Header(Vec<u8>),
}

impl Log {
    fn read(database: &Path) -> Result<Self, VerifyError> {
        let path = log_of(database);
        let mut header = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(WAL_HEADER)
                    .read_to_end(&mut header)
                    .map_err(|error| VerifyError::io(&path, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(VerifyError::io(&path, error)),
        }
        if header.is_empty() {
            let state = fs::metadata(database).ok();
            let state = state.map(|state| (state.len(), state.modified().ok()));
            return Ok(Self::Empty(state));
        }
        Ok(Self::Header(header))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Empty(_))
    }
}

fn log_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Copies the database, then its log. Whatever was moved from the log into the database meanwhile
/// is still in a log whose header is unchanged, so log over database is one state: that of the
/// second copy.
fn copy(database: &Path) -> Result<TempDir, VerifyError> {
    for _ in 0..TRIES_MAX {
        let before = Log::read(database)?;
        let folder = private_folder()?;
        let target = folder.path().join(DATABASE_FILE);
        copy_file(database, &target)?;
        if !before.is_empty() {
            match copy_file(&log_of(database), &log_of(&target)) {
                // The writer closed meanwhile: the next try finds no log.
                Err(VerifyError::Missing(_)) => continue,
                other => other?,
            }
        }
        if Log::read(database)? == before {
            return Ok(folder);
        }
    }
    Err(VerifyError::Busy(database.to_owned()))
}

/// A temporary folder that nobody else can read.
pub(crate) fn private_folder() -> Result<TempDir, VerifyError> {
    tempfile::Builder::new()
        .prefix("sakshi-read-")
        .tempdir()
        .map_err(VerifyError::no_copy)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), VerifyError> {
    let mut source = File::open(from).map_err(|error| VerifyError::io(from, error))?;
    let mut target = File::create_new(to).map_err(VerifyError::no_copy)?;
    io::copy(&mut source, &mut target).map_err(VerifyError::no_copy)?;
    Ok(())
}
