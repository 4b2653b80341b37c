//! Which packets are worth keeping as they were: the first of each flow, and more of one with a
//! finding.
//!
//! In: what the core knows of a packet's flow. Out: a [`Sample`] for each packet to be kept, and
//! [`Mark`]s that tell the contacts of flows. Nothing here changes a record: a core that is not asked
//! for samples says the same.

use std::{collections::HashSet, net::IpAddr};

use foldhash::fast::RandomState;

use super::{Core, Flow, settle};
use crate::{
    evidence::segments::{Mark, Sample},
    finding::ContactId,
    flow::Observed,
};

/// Packets of a flow that are kept from its beginning: the handshake, the client's greeting and the
/// server's certificates, and of a datagram flow the questions and their repetitions.
pub const FLOW_PACKETS_MAX: u64 = 16;
/// Packets of a flow with a finding that are kept beyond these, from when that was known: enough to
/// see how it went on, and little of a transfer.
pub const FINDING_PACKETS_MAX: u8 = 64;
/// Packets of a flow that a finding names.
const NAMED_MAX: u64 = 4;
/// Endpoints of owners that are remembered, at most; then all are forgotten, and flows to them count
/// as the first ones again.
const ENDPOINTS_MAX: usize = 65_536;

/// An owner's endpoint.
type Endpoint = (Option<u32>, u8, IpAddr, Option<u16>);

/// What is noted for whoever keeps packets.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Whether anybody asked.
    pub(super) wanted: bool,
    latest: Option<Sample>,
    marks: Vec<Mark>,
    endpoints: HashSet<Endpoint, RandomState>,
}

/// What is noted of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OfFlow {
    /// The first flow to where it goes.
    fresh: bool,
    /// Packets kept since it has a finding.
    further: u8,
}

impl Samples {
    /// Forgets the packet before.
    pub(super) const fn begin(&mut self) {
        self.latest = None;
    }

    /// What was reached before is another contact from here on.
    pub(super) fn begin_phase(&mut self) {
        self.endpoints.clear();
    }

    /// Notes that a flow is counted to the contact with this number.
    pub(super) fn mark(&mut self, flow: &Flow, contact: u32) {
        if self.wanted {
            let flow = flow.id.ordinal();
            self.marks.push(Mark { flow, contact });
        }
    }

    fn is_first_to(&mut self, flow: &Flow) -> bool {
        if self.endpoints.len() >= ENDPOINTS_MAX {
            self.endpoints.clear();
        }
        let remote = flow.tuple().remote;
        let owner = settle::conclude(flow).uid;
        self.endpoints
            .insert((owner, flow.tuple().protocol, remote.addr, remote.port))
    }
}

impl Core {
    /// From now on, tells which packets are to be kept.
    pub fn want_samples(&mut self) {
        self.samples.wanted = true;
    }

    /// What the packet that was fed last is to be kept as; none: it need not be kept.
    pub fn sample(&self) -> Option<Sample> {
        self.samples.latest
    }

    /// The contacts of flows that became known since the last call.
    pub fn marks(&mut self) -> std::vec::Drain<'_, Mark> {
        self.samples.marks.drain(..)
    }

    pub(super) fn note_sample(&mut self, observed: Observed) {
        if !self.samples.wanted {
            return;
        }
        let Some(flow) = self.table.get_mut(observed.flow) else {
            return;
        };
        if observed.is_new {
            flow.user.kept.fresh = self.samples.is_first_to(flow);
        }
        let ordinal = flow.out.packets.saturating_add(flow.seen_in.packets);
        let contact = flow.user.settled.and_then(|settled| settled.contact);
        if ordinal > FLOW_PACKETS_MAX {
            let further = &mut flow.user.kept.further;
            let found = contact.is_some_and(|contact| self.book.has_finding(contact));
            if !found || *further >= FINDING_PACKETS_MAX {
                return;
            }
            *further += 1;
        }
        self.samples.latest = Some(Sample {
            flow: flow.id.ordinal(),
            contact: contact.map(ContactId::number),
            fresh: flow.user.kept.fresh && ordinal <= NAMED_MAX,
        });
    }
}
