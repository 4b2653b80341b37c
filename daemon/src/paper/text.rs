//! A page as text for a terminal.
//!
//! In: sections. Out: lines of at most [`WIDTH`] columns where words allow it.

use super::{Block, Section, visible};

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns of a label.
const LABEL: usize = 22;

/// The page.
pub fn page(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        if !text.is_empty() {
            text.push('\n');
        }
        text.extend([section.title, "\n", &"=".repeat(section.title.len()), "\n"]);
        for block in &section.blocks {
            match block {
                Block::Paragraph(said) => wrapped(&mut text, "", "", &visible(said)),
                Block::Fields(fields) => {
                    for (label, value) in fields {
                        let label = format!("{label:<LABEL$}");
                        wrapped(&mut text, &label, &" ".repeat(LABEL), &visible(value));
                    }
                }
                Block::List(entries) => {
                    for entry in entries {
                        wrapped(&mut text, "- ", "  ", &visible(entry));
                    }
                }
            }
        }
    }
    text
}

/// A text broken between words; its first line begins with `first`, later ones with `later`.
fn wrapped(text: &mut String, first: &str, later: &str, said: &str) {
    let mut line = first.to_owned();
    let mut used = first.chars().count();
    let mut empty = true;
    for word in said.split(' ') {
        let columns = word.chars().count();
        if !empty && used + 1 + columns > WIDTH {
            text.extend([line.trim_end(), "\n"]);
            later.clone_into(&mut line);
            used = later.chars().count();
            empty = true;
        }
        if !empty {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += columns;
        empty = false;
    }
    text.extend([line.trim_end(), "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_only() {
        let word = "x".repeat(90);
        let said = format!("{} {word}", "word ".repeat(20).trim_end());
        let text = page(&[Section {
            title: "T",
            blocks: vec![Block::Fields(vec![("label".to_owned(), said)])],
        }]);
        assert!(text.contains(&word));
        let long = text.lines().filter(|line| line.len() > WIDTH).count();
        assert_eq!(long, 1, "{text}");
    }
}
