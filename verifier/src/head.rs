//! A head that left the handset: what a case is held against, so that a cut or an older state of it
//! is noticed.
//!
//! In: the code as somebody types it from paper, the text of the QR code, or the content of a
//! checkpoint file. Out: an [`ExpectedHead`]; a slip of the pen is told from a case that differs.

use std::{fmt, fs::File, io::Read, path::Path};

use serde::Deserialize;

use crate::hash::{Hash, Hex};

/// Longest text that is read as a head, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Crockford's Base32 digits.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of the sequence number and of the hash's first half.
const DATA_DIGITS: usize = 34;
/// Digits of the check.
const CHECK_DIGITS: usize = 6;
/// Bytes of the hash that a code holds.
const HASH_BYTES: usize = 16;
/// Begins the text of a QR code.
const QR_PREFIX: &str = "SAKSHI-HEAD:1:";
/// The human-readable part of the check.
const PREFIX: &[u8] = b"sakshi";
/// What the check of a right code comes to (BIP 350).
const CHECK_CONSTANT: u32 = 0x2bc8_30a3;

/// What a case must still have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedHead {
    /// Sequence number of the checkpoint.
    pub seq: i64,
    /// The first bytes of its hash: 16 from a code, all 32 from a file.
    pub hash: Vec<u8>,
    /// Identifier of the case, where it is known.
    pub case: Option<String>,
}

impl ExpectedHead {
    /// Whether a record of this hash is the one.
    pub fn fits(&self, hash: &Hash) -> bool {
        !self.hash.is_empty() && hash.as_bytes().starts_with(&self.hash)
    }
}

/// Why a text is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A character that no code has.
    #[error(
        "{0:?} is no digit of a head's code: expected eight groups of five digits and letters, as `sakshi head` prints them"
    )]
    Digit(char),
    /// Too many or too few digits.
    #[error("the code has {0} digits, expected 40 (eight groups of five)")]
    Length(usize),
    /// A slip of the pen.
    #[error(
        "the code has a slip: its check digits do not fit; compare it with the paper, digit by digit"
    )]
    Check,
    /// A checkpoint file that is none.
    #[error("this is no checkpoint file: {0}; expected what `sakshi head --format json` writes")]
    File(String),
}

#[derive(Deserialize)]
struct HeadFile {
    case: String,
    format: String,
    hash: Hex<32>,
    seq: i64,
    version: u32,
}

/// Reads a code, the text of a QR code, or the content of a checkpoint file.
pub fn read_head(text: &str) -> Result<ExpectedHead, HeadError> {
    let text = text.trim();
    if text.len() > TEXT_MAX {
        return Err(HeadError::Length(text.len()));
    }
    if text.starts_with('{') {
        let file: HeadFile =
            serde_json::from_str(text).map_err(|error| HeadError::File(error.to_string()))?;
        if file.format != "sakshi-head" || file.version != 1 {
            let found = format!("format {:?}, version {}", file.format, file.version);
            return Err(HeadError::File(found));
        }
        return Ok(ExpectedHead {
            seq: file.seq,
            hash: file.hash.0.to_vec(),
            case: Some(file.case),
        });
    }
    let upper = text.to_ascii_uppercase();
    match upper
        .strip_prefix(QR_PREFIX)
        .and_then(|rest| rest.split_once(':'))
    {
        Some((case, code)) => Ok(ExpectedHead {
            case: Some(case.to_ascii_lowercase()),
            ..read_code(code)?
        }),
        None => read_code(&upper),
    }
}

/// Reads a head as a person gives it: what [`read_head`] takes, or the path of a checkpoint file.
pub fn read_expected(given: &str) -> Result<ExpectedHead, String> {
    let path = Path::new(given);
    if !path.is_file() {
        return read_head(given).map_err(|error| error.to_string());
    }
    let mut text = String::new();
    let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_string(&mut text))
        .map_err(|error| format!("{given}: {error}"))?;
    read_head(&text).map_err(|error| format!("{given}: {error}"))
}

