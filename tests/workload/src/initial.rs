//! A QUIC client's Initials, sealed (RFC 9000, RFC 9001, RFC 9369), by another library than the
//! product opens them with.

use ring::{
    aead::{self, quic::HeaderProtectionKey},
    hkdf::{self, HKDF_SHA256, KeyType},
};

use crate::random::Random;

/// A version that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Draft 29.
    Draft29,
}

impl Version {
    /// Its number in a header.
    pub const fn wire(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 0x6b33_43cf,
            Self::Draft29 => 0xff00_001d,
        }
    }

    /// The first byte of a long header, before its protection.
    const fn first_byte(self, kind: LongKind, number_len: u8) -> u8 {
        let number = match (self, kind) {
            (Self::V2, LongKind::Initial) => 1,
            (Self::V2, LongKind::Handshake) => 3,
            (Self::V2, LongKind::Retry) | (_, LongKind::Initial) => 0,
            (_, LongKind::Handshake) => 2,
            (_, LongKind::Retry) => 3,
        };
        0xc0 | number << 4 | (number_len - 1)
    }

    const fn salt(self) -> [u8; 20] {
        match self {
            Self::V1 => {
                *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
            }
            Self::V2 => {
                *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
            }
            Self::Draft29 => {
                *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
            }
        }
    }
}

/// Kinds of long headers that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongKind {
    Initial,
    Handshake,
    Retry,
}

#[derive(Clone, Copy)]
struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const LEN: usize>(secret: &hkdf::Prk, label: &str) -> [u8; LEN] {
    let label = format!("tls13 {label}");
    let len = u8::try_from(LEN).expect("a short key");
    let label_len = u8::try_from(label.len()).expect("a short label");
    let info: [&[u8]; 3] = [&[0, len, label_len], label.as_bytes(), &[0]];
    let mut out = [0; LEN];
    secret
        .expand(&info, Len(LEN))
        .and_then(|okm| okm.fill(&mut out))
        .expect("a short key");
    out
}

/// What seals the Initials of one client.
pub struct Sealer {
    version: Version,
    key: aead::LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({:?})", self.version)
    }
}

impl Sealer {
    /// The client's keys that follow from the connection ID of its first Initial.
    pub fn new(version: Version, id: &[u8]) -> Self {
        Self::of(version, id, "client in")
    }

    /// The server's keys that follow from the same.
    pub fn server(version: Version, id: &[u8]) -> Self {
        Self::of(version, id, "server in")
    }

    fn of(version: Version, id: &[u8], side: &str) -> Self {
        let initial = hkdf::Salt::new(HKDF_SHA256, &version.salt()).extract(id);
        let client: [u8; 32] = expand(&initial, side);
        let client = hkdf::Prk::new_less_safe(HKDF_SHA256, &client);
        let label = |what: &str| match version {
            Version::V2 => format!("quicv2 {what}"),
            _ => format!("quic {what}"),
        };
        let key: [u8; 16] = expand(&client, &label("key"));
        let header: [u8; 16] = expand(&client, &label("hp"));
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).expect("16 bytes");
        Self {
            version,
            key: aead::LessSafeKey::new(key),
            iv: expand(&client, &label("iv")),
            header: HeaderProtectionKey::new(&aead::quic::AES_128, &header).expect("16 bytes"),
        }
    }

    /// An Initial with its frames, sealed.
    ///
    /// # Panics
    /// When the frames are too few for a sample or too many for a datagram.
    pub fn initial(&self, ids: Ids<'_>, token: &[u8], number: u32, frames: &[u8]) -> Vec<u8> {
        let number_len: u8 = if number < 0x100 { 1 } else { 4 };
        let mut packet = vec![self.version.first_byte(LongKind::Initial, number_len)];
        packet.extend(self.version.wire().to_be_bytes());
        ids.write(&mut packet);
        varint(&mut packet, token.len());
        packet.extend(token);
        let len = usize::from(number_len) + frames.len() + self.key.algorithm().tag_len();
        packet.extend(
            u16::try_from(0x4000 | len)
                .expect("a datagram")
                .to_be_bytes(),
        );
        let number_at = packet.len();
        self.seal(packet, number_at, usize::from(number_len), number, frames)
    }

    /// A packet from its header up to the packet number, whose length field the caller has written.
    ///
    /// # Panics
    /// When the frames are too few for a sample.
    pub fn seal(
        &self,
        header: Vec<u8>,
        number_at: usize,
        number_len: usize,
        number: u32,
        frames: &[u8],
    ) -> Vec<u8> {
        let mut packet = header;
        packet.extend(&number.to_be_bytes()[4 - number_len..]);
        let mut nonce = self.iv;
        for (byte, number) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let mut sealed = frames.to_vec();
        self.key
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(&packet),
                &mut sealed,
            )
            .expect("a small packet");
        packet.extend(sealed);
        let sample = &packet[number_at + 4..number_at + 20];
        let mask = self.header.new_mask(sample).expect("16 bytes");
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..number_at + number_len]
            .iter_mut()
            .zip(&mask[1..])
        {
            *byte ^= mask;
        }
        packet
    }
}

