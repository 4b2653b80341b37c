//! What can be damaged, and how: each with the record or file that it concerns.

use std::fmt;

use crate::hash::Hash;

/// Damages that are listed; more are counted only.
pub const DAMAGES_MAX: usize = 256;

/// A bounded list.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    list: Vec<Damage>,
    total: u64,
}

impl Damages {
    pub(crate) fn add(&mut self, subject: Subject, flaw: Flaw) {
        self.total += 1;
        if self.list.len() < DAMAGES_MAX {
            self.list.push(Damage { subject, flaw });
        }
    }

    /// How many there are, those that are not listed included.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn into_list(self) -> Vec<Damage> {
        self.list
    }
}

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
    Schema {
        /// The file of the database, or of a part of it.
        file: String,
        /// The table, view, trigger or setting.
        name: String,
    },
    /// The database, or a part of it, as a whole: its file.
    Database(String),
    /// A bundle as a whole.
    Bundle,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { seq, kind } => write!(f, "record {seq} ({kind})"),
            Self::Records { from, to } if from == to => write!(f, "record {from}"),
            Self::Records { from, to } => write!(f, "records {from} to {to}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Schema { file, name } => write!(f, "schema of {file}, {name}"),
            Self::Database(file) => f.write_str(file),
            Self::Bundle => f.write_str("bundle"),
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
    /// A journal block cannot be read, or is not what its record says.
    #[error("its journal block: {0}")]
    Journal(#[from] JournalFlaw),
    /// A journal block does not continue the one before.
    #[error("its first input is {found}, expected {expected}")]
    JournalOrder {
        /// What follows the block before.
        expected: u64,
        /// What the body says.
        found: u64,
    },
    /// A signed case without its key.
    #[error("a signed case has its key in record 2, and in no other")]
    KeyRecord,
    /// A case that is not signed has a record of signing.
    #[error("a case of this mode and version has no key and no checkpoint")]
    Unsigned,
    /// The record behind the key is something else.
    #[error("behind the key stands the first checkpoint")]
    FirstCheckpoint,
    /// A signature does not verify.
    #[error("its signature is not by the key that the one before named: {0}")]
    Signature(&'static str),
    /// The key of a checkpoint is not known, since what should name it is damaged.
    #[error("its signature cannot be checked: what names its key is damaged")]
    NoKey,
    /// A checkpoint ends the ratchet without a seal, or a seal does not.
    #[error("`next` is null in the last checkpoint of a sealed case, and in no other")]
    Ratchet,
    /// A seal's checkpoint does not stand behind `sealed`, or something else does.
    #[error("behind `sealed` stands its checkpoint with reason `seal`, and nowhere else does one")]
    Seal,
    /// A sealed case goes on.
    #[error("a sealed case takes no more records")]
    AfterSeal,
    /// A part of the database does not begin with what closes the one before, or something else does.
    #[error(
        "a part of the database but the first begins with a record of kind rolled, which names the part \
         before it and its records, and no other record is of that kind"
    )]
    Rolled,
    /// A file is named a second time with other content, or a segment again.
    #[error("it names {0} again, with other content or after it was dropped")]
    NamedAgain(String),
    /// A segment is dropped that is none.
    #[error("it drops {0}, which is no segment that a record names")]
    DropsNothing(String),
    /// The case is older than a head that left it.
    #[error(
        "missing, and a head of it was given: records were cut off, or an older state was put back"
    )]
    HeadMissing,
    /// The case is another than a head that left it.
    #[error(
        "it is not the checkpoint of the head that was given: the case was made anew, or the head belongs to another"
    )]
    HeadOther,
    /// The head that was given is of another case.
    #[error("the head that was given belongs to case {0}")]
    HeadCase(String),
    /// The archive of a bundle is not as the format says.
    #[error("its archive, at offset {offset}: {what}")]
    Archive {
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Manifest or signature is not where it belongs.
    #[error(
        "a bundle begins with manifest.json and manifest.sig, of no more than 16 MiB and 4 KiB"
    )]
    NotInItsPlace,
    /// A file that should not be in the bundle.
    #[error("neither the manifest nor a record has it there")]
    FileExtra,
    /// A file of a bundle has other bytes.
    #[error("it has SHA-256 {found}, the manifest says {expected}")]
    EntryChanged {
        /// As the manifest says.
        expected: Hash,
        /// As found.
        found: Hash,
    },
    /// Another hash that the manifest lists differs.
    #[error("its {0} is not what the manifest says")]
    OtherHash(&'static str),
    /// The case in a bundle is not sealed.
    #[error("the case in it is not sealed: its last record is no checkpoint of a seal")]
    NotSealed,
    /// The manifest is of another seal.
    #[error("its `{0}` is not what the seal of the case says")]
    OtherSeal(&'static str),
    /// The manifest's key is another than the seal named.
    #[error("its key is not the one that the case's last checkpoint names for the manifest")]
    ManifestKey,
    /// The manifest's signature does not verify.
    #[error("it is no signature over the manifest: {0}")]
    ManifestSignature(&'static str),
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
    /// `case.json` is of another version than the database.
    #[error("the case says version {0}")]
    Version(i64),
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// What is wrong with a journal block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalFlaw {
    /// It does not begin as the format says.
    #[error("it does not begin with \"SKJ\" and version 1")]
    Header,
    /// It cannot be inflated.
    #[error("it cannot be inflated: {0}")]
    Inflate(String),
    /// It inflates beyond the format's limit.
    #[error("it inflates to more than the format allows")]
    TooLong,
    /// Bytes follow the compressed data.
    #[error("{0} bytes follow its compressed data")]
    Trailing(usize),
    /// An input is not as the format says.
    #[error("input {input}, at offset {offset}: {what}")]
    Malformed {
        /// Which input, from 1.
        input: u64,
        /// Where in the inflated bytes.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The record's body says something else than its block.
    #[error("the record says {field} = {declared}, the block has {found}")]
    Declared {
        /// Key of the body.
        field: &'static str,
        /// What the body says.
        declared: String,
        /// What the block has.
        found: String,
    },
    /// The record has no attachment.
    #[error("it is not there")]
    Missing,
}
