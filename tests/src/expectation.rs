//! What was to be found, compared with what was found.
//!
//! In: a data file with one expected finding a line, and the findings as exported. Out: nothing
//! when they are the same, else a difference that says which rows are missing and which are extra.
//! A row holds only what does not change from run to run: no times, ports of the handset, counts.

use std::{fmt, fs, net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::handset::{Error, Result};

/// A finding, reduced to what is the same in every run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Rule that it comes from.
    pub rule: String,
    /// What the rule came to (`finding`, `needs_review`, …).
    pub outcome: String,
    /// UID of the sender.
    pub uid: Option<u32>,
    /// Packages under that UID, sorted.
    pub apps: Vec<String>,
    /// Address that was reached.
    pub addr: IpAddr,
    /// Its port.
    pub port: Option<u16>,
    /// Transport protocol.
    pub proto: String,
    /// Names that are known for it, sorted, each once.
    pub names: Vec<String>,
    /// Country in which it stands.
    pub country: Option<String>,
    /// How well that is known.
    pub grade: String,
}

impl Row {
    /// Reduces a finding as `sakshi export --what findings` writes it.
    pub fn from_finding(finding: &Value) -> Result<Self> {
        let reduced = serde_json::json!({
            "rule": finding["rule"],
            "outcome": finding["outcome"],
            "uid": finding["owner"]["uid"],
            "apps": texts(&finding["owner"]["apps"], "package"),
            "addr": finding["endpoint"]["addr"],
            "port": finding["endpoint"]["port"],
            "proto": finding["endpoint"]["proto"],
            "names": texts(&finding["endpoint"]["names"], "name"),
            "country": finding["place"]["country"],
            "grade": finding["place"]["grade"],
        });
        serde_json::from_value(reduced)
            .map_err(|error| Error::Unexpected(format!("not a finding ({error}): {finding}")))
    }
}

/// The texts of a list, sorted, each once; an element is a text or an object with one under `key`.
fn texts(list: &Value, key: &str) -> Vec<String> {
    let mut texts: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|element| element.as_str().or_else(|| element.get(key)?.as_str()))
        .map(str::to_owned)
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Reads a file of expected rows; blank lines and lines that begin with `#` are left out.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::Unexpected(format!("{}:{}: {error}", path.display(), index + 1))
            })
        })
        .collect()
}

/// Writes rows, sorted, one a line.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut rows = rows.to_vec();
    rows.sort();
    let mut text = String::new();
    for row in &rows {
        let line = serde_json::to_string(row)
            .map_err(|error| Error::Unexpected(format!("writing a row: {error}")))?;
        text += &(line + "\n");
    }
    fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
}

/// How what was found differs from what was to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Expected, not found.
    pub missing: Vec<Row>,
    /// Found, not expected (or found more often than expected).
    pub extra: Vec<Row>,
}

impl Difference {
    /// Compares, counting rows that occur several times.
    pub fn between(expected: &[Row], found: &[Row]) -> Self {
        let mut extra = found.to_vec();
        let mut missing = Vec::new();
        for row in expected {
            match extra.iter().position(|candidate| candidate == row) {
                Some(index) => drop(extra.swap_remove(index)),
                None => missing.push(row.clone()),
            }
        }
        missing.sort();
        extra.sort();
        Self { missing, extra }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.missing.iter().map(|row| ("- missing", row));
        let rows = rows.chain(self.extra.iter().map(|row| ("+ extra  ", row)));
        for (sign, row) in rows {
            let json = serde_json::to_string(row).map_err(|_| fmt::Error)?;
            writeln!(f, "{sign} {json}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(uid: u32) -> Row {
        Row::from_finding(&serde_json::json!({
            "rule": "LOC-001", "kind": "x", "severity": "medium", "outcome": "finding",
            "owner": {"uid": uid, "apps": [{"package": "b"}, {"package": "a"}]},
            "endpoint": {"addr": "13.228.10.20", "port": 443, "proto": "tcp",
                "names": [{"name": "n", "source": "tls"}, {"name": "n", "source": "resolved"}]},
            "place": {"country": "SG", "grade": "high"}, "first": "2026-11-24T10:00:00Z"
        }))
        .expect("a finding")
    }

    #[test]
    fn reduces_a_finding() {
        let row = finding(10_050);
        assert_eq!(row.apps, ["a", "b"]);
        assert_eq!(row.names, ["n"]);
        assert_eq!((row.uid, row.port), (Some(10_050), Some(443)));
    }

    #[test]
    fn tells_missing_from_extra_and_counts_repeats() {
        let (a, b) = (finding(1), finding(2));
        let same = Difference::between(&[a.clone(), b.clone()], &[b.clone(), a.clone()]);
        assert!(same.is_empty());
        let differs = Difference::between(&[a.clone(), b.clone()], &[a.clone(), a.clone()]);
        assert_eq!(differs.missing, [b]);
        assert_eq!(differs.extra, [a]);
        assert!(differs.to_string().starts_with("- missing {\"rule\""));
    }

    #[test]
    fn an_expected_row_with_an_unknown_key_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("expected.jsonl");
        write(&path, &[finding(1)]).expect("written");
        assert_eq!(read(&path).expect("read"), [finding(1)]);
        fs::write(&path, "# remark\n\n{\"rule\": \"x\", \"colour\": 1}\n").expect("written");
        let error = read(&path).expect_err("an unknown key").to_string();
        assert!(error.contains("expected.jsonl:3"), "{error}");
    }
}
