//! The keys of Initials, and what they open (RFC 9001 section 5, RFC 9369 section 3.3).

use std::sync::LazyLock;

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes_gcm::{Aes128Gcm, aead::AeadInOut as _, aead::inout::InOutBuf};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;

use super::{
    Version,
    header::{Id, Initial},
};

/// Salts of the initial secret (RFC 9001 section 5.2, RFC 9369 section 3.3.1, and
/// draft-ietf-quic-tls-23 and -29, section 5.2).
const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];
const SALT_DRAFT_29: [u8; 20] = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0,
    0x43, 0x90, 0xa8, 0x99,
];
const SALT_DRAFT_23: [u8; 20] = [
    0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65,
    0xbe, 0xf9, 0xf5, 0x02,
];

/// What is begun of each secret before a connection's part: the half of an extraction that only the
/// salt is in.
static BEGUN: LazyLock<[HkdfExtract<Sha256>; 4]> = LazyLock::new(|| {
    [SALT_V1, SALT_V2, SALT_DRAFT_29, SALT_DRAFT_23].map(|salt| HkdfExtract::new(Some(&salt)))
});

const KEY_BYTES: usize = 16;
const IV_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Where the sample for the header's protection begins, from the packet number (RFC 9001 section
/// 5.4.2), and its length.
const SAMPLE_AT: usize = 4;
const SAMPLE_BYTES: usize = 16;

/// Labels of version 2 begin differently, so that keys of two versions never meet.
struct Labels {
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
}

const LABELS: Labels = Labels {
    key: b"tls13 quic key",
    iv: b"tls13 quic iv",
    header: b"tls13 quic hp",
};
const LABELS_V2: Labels = Labels {
    key: b"tls13 quicv2 key",
    iv: b"tls13 quicv2 iv",
    header: b"tls13 quicv2 hp",
};

/// Whose Initials are to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What opens one side's Initials of one connection. The keys alone: their schedules take twenty times
/// the memory, and less time than a packet takes to be opened.
pub(super) struct Keys {
    payload: [u8; KEY_BYTES],
    iv: [u8; IV_BYTES],
    header: [u8; KEY_BYTES],
}

// Anybody can derive them, but nobody needs to read them.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// The keys that follow from the connection ID of a client's first Initial.
    pub(super) fn derive(version: Version, id: Id, side: Side) -> Self {
        let [v1, v2, draft_29, draft_23] = &*BEGUN;
        let (begun, labels) = match version {
            Version::V1 | Version::Draft(33..) => (v1, &LABELS),
            Version::V2 => (v2, &LABELS_V2),
            Version::Draft(29..=32) => (draft_29, &LABELS),
            Version::Draft(..29) => (draft_23, &LABELS),
        };
        let mut begun = begun.clone();
        begun.input_ikm(id.bytes());
        let (_, initial) = begun.finalize();
        let label: &[u8] = match side {
            Side::Client => b"tls13 client in",
            Side::Server => b"tls13 server in",
        };
        let secret: [u8; SECRET_BYTES] = expand(&initial, label);
        // A secret as long as the hash is never refused.
        let secret = Hkdf::<Sha256>::from_prk(&secret).unwrap_or(initial);
        Self {
            payload: expand(&secret, labels.key),
            iv: expand(&secret, labels.iv),
            header: expand(&secret, labels.header),
        }
    }

    /// The frames of an Initial, which stand in `room`; none unless it was sealed with these keys.
    pub(super) fn open<'a>(&self, initial: &Initial<'_>, room: &'a mut Room) -> Option<&'a [u8]> {
        let (packet, number_at) = (initial.packet, initial.number_at);
        let sample_at = number_at + SAMPLE_AT;
        let sample = packet.get(sample_at..sample_at + SAMPLE_BYTES)?;
        let mut mask = aes::Block::try_from(sample).ok()?;
        aes::Aes128Enc::new(&self.header.into()).encrypt_block(&mut mask);
        // Of a long header the lower four bits of the first byte are protected.
        let first = packet.first()? ^ (mask[0] & 0x0f);
        let number_len = usize::from(first & 0b11) + 1;
        let payload_at = number_at + number_len;
        let (header, frames) = room
            .of(packet.len().checked_sub(TAG_BYTES)?)
            .split_at_mut_checked(payload_at)?;
        header.copy_from_slice(packet.get(..payload_at)?);
        *header.first_mut()? = first;
        let mut nonce = self.iv;
        let number = header.get_mut(number_at..)?;
        let of_nonce = nonce.get_mut(IV_BYTES - number_len..)?;
        // The numbers of a handshake are small: what was sent of one is all of it.
        for ((byte, mask), nonce) in number.iter_mut().zip(&mask[1..]).zip(of_nonce) {
            *byte ^= mask;
            *nonce ^= *byte;
        }
        let (sealed, tag) = packet.get(payload_at..)?.split_last_chunk::<TAG_BYTES>()?;
        let buffer = InOutBuf::new(sealed, &mut *frames).ok()?;
        Aes128Gcm::new(&self.payload.into())
            .decrypt_inout_detached(&nonce.into(), header, buffer, tag.into())
            .ok()?;
        Some(frames)
    }
}

