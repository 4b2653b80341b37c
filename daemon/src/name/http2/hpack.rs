//! Compressed fields (RFC 7541), as far as they say where a request goes.
//!
//! In: the blocks of a connection in their order. Out: the few fields that are asked for. Of the others
//! only the sizes are kept, which say when an entry leaves the table.

use std::collections::VecDeque;

use super::{super::bytes::Reader, huffman};

/// Bytes that the table may have, by the RFC's count: what each side allows before anything else was
/// agreed. The fields of a client that takes more are not followed.
const TABLE_BYTES_MAX: usize = 4096;
/// Bytes that an entry counts for beside its name and value (RFC 7541 section 4.1).
const ENTRY_BYTES: usize = 32;
/// Entries of the static table (RFC 7541 appendix A).
const STATIC_ENTRIES: usize = STATIC_NAME_BYTES.len();

/// A field that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `:authority`.
    Authority,
    /// `:method`.
    Method,
    /// `host`.
    Host,
    /// None of them.
    Other,
}

impl Field {
    fn of_name(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b"host" => Self::Host,
            _ => Self::Other,
        }
    }

    /// The name of an entry of the static table.
    const fn of_index(index: usize) -> Self {
        match index {
            1 => Self::Authority,
            2 | 3 => Self::Method,
            38 => Self::Host,
            _ => Self::Other,
        }
    }
}

/// Bytes of the names in the static table.
const STATIC_NAME_BYTES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];

/// An entry of the table: of a field that nobody asks for only what it counts for.
#[derive(Debug, Clone)]
struct Entry {
    field: Field,
    name_bytes: u16,
    value_bytes: u16,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        usize::from(self.name_bytes) + usize::from(self.value_bytes) + ENTRY_BYTES
    }
}

/// What the fields of a connection so far leave to those that follow.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            size_max: TABLE_BYTES_MAX,
        }
    }
}

/// Fields of a block.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Those that are asked for, in their order.
    pub(super) known: Vec<(Field, Vec<u8>)>,
    /// Whether the whole block was read.
    pub(super) whole: bool,
}

/// A name as a field refers to it: which it is and how long.
type Name = (Field, usize);
/// What a step of a block says: a field that is asked for, or nothing.
type Said = Option<(Field, Vec<u8>)>;

impl Table {
    /// Reads a block, as far as it can be.
    pub(super) fn read(&mut self, block: &[u8]) -> Fields {
        let mut fields = Fields::default();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let Some(read) = self.field(&mut reader) else {
                return fields;
            };
            fields.known.extend(read);
        }
        fields.whole = true;
        fields
    }

    /// Reads a field, or a change of the table's size (RFC 7541 section 6); none where it cannot be read.
    fn field(&mut self, reader: &mut Reader<'_>) -> Option<Said> {
        let first = *reader.rest().first()?;
        if first >= 0x80 {
            let index = integer(reader, 7)?;
            return self.indexed(index);
        }
        if (0x20..0x40).contains(&first) {
            let size = integer(reader, 5)?;
            if size > TABLE_BYTES_MAX {
                return None;
            }
            self.size_max = size;
            self.evict(0);
            return Some(None);
        }
        let enters = first >= 0x40;
        let index = integer(reader, if enters { 6 } else { 4 })?;
        let (field, name_bytes) = if index == 0 {
            let name = string(reader)?;
            (Field::of_name(&name), name.len())
        } else {
            self.name(index)?
        };
        let value = string(reader)?;
        if enters {
            self.enter((field, name_bytes), &value);
        }
        Some((field != Field::Other).then_some((field, value)))
    }

    /// A field that an entry holds, name and value.
    fn indexed(&self, index: usize) -> Option<Said> {
        let Some(at) = index.checked_sub(STATIC_ENTRIES + 1) else {
            return match index {
                0 => None,
                2 => Some(Some((Field::Method, b"GET".to_vec()))),
                3 => Some(Some((Field::Method, b"POST".to_vec()))),
                // Of the others none with a value is asked for.
                _ => Some(None),
            };
        };
        let entry = self.entries.get(at)?;
        let known = entry.field != Field::Other;
        Some(known.then(|| (entry.field, entry.value.to_vec())))
    }

    /// The name that an entry holds.
    fn name(&self, index: usize) -> Option<Name> {
        let Some(at) = index.checked_sub(STATIC_ENTRIES + 1) else {
            let len = STATIC_NAME_BYTES.get(index.checked_sub(1)?)?;
            return Some((Field::of_index(index), usize::from(*len)));
        };
        let entry = self.entries.get(at)?;
        Some((entry.field, usize::from(entry.name_bytes)))
    }

    /// Puts a field into the table; one that is larger than the table empties it (section 4.4).
    fn enter(&mut self, (field, name_bytes): Name, value: &[u8]) {
        let size = name_bytes + value.len() + ENTRY_BYTES;
        self.evict(size);
        let (Ok(name_bytes), Ok(value_bytes)) =
            (u16::try_from(name_bytes), u16::try_from(value.len()))
        else {
            return;
        };
        if size > self.size_max {
            return;
        }
        let keeps = field != Field::Other;
        self.size += size;
        self.entries.push_front(Entry {
            field,
            name_bytes,
            value_bytes,
            value: if keeps { value.into() } else { Box::default() },
        });
    }

    /// Makes room for so many bytes.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.size_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

