//! Google's QUIC before the standard (versions Q0xx and T0xx): recognised and counted, and named
//! where its hello is in clear.
//!
//! The client's first message, `CHLO`, is a list of tags (Google's "QUIC Crypto", revision of 2016);
//! its tag `SNI` holds the server's name. Up to Q046 it is not encrypted. Q050 and T0xx encrypt it;
//! they are recognised only.

use std::sync::Arc;

use super::super::{Probe, bytes::Reader, text};

/// Bytes behind the header in which the message's tag may stand: a hash of 12 bytes, the head of a
/// stream frame, and frames before it.
const SEARCH_BYTES: usize = 64;
/// Tags looked at.
const TAGS_MAX: usize = 128;
const CHLO: &[u8] = b"CHLO";
const SNI: u32 = u32::from_be_bytes(*b"SNI\0");

/// What a client of Google's QUIC says in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleHello {
    /// The server's name, written like that of a `ClientHello`; none where the tag is absent.
    pub sni: Option<Arc<str>>,
}

/// The version, such as `Q043`, of a datagram whose header says one.
pub fn version(datagram: &[u8]) -> Option<[u8; 4]> {
    let (version, _) = header(datagram)?;
    Some(version)
}

/// Reads the `CHLO` that a client's datagram holds.
///
/// *Not yet* for a datagram of a version whose hellos are in clear, without one in it.
pub fn hello(datagram: &[u8]) -> Probe<GoogleHello> {
    let Some((version, payload)) = header(datagram) else {
        return Probe::No;
    };
    if !in_clear(version) {
        return Probe::No;
    }
    let near = payload.get(..SEARCH_BYTES).unwrap_or(payload);
    let found = near.windows(CHLO.len()).position(|tag| tag == CHLO);
    match found.and_then(|at| payload.get(at..)) {
        Some(message) => read(message).map_or(Probe::No, Probe::Yes),
        None => Probe::NotYet,
    }
}

fn in_clear(version: [u8; 4]) -> bool {
    version[0] == b'Q' && version.as_slice() <= b"Q046".as_slice()
}

fn is_version(version: [u8; 4]) -> bool {
    matches!(version, [b'Q' | b'T', b'0', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit())
}

/// The version, and what follows the header.
fn header(datagram: &[u8]) -> Option<([u8; 4], &[u8])> {
    let first = *datagram.first()?;
    let (version, behind) = if first & 0x80 != 0 {
        // Q044 and later: the layout of a long header of its time.
        (datagram.get(1..5)?, datagram.get(5..)?)
    } else {
        // Up to Q043: a version is only there with its flag, behind eight bytes of connection ID.
        let with_version = first & 0x01 != 0 && first & 0x08 != 0 && first & 0xc2 == 0;
        let at = if with_version { 9 } else { return None };
        (datagram.get(at..at + 4)?, datagram.get(at + 4..)?)
    };
    let version = <[u8; 4]>::try_from(version).ok()?;
    is_version(version).then_some((version, behind))
}

/// A message: its tag, the number of its values, their tags with the offsets of their ends, the
/// values. Integers are little-endian, tags are read as they stand.
fn read(message: &[u8]) -> Option<GoogleHello> {
    let mut reader = Reader::new(message);
    reader.take(CHLO.len()).ok()?;
    let count = usize::from(reader.u16().ok()?.swap_bytes());
    reader.take(2).ok()?;
    if count == 0 || count > TAGS_MAX {
        return None;
    }
    let mut index = reader;
    reader.take(count * 8).ok()?;
    let values = reader.rest();
    let mut start = 0;
    let mut sni = None;
    for _ in 0..count {
        let tag = index.u32().ok()?;
        let end = usize::try_from(index.u32().ok()?.swap_bytes()).ok()?;
        // Offsets that go back are no message's.
        let len = end.checked_sub(start)?;
        if tag == SNI {
            sni = text::host_name(values.get(start..start + len)?);
        }
        start = end;
    }
    Some(GoogleHello { sni })
}
