//! A record and the hash that chains it to the one before.
//!
//! In: what a room wants kept (a [`Draft`]). Out: [`Record`]s as stored, and [`record_hash`], the
//! only function that the writer and the verifier share beside the canonical encoding.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::canonical::{self, CanonicalError};

/// The longest body that is stored, in bytes; a longer one is refused.
pub const BODY_MAX: usize = 16 * 1024 * 1024;
/// The longest attachment that is stored, in bytes; a longer one is refused.
pub const ATTACHMENT_MAX: usize = 64 * 1024 * 1024;
/// The longest name of a kind, in bytes.
pub const KIND_MAX: usize = 32;
/// Begins what is hashed for a record, so that no other use of SHA-256 gives the same value.
pub const RECORD_TAG: &[u8] = b"sakshi record 1\n";

/// What a record is about. An open enumeration: readers pass over what they don't know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Cow<'static, str>);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        impl Kind {
            $($(#[doc = $doc])+ pub const $name: Self = Self(Cow::Borrowed($text));)+
            /// Every kind of this version, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
        }
    };
}

kinds! {
    /// The first record: what the case is and the hash of every file in its folder.
    CASE = "case";
    /// The files as used by a later session, with their hashes.
    FILES = "files";
    /// A session began; its body has the integer `session`, counted from 1.
    SESSION = "session";
    /// A session ended in order.
    STOP = "stop";
    /// Written at the start of a session when the one before has no `stop`.
    UNCLEAN_STOP = "unclean_stop";
    /// What was learnt about the installed apps.
    INVENTORY = "inventory";
    /// An APK file of a preloaded app with its hash.
    APK = "apk";
    /// A phase of the examination began.
    PHASE = "phase";
    /// A remark of the technician.
    NOTE = "note";
    /// The lab's PC or Android itself told something of the handset.
    OBSERVATION = "observation";
    /// Something was not seen.
    GAP = "gap";
    /// A network interface came, went or changed.
    INTERFACE = "interface";
    /// The kernel's own counts of the interfaces.
    COUNTERS = "counters";
    /// The handset slept.
    SUSPENSION = "suspension";
    /// A flow.
    FLOW = "flow";
    /// A contact.
    CONTACT = "contact";
    /// A finding.
    FINDING = "finding";
    /// Counts of a contact or finding since its last record.
    TOTAL = "total";
    /// A block of inputs.
    JOURNAL = "journal";
    /// Our rules on the handset were missing and were set again.
    REPAIR = "repair";
    /// A way of watching was not available and a weaker one was used.
    DEGRADED = "degraded";
    /// Counts at the end of a session or a file.
    SUMMARY = "summary";
    /// What the machine offered at the start of a session.
    DOCTOR = "doctor";
    /// By whose leave, and on whose handset.
    AUTHORITY = "authority";
    /// A thing changed hands.
    CUSTODY = "custody";
    /// Which handset this is, by its own account.
    DEVICE = "device";
    /// A segment of kept packets was closed.
    SEGMENT = "segment";
    /// A segment gave way to later packets.
    SEGMENT_DROPPED = "segment_dropped";
    /// Where packets of a contact with a finding are.
    PACKETS = "packets";
    /// The second record of a signed case: the public key of its first checkpoint.
    KEY = "key";
    /// Vouches for everything before it, with a signature.
    CHECKPOINT = "checkpoint";
    /// A part of the database was closed; the first record of the next one.
    ROLLED = "rolled";
    /// The case was closed for good; the last checkpoint follows.
    SEALED = "sealed";
    /// A file that was taken or given during a watch.
    EXHIBIT = "exhibit";
    /// The report of a validation that belongs to the case.
    VALIDATION = "validation";
    /// Known flows of our own were sent, and each was found or not.
    PROBE = "probe";
    /// An unredacted export was made.
    EXPORT = "export";
}

impl Kind {
    /// A kind by its text: 1 to [`KIND_MAX`] lower-case letters, digits and underscores, the first
    /// one a letter; none for any other text.
    pub fn new(text: &str) -> Option<Self> {
        let well_formed = text.len() <= KIND_MAX
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        well_formed.then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// Its text as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

    /// A value that was computed elsewhere.
    pub const fn of_sha256(value: [u8; 32]) -> Self {
        Self(value)
    }

    /// From a finished computation.
    pub fn from_sha256(sha: Sha256) -> Self {
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

impl std::str::FromStr for Hash {
    type Err = String;

    /// From 64 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, String> {
        parse_hex(text).ok_or_else(|| "64 lower-case hex digits are a hash".to_owned())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("a SHA-256 value has 64 lower-case hex digits"))
    }
}

fn parse_hex(text: &str) -> Option<Hash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    Hash::from_slice(&bytes)
}

