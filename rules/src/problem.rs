//! What is wrong with a TOML file that a person wrote, shown so that it can be mended.
//!
//! In: a byte range of the file and what was expected there. Out: file, line, column, the line
//! itself with a caret, and the remedy.

use std::fmt;
use std::ops::Range;

/// Problems that are shown for one file; further ones are counted.
pub const PROBLEMS_MAX: usize = 50;
/// Characters of a line that are shown around a problem.
const EXCERPT_CHARS_MAX: usize = 110;
/// Characters before the problem that are shown when the line is longer than that.
const EXCERPT_CHARS_BEFORE: usize = 60;

/// A file that can't be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TomlError {
    /// File, as the caller named it.
    pub file: String,
    /// What is wrong, in the order of the file; never empty, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub more: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The line, or the part of it around the problem.
    excerpt: String,
    /// Characters of the excerpt before the problem.
    before: usize,
    /// Characters that the caret underlines.
    width: usize,
}

impl Problem {
    /// A problem at a byte range of the file; a range outside the text means its end.
    pub(crate) fn at(text: &str, span: Range<usize>, message: String, help: String) -> Self {
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end.max(start));
        let head = text.get(..start).unwrap_or(text);
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let line_text = text
            .get(line_start..)
            .unwrap_or("")
            .lines()
            .next()
            .unwrap_or("");
        let column = head.get(line_start..).unwrap_or("").chars().count();
        let width = text
            .get(start..end)
            .unwrap_or("")
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .count();
        let skipped = if line_text.chars().count() > EXCERPT_CHARS_MAX {
            column.saturating_sub(EXCERPT_CHARS_BEFORE)
        } else {
            0
        };
        let excerpt: String = line_text
            .chars()
            .skip(skipped)
            .take(EXCERPT_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let before = column - skipped;
        let width = width.clamp(1, EXCERPT_CHARS_MAX.saturating_sub(before).max(1));
        Self {
            line: head.matches('\n').count() + 1,
            column: column + 1,
            message,
            help,
            excerpt,
            before,
            width,
        }
    }
}

/// The largest character boundary not after `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(0)
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.show(f, &self.file)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl Problem {
    fn show(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{file}:{}:{}: {}", self.line, self.column, self.message)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{}", format!("{number} | {}", self.excerpt).trim_end())?;
        write!(
            f,
            "{gutter} | {}{}",
            " ".repeat(self.before),
            "^".repeat(self.width)
        )?;
        if !self.help.is_empty() {
            write!(f, "\n{gutter} = {}", self.help)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>) -> String {
        let problem = Problem::at(text, span, "wrong".into(), "mend it".into());
        TomlError {
            file: "f.toml".into(),
            problems: vec![problem],
            more: 0,
        }
        .to_string()
    }

    #[test]
    fn the_caret_stands_under_the_text() {
        assert_eq!(
            show("a = 1\nüb = 2\n", 6..9),
            "f.toml:2:1: wrong\n  |\n2 | üb = 2\n  | ^^\n  = mend it"
        );
    }

    #[test]
    fn ranges_outside_the_text_are_its_end() {
        assert!(show("a", 7..9).starts_with("f.toml:1:2: wrong"));
        assert!(show("", 0..0).starts_with("f.toml:1:1: wrong"));
        assert!(show("ü", 1..1).starts_with("f.toml:1:1: wrong"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_problem() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = show(&text, 500..501);
        assert!(shown.contains(":1:501:"), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() < 120),
            "{shown}"
        );
        assert!(shown.contains(&format!("{}X", "a".repeat(60))), "{shown}");
    }
}
