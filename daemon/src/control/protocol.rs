//! What is said on the control socket.
//!
//! In and out: one JSON object a line, UTF-8, at most [`LINE_MAX`] bytes.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{evidence::Head, time::Timestamp};

/// Longest line that is read, in bytes; a longer one ends the connection.
pub const LINE_MAX: usize = 64 * 1024;
/// Longest remark or phase name, in characters.
pub const TEXT_MAX: usize = 4_000;

/// What a note is called in a refusal.
pub const REMARK: &str = "remark";
/// What a phase's name is called in a refusal.
pub const PHASE_NAME: &str = "phase's name";

/// A remark or a phase's name that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a {what} has 1 to {TEXT_MAX} characters and this one has {characters}: give a text, or several shorter ones"
)]
pub struct TextRefused {
    what: &'static str,
    characters: usize,
}

/// The text without the white space around it, if its length is right. The command line asks too,
/// so that no text is longer than a line.
pub fn checked_text<'a>(text: &'a str, what: &'static str) -> Result<&'a str, TextRefused> {
    let text = text.trim();
    match text.chars().count() {
        1..=TEXT_MAX => Ok(text),
        characters => Err(TextRefused { what, characters }),
    }
}

/// What the command line asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How is it going?
    Status,
    /// Every commit from now on, a line each.
    Follow,
    /// End in order.
    Stop,
    /// A remark for the record.
    Note {
        /// The remark.
        text: String,
    },
    /// The lab's PC or Android itself tells something.
    Observe {
        /// Who tells it.
        source: String,
        /// What it is about.
        topic: String,
        /// What is told.
        facts: BTreeMap<String, String>,
        /// A file that belongs to it; the case keeps a copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    },
    /// A phase begins.
    Phase {
        /// Its name.
        name: String,
    },
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// How it is going.
    Status(Box<Status>),
    /// What was asked is in the store, durably, up to this record.
    Committed {
        /// Its sequence number.
        seq: i64,
        /// Its hash.
        hash: String,
    },
    /// The daemon is ending; the connection closes when it has ended.
    Stopping,
    /// It could not be done.
    Failed {
        /// Why, and what helps.
        reason: String,
    },
}

impl Answer {
    /// The answer that a record is durable.
    pub fn committed(head: Head) -> Self {
        Self::Committed {
            seq: head.seq,
            hash: head.hash.to_string(),
        }
    }
}

/// How a daemon is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Status {
    /// `watching`, or `stopping` once it was told to stop.
    pub state: String,
    /// Folder of the case.
    pub case: String,
    /// Number of the session.
    pub session: u64,
    /// Process id.
    pub pid: u32,
    /// Network namespace that is watched (`net:[…]`).
    pub network_namespace: String,
    /// When the session began.
    pub since: Timestamp,
    /// Phase of the examination; empty before the first.
    pub phase: String,
    /// How packets are watched.
    pub capture: String,
    /// What is not as it should be, in plain words.
    pub degraded: Vec<String>,
    /// Packets seen.
    pub packets: u64,
    /// Flows seen.
    pub flows: u64,
    /// Contacts.
    pub contacts: u64,
    /// Findings of every outcome but *excepted*.
    pub findings: u64,
    /// Packets known to be lost; null when some loss could not be counted.
    pub lost: Option<u64>,
    /// Packets in the case's segments.
    #[serde(default)]
    pub packets_kept: u64,
    /// Bytes of the segments.
    #[serde(default)]
    pub packets_bytes: u64,
    /// Bytes that they may take; 0: none is kept.
    #[serde(default)]
    pub packets_quota: u64,
    /// Bytes that this session has had written to storage; null: the kernel does not say.
    pub bytes_written: Option<u64>,
    /// Sequence number of the last durable record.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}
