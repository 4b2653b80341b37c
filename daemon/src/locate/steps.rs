//! Rising starts that are searched quickly: an index over the first bits leaves few steps.
//!
//! In: first addresses, rising, the first of them 0, with a number each. Out: for an address, which
//! of them it is in.

use std::fmt;

/// An address of one family.
pub trait Address: Copy + Ord {
    /// What is kept of each start.
    type Kept: Copy + Ord + fmt::Debug;

    /// Most bits of the index: what it costs is bounded by this, whatever is searched.
    const INDEX_BITS_MAX: u32;

    /// Address 0.
    const FIRST: Self;

    /// Which part of the index an address belongs to, by what is kept of it; never falls as
    /// addresses rise.
    fn slot(kept: Self::Kept, bits: u32) -> usize;

    /// How many parts the index has.
    fn slots(bits: u32) -> usize;

    /// What is kept of each, and the bits below that, which are 0 for nearly all.
    fn split(self) -> (Self::Kept, u64);

    /// The address that was split.
    fn joined(kept: Self::Kept, below: u64) -> Self;

    /// The address behind by the odd number of which `half` is all but the lowest bit, shifted to
    /// the left; none where it is beyond the address space, or the shift is not a usual one.
    fn behind(self, half: u32, shift: u8) -> Option<Self>;

    /// What is kept of the four addresses behind, each by so much from the one before, if that is
    /// all of them; none as before.
    fn four_behind(self, halves: [u8; 4], shifts: [u8; 4]) -> Option<[Self::Kept; 4]>;
}

impl Address for u32 {
    type Kept = Self;

    const INDEX_BITS_MAX: u32 = 16;

    const FIRST: Self = 0;

    fn slot(kept: Self, bits: u32) -> usize {
        usize::try_from(kept >> (Self::BITS - bits)).unwrap_or(usize::MAX)
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

    fn behind(self, half: u32, shift: u8) -> Option<Self> {
        let odd = u64::from(half) << 1 | 1;
        let next = u64::from(self) + (odd << (shift % 32));
        next.try_into().ok().filter(|_| shift < 32)
    }

    fn four_behind(self, halves: [u8; 4], shifts: [u8; 4]) -> Option<[Self; 4]> {
        let mut next = u64::from(self);
        let mut kept = [0; 4];
        for ((kept, half), shift) in kept.iter_mut().zip(halves).zip(shifts) {
            next += (u64::from(half) << 1 | 1) << (shift % 32);
            *kept = u32::try_from(next & u64::from(u32::MAX)).ok()?;
        }
        let usual = shifts.iter().all(|&shift| shift < 32);
        (usual && u32::try_from(next).is_ok()).then_some(kept)
    }
}

/// Bits that addresses in use have in common: `2000::/3` (RFC 4291 section 2.4).
const COMMON: u32 = 3;

impl Address for u128 {
    /// Its network, of 64 bits.
    type Kept = u64;

    const INDEX_BITS_MAX: u32 = 16;

    const FIRST: Self = 0;

