//! A flow and how a packet changes it.
//!
//! In: packets of the flow in the order in which they came, each with its direction. Out: counts,
//! state, handshake time. Which packet belongs to which flow is decided in `table`.

use crate::{
    input::{Packet, TimeBasis, Vantage},
    packet::{Tcp, Transport, View},
    time::Timestamp,
};

use super::{Closing, FiveTuple, RttBasis, closing::RECEIVE_LAG_NANOS};

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// First packets of a flow that are kept as evidence pointers.
pub const FRAMES_MAX: usize = 4;

/// Names one flow of a run; ordered by the flows' starts, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// 1-based ordinal of the flow.
    pub(super) ordinal: u64,
    pub(super) slot: u32,
}

impl FlowId {
    /// 1-based ordinal of the flow in the order of starts.
    pub const fn ordinal(self) -> u64 {
        self.ordinal
    }
}

/// How far a flow got.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// Only one side was heard.
    Attempted,
    /// Both sides were heard, or one acknowledged the other.
    Answered,
    /// TCP: FIN both ways, RST, or an answered flow whose socket the kernel has destroyed.
    Closed,
}

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// No packet for the time that its state allows.
    Idle,
    /// Its five-tuple was used again: a new SYN, or another owner.
    Replaced,
    /// The table was full and no flow had been idle longer.
    TableFull,
    /// The app of its UID was uninstalled, or the UID was given to another.
    AppGone,
    /// The input ended.
    Finished,
}

impl Ended {
    /// The key that stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Replaced => "replaced",
            Self::TableFull => "table_full",
            Self::AppGone => "app_gone",
            Self::Finished => "end_of_input",
        }
    }
}

/// Packets and IP bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes from the IP header on, as the headers state them.
    pub bytes: u64,
}

/// Points to a packet of the case's sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Index of the source.
    pub source: u16,
    /// 1-based ordinal within the source.
    pub frame: u64,
}

/// The time of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Handshake {
    /// None, or none that can be told.
    #[default]
    Unknown,
    /// The handset's SYN, sent once only at this time, waits for its answer.
    Awaited(Timestamp, TimeBasis),
    /// Nanoseconds from the handset's SYN to its answer, and what they rest on.
    Measured(i64, RttBasis),
}

/// A TCP flow's handshake and closing, as far as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct TcpProgress {
    /// Sequence number of the first SYN without ACK.
    syn_seq: Option<u32>,
    handshake: Handshake,
    /// SYNs without ACK that the handset sent; no more are counted than this holds.
    own_syns: u8,
    fin_out: bool,
    fin_in: bool,
    data_seen: bool,
}

/// A flow, with the caller's own state beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a flow is kept small"
)]
pub struct Flow<T> {
    /// Its id.
    pub id: FlowId,
    /// Protocol and both ends.
    pub tuple: FiveTuple,
    /// Earliest time of a packet.
    pub start: Timestamp,
    /// Latest time of a packet.
    pub end: Timestamp,
    /// What the handset sent.
    pub out: Counts,
    /// What the handset received, as far as observed; see [`Flow::received`].
    pub seen_in: Counts,
    /// Whether everything that the handset received would have been seen.
    pub inbound_observed: bool,
    /// How far it got.
    pub state: FlowState,
    /// The end of its socket, where the kernel told it and it can be no other's.
    pub closing: Option<Box<Closing>>,
    /// Whether its first packet was stamped when it was received.
    pub(super) received_late: bool,
    /// An earlier flow of the same five-tuple ended without its socket's end having been told.
    pub(super) predecessor_open: bool,
    /// Whether the handset sent payload.
    pub payload_out: bool,
    /// The first UID that came with a packet of the flow.
    pub uid: Option<u32>,
    /// Why it ended; none while it is in the table.
    pub ended: Option<Ended>,
    /// The caller's state.
    pub user: T,
    /// Sources and ordinals of its first packets.
    frames: ([u16; FRAMES_MAX], [u64; FRAMES_MAX]),
    frames_len: u8,
    tcp: TcpProgress,
}

impl<T: Default> Flow<T> {
    pub(super) fn new(id: FlowId, tuple: FiveTuple, packet: &Packet<'_>) -> Self {
        Self {
            id,
            tuple,
            start: packet.at,
            end: packet.at,
            out: Counts::default(),
            seen_in: Counts::default(),
            inbound_observed: true,
            state: FlowState::Attempted,
            closing: None,
            received_late: packet.time_basis == TimeBasis::Receive,
            predecessor_open: false,
            payload_out: false,
            uid: None,
            ended: None,
            user: T::default(),
            frames: Default::default(),
            frames_len: 0,
            tcp: TcpProgress::default(),
        }
    }
}

impl<T> Flow<T> {
    /// What the handset received; none where the capture did not see all of it.
    pub fn received(&self) -> Option<Counts> {
        self.inbound_observed.then_some(self.seen_in)
    }

    /// How much later than it was sent its first packet may have been stamped, in nanoseconds.
    pub const fn start_lag_nanos(&self) -> i64 {
        if self.received_late {
            RECEIVE_LAG_NANOS
        } else {
            0
        }
    }

    /// The flow's first packets, at most [`FRAMES_MAX`].
    pub fn frames(&self) -> impl Iterator<Item = FrameRef> {
        let (sources, frames) = &self.frames;
        let all = sources.iter().zip(frames);
        all.take(self.frames_len.into())
            .map(|(&source, &frame)| FrameRef { source, frame })
    }

