//! HTTP/2 in clear: whom a client's requests name (RFC 9113).
//!
//! In: the bytes behind a client's connection preface, which it sends with prior knowledge or behind an
//! upgrade. Out: of each frame its length, and of a request's fields the host. Fields are compressed
//! against what came before on the connection, so that a frame that was not seen whole ends the reading.

mod hpack;
mod huffman;

use std::sync::Arc;

use self::hpack::{Field, Fields, Table};
use super::{Probe, bytes::Reader, http};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames of one connection whose heads are looked at; those behind are left unread.
pub const FRAMES_MAX: u16 = 4_096;
/// Bytes of the fields of one request, over all its frames; more end the reading. Servers allow some
/// 16 KiB.
pub const FIELDS_BYTES_MAX: usize = 32 * 1024;

const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// A request, as far as it names somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Host of `:authority`, else of `host`, written like that of an HTTP/1 request.
    pub host: Option<Arc<str>>,
    /// CONNECT: the client talks to a proxy, and `host` is not what that is called.
    pub connect: bool,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, head and payload.
    pub len: u64,
    /// The request whose fields end with it.
    pub request: Option<Request>,
}

/// What is kept of a connection.
#[derive(Debug, Default)]
pub struct Connection {
    table: Table,
    /// Fields of a request that goes on in the next frame.
    begun: Vec<u8>,
    frames: u16,
}

/// Whether a stream begins with the preface.
pub fn preface(stream: &[u8]) -> Probe<()> {
    if stream.starts_with(PREFACE) {
        Probe::Yes(())
    } else if PREFACE.starts_with(stream) {
        Probe::NotYet
    } else {
        Probe::No
    }
}

impl Connection {
    /// Reads the frame that the bytes begin with. `is_last` says that no further byte will come: the
    /// fields that are there are read then.
    ///
    /// *No* where nothing behind it can be read: it breaks the rules, or a bound is reached.
    pub fn frame(&mut self, bytes: &[u8], is_last: bool) -> Probe<Frame> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return if is_last { Probe::No } else { Probe::NotYet };
        };
        let &[high, mid, low, kind, flags, ..] = head;
        let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
        if self.frames >= FRAMES_MAX || (!self.begun.is_empty() && kind != CONTINUATION) {
            return Probe::No;
        }
        let request = if matches!(kind, HEADERS | CONTINUATION) {
            if len > FIELDS_BYTES_MAX {
                return Probe::No;
            }
            match rest.get(..len) {
                Some(payload) => match self.fields(kind, flags, payload) {
                    Ok(request) => request,
                    Err(Broken) => return Probe::No,
                },
                None if is_last => return self.cut(kind, flags, rest, len),
                None => return Probe::NotYet,
            }
        } else {
            None
        };
        self.frames += 1;
        Probe::Yes(Frame {
            len: u64::try_from(HEAD_BYTES + len).unwrap_or(u64::MAX),
            request,
        })
    }

    /// The request whose fields end with this frame.
    fn fields(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Result<Option<Request>, Broken> {
        let fragment = fragment(kind, flags, payload).ok_or(Broken)?;
        if flags & END_HEADERS == 0 {
            if self.begun.len() + fragment.len() > FIELDS_BYTES_MAX || fragment.is_empty() {
                return Err(Broken);
            }
            self.begun.extend_from_slice(fragment);
            return Ok(None);
        }
        let begun = std::mem::take(&mut self.begun);
        if begun.is_empty() && kind == CONTINUATION {
            return Err(Broken);
        }
        let block = [&begun, fragment].concat();
        let read = self.table.read(&block);
        // What stands before a fault was said all the same; behind it nothing can be.
        match (request(&read), read.whole) {
            (Some(request), _) => Ok(Some(request)),
            (None, true) => Ok(None),
            (None, false) => Err(Broken),
        }
    }

    /// The fields that are there of a frame whose rest was not captured.
    fn cut(&mut self, kind: u8, flags: u8, rest: &[u8], len: usize) -> Probe<Frame> {
        // Padding stands at the end, so that it is cut off first.
        let fragment = fragment(kind, flags & !PADDED, rest).filter(|_| flags & PADDED == 0);
        let block = [&self.begun, fragment.unwrap_or_default()].concat();
        self.frames = FRAMES_MAX;
        match request(&self.table.read(&block)) {
            Some(request) => Probe::Yes(Frame {
                len: u64::try_from(HEAD_BYTES + len).unwrap_or(u64::MAX),
                request: Some(request),
            }),
            None => Probe::No,
        }
    }
}

/// Fields that cannot be followed any further.
struct Broken;

