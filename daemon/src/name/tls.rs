//! TLS: what a `ClientHello` says in clear (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
//!
//! In: the bytes that a TCP stream begins with, or a handshake message alone. Out: a
//! [`ClientHello`], told by content and not by port. Why this is written by hand:
//! `docs/decisions/0061-client-hello-by-hand.md`.

mod server;

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    Probe,
    bytes::{Reader, Short},
    text,
};

pub use server::{Certificate, ServerHello, server_flight, server_message};

/// Bytes of a record header (RFC 8446 section 5.1).
const RECORD_HEADER_BYTES: usize = 5;
/// Plaintext bytes of a record (RFC 8446 section 5.1).
const FRAGMENT_BYTES_MAX: usize = 1 << 14;
/// Bytes of an encrypted record: TLS 1.2 allows the larger expansion (RFC 5246 section 6.2.3).
pub(super) const ENCRYPTED_BYTES_MAX: usize = FRAGMENT_BYTES_MAX + 2048;
/// Bytes of a handshake header.
const HANDSHAKE_HEADER_BYTES: usize = 4;
/// Smallest body: version, random, empty session, suite and compression lists.
const BODY_BYTES_MIN: usize = 2 + 32 + 1 + 2 + 1;
/// Largest body its own length fields allow; a longer one is no `ClientHello`.
const BODY_BYTES_MAX: usize = 2 + 32 + (1 + 32) + (2 + 0xfffe) + (1 + 0xff) + (2 + 0xffff);
/// Extensions looked at; then reading stops and the hello is marked damaged.
pub const EXTENSIONS_MAX: usize = 256;
/// ALPN identifiers and versions kept of a hello, each; those beyond are dropped and the hello is
/// marked damaged.
pub const OFFERS_MAX: usize = 64;

const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SESSION_ID_BYTES_MAX: usize = 32;
/// First byte of every version number from SSL 3.0 to TLS 1.3.
const VERSION_MAJOR: u8 = 3;
const VERSION_MINOR_MAX: u8 = 4;

/// Extension numbers (IANA, TLS `ExtensionType` values).
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const ALPN: u16 = 16;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// What a client offers before anything is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Server name (RFC 6066 section 3): lower case, no trailing dot, escaped like a DNS name. An
    /// IP literal, which the RFC forbids, is kept as the text it is.
    pub sni: Option<Arc<str>>,
    /// Application protocols offered; see [`ClientHello::alpn`].
    protocols: SmallVec<[u8; 16]>,
    /// Whether the encrypted-hello extension is there (0xfe0d); GREASE looks the same, so this does
    /// not prove that `sni` is only an outer name.
    pub ech: bool,
    /// Versions offered (`supported_versions`, RFC 8446 section 4.2.1), in the client's order; the
    /// legacy version where the extension is absent.
    pub versions: SmallVec<[u16; 8]>,
    /// Part of it contradicts its own lengths, was refused or exceeds a bound: what could be read
    /// is here, and an absent `sni` says nothing.
    pub damaged: bool,
}

/// Between the application protocols of a hello: no identifier holds it once it is escaped.
const BETWEEN_OFFERS: u8 = b' ';

impl ClientHello {
    /// Whether an application protocol is offered.
    pub fn offers(&self, protocol: &str) -> bool {
        self.each_offer().any(|offer| offer == protocol.as_bytes())
    }

    /// Application protocols offered (RFC 7301), in the client's order, escaped.
    pub fn alpn(&self) -> impl Iterator<Item = &str> {
        self.each_offer()
            .map(|offer| std::str::from_utf8(offer).unwrap_or_default())
    }

    fn each_offer(&self) -> impl Iterator<Item = &[u8]> {
        let offers = self.protocols.split(|byte| *byte == BETWEEN_OFFERS);
        offers.filter(|offer| !offer.is_empty())
    }
}

/// Whether the bytes begin with the header of a TLS record of any content type.
pub fn is_tls_record(bytes: &[u8]) -> bool {
    let &[content, VERSION_MAJOR, minor, high, low, ..] = bytes else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    matches!(content, 20..=24) && minor <= VERSION_MINOR_MAX && len <= ENCRYPTED_BYTES_MAX
}

/// Whether the bytes begin a `ClientHello`: its record header, its message header and its version.
pub fn begins_hello(bytes: &[u8]) -> bool {
    const BYTES: usize = RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES + 1;
    bytes.len() >= BYTES
        && matches!(handshake_record(bytes), Probe::Yes(record)
            if record.fragment.len() > HANDSHAKE_HEADER_BYTES
                && matches!(message_len(record.fragment), Probe::Yes(_)))
}

