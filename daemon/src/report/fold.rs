//! Folds appended records into rows: a contact with its last totals, a finding with its contact.
//!
//! In: records in order. Out: rows. Records with the same content in two sessions of a case are one
//! row whose counts are added.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sakshi_rules::contact::{Name, NameSource, Place, Proto, said_besides};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr};

use super::filter::RulesOf;
use crate::{
    evidence::{
        body::{self, PacketRef},
        canonical::CanonicalError,
        segments::{DroppedBody, PacketsBody},
    },
    time::Timestamp,
};

/// A row of the contacts export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContactRow {
    /// Who.
    pub owner: body::Owner,
    /// Its packages as they were then.
    pub packages: Vec<body::Package>,
    /// Whom netd charges, where that is another than the owner.
    pub charged_to: Vec<body::ChargedTo>,
    /// Address reached.
    pub address: IpAddr,
    /// The IPv4 address inside it that a translator sends on to.
    pub embedded_ipv4: Option<Ipv4Addr>,
    /// Port reached.
    pub port: Option<u16>,
    /// Protocol.
    pub proto: Proto,
    /// What the payload was seen to speak.
    pub app_protocol: sakshi_rules::contact::AppProtocol,
    /// Name beyond a choice between candidates.
    pub name: Option<String>,
    /// Every name seen.
    pub names: Vec<Name>,
    /// Names are hidden in it; null: nothing says so.
    pub names_hidden: Option<body::NamesHidden>,
    /// By which way it left; null: not known.
    pub via: Option<body::Via>,
    /// Phase of the examination.
    pub phase: String,
    /// Where it is.
    pub place: Place,
    /// Flows.
    pub flows: u64,
    /// Packets that the handset sent.
    pub packets_out: u64,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// Labels of the contacts that it stands for.
    #[serde(skip)]
    pub labels: Vec<String>,
}

/// A row of the findings export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingRow {
    /// Rule set.
    pub set: String,
    /// Its version.
    pub set_version: String,
    /// Rule.
    pub rule: String,
    /// Kind of finding.
    pub kind: String,
    /// Severity.
    pub severity: String,
    /// `finding`, `needs_review` or `excepted`.
    pub outcome: String,
    /// Who.
    pub owner: body::Owner,
    /// Its packages as they were then.
    pub packages: Vec<body::Package>,
    /// Whom netd charges, where that is another than the owner.
    pub charged_to: Vec<body::ChargedTo>,
    /// What.
    pub endpoint: body::Endpoint,
    /// Where, and what that rests on.
    pub place: Place,
    /// Names are hidden in it; null: nothing says so.
    pub names_hidden: Option<body::NamesHidden>,
    /// By which way it left; null: not known.
    pub via: Option<body::Via>,
    /// Phase of the examination.
    pub phase: String,
    /// Flows.
    pub flows: u64,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// Why, in plain words.
    pub reason: String,
    /// Provisions valid on the day of the contact.
    pub reference: Vec<String>,
    /// Packets that show it.
    pub packets: Vec<PacketRef>,
    /// Where packets of it are kept.
    pub kept: Vec<Kept>,
}

/// Packets in a segment of the case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Path of the segment in the case.
    pub segment: String,
    /// Their numbers in it, from 1, ascending.
    pub frames: Vec<u32>,
}

/// Numbers of packets by the paths of their segments.
type Places = BTreeMap<String, BTreeSet<u32>>;

/// Collects contacts, totals and findings of a case.
#[derive(Debug, Default)]
pub struct Fold {
    contacts: Vec<(body::Contact, Option<body::Total>)>,
    by_label: HashMap<String, usize>,
    findings: Vec<body::Finding>,
    finding_at: HashMap<(String, String, String), usize>,
    /// Where packets of contacts are, by their labels.
    kept: HashMap<String, Places>,
    dropped: HashSet<String>,
}

impl Fold {
    /// Takes a contact.
    pub fn contact(&mut self, contact: body::Contact) {
        self.by_label
            .insert(contact.contact.clone(), self.contacts.len());
        self.contacts.push((contact, None));
    }

    /// Takes a contact's counts; later ones replace earlier ones.
    pub fn total(&mut self, total: body::Total) {
        if let Some(slot) = self
            .by_label
            .get(&total.contact)
            .and_then(|at| self.contacts.get_mut(*at))
        {
            slot.1 = Some(total);
        }
    }