/// An integer behind a prefix of so many bits (RFC 7541 section 5.1); none beyond what a block can hold.
fn integer(reader: &mut Reader<'_>, prefix: u8) -> Option<usize> {
    let mask = u8::MAX >> (8 - prefix);
    let first = reader.u8().ok()? & mask;
    let mut value = usize::from(first);
    if first < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = reader.u8().ok()?;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A text (RFC 7541 section 5.2).
fn string(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let coded = *reader.rest().first()? & 0x80 != 0;
    let len = integer(reader, 7)?;
    let bytes = reader.take(len).ok()?;
    if coded {
        huffman::decode(bytes)
    } else {
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &mut Table, block: &[u8]) -> Vec<(Field, String)> {
        let fields = table.read(block);
        assert!(fields.whole, "{}", block.escape_ascii());
        let text = |(field, value)| (field, String::from_utf8(value).unwrap());
        fields.known.into_iter().map(text).collect()
    }

    /// RFC 7541 appendix C.4: three requests, coded.
    #[test]
    fn the_rfcs_requests() {
        let mut table = Table::default();
        let said = vec![
            (Field::Method, "GET".to_owned()),
            (Field::Authority, "www.example.com".to_owned()),
        ];
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(read(&mut table, first), said);
        assert_eq!(table.size, 57);
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        assert_eq!(read(&mut table, second), said);
        assert_eq!(table.size, 110);
        let third = b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\
            \x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
        assert_eq!(read(&mut table, third), said);
        assert_eq!((table.size, table.entries.len()), (164, 3));
    }

    #[test]
    fn the_table_gives_up_its_oldest() {
        let mut table = Table::default();
        read(&mut table, b"\x41\x09a.example");
        assert_eq!(table.size, 51);
        // A size of 52: the entry stays, a further one takes its place.
        read(&mut table, b"\x3f\x15");
        assert_eq!(table.entries.len(), 1);
        read(&mut table, b"\x40\x01x\x01y");
        assert_eq!((table.entries.len(), table.size), (1, 34));
        assert!(!table.read(b"\xbf").whole, "the oldest is gone");
        read(&mut table, b"\x20");
        assert_eq!((table.entries.len(), table.size), (0, 0));
    }

    #[test]
    fn what_cannot_be_followed_ends_the_reading() {
        for block in [
            &b"\x80"[..],
            b"\xbe",
            b"\x41\x0fwww",
            b"\x3f\xff\xff\xff\xff\x0f",
            b"\x41\x81\x18",
            b"\x3f\xe2\x1f",
        ] {
            let fields = Table::default().read(&[b"\x82", block].concat());
            assert!(!fields.whole, "{}", block.escape_ascii());
            assert_eq!(fields.known.len(), 1, "what stands before it was said");
        }
    }
}
