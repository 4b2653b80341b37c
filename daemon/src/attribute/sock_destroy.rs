//! What the kernel says when it destroys a socket (`SKNLGRP_INET_TCP_DESTROY` and its siblings).
//!
//! In: a datagram of one of the groups in [`GROUPS`]. Out: each socket's protocol, ends and cookie,
//! and for TCP its closing totals from `struct tcp_info`. The uid of these messages is always 0 and
//! means nothing, so it is not even read.

use std::net::SocketAddr;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{IPPROTO_TCP, IPPROTO_UDP},
    inet::{InetResponse, nlas::Nla},
};

use super::sock_diag::{NO_COOKIE, SockDiagError, ends, messages};
use crate::input::SocketProto;

/// Multicast groups of `NETLINK_SOCK_DIAG` (`enum sknetlink_groups`): TCP and UDP over IPv4, TCP
/// and UDP over IPv6.
pub const GROUPS: [u32; 4] = [1, 2, 3, 4];

/// Offset of `tcpi_bytes_acked` (RFC 4898 `tcpEStatsAppHCThruOctetsAcked`) in `struct tcp_info`.
const BYTES_ACKED_AT: usize = 120;
/// Offset of `tcpi_bytes_received`.
const BYTES_RECEIVED_AT: usize = 128;
/// Offset of `tcpi_min_rtt`, in microseconds; an older kernel's structure ends before it.
const MIN_RTT_AT: usize = 148;
/// `tcpi_min_rtt` of a connection that was never measured.
const NO_RTT: u32 = u32::MAX;

/// A socket that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSocket {
    /// Its protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side; unspecified for a socket that was not connected.
    pub remote: SocketAddr,
    /// Names the socket until the next boot; none if the kernel gave none.
    pub cookie: Option<u64>,
    /// Sequence numbers that the peer acknowledged: payload, and one each for SYN and FIN.
    pub bytes_acked: Option<u64>,
    /// Sequence numbers received in order: payload, and one for the peer's FIN.
    pub bytes_received: Option<u64>,
    /// Shortest round trip that the kernel measured in the last minutes of the connection, in
    /// microseconds. It takes none from a segment that was sent twice.
    pub min_rtt_us: Option<u32>,
}

/// Reads a datagram; ends after the first message that cannot be read. Sockets of protocols other
/// than TCP and UDP, and messages of other kinds, are passed over.
pub fn closed_sockets(
    datagram: &[u8],
) -> impl Iterator<Item = Result<ClosedSocket, SockDiagError>> + '_ {
    messages(datagram).filter_map(|message| match message.map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response))) => {
            closed(&response).map(Ok)
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn closed(response: &InetResponse) -> Option<ClosedSocket> {
    let protocol = response.nlas.iter().find_map(|nla| match nla {
        Nla::Protocol(number) => Some(*number),
        _ => None,
    })?;
    let proto = match protocol {
        IPPROTO_TCP => SocketProto::Tcp,
        IPPROTO_UDP => SocketProto::Udp,
        _ => return None,
    };
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    let (local, remote) = ends(response);
    let cookie = response.header.socket_id.cookie;
    Some(ClosedSocket {
        proto,
        local,
        remote,
        cookie: (cookie != NO_COOKIE).then(|| u64::from_ne_bytes(cookie)),
        bytes_acked: info.and_then(|info| u64_at(info, BYTES_ACKED_AT)),
        bytes_received: info.and_then(|info| u64_at(info, BYTES_RECEIVED_AT)),
        min_rtt_us: info
            .and_then(|info| u32_at(info, MIN_RTT_AT))
            .filter(|rtt| *rtt != NO_RTT && *rtt != 0),
    })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as the kernel sends it, in this machine's byte order.
    fn message(protocol: u8, info: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![2, 7, 0, 0];
        body.extend(40_000_u16.to_be_bytes());
        body.extend(443_u16.to_be_bytes());
        body.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([0; 4]);
        body.extend(408_u64.to_ne_bytes());
        body.extend([0; 20]);
        attribute(&mut body, 10, &[protocol]);
        if let Some(info) = info {
            attribute(&mut body, 2, info);
        }
        let mut message = Vec::new();
        message.extend(u32::try_from(body.len() + 16).unwrap().to_ne_bytes());
        message.extend(20_u16.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
        body.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }

    fn info(acked: u64, received: u64, rtt: u32) -> Vec<u8> {
        let mut info = vec![0; 200];
        info[120..128].copy_from_slice(&acked.to_ne_bytes());
        info[128..136].copy_from_slice(&received.to_ne_bytes());
        info[148..152].copy_from_slice(&rtt.to_ne_bytes());
        info
    }

    fn one(datagram: &[u8]) -> ClosedSocket {
        let mut all = closed_sockets(datagram);
        let first = all.next().unwrap().unwrap();
        assert!(all.next().is_none());
        first
    }

    #[test]
    fn reads_ends_cookie_and_totals() {
        assert_eq!(
            one(&message(6, Some(&info(102, 8, 10)))),
            ClosedSocket {
                proto: SocketProto::Tcp,
                local: "192.0.2.1:40000".parse().unwrap(),
                remote: "198.51.100.7:443".parse().unwrap(),
                cookie: Some(408),
                bytes_acked: Some(102),
                bytes_received: Some(8),
                min_rtt_us: Some(10),
            }
        );
    }

    #[test]
    fn what_the_kernel_does_not_say_is_unknown() {
        assert_eq!(one(&message(6, Some(&info(0, 0, NO_RTT)))).min_rtt_us, None);
        // Linux 4.1 ends the structure before the round trip, 4.0 before the totals.
        let old = one(&message(6, Some(&info(1, 2, 3)[..136])));
        assert_eq!((old.bytes_acked, old.min_rtt_us), (Some(1), None));
        let older = one(&message(6, Some(&info(1, 2, 3)[..104])));
        assert_eq!((older.bytes_acked, older.bytes_received), (None, None));
        assert_eq!(one(&message(17, None)).bytes_acked, None);
        assert_eq!(closed_sockets(&message(136, None)).count(), 0);
    }
}
