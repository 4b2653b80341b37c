//! Is the evidence intact? Recomputes everything that `docs/evidence-format.md` promises, and
//! changes nothing.
//!
//! In: the folder of a case, or a bundle. Out: a [`Verification`]. The crate uses nothing else of
//! the project, so that it agrees with the code that writes by the format alone, and can be read,
//! built and trusted alone. Memory is bounded: one record at a time, a bounded list of damages.

mod body;
pub mod bundle;
mod canonical;
mod case;
mod chain;
mod damage;
mod error;
mod files;
mod hash;
mod head;
mod journal;
mod progress;
mod schema;
mod signatures;
mod snapshot;
pub mod text;
mod time;
mod verify;

pub use bundle::verify_bundle;
pub use canonical::is_canonical;
pub use damage::{DAMAGES_MAX, Damage, Flaw, JournalFlaw, Subject};
pub use error::VerifyError;
pub use hash::{Hash, Head, record_hash};
pub use head::{ExpectedHead, HeadError, read_expected, read_head};
pub use journal::{Counts, count_block};
pub use progress::{Progress, Stage};
pub use signatures::Checkpoint;
pub use verify::{BundleFacts, Damaged, Found, Signed, Verification, verify, verify_against};
