//! What of an export is personal, and stands there as [`REDACTED`] unless it was asked for.
//!
//! In: rows as JSON. Out: the same rows, in which what tells who somebody is, or which handset this
//! is in particular, is one and the same word. What is null stays null, and a list keeps its length.
//! Decision 0180 says what is taken for personal, and what is not.

use std::net::Ipv6Addr;

use serde_json::Value;

use crate::evidence::{Kind, Reader, StoreError};

/// What stands in place of what is personal.
pub const REDACTED: &str = "redacted";

/// Shortest identifier that is looked for inside other texts, in bytes: a shorter one is found by
/// chance.
const IDENTIFIER_MIN: usize = 6;
/// Digits of an IMEI without its check digit.
const IMEI_DIGITS: usize = 14;

/// The personal members of a record's body, by its kind; `*` stands for each entry of a list.
const PERSONAL: &[(&str, &[&str])] = &[
    (
        "authority",
        &[
            "owner",
            "person_in_charge.name",
            "person_in_charge.relation",
            "person_in_charge.residing_or_employed_at",
            "order.issued_by",
            "examiner.name",
            "device.serial",
            "device.imei.*",
            "device.other",
            "device.invoice",
            "remarks",
        ],
    ),
    (
        "custody",
        &["who", "received_from", "handed_to", "item", "remark"],
    ),
    ("export", &["by", "output"]),
    ("flow", &["src"]),
    ("interface", &["interface.addresses.*.addr"]),
    ("note", &["text"]),
    ("observation", &["facts.serial"]),
    ("session", &["handset.*"]),
];

/// Takes out of rows what is personal.
#[derive(Debug)]
pub struct Redactor {
    /// Identifiers of the handset, wherever they occur in a text; ASCII letters in lower case.
    identifiers: Vec<String>,
}

impl Redactor {
    /// For a case: the identifiers that its `authority` records name are looked for everywhere.
    pub fn of(reader: &Reader) -> Result<Self, StoreError> {
        let mut identifiers = Vec::new();
        for record in reader.records(&[Kind::AUTHORITY]) {
            // A body that is no JSON is the verifier's to tell.
            let body: Value = serde_json::from_str(&record?.body).unwrap_or_default();
            let device = body.get("device").unwrap_or(&Value::Null);
            identifiers.extend(device["serial"].as_str().map(str::to_ascii_lowercase));
            for imei in device["imei"].as_array().into_iter().flatten() {
                let imei = imei.as_str().unwrap_or_default();
                identifiers.push(imei.to_owned());
                identifiers.extend(imei.get(..IMEI_DIGITS).map(str::to_owned));
            }
        }
        identifiers.retain(|identifier| {
            // One that the word itself holds would be found for ever.
            identifier.len() >= IDENTIFIER_MIN && !REDACTED.contains(identifier.as_str())
        });
        // A longer one is not to be broken by a shorter one in it.
        identifiers.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        identifiers.dedup();
        Ok(Self { identifiers })
    }

    /// Redacts a row that is of a kind, or a record's body. A kind that this version does not know
    /// says nothing: nobody could say what of it is personal.
    pub fn body(&self, kind: &str, body: &mut Value) {
        if !Kind::ALL.iter().any(|known| known.as_str() == kind) {
            *body = serde_json::json!({});
            return;
        }
        let personal = PERSONAL.iter().find(|(of, _)| *of == kind);
        for path in personal.map_or(&[][..], |(_, paths)| paths) {
            replace(body, path);
        }
        if kind == Kind::DOCTOR.as_str() {
            private_dns(body);
        }
        self.texts(body);
    }

    /// Looks into every text.
    pub fn texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.redact(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(entries) => entries.values_mut().for_each(|item| self.texts(item)),
            _ => {}
        }
    }

    /// Redacts a text.
    pub fn redact(&self, text: &mut String) {
        if let Some(other) = self.text(text) {
            *text = other;
        }
    }

    /// What stands in place of a text; none: it stays.
    fn text(&self, text: &str) -> Option<String> {
        if is_digest(text) {
            return None;
        }
        // The only address of the other side that holds a part of the handset's own (RFC 4291, 2.7.1).
        if let Ok(address) = text.parse::<Ipv6Addr>()
            && let [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _] = address.segments()
        {
            return Some("ff02::1:ff00:0".to_owned());
        }
        let mut found: Option<String> = None;
        for identifier in &self.identifiers {
            let mut now = found.as_deref().unwrap_or(text).to_owned();
            while let Some(at) = now.to_ascii_lowercase().find(identifier.as_str()) {
                now.replace_range(at..at + identifier.len(), REDACTED);
                found = Some(now.clone());
            }
        }
        found
    }
}

/// A hash or a key is no text, and may hold any digits.
fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 64 | 128)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Replaces what stands at a path, and is not null.
fn replace(value: &mut Value, path: &str) {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if path.is_empty() {
        if !value.is_null() {
            *value = Value::from(REDACTED);
        }
    } else if first == "*" {
        let items = value.as_array_mut().into_iter().flatten();
        items.for_each(|item| replace(item, rest));
    } else if let Some(member) = value.get_mut(first) {
        replace(member, rest);
    }
}

/// The resolver of Android's private DNS may be one that a single customer has.
fn private_dns(body: &mut Value) {
    let lines = body.get_mut("lines").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        if line["key"] == "private_dns"
            && line
                .pointer("/facts/specifier")
                .is_some_and(|it| !it.is_null())
        {
            replace(line, "says");
            replace(line, "facts.specifier");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        Redactor {
            identifiers: ["490154203237518", "49015420323751", "r58m123abc"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    #[test]
    fn what_is_null_stays_and_a_list_keeps_its_length() {
        let mut body = json!({"owner": "FSL", "device": {"imei": ["1", "2"], "serial": null,
            "make": "Acme"}, "remarks": null});
        redactor().body("authority", &mut body);
        let device = json!({"imei": [REDACTED, REDACTED], "serial": null, "make": "Acme"});
        let expected = json!({"owner": REDACTED, "device": device, "remarks": null});
        assert_eq!(body, expected);
    }

    #[test]
    fn an_identifier_is_found_inside_a_name() {
        let redactor = redactor();
        let text = |text: &str| redactor.text(text).unwrap_or_else(|| text.to_owned());
        assert_eq!(text("R58M123ABC.fota.example"), "redacted.fota.example");
        assert_eq!(
            text("i490154203237518-490154203237519"),
            "iredacted-redacted9"
        );
        assert_eq!(text("ü r58m123abü"), "ü r58m123abü");
        let hash = format!("{}4901542032375180", "a".repeat(48));
        assert_eq!(text(&hash), hash);
        assert_eq!(text("ff02::1:ff12:3456"), "ff02::1:ff00:0");
        assert_eq!(text("ff02::1"), "ff02::1");
    }

    #[test]
    fn a_kind_that_is_not_known_says_nothing() {
        let mut body = json!({"name": "A. Rao"});
        redactor().body("of_a_later_version", &mut body);
        assert_eq!(body, json!({}));
    }

    #[test]
    fn a_resolver_of_ones_own_is_not_told() {
        let line = |says: &str, specifier: Value| json!({"key": "private_dns", "says": says, "facts": {"specifier": specifier}});
        let mut body = json!({"lines": [line("on: a1.dns.example", json!("a1.dns.example")),
            line("off", Value::Null)]});
        redactor().body("doctor", &mut body);
        let expected =
            json!({"lines": [line(REDACTED, json!(REDACTED)), line("off", Value::Null)]});
        assert_eq!(body, expected);
    }
}
