//! Names: functions from payload bytes to the names in them.
//!
//! In: payloads of packets, never a socket or a file. Out: of each parser a [`Probe`] that says *yes*
//! with what was read, *not yet* or *no*. [`Reading`] holds what is still to be read of a flow: it
//! joins the segments of a [`stream`] and asks the parsers. [`resolved`] remembers which names answers
//! gave to addresses.
//!
//! Every parser here is total: any bytes give a value, never a panic; every length and loop has a
//! named bound.

mod bytes;
pub mod certificate;
pub mod dns;
pub mod dtls;
pub mod hidden;
pub mod http;
pub mod http2;
pub mod lines;
pub mod pieces;
pub mod quic;
pub mod reading;
pub mod resolved;
pub mod socks;
pub mod stream;
mod text;
pub mod tls;
pub mod xmpp;

pub use reading::{Heard, Numbers, Reading, Shown, heard_alone};
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
