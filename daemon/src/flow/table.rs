//! The flow table: finds, begins and ends flows.
//!
//! In: each packet with its view, ticks, the end of the input. Out: which flow a packet belongs
//! to, and ended flows through [`FlowTable::drain_ended`], in the order of their ids. No packet
//! costs an allocation once the table has grown to its working size, and expiry looks only at
//! the idlest flow of each state.

use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    FLOWS_MAX,
    closing::Closing,
    direction,
    five_tuple::Ends,
    fragment::Fragments,
    progress::{Ended, Flow, FlowId, FlowState, TCP},
    slab::Slab,
};
use crate::{
    input::Packet,
    packet::{Transport, View},
    time::{StreamClock, Timestamp},
};

const SECOND_NANOS: i64 = 1_000_000_000;
const UDP: u8 = 17;
/// Slots of flows that had a packet lately: a power of two, and few enough to stay in the cache of the
/// processor.
const RECENT: usize = 8192;
const _: () = assert!(RECENT.is_power_of_two());

/// Seconds without a packet after which a flow ends, by protocol and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// TCP, one side heard: longer than the pauses between a kernel's SYN repetitions.
    pub tcp_attempted_s: u32,
    /// TCP, answered: longer than two hours, the default pause of TCP keep-alives (RFC 9293).
    pub tcp_answered_s: u32,
    /// TCP, closed: late segments and repetitions still belong to it.
    pub tcp_closed_s: u32,
    /// UDP: longer than the five minutes that RFC 4787 advises to address translators, and than
    /// the 15 minutes between announcements of SSDP, so that periodic traffic is one flow.
    pub udp_s: u32,
    /// ICMP, other protocols, fragments without a first one.
    pub other_s: u32,
}

impl Default for FlowTimeouts {
    fn default() -> Self {
        Self {
            tcp_attempted_s: 120,
            tcp_answered_s: 7_440,
            tcp_closed_s: 120,
            udp_s: 1_200,
            other_s: 1_200,
        }
    }
}

/// One list of the slab for each timeout.
const CLASSES: usize = 5;

impl FlowTimeouts {
    fn nanos(self) -> [i64; CLASSES] {
        [
            self.tcp_attempted_s,
            self.tcp_answered_s,
            self.tcp_closed_s,
            self.udp_s,
            self.other_s,
        ]
        .map(|seconds| i64::from(seconds) * SECOND_NANOS)
    }
}

/// Index into the timeouts.
const fn class(protocol: u8, state: FlowState) -> usize {
    match (protocol, state) {
        (TCP, FlowState::Attempted) => 0,
        (TCP, FlowState::Answered) => 1,
        (TCP, FlowState::Closed) => 2,
        (UDP, _) => 3,
        _ => 4,
    }
}

/// What a packet was to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The flow it belongs to.
    pub flow: FlowId,
    /// Whether it began that flow.
    pub is_new: bool,
    /// Whether the handset sent it.
    pub outbound: bool,
}

/// The flows that had not ended with the input, by their slots.
#[derive(Debug)]
pub struct Left<T>(Slab<T, CLASSES>);

impl<T> Left<T> {
    /// One of them, ended.
    pub fn end(&mut self, id: FlowId) -> Option<&mut Flow<T>> {
        let flow = self.0.get_mut(id)?;
        flow.ended = Some(Ended::Finished);
        Some(flow)
    }
}

/// All flows that have not ended, with a `T` of the caller in each.
#[derive(Debug)]
pub struct FlowTable<T> {
    slab: Slab<T, CLASSES>,
    /// Slots by the hash of their flows' five-tuples, with it: a table that grows touches no flow. The
    /// five-tuples stand in the flows only, which a packet touches anyway.
    by_ends: HashTable<(u32, u32)>,
    /// By the lower bits of the hash, the slot of the last flow found: packets come in runs. What stands
    /// here may be over; whether it is the flow, its own ends tell.
    recent: Box<[u32]>,
    hasher: RandomState,
    fragments: Fragments,
    handset: Vec<IpAddr>,
    timeouts_nanos: [i64; CLASSES],
    flows_max: usize,
    ended: Vec<Flow<T>>,
    started: u64,
    evicted: u64,
    clock: StreamClock,
    /// No flow is idle too long before this moment of the clock, in nanoseconds: until then nobody
    /// looks.
    look_at_nanos: i64,
}

