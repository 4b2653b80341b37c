//! Commands that read a case: `findings`, `coverage`. They change no byte of it.

use super::{
    Failure, Outcome,
    args::{CoverageArgs, FindingsArgs, TextOrJsonl},
    authority::standing,
    export::say_unknown,
    output::{self, Stdout, say},
};
use crate::{
    evidence::{Reader, canonical::to_canonical},
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
