//! Commands that read a case: `findings`, `export`, `verify`. They change no byte of it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use super::{
    Failure, Outcome,
    args::{ExportArgs, FindingsArgs, FormatChoice, TextOrJson, VerifyArgs, WhatChoice},
    output,
};
use crate::{
    evidence::{Reader, Verification, verify as verify_case},
    report::{
        export::{Format, What, export as export_rows, fold},
        table,
    },
};

/// Shows what was found.
pub fn findings(args: &FindingsArgs) -> Result<Outcome, Failure> {
    let rows = fold(&Reader::open(&args.case)?)?.finding_rows()?;
    let mut out = io::stdout().lock();
    if rows.is_empty() {
        writeln!(
            out,
            "No finding. What was not seen is listed by `sakshi export CASE --what gaps`."
        )?;
        return Ok(Outcome::Done);
    }
    writeln!(out, "{}", table::findings(&rows, output::style()))?;
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    writeln!(
        out,
        "{} findings, {} need review, {} excepted. Findings are facts and indicators with their basis; people decide.",
        count("finding"),
        count("needs_review"),
        count("excepted"),
    )?;
    Ok(Outcome::Done)
}

/// Writes an export.
pub fn export(args: &ExportArgs) -> Result<Outcome, Failure> {
    let what = match args.what {
        WhatChoice::Findings => What::Findings,
        WhatChoice::Contacts => What::Contacts,
        WhatChoice::Flows => What::Flows,
        WhatChoice::Gaps => What::Gaps,
        WhatChoice::Records => What::Records,
    };
    let format = match args.format {
        FormatChoice::Jsonl => Format::Jsonl,
        FormatChoice::Csv => Format::Csv,
    };
    if let Some(path) = &args.output {
        let named = |error: io::Error| format!("{} cannot be written: {error}", path.display());
        let mut to = BufWriter::new(File::create(path).map_err(named)?);
        let rows = export_rows(&args.case, what, format, &mut to)?;
        to.into_inner()
            .map_err(|error| named(error.into_error()))?
            .sync_all()
            .map_err(named)?;
        eprintln!("{rows} rows in {}", path.display());
    } else {
        export_rows(
            &args.case,
            what,
            format,
            &mut BufWriter::new(io::stdout().lock()),
        )?;
    }
    Ok(Outcome::Done)
}

/// Says whether the evidence is intact.
pub fn verify(args: &VerifyArgs) -> Result<Outcome, Failure> {
    let bar = output::progress(0, "verifying");
    let verification = verify_case(&args.case, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.records);
    });
    bar.finish_and_clear();
    let verification = verification?;
    let mut out = io::stdout().lock();
    match (args.format, &verification) {
        (TextOrJson::Json, verification) => writeln!(out, "{}", verification_json(verification))?,
        (TextOrJson::Text, verification) => write!(out, "{}", verification_text(verification))?,
    }
    Ok(if matches!(verification, Verification::Intact(_)) {
        Outcome::Done
    } else {
        Outcome::No
    })
}

fn verification_text(verification: &Verification) -> String {
    match verification {
        Verification::Intact(intact) => {
            let mut text = format!(
                "intact: {} records, the last one is {} with hash {}\n",
                intact.records, intact.head.seq, intact.head.hash,
            );
            if !intact.ended {
                text.push_str("the last session has no stop record: the daemon still runs, or it was killed\n");
            }
            for name in &intact.unlisted {
                text.extend(["not part of the evidence: ", name, "\n"]);
            }
            text.push_str(
                "Records cut from the end leave no trace in what remains: compare the last record's \
                 hash with one that was noted elsewhere.\n",
            );
            text
        }
        Verification::Damaged(damaged) => {
            let mut text = format!(
                "DAMAGED: {} damages among {} records\n",
                damaged.total, damaged.records
            );
            for damage in &damaged.damages {
                text.extend(["  ", &damage.to_string(), "\n"]);
            }
            text
        }
    }
}

fn verification_json(verification: &Verification) -> serde_json::Value {
    match verification {
        Verification::Intact(intact) => serde_json::json!({
            "result": "intact",
            "records": intact.records,
            "seq": intact.head.seq,
            "hash": intact.head.hash,
            "ended": intact.ended,
            "unlisted": intact.unlisted,
        }),
        Verification::Damaged(damaged) => serde_json::json!({
            "result": "damaged",
            "records": damaged.records,
            "total": damaged.total,
            "damages": damaged.damages.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    }
}
