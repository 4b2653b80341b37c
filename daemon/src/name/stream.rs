//! One direction of a TCP stream, as far as somebody still wants to read it.
//!
//! In: segments in any order, repeated, overlapping, cut by the capture. Out: a [`Front`]: the bytes
//! that come next, and what is behind them. Who reads is asked again when more is there and says how
//! many bytes it is done with; a reader that comes later reads the same front, nothing is copied for
//! it. While segments come in order and are read at once, nothing is kept and nothing allocated.
//!
//! Where segments contradict each other, the byte that was seen first stands. Bytes that were on the
//! wire and not captured (a packet longer than what was copied of it) are a hole, told as such.

/// How far ahead of the next byte segments are kept; one that begins further on is passed over. The
/// longest that is read as a whole is a DNS message over TCP, 65,537 bytes.
pub const WINDOW_BYTES: u32 = 66 * 1024;
/// Stretches that are kept apart of one direction; a segment that would make one more is passed
/// over, and the stream counted as given up.
pub const SPANS_MAX: usize = 32;

/// What follows the bytes of a [`Front`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// More may come.
    Open,
    /// Bytes that were not captured, or will not come: nothing that follows can be joined to this.
    Hole,
}

/// What a reader is shown of a stream: its next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// What follows them.
    pub end: End,
}

impl Front<'_> {
    /// The same without the first `len` bytes; an empty one where it has fewer.
    #[must_use]
    pub fn after(self, len: usize) -> Self {
        Self {
            bytes: self.bytes.get(len..).unwrap_or_default(),
            end: self.end,
        }
    }

    /// Whether no further byte can be joined to these.
    pub fn is_last(&self) -> bool {
        self.end == End::Hole
    }
}

/// A segment's payload and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// The bytes that were captured: the first of them.
    pub bytes: &'a [u8],
}

/// What became of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It holds nothing new that is wanted; nothing has changed.
    Nothing,
    /// It is kept.
    Kept,
    /// There are too many stretches already.
    TooMany,
}

/// A stretch that was seen, in bytes from the next one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u32,
    to: u32,
    hole: bool,
}

/// Bytes that wait.
#[derive(Debug, Clone, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// In order, none empty; two that touch are one, unless one is a hole.
    spans: Vec<Span>,
}

/// One direction of a stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    next: u32,
    kept: Option<Box<Kept>>,
}

/// How far `seq` is ahead of `from`, in the arithmetic of RFC 9293 section 3.4; negative: behind.
fn ahead(seq: u32, from: u32) -> i64 {
    i64::from(seq.wrapping_sub(from).cast_signed())
}

impl Stream {
    /// A stream whose next byte has this sequence number.
    pub const fn at(next: u32) -> Self {
        Self { next, kept: None }
    }

    /// Sequence number of the next byte that is wanted.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Bytes of memory that it holds for segments.
    pub fn held(&self) -> usize {
        self.kept
            .as_ref()
            .map_or(0, |kept| kept.bytes.capacity() + size_of::<Kept>())
    }

