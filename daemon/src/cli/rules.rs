//! `sakshi rules`: check, test, explain and begin rule sets.

mod schema;

use std::{fs, path::Path};

use sakshi_rules::{
    RuleSet,
    cases::{check_cases, parse_cases},
    declare::BrandFile,
    form,
    judge::{AnswerWord, Explained, explain},
    parse::declaration::{is_cases, is_declaration},
    vocabulary::Word,
};

use super::{
    Failure, Outcome,
    args::RulesCommand,
    judge::read,
    output::{Stdout, say},
};
use crate::{
    evidence::Reader,
    finding::stored::{self, Stored},
    report::table::plain,
};

/// Does what was asked.
pub fn rules(command: &RulesCommand) -> Result<Outcome, Failure> {
    match command {
        RulesCommand::Check { files } => check(files.iter().map(AsRef::as_ref)),
        RulesCommand::Test { dirs } => test(dirs.iter().map(AsRef::as_ref)),
        RulesCommand::Explain { case, finding } => explained(case, finding.as_deref()),
        RulesCommand::Schema => {
            let mut out = Stdout::open();
            out.line(serde_json::to_string_pretty(&schema::schema())?)?;
            out.close()?;
            Ok(Outcome::Done)
        }
        RulesCommand::New { dir } => begin(dir),
    }
}

/// Says all that is wrong with each file: a rule set, its cases, or a brand's statements.
pub fn check<'p>(files: impl Iterator<Item = &'p Path>) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    let mut outcome = Outcome::Done;
    for path in files {
        let (file, text) = (path.display().to_string(), read(path)?);
        let checked = if is_declaration(&text) {
            BrandFile::parse(&file, &text).map(|read| {
                let claims: usize = read.statements.iter().map(|said| said.claims.len()).sum();
                let said = read.statements.len();
                format!("{}: {said} statements, {claims} claims", read.brand)
            })
        } else if is_cases(&text) {
            parse_cases(&file, &text).map(|cases| format!("{} cases", cases.len()))
        } else {
            RuleSet::parse(&file, &text).map(|set| {
                let (rules, excepted) = (set.rules().len(), set.exceptions().len());
                let id = set.id();
                format!(
                    "set {id} {}: {rules} rules, {excepted} exceptions",
                    set.version()
                )
            })
        };
        match checked {
            Ok(what) => out.line(format_args!("{file}: good ({})", plain(&what)))?,
            Err(error) => {
                outcome = Outcome::No;
                out.line(error)?;
            }
        }
    }
    out.close()?;
    Ok(outcome)
}

fn test<'p>(dirs: impl Iterator<Item = &'p Path>) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    let mut outcome = Outcome::Done;
    for dir in dirs {
        let (set, cases) = (dir.join("set.toml"), dir.join("cases.toml"));
        let (set_text, cases_text) = (read(&set)?, read(&cases)?);
        let parsed = RuleSet::parse(&set.display().to_string(), &set_text);
        let listed = parse_cases(&cases.display().to_string(), &cases_text);
        match (parsed, listed) {
            (Ok(set), Ok(listed)) => {
                let failures = check_cases(&set, &listed);
                for failure in &failures {
                    outcome = Outcome::No;
                    out.line(format_args!("{}: {failure}", cases.display()))?;
                }
                let (all, wrong) = (listed.len(), failures.len());
                out.line(format_args!(
                    "{}: {all} cases, {wrong} complaints",
                    dir.display()
                ))?;
            }
            (parsed, listed) => {
                outcome = Outcome::No;
                for error in [parsed.err(), listed.err()].into_iter().flatten() {
                    out.line(error)?;
                }
            }
        }
    }
    out.close()?;
    Ok(outcome)
}

