//! The Huffman code of field values (RFC 7541 section 5.2 and appendix B).
//!
//! In: coded bytes. Out: the bytes that they stand for. The code is canonical: of each length the codes
//! follow each other, in the order of their bytes, so that lengths and order are all there is to keep.

use crate::name::Probe;

/// Codes of each length in bits. The last of the longest is the end of the string, which none may hold.
const COUNTS: [u16; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// Bytes in the order of their codes.
const BYTES: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57,
    61, 65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71,
    72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119,
    120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91,
    93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
    167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156,
    160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,
    135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174,
    175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225,
    236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242,
    243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252,
    253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 127, 220, 249, 10, 13, 22,
];

/// Bits of padding at most, all of them ones.
const PADDING_BITS_MAX: usize = 7;

/// Decodes; none where the code is broken.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    // The shortest code has five bits.
    let mut out = Vec::with_capacity(coded.len().saturating_mul(8) / 5);
    let mut code = Code::default();
    for byte in coded {
        for shift in (0..8).rev() {
            match code.bit(u32::from(byte >> shift & 1)) {
                Probe::Yes(byte) => out.push(byte),
                Probe::NotYet => {}
                Probe::No => return None,
            }
        }
    }
    let ones = (1_u32 << code.len.min(PADDING_BITS_MAX)) - 1;
    (code.len <= PADDING_BITS_MAX && code.value == ones).then_some(out)
}

/// A code as far as it was read.
#[derive(Debug, Default)]
struct Code {
    len: usize,
    value: u32,
    /// The first code of this length.
    first: u32,
    /// Codes that are shorter.
    shorter: u32,
}

impl Code {
    /// Takes a bit: the byte that the code stands for, where it ends with it; *no* where there is no such
    /// code.
    fn bit(&mut self, bit: u32) -> Probe<u8> {
        self.len += 1;
        self.value = self.value << 1 | bit;
        self.first <<= 1;
        let Some(count) = COUNTS.get(self.len).copied().map(u32::from) else {
            return Probe::No;
        };
        let place = self.value - self.first;
        if place < count {
            let at = usize::try_from(self.shorter + place).unwrap_or(usize::MAX);
            *self = Self::default();
            return BYTES.get(at).map_or(Probe::No, |byte| Probe::Yes(*byte));
        }
        self.first += count;
        self.shorter += count;
        Probe::NotYet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples() {
        // RFC 7541 appendices C.4.1, C.4.2, C.6.1.
        for (coded, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (b"", ""),
        ] {
            assert_eq!(decode(coded).as_deref(), Some(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_breaks_the_code_is_refused() {
        // Padding of zeros, padding of a whole byte, the end of the string.
        for coded in [&b"\x18"[..], b"\x1f\xff", b"\xff\xff\xff\xff"] {
            assert_eq!(decode(coded), None, "{}", coded.escape_ascii());
        }
    }

    #[test]
    fn each_byte_has_a_code() {
        let mut bytes = BYTES;
        bytes.sort_unstable();
        assert!((0..=255).eq(bytes));
        let codes: u16 = COUNTS.iter().sum();
        assert_eq!(codes, 257);
    }
}