    /// Whether anything waits.
    pub const fn is_waiting(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether its front fills the window: who reads it waits for more than is kept.
    pub fn is_full(&self) -> bool {
        self.kept.is_some() && self.front().bytes.len() >= index(WINDOW_BYTES)
    }

    /// The front that a segment makes by itself, where nothing waits and it holds the next byte.
    pub fn direct<'a>(&self, piece: Piece<'a>) -> Option<Front<'a>> {
        if self.kept.is_some() {
            return None;
        }
        let behind = -ahead(piece.seq, self.next);
        if !(0..i64::from(piece.wire_len)).contains(&behind) {
            return None;
        }
        let whole = u32::try_from(piece.bytes.len()).is_ok_and(|len| len >= piece.wire_len);
        let from = usize::try_from(behind).ok()?;
        Some(Front {
            bytes: piece.bytes.get(from..).unwrap_or_default(),
            end: if whole { End::Open } else { End::Hole },
        })
    }

    /// The front of what is kept.
    pub fn front(&self) -> Front<'_> {
        let nothing = Front {
            bytes: &[],
            end: End::Open,
        };
        let Some(kept) = &self.kept else {
            return nothing;
        };
        let from_start = kept.spans.first().filter(|span| span.from == 0);
        let Some(first) = from_start else {
            return nothing;
        };
        if first.hole {
            return Front {
                bytes: &[],
                end: End::Hole,
            };
        }
        let followed = kept.spans.get(1);
        let hole = followed.is_some_and(|span| span.hole && span.from == first.to);
        Front {
            bytes: kept.bytes.get(..index(first.to)).unwrap_or_default(),
            end: if hole { End::Hole } else { End::Open },
        }
    }

    /// Keeps what is new in a segment.
    pub fn push(&mut self, piece: Piece<'_>) -> Pushed {
        let start = ahead(piece.seq, self.next);
        let end = (start + i64::from(piece.wire_len)).min(i64::from(WINDOW_BYTES));
        let from = start.max(0);
        if from >= end {
            return Pushed::Nothing;
        }
        let captured = start + i64::try_from(piece.bytes.len()).unwrap_or(i64::MAX);
        let captured = captured.clamp(from, end);
        let (Ok(from), Ok(to), Ok(middle), Ok(skipped)) = (
            u32::try_from(from),
            u32::try_from(end),
            u32::try_from(captured),
            usize::try_from(from - start),
        ) else {
            return Pushed::Nothing;
        };
        let kept = self.kept.get_or_insert_default();
        let bytes = piece.bytes.get(skipped..).unwrap_or_default();
        let one = kept.add(from, middle, Some(bytes));
        let other = kept.add(middle, to, None);
        if kept.spans.is_empty() {
            self.kept = None;
        }
        match (one, other) {
            (Pushed::TooMany, _) | (_, Pushed::TooMany) => Pushed::TooMany,
            (Pushed::Nothing, Pushed::Nothing) => Pushed::Nothing,
            _ => Pushed::Kept,
        }
    }

    /// Passes over `len` bytes, those that have not come included.
    pub fn take(&mut self, len: u32) {
        self.next = self.next.wrapping_add(len);
        let Some(kept) = &mut self.kept else {
            return;
        };
        kept.spans.retain_mut(|span| {
            span.from = span.from.saturating_sub(len);
            span.to = span.to.saturating_sub(len);
            span.to > 0
        });
        if kept.spans.is_empty() {
            self.kept = None;
        } else {
            let gone = index(len).min(kept.bytes.len());
            kept.bytes.drain(..gone);
        }
    }

    /// Begins `len` bytes earlier: the first segment that was seen was not the first one.
    pub fn begin_earlier(&mut self, len: u32) {
        self.next = self.next.wrapping_sub(len);
        if let Some(kept) = &mut self.kept {
            kept.bytes.splice(..0, std::iter::repeat_n(0, index(len)));
            for span in &mut kept.spans {
                span.from = span.from.saturating_add(len);
                span.to = span.to.saturating_add(len);
            }
        }
    }

    /// Gives back what is kept.
    pub fn forget(&mut self) {
        self.kept = None;
    }
}

impl Kept {
    /// Adds what no span covers of a stretch; a hole where there are no bytes.
    fn add(&mut self, from: u32, to: u32, bytes: Option<&[u8]>) -> Pushed {
        let mut at = from;
        let mut changed = Pushed::Nothing;
        while at < to {
            let next = self.spans.partition_point(|span| span.to <= at);
            let (clear_to, resume) = match self.spans.get(next) {
                Some(span) if span.from <= at => {
                    at = span.to;
                    continue;
                }
                Some(span) => (span.from.min(to), span.to),
                None => (to, to),
            };
            let hole = bytes.is_none();
            if !self.insert(
                next,
                Span {
                    from: at,
                    to: clear_to,
                    hole,
                },
            ) {
                return Pushed::TooMany;
            }
            if let Some(bytes) = bytes {
                let fresh = bytes
                    .get(index(at - from)..index(clear_to - from))
                    .unwrap_or_default();
                self.write(at, fresh);
            }
            changed = Pushed::Kept;
            at = resume.max(clear_to);
        }
        changed
    }