    fn slot(network: u64, bits: u32) -> usize {
        // Of what begins with 001 a part each; one for all that lies before, one for all behind.
        let part = network >> (u64::BITS - COMMON - bits);
        let first = (1 << bits) - 1;
        usize::try_from(part.clamp(first, 2 << bits) - first).unwrap_or(usize::MAX)
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

    /// Nearly all differ in their networks only.
    fn behind(self, half: u32, shift: u8) -> Option<Self> {
        let (network, below) = self.split();
        let odd = u64::from(half) << 1 | 1;
        let shift = shift.wrapping_sub(64);
        if u32::from(shift) > odd.leading_zeros() {
            return None;
        }
        let network = network.checked_add(odd << (shift % 64))?;
        Some(Self::joined(network, below))
    }

    fn four_behind(self, halves: [u8; 4], shifts: [u8; 4]) -> Option<[u64; 4]> {
        let (mut network, below) = self.split();
        let shifts = shifts.map(|shift| shift.wrapping_sub(64));
        let mut usual = below == 0;
        let mut kept = [0; 4];
        for ((kept, half), shift) in kept.iter_mut().zip(halves).zip(shifts) {
            let difference = (u64::from(half) << 1 | 1) << (shift % 64);
            let (next, beyond) = network.overflowing_add(difference);
            // An odd number of 8 bits: none is lost.
            usual &= shift <= 56 && !beyond;
            network = next;
            *kept = next;
        }
        usual.then_some(kept)
    }
}

/// Starts as they are kept: lists speak of IPv6 networks of 64 bits and wider, so that of few the
/// bits below are not 0, and those stand beside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Starts<K: Address> {
    kept: Vec<K::Kept>,
    /// Number of a start, and its bits below.
    below: Vec<(u32, u64)>,
}

impl<K: Address> Starts<K> {
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
    fn before(&self, from: usize, to: usize, (kept, bits): (K::Kept, u64)) -> Option<usize> {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps<K: Address> {
    starts: Starts<K>,
    bits: u32,
    /// For each part, how many starts lie before it; and the number of all.
    index: Vec<u32>,
}

impl<K: Address> Steps<K> {
    /// Indexes starts, which must rise.
    pub fn new(starts: &[K]) -> Self {
        let mut rising = Rising::new(starts.len());
        for &start in starts {
            rising.push(start);
        }
        rising.indexed()
    }

    /// The last start at or before an address; none when all lie after it.
    pub fn find(&self, addr: K) -> Option<usize> {
        let split = addr.split();
        let slot = K::slot(split.0, self.bits);
        let bound = |count: u32| usize::try_from(count).ok();
        let &[from, to] = self.index.get(slot..)?.first_chunk()?;
        let (from, to) = (bound(from)?, bound(to)?);
        let before = self.starts.before(from, to, split)?;
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

/// Starts that come one behind the other.
#[derive(Debug)]
pub struct Rising<K: Address>(Starts<K>);

impl<K: Address> Rising<K> {
    /// For so many.
    pub fn new(count: usize) -> Self {
        Self(Starts {
            kept: Vec::with_capacity(count),
            below: Vec::new(),
        })
    }

    /// The next one.
    #[inline]
    pub fn push(&mut self, start: K) {
        let (kept, below) = start.split();
        if below != 0 {
            // A file has at most 32 MiB.
            let number = u32::try_from(self.0.kept.len()).unwrap_or(u32::MAX);
            self.0.below.push((number, below));
        }
        self.0.kept.push(kept);
    }

    /// The next four, which are kept whole; the last of them is given back.
    #[inline]
    pub fn push_four(&mut self, kept: [K::Kept; 4]) -> K {
        self.0.kept.extend_from_slice(&kept);
        let [.., last] = kept;
        K::joined(last, 0)
    }

    /// All of them with their index.
    pub fn indexed(self) -> Steps<K> {
        let mut starts = self.0;
        let bits = starts.kept.len().max(2).ilog2().min(K::INDEX_BITS_MAX);
        let mut index = vec![0_u32; K::slots(bits) + 1];
        for (number, &kept) in (1..).zip(&starts.kept) {
            // Written anew by each start of a part: cheaper than to ask which is the last.
            if let Some(end) = index.get_mut(K::slot(kept, bits) + 1) {
                *end = number;
            }
        }
        let mut last = 0;
        for end in &mut index {
            last = last.max(*end);
            *end = last;
        }
        starts.below.shrink_to_fit();
        Steps {
            starts,
            bits,
            index,
        }
    }
}

/// Numbers below a bound, in as few bytes each as it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbers {
    /// Up to 256.
    Byte(Vec<u8>),
    /// Up to 65,536.
    Narrow(Vec<u16>),
    /// More.
    Wide(Vec<u32>),
}

impl Numbers {
    /// For numbers below a bound, each given; one that is not below it becomes 0.
    pub fn below(bound: usize, numbers: &[u32]) -> Self {
        if bound <= 1 << 8 {
            Self::Byte(fitted(numbers))
        } else if bound <= 1 << 16 {
            Self::Narrow(fitted(numbers))
        } else {
            Self::Wide(numbers.to_vec())
        }
    }

    /// One of them.
    #[inline]
    pub fn get(&self, at: usize) -> Option<usize> {
        match self {
            Self::Byte(numbers) => numbers.get(at).copied().map(usize::from),
            Self::Narrow(numbers) => numbers.get(at).copied().map(usize::from),
            Self::Wide(numbers) => usize::try_from(*numbers.get(at)?).ok(),
        }
    }
}

fn fitted<T: TryFrom<u32> + Default>(numbers: &[u32]) -> Vec<T> {
    let numbers = numbers.iter();
    numbers
        .map(|&number| T::try_from(number).unwrap_or_default())
        .collect()
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
