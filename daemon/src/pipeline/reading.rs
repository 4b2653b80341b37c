//! Reading payloads: what the core does with what a flow was heard to say, and the bound on the bytes
//! that wait for more of their streams.
//!
//! In: packets with their flows. Out: names and protocols in the flow's state, answers learnt, and how
//! much of each packet the journal must keep.

use std::collections::VecDeque;

use sakshi_rules::contact::{AppProtocol, NameSource};

use super::{Core, Flow, Keep, mark_ready, names, settle};
use crate::{
    flow::{FlowId, FrameRef, Observed},
    input::{Packet, SocketProto},
    name::{Heard, Numbers, Shown, dns::DnsKind, hidden::hidden, resolved::ResolvedNames},
    packet::{Transport, View},
    time::Timestamp,
};

/// Bytes of all flows together that wait for more of their streams. When there are more, the flow that
/// has waited longest is read as far as it goes, and its bytes are given up: a gap.
pub const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long bytes wait for more of their stream, in the time of the input; then they are read as far
/// as they go. Longer than a sender repeats a segment four times.
pub const WAITING_NANOS_MAX: i64 = 30_000_000_000;

/// Flows whose bytes wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Those that began to wait, with the stream's nanoseconds at which that ends and the number of
    /// the wait; one may be over already.
    order: VecDeque<(i64, FlowId, u32)>,
    /// Bytes that wait.
    held: usize,
    waits: u32,
    gave_up: u64,
    unnamed: u64,
}

/// What a flow holds of that.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: usize,
    wait: u32,
    /// The packet that brought the last of them.
    last: FrameRef,
}

impl Waiting {
    /// When the flow that has waited longest has waited long enough.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.order.front().map(|(due, ..)| *due)
    }

    /// Readings that gave up since the last call.
    pub(super) const fn take_gave_up(&mut self) -> u64 {
        std::mem::replace(&mut self.gave_up, 0)
    }

    /// Names that flows had no room for since the last call.
    pub(super) const fn take_unnamed(&mut self) -> u64 {
        std::mem::replace(&mut self.unnamed, 0)
    }

    /// Takes over what a payload said of its flow.
    fn take(&mut self, flow: &mut Flow, heard: Heard, frame: FrameRef, known: &mut Known<'_>) {
        let port = flow.tuple().remote.port.unwrap_or(0);
        let of = &mut flow.user;
        match heard {
            Heard::Protocol(protocol) => of.protocol = Some(protocol),
            Heard::Name(name, source) => {
                let source = if known.covers(&name, source) {
                    NameSource::EchOuter
                } else {
                    source
                };
                self.unnamed += u64::from(!names::push(&mut of.names, name, source, frame));
            }
            Heard::Proxied => of.through_proxy = true,
            Heard::Hello(hello) => {
                let quic = of.protocol == Some(AppProtocol::Quic);
                of.hidden = hidden(&hello, quic, port).or(of.hidden);
                known.has_ech = hello.ech;
                if known.keeps_handshakes {
                    of.tls.get_or_insert_default().hello = Some(hello);
                }
            }
            Heard::Server(server) if known.keeps_handshakes => {
                of.tls.get_or_insert_default().server = Some(server);
            }
            Heard::Server(_) | Heard::Request(_) | Heard::Dns(..) => {}
        }
    }

    /// Notes what a flow holds now.
    fn note(&mut self, flow: &mut Flow, now_nanos: i64, packet: Option<&Packet<'_>>) {
        let holds = flow.user.reading.held();
        if holds == 0 && flow.user.held.is_none() {
            return;
        }
        let held = flow.user.held.get_or_insert_default();
        if let (Some(packet), 1..) = (packet, holds) {
            held.last = FrameRef::new(packet.source, packet.frame);
        }
        if holds == held.bytes {
            return;
        }
        if held.bytes == 0 {
            self.waits = self.waits.wrapping_add(1);
            held.wait = self.waits;
            let due = now_nanos.saturating_add(WAITING_NANOS_MAX);
            self.order.push_back((due, flow.id, held.wait));
        }
        self.held = self.held - held.bytes + holds;
        held.bytes = holds;
        if holds == 0 {
            flow.user.held = None;
        }
    }

    /// A flow has ended.
    fn release(&mut self, flow: &mut Flow) -> Option<Box<Held>> {
        let held = flow.user.held.take()?;
        self.held -= held.bytes;
        Some(held)
    }
}

