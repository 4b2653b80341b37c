//! The evidence store: records, their chain, the journal.
//!
//! In: [`Draft`]s from the pipeline. Out: a case folder that anybody can check, and its records
//! for exports. `docs/evidence-format.md` specifies what is written. SQL stands in `schema`,
//! `store` and `reader`, and in the verifier's own crate, and nowhere else in the project.

pub mod authority;
pub mod body;
pub mod bundle;
pub mod canonical;
mod case;
mod circumstances;
pub mod device;
mod error;
pub mod examination;
pub mod head;
pub mod journal;
mod medium;
mod parts;
mod reader;
mod record;
mod reserve;
pub mod schema;
pub mod segments;
pub mod signing;
mod snapshot;
mod store;
pub mod thread;
mod ustar;

pub use case::{
    Case, CaseBody, CaseFiles, CaseMeta, DATA_FILE, EXHIBIT_MAX, ExhibitBody, FileEntry, FilesBody,
    PLACES_FILE, name_of,
};
pub use error::StoreError;
pub use parts::{ROLL_BYTES, RolledBody, database_bytes};
pub use reader::{Reader, Records};
pub use record::{
    ATTACHMENT_MAX, BODY_MAX, Draft, Hash, Head, KIND_MAX, Kind, RECORD_TAG, Record, record_hash,
};
pub use reserve::{RESERVE_BYTES, RESERVE_FILE, Reserve};
// Written apart from all this, in a crate of its own.
pub use circumstances::{Circumstances, Resolver};
pub use sakshi_verifier::{self as verify, Verification, verify};
pub use signing::Signing;
pub use store::{LastSession, Store};
pub use thread::{Committed, Receipt, StoreGone, StoreOptions, StoreSender, StoreThread, Urgency};
