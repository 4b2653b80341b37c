//! A case's database opened for reading without changing a byte of the folder, also while a daemon
//! writes into it or after it was killed.
//!
//! In: the folder. Out: a [`Snapshot`]. SQLite writes a `-shm` file even when it only reads a
//! database with a write-ahead log, so it is never let at one here. A quiet database (no log, no
//! writer) is opened in place as immutable, under a shared lock that keeps a writer out. Otherwise
//! database and log are copied to a private temporary folder and opened there; the reader thus
//! never holds back the writer's log. Decision 0071 tells why the copy is consistent. Of a case with
//! several parts only the last is written, so the others are always opened in place.

use std::{
    cell::OnceCell,
    fmt::Write,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, limits::Limit};
use tempfile::TempDir;

use super::{
    case::{CaseLock, DATABASE_FILE},
    error::StoreError,
    parts,
    record::{ATTACHMENT_MAX, BODY_MAX},
};

/// How often a copy is tried again when the log was reset meanwhile.
const COPY_TRIES_MAX: usize = 8;
/// The log's header: its two salts change whenever the log starts anew.
const WAL_HEADER: usize = 32;
/// Cache of a part that is opened in place, in KiB: all parts of a case may be open at a time.
const CLOSED_CACHE_KIB: i64 = 512;
/// Longest row that is read, in bytes.
const ROW_MAX: usize = BODY_MAX + ATTACHMENT_MAX + 64 * 1024;

/// The database of a case that is open for reading: its parts, in the order of their records.
#[derive(Debug)]
pub(super) struct Snapshot {
    // Fields drop in this order: closed, then unlocked or removed.
    parts: Vec<Part>,
    _lock: Option<CaseLock>,
    _copy: Option<TempDir>,
}

/// One file of records.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Opened once it is asked for.
    connection: OnceCell<Connection>,
}

impl Part {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            connection: OnceCell::new(),
        }
    }

    /// Where it lies in the case.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection; it refuses to write.
    pub(super) fn connection(&self) -> Result<&Connection, StoreError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let connection = closed(&self.path)?;
        Ok(self.connection.get_or_init(|| connection))
    }
}

impl Snapshot {
    /// Opens the database of the case in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let lock = CaseLock::shared(dir);
        let writer_possible = lock.is_none() && dir.join(super::case::LOCK_FILE).exists();
        let parts = parts::list(dir)?;
        let Some(database) = parts.last() else {
            return Err(StoreError::Missing(dir.join(DATABASE_FILE)));
        };
        let (connection, copy) = if !writer_possible && Wal::read(database)?.is_empty() {
            (closed(database)?, None)
        } else {
            let copy = copy(database)?;
            let path = copy.path().join(DATABASE_FILE);
            (connect(&path, database)?, Some(copy))
        };
        let mut parts: Vec<Part> = parts.into_iter().map(Part::new).collect();
        if let Some(last) = parts.last_mut() {
            last.connection = OnceCell::from(connection);
        }
        Ok(Self {
            parts,
            _lock: lock,
            _copy: copy,
        })
    }

    /// Its parts, in the order of their records.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// Opens a part that nobody writes, in place.
pub(super) fn closed(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(&immutable_uri(path), path)?;
    connection
        .pragma_update(None, "cache_size", -CLOSED_CACHE_KIB)
        .map_err(|error| StoreError::sqlite(path, error))?;
    Ok(connection)
}

fn connect(path: &Path, named: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            connection.set_limit(
                Limit::SQLITE_LIMIT_LENGTH,
                i32::try_from(ROW_MAX).unwrap_or(i32::MAX),
            )?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "query_only", true)?;
            // Reads the header, so that a file of another sort is told from a damaged record.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        })
        .map_err(|error| StoreError::sqlite(named, error))
}

/// `file:` URI (RFC 8089, SQLite's reading of it) that promises that nobody writes.
fn immutable_uri(path: &Path) -> PathBuf {
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

/// What tells one state of the log from another.
#[derive(Debug, PartialEq, Eq)]
enum Wal {
    /// No log, or an empty one: the database alone counts, so its own state is compared.
    Empty(Option<(u64, Option<SystemTime>)>),
    /// The log's header.
    Header(Vec<u8>),
}

impl Wal {
    fn read(database: &Path) -> Result<Self, StoreError> {
        let path = wal_path(database);
        let mut header = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(WAL_HEADER as u64)
                    .read_to_end(&mut header)
                    .map_err(|error| StoreError::io(&path, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&path, error)),
        }
        if header.is_empty() {
            let state = fs::metadata(database).ok();
            return Ok(Self::Empty(
                state.map(|state| (state.len(), state.modified().ok())),
            ));
        }
        Ok(Self::Header(header))
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Empty(_))
    }
}

fn wal_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Copies the database, then its log. Whatever a checkpoint moved into the database meanwhile is
/// still in a log whose header is unchanged, so log over database is the state at the second copy.
fn copy(database: &Path) -> Result<TempDir, StoreError> {
    for _ in 0..COPY_TRIES_MAX {
        let before = Wal::read(database)?;
        let folder = tempfile::Builder::new()
            .prefix("sakshi-read-")
            .tempdir()
            .map_err(no_copy)?;
        let target = folder.path().join(DATABASE_FILE);
        copy_file(database, &target)?;
        if !before.is_empty() {
            match copy_file(&wal_path(database), &wal_path(&target)) {
                // The writer closed meanwhile: the next try finds no log.
                Err(StoreError::Missing(_)) => continue,
                other => other?,
            }
        }
        if Wal::read(database)? == before {
            return Ok(folder);
        }
    }
    Err(StoreError::Busy(database.to_owned()))
}

fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(|error| StoreError::io(from, error))?;
    let mut target = File::create_new(to).map_err(no_copy)?;
    io::copy(&mut source, &mut target).map_err(no_copy)?;
    Ok(())
}

fn no_copy(source: io::Error) -> StoreError {
    StoreError::NoCopy {
        folder: std::env::temp_dir(),
        source,
    }
}