/// Room for a packet while it is opened: most fit where it costs no allocation.
pub(super) struct Room {
    small: [u8; ROOM_BYTES],
    large: Vec<u8>,
}

/// A packet over Ethernet fits.
const ROOM_BYTES: usize = 1500;

impl Room {
    pub(super) const fn new() -> Self {
        Self {
            small: [0; ROOM_BYTES],
            large: Vec::new(),
        }
    }

    fn of(&mut self, len: usize) -> &mut [u8] {
        if let Some(room) = self.small.get_mut(..len) {
            return room;
        }
        self.large.resize(len, 0);
        &mut self.large
    }
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) without a context; the label with its prefix.
fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> [u8; LEN] {
    let mut out = [0; LEN];
    let len = u8::try_from(LEN).unwrap_or_default();
    let label_len = u8::try_from(label.len()).unwrap_or_default();
    // Fewer than 255 times 32 bytes are never refused.
    let _ = secret.expand_multi_info(&[&[0, len, label_len], label, &[0]], &mut out);
    out
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// RFC 9001 appendix A.1, up to the client's secret.
    #[test]
    fn the_rfcs_client_secret() {
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let initial = Hkdf::<Sha256>::new(Some(&SALT_V1), &id);
        let client: [u8; SECRET_BYTES] = expand(&initial, b"tls13 client in");
        let secret = Hkdf::<Sha256>::from_prk(&client).unwrap();
        let key: [u8; KEY_BYTES] = expand(&secret, LABELS.key);
        let iv: [u8; IV_BYTES] = expand(&secret, LABELS.iv);
        let header: [u8; KEY_BYTES] = expand(&secret, LABELS.header);
        assert_eq!(
            hex(&client),
            "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"
        );
        assert_eq!(hex(&key), "1f369613dd76d5467730efcbe3b1a22d");
        assert_eq!(hex(&iv), "fa044b2f42a3fd3b46fb255c");
        assert_eq!(hex(&header), "9f50449e04a0e810283a1e9933adedd2");
    }

    /// RFC 9369 appendix A.1.
    #[test]
    fn the_keys_of_version_2() {
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let initial = Hkdf::<Sha256>::new(Some(&SALT_V2), &id);
        let client: [u8; SECRET_BYTES] = expand(&initial, b"tls13 client in");
        let secret = Hkdf::<Sha256>::from_prk(&client).unwrap();
        let key: [u8; KEY_BYTES] = expand(&secret, LABELS_V2.key);
        let iv: [u8; IV_BYTES] = expand(&secret, LABELS_V2.iv);
        let header: [u8; KEY_BYTES] = expand(&secret, LABELS_V2.header);
        assert_eq!(hex(&key), "8b1a0bc121284290a29e0971b5cd045d");
        assert_eq!(hex(&iv), "91f73e2351d8fa91660e909f");
        assert_eq!(hex(&header), "45b95e15235d6f45a6b19cbcb0294ba9");
    }
}
