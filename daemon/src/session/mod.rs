//! A session: a run of the daemon, or an inspection, from opening the case to the stop record.
//!
//! In: what the command line asked for. Out: a case with one session more, and its summary. This is
//! where the core, its producers and the evidence store are brought together.

mod apk_hashes;
mod apps;
pub mod authority;
mod compare;
mod engine;
mod error;
mod examine;
mod inspect;
mod inventory_watch;
mod live;
mod packets;
pub mod probe;
mod recover;
mod replay;
pub mod rules;
mod seal;
mod setup;
pub mod taken_out;
pub mod validation;
mod worker;

pub use compare::{Compared, DIFFERENCES_MAX, Difference, compare_case};
pub use error::SessionError;
pub use examine::{ExamineConfig, examine};
pub use inspect::{InspectConfig, Inspected, Unread, inspect};
pub use live::{RunConfig, run};
#[cfg(feature = "lab")]
pub use replay::rules_of_session;
pub use seal::seal;
