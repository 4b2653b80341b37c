//! The way to the daemon: its control socket, one JSON object a line.
//!
//! In: a topic, and names and values in turn. Out: whether the daemon has it on record.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 64 * 1024;
/// Longest wait for an answer: the daemon answers when it is on the disk.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Why something is not on record.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Java gave null.
    #[error("null is no word: say what is not known by leaving it out")]
    Null,
    /// Too many words.
    #[error("{0} names and values are too many for one observation: tell it in parts")]
    Words(usize),
    /// A name without a value.
    #[error("names and values come in turn, and the last name has no value")]
    Odd,
    /// Nobody listens.
    #[error("no daemon listens in {path}: start the watch first", path = .0.display())]
    Nobody(PathBuf),
    /// The socket failed.
    #[error("the daemon's socket failed: {0}; is this root?")]
    Socket(#[from] io::Error),
    /// The daemon said no, or something else.
    #[error("the daemon did not take it: {0}")]
    Refused(String),
}

#[derive(Serialize)]
struct Request<'a> {
    command: &'static str,
    source: &'static str,
    topic: &'a str,
    facts: BTreeMap<&'a str, &'a str>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
    #[serde(default)]
    reason: String,
}

/// Tells the daemon whose socket is in `folder`, and waits until it is on the disk.
pub fn tell(folder: &Path, topic: &str, words: &[String]) -> Result<(), LinkError> {
    let pairs = words.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(LinkError::Odd);
    }
    let facts = pairs
        .filter_map(|pair| match pair {
            [name, value] => Some((name.as_str(), value.as_str())),
            _ => None,
        })
        .collect();
    let request = Request {
        command: "observe",
        source: "shim",
        topic,
        facts,
    };
    let mut line = serde_json::to_string(&request).map_err(io::Error::other)?;
    line.push('\n');
    let mut stream = connect(folder)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut answer)?;
    match serde_json::from_str::<Answer>(&answer) {
        Ok(answer) if answer.answer == "committed" => Ok(()),
        Ok(answer) if answer.answer == "failed" => Err(LinkError::Refused(answer.reason)),
        _ => Err(LinkError::Refused(
            answer.trim().chars().take(200).collect(),
        )),
    }
}

/// Whether a daemon's socket in `folder` is listened on.
pub fn listens(folder: &Path) -> bool {
    connect(folder).is_ok()
}

/// A daemon whose socket is in `folder`; on a handset one runs.
fn connect(folder: &Path) -> Result<UnixStream, LinkError> {
    let nobody = || LinkError::Nobody(folder.to_owned());
    let entries = fs::read_dir(folder).map_err(|_| nobody())?;
    let mut sockets: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    sockets.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "sock")
    });
    sockets.sort();
    sockets
        .iter()
        .find_map(|path| UnixStream::connect(path).ok())
        .ok_or_else(nobody)
}
