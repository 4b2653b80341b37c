//! `rules`: what people who write rule sets need.
//!
//! In: rule files, cases beside them, a case of evidence. Out: everything that is wrong, why a rule
//! said what it said, a schema for editors, and a set to begin with.

mod explain;
mod schema;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use sakshi_rules::{
    RuleSet,
    cases::{check_cases, parse_cases},
    declare::{self, BrandFile},
    is_declaration,
};

use super::{
    Failure, Outcome, claims,
    judge::read_text,
    output::{Stdout, say},
};
use crate::evidence::Hash;

/// Name of a rule set's file in its folder.
const SET_FILE: &str = "set.toml";
/// Name of the file with its cases.
const CASES_FILE: &str = "cases.toml";
/// What `rules new` writes.
const NEW_SET: &str = include_str!("rules/new-set.toml");
/// The cases beside it.
const NEW_CASES: &str = include_str!("rules/new-cases.toml");
/// Stands in both for the set's id.
const ID: &str = "SET-ID";

/// `sakshi rules`.
#[derive(Debug, Subcommand)]
#[command(after_help = "How a rule is written: docs/rules.md.\n\n\
    Examples:\n  \
    sakshi rules new my-lab                        a folder with a set and its cases to change\n  \
    sakshi rules check my-lab/set.toml\n  \
    sakshi rules test my-lab\n  \
    sakshi rules explain case-17                   lists the findings that can be explained\n  \
    sakshi rules explain case-17 1-3/LOC-001\n  \
    sakshi rules schema > sakshi-rules.schema.json")]
pub enum RulesCommand {
    /// Say everything that is wrong with rule files. Exit code 1: something is.
    Check(CheckArgs),
    /// Run the cases that lie beside a rule set. Exit code 1: one fails, or a rule lacks one.
    Test(TestArgs),
    /// Say why a rule found something, value by value, and why the others did not.
    Explain(explain::ExplainArgs),
    /// Write the JSON Schema of rule files, for editors.
    Schema,
    /// Make a folder with a rule set and its cases to begin with.
    New(NewArgs),
}

/// `sakshi rules check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Rule files, and brands' files that they ask.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// `sakshi rules test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Folders, each with a set.toml and a cases.toml; brands' files beside them are asked.
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
}

/// `sakshi rules new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Folder that is made; its name becomes the set's id.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Does what was asked.
pub fn rules(command: RulesCommand) -> Result<Outcome, Failure> {
    match command {
        RulesCommand::Check(args) => check(&args.files),
        RulesCommand::Test(args) => test(&args.dirs),
        RulesCommand::Explain(args) => explain::explain(&args),
        RulesCommand::Schema => {
            let mut out = Stdout::open();
            out.line(schema::text()?)?;
            out.close()?;
            Ok(Outcome::Done)
        }
        RulesCommand::New(args) => new(&args.dir),
    }
}

fn check(files: &[PathBuf]) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    let mut outcome = Outcome::Done;
    let mut ids: Vec<(String, &Path)> = Vec::new();
    let (named, sets): (Vec<_>, Vec<_>) = files
        .iter()
        .map(|path| Ok((path, read_text(path)?)))
        .collect::<Result<Vec<_>, Failure>>()?
        .into_iter()
        .partition(|(_, text)| is_declaration(text));
    let mut brands = Vec::new();
    for (path, text) in named {
        match BrandFile::parse(&path.display().to_string(), &text) {
            Ok(brand) => {
                out.line(claims::sound(path, &brand))?;
                brands.push(brand);
            }
            Err(wrong) => {
                outcome = Outcome::No;
                out.line(wrong)?;
            }
        }
    }
    let brands = with_built_in(brands)?;
    for (path, text) in sets {
        match RuleSet::parse(&path.display().to_string(), &text, &brands) {
            Ok(set) => {
                out.line(sound(path, &set, &text))?;
                if let Some((id, other)) = ids.iter().find(|(id, _)| id == set.id()) {
                    outcome = Outcome::No;
                    out.line(format_args!(
                        "{}: the id \"{id}\" is also that of {}: sets that judge together differ in it",
                        path.display(),
                        other.display()
                    ))?;
                }
                ids.push((set.id().to_owned(), path));
            }
            Err(wrong) => {
                outcome = Outcome::No;
                out.line(wrong)?;
            }
        }
    }
    out.close()?;
    Ok(outcome)
}

