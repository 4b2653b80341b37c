//! The few messages that are sent: questions and answers of DNS, the start of TLS, a request of HTTP.
//!
//! In: names and addresses. Out: bytes, written here and nowhere read by the daemon's own code: what
//! reads names is held against another hand's writing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names that are resolved end so (RFC 2606: nobody's); in front stands the address in hex.
const ZONE: &str = "validate.example";
/// Time to live of the answers, in seconds.
const TTL: u32 = 60;
/// Question types (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;
/// Bytes of a DNS header.
const HEADER: usize = 12;

/// The name under which the resolver of the scenario knows an address.
pub fn resolvable_name(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => format!("a{:08x}.{ZONE}", addr.to_bits()),
        IpAddr::V6(addr) => format!("a{:032x}.{ZONE}", addr.to_bits()),
    }
}

/// A question for the address behind a name.
pub fn question(id: u16, name: &str, ipv6: bool) -> Vec<u8> {
    let mut message = Vec::from(id.to_be_bytes());
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(if ipv6 { AAAA } else { A }.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The answer to such a question; none for anything else.
pub fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(*question.get(HEADER)?);
    let label = question.get(HEADER + 1..HEADER + 1 + length)?;
    let digits = std::str::from_utf8(label).ok()?.strip_prefix('a')?;
    let address = match digits.len() {
        8 => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?)),
        32 => IpAddr::V6(Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?)),
        _ => return None,
    };
    let mut message = question.to_vec();
    // A response, recursion available, one answer.
    for (at, byte) in [(2, 0x81), (3, 0x80), (7, 1)] {
        *message.get_mut(at)? = byte;
    }
    // The name of the answer is the question's: a pointer to it.
    message.extend([0xc0, 0x0c]);
    let (kind, bytes) = match address {
        IpAddr::V4(addr) => (A, addr.octets().to_vec()),
        IpAddr::V6(addr) => (AAAA, addr.octets().to_vec()),
    };
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message.extend(TTL.to_be_bytes());
    message.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
    message.extend(bytes);
    Some(message)
}

/// A `ClientHello` with a server name (RFC 8446, RFC 6066), as short as one can be.
pub fn client_hello(name: &str) -> Vec<u8> {
    let server_name = with_length(&[&[0][..], &with_length(name.as_bytes())].concat());
    let extension = [&[0, 0][..], &with_length(&server_name)].concat();
    let mut body = vec![3, 3];
    // The client's random value, and no session.
    body.extend([0x5a; 32]);
    body.push(0);
    // One cipher suite, TLS_AES_128_GCM_SHA256; no compression.
    body.extend([0, 2, 0x13, 0x01, 1, 0]);
    body.extend(with_length(&extension));
    // A handshake message's length has three bytes.
    let handshake = [&[1, 0][..], &with_length(&body)].concat();
    [&[0x16, 3, 1][..], &with_length(&handshake)].concat()
}

/// A request of HTTP/1.1.
pub fn request(name: &str) -> Vec<u8> {
    format!("GET /v1/report HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Bytes behind their length of two bytes.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use crate::{
        input::SocketProto,
        name::{Heard, heard_alone},
    };

    use super::*;

    #[test]
    fn messages_are_what_they_should_be() {
        for (bytes, port) in [
            (client_hello("a.b.example"), 443),
            (request("a.b.example"), 80),
        ] {
            let heard = heard_alone(&bytes, SocketProto::Tcp, port, true);
            let named =
                |heard: &Heard| matches!(heard, Heard::Name(name, _) if **name == *"a.b.example");
            assert_eq!(heard.iter().filter(|heard| named(heard)).count(), 1);
        }
    }

    #[test]
    fn the_resolver_answers_what_it_is_asked_and_nothing_else() {
        for address in ["13.229.0.7", "2406:da18::7"] {
            let address: IpAddr = address.parse().unwrap();
            let name = resolvable_name(address);
            let asked = question(7, &name, address.is_ipv6());
            let bytes = answer(&asked).unwrap();
            let heard = heard_alone(&bytes, SocketProto::Udp, 53, false);
            let Some(Heard::Dns(_, message)) = heard.last() else {
                panic!("no DNS: {heard:?}");
            };
            assert_eq!(*message.questions[0].name, *name);
            let text = format!("{:?}", message.answers);
            assert!(text.contains(&format!("Address({address})")), "{text}");
        }
        for other in [&b""[..], &question(7, "www.example", false)] {
            assert_eq!(answer(other), None);
        }
    }
}
