//! Holds the findings of a case against those that its journal gives again.
//!
//! In: a case. Out: every difference in who, what, where, and what a rule said; and in the sessions'
//! counts, against the summaries that they journaled. Nothing is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    SessionError,
    replay::{is_places, parse, recorded_core, replay_block},
    setup::{InventoryFrom, Materials},
};
use crate::{
    evidence::{
        CaseBody, DATA_FILE, FileEntry, FilesBody, Hash, Kind, Reader, Record,
        body::{Record as Said, Session},
        name_of,
    },
    pipeline::Core,
};

/// Differences that are told; further ones are counted.
pub const DIFFERENCES_MAX: usize = 256;

/// What of a contact is compared: who, whose, what, where, by which way and when.
const OF_CONTACT: [&str; 7] = [
    "owner",
    "packages",
    "charged_to",
    "endpoint",
    "place",
    "via",
    "phase",
];
/// What of a finding is compared.
const OF_FINDING: [&str; 7] = [
    "outcome",
    "kind",
    "severity",
    "set_version",
    "reason",
    "reference",
    "packets",
];
/// What of a summary is compared.
const OF_SUMMARY: [&str; 4] = ["packets", "flows", "contacts", "findings"];

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// Sessions that were fed through again.
    pub sessions: u64,
    /// Different findings, in the case and in the replay together.
    pub findings: u64,
    /// Whether the location data is other than a session's, which explains other places.
    pub other_data: bool,
    /// What differs, at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// Differences beyond these.
    pub untold: u64,
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Label of the contact; the session's number for a sum.
    pub of: String,
    /// Set and rule; `summary` for a sum.
    pub rule: String,
    /// The key that differs; `finding` where one side has none.
    pub what: String,
    /// What the case says; null: nothing.
    pub recorded: Value,
    /// What the replay says; null: nothing.
    pub replayed: Value,
}

/// Contact, set and rule.
type FindingKey = (String, String, String);

/// One side: findings, and the contacts that they are of.
#[derive(Debug, Default)]
struct Side {
    findings: BTreeMap<FindingKey, Value>,
    contacts: HashMap<String, Value>,
}

impl Side {
    fn finding(&mut self, body: Value) {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        // A later one of the same contact, set and rule replaces it.
        let key = (text("contact"), text("set"), text("rule"));
        self.findings.insert(key, body);
    }

    fn contact(&mut self, body: Value, wanted: &BTreeSet<String>) {
        if let Some(label) = body["contact"]
            .as_str()
            .filter(|label| wanted.contains(*label))
        {
            self.contacts.insert(label.to_owned(), body);
        }
    }
}

/// Feeds the journal of the case in `dir` through the pipeline again, each session with its own
/// rules and apps, and compares. `progress` is told the bytes of journal that were read.
pub fn compare_case(dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<Compared, SessionError> {
    let reader = Reader::open(dir)?;
    let mut recorded = Side::default();
    for record in reader.records(&[Kind::FINDING]) {
        recorded.finding(parse(&record?)?);
    }
    let labels = recorded.findings.keys().map(|(label, ..)| label.clone());
    let wanted: BTreeSet<String> = labels.collect();
    for record in reader.records(&[Kind::CONTACT]) {
        recorded.contact(parse(&record?)?, &wanted);
    }
    let mut replay = Replay {
        dir,
        wanted: &wanted,
        side: Side::default(),
        core: None,
        session: 0,
        files: Vec::new(),
        said: Vec::new(),
        data: data_of_this_program()?,
        compared: Compared::default(),
    };
    let kinds = [
        Kind::CASE,
        Kind::FILES,
        Kind::SESSION,
        Kind::JOURNAL,
        Kind::SUMMARY,
    ];
    let mut read = 0;
    let mut ended = true;
    for record in reader.records(&kinds) {
        let record = record?;
        match record.kind.as_str() {
            "case" => replay.files = parse::<CaseBody>(&record)?.files,
            "files" => replay.files(parse(&record)?),
            "session" => {
                replay.end_session(None);
                replay.begin_session(parse(&record)?)?;
                ended = false;
            }
            "summary" => {
                let summary: Value = parse(&record)?;
                replay.end_session(Some(&summary));
                ended = true;
            }
            _ => {
                read += replay.feed(&record)?;
                progress(read);
            }
        }
    }
    replay.end_session(None);
    let last = replay.session;
    let (side, mut compared) = (replay.side, replay.compared);
    // What a session that runs or was killed has not recorded yet, the next start will.
    let is_pending = |key: &FindingKey| !ended && session_of(&key.0) == last;
    compare(&recorded, &side, is_pending, &mut compared);
    Ok(compared)
}

/// A case on its way through the pipeline.
struct Replay<'a> {
    dir: &'a Path,
    wanted: &'a BTreeSet<String>,
    side: Side,
    core: Option<Core>,
    session: u64,
    files: Vec<FileEntry>,
    said: Vec<Said>,
    data: Hash,
    compared: Compared,
}

