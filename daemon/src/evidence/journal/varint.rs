//! Integers of variable length: unsigned LEB128, as in DWARF and Protocol Buffers, and zigzag for
//! signed ones.
//!
//! Written here because it is twenty lines, and the crates for it bring traits and versions of
//! their own (decision 0072). In: integers. Out: 1 to 10 bytes, and back with strict checks.

/// Appends `value`, seven bits a byte, least first; the top bit tells that more follow.
pub(super) fn write(out: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed integer: 0, -1, 1, -2 … become 0, 1, 2, 3 ….
pub(super) fn write_signed(out: &mut Vec<u8>, value: i64) {
    write(
        out,
        (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(),
    );
}

/// Undoes the zigzag of [`write_signed`].
pub(super) const fn signed(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// What stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Varint {
    /// A value and its length in bytes.
    Value(u64, usize),
    /// The bytes end before the value does.
    Truncated,
    /// More than 64 bits, or a longer spelling than needed.
    Malformed,
}

/// Reads a value from the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Varint {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && bits > 1 {
            return Varint::Malformed;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let padded = *byte == 0 && index > 0;
            return if padded {
                Varint::Malformed
            } else {
                Varint::Value(value, index + 1)
            };
        }
    }
    if bytes.len() < 10 {
        Varint::Truncated
    } else {
        Varint::Malformed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_each() {
        for (bytes, expected) in [
            (&[0x00][..], Varint::Value(0, 1)),
            (&[0x80, 0x01], Varint::Value(128, 2)),
            (&[0x80, 0x00], Varint::Malformed),
            (&[0x80], Varint::Truncated),
            (&[], Varint::Truncated),
            (&[0xff; 10], Varint::Malformed),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Varint::Value(u64::MAX, 10),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                Varint::Malformed,
            ),
        ] {
            assert_eq!(read(bytes), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn reads_back(value in any::<u64>(), number in any::<i64>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert_eq!(read(&bytes), Varint::Value(value, bytes.len()));
            bytes.clear();
            write_signed(&mut bytes, number);
            let Varint::Value(zigzag, _) = read(&bytes) else { panic!() };
            prop_assert_eq!(signed(zigzag), number);
        }
    }
}
