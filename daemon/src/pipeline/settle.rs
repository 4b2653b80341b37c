//! From flow to contact: when a flow's owner, name and place are known well enough to be judged.
//!
//! A flow is settled once its own name is found or can no longer be, after [`SETTLE_AFTER_NANOS`],
//! or when it ends. It is settled anew, and moved, when its owner or name becomes known later.
//!
//! [`SETTLE_AFTER_NANOS`]: super::SETTLE_AFTER_NANOS

use sakshi_rules::contact::{AppProtocol, Place, Proto};

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    Core, Flow, Settled, State, Turn, by_name, charges, due_after,
    isolated::Isolated,
    kept::Samples,
    lateness::{self, Lateness},
    names,
    paths::{self, Paths},
    probe::{self, Probes},
    process,
};
use crate::{
    attribute::{
        charge::Charge,
        inventory::{InventoryHistory, OwnerApps},
        owner::{Basis, Conclusion, Evidence},
        process::{NamedProcess, ProcessBasis, package_of},
        uid,
    },
    evidence::{
        Resolver,
        body::{self, PacketRef, PlaceSummary, Record, Via},
    },
    finding::{Claim, ContactBook, ContactId, Found, Share, owner_body},
    flow::{Ended, FlowId, FlowTable, FrameRef},
    locate::{Atlas, dataset::NO_COUNTRY},
    name::resolved::ResolvedNames,
    time::Timestamp,
};

impl Core {
    /// Settles the flows that became ready with the input before.
    #[inline]
    pub(super) fn settle_ready(&mut self, out: &mut Vec<Record>) {
        if !self.ready.is_empty() {
            self.settle_all_ready(out);
        }
    }

    #[inline(never)]
    fn settle_all_ready(&mut self, out: &mut Vec<Record>) {
        if self.by_name.is_some() {
            self.ready.clear();
            return;
        }
        let mut ready = std::mem::take(&mut self.ready);
        for id in ready.drain(..) {
            if self.should_wait(id) {
                continue;
            }
            self.settle(id, out);
        }
        self.ready = ready;
    }

    /// Settles the flows that have waited long enough when this much time has passed. While packets
    /// are read late, none is settled before all that came before it is read.
    pub(super) fn settle_waiting(&mut self, now_nanos: i64, out: &mut Vec<Record>) {
        while let Some((due, id)) = self.waiting.front().copied() {
            let held = |id| {
                let flow = self.table.get(id);
                flow.is_some_and(|flow| self.lateness.may_hide_answer(flow))
            };
            if due > now_nanos || (now_nanos < i64::MAX && held(id)) {
                break;
            }
            self.waiting.pop_front();
            if self
                .table
                .get(id)
                .is_some_and(|flow| flow.user.settled.is_none())
            {
                self.settle(id, out);
            }
        }
    }

    /// The ends of the flows that this one would repeat; none unless it may be clatd's copy of an
    /// app's packets, as it leaves an IPv6-only network.
    fn originals(
        &self,
        id: FlowId,
    ) -> Option<(u8, impl Iterator<Item = (SocketAddr, SocketAddr)>)> {
        let flow = self.table.get(id)?;
        let owner = conclude(flow).uid?;
        let (local_port, remote_port) = (flow.tuple().local.port?, flow.tuple().remote.port?);
        let remote = SocketAddr::new(flow.tuple().remote.addr, remote_port);
        (paths::may_translate(owner) && remote.is_ipv6()).then(|| {
            (
                flow.tuple().protocol,
                self.paths.originals(local_port, remote),
            )
        })
    }

    /// Whether a flow that became ready should rather wait until it is due: for the news of its
    /// interface, for the flow that it may repeat (the app's packets come in batches, and may
    /// come behind clatd's copies), or for the answer that names its address.
    fn should_wait(&mut self, id: FlowId) -> bool {
        let may_repeat = self
            .originals(id)
            .is_some_and(|(_, mut originals)| originals.next().is_some());
        let now_nanos = self.table.clock().elapsed_nanos();
        let Some(flow) = self.table.get_mut(id) else {
            return false;
        };
        let awaits = self.paths.awaits(&flow.user.told().way)
            || awaits_answer(flow, &self.resolved, self.lateness);
        if flow.user.settled.is_some() || !(may_repeat || awaits) {
            return false;
        }
        flow.user.ready = false;
        if flow.user.turn == Turn::Sent {
            flow.user.turn = Turn::Waits;
            self.waiting.push_back((due_after(now_nanos), id));
        }
        true
    }