impl Replay<'_> {
    /// What becomes of the inventory within a session is in its journal.
    fn files(&mut self, body: FilesBody) {
        if self.core.is_none() || body.session != self.session {
            self.files = body.files;
        }
    }

    fn begin_session(&mut self, session: Session) -> Result<(), SessionError> {
        self.session = session.session;
        self.compared.sessions += 1;
        let mut data = self
            .files
            .iter()
            .filter(|file| name_of(&file.path) == DATA_FILE);
        // A case that keeps its location data is judged by that.
        let keeps = self.files.iter().any(|file| is_places(&file.path));
        self.compared.other_data |= !keeps && data.any(|file| file.sha256 != self.data);
        self.core = Some(recorded_core(self.dir, &self.files, session)?);
        Ok(())
    }

    fn feed(&mut self, record: &Record) -> Result<u64, SessionError> {
        let Some(core) = &mut self.core else {
            return Ok(0);
        };
        let said = &mut self.said;
        let bytes = replay_block(record, |input| {
            core.feed(&input, said);
            Ok(())
        })?;
        self.take_said();
        Ok(bytes)
    }

    fn end_session(&mut self, summary: Option<&Value>) {
        let Some(mut core) = self.core.take() else {
            return;
        };
        core.finish(&mut self.said);
        self.take_said();
        if let Some(recorded) = summary {
            let replayed = value(&core.summary());
            let of = (self.session.to_string(), "summary".to_owned());
            differ(&of, &OF_SUMMARY, recorded, &replayed, &mut self.compared);
        }
    }

    fn take_said(&mut self) {
        for said in self.said.drain(..) {
            match said {
                Said::Finding(finding) => self.side.finding(value(&finding)),
                Said::Contact(contact) if self.wanted.contains(&contact.contact) => {
                    self.side.contact(value(&contact), self.wanted);
                }
                _ => {}
            }
        }
    }
}

fn compare(
    recorded: &Side,
    replayed: &Side,
    is_pending: impl Fn(&FindingKey) -> bool,
    compared: &mut Compared,
) {
    let recorded_keys = recorded.findings.keys();
    let keys: BTreeSet<&FindingKey> = recorded_keys.chain(replayed.findings.keys()).collect();
    compared.findings = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    for key in keys {
        let of = (key.0.clone(), format!("{}/{}", key.1, key.2));
        match (recorded.findings.get(key), replayed.findings.get(key)) {
            (Some(one), Some(other)) => {
                differ(&of, &OF_FINDING, one, other, compared);
                let contact = |side: &Side| side.contacts.get(&key.0).cloned();
                let (one, other) = (contact(recorded), contact(replayed));
                let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
                differ(&of, &OF_CONTACT, &one, &other, compared);
            }
            (None, Some(_)) if is_pending(key) => {}
            (one, other) => {
                let side =
                    |value: Option<&Value>| value.map_or(Value::Null, |v| v["outcome"].clone());
                note(of, "finding", (side(one), side(other)), compared);
            }
        }
    }
}

fn differ(
    of: &(String, String),
    keys: &[&str],
    recorded: &Value,
    replayed: &Value,
    compared: &mut Compared,
) {
    for key in keys {
        let (one, other) = (&recorded[*key], &replayed[*key]);
        if one != other {
            note(of.clone(), key, (one.clone(), other.clone()), compared);
        }
    }
}

fn note(
    (of, rule): (String, String),
    what: &str,
    (recorded, replayed): (Value, Value),
    compared: &mut Compared,
) {
    if compared.differences.len() >= DIFFERENCES_MAX {
        compared.untold += 1;
        return;
    }
    compared.differences.push(Difference {
        of,
        rule,
        what: what.to_owned(),
        recorded,
        replayed,
    });
}

/// A body as its record's text says it.
fn value<T: Serialize>(body: &T) -> Value {
    // The bodies of records are objects of texts and numbers: each has a value.
    serde_json::to_value(body).unwrap_or_default()
}

/// The session in a label.
fn session_of(label: &str) -> u64 {
    let number = label.split('-').next().and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

fn data_of_this_program() -> Result<Hash, SessionError> {
    let materials = Materials::load(&[], &InventoryFrom::Nowhere, None)?;
    Ok(Hash::of(&materials.files.data))
}
