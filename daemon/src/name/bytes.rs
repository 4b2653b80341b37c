//! A bounds-checked cursor over bytes, for the parsers of this room.
//!
//! In: a slice. Out: integers and sub-slices in network byte order, or [`Short`] with what was
//! needed, what was there and where.

/// The bytes end before the field does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    /// Where the field begins.
    pub offset: usize,
    /// Bytes the field needs.
    pub needed: usize,
    /// Bytes left.
    pub had: usize,
}

/// A position in a slice; never moves past its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// A reader that begins at `offset`, or at the end where that is sooner.
    pub(super) const fn at(bytes: &'a [u8], offset: usize) -> Self {
        let offset = if offset < bytes.len() {
            offset
        } else {
            bytes.len()
        };
        Self { bytes, offset }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// Everything that is left, without moving.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let rest = self.rest();
        let Some(taken) = rest.get(..len) else {
            return Err(Short {
                offset: self.offset,
                needed: len,
                had: rest.len(),
            });
        };
        self.offset += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A vector with a one-byte length before it.
    pub(super) fn vector8(&mut self) -> Result<&'a [u8], Short> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// A vector with a two-byte length before it.
    pub(super) fn vector16(&mut self) -> Result<&'a [u8], Short> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_needed_and_where() {
        let mut reader = Reader::new(&[0, 3, b'a', b'b']);
        assert_eq!(
            reader.vector16(),
            Err(Short {
                offset: 2,
                needed: 3,
                had: 2
            })
        );
        assert_eq!(reader.rest(), b"ab");
    }

    #[test]
    fn beginning_past_the_end_is_the_end() {
        assert!(Reader::at(b"ab", 9).is_empty());
    }
}
