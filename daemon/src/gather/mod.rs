//! What the lab's PC has collected of published location data, and the one file made from it.
//!
//! In: files that a person adds, or that are fetched at their explicit command. Out: a folder with
//! the files, what was said of each, and `places.bin`, which `run`, `inspect` and `locate` take.
//! The same files give the same `places.bin`, byte for byte. The daemon never comes here.

mod collection;
pub mod manifest;
mod refresh;

use std::{io, path::PathBuf};

use thiserror::Error;

pub use self::{
    collection::{Added, Collection, Given, Item, PLACES_FILE, Refreshed, Standing},
    manifest::Official,
    refresh::{Fetched, Fetcher},
};
use crate::{
    evidence::canonical::CanonicalError,
    locate::{LocateError, published::PublishedError},
};

/// Why the collection could not be read, or a file not be added.
#[derive(Debug, Error)]
pub enum GatherError {
    /// A file could not be read or written.
    #[error("{path}: {source}; check the path and its permissions", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file says cannot be used.
    #[error("{file}: {source}")]
    Published {
        /// Which.
        file: String,
        /// Why.
        source: PublishedError,
    },
    /// The tables cannot be made.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The list of the collection is damaged.
    #[error("{path}: {detail}; put the file back from a copy, or add the files to a new folder", path = .path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The list cannot be written.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The list of official addresses is damaged.
    #[error("{file}: {detail}; the list that is built in shows how it is written (docs/data.md)")]
    Manifest {
        /// Which.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// A file could not be fetched.
    #[error("{url}: {detail}")]
    Fetch {
        /// From where.
        url: String,
        /// What went wrong.
        detail: String,
    },
    /// No collection there.
    #[error("{path} holds no location data: add some with `sakshi data add FILE --dir {path}`", path = .0.display())]
    Nothing(PathBuf),
}

impl GatherError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
