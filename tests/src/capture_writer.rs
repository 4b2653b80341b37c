//! Writes packets and capture files, apart from the readers under test.
//!
//! In: addresses, ports, payloads, moments. Out: IP packets ([`Tcp`], [`udp`], [`echo`],
//! [`fragments`]), link headers around them ([`nflog`], [`ethernet`], [`pktap`], [`pcapdroid`]), and
//! files ([`Pcapng`], [`pcap`]). The same calls give the same bytes.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, PacketBuilder, PacketBuilderStep, TcpHeader,
    UdpHeader,
};

/// Link type of Ethernet (tcpdump.org registry).
pub const ETHERNET: u16 = 1;
/// Link type of packets that begin with their IP header.
pub const RAW_IP: u16 = 101;
/// Link type of NFLOG records.
pub const NFLOG: u16 = 239;

/// Link type of Apple's PKTAP.
pub const PKTAP: u16 = 258;
/// Link type that anybody may use, and PKTAP had at first.
pub const USER_2: u16 = 149;

/// Hops that each packet is given.
const HOPS: u8 = 64;
/// Window that each TCP segment offers.
const WINDOW: u16 = 64_240;

/// Where netfilter saw a packet (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Received for this machine.
    Input = 1,
    /// Sent by this machine.
    Output = 3,
}

/// A TCP segment to be written.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<'a> {
    /// SYN is set.
    pub syn: bool,
    /// FIN is set.
    pub fin: bool,
    /// RST is set.
    pub rst: bool,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement, where there is one.
    pub ack: Option<u32>,
    /// Payload.
    pub payload: &'a [u8],
}

impl Tcp<'_> {
    /// The segment in its IP packet.
    ///
    /// # Panics
    /// When the addresses are of two families.
    pub fn packet(&self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let mut header = TcpHeader::new(from.port(), to.port(), self.seq, WINDOW);
        header.syn = self.syn;
        header.fin = self.fin;
        header.rst = self.rst;
        header.psh = !self.payload.is_empty();
        header.ack = self.ack.is_some();
        header.acknowledgment_number = self.ack.unwrap_or_default();
        let mut bytes = Vec::new();
        ip(from.ip(), to.ip())
            .tcp_header(header)
            .write(&mut bytes, self.payload)
            .expect("a Vec takes every byte");
        bytes
    }
}

/// A UDP datagram in its IP packet.
///
/// # Panics
/// When the addresses are of two families.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from.ip(), to.ip())
        .udp(from.port(), to.port())
        .write(&mut bytes, payload)
        .expect("a Vec takes every byte");
    bytes
}

/// An ICMP echo request.
///
/// # Panics
/// When the addresses are of two families.
pub fn echo(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let step = ip(from, to);
    if from.is_ipv4() {
        step.icmpv4_echo_request(7, 1).write(&mut bytes, payload)
    } else {
        step.icmpv6_echo_request(7, 1).write(&mut bytes, payload)
    }
    .expect("a Vec takes every byte");
    bytes
}

fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), HOPS),
        _ => panic!("{from} and {to} are not of one family"),
    }
}

/// A UDP datagram over IPv4 in fragments of at most `size` bytes, a multiple of 8.
///
/// # Panics
/// When an address is not IPv4 or the datagram is longer than IPv4 allows.
pub fn fragments(from: SocketAddr, to: SocketAddr, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (from.ip(), to.ip()) else {
        panic!("fragments are written for IPv4 only");
    };
    let udp = UdpHeader::with_ipv4_checksum(
        from.port(),
        to.port(),
        &Ipv4Header::new(0, HOPS, IpNumber::UDP, src.octets(), dst.octets()).expect("no payload"),
        payload,
    )
    .expect("a datagram that IPv4 can carry");
    let datagram = [&udp.to_bytes()[..], payload].concat();
    let pieces: Vec<&[u8]> = datagram.chunks(size).collect();
    let last = pieces.len() - 1;
    (0_u16..)
        .zip(&pieces)
        .map(|(at, piece)| {
            let length = u16::try_from(piece.len()).expect("a small piece");
            let mut header =
                Ipv4Header::new(length, HOPS, IpNumber::UDP, src.octets(), dst.octets())
                    .expect("a small piece");
            let units = u16::try_from(size / 8).expect("a small piece");
            header.identification = 0x5a4b;
            header.more_fragments = usize::from(at) < last;
            header.fragment_offset = IpFragOffset::try_new(at * units).expect("a small offset");
            header.header_checksum = header.calc_header_checksum();
            [&header.to_bytes()[..], piece].concat()
        })
        .collect()
}