    /// Whether it is a TCP flow.
    pub(super) const fn is_tcp(&self) -> bool {
        self.tuple.protocol == TCP
    }

    /// Nanoseconds from the handset's SYN to its answer, and what that time rests on; none for a
    /// repeated SYN, and none where times are not the packets' own ([`TimeBasis::Receive`]).
    pub(super) const fn handshake(&self) -> Option<(i64, RttBasis)> {
        match self.tcp.handshake {
            Handshake::Measured(nanos, basis) => Some((nanos, basis)),
            Handshake::Unknown | Handshake::Awaited(..) => None,
        }
    }

    /// Whether the handset opened the connection by a SYN that was sent once only.
    pub(super) const fn has_one_own_syn(&self) -> bool {
        self.tcp.own_syns == 1
    }

    /// Whether a SYN without ACK begins another flow: another sequence number on a flow that is
    /// closed or whose socket is gone, or on which data went both ways or was acknowledged.
    pub(super) fn is_reused_by(&self, tcp: &Tcp<'_>) -> bool {
        let spent = match self.state {
            _ if self.closing.is_some() => true,
            FlowState::Closed => true,
            FlowState::Answered => self.tcp.data_seen,
            FlowState::Attempted => false,
        };
        tcp.syn && !tcp.ack_flag && spent && self.tcp.syn_seq != Some(tcp.seq)
    }

    /// Whether a packet of the handset comes from another owner than the flow.
    pub(super) fn has_other_owner(&self, uid: Option<u32>) -> bool {
        matches!((self.uid, uid), (Some(known), Some(new)) if known != new)
    }

    /// Counts a packet and moves the state on.
    pub(super) fn add(&mut self, packet: &Packet<'_>, view: &View<'_>, outbound: bool) {
        self.start = self.start.min(packet.at);
        self.end = self.end.max(packet.at);
        let counts = if outbound {
            &mut self.out
        } else {
            &mut self.seen_in
        };
        counts.packets = counts.packets.saturating_add(1);
        counts.bytes = counts.bytes.saturating_add(u64::from(view.ip_len));
        self.inbound_observed &= packet.vantage == Vantage::Both;
        self.uid = self.uid.or(packet.uid);
        let at = usize::from(self.frames_len);
        if let (Some(source), Some(frame)) = (self.frames.0.get_mut(at), self.frames.1.get_mut(at))
        {
            (*source, *frame) = (packet.source, packet.frame);
            self.frames_len += 1;
        }
        self.payload_out |= outbound && has_payload(view);
        if self.state == FlowState::Attempted && self.out.packets > 0 && self.seen_in.packets > 0 {
            self.state = FlowState::Answered;
        }
        if let Transport::Tcp(tcp) = view.transport {
            self.add_tcp(packet, &tcp, outbound);
        }
    }

    fn add_tcp(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>, outbound: bool) {
        match (tcp.syn, tcp.ack_flag) {
            (true, false) => self.add_syn(packet, tcp, outbound),
            (true, true) if !outbound => self.add_syn_ack(packet, tcp),
            _ => {}
        }
        self.tcp.data_seen |= tcp.payload_len > 0 && !tcp.syn;
        // What is acknowledged was received: that shows an answer which an OUTPUT-only capture
        // does not hold.
        if self.state == FlowState::Attempted && tcp.ack_flag && !tcp.rst && !tcp.syn {
            self.state = FlowState::Answered;
        }
        self.tcp.fin_out |= tcp.fin && outbound;
        self.tcp.fin_in |= tcp.fin && !outbound;
        if tcp.rst || (self.tcp.fin_out && self.tcp.fin_in) {
            self.state = FlowState::Closed;
        }
    }

    fn add_syn(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>, outbound: bool) {
        let first = self.tcp.syn_seq.is_none();
        if first {
            self.tcp.syn_seq = Some(tcp.seq);
        }
        if first && outbound {
            self.tcp.handshake = Handshake::Awaited(packet.at, packet.time_basis);
        } else if let Handshake::Awaited(..) = self.tcp.handshake {
            // A repeated SYN leaves open which one was answered.
            self.tcp.handshake = Handshake::Unknown;
        }
        self.tcp.own_syns = self.tcp.own_syns.saturating_add(u8::from(outbound));
    }

    fn add_syn_ack(&mut self, packet: &Packet<'_>, tcp: &Tcp<'_>) {
        let (Handshake::Awaited(at, basis), Some(seq)) = (self.tcp.handshake, self.tcp.syn_seq)
        else {
            return;
        };
        self.tcp.handshake = Handshake::Unknown;
        let nanos = packet.at.nanos_since(at);
        let measured = match basis {
            _ if basis != packet.time_basis => None,
            TimeBasis::Kernel => Some(RttBasis::Kernel),
            TimeBasis::File => Some(RttBasis::File),
            TimeBasis::Receive => None,
        };
        if let Some(basis) = measured
            && nanos >= 0
            && tcp.ack == seq.wrapping_add(1)
        {
            self.tcp.handshake = Handshake::Measured(nanos, basis);
        }
    }
}

/// Whether a packet carries more than headers.
fn has_payload(view: &View<'_>) -> bool {
    match view.transport {
        Transport::Tcp(tcp) => tcp.payload_len > 0,
        Transport::Udp(udp) => udp.payload_len > 0,
        Transport::Icmp(_) | Transport::Fragment { .. } | Transport::Other => true,
    }
}
