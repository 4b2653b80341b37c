//! The head of a case in forms that leave the handset: a code for paper, and a file.
//!
//! In: the last checkpoint. Out: text. A later check holds the case against it, so it is spelt so
//! that a slip of the pen is noticed: any four wrong characters are (BIP 350's code).
//! `docs/evidence-format.md` specifies both; reading them is the verifier's work.

use serde::{Deserialize, Serialize};

use super::{
    error::StoreError,
    reader::Reader,
    record::{Hash, Head, Kind},
    signing::{CheckpointBody, Reason},
};
use crate::time::Timestamp;

/// `format` of [`HeadFile`].
pub const HEAD_FORMAT: &str = "sakshi-head";
/// `version` of [`HeadFile`].
pub const HEAD_VERSION: u32 = 1;

/// Crockford's Base32 digits: no `I`, `L`, `O`, `U`, which are taken for others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of the sequence number and the hash's first half: 168 bits, and two zero bits behind.
const DATA_DIGITS: u32 = 34;
/// Digits of the check.
const CHECK_DIGITS: u32 = 6;
/// Digits between two hyphens.
const GROUP: usize = 5;
/// Bytes of the hash that a code holds.
const HASH_BYTES: usize = 16;
/// Codes hold sequence numbers up to this one: 40 bits, more than a watch of any length writes.
pub const CODE_SEQ_MAX: i64 = (1 << 40) - 1;
/// Goes into the check before the data (BIP 173's human-readable part, `sakshi`, expanded), so that
/// a code of another use is not taken for one of ours.
const PREFIX: [u8; 13] = [3, 3, 3, 3, 3, 3, 0, 19, 1, 11, 19, 8, 9];
/// What the check of a right code comes to (BIP 350).
const CHECK_CONSTANT: u32 = 0x2bc8_30a3;

/// The last checkpoint of a case: what vouches for everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadFile {
    /// When it was made; null where no clock is read.
    pub at: Option<Timestamp>,
    /// Identifier of the case.
    pub case: String,
    /// The same head for paper, as [`code`] gives it.
    pub code: Option<String>,
    /// [`HEAD_FORMAT`].
    pub format: String,
    /// Hash of the checkpoint's record.
    pub hash: Hash,
    /// Why the checkpoint was made.
    pub reason: Reason,
    /// Its sequence number.
    pub seq: i64,
    /// [`HEAD_VERSION`].
    pub version: u32,
}

/// Finds the last checkpoint; none in an unsigned case.
pub fn last_head(reader: &Reader) -> Result<Option<HeadFile>, StoreError> {
    let Some(record) = reader.last(&Kind::CHECKPOINT)? else {
        return Ok(None);
    };
    let body: CheckpointBody =
        serde_json::from_str(&record.body).map_err(|error| StoreError::Corrupt {
            path: reader.case().database(),
            detail: format!("record {} is no checkpoint: {error}", record.seq),
        })?;
    let head = Head {
        seq: record.seq,
        hash: record.hash,
    };
    Ok(Some(HeadFile {
        at: body.at,
        case: reader.case().meta().id.clone(),
        code: code(head),
        format: HEAD_FORMAT.to_owned(),
        hash: record.hash,
        reason: body.reason,
        seq: record.seq,
        version: HEAD_VERSION,
    }))
}

/// A head for paper: eight groups of five digits; none beyond [`CODE_SEQ_MAX`].
pub fn code(head: Head) -> Option<String> {
    let seq = u64::try_from(head.seq)
        .ok()
        .filter(|_| head.seq <= CODE_SEQ_MAX)?;
    let [_, _, _, number @ ..] = seq.to_be_bytes();
    let bytes = number
        .iter()
        .chain(head.hash.as_bytes().iter().take(HASH_BYTES));
    let mut digits = digits(bytes.copied());
    let check = polymod(
        PREFIX
            .iter()
            .chain(&digits)
            .chain(&[0; CHECK_DIGITS as usize]),
    ) ^ CHECK_CONSTANT;
    digits.extend(
        (0..CHECK_DIGITS)
            .rev()
            .map(|at| five_bits(check >> (5 * at))),
    );
    let mut text = String::new();
    for (at, digit) in digits.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.extend(DIGITS.get(usize::from(*digit)).copied().map(char::from));
    }
    Some(text)
}

/// The bytes' bits in fives, most significant first, filled up with zero bits.
fn digits(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let (mut held, mut bits) = (0_u32, 0);
    let mut digits = Vec::with_capacity((DATA_DIGITS + CHECK_DIGITS) as usize);
    for byte in bytes {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            digits.push(five_bits(held >> bits));
        }
    }
    if bits > 0 {
        digits.push(five_bits(held << (5 - bits)));
    }
    digits
}

fn five_bits(value: u32) -> u8 {
    // Masked to five bits, so it always fits.
    u8::try_from(value & 31).unwrap_or(0)
}

/// BIP 173's check over values of five bits.
fn polymod<'a>(values: impl Iterator<Item = &'a u8>) -> u32 {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    values.fold(1, |check, value| {
        let top = check >> 25;
        let shifted = (check & 0x01ff_ffff) << 5 ^ u32::from(*value);
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(shifted, |check, (_, term)| check ^ term)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: i64, hash: &str) -> Head {
        let hash = serde_json::from_value(serde_json::Value::from(hash)).unwrap();
        Head { seq, hash }
    }

    #[test]
    fn a_code_is_what_the_format_says() {
        // Computed with Python from docs/evidence-format.md.
        let example = head(
            3,
            "39bb2e6f4fca3a157674f83083c772461a2b9d1e67eafb74c5f347216206db2c",
        );
        assert_eq!(
            code(example).unwrap(),
            "00000-00376-XJWVT-FS8X1-AXKMZ-0R87H-VJ8R4-Z25M7"
        );
        let last = head(CODE_SEQ_MAX, &"f".repeat(64));
        assert_eq!(
            code(last).unwrap(),
            "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZWT-T82FG"
        );
        assert_eq!(code(head(CODE_SEQ_MAX + 1, &"f".repeat(64))), None);
        assert_eq!(code(head(-1, &"f".repeat(64))), None);
    }

    /// What a code's digits come to in the check.
    fn checked(digits: &[u8]) -> u32 {
        polymod(PREFIX.iter().chain(digits))
    }

    #[test]
    fn wrong_and_swapped_digits_are_noticed() {
        let text = code(head(1_234, &"39bb2e6f".repeat(8))).unwrap();
        let digits: Vec<u8> = text
            .bytes()
            .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte))
            .map(|at| u8::try_from(at).unwrap())
            .collect();
        assert_eq!((digits.len(), checked(&digits)), (40, CHECK_CONSTANT));
        for at in 0..digits.len() {
            for wrong in 1..32 {
                let mut changed = digits.clone();
                changed[at] ^= wrong;
                assert_ne!(checked(&changed), CHECK_CONSTANT);
                if at > 0 {
                    changed[at - 1] ^= 1;
                    assert_ne!(checked(&changed), CHECK_CONSTANT);
                }
            }
            let mut swapped = digits.clone();
            swapped.swap(at, (at + 1) % digits.len());
            if swapped != digits {
                assert_ne!(checked(&swapped), CHECK_CONSTANT);
            }
        }
    }
}
