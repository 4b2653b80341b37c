//! CSV with the same content as JSON Lines, flat, and safe to open in a spreadsheet.
//!
//! In: a JSON row and the columns of its kind. Out: one line. Nested values are named by dotted
//! columns; lists are joined by `; `, lists of objects (and of texts that would not come apart
//! again) are kept as JSON text. A text cell that a spreadsheet would take for a formula begins with
//! an apostrophe, and so does one that began with an apostrophe: one taken off gives the text back.

use std::io::Write;

use serde_json::Value;

/// Columns of the flows export.
pub const FLOWS: &[&str] = &[
    "flow",
    "proto",
    "protocol",
    "src",
    "sport",
    "dst",
    "dport",
    "start",
    "end",
    "packets_out",
    "bytes_out",
    "packets_in",
    "bytes_in",
    "state",
    "rtt_us",
    "rtt_basis",
    "socket_closed",
    "socket_cookie",
    "bytes_acked",
    "bytes_received",
    "end_reason",
    "owner.uid",
    "owner.user",
    "owner.basis",
    "owner.apps",
    "owner.class",
    "owner.process",
    "owner.process_basis",
    "owner.process_acts_for",
    "owner.name",
    "owner.note",
    "owner.role",
    "owner.creator_uid",
    "owner.disputed_uid",
    "owner.may_act_for_app",
    "charged_to",
    "pid",
    "carried_packets",
    "names",
    "app_protocol",
    "tls",
    "place.country",
    "place.provider",
    "place.region",
    "place.asn",
    "place.grade",
    "phase",
    "via",
    "interfaces",
    "embedded_ipv4",
    "contact",
    "packets",
];

/// Columns of the contacts export.
pub const CONTACTS: &[&str] = &[
    "owner.uid",
    "owner.user",
    "owner.basis",
    "owner.apps",
    "owner.class",
    "owner.process",
    "owner.process_basis",
    "owner.process_acts_for",
    "owner.name",
    "owner.note",
    "owner.role",
    "owner.creator_uid",
    "owner.disputed_uid",
    "owner.may_act_for_app",
    "packages",
    "charged_to",
    "address",
    "embedded_ipv4",
    "port",
    "proto",
    "app_protocol",
    "name",
    "names",
    "names_hidden",
    "via",
    "phase",
    "place.country",
    "place.provider",
    "place.region",
    "place.asn",
    "place.organisation",
    "place.grade",
    "place.basis",
    "flows",
    "packets_out",
    "bytes_out",
    "first",
    "last",
];

/// Columns of the findings export.
pub const FINDINGS: &[&str] = &[
    "set",
    "set_version",
    "rule",
    "kind",
    "severity",
    "outcome",
    "owner.uid",
    "owner.user",
    "owner.basis",
    "owner.apps",
    "owner.class",
    "owner.process",
    "owner.process_basis",
    "owner.process_acts_for",
    "owner.name",
    "owner.note",
    "owner.role",
    "owner.creator_uid",
    "owner.disputed_uid",
    "owner.may_act_for_app",
    "packages",
    "charged_to",
    "endpoint.addr",
    "endpoint.embedded_ipv4",
    "endpoint.port",
    "endpoint.proto",
    "endpoint.app_protocol",
    "endpoint.name",
    "endpoint.names",
    "names_hidden",
    "place.country",
    "place.provider",
    "place.region",
    "place.asn",
    "place.organisation",
    "place.grade",
    "place.basis",
    "via",
    "phase",
    "flows",
    "bytes_out",
    "first",
    "last",
    "reason",
    "reference",
    "packets",
    "kept",
];

/// Columns of the gaps export.
pub const GAPS: &[&str] = &["at", "cause", "from", "to", "packets", "place", "detail"];

/// Columns of the records export.
pub const RECORDS: &[&str] = &[
    "seq",
    "kind",
    "redacted",
    "body",
    "attachment_bytes",
    "attachment_sha256",
    "prev",
    "hash",
];

/// Writes rows of one kind as CSV (RFC 4180).
pub struct Writer<W: Write> {
    inner: csv::Writer<W>,
    columns: &'static [&'static str],
}

impl<W: Write> Writer<W> {
    /// Begins with the header line.
    pub fn new(to: W, columns: &'static [&'static str]) -> csv::Result<Self> {
        let mut inner = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(to);
        inner.write_record(columns)?;
        Ok(Self { inner, columns })
    }

    /// Writes a row.
    pub fn row(&mut self, row: &Value) -> csv::Result<()> {
        self.inner
            .write_record(self.columns.iter().map(|column| cell(lookup(row, column))))
    }

    /// Flushes what is buffered.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn lookup<'a>(row: &'a Value, column: &str) -> Option<&'a Value> {
    column.split('.').try_fold(row, |value, key| value.get(key))
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => defused(text),
        Some(Value::Array(items)) => {
            defused(&joined(items).unwrap_or_else(|| Value::from(items.clone()).to_string()))
        }
        Some(other) => defused(&other.to_string()),
    }
}

/// What joins the entries of a list in a cell.
const SEPARATOR: &str = "; ";

/// A list in one cell; none for one that could not be taken apart again.
fn joined(items: &[Value]) -> Option<String> {
    let texts = items.iter().map(|item| match item {
        Value::String(text) => {
            let comes_apart = !text.is_empty() && !text.contains(SEPARATOR);
            comes_apart.then(|| text.clone())
        }
        Value::Array(_) | Value::Object(_) | Value::Null => None,
        other => Some(other.to_string()),
    });
    let joined = texts.collect::<Option<Vec<_>>>()?.join(SEPARATOR);
    // A bracket at the beginning says that JSON follows.
    (!joined.starts_with('[')).then_some(joined)
}

/// A cell that begins with one of these is a formula to a spreadsheet (OWASP, CSV injection).
fn defused(text: &str) -> String {
    if text.starts_with([
        '\'', '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: &[Value], columns: &'static [&'static str]) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, columns).unwrap();
        for row in rows {
            writer.row(row).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_formula_becomes_text() {
        let row = serde_json::json!({"at": "=cmd|' /C calc'!A0", "packets": 3, "detail": "a\"b,c"});
        let text = written(&[row], GAPS);
        assert_eq!(
            text,
            "at,cause,from,to,packets,place,detail\r\n'=cmd|' /C calc'!A0,,,,3,,\"a\"\"b,c\"\r\n"
        );
    }

    #[test]
    fn what_would_not_come_apart_is_kept_as_json() {
        let cell = |value: Value| cell(Some(&value));
        assert_eq!(cell(serde_json::json!(["a", "b c"])), "a; b c");
        assert_eq!(cell(serde_json::json!(["a; b"])), r#"["a; b"]"#);
        assert_eq!(cell(serde_json::json!(["[a"])), r#"["[a"]"#);
        assert_eq!(cell(serde_json::json!([""])), r#"[""]"#);
        assert_eq!(cell(serde_json::json!([])), "");
        assert_eq!(cell(serde_json::json!("'=a")), "''=a");
    }

    #[test]
    fn no_rows_still_have_a_header() {
        assert_eq!(
            written(&[], GAPS),
            "at,cause,from,to,packets,place,detail\r\n"
        );
    }

    #[test]
    fn lists_are_joined_and_objects_kept() {
        let row = serde_json::json!({"seq": 1, "kind": ["a", "-b"], "body": [{"x": 1}]});
        assert!(written(&[row], RECORDS).contains("1,a; -b,,\"[{\"\"x\"\":1}]\","));
    }
}
