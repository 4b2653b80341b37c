//! Reads from an ELF file what decides whether a phone can load it.
//!
//! In: the bytes of a 64-bit little-endian file (System V ABI, chapters 4 and 5). Out: its machine,
//! its interpreter, the libraries and the symbols that it wants, how its segments are aligned. Any
//! bytes are an answer or an error that says what is wrong; nothing is read outside the file.

use std::fmt;

/// Machine number of arm64.
pub const AARCH64: u16 = 183;

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;
const DYNAMIC: usize = 16;
const PT_LOAD: u64 = 1;
const PT_INTERP: u64 = 3;
const SHT_DYNAMIC: u64 = 6;
const SHT_DYNSYM: u64 = 11;
const DT_NEEDED: u64 = 1;
const STB_WEAK: u64 = 2;
/// Names longer than this are cut.
const NAME_MAX: usize = 4096;

/// What an ELF file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// For which machine it is.
    pub machine: u16,
    /// The dynamic linker that it asks for.
    pub interpreter: Option<String>,
    /// The smallest alignment of a loaded segment, in bytes.
    pub page: u64,
    /// The libraries that it wants, in its order.
    pub needed: Vec<String>,
    /// The symbols that it wants and cannot do without, sorted.
    pub imports: Vec<String>,
    /// The symbols that it offers, sorted.
    pub exports: Vec<String>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin as a 64-bit little-endian ELF file.
    NotElf,
    /// It ends before something that it announces.
    Short {
        /// What should be there.
        what: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not a 64-bit little-endian ELF file"),
            Self::Short { what } => write!(f, "the file ends before its {what}"),
        }
    }
}

/// A table of equal entries.
struct Table<'a> {
    bytes: &'a [u8],
    entry: usize,
}

impl<'a> Table<'a> {
    fn entries(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.entry)
    }
}

/// Reads a file.
pub fn read(file: &[u8]) -> Result<Elf, Malformed> {
    if !file.starts_with(MAGIC) {
        return Err(Malformed::NotElf);
    }
    let header = Malformed::Short { what: "header" };
    let machine = number(file, 18, 2).ok_or(header)?;
    let programs = table(file, (32, 56), PROGRAM_HEADER, "program headers")?;
    let sections = table(file, (40, 60), SECTION_HEADER, "section headers")?;
    let mut elf = Elf {
        machine: u16::try_from(machine).unwrap_or_default(),
        interpreter: None,
        page: u64::MAX,
        needed: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
    };
    for program in programs.entries() {
        elf.take_program(file, program)?;
    }
    for section in sections.entries() {
        elf.take_section(file, section, &sections)?;
    }
    elf.imports.sort_unstable();
    elf.exports.sort_unstable();
    Ok(elf)
}

impl Elf {
    fn take_program(&mut self, file: &[u8], program: &[u8]) -> Result<(), Malformed> {
        let what = "program header";
        let short = Malformed::Short { what };
        match number(program, 0, 4).ok_or(short)? {
            PT_LOAD => {
                let alignment = number(program, 48, 8).ok_or(short)?;
                self.page = self.page.min(alignment);
            }
            PT_INTERP => {
                let bytes = part(file, program, (8, 32)).ok_or(short)?;
                self.interpreter = Some(name(bytes, 0));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_section(
        &mut self,
        file: &[u8],
        section: &[u8],
        sections: &Table<'_>,
    ) -> Result<(), Malformed> {
        let what = "dynamic sections";
        let short = Malformed::Short { what };
        let kind = number(section, 4, 4).ok_or(short)?;
        if kind != SHT_DYNAMIC && kind != SHT_DYNSYM {
            return Ok(());
        }
        let bytes = part(file, section, (24, 32)).ok_or(short)?;
        let link = index(section, 40, 4).ok_or(short)?;
        let names = sections.entries().nth(link).ok_or(short)?;
        let names = part(file, names, (24, 32)).ok_or(short)?;
        if kind == SHT_DYNAMIC {
            self.take_dynamic(bytes, names);
        } else {
            self.take_symbols(bytes, names);
        }
        Ok(())
    }

    fn take_dynamic(&mut self, bytes: &[u8], names: &[u8]) {
        for entry in bytes.chunks_exact(DYNAMIC) {
            if let (Some(DT_NEEDED), Some(at)) = (number(entry, 0, 8), index(entry, 8, 8)) {
                self.needed.push(name(names, at));
            }
        }
    }

    fn take_symbols(&mut self, bytes: &[u8], names: &[u8]) {
        for symbol in bytes.chunks_exact(SYMBOL) {
            let (Some(at), Some(info), Some(section)) = (
                index(symbol, 0, 4),
                number(symbol, 4, 1),
                number(symbol, 6, 2),
            ) else {
                continue; // Cannot be: the entry is whole.
            };
            let name = name(names, at);
            if name.is_empty() {
                continue; // The entry that every table begins with.
            }
            if section != 0 {
                self.exports.push(name);
            } else if info >> 4 != STB_WEAK {
                self.imports.push(name);
            }
        }
    }
}

/// A table whose place and number of entries stand in the file's header.
fn table<'a>(
    file: &'a [u8],
    (place, count): (usize, usize),
    entry: usize,
    what: &'static str,
) -> Result<Table<'a>, Malformed> {
    let bytes = index(file, place, 8).zip(index(file, count, 2));
    let bytes = bytes.and_then(|(start, count)| {
        let length = count.checked_mul(entry)?;
        file.get(start..start.checked_add(length)?)
    });
    let bytes = bytes.ok_or(Malformed::Short { what })?;
    Ok(Table { bytes, entry })
}

/// The part of the file whose place and size stand in a header.
fn part<'a>(file: &'a [u8], header: &[u8], (place, size): (usize, usize)) -> Option<&'a [u8]> {
    let (start, size) = (index(header, place, 8)?, index(header, size, 8)?);
    file.get(start..start.checked_add(size)?)
}

