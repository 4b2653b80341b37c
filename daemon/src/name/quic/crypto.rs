//! The stream of CRYPTO frames, put in order (RFC 9000 sections 12.4 and 19).

use super::{
    super::{
        bytes::{Reader, Short},
        pieces::{Full, Pieces},
    },
    header::varint,
};

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

/// The bytes of the stream so far.
#[derive(Debug, Default)]
pub(super) struct Crypto(Pieces);

/// Why a packet's frames end the reading.
struct Refused;

impl From<Short> for Refused {
    fn from(_: Short) -> Self {
        Self
    }
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
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
        self.0.contiguous()
    }

    /// Bytes held, with what it takes to hold them.
    pub(super) fn bytes_held(&self) -> usize {
        self.0.bytes_held()
    }

    fn frames(&mut self, payload: &[u8]) -> Result<(), Refused> {
        let mut reader = Reader::new(payload);
        for _ in 0..FRAMES_MAX {
            reader.take(padding(reader.rest()))?;
            if reader.is_empty() {
                return Ok(());
            }
            match reader.u8()? {
                frame::PING => {}
                kind @ (frame::ACK | frame::ACK_ECN) => skip_ack(&mut reader, kind)?,
                frame::CRYPTO => {
                    let offset = usize::try_from(varint(&mut reader)?).unwrap_or(usize::MAX);
                    let len = usize::try_from(varint(&mut reader)?).unwrap_or(usize::MAX);
                    let bytes = reader.take(len)?;
                    if let (0, &[_, high, mid, low, ..]) = (offset, bytes) {
                        self.0.expect(message_len([high, mid, low]));
                    }
                    self.0.insert(offset, bytes)?;
                }
                // The connection is closed, or this is no Initial's frame; what was read stays.
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Bytes of a handshake message whose header announces this (RFC 8446 section 4).
const fn message_len([high, mid, low]: [u8; 3]) -> usize {
    4 + ((high as usize) << 16 | (mid as usize) << 8 | low as usize)
}

/// Bytes of padding at the front. It fills most of a packet, one byte a frame, so that it is looked
/// through in blocks.
fn padding(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let is_padding = |block: &&[u8; BLOCK]| block.iter().fold(0, |all, byte| all | byte) == 0;
    let whole = blocks.iter().take_while(is_padding).count() * BLOCK;
    let rest = bytes.get(whole..).unwrap_or_default();
    let left = rest.iter().position(|&byte| byte != frame::PADDING);
    whole + left.unwrap_or(rest.len())
}
const _: () = assert!(frame::PADDING == 0);

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
