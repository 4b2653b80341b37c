//! A bounded window on a stream of bytes.
//!
//! In: any [`Read`]. Out: the next `n` bytes, or how many there are. No more than
//! [`WINDOW_BYTES_MAX`] are looked at together; whoever asks for more gets [`Short::TooLong`].

use std::io::{self, Read};

/// Most bytes that can be looked at together: the largest pcapng block that is parsed.
pub(super) const WINDOW_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes asked of the reader at once, in most cases: few calls, and little of a processor's second cache.
const READ_BYTES: usize = 128 * 1024;
/// What is read begins where a page does: the kernel copies from pages, and faster to one.
const PAGE_BYTES: usize = 4096;
/// Room before that for what was left of the read before, as a rule the beginning of a record.
const LEFT_BYTES: usize = 64 * 1024;

/// Why fewer bytes are there than asked for.
#[derive(Debug)]
pub(super) enum Short {
    /// The stream ended, and nothing was left.
    End,
    /// The stream ended too early.
    Truncated,
    /// More than [`WINDOW_BYTES_MAX`] bytes were asked for.
    TooLong,
    /// The reader failed.
    Failed(io::Error),
}

/// Bytes read but not consumed yet.
pub(super) struct Window<R> {
    reader: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    consumed: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            consumed: 0,
        }
    }

    /// Offset of the window's first byte in the stream.
    pub(super) const fn offset(&self) -> u64 {
        self.consumed
    }

    /// What was read and is not consumed.
    pub(super) fn held(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The next `n` bytes.
    #[inline]
    pub(super) fn peek(&mut self, n: usize) -> Result<&[u8], Short> {
        if self.end - self.start < n {
            self.gather(n)?;
        }
        Ok(self
            .bytes
            .get(self.start..self.start + n)
            .unwrap_or_default())
    }

    /// Reads on until `n` bytes are there.
    #[cold]
    fn gather(&mut self, n: usize) -> Result<(), Short> {
        if n > WINDOW_BYTES_MAX {
            return Err(Short::TooLong);
        }
        while self.end - self.start < n {
            if self.fill(n)? == 0 {
                return Err(if self.start == self.end {
                    Short::End
                } else {
                    Short::Truncated
                });
            }
        }
        Ok(())
    }

    /// The next `N` bytes, as an array.
    pub(super) fn peek_array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let bytes = self.peek(N)?;
        Ok(*bytes.first_chunk().ok_or(Short::Truncated)?)
    }

    /// Drops `n` bytes that were peeked at.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.consumed += n as u64;
    }

    /// Drops `n` bytes of any number, reading on where needed.
    pub(super) fn skip(&mut self, n: u64) -> Result<(), Short> {
        let mut left = n;
        while left > 0 {
            if self.start == self.end && self.fill(1)? == 0 {
                return Err(Short::Truncated);
            }
            let step = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.end - self.start);
            self.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    /// Reads more behind what is there, making room for `n` bytes in all.
    fn fill(&mut self, n: usize) -> Result<usize, Short> {
        let held = self.end - self.start;
        if self.bytes.len() - self.end < PAGE_BYTES || self.start + n > self.bytes.len() {
            let before = held.next_multiple_of(LEFT_BYTES).max(LEFT_BYTES);
            let behind = READ_BYTES.max((n - held).next_multiple_of(LEFT_BYTES));
            let room = before + PAGE_BYTES + behind;
            if room > self.bytes.len() {
                self.bytes.resize(room, 0);
            }
            let to_page = self.bytes.as_ptr().align_offset(PAGE_BYTES) % PAGE_BYTES;
            let place = before + to_page;
            self.bytes.copy_within(self.start..self.end, place - held);
            (self.start, self.end) = (place - held, place);
        }
        // Whole pages, so that the next read begins at one too, in the file and here.
        let whole = (self.bytes.len() - self.end) / PAGE_BYTES * PAGE_BYTES;
        let free = self.bytes.get_mut(self.end..self.end + whole);
        let free = free.unwrap_or_default();
        loop {
            match self.reader.read(free) {
                Ok(read) => {
                    let read = read.min(free.len());
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Short::Failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives so many bytes at a time, in turns.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.turn % self.sizes.len()];
            self.turn += 1;
            let left = &self.bytes[self.at..];
            let n = size.min(into.len()).min(left.len());
            into[..n].copy_from_slice(&left[..n]);
            self.at += n;
            Ok(n)
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Look at so many bytes and take them.
        Take(usize),
        /// Look at so many bytes and take a part of them.
        Peek(usize, usize),
        Skip(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let small = 0..3_000_usize;
        let large = 0..200_000_usize;
        let step = prop_oneof![
            8 => small.clone().prop_map(Step::Take),
            1 => large.clone().prop_map(Step::Take),
            2 => (small, 0..3_000_usize).prop_map(|(n, part)| Step::Peek(n, part.min(n))),
            1 => (large.clone(), 0..200_000_usize).prop_map(|(n, part)| Step::Peek(n, part.min(n))),
            1 => large.prop_map(Step::Skip),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_are_those_of_the_stream_however_they_come(
            len in 0..600_000_usize,
            sizes in proptest::collection::vec(
                prop_oneof![1..10_usize, 1_000..70_000_usize, Just(usize::MAX)],
                1..4,
            ),
            steps in steps(),
        ) {
            let bytes: Vec<u8> = (0..=250_u8).chain(0..=240).cycle().take(len).collect();
            // A reader of single bytes would be asked a million times.
            prop_assume!(sizes.iter().max().is_some_and(|size| *size >= 1_000));
            let mut window = Window::new(Pieces { bytes: bytes.clone(), at: 0, sizes, turn: 0 });
            let mut at = 0;
            for step in steps {
                let (n, part) = match step {
                    Step::Take(n) => (n, n),
                    Step::Peek(n, part) => (n, part),
                    Step::Skip(n) => {
                        if window.skip(n as u64).is_err() {
                            prop_assert!(at + n > len);
                            return Ok(());
                        }
                        at += n;
                        prop_assert_eq!(window.offset(), at as u64);
                        continue;
                    }
                };
                match window.peek(n) {
                    Ok(seen) => prop_assert!(seen == &bytes[at..at + n], "{} bytes at {}", n, at),
                    Err(Short::End) => {
                        prop_assert_eq!(at, len);
                        return Ok(());
                    }
                    Err(_) => {
                        prop_assert!(at + n > len);
                        return Ok(());
                    }
                }
                window.consume(part);
                at += part;
                prop_assert_eq!(window.offset(), at as u64);
            }
        }
    }
}
