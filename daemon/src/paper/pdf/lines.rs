//! Text broken into lines of a width.
//!
//! In: runs. Out: lines of shaped words. A word that is longer than a line, such as a hash, is broken
//! between its letters. Lengths are thousandths of a point.

use super::shape::{Fonts, Shaped, may_break_before};
use crate::paper::form::Run;

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Size in points.
    pub(super) size: i32,
    /// Whether it is bold.
    pub(super) bold: bool,
}

impl Style {
    /// From one line to the next: marks above and below Devanagari letters need room.
    pub(super) const fn leading(self) -> i32 {
        self.size * 1_450
    }
}

/// A word in its place.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) x: i32,
    pub(super) width: i32,
    pub(super) parts: Vec<Shaped>,
    /// Whether it is part of a blank that a person must fill in.
    pub(super) blank: bool,
}

/// A line.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(super) words: Vec<Placed>,
    pub(super) width: i32,
}

/// Begins what is to be filled in.
const UNDERLINE: &str = "____________";

/// Breaks runs into lines; at least one.
pub(super) fn lines(fonts: &mut Fonts, runs: &[Run], style: Style, width: i32) -> Vec<Line> {
    let mut breaker = Breaker {
        style,
        width,
        space: word_width(&fonts.shape(" ", style.bold), style),
        done: Vec::new(),
        line: Line::default(),
    };
    for run in runs {
        let (text, blank) = match run {
            Run::Break => {
                breaker.done.push(std::mem::take(&mut breaker.line));
                continue;
            }
            Run::Text(text) => (fonts.printable(text), false),
            Run::Blank(hint) => (format!("{UNDERLINE}({})", fonts.printable(hint)), true),
        };
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            breaker.word(fonts, &word.replace('\u{a0}', " "), blank);
        }
    }
    breaker.done.push(breaker.line);
    breaker.done
}

fn word_width(parts: &[Shaped], style: Style) -> i32 {
    parts
        .iter()
        .fold(0_i32, |sum, part| sum.saturating_add(part.width))
        .saturating_mul(style.size)
}

struct Breaker {
    style: Style,
    width: i32,
    space: i32,
    done: Vec<Line>,
    line: Line,
}

impl Breaker {
    fn word(&mut self, fonts: &mut Fonts, word: &str, blank: bool) {
        let parts = fonts.shape(word, self.style.bold);
        let width = word_width(&parts, self.style);
        let gap = if self.line.words.is_empty() {
            0
        } else {
            self.space
        };
        if self.line.width + gap + width <= self.width {
            self.place(gap, width, parts, blank);
            return;
        }
        if !self.line.words.is_empty() {
            self.done.push(std::mem::take(&mut self.line));
        }
        if width <= self.width {
            self.place(0, width, parts, blank);
            return;
        }
        for piece in self.pieces(fonts, word) {
            if !self.line.words.is_empty() {
                self.done.push(std::mem::take(&mut self.line));
            }
            let parts = fonts.shape(&piece, self.style.bold);
            let width = word_width(&parts, self.style);
            self.place(0, width, parts, blank);
        }
    }

    fn place(&mut self, gap: i32, width: i32, parts: Vec<Shaped>, blank: bool) {
        let x = self.line.width + gap;
        self.line.width = x.saturating_add(width);
        self.line.words.push(Placed {
            x,
            width,
            parts,
            blank,
        });
    }

    /// A word in pieces that each fit into a line, as far as its letters do.
    fn pieces(&self, fonts: &mut Fonts, word: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut piece = String::new();
        let mut width = 0;
        for cluster in clusters(word) {
            let of_it = word_width(&fonts.shape(&cluster, self.style.bold), self.style);
            if !piece.is_empty() && width + of_it > self.width {
                pieces.push(std::mem::take(&mut piece));
                width = 0;
            }
            piece.push_str(&cluster);
            width += of_it;
        }
        pieces.push(piece);
        pieces
    }
}

/// What is drawn as one, piece by piece.
fn clusters(word: &str) -> Vec<String> {
    let mut clusters: Vec<String> = Vec::new();
    let mut before = None;
    for letter in word.chars() {
        match (before, clusters.last_mut()) {
            (Some(before), Some(last)) if !may_break_before(before, letter) => last.push(letter),
            _ => clusters.push(letter.to_string()),
        }
        before = Some(letter);
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conjunct_is_not_torn() {
        assert_eq!(clusters("क्षत्रिय"), ["क्ष", "त्रि", "य"]);
        assert_eq!(clusters("a1"), ["a", "1"]);
    }

    #[test]
    fn no_line_is_wider_than_its_room() {
        let mut fonts = Fonts::load().unwrap();
        let style = Style {
            size: 8,
            bold: false,
        };
        let hash = "0f".repeat(32);
        let width = 100_000;
        for text in [
            hash.as_str(),
            "क्षत्रिय",
            "the quick brown fox jumps over the lazy dog",
        ] {
            let text = Run::Text(format!("{text} {text}"));
            let broken = lines(&mut fonts, &[text], style, width);
            assert!(
                broken
                    .iter()
                    .all(|line| line.width <= width && line.width > 0)
            );
        }
    }
}
