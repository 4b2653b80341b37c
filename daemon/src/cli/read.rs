//! Commands that read a case: `findings`, `coverage`, `verify`. They change no byte of it.

use super::{
    Failure, Outcome,
    args::{CoverageArgs, FindingsArgs, TextOrJson, TextOrJsonl, VerifyArgs},
    authority::standing,
    export::say_unknown,
    output::{self, Stdout, say},
};
use crate::{
    evidence::{Reader, Verification, canonical::to_canonical, verify as verify_case},
    report::{
        coverage::{Asked, coverage as cover, text},
        export::fold,
        filter::{Filter, RulesOf, Sieve},
        table,
    },
};

/// Shows what was found.
pub fn findings(args: &FindingsArgs) -> Result<Outcome, Failure> {
    let reader = Reader::open(&args.case)?;
    let standing = standing(&reader)?;
    let filter = Filter::from(args.filter.clone());
    let mut sieve = Sieve::new(&filter, RulesOf::new());
    let mut rows = fold(&reader)?.finding_rows()?;
    rows.retain(|row| sieve.finding(row));
    let outcome = say_unknown(&sieve.unknown("finding"));
    let mut out = Stdout::open();
    if rows.is_empty() {
        let which = if filter.is_empty() {
            "No finding."
        } else {
            "No finding that was asked for."
        };
        out.line(format_args!(
            "{which} What was not seen is listed by `sakshi export CASE --what gaps`."
        ))?;
        out.line(standing)?;
        out.close()?;
        return Ok(outcome);
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
    Ok(outcome)
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