    /// Marks a flow that repeats another one: the app's own flow is counted, the copy is not.
    fn mark_copy(&mut self, id: FlowId) {
        let repeats = self.originals(id).is_some_and(|(protocol, mut originals)| {
            originals.any(|(own, other)| self.table.find(protocol, own, other).is_some())
        });
        if repeats && let Some(flow) = self.table.get_mut(id) {
            flow.user.told_mut().way.mark_copy();
        }
    }

    /// The same for all that wait: after this their originals may be gone.
    pub(super) fn mark_copies_among_waiting(&mut self) {
        for at in 0..self.waiting.len() {
            if let Some((_, id)) = self.waiting.get(at) {
                self.mark_copy(*id);
            }
        }
    }

    fn settle(&mut self, id: FlowId, out: &mut Vec<Record>) {
        self.mark_copy(id);
        let (table, mut desk) = self.desk();
        if let Some(flow) = table.get_mut(id) {
            flow.user.ready = false;
            desk.settle(flow, out);
        }
    }

    /// The flow table apart from what is at hand beside it.
    fn desk(&mut self) -> (&mut FlowTable<State>, Desk<'_>) {
        let desk = Desk {
            session: self.session,
            book: &mut self.book,
            atlas: &self.atlas,
            inventory: &self.inventory,
            resolved: &self.resolved,
            app_names: &self.app_names,
            isolated: &self.isolated,
            paths: &self.paths,
            probes: &self.probes,
            samples: &mut self.samples,
            sources: &self.sources,
            max_age_days: self.max_age_days,
            last_resolver: &mut self.last_resolver,
        };
        (&mut self.table, desk)
    }

    /// Writes the flows that have ended.
    #[inline]
    pub(super) fn close_ended(&mut self, out: &mut Vec<Record>) {
        if self.table.has_ended() {
            self.write_ended(out);
        }
    }

    #[inline(never)]
    fn write_ended(&mut self, out: &mut Vec<Record>) {
        let mut ended = std::mem::take(&mut self.ended);
        self.table.drain_ended(&mut ended);
        for flow in &mut ended {
            self.conclude_flow(flow);
        }
        for flow in &mut ended {
            self.write_flow(flow, out);
        }
        ended.clear();
        self.ended = ended;
    }

    /// Takes over what is still to be known of a flow that has ended.
    pub(super) fn conclude_flow(&mut self, flow: &mut Flow) {
        self.conclude_ended(flow);
        self.probes.note_ended(flow);
    }

    /// Writes a flow that has ended, or where only names are asked for, counts it by its own.
    pub(super) fn write_flow(&mut self, flow: &mut Flow, out: &mut Vec<Record>) {
        if let Some(by_name) = &mut self.by_name {
            by_name::note(by_name, flow, &self.resolved);
            return;
        }
        let owner = conclude(flow).uid;
        if let Some(told) = &mut flow.user.told {
            self.paths.reconsider(&mut told.way, owner);
        }
        let via = flow.user.told().way.via();
        let stands = flow
            .user
            .settled
            .is_some_and(|settled| !flow.user.ready && settled.via == via);
        let (_, mut desk) = self.desk();
        if !stands {
            desk.settle(flow, out);
        }
        out.push(Record::Flow(Box::new(desk.flow_record(flow))));
    }
}

/// What is at hand when a flow is settled or written.
struct Desk<'a> {
    session: u64,
    book: &'a mut ContactBook,
    atlas: &'a Atlas,
    inventory: &'a InventoryHistory,
    resolved: &'a ResolvedNames,
    app_names: &'a process::AppNames,
    isolated: &'a Isolated,
    paths: &'a Paths,
    probes: &'a Probes,
    samples: &'a mut Samples,
    sources: &'a [String],
    max_age_days: u32,
    last_resolver: &'a mut Option<(IpAddr, bool)>,
}