/// Connection IDs of a long header.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// The receiver's.
    pub to: &'a [u8],
    /// The sender's.
    pub from: &'a [u8],
}

impl Ids<'_> {
    fn write(self, packet: &mut Vec<u8>) {
        crate::hello::vector8(packet, self.to);
        crate::hello::vector8(packet, self.from);
    }
}

/// A Handshake packet whose payload nobody can read, or in truth none.
pub fn handshake(version: Version, ids: Ids<'_>, len: usize, random: &mut Random) -> Vec<u8> {
    long(version, LongKind::Handshake, ids, len, random)
}

fn long(
    version: Version,
    kind: LongKind,
    ids: Ids<'_>,
    len: usize,
    random: &mut Random,
) -> Vec<u8> {
    let mut packet = vec![version.first_byte(kind, 2)];
    packet.extend(version.wire().to_be_bytes());
    ids.write(&mut packet);
    if kind == LongKind::Initial {
        packet.push(0);
    }
    packet.extend(
        u16::try_from(0x4000 | len)
            .expect("a datagram")
            .to_be_bytes(),
    );
    packet.extend(random.bytes(len));
    packet
}

/// A Retry; its integrity tag is noise.
pub fn retry(version: Version, ids: Ids<'_>, token: &[u8], random: &mut Random) -> Vec<u8> {
    let mut packet = vec![version.first_byte(LongKind::Retry, 1)];
    packet.extend(version.wire().to_be_bytes());
    ids.write(&mut packet);
    packet.extend(token);
    packet.extend(random.bytes(16));
    packet
}

/// A server's offer of versions.
pub fn negotiation(ids: Ids<'_>, versions: &[Version], random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0x80 | random.bytes(1)[0]];
    packet.extend([0; 4]);
    ids.write(&mut packet);
    for version in versions {
        packet.extend(version.wire().to_be_bytes());
    }
    packet
}

/// A datagram of a version that does not exist, as clients send to exercise the negotiation.
pub fn reserved(ids: Ids<'_>, random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(0x1a2a_3a4a_u32.to_be_bytes());
    ids.write(&mut packet);
    let rest = 1200 - packet.len();
    packet.extend(random.bytes(rest));
    packet
}

/// A packet with a short header.
pub fn short(id: &[u8], len: usize, random: &mut Random) -> Vec<u8> {
    let mut packet = vec![0x40 | random.bytes(1)[0] & 0x3f];
    packet.extend(id);
    packet.extend(random.bytes(len));
    packet
}

/// A CRYPTO frame.
pub fn crypto_frame(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    into.push(6);
    varint(into, offset);
    varint(into, bytes.len());
    into.extend(bytes);
}

/// An integer of one, two or four bytes.
///
/// # Panics
/// When it is too large for that.
pub fn varint(into: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("a small number");
    let [_, _, high, low] = value.to_be_bytes();
    match value {
        0..0x40 => into.push(low),
        0x40..0x4000 => into.extend([0x40 | high, low]),
        _ => into.extend((0x8000_0000 | value).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.2: begins and ends as printed there.
    #[test]
    fn seals_as_the_rfc_does() {
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let hello = concat!(
            "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868",
            "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578",
            "616d706c652e636f6dff01000100000a00080006001d00170018001000070005",
            "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba",
            "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400",
            "0d0010000e0403050306030203080408050806002d00020101001c0002400100",
            "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000",
            "75300901100f088394c8f03e51570806048000ffff"
        );
        let mut frames: Vec<u8> = (0..hello.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hello[at..at + 2], 16).unwrap())
            .collect();
        frames.resize(1162, 0);
        let sealer = Sealer::new(Version::V1, &id);
        let mut header = vec![0xc3, 0, 0, 0, 1, 8];
        header.extend(id);
        header.extend([0, 0, 0x44, 0x9e]);
        let packet = sealer.seal(header, 18, 4, 2, &frames);
        assert_eq!(packet.len(), 1200);
        assert_eq!(packet[..4], [0xc0, 0, 0, 0]);
        assert_eq!(
            packet[18..26],
            [0x7b, 0x9a, 0xec, 0x34, 0xd1, 0xb1, 0xc9, 0x8d]
        );
        assert_eq!(packet[1184..1188], [0xe2, 0x21, 0xaf, 0x44]);
    }
}
