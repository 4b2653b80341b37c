//! Reads the one form of archive that a bundle has: POSIX ustar (IEEE 1003.1) of ordinary files.
//!
//! In: bytes of any origin, as a stream. Out: entries and their contents, or the first thing that is
//! not as the format says. Every byte of a header is compared, so that a bundle has one spelling;
//! links, folders, paths that lead out, and whatever else tar can do are refused.

use std::io::{self, Read};

use crate::files::stays_inside;

/// Bytes of a block: a header is one, and contents are filled up to whole ones.
pub const BLOCK: usize = 512;
/// Longest name and prefix of a path, in bytes.
const NAME_MAX: usize = 100;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Why an archive ends to be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not as the format says.
    #[error("at offset {offset}: {what}")]
    Flaw {
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(io::Error),
    /// What was read cannot be written elsewhere.
    #[error(transparent)]
    Write(io::Error),
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Archive<R> {
    source: R,
    offset: u64,
    /// Bytes of the current entry's content, and of its filling, that were not read yet.
    left: u64,
    filling: usize,
}

impl<R: Read> Archive<R> {
    /// An archive from its first byte.
    pub fn new(source: R) -> Self {
        Self {
            source,
            offset: 0,
            left: 0,
            filling: 0,
        }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; what is left of the one before is passed over. None at the end, behind which
    /// nothing may follow.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.content(&mut |_| Ok(()))?;
        let header = self.block()?;
        if header == [0; BLOCK] {
            if self.block()? != [0; BLOCK] {
                return Err(self.flaw("one block of zeros is not followed by another"));
            }
            return match self.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(self.flaw("bytes follow its end")),
            };
        }
        let entry = read_header(&header).map_err(|what| self.flaw(what))?;
        self.left = entry.bytes;
        // Less than a block, so it always fits.
        self.filling = usize::try_from(entry.bytes.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        Ok(Some(entry))
    }

    /// Gives the content of the current entry, piece by piece.
    pub fn content(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        let mut chunk = vec![0; if self.left == 0 { 0 } else { CHUNK }];
        while self.left > 0 {
            let wanted = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            let read = self.read(chunk.get_mut(..wanted).unwrap_or_default())?;
            if read == 0 {
                return Err(self.flaw("it ends within a file"));
            }
            self.left -= read as u64;
            take(chunk.get(..read).unwrap_or_default()).map_err(ArchiveError::Write)?;
        }
        let mut filling = [0; BLOCK];
        let filling = filling.get_mut(..self.filling).unwrap_or_default();
        self.filling = 0;
        self.exactly(filling)?;
        if filling.iter().any(|byte| *byte != 0) {
            return Err(self.flaw("the filling behind a file is not zero"));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        Ok(block)
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        let mut done = 0;
        while done < bytes.len() {
            let read = self.read(bytes.get_mut(done..).unwrap_or_default())?;
            if read == 0 {
                return Err(self.flaw("it ends too early"));
            }
            done += read;
        }
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.source.read(bytes) {
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
    }

    fn flaw(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Flaw {
            offset: self.offset,
            what,
        }
    }
}

/// Reads a header; the error says what is wrong. Each byte has one value that is right.
pub fn read_header(header: &[u8; BLOCK]) -> Result<Entry, &'static str> {
    let field = |at: usize, length: usize| header.get(at..at + length).unwrap_or_default();
    for (at, expected, what) in [
        (100, &b"0000644\0"[..], "a file's mode is not 0644"),
        (108, b"0000000\0", "a file's owner is not 0"),
        (116, b"0000000\0", "a file's group is not 0"),
        (136, b"00000000000\0", "a file's time is not 0"),
        (156, b"0", "an entry is no ordinary file"),
        (157, &[0; 100], "a file is a link"),
        (257, b"ustar\x0000", "it is no POSIX ustar archive"),
        (265, &[0; 64], "a file has names of owner or group"),
        (329, b"0000000\x000000000\0", "a file has device numbers"),
        (500, &[0; 12], "a header has bytes behind its last field"),
    ] {
        if field(at, expected.len()) != expected {
            return Err(what);
        }
    }
    let spaces = [b' '; 8];
    let summed = field(0, 148).iter().chain(&spaces).chain(field(156, 356));
    let sum: u32 = summed.map(|byte| u32::from(*byte)).sum();
    if field(148, 8) != format!("{sum:06o}\0 ").as_bytes() {
        return Err("a header's checksum is wrong");
    }
    let bytes = octal(field(124, 12)).ok_or("a file's length is no octal number")?;
    let name = text(field(0, NAME_MAX)).ok_or("a file's name is not text")?;
    let prefix = text(field(345, 155)).ok_or("a file's name is not text")?;
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    };
    if !stays_inside(&path) || path.chars().any(char::is_control) {
        return Err("a file's name leads out of the archive");
    }
    // One spelling of a long path: split at the first slash behind which the rest fits.
    let split = (path.len() > NAME_MAX)
        .then(|| {
            let mut slashes = path.match_indices('/').map(|(at, _)| at);
            slashes.find(|at| path.len() - at - 1 <= NAME_MAX)
        })
        .flatten();
    if split.unwrap_or(0) != prefix.len() {
        return Err("a file's name is split elsewhere than it should be");
    }
    Ok(Entry { path, bytes })
}

/// Text that ends at the first zero byte, behind which all are zero.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| *byte == 0);
    let (text, rest) = field.split_at(end.unwrap_or(field.len()));
    let text = std::str::from_utf8(text).ok()?;
    rest.iter().all(|byte| *byte == 0).then_some(text)
}

/// Eleven octal digits and a zero byte.
fn octal(field: &[u8]) -> Option<u64> {
    let (0, digits) = field.split_last()? else {
        return None;
    };
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'7' => Some(number << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}