    /// Puts a span before the one at `next`; false when there is no room for it.
    fn insert(&mut self, next: usize, span: Span) -> bool {
        let joins = |other: &Span| other.hole == span.hole;
        let before = next.checked_sub(1).and_then(|at| self.spans.get(at));
        let left = before.is_some_and(|other| joins(other) && other.to == span.from);
        let right = self
            .spans
            .get(next)
            .is_some_and(|other| joins(other) && other.from == span.to);
        match (left, right) {
            (true, true) => {
                let joined = self.spans.remove(next);
                self.widen(next - 1, |other| other.to = joined.to);
            }
            (true, false) => self.widen(next - 1, |other| other.to = span.to),
            (false, true) => self.widen(next, |other| other.from = span.from),
            (false, false) if self.spans.len() >= SPANS_MAX => return false,
            (false, false) => self.spans.insert(next, span),
        }
        true
    }

    fn widen(&mut self, at: usize, change: impl FnOnce(&mut Span)) {
        if let Some(span) = self.spans.get_mut(at) {
            change(span);
        }
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let (from, to) = (index(at), index(at).saturating_add(bytes.len()));
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        if let Some(place) = self.bytes.get_mut(from..to) {
            place.copy_from_slice(bytes);
        }
    }
}

/// An offset within the window as an index.
fn index(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(seq: u32, bytes: &[u8]) -> Piece<'_> {
        Piece {
            seq,
            wire_len: u32::try_from(bytes.len()).unwrap(),
            bytes,
        }
    }

    #[test]
    fn order_does_not_matter_and_the_first_byte_stands() {
        let mut stream = Stream::at(u32::MAX - 1);
        assert_eq!(stream.push(piece(3, b"fgh")), Pushed::Kept);
        assert_eq!(stream.front().bytes, b"");
        assert_eq!(stream.push(piece(1, b"DEX")), Pushed::Kept);
        assert_eq!(stream.push(piece(u32::MAX - 3, b"..abcYZ")), Pushed::Kept);
        assert_eq!(stream.front().bytes, b"abcDEfgh");
        assert_eq!(
            stream.push(piece(u32::MAX - 1, b"........")),
            Pushed::Nothing
        );
        stream.take(3);
        assert_eq!((stream.next(), stream.front().bytes), (1, &b"DEfgh"[..]));
        stream.take(5);
        assert_eq!((stream.next(), stream.held()), (6, 0));
    }

    #[test]
    fn what_was_not_captured_is_a_hole() {
        let mut stream = Stream::at(10);
        let cut = Piece {
            seq: 10,
            wire_len: 6,
            bytes: b"ab",
        };
        assert_eq!(
            stream.direct(cut).map(|front| (front.bytes, front.end)),
            Some((&b"ab"[..], End::Hole))
        );
        assert_eq!(stream.push(cut), Pushed::Kept);
        assert_eq!(stream.push(piece(16, b"gh")), Pushed::Kept);
        assert_eq!(
            (stream.front().bytes, stream.front().end),
            (&b"ab"[..], End::Hole)
        );
        stream.take(6);
        assert_eq!(
            (stream.front().bytes, stream.front().end),
            (&b"gh"[..], End::Open)
        );
    }

    #[test]
    fn a_stream_joined_late_may_begin_earlier() {
        let mut stream = Stream::at(20);
        stream.push(piece(20, b"cd"));
        stream.begin_earlier(2);
        stream.push(piece(18, b"ab"));
        assert_eq!(stream.front().bytes, b"abcd");
    }

    #[test]
    fn stretches_and_bytes_are_bounded() {
        let mut stream = Stream::at(0);
        for at in 1..=u32::try_from(SPANS_MAX).unwrap() {
            assert_eq!(stream.push(piece(at * 2, b"x")), Pushed::Kept);
        }
        assert_eq!(stream.push(piece(1_000, b"x")), Pushed::TooMany);
        assert_eq!(stream.push(piece(WINDOW_BYTES, b"x")), Pushed::Nothing);
        assert_eq!(stream.push(piece(3, b"x")), Pushed::Kept, "it joins two");
    }
}