impl<T: Default> FlowTable<T> {
    /// An empty table; `handset` are the addresses known to be the handset's, perhaps none.
    pub fn new(handset: Vec<IpAddr>) -> Self {
        Self::with_limits(handset, FlowTimeouts::default(), FLOWS_MAX)
    }

    /// An empty table with other limits; `flows_max` is at least 1.
    pub fn with_limits(handset: Vec<IpAddr>, timeouts: FlowTimeouts, flows_max: usize) -> Self {
        Self {
            slab: Slab::new(),
            by_ends: HashTable::new(),
            recent: vec![u32::MAX; RECENT].into_boxed_slice(),
            hasher: RandomState::default(),
            fragments: Fragments::default(),
            handset,
            timeouts_nanos: timeouts.nanos(),
            flows_max: flows_max.clamp(1, FLOWS_MAX),
            ended: Vec::new(),
            started: 0,
            evicted: 0,
            clock: StreamClock::default(),
            look_at_nanos: 0,
        }
    }

    /// Counts a packet, up to whose time [`FlowTable::tick`] has let pass, to its flow and begins one where
    /// needed.
    #[inline]
    pub fn count(&mut self, packet: &Packet<'_>, view: &View<'_>) -> Observed {
        let ends = match view.fragment_id {
            None => Ends::of(view),
            Some(_) => self.ends_of_fragment(view),
        };
        let hash = ends.hash(&self.hasher);
        let found = self.slot_of(hash, &ends);
        match found.and_then(|(at, outbound)| self.add(at, outbound, packet, view)) {
            Some(observed) => observed,
            None => self.begin_for(found.map(|(at, _)| at), hash, ends, packet, view),
        }
    }

    /// Counts a packet to the flow of a slot; none where it begins another flow there.
    #[inline]
    fn add(
        &mut self,
        at: u32,
        outbound: bool,
        packet: &Packet<'_>,
        view: &View<'_>,
    ) -> Option<Observed> {
        let now_nanos = self.clock.elapsed_nanos();
        let flow = self.slab.at_mut(at)?;
        let reused = matches!(view.transport, Transport::Tcp(tcp) if flow.is_reused_by(&tcp));
        if reused || (outbound && flow.has_other_owner(packet.uid)) {
            return None;
        }
        flow.add(packet, view, outbound);
        let (id, list) = (flow.id, class(flow.ends.protocol(), flow.state));
        self.slab.touch(at, list, now_nanos);
        Some(Observed {
            flow: id,
            is_new: false,
            outbound,
        })
    }

    /// Begins a flow with its first packet; the one that had its five-tuple before ends.
    #[inline(never)]
    fn begin_for(
        &mut self,
        before: Option<u32>,
        hash: u64,
        ends: Ends,
        packet: &Packet<'_>,
        view: &View<'_>,
    ) -> Observed {
        let mut predecessor_open = false;
        if let Some(at) = before {
            predecessor_open = self.slab.at(at).is_some_and(|flow| flow.closing.is_none());
            self.end(at, hash, Ended::Replaced);
        }
        let outbound = direction::first_is_outbound(packet, view, &self.handset);
        let at = self.begin(hash, if outbound { ends } else { ends.swapped() }, packet);
        if let Some(flow) = self.slab.at_mut(at) {
            flow.predecessor_open = predecessor_open;
        }
        // From an end to itself is the flow's own way, whoever began it.
        let outbound = self.way_in(at, &ends).unwrap_or(outbound);
        let Some(observed) = self.add(at, outbound, packet, view) else {
            unreachable!("a flow that has just begun is replaced by nothing")
        };
        Observed {
            is_new: true,
            ..observed
        }
    }

    /// Lets time pass; flows that were idle too long end.
    #[inline]
    pub fn tick(&mut self, now: Timestamp) {
        self.clock.advance(now);
        if self.clock.elapsed_nanos() >= self.look_at_nanos {
            self.end_idle();
        }
    }

