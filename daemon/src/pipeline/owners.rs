//! Which socket sent a packet, and what the kernel said of its owner.
//!
//! In: owner facts, packets, what was lost. Out: the owner's evidence in each flow's state. A
//! five-tuple that another socket has got is another flow, also where both sockets have one creator
//! and NFLOG alone could not tell them apart.

use super::{
    Core, Flow, Told,
    charges::Charges,
    mark_ready, protocol,
    sightings::{Ends, Found, Sighting},
};
use crate::{
    attribute::{
        owner::{LookedUp, Rival, Sighted},
        uid,
    },
    flow::Observed,
    input::{FactBasis, Gap, GapCause, OwnerDoubt, OwnerFact, Packet, SocketProto},
    packet::{Transport, View},
};

/// Port of resolvers that are asked over UDP.
const DNS_PORT: u16 = 53;

impl Told {
    /// Takes what was read off the flow's own socket.
    fn sight(&mut self, sighting: Sighting, doubts: u64) {
        let known = self.sighted.filter(|known| known.cookie == sighting.cookie);
        if known.is_none() {
            self.charges = Charges::default();
        }
        self.sighted = Some(Sighted {
            cookie: sighting.cookie,
            first_uid: known.map_or(sighting.uid, |known| known.first_uid),
            uid: sighting.uid,
        });
        self.doubts = doubts;
    }
}

impl Told {
    /// Takes what a lookup found. Says whether that is news: the first answer, or one that another
    /// owner contradicts.
    fn look_up(&mut self, uid: u32, cookie: Option<u64>) -> bool {
        match (self.looked_up, self.rival) {
            (None, _) => self.looked_up = Some(LookedUp { uid, cookie }),
            (Some(first), None | Some(Rival::Unknown)) if first.uid != uid => {
                self.rival = Some(Rival::Known(uid));
            }
            _ => return false,
        }
        true
    }
}

impl Core {
    /// Another socket had the ends of one whose owner is known.
    pub(super) fn owner_doubt(&mut self, doubt: &OwnerDoubt) {
        let found = self
            .table
            .find(protocol(doubt.proto), doubt.local, doubt.remote);
        if let Some(flow) = found.and_then(|id| self.table.get_mut(id)) {
            flow.user.told_mut().rival.get_or_insert(Rival::Unknown);
            if flow.user.settled.is_some() {
                mark_ready(flow, &mut self.ready);
            }
        }
    }

    /// Takes what the kernel said of a socket.
    pub(super) fn owner_fact(&mut self, fact: &OwnerFact) {
        let ends = Ends::of_fact(fact);
        let sighting = match fact.basis {
            FactBasis::SockDiag => None,
            FactBasis::XtBpf => match Sighting::of(fact) {
                None => return,
                sighting => sighting,
            },
        };
        let found = self.table.find(ends.protocol(), ends.local, ends.remote);
        let flow = found.and_then(|id| self.table.get_mut(id));
        let (Some(sighting), doubts) = (sighting, self.doubts) else {
            if let (Some(flow), Some(uid)) = (flow, fact.uid)
                && flow.user.told_mut().look_up(uid, fact.cookie)
                && flow.user.settled.is_some()
            {
                mark_ready(flow, &mut self.ready);
            }
            return;
        };
        match flow {
            Some(flow) if is_of(flow, &sighting, fact) => {
                flow.user.told_mut().sight(sighting, doubts);
                if let Some(early) = self.charges.take(sighting.cookie, &ends) {
                    flow.user.told_mut().charges = early;
                }
                self.any_sighted = true;
                if flow.user.settled.is_some() {
                    mark_ready(flow, &mut self.ready);
                }
            }
            _ => self
                .sightings
                .wait(ends, sighting, self.table.clock().elapsed_nanos()),
        }
    }

