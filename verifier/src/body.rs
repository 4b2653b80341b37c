//! The bodies of records that a verifier must understand, as `docs/evidence-format.md` has them.
//!
//! Unknown members are passed over: later versions may add some.

use serde::Deserialize;
use serde_json::Value;

use crate::hash::{Hash, Hex};

/// `mode` of a case that can be made again from its input, and so has no signature.
const UNSIGNED_MODE: &str = "inspect";

/// What a verifier needs of `case.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Meta {
    pub(crate) format: String,
    pub(crate) version: i64,
    pub(crate) id: String,
    pub(crate) mode: String,
}

/// Body of the first record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CaseBody {
    /// The content of `case.json`.
    pub(crate) case: Value,
    pub(crate) files: Vec<FileEntry>,
}

impl CaseBody {
    /// What is known of the case; none when it is not said.
    pub(crate) fn meta(&self) -> Option<Meta> {
        Meta::deserialize(&self.case).ok()
    }
}

impl Meta {
    /// Whether the format wants a key and checkpoints.
    pub(crate) fn is_signed(&self) -> bool {
        self.version > 1 && self.mode != UNSIGNED_MODE
    }
}

/// Body of a `files` record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct FilesBody {
    pub(crate) files: Vec<FileEntry>,
}

/// A file as a record names it; the body of a `segment` record has the same members.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
}

/// What a `segment_dropped` record must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DroppedBody {
    pub(crate) path: String,
}

/// Body of a `rolled` record; the closed part is named as a file is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RolledBody {
    /// The part that begins.
    pub(crate) part: u64,
    /// First and last record of the closed one.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Body of the `key` record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct KeyBody {
    pub(crate) algorithm: String,
    pub(crate) public: Hex<32>,
}

/// Body of a `checkpoint` record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct CheckpointBody {
    // `Option` alone would take a missing member for null.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) at: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) next: Option<Hex<32>>,
    pub(crate) reason: String,
    pub(crate) signature: Hex<64>,
    /// In the last checkpoint of a sealed case: the key of its bundle's manifest.
    pub(crate) manifest: Option<Hex<32>>,
}

/// What a `sealed` record must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SealedBody {
    pub(crate) at: String,
}
