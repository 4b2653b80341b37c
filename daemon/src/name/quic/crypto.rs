//! The stream of CRYPTO frames, put in order (RFC 9000 sections 12.4 and 19).

use super::{
    super::bytes::{Reader, Short},
    header::varint,
};

/// Bytes of a handshake that are held, in order or not; a frame that ends beyond this offset ends
/// the reading. Hellos with post-quantum keys take some 2,000 bytes.
pub const CRYPTO_BYTES_MAX: usize = 16 * 1024;
/// Pieces held out of order; one more ends the reading. Chrome sends a hello in a dozen.
pub const CRYPTO_PIECES_MAX: usize = 64;
/// Frames read of one packet; those behind are left unread.
const FRAMES_MAX: usize = 512;

/// Frame types that an Initial may hold (RFC 9000 section 12.4, table 3).
mod frame {
    pub const PADDING: u8 = 0x00;
    pub const PING: u8 = 0x01;
    pub const ACK: u8 = 0x02;
    pub const ACK_ECN: u8 = 0x03;
    pub const CRYPTO: u8 = 0x06;
}

/// The bytes of the stream so far. Those that came first stand; what repeats them is not compared.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    contiguous: Vec<u8>,
    /// Pieces behind a hole, by their offsets.
    pieces: Vec<(usize, Box<[u8]>)>,
    bytes_of_pieces: usize,
}

/// Why a packet's frames end the reading.
struct Refused;

impl From<Short> for Refused {
    fn from(_: Short) -> Self {
        Self
    }
}

impl Crypto {
    /// Takes the CRYPTO frames of a packet; false when they are not to be read any further.
    pub(super) fn take(&mut self, payload: &[u8]) -> bool {
        self.frames(payload).is_ok()
    }

    /// What is there without a hole.
    pub(super) fn contiguous(&self) -> &[u8] {
        &self.contiguous
    }

    /// Bytes held, with what it takes to hold them.
    pub(super) fn bytes_held(&self) -> usize {
        self.contiguous.capacity()
            + self.bytes_of_pieces
            + self.pieces.capacity() * size_of::<(usize, Box<[u8]>)>()
    }

    fn frames(&mut self, payload: &[u8]) -> Result<(), Refused> {
        let mut reader = Reader::new(payload);
        for _ in 0..FRAMES_MAX {
            let rest = reader.rest();
            // Padding fills most of a packet, one byte a frame.
            let Some(padding) = rest.iter().position(|&byte| byte != frame::PADDING) else {
                return Ok(());
            };
            reader.take(padding)?;
            match reader.u8()? {
                frame::PING => {}
                kind @ (frame::ACK | frame::ACK_ECN) => skip_ack(&mut reader, kind)?,
                frame::CRYPTO => {
                    let offset = usize::try_from(varint(&mut reader)?).unwrap_or(usize::MAX);
                    let len = usize::try_from(varint(&mut reader)?).unwrap_or(usize::MAX);
                    self.insert(offset, reader.take(len)?)?;
                }
                // The connection is closed, or this is no Initial's frame; what was read stays.
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn insert(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        let end = offset.saturating_add(bytes.len());
        if end > CRYPTO_BYTES_MAX {
            return Err(Refused);
        }
        if offset > self.contiguous.len() {
            return self.hold(offset, bytes);
        }
        self.append(offset, bytes);
        while let Some((offset, _)) = self.pieces.first() {
            if *offset > self.contiguous.len() {
                break;
            }
            let (offset, bytes) = self.pieces.remove(0);
            self.bytes_of_pieces -= bytes.len();
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

    fn hold(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        let known = |(at, held): &(usize, Box<[u8]>)| {
            *at <= offset && offset + bytes.len() <= *at + held.len()
        };
        if self.pieces.iter().any(known) {
            return Ok(());
        }
        let full = self.pieces.len() == CRYPTO_PIECES_MAX
            || self.bytes_of_pieces + bytes.len() > CRYPTO_BYTES_MAX;
        if full {
            return Err(Refused);
        }
        let at = self.pieces.partition_point(|(other, _)| *other <= offset);
        self.pieces.insert(at, (offset, bytes.into()));
        self.bytes_of_pieces += bytes.len();
        Ok(())
    }
}

/// ACK frames (RFC 9000 section 19.3): the numbers in them are of no interest.
fn skip_ack(reader: &mut Reader<'_>, kind: u8) -> Result<(), Short> {
    varint(reader)?;
    varint(reader)?;
    let ranges = varint(reader)?;
    varint(reader)?;
    let counts = if kind == frame::ACK_ECN { 3 } else { 0 };
    // Each takes a byte or more, so that the bytes bound the loop.
    for _ in 0..ranges.saturating_mul(2).saturating_add(counts) {
        varint(reader)?;
    }
    Ok(())
}