/// Reads the `ClientHello` that a stream begins with, over as many records as it takes.
///
/// *Not yet* while the hello is longer than the bytes; *no* as soon as a byte can't be a hello's.
pub fn client_hello(stream: &[u8]) -> Probe<ClientHello> {
    let first = match handshake_record(stream) {
        Probe::Yes(record) => record,
        Probe::NotYet => return Probe::NotYet,
        Probe::No => return Probe::No,
    };
    match hello_message(first.fragment) {
        Probe::NotYet if first.complete => joined_hello(first),
        other => other,
    }
}

/// Reads a `ClientHello` handshake message without a record layer (as QUIC carries it).
pub fn hello_message(message: &[u8]) -> Probe<ClientHello> {
    let len = match message_len(message) {
        Probe::Yes(len) => len,
        Probe::NotYet => return Probe::NotYet,
        Probe::No => return Probe::No,
    };
    match message.get(HANDSHAKE_HEADER_BYTES..len) {
        Some(body) => read_body(body, Carrier::Stream).map_or(Probe::No, Probe::Yes),
        None => Probe::NotYet,
    }
}

/// Reads what is there of a hello that the capture cut off; it is marked damaged, so an absent name
/// says nothing. *No* where the bytes are not enough to be one.
pub fn cut_hello(stream: &[u8]) -> Probe<ClientHello> {
    let mut message = Vec::new();
    let mut rest = stream;
    while let Probe::Yes(record) = handshake_record(rest) {
        message.extend_from_slice(record.fragment);
        rest = record.rest;
        if !record.complete {
            break;
        }
    }
    cut_message(&message)
}

/// The same of a handshake message without a record layer.
pub fn cut_message(message: &[u8]) -> Probe<ClientHello> {
    let Probe::Yes(_) = message_len(message) else {
        return Probe::No;
    };
    let body = message.get(HANDSHAKE_HEADER_BYTES..).unwrap_or_default();
    // With nothing behind the suites there is no telling whether extensions would have followed.
    read_body(body, Carrier::Stream).map_or(Probe::No, |hello| {
        Probe::Yes(ClientHello {
            damaged: true,
            ..hello
        })
    })
}

/// Reads the body of a DTLS hello (RFC 6347 section 4.2.1): version numbers are other ones, and a
/// cookie stands in it.
pub(super) fn datagram_hello(body: &[u8]) -> Option<ClientHello> {
    const VERSION_MAJOR: u8 = 0xfe;
    if body.first() != Some(&VERSION_MAJOR) {
        return None;
    }
    read_body(body, Carrier::Datagrams)
}

/// A record of the handshake, perhaps cut off.
#[derive(Debug, Clone, Copy)]
struct Record<'a> {
    /// What is there of its fragment.
    fragment: &'a [u8],
    /// Whether that is all of it.
    complete: bool,
    /// What follows the record.
    rest: &'a [u8],
}

fn handshake_record(stream: &[u8]) -> Probe<Record<'_>> {
    let content_ok = stream.first().is_none_or(|&b| b == CONTENT_HANDSHAKE);
    let major_ok = stream.get(1).is_none_or(|&b| b == VERSION_MAJOR);
    let minor_ok = stream.get(2).is_none_or(|&b| b <= VERSION_MINOR_MAX);
    if !(content_ok && major_ok && minor_ok) {
        return Probe::No;
    }
    let Some((&[_, _, _, high, low], rest)) = stream.split_first_chunk::<RECORD_HEADER_BYTES>()
    else {
        return Probe::NotYet;
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // An empty handshake fragment is forbidden (RFC 8446 section 5.1).
    if len == 0 || len > FRAGMENT_BYTES_MAX {
        return Probe::No;
    }
    Probe::Yes(match rest.split_at_checked(len) {
        Some((fragment, rest)) => Record {
            fragment,
            complete: true,
            rest,
        },
        None => Record {
            fragment: rest,
            complete: false,
            rest: &[],
        },
    })
}

/// Reads a hello whose first record did not hold all of it; copies its fragments together.
fn joined_hello(first: Record<'_>) -> Probe<ClientHello> {
    let announced = match message_len(first.fragment) {
        Probe::Yes(len) => len,
        Probe::NotYet | Probe::No => 0,
    };
    let mut message = Vec::with_capacity(announced.min(first.fragment.len() + first.rest.len()));
    let mut record = first;
    loop {
        // Bounded: a message that announces more than the bound is refused by its header, and each
        // record adds a byte or more.
        message.extend_from_slice(record.fragment);
        match hello_message(&message) {
            Probe::NotYet if record.complete => {}
            other => return other,
        }
        record = match handshake_record(record.rest) {
            Probe::Yes(record) => record,
            Probe::NotYet => return Probe::NotYet,
            Probe::No => return Probe::No,
        };
    }
}

