//! `sakshi claims` and `sakshi declaration`: what brands say, and what was seen.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use sakshi_rules::{
    declare::{self, BrandFile},
    form,
    register::{ClaimRow, KnownBy, Register, Standing, register},
};
use serde_json::json;

use super::{
    Failure, Outcome,
    args::TextOrJsonl,
    authority::standing,
    judge::read_text as read,
    output::{Stdout, say},
};
use crate::{
    evidence::{Hash, canonical::to_canonical},
    paper::source::Source as From,
    posthoc::seen,
    report::{
        coverage::{Asked, coverage, text},
        redact::Redactor,
        table::plain,
    },
};

/// `sakshi claims`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --declarations, the built-in files of the brands whose apps were seen are \
    used.\n\n\
    Examples:\n  \
    sakshi claims case-17\n  \
    sakshi claims case-17.tar --declarations answers/ --format jsonl"
)]
pub struct ClaimsArgs {
    /// Folder of the case, or a bundle.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Files of statements, or folders of such files.
    #[arg(long, value_name = "DIR|FILE")]
    pub declarations: Vec<PathBuf>,
    /// Form of the register.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
}

/// `sakshi declaration`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    sakshi declaration new OPPO > oppo.toml\n  \
    sakshi declaration check oppo.toml")]
pub enum DeclarationCommand {
    /// Print a questionnaire for a brand: a file that it fills in, with a guide.
    New {
        /// The brand.
        #[arg(value_name = "BRAND")]
        brand: String,
    },
    /// Say everything that is wrong with files of statements.
    Check {
        /// Files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// A brand's file with where it comes from.
struct Source {
    file: String,
    sha256: Hash,
    brand: BrandFile,
}

/// Shows the register.
pub fn claims(args: &ClaimsArgs) -> Result<Outcome, Failure> {
    let mut sources = sources(&args.declarations)?;
    let from = From::open(&args.case)?;
    let reader = from.reader();
    let (seen, not_asked) = seen(reader)?;
    let files: Vec<BrandFile> = sources.iter().map(|source| source.brand.clone()).collect();
    let mut register = register(&files, &seen);
    let mut silent = Vec::new();
    if args.declarations.is_empty() {
        // Of the built-in files, those of other makers say nothing here.
        register.brands.retain(|brand| {
            let here = brand.contacts > 0;
            if !here {
                silent.push(brand.brand.clone());
            }
            here
        });
        sources.retain(|source| !silent.contains(&source.brand.brand));
    }
    let head = reader.head()?;
    match args.format {
        TextOrJsonl::Jsonl => {
            say(standing(reader)?);
            let files = sources.iter().map(|source| {
                json!({ "file": source.file, "brand": source.brand.brand, "sha256": source.sha256 })
            });
            let mut row = json!({
                "case": { "seq": head.seq, "hash": head.hash },
                "declarations": files.collect::<Vec<_>>(),
                "no_app_seen": silent,
                "contacts_not_asked": not_asked,
                "register": register,
            });
            Redactor::of(reader)?.texts(&mut row);
            let mut out = Stdout::open();
            out.line(to_canonical(&row)?)?;
            out.close()?;
        }
        TextOrJsonl::Text => {
            let mut out = Stdout::open();
            out.text(page(&register, &sources, &silent, not_asked))?;
            let asked = Asked {
                from: None,
                to: None,
            };
            out.line("\nWhat of the time was watched")?;
            // An inspection of captures watched nothing: that is said in its place.
            match coverage(reader, asked) {
                Ok(coverage) => out.text(text::page(&coverage))?,
                Err(none) => out.line(plain(&none.to_string()))?,
            }
            out.line(standing(reader)?)?;
            out.close()?;
        }
    }
    Ok(Outcome::Done)
}

/// `declaration new` and `declaration check`.
pub fn declaration(command: &DeclarationCommand) -> Result<Outcome, Failure> {
    match command {
        DeclarationCommand::New { brand } => {
            let mut out = Stdout::open();
            out.text(form::questionnaire(brand))?;
            out.close()?;
            Ok(Outcome::Done)
        }
        DeclarationCommand::Check { files } => check(files),
    }
}

fn check(files: &[PathBuf]) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    let mut outcome = Outcome::Done;
    for path in files {
        let file = path.display().to_string();
        match BrandFile::parse(&file, &read(path)?) {
            Ok(brand) => {
                out.line(sound(path, &brand))?;
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

/// What is said of a file with which nothing is wrong.
pub(super) fn sound(path: &Path, brand: &BrandFile) -> String {
    let claims: usize = brand.statements.iter().map(|said| said.claims.len()).sum();
    format!(
        "{}: sound. {}: {} statements, {claims} claims",
        path.display(),
        plain(&brand.brand),
        brand.statements.len()
    )
}

/// The files that were named, those in the folders that were named, or the built-in ones.
fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    if paths.is_empty() {
        let built_in = declare::embedded().iter();
        return built_in
            .map(|(file, text)| source((*file).to_owned(), text))
            .collect();
    }
    let mut sources = Vec::new();
    for path in paths {
        for file in files_in(path)? {
            sources.push(source(file.display().to_string(), &read(&file)?)?);
        }
    }
    Ok(sources)
}

fn source(file: String, text: &str) -> Result<Source, Failure> {
    Ok(Source {
        brand: BrandFile::parse(&file, text)?,
        sha256: Hash::of(text.as_bytes()),
        file,
    })
}

/// A file itself, or the TOML files of a folder, sorted.
pub(super) fn files_in(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unread = |error: std::io::Error| {
        format!(
            "{} can't be read: {error}; check that you may read it",
            path.display()
        )
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unread)? {
        let file = entry.map_err(unread)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{} holds no file that ends in .toml: name the folder or file of the statements",
            path.display()
        )
        .into());
    }
    files.sort();
    Ok(files)
}

/// The standings in the order in which they are counted: none is set before another by its weight.
const STANDINGS: [Standing; 6] = [
    Standing::Consistent,
    Standing::Contradicted,
    Standing::UnnamedPlace,
    Standing::NotDeterminable,
    Standing::NotExercised,
    Standing::NeedsDocument,
];

fn page(register: &Register, sources: &[Source], silent: &[String], not_asked: u64) -> String {
    let mut lines = vec![format!(
        "Register of claims, held against {} contacts ({not_asked} not: a probe's own, or their \
         counts are not in the case)",
        register.contacts
    )];
    let rows = || {
        let statements = register.brands.iter().flat_map(|brand| &brand.statements);
        statements.flat_map(|said| &said.claims)
    };
    let counted = STANDINGS.iter().map(|standing| {
        let count = rows().filter(|row| row.standing == *standing).count();
        format!("{count} {}", standing.text())
    });
    lines.push(counted.collect::<Vec<_>>().join(", "));
    lines.push(
        "Traffic is that of the apps seen in this case; it shows where data goes first, never \
         where it is kept. People decide."
            .to_owned(),
    );
    for brand in &register.brands {
        lines.push(String::new());
        lines.push(format!(
            "{} ({} contacts of its apps; file dated {})",
            brand.brand, brand.contacts, brand.dated
        ));
        if !brand.note.is_empty() {
            lines.push(format!("  {}", brand.note));
        }
        for said in &brand.statements {
            let until = said.superseded_on.as_ref();
            lines.push(format!(
                "  {} of {} ({}{}): {}",
                said.statement,
                said.said_on,
                said.status,
                until.map_or_else(String::new, |day| format!(", until {day}")),
                said.words
            ));
            lines.push(format!("    source: {}", said.source));
            said.claims.iter().for_each(|row| claim(row, &mut lines));
        }
    }
    lines.push(String::new());
    undeclared(register, &mut lines);
    lines.push(String::new());
    for source in sources {
        lines.push(format!("{} SHA-256 {}", source.file, source.sha256));
    }
    if !silent.is_empty() {
        lines.push(format!("no app was seen of: {}", silent.join(", ")));
    }
    let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    lines.join("\n") + "\n"
}

fn claim(row: &ClaimRow, lines: &mut Vec<String>) {
    lines.push(format!(
        "    {} [{}, test: {}]: {}",
        row.claim,
        row.kind,
        row.test,
        row.standing.text().to_uppercase()
    ));
    lines.push(format!("      {}", row.about));
    lines.push(format!("      {}", row.why));
    if row.counts.by_name_only > 0 {
        lines.push(format!(
            "      {} of them by package name only: no signer is known",
            row.counts.by_name_only
        ));
    }
    for example in &row.examples {
        lines.push(format!(
            "      {}: contact {}, {} to {}: {}",
            example.answer, example.contact, example.who, example.endpoint, example.why
        ));
    }
    for result in &row.results {
        lines.push(format!("      attached: {result}"));
    }
    lines.push(format!("      next: {}", row.next.text()));
}

fn undeclared(register: &Register, lines: &mut Vec<String>) {
    lines.push(format!(
        "Reached by preloaded apps, and named by no declaration of a brand seen here: {}",
        register.undeclared.len()
    ));
    for party in &register.undeclared {
        let list = |texts: &BTreeSet<String>, separator: &str| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            texts.join(separator)
        };
        let mut shown = vec![party.known_by.text().to_owned()];
        if !party.organisations.is_empty() && party.known_by != KnownBy::Address {
            shown.push(format!("addresses of {}", list(&party.organisations, ", ")));
        }
        if !party.countries.is_empty() {
            shown.push(list(&party.countries, ", "));
        }
        let hosts = if party.hosts.is_empty() {
            String::new()
        } else {
            format!("; hosts such as {}", list(&party.hosts, ", "))
        };
        lines.push(format!(
            "  {} ({}) by {}: {} contacts, {} flows, such as {}{hosts}",
            party.party,
            shown.join("; "),
            list(&party.apps, "; "),
            party.contacts,
            party.flows,
            party.examples.join(", ")
        ));
    }
}
