//! Reading a rule set.
//!
//! In: the text of a TOML file and its name for messages. Out: a [`RuleSet`] whose references all
//! lead somewhere, or a [`TomlError`] with everything that is wrong, not only the first thing.

pub mod declaration;
pub mod fields;
mod when;

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use self::fields::{
    Fields, Groups, Reader, Value, check_country, read_countries, read_number, read_text,
    read_texts,
};
use self::when::{Scope, read_when};
use crate::contact::Grade;
use crate::declare::BrandFile;
use crate::hours::Offset;
use crate::judge::Outcome;
use crate::problem::{Problem, TomlError};
use crate::rule_set::{
    AllowedPlace, Exception, PLACE_AGE_DAYS_DEFAULT, Reference, Rule, RuleKind, RuleSet,
    Undeterminable, When,
};
use crate::vocabulary::{PLACE_KEYS, Word, help_for};

/// Format version that this engine reads.
pub const SCHEMA: u64 = 1;
/// Largest rule file, in bytes.
pub const SET_BYTES_MAX: usize = 1 << 20;
/// Longest list in a rule file.
pub const LIST_ENTRIES_MAX: usize = 10_000;

pub(crate) const SET_KEYS: &[&str] = &[
    "schema",
    "id",
    "version",
    "title",
    "author",
    "home",
    "max_place_age_days",
    "utc_offset",
    "groups",
    "rule",
    "exception",
];
/// What sets once held themselves.
const OLD_DECLARATION: &str = "declaration";
pub(crate) const ALLOW_KEYS: &[&str] = &["provider", "region", "country"];
pub(crate) const RULE_KEYS: &[&str] = &[
    "id",
    "title",
    "kind",
    "severity",
    "when",
    "outcome",
    "min_grade",
    "undeterminable",
    "note",
    "reference",
];
pub(crate) const REFERENCE_KEYS: &[&str] = &["text", "from", "to"];
pub(crate) const EXCEPTION_KEYS: &[&str] =
    &["id", "rules", "when", "reason", "approved_by", "expires"];

/// Words by which a rule shows that it is about identifiers of a device or its position.
const DEVICE_WORDS: &[&str] = &[
    "advertising id",
    "android id",
    "device id",
    "iccid",
    "imei",
    "imsi",
    "mac address",
    "position",
    "serial number",
];

/// Groups that every set has.
const PRELOADS: &[&str] = &["preloaded", "updated_preload", "deletable_preload"];

impl RuleSet {
    /// Reads a rule set; `file` is its name in messages. What its rules ask of vendors and of their
    /// statements is looked up in `brands`.
    pub fn parse(file: &str, text: &str, brands: &[BrandFile]) -> Result<Self, TomlError> {
        let mut reader = Reader::new(text);
        if text.len() > SET_BYTES_MAX {
            reader.report(
                0..0,
                "the file is too large",
                "a rule file has at most 1 MiB",
            );
            reader = reader.sound(file)?;
        }
        let document = document(&mut reader, text);
        let mut reader = reader.sound(file)?;
        let set = read_set(&mut reader, &document, brands);
        reader.sound(file)?;
        // Each absent part has been reported above, so this is not reached without a set.
        set.ok_or_else(|| {
            let problem = Problem::at(text, 0..0, "not a rule set".into(), String::new());
            TomlError {
                file: file.to_owned(),
                problems: vec![problem],
                more: 0,
            }
        })
    }
}

/// The document in a TOML text, as far as it can be understood; what is no TOML is reported.
pub fn document<'a>(reader: &mut Reader<'_>, text: &'a str) -> Spanned<DeTable<'a>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let help = "see toml.io for how a TOML file is written";
        reader.report(span, format!("not TOML: {}", error.message()), help);
    }
    document
}

