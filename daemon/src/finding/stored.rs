//! Contacts read back from a case, as rules are asked of them.
//!
//! In: a case's records. Out: each contact that has flows, with its last counts, and what its own
//! rules last said of it. Judging them again gives what the watch gave by the same rules. The place
//! is the one on record: what is known of places today is not asked.

use std::collections::HashMap;

use sakshi_rules::{RuleSet, Verdict, contact as rules, contact::Grade, judge, register::Seen};
use serde::de::DeserializeOwned;

use super::{PROBE, finding_body, rules_input};
use crate::{
    evidence::{
        Kind, Reader, StoreError,
        body::{self, PacketRef},
    },
    time::Timestamp,
};

/// Contacts could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The case could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record's body is not what its kind says.
    #[error(
        "record {seq} can't be read: {source}; use the version that wrote it, or check the case \
         with `sakshi verify`"
    )]
    Body {
        /// Number of the record.
        seq: i64,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// A finding with the number of its record.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Number of the record.
    pub seq: i64,
    /// What it says.
    pub finding: body::Finding,
}

/// A contact as it last stood.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The record.
    pub body: body::Contact,
    /// Its last counts.
    pub total: Option<body::Total>,
    /// What rules are asked of.
    pub input: rules::Contact,
    /// What rules said of it, in order; a later one of the same set and rule replaces an earlier.
    pub findings: Vec<Recorded>,
    /// Our own probe's, of which no rule is asked.
    pub probe: bool,
}

impl Stored {
    /// Flows counted to it; one whose totals were not written has at least the one that made it.
    pub fn flows(&self) -> u64 {
        self.total.as_ref().map_or(1, |total| total.flows)
    }

    /// For the register of claims.
    pub fn seen(&self) -> Seen {
        Seen {
            label: self.body.contact.clone(),
            contact: rules::Contact {
                day: self.days().0,
                ..self.input.clone()
            },
            last_day: self.days().1,
            flows: self.flows(),
        }
    }

    /// The days of its first and last packet.
    fn days(&self) -> (String, String) {
        let day = |at: Timestamp| at.to_string().chars().take(10).collect();
        let total = self.total.as_ref();
        let (first, last) = total.map_or((self.body.at, self.body.at), |total| {
            (total.first, total.last)
        });
        (day(first), day(last))
    }

    /// What other rules say of it. A place of grade *high* whose list is older than they allow has
    /// grade *medium* for them.
    pub fn judge(&self, sets: &[RuleSet]) -> Vec<Verdict> {
        if self.probe {
            return Vec::new();
        }
        let mut input = self.input.clone();
        let verdicts = sets.iter().flat_map(|set| {
            input.place.grade = self.grade_for(set);
            judge(std::slice::from_ref(set), &input)
        });
        verdicts.collect()
    }

    fn grade_for(&self, set: &RuleSet) -> Grade {
        let place = &self.input.place;
        let bound = i64::from(set.max_place_age_days());
        let aged = place
            .basis
            .first()
            .is_some_and(|basis| basis.age_days > bound);
        match place.grade {
            Grade::High if aged => Grade::Medium,
            grade => grade,
        }
    }

    /// A verdict as a finding's body, with the packets that its own findings point to.
    pub fn finding(&self, verdict: &Verdict) -> body::Finding {
        let packets: &[PacketRef] = self
            .findings
            .first()
            .map_or(&[], |recorded| &recorded.finding.packets);
        finding_body(&self.body.contact, verdict, packets, self.body.at)
    }
}

/// Reads the contacts that have flows, in the order in which they were first recorded.
pub fn read(reader: &Reader) -> Result<Vec<Stored>, StoredError> {
    let mut stored: Vec<Stored> = Vec::new();
    let mut by_label: HashMap<String, usize> = HashMap::new();
    for record in reader.records(&[Kind::CONTACT, Kind::TOTAL, Kind::FINDING]) {
        let record = record?;
        match record.kind.as_str() {
            "contact" => {
                let body: body::Contact = parse(record.seq, &record.body)?;
                by_label.insert(body.contact.clone(), stored.len());
                stored.push(new(body));
            }
            "total" => {
                let total: body::Total = parse(record.seq, &record.body)?;
                if let Some(at) = by_label.get(&total.contact)
                    && let Some(one) = stored.get_mut(*at)
                {
                    one.input.bytes_out = total.bytes_out;
                    one.input.payload = total.payload.unwrap_or(true);
                    one.total = Some(total);
                }
            }
            _ => {
                let finding: body::Finding = parse(record.seq, &record.body)?;
                if let Some(at) = by_label.get(&finding.contact)
                    && let Some(one) = stored.get_mut(*at)
                {
                    let seq = record.seq;
                    one.findings
                        .retain(|old| !same_rule(&old.finding, &finding));
                    one.findings.push(Recorded { seq, finding });
                }
            }
        }
    }
    stored.retain(|one| one.flows() > 0);
    Ok(stored)
}

fn same_rule(one: &body::Finding, other: &body::Finding) -> bool {
    (&one.set, &one.rule) == (&other.set, &other.rule)
}

fn new(body: body::Contact) -> Stored {
    let input = rules_input(
        &body.owner,
        &body.packages,
        &body.endpoint,
        &body.place,
        body.phase.clone(),
        body.at,
        true,
    );
    Stored {
        probe: body.owner.role.as_deref() == Some(PROBE),
        total: None,
        findings: Vec::new(),
        body,
        input,
    }
}

fn parse<T: DeserializeOwned>(seq: i64, body: &str) -> Result<T, StoredError> {
    serde_json::from_str(body).map_err(|source| StoredError::Body { seq, source })
}
