//! What was wrong with the inventory's files.
//!
//! In: what a parser or a read met. Out: values that name file, line or byte, what is lost and
//! what helps; they are recorded with the case, so that a gap in the inventory is known.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// At most this many problems of one file are kept one by one; [`InventoryProblem::More`] counts
/// the rest.
pub const PROBLEMS_MAX: usize = 100;

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Bytes before it.
    pub byte: u64,
    /// 1-based line, where the file is text.
    pub line: Option<u64>,
}

impl Position {
    const START: Self = Self {
        byte: 0,
        line: None,
    };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} (byte {})", self.byte),
            None => write!(f, "byte {}", self.byte),
        }
    }
}

/// Something that makes the inventory poorer than it could be. Open: readers must accept more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "problem")]
#[non_exhaustive]
pub enum InventoryProblem {
    /// A file is not there.
    #[error("{file} is missing: {lost}. Copy it from /data/system as root")]
    Missing {
        /// Its name in the folder.
        file: String,
        /// What is not known without it.
        lost: String,
    },
    /// A file is there, but could not be read.
    #[error(
        "{file} cannot be read ({cause}): {lost}. Read it as root, and check its SELinux label"
    )]
    Unreadable {
        /// Its name in the folder.
        file: String,
        /// The system's answer.
        cause: String,
        /// What is not known without it.
        lost: String,
    },
    /// A file is larger than any that Android writes, and was not read.
    #[error(
        "{file} is larger than {max} bytes and was not read: {lost}. Check that it is the file that its name says"
    )]
    TooLarge {
        /// Its name in the folder.
        file: String,
        /// The bound.
        max: u64,
        /// What is not known without it.
        lost: String,
    },
    /// A file is damaged: what stands before the damage is used, what follows is not.
    #[error(
        "{file}, {at}: {what}. The {used} entries before it are used, what follows is lost. Copy the file again"
    )]
    Damaged {
        /// Its name in the folder.
        file: String,
        /// Where reading stopped.
        at: Position,
        /// Why.
        what: String,
        /// Entries before the damage.
        used: u64,
    },
    /// One entry is not as it should be; the rest of the file is used.
    #[error("{file}, {at}: {what}")]
    Entry {
        /// Its name in the folder.
        file: String,
        /// Where the entry begins.
        at: Position,
        /// What was found and what was expected.
        what: String,
    },
    /// Two files contradict each other on an app.
    #[error("{package}: {what}")]
    Contradiction {
        /// The app.
        package: String,
        /// What each says, and which one counts.
        what: String,
    },
    /// More problems of the same file than are kept one by one.
    #[error("{file}: {count} more problem(s)")]
    More {
        /// Its name in the folder.
        file: String,
        /// How many.
        count: u64,
    },
}

impl InventoryProblem {
    /// Whether two problems are the same but for where in the file they are: what was wrong before
    /// an app was added is not another problem behind it.
    pub fn is_like(&self, other: &Self) -> bool {
        self.anywhere() == other.anywhere()
    }

    fn anywhere(&self) -> Self {
        let mut problem = self.clone();
        match &mut problem {
            Self::Damaged { at, used, .. } => (*at, *used) = (Position::START, 0),
            Self::Entry { at, .. } => *at = Position::START,
            _ => {}
        }
        problem
    }
}

/// The folder itself cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the inventory folder {} cannot be read: {cause}. Give a copy of /data/system, or run as root on the handset", path.display())]
pub struct InventoryError {
    /// The folder.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub cause: std::io::Error,
}

/// What one entry of a file lacks, as a parser says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) at: Position,
    pub(super) what: String,
}

/// The flaws of one file: the first [`PROBLEMS_MAX`], and how many more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flaws {
    kept: Vec<Flaw>,
    more: u64,
}

impl Flaws {
    pub(super) fn push(&mut self, at: Position, what: impl Into<String>) {
        if self.kept.len() < PROBLEMS_MAX {
            let what = what.into();
            self.kept.push(Flaw { at, what });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn into_problems(self, file: &str) -> impl Iterator<Item = InventoryProblem> {
        let more = (self.more > 0).then(|| InventoryProblem::More {
            file: file.to_owned(),
            count: self.more,
        });
        let file = file.to_owned();
        self.kept
            .into_iter()
            .map(move |Flaw { at, what }| InventoryProblem::Entry {
                file: file.clone(),
                at,
                what,
            })
            .chain(more)
    }
}
