//! The columns of ranges in a location file: most of it, so they are read with care for the time.
//!
//! In: a reader at the ranges of a family. Out: their starts with an index, and the numbers of their
//! rows. Every start and number is checked.

use super::{
    LocateError,
    dataset::Ranges,
    format::NO_DIFFERENCE,
    reader::Reader,
    steps::{Address, Numbers, Rising, Steps},
};

impl<'a> Reader<'a> {
    /// Differences between starts in two columns (trailing zero bits, and the bits before them),
    /// then the rows.
    pub fn ranges<K>(&mut self, of: usize) -> Result<Ranges<K>, LocateError>
    where
        K: Address + Into<u128> + TryFrom<u128>,
    {
        let count = self.count()?;
        let shifts = self.take(count)?;
        let mut odds = self.part()?;
        let mut indices = self.part()?;
        let Some((&NO_DIFFERENCE, shifts)) = shifts.split_first() else {
            return Err(self.damaged("a first range that starts at 0"));
        };
        let rows = if of <= 1 << 8 {
            Numbers::Byte(indices.numbers_below(of, count)?)
        } else if of <= 1 << 16 {
            Numbers::Narrow(indices.numbers_below(of, count)?)
        } else {
            Numbers::Wide(indices.numbers_below(of, count)?)
        };
        let steps = odds.steps(shifts)?;
        Ok(Ranges { steps, rows })
    }

    /// A number for each range, all below a bound, and nothing else.
    fn numbers_below<T>(&mut self, of: usize, count: usize) -> Result<Vec<T>, LocateError>
    where
        T: Copy + Default + From<u8> + TryFrom<u32>,
    {
        let of = u32::try_from(of).unwrap_or(u32::MAX);
        let mut numbers = vec![T::default(); count];
        if self.rest.len() / 9 < count / 8 {
            self.short(of, &mut numbers)?;
        } else {
            self.mixed(of, &mut numbers)?;
        }
        if self.rest.is_empty() {
            Ok(numbers)
        } else {
            Err(self.damaged("as many rows as ranges"))
        }
    }

    /// Numbers of which nearly all have one byte: eight at a time.
    fn short<T>(&mut self, of: u32, numbers: &mut [T]) -> Result<(), LocateError>
    where
        T: From<u8> + TryFrom<u32>,
    {
        // A byte is below this, and below the bound.
        let bound = u8::try_from(of).unwrap_or(u8::MAX);
        let (eights, rest) = numbers.as_chunks_mut::<8>();
        for next in eights {
            let bytes = self.rest.split_first_chunk::<8>();
            let one_each = bytes.filter(|(bytes, _)| {
                u64::from_le_bytes(**bytes) & 0x8080_8080_8080_8080 == 0
                    && bytes.iter().fold(0, |most, &byte| most.max(byte)) < bound
            });
            if let Some((bytes, rest)) = one_each {
                *next = bytes.map(T::from);
                self.rest = rest;
            } else {
                for number in next {
                    *number = self.below(of)?;
                }
            }
        }
        for number in rest {
            *number = self.below(of)?;
        }
        Ok(())
    }

    /// Numbers of one byte and more. Where one begins is known when the one before it is read, so
    /// four at a time are read, from four places.
    fn mixed<T>(&mut self, of: u32, numbers: &mut [T]) -> Result<(), LocateError>
    where
        T: TryFrom<u32>,
    {
        let quarter = numbers.len() / 4;
        let (one, rest) = numbers.split_at_mut(quarter);
        let (two, rest) = rest.split_at_mut(quarter);
        let (three, four) = rest.split_at_mut(quarter);
        let (mut first, mut second) = (self.numbers(quarter)?, self.numbers(quarter)?);
        let mut third = self.numbers(quarter)?;
        let mut last = four.iter_mut();
        for (((one, two), three), four) in one.iter_mut().zip(two).zip(three).zip(&mut last) {
            *one = first.below(of)?;
            *two = second.below(of)?;
            *three = third.below(of)?;
            *four = self.below(of)?;
        }
        for number in last {
            *number = self.below(of)?;
        }
        Ok(())
    }