/// The given files of brands, and those built in of other brands.
fn with_built_in(mut brands: Vec<BrandFile>) -> Result<Vec<BrandFile>, Failure> {
    for brand in declare::read_embedded()? {
        if !brands.iter().any(|given| given.brand == brand.brand) {
            brands.push(brand);
        }
    }
    Ok(brands)
}

fn sound(path: &Path, set: &RuleSet, text: &str) -> String {
    format!(
        "{}: sound. {} version {}: {} rules, {} exceptions, {}; SHA-256 {}",
        path.display(),
        set.id(),
        set.version(),
        set.rules().len(),
        set.exceptions().len(),
        if set.brands().is_empty() {
            "asks no brand's file".to_owned()
        } else {
            let brands: Vec<&str> = set.brands().into_iter().collect();
            format!("asks the files of {}", brands.join(", "))
        },
        Hash::of(text.as_bytes()),
    )
}

fn test(dirs: &[PathBuf]) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    let mut outcome = Outcome::Done;
    for dir in dirs {
        let wrong = test_one(dir, &mut out)?;
        if wrong {
            outcome = Outcome::No;
        }
    }
    out.close()?;
    Ok(outcome)
}

/// Runs a folder's cases; says whether something is wrong.
fn test_one(dir: &Path, out: &mut Stdout) -> Result<bool, Failure> {
    let (set_path, cases_path) = (dir.join(SET_FILE), dir.join(CASES_FILE));
    let (set_text, cases_text) = (read_text(&set_path)?, read_text(&cases_path)?);
    let mut brands = Vec::new();
    for path in claims::files_in(dir)? {
        let text = read_text(&path)?;
        if is_declaration(&text) {
            brands.push(BrandFile::parse(&path.display().to_string(), &text)?);
        }
    }
    let brands = with_built_in(brands)?;
    let set = RuleSet::parse(&set_path.display().to_string(), &set_text, &brands);
    let cases = parse_cases(&cases_path.display().to_string(), &cases_text);
    let (set, cases) = match (set, cases) {
        (Ok(set), Ok(cases)) => (set, cases),
        (set, cases) => {
            for wrong in set.err().into_iter().chain(cases.err()) {
                out.line(wrong)?;
            }
            return Ok(true);
        }
    };
    let failures = check_cases(&set, &cases);
    for failure in &failures {
        out.line(format_args!("{}: {failure}", cases_path.display()))?;
    }
    if failures.is_empty() {
        out.line(format_args!(
            "{}: {} rules, {} cases, all as expected",
            dir.display(),
            set.rules().len(),
            cases.len()
        ))?;
    }
    Ok(!failures.is_empty())
}

fn new(dir: &Path) -> Result<Outcome, Failure> {
    let id = dir
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
        .ok_or("the folder's name becomes the set's id: use letters, digits, `-`, `_` and `.`")?;
    fs::create_dir(dir).map_err(|error| {
        format!(
            "{} cannot be made: {error}; name a folder that is not there yet",
            dir.display()
        )
    })?;
    for (file, text) in [(SET_FILE, NEW_SET), (CASES_FILE, NEW_CASES)] {
        let path = dir.join(file);
        fs::write(&path, text.replace(ID, id))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        say(format_args!("written: {}", path.display()));
    }
    say(format_args!(
        "Change them, then: sakshi rules check {}, sakshi rules test {}",
        dir.join(SET_FILE).display(),
        dir.display()
    ));
    Ok(Outcome::Done)
}