fn read_code(text: &str) -> Result<ExpectedHead, HeadError> {
    let digits = text
        .chars()
        .filter(|sign| !matches!(sign, '-' | ' '))
        .map(|sign| digit(sign).ok_or(HeadError::Digit(sign)))
        .collect::<Result<Vec<u8>, _>>()?;
    if digits.len() != DATA_DIGITS + CHECK_DIGITS {
        return Err(HeadError::Length(digits.len()));
    }
    let high = PREFIX.iter().map(|byte| byte >> 5);
    let low = PREFIX.iter().map(|byte| byte & 31);
    let checked = high.chain([0]).chain(low).chain(digits.iter().copied());
    if polymod(checked) != CHECK_CONSTANT {
        return Err(HeadError::Check);
    }
    let (mut held, mut bits) = (0_u32, 0);
    let mut bytes = Vec::new();
    for digit in digits.iter().take(DATA_DIGITS) {
        held = (held << 5 | u32::from(*digit)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.extend(u8::try_from(held >> bits & 0xff));
        }
    }
    if held & ((1 << bits) - 1) != 0 {
        return Err(HeadError::Check);
    }
    let (number, hash) = bytes.split_at_checked(5).ok_or(HeadError::Check)?;
    let seq = number
        .iter()
        .fold(0, |seq, byte| seq << 8 | i64::from(*byte));
    debug_assert_eq!(hash.len(), HASH_BYTES);
    Ok(ExpectedHead {
        seq,
        hash: hash.to_vec(),
        case: None,
    })
}

fn digit(sign: char) -> Option<u8> {
    let sign = match sign.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    let at = DIGITS.iter().position(|digit| char::from(*digit) == sign)?;
    u8::try_from(at).ok()
}

/// BIP 173's check over values of five bits.
fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const TERMS: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let mut check = 1_u32;
    for value in values {
        let top = check >> 25;
        check = (check & 0x01ff_ffff) << 5 ^ u32::from(value);
        for (bit, term) in TERMS.iter().enumerate() {
            if top >> bit & 1 == 1 {
                check ^= term;
            }
        }
    }
    check
}

impl fmt::Display for ExpectedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}, hash ", self.seq)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.hash.len() < 32 { "…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "00000-00376-XJWVT-FS8X1-AXKMZ-0R87H-VJ8R4-Z25M7";
    const HASH: &str = "39bb2e6f4fca3a157674f83083c772461a2b9d1e67eafb74c5f347216206db2c";

    #[test]
    fn the_examples_of_the_format_are_read() {
        let head = read_head(CODE).unwrap();
        let Hex(hash): Hex<32> = serde_json::from_str(&format!("\"{HASH}\"")).unwrap();
        assert_eq!((head.seq, head.hash.as_slice()), (3, &hash[..16]));
        assert!(head.fits(&Hash::from_slice(&hash).unwrap()));
        assert!(!head.fits(&Hash::ZERO));
        let last = read_head("ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZWT-T82FG").unwrap();
        assert_eq!((last.seq, last.hash), ((1 << 40) - 1, vec![0xff; 16]));
    }

    #[test]
    fn a_code_may_be_typed_as_people_type() {
        let typed = CODE.to_lowercase().replace('0', "o").replace('1', "l");
        assert_eq!(read_head(&typed), read_head(CODE));
        assert_eq!(read_head(&CODE.replace('-', " ")), read_head(CODE));
        assert_eq!(
            read_head(&format!(" {}\n", CODE.replace('-', ""))),
            read_head(CODE)
        );
        let qr = read_head(&format!("SAKSHI-HEAD:1:00FF:{CODE}")).unwrap();
        assert_eq!(qr.case.as_deref(), Some("00ff"));
        assert_eq!(qr.seq, 3);
    }

    #[test]
    fn a_slip_is_told() {
        assert_eq!(
            read_head(&CODE.replace("376", "367")),
            Err(HeadError::Check)
        );
        assert_eq!(read_head("00000"), Err(HeadError::Length(5)));
        assert_eq!(
            read_head(&CODE.replace('X', "U")),
            Err(HeadError::Digit('U'))
        );
        assert!(matches!(read_head("{}"), Err(HeadError::File(_))));
    }

    #[test]
    fn a_checkpoint_file_is_read() {
        let text = format!(
            r#"{{"at":null,"case":"ab","code":null,"format":"sakshi-head","hash":"{HASH}","reason":"stop","seq":9,"version":1}}"#
        );
        let head = read_head(&text).unwrap();
        assert_eq!((head.seq, head.hash.len()), (9, 32));
        assert_eq!(head.case.as_deref(), Some("ab"));
        let other = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(read_head(&other), Err(HeadError::File(_))));
    }
}
