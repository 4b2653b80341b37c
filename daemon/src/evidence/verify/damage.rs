//! What can be damaged, and how: each with the record or file that it concerns.

use std::fmt;

use crate::evidence::{journal::JournalError, record::Hash};

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged.
    pub subject: Subject,
    /// How.
    pub flaw: Flaw,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.flaw)
    }
}

/// What is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A record.
    Record {
        /// Its sequence number.
        seq: i64,
        /// Its kind as stored, made printable.
        kind: String,
    },
    /// Records that should be there.
    Records {
        /// The first sequence number.
        from: i64,
        /// The last one.
        to: i64,
    },
    /// A file, by its path in the folder.
    File(String),
    /// A table, view, trigger or setting of the database.
    Schema(String),
    /// The database as a whole.
    Database,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { seq, kind } => write!(f, "record {seq} ({kind})"),
            Self::Records { from, to } if from == to => write!(f, "record {from}"),
            Self::Records { from, to } => write!(f, "records {from} to {to}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Schema(name) => write!(f, "schema of evidence.db, {name}"),
            Self::Database => f.write_str("evidence.db"),
        }
    }
}

/// How it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A column holds another type of value.
    #[error("its {column} is {found}, expected {expected}")]
    ColumnType {
        /// The column.
        column: &'static str,
        /// The type it should have.
        expected: &'static str,
        /// The type it has.
        found: String,
    },
    /// A text column is not UTF-8.
    #[error("its {0} is not UTF-8")]
    Utf8(&'static str),
    /// The kind has other characters.
    #[error("its kind is not 1 to 32 lower-case letters, digits and underscores")]
    Kind,
    /// The body is not canonical JSON.
    #[error("its body is not canonical JSON")]
    NotCanonical,
    /// A body that the format describes cannot be understood.
    #[error("its body is not as the format says: {0}")]
    Body(String),
    /// Kind, body, attachment, prev or seq were changed, or the hash itself.
    #[error("its content does not match its hash: the record says {stored}, computed {computed}")]
    Hash {
        /// As stored.
        stored: Hash,
        /// As computed.
        computed: Hash,
    },
    /// The link to the record before is broken.
    #[error("its prev is not the hash of the record before: {stored}, expected {expected}")]
    Link {
        /// As stored.
        stored: Hash,
        /// The hash of the record before.
        expected: Hash,
    },
    /// Records are not there.
    #[error("missing")]
    Missing,
    /// A sequence number below the one before, or below 1.
    #[error("its sequence number does not follow {0}")]
    Order(i64),
    /// The first record is of another kind, or a later one is of the first's.
    #[error("a case begins with one record of kind case, and has no other of it")]
    CaseRecord,
    /// A journal block cannot be read.
    #[error("its journal block: {0}")]
    Journal(String),
    /// A journal block does not continue the one before.
    #[error("its first input is {found}, expected {expected}")]
    JournalOrder {
        /// What follows the block before.
        expected: u64,
        /// What the body says.
        found: u64,
    },
    /// The chain has no record.
    #[error("it has no record")]
    Empty,
    /// A file is not there.
    #[error("missing")]
    FileMissing,
    /// A file is something else.
    #[error("not an ordinary file")]
    FileType,
    /// A record names a file outside the folder.
    #[error("the path that record {0} names leads out of the folder")]
    FilePath(i64),
    /// A file has other bytes.
    #[error("changed since record {seq}: it has SHA-256 {found}, the record says {expected}")]
    FileChanged {
        /// The record that names it.
        seq: i64,
        /// As recorded.
        expected: Hash,
        /// As found.
        found: Hash,
    },
    /// The metadata is not what the first record says.
    #[error("it is not the case that record 1 describes")]
    OtherCase,
    /// A table, view or trigger is not there.
    #[error("missing")]
    SchemaMissing,
    /// A table, view or trigger is defined otherwise.
    #[error("defined otherwise")]
    SchemaChanged,
    /// A table, view, index or trigger that is not ours.
    #[error("not part of the schema")]
    SchemaAdded,
    /// A setting in the database's header has another value.
    #[error("is {found}, expected {expected}")]
    Pragma {
        /// The value of this version.
        expected: i64,
        /// As found.
        found: i64,
    },
    /// SQLite's own check of its pages failed.
    #[error("SQLite's integrity check: {0}")]
    Page(String),
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

impl From<JournalError> for Flaw {
    fn from(error: JournalError) -> Self {
        Self::Journal(error.to_string())
    }
}
