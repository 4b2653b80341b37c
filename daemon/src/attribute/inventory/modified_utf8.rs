//! Java's modified UTF-8, as `FastDataOutput` writes strings.
//!
//! In: the bytes of one string. Out: a Rust string, borrowed where the bytes are plain UTF-8 (all
//! but a few are). Modified UTF-8 differs in two points: U+0000 is `C0 80`, and a character beyond
//! the basic plane is a surrogate pair of three bytes each. Android writes such characters either
//! that way or as four bytes of plain UTF-8 (`FastDataOutput.obtainUsing4ByteSequences`); both are
//! read. Half a surrogate pair, which Java strings may hold and Rust's may not, becomes U+FFFD.

use std::borrow::Cow;

/// Offset of the first byte that is neither UTF-8 nor modified UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
}

/// Decodes one string.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => decode_slowly(bytes).map(Cow::Owned),
    }
}

fn decode_slowly(bytes: &[u8]) -> Result<String, Malformed> {
    let mut text = String::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (character, length) = one(rest).ok_or(Malformed { at })?;
        text.push(character);
        at += length;
    }
    Ok(text)
}

/// The first character and how many bytes it takes.
fn one(rest: &[u8]) -> Option<(char, usize)> {
    match *rest {
        [0xc0, 0x80, ..] => Some(('\0', 2)),
        [0xed, second @ 0xa0..=0xaf, third @ 0x80..=0xbf, ..] => {
            let high = surrogate(second, third);
            let Some([0xed, fourth @ 0xb0..=0xbf, fifth @ 0x80..=0xbf]) = rest.get(3..6) else {
                return Some((char::REPLACEMENT_CHARACTER, 3));
            };
            let low = surrogate(*fourth, *fifth);
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(code).map(|character| (character, 6))
        }
        [0xed, 0xb0..=0xbf, 0x80..=0xbf, ..] => Some((char::REPLACEMENT_CHARACTER, 3)),
        _ => plain(rest),
    }
}

/// The 16-bit unit that `ED second third` stands for.
fn surrogate(second: u8, third: u8) -> u32 {
    0xd000 | (u32::from(second & 0x3f) << 6) | u32::from(third & 0x3f)
}

/// The first character of plain UTF-8 and how many bytes it takes.
fn plain(rest: &[u8]) -> Option<(char, usize)> {
    (1..=4).find_map(|length| {
        let text = std::str::from_utf8(rest.get(..length)?).ok()?;
        text.chars().next().map(|character| (character, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_plain_text() {
        assert!(matches!(decode("ओप्पो".as_bytes()), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn reads_nul_and_both_forms_of_a_far_character() {
        assert_eq!(decode(b"a\xc0\x80b").unwrap(), "a\0b");
        assert_eq!(decode(b"\xed\xa0\xbd\xed\xb8\x80!").unwrap(), "\u{1f600}!");
        assert_eq!(decode(b"\xc0\x80\xf0\x9f\x98\x80").unwrap(), "\0\u{1f600}");
    }

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        assert_eq!(decode(b"\xed\xa0\xbdx").unwrap(), "\u{fffd}x");
        assert_eq!(decode(b"\xed\xb8\x80").unwrap(), "\u{fffd}");
    }

    #[test]
    fn says_where_it_is_malformed() {
        assert_eq!(decode(b"ab\xff"), Err(Malformed { at: 2 }));
        assert_eq!(decode(b"ab\xe0\xa4"), Err(Malformed { at: 2 }));
        assert_eq!(decode(b"\xc1\x80"), Err(Malformed { at: 0 }));
    }
}
