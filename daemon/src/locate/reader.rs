//! Bytes of a location file, read from the front.
//!
//! In: a part of the payload. Out: numbers, texts and lists, or an error that says where and what was
//! expected. No input makes it panic.

use super::{
    LocateError,
    format::{NO_DIFFERENCE, TEXT_MAX},
};

/// Entries for which room is made before they are read: a count that is not true costs no more.
const LIST_AT_ONCE: usize = 16_384;

/// Reads from the front, remembering where it is.
pub struct Reader<'a> {
    /// What is left.
    pub rest: &'a [u8],
    /// Bytes of the payload up to the end of this part.
    pub total: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total: bytes.len(),
        }
    }

    pub fn damaged(&self, expected: &'static str) -> LocateError {
        LocateError::Damaged {
            offset: self.total - self.rest.len(),
            expected,
        }
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], LocateError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.damaged("more bytes"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], LocateError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.damaged("more bytes"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, LocateError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A number of at most 28 bits and how many bytes it has, nothing taken; none where it is
    /// longer, or too near the end to tell so quickly.
    ///
    /// Lengths change from one number to the next, so asking byte by byte costs more than this.
    #[inline]
    pub fn peek(&self) -> Option<(u32, usize)> {
        let word = u32::from_le_bytes(*self.rest.first_chunk()?);
        let ends = !word & 0x8080_8080;
        // The last byte's highest bit, which is 0, and all bits below.
        let own = word & (ends ^ ends.wrapping_sub(1));
        let pairs = (own & 0x007f_007f) | (own & 0x7f00_7f00) >> 1;
        let value = (pairs & 0x0000_3fff) | (pairs & 0x3fff_0000) >> 2;
        let len = usize::try_from(ends.trailing_zeros() / 8 + 1).ok()?;
        (ends != 0).then_some((value, len))
    }

    /// A number of one byte, taken; none where it is longer. For those of which nearly all are so
    /// short: a guess waits for nothing.
    #[inline]
    pub fn one_byte(&mut self) -> Option<u8> {
        let [byte @ ..0x80, rest @ ..] = self.rest else {
            return None;
        };
        self.rest = rest;
        Some(*byte)
    }

    /// What [`Reader::peek`] gave is taken.
    #[inline]
    pub fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    /// Unsigned LEB128 of up to 128 bits.
    pub fn varint(&mut self) -> Result<u128, LocateError> {
        let first = self.byte()?;
        let mut value = u128::from(first & 0x7f);
        if first & 0x80 == 0 {
            return Ok(value);
        }
        let mut shift = 7_u32;
        loop {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let placed = bits.checked_shl(shift).unwrap_or(0);
            if placed.checked_shr(shift) != Some(bits) {
                return Err(self.damaged("a number of at most 128 bits"));
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn number<T: TryFrom<u128>>(&mut self, expected: &'static str) -> Result<T, LocateError> {
        let value = match self.peek() {
            Some((value, len)) => {
                self.skip(len);
                value.into()
            }
            None => self.varint()?,
        };
        T::try_from(value).map_err(|_| self.damaged(expected))
    }

    /// A count of things that take a byte or more each, so what is left bounds it.
    pub fn count(&mut self) -> Result<usize, LocateError> {
        let count: usize = match self.one_byte() {
            Some(byte) => byte.into(),
            None => self.number("a count")?,
        };
        if count > self.rest.len() {
            return Err(self.damaged("no more entries than there are bytes"));
        }
        Ok(count)
    }

    /// A part of stated length, to be read on its own.
    pub fn part(&mut self) -> Result<Reader<'a>, LocateError> {
        let len = self.count()?;
        let start = self.total - self.rest.len();
        let rest = self.take(len)?;
        Ok(Self {
            rest,
            total: start + len,
        })
    }

    /// Of a text, not yet held to be one.
    pub fn bytes(&mut self) -> Result<&'a [u8], LocateError> {
        let len = self.count()?;
        if len > TEXT_MAX {
            return Err(self.damaged("a text of at most 4096 bytes"));
        }
        self.take(len)
    }

    pub fn text(&mut self) -> Result<String, LocateError> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.damaged("text in UTF-8"))
    }

    pub fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, LocateError>,
    ) -> Result<Vec<T>, LocateError> {
        let count = self.count()?;
        let mut list = Vec::with_capacity(count.min(LIST_AT_ONCE));
        for _ in 0..count {
            list.push(entry(self)?);
        }
        Ok(list)
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: usize) -> Result<u16, LocateError> {
        match self.one_byte() {
            Some(byte) if usize::from(byte) < bound => Ok(byte.into()),
            Some(_) => Err(self.damaged("an index in its list")),
            None => self.below(u32::try_from(bound).unwrap_or(u32::MAX)),
        }
    }

    /// A number below a bound.
    #[inline]
    pub fn below<T: TryFrom<u32>>(&mut self, of: u32) -> Result<T, LocateError> {
        if let Some((value, len)) = self.peek()
            && value < of
            && let Ok(value) = T::try_from(value)
        {
            self.skip(len);
            return Ok(value);
        }
        self.far_below(of)
    }

    /// The same for one that is long or near the end, or what is wrong with it.
    #[cold]
    pub fn far_below<T: TryFrom<u32>>(&mut self, of: u32) -> Result<T, LocateError> {
        let value: u32 = self.number("an index")?;
        let fitting = T::try_from(value).ok().filter(|_| value < of);
        fitting.ok_or_else(|| self.damaged("an index in its list"))
    }

    /// A difference is an odd number (its lowest bit not written) shifted to the left.
    pub fn difference(&mut self, shift: u8) -> Result<u128, LocateError> {
        if shift == NO_DIFFERENCE {
            return Ok(0);
        }
        let odd = self
            .varint()?
            .checked_mul(2)
            .ok_or_else(|| self.damaged("a difference of at most 128 bits"))?
            | 1;
        let value = odd.checked_shl(u32::from(shift)).unwrap_or(0);
        if value.checked_shr(u32::from(shift)) == Some(odd) {
            Ok(value)
        } else {
            Err(self.damaged("a difference of at most 128 bits"))
        }
    }
}
