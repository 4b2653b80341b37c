//! How a handset was before it was rooted, and what differs after.
//!
//! In: what Android's own commands say to adb's user, who needs no root. Out: a file on this PC;
//! later, the difference as facts for the record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{adb::Adb, error::HandsetError};
use crate::{
    evidence::{Hash, canonical::to_canonical},
    time::Timestamp,
};

/// Lines of one command that are kept; a baseline with more says so in `cut_off`.
const LINES_MAX: usize = 20_000;
/// Names of differences that are told of one kind; the count tells how many there are.
const NAMES_MAX: usize = 20;
/// What is asked: the kind and the command.
const QUESTIONS: [(&str, &str); 5] = [
    ("property", "getprop"),
    ("package", "pm list packages -f -U --show-versioncode"),
    ("setting_global", "settings list global"),
    ("setting_secure", "settings list secure"),
    ("setting_system", "settings list system"),
];
/// Properties and settings that change by themselves: uptimes, counters, what a restart gives anew.
const RESTLESS: [&str; 9] = [
    "ro.boottime.",
    "ro.runtime.",
    "init.svc",
    "sys.",
    "dev.",
    "debug.",
    "persist.sys.boot",
    "boot_count",
    "ro.boot.boottime",
];

/// How a handset was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// `sakshi-baseline`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// When, by this PC's clock.
    pub at: Timestamp,
    /// The handset's serial, as adb knows it.
    pub serial: String,
    /// What each command said: by kind, then by name.
    pub facts: BTreeMap<String, BTreeMap<String, String>>,
    /// Kinds of which lines were cut off, or that could not be asked, with why.
    pub incomplete: BTreeMap<String, String>,
}

impl Baseline {
    /// Asks a handset.
    pub fn take(adb: &Adb, at: Timestamp) -> Result<Self, HandsetError> {
        let mut baseline = Self {
            format: "sakshi-baseline".to_owned(),
            version: 1,
            at,
            serial: adb.serial.clone(),
            facts: BTreeMap::new(),
            incomplete: BTreeMap::new(),
        };
        for (kind, command) in QUESTIONS {
            let text = adb.shell(command)?;
            let facts = parse(kind, &text);
            if facts.is_empty() {
                let said = text.chars().take(200).collect();
                baseline.incomplete.insert(kind.to_owned(), said);
            } else if text.lines().count() > LINES_MAX {
                let said = format!("more than {LINES_MAX} lines");
                baseline.incomplete.insert(kind.to_owned(), said);
            }
            baseline.facts.insert(kind.to_owned(), facts);
        }
        Ok(baseline)
    }

    /// As it is written to a file, with its hash.
    pub fn to_text(&self) -> Result<(String, Hash), String> {
        let text = to_canonical(self).map_err(|error| error.to_string())?;
        let hash = Hash::of(text.as_bytes());
        Ok((text, hash))
    }

    /// From such a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if (read.format.as_str(), read.version) != ("sakshi-baseline", 1) {
            return Err(format!("it is {} {}", read.format, read.version));
        }
        Ok(read)
    }

    /// What is otherwise now, as facts for the record.
    pub fn difference(&self, now: &Self) -> BTreeMap<String, String> {
        let empty = BTreeMap::new();
        let mut told = BTreeMap::from([("taken".to_owned(), self.at.to_string())]);
        if self.serial != now.serial {
            told.insert("other_serial".to_owned(), "true".to_owned());
        }
        for (kind, _) in QUESTIONS {
            if self.incomplete.contains_key(kind) || now.incomplete.contains_key(kind) {
                told.insert(format!("{kind}_incomplete"), "true".to_owned());
            }
            let before = self.facts.get(kind).unwrap_or(&empty);
            let after = now.facts.get(kind).unwrap_or(&empty);
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let differ: Vec<String> = names
                .into_iter()
                .filter(|name| before.get(*name) != after.get(*name) && !is_restless(name))
                .map(|name| said(name, before.get(name), after.get(name)))
                .collect();
            told.insert(format!("{kind}_count"), differ.len().to_string());
            if !differ.is_empty() {
                let some = differ.into_iter().take(NAMES_MAX).collect::<Vec<_>>();
                let text: String = some.join("; ").chars().take(480).collect();
                told.insert(kind.to_owned(), text);
            }
        }
        told
    }
}

fn said(name: &str, before: Option<&String>, after: Option<&String>) -> String {
    let short = |text: &String| text.chars().take(60).collect::<String>();
    match (before, after) {
        (None, Some(after)) => format!("+{name}={}", short(after)),
        (Some(_), None) => format!("-{name}"),
        (Some(before), Some(after)) => format!("{name}: {} -> {}", short(before), short(after)),
        (None, None) => String::new(),
    }
}

fn is_restless(name: &str) -> bool {
    RESTLESS.iter().any(|start| name.starts_with(start))
}

/// What a command said, by name.
pub fn parse(kind: &str, text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| -> Option<(String, String)> {
        let line = line.trim_end_matches('\r');
        let (name, value) = match kind {
            "property" => line
                .strip_prefix('[')?
                .strip_suffix(']')?
                .split_once("]: [")?,
            "package" => {
                // package:/system/app/X/X.apk=com.example.x versionCode:7 uid:10050
                let rest = line.strip_prefix("package:")?;
                let (packed, more) = rest.split_once(' ').unwrap_or((rest, ""));
                let (path, name) = packed.rsplit_once('=')?;
                return Some((name.to_owned(), format!("{path} {more}")));
            }
            _ => line.split_once('=')?,
        };
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().take(LINES_MAX).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(properties: &str, packages: &str) -> Baseline {
        let kinds = [("property", properties), ("package", packages)];
        Baseline {
            format: "sakshi-baseline".to_owned(),
            version: 1,
            at: Timestamp::from_micros(1),
            serial: "R5".to_owned(),
            facts: kinds
                .map(|(kind, text)| (kind.to_owned(), parse(kind, text)))
                .into(),
            incomplete: BTreeMap::new(),
        }
    }

    #[test]
    fn what_rooting_changed_is_told_and_what_changes_by_itself_is_not() {
        let before = baseline(
            "[ro.boot.verifiedbootstate]: [green]\n[sys.uptime]: [1]\n[a]: [b]\n",
            "package:/system/app/A/A.apk=com.a versionCode:7 uid:10001\n",
        );
        let after = baseline(
            "[ro.boot.verifiedbootstate]: [orange]\n[sys.uptime]: [9]\n[a]: [b]\n",
            "package:/system/app/A/A.apk=com.a versionCode:7 uid:10001\r\n\
             package:/data/app/~~x==/com.root/base.apk=com.root versionCode:1 uid:10200\n",
        );
        let told = before.difference(&after);
        assert_eq!(
            told["property"],
            "ro.boot.verifiedbootstate: green -> orange"
        );
        assert_eq!(told["property_count"], "1");
        assert!(told["package"].starts_with("+com.root=/data/app/~~x==/com.root/base.apk"));
        assert!(!told.contains_key("setting_global"));
        let (text, _) = before.to_text().unwrap();
        assert_eq!(Baseline::parse(&text), Ok(before));
        assert!(Baseline::parse("{}").is_err());
    }
}
