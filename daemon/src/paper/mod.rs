//! What a case says on paper: a summary in plain words, and the draft of a certificate.
//!
//! In: a case, or the bundle that one was sealed into. Out: text, HTML and PDF, the same bytes each
//! time: no clock is read and nothing is drawn by lot. Reading changes no byte of the case.

pub mod certificate;
pub mod facts;
pub mod form;
pub mod html;
pub mod pdf;
pub mod plain;
pub mod source;
pub mod summary;
pub mod text;
pub mod troubles;
pub mod when;

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A paragraph.
    Paragraph(String),
    /// Labels and their values.
    Fields(Vec<(String, String)>),
    /// Entries of a list.
    List(Vec<String>),
}

/// A text in which everything can be seen: what steers a terminal, or turns the direction in which
/// a line is read, is shown by its code (`\u{202e}`).
pub fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || steers(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Whether a character changes how others are laid out, or is not seen at all. The joiners U+200C
/// and U+200D are not among them: words in Hindi need them.
fn steers(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_hides_and_nothing_turns_the_line() {
        assert_eq!(
            visible("a\u{1b}[2J\u{202e}b\nक्\u{200d}ष"),
            "a\\u{1b}[2J\\u{202e}b\\u{a}क्\u{200d}ष"
        );
    }
}
