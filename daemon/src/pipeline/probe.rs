//! Whether our own probe was found again, with the right owner.
//!
//! In: which flows are the probe's, and what it says that it sent. Out: a record of each probe, and a
//! gap for the time in which the watch was not shown to work.

use std::{collections::VecDeque, net::SocketAddr};

use super::{Core, Flow, protocol, settle};
use crate::{
    evidence::body::{Probe, Record},
    input::{Gap, GapCause, ProbeOrder, ProbeSent},
    time::Timestamp,
};

/// How long the packets of a probe may take to be read, in nanoseconds of the stream: much longer
/// than the kernel gathers them, and than an owner takes to be known.
pub(super) const PATIENCE_NANOS: i64 = 5_000_000_000;
/// Flows of the probe that have ended and are remembered; beyond that, the oldest is forgotten.
const ENDED_MAX: usize = 256;

pub(super) use crate::finding::PROBE as ROLE;

/// A flow to one of the probe's targets.
#[derive(Debug, Clone, Copy)]
struct Seen {
    protocol: u8,
    local: SocketAddr,
    remote: SocketAddr,
    uid: Option<u32>,
    packets: u64,
}

/// What is known of the session's probes.
#[derive(Debug, Default)]
pub(super) struct Probes {
    order: Option<ProbeOrder>,
    /// Sent, and not judged yet, by when that is due.
    pending: VecDeque<(i64, ProbeSent)>,
    ended: VecDeque<Seen>,
    /// The last one that was found whole.
    good: Option<Timestamp>,
    /// The last one that was not, if none was found whole since.
    bad: Option<Timestamp>,
}

impl Probes {
    /// When the next one is to be judged.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.pending.front().map(|(due, _)| *due)
    }

    /// Whether a flow is the probe's: its UID and its target.
    pub(super) fn sent(&self, flow: &Flow) -> bool {
        self.order.as_ref().is_some_and(|order| {
            settle::conclude(flow).uid == Some(order.uid) && self.is_target(flow)
        })
    }

    fn is_target(&self, flow: &Flow) -> bool {
        let order = self.order.as_ref();
        let remote = flow.tuple().remote;
        order
            .zip(remote.port)
            .is_some_and(|(order, port)| order.targets.contains(&(remote.addr, port).into()))
    }

    /// Remembers a flow that ended before its probe was judged.
    pub(super) fn note_ended(&mut self, flow: &Flow) {
        if !self.is_target(flow) {
            return;
        }
        if let Some(seen) = seen(flow) {
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(seen);
        }
    }
}

fn seen(flow: &Flow) -> Option<Seen> {
    let (local, remote) = (flow.tuple().local, flow.tuple().remote);
    Some(Seen {
        protocol: flow.tuple().protocol,
        local: (local.addr, local.port?).into(),
        remote: (remote.addr, remote.port?).into(),
        uid: settle::conclude(flow).uid,
        packets: flow.out.packets,
    })
}

impl Core {
    pub(super) fn probe_order(&mut self, order: &ProbeOrder) {
        self.probes.order = Some(order.clone());
    }

    pub(super) fn probe_sent(&mut self, sent: &ProbeSent) {
        let due = self
            .table
            .clock()
            .elapsed_nanos()
            .saturating_add(PATIENCE_NANOS);
        self.probes.pending.push_back((due, sent.clone()));
    }

    /// Judges the probes that are due.
    pub(super) fn judge_probes(&mut self, now_nanos: i64, out: &mut Vec<Record>) {
        while self
            .probes
            .pending
            .front()
            .is_some_and(|(due, _)| *due <= now_nanos)
        {
            if let Some((_, sent)) = self.probes.pending.pop_front() {
                self.judge_probe(&sent, out);
            }
        }
    }

    fn judge_probe(&mut self, sent: &ProbeSent, out: &mut Vec<Record>) {
        let uid = self.probes.order.as_ref().map(|order| order.uid);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let mut probe = Probe {
            at: sent.at,
            mark: sent.mark,
            sent: count(sent.flows.len()),
            found: 0,
            wrong_owner: 0,
            missing: 0,
            failed: sent.failed.clone(),
        };
        for flow in &sent.flows {
            let number = protocol(flow.proto);
            let live = self.table.find(number, flow.local, flow.remote);
            let live = live.and_then(|id| seen(self.table.get(id)?));
            let is_it = |seen: &&Seen| {
                (seen.protocol, seen.local, seen.remote) == (number, flow.local, flow.remote)
            };
            let found = live.or_else(|| self.probes.ended.iter().rev().find(is_it).copied());
            *match found {
                Some(seen) if seen.packets < flow.packets => &mut probe.missing,
                Some(seen) if seen.uid == uid => &mut probe.found,
                Some(_) => &mut probe.wrong_owner,
                None => &mut probe.missing,
            } += 1;
        }
        let whole = probe.found == probe.sent && probe.sent > 0 && probe.failed.is_none();
        let gap = self.unproven(whole, &probe);
        out.push(Record::Probe(probe));
        out.extend(gap.map(Record::Gap));
    }

    /// The time in which the watch was not shown to work: from the last probe that was found to one
    /// that was not, and from there to the next that is found again.
    fn unproven(&mut self, whole: bool, probe: &Probe) -> Option<Gap> {
        let at = probe.at;
        let (from, detail) = if whole {
            let from = self.probes.bad.take();
            self.probes.good = Some(at);
            (
                Some(from?),
                "the probe is found again; until now it was not shown that the watch works"
                    .to_owned(),
            )
        } else {
            let from = self.probes.bad.replace(at).or(self.probes.good);
            let Probe {
                sent,
                found,
                wrong_owner,
                missing,
                ..
            } = probe;
            let why = probe.failed.as_deref().unwrap_or("see `sakshi doctor`");
            (
                from,
                format!(
                    "not working properly: of {sent} flows of our own probe {found} were found, \
                     {missing} were not, {wrong_owner} had another owner ({why})"
                ),
            )
        };
        Some(Gap {
            at,
            cause: GapCause::ProbeFailed,
            from,
            to: Some(at),
            packets: None,
            place: ROLE.to_owned(),
            detail,
        })
    }
}
