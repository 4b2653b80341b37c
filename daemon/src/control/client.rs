//! The command line's side of the control socket.
//!
//! In: a request and, where several daemons run, the case that is meant. Out: the answer.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    protocol::{Answer, LINE_MAX, Request},
    socket,
};
use crate::evidence::{Case, StoreError};

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no daemon is running: start one with `sakshi run --case DIR`")]
    None,
    /// Several answer.
    #[error("{0} daemons are running: name the one you mean with --case DIR")]
    Several(usize),
    /// The case does not say which daemon is meant.
    #[error(transparent)]
    Case(#[from] StoreError),
    /// The socket failed.
    #[error("the control socket {path} failed: {source}; is this the user that runs the daemon (root)?", path = .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon said something that we don't understand.
    #[error("the daemon's answer is not understood ({0}): are both of the same version?")]
    Answer(String),
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to the daemon that writes `case`, or to the only one that runs.
    pub fn open(case: Option<&Path>) -> Result<Self, ClientError> {
        let path = match case {
            Some(dir) => socket::path(&Case::open(dir)?.meta().id),
            None => only_one()?,
        };
        Self::at(&path)
    }

    /// Connects to the daemon behind a socket.
    pub fn at(path: &Path) -> Result<Self, ClientError> {
        let path = path.to_owned();
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Self {
                path,
                stream: BufReader::new(stream),
            }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Err(ClientError::None)
            }
            Err(source) => Err(ClientError::Socket { path, source }),
        }
    }

    /// The same, but each answer must come within `timeout`: a daemon that hangs must not make us
    /// hang.
    pub fn at_within(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let connection = Self::at(path)?;
        let stream = connection.stream.get_ref();
        stream
            .set_read_timeout(Some(timeout))
            .map_err(|source| ClientError::Socket {
                path: path.to_owned(),
                source,
            })?;
        Ok(connection)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        self.send(request)?;
        self.next_answer()?
            .ok_or_else(|| ClientError::Answer("the connection was closed".to_owned()))
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_string(request)
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        line.push('\n');
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        sent.map_err(|source| ClientError::Socket {
            path: self.path.clone(),
            source,
        })
    }

    /// The next answer; none when the daemon has closed the connection.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, ClientError> {
        let mut line = String::new();
        let bound = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
        let read = self.stream.by_ref().take(bound).read_line(&mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => serde_json::from_str(&line)
                .map(Some)
                .map_err(|error| ClientError::Answer(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(source) => Err(ClientError::Socket {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

fn only_one() -> Result<PathBuf, ClientError> {
    let (mut running, _) = socket::found().map_err(|source| ClientError::Socket {
        path: socket::folder(),
        source,
    })?;
    match (running.pop(), running.len()) {
        (None, _) => Err(ClientError::None),
        (Some(path), 0) => Ok(path),
        (Some(_), others) => Err(ClientError::Several(others + 1)),
    }
}
