//! Blocks of pcapng that lie about their lengths, counts and order.

use super::{
    COULD_NOT, DONE, Place, check,
    made::{self, ENHANCED, INTERFACE, PACKETS, SECTION},
};

/// Section header and interface description.
const HEAD: usize = 28 + 20;
/// A packet's block.
const BLOCK: usize = 68;

/// Appends a hostile block to a good capture: the packets before count, and the damage is said.
fn damaged_by(block: &[u8], says: &[&str]) {
    let place = Place::new();
    let mut file = made::sample_pcapng();
    file.extend(block);
    // A packet after the damage, which must not be found by luck.
    file.extend(made::enhanced(made::START, &made::datagram(50_000)));
    let file = place.file("hostile.pcapng", file);
    let mut all = vec!["hostile.pcapng: byte 388, after packet 5: "];
    all.extend(says);
    let said = check(&mut place.try_inspect(&file), DONE, &all);
    assert_eq!(said.count("packets"), PACKETS as u64, "{}", said.stderr);
}

#[test]
fn the_good_part_is_as_long_as_the_tests_say() {
    assert_eq!(made::sample_pcapng().len(), HEAD + PACKETS * BLOCK);
}

#[test]
fn block_lengths_that_no_block_can_have_are_damage() {
    let body = made::enhanced_body(0, made::START, 36, &made::datagram(40_000));
    for kind in [SECTION, INTERFACE, ENHANCED] {
        for length in [0, 3, 8, 11, 13] {
            let says = format!("states a length of {length} bytes");
            let block = made::block_of_length(kind, length, &body, length);
            if kind == SECTION {
                // Its byte order comes first, so that its length can be read at all.
                let body = [made::section_body(1), body.clone()].concat();
                damaged_by(
                    &made::block_of_length(kind, length, &body, length),
                    &[&says],
                );
            } else {
                damaged_by(&block, &[&says, "compare its SHA-256"]);
            }
        }
    }
}

#[test]
fn block_lengths_beyond_any_memory_are_damage() {
    let body = made::enhanced_body(0, made::START, 36, &made::datagram(40_000));
    for length in [0xffff_fffc, 0xffff_ffff, 0x7fff_fffc] {
        damaged_by(&made::block_of_length(ENHANCED, length, &body, length), &[]);
        damaged_by(
            &made::block_of_length(INTERFACE, length, &body, length),
            &[],
        );
    }
    // A block of an unknown type is passed over at any length: to the end of the file.
    damaged_by(
        &made::block_of_length(0xbad, 0xffff_fffc, &body, 0xffff_fffc),
        &["the file ends within a record"],
    );
}

#[test]
fn a_trailing_length_that_differs_is_damage() {
    let body = made::enhanced_body(0, made::START, 36, &made::datagram(40_000));
    let length = u32::try_from(body.len() + 12).expect("short");
    damaged_by(
        &made::block_of_length(ENHANCED, length, &body, length + 4),
        &["a block begins with length 68 and ends with length 72"],
    );
}

#[test]
fn a_packet_longer_than_its_block_is_damage() {
    for captured in [37, 262_145, u32::MAX] {
        let body = made::enhanced_body(0, made::START, captured, &made::datagram(40_000));
        damaged_by(
            &made::block(ENHANCED, &body),
            &[&format!(
                "a packet of {captured} captured bytes does not fit its block"
            )],
        );
    }
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_is_damage() {
    for interface in [1, u32::MAX] {
        let body = made::enhanced_body(interface, made::START, 36, &made::datagram(40_000));
        let says = format!("a packet names interface {interface}");
        damaged_by(&made::block(ENHANCED, &body), &[&says]);
    }
}

#[test]
fn interfaces_without_end_are_damage() {
    // One is described already.
    let block = made::interface(65_535).repeat(65_536);
    let place = Place::new();
    let mut file = made::sample_pcapng();
    file.extend(block);
    let file = place.file("interfaces.pcapng", file);
    let says = ["a section describes more than 65536 interfaces"];
    let said = check(&mut place.try_inspect(&file), DONE, &says);
    assert_eq!(said.count("packets"), PACKETS as u64);
}

#[test]
fn a_section_of_no_byte_order_or_another_version_is_damage() {
    let mut body = made::section_body(1);
    body[..4].copy_from_slice(b"none");
    damaged_by(
        &made::block(SECTION, &body),
        &["a section has byte-order magic [6e, 6f, 6e, 65]"],
    );
    damaged_by(
        &made::block(SECTION, &made::section_body(9)),
        &["pcapng version 9; version 1 is known", "editcap"],
    );
}

#[test]
fn a_pcapng_cut_anywhere_counts_what_came_before() {
    let whole = made::sample_pcapng();
    let place = Place::new();
    let cuts = (0..whole.len())
        .step_by(7)
        .chain([27, 28, HEAD, HEAD + BLOCK]);
    for bytes in cuts {
        let file = place.file("cut.pcapng", &whole[..bytes]);
        // The section header must be there to its end.
        let code = if bytes < 28 { COULD_NOT } else { DONE };
        let said = check(&mut place.try_inspect(&file), code, &[]);
        let expected = bytes.saturating_sub(HEAD) / BLOCK;
        assert_eq!(said.count("packets"), expected as u64, "of {bytes} bytes");
        let between = bytes == 28 || (bytes >= HEAD && (bytes - HEAD).is_multiple_of(BLOCK));
        assert_eq!(said.stderr.is_empty(), between, "{bytes}: {}", said.stderr);
    }
}