impl<'a> Desk<'a> {
    /// Gives the flow its contact, and moves there what it has sent in this phase. A flow that the
    /// handset only received has none; one that has sent nothing since an earlier phase stays with
    /// the contact of that phase, whose totals are closed.
    fn settle(&mut self, flow: &mut Flow, out: &mut Vec<Record>) {
        let phase = self.book.phase();
        if flow
            .user
            .settled
            .is_some_and(|settled| settled.phase != phase)
        {
            return;
        }
        let share = sent(flow).minus(flow.user.told().before_phase);
        if share.packets_out == 0 {
            return;
        }
        let concluded = conclude(flow);
        if let Some(told) = &mut flow.user.told {
            self.paths.reconsider(&mut told.way, concluded.uid);
        }
        let via = flow.user.told().way.via();
        let contact = match via {
            // Its packets are counted where they were sent first.
            Some(Via::ClatCopy) => None,
            _ => self.contact(flow, out),
        };
        let before = flow.user.settled.and_then(|settled| settled.contact);
        if before != contact {
            if let Some(before) = before {
                self.book.withdraw_flow(before, share);
            }
            if let Some(contact) = contact {
                let since = if flow.user.turn == Turn::Unsent {
                    flow.start
                } else {
                    flow.user.counted_since
                };
                self.samples.mark(flow, contact.number());
                self.book.add_flow(contact, share, since, flow.end, out);
            }
        }
        if flow.user.told().settled_owner != concluded {
            flow.user.told_mut().settled_owner = concluded;
        }
        flow.user.settled = Some(Settled {
            contact,
            phase,
            payload: flow.payload_out,
            via,
        });
    }

    /// The contact that a flow belongs to as far as is known now.
    fn contact(&mut self, flow: &Flow, out: &mut Vec<Record>) -> Option<ContactId> {
        let (owner, apps, process) = self.who(flow);
        let believed = names::believed(flow, self.resolved);
        let resolved = believed.endpoint_name(owner.uid);
        let name = names::endpoint(flow, &resolved);
        let remote = flow.tuple().remote;
        let addr = remote.addr;
        let embedded_ipv4 = self.paths.nat64.embedded(addr);
        // The first of those that are known to be in another country than the handset.
        let resolver_abroad = names::resolvers(believed, name)
            .filter(|addr| self.is_abroad(*addr, flow.start))
            .min();
        let claim = Claim {
            owner,
            process,
            charged_to: self.charged_to_others(flow, owner),
            inventory: flow.user.told().inventory,
            addr,
            embedded_ipv4,
            port: remote.port,
            proto: proto(flow),
            app_protocol: flow.user.protocol.unwrap_or(AppProtocol::Unknown),
            name,
            said: names::besides(flow, name),
            names_hidden: names::names_hidden(flow),
            via: flow.user.told().way.via(),
            resolver_abroad,
            payload: flow.payload_out,
            probe: self.probes.sent(flow),
            at: flow.end,
        };
        let located = embedded_ipv4.map_or(addr, IpAddr::V4);
        let (atlas, sources, max_age_days) = (self.atlas, self.sources, self.max_age_days);
        let at = |addr| atlas.locate(addr, flow.start, max_age_days);
        let found = |name: Option<&str>| Found {
            place: at(located),
            categories: atlas.purposes(name),
            resolvers: names::resolvers(believed, name)
                .collect::<BTreeSet<IpAddr>>()
                .into_iter()
                .map(|addr| resolver(addr, at(addr)))
                .collect(),
            names: names::all(flow, owner, &resolved, sources),
            packets: packet_refs(flow, sources),
        };
        self.book.settle(claim, found, apps.as_ref(), out)
    }

    /// Whether a resolver is known to be in another country than the handset. Most flows are named by
    /// the one that named the last; what is said of it is kept where no list is asked, whose age would
    /// count.
    fn is_abroad(&mut self, addr: IpAddr, at: Timestamp) -> bool {
        if let Some((known, is_abroad)) = *self.last_resolver
            && known == addr
        {
            return is_abroad;
        }
        let verdict = self.atlas.verdict(addr, at, self.max_age_days);
        let country = std::str::from_utf8(&verdict.country).unwrap_or_default();
        let is_abroad = verdict.country != NO_COUNTRY && self.book.is_abroad(country);
        *self.last_resolver = verdict.is_ageless().then_some((addr, is_abroad));
        is_abroad
    }

