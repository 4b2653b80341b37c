//! `sakshi claims` and `sakshi declaration`: what brands say, and what was seen.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sakshi_rules::{
    declare::{self, BrandFile},
    form,
    register::{ClaimRow, Register, Seen, Standing, register},
};
use serde_json::json;

use super::{
    Failure, Outcome,
    args::{ClaimsArgs, DeclarationCommand, TextOrJsonl},
    authority::standing,
    judge::read,
    output::{Stdout, say},
    rules::check,
};
use crate::{
    evidence::{Hash, Reader, canonical::to_canonical},
    finding::stored,
    report::{
        coverage::{Asked, coverage, text},
        redact::Redactor,
        table::plain,
    },
};

/// A brand's file with where it comes from.
struct Source {
    file: String,
    sha256: Hash,
    brand: BrandFile,
}

/// Shows the register.
pub fn claims(args: &ClaimsArgs) -> Result<Outcome, Failure> {
    let mut sources = sources(&args.declarations)?;
    let reader = Reader::open(&args.case)?;
    let seen: Vec<Seen> = stored::read(&reader)?
        .iter()
        .filter(|one| !one.probe)
        .map(stored::Stored::seen)
        .collect();
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
            say(standing(&reader)?);
            let files = sources.iter().map(|source| {
                json!({ "file": source.file, "brand": source.brand.brand, "sha256": source.sha256 })
            });
            let mut row = json!({
                "case": { "seq": head.seq, "hash": head.hash },
                "declarations": files.collect::<Vec<_>>(),
                "no_app_seen": silent,
                "register": register,
            });
            Redactor::of(&reader)?.texts(&mut row);
            let mut out = Stdout::open();
            out.line(to_canonical(&row)?)?;
            out.close()?;
        }
        TextOrJsonl::Text => {
            let mut out = Stdout::open();
            out.text(page(&register, &sources, &silent))?;
            let asked = Asked {
                from: None,
                to: None,
            };
            out.line("\nWhat of the time was watched")?;
            out.text(text::page(&coverage(&reader, asked)?))?;
            out.line(standing(&reader)?)?;
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
        DeclarationCommand::Check { files } => check(files.iter().map(AsRef::as_ref)),
    }
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

fn files_in(path: &Path) -> Result<Vec<PathBuf>, Failure> {
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

fn page(register: &Register, sources: &[Source], silent: &[String]) -> String {
    let mut lines = vec![format!(
        "Register of claims, held against {} contacts",
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
    lines
        .iter()
        .map(|line| format!("{}\n", plain(line)))
        .collect()
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
        let apps: Vec<&str> = party.apps.iter().map(String::as_str).collect();
        lines.push(format!(
            "  {} ({}{}) by {}: {} contacts, {} flows, such as {}",
            party.party,
            party
                .organisation
                .as_deref()
                .unwrap_or("organisation not known"),
            party
                .country
                .as_ref()
                .map_or_else(String::new, |country| format!(", {country}")),
            apps.join("; "),
            party.contacts,
            party.flows,
            party.examples.join(", ")
        ));
    }
}
