//! A form as text for a word processor: plain UTF-8, and Rich Text, which every one of them opens.
//!
//! In: a [`Form`]. Out: text. Blanks are marked in both.

use std::fmt::Write as _;

use super::{
    form::{Form, Piece, Run},
    visible,
};

/// A form's pieces as lines that both kinds of text are made of: bold or not, and the line.
fn lines(form: &Form) -> Vec<(bool, String)> {
    let mut lines = Vec::new();
    let mut say = |bold, line: String| lines.push((bold, line));
    for piece in &form.pieces {
        match piece {
            Piece::Title(said) | Piece::Heading(said) => say(true, visible(said)),
            Piece::Paragraph(said) => say(false, runs(said)),
            Piece::Flag(said) => say(true, format!(">>> {}", visible(said))),
            Piece::Field(label, said) => say(false, format!("{}: {}", visible(label), runs(said))),
            Piece::Ticks(boxes, open) => {
                let boxes: Vec<String> = boxes
                    .iter()
                    .map(|(ticked, label)| {
                        let mark = if *ticked { "[x]" } else { "[  ]" };
                        format!("{mark} {label}")
                    })
                    .collect();
                let mark = if *open { ">>> " } else { "" };
                say(false, format!("{mark}{}", boxes.join("   ")));
            }
            Piece::Table { head, rows, .. } => {
                for row in rows {
                    for (label, cell) in head.iter().zip(row) {
                        let cell: Vec<String> = cell.split('\n').map(visible).collect();
                        say(false, format!("{}: {}", visible(label), cell.join("; ")));
                    }
                    say(false, String::new());
                }
            }
            Piece::NewPage => say(false, "* * *".to_owned()),
        }
    }
    say(false, visible(&form.foot));
    lines
}

fn runs(runs: &[Run]) -> String {
    let parts: Vec<String> = runs
        .iter()
        .map(|run| match run {
            Run::Text(said) => visible(said),
            Run::Blank(hint) => format!("[____________ {}]", visible(hint)),
            Run::Break => "|".to_owned(),
        })
        .collect();
    parts.join(" ")
}

/// The form as plain text, a paragraph a line, a blank line between two.
pub fn text(form: &Form) -> String {
    let mut text = String::new();
    for (_, line) in lines(form) {
        text.extend([line.as_str(), "\n\n"]);
    }
    text
}

/// The form as Rich Text Format 1.9: ASCII, with other characters as UTF-16 units.
pub fn rtf(form: &Form) -> String {
    let mut rtf = "{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Noto Sans;}}\\uc1\\fs20\n".to_owned();
    for (bold, line) in lines(form) {
        rtf.push_str(if bold {
            "\\pard\\sa120\\b "
        } else {
            "\\pard\\sa120\\b0 "
        });
        for unit in line.encode_utf16() {
            match u8::try_from(unit).map(char::from) {
                Ok(sign @ ('\\' | '{' | '}')) => rtf.extend(['\\', sign]),
                Ok(sign @ ' '..='~') => rtf.push(sign),
                // A signed number, and what shows where it is not understood.
                _ => {
                    let _ = write!(rtf, "\\u{}?", unit.cast_signed());
                }
            }
        }
        rtf.push_str("\\par\n");
    }
    rtf.push_str("}\n");
    rtf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rich_text_is_not_steered_by_what_people_wrote() {
        let form = Form {
            title: String::new(),
            language: "en",
            foot: "{\\rtf क 😀}".to_owned(),
            pieces: Vec::new(),
        };
        let rtf = rtf(&form);
        assert!(
            rtf.contains("\\{\\\\rtf \\u2325? \\u-10179?\\u-8704?\\}"),
            "{rtf}"
        );
    }
}
