//! Reading a brand's file of statements and claims.
//!
//! In: the text of a TOML file and its name for messages. Out: a [`BrandFile`], or everything that
//! is wrong with it.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeTable;

use super::fields::{
    Fields, Groups, Reader, Value, read_globs, read_sha256, read_text, read_texts, read_word,
};
use super::{Ids, SET_BYTES_MAX, document, read_allowed_place, read_schema};
use crate::declare::{BrandFile, Claim, ClaimTest, ExternalResult, ResultSays, Statement};
use crate::glob::Glob;
use crate::problem::{Problem, TomlError};
use crate::rule_set::ClaimKind;
use crate::vocabulary::{Word, help_for};

const FILE_KEYS: &[&str] = &[
    "schema",
    "brand",
    "dated",
    "services",
    "packages",
    "signers",
    "own",
    "note",
    "statement",
];
const STATEMENT_KEYS: &[&str] = &[
    "id",
    "said_on",
    "words",
    "source",
    "document_sha256",
    "status",
    "supersedes",
    "claim",
];
const CLAIM_KEYS: &[&str] = &[
    "id", "kind", "test", "about", "allow", "parties", "packages", "result",
];
const RESULT_KEYS: &[&str] = &["title", "on", "sha256", "says"];

impl BrandFile {
    /// Reads a brand's file; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, TomlError> {
        let mut reader = Reader::new(text);
        if text.len() > SET_BYTES_MAX {
            let help = "a declaration has at most 1 MiB";
            reader.report(0..0, "the file is too large", help);
            reader = reader.sound(file)?;
        }
        let document = document(&mut reader, text);
        let mut reader = reader.sound(file)?;
        let read = read_file(&mut reader, &document);
        reader.sound(file)?;
        // Each absent part has been reported above, so this is not reached without a file.
        read.ok_or_else(|| TomlError {
            file: file.to_owned(),
            problems: vec![Problem::at(
                text,
                0..0,
                "not a declaration".into(),
                String::new(),
            )],
            more: 0,
        })
    }
}

fn read_file<'a>(reader: &mut Reader<'_>, document: &'a Spanned<DeTable<'a>>) -> Option<BrandFile> {
    let table = Fields::of(
        reader,
        document.get_ref(),
        0..0,
        "the declaration",
        FILE_KEYS,
    );
    read_schema(reader, &table);
    let brand = table.text(reader, "brand");
    let dated = table.day(reader, "dated");
    let services = texts(reader, &table, "services");
    let packages = table
        .required(reader, "packages")
        .and_then(|value| read_globs(reader, value, "packages", &Groups::new()));
    let signers = hashes(reader, &table, "signers");
    let own = globs(reader, &table, "own");
    let note = table.text_if_any(reader, "note");
    let mut ids = Ids::default();
    let statements: Vec<Option<Statement>> = table
        .tables(reader, "statement")
        .iter()
        .map(|value| read_statement(reader, value, &mut ids))
        .collect();
    if statements.is_empty() && table.get("note").is_none() {
        let help = "add a `[[statement]]`, or say so: note = \"No statement found; ask.\"";
        reader.report(0..0, "the declaration has no statement and no note", help);
    }
    check_supersedes(reader, &table, &ids.seen);
    Some(BrandFile {
        brand: brand?,
        dated: dated?,
        services,
        packages: packages?,
        signers,
        own,
        note: note.unwrap_or_default(),
        statements: statements.into_iter().collect::<Option<_>>()?,
    })
}

/// What a statement takes the place of must be another one of the file.
fn check_supersedes(reader: &mut Reader<'_>, table: &Fields<'_>, known: &[String]) {
    for statement in table.tables(reader, "statement") {
        let own = statement
            .get_ref()
            .get("id")
            .and_then(|id| id.get_ref().as_str());
        let list = statement.get_ref().get("supersedes");
        for entry in list
            .and_then(|list| list.get_ref().as_array())
            .into_iter()
            .flatten()
        {
            let Some(id) = entry.get_ref().as_str() else {
                continue;
            };
            if Some(id) == own {
                let help = "name the earlier statement";
                reader.report(entry.span(), "a statement can't supersede itself", help);
            } else if !known.iter().any(|known| known == id) {
                let help = help_for(
                    id,
                    known.iter().map(String::as_str),
                    "statements of this file",
                );
                reader.report(
                    entry.span(),
                    format!("no statement has the id \"{id}\""),
                    help,
                );
            }
        }
    }
}

fn read_statement(reader: &mut Reader<'_>, value: &Value<'_>, ids: &mut Ids) -> Option<Statement> {
    let table = Fields::open(reader, value, "`[[statement]]`", STATEMENT_KEYS)?;
    let id = ids.read(reader, &table);
    let said_on = table.day(reader, "said_on");
    let words = table.text(reader, "words");
    let source = table.text(reader, "source");
    let document_sha256 = hash(reader, &table, "document_sha256");
    let status = table.word(reader, "status");
    let supersedes = texts(reader, &table, "supersedes").into_iter().collect();
    let mut claim_ids = Ids::default();
    let claims: Vec<Option<Claim>> = table
        .tables(reader, "claim")
        .iter()
        .map(|value| read_claim(reader, value, &mut claim_ids))
        .collect();
    if claims.is_empty() {
        let help = "add a `[[statement.claim]]` for each part that can be held against something";
        reader.report(table.span(), "the statement has no claim", help);
    }
    Some(Statement {
        id: id?,
        said_on: said_on?,
        words: words?,
        source: source?,
        document_sha256,
        status: status?,
        supersedes,
        claims: claims.into_iter().collect::<Option<_>>()?,
    })
}

