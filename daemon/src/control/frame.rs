//! The answer of `sakshi control --stdio`, as it comes through a pipe that may break anywhere.
//!
//! In: what a command wrote. Out, and on the PC in again: one line that says when and as whom it
//! ran, its output in chunks, and a last line with the exit code and the hash of the whole output.
//! What stands before the first line is not ours (a shell's complaint); without the last line the
//! pipe has broken.

use std::io::{self, BufRead, Read as _, Write};

use crate::evidence::Hash;

/// Begins an answer. A new version has another number.
const MAGIC: &str = "sakshi-answer-1";
/// Longest line of an answer, in bytes; a longer one is no answer.
const LINE_MAX: u64 = 256;
/// Longest chunk, in bytes; a longer one is no answer.
pub const CHUNK_MAX: usize = 64 * 1024;
/// Bytes of foreign text before an answer that are kept; the rest is passed over.
pub const FOREIGN_MAX: usize = 4 * 1024;

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The handset's clock when the command was started, in nanoseconds since the Unix epoch.
    pub at_nanos: i64,
    /// The effective UID.
    pub uid: u32,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Exit code; 255 where a signal ended the command.
    pub code: u8,
    /// Bytes of its whole output, those that were skipped included.
    pub bytes: u64,
    /// SHA-256 of its whole output.
    pub sha256: Hash,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// When and as whom it runs.
    Opening(Opening),
    /// A piece of its standard output.
    Out(Vec<u8>),
    /// A piece of its standard error.
    Err(Vec<u8>),
    /// It has ended.
    Ending(Ending),
}

impl Frame {
    /// Writes it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            // A shell's complaint need not end with a line break.
            Self::Opening(opening) => {
                writeln!(out, "\n{MAGIC} {} {}", opening.at_nanos, opening.uid)
            }
            Self::Out(bytes) => chunk(out, "out", bytes),
            Self::Err(bytes) => chunk(out, "err", bytes),
            Self::Ending(ending) => writeln!(
                out,
                "end {} {} {}",
                ending.code, ending.bytes, ending.sha256
            ),
        }
    }
}

fn chunk(out: &mut dyn Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    writeln!(out, "{name} {}", bytes.len())?;
    out.write_all(bytes)
}

/// Reads an answer.
#[derive(Debug)]
pub struct Frames<R> {
    from: R,
    opened: bool,
    ended: bool,
    foreign: Vec<u8>,
}

impl<R: BufRead> Frames<R> {
    /// Of a pipe.
    pub const fn new(from: R) -> Self {
        Self {
            from,
            opened: false,
            ended: false,
            foreign: Vec::new(),
        }
    }

    /// What stood before the answer, in clean text.
    pub fn foreign(&self) -> String {
        String::from_utf8_lossy(&self.foreign).trim().to_owned()
    }

    /// The next part; none at the end, behind the last line, and where the pipe has broken.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        while !self.ended {
            let mut line = Vec::new();
            let read = (&mut self.from)
                .take(LINE_MAX)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if !self.opened {
                if let Some(opening) = opening(&line) {
                    self.opened = true;
                    return Ok(Some(Frame::Opening(opening)));
                }
                let room = FOREIGN_MAX.saturating_sub(self.foreign.len());
                self.foreign.extend(line.iter().take(room));
                continue;
            }
            return self.part(&line);
        }
        Ok(None)
    }

    fn part(&mut self, line: &[u8]) -> io::Result<Option<Frame>> {
        if line.last() != Some(&b'\n') {
            return Ok(None); // Broken within the line.
        }
        let text = std::str::from_utf8(line).map_err(|_| not_ours())?;
        let mut words = text.split_ascii_whitespace();
        let (name, number) = (words.next(), words.next());
        let number: u64 = number
            .and_then(|word| word.parse().ok())
            .ok_or_else(not_ours)?;
        match name {
            Some(name @ ("out" | "err")) => {
                let Some(length) = usize::try_from(number).ok().filter(|n| *n <= CHUNK_MAX) else {
                    return Err(not_ours());
                };
                let mut bytes = Vec::with_capacity(length);
                (&mut self.from).take(number).read_to_end(&mut bytes)?;
                if bytes.len() < length {
                    return Ok(None); // Broken within the chunk.
                }
                Ok(Some(if name == "out" {
                    Frame::Out(bytes)
                } else {
                    Frame::Err(bytes)
                }))
            }
            Some("end") => {
                let ending = ending(number, words).ok_or_else(not_ours)?;
                self.ended = true;
                Ok(Some(Frame::Ending(ending)))
            }
            _ => Err(not_ours()),
        }
    }
}

fn opening(line: &[u8]) -> Option<Opening> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = text.strip_prefix(MAGIC)?.split_ascii_whitespace();
    Some(Opening {
        at_nanos: words.next()?.parse().ok()?,
        uid: words.next()?.parse().ok()?,
    })
}

fn ending<'a>(code: u64, mut words: impl Iterator<Item = &'a str>) -> Option<Ending> {
    Some(Ending {
        code: u8::try_from(code).ok()?,
        bytes: words.next()?.parse().ok()?,
        sha256: words.next()?.parse().ok()?,
    })
}

fn not_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what came through adb is no answer of this version; push the program again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = b"su: warning without a line break".to_vec();
        for frame in frames {
            frame.write(&mut bytes).unwrap();
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Frame>, String) {
        let mut frames = Frames::new(bytes);
        let mut all = Vec::new();
        while let Ok(Some(frame)) = frames.next_frame() {
            all.push(frame);
        }
        (all, frames.foreign())
    }

    fn sample() -> Vec<Frame> {
        vec![
            Frame::Opening(Opening {
                at_nanos: 1_796_000_000_000_000_000,
                uid: 0,
            }),
            Frame::Out(b"end 0 0\nsakshi-answer-1 1 1\n".to_vec()),
            Frame::Err(Vec::new()),
            Frame::Out(vec![0, 255, 10]),
            Frame::Ending(Ending {
                code: 4,
                bytes: 31,
                sha256: Hash::of(b"x"),
            }),
        ]
    }

    #[test]
    fn what_is_written_is_read_behind_foreign_text() {
        let mut bytes = written(&sample());
        bytes.extend_from_slice(b"trailing noise");
        assert_eq!(
            read(&bytes),
            (sample(), "su: warning without a line break".to_owned())
        );
    }

    #[test]
    fn a_pipe_that_breaks_anywhere_has_no_ending() {
        let bytes = written(&sample());
        for cut in 0..bytes.len() {
            let (frames, _) = read(&bytes[..cut]);
            assert!(
                !frames.iter().any(|frame| matches!(frame, Frame::Ending(_))),
                "cut at {cut}"
            );
            assert!(sample().starts_with(&frames), "cut at {cut}");
        }
    }
}
