//! What the program says of a socket, read from its bytes.
//!
//! In: a key and a value of its map `inbox` (`struct sighting_key`, `struct sighting` in
//! `bpf/owner.bpf.c`). Out: a [`Sighting`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::{
    input::{FactBasis, OwnerFact, SocketProto},
    time::Timestamp,
};

/// Bytes of a key.
pub const KEY_BYTES: usize = 56;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 16;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// A socket as a packet of it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The kernel's number of the socket.
    pub cookie: u64,
    /// Its owner.
    pub uid: u32,
    /// Its protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at_nanos: u64,
    /// What tells the packet, see `packet::View::opening`.
    pub opening: u64,
}

impl Sighting {
    /// Reads it; none for what the program never writes.
    pub fn read(key: &[u8; KEY_BYTES], value: &[u8; VALUE_BYTES]) -> Option<Self> {
        let mut key = Bytes(key);
        let cookie = u64::from_ne_bytes(key.next()?);
        let uid = u32::from_ne_bytes(key.next()?);
        // Padding.
        key.next::<4>()?;
        let (local, remote) = (key.next()?, key.next()?);
        let (local_port, remote_port) = (key.next()?, key.next()?);
        let [protocol, version] = key.next()?;
        let address = |bytes: [u8; 16]| {
            let address = Ipv6Addr::from(bytes);
            match version {
                4 => address.to_ipv4_mapped().map(IpAddr::V4),
                6 => Some(IpAddr::V6(address)),
                _ => None,
            }
        };
        let mut value = Bytes(value);
        Some(Self {
            cookie,
            uid,
            proto: match protocol {
                IPPROTO_TCP => SocketProto::Tcp,
                IPPROTO_UDP => SocketProto::Udp,
                _ => return None,
            },
            local: SocketAddr::new(address(local)?, u16::from_be_bytes(local_port)),
            remote: SocketAddr::new(address(remote)?, u16::from_be_bytes(remote_port)),
            at_nanos: u64::from_ne_bytes(value.next()?),
            opening: u64::from_be_bytes(value.next()?),
        })
    }

    /// As an input of the core; `now` and `monotonic_nanos` are one moment by both clocks.
    pub fn to_fact(self, now: Timestamp, monotonic_nanos: i64) -> OwnerFact {
        let then = i64::try_from(self.at_nanos).unwrap_or(monotonic_nanos);
        let age_nanos = monotonic_nanos.saturating_sub(then).max(0);
        OwnerFact {
            at: now.plus_nanos(age_nanos.saturating_neg()),
            proto: self.proto,
            local: self.local,
            remote: self.remote,
            uid: Some(self.uid),
            inode: 0,
            basis: FactBasis::XtBpf,
            cookie: Some(self.cookie),
            kernel_nanos: Some(self.at_nanos),
            opening: Some(self.opening),
        }
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Linux 6.18 gave them for a DNS query whose socket was given to UID 10055.
    const KEY: [u8; KEY_BYTES] = [
        125, 17, 0, 0, 0, 0, 0, 0, 71, 39, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255,
        255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1, 182, 33, 0, 53,
        17, 4, 0, 0,
    ];
    const VALUE: [u8; VALUE_BYTES] = [83, 157, 107, 97, 17, 11, 0, 0, 0, 16, 0, 0, 97, 98, 99, 100];

    #[test]
    fn reads_what_a_kernel_gave() {
        let sighting = Sighting::read(&KEY, &VALUE).unwrap();
        assert_eq!(
            sighting,
            Sighting {
                cookie: 0x117d,
                uid: 10_055,
                proto: SocketProto::Udp,
                local: "127.0.0.1:46625".parse().unwrap(),
                remote: "127.0.0.1:53".parse().unwrap(),
                at_nanos: 0x0b11_616b_9d53,
                opening: 16 << 48 | u64::from(u32::from_be_bytes(*b"abcd")),
            }
        );
        let now = Timestamp::from_micros(5_000_000);
        let fact = sighting.to_fact(now, 0x0b11_616b_9d53 + 2_000_000_000);
        assert_eq!(fact.at, Timestamp::from_micros(3_000_000));
        assert_eq!(fact.kernel_nanos, Some(0x0b11_616b_9d53));
    }

    #[test]
    fn an_unknown_version_or_protocol_is_nothing() {
        let with = |at: usize, byte| {
            let mut key = KEY;
            key[at] = byte;
            Sighting::read(&key, &VALUE)
        };
        assert_eq!((with(52, 1), with(53, 5)), (None, None));
        assert_eq!(with(26, 0), None, "IPv4 that is not mapped");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            key in proptest::array::uniform32(any::<u8>()),
            value in any::<[u8; VALUE_BYTES]>(),
            now in any::<i64>(),
        ) {
            let mut bytes = [4; KEY_BYTES];
            bytes[24..].copy_from_slice(&key);
            if let Some(sighting) = Sighting::read(&bytes, &value) {
                let fact = sighting.to_fact(Timestamp::default(), now);
                prop_assert_eq!(fact.cookie, Some(sighting.cookie));
            }
        }
    }
}
