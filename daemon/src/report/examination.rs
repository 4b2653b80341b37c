//! An examination for people.
//!
//! In: the doctor's record. Out: an aligned table in the doctor's own order, so that two examinations
//! can be laid side by side, and a closing line of counts.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, presets};

use super::table::{Style, cell};
use crate::evidence::examination::{Examination, Line, Verdict};

/// Columns that the longest verdict needs, with the blank before it.
const VERDICT_COLUMNS: usize = 10;

/// The examination as a table, with what is lost and what to do below each line's sentence.
pub fn examination(examination: &Examination, style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = style.width {
        table.set_width(width);
    }
    for line in &examination.lines {
        table.add_row(vec![
            Cell::new(line.verdict.as_str()),
            Cell::new(&line.key),
            cell(&told(line)),
        ]);
    }
    for column in 0..2 {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        let line = line.trim_end();
        if style.colour {
            text.push_str(&painted(line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&closing(examination));
    text.push('\n');
    text
}

fn told(line: &Line) -> String {
    let mut text = line.says.clone();
    for (what, said) in [("lost: ", &line.lost), ("do: ", &line.remedy)] {
        if let Some(said) = said {
            text.push('\n');
            text.push_str(what);
            text.push_str(said);
        }
    }
    text
}

/// `20 looked at: 15 ok, 3 degraded, 0 failed, 2 unknown`.
fn closing(examination: &Examination) -> String {
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| format!("{} {}", examination.counts.of(*verdict), verdict.as_str()))
        .collect();
    format!(
        "{} looked at: {}",
        examination.lines.len(),
        counts.join(", ")
    )
}

/// Paints the verdict that begins a line.
fn painted(line: &str) -> String {
    let start = line.get(..line.len().min(VERDICT_COLUMNS)).unwrap_or(line);
    for (verdict, colour) in [
        (Verdict::Ok, "32"),
        (Verdict::Degraded, "33"),
        (Verdict::Failed, "1;31"),
        (Verdict::Unknown, "36"),
    ] {
        let word = verdict.as_str();
        if start.trim() == word
            && let Some((before, after)) = line.split_once(word)
        {
            return format!("{before}\x1b[{colour}m{word}\x1b[0m{after}");
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::examination::Facts, time::Timestamp};

    fn sample() -> Examination {
        let line = |key: &str, verdict, says: &str, lost: Option<&str>| Line {
            key: key.to_owned(),
            verdict,
            says: says.to_owned(),
            lost: lost.map(str::to_owned),
            remedy: lost.map(|_| "do it".to_owned()),
            facts: Facts::new(),
        };
        let lines = vec![
            line("kernel", Verdict::Ok, "degraded is only a word here", None),
            line(
                "nflog",
                Verdict::Degraded,
                "no\x1b[2J group",
                Some("owners"),
            ),
            line("storage", Verdict::Failed, "full", Some("all")),
        ];
        Examination::new(Timestamp::default(), "6.1".to_owned(), lines)
    }

    #[test]
    fn says_what_is_lost_and_what_to_do_and_counts() {
        let style = Style {
            colour: false,
            width: Some(80),
        };
        let text = examination(&sample(), style);
        assert!(text.contains("lost: owners\n"), "{text}");
        assert!(text.contains("do: do it\n"), "{text}");
        assert!(
            text.ends_with("\n\n3 looked at: 1 ok, 1 degraded, 1 failed, 0 unknown\n"),
            "{text}"
        );
        assert!(
            !text.contains('\x1b'),
            "nothing steers the terminal: {text}"
        );
    }

    #[test]
    fn only_verdicts_are_painted() {
        let style = Style {
            colour: true,
            width: Some(80),
        };
        let text = examination(&sample(), style);
        assert_eq!(text.matches("\x1b[0m").count(), 3, "{text}");
        assert!(text.contains("\x1b[1;31mfailed\x1b[0m"), "{text}");
        assert!(text.contains("\x1b[32mok\x1b[0m"), "{text}");
    }
}
