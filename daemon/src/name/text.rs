//! Names as text, safe to print and to export.
//!
//! In: bytes as a message carried them. Out: lower-case text without a trailing dot; whatever is
//! not printable ASCII becomes `\DDD` (RFC 1035 section 5.1), so a name never holds a control
//! character, a space or a byte above 126.

use std::sync::Arc;

use smallvec::SmallVec;

/// Longest name that is accepted, in bytes before escaping (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 255;

/// A name of labels; `.` where there is none. A dot or a backslash inside a label is escaped with a
/// backslash.
pub(super) fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Arc<str> {
    let mut out = Vec::new();
    for label in labels {
        if !out.is_empty() {
            out.push(b'.');
        }
        push_label(&mut out, label);
    }
    if out.is_empty() {
        out.push(b'.');
    }
    text(&out)
}

fn push_label(out: &mut Vec<u8>, label: &[u8]) {
    for &byte in label {
        if byte == b'.' {
            out.push(b'\\');
        }
        push_escaped(out, byte.to_ascii_lowercase());
    }
}

/// What was written, as text: all of it is printable ASCII.
fn text(written: &[u8]) -> Arc<str> {
    std::str::from_utf8(written).unwrap_or_default().into()
}

/// A host name that a client wrote as text (SNI, `Host`); dots separate its labels.
///
/// One trailing dot is dropped. An empty name and one over [`NAME_BYTES_MAX`] are refused. The
/// 63-byte limit of a label is not applied: the client said it, resolvable or not.
pub(super) fn host_name(bytes: &[u8]) -> Option<Arc<str>> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut plain = Plain::default();
    let mut labels = bytes.split(|&byte| byte == b'.');
    if labels.all(|label| plain.push(label)) {
        return Some(plain.text());
    }
    let mut out = Vec::new();
    for byte in bytes {
        push_escaped(&mut out, byte.to_ascii_lowercase());
    }
    Some(text(&out))
}

/// Appends a short identifier that a peer chose (an ALPN), escaped like a name but its case kept.
pub(super) fn push_identifier(out: &mut SmallVec<[u8; 16]>, bytes: &[u8]) {
    for &byte in bytes {
        push_escaped(out, byte);
    }
}

/// Of each byte that host names are made of, and nothing escapes, what it is in lower case; of others 0.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            plain[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    plain
};

/// A name that is being written, label by label, as long as nothing in it is escaped: so are nearly all,
/// and they are whole before memory is asked for.
pub(super) struct Plain {
    /// A dot stands behind each label.
    bytes: [u8; NAME_BYTES_MAX + 1],
    len: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX + 1],
            len: 0,
        }
    }
}

impl Plain {
    /// Appends a label; false where it has something that is escaped, or there is no room.
    #[inline]
    pub(super) fn push(&mut self, label: &[u8]) -> bool {
        let end = self.len + label.len() + 1;
        let Some([place @ .., dot]) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        *dot = b'.';
        let mut is_plain = true;
        for (place, byte) in place.iter_mut().zip(label) {
            *place = PLAIN[usize::from(*byte)];
            is_plain &= *place != 0;
        }
        self.len = end;
        is_plain
    }

    /// The labels so far; `.` where there is none.
    pub(super) fn text(&self) -> Arc<str> {
        let end = self.len.checked_sub(1);
        text(end.and_then(|end| self.bytes.get(..end)).unwrap_or(b"."))
    }
}

#[inline]
fn push_escaped(out: &mut impl Extend<u8>, byte: u8) {
    let digit = |unit: u8| b'0' + byte / unit % 10;
    match byte {
        b'\\' => out.extend(*br"\\"),
        _ if byte.is_ascii_graphic() => out.extend([byte]),
        _ => out.extend([b'\\', digit(100), digit(10), digit(1)]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_is_not_printable() {
        let labels: [&[u8]; 2] = [b"A.b\\c\n\x00 \xff", b"D"];
        assert_eq!(
            &*of_labels(labels.into_iter()),
            r"a\.b\\c\010\000\032\255.d"
        );
        assert_eq!(&*of_labels(std::iter::empty()), ".");
    }

    #[test]
    fn host_names_lose_one_dot_and_their_case() {
        assert_eq!(host_name(b"Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(host_name(b"a..").as_deref(), Some("a."));
        assert_eq!(host_name(b"."), None);
        assert_eq!(host_name(b""), None);
        let longest = [b'a'; NAME_BYTES_MAX];
        assert_eq!(host_name(&longest).unwrap().as_bytes(), longest);
        assert_eq!(host_name(&[b'a'; NAME_BYTES_MAX + 1]), None);
    }

    proptest! {
        /// What is written at once is what is written byte by byte.
        #[test]
        fn a_name_is_written_as_its_bytes_are(
            labels in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(prop::sample::select(b"aZ9-_".to_vec()), 1..64),
                    prop::collection::vec(any::<u8>(), 1..64),
                ],
                0..9,
            ),
        ) {
            let mut out = Vec::new();
            for label in &labels {
                if !out.is_empty() {
                    out.push(b'.');
                }
                push_label(&mut out, label);
            }
            let expected = if labels.is_empty() { ".".into() } else { text(&out) };
            let written = of_labels(labels.iter().map(Vec::as_slice));
            prop_assert_eq!(&written, &expected);
            let mut plain = Plain::default();
            if labels.iter().all(|label| plain.push(label)) {
                prop_assert_eq!(plain.text(), expected);
            }
        }

        #[test]
        fn a_host_name_is_written_as_its_bytes_are(
            bytes in prop_oneof![
                prop::collection::vec(prop::sample::select(b"aZ9-_.".to_vec()), 1..256),
                prop::collection::vec(any::<u8>(), 1..256),
            ],
        ) {
            let kept = bytes.strip_suffix(b".").unwrap_or(&bytes);
            let mut out = Vec::new();
            for byte in kept {
                push_escaped(&mut out, byte.to_ascii_lowercase());
            }
            let expected = (!kept.is_empty()).then(|| text(&out));
            let written = host_name(&bytes);
            prop_assert_eq!(written, expected);
        }
    }
}
