//! Names as text, safe to print and to export.
//!
//! In: bytes as a message carried them. Out: lower-case text without a trailing dot; whatever is
//! not printable ASCII becomes `\DDD` (RFC 1035 section 5.1), so a name never holds a control
//! character, a space or a byte above 126.

use std::io::Write as _;

/// Longest name that is accepted, in bytes before escaping (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 255;

/// Appends one DNS label; a dot or a backslash inside it is escaped with a backslash.
pub(super) fn push_label(out: &mut Vec<u8>, label: &[u8]) {
    for &byte in label {
        if byte == b'.' {
            out.push(b'\\');
        }
        push_escaped(out, byte.to_ascii_lowercase());
    }
}

/// What was appended, as text: all of it is printable ASCII.
pub(super) fn text(escaped: Vec<u8>) -> String {
    String::from_utf8(escaped).unwrap_or_default()
}

/// A host name that a client wrote as text (SNI, `Host`); dots separate its labels.
///
/// One trailing dot is dropped. An empty name and one over [`NAME_BYTES_MAX`] are refused. The
/// 63-byte limit of a label is not applied: the client said it, resolvable or not.
pub(super) fn host_name(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        push_escaped(&mut out, byte.to_ascii_lowercase());
    }
    Some(text(out))
}

/// A short identifier that a peer chose (an ALPN), escaped like a name but its case kept.
pub(super) fn identifier(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        push_escaped(&mut out, byte);
    }
    text(out)
}

#[inline]
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\\' => out.extend_from_slice(br"\\"),
        _ if byte.is_ascii_graphic() => out.push(byte),
        // Writing to a vector can't fail.
        _ => drop(write!(out, "\\{byte:03}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_is_not_printable() {
        let mut out = Vec::new();
        push_label(&mut out, b"A.b\\c\n\x00 \xff");
        assert_eq!(text(out), r"a\.b\\c\010\000\032\255");
    }

    #[test]
    fn host_names_lose_one_dot_and_their_case() {
        assert_eq!(host_name(b"Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(host_name(b"a..").as_deref(), Some("a."));
        assert_eq!(host_name(b"."), None);
        assert_eq!(host_name(b""), None);
        assert_eq!(host_name(&[b'a'; NAME_BYTES_MAX + 1]), None);
    }
}