    /// Takes a finding; a later one of the same contact, set and rule replaces an earlier one.
    pub fn finding(&mut self, finding: body::Finding) {
        let key = (
            finding.contact.clone(),
            finding.set.clone(),
            finding.rule.clone(),
        );
        if let Some(slot) = self
            .finding_at
            .get(&key)
            .and_then(|at| self.findings.get_mut(*at))
        {
            *slot = finding;
        } else {
            self.finding_at.insert(key, self.findings.len());
            self.findings.push(finding);
        }
    }

    /// Takes where packets of a contact are.
    pub fn packets(&mut self, packets: PacketsBody) {
        if let Some(segment) = packets.segment {
            let places = self.kept.entry(packets.contact).or_default();
            places.entry(segment).or_default().extend(packets.frames);
        }
    }

    /// Takes that a segment is not there any more.
    pub fn segment_dropped(&mut self, dropped: DroppedBody) {
        self.dropped.insert(dropped.path);
    }

    /// Where packets of a contact are, in order of the segments' paths.
    pub fn kept(&self, contact: &str) -> Vec<Kept> {
        let places = self.kept.get(contact).into_iter().flatten();
        places
            .filter(|(path, _)| !self.dropped.contains(*path))
            .map(|(path, frames)| Kept {
                segment: path.clone(),
                frames: frames.iter().copied().collect(),
            })
            .collect()
    }

    /// The contacts that have flows, in the order in which they were first recorded.
    pub fn contact_rows(&self) -> Result<Vec<ContactRow>, CanonicalError> {
        let mut rows = Rows::default();
        for (contact, total) in &self.contacts {
            let Some(total) = counted(contact, total.as_ref()) else {
                continue;
            };
            let row = contact_row(contact, &total);
            let identity = (
                &row.owner,
                (&row.packages, &row.charged_to),
                (&row.address, row.embedded_ipv4),
                row.port,
                row.proto,
                row.app_protocol,
                (&row.name, said(&row.names, row.name.as_deref())),
                (row.names_hidden, row.via, &row.phase),
                &row.place,
            );
            rows.add(serde_json::to_string(&identity)?, row, |seen, row| {
                seen.flows += row.flows;
                seen.packets_out += row.packets_out;
                seen.bytes_out += row.bytes_out;
                seen.first = seen.first.min(row.first);
                seen.last = seen.last.max(row.last);
                seen.labels.extend(row.labels);
            });
        }
        Ok(rows.rows)
    }

    /// The same contacts with other findings: those that `judge` has of each contact that has flows.
    /// It is given the packets that an earlier finding named.
    #[cfg(feature = "lab")]
    #[must_use]
    pub fn judged_anew(
        self,
        mut judge: impl FnMut(&body::Contact, &body::Total, &[PacketRef]) -> Vec<body::Finding>,
    ) -> Self {
        let mut packets: HashMap<String, Vec<PacketRef>> = HashMap::new();
        for finding in self.findings {
            packets.entry(finding.contact).or_insert(finding.packets);
        }
        let mut anew = Self {
            findings: Vec::new(),
            finding_at: HashMap::new(),
            ..self
        };
        let mut findings = Vec::new();
        for (contact, total) in &anew.contacts {
            if let Some(total) = counted(contact, total.as_ref()) {
                let named = packets.get(&contact.contact);
                findings.extend(judge(contact, &total, named.map_or(&[], Vec::as_slice)));
            }
        }
        for finding in findings {
            anew.finding(finding);
        }
        anew
    }

    /// A contact with its last counts.
    #[cfg(feature = "lab")]
    pub fn contact_of(&self, label: &str) -> Option<(&body::Contact, body::Total)> {
        let (contact, total) = self.contacts.get(*self.by_label.get(label)?)?;
        Some((contact, counted(contact, total.as_ref())?))
    }

    /// The findings that stand, in the order in which they were first recorded.
    #[cfg(feature = "lab")]
    pub fn findings(&self) -> &[body::Finding] {
        &self.findings
    }

    /// Which rules say something of each contact, whatever the outcome.
    pub fn rules_of(&self) -> RulesOf {
        let mut rules = RulesOf::new();
        for finding in &self.findings {
            let of = rules.entry(finding.contact.clone()).or_default();
            of.insert(finding.rule.clone());
        }
        rules
    }