/// The compressed fields in a frame's payload, without padding and priority.
fn fragment(kind: u8, flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if kind == CONTINUATION {
        return Some(payload);
    }
    let mut reader = Reader::new(payload);
    let padding = match flags & PADDED {
        0 => 0,
        _ => usize::from(reader.u8().ok()?),
    };
    if flags & PRIORITY != 0 {
        reader.take(5).ok()?;
    }
    let rest = reader.rest();
    rest.get(..rest.len().checked_sub(padding)?)
}

/// The request that fields make; none where they name neither a method nor a host (trailers).
fn request(fields: &Fields) -> Option<Request> {
    let said = |field: Field| {
        let mut values = fields.known.iter().filter(|(known, _)| *known == field);
        let first = values.next().map(|(_, value)| value.as_slice());
        // Said twice, neither is certain.
        (first, values.next().is_some())
    };
    let (method, _) = said(Field::Method);
    let host = match (said(Field::Authority), said(Field::Host)) {
        ((Some(authority), false), _) => http::host_of_authority(authority),
        ((None, _), (Some(host), false)) => http::host_of_authority(host),
        _ => None,
    };
    (method.is_some() || host.is_some()).then(|| Request {
        host,
        connect: method == Some(b"CONNECT"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of stream 1.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    }

    /// RFC 7541 appendix C.3.1: GET of `http://www.example.com/`.
    const GET: &[u8] = b"\x82\x86\x84\x41\x0fwww.example.com";

    fn host(request: Option<Request>) -> Option<Arc<str>> {
        request.and_then(|request| request.host)
    }

    #[test]
    fn requests_name_their_hosts() {
        let padded = [&[3, 0, 0, 0, 0, 16][..], GET, &[0; 3]].concat();
        for bytes in [
            frame(HEADERS, END_HEADERS, GET),
            frame(HEADERS, END_HEADERS | PADDED | PRIORITY, &padded),
        ] {
            for end in 0..bytes.len() {
                let read = Connection::default().frame(&bytes[..end], false);
                assert_eq!(read, Probe::NotYet, "{end}");
            }
            let read = Connection::default().frame(&bytes, false).yes().unwrap();
            assert_eq!(read.len, bytes.len() as u64);
            assert_eq!(host(read.request).as_deref(), Some("www.example.com"));
        }
    }

    #[test]
    fn fields_may_go_on_in_further_frames() {
        let mut connection = Connection::default();
        let first = frame(HEADERS, 0, &GET[..9]);
        assert_eq!(connection.frame(&first, false).yes().unwrap().request, None);
        let other = frame(0, 0, b"x");
        assert_eq!(connection.frame(&other, false), Probe::No);
        let rest = frame(CONTINUATION, END_HEADERS, &GET[9..]);
        let read = connection.frame(&rest, false).yes().unwrap();
        assert_eq!(host(read.request).as_deref(), Some("www.example.com"));
        let alone = Connection::default().frame(&rest, false);
        assert_eq!(alone, Probe::No);
    }

    #[test]
    fn a_later_request_may_point_to_an_earlier_ones_host() {
        let mut connection = Connection::default();
        let first = frame(HEADERS, END_HEADERS, GET);
        connection.frame(&first, false).yes().unwrap();
        // RFC 7541 appendix C.3.2 has its host as the newest entry of the table.
        let second = frame(HEADERS, END_HEADERS, b"\x82\x86\x84\xbe\x58\x08no-cache");
        let read = connection.frame(&second, false).yes().unwrap();
        assert_eq!(host(read.request).as_deref(), Some("www.example.com"));
        let trailers = frame(HEADERS, END_HEADERS, b"\x10\x01a\x01b");
        assert_eq!(
            connection.frame(&trailers, false).yes().unwrap().request,
            None
        );
    }

    #[test]
    fn a_proxy_is_asked_by_connect() {
        let block = b"\x02\x07CONNECT\x41\x0ffar.example:443";
        let bytes = frame(HEADERS, END_HEADERS, block);
        let read = Connection::default().frame(&bytes, false).yes().unwrap();
        let request = read.request.unwrap();
        assert_eq!(request.host.as_deref(), Some("far.example"));
        assert!(request.connect);
    }

    #[test]
    fn what_was_cut_off_is_read_as_far_as_it_goes() {
        let bytes = frame(HEADERS, END_HEADERS, &[GET, b"\x00\x01a\x01b"].concat());
        let read = Connection::default().frame(&bytes[..bytes.len() - 2], true);
        let read = read.yes().unwrap();
        assert_eq!(host(read.request).as_deref(), Some("www.example.com"));
        assert_eq!(
            Connection::default().frame(&bytes[..20], true),
            Probe::Yes(Frame {
                len: bytes.len() as u64,
                request: Some(Request {
                    host: None,
                    connect: false
                }),
            })
        );
    }
}
