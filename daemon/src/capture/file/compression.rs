//! Compressed captures: gzip (several members) and zstd (several frames).
//!
//! In: a stream of bytes. Out: the same, or what it holds, told by its first four bytes. Memory
//! is bounded by the window that the decoders allow (32 KiB for gzip; ruzstd's own limit for
//! zstd, above which a frame is refused).

use std::{
    io::{self, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What is read from; a compressed capture within a compressed one is not opened.
type Source = Box<dyn Read + Send>;
/// The first bytes of a source, put back before the rest of it.
type Restored = io::Chain<Cursor<Vec<u8>>, Source>;

/// Counts the bytes that are read through it.
pub(super) struct Counting<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R> Counting<R> {
    pub(super) const fn new(reader: R, count: Arc<AtomicU64>) -> Self {
        Self { reader, count }
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buf)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens a stream: decompressed if it is compressed, else as it is.
pub(super) fn open(mut source: Source) -> io::Result<Source> {
    let mut head = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut head)?;
    let gzip = head.starts_with(&GZIP);
    let zstd = head == ZSTD || is_skippable(&head);
    let restored: Restored = Cursor::new(head).chain(source);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(restored))
    } else if zstd {
        Box::new(ZstdFrames::new(restored))
    } else {
        Box::new(restored)
    })
}

/// Whether a zstd stream begins with a skippable frame (RFC 8878, section 3.1.2).
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// The frames of a zstd stream, one after another; the library's own reader stops after one.
struct ZstdFrames {
    source: Restored,
    decoder: FrameDecoder,
    within: bool,
    /// Why the frame could not be decoded to its end; told when all before it was read.
    failure: Option<io::Error>,
}

impl ZstdFrames {
    fn new(source: Restored) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            within: false,
            failure: None,
        }
    }

    /// Decodes until there is something to read or the frame is over.
    fn decode(&mut self) -> io::Result<()> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let one_block = || BlockDecodingStrategy::UptoBlocks(1);
            if let Err(error) = self.decoder.decode_blocks(&mut self.source, one_block()) {
                // The decoder holds back a whole window until the frame ends: an empty last block
                // and any checksum end it, so that what is good of a cut frame can be read.
                let mut end: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
                let ended = self.decoder.decode_blocks(&mut end, one_block());
                let error = invalid(error);
                if ended.is_err() || self.failure.is_some() {
                    return Err(error);
                }
                self.failure = Some(error);
            }
        }
        Ok(())
    }

    /// Begins the next frame, skippable ones passed; false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let mut first = [0];
            if self.source.read(&mut first)? == 0 {
                return Ok(false);
            }
            let frame = Cursor::new(first).chain(&mut self.source);
            match self.decoder.init(frame) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut rest = self.source.by_ref().take(u64::from(length));
                    io::copy(&mut rest, &mut io::sink())?;
                }
                Err(error) => return Err(invalid(error)),
            }
        }
    }

    /// Compares the frame's checksum, if it has one, with that of what was decoded.
    fn check(&self) -> io::Result<()> {
        match (
            self.decoder.get_checksum_from_data(),
            self.decoder.get_calculated_checksum(),
        ) {
            (Some(stated), Some(found)) if stated != found => {
                Err(invalid("the checksum of a zstd frame is wrong"))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Read for ZstdFrames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.within = true;
            }
            self.decode()?;
            let read = self.decoder.read(buf)?;
            if read > 0 {
                return Ok(read);
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            self.check()?;
            self.within = false;
        }
    }
}
