//! The whole data flow: `Packet → Flow → Contact → Verdict → Finding → Record`.
//!
//! In: one ordered stream of inputs. Out: records, and for each packet how much of it the journal
//! must keep, so that feeding the journal again gives the same records. No I/O, no clock.

mod by_name;
mod charges;
mod counts;
mod isolated;
mod kept;
mod lateness;
mod names;
mod owners;
mod paths;
mod probe;
mod process;
mod reading;
mod settle;
mod sightings;

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use sakshi_rules::{RuleSet, contact::AppProtocol, rule_set::max_place_age_days};

use self::{
    counts::Counts,
    lateness::Lateness,
    paths::{Paths, Way},
};
use crate::{
    attribute::{
        inventory::{Inventory, InventoryHistory, Version},
        owner::{Conclusion, LookedUp, Rival, Sighted},
        uid::AppId,
    },
    evidence::body::{ByName, Record, SourceCount, Summary, Via},
    finding::{ContactBook, ContactId, Share},
    flow::{self, Closing, FlowId, FlowTable, Observed},
    input::{
        Event, Gap, GapCause, Input, InventoryChange, Packet, PhaseChange, SocketClosed,
        SocketProto, Vantage,
    },
    locate::Atlas,
    name::{Heard, Reading, hidden, resolved::ResolvedNames},
    packet::{TUNNELS_MAX, View, dissect, inner},
    time::Timestamp,
};

pub use charges::{CHARGES_MAX, EARLY_CHARGES_MAX};
pub use kept::{FINDING_PACKETS_MAX, FLOW_PACKETS_MAX};
pub use names::{ASKED_SHORTLY_NANOS, FLOW_NAMES_MAX};
pub use reading::{WAITING_BYTES_MAX, WAITING_NANOS_MAX};
use sightings::{Found, Sightings};
pub use sightings::{SAME_ENDS_MAX, SIGHTING_WAIT_NANOS, SIGHTINGS_MAX};

/// A flow without a name of its own is settled this long after its first outbound packet.
pub const SETTLE_AFTER_NANOS: i64 = 5_000_000_000;
/// Totals of changed contacts are written this often, in the time of the input.
pub const TOTALS_EVERY_NANOS: i64 = 60_000_000_000;
/// What begins to wait is due after this or later: a flow to be settled, bytes for more of their
/// stream, a probe to be found, a flow to end because it is idle.
const NOTHING_DUE_NANOS: i64 = SETTLE_AFTER_NANOS;
const _: () =
    assert!(NOTHING_DUE_NANOS <= WAITING_NANOS_MAX && NOTHING_DUE_NANOS <= probe::PATIENCE_NANOS);
/// Flows that are closed together when the input is over.
const CLOSED_AT_ONCE: usize = 256;

/// How much of a packet the journal must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All that was captured: its payload was read, or it could not be dissected.
    Whole,
    /// This many bytes: its headers.
    Headers(usize),
}

impl Keep {
    /// What both need.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Headers(one), Self::Headers(other)) => {
                Self::Headers(if one > other { one } else { other })
            }
            _ => Self::Whole,
        }
    }
}

/// What the pipeline hangs on a flow.
#[derive(Debug, Default)]
pub struct State {
    /// What was told beside its packets; of the flows of most capture files nothing is.
    told: Option<Box<Told>>,
    reading: Reading,
    /// What waits of it, while something does.
    held: Option<Box<reading::Held>>,
    protocol: Option<AppProtocol>,
    names: names::Names,
    /// It asks for names out of sight.
    hidden: Option<(hidden::Hidden, hidden::Basis)>,
    tls: Option<Box<names::Handshake>>,
    /// Its HTTP request names another server than the one reached (RFC 9112, section 3.2.2).
    through_proxy: bool,
    turn: Turn,
    /// To be settled before the next packet.
    ready: bool,
    /// The first packet that the handset sent in the phase in which it is counted, once it has sent any.
    counted_since: Timestamp,
    settled: Option<Settled>,
    kept: kept::OfFlow,
}

/// Whether a flow is to be settled in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Turn {
    /// The handset has sent nothing in it.
    #[default]
    Unsent,
    /// It has, and since when is known.
    Sent,
    /// It also stands in the queue.
    Waits,
}

