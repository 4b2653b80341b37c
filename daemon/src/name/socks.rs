//! SOCKS: whom a client asks a proxy to reach (RFC 1928, RFC 1929; SOCKS 4 and 4a by their notes).
//!
//! In: what a client sends. Out: its greetings and its request, with the name in it. User names and
//! passwords are passed over.

use std::sync::Arc;

use super::{
    Probe,
    bytes::{Reader, Short},
    text,
};

const VERSION_4: u8 = 4;
const VERSION_5: u8 = 5;
/// The version of a login (RFC 1929).
const LOGIN: u8 = 1;
/// Longest text of a SOCKS 4 request, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// What a client sends before the proxied bytes begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its bytes.
    pub len: usize,
    /// Whether the proxied bytes begin behind it.
    pub is_request: bool,
    /// The name asked for; none where it is an address.
    pub host: Option<Arc<str>>,
}

/// Reads the message that a stream begins with: a greeting, or a request of SOCKS 4.
pub fn opening(bytes: &[u8]) -> Probe<Message> {
    match bytes.first() {
        None => Probe::NotYet,
        Some(&VERSION_4) => request_4(bytes),
        Some(&VERSION_5) => greeting(bytes),
        Some(_) => Probe::No,
    }
}

/// Reads what follows a greeting: a login, or a request.
pub fn further(bytes: &[u8]) -> Probe<Message> {
    let read = match bytes.first() {
        None => return Probe::NotYet,
        Some(&LOGIN) => login(bytes),
        Some(&VERSION_5) => match bytes.get(1..4) {
            // CONNECT, BIND, UDP ASSOCIATE; then a byte of zero and the kind of address.
            Some([1..=3, 0, 1 | 3 | 4]) => request_5(bytes),
            Some(_) => return Probe::No,
            None => return Probe::NotYet,
        },
        Some(_) => return Probe::No,
    };
    read.map_or(Probe::NotYet, Probe::Yes)
}

/// Version, number of methods, methods. Few clients offer more than a handful; what follows in the
/// same breath is a login or a request.
fn greeting(bytes: &[u8]) -> Probe<Message> {
    const METHODS_MAX: u8 = 8;
    let Some(&count) = bytes.get(1) else {
        return Probe::NotYet;
    };
    if !(1..=METHODS_MAX).contains(&count) {
        return Probe::No;
    }
    let len = 2 + usize::from(count);
    let Some(methods) = bytes.get(2..len) else {
        return Probe::NotYet;
    };
    let followed = bytes
        .get(len)
        .is_none_or(|next| matches!(*next, LOGIN | VERSION_5));
    // None, GSSAPI, user name, and those that are assigned up to 9 (IANA, SOCKS Methods).
    if !followed || methods.iter().any(|&method| method > 9) {
        return Probe::No;
    }
    Probe::Yes(Message {
        len,
        is_request: false,
        host: None,
    })
}

fn login(bytes: &[u8]) -> Result<Message, Short> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    reader.vector8()?;
    reader.vector8()?;
    Ok(Message {
        len: reader.offset(),
        is_request: false,
        host: None,
    })
}

fn request_5(bytes: &[u8]) -> Result<Message, Short> {
    let mut reader = Reader::new(bytes);
    let kind = reader.take(4)?.last().copied();
    let host = match kind {
        Some(3) => text::host_name(reader.vector8()?),
        Some(4) => {
            reader.take(16)?;
            None
        }
        _ => {
            reader.take(4)?;
            None
        }
    };
    reader.u16()?;
    Ok(Message {
        len: reader.offset(),
        is_request: true,
        host,
    })
}

/// Version, command, port, address, user, and behind an address of 0.0.0.x a name.
fn request_4(bytes: &[u8]) -> Probe<Message> {
    let Some(&[_, command, _, _, a, b, c, d]) = bytes.first_chunk() else {
        return Probe::NotYet;
    };
    if !matches!(command, 1 | 2) {
        return Probe::No;
    }
    let text = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        let head = rest.get(..=TEXT_BYTES_MAX).unwrap_or(rest);
        match head.iter().position(|&byte| byte == 0) {
            Some(end) => Probe::Yes((head.get(..end).unwrap_or_default(), from + end + 1)),
            None if head.len() <= TEXT_BYTES_MAX => Probe::NotYet,
            None => Probe::No,
        }
    };
    let (_, mut len) = match text(8) {
        Probe::Yes(user) => user,
        Probe::NotYet => return Probe::NotYet,
        Probe::No => return Probe::No,
    };
    let mut host = None;
    if [a, b, c] == [0, 0, 0] && d != 0 {
        match text(len) {
            Probe::Yes((name, end)) => (host, len) = (text::host_name(name), end),
            Probe::NotYet => return Probe::NotYet,
            Probe::No => return Probe::No,
        }
    }
    Probe::Yes(Message {
        len,
        is_request: true,
        host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_proxy_is_asked_for() {
        let request = b"\x05\x01\x00\x03\x0bfar.example\x01\xbb";
        let read = further(request).yes().unwrap();
        assert_eq!(read.host.as_deref(), Some("far.example"));
        assert_eq!((read.len, read.is_request), (request.len(), true));
        let request = b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00far.example\x00";
        let read = opening(request).yes().unwrap();
        assert_eq!(read.host.as_deref(), Some("far.example"));
        for end in 0..request.len() {
            assert_eq!(opening(&request[..end]), Probe::NotYet, "{end}");
        }
        let by_address = b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00";
        assert_eq!(opening(by_address).yes().unwrap().host, None);
    }

    #[test]
    fn greetings_and_logins_are_passed_over() {
        assert_eq!(opening(b"\x05\x02\x00\x02").yes().unwrap().len, 4);
        assert_eq!(opening(b"\x05\x01\x00zzz"), Probe::No);
        assert_eq!(opening(b"\x05\x60"), Probe::No);
        assert_eq!(further(b"\x01\x02me\x02pw").yes().unwrap().len, 7);
        assert_eq!(further(b"\x05\x09\x00\x01"), Probe::No);
    }
}