fn read_set<'a>(
    reader: &mut Reader<'_>,
    document: &'a Spanned<DeTable<'a>>,
    brands: &[BrandFile],
) -> Option<RuleSet> {
    check_no_declaration(reader, document.get_ref());
    let keys = [SET_KEYS, &[OLD_DECLARATION]].concat();
    let allowed = if document.get_ref().contains_key(OLD_DECLARATION) {
        keys.as_slice()
    } else {
        SET_KEYS
    };
    // The whole document's range would underline everything: point at its start.
    let table = Fields::of(reader, document.get_ref(), 0..0, "the rule set", allowed);
    read_schema(reader, &table);
    let id = table.text(reader, "id");
    let version = table.text(reader, "version");
    let title = table.text(reader, "title");
    table.text_if_any(reader, "author");
    let home = table
        .required(reader, "home")
        .and_then(|value| read_countries(reader, value, "home", &Groups::new()));
    let max_place_age_days = table
        .get("max_place_age_days")
        .and_then(|value| read_number(reader, value, "max_place_age_days", "0 to 4294967295"))
        .unwrap_or(PLACE_AGE_DAYS_DEFAULT);
    let utc_offset = read_offset(reader, &table);

    let mut ids = Ids::default();
    let groups = read_groups(reader, &table, home.as_ref());
    let scope = Scope { groups, brands };
    let rules: Vec<Option<Rule>> = table
        .tables(reader, "rule")
        .iter()
        .map(|value| read_rule(reader, value, &scope, &mut ids))
        .collect();
    if table.get("rule").is_none() {
        reader.report(0..0, "the rule set has no rule", "add a `[[rule]]`");
    }
    let rule_ids = std::mem::take(&mut ids.seen);
    let exceptions: Vec<Option<Exception>> = table
        .tables(reader, "exception")
        .iter()
        .map(|value| read_exception(reader, value, &scope, &rule_ids, &mut ids))
        .collect();
    Some(RuleSet {
        id: id?,
        version: version?,
        title: title?,
        home: home?,
        max_place_age_days,
        utc_offset,
        rules: rules.into_iter().collect::<Option<_>>()?,
        exceptions: exceptions.into_iter().collect::<Option<_>>()?,
    })
}

fn read_schema(reader: &mut Reader<'_>, table: &Fields<'_>) {
    let Some(value) = table.required(reader, "schema") else {
        return;
    };
    let found: Option<u64> = read_number(reader, value, "schema", "1");
    if found.is_some_and(|version| version != SCHEMA) {
        let help = format!("this program reads schema = {SCHEMA}; a newer one may read this file");
        reader.report(value.span(), "unknown format version", help);
    }
}

/// How far the set's clock is from UTC; UTC when it does not say.
fn read_offset(reader: &mut Reader<'_>, table: &Fields<'_>) -> Offset {
    let Some(value) = table.get("utc_offset") else {
        return Offset::default();
    };
    let Some(text) = read_text(reader, value, "utc_offset") else {
        return Offset::default();
    };
    text.parse().unwrap_or_else(|_| {
        let help = "expected sign, hours and minutes: \"+05:30\" for India";
        reader.report(value.span(), "`utc_offset` is no difference from UTC", help);
        Offset::default()
    })
}

/// Says where declarations have gone, if the set still holds some.
fn check_no_declaration(reader: &mut Reader<'_>, document: &DeTable<'_>) {
    for key in document
        .keys()
        .filter(|key| key.get_ref() == OLD_DECLARATION)
    {
        let help = "move it to a file of the brand (`sakshi declaration new BRAND` makes one), give \
             that file with --rules as well, and ask outside_declaration = \
             \"BRAND/STATEMENT/CLAIM\"";
        reader.report(key.span(), "a rule set holds no declaration any more", help);
    }
}

/// Named lists: those of the set, `@home` and `@preloads`.
fn read_groups(
    reader: &mut Reader<'_>,
    table: &Fields<'_>,
    home: Option<&BTreeSet<String>>,
) -> Groups {
    let mut groups = Groups::new();
    groups.insert("home".into(), home.into_iter().flatten().cloned().collect());
    groups.insert(
        "preloads".into(),
        PRELOADS.iter().map(|word| (*word).to_owned()).collect(),
    );
    let Some(value) = table.get("groups") else {
        return groups;
    };
    let allowed: Vec<&str> = value
        .get_ref()
        .as_table()
        .map(|entries| entries.keys().map(|key| key.get_ref().as_ref()).collect())
        .unwrap_or_default();
    let Some(table) = Fields::open(reader, value, "`[groups]`", &allowed) else {
        return groups;
    };
    for (name, value) in table.in_order() {
        if groups.contains_key(name.get_ref().as_ref()) {
            let message = format!("the group `{}` is already defined", name.get_ref());
            reader.report(name.span(), message, "choose another name");
            continue;
        }
        // A group holds values, not groups: none is defined while it is read.
        if let Some(texts) = read_texts(reader, value, name.get_ref(), &Groups::new()) {
            let texts = texts.into_iter().map(|(_, text)| text).collect();
            groups.insert(name.get_ref().clone().into_owned(), texts);
        }
    }
    groups
}