fn read_claim(reader: &mut Reader<'_>, value: &Value<'_>, ids: &mut Ids) -> Option<Claim> {
    let table = Fields::open(reader, value, "`[[statement.claim]]`", CLAIM_KEYS)?;
    let id = ids.read(reader, &table);
    let kind: Option<ClaimKind> = table.word(reader, "kind");
    let test: Option<ClaimTest> = table.word(reader, "test");
    let about = table.text(reader, "about");
    let allow = table
        .tables(reader, "allow")
        .iter()
        .filter_map(|value| read_allowed_place(reader, value))
        .collect();
    let parties = globs(reader, &table, "parties");
    let packages = globs(reader, &table, "packages");
    let results: Vec<Option<ExternalResult>> = table
        .tables(reader, "result")
        .iter()
        .map(|value| read_result(reader, value, kind))
        .collect();
    check_claim(reader, &table, kind, test);
    Some(Claim {
        id: id?,
        kind: kind?,
        test: test?,
        about: about?,
        allow,
        parties,
        packages,
        results: results.into_iter().collect::<Option<_>>()?,
    })
}

/// A claim that traffic tests needs what traffic is held against.
fn check_claim(
    reader: &mut Reader<'_>,
    table: &Fields<'_>,
    kind: Option<ClaimKind>,
    test: Option<ClaimTest>,
) {
    let (Some(kind), Some(ClaimTest::Traffic)) = (kind, test) else {
        return;
    };
    if !kind.shows_in_traffic() {
        let span = table.get("test").map_or(table.span(), Spanned::span);
        let message = format!("traffic can't test a claim of kind {}", kind.word());
        reader.report(
            span,
            message,
            "expected payload, device_state, document or none",
        );
        return;
    }
    match kind {
        ClaimKind::ThirdParty if table.get("parties").is_none() => {
            let help = "add `parties = [\"*.partner.example\"]`; [] if it says that there are none";
            reader.report(table.span(), "the claim names no party", help);
        }
        ClaimKind::Path | ClaimKind::ExclusivePath | ClaimKind::Storage | ClaimKind::Retention
            if table.get("allow").is_none() =>
        {
            let help = "add `allow = [{ provider = \"aws\", region = \"…\", country = \"…\" }]`";
            reader.report(table.span(), "the claim names no place", help);
        }
        _ => {}
    }
}

fn read_result(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    kind: Option<ClaimKind>,
) -> Option<ExternalResult> {
    let table = Fields::open(reader, value, "`result`", RESULT_KEYS)?;
    let title = table.text(reader, "title");
    let on = table.day(reader, "on");
    table.required(reader, "sha256");
    let sha256 = hash(reader, &table, "sha256");
    let says = table
        .required(reader, "says")
        .and_then(|value| read_word::<ResultSays>(reader, value, "says"));
    if let (Some(kind), Some(ResultSays::Contradicted), Some(value)) =
        (kind, says, table.get("says"))
        && !kind.can_be_contradicted()
    {
        let message = format!("a claim of kind {} is not called contradicted", kind.word());
        let help =
            "write not_determinable; what the document says stays in it, for people to judge";
        reader.report(value.span(), message, help);
    }
    Some(ExternalResult {
        title: title?,
        on: on?,
        sha256: sha256?,
        says: says?,
    })
}

/// A list of texts that may be absent or empty.
fn texts(reader: &mut Reader<'_>, table: &Fields<'_>, key: &str) -> Vec<String> {
    let Some(value) = table.get(key).filter(|value| !is_empty(value)) else {
        return Vec::new();
    };
    let read = read_texts(reader, value, key, &Groups::new());
    read.into_iter().flatten().map(|(_, text)| text).collect()
}

/// A list of patterns that may be absent or empty.
fn globs(reader: &mut Reader<'_>, table: &Fields<'_>, key: &str) -> BTreeSet<Glob> {
    let value = table.get(key).filter(|value| !is_empty(value));
    value
        .and_then(|value| read_globs(reader, value, key, &Groups::new()))
        .unwrap_or_default()
}

/// A list of hashes that may be absent or empty: that none is known is an honest state.
fn hashes(reader: &mut Reader<'_>, table: &Fields<'_>, key: &str) -> BTreeSet<String> {
    let value = table.get(key).filter(|value| !is_empty(value));
    value
        .and_then(|value| read_sha256(reader, value, key, &Groups::new()))
        .unwrap_or_default()
}

fn is_empty(value: &Value<'_>) -> bool {
    value
        .get_ref()
        .as_array()
        .is_some_and(|list| list.is_empty())
}

/// One hash that may be absent.
fn hash(reader: &mut Reader<'_>, table: &Fields<'_>, key: &str) -> Option<String> {
    let value = table.get(key)?;
    let text = read_text(reader, value, key)?;
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 64 && text.bytes().all(digit) {
        return Some(text);
    }
    let help = "expected the 64 digits 0-9 and a-f of the document's SHA-256 (`sha256sum FILE`)";
    reader.report(value.span(), format!("`{key}` is no SHA-256"), help);
    None
}

/// Whether a text looks like a brand's file rather than a rule set or cases: it names a brand.
pub fn is_declaration(text: &str) -> bool {
    let mut reader = Reader::new(text);
    document(&mut reader, text).get_ref().contains_key("brand")
}
