//! The lines of a text file, with where each begins.
//!
//! In: bytes. Out: numbered lines without their line end.

use super::problem::Position;

/// The lines of `bytes`, split at LF; a CR before it is taken off, and so is a byte order mark.
pub(super) fn numbered(bytes: &[u8]) -> impl Iterator<Item = (Position, &[u8])> {
    let mut byte = 0_u64;
    let mut line = 0_u64;
    bytes
        .split(|&byte| byte == b'\n')
        .map(move |content| {
            line += 1;
            let at = Position {
                byte,
                line: Some(line),
            };
            byte += content.len() as u64 + 1;
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            (at, content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content))
        })
        .filter(|(_, content)| !content.is_empty())
}
