//! A flow's first replies, told from its further ones, as NFLOG's chain does by `hashlimit`.
//!
//! In: datagrams that were received. Out: whether each is one of its flow's first.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use crate::{
    capture::{
        live::lookup::Ends,
        nflog::plan::{FIRST_REPLIES, FIRST_REPLIES_EXPIRE_MS},
    },
    time::Timestamp,
};

/// Flows that are remembered; one that pushes another out only makes that one's next replies count
/// as first ones.
const FLOWS_MAX: usize = 8192;
/// Any number: which flows share a place never shows in a record.
const HASH_SEED: u64 = 0x5a4b;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    hash: u64,
    count: u32,
    at: Timestamp,
}

/// Counts the replies of flows.
pub(crate) struct Replies {
    hasher: FixedState,
    seen: Box<[Seen]>,
}

impl Replies {
    pub(crate) fn new() -> Self {
        Self {
            hasher: FixedState::with_seed(HASH_SEED),
            seen: vec![Seen::default(); FLOWS_MAX].into_boxed_slice(),
        }
    }

    /// Whether a datagram is one of the first [`FIRST_REPLIES`] of its flow, which counts as new
    /// after a silence of [`FIRST_REPLIES_EXPIRE_MS`].
    pub(crate) fn is_first(&mut self, ends: &Ends, at: Timestamp) -> bool {
        let hash = self.hasher.hash_one((ends.src, ends.dst));
        let place = usize::try_from(hash % FLOWS_MAX as u64).unwrap_or(0);
        let Some(seen) = self.seen.get_mut(place) else {
            return true;
        };
        let silent = at.nanos_since(seen.at) >= i64::from(FIRST_REPLIES_EXPIRE_MS) * 1_000_000;
        if seen.hash != hash || silent {
            *seen = Seen { hash, count: 0, at };
        }
        seen.at = at;
        seen.count = seen.count.saturating_add(1);
        seen.count <= FIRST_REPLIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::SocketProto;

    #[test]
    fn the_first_replies_of_each_flow_and_again_after_a_silence() {
        let ends = |port| Ends {
            proto: SocketProto::Udp,
            src: ([198, 51, 100, 1], 3478).into(),
            dst: ([192, 0, 2, 1], port).into(),
            opens: false,
            question: 0,
        };
        let mut replies = Replies::new();
        let mut first = |port, nanos| replies.is_first(&ends(port), Timestamp::from_nanos(nanos));
        let kept = (0..100).filter(|nanos| first(1, 1 + nanos)).count();
        assert_eq!(kept, FIRST_REPLIES as usize);
        assert!(first(2, 200));
        assert!(!first(1, 200 + 9_999_000_000));
        assert!(first(1, 200 + 9_999_000_000 + 10_000_000_000));
    }
}
