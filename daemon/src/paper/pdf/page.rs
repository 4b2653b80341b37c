//! Pieces of a form laid out on pages.
//!
//! In: pieces in order. Out: a content stream for each page. Lengths are thousandths of a point, from
//! the left and from the bottom.

use pdf_writer::{Content, Finish as _, Name, Str, TextStr};

use super::{
    lines::{Line, Style, lines},
    shape::{Fonts, Shaped},
};
use crate::paper::form::{Piece, Run, text};

/// A4 (ISO 216): 210 mm × 297 mm.
pub(super) const PAGE: (i32, i32) = (595_276, 841_890);
/// Room at the left and right.
const SIDE: i32 = 56_000;
/// Room above and below.
const EDGE: i32 = 54_000;
/// Where the foot stands.
const FOOT: i32 = 30_000;
/// Width of the text.
const WIDTH: i32 = PAGE.0 - 2 * SIDE;
/// Width of a field's label, and the room behind it.
const LABEL: (i32, i32) = (150_000, 8_000);
/// Room between the columns of a table.
const GUTTER: i32 = 8_000;

const TITLE: Style = Style {
    size: 13,
    bold: true,
};
const HEADING: Style = Style {
    size: 11,
    bold: true,
};
const BODY: Style = Style {
    size: 10,
    bold: false,
};
const STRONG: Style = Style {
    size: 10,
    bold: true,
};
const SMALL: Style = Style {
    size: 8,
    bold: false,
};
const SMALL_STRONG: Style = Style {
    size: 8,
    bold: true,
};

/// What is behind a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// To be filled in by a person: yellow.
    Blank,
    /// To be looked at: grey.
    Flag,
}

/// Pages on their way.
pub(super) struct Pages<'a> {
    fonts: &'a mut Fonts,
    done: Vec<Content>,
    now: Content,
    /// The bottom of what was laid out last.
    y: i32,
}

impl<'a> Pages<'a> {
    pub(super) fn new(fonts: &'a mut Fonts) -> Self {
        Self {
            fonts,
            done: Vec::new(),
            now: Content::new(),
            y: PAGE.1 - EDGE,
        }
    }