    /// The findings whose contact has flows, in the order in which they were first recorded.
    pub fn finding_rows(&self) -> Result<Vec<FindingRow>, CanonicalError> {
        let mut rows = Rows::default();
        for finding in &self.findings {
            let Some((contact, total)) = self
                .by_label
                .get(&finding.contact)
                .and_then(|at| self.contacts.get(*at))
            else {
                continue;
            };
            let Some(total) = counted(contact, total.as_ref()) else {
                continue;
            };
            let kept = self.kept(&finding.contact);
            let row = finding_row(finding, contact, &total, kept);
            let endpoint = &row.endpoint;
            let identity = (
                (&row.set, &row.set_version, &row.rule, &row.outcome),
                (&row.owner, &row.packages, &row.charged_to),
                (&row.phase, &row.place, row.via, row.names_hidden),
                (
                    (&endpoint.addr, endpoint.embedded_ipv4),
                    endpoint.port,
                    endpoint.proto,
                    &endpoint.name,
                    said(&endpoint.names, endpoint.name.as_deref()),
                    endpoint.app_protocol,
                ),
            );
            rows.add(serde_json::to_string(&identity)?, row, |seen, row| {
                seen.flows += row.flows;
                seen.bytes_out += row.bytes_out;
                seen.first = seen.first.min(row.first);
                seen.last = seen.last.max(row.last);
                // Of another session, and so of other segments' packets.
                seen.kept.extend(row.kept);
            });
        }
        Ok(rows.rows)
    }
}

/// Rows in order of appearance, one for each identity.
struct Rows<T> {
    rows: Vec<T>,
    by_identity: HashMap<String, usize>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            by_identity: HashMap::new(),
        }
    }
}

impl<T> Rows<T> {
    fn add(&mut self, identity: String, row: T, merge: impl FnOnce(&mut T, T)) {
        if let Some(seen) = self
            .by_identity
            .get(&identity)
            .and_then(|at| self.rows.get_mut(*at))
        {
            merge(seen, row);
        } else {
            self.by_identity.insert(identity, self.rows.len());
            self.rows.push(row);
        }
    }
}

/// The contact's counts. One whose totals were not written before a crash has at least the flow
/// that made it; one whose flows moved to another contact has none and is left out.
fn counted(contact: &body::Contact, total: Option<&body::Total>) -> Option<body::Total> {
    match total {
        Some(total) if total.flows == 0 => None,
        Some(total) => Some(total.clone()),
        None => Some(body::Total {
            contact: contact.contact.clone(),
            flows: 1,
            packets_out: 0,
            bytes_out: 0,
            payload: None,
            first: contact.at,
            last: contact.at,
        }),
    }
}

/// What flows said beside the endpoint's name, without the packets, which differ by session.
fn said<'a>(names: &'a [Name], name: Option<&'a str>) -> Vec<(&'a str, NameSource)> {
    said_besides(names, name).collect()
}

fn contact_row(contact: &body::Contact, total: &body::Total) -> ContactRow {
    let endpoint = contact.endpoint.clone();
    ContactRow {
        owner: contact.owner.clone(),
        packages: contact.packages.clone(),
        charged_to: contact.charged_to.clone(),
        address: endpoint.addr,
        embedded_ipv4: endpoint.embedded_ipv4,
        port: endpoint.port,
        proto: endpoint.proto,
        app_protocol: endpoint.app_protocol,
        name: endpoint.name,
        names: endpoint.names,
        names_hidden: contact.names_hidden,
        via: contact.via,
        phase: contact.phase.clone(),
        place: contact.place.clone(),
        flows: total.flows,
        packets_out: total.packets_out,
        bytes_out: total.bytes_out,
        first: total.first,
        last: total.last,
        labels: vec![contact.contact.clone()],
    }
}

fn finding_row(
    finding: &body::Finding,
    contact: &body::Contact,
    total: &body::Total,
    kept: Vec<Kept>,
) -> FindingRow {
    FindingRow {
        set: finding.set.clone(),
        set_version: finding.set_version.clone(),
        rule: finding.rule.clone(),
        kind: finding.kind.clone(),
        severity: finding.severity.clone(),
        outcome: finding.outcome.clone(),
        owner: contact.owner.clone(),
        packages: contact.packages.clone(),
        charged_to: contact.charged_to.clone(),
        endpoint: contact.endpoint.clone(),
        place: contact.place.clone(),
        names_hidden: contact.names_hidden,
        via: contact.via,
        phase: contact.phase.clone(),
        flows: total.flows,
        bytes_out: total.bytes_out,
        first: total.first,
        last: total.last,
        reason: finding.reason.clone(),
        reference: finding.reference.clone(),
        packets: finding.packets.clone(),
        kept,
    }
}
