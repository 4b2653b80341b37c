//! Packets behind an Ethernet header, and TCP conversations made of them.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

/// Hops that each packet is given.
const HOPS: u8 = 64;
const WINDOW: u16 = 64_240;
/// Payload of a full segment.
pub const SEGMENT_BYTES: usize = 1388;

/// A packet with its moment, in microseconds from where its flow begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// When.
    pub at: u64,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the handset.
    Out,
    /// To the handset.
    In,
}

/// The two ends of a flow, the handset first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The handset.
    pub handset: SocketAddr,
    /// The far side.
    pub server: SocketAddr,
}

impl Ends {
    const fn sides(self, way: Way) -> (SocketAddr, SocketAddr) {
        match way {
            Way::Out => (self.handset, self.server),
            Way::In => (self.server, self.handset),
        }
    }

    /// A UDP datagram behind an Ethernet header.
    ///
    /// # Panics
    /// When the ends are of two families, or the payload is no datagram's.
    pub fn datagram(self, way: Way, payload: &[u8]) -> Vec<u8> {
        let (from, to) = self.sides(way);
        let mut bytes = ethernet(way, to.ip(), payload.len() + 48);
        ip(from.ip(), to.ip())
            .udp(from.port(), to.port())
            .write(&mut bytes, payload)
            .expect("a Vec takes every byte");
        bytes
    }

    fn segment(self, way: Way, flags: Flags, (seq, ack): (u32, u32), payload: &[u8]) -> Vec<u8> {
        let (from, to) = self.sides(way);
        let mut header = TcpHeader::new(from.port(), to.port(), seq, WINDOW);
        header.syn = flags == Flags::Syn || flags == Flags::SynAck;
        header.fin = flags == Flags::Fin;
        header.rst = flags == Flags::Reset;
        header.psh = !payload.is_empty();
        header.ack = flags != Flags::Syn;
        header.acknowledgment_number = if header.ack { ack } else { 0 };
        let mut bytes = ethernet(way, to.ip(), payload.len() + 60);
        ip(from.ip(), to.ip())
            .tcp_header(header)
            .write(&mut bytes, payload)
            .expect("a Vec takes every byte");
        bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flags {
    Syn,
    SynAck,
    Ack,
    Fin,
    Reset,
}

fn ethernet(way: Way, to: IpAddr, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(14 + len);
    let (from_handset, from_router) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (source, destination) = match way {
        Way::Out => (from_handset, from_router),
        Way::In => (from_router, from_handset),
    };
    bytes.extend(destination);
    bytes.extend(source);
    bytes.extend(if to.is_ipv4() {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    });
    bytes
}

fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), HOPS),
        _ => panic!("{from} and {to} are not of one family"),
    }
}

/// A TCP conversation as it is written.
#[derive(Debug)]
pub struct Tcp {
    ends: Ends,
    out_seq: u32,
    in_seq: u32,
    now: u64,
    round_trip: u64,
    packets: Vec<Wire>,
}

impl Tcp {
    /// A conversation that begins at a moment with these sequence numbers.
    pub const fn new(ends: Ends, now: u64, round_trip: u64, (out_seq, in_seq): (u32, u32)) -> Self {
        Self {
            ends,
            out_seq,
            in_seq,
            now,
            round_trip,
            packets: Vec::new(),
        }
    }

    fn push(&mut self, way: Way, flags: Flags, seq: u32, payload: &[u8]) {
        let ack = match way {
            Way::Out => self.in_seq,
            Way::In => self.out_seq,
        };
        self.packets.push(Wire {
            at: self.now,
            bytes: self.ends.segment(way, flags, (seq, ack), payload),
        });
        self.now += 40;
    }

    /// Lets time pass.
    pub const fn pause(&mut self, micros: u64) {
        self.now += micros;
    }

    /// The handshake.
    pub fn open(&mut self) {
        self.push(Way::Out, Flags::Syn, self.out_seq, &[]);
        self.out_seq = self.out_seq.wrapping_add(1);
        self.pause(self.round_trip);
        self.push(Way::In, Flags::SynAck, self.in_seq, &[]);
        self.in_seq = self.in_seq.wrapping_add(1);
        self.push(Way::Out, Flags::Ack, self.out_seq, &[]);
    }

    /// A connection that the server refuses.
    pub fn refused(&mut self) {
        self.push(Way::Out, Flags::Syn, self.out_seq, &[]);
        self.out_seq = self.out_seq.wrapping_add(1);
        self.pause(self.round_trip);
        self.push(Way::In, Flags::Reset, 0, &[]);
    }

    /// Bytes in as few segments as they need.
    pub fn send(&mut self, way: Way, bytes: &[u8]) {
        for piece in bytes.chunks(SEGMENT_BYTES) {
            let seq = self.seq(way);
            self.push(way, Flags::Ack, seq, piece);
            self.advance(way, piece.len());
        }
    }

    /// Segments of one stretch of bytes, each from an offset to an offset, in the order given; then
    /// the stretch counts as sent.
    pub fn send_pieces(&mut self, bytes: &[u8], pieces: &[(usize, usize)]) {
        for &(from, to) in pieces {
            let seq = self
                .out_seq
                .wrapping_add(u32::try_from(from).expect("a short stretch"));
            self.push(Way::Out, Flags::Ack, seq, &bytes[from..to]);
            self.pause(300);
        }
        self.advance(Way::Out, bytes.len());
    }

    /// An acknowledgement alone.
    pub fn acknowledge(&mut self, way: Way) {
        let seq = self.seq(way);
        self.push(way, Flags::Ack, seq, &[]);
    }

    /// Both sides end it.
    pub fn close(&mut self) {
        for way in [Way::Out, Way::In] {
            let seq = self.seq(way);
            self.push(way, Flags::Fin, seq, &[]);
            self.advance(way, 1);
            self.pause(self.round_trip / 2);
        }
        self.acknowledge(Way::Out);
    }

    const fn seq(&self, way: Way) -> u32 {
        match way {
            Way::Out => self.out_seq,
            Way::In => self.in_seq,
        }
    }

    fn advance(&mut self, way: Way, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("a short stretch");
        match way {
            Way::Out => self.out_seq = self.out_seq.wrapping_add(bytes),
            Way::In => self.in_seq = self.in_seq.wrapping_add(bytes),
        }
    }

    /// The packets, and when the last was sent.
    pub fn finish(self) -> (Vec<Wire>, u64) {
        (self.packets, self.now)
    }
}
