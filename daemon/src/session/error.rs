//! Why a session could not begin or go on.

use std::{io, path::PathBuf, sync::Arc};

use sakshi_rules::TomlError;

use crate::{
    attribute::inventory::InventoryError,
    capture::live::LiveError,
    control::socket,
    evidence::{
        StoreError, StoreGone, canonical::CanonicalError, journal::JournalError,
        segments::ShelfError,
    },
    locate::LocateError,
    time::Timestamp,
};

/// Why a session could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A rule set is wrong; the text names file, line and column.
    #[error("{0}")]
    Rules(String),
    /// Two rule sets have the same name, so a finding would not say whose rule it rests on.
    #[error(
        "the rule sets {first} and {second} both have the id {id:?}: give each set an id of its own, \
         or leave one of them out"
    )]
    RulesTwice {
        /// The id.
        id: String,
        /// The file that has it first.
        first: String,
        /// The file that has it again.
        second: String,
    },
    /// Two files are of one brand.
    #[error(
        "{first} and {second} are both the file of {brand}: give one of them, in which the brand's \
         statements stand together"
    )]
    BrandTwice {
        /// The brand.
        brand: String,
        /// The file that is first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A file could not be read.
    #[error("{path} cannot be read: {source}; check the path and its permissions", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The inventory could not be read.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The embedded location data is damaged.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The case failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store ended while we were writing.
    #[error(transparent)]
    Gone(#[from] StoreGone),
    /// The store ended with an error.
    #[error("{0}")]
    StoreEnded(Arc<StoreError>),
    /// A record could not be encoded.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The journal could not be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The segments of kept packets cannot be read or written.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A record of a case that is replayed is not what its kind says.
    #[error("record {seq} cannot be read: {detail}; run `sakshi verify` on the case")]
    Record {
        /// Its sequence number.
        seq: i64,
        /// What is wrong.
        detail: String,
    },
    /// More captures than a case can number.
    #[error("{0} files are more than the {max} of one inspection: inspect them in parts", max = u16::MAX)]
    TooManyFiles(usize),
    /// The live capture could not start.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The control socket failed.
    #[error(
        "the control socket in {folder} cannot be opened: {0}; set SAKSHI_RUNTIME_DIR to a folder \
         that root can write",
        folder = socket::folder().display()
    )]
    Control(io::Error),
    /// Something of the machine failed.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A case that is replayed must stand alone.
    #[error("{path} is a case: it is inspected alone, without other files beside it", path = .0.display())]
    CaseAmongFiles(PathBuf),
    /// The file that answers what a case must have cannot be used.
    #[error("{0}")]
    Authority(#[from] TomlError),
    /// The report of a validation cannot be used.
    #[error(transparent)]
    Validation(#[from] crate::validate::Error),
    /// A hand-over that has not been yet.
    #[error("{when} lies in the future (it is {now}): give the time of the hand-over, or set the clock", when = .when.local(), now = .now.local())]
    NotYet {
        /// When it is said to be.
        when: Timestamp,
        /// When it was said.
        now: Timestamp,
    },
    /// An inspection into a case that holds one, or a watch.
    #[error(
        "{path} holds a session already: name a new folder, or a case fresh from `sakshi case new`",
        path = .0.display()
    )]
    Used(PathBuf),
    /// A watch into the case of an inspection.
    #[error(
        "{path} was made by `sakshi inspect`, whose records are not signed, as a watch's must be: name a \
         new folder",
        path = .0.display()
    )]
    Unsigned(PathBuf),
    /// The disk was full, and the watch ended with what was kept in reserve.
    #[error(
        "{path}: no space left on the file system: the watch was ended in order with the room that is \
         kept in reserve, and what was seen until then is kept; free some space and start again",
        path = .0.display()
    )]
    Full(PathBuf),
    /// A case without authority was to be sealed.
    #[error(
        "{path} does not say whose handset this is and by whose order, so it is not sealed: record it \
         with `sakshi case authority CASE` first",
        path = .0.display()
    )]
    NoAuthority(PathBuf),
    /// A case without a session was to be sealed.
    #[error("{path} holds no session, so there is nothing to seal: watch or inspect into it first", path = .0.display())]
    NothingToSeal(PathBuf),
    /// A thread of ours ended in a way that it must not.
    #[error("the {0} thread ended unexpectedly; this is a defect, what was acknowledged is kept")]
    ThreadLost(&'static str),
}
