//! What can go wrong with a case, each with the file and the remedy.
//!
//! In: failures of SQLite and of the file system. Out: a [`StoreError`] that a technician can act
//! upon.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;

use super::{canonical::CanonicalError, reserve::RESERVE_BYTES, schema};

/// Why a case cannot be created, opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file that is not taken.
    #[error("{} is empty, or longer than {} MiB: give a smaller picture", .0.display(), super::case::EXHIBIT_MAX >> 20)]
    Exhibit(PathBuf),
    /// There is no such folder or file.
    #[error("{path} does not exist: check the path of the case", path = .0.display())]
    Missing(PathBuf),
    /// A folder or file that is no case.
    #[error(
        "{path} is no case (it has no case.json): name the folder that was given to `--case` of \
         `sakshi run` or `sakshi inspect`",
        path = .0.display()
    )]
    NotACase(PathBuf),
    /// A new case was asked for where something else is.
    #[error(
        "{path} is not empty and is no case (it has no case.json): name a new or an empty folder",
        path = .0.display()
    )]
    NotEmpty(PathBuf),
    /// A new case was asked for where a file is.
    #[error("{path} is a file, expected a folder for the case: name a new or an empty folder", path = .0.display())]
    NotAFolder(PathBuf),
    /// A new case was asked for in a folder that is not there.
    #[error("the folder above {path} does not exist: make it first, or check the path", path = .0.display())]
    NoParent(PathBuf),
    /// A new case was asked for where there is one.
    #[error("{path} is a case already: name a new folder, or continue the case", path = .0.display())]
    Exists(PathBuf),
    /// The case's creation was interrupted before its first record.
    #[error(
        "{path} holds no record, or no evidence.db at all: if its creation was interrupted, nothing \
         was lost: remove the folder and start again; if it held records, restore it from a copy",
        path = .0.display()
    )]
    Interrupted(PathBuf),
    /// `case.json` cannot be understood.
    #[error(
        "{path}: {detail}; expected the metadata of a case: restore the file from a copy",
        path = .path.display()
    )]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        detail: String,
    },
    /// Somebody else can get at the folder.
    #[error(
        "{path} has mode {mode:04o} and owner {owner}, expected 0700 and {expected}: run `chmod \
         700` and `chown` on it if nobody else had access to it",
        path = .path.display()
    )]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// UID of its owner.
        owner: u32,
        /// UID of this process.
        expected: u32,
    },
    /// Another process uses the case.
    #[error(
        "{path} is locked: another process watches into this case, reads or seals it; stop it with \
         `sakshi stop`, or wait until it is done",
        path = .0.display()
    )]
    Locked(PathBuf),
    /// The file system takes no writes.
    #[error(
        "{path} cannot be written: the file system or the file is read-only; put the case on a \
         writable one",
        path = .0.display()
    )]
    ReadOnly(PathBuf),
    /// No permission.
    #[error("{path}: permission denied: run as the case's owner (root on a handset)", path = .0.display())]
    Denied(PathBuf),
    /// No space is left.
    #[error(
        "{path}: no space left on the file system; what was acknowledged is kept: free some space \
         and start again",
        path = .0.display()
    )]
    DiskFull(PathBuf),
    /// There is no room for what a watch keeps in reserve.
    #[error(
        "{path}: no space left on the file system for the {mib} MiB that a watch keeps in reserve for \
         its end: free some space and start again",
        path = .0.display(),
        mib = RESERVE_BYTES / (1024 * 1024)
    )]
    NoReserve(PathBuf),
    /// Every app may read what lies there.
    #[error(
        "{path} lies on {file_system}, where owners and modes of files do not hold, so that apps can \
         read it: put the case on the handset's own storage, such as /data/sakshi",
        path = .path.display()
    )]
    Shared {
        /// The folder.
        path: PathBuf,
        /// What it lies on.
        file_system: &'static str,
    },
    /// A later version wrote it.
    #[error(
        "{path} has schema version {found}, this version of sakshi reads up to {supported}: use \
         the version that wrote it, or a later one",
        path = .path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The version that this build knows.
        supported: i64,
    },
    /// An earlier version wrote it.
    #[error(
        "{path} has format version {found}, whose records are not signed: it is read and verified as \
         before, but not continued; start a new case",
        path = .path.display()
    )]
    OlderFormat {
        /// The folder.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The private key of the next checkpoint is not there.
    #[error(
        "{path} is missing, so this case cannot be continued (a copy or an extract of a case has no \
         key); what it holds stays valid: start a new case",
        path = .0.display()
    )]
    NoKey(PathBuf),
    /// The private key is another one than the last checkpoint names.
    #[error(
        "{path} does not hold the key that the last checkpoint names ({expected}), so this case \
         cannot be continued: was one of them restored from a copy? Verify the case against a head \
         that was noted elsewhere, and start a new one",
        path = .path.display()
    )]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// The public key that is named.
        expected: String,
    },
    /// A bundle was asked for of a case that is not sealed.
    #[error("{path} is not sealed: run `sakshi seal` on it", path = .0.display())]
    NotSealed(PathBuf),
    /// A case without signatures was to be sealed.
    #[error(
        "{path} is the case of an inspection, whose records are not signed, so it cannot be sealed: make \
         a case with `sakshi case new` and inspect into that",
        path = .0.display()
    )]
    Unsigned(PathBuf),
    /// The case was closed for good.
    #[error("{path} is sealed and takes no more records: start a new case", path = .0.display())]
    Sealed(PathBuf),
    /// A file is not what a record says.
    #[error(
        "{path} is not as the case's records say, or not an ordinary file: run `sakshi verify` on the \
         case, and restore the file from a copy",
        path = .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file does not fit into a bundle.
    #[error("{path} is too large for a bundle, which takes files of {max} bytes with paths of 255")]
    NoBundle {
        /// The file, within the case.
        path: String,
        /// Most bytes.
        max: u64,
    },
    /// Not our database.
    #[error("{path} is no evidence database: {detail}; run `sakshi verify` on the case", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The database contradicts itself.
    #[error("{path} is damaged: {detail}; run `sakshi verify` on the case and start a new one", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite or the chain says.
        detail: String,
    },
    /// A record is longer than the store takes.
    #[error("a {kind} record of {bytes} bytes is refused, the limit is {max}")]
    TooLarge {
        /// Kind of the record.
        kind: String,
        /// Its length.
        bytes: usize,
        /// [`BODY_MAX`](super::record::BODY_MAX) or
        /// [`ATTACHMENT_MAX`](super::record::ATTACHMENT_MAX).
        max: usize,
    },
    /// A file's name does not fit into a case.
    #[error(
        "{0:?} is no name for a file of a case: expected 1 to 100 letters, digits, `.`, `_` or `-`, \
         not beginning with a dot, each name once"
    )]
    FileName(String),
    /// A case with an unfinished log is read from a copy, and there was no place for it.
    #[error(
        "the case was not closed in order, so it is read from a copy, which cannot be made in \
         {folder}: {source}; set TMPDIR to a folder with room for the whole case",
        folder = .folder.display()
    )]
    NoCopy {
        /// The folder for temporary files.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The case was written to while it was copied for reading, again and again.
    #[error("{path} changed too often while it was read: try again, or stop the watch first", path = .0.display())]
    Busy(PathBuf),
    /// A body has no canonical form.
    #[error("a record cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
    /// Any other failure of the file system.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Any other failure of SQLite.
    #[error(
        "{path}: {source}{code}",
        path = .path.display(),
        code = result_code(source).map(|code| format!(" (SQLite's result code {code})")).unwrap_or_default()
    )]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The store's thread ended by a defect of ours.
    #[error(
        "the store's thread ended without a reason; this is a defect, what was acknowledged is kept"
    )]
    ThreadLost,
}

