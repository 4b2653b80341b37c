//! Names: functions from payload bytes to the names in them.
//!
//! In: the payload of one packet (later: of one stream), never a socket or a file. Out: a
//! [`Probe`] that says *yes* with what was read, *not yet* or *no*, and [`identify`], which asks
//! the probes in a cheap order. [`resolved`] remembers which names answers gave to addresses.
//!
//! Every parser here is total: any bytes give a value, never a panic; every length and loop has a
//! named bound. What is not read here yet: streams of several segments, QUIC, DTLS, HTTP/2.

mod bytes;
pub mod dns;
pub mod http;
mod identify;
pub mod quic;
pub mod resolved;
mod text;
pub mod tls;

pub use identify::{Content, Identified, Outcome, identify};
pub use text::NAME_BYTES_MAX;

/// What a probe says of the bytes it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Probe<T> {
    /// It is this.
    Yes(T),
    /// It may be: more bytes of the same stream decide.
    NotYet,
    /// It is not, whatever follows.
    No,
}

impl<T> Probe<T> {
    /// What was read, if the answer is *yes*.
    pub fn yes(self) -> Option<T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::NotYet | Self::No => None,
        }
    }
}
