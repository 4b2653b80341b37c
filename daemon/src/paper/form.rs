//! A form to be filled in and signed: what it is made of, however it is laid out.

/// A part of a line: something said, or something that a person must fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// A text.
    Text(String),
    /// A blank with a hint of what belongs there.
    Blank(String),
    /// What follows begins a new line.
    Break,
}

/// A piece of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A line in the middle, large.
    Title(String),
    /// Begins a part.
    Heading(String),
    /// A paragraph.
    Paragraph(Vec<Run>),
    /// A label and its value.
    Field(String, Vec<Run>),
    /// Boxes to tick, with those that are ticked; `true` after them: a person must tick.
    Ticks(Vec<(bool, String)>, bool),
    /// Something that a person must look at before anybody signs.
    Flag(String),
    /// Rows of cells below a head; a cell has lines. The numbers are the columns' shares of the width.
    Table {
        /// Names of the columns.
        head: Vec<String>,
        /// Share of the width of each, in thousandths.
        shares: Vec<i32>,
        /// Rows.
        rows: Vec<Vec<String>>,
    },
    /// What follows begins a new page.
    NewPage,
}

/// A form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Its title, for lists of documents.
    pub title: String,
    /// Its language: `en`, `hi`.
    pub language: &'static str,
    /// What stands at the foot of each page.
    pub foot: String,
    /// Its pieces.
    pub pieces: Vec<Piece>,
}

/// A text as the only run.
pub fn text(text: impl Into<String>) -> Vec<Run> {
    vec![Run::Text(text.into())]
}

/// A blank as the only run.
pub fn blank(hint: &str) -> Vec<Run> {
    vec![Run::Blank(hint.to_owned())]
}