/// What a live watch, or the writer of a capture, told of a flow beside its packets.
#[derive(Debug, Default)]
struct Told {
    process: process::Known,
    charges: charges::Charges,
    /// What was read off its own socket.
    sighted: Option<Sighted>,
    /// How much was lost when that was last certain, by [`Core`]'s count.
    doubts: u64,
    /// What a lookup found.
    looked_up: Option<LookedUp>,
    /// What tells the first packet that the handset sent.
    opening: Option<u64>,
    /// Who else had its five-tuple.
    rival: Option<Rival>,
    packets_without_uid: u64,
    way: Way,
    /// Number of the phase in which it began.
    began_in: u32,
    /// Version of the inventory in which it began.
    inventory: Version,
    /// What the flow had sent before the phase in which it is now counted.
    before_phase: Share,
    /// The owner that it is settled with.
    settled_owner: Conclusion,
}

static NOTHING_TOLD: Told = Told {
    process: process::Known::NOTHING,
    charges: charges::Charges::NONE,
    sighted: None,
    doubts: 0,
    looked_up: None,
    opening: None,
    rival: None,
    packets_without_uid: 0,
    way: Way::UNKNOWN,
    began_in: 0,
    inventory: 0,
    before_phase: Share {
        packets_out: 0,
        bytes_out: 0,
    },
    settled_owner: Conclusion::UNKNOWN,
};

impl State {
    fn told(&self) -> &Told {
        self.told.as_deref().unwrap_or(&NOTHING_TOLD)
    }

    fn told_mut(&mut self) -> &mut Told {
        self.told.get_or_insert_default()
    }
}

/// What a flow was settled with, its owner apart ([`Told`]): most flows of a capture file have none.
#[derive(Debug, Clone, Copy)]
struct Settled {
    contact: Option<ContactId>,
    phase: u32,
    payload: bool,
    via: Option<Via>,
}

type Flow = flow::Flow<State>;

/// A hundred thousand flows are live at once, and what is told of few stands apart from all (0214).
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Flow>() <= 288);

/// What the core is given before the first input.
#[derive(Debug)]
pub struct Setup {
    /// Number of the session in its case, from 1.
    pub session: u64,
    /// The handset's addresses, for captures of both directions.
    pub handset: Vec<IpAddr>,
    /// Apps on the handset.
    pub inventory: Inventory,
    /// Rules to judge by.
    pub rules: Vec<RuleSet>,
    /// Location data.
    pub atlas: Arc<Atlas>,
    /// Names of the sources, by number.
    pub sources: Vec<String>,
    /// Country in which the lab states that traffic goes out into the internet.
    pub egress: Option<String>,
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    session: u64,
    table: FlowTable<State>,
    inventory: InventoryHistory,
    atlas: Arc<Atlas>,
    max_age_days: u32,
    /// The resolver that was looked at last, and whether it is known to be abroad.
    last_resolver: Option<(IpAddr, bool)>,
    resolved: ResolvedNames,
    waiting_bytes: reading::Waiting,
    /// What the payload at hand said; empty between packets.
    heard: Vec<Heard>,
    lateness: Lateness,
    app_names: process::AppNames,
    isolated: isolated::Isolated,
    charges: charges::EarlyCharges,
    paths: Paths,
    book: ContactBook,
    sources: Vec<String>,
    ready: Vec<FlowId>,
    /// Flows to be settled, by the stream's elapsed nanoseconds.
    waiting: VecDeque<(i64, FlowId)>,
    ended: Vec<Flow>,
    sightings: Sightings,
    /// Whether any socket was read, so that a watch without it pays nothing for it.
    any_sighted: bool,
    /// Losses so far after which a five-tuple may have another socket.
    doubts: u64,
    evicted: u64,
    forgotten: u64,
    sightings_forgotten: u64,
    totals_due_nanos: i64,
    /// Nothing is due before this moment of the clock: until then nobody looks.
    due_nanos: i64,
    counts: Counts,
    samples: kept::Samples,
    probes: probe::Probes,
    /// Only names are asked for: flows by theirs.
    by_name: Option<ByName>,
}