    /// The owner, its apps as they were when the flow began, and the process behind it. Which app
    /// an isolated process belongs to is in no file: Android says so through the shim, or its name
    /// does; where they differ nobody is named.
    fn who(&self, flow: &Flow) -> (Conclusion, Option<OwnerApps<'a>>, Option<NamedProcess>) {
        let (history, version) = (self.inventory, flow.user.told().inventory);
        let mut owner = conclude(flow);
        let process = flow.user.told().process.named(owner, self.app_names);
        let apps = owner.uid.map(|uid| history.describe(uid, version));
        let app = process
            .as_ref()
            .filter(|process| process.basis == ProcessBasis::ProcUid)
            .and_then(|process| history.app(package_of(&process.name), version));
        let Some(uid) = owner.uid.filter(|uid| uid::is_isolated(*uid)) else {
            return (owner, apps, process);
        };
        let holder = self.isolated.holder(uid, flow.start, flow.end);
        let told = holder
            .and_then(|holder| holder.package.as_deref())
            .and_then(|package| history.app(package, version));
        let process = process.or_else(|| {
            holder.map(|holder| NamedProcess {
                name: holder.process.clone(),
                acts_for: None,
                basis: ProcessBasis::Android,
            })
        });
        let (app, basis) = match (told, app) {
            (Some(told), Some(app)) if told.package != app.package => (None, owner.basis),
            (Some(told), _) => (Some(told), Basis::Android),
            (None, app) => (app, Basis::Process),
        };
        match (apps, app) {
            (Some(apps), Some(app)) => {
                owner.basis = basis;
                (owner, Some(apps.of_app(app)), process)
            }
            (apps, _) => (owner, apps, process),
        }
    }

    /// Whom netd charges for the flow, with the apps of when it began.
    fn charged_to(&self, flow: &Flow) -> Vec<body::ChargedTo> {
        let charged = |read: &charges::Read| {
            let charge = read.charge;
            let apps = self
                .inventory
                .describe(charge.uid, flow.user.told().inventory);
            body::ChargedTo {
                uid: charge.uid,
                user: apps.user,
                apps: apps.apps.iter().map(|app| app.package.clone()).collect(),
                class: apps.class,
                name: apps.android_name.map(str::to_owned),
                note: apps.note.map(str::to_owned),
                tag: charge.tag,
                tag_name: charge.tag_name().map(str::to_owned),
                basis: read.basis,
                since: Some(read.since),
            }
        };
        flow.user.told().charges.iter().map(charged).collect()
    }

    /// Those of them that are another than the owner: what tells one contact from another.
    fn charged_to_others(&self, flow: &Flow, owner: Conclusion) -> Vec<body::ChargedTo> {
        let mut charged = self.charged_to(flow);
        charged.retain_mut(|charged| {
            charged.since = None;
            let (uid, tag) = (charged.uid, charged.tag);
            Charge { uid, tag }.is_of_another(owner.uid)
        });
        charged
    }

    /// The owner as records have it; the probe's own flows say so.
    fn owner(
        &self,
        flow: &Flow,
        owner: &Conclusion,
        apps: Option<&OwnerApps<'_>>,
        process: Option<&NamedProcess>,
    ) -> body::Owner {
        let mut owner = owner_body(owner, apps, process);
        if self.probes.sent(flow) {
            owner.role = Some(probe::ROLE.to_owned());
        }
        owner
    }

