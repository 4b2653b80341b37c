//! A packet's borrowed view: addresses, transport and payload of what was captured.
//!
//! In: bytes and their [`LinkType`](crate::input::LinkType). Out: a [`View`], or [`Unparsed`] with
//! the reason. Nothing is dropped in silence: what has no view has a reason that is counted.

mod address;
mod ip;
mod link;
mod nflog;
mod pktap;
mod tunnel;

use std::net::IpAddr;

use crate::input::LinkType;

pub use address::{Addresses, address, words};
pub use nflog::{Hook, NflogAttributes, nflog_attributes};
pub use pktap::{Pktap, is_pktap, pktap};
pub use tunnel::{TUNNELS_MAX, inner};

/// Link type of a record that a capture file numbers among its packets though it is none, so that
/// frame numbers agree with those that Wireshark shows.
pub const NOT_A_PACKET: LinkType = LinkType::Other(u16::MAX);

/// Dissects one packet down to its transport header.
///
/// `original_len` is the length before truncation, counted like `data`; it is the fallback where
/// an IP header says length 0. Truncated payload is no error: what is missing shows in
/// `payload_len`. Encapsulated packets are not opened here ([`inner`] does): a view is of the
/// outermost addresses, the ones that the network saw.
pub fn dissect(link: LinkType, data: &[u8], original_len: u32) -> Result<View<'_>, Unparsed> {
    if data.is_empty() && link != NOT_A_PACKET {
        return Err(Unparsed::Empty);
    }
    link::network(link, data, original_len).and_then(ip::dissect)
}

/// Where the outermost IP header of a packet begins in `data`.
pub fn ip_offset(link: LinkType, data: &[u8], original_len: u32) -> Result<usize, Unparsed> {
    link::network(link, data, original_len).map(|network| network.offset)
}

/// Entry for fuzzing: the first byte picks the link type, the rest is the packet.
///
/// # Panics
/// When a packet inside does not begin behind the outer one's headers.
pub fn fuzz_dissect(data: &[u8]) {
    const LINKS: [LinkType; 12] = [
        LinkType::RawIp,
        LinkType::Ethernet,
        LinkType::Null,
        LinkType::Loop,
        LinkType::Sll,
        LinkType::Sll2,
        LinkType::Ppp,
        LinkType::Nflog,
        LinkType::Other(10),
        LinkType::Other(104),
        LinkType::Pcapdroid,
        LinkType::Pktap,
    ];
    let Some((first, packet)) = data.split_first() else {
        return;
    };
    if let Some(link) = LINKS.get(usize::from(*first)) {
        let captured_len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut view = dissect(*link, packet, captured_len).ok();
        while let Some(outer) = view {
            view = inner(&outer, packet);
            assert!(view.is_none_or(|inside| inside.headers_len > outer.headers_len));
        }
    }
}

/// A dissected packet. Lengths come from the headers, so that a truncated capture counts right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// Source and destination (outermost IP header).
    pub addresses: Addresses,
    /// Bytes from the IP header on, by the header's own length (or the captured length of a GSO
    /// packet whose header says 0).
    pub ip_len: u32,
    /// Protocol number after the extension headers.
    pub protocol: u8,
    /// What follows.
    pub transport: Transport<'a>,
    /// Identification when the packet is one of several fragments, the first included.
    pub fragment_id: Option<u32>,
    /// Offset in the packet's data at which the transport payload begins: a header-only copy keeps
    /// the bytes before it.
    pub headers_len: usize,
}

impl View<'_> {
    /// Source address (outermost IP header).
    #[inline]
    pub fn src(&self) -> IpAddr {
        self.addresses.src()
    }

    /// Destination address (outermost IP header).
    #[inline]
    pub fn dst(&self) -> IpAddr {
        self.addresses.dst()
    }

    /// What tells a packet from others of its five-tuple: TCP's sequence number in the upper half,
    /// or UDP's length in the upper 16 bits and the first four bytes of its payload in the lower
    /// half (0 where it is shorter). The program at the packet's way out computes the same
    /// (`bpf/owner.bpf.c`). None for other protocols.
    pub fn opening(&self) -> Option<u64> {
        match self.transport {
            Transport::Tcp(tcp) => Some(u64::from(tcp.seq) << 32),
            Transport::Udp(udp) => {
                let len = u64::from(udp.payload_len.saturating_add(UDP_HEADER_LEN) & 0xffff);
                let first = udp
                    .payload
                    .first_chunk()
                    .map_or(0, |at| u32::from_be_bytes(*at));
                Some(len << 48 | u64::from(first))
            }
            _ => None,
        }
    }
}

/// Bytes of a UDP header (RFC 768).
const UDP_HEADER_LEN: u32 = 8;

/// The transport layer of a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// TCP (RFC 9293).
    Tcp(Tcp<'a>),
    /// UDP (RFC 768).
    Udp(Udp<'a>),
    /// `ICMPv4` (RFC 792) or `ICMPv6` (RFC 4443).
    Icmp(Icmp),
    /// A fragment that is not the first: its ports stand in another packet.
    Fragment {
        /// Identification field that joins fragments.
        id: u32,
    },
    /// Another protocol; see [`View::protocol`].
    Other,
}

/// A TCP header and what was captured behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one flag of the header"
)]
pub struct Tcp<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, meaningful when `ack_flag`.
    pub ack: u32,
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub ack_flag: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// Payload bytes on the wire.
    pub payload_len: u32,
    /// The payload bytes that were captured.
    pub payload: &'a [u8],
}

/// A UDP header and what was captured behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Payload bytes on the wire.
    pub payload_len: u32,
    /// The payload bytes that were captured.
    pub payload: &'a [u8],
}

/// An ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Type field.
    pub kind: u8,
    /// Code field.
    pub code: u8,
    /// Whether it reports an error about another packet.
    pub error: bool,
}

/// Why a packet has no view. The reason's text is a key of summaries: it is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unparsed {
    /// The link type is not dissected.
    LinkType,
    /// A link header runs past the captured bytes.
    LinkTruncated,
    /// A link header contradicts itself, or nests deeper than is read.
    LinkMalformed,
    /// Not IP: ARP, LLDP, 802.2 and the like.
    NotIp,
    /// The capture ends within an IP header or its extension headers.
    IpTruncated,
    /// An IP header contradicts itself.
    IpMalformed,
    /// The capture ends within the part of a transport header that is needed.
    TransportTruncated,
    /// A transport header contradicts itself or the IP header.
    TransportMalformed,
    /// No bytes were captured.
    Empty,
    /// A record of a capture file that is no packet, such as a pcapng custom block.
    NotAPacket,
}

impl Unparsed {
    /// The stable key of the reason.
    pub const fn key(self) -> &'static str {
        match self {
            Self::LinkType => "link_type_unknown",
            Self::LinkTruncated => "link_truncated",
            Self::LinkMalformed => "link_malformed",
            Self::NotIp => "not_ip",
            Self::IpTruncated => "ip_truncated",
            Self::IpMalformed => "ip_malformed",
            Self::TransportTruncated => "transport_truncated",
            Self::TransportMalformed => "transport_malformed",
            Self::Empty => "empty",
            Self::NotAPacket => "not_a_packet",
        }
    }
}
