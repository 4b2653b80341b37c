//! The JSON Schema of rule files (draft 2020-12), for editors that know TOML by schema.
//!
//! In: the tables and keys that the parser reads. Out: a schema. It refuses what has the wrong
//! shape; what leads nowhere (a group, an id) only `rules check` can tell.

use std::collections::BTreeMap;

use sakshi_rules::shape::{ENTRIES_MAX, SET, Shape, Table, shape};
use serde_json::{Value, json};

use crate::cli::Failure;

/// The schema.
pub fn text() -> Result<String, Failure> {
    let mut defs = BTreeMap::new();
    let mut root = table(&SET, &mut defs);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Rule set of Sakshi");
    root["$defs"] = json!(defs);
    Ok(serde_json::to_string_pretty(&root)?)
}

type Defs = BTreeMap<&'static str, Value>;

fn table(of: &Table, defs: &mut Defs) -> Value {
    let properties: BTreeMap<&str, Value> = of
        .keys
        .iter()
        .map(|key| (*key, value(&shape(of, key), defs)))
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if of.required.is_empty() {
        schema["minProperties"] = json!(1);
    } else {
        schema["required"] = json!(of.required);
    }
    schema
}

fn value(shape: &Shape, defs: &mut Defs) -> Value {
    let group = json!({ "type": "string", "pattern": "^@." });
    let texts = json!({ "type": "string", "pattern": "\\S" });
    match shape {
        Shape::Text => texts,
        Shape::Day => json!({ "type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number(max) => json!({ "type": "integer", "minimum": 0, "maximum": max }),
        Shape::Exactly(number) => json!({ "const": number }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Words(words) => list(&json!({ "anyOf": [{ "enum": words }, group] }), 1),
        Shape::Texts => list(&texts, 1),
        Shape::Countries => list(
            &json!({ "type": "string", "pattern": "^([A-Z]{2}|@.+)$" }),
            1,
        ),
        Shape::Digests => list(
            &json!({ "type": "string", "pattern": "^([0-9a-f]{64}|@.+)$" }),
            0,
        ),
        Shape::Spans => list(
            &json!({ "type": "string", "pattern": "^(\\d\\d:\\d\\d *- *\\d\\d:\\d\\d|@.+)$" }),
            1,
        ),
        Shape::Numbers(max) => list(
            &json!({ "type": "integer", "minimum": 0, "maximum": max }),
            1,
        ),
        Shape::Groups => json!({ "type": "object", "additionalProperties": list(&texts, 1) }),
        Shape::Table(of) => reference(of, defs),
        Shape::Tables(of) => list(&reference(of, defs), 0),
    }
}

fn list(items: &Value, min: u64) -> Value {
    json!({ "type": "array", "items": items, "minItems": min, "maxItems": ENTRIES_MAX })
}

/// A reference to a table's own schema, which is made when it is first met.
fn reference(of: &Table, defs: &mut Defs) -> Value {
    if !defs.contains_key(of.name) {
        let schema = table(of, defs);
        defs.insert(of.name, schema);
    }
    json!({ "$ref": format!("#/$defs/{}", of.name) })
}