    #[cold]
    fn end_idle(&mut self) {
        let now_nanos = self.clock.elapsed_nanos();
        // A flow that is touched from now on is idle for the shortest timeout or longer.
        let shortest = self.timeouts_nanos.into_iter().min().unwrap_or_default();
        let mut look_at = now_nanos.saturating_add(shortest);
        for list in 0..CLASSES {
            let timeout = self.timeouts_nanos[list];
            let deadline = now_nanos.saturating_sub(timeout);
            while let Some((at, touched)) = self.slab.idlest(list) {
                if touched >= deadline {
                    look_at = look_at.min(touched.saturating_add(timeout));
                    break;
                }
                self.end_slot(at, Ended::Idle);
            }
        }
        self.look_at_nanos = look_at;
    }

    /// The moment of the clock, in nanoseconds, before which [`FlowTable::tick`] ends no flow.
    pub const fn next_look_nanos(&self) -> i64 {
        self.look_at_nanos
    }

    /// Takes out every flow: the input is over. Beside them their ids in order, for each to be ended where
    /// it lies.
    pub fn finish(&mut self) -> (Left<T>, Vec<FlowId>) {
        let ids = self.open();
        let slab = std::mem::replace(&mut self.slab, Slab::new());
        self.by_ends.clear();
        self.clock = StreamClock::default();
        self.look_at_nanos = 0;
        (Left(slab), ids)
    }

    /// The flows that have not ended, in the order of their ids.
    pub fn open(&self) -> Vec<FlowId> {
        let slots = 0..self.slab.slots();
        let mut open = Vec::with_capacity(self.slab.len());
        open.extend(slots.filter_map(|at| self.slab.at(at).map(|flow| flow.id)));
        open.sort_unstable();
        open
    }

    /// Ends every flow of which `is_gone` says so, because its app is: what comes on its five-tuple
    /// next is another's. Looks at each open flow once.
    pub fn end_of_apps(&mut self, is_gone: impl Fn(&Flow<T>) -> bool) {
        for at in 0..self.slab.slots() {
            if self.slab.at(at).is_some_and(&is_gone) {
                self.end_slot(at, Ended::AppGone);
            }
        }
    }

    /// The time of the packets and ticks so far.
    pub const fn clock(&self) -> &StreamClock {
        &self.clock
    }

    /// Whether flows have ended that were not drained.
    pub const fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Moves all flows that have ended into `into`, ordered by id.
    pub fn drain_ended(&mut self, into: &mut Vec<Flow<T>>) {
        self.ended.sort_unstable_by_key(|flow| flow.id);
        if into.is_empty() {
            std::mem::swap(into, &mut self.ended);
        } else {
            into.append(&mut self.ended);
        }
    }

    /// A flow that has not ended.
    #[inline]
    pub fn get(&self, id: FlowId) -> Option<&Flow<T>> {
        self.slab.get(id)
    }

    /// A flow that has not ended, to change the caller's state in it.
    #[inline]
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<T>> {
        self.slab.get_mut(id)
    }

    /// Ends a flow whose five-tuple another socket has: its next packet begins another flow.
    pub fn replace(&mut self, id: FlowId) {
        if self.slab.get(id).is_some() {
            self.end_slot(id.slot(), Ended::Replaced);
        }
    }

    /// The flow of a socket, in whichever direction the kernel names it.
    pub fn find(&self, protocol: u8, one: SocketAddr, other: SocketAddr) -> Option<FlowId> {
        let at = self.slot_of_sockets(protocol, one, other)?;
        self.slab.at(at).map(|flow| flow.id)
    }

    /// Gives the end of a socket to the flow whose life it falls in; false when there is none, or
    /// it cannot be told whose it is.
    pub fn close(
        &mut self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
        closing: Closing,
    ) -> bool {
        let Some(at) = self.slot_of_sockets(protocol, local, remote) else {
            return false;
        };
        let Some(flow) = self.slab.at_mut(at) else {
            return false;
        };
        if !flow.close(closing) {
            return false;
        }
        let list = class(protocol, flow.state);
        self.slab.touch(at, list, self.clock.elapsed_nanos());
        true
    }

    fn slot_of_sockets(&self, protocol: u8, one: SocketAddr, other: SocketAddr) -> Option<u32> {
        let ends = Ends::of_sockets(protocol, one, other);
        self.look_up(ends.hash(&self.hasher), &ends)
    }

