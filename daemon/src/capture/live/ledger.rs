//! Who was sent how many packets, and where the holes are.
//!
//! In: sequence numbers as they arrive, and the rules' own counters. Out: holes, and the loss at
//! the tail that no sequence number shows. Pure.

use crate::time::Timestamp;

/// Packets of a group that are accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Received.
    pub(crate) received: u64,
    /// Known to be lost, and told.
    pub(crate) reported: u64,
    /// Of the received ones, those that the handset sent: IPv4, IPv6.
    pub(crate) sent: [u64; 2],
    /// When the last one was received.
    pub(crate) last_at: Option<Timestamp>,
}

impl Standing {
    /// Received and told to be lost, together.
    pub(crate) const fn accounted(&self) -> u64 {
        self.received.saturating_add(self.reported)
    }
}

/// A hole in the sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Packets that are missing.
    pub(crate) packets: u64,
    /// When the last one before it was received.
    pub(crate) from: Option<Timestamp>,
}

/// Follows one group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ledger {
    next: u32,
    standing: Standing,
}

impl Ledger {
    /// A packet was received; says what is missing before it. The kernel numbers from 0.
    pub(crate) fn take(&mut self, seq: Option<u32>, at: Timestamp) -> Option<Hole> {
        let from = self.standing.last_at.replace(at);
        self.standing.received += 1;
        let seq = seq?;
        let missing = seq.wrapping_sub(self.next);
        // A number behind the expected one is not a hole of four thousand million packets.
        if missing > u32::MAX / 2 {
            return None;
        }
        self.next = seq.wrapping_add(1);
        if missing == 0 {
            return None;
        }
        self.standing.reported += u64::from(missing);
        Some(Hole {
            packets: missing.into(),
            from,
        })
    }

    /// The packet just taken was sent by the handset; `family` 0 is IPv4, 1 IPv6.
    pub(crate) fn note_sent(&mut self, family: usize) {
        if let Some(sent) = self.standing.sent.get_mut(family) {
            *sent += 1;
        }
    }

    pub(crate) const fn standing(&self) -> Standing {
        self.standing
    }
}

/// The rules' counters of one group over all the times that they were set anew.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// What is settled of earlier rules.
    carried: u64,
    /// The counter of the present rules when it was last read.
    last: u64,
    /// Lost packets that were told beside those of the ledger.
    told: u64,
}

impl Counted {
    /// A reading. False when the counter went back: somebody reset it.
    pub(crate) const fn read(&mut self, counter: u64) -> bool {
        let forward = counter >= self.last;
        if !forward {
            self.carried = self.carried.saturating_add(self.last);
        }
        self.last = counter;
        forward
    }

    /// A reading of rules that are damaged: what is left of the counter, at least.
    pub(crate) fn read_at_least(&mut self, counter: u64) {
        self.last = self.last.max(counter);
    }

    /// Packets that the rules logged and that are neither received nor told; exact once the group
    /// is drained. They count as told from now on.
    pub(crate) fn tail(&mut self, standing: &Standing) -> u64 {
        let tail = self
            .total()
            .saturating_sub(standing.accounted())
            .saturating_sub(self.told);
        self.told += tail;
        tail
    }

    /// The rules are set anew, with counters from 0. What was lost of the old ones' last packets
    /// shows as a hole before the next packet that is received, or as the tail at the end.
    pub(crate) fn renew(&mut self, standing: &Standing) {
        let accounted = standing.accounted().saturating_add(self.told);
        self.carried = self.total().max(accounted);
        self.last = 0;
    }

    /// Whether nothing of what the rules logged is missing, as far as shows by now.
    pub(crate) const fn is_complete(&self, standing: &Standing) -> bool {
        self.total() <= standing.accounted().saturating_add(self.told)
    }

    /// All that the rules logged, as far as known.
    pub(crate) const fn total(&self) -> u64 {
        self.carried.saturating_add(self.last)
    }

    /// Lost packets told beside those of the ledger.
    pub(crate) const fn told(&self) -> u64 {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn tells_holes_and_between_what() {
        let mut ledger = Ledger::default();
        let lost_first = Hole {
            packets: 2,
            from: None,
        };
        assert_eq!(ledger.take(Some(2), at(1)), Some(lost_first));
        assert_eq!(ledger.take(Some(3), at(2)), None);
        let later = Hole {
            packets: 6,
            from: Some(at(2)),
        };
        assert_eq!(ledger.take(Some(10), at(9)), Some(later));
        assert_eq!(ledger.take(Some(5), at(10)), None);
        assert_eq!(
            ledger.standing(),
            Standing {
                received: 4,
                reported: 8,
                sent: [0, 0],
                last_at: Some(at(10))
            }
        );
    }

    #[test]
    fn numbers_wrap() {
        let mut ledger = Ledger {
            next: u32::MAX,
            ..Ledger::default()
        };
        assert_eq!(ledger.take(Some(u32::MAX), at(1)), None);
        assert_eq!(ledger.take(Some(0), at(2)), None);
    }

    #[test]
    fn finds_the_tail_once() {
        let mut counted = Counted::default();
        assert!(counted.read(10));
        let standing = Standing {
            received: 7,
            reported: 1,
            ..Standing::default()
        };
        assert!(!counted.is_complete(&standing));
        assert_eq!(counted.tail(&standing), 2);
        assert_eq!(counted.tail(&standing), 0);
        assert_eq!((counted.total(), counted.told()), (10, 2));
        assert!(counted.is_complete(&standing));
        assert!(!counted.read(0));
    }

    #[test]
    fn a_tail_that_shows_as_a_hole_after_a_repair_is_told_once() {
        for hole_shows in [true, false] {
            let mut counted = Counted::default();
            let mut ledger = Ledger::default();
            for seq in 0..7 {
                assert_eq!(ledger.take(Some(seq), at(0)), None);
            }
            // Ten were logged; the rules were changed, and four more were logged by the new ones.
            assert!(counted.read(10));
            counted.renew(&ledger.standing());
            assert!(counted.read(4));
            if hole_shows {
                let hole = ledger.take(Some(13), at(1)).unwrap();
                assert_eq!(hole.packets, 6);
            }
            let tail = counted.tail(&ledger.standing());
            let standing = ledger.standing();
            assert_eq!(standing.received + standing.reported + tail, 14);
        }
    }

    proptest! {
        #[test]
        fn holes_and_tail_are_all_that_was_lost(kept in proptest::collection::vec(any::<bool>(), 0..200)) {
            let mut ledger = Ledger::default();
            let mut holes = 0;
            for (seq, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                let seq = u32::try_from(seq).unwrap();
                holes += ledger.take(Some(seq), at(0)).map_or(0, |hole| hole.packets);
            }
            let mut counted = Counted::default();
            counted.read(kept.len() as u64);
            let tail = counted.tail(&ledger.standing());
            let lost = kept.iter().filter(|kept| !**kept).count() as u64;
            prop_assert_eq!(holes + tail, lost);
        }
    }
}