impl Core {
    /// Looks for names in a payload, and says how much of the packet that took.
    #[inline]
    pub(super) fn read_payload(
        &mut self,
        observed: Observed,
        packet: &Packet<'_>,
        view: &View<'_>,
    ) -> Keep {
        if let Transport::Tcp(tcp) = view.transport
            && tcp.payload_len == 0
            && !tcp.syn
        {
            return Keep::Headers(view.headers_len);
        }
        match self.table.get(observed.flow) {
            Some(flow) if flow.user.reading.is_over() => Keep::Headers(view.headers_len),
            _ => self.read_on(observed, packet, view),
        }
    }

    /// The same of a flow in which something is still looked for.
    #[inline(never)]
    fn read_on(&mut self, observed: Observed, packet: &Packet<'_>, view: &View<'_>) -> Keep {
        let now_nanos = self.table.clock().elapsed_nanos();
        let Some(flow) = self.table.get_mut(observed.flow) else {
            return Keep::Whole;
        };
        let Some(mut shown) = shown(observed, view, self.by_name.is_some()) else {
            return Keep::Whole;
        };
        let was_answered = flow.user.reading.is_answered();
        if !observed.outbound {
            std::mem::swap(&mut shown.local_port, &mut shown.remote_port);
        }
        let took = flow.user.reading.show(&shown, &mut self.heard);
        self.waiting_bytes.gave_up += u64::from(took.gave_up);
        if took.read {
            self.waiting_bytes.note(flow, now_nanos, Some(packet));
        }
        let news = !self.heard.is_empty() || (!was_answered && flow.user.reading.is_answered());
        if news {
            let frame = FrameRef::new(packet.source, packet.frame);
            self.take_heard(observed.flow, observed.outbound, packet.at, frame);
        }
        if self.waiting_bytes.held > WAITING_BYTES_MAX {
            self.shed_bytes(packet.at);
        }
        if took.read {
            Keep::Whole
        } else {
            Keep::Headers(view.headers_len)
        }
    }

    /// Takes over what a flow was heard to say by a packet at that time.
    fn take_heard(&mut self, id: FlowId, outbound: bool, at: Timestamp, frame: FrameRef) {
        let Some(flow) = self.table.get_mut(id) else {
            self.heard.clear();
            return;
        };
        // What stands in the records of flows only is not kept where none is made.
        let keeps_handshakes = self.by_name.is_none();
        let mut has_ech = false;
        for heard in self.heard.drain(..) {
            match heard {
                // An answer teaches only where the handset was seen to ask in the same flow.
                Heard::Dns(DnsKind::Unicast, message) if !outbound && flow.out.packets > 0 => {
                    let asked_by = settle::conclude(flow).uid;
                    let at = self.lateness.earliest(at);
                    let packet = (frame.source(), frame.frame());
                    let by = flow.tuple().remote.addr;
                    self.resolved.learn(&message, at, asked_by, by, packet);
                    self.paths.learn_translators(&message);
                }
                heard => {
                    let mut known = Known {
                        resolved: &self.resolved,
                        at,
                        keeps_handshakes,
                        has_ech,
                    };
                    self.waiting_bytes.take(flow, heard, frame, &mut known);
                    has_ech = known.has_ech;
                }
            }
        }
        if outbound && flow.user.reading.is_answered() {
            mark_ready(flow, &mut self.ready);
        }
    }