/// A name that ends with a zero.
fn name(names: &[u8], at: usize) -> String {
    let bytes = names.get(at..).unwrap_or_default();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name.get(..NAME_MAX).unwrap_or(name)).into_owned()
}

/// A little-endian number of at most 8 bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

fn index(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    usize::try_from(number(bytes, at, length)?).ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A field: where it is, its value, its length.
    fn put(file: &mut [u8], at: usize, value: usize, length: usize) {
        let bytes = value.to_le_bytes();
        file[at..at + length].copy_from_slice(&bytes[..length]);
    }

    /// A small program: one segment, an interpreter, a needed library, an import, a weak import
    /// and an export.
    pub fn sample() -> Vec<u8> {
        const NAMES: &[u8] = b"\0libc.so\0abort\0maybe\0start\0";
        const INTERPRETER: &[u8] = b"/system/bin/linker64\0";
        let programs = 64;
        let sections = programs + 2 * PROGRAM_HEADER;
        let names = sections + 3 * SECTION_HEADER;
        let interpreter = names + NAMES.len();
        let dynamic = interpreter + INTERPRETER.len();
        let symbols = dynamic + DYNAMIC;
        let mut file = vec![0; symbols + 4 * SYMBOL];
        file[..6].copy_from_slice(MAGIC);
        put(&mut file, 18, AARCH64.into(), 2);
        put(&mut file, 32, programs, 8);
        put(&mut file, 56, 2, 2);
        put(&mut file, 40, sections, 8);
        put(&mut file, 60, 3, 2);
        put(&mut file, programs, 1, 4);
        put(&mut file, programs + 48, 16_384, 8);
        let second = programs + PROGRAM_HEADER;
        put(&mut file, second, 3, 4);
        put(&mut file, second + 8, interpreter, 8);
        put(&mut file, second + 32, INTERPRETER.len(), 8);
        let parts = [
            (0, names, NAMES.len()),
            (6, dynamic, DYNAMIC),
            (11, symbols, 4 * SYMBOL),
        ];
        for (number, (kind, place, size)) in parts.into_iter().enumerate() {
            let section = sections + number * SECTION_HEADER;
            put(&mut file, section + 4, kind, 4);
            put(&mut file, section + 24, place, 8);
            put(&mut file, section + 32, size, 8);
        }
        file[names..interpreter].copy_from_slice(NAMES);
        file[interpreter..dynamic].copy_from_slice(INTERPRETER);
        put(&mut file, dynamic, 1, 8);
        put(&mut file, dynamic + 8, 1, 8);
        // (name, binding and type, section): entry 0 stays empty.
        for (number, (at, info, section)) in [(9, 0x12, 0), (15, 0x22, 0), (21, 0x12, 7)]
            .into_iter()
            .enumerate()
        {
            let symbol = symbols + (number + 1) * SYMBOL;
            put(&mut file, symbol, at, 4);
            put(&mut file, symbol + 4, info, 1);
            put(&mut file, symbol + 6, section, 2);
        }
        file
    }

    #[test]
    fn reads_what_a_phone_asks_for() {
        let elf = read(&sample()).expect("an ELF file");
        assert_eq!(elf.machine, AARCH64);
        assert_eq!(elf.interpreter.as_deref(), Some("/system/bin/linker64"));
        assert_eq!(elf.page, 16_384);
        assert_eq!(elf.needed, ["libc.so"]);
        assert_eq!(elf.imports, ["abort"], "a weak one may be absent");
        assert_eq!(elf.exports, ["start"]);
    }

    #[test]
    fn reads_a_program_of_this_machine() {
        let me = std::fs::read(std::env::current_exe().expect("a path")).expect("a file");
        let elf = read(&me).expect("an ELF file");
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.so")));
        assert!(elf.imports.iter().any(|name| name == "write"));
    }

    #[test]
    fn every_shorter_file_is_an_answer_or_an_error() {
        let whole = sample();
        let short = (0..whole.len())
            .filter(|length| read(&whole[..*length]).is_err())
            .count();
        assert_eq!(short, whole.len(), "nothing at the end can be missed");
        assert_eq!(read(b"#!/bin/sh"), Err(Malformed::NotElf));
    }

    #[test]
    fn a_flipped_byte_does_no_harm() {
        let whole = sample();
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] = !file[at];
            drop(read(&file));
        }
    }
}