/// The length of a `ClientHello` message, its header included.
fn message_len(message: &[u8]) -> Probe<usize> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Probe::No;
    }
    let Some((&[_, high, mid, low], body)) = message.split_first_chunk::<HANDSHAKE_HEADER_BYTES>()
    else {
        return Probe::NotYet;
    };
    let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
    let version_ok = body.first().is_none_or(|&major| major == VERSION_MAJOR);
    if version_ok && (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&len) {
        Probe::Yes(HANDSHAKE_HEADER_BYTES + len)
    } else {
        Probe::No
    }
}

/// What carries a hello.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Stream,
    Datagrams,
}

/// Reads the body of a hello; none when it is not one.
fn read_body(body: &[u8], carrier: Carrier) -> Option<ClientHello> {
    let mut reader = Reader::new(body);
    let legacy_version = reader.u16().ok()?;
    reader.take(32).ok()?;
    let session_id = reader.vector8().ok()?;
    if carrier == Carrier::Datagrams {
        reader.vector8().ok()?;
    }
    let suites = reader.vector16().ok()?;
    let compressions = reader.vector8().ok()?;
    if session_id.len() > SESSION_ID_BYTES_MAX
        || suites.is_empty()
        || !suites.len().is_multiple_of(2)
        || compressions.is_empty()
    {
        return None;
    }
    let mut hello = ClientHello::default();
    // Before TLS 1.2, the extensions could be missing altogether.
    if !reader.is_empty() && read_extensions(&mut reader, &mut hello).is_err() {
        hello.damaged = true;
    }
    if hello.versions.is_empty() {
        hello.versions.push(legacy_version);
    }
    Some(hello)
}

/// Something in an extension that can't be believed.
struct Damaged;

impl From<Short> for Damaged {
    fn from(_: Short) -> Self {
        Self
    }
}

fn read_extensions(reader: &mut Reader<'_>, hello: &mut ClientHello) -> Result<(), Damaged> {
    let announced = usize::from(reader.u16()?);
    let block = reader.rest();
    // What is announced and what is there differ: read what is there.
    hello.damaged |= announced != block.len();
    let mut extensions = Reader::new(block.get(..announced).unwrap_or(block));
    for _ in 0..EXTENSIONS_MAX {
        if extensions.is_empty() {
            return Ok(());
        }
        let kind = extensions.u16()?;
        let body = extensions.vector16()?;
        // A damaged extension does not hide those behind it.
        hello.damaged |= read_extension(kind, body, hello).is_err();
    }
    if extensions.is_empty() {
        Ok(())
    } else {
        Err(Damaged)
    }
}

fn read_extension(kind: u16, body: &[u8], hello: &mut ClientHello) -> Result<(), Damaged> {
    match kind {
        extension::SERVER_NAME => read_server_name(body, hello),
        extension::ALPN => read_alpn(body, hello),
        extension::SUPPORTED_VERSIONS => read_versions(body, hello),
        extension::ENCRYPTED_CLIENT_HELLO => {
            hello.ech = true;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// RFC 6066 section 3: a list with at most one name of each type, of which only type 0 exists.
fn read_server_name(body: &[u8], hello: &mut ClientHello) -> Result<(), Damaged> {
    const HOST_NAME: u8 = 0;
    if hello.sni.is_some() {
        return Err(Damaged);
    }
    let mut outer = Reader::new(body);
    let mut list = Reader::new(outer.vector16()?);
    let kind = list.u8()?;
    let name = list.vector16()?;
    if kind != HOST_NAME {
        return Err(Damaged);
    }
    hello.sni = Some(text::host_name(name).ok_or(Damaged)?);
    if list.is_empty() && outer.is_empty() {
        Ok(())
    } else {
        Err(Damaged)
    }
}

/// RFC 7301 section 3.1: a list of identifiers of 1 to 255 bytes.
fn read_alpn(body: &[u8], hello: &mut ClientHello) -> Result<(), Damaged> {
    let mut outer = Reader::new(body);
    let mut list = Reader::new(outer.vector16()?);
    let mut room = OFFERS_MAX - hello.alpn().count();
    while !list.is_empty() {
        let identifier = list.vector8()?;
        if identifier.is_empty() || room == 0 {
            return Err(Damaged);
        }
        room -= 1;
        if !hello.protocols.is_empty() {
            hello.protocols.push(BETWEEN_OFFERS);
        }
        text::push_identifier(&mut hello.protocols, identifier);
    }
    if outer.is_empty() {
        Ok(())
    } else {
        Err(Damaged)
    }
}

/// RFC 8446 section 4.2.1: a list of two-byte versions.
fn read_versions(body: &[u8], hello: &mut ClientHello) -> Result<(), Damaged> {
    let mut outer = Reader::new(body);
    let mut list = Reader::new(outer.vector8()?);
    while !list.is_empty() {
        let version = list.u16()?;
        if hello.versions.len() == OFFERS_MAX {
            return Err(Damaged);
        }
        hello.versions.push(version);
    }
    if outer.is_empty() {
        Ok(())
    } else {
        Err(Damaged)
    }
}