/// Ids seen among the tables of one kind.
#[derive(Default)]
struct Ids {
    seen: Vec<String>,
}

impl Ids {
    fn read(&mut self, reader: &mut Reader<'_>, table: &Fields<'_>) -> Option<String> {
        let id = table.text(reader, "id")?;
        if self.seen.contains(&id) {
            let span = table.get("id").map_or(table.span(), Spanned::span);
            reader.report(
                span,
                format!("the id \"{id}\" is used twice"),
                "choose another id",
            );
            return None;
        }
        self.seen.push(id.clone());
        Some(id)
    }
}

fn read_allowed_place(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<AllowedPlace> {
    let table = Fields::open(reader, value, "`allow`", ALLOW_KEYS)?;
    let provider = table
        .text_if_any(reader, "provider")
        .map(|text| text.to_ascii_lowercase());
    let region = table
        .text_if_any(reader, "region")
        .map(|text| text.to_ascii_lowercase());
    let country = table.text_if_any(reader, "country");
    if let (Some(code), Some(value)) = (&country, table.get("country")) {
        check_country(reader, &value.span(), code);
    }
    if table.in_order().is_empty() {
        let help = help_for("", ALLOW_KEYS.iter().copied(), "write at least one of");
        reader.report(value.span(), "`allow` names no place", help);
    }
    if region.is_some() && provider.is_none() {
        let help = "add `provider`: two providers may use the same name for different regions";
        reader.report(value.span(), "a region without its provider", help);
    }
    Some(AllowedPlace {
        provider,
        region,
        country,
    })
}

fn read_rule(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    scope: &Scope<'_>,
    ids: &mut Ids,
) -> Option<Rule> {
    let table = Fields::open(reader, value, "`[[rule]]`", RULE_KEYS)?;
    let id = ids.read(reader, &table);
    let title = table.text(reader, "title");
    let kind = table.word(reader, "kind");
    let severity = table.word(reader, "severity");
    let outcome = read_outcome(reader, &table);
    let undeterminable = table.word_or(reader, "undeterminable", Undeterminable::Review);
    let min_grade = table.word_or(reader, "min_grade", Grade::Medium);
    let note = table.text_if_any(reader, "note").unwrap_or_default();
    let when = table
        .required(reader, "when")
        .and_then(|value| read_when(reader, value, "`when` of a rule", scope));
    let reference = read_references(reader, &table);
    check_min_grade(reader, &table);
    check_law(reader, &table, kind);
    Some(Rule {
        id: id?,
        title: title?,
        kind: kind?,
        severity: severity?,
        outcome,
        min_grade,
        undeterminable,
        note,
        reference,
        when: when?,
    })
}

/// A rule finds, or asks for a person; it does not except itself.
fn read_outcome(reader: &mut Reader<'_>, table: &Fields<'_>) -> Outcome {
    let outcome = table.word_or(reader, "outcome", Outcome::Finding);
    if let (Outcome::Excepted, Some(value)) = (outcome, table.get("outcome")) {
        let help = "expected finding or needs_review; write an `[[exception]]` for the rest";
        reader.report(value.span(), "a rule can't except itself", help);
    }
    outcome
}

fn read_references(reader: &mut Reader<'_>, table: &Fields<'_>) -> Vec<Reference> {
    let tables = table.tables(reader, "reference");
    tables
        .iter()
        .filter_map(|value| read_reference(reader, value))
        .collect()
}

fn read_reference(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Reference> {
    let table = Fields::open(reader, value, "`reference`", REFERENCE_KEYS)?;
    let text = table.text(reader, "text");
    let from = table.day(reader, "from");
    let to = table.day_if_any(reader, "to");
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        let help = "`to` is the last day on which it is in force";
        reader.report(value.span(), "`to` is before `from`", help);
    }
    Some(Reference {
        text: text?,
        from: from?,
        to,
    })
}

/// `min_grade` says something only of rules that ask where the endpoint is.
fn check_min_grade(reader: &mut Reader<'_>, table: &Fields<'_>) {
    let Some(value) = table.get("min_grade") else {
        return;
    };
    let asks_place = table
        .get("when")
        .and_then(|when| when.get_ref().as_table())
        .is_some_and(|when| {
            when.keys()
                .any(|key| PLACE_KEYS.contains(&key.get_ref().as_ref()))
        });
    if !asks_place {
        let help = help_for("", PLACE_KEYS.iter().copied(), "remove it, or ask one of");
        reader.report(
            value.span(),
            "`min_grade` in a rule that asks for no place",
            help,
        );
    }
    if let Some(grade) = value.get_ref().as_str().and_then(Grade::from_word)
        && grade < Grade::Low
    {
        let help = "expected low, medium or high";
        reader.report(
            value.span(),
            "`min_grade` is no grade of a known place",
            help,
        );
    }
}

/// What no rule may say: that a law was broken, or that section 43A covers a destination.
fn check_law(reader: &mut Reader<'_>, table: &Fields<'_>, kind: Option<RuleKind>) {
    for key in ["title", "note"] {
        let Some(value) = table.get(key) else {
            continue;
        };
        if value
            .get_ref()
            .as_str()
            .is_some_and(|text| text.to_lowercase().contains("violat"))
        {
            let help = "say what is seen; whether a law is broken is for people to judge";
            reader.report(value.span(), format!("`{key}` speaks of a violation"), help);
        }
    }
    let Some(about) = kind.and_then(|kind| not_sensitive(table, kind)) else {
        return;
    };
    let references = table
        .get("reference")
        .and_then(|value| value.get_ref().as_array());
    for entry in references.into_iter().flatten() {
        let text = entry.get_ref().get("text");
        let cites = |value: &&Value<'_>| value.get_ref().as_str().is_some_and(cites_43a);
        if let Some(value) = text.filter(cites) {
            let span: Range<usize> = value.span();
            let help = "section 43A is about sensitive personal data, such as passwords and health";
            reader.report(span, format!("a rule on {about} cites section 43A"), help);
        }
    }
}

/// What a rule is about, if that is no sensitive personal data (rule 3 of the SPDI Rules 2011).
fn not_sensitive(table: &Fields<'_>, kind: RuleKind) -> Option<&'static str> {
    match kind {
        RuleKind::Destination | RuleKind::Declaration => return Some("a destination"),
        RuleKind::Owner => return Some("who sends"),
        RuleKind::Cleartext => {}
    }
    let named = ["title", "note"].into_iter().any(|key| {
        let text = table.get(key).and_then(|value| value.get_ref().as_str());
        let text = text.unwrap_or_default().to_ascii_lowercase();
        DEVICE_WORDS.iter().any(|word| text.contains(word))
    });
    named.then_some("a device identifier")
}

/// Whether a text cites section 43A, however it is spaced.
fn cites_43a(text: &str) -> bool {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    plain.to_ascii_uppercase().contains("43A")
}

fn read_exception(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    scope: &Scope<'_>,
    rule_ids: &[String],
    ids: &mut Ids,
) -> Option<Exception> {
    let table = Fields::open(reader, value, "`[[exception]]`", EXCEPTION_KEYS)?;
    let id = ids.read(reader, &table);
    let reason = table.text(reader, "reason");
    let approved_by = table.text(reader, "approved_by");
    let expires = table.day(reader, "expires");
    let rules = table
        .required(reader, "rules")
        .and_then(|value| read_texts(reader, value, "rules", &Groups::new()));
    for (span, rule) in rules.iter().flatten() {
        if !rule_ids.contains(rule) {
            let allowed = rule_ids.iter().map(String::as_str);
            let help = help_for(rule, allowed, "rules of this set");
            reader.report(span.clone(), format!("no rule has the id \"{rule}\""), help);
        }
    }
    let when: Option<When> = table
        .required(reader, "when")
        .and_then(|value| read_when(reader, value, "`when` of an exception", scope));
    Some(Exception {
        id: id?,
        rules: rules?.into_iter().map(|(_, rule)| rule).collect(),
        reason: reason?,
        approved_by: approved_by?,
        expires: expires?,
        when: when?,
    })
}