impl Core {
    /// A core for one session.
    pub fn new(setup: Setup) -> Self {
        Self {
            session: setup.session,
            table: FlowTable::new(setup.handset),
            inventory: InventoryHistory::new(setup.inventory),
            atlas: setup.atlas,
            max_age_days: max_place_age_days(&setup.rules),
            last_resolver: None,
            resolved: ResolvedNames::new(),
            waiting_bytes: reading::Waiting::default(),
            heard: Vec::new(),
            lateness: Lateness::default(),
            app_names: process::AppNames::default(),
            isolated: isolated::Isolated::default(),
            charges: charges::EarlyCharges::default(),
            paths: Paths::default(),
            book: ContactBook::new(setup.session, setup.rules).leaving_in(setup.egress),
            counts: Counts {
                sources: vec![(0, 0); setup.sources.len()],
                ..Counts::default()
            },
            sources: setup.sources,
            ready: Vec::new(),
            waiting: VecDeque::new(),
            ended: Vec::with_capacity(CLOSED_AT_ONCE),
            sightings: Sightings::default(),
            any_sighted: false,
            doubts: 0,
            evicted: 0,
            forgotten: 0,
            sightings_forgotten: 0,
            totals_due_nanos: TOTALS_EVERY_NANOS,
            due_nanos: 0,
            samples: kept::Samples::default(),
            probes: probe::Probes::default(),
            by_name: None,
        }
    }

    /// A core that only looks for names: it judges nothing, and makes no record of flows.
    pub fn for_names(session: u64, handset: Vec<IpAddr>, sources: Vec<String>) -> Self {
        let nothing = Setup {
            session,
            handset,
            inventory: Inventory::empty(),
            rules: Vec::new(),
            atlas: Arc::new(Atlas::empty()),
            sources,
            egress: None,
        };
        Self {
            by_name: Some(ByName::default()),
            ..Self::new(nothing)
        }
    }

    /// Takes one input; appends what follows from it to `out`.
    pub fn feed(&mut self, input: &Input<'_>, out: &mut Vec<Record>) -> Keep {
        match input {
            Input::Packet(packet) => self.feed_packet(packet, out),
            Input::Event(event) => {
                let before = out.len();
                self.samples.begin();
                self.event(event, out);
                self.note_records(out, before);
                Keep::Whole
            }
        }
    }

