//! Long headers: which packets a datagram holds (RFC 9000 section 17.2, RFC 9369 section 3.2).

use super::{
    super::bytes::{Reader, Short},
    Version,
};

/// Longest connection ID of the versions that are read (RFC 9000 section 17.2).
const ID_BYTES_MAX: usize = 20;

/// A connection ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Id {
    bytes: [u8; ID_BYTES_MAX],
    len: u8,
}

impl Id {
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self {
            len: u8::try_from(bytes.len()).ok()?,
            ..Self::default()
        };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// An Initial packet, still protected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    /// The destination's connection ID.
    pub(super) id: Id,
    /// The sender's own connection ID: what the other side addresses from now on.
    pub(super) source: Id,
    /// From the first byte of its header to the last of its tag.
    pub(super) packet: &'a [u8],
    /// Where the packet number begins.
    pub(super) number_at: usize,
}

/// A packet of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packet<'a> {
    /// An Initial.
    Initial(Initial<'a>),
    /// Another one.
    Other,
}

/// Whether a datagram begins with a long header.
pub(super) fn is_long(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

/// The version field of a long header whose connection ID is not too long.
pub(super) fn version(datagram: &[u8]) -> Option<u32> {
    let &[first, v0, v1, v2, v3, id_len, ..] = datagram else {
        return None;
    };
    (first & 0x80 != 0 && usize::from(id_len) <= ID_BYTES_MAX)
        .then_some(u32::from_be_bytes([v0, v1, v2, v3]))
}

/// The first packet of the bytes, and what is behind it; none where no packet that can be read, or
/// not all of it, is there.
pub(super) fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let version = Version::of_wire(version(bytes)?)?;
    read(bytes, version).ok().flatten()
}

/// The four kinds of long headers; their numbers are others in version 2.
#[derive(PartialEq, Eq)]
enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

fn kind(first: u8, version: Version) -> Kind {
    let number = (first >> 4) & 0b11;
    let number = if version == Version::V2 {
        number.wrapping_sub(1) & 0b11
    } else {
        number
    };
    match number {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    }
}

fn read(bytes: &[u8], version: Version) -> Result<Option<(Packet<'_>, &[u8])>, Short> {
    let mut reader = Reader::new(bytes);
    let kind = kind(reader.u8()?, version);
    reader.take(4)?;
    let id = Id::new(reader.vector8()?);
    let source = Id::new(reader.vector8()?);
    let (Some(id), Some(source)) = (id, source) else {
        return Ok(None);
    };
    match kind {
        // It has no length, so that nothing can follow it.
        Kind::Retry => return Ok(None),
        Kind::Initial => {
            let token = varint(&mut reader)?;
            reader.take(usize::try_from(token).unwrap_or(usize::MAX))?;
        }
        Kind::ZeroRtt | Kind::Handshake => {}
    }
    let len = usize::try_from(varint(&mut reader)?).unwrap_or(usize::MAX);
    let number_at = reader.offset();
    reader.take(len)?;
    let (packet, behind) = bytes.split_at_checked(reader.offset()).unwrap_or_default();
    let packet = match kind {
        Kind::Initial => Packet::Initial(Initial {
            version,
            id,
            source,
            packet,
            number_at,
        }),
        _ => Packet::Other,
    };
    Ok(Some((packet, behind)))
}

/// An integer of 1, 2, 4 or 8 bytes (RFC 9000 section 16).
pub(super) fn varint(reader: &mut Reader<'_>) -> Result<u64, Short> {
    let first = reader.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1_u8 << (first >> 6) {
        value = value << 8 | u64::from(reader.u8()?);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rfcs_integers() {
        // RFC 9000 appendix A.1.
        let read = |bytes: &[u8]| varint(&mut Reader::new(bytes)).ok();
        assert_eq!(
            read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            Some(151_288_809_941_952_652)
        );
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!(read(&[0x40, 0x25]), Some(37));
        assert_eq!(read(&[0x25]), Some(37));
        assert_eq!(read(&[0x40]), None);
    }
}
