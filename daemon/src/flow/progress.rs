//! A flow and how a packet changes it.
//!
//! In: packets of the flow in the order in which they came, each with its direction. Out: counts,
//! state, handshake time. Which packet belongs to which flow is decided in `table`.

use crate::{
    input::{Packet, TimeBasis, Vantage},
    packet::{Tcp, Transport, View},
    time::Timestamp,
};

use super::{
    Closing, FLOWS_MAX, FiveTuple, RttBasis, closing::RECEIVE_LAG_NANOS, five_tuple::Ends,
};

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// First packets of a flow that are kept as evidence pointers.
pub const FRAMES_MAX: usize = 4;

/// Names one flow of a run; ordered by the flows' starts, never reused. The ordinal stands above the
/// slot in one number: at a million flows a second it lasts for half a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(u64);

/// Bits of a flow's slot in its id.
const SLOT_BITS: u32 = 20;
const _: () = assert!(FLOWS_MAX <= 1 << SLOT_BITS);

impl FlowId {
    pub(super) fn new(ordinal: u64, slot: u32) -> Self {
        Self(ordinal << SLOT_BITS | u64::from(slot))
    }

    /// 1-based ordinal of the flow in the order of starts.
    pub const fn ordinal(self) -> u64 {
        self.0 >> SLOT_BITS
    }

    pub(super) const fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
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

/// Points to a packet of the case's sources. Many are kept, so that both numbers share 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameRef(u64);

/// Bits of a packet's ordinal: at ten million packets a second they last for ten months.
const FRAME_BITS: u32 = 48;
const FRAME_MAX: u64 = (1 << FRAME_BITS) - 1;

impl FrameRef {
    /// A packet by the index of its source and its 1-based ordinal there. An ordinal beyond 48 bits
    /// is not told from the last one.
    #[inline]
    pub const fn new(source: u16, frame: u64) -> Self {
        let frame = if frame < FRAME_MAX { frame } else { FRAME_MAX };
        Self((source as u64) << FRAME_BITS | frame)
    }

    /// Index of the source.
    pub const fn source(self) -> u16 {
        (self.0 >> FRAME_BITS) as u16
    }

    /// 1-based ordinal within the source.
    pub const fn frame(self) -> u64 {
        self.0 & FRAME_MAX
    }
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
    handshake: Handshake,
    /// Sequence number of the first SYN without ACK, if there was one.
    syn_seq: u32,
    has_syn: bool,
    /// SYNs without ACK that the handset sent; no more are counted than this holds.
    own_syns: u8,
    fin_out: bool,
    fin_in: bool,
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
    /// Protocol and both ends, the handset's first; see [`Flow::tuple`].
    pub(super) ends: Ends,
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
    /// Whether a TCP segment with data was seen, either way.
    data_seen: bool,
    /// The first UID that came with a packet of the flow.
    pub uid: Option<u32>,
    /// Why it ended; none while it is in the table.
    pub ended: Option<Ended>,
    /// The caller's state.
    pub user: T,
    /// Sources and ordinals of its first packets.
    frames: [FrameRef; FRAMES_MAX],
    frames_len: u8,
    tcp: TcpProgress,
}

impl<T: Default> Flow<T> {
    pub(super) fn new(id: FlowId, ends: Ends, packet: &Packet<'_>) -> Self {
        Self {
            id,
            ends,
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
            data_seen: false,
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
    /// Protocol and both ends.
    #[inline]
    pub fn tuple(&self) -> FiveTuple {
        self.ends.tuple()
    }

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
        let all = self.frames.iter().copied();
        all.take(self.frames_len.into())
    }

    /// Whether it is a TCP flow.
    pub(super) const fn is_tcp(&self) -> bool {
        self.ends.protocol() == TCP
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
            FlowState::Answered => self.data_seen,
            FlowState::Attempted => false,
        };
        let repeated = self.tcp.has_syn && self.tcp.syn_seq == tcp.seq;
        tcp.syn && !tcp.ack_flag && spent && !repeated
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
        if let Some(free) = self.frames.get_mut(usize::from(self.frames_len)) {
            *free = FrameRef::new(packet.source, packet.frame);
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
        self.data_seen |= tcp.payload_len > 0 && !tcp.syn;
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
        let first = !self.tcp.has_syn;
        if first {
            (self.tcp.has_syn, self.tcp.syn_seq) = (true, tcp.seq);
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
        // A SYN is awaited only where one was seen.
        let Handshake::Awaited(at, basis) = self.tcp.handshake else {
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
            && tcp.ack == self.tcp.syn_seq.wrapping_add(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_share_a_word_come_out_as_they_went_in() {
        let last = FrameRef::new(u16::MAX, FRAME_MAX);
        assert_eq!((last.source(), last.frame()), (u16::MAX, FRAME_MAX));
        let beyond = FrameRef::new(7, u64::MAX);
        assert_eq!((beyond.source(), beyond.frame()), (7, FRAME_MAX));

        let slot = (1 << SLOT_BITS) - 1;
        let (id, next) = (FlowId::new(1, slot), FlowId::new(2, 0));
        assert_eq!((id.ordinal(), id.slot()), (1, slot));
        assert!(id < next);
    }
}
