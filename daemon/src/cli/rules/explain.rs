//! `rules explain`: why a rule found something, and why the others did not.
//!
//! In: a case and a finding of it. Out: each rule's conditions with what they want and what the
//! contact shows, by the rules that the case pinned or by others.

use std::path::PathBuf;

use clap::Args;
use sakshi_rules::{
    Outcome as Says, RuleSet,
    contact::said_besides,
    judge::explain::{Asked, Explanation, Said},
    vocabulary::Word,
};

use crate::{
    cli::{Failure, Outcome, output::Stdout},
    evidence::body::{Contact, Finding, Total},
    paper::source::Source,
    posthoc::{HEADING, explain_contact},
    report::{export::fold, fold::Fold, table::owner},
    session::{rules::Rules, rules_of_session},
};

/// `sakshi rules explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Folder of the case, or a bundle.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// The finding, as CONTACT/RULE (1-3/LOC-001) or the number of its record; a contact alone to
    /// explain all rules of it. Without it the findings are listed.
    #[arg(value_name = "FINDING")]
    pub finding: Option<String>,
    /// Other rules than those that the case was judged by, and brands' files that they ask; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
}

/// Explains.
pub fn explain(args: &ExplainArgs) -> Result<Outcome, Failure> {
    let source = Source::open(&args.case)?;
    let stored = fold(source.reader())?;
    let mut out = Stdout::open();
    let Some(typed) = &args.finding else {
        out.text(list(&stored))?;
        out.close()?;
        return Ok(Outcome::Done);
    };
    let (label, rule) = asked_for(&source, &stored, typed)?;
    let sets: Vec<RuleSet> = if args.rules.is_empty() {
        rules_of_session(source.dir(), session_of(&label)?)?
    } else {
        Rules::read(&args.rules)?.into_sets()
    };
    let explained = explain_contact(&stored, &label, &sets)
        .ok_or_else(|| format!("the case has no contact {label}"))?;
    if !args.rules.is_empty() {
        out.line(format_args!(
            "{HEADING}: by rules that the case was not watched with."
        ))?;
    }
    out.text(contact_text(&explained.contact, &explained.total))?;
    let Some(sets) = explained.sets else {
        out.line(
            "No rule was asked of it: it is a probe's own, or its counts are not in the case.",
        )?;
        out.close()?;
        return Ok(Outcome::Done);
    };
    if let Some(rule) = &rule
        && !sets
            .iter()
            .flat_map(|(_, rules)| rules)
            .any(|of| of.rule == *rule)
    {
        return Err(format!("these rule sets have no rule {rule}").into());
    }
    for (set, rules) in &sets {
        // The rule that was asked for comes first.
        let first = rules.iter().filter(|of| Some(&of.rule) == rule.as_ref());
        let rest = rules.iter().filter(|of| Some(&of.rule) != rule.as_ref());
        for explanation in first.chain(rest) {
            out.text(rule_text(set, explanation))?;
        }
    }
    out.close()?;
    Ok(Outcome::Done)
}

/// What can be explained.
fn list(stored: &Fold) -> String {
    let line = |finding: &Finding| {
        format!(
            "{}/{}  {}: {}",
            finding.contact, finding.rule, finding.outcome, finding.reason
        )
    };
    let lines: Vec<String> = stored.findings().iter().map(line).collect();
    if lines.is_empty() {
        return "No finding. A contact alone can be explained too: 1-1 is the first.\n".to_owned();
    }
    lines.join("\n") + "\n"
}

/// The contact and the rule that are meant.
fn asked_for(
    source: &Source,
    stored: &Fold,
    typed: &str,
) -> Result<(String, Option<String>), Failure> {
    if let Some((contact, rule)) = typed.split_once('/') {
        return Ok((contact.to_owned(), Some(rule.to_owned())));
    }
    let Ok(seq) = typed.parse::<i64>() else {
        return Ok((typed.to_owned(), None));
    };
    let record = source
        .reader()
        .record(seq)?
        .filter(|record| record.kind.as_str() == "finding");
    let body: Option<Finding> = record.and_then(|record| serde_json::from_str(&record.body).ok());
    match body {
        Some(finding) => Ok((finding.contact, Some(finding.rule))),
        None => Err(format!(
            "record {seq} is no finding; there are {} findings: `sakshi rules explain CASE` lists them",
            stored.findings().len()
        )
        .into()),
    }
}

/// The session in which a contact was seen, by its label.
fn session_of(label: &str) -> Result<u64, Failure> {
    label
        .split_once('-')
        .and_then(|(session, _)| session.parse().ok())
        .ok_or_else(|| {
            format!("\"{label}\" is no contact: it is written SESSION-NUMBER, such as 1-3").into()
        })
}

fn contact_text(contact: &Contact, total: &Total) -> String {
    let endpoint = &contact.endpoint;
    let port = endpoint.port.map(|port| format!(" port {port}"));
    let mut text = format!(
        "contact {}: {} reached {}{} {}{}, {} bytes sent in {} flows, from {}\n",
        contact.contact,
        owner(&contact.owner),
        endpoint.addr,
        endpoint
            .name
            .as_ref()
            .map(|name| format!(" ({name})"))
            .unwrap_or_default(),
        endpoint.proto.word(),
        port.unwrap_or_default(),
        total.bytes_out,
        total.flows,
        total.first,
    );
    let besides: Vec<&str> = said_besides(&endpoint.names, endpoint.name.as_deref())
        .map(|(name, _)| name)
        .collect();
    if !besides.is_empty() {
        text.extend(["said besides: ", &besides.join(", "), "\n"]);
    }
    if let Some(hidden) = contact.names_hidden {
        text.extend([&hidden.text(), "\n"]);
    }
    text
}

fn rule_text(set: &str, explanation: &Explanation) -> String {
    let says = explanation.verdict.as_ref().map(|verdict| verdict.outcome);
    let says = match says {
        Some(Says::Finding) => "finding",
        Some(Says::NeedsReview) => "needs review",
        Some(Says::Excepted) => "excepted",
        None => "silent",
    };
    let mut lines = vec![format!(
        "\n{set} {}: {says}. {}",
        explanation.rule, explanation.title
    )];
    lines.extend(asked_lines(&explanation.asked, "  "));
    let silent = explanation.verdict.is_none();
    if silent && !explanation.asked.iter().any(|asked| asked.said == Said::No) {
        lines.push(
            "  it ignores contacts of which an answer is not known (undeterminable)".to_owned(),
        );
    }
    if !silent {
        lines.extend(
            explanation
                .grade_too_low
                .iter()
                .map(|why| format!("  {why}")),
        );
        for exception in &explanation.exceptions {
            let state = match exception.expired {
                Some(true) => "had expired",
                Some(false) => "was in force",
                None => "may have been in force",
            };
            let (id, until) = (&exception.id, exception.expires);
            lines.push(format!("  exception {id} {state} (until {until})"));
            lines.extend(asked_lines(&exception.asked, "    "));
        }
    }
    let references = explanation.verdict.iter().flat_map(|said| &said.reference);
    lines.extend(references.map(|text| format!("  may be relevant, in force that day: {text}")));
    lines.join("\n") + "\n"
}

fn asked_lines(asked: &[Asked], indent: &str) -> Vec<String> {
    let line = |asked: &Asked| {
        let said = asked.said.as_str();
        format!(
            "{indent}{said:<9} {} = {}: {}",
            asked.key, asked.wanted, asked.found
        )
    };
    asked.iter().map(line).collect()
}