    fn flow_record(&self, flow: &Flow) -> body::Flow {
        let closing = flow.closing.as_deref();
        let (owner, apps, process) = self.who(flow);
        let resolved = names::believed(flow, self.resolved).endpoint_name(owner.uid);
        let names = names::all(flow, owner, &resolved, self.sources);
        let rtt = flow.rtt();
        let embedded_ipv4 = self.paths.nat64.embedded(flow.tuple().remote.addr);
        let located = embedded_ipv4.map_or(flow.tuple().remote.addr, IpAddr::V4);
        let place = self.atlas.locate(located, flow.start, self.max_age_days);
        body::Flow {
            flow: format!("{}-{}", self.session, flow.id.ordinal()),
            proto: proto(flow),
            protocol: flow.tuple().protocol,
            src: flow.tuple().local.addr,
            sport: flow.tuple().local.port,
            dst: flow.tuple().remote.addr,
            dport: flow.tuple().remote.port,
            start: flow.start,
            end: flow.end,
            packets_out: flow.out.packets,
            bytes_out: flow.out.bytes,
            packets_in: flow.received().map(|counts| counts.packets),
            bytes_in: flow.received().map(|counts| counts.bytes),
            state: flow.state,
            rtt_us: rtt.map(|(micros, _)| micros),
            rtt_basis: rtt.map(|(_, basis)| basis),
            socket_closed: closing.map(|closing| closing.at),
            socket_cookie: closing.and_then(|closing| closing.cookie),
            bytes_acked: closing.and_then(|closing| closing.bytes_acked),
            bytes_received: closing.and_then(|closing| closing.bytes_received),
            end_reason: flow.ended.unwrap_or(Ended::Finished).as_str().to_owned(),
            owner: self.owner(flow, &owner, apps.as_ref(), process.as_ref()),
            charged_to: self.charged_to(flow),
            pid: flow.user.told().process.pid(),
            carried_packets: if flow.uid.is_some() || flow.user.told().sighted.is_some() {
                flow.user.told().packets_without_uid
            } else {
                0
            },
            names,
            app_protocol: flow.user.protocol.unwrap_or(AppProtocol::Unknown),
            tls: names::tls(flow),
            place: PlaceSummary::from(&place),
            phase: self
                .book
                .name_of_phase(flow.user.told().began_in)
                .to_owned(),
            via: flow.user.told().way.via(),
            interfaces: self.paths.names(&flow.user.told().way),
            embedded_ipv4,
            contact: flow
                .user
                .settled
                .and_then(|settled| settled.contact)
                .map(|id| self.book.label(id)),
            packets: packet_refs(flow, self.sources),
        }
    }
}

fn resolver(addr: IpAddr, place: Place) -> Resolver {
    Resolver {
        addr,
        country: place.country,
        organisation: place.organisation,
        grade: place.grade,
    }
}

/// The flow's first packets, by the names of their sources.
fn packet_refs(flow: &Flow, sources: &[String]) -> Vec<PacketRef> {
    let reference = |frame: FrameRef| PacketRef {
        source: names::source(sources, frame.source()),
        frame: frame.frame(),
    };
    flow.frames().map(reference).collect()
}

/// Whether an answer that names a flow's address may have come before the flow and be read behind it.
fn awaits_answer(flow: &Flow, resolved: &ResolvedNames, lateness: Lateness) -> bool {
    let known_by = lateness::known_by(flow);
    (flow.end < known_by || lateness.may_hide_answer(flow))
        && flow.user.names.is_empty()
        && resolved
            .names(flow.tuple().remote.addr, known_by)
            .next()
            .is_none()
}

/// The owner as far as the kernel has said by now.
pub(super) fn conclude(flow: &Flow) -> Conclusion {
    if flow.uid.is_none() && flow.user.told.is_none() {
        return Conclusion::UNKNOWN;
    }
    let port = flow.tuple().remote.port;
    if let Some(told) = flow.user.told().process.conclude(flow.uid, port) {
        return told;
    }
    Evidence {
        sighted: flow.user.told().sighted,
        reported: flow.uid,
        looked_up: flow.user.told().looked_up,
        rival: flow.user.told().rival,
    }
    .conclude(port)
}

/// What the handset has sent in the flow.
pub(super) fn sent(flow: &Flow) -> Share {
    Share {
        packets_out: flow.out.packets,
        bytes_out: flow.out.bytes,
    }
}

/// The protocol as exports name it.
fn proto(flow: &Flow) -> Proto {
    match flow.tuple().protocol {
        6 => Proto::Tcp,
        17 => Proto::Udp,
        1 | 58 => Proto::Icmp,
        _ => Proto::Other,
    }
}
