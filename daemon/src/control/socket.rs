//! Where control sockets lie: a folder for root alone, one socket for each running daemon.
//!
//! In: a case's id. Out: paths. The folder is short, so that a case may lie as deep as it likes
//! (a unix socket's path has 108 bytes).

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

/// Names another folder for control sockets.
pub const FOLDER_VARIABLE: &str = "SAKSHI_RUNTIME_DIR";

/// The folder of the control sockets: [`FOLDER_VARIABLE`], else `/run/sakshi`, else, on Android,
/// `/data/local/tmp/sakshi.run`.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return PathBuf::from(folder);
    }
    let run = Path::new("/run");
    if run.is_dir() {
        run.join("sakshi")
    } else {
        PathBuf::from("/data/local/tmp/sakshi.run")
    }
}

/// The socket of the daemon that writes the case with this id.
pub fn path(case_id: &str) -> PathBuf {
    folder().join(format!("{case_id}.sock"))
}

/// Makes the folder, for its owner alone. One that is there stays as it is: it may be somebody
/// else's, so it is refused where others may write.
pub fn make_folder() -> io::Result<()> {
    let folder = folder();
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&folder)?;
    let mode = fs::metadata(&folder)?.permissions().mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("its mode is {mode:04o}, so others may write there; expected 0700"),
    ))
}

/// The sockets on which a daemon answers, sorted; and those that a crash left behind.
pub fn found() -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut sockets: Vec<PathBuf> = match fs::read_dir(folder()) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    sockets.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sock")
    });
    sockets.sort();
    Ok(sockets
        .into_iter()
        .partition(|path| UnixStream::connect(path).is_ok()))
}

/// Removes a socket, and the folder when it is empty.
pub fn remove(path: &Path) {
    // A socket that is gone already is what was wanted; a folder in use stays.
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir(folder());
}