/// Whether SQLite could not enlarge the index of its write-ahead log: "the underlying filesystem
/// volume is out of space", as `SQLite`'s list of result codes says of it.
fn cannot_grow(source: &rusqlite::Error) -> bool {
    result_code(source) == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// The extended result code.
fn result_code(source: &rusqlite::Error) -> Option<i32> {
    source.sqlite_error().map(|error| error.extended_code)
}

impl StoreError {
    /// From a failure of the file system at `path`.
    pub fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            io::ErrorKind::WouldBlock => Self::Locked(path),
            _ => Self::Io { path, source },
        }
    }

    /// From a failure of SQLite on the database `path`.
    pub fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            _ if cannot_grow(&source) => Self::DiskFull(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::DiskFull) => Self::DiskFull(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::PermissionDenied) => Self::Denied(path),
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::NotADatabase) => Self::Foreign {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::CannotOpen) if !path.exists() => Self::Missing(path),
            _ => Self::Sqlite { path, source },
        }
    }

    /// A newer schema than this build knows.
    pub(super) fn newer(path: &Path, found: i64) -> Self {
        Self::NewerSchema {
            path: path.to_owned(),
            found,
            supported: schema::VERSION.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn an_index_that_cannot_grow_is_a_full_disk() {
        let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let path = Path::new("evidence.db");
        let full = StoreError::sqlite(path, failure(ffi::SQLITE_IOERR_SHMSIZE));
        assert!(matches!(full, StoreError::DiskFull(_)), "{full}");
        let other = StoreError::sqlite(path, failure(ffi::SQLITE_IOERR_READ));
        assert!(matches!(other, StoreError::Sqlite { .. }));
        assert!(
            other.to_string().ends_with("(SQLite's result code 266)"),
            "{other}"
        );
    }
}