    fn look_up(&self, hash: u64, ends: &Ends) -> Option<u32> {
        let short = shortened(hash);
        let is_it = |&(at, of): &(u32, u32)| of == short && self.way_in(at, ends).is_some();
        let found = self.by_ends.find(spread(short), is_it);
        found.map(|(at, _)| *at)
    }

    /// Which way a packet goes in the flow of a slot; none where it is not of that flow.
    #[inline]
    fn way_in(&self, at: u32, ends: &Ends) -> Option<bool> {
        self.slab.at(at)?.ends.way_of(ends)
    }

    /// Slot of a packet's flow, and whether the handset sent the packet.
    #[inline]
    fn slot_of(&mut self, hash: u64, ends: &Ends) -> Option<(u32, bool)> {
        let recent = recent_of(&mut self.recent, hash).map_or(u32::MAX, |at| *at);
        if let Some(outbound) = self.way_in(recent, ends) {
            return Some((recent, outbound));
        }
        let at = self.look_up(hash, ends)?;
        if let Some(recent) = recent_of(&mut self.recent, hash) {
            *recent = at;
        }
        Some((at, self.way_in(at, ends)?))
    }

    /// Flows that have not ended.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether no flow is open.
    pub fn is_empty(&self) -> bool {
        self.slab.len() == 0
    }

    /// Flows begun so far.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Flows ended early because the table was full.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A fragment's ends; a later one gets the ports of its first one.
    #[cold]
    fn ends_of_fragment(&mut self, view: &View<'_>) -> Ends {
        let own = Ends::of(view);
        let now_nanos = self.clock.elapsed_nanos();
        match (&view.transport, view.fragment_id) {
            (Transport::Fragment { id }, _) => {
                self.fragments.recall(view, *id, now_nanos).unwrap_or(own)
            }
            (_, Some(id)) => {
                self.fragments.remember(view, id, own.ports(), now_nanos);
                own
            }
            _ => own,
        }
    }

    fn begin(&mut self, hash: u64, ends: Ends, packet: &Packet<'_>) -> u32 {
        if self.slab.len() >= self.flows_max {
            self.evict();
        }
        self.started += 1;
        let slot = self.slab.next_slot();
        let id = FlowId::new(self.started, slot);
        let flow = Flow::new(id, ends, packet);
        let list = class(ends.protocol(), flow.state);
        self.slab.insert(flow, list, self.clock.elapsed_nanos());
        let short = shortened(hash);
        self.by_ends
            .insert_unique(spread(short), (slot, short), |(_, of)| spread(*of));
        if let Some(recent) = recent_of(&mut self.recent, hash) {
            *recent = slot;
        }
        slot
    }

    /// Ends the flow that has been idle longest.
    fn evict(&mut self) {
        let idlest = (0..CLASSES)
            .filter_map(|list| self.slab.idlest(list))
            .min_by_key(|&(at, touched)| (touched, self.slab.at(at).map(|flow| flow.id)));
        if let Some((at, _)) = idlest {
            self.evicted += 1;
            self.end_slot(at, Ended::TableFull);
        }
    }

    fn end_slot(&mut self, at: u32, why: Ended) {
        if let Some(flow) = self.slab.at(at) {
            let hash = flow.ends.hash(&self.hasher);
            self.end(at, hash, why);
        }
    }

    fn end(&mut self, at: u32, hash: u64, why: Ended) {
        let short = shortened(hash);
        let is_it = |&(known, _): &(u32, u32)| known == at;
        if let Ok(entry) = self.by_ends.find_entry(spread(short), is_it) {
            entry.remove();
        }
        if self.slab.remove_into(at, &mut self.ended)
            && let Some(flow) = self.ended.last_mut()
        {
            flow.ended = Some(why);
        }
    }
}

/// What is kept of a hash.
const fn shortened(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The same for the table, which asks for a hash's highest bits and its lowest.
const fn spread(short: u32) -> u64 {
    (short as u64) << 32 | short as u64
}

fn recent_of(recent: &mut [u32], hash: u64) -> Option<&mut u32> {
    let at = usize::try_from(hash % RECENT as u64).ok()?;
    recent.get_mut(at)
}