    /// The socket that sent a packet which was seen as it left, where it is the first of that socket. Ends the flow of its
    /// five-tuple if that is another socket's, so that the packet begins a new one.
    pub(super) fn sighting_of(&mut self, packet: &Packet<'_>, view: &View<'_>) -> Found {
        let Some(ends) = Ends::of_sent(view) else {
            return Found::default();
        };
        let found = self.sightings.take(packet, &ends, view);
        // Without a loss only a socket's own fact can tell that it is another, or a question.
        let may_be_doubted = self.doubts > 0 && self.any_sighted;
        if found.sighting.is_none() && !may_be_doubted && !is_question(&ends) {
            return found;
        }
        let flow = self
            .table
            .find(ends.protocol(), ends.local, ends.remote)
            .and_then(|id| self.table.get(id));
        if let Some(flow) = flow
            && is_other_socket(flow, found.sighting, packet, view, self.doubts)
        {
            let id = flow.id;
            self.table.replace(id);
        }
        found
    }

    /// Notes in the packet's flow which socket sent it; the packet was seen as it left.
    pub(super) fn note_socket(
        &mut self,
        observed: Observed,
        sighting: Option<Sighting>,
        view: &View<'_>,
    ) {
        let Some(flow) = self.table.get_mut(observed.flow) else {
            return;
        };
        if observed.outbound && flow.user.told().opening.is_none() {
            flow.user.told_mut().opening = view.opening();
        }
        if let Some(sighting) = sighting {
            flow.user.told_mut().sight(sighting, self.doubts);
            if let Some(early) =
                Ends::of_sent(view).and_then(|ends| self.charges.take(sighting.cookie, &ends))
            {
                flow.user.told_mut().charges = early;
            }
            self.any_sighted = true;
        }
    }

    /// After a loss a five-tuple may have another socket whose first packet, or whose fact, is among
    /// what was lost.
    pub(super) fn doubt_after(&mut self, gap: &Gap) {
        if matches!(
            gap.cause,
            GapCause::KernelLoss
                | GapCause::QueueFull
                | GapCause::TableFull
                | GapCause::RulesMissing
                | GapCause::Degraded
        ) {
            self.doubts += 1;
        }
    }
}

/// Whether a fact whose packet has been seen is that flow's: it came before the flow's first packet
/// was received and describes it, or it is a later one of the same socket.
fn is_of(flow: &Flow, sighting: &Sighting, fact: &OwnerFact) -> bool {
    match flow.user.told().sighted {
        Some(known) => known.cookie == sighting.cookie,
        None => fact.at <= flow.start && flow.user.told().opening == Some(sighting.opening),
    }
}

/// Whether a packet of the handset comes from another socket than its five-tuple's flow.
fn is_other_socket(
    flow: &Flow,
    sighting: Option<Sighting>,
    packet: &Packet<'_>,
    view: &View<'_>,
    doubts: u64,
) -> bool {
    let opens = match view.transport {
        // The SYN of the flow itself may be repeated.
        Transport::Tcp(tcp) => {
            tcp.syn && !tcp.ack_flag && flow.user.told().opening != view.opening()
        }
        _ => true,
    };
    match (flow.user.told().sighted, sighting) {
        (Some(known), Some(new)) => known.cookie != new.cookie,
        // Who sent in this flow before was never told.
        (None, Some(_)) => opens && flow.out.packets > 0,
        // A packet's own UID shows that the owner is still the same; without it, a TCP connection
        // is known by its SYN, and a UDP socket by nothing.
        (Some(known), None) if flow.user.told().doubts != doubts => match packet.uid {
            Some(uid) => uid != known.uid,
            None => matches!(view.transport, Transport::Udp(_)),
        },
        (Some(_), None) => false,
        // netd asks each question through a socket of its own, for whichever app, and the kernel may
        // give it a port that one before had. A repeated question has the same id.
        (None, None) => {
            Ends::of_sent(view).is_some_and(|ends| is_question(&ends))
                && packet.uid.is_some_and(uid::is_platform)
                && flow.out.packets > 0
                && flow.user.told().opening != view.opening()
        }
    }
}

/// Whether a packet asks a resolver over UDP.
fn is_question(ends: &Ends) -> bool {
    ends.proto == SocketProto::Udp && ends.remote.port() == DNS_PORT
}
