//! Rising starts that are searched quickly: an index over the first bits leaves few steps.
//!
//! In: first addresses, rising, the first of them 0. Out: for an address, which of them it is in.

/// An address of one family.
pub trait Address: Copy + Ord {
    /// Most bits of the index: what it costs is bounded by this, whatever is searched.
    const INDEX_BITS_MAX: u32;

    /// Which part of the index an address belongs to; never falls as addresses rise.
    fn slot(self, bits: u32) -> usize;

    /// How many parts the index has.
    fn slots(bits: u32) -> usize;
}

impl Address for u32 {
    const INDEX_BITS_MAX: u32 = 16;

    fn slot(self, bits: u32) -> usize {
        usize::try_from(self >> (Self::BITS - bits)).unwrap_or(usize::MAX)
    }

    fn slots(bits: u32) -> usize {
        1 << bits
    }
}

/// Bits that addresses in use have in common: `2000::/3` (RFC 4291 section 2.4).
const COMMON: u32 = 3;

impl Address for u128 {
    const INDEX_BITS_MAX: u32 = 18;

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
}

/// Starts with their index.
#[derive(Debug, Clone)]
pub struct Steps<K> {
    starts: Vec<K>,
    bits: u32,
    /// For each part, how many starts lie before it; and the number of all.
    index: Vec<u32>,
}

impl<K: Address> Steps<K> {
    /// Indexes starts, which must rise.
    pub fn new(starts: Vec<K>) -> Self {
        let bits = starts.len().max(2).ilog2().min(K::INDEX_BITS_MAX);
        let mut index = vec![0_u32; K::slots(bits) + 1];
        for &start in &starts {
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
            starts,
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
        let part = self.starts.get(from..to)?;
        (from + part.partition_point(|&start| start <= addr)).checked_sub(1)
    }

    /// First address of an entry.
    pub fn start(&self, at: usize) -> Option<K> {
        self.starts.get(at).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.len()
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
            probes in proptest::collection::vec((any::<u32>(), any::<u128>()), 50),
        ) {
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
            let (of_narrow, of_wide) = (Steps::new(narrow.clone()), Steps::new(wide.clone()));
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
