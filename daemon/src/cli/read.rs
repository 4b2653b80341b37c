//! Commands that read a case: `findings`, `export`, `verify`. They change no byte of it.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use super::{
    Failure, Outcome,
    args::{
        CoverageArgs, ExportArgs, FindingsArgs, FormatChoice, TextOrJson, TextOrJsonl, VerifyArgs,
        WhatChoice,
    },
    authority::standing,
    output::{self, Stdout, StdoutError, say},
};
use crate::{
    evidence::{Reader, Verification, canonical::to_canonical, verify as verify_case},
    report::{
        coverage::{Asked, coverage as cover, text},
        export::{ExportError, Format, What, export as export_rows, fold},
        table,
    },
};

/// Shows what was found.
pub fn findings(args: &FindingsArgs) -> Result<Outcome, Failure> {
    let reader = Reader::open(&args.case)?;
    let standing = standing(&reader)?;
    let rows = fold(&reader)?.finding_rows()?;
    let mut out = Stdout::open();
    if rows.is_empty() {
        out.line("No finding. What was not seen is listed by `sakshi export CASE --what gaps`.")?;
        out.line(standing)?;
        out.close()?;
        return Ok(Outcome::Done);
    }
    out.line(table::findings(&rows, output::style()))?;
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    out.line(format_args!(
        "{} findings, {} need review, {} excepted. Findings are facts and indicators with their basis; people decide.",
        count("finding"),
        count("needs_review"),
        count("excepted"),
    ))?;
    out.line(standing)?;
    out.close()?;
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
    // Opened before the output: a case that cannot be read must not cost an earlier export.
    let reader = Reader::open(&args.case)?;
    say(standing(&reader)?);
    if let Some(path) = &args.output {
        export_to_file(&reader, what, format, path, &args.case)?;
    } else {
        let mut out = Stdout::open();
        export_rows(&reader, what, format, &mut out).map_err(of_stdout)?;
        out.close()?;
    }
    Ok(Outcome::Done)
}

fn export_to_file(
    reader: &Reader,
    what: What,
    format: Format,
    path: &Path,
    case: &Path,
) -> Result<(), Failure> {
    let named = |error: io::Error| {
        format!(
            "{} cannot be written: {error}; check its folder, and the space that is left there",
            path.display()
        )
    };
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    let mut to = BufWriter::new(File::create(path).map_err(named)?);
    let rows = export_rows(reader, what, format, &mut to).map_err(|error| match error {
        ExportError::Write(error) => named(error).into(),
        other => Failure::from(other),
    })?;
    let file = to.into_inner().map_err(|error| named(error.into_error()))?;
    // A pipe or a device has nothing to be put on a disk.
    if file.metadata().map_err(named)?.is_file() {
        file.sync_all().map_err(named)?;
    }
    say(format_args!("{rows} rows in {}", path.display()));
    Ok(())
}

/// Whether a file, which need not exist, would lie below a folder, links followed.
pub fn lies_in(path: &Path, folder: &Path) -> bool {
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return false,
    };
    let resolved: io::Result<PathBuf> = fs::canonicalize(path).or_else(|_| fs::canonicalize(above));
    match (resolved, fs::canonicalize(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// A reader of our output that has gone is told from a case that cannot be read.
fn of_stdout(error: ExportError) -> Failure {
    match error {
        ExportError::Write(error) => StdoutError::from(error).into(),
        other => other.into(),
    }
}

/// Says what of a span was watched.
pub fn coverage(args: &CoverageArgs) -> Result<Outcome, Failure> {
    let asked = Asked {
        from: args.from,
        to: args.to,
    };
    let reader = Reader::open(&args.case)?;
    let standing = standing(&reader)?;
    let coverage = cover(&reader, asked)?;
    let mut out = Stdout::open();
    match args.format {
        TextOrJsonl::Text => {
            out.text(text::page(&coverage))?;
            out.line(standing)?;
        }
        TextOrJsonl::Jsonl => {
            say(standing);
            out.line(to_canonical(&coverage)?)?;
        }
    }
    out.close()?;
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
    let mut out = Stdout::open();
    match args.format {
        TextOrJson::Json => out.line(verification_json(&verification))?,
        TextOrJson::Text => out.text(verification_text(&verification))?,
    }
    // A damaged case may not say; what is damaged is told above.
    if let Ok(standing) = Reader::open(&args.case)
        .map_err(Failure::from)
        .and_then(|reader| standing(&reader))
    {
        match args.format {
            TextOrJson::Text => out.line(standing)?,
            TextOrJson::Json => say(standing),
        }
    }
    out.close()?;
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