    /// Reads what waits of a flow as far as it goes, and gives its memory back.
    fn conclude_reading(&mut self, id: FlowId, at: Timestamp) {
        if let Some(flow) = self.table.get_mut(id) {
            let port = flow.tuple().remote.port.unwrap_or(0);
            flow.user.reading.conclude(port, &mut self.heard);
            let Some(held) = self.waiting_bytes.release(flow) else {
                return;
            };
            let frame = held.last;
            self.take_heard(id, true, at, frame);
        }
    }

    /// Concludes the readings that have waited long enough when this much time has passed.
    pub(super) fn conclude_waiting(&mut self, now_nanos: i64, at: Timestamp) {
        while let Some((due, id, wait)) = self.waiting_bytes.order.front().copied() {
            if due > now_nanos {
                return;
            }
            self.waiting_bytes.order.pop_front();
            if self.waits_still(id, wait) {
                self.conclude_reading(id, at);
            }
        }
    }

    /// Gives up what has waited longest, until there is room.
    fn shed_bytes(&mut self, at: Timestamp) {
        while self.waiting_bytes.held > WAITING_BYTES_MAX
            && let Some((_, id, wait)) = self.waiting_bytes.order.pop_front()
        {
            if self.waits_still(id, wait) {
                self.waiting_bytes.gave_up += 1;
                self.conclude_reading(id, at);
            }
        }
    }

    fn waits_still(&self, id: FlowId, wait: u32) -> bool {
        let flow = self.table.get(id);
        let held = flow.and_then(|flow| flow.user.held.as_ref());
        held.is_some_and(|held| held.wait == wait)
    }

    /// Reads what waits of a flow that has ended.
    pub(super) fn conclude_ended(&mut self, flow: &mut Flow) {
        let Some(held) = self.waiting_bytes.release(flow) else {
            return;
        };
        let port = flow.tuple().remote.port.unwrap_or(0);
        flow.user.reading.conclude(port, &mut self.heard);
        let frame = held.last;
        let mut known = Known {
            resolved: &self.resolved,
            at: flow.end,
            keeps_handshakes: self.by_name.is_none(),
            has_ech: false,
        };
        for heard in self.heard.drain(..) {
            self.waiting_bytes.take(flow, heard, frame, &mut known);
            flow.user.ready = true;
        }
    }
}

/// What is known when a packet's payload is taken over.
struct Known<'a> {
    /// What answers had said by that time.
    resolved: &'a ResolvedNames,
    at: Timestamp,
    keeps_handshakes: bool,
    /// Whether the hello that was heard last, whose name follows, has the extension for a covered one.
    has_ech: bool,
}

impl Known<'_> {
    /// Whether a name in a flow's hello covers another one: the hello has the extension for that, and
    /// an answer had offered it under this name.
    fn covers(&self, name: &str, source: NameSource) -> bool {
        matches!(source, NameSource::Tls | NameSource::Quic)
            && self.has_ech
            && self.resolved.covers(name, self.at)
    }
}

/// A packet's payload as a reading is shown it; none where it has no ports.
const fn shown<'a>(observed: Observed, view: &View<'a>, names_only: bool) -> Option<Shown<'a>> {
    let outbound = observed.outbound;
    Some(match view.transport {
        Transport::Tcp(tcp) => Shown {
            proto: SocketProto::Tcp,
            local_port: tcp.sport,
            remote_port: tcp.dport,
            outbound,
            names_only,
            tcp: Numbers {
                seq: tcp.seq,
                ack: tcp.ack,
                syn: tcp.syn,
                acks: tcp.ack_flag,
            },
            wire_len: tcp.payload_len,
            bytes: tcp.payload,
        },
        Transport::Udp(udp) => Shown {
            proto: SocketProto::Udp,
            local_port: udp.sport,
            remote_port: udp.dport,
            outbound,
            names_only,
            tcp: Numbers {
                seq: 0,
                ack: 0,
                syn: false,
                acks: false,
            },
            wire_len: udp.payload_len,
            bytes: udp.payload,
        },
        _ => return None,
    })
}
