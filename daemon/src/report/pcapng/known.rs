//! What a case knows of its flows, found by their packets.
//!
//! In: `flow` and `finding` records. Out: comments for each packet. A packet is a flow's when its
//! five-tuple and time are; where several flows claim it, and neither its number nor its UID
//! decides, it is none's.

use std::{collections::HashMap, net::IpAddr};

use super::super::{
    export::{ExportError, bodies, fold, parse},
    filter::{Filter, RulesOf, Sieve},
    redact::Redactor,
};
use crate::{
    evidence::{
        Kind, Reader,
        body::{Finding, Flow, PlaceSummary},
    },
    input::Packet,
    packet::{Transport, View},
    time::Timestamp,
};

/// What is known of a flow.
#[derive(Debug)]
pub struct KnownFlow {
    /// Whether the filter wants it.
    pub wanted: bool,
    /// The handset's address.
    pub own: IpAddr,
    /// What is said of each of its packets.
    pub comments: Vec<String>,
    session: u64,
    span: (Timestamp, Timestamp),
    uid: Option<u32>,
    packets: Vec<(String, u64)>,
}

/// Protocol, the handset's side, the other side.
type Key = (u8, (IpAddr, Option<u16>), (IpAddr, Option<u16>));

/// The flows of a case.
#[derive(Debug, Default)]
pub struct KnownFlows {
    flows: Vec<KnownFlow>,
    by_key: HashMap<Key, Vec<usize>>,
}

impl KnownFlows {
    /// Reads them; also gives the values of the filter that none has.
    pub fn read(
        reader: &Reader,
        filter: &Filter,
        redactor: Option<&Redactor>,
    ) -> Result<(Self, Vec<String>), ExportError> {
        // Its times are those of packets, not of flows.
        let filter = Filter {
            since: None,
            until: None,
            ..filter.clone()
        };
        let rules = if filter.rule.is_empty() {
            RulesOf::new()
        } else {
            fold(reader)?.rules_of()
        };
        let mut sieve = Sieve::new(&filter, rules);
        let findings = findings(reader)?;
        let mut known = Self::default();
        bodies::<Flow>(reader, Kind::FLOW, |flow| {
            let mut comments = comments(&flow, &findings);
            if let Some(redactor) = redactor {
                for comment in &mut comments {
                    redactor.redact(comment);
                }
            }
            let wanted = sieve.flow(&flow);
            known.add(flow, wanted, comments);
            Ok(())
        })?;
        Ok((known, sieve.unknown("flow")))
    }

    fn add(&mut self, flow: Flow, wanted: bool, comments: Vec<String>) {
        let key = (
            flow.protocol,
            (flow.src, flow.sport),
            (flow.dst, flow.dport),
        );
        let session = flow.flow.split_once('-').map_or("", |(session, _)| session);
        self.by_key.entry(key).or_default().push(self.flows.len());
        self.flows.push(KnownFlow {
            wanted,
            own: flow.src,
            comments,
            session: session.parse().unwrap_or_default(),
            span: (flow.start, flow.end),
            uid: flow.owner.uid,
            packets: flow
                .packets
                .into_iter()
                .map(|packet| (packet.source, packet.frame))
                .collect(),
        });
    }

    /// The flow of a packet.
    pub fn of(
        &self,
        session: u64,
        source: &str,
        packet: &Packet<'_>,
        view: &View<'_>,
    ) -> Option<&KnownFlow> {
        let (sport, dport) = match view.transport {
            Transport::Tcp(tcp) => (Some(tcp.sport), Some(tcp.dport)),
            Transport::Udp(udp) => (Some(udp.sport), Some(udp.dport)),
            _ => (None, None),
        };
        let (src, dst) = ((view.src(), sport), (view.dst(), dport));
        // Records round down to microseconds.
        let at = Timestamp::from_micros(packet.at.as_micros());
        let found: Vec<&KnownFlow> = [(src, dst), (dst, src)]
            .into_iter()
            .filter_map(|(own, other)| self.by_key.get(&(view.protocol, own, other)))
            .flatten()
            .filter_map(|index| self.flows.get(*index))
            .filter(|flow| flow.session == session && flow.span.0 <= at && at <= flow.span.1)
            .collect();
        let numbered = |flow: &&KnownFlow| {
            let is_it = |(named, frame): &(String, u64)| named == source && *frame == packet.frame;
            flow.packets.iter().any(is_it)
        };
        only(found.iter().copied())
            .or_else(|| only(found.iter().copied().filter(numbered)))
            .or_else(|| only(found.iter().copied().filter(|flow| flow.uid == packet.uid)))
    }
}

/// The only one, where there is no other.
fn only<'a>(mut flows: impl Iterator<Item = &'a KnownFlow>) -> Option<&'a KnownFlow> {
    let first = flows.next();
    first.filter(|_| flows.next().is_none())
}

/// Findings by contact: record, set and rule, outcome; the last of a rule stands.
type Findings = HashMap<String, Vec<(i64, String, String)>>;

fn findings(reader: &Reader) -> Result<Findings, ExportError> {
    let mut findings = Findings::new();
    for record in reader.records(&[Kind::FINDING]) {
        let record = record?;
        let finding: Finding = parse(&record)?;
        let rule = format!("{}/{}", finding.set, finding.rule);
        let known = findings.entry(finding.contact).or_default();
        known.retain(|(_, earlier, _)| *earlier != rule);
        known.push((record.seq, rule, finding.outcome));
    }
    Ok(findings)
}

fn comments(flow: &Flow, findings: &Findings) -> Vec<String> {
    let mut comments = vec![
        format!("flow: {}", flow.flow),
        format!("app: {}", app(flow)),
    ];
    if flow.names.is_empty() {
        comments.push("name: not known".to_owned());
    }
    for name in &flow.names {
        let source = serde_json::to_value(name.source).unwrap_or_default();
        let source = source.as_str().unwrap_or_default();
        let strength = serde_json::to_value(name.strength).unwrap_or_default();
        let strength = strength.as_str().unwrap_or("strength not told");
        comments.push(format!("name: {} (by {source}, {strength})", name.name));
    }
    comments.push(format!("place: {}", place(&flow.place)));
    let contact = flow.contact.as_deref().unwrap_or_default();
    for (seq, rule, outcome) in findings.get(contact).into_iter().flatten() {
        comments.push(format!("finding: record {seq}, {rule}, {outcome}"));
    }
    comments
}

fn app(flow: &Flow) -> String {
    let owner = &flow.owner;
    let basis = serde_json::to_value(owner.basis).unwrap_or_default();
    let basis = basis.as_str().unwrap_or_default();
    let mut names: Vec<&str> = owner.apps.iter().map(String::as_str).collect();
    names.extend(owner.name.as_deref());
    names.extend(owner.process.as_deref());
    let names = if names.is_empty() {
        "not known".to_owned()
    } else {
        names.join(", ")
    };
    match owner.uid {
        Some(uid) => format!("{names} (UID {uid}, by {basis})"),
        None => format!("{names} (no UID, by {basis})"),
    }
}

fn place(place: &PlaceSummary) -> String {
    let grade = serde_json::to_value(place.grade).unwrap_or_default();
    let grade = grade.as_str().unwrap_or_default().to_owned();
    let parts = [&place.country, &place.provider, &place.region];
    let mut parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    if parts.is_empty() {
        parts.push("not known");
    }
    format!("{} ({grade})", parts.join(" "))
}