/// The end of the chain: what a later check is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Sequence number of the last record, counted from 1; 0 when there is none.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// The head of an empty store.
    pub const EMPTY: Self = Self {
        seq: 0,
        hash: Hash::ZERO,
    };
}

/// A record before it has a place in the chain. Its body is canonical by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    kind: Kind,
    body: String,
    attachment: Option<Vec<u8>>,
}

impl Draft {
    /// A record of `kind` that says `body`.
    pub fn new<T: Serialize + ?Sized>(kind: Kind, body: &T) -> Result<Self, CanonicalError> {
        Ok(Self {
            kind,
            body: canonical::to_canonical(body)?,
            attachment: None,
        })
    }

    /// The same with bytes attached.
    #[must_use]
    pub fn with_attachment(self, bytes: Vec<u8>) -> Self {
        Self {
            attachment: Some(bytes),
            ..self
        }
    }

    /// What it is about.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its canonical body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// What is attached.
    pub fn attachment(&self) -> Option<&[u8]> {
        self.attachment.as_deref()
    }

    /// Bytes it holds, for bounding queues.
    pub fn size(&self) -> usize {
        self.body.len() + self.attachment.as_ref().map_or(0, Vec::len)
    }
}

/// A record as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Sequence number, from 1 without holes.
    pub seq: i64,
    /// What it is about.
    pub kind: Kind,
    /// Canonical JSON.
    pub body: String,
    /// What is attached.
    pub attachment: Option<Vec<u8>>,
    /// Hash of the record before.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
}

/// The hash of a record: SHA-256 over [`RECORD_TAG`], `prev`, `seq` as 8 bytes big-endian, and
/// kind, body and attachment, each behind its length as 8 bytes big-endian. One byte before the
/// attachment tells whether there is one (1) or not (0, and nothing follows).
pub fn record_hash(
    prev: &Hash,
    seq: i64,
    kind: &[u8],
    body: &[u8],
    attachment: Option<&[u8]>,
) -> Hash {
    let mut sha = Sha256::new();
    sha.update(RECORD_TAG);
    sha.update(prev.as_bytes());
    sha.update(seq.to_be_bytes());
    for bytes in [kind, body] {
        update_with_length(&mut sha, bytes);
    }
    match attachment {
        None => sha.update([0]),
        Some(bytes) => {
            sha.update([1]);
            update_with_length(&mut sha, bytes);
        }
    }
    Hash::from_sha256(sha)
}

fn update_with_length(sha: &mut Sha256, bytes: &[u8]) {
    // A slice's length fits 64 bits on every machine that Rust knows.
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    sha.update(length.to_be_bytes());
    sha.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_what_the_format_says() {
        // Computed with Python's hashlib from docs/evidence-format.md.
        let hash = record_hash(&Hash::ZERO, 1, b"note", b"{}", None);
        assert_eq!(
            hash.to_string(),
            "40b4f1b779ce89d7194ceab45a62f58dc2c1154c4718150d07762fb471ba3e6e"
        );
        let hash = record_hash(&hash, 2, b"note", b"{}", Some(b"\x00\xff"));
        assert_eq!(
            hash.to_string(),
            "c3948fecdc243a505b9aa7366ee3aa6ecee5c0a73e0dcf090477282ecde12770"
        );
    }

    #[test]
    fn hash_tells_fields_apart() {
        let base = record_hash(&Hash::ZERO, 1, b"note", b"{}", None);
        let others = [
            record_hash(&Hash::of(b""), 1, b"note", b"{}", None),
            record_hash(&Hash::ZERO, 2, b"note", b"{}", None),
            record_hash(&Hash::ZERO, 1, b"note{", b"}", None),
            record_hash(&Hash::ZERO, 1, b"note", b"{}", Some(b"")),
            record_hash(&Hash::ZERO, 1, b"note", b"{}", Some(b"\0")),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, base, "{index}");
        }
    }

    #[test]
    fn hex_reads_back_and_refuses_the_rest() {
        let hash = Hash::of(b"x");
        assert_eq!(parse_hex(&hash.to_string()), Some(hash));
        let upper = hash.to_string().to_uppercase();
        for text in ["", "0", "zz", &upper, &format!("{hash}00"), "é"] {
            assert_eq!(parse_hex(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_are_well_formed() {
        for kind in Kind::ALL {
            assert_eq!(Kind::new(kind.as_str()).as_ref(), Some(kind));
        }
        for text in ["", "Note", "a-b", "1a", "note ", &"a".repeat(33)] {
            assert_eq!(Kind::new(text), None, "{text}");
        }
    }
}
