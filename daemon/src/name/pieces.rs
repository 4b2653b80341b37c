//! Bytes of a handshake message that come in pieces, each with its place.
//!
//! In: pieces in any order, repeated, overlapping. Out: what is there without a hole. Those bytes that
//! came first stand; what repeats them is not compared.

/// Bytes that are held, in order or not; a piece that ends beyond this offset ends the reading. Hellos
/// with post-quantum keys take some 2,000 bytes.
pub const BYTES_MAX: usize = 16 * 1024;
/// Pieces held out of order; one more ends the reading. Chrome sends a hello in a dozen.
pub const PIECES_MAX: usize = 64;

/// The bytes so far.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    contiguous: Vec<u8>,
    /// Pieces behind a hole, by their offsets.
    ahead: Vec<(usize, Box<[u8]>)>,
    ahead_bytes: usize,
}

/// A bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Pieces {
    /// What is there without a hole.
    pub(super) fn contiguous(&self) -> &[u8] {
        &self.contiguous
    }

    /// Bytes held, with what it takes to hold them.
    pub(super) fn bytes_held(&self) -> usize {
        self.contiguous.capacity()
            + self.ahead_bytes
            + self.ahead.capacity() * size_of::<(usize, Box<[u8]>)>()
    }

    /// Makes room for as many bytes as there will be, where none is there yet.
    pub(super) fn expect(&mut self, len: usize) {
        if self.contiguous.capacity() == 0 {
            self.contiguous.reserve_exact(len.min(BYTES_MAX));
        }
    }

    /// Takes a piece.
    pub(super) fn insert(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Full> {
        let end = offset.saturating_add(bytes.len());
        if end > BYTES_MAX {
            return Err(Full);
        }
        if offset > self.contiguous.len() {
            return self.hold(offset, bytes);
        }
        self.append(offset, bytes);
        while let Some((offset, _)) = self.ahead.first() {
            if *offset > self.contiguous.len() {
                break;
            }
            let (offset, bytes) = self.ahead.remove(0);
            self.ahead_bytes -= bytes.len();
            self.append(offset, &bytes);
        }
        Ok(())
    }

    fn append(&mut self, offset: usize, bytes: &[u8]) {
        let known = self.contiguous.len() - offset;
        if let Some(new) = bytes.get(known..) {
            self.contiguous.extend_from_slice(new);
        }
    }

    fn hold(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Full> {
        let known = |(at, held): &(usize, Box<[u8]>)| {
            *at <= offset && offset + bytes.len() <= *at + held.len()
        };
        if self.ahead.iter().any(known) {
            return Ok(());
        }
        let full = self.ahead.len() == PIECES_MAX || self.ahead_bytes + bytes.len() > BYTES_MAX;
        if full {
            return Err(Full);
        }
        let at = self.ahead.partition_point(|(other, _)| *other <= offset);
        self.ahead.insert(at, (offset, bytes.into()));
        self.ahead_bytes += bytes.len();
        Ok(())
    }
}
