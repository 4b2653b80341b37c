//! A JSON Schema of rule sets, made from the vocabulary, so that it can't be behind it.

use sakshi_rules::{
    contact::{AppClass, AppProtocol, Grade, NameSource, Proto},
    parse::{DECLARATION_KEYS, EXCEPTION_KEYS, REFERENCE_KEYS, RULE_KEYS, SCHEMA, SET_KEYS},
    rule_set::{ClaimKind, OwnerState, RuleKind, Severity, Status, Undeterminable},
    vocabulary::{WHEN_KEYS, Word},
};
use serde_json::{Map, Value, json};

/// The schema.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sakshi rule set",
        "type": "object",
        "additionalProperties": false,
        "required": ["schema", "id", "version", "title", "home", "rule"],
        "properties": object(SET_KEYS, set_key),
        "$defs": {
            "when": {
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "properties": object(WHEN_KEYS, when_key),
            },
        },
    })
}

fn object(keys: &[&str], of: fn(&str) -> Value) -> Value {
    let members: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), of(key)))
        .collect();
    Value::Object(members)
}

fn tables(keys: &[&str], required: &[&str], of: fn(&str) -> Value) -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": false,
            "required": required,
            "properties": object(keys, of),
        },
    })
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn texts() -> Value {
    json!({ "type": "array", "minItems": 1, "items": text() })
}

fn numbers() -> Value {
    json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 0 } })
}

/// Words of a closed list, or the name of a group.
fn words<W: Word>() -> Value {
    let all: Vec<&str> = W::ALL.iter().map(|(word, _)| *word).collect();
    let group = json!({ "type": "string", "pattern": "^@" });
    json!({ "type": "array", "minItems": 1, "items": { "anyOf": [{ "enum": all }, group] } })
}

fn word<W: Word>() -> Value {
    json!({ "enum": W::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

fn set_key(key: &str) -> Value {
    match key {
        "schema" => json!({ "const": SCHEMA }),
        "max_place_age_days" => json!({ "type": "integer", "minimum": 0 }),
        "home" => texts(),
        "groups" => json!({ "type": "object", "additionalProperties": texts() }),
        "declaration" => tables(
            DECLARATION_KEYS,
            &[
                "id", "vendor", "said_on", "claim", "kind", "status", "source", "allow", "packages",
            ],
            declaration_key,
        ),
        "rule" => tables(
            RULE_KEYS,
            &["id", "title", "kind", "severity", "when"],
            rule_key,
        ),
        "exception" => tables(
            EXCEPTION_KEYS,
            &["id", "rules", "when", "reason", "approved_by", "expires"],
            rule_key,
        ),
        _ => text(),
    }
}

fn declaration_key(key: &str) -> Value {
    match key {
        "kind" => word::<ClaimKind>(),
        "status" => word::<Status>(),
        "allow" => tables(&["provider", "region", "country"], &[], |_| text()),
        "packages" => texts(),
        "signers" => json!({ "type": "array", "items": text() }),
        _ => text(),
    }
}

fn rule_key(key: &str) -> Value {
    match key {
        "kind" => word::<RuleKind>(),
        "severity" => word::<Severity>(),
        "outcome" => json!({ "enum": ["finding", "needs_review"] }),
        "min_grade" => json!({ "enum": ["low", "medium", "high"] }),
        "undeterminable" => word::<Undeterminable>(),
        "when" => json!({ "$ref": "#/$defs/when" }),
        "rules" => texts(),
        "reference" => tables(REFERENCE_KEYS, &["text", "from"], |_| text()),
        _ => text(),
    }
}

fn when_key(key: &str) -> Value {
    match key {
        "owner" => words::<OwnerState>(),
        "app_class" => words::<AppClass>(),
        "proto" => words::<Proto>(),
        "app_protocol" => words::<AppProtocol>(),
        "name_source" => words::<NameSource>(),
        "grade" => words::<Grade>(),
        "user" | "port" | "asn" => numbers(),
        "payload" | "cleartext" | "place_known" => json!({ "type": "boolean" }),
        "bytes_out_over" => json!({ "type": "integer", "minimum": 0 }),
        "outside_declaration" => text(),
        _ => texts(),
    }
}