    pub(super) fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Title(said) => {
                for line in self.lines(&text(said), TITLE, WIDTH) {
                    self.room(TITLE.leading());
                    let x = SIDE + (WIDTH - line.width) / 2;
                    self.line(&line, x, TITLE);
                }
            }
            Piece::Heading(said) => {
                self.keep(4 * BODY.leading() + HEADING.leading());
                self.y -= BODY.leading() / 2;
                self.block(&text(said), HEADING, None);
            }
            Piece::Paragraph(runs) => {
                self.y -= BODY.leading() / 6;
                self.block(runs, BODY, None);
            }
            Piece::Flag(said) => {
                self.block(&text(said), STRONG, Some(Ground::Flag));
            }
            Piece::Field(label, runs) => self.field(label, runs),
            Piece::Ticks(boxes, open) => {
                let mut runs: Vec<Run> = Vec::new();
                for (ticked, label) in boxes {
                    let mark = if *ticked { "[x]" } else { "[  ]" };
                    // A box is not torn off its label.
                    let joined = format!("{mark} {label}").replace(' ', "\u{a0}");
                    runs.push(Run::Text(format!("{joined}\u{a0}\u{a0}")));
                }
                let ground = open.then_some(Ground::Blank);
                self.block(&runs, BODY, ground);
            }
            Piece::Table { head, shares, rows } => self.table(head, shares, rows),
            Piece::NewPage => self.new_page(),
        }
    }

    /// The pages, each with its foot.
    pub(super) fn finish(mut self, foot: &str) -> Vec<Content> {
        let last = std::mem::replace(&mut self.now, Content::new());
        let mut pages = std::mem::take(&mut self.done);
        pages.push(last);
        let count = pages.len();
        let mut finished = Vec::with_capacity(count);
        for (at, page) in pages.into_iter().enumerate() {
            self.now = page;
            self.y = FOOT + SMALL.leading();
            let said = format!("{foot} \u{b7} {} / {count}", at + 1);
            if let Some(line) = self.lines(&text(said), SMALL, WIDTH).first() {
                self.line(line, SIDE, SMALL);
            }
            finished.push(std::mem::replace(&mut self.now, Content::new()));
        }
        finished
    }

    fn lines(&mut self, runs: &[Run], style: Style, width: i32) -> Vec<Line> {
        lines(self.fonts, runs, style, width)
    }

    fn new_page(&mut self) {
        if self.y < PAGE.1 - EDGE {
            self.done
                .push(std::mem::replace(&mut self.now, Content::new()));
            self.y = PAGE.1 - EDGE;
        }
    }

    /// Begins a new page where `height` does not fit on this one.
    fn room(&mut self, height: i32) {
        if self.y - height < EDGE {
            self.new_page();
        }
    }

    /// The same for things that are to stay together, as far as a page can hold them.
    fn keep(&mut self, height: i32) {
        self.room(height.min(PAGE.1 - 2 * EDGE));
    }

    fn block(&mut self, runs: &[Run], style: Style, ground: Option<Ground>) {
        for line in self.lines(runs, style, WIDTH) {
            self.room(style.leading());
            if let Some(ground) = ground {
                self.ground(ground, SIDE - 3_000, WIDTH + 6_000, style);
            }
            self.line(&line, SIDE, style);
        }
        self.y -= style.leading() / 3;
    }

    fn field(&mut self, label: &str, runs: &[Run]) {
        let labels = self.lines(&text(label), STRONG, LABEL.0);
        let at = SIDE + LABEL.0 + LABEL.1;
        let values = self.lines(runs, BODY, WIDTH - LABEL.0 - LABEL.1);
        self.rows(&[(SIDE, labels, STRONG), (at, values, BODY)]);
        self.y -= BODY.leading() / 6;
    }

    /// Columns side by side, line by line, over as many pages as they need.
    fn rows(&mut self, columns: &[(i32, Vec<Line>, Style)]) {
        let count = columns.iter().map(|(_, lines, _)| lines.len()).max();
        let leading = columns.iter().map(|(.., style)| style.leading()).max();
        let leading = leading.unwrap_or_else(|| BODY.leading());
        for at in 0..count.unwrap_or(0) {
            self.room(leading);
            let top = self.y;
            for (x, lines, style) in columns {
                if let Some(line) = lines.get(at) {
                    self.y = top;
                    self.line(line, *x, *style);
                }
            }
            self.y = top - leading;
        }
    }

    fn table(&mut self, head: &[String], shares: &[i32], rows: &[Vec<String>]) {
        let columns: Vec<(i32, i32)> = shares
            .iter()
            .scan(SIDE, |x, share| {
                let width = WIDTH / 1_000 * *share;
                let at = *x;
                *x += width;
                Some((at, (width - GUTTER).max(GUTTER)))
            })
            .collect();
        self.keep(SMALL.leading() * 4);
        self.row(head, &columns, SMALL_STRONG);
        for row in rows {
            if self.y - 3 * SMALL.leading() < EDGE {
                self.new_page();
                self.row(head, &columns, SMALL_STRONG);
            }
            self.row(row, &columns, SMALL);
        }
        self.y -= BODY.leading() / 2;
    }

    fn row(&mut self, cells: &[String], columns: &[(i32, i32)], style: Style) {
        let mut laid = Vec::with_capacity(cells.len());
        for (cell, (x, width)) in cells.iter().zip(columns) {
            let mut all = Vec::new();
            for part in cell.split('\n') {
                all.extend(self.lines(&text(part), style, *width));
            }
            laid.push((*x, all, style));
        }
        self.rows(&laid);
        self.now
            .set_stroke_gray(0.7)
            .set_line_width(0.4)
            .move_to(points(SIDE), points(self.y))
            .line_to(points(SIDE + WIDTH), points(self.y))
            .stroke();
        self.y -= 2_000;
    }

    fn ground(&mut self, ground: Ground, x: i32, width: i32, style: Style) {
        match ground {
            Ground::Blank => self.now.set_fill_rgb(1.0, 0.95, 0.6),
            Ground::Flag => self.now.set_fill_gray(0.87),
        };
        self.now
            .rect(
                points(x),
                points(self.y - style.leading()),
                points(width),
                points(style.leading()),
            )
            .fill_nonzero();
    }

    /// Draws a line below `y`, whose left end is at `x`, and moves `y` below it.
    fn line(&mut self, line: &Line, x: i32, style: Style) {
        let mut words = line.words.iter().peekable();
        while let Some(word) = words.next() {
            if !word.blank {
                continue;
            }
            let mut end = word.x + word.width;
            while let Some(next) = words.next_if(|next| next.blank) {
                end = next.x + next.width;
            }
            self.ground(
                Ground::Blank,
                x + word.x - 1_000,
                end - word.x + 2_000,
                style,
            );
        }
        // Two thirds of what is more than the letters stands above them.
        let baseline = self.y - style.size * 1_070;
        self.now.set_fill_gray(0.0).begin_text();
        for word in &line.words {
            let mut at = x + word.x;
            for part in &word.parts {
                self.shaped(part, at, baseline, style);
                at += part.width * style.size;
            }
        }
        self.now.end_text();
        self.y -= style.leading();
    }

    fn shaped(&mut self, part: &Shaped, x: i32, y: i32, style: Style) {
        if let Some(actual) = &part.actual {
            let mut mark = self.now.begin_marked_content_with_properties(Name(b"Span"));
            mark.properties().actual_text(TextStr(actual));
        }
        let name = font_name(part.font);
        self.now
            .set_font(Name(name.as_bytes()), points(style.size * 1_000));
        self.now
            .set_text_matrix([1.0, 0.0, 0.0, 1.0, points(x), points(y)]);
        let mut glyphs = part.glyphs.iter().peekable();
        while let Some(first) = glyphs.next() {
            self.now.set_rise(points(first.up * style.size));
            let mut shown = self.now.show_positioned();
            let mut items = shown.items();
            let mut glyph = first;
            loop {
                let before = -glyph.right;
                if before != 0 {
                    items.adjust(thousandths(before));
                }
                items.show(Str(&glyph.id.to_be_bytes()));
                let after = glyph.natural + glyph.right - glyph.advance;
                if after != 0 {
                    items.adjust(thousandths(after));
                }
                match glyphs.next_if(|next| next.up == first.up) {
                    Some(next) => glyph = next,
                    None => break,
                }
            }
            items.finish();
            shown.finish();
        }
        self.now.set_rise(0.0);
        if part.actual.is_some() {
            self.now.end_marked_content();
        }
    }
}

/// Name of a font among a page's resources.
pub(super) fn font_name(at: usize) -> String {
    format!("F{at}")
}

/// Thousandths of a point as points.
fn points(milli: i32) -> f32 {
    let whole = i16::try_from(milli.div_euclid(1_000)).unwrap_or(i16::MAX);
    let rest = i16::try_from(milli.rem_euclid(1_000)).unwrap_or(0);
    f32::from(whole) + f32::from(rest) / 1_000.0
}

fn thousandths(of_em: i32) -> f32 {
    f32::from(i16::try_from(of_em).unwrap_or(i16::MAX))
}
