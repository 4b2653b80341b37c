//! Rising starts that are searched quickly: an index over the first bits leaves few steps.
//!
//! In: first addresses, rising, the first of them 0. Out: for an address, which of them it is in.

use std::fmt;

/// An address of one family.
pub trait Address: Copy + Ord {
    /// What is kept of each start.
    type Kept: Copy + Ord + fmt::Debug;

    /// Most bits of the index: what it costs is bounded by this, whatever is searched.
    const INDEX_BITS_MAX: u32;

    /// Which part of the index an address belongs to; never falls as addresses rise.
    fn slot(self, bits: u32) -> usize;

    /// How many parts the index has.
    fn slots(bits: u32) -> usize;

    /// What is kept of each, and the bits below that, which are 0 for nearly all.
    fn split(self) -> (Self::Kept, u64);

    /// The address that was split.
    fn joined(kept: Self::Kept, below: u64) -> Self;
}

impl Address for u32 {
    type Kept = Self;

    const INDEX_BITS_MAX: u32 = 16;

    fn slot(self, bits: u32) -> usize {
        usize::try_from(self >> (Self::BITS - bits)).unwrap_or(usize::MAX)
    }

    fn slots(bits: u32) -> usize {
        1 << bits
    }

    fn split(self) -> (Self, u64) {
        (self, 0)
    }

    fn joined(kept: Self, _: u64) -> Self {
        kept
    }
}

/// Bits that addresses in use have in common: `2000::/3` (RFC 4291 section 2.4).
const COMMON: u32 = 3;

impl Address for u128 {
    /// Its network, of 64 bits.
    type Kept = u64;

    const INDEX_BITS_MAX: u32 = 16;

    fn slot(self, bits: u32) -> usize {
        let inside = |from: u128| usize::try_from(from).unwrap_or(usize::MAX);
        match self >> (Self::BITS - COMMON) {
            0 => 0,
            1 => {
                let after = self >> (Self::BITS - COMMON - bits);
                1 + inside(after & ((1 << bits) - 1))
            }
            _ => Self::slots(bits) - 1,
        }
    }

    fn slots(bits: u32) -> usize {
        (1 << bits) + 2
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the halves of an address, each 64 bits long"
    )]
    fn split(self) -> (u64, u64) {
        ((self >> 64) as u64, self as u64)
    }

    fn joined(network: u64, below: u64) -> Self {
        Self::from(network) << 64 | Self::from(below)
    }
}

/// Starts as they are kept: lists speak of IPv6 networks of 64 bits and wider, so that of few the
/// bits below are not 0, and those stand beside.
#[derive(Debug, Clone)]
struct Starts<K: Address> {
    kept: Vec<K::Kept>,
    /// Number of a start, and its bits below.
    below: Vec<(u32, u64)>,
}

impl<K: Address> Starts<K> {
    fn new(starts: &[K]) -> Self {
        let mut below = Vec::new();
        let numbered = (0_u32..).zip(starts);
        let kept = numbered.map(|(number, start)| {
            let (kept, bits) = start.split();
            if bits != 0 {
                below.push((number, bits));
            }
            kept
        });
        Self {
            kept: kept.collect(),
            below,
        }
    }

    fn below(&self, at: usize) -> u64 {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let found = self.below.binary_search_by_key(&number, |&(at, _)| at);
        let entry = found.ok().and_then(|found| self.below.get(found));
        entry.map_or(0, |&(_, bits)| bits)
    }

    fn get(&self, at: usize) -> Option<K> {
        let kept = *self.kept.get(at)?;
        Some(K::joined(kept, self.below(at)))
    }

    /// How many of the starts `from..to` are at or before an address.
    fn before(&self, from: usize, to: usize, addr: K) -> Option<usize> {
        let (kept, bits) = addr.split();
        let part = self.kept.get(from..to)?;
        let mut before = part.partition_point(|start| *start < kept);
        // Of most addresses the network is none of the starts: nothing below it has to be told apart.
        if part.get(before) != Some(&kept) {
            return Some(before);
        }
        // Those that only the bits below tell apart: one, but for lists of single addresses.
        let mut end = before + part.get(before..)?.partition_point(|start| *start == kept);
        while before < end {
            let middle = before.midpoint(end);
            if self.below(from + middle) <= bits {
                before = middle + 1;
            } else {
                end = middle;
            }
        }
        Some(before)
    }
}

/// Starts with their index.
#[derive(Debug, Clone)]
pub struct Steps<K: Address> {
    starts: Starts<K>,
    bits: u32,
    /// For each part, how many starts lie before it; and the number of all.
    index: Vec<u32>,
}

impl<K: Address> Steps<K> {
    /// Indexes starts, which must rise.
    pub fn new(starts: &[K]) -> Self {
        let bits = starts.len().max(2).ilog2().min(K::INDEX_BITS_MAX);
        let mut index = vec![0_u32; K::slots(bits) + 1];
        for start in starts {
            if let Some(count) = index.get_mut(start.slot(bits) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for count in &mut index {
            sum += *count;
            *count = sum;
        }
        Self {
            starts: Starts::new(starts),
            bits,
            index,
        }
    }

    /// The last start at or before an address; none when all lie after it.
    pub fn find(&self, addr: K) -> Option<usize> {
        let slot = addr.slot(self.bits);
        let bound = |at: usize| {
            let count = self.index.get(at).copied()?;
            usize::try_from(count).ok()
        };
        let (from, to) = (bound(slot)?, bound(slot + 1)?);
        let before = self.starts.before(from, to, addr)?;
        (from + before).checked_sub(1)
    }

    /// First address of an entry.
    pub fn start(&self, at: usize) -> Option<K> {
        self.starts.get(at)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan<K: Address>(starts: &[K], addr: K) -> Option<usize> {
        starts.iter().rposition(|&start| start <= addr)
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            mut narrow in proptest::collection::vec(any::<u32>(), 0..300),
            mut wide in proptest::collection::vec(any::<u128>(), 0..300),
            prefixed: bool,
            crowded in proptest::collection::vec(any::<u8>(), 0..40),
            probes in proptest::collection::vec((any::<u32>(), any::<u128>()), 50),
        ) {
            // Single addresses of one network.
            let network = wide.first().map_or(0, |start| start >> 64 << 64);
            wide.extend(crowded.iter().map(|&low| network | u128::from(low)));
            if prefixed {
                // Where addresses are in use.
                for start in &mut wide {
                    *start = *start >> 3 | 1 << 125;
                }
            }
            narrow.push(0);
            narrow.sort_unstable();
            narrow.dedup();
            wide.push(0);
            wide.sort_unstable();
            wide.dedup();
            let (of_narrow, of_wide) = (Steps::new(&narrow), Steps::new(&wide));
            let near = probes.iter().map(|&(four, six)| (four, six));
            let on = narrow.iter().zip(&wide).map(|(&four, &six)| (four, six));
            for (four, six) in near.chain(on) {
                prop_assert_eq!(of_narrow.find(four), scan(&narrow, four));
                for six in [six, six >> 3 | 1 << 125, six.wrapping_sub(1)] {
                    prop_assert_eq!(of_wide.find(six), scan(&wide, six));
                }
            }
        }
    }
}
