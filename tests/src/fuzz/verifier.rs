//! Targets of the verifier: what it reads of strangers, and that it reads as the daemon does.

use std::path::Path;

use sakshi::evidence::{canonical::is_canonical, journal::read_block};
use sakshi_verifier::{
    Verification,
    bundle::archive::{Archive, BLOCK},
    count_block, read_head, verify_bundle,
};

/// An archive, read to its end or to its first flaw; then as a whole bundle, which no mutation of
/// one can be.
pub(super) fn bundle(data: &[u8]) {
    let mut archive = Archive::new(data);
    let mut bytes = 0;
    while let Ok(Some(entry)) = archive.next_entry() {
        assert!(!entry.path.starts_with('/') && !entry.path.split('/').any(|part| part == ".."));
        bytes += entry.bytes;
        assert!(archive.offset() <= data.len() as u64);
    }
    assert!(bytes <= data.len() as u64 || archive.offset() == data.len() as u64);
    if data.len() < 3 * BLOCK {
        return;
    }
    let whole = verify_bundle(data, Path::new("bundle"), 0, None, &mut |_| ());
    assert!(matches!(whole, Ok(Verification::Damaged(_)) | Err(_)));
}

/// A head as a person gives it: a slip, or one that reads back the same.
pub(super) fn head(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match read_head(&text) {
        Ok(head) => {
            assert!(matches!(head.hash.len(), 16 | 32));
            assert_eq!(read_head(&text), Ok(head));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Two readings of what is canonical.
pub(super) fn canonical(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(
            sakshi_verifier::is_canonical(text),
            is_canonical(text),
            "{text}"
        );
    }
}

/// Two readings of a journal block. The verifier takes events whose names it does not know, so what
/// the daemon reads is what must be counted alike.
pub(super) fn journal(data: &[u8]) {
    let counted = count_block(data);
    if let Ok(block) = read_block(data) {
        let counted = counted.expect("counted, since it is read");
        assert_eq!(counted.inputs, block.found.inputs);
        assert_eq!(counted.packets, block.found.packets);
        assert_eq!(counted.raw_len, block.found.raw_len);
    }
}
