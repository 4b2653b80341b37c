//! Talking to a running daemon: one JSON object a line over a unix socket that root alone can open.
//!
//! In: requests of the command line. Out: answers; *committed* means that the store has
//! acknowledged, and the answer carries the sequence number. Tokio lives here and nowhere else.

pub mod client;
pub mod frame;
pub mod protocol;
pub mod server;
pub mod socket;
pub mod stdio;
