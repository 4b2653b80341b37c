//! A form as PDF: pages of A4 with the fonts inside, the same bytes each time.
//!
//! In: a [`Form`]. Out: a PDF whose text can be searched and copied, in scripts of India that have
//! conjuncts too: what is drawn differs from what is written there, so each such piece carries its
//! text (`ActualText`, ISO 32000-1, 14.9.4). It holds no date and nothing drawn by lot.

mod lines;
mod page;
mod shape;
mod write;

use self::{page::Pages, shape::Fonts};
use super::form::Form;

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// A font that is built in cannot be read, or not be cut to what is used.
    #[error("the built-in font {0} cannot be used: this build of sakshi is broken, build it anew")]
    Font(&'static str),
    /// The form needs more pages than a PDF of ours numbers.
    #[error("the form has too many pages for one PDF: use the text beside it")]
    TooLong,
}

/// Lays a form out.
pub fn render(form: &Form) -> Result<Vec<u8>, PdfError> {
    let mut fonts = Fonts::load()?;
    let mut pages = Pages::new(&mut fonts);
    for piece in &form.pieces {
        pages.piece(piece);
    }
    let contents = pages.finish(&form.foot);
    write::document(form, &fonts, contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::form::{Piece, Run};

    #[test]
    fn nothing_that_is_typed_breaks_a_page() {
        let texts = [
            "",
            " ",
            "क्",
            "\u{200d}",
            "्",
            "a\u{1f600}\u{202e}b\u{1b}",
            &"x".repeat(5_000),
            &"क्ष्म्य".repeat(900),
        ];
        let mut pieces = Vec::new();
        for text in texts {
            pieces.push(Piece::Title(text.to_owned()));
            pieces.push(Piece::Flag(text.to_owned()));
            pieces.push(Piece::Field(
                text.to_owned(),
                vec![Run::Blank(text.to_owned())],
            ));
            pieces.push(Piece::Table {
                head: vec![text.to_owned(); 3],
                shares: vec![500, 499, 1],
                rows: vec![vec![text.to_owned(); 3]; 2],
            });
        }
        let form = Form {
            title: "t".to_owned(),
            language: "hi",
            foot: "f".to_owned(),
            pieces,
        };
        let pdf = render(&form).unwrap();
        assert!(pdf.starts_with(b"%PDF-1.7"));
        assert_eq!(pdf, render(&form).unwrap(), "the same bytes");
    }
}
