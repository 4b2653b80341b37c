//! Canonical JSON: the one way in which a value is written, so that its hash can be recomputed.
//!
//! In: any serialisable value, or a text to check. Out: RFC 8785 (JCS) text, restricted to objects
//! with ASCII keys, strings, booleans, null, arrays and integers of 64 bits; nothing is written
//! that another reader could understand differently. Decision 0070 tells why and where it differs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent, or an integer beyond 64 bits.
    #[error("{0} is not an integer of 64 bits: write a smaller unit, or text")]
    NotAnInteger(String),
    /// A key that is not printable ASCII.
    #[error("the key {0:?} is not printable ASCII: put free text into values only")]
    Key(String),
    /// The value itself refused to be serialised.
    #[error("the value cannot be serialised: {0}")]
    Serialize(#[from] serde_json::Error),
}

/// The canonical text of `value`.
///
/// A float that is no number has become null in `serde_json` already; records have no floats.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    canonical_value(&serde_json::to_value(value)?)
}

/// The canonical text of a value at hand.
///
/// # Errors
/// As of [`to_canonical`].
pub fn canonical_value(value: &Value) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write_value(&mut text, value)?;
    Ok(text)
}

/// Whether `text` is exactly what [`to_canonical`] would write for what it says: false for other
/// orders, spacing, escapes, doubled keys, fractions, and for what is no JSON at all.
pub fn is_canonical(text: &str) -> bool {
    serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|value| {
            let mut again = String::with_capacity(text.len());
            write_value(&mut again, &value).ok()?;
            Some(again == text)
        })
        .unwrap_or(false)
}

/// Appends `value`; recursion ends because a [`Value`] is finite, and is at most 128 deep when it
/// was parsed (limit of `serde_json`).
fn write_value(out: &mut String, value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            if !number.is_i64() && !number.is_u64() {
                return Err(CanonicalError::NotAnInteger(number.to_string()));
            }
            // A text takes whatever is written to it.
            let _ = write!(out, "{number}");
        }
        Value::String(text) => write_string(out, text)?,
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            // The map's own order depends on a feature of serde_json; ours does not. ASCII keys
            // sort alike by bytes and by the UTF-16 units that RFC 8785 names.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                    return Err(CanonicalError::Key(key.clone()));
                }
                write_string(out, key)?;
                out.push(':');
                write_value(out, map.get(key).unwrap_or(&Value::Null))?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// A string with the escapes of RFC 8785 section 3.2.2.2, which are those of `serde_json`: the two
/// quoted characters, the five short ones, and `\u00xx` in lower case for other controls.
fn write_string(out: &mut String, text: &str) -> Result<(), CanonicalError> {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn sorts_keys_and_leaves_no_space() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "x", "B": -5, "aa": false});
        assert_eq!(
            to_canonical(&value).unwrap(),
            r#"{"B":-5,"a":"x","aa":false,"b":[1,{"a":true,"z":null}]}"#
        );
    }

    #[test]
    fn escapes_as_rfc_8785_says() {
        assert_eq!(
            to_canonical("\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{8}\u{c}\r\t\u{7f}ह").unwrap(),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\\b\\f\\r\\t\u{7f}ह\""
        );
    }

    #[test]
    fn writes_integers_in_full_and_refuses_fractions() {
        assert_eq!(to_canonical(&u64::MAX).unwrap(), "18446744073709551615");
        assert_eq!(to_canonical(&i64::MIN).unwrap(), "-9223372036854775808");
        for value in [0.5, 1.0, -0.0, 1e300] {
            assert!(matches!(
                to_canonical(&value),
                Err(CanonicalError::NotAnInteger(_))
            ));
        }
    }

    #[test]
    fn refuses_keys_beyond_ascii() {
        for key in ["é", "a\n", "\u{7f}"] {
            let value = json!({ key: 1 });
            assert!(matches!(to_canonical(&value), Err(CanonicalError::Key(_))));
        }
    }

    #[test]
    fn strict_check_knows_other_spellings() {
        assert!(is_canonical(r#"{"a":1,"b":[true,null,"x"]}"#));
        for text in [
            "",
            "{",
            r#"{"a": 1}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e2}"#,
            r#"{"a":-0}"#,
            r#"{"a":01}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\u000F"}"#,
            r#"{"é":1}"#,
            "{\"a\":1}\n",
            "1 1",
        ] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_canonical_and_reads_back(value in value()) {
            let text = to_canonical(&value).unwrap();
            prop_assert!(is_canonical(&text));
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>()) {
            let _ = is_canonical(&text);
        }
    }
}