fn begin(dir: &Path) -> Result<Outcome, Failure> {
    let refused = |error: std::io::Error| {
        format!(
            "{} can't be made: {error}; name a new folder, where you may write",
            dir.display()
        )
    };
    fs::create_dir(dir).map_err(refused)?;
    fs::write(dir.join("set.toml"), form::SET).map_err(refused)?;
    fs::write(dir.join("cases.toml"), form::CASES).map_err(refused)?;
    say(format_args!(
        "made {0}/set.toml and {0}/cases.toml; go on with `sakshi rules test {0}`",
        dir.display()
    ));
    Ok(Outcome::Done)
}

fn explained(case: &Path, which: Option<&str>) -> Result<Outcome, Failure> {
    let reader = Reader::open(case)?;
    let contacts = stored::read(&reader)?;
    let mut out = Stdout::open();
    let Some(which) = which else {
        for one in &contacts {
            for found in &one.findings {
                let finding = &found.finding;
                let line = format!(
                    "{:>8}  contact {}  {} {} {}: {}",
                    found.seq,
                    finding.contact,
                    finding.set,
                    finding.rule,
                    finding.outcome,
                    finding.reason
                );
                out.line(plain(&line))?;
            }
        }
        out.close()?;
        return Ok(Outcome::Done);
    };
    let seq: Option<i64> = which.parse().ok();
    let chosen = contacts.iter().find(|one| {
        one.body.contact == which || one.findings.iter().any(|found| Some(found.seq) == seq)
    });
    let Some(chosen) = chosen else {
        return Err(format!(
            "the case has no finding or contact {}: `sakshi rules explain CASE` lists them",
            plain(which)
        )
        .into());
    };
    let sets = recorded_sets(case)?;
    out.text(explanation(chosen, &explain(&sets, &chosen.input), seq))?;
    out.close()?;
    Ok(Outcome::Done)
}

/// The rule sets that the case keeps, in the order of their names.
fn recorded_sets(case: &Path) -> Result<Vec<RuleSet>, Failure> {
    let folder = case.join("rules");
    let unread = |error: std::io::Error| {
        format!(
            "{} can't be read: {error}; `sakshi verify` says what is missing",
            folder.display()
        )
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unread)? {
        paths.push(entry.map_err(unread)?.path());
    }
    paths.sort();
    let mut sets: Vec<RuleSet> = Vec::new();
    for path in paths {
        sets.push(RuleSet::parse(&path.display().to_string(), &read(&path)?)?);
    }
    Ok(sets)
}

/// First the rule that was asked for, then the others.
fn explanation(one: &Stored, rules: &[Explained], seq: Option<i64>) -> String {
    let asked = one.findings.iter().find(|found| Some(found.seq) == seq);
    let is_asked = |rule: &&Explained| {
        asked.is_some_and(|found| {
            (&found.finding.set, &found.finding.rule) == (&rule.set, &rule.rule)
        })
    };
    let mut lines = vec![format!(
        "contact {} as it last stood, by the rules that the case keeps",
        one.body.contact
    )];
    if let Some(found) = asked {
        let finding = &found.finding;
        lines.push(format!(
            "record {}: {} {} {}: {}",
            found.seq, finding.set, finding.rule, finding.outcome, finding.reason
        ));
        if !finding.reference.is_empty() {
            lines.push(format!(
                "provisions that may be relevant: {}",
                finding.reference.join("; ")
            ));
        }
    }
    let others = rules.iter().filter(|rule| !is_asked(rule));
    for rule in rules.iter().filter(is_asked).chain(others) {
        lines.push(String::new());
        let outcome = rule.outcome.map_or("silent", Word::word);
        lines.push(format!(
            "{} {} ({}): {outcome}",
            rule.set, rule.rule, rule.title
        ));
        for condition in &rule.conditions {
            let mark = match condition.answer {
                AnswerWord::Yes => "+",
                AnswerWord::No => "-",
                AnswerWord::NotKnown => "?",
            };
            lines.push(format!(
                "  {mark} {:<20} {:<10} {}",
                condition.key,
                condition.answer.text(),
                condition.value
            ));
        }
        lines.push(format!("  = {}", rule.reason));
    }
    lines
        .iter()
        .map(|line| format!("{}\n", plain(line)))
        .collect()
}
