//! Why it could not be told whether evidence is intact. Damage is no error: it is a result.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a case or a bundle could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such folder or file.
    #[error("{path} does not exist: check the path of the case", path = .0.display())]
    Missing(PathBuf),
    /// A folder that is no case.
    #[error(
        "{path} is no case (it has no case.json): name the folder that was given to `--case` of \
         `sakshi run` or `sakshi inspect`",
        path = .0.display()
    )]
    NotACase(PathBuf),
    /// A file that is no bundle.
    #[error(
        "{path} is no case and no bundle: name the folder that was given to `--case`, or a file that \
         `sakshi seal` wrote",
        path = .0.display()
    )]
    NotABundle(PathBuf),
    /// No permission.
    #[error("{path}: permission denied: run as the case's owner (root on a handset)", path = .0.display())]
    Denied(PathBuf),
    /// A later version wrote it.
    #[error(
        "{path} has schema version {found}, this version of sakshi reads up to {supported}: use \
         the version that wrote it, or a later one",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The version that this build knows.
        supported: i64,
    },
    /// The database cannot be copied for reading.
    #[error(
        "the database is read from a copy, which cannot be made in {folder}: {source}; set TMPDIR \
         to a folder with room for the whole case",
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
    /// A bundle that was encrypted.
    #[error("{path} is encrypted: decrypt it with `age --decrypt` first, or pipe that into `-`", path = .0.display())]
    Encrypted(PathBuf),
    /// Any other failure of the file system.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Any other failure of SQLite.
    #[error("{path}: {source}", path = .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl VerifyError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn no_copy(source: io::Error) -> Self {
        Self::NoCopy {
            folder: std::env::temp_dir(),
            source,
        }
    }
}
