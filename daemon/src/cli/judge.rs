//! `judge`: a case's contacts by other rules. It changes no byte of the case, and the list that it
//! makes says of itself that it is post hoc.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    Failure, Outcome,
    authority::standing,
    export::lies_in,
    output::{self, Stdout, say},
};
use crate::{
    evidence::{
        Hash, Kind,
        canonical::{canonical_value, to_canonical},
    },
    paper::source::Source,
    posthoc::{BrandHeading, HEADING, Heading, PostHoc, SetHeading, judge_anew},
    report::{redact::Redactor, table, table::plain},
    session::rules::Rules,
};

/// `sakshi judge`.
#[derive(Debug, Args)]
#[command(
    after_help = "The findings that stand in the case are left as they are. Places are graded by \
    what the case keeps of them and by how old a list may be under the new rules.\n\n\
    Examples:\n  \
    sakshi judge case-17 --rules new-set.toml\n  \
    sakshi judge case-17.tar --rules new-set.toml -o case-17-anew.jsonl"
)]
pub struct JudgeArgs {
    /// Folder of the case, or a bundle.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Rule files that judge, and brands' files that they ask; may be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    pub rules: Vec<PathBuf>,
    /// File for the list as JSON Lines instead of standard output; not in the case.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A table, or JSON Lines whose first line is the heading; what is personal is left out of it.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Form,
}

/// How the list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A table for people.
    Text,
    /// A heading and rows, one JSON object a line.
    Jsonl,
}

/// Judges.
pub fn judge(args: &JudgeArgs) -> Result<Outcome, Failure> {
    let rules = Rules::read(&args.rules)?;
    let by = headings(&rules);
    let source = Source::open(&args.case)?;
    let reader = source.reader();
    let anew = judge_anew(reader, &rules.into_sets(), by)?;
    let redactor = Redactor::of(reader)?;
    let Some(path) = &args.output else {
        let mut out = Stdout::open();
        out.text(match args.format {
            Form::Text => table_of(&anew),
            Form::Jsonl => lines_of(&anew, &redactor)?,
        })?;
        if args.format == Form::Text {
            out.line(standing(reader)?)?;
        }
        out.close()?;
        return Ok(Outcome::Done);
    };
    if lies_in(path, &args.case) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    fs::write(path, lines_of(&anew, &redactor)?).map_err(|error| {
        format!(
            "{} cannot be written: {error}; check its folder, and the space that is left there",
            path.display()
        )
    })?;
    say(format_args!(
        "{} rows, post hoc, in {}",
        anew.rows.len(),
        path.display()
    ));
    Ok(Outcome::Done)
}

/// What the heading says of the rules.
fn headings(rules: &Rules) -> (Vec<SetHeading>, Vec<BrandHeading>) {
    let sets = rules.sets.iter().map(|(given, set)| SetHeading {
        file: given.file.clone(),
        id: set.id().to_owned(),
        version: set.version().to_owned(),
        sha256: Hash::of(given.text.as_bytes()),
    });
    let brands = rules.brands.iter().map(|(given, of)| BrandHeading {
        file: given.file.clone(),
        brand: of.brand.clone(),
        sha256: Hash::of(given.text.as_bytes()),
    });
    (sets.collect(), brands.collect())
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        format!(
            "{} cannot be read: {error}; check that it is there and that it is a text",
            path.display()
        )
        .into()
    })
}

/// The heading and the rows, one JSON object a line, without what is personal.
fn lines_of(anew: &PostHoc, redactor: &Redactor) -> Result<String, Failure> {
    let mut lines = to_canonical(&anew.heading)? + "\n";
    for row in &anew.rows {
        let mut row = serde_json::to_value(row)?;
        redactor.body(Kind::FINDING.as_str(), &mut row);
        lines.push_str(&canonical_value(&row)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// The heading, a table and what stands beside it.
fn table_of(anew: &PostHoc) -> String {
    let rows = &anew.rows;
    let table = if rows.is_empty() {
        "These rules say nothing of any contact.".to_owned()
    } else {
        table::findings(rows, output::style())
    };
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    format!(
        "{}\n{table}\nPost hoc: {} findings, {} need review, {} excepted. The case's own findings \
         stand: `sakshi findings`.\n",
        heading_text(&anew.heading),
        count("finding"),
        count("needs_review"),
        count("excepted"),
    )
}

fn heading_text(heading: &Heading) -> String {
    let mut lines = vec![
        format!("{HEADING}: judged after the watch, by rules that the case was not watched with."),
        format!(
            "case     {} up to record {} ({})",
            heading.case, heading.head.seq, heading.head.hash
        ),
    ];
    for set in &heading.sets {
        lines.push(format!(
            "rules    {} version {} ({}, SHA-256 {})",
            set.id, set.version, set.file, set.sha256
        ));
    }
    for of in &heading.declarations {
        lines.push(format!(
            "asked    what {} said ({}, SHA-256 {})",
            plain(&of.brand),
            of.file,
            of.sha256
        ));
    }
    lines.push(format!(
        "judged   {} contacts; {} not (a probe's own, or their counts are not in the case)",
        heading.judged, heading.not_judged
    ));
    lines.push(format!(
        "places   {} graded anew: a list may be {} days old; {} as recorded, since the case does not \
         say of what age their list was",
        heading.graded_anew, heading.max_place_age_days, heading.graded_as_recorded
    ));
    lines.push(format!(
        "stand    {} findings of the case's own, which this list leaves as they are",
        heading.standing
    ));
    lines.push(format!("by       {}", heading.tool));
    lines.join("\n")
}