    /// The next numbers, to be read on their own.
    fn numbers(&mut self, mut count: usize) -> Result<Reader<'a>, LocateError> {
        let mut len = 0;
        for bytes in self.rest.as_chunks::<128>().0 {
            // All but the last byte of a number have the highest bit.
            let more: u8 = bytes.iter().map(|byte| byte >> 7).sum();
            let here = bytes.len() - usize::from(more);
            if here >= count {
                break;
            }
            count -= here;
            len += bytes.len();
        }
        let rest = self.rest.get(len..).unwrap_or_default();
        let ends = (1..).zip(rest).filter(|&(_, byte)| *byte < 0x80);
        if let Some(last) = count.checked_sub(1) {
            let mut ends = ends.skip(last);
            len += ends.next().map_or(rest.len(), |(end, _)| end);
        }
        let start = self.total - self.rest.len();
        let rest = self.take(len)?;
        Ok(Self {
            rest,
            total: start + len,
        })
    }

    /// Starts: 0, and those behind it.
    fn steps<K>(&mut self, shifts: &[u8]) -> Result<Steps<K>, LocateError>
    where
        K: Address + Into<u128> + TryFrom<u128>,
    {
        let mut rising = Rising::new(shifts.len() + 1);
        let mut start = K::FIRST;
        rising.push(start);
        let (fours, rest) = shifts.as_chunks::<4>();
        for shifts in fours {
            if let Some((halves, after)) = self.rest.split_first_chunk::<4>()
                && u32::from_le_bytes(*halves) & 0x8080_8080 == 0
                && let Some(kept) = start.four_behind(*halves, *shifts)
            {
                self.rest = after;
                start = rising.push_four(kept);
                continue;
            }
            for &shift in shifts {
                start = self.behind(start, shift)?;
                rising.push(start);
            }
        }
        for &shift in rest {
            start = self.behind(start, shift)?;
            rising.push(start);
        }
        if self.rest.is_empty() {
            Ok(rising.indexed())
        } else {
            Err(self.damaged("as many starts as stated"))
        }
    }

    /// The start behind one.
    #[inline]
    fn behind<K>(&mut self, start: K, shift: u8) -> Result<K, LocateError>
    where
        K: Address + Into<u128> + TryFrom<u128>,
    {
        if let Some((half, len)) = self.peek()
            && let Some(next) = start.behind(half, shift)
        {
            self.skip(len);
            return Ok(next);
        }
        self.far(start, shift)
    }

    /// A start by a difference of any length, or what is wrong with it.
    #[cold]
    fn far<K>(&mut self, start: K, shift: u8) -> Result<K, LocateError>
    where
        K: Into<u128> + TryFrom<u128>,
    {
        let difference = self.difference(shift)?;
        if difference == 0 {
            return Err(self.damaged("rising starts"));
        }
        let next = start.into().checked_add(difference);
        next.and_then(|next| K::try_from(next).ok())
            .ok_or_else(|| self.damaged("a start within the address space"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::encode, *};

    fn written<K: Address + Into<u128>>(starts: &[K], rows: &[u32], of: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::ranges(&mut bytes, &Ranges::new(starts, rows, of)).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn columns_come_back_as_they_were_written(
            narrow in proptest::collection::btree_set(any::<u32>(), 0..700),
            networks in proptest::collection::btree_set(any::<u64>(), 0..700),
            single in proptest::collection::vec(any::<u128>(), 0..20),
            // Aligned to so many bits: short differences, as in lists.
            aligned in 0_u32..32,
            most in 1_u32..300_000,
            rows in proptest::collection::vec(any::<u32>(), 1500),
            rare: bool,
        ) {
            let of = usize::try_from(most).unwrap();
            // Where long numbers are rare, and where they are not.
            let row = |at: usize| rows[at] % if rare && !at.is_multiple_of(20) { most.min(9) } else { most };
            let rows: Vec<u32> = (0..rows.len()).map(row).collect();
            let mut narrow: Vec<u32> = narrow.iter().map(|start| start >> aligned << aligned).collect();
            narrow.push(0);
            narrow.sort_unstable();
            narrow.dedup();
            let mut wide: Vec<u128> =
                networks.iter().map(|start| u128::from(start >> aligned << aligned) << 64).collect();
            wide.extend(single);
            wide.push(0);
            wide.sort_unstable();
            wide.dedup();
            let of_narrow = &rows[..narrow.len()];
            let bytes = written(&narrow, of_narrow, of);
            let read = Reader::new(&bytes).ranges::<u32>(of).unwrap();
            prop_assert_eq!(read, Ranges::new(&narrow, of_narrow, of));
            let of_wide = &rows[..wide.len()];
            let bytes = written(&wide, of_wide, of);
            let read = Reader::new(&bytes).ranges::<u128>(of).unwrap();
            prop_assert_eq!(read, Ranges::new(&wide, of_wide, of));
            // One byte less, or a row that is not there.
            prop_assert!(Reader::new(&bytes[..bytes.len() - 1]).ranges::<u128>(of).is_err());
            let highest = usize::try_from(of_wide.iter().max().copied().unwrap_or(0)).unwrap();
            prop_assert!(Reader::new(&bytes).ranges::<u128>(highest).is_err());
        }
    }
}
