//! Reading `when`: the closed vocabulary of conditions.
//!
//! In: the `when` table of a rule or an exception. Out: its conditions, in the order of
//! [`WHEN_KEYS`].

use std::collections::BTreeSet;

use super::fields::{
    Fields, Groups, Reader, Value, read_bool, read_countries, read_globs, read_number,
    read_numbers, read_sha256, read_text, read_texts, read_words,
};
use crate::declare::BrandFile;
use crate::rule_set::{Condition, Vendor, When};
use crate::vocabulary::{WHEN_KEYS, help_for};

/// What a condition may refer to.
pub(super) struct Scope<'b> {
    /// Named lists.
    pub(super) groups: Groups,
    /// Files of brands.
    pub(super) brands: &'b [BrandFile],
}

/// Reads the conditions. At least one is needed: a rule that always holds says nothing.
pub(super) fn read_when(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    what: &'static str,
    scope: &Scope<'_>,
) -> Option<When> {
    let table = Fields::open(reader, value, what, WHEN_KEYS)?;
    let mut conditions = Vec::new();
    for key in WHEN_KEYS {
        // Read together with `name`, since both look at the same name.
        if *key == "name_source" || (*key == "name" && table.get("name_source").is_some()) {
            continue;
        }
        if let Some(value) = table.get(key) {
            conditions.extend(read_condition(reader, key, value, scope));
        }
    }
    if table.get("name_source").is_some() {
        conditions.extend(read_name(reader, &table, scope));
    }
    if table.in_order().is_empty() {
        let help = help_for("", WHEN_KEYS.iter().copied(), "write at least one of");
        reader.report(value.span(), format!("{what} has no condition"), help);
    }
    Some(When(conditions))
}

fn read_condition(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    scope: &Scope<'_>,
) -> Option<Condition> {
    let groups = &scope.groups;
    match key {
        "owner" => read_words(reader, value, key, groups).map(Condition::Owner),
        "app_class" => read_words(reader, value, key, groups).map(Condition::AppClass),
        "user" => read_numbers(reader, value, key, "0 to 4294967295").map(Condition::User),
        "package" => read_globs(reader, value, key, groups).map(Condition::Package),
        "signer" => read_sha256(reader, value, key, groups).map(Condition::Signer),
        "vendor" => read_vendors(reader, value, key, scope),
        "time_of_day" => read_hours(reader, value, key, groups),
        "screen_on" => read_bool(reader, value, key).map(Condition::ScreenOn),
        "idle" => read_bool(reader, value, key).map(Condition::Idle),
        "phase" => {
            let texts = read_texts(reader, value, key, groups)?;
            Some(Condition::Phase(
                texts.into_iter().map(|(_, text)| text).collect(),
            ))
        }
        "payload" => read_bool(reader, value, key).map(Condition::Payload),
        "bytes_out_over" => read_number(reader, value, key, "0").map(Condition::BytesOutOver),
        "port" => read_numbers(reader, value, key, "0 to 65535").map(Condition::Port),
        "proto" => read_words(reader, value, key, groups).map(Condition::Proto),
        "app_protocol" => read_words(reader, value, key, groups).map(Condition::AppProtocol),
        "cleartext" => read_bool(reader, value, key).map(Condition::Cleartext),
        "name" => {
            let patterns = read_globs(reader, value, key, groups);
            patterns.map(|patterns| Condition::Name {
                patterns: Some(patterns),
                sources: None,
            })
        }
        "category" => read_globs(reader, value, key, groups).map(Condition::Category),
        "country" => read_countries(reader, value, key, groups).map(Condition::Country),
        "country_not" => read_countries(reader, value, key, groups).map(Condition::CountryNot),
        "provider" => {
            let texts = read_texts(reader, value, key, groups)?;
            let keys = texts.into_iter().map(|(_, text)| text.to_ascii_lowercase());
            Some(Condition::Provider(keys.collect()))
        }
        "region" => read_globs(reader, value, key, groups).map(Condition::Region),
        "organisation" => read_globs(reader, value, key, groups).map(Condition::Organisation),
        "asn" => read_numbers(reader, value, key, "0 to 4294967295").map(Condition::Asn),
        "grade" => read_words(reader, value, key, groups).map(Condition::Grade),
        "place_known" => read_bool(reader, value, key).map(Condition::PlaceKnown),
        "place_status" => read_words(reader, value, key, groups).map(Condition::PlaceStatus),
        "name_against_place" => read_bool(reader, value, key).map(Condition::NameAgainstPlace),
        "outside_declaration" => read_declaration_id(reader, value, key, scope),
        _ => None,
    }
}

fn read_name(reader: &mut Reader<'_>, table: &Fields<'_>, scope: &Scope<'_>) -> Option<Condition> {
    let sources = table.get("name_source")?;
    let sources = read_words(reader, sources, "name_source", &scope.groups);
    let patterns = match table.get("name") {
        Some(value) => Some(read_globs(reader, value, "name", &scope.groups)?),
        None => None,
    };
    Some(Condition::Name {
        patterns,
        sources: Some(sources?),
    })
}

fn read_declaration_id(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    scope: &Scope<'_>,
) -> Option<Condition> {
    let id = read_text(reader, value, key)?;
    let mut known: Vec<String> = Vec::new();
    for said in scope.brands.iter().flat_map(BrandFile::on_places) {
        if said.id == id {
            return Some(Condition::OutsideDeclaration(Box::new(said)));
        }
        known.push(said.id);
    }
    let ids = known.iter().map(String::as_str);
    let help = help_for(&id, ids, "claims about places in the brands' files");
    let message = format!("no claim about places has the id \"{id}\"");
    reader.report(value.span(), message, help);
    None
}

/// Vendors, each of which must have a file: it says which apps are a vendor's.
fn read_vendors(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    scope: &Scope<'_>,
) -> Option<Condition> {
    let texts = read_texts(reader, value, key, &scope.groups)?;
    let mut vendors: Vec<Vendor> = Vec::new();
    for (span, vendor) in texts {
        let Some(file) = scope.brands.iter().find(|file| file.brand == vendor) else {
            let known = scope.brands.iter().map(|file| file.brand.as_str());
            let help = help_for(&vendor, known, "brands with a file");
            let message = format!("no file is of the brand \"{vendor}\"");
            reader.report(span, message, help);
            continue;
        };
        if !vendors.iter().any(|of| of.brand == vendor) {
            vendors.push(file.vendor());
        }
    }
    Some(Condition::Vendor(vendors))
}

fn read_hours(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<Condition> {
    let texts = read_texts(reader, value, key, groups)?;
    let mut spans = BTreeSet::new();
    for (span, text) in texts {
        if let Ok(hours) = text.parse() {
            spans.insert(hours);
        } else {
            let help = "expected two times, such as 22:00-06:00; the second is not part of it";
            reader.report(span, format!("\"{text}\" is no span of the day"), help);
        }
    }
    Some(Condition::TimeOfDay(spans))
}
