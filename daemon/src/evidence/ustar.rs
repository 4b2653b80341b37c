//! Headers of a POSIX ustar archive (IEEE 1003.1, `pax`, "ustar Interchange Format").
//!
//! In: a path and a length. Out: the 512 bytes before a file's content. Nothing that differs from
//! one machine to another goes in: no time, no owner.

/// Bytes of a block: a header is one, and contents are filled up to whole ones.
pub const BLOCK: usize = 512;
/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The longest file that a header can tell, in bytes: eleven octal digits.
pub const FILE_BYTES_MAX: u64 = 0o777_7777_7777;

/// Fields: where they begin and how long they are.
const NAME: (usize, usize) = (0, 100);
const MODE: usize = 100;
const UID: usize = 108;
const GID: usize = 116;
const SIZE: usize = 124;
const TIME: usize = 136;
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const MAGIC: usize = 257;
const DEVICES: [usize; 2] = [329, 337];
const PREFIX: (usize, usize) = (345, 155);

/// The header of an ordinary file; none where the path or the length does not fit.
pub fn header(path: &str, bytes: u64) -> Option<[u8; BLOCK]> {
    let (prefix, name) = split(path)?;
    if bytes > FILE_BYTES_MAX {
        return None;
    }
    let mut header = [0; BLOCK];
    put(&mut header, NAME.0, name.as_bytes());
    put(&mut header, PREFIX.0, prefix.as_bytes());
    for (at, text) in [(MODE, "0000644"), (UID, "0000000"), (GID, "0000000")] {
        put(&mut header, at, text.as_bytes());
    }
    put(&mut header, SIZE, format!("{bytes:011o}").as_bytes());
    put(&mut header, TIME, b"00000000000");
    put(&mut header, TYPE, b"0");
    put(&mut header, MAGIC, b"ustar\x0000");
    for at in DEVICES {
        put(&mut header, at, b"0000000");
    }
    // Summed up as if the checksum itself were spaces.
    put(&mut header, CHECKSUM.0, &[b' '; CHECKSUM.1]);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, CHECKSUM.0, format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// Zero bytes behind a content of that length.
pub fn padding(bytes: u64) -> usize {
    // Less than a block, so it always fits.
    usize::try_from(bytes.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

fn put(header: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (to, from) in header.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// The path in its two fields; the first is empty where one is enough.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() {
        return None;
    }
    if path.len() <= NAME.1 {
        return Some(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| {
            !prefix.is_empty()
                && !name.is_empty()
                && prefix.len() <= PREFIX.1
                && name.len() <= NAME.1
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_where_both_parts_fit() {
        let long = "n".repeat(NAME.1);
        assert_eq!(split("case/a"), Some(("", "case/a")));
        let path = format!("case/session-1/{long}");
        assert_eq!(split(&path), Some(("case/session-1", long.as_str())));
        for path in [
            String::new(),
            format!("case/{long}n"),
            format!("{}/n", "p".repeat(156)),
        ] {
            assert_eq!(split(&path), None, "{path}");
        }
        assert!(header("case/a", FILE_BYTES_MAX).is_some());
        assert!(header("case/a", FILE_BYTES_MAX + 1).is_none());
        assert_eq!([0, 1, 511, 512].map(padding), [0, 511, 1, 0]);
    }
}
