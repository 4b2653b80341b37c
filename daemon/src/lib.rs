//! Sakshi: a witness of what a handset's apps send, and where.
//!
//! The core is a state machine without I/O and without a clock: one ordered stream of [`input`]
//! goes in, records come out. `docs/ARCHITECTURE.md` in the repository tells the way of a packet
//! and which room may import which.

pub mod attribute;
pub mod capture;
pub mod cli;
pub mod control;
pub mod doctor;
pub mod evidence;
pub mod finding;
pub mod flow;
#[cfg(feature = "lab")]
pub mod gather;
#[cfg(feature = "lab")]
pub mod handset;
pub mod input;
pub mod locate;
pub mod name;
pub mod packet;
#[cfg(feature = "lab")]
pub mod paper;
pub mod pipeline;
pub mod platform;
#[cfg(feature = "lab")]
pub mod posthoc;
pub mod report;
pub mod session;
#[cfg(feature = "lab")]
pub mod stamp;
pub mod time;
pub mod validate;
