//! Why a handset could not be worked with over adb.

use std::{io, path::PathBuf};

/// Why a handset could not be worked with.
#[derive(Debug, thiserror::Error)]
pub enum HandsetError {
    /// No adb.
    #[error(
        "`{0}` was not found: install Android's platform tools (on Debian: apt-get install adb)"
    )]
    NoAdb(String),
    /// adb could not be run, or broke in a way of its own.
    #[error("adb could not be run: {0}")]
    Adb(io::Error),
    /// No handset.
    #[error(
        "no handset is connected: plug it in, switch on USB debugging in its developer options, and \
         see `adb devices`; adb says: {0}"
    )]
    NoDevice(String),
    /// The handset has not agreed.
    #[error(
        "the handset {0} has not allowed this PC: unlock it and answer its question `Allow USB \
         debugging?`"
    )]
    Unauthorised(String),
    /// The handset does not answer.
    #[error("the handset {serial} is `{state}`: plug it in again, or restart it")]
    Offline {
        /// Its serial.
        serial: String,
        /// As adb calls it.
        state: String,
    },
    /// More than one.
    #[error("{} handsets are connected: name the one you mean with --serial: {}", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// No root.
    #[error(
        "the handset gives no root to adb's shell: let its root manager grant it to `Shell`, and see \
         `adb shell su -c id`; it says: {0}"
    )]
    NoRoot(String),
    /// The program is not on the handset.
    #[error(
        "Sakshi is not on the handset: `sakshi handset push --program FILE` first; it says: {0}"
    )]
    NotPushed(String),
    /// A program for another kind of processor.
    #[error(
        "{path} is for {program}, and the handset is {handset}: build it for the handset \
         (docs/building.md)",
        path = .path.display()
    )]
    WrongAbi {
        /// The program.
        path: PathBuf,
        /// What it is for.
        program: String,
        /// What the handset is.
        handset: String,
    },
    /// The connection broke and did not come back.
    #[error(
        "the connection to the handset broke, and did not come back within {seconds} s: plug it in \
         and give the same command again, it goes on where it was; adb says: {said}"
    )]
    Gone {
        /// How long it was waited for.
        seconds: u64,
        /// What adb said last.
        said: String,
    },
    /// The connection broke; told only where nothing is tried again.
    #[error("the connection to the handset broke; adb says: {0}")]
    Dropped(String),
    /// A command on the handset failed.
    #[error("on the handset, `sakshi {command}` ended with {code}: {said}")]
    Refused {
        /// Its words.
        command: String,
        /// Exit code.
        code: u8,
        /// What it said.
        said: String,
    },
    /// What came is not what was sent.
    #[error(
        "{path}: what came through adb is not what the handset hashed ({got}, there {expected}): remove \
         it and pull again",
        path = .path.display()
    )]
    Damaged {
        /// The file here.
        path: PathBuf,
        /// Its hash.
        got: String,
        /// The hash there.
        expected: String,
    },
    /// A file here.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A baseline that is none.
    #[error("{path} is no baseline that `sakshi handset baseline` wrote: {why}", path = .path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name that is no case's.
    #[error("{0:?} is no name for a case: take letters, digits, `-`, `_` and `.`, not `.` first")]
    Name(String),
    /// A case would be removed of which no copy is here.
    #[error(
        "cases are on the handset of which no copy was shown: {}; pull each and name its bundle with \
         --pulled, or leave them there with --keep-cases",
        .0.join(", ")
    )]
    NotPulled(Vec<String>),
}
