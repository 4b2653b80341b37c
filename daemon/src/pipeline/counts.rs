//! What is counted besides records: a session's packets and flows, and what was lost.
//!
//! In: packets, new flows, records. Out: the sums of a session's summary; a sum that is not known is
//! none.

use std::collections::BTreeMap;

use crate::{
    evidence::body::{Closes, Outbound, Record},
    input::{GapCause, Packet, Tally, Vantage},
};

/// What a session's summary is made of.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) packets: u64,
    pub(super) unparsed: BTreeMap<&'static str, u64>,
    pub(super) flows: u64,
    pub(super) lost: u64,
    pub(super) loss_unknown: bool,
    /// A hole in our rules had no count of its own.
    pub(super) hole_unknown: bool,
    pub(super) sources: Vec<(u64, u64)>,
    pub(super) closes: Option<Closes>,
    /// Packets seen at OUTPUT.
    pub(super) sent: u64,
    pub(super) tally: Option<Tally>,
}

impl Counts {
    pub(super) fn packet(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        self.sent += u64::from(packet.vantage == Vantage::Output);
        if let Some((packets, _)) = self.sources.get_mut(usize::from(packet.source)) {
            *packets += 1;
        }
    }

    pub(super) fn flow(&mut self, source: u16) {
        self.flows += 1;
        if let Some((_, flows)) = self.sources.get_mut(usize::from(source)) {
            *flows += 1;
        }
    }

    /// Packets lost; none where some could not be counted. A hole without a count of its own is
    /// counted in the session's sums, where they are known to the packet.
    pub(super) fn lost(&self) -> Option<u64> {
        let summed = self.tally.is_some_and(|tally| tally.counter.is_some());
        let unknown = self.loss_unknown || (self.hole_unknown && !summed);
        (!unknown).then_some(self.lost)
    }

    /// The capture's sums, with what its own queue dropped counted as lost.
    pub(super) fn outbound(&self) -> Option<Outbound> {
        let tally = self.tally?;
        let dropped = tally.received.saturating_sub(self.sent);
        Some(Outbound {
            counter: tally.counter,
            seen: self.sent,
            lost: tally.lost.saturating_add(dropped),
            missed: tally.missed,
            elsewhere: tally.elsewhere,
            unattributed: tally.unattributed,
            repeated: tally.repeated,
        })
    }

    pub(super) fn note_records(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Gap(gap)
                    if matches!(gap.cause, GapCause::KernelLoss | GapCause::QueueFull) =>
                {
                    // A sum beyond 64 bits is no count.
                    match gap
                        .packets
                        .and_then(|packets| self.lost.checked_add(packets))
                    {
                        Some(lost) => self.lost = lost,
                        None => self.loss_unknown = true,
                    }
                }
                // What was missed and counted is no loss: it stands by itself in the sums.
                Record::Gap(gap) if gap.cause == GapCause::RulesMissing => {
                    self.hole_unknown |= gap.packets.is_none();
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{input::Gap, time::Timestamp};

    #[test]
    fn losses_beyond_64_bits_are_not_known() {
        let gap = |packets| {
            Record::Gap(Gap {
                at: Timestamp::default(),
                cause: GapCause::KernelLoss,
                from: None,
                to: None,
                packets: Some(packets),
                place: "group 101".to_owned(),
                detail: String::new(),
            })
        };
        let mut counts = Counts::default();
        counts.note_records(&[gap(u64::MAX - 1), gap(1)]);
        assert_eq!((counts.lost, counts.loss_unknown), (u64::MAX, false));
        counts.note_records(&[gap(1)]);
        assert!(counts.loss_unknown);
    }
}
