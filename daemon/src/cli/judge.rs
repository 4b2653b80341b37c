//! `sakshi judge`: a case's stored contacts by other rules, into a list of its own.

use std::{fs, io::Write, path::Path};

use serde_json::json;

use super::{
    Failure, Outcome,
    args::{JudgeArgs, TextOrJsonl},
    authority::standing,
    export::lies_in,
    output::{self, Stdout, say},
};
use crate::{
    evidence::{Hash, Kind, Reader, canonical::to_canonical},
    finding::stored::{self, Stored},
    report::{
        fold::{FindingRow, Fold},
        redact::Redactor,
        table,
    },
    session::load_rules,
};

/// Head of every such list.
const HEAD: &str = "POST HOC: judged again after the fact; what was found when it was watched is \
                    shown by `sakshi findings`";

/// Judges again.
pub fn judge(args: &JudgeArgs) -> Result<Outcome, Failure> {
    if let Some(path) = args
        .output
        .as_deref()
        .filter(|path| lies_in(path, &args.case))
    {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    let mut texts = Vec::new();
    for path in &args.rules {
        texts.push((path.display().to_string(), read(path)?));
    }
    let sets = load_rules(&texts)?;
    let reader = Reader::open(&args.case)?;
    let contacts = stored::read(&reader)?;
    let mut fold = Fold::default();
    for one in &contacts {
        fold.contact(one.body.clone());
        one.total.iter().for_each(|total| fold.total(total.clone()));
        for verdict in one.judge(&sets) {
            fold.finding(one.finding(&verdict));
        }
    }
    let rows = fold.finding_rows()?;
    let head = reader.head()?;
    let names = texts.iter().zip(&sets).map(|((file, text), set)| {
        json!({
            "file": file, "id": set.id(), "version": set.version(),
            "sha256": Hash::of(text.as_bytes()),
        })
    });
    let head = json!({
        "post_hoc": HEAD,
        "case": { "seq": head.seq, "hash": head.hash },
        "contacts": contacts.len(),
        "payload_not_recorded": contacts.iter().filter(|one| unsaid(one)).count(),
        "rule_sets": names.collect::<Vec<_>>(),
    });
    say(standing(&reader)?);
    let list = match args.format {
        TextOrJsonl::Jsonl => jsonl(&reader, &head, &rows)?,
        TextOrJsonl::Text => text(&head, &rows),
    };
    match &args.output {
        Some(path) => fs::write(path, list).map_err(|error| {
            format!(
                "{} can't be written: {error}; name a folder that you may write to",
                path.display()
            )
        })?,
        None => {
            let mut out = Stdout::open();
            out.write_all(list.as_bytes())?;
            out.close()?;
        }
    }
    Ok(Outcome::Done)
}

/// Whether an earlier version did not say whether data was sent; it is taken as sent.
fn unsaid(one: &Stored) -> bool {
    one.total
        .as_ref()
        .is_none_or(|total| total.payload.is_none())
}

fn jsonl(
    reader: &Reader,
    head: &serde_json::Value,
    rows: &[FindingRow],
) -> Result<String, Failure> {
    let redactor = Redactor::of(reader)?;
    let mut list = format!("{}\n", to_canonical(head)?);
    for row in rows {
        let mut row = serde_json::to_value(row)?;
        redactor.body(Kind::FINDING.as_str(), &mut row);
        list.push_str(&to_canonical(&row)?);
        list.push('\n');
    }
    Ok(list)
}

fn text(head: &serde_json::Value, rows: &[FindingRow]) -> String {
    let mut text = format!("{HEAD}\n");
    for set in head["rule_sets"].as_array().into_iter().flatten() {
        let part = |key: &str| table::plain(set[key].as_str().unwrap_or_default());
        text.push_str(&format!(
            "by {} version {} (SHA-256 {})\n",
            part("id"),
            part("version"),
            part("sha256")
        ));
    }
    text.push_str(&format!(
        "{} contacts as they are on record up to record {}\n",
        head["contacts"], head["case"]["seq"]
    ));
    if head["payload_not_recorded"] != 0 {
        text.push_str(&format!(
            "of {} it is not on record whether data was sent; it is taken as sent\n",
            head["payload_not_recorded"]
        ));
    }
    if rows.is_empty() {
        text.push_str("No finding.\n");
    } else {
        text.push_str(&table::findings(rows, output::style()));
        text.push('\n');
    }
    text
}

/// Reads a file that a person wrote.
pub fn read(path: &Path) -> Result<String, Failure> {
    Ok(fs::read_to_string(path).map_err(|error| {
        format!(
            "{} can't be read: {error}; check the name, and that it is text",
            path.display()
        )
    })?)
}