/// A packet as an NFLOG record with the UID of its socket's creator.
pub fn nflog(hook: Hook, uid: Option<u32>, packet: &[u8]) -> Vec<u8> {
    let (family, ethertype) = if packet.first().is_some_and(|first| first >> 4 == 6) {
        (10, [0x86, 0xdd])
    } else {
        (2, [0x08, 0x00])
    };
    let mut bytes = vec![family, 0, 0, 100];
    attribute(&mut bytes, 1, &[ethertype[0], ethertype[1], hook as u8, 0]);
    attribute(&mut bytes, 10, b"\0");
    if let Some(uid) = uid {
        attribute(&mut bytes, 11, &uid.to_be_bytes());
    }
    attribute(&mut bytes, 9, packet);
    bytes
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("a small packet");
    bytes.extend(length.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A packet behind an Ethernet header.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if packet.first().is_some_and(|first| first >> 4 == 6) {
        [0x86, 0xdd]
    } else {
        [0x08, 0x00]
    };
    [&[2; 12][..], &ethertype, packet].concat()
}

/// A packet as `PCAPdroid` wraps it in a pcap file with dump extensions: a made-up Ethernet header,
/// padding, and a trailer with UID (−1: unknown) and app name.
pub fn pcapdroid(uid: i32, app: &str, packet: &[u8]) -> Vec<u8> {
    let mut bytes = ethernet(packet);
    bytes[..12].fill(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(0x0107_2021_u32.to_be_bytes());
    bytes.extend(uid.to_be_bytes());
    let mut name = [0; 20];
    let cut = app.len().min(19);
    name[..cut].copy_from_slice(&app.as_bytes()[..cut]);
    bytes.extend(name);
    bytes.extend([0xfc; 4]);
    bytes
}

/// Who stands in a PKTAP header.
#[derive(Debug, Clone, Copy)]
pub struct PktapProcess<'a> {
    /// Number of the process; −1: unknown.
    pub pid: i32,
    /// Its name.
    pub name: &'a str,
    /// Number and name of the process on whose behalf it acts.
    pub effective: Option<(i32, &'a str)>,
}

/// An IP packet of a cellular interface behind a PKTAP header in the first layout, with the
/// additions of later systems, or in the second.
pub fn pktap(process: &PktapProcess<'_>, second: bool, packet: &[u8]) -> Vec<u8> {
    let family: u32 = if packet.first().is_some_and(|first| first >> 4 == 6) {
        30
    } else {
        2
    };
    let (epid, effective) = process.effective.unwrap_or((-1, ""));
    let name = |name: &str, width: usize| {
        let mut field = name.as_bytes().to_vec();
        field.resize(width, 0);
        field
    };
    let header = if second {
        let mut header = vec![108, 0, 0, 40, 64, 88];
        header.extend(12_u16.to_le_bytes());
        header.extend([0; 8]);
        header.extend(family.to_le_bytes());
        header.extend([0; 8]);
        header.extend(process.pid.to_le_bytes());
        header.extend(epid.to_le_bytes());
        header.extend(0x0008_0002_u32.to_le_bytes());
        header.extend(name("pdp_ip0", 24));
        header.extend(name(process.name, 24));
        header.extend(name(effective, 20));
        header
    } else {
        let mut header = Vec::new();
        for number in [156_u32, 1, 12] {
            header.extend(number.to_le_bytes());
        }
        header.extend(name("pdp_ip0", 24));
        for number in [2_u32, family, 0, 0] {
            header.extend(number.to_le_bytes());
        }
        header.extend(process.pid.to_le_bytes());
        header.extend(name(process.name, 20));
        header.extend([0; 8]);
        header.extend(epid.to_le_bytes());
        header.extend(name(effective, 20));
        header.extend([0; 48]);
        header
    };
    [&header[..], packet].concat()
}

/// A `ClientHello` in one record that asks for `name` (RFC 8446, RFC 6066).
///
/// # Panics
/// When the name is too long for one record.
pub fn client_hello(name: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &with_length(2, name)].concat();
    let server_name = [&[0, 0][..], &with_length(2, &with_length(2, &entry))].concat();
    let versions = [&[0, 43][..], &with_length(2, &[2, 3, 4])].concat();
    let body = [
        &[3, 3][..],
        &[0x5a; 32],
        &with_length(1, &[7; 32]),
        &with_length(2, &[0x13, 0x01]),
        &with_length(1, &[0]),
        &with_length(2, &[server_name, versions].concat()),
    ]
    .concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    [&[22, 3, 1][..], &with_length(2, &message)].concat()
}

fn with_length(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

/// A pcapng file in the making: little-endian, one section.
#[derive(Debug, Clone)]
pub struct Pcapng {
    bytes: Vec<u8>,
    /// Nanoseconds of one unit of time, by interface.
    units: Vec<u64>,
}

impl Default for Pcapng {
    fn default() -> Self {
        Self::new()
    }
}

impl Pcapng {
    /// Begins the section.
    pub fn new() -> Self {
        let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend([0xff; 8]);
        let mut file = Self {
            bytes: Vec::new(),
            units: Vec::new(),
        };
        file.block(0x0a0d_0d0a, &body);
        file
    }

    /// Adds an interface whose times have nine decimals, or six, and gives its number.
    ///
    /// # Panics
    /// After 2³² interfaces.
    pub fn interface(&mut self, link: u16, nanoseconds: bool) -> u32 {
        let mut body = link.to_le_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(0x4_0000_u32.to_le_bytes());
        if nanoseconds {
            // Option if_tsresol: 10⁻⁹; then the end of options.
            body.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.block(1, &body);
        self.units.push(if nanoseconds { 1 } else { 1000 });
        u32::try_from(self.units.len() - 1).expect("few interfaces")
    }

    /// Adds a packet, cut off after `kept` bytes.
    ///
    /// # Panics
    /// When there is no such interface, or the packet is larger than a file can hold.
    pub fn packet(&mut self, interface: u32, nanos: u64, packet: &[u8], kept: usize) {
        self.commented(interface, nanos, packet, kept, "");
    }

    /// Adds a packet with a comment, if that is not empty.
    ///
    /// # Panics
    /// As [`Pcapng::packet`].
    pub fn commented(
        &mut self,
        interface: u32,
        nanos: u64,
        packet: &[u8],
        kept: usize,
        comment: &str,
    ) {
        let unit = self.units[usize::try_from(interface).expect("few interfaces")];
        let units = nanos / unit;
        let kept = &packet[..kept.min(packet.len())];
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small packet");
        let (high, low) = (units >> 32, units & 0xffff_ffff);
        let mut body = interface.to_le_bytes().to_vec();
        for number in [high, low] {
            body.extend(u32::try_from(number).expect("32 bits").to_le_bytes());
        }
        body.extend(length(kept).to_le_bytes());
        body.extend(length(packet).to_le_bytes());
        body.extend(kept);
        if !comment.is_empty() {
            body.resize(body.len().next_multiple_of(4), 0);
            let length = u16::try_from(comment.len()).expect("a short comment");
            body.extend(1_u16.to_le_bytes());
            body.extend(length.to_le_bytes());
            body.extend(comment.as_bytes());
        }
        self.block(6, &body);
    }

    /// Adds the custom block in which `PCAPdroid` says what a UID's package and app are called.
    ///
    /// # Panics
    /// When a name is longer than 255 bytes.
    pub fn pcapdroid_uid(&mut self, uid: i32, package: &str, app: &str) {
        let mut body = 62_652_u32.to_le_bytes().to_vec();
        body.extend([1, 0, 1, 0]);
        body.extend(uid.to_le_bytes());
        for name in [package, app] {
            body.push(u8::try_from(name.len()).expect("a short name"));
        }
        body.extend(package.as_bytes());
        body.extend(app.as_bytes());
        self.block(0x0bad, &body);
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(padded + 12).expect("a small block");
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(length.to_le_bytes());
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A pcap file with microseconds: packets with their moment in nanoseconds since the Unix epoch.
///
/// # Panics
/// When a time or a length does not fit the format.
pub fn pcap(link: u16, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0x4_0000_u32.to_le_bytes());
    bytes.extend(u32::from(link).to_le_bytes());
    for (nanos, packet) in packets {
        let length = u64::try_from(packet.len()).expect("64 bits");
        let fields = [
            nanos / 1_000_000_000,
            nanos % 1_000_000_000 / 1_000,
            length,
            length,
        ];
        for field in fields {
            bytes.extend(u32::try_from(field).expect("32 bits").to_le_bytes());
        }
        bytes.extend(packet);
    }
    bytes
}