    /// Takes a packet, as [`Core::feed`] does.
    pub fn feed_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<Record>) -> Keep {
        let before = out.len();
        self.samples.begin();
        let keep = self.packet(packet, out);
        self.note_records(out, before);
        keep
    }

    #[inline]
    fn note_records(&mut self, out: &[Record], before: usize) {
        if let Some(records @ [_, ..]) = out.get(before..) {
            self.counts.note_records(records);
            if let Some(by_name) = &mut self.by_name {
                by_name::note_gaps(by_name, records);
            }
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, out: &mut Vec<Record>) -> Keep {
        self.settle_ready(out);
        self.advance(packet.at, out);
        self.counts.packet(packet);
        // A view is large: it stays where it was made.
        let dissected = dissect(packet.link, packet.data, packet.original_len);
        let view = match &dissected {
            Ok(view) => view,
            Err(reason) => {
                *self.counts.unparsed.entry(reason.key()).or_default() += 1;
                return Keep::Whole;
            }
        };
        let seen_leaving = packet.vantage == Vantage::Output;
        let socket = if seen_leaving {
            self.sighting_of(packet, view)
        } else {
            Found::default()
        };
        let observed = self.observe(packet, view);
        if seen_leaving {
            self.note_socket(observed, socket.sighting, view);
        }
        self.read_told(observed.flow, packet);
        let keep = self.read_payload(observed, packet, view);
        if observed.outbound || seen_leaving {
            self.count(observed, packet, view, out);
        }
        self.note_sample(observed);
        self.close_ended(out);
        if socket.compared {
            return Keep::Whole;
        }
        // A live watch sees what goes into a tunnel by itself.
        if packet.vantage == Vantage::Both
            && let Some(inner) = inner(view, packet.data)
        {
            return self.inside(packet, inner, keep, out);
        }
        keep
    }

    /// Counts a packet to its flow.
    fn observe(&mut self, packet: &Packet<'_>, view: &View<'_>) -> Observed {
        let observed = self.table.count(packet, view);
        if observed.is_new {
            self.counts.flow(packet.source);
            let began = (self.book.phase(), self.inventory.version());
            if began != (NOTHING_TOLD.began_in, NOTHING_TOLD.inventory)
                && let Some(flow) = self.table.get_mut(observed.flow)
            {
                let told = flow.user.told_mut();
                (told.began_in, told.inventory) = began;
            }
        }
        observed
    }

    /// Follows what a tunnel carries: the packet inside belongs to a flow of its own.
    fn inside<'a>(
        &mut self,
        packet: &Packet<'a>,
        carried: View<'a>,
        keep: Keep,
        out: &mut Vec<Record>,
    ) -> Keep {
        let mut keep = keep;
        let mut next = Some(carried);
        for _ in 0..TUNNELS_MAX {
            let Some(view) = next else {
                break;
            };
            // Whoever sent the tunnel's packet need not be who sent what is in it.
            let carried = Packet {
                uid: None,
                interface: None,
                ..*packet
            };
            let observed = self.observe(&carried, &view);
            if let Some(flow) = self.table.get_mut(observed.flow) {
                flow.user.told_mut().way.mark_inside();
            }
            keep = keep.and(self.read_payload(observed, &carried, &view));
            self.count(observed, &carried, &view, out);
            self.close_ended(out);
            next = inner(&view, packet.data);
        }
        keep
    }

    /// Counts a packet of the handset to the contact of its flow. A flow that is not settled yet is counted when
    /// it is; one whose phase, owner or payload has changed is settled anew.
    fn count(
        &mut self,
        observed: Observed,
        packet: &Packet<'_>,
        view: &View<'_>,
        out: &mut Vec<Record>,
    ) {
        if self.by_name.is_some() {
            return;
        }
        let phase = self.book.phase();
        let now_nanos = self.table.clock().elapsed_nanos();
        let Some(flow) = self.table.get_mut(observed.flow) else {
            return;
        };
        if packet.uid.is_none() && packet.vantage == Vantage::Output {
            flow.user.told_mut().packets_without_uid += 1;
        }
        if !observed.outbound {
            return;
        }
        let owner = settle::conclude(flow);
        if let Some(interface) = packet.interface {
            let way = &mut flow.user.told_mut().way;
            self.paths.follow(way, interface, owner.uid);
        }
        let share = Share {
            packets_out: 1,
            bytes_out: u64::from(view.ip_len),
        };
        match flow.user.settled {
            Some(settled) if settled.phase == phase => {
                if flow.user.told().settled_owner != owner
                    || settled.payload != flow.payload_out
                    || settled.via != flow.user.told().way.via()
                {
                    mark_ready(flow, &mut self.ready);
                }
                if let Some(contact) = settled.contact {
                    self.book.count(contact, share, packet.at, out);
                }
            }
            Some(_) => {
                flow.user.told_mut().before_phase = settle::sent(flow).minus(share);
                flow.user.counted_since = packet.at;
                flow.user.settled = None;
                mark_ready(flow, &mut self.ready);
            }
            None if flow.user.turn == Turn::Unsent => {
                flow.user.turn = Turn::Sent;
                flow.user.counted_since = packet.at;
                // One that is ready is settled before anything else, unless it should wait then.
                if !flow.user.ready {
                    flow.user.turn = Turn::Waits;
                    self.waiting
                        .push_back((due_after(now_nanos), observed.flow));
                }
            }
            None => {}
        }
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Record>) {
        match event {
            Event::OwnerFact(fact) => return self.owner_fact(fact),
            Event::OwnerDoubt(doubt) => return self.owner_doubt(doubt),
            _ => {}
        }
        self.settle_ready(out);
        match event {
            Event::OwnerFact(_) | Event::OwnerDoubt(_) => {}
            Event::ProcessFact(fact) => self.process_fact(fact),
            Event::ChargeFact(fact) => self.charge_fact(fact),
            Event::AppName(name) => self.app_names.note(name),
            Event::Tally(tally) => self.counts.tally = Some(*tally),
            Event::SocketClosed(closed) => self.socket_closed(closed),
            Event::Tick(at) => {
                self.advance(*at, out);
                self.close_ended(out);
            }
            Event::SourceEnd(_) => self.end_source(out),
            Event::Gap(gap) => {
                self.doubt_after(gap);
                out.push(Record::Gap(gap.clone()));
            }
            Event::Note(note) => out.push(Record::Note(note.clone())),
            Event::Observation(told) => {
                self.observation(told);
                self.book.hear(told);
                out.push(Record::Observation(told.clone()));
            }
            Event::Apk(apk) => out.push(Record::Apk(apk.clone())),
            Event::InventoryChange(change) => self.change_inventory(change, out),
            Event::PhaseChange(change) => self.begin_phase(change, out),
            Event::Interface(change) => {
                self.paths.apply(change);
                out.push(Record::Interface(Box::new(change.clone())));
            }
            Event::Counters(counters) => out.push(Record::Counters(counters.clone())),
            Event::Suspension(slept) => out.push(Record::Suspension(slept.clone())),
            Event::ReadLate(late) => self.lateness.note(*late),
            Event::ProbeOrder(order) => self.probe_order(order),
            Event::ProbeSent(sent) => self.probe_sent(sent),
        }
    }

    /// Flows keep the apps of when they began; those of apps that are gone end here, so that what
    /// comes under the same UID is not counted to them.
    fn change_inventory(&mut self, change: &InventoryChange, out: &mut Vec<Record>) {
        let moved = self.inventory.apply(change);
        if !moved.is_empty() {
            self.table.end_of_apps(|flow| {
                let owner = settle::conclude(flow).uid;
                owner.is_some_and(|uid| moved.contains(&AppId::of(uid).of_its_app()))
            });
            self.close_ended(out);
        }
        out.push(Record::Inventory(change.clone()));
    }

    fn socket_closed(&mut self, closed: &SocketClosed) {
        let closing = Closing {
            at: closed.at,
            cookie: closed.cookie,
            bytes_acked: closed.bytes_acked,
            bytes_received: closed.bytes_received,
            min_rtt_us: closed.min_rtt_us,
        };
        let joined = self
            .table
            .close(protocol(closed.proto), closed.local, closed.remote, closing);
        let counts = self.counts.closes.get_or_insert_default();
        if joined {
            counts.joined += 1;
        } else {
            counts.unmatched += 1;
        }
    }

    /// Everything sent so far belongs to the phase that ends.
    fn begin_phase(&mut self, change: &PhaseChange, out: &mut Vec<Record>) {
        self.settle_waiting(i64::MAX, out);
        self.book.totals(out);
        self.book.begin_phase(&change.name);
        self.samples.begin_phase();
        out.push(Record::Phase(change.clone()));
    }

    /// Lets time pass.
    #[inline]
    fn advance(&mut self, at: Timestamp, out: &mut Vec<Record>) {
        self.table.tick(at);
        if self.table.clock().elapsed_nanos() >= self.due_nanos {
            self.do_what_is_due(at, out);
        }
    }

    /// Flows expire, waiting flows are settled, totals fall due.
    #[inline(never)]
    fn do_what_is_due(&mut self, at: Timestamp, out: &mut Vec<Record>) {
        let now_nanos = self.table.clock().elapsed_nanos();
        self.conclude_waiting(now_nanos, at);
        self.settle_waiting(now_nanos, out);
        self.judge_probes(now_nanos, out);
        if now_nanos > self.totals_due_nanos {
            self.totals_due_nanos = now_nanos.saturating_add(TOTALS_EVERY_NANOS);
            self.book.totals(out);
            self.report_bounds(self.now(), out);
        }
        let waits = [
            self.waiting.front().map(|(due, _)| *due),
            self.waiting_bytes.next_due(),
            self.probes.next_due(),
        ];
        let new = now_nanos.saturating_add(NOTHING_DUE_NANOS);
        self.due_nanos = waits
            .into_iter()
            .flatten()
            .fold(new, i64::min)
            .min(self.totals_due_nanos)
            .min(self.table.next_look_nanos());
    }

    /// Ends every flow and writes what is still to be said: the session is over.
    pub fn finish(&mut self, out: &mut Vec<Record>) {
        let before = out.len();
        self.settle_ready(out);
        self.judge_probes(i64::MAX, out);
        self.end_source(out);
        self.note_records(out, before);
    }

    fn end_source(&mut self, out: &mut Vec<Record>) {
        let now = self.now();
        self.mark_copies_among_waiting();
        // Flows that ended before, with a packet that could not be dissected, wait.
        self.close_ended(out);
        let (mut left, ids) = self.table.finish();
        for ids in ids.chunks(CLOSED_AT_ONCE) {
            for id in ids {
                if let Some(flow) = left.end(*id) {
                    self.conclude_flow(flow);
                }
            }
            for id in ids {
                if let Some(flow) = left.end(*id) {
                    self.write_flow(flow, out);
                }
            }
        }
        self.waiting.clear();
        self.app_names.clear();
        self.book.totals(out);
        self.report_bounds(now, out);
        // The next source has a time of its own.
        self.totals_due_nanos = TOTALS_EVERY_NANOS;
        self.due_nanos = 0;
    }

    /// The stream's own time.
    fn now(&self) -> Timestamp {
        self.table.clock().latest().unwrap_or_default()
    }

    /// Whether no flow is live, so that time alone changes nothing.
    pub fn is_at_rest(&self) -> bool {
        self.table.is_empty()
    }

    /// Name of the phase; empty before the first.
    pub fn phase(&self) -> &str {
        self.book.phase_name()
    }

    /// What found no room in a bounded table is a gap.
    fn report_bounds(&mut self, now: Timestamp, out: &mut Vec<Record>) {
        let mut say = |place: &str, count: u64, detail: &str| {
            if count > 0 {
                out.push(Record::Gap(Gap {
                    at: now,
                    cause: GapCause::TableFull,
                    from: None,
                    to: Some(now),
                    packets: None,
                    place: place.to_owned(),
                    detail: format!("{count} {detail}"),
                }));
            }
        };
        let evicted = self.table.evicted();
        say(
            "flow table",
            evicted - self.evicted,
            "flows were ended early because the table was full",
        );
        say(
            "contacts",
            self.book.take_turned_away(),
            "flows were counted to no contact because the table was full",
        );
        say(
            "streams",
            self.waiting_bytes.take_gave_up(),
            "streams were read no further because too much of them waited for missing bytes; names \
             in them may be missing",
        );
        say(
            "names",
            self.waiting_bytes.take_unnamed(),
            "names of flows were not kept because their flows had too many; the packets that say them \
             are in the journal",
        );
        let forgotten = self.resolved.evicted();
        say(
            "resolved names",
            forgotten - self.forgotten,
            "names of addresses were forgotten because the table was full",
        );
        say(
            "app names",
            self.app_names.take_turned_away(),
            "UIDs have no app name because the table was full",
        );
        say(
            "charges",
            self.charges.take_forgotten(),
            "sockets' charges were read and their packets came too late",
        );
        say(
            "charges",
            self.charges.take_no_room(),
            "further charges of sockets that had several were not kept",
        );
        let pushed_out = self.sightings.forgotten();
        say(
            "owner facts",
            pushed_out - self.sightings_forgotten,
            "sockets were read and their packets came too late; their owners rest on what else is \
             known",
        );
        (self.evicted, self.forgotten) = (evicted, forgotten);
        self.sightings_forgotten = pushed_out;
    }

    /// The session's counts so far.
    pub fn summary(&self) -> Summary {
        let file = |(name, (packets, flows)): (&String, &(u64, u64))| SourceCount {
            file: name.clone(),
            packets: *packets,
            flows: *flows,
        };
        let judged =
            |count: fn(&ContactBook) -> u64| self.by_name.is_none().then(|| count(&self.book));
        Summary {
            packets: self.counts.packets,
            unparsed: self
                .counts
                .unparsed
                .iter()
                .map(|(key, count)| ((*key).to_owned(), *count))
                .collect(),
            flows: self.counts.flows,
            by_name: self.by_name,
            contacts: judged(|book| u64::try_from(book.len()).unwrap_or(u64::MAX)),
            findings: judged(ContactBook::findings),
            lost: self.counts.lost(),
            outbound: self.counts.outbound(),
            closes: self.counts.closes,
            // The core has no storage.
            bytes_written: None,
            files: self
                .sources
                .iter()
                .zip(&self.counts.sources)
                .map(file)
                .collect(),
        }
    }
}

/// IP protocol number of a socket.
const fn protocol(proto: SocketProto) -> u8 {
    match proto {
        SocketProto::Tcp => 6,
        SocketProto::Udp => 17,
    }
}

/// When a flow is settled at the latest whose first packet the handset has just sent.
const fn due_after(now_nanos: i64) -> i64 {
    now_nanos.saturating_add(SETTLE_AFTER_NANOS)
}

fn mark_ready(flow: &mut Flow, ready: &mut Vec<FlowId>) {
    if !flow.user.ready {
        flow.user.ready = true;
        ready.push(flow.id);
    }
}
