//! DNS messages: questions and answers about the servers of a workload.

use std::net::IpAddr;

use crate::{hello::vector8, random::Random};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// A service binding (RFC 9460).
    Https,
    /// A name for an address.
    Ptr,
}

impl Asked {
    const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ptr => 12,
            Self::Aaaa => 28,
            Self::Https => 65,
        }
    }
}

/// A query with a random identifier; half of them with EDNS.
pub fn query(name: &str, asked: Asked, random: &mut Random) -> Vec<u8> {
    let mut message = random.bytes(2);
    let edns = u8::from(random.percent(50));
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, edns]);
    push_name(&mut message, name);
    message.extend(asked.number().to_be_bytes());
    message.extend([0, 1]);
    if edns == 1 {
        message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    message
}

/// What is answered to a query.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// A canonical name on the way.
    pub alias: Option<&'a str>,
    /// Addresses, all of the family asked for.
    pub addresses: &'a [IpAddr],
    /// A service binding with these address hints, and whether it offers an encrypted hello.
    pub service: Option<(&'a [IpAddr], bool)>,
}

/// The answer to a query; the question's name is pointed to, not repeated.
///
/// # Panics
/// When `query` is not one of [`query`].
pub fn answer(query: &[u8], answer: &Answer<'_>) -> Vec<u8> {
    let question_end = 12
        + query[12..]
            .iter()
            .position(|&byte| byte == 0)
            .expect("a name")
        + 5;
    let mut message = query[..question_end].to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[10..12].copy_from_slice(&[0, 0]);
    let mut count = 0;
    let mut owner = 12;
    if let Some(alias) = answer.alias {
        let mut target = Vec::new();
        push_name(&mut target, alias);
        let at = record(&mut message, owner, 5, &target);
        owner = at;
        count += 1;
    }
    for address in answer.addresses {
        match address {
            IpAddr::V4(addr) => record(&mut message, owner, 1, &addr.octets()),
            IpAddr::V6(addr) => record(&mut message, owner, 28, &addr.octets()),
        };
        count += 1;
    }
    if let Some((hints, ech)) = answer.service {
        record(&mut message, owner, 65, &service(hints, ech));
        count += 1;
    }
    message[7] = count;
    message
}

/// Appends a record with a pointer as its name; gives where its data begins.
fn record(message: &mut Vec<u8>, owner: usize, kind: u16, data: &[u8]) -> usize {
    let pointer = u16::try_from(0xc000 | owner).expect("a short message");
    message.extend(pointer.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend([0, 1, 0, 0, 1, 44]);
    message.extend(u16::try_from(data.len()).expect("short data").to_be_bytes());
    message.extend(data);
    message.len() - data.len()
}

fn service(hints: &[IpAddr], ech: bool) -> Vec<u8> {
    let mut data = vec![0, 1, 0];
    let mut param = |key: u16, value: &[u8]| {
        data.extend(key.to_be_bytes());
        data.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        data.extend(value);
    };
    param(1, b"\x02h3\x02h2");
    let v4: Vec<u8> = hints
        .iter()
        .filter_map(|addr| match addr {
            IpAddr::V4(addr) => Some(addr.octets()),
            IpAddr::V6(_) => None,
        })
        .flatten()
        .collect();
    if !v4.is_empty() {
        param(4, &v4);
    }
    if ech {
        param(5, &[0xfe, 0x0d, 0, 4, 1, 2, 3, 4]);
    }
    let v6: Vec<u8> = hints
        .iter()
        .filter_map(|addr| match addr {
            IpAddr::V6(addr) => Some(addr.octets()),
            IpAddr::V4(_) => None,
        })
        .flatten()
        .collect();
    if !v6.is_empty() {
        param(6, &v6);
    }
    data
}

fn push_name(into: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        vector8(into, label.as_bytes());
    }
    into.push(0);
}
