//! SHA-256 values, and the hash that chains a record to the one before.
//!
//! Written from `docs/evidence-format.md`, apart from the code that writes cases.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Begins what is hashed for a record.
const RECORD_TAG: &[u8] = b"sakshi record 1\n";

/// A SHA-256 value; shown and serialised as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The `prev` of the first record.
    pub const ZERO: Self = Self([0; 32]);

    /// From its bytes; none unless there are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(crate) fn from_sha256(sha: Sha256) -> Self {
        Self(sha.finalize().into())
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Hex(bytes) = Hex::<32>::deserialize(deserializer)?;
        Ok(Self(bytes))
    }
}

/// `N` bytes that are written as lower-case hex digits: public keys and signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("expected {} lower-case hex digits", 2 * N))
        })
    }
}

/// Bytes as lower-case hex digits.
#[cfg(feature = "other-hashes")]
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;

    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads exactly `N` bytes in lower-case hex digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        match pair {
            [high, low] => *byte = digit(*high)? << 4 | digit(*low)?,
            _ => return None,
        }
    }
    Some(bytes)
}

/// A record's number and hash: the end of a chain, or what a checkpoint vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Sequence number, counted from 1; 0 when there is no record.
    pub seq: i64,
    /// The record's hash.
    pub hash: Hash,
}

/// The hash of a record, as the format's section *A record* says.
pub fn record_hash(
    prev: &Hash,
    seq: i64,
    kind: &[u8],
    body: &[u8],
    attachment: Option<&[u8]>,
) -> Hash {
    let mut sha = Sha256::new();
    sha.update(RECORD_TAG);
    sha.update(prev.0);
    sha.update(seq.to_be_bytes());
    sha.update((kind.len() as u64).to_be_bytes());
    sha.update(kind);
    sha.update((body.len() as u64).to_be_bytes());
    sha.update(body);
    if let Some(attachment) = attachment {
        sha.update([1]);
        sha.update((attachment.len() as u64).to_be_bytes());
        sha.update(attachment);
    } else {
        sha.update([0]);
    }
    Hash::from_sha256(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_format_come_out() {
        let one = record_hash(&Hash::ZERO, 1, b"note", b"{}", None);
        assert_eq!(
            one.to_string(),
            "40b4f1b779ce89d7194ceab45a62f58dc2c1154c4718150d07762fb471ba3e6e"
        );
        let two = record_hash(&one, 2, b"note", b"{}", Some(b"\x00\xff"));
        assert_eq!(
            two.to_string(),
            "c3948fecdc243a505b9aa7366ee3aa6ecee5c0a73e0dcf090477282ecde12770"
        );
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(unhex::<2>("0aff"), Some([0x0a, 0xff]));
        for text in ["", "0a", "0aFF", "0aff00", "0ag0", "ééé"] {
            assert_eq!(unhex::<2>(text), None, "{text}");
        }
    }
}
