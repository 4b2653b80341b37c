//! What the daemon concluded, held against what was sent.
//!
//! In: the case, and what the senders say. Out: for owner, name, place and loss how often it was
//! right, wrong, or left open.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use sakshi_rules::contact::Proto;
use serde::{Deserialize, Serialize};

use super::{
    Error, bound,
    part::{Sent, Told},
    plan::What,
    truth::{Known, PER_USER, Range, SENDERS},
};
use crate::evidence::{
    Kind, Reader,
    body::{Basis, Contact, Flow},
};

/// Errors that are told in full; all are counted.
const TOLD_MAX: usize = 50;
/// Bytes of the headers of a datagram: IPv4 or IPv6, and UDP.
const HEADERS_V4: u64 = 28;
const HEADERS_V6: u64 = 48;

/// How often one thing was right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Looked at: `right + wrong + unknown + open`.
    pub of: u64,
    /// What was said is so.
    pub right: u64,
    /// Something was said that is not so.
    pub wrong: u64,
    /// Nothing was said, though it could have been known.
    pub unknown: u64,
    /// Nothing was said, and nothing could be known.
    pub open: u64,
    /// Upper bound of the share of wrong ones, in parts per million.
    pub wrong_at_most_ppm: u64,
    /// Upper bound of the share of unknown ones among those that could be known.
    pub unknown_at_most_ppm: u64,
}

/// What one flow came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Right,
    Wrong,
    Unknown,
    Open,
}

impl Score {
    fn take(&mut self, answer: Answer, times: u64) {
        self.of += times;
        *match answer {
            Answer::Right => &mut self.right,
            Answer::Wrong => &mut self.wrong,
            Answer::Unknown => &mut self.unknown,
            Answer::Open => &mut self.open,
        } += times;
    }

    fn bounded(self) -> Self {
        Self {
            wrong_at_most_ppm: bound::upper_ppm(self.wrong, self.of),
            unknown_at_most_ppm: bound::upper_ppm(self.unknown, self.of - self.open),
            ..self
        }
    }
}

/// Everything that was held against the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    /// Whose a flow is: UID, and the packages that run under it.
    pub owner: Score,
    /// What the other side is called.
    pub name: Score,
    /// Where it stands, as published.
    pub place: Score,
    /// Flows: found once, or not at all (`unknown`), or one too many (`wrong`).
    pub flows: Score,
    /// Datagrams: counted, not counted (`unknown`), or counted and never sent (`wrong`).
    pub datagrams: Score,
    /// Bytes of flows: as sent (over TCP: at least what the payload takes) or not.
    pub bytes: Score,
    /// Packets that the cable counted: on record, or not (`unknown`), or on record beyond them
    /// (`wrong`).
    pub packets: Score,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) scores: Scores,
    /// Errors in plain words, the first ones.
    pub(super) told: Vec<String>,
    /// Whether owners were read in the kernel.
    pub(super) layer: bool,
    /// Flows by how their owner is known.
    pub(super) by_basis: BTreeMap<String, u64>,
}

type Ends = (bool, SocketAddr, SocketAddr);

/// What the case says, ready to be looked up.
struct Said {
    flows: HashMap<Ends, Vec<Flow>>,
    contacts: HashMap<String, Contact>,
}

/// Compares.
pub(super) fn judge(case: &Path, told: &Told) -> Result<Judgement, Error> {
    let said = read(case)?;
    let mut judgement = Judgement::default();
    for flow in said.flows.values().flatten() {
        let basis = flow.owner.basis;
        judgement.layer |= basis == Basis::XtBpf;
        *judgement
            .by_basis
            .entry(basis.as_str().to_owned())
            .or_default() += 1;
    }
    for sent in &told.sent {
        judgement.flow(sent, &said);
    }
    judgement.strangers(&told.sent, &said);
    let counted: u64 = said
        .flows
        .values()
        .flatten()
        .map(|flow| flow.packets_out)
        .sum();
    judgement.compare_counts(counted, told.cable, |scores| &mut scores.packets);
    let scores = &mut judgement.scores;
    for score in [
        &mut scores.owner,
        &mut scores.name,
        &mut scores.place,
        &mut scores.flows,
        &mut scores.datagrams,
        &mut scores.bytes,
        &mut scores.packets,
    ] {
        *score = score.bounded();
    }
    Ok(judgement)
}

fn read(case: &Path) -> Result<Said, Error> {
    let reader = Reader::open(case)?;
    let mut said = Said {
        flows: HashMap::new(),
        contacts: HashMap::new(),
    };
    for record in reader.records(&[Kind::FLOW, Kind::CONTACT]) {
        let record = record?;
        if record.kind == Kind::CONTACT {
            let contact: Contact = serde_json::from_str(&record.body).map_err(Error::json)?;
            said.contacts.insert(contact.contact.clone(), contact);
            continue;
        }
        let flow: Flow = serde_json::from_str(&record.body).map_err(Error::json)?;
        // What has no ports was sent by nobody of ours; the cable has counted it all the same.
        let end = |addr: IpAddr, port: Option<u16>| SocketAddr::new(addr, port.unwrap_or(0));
        let ends = (
            flow.proto == Proto::Tcp,
            end(flow.src, flow.sport),
            end(flow.dst, flow.dport),
        );
        said.flows.entry(ends).or_default().push(flow);
    }
    Ok(said)
}

fn ends(sent: &Sent) -> Ends {
    (sent.step.what.is_tcp(), sent.local, sent.step.to)
}

impl Judgement {
    fn flow(&mut self, sent: &Sent, said: &Said) {
        let Some(found) = said.flows.get(&ends(sent)) else {
            self.scores.flows.take(Answer::Unknown, 1);
            self.scores.datagrams.take(Answer::Unknown, sent.datagrams);
            self.tell(sent, "is not on record");
            return;
        };
        self.scores.flows.take(Answer::Right, 1);
        let more = u64::try_from(found.len()).unwrap_or(u64::MAX) - 1;
        if more > 0 {
            self.scores.flows.take(Answer::Wrong, more);
            self.tell(sent, &format!("is on record {} times", found.len()));
        }
        if sent.datagrams > 0 {
            let counted = found.iter().map(|flow| flow.packets_out).sum();
            self.compare_counts(counted, sent.datagrams, |scores| &mut scores.datagrams);
        }
        self.bytes(sent, found.iter().map(|flow| flow.bytes_out).sum());
        for flow in found {
            self.note(
                sent,
                |scores| &mut scores.owner,
                owner(sent, flow),
                || {
                    format!(
                        "owner on record: {:?} {:?} ({})",
                        flow.owner.uid,
                        flow.owner.apps,
                        flow.owner.basis.as_str()
                    )
                },
            );
            self.note(
                sent,
                |scores| &mut scores.place,
                place(flow),
                || format!("place on record: {:?}", flow.place),
            );
            let contact = flow
                .contact
                .as_ref()
                .and_then(|label| said.contacts.get(label));
            let name = contact.and_then(|contact| contact.endpoint.name.as_deref());
            self.note(
                sent,
                |scores| &mut scores.name,
                name_of(sent, name),
                || format!("name on record: {name:?}"),
            );
        }
    }

    /// Bytes on record against those that were sent.
    fn bytes(&mut self, sent: &Sent, bytes: u64) {
        let as_sent = if sent.step.what.is_tcp() {
            bytes > sent.step.bytes
        } else {
            let headers = if sent.local.is_ipv4() {
                HEADERS_V4
            } else {
                HEADERS_V6
            };
            bytes == sent.datagrams * (sent.step.bytes + headers)
        };
        self.note(
            sent,
            |scores| &mut scores.bytes,
            if as_sent {
                Answer::Right
            } else {
                Answer::Wrong
            },
            || format!("has {bytes} bytes on record"),
        );
    }

    /// Flows over TCP and UDP that nobody sent.
    fn strangers(&mut self, sent: &[Sent], said: &Said) {
        let known: std::collections::HashSet<Ends> = sent.iter().map(ends).collect();
        for (ends, flows) in &said.flows {
            for flow in flows {
                let ours = matches!(flow.proto, Proto::Tcp | Proto::Udp);
                if ours && !known.contains(ends) {
                    self.scores.flows.take(Answer::Wrong, 1);
                    self.push(format!("nobody sent {} to {}", ends.1, ends.2));
                }
            }
        }
    }

    fn compare_counts(&mut self, counted: u64, truth: u64, of: impl Fn(&mut Scores) -> &mut Score) {
        let score = of(&mut self.scores);
        score.take(Answer::Right, counted.min(truth));
        score.take(Answer::Unknown, truth.saturating_sub(counted));
        score.take(Answer::Wrong, counted.saturating_sub(truth));
        if counted != truth {
            self.push(format!("{counted} packets on record, {truth} sent"));
        }
    }

    fn note(
        &mut self,
        sent: &Sent,
        of: impl Fn(&mut Scores) -> &mut Score,
        answer: Answer,
        what: impl Fn() -> String,
    ) {
        of(&mut self.scores).take(answer, 1);
        if matches!(answer, Answer::Wrong | Answer::Unknown) {
            self.tell(sent, &what());
        }
    }

    fn tell(&mut self, sent: &Sent, what: &str) {
        let step = &sent.step;
        self.push(format!(
            "flow {} ({:?} of UID {}, {} to {}, called {}): {what}",
            step.number, step.what, step.uid, sent.local, step.to, step.name
        ));
    }

    fn push(&mut self, line: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(line);
        }
    }
}

/// Whether the owner is whom it was sent by, with its packages.
fn owner(sent: &Sent, flow: &Flow) -> Answer {
    let Some(uid) = flow.owner.uid else {
        return Answer::Unknown;
    };
    let uid_is_right = uid == sent.step.uid;
    if !uid_is_right && flow.owner.may_act_for_app {
        // It says itself that somebody else may stand behind it.
        return Answer::Unknown;
    }
    let sender = SENDERS.iter().find(|sender| sender.uid == sent.step.uid);
    let packages = sender.map_or(&[][..], |sender| sender.packages);
    let is_right = uid_is_right
        && flow.owner.user == Some(uid / PER_USER)
        && flow.owner.apps.iter().eq(packages.iter());
    if is_right {
        Answer::Right
    } else {
        Answer::Wrong
    }
}

/// Whether the place is the published one.
fn place(flow: &Flow) -> Answer {
    let said = &flow.place;
    let range = Range::of(flow.dst);
    match range.map_or(Known::Nowhere, |range| range.known) {
        Known::Anycast | Known::Nowhere => match said.country {
            None => Answer::Open,
            Some(_) => Answer::Wrong,
        },
        Known::Country | Known::Region if said.country.is_none() => Answer::Unknown,
        Known::Country | Known::Region => {
            let is = |said: &Option<String>, truth: Option<&str>| {
                truth.is_none() || said.is_none() || said.as_deref() == truth
            };
            let truth = range.filter(|range| {
                is(&said.country, range.country)
                    && is(&said.provider, range.provider)
                    && is(&said.region, range.region)
            });
            match truth {
                None => Answer::Wrong,
                // The country alone, where the region is published.
                Some(range) if range.region.is_some() && said.region.is_none() => Answer::Unknown,
                Some(_) => Answer::Right,
            }
        }
    }
}

/// Whether the other side's name is the one that was to be seen.
fn name_of(sent: &Sent, said: Option<&str>) -> Answer {
    let visible = sent.step.name_is_visible && sent.step.what != What::Question;
    match said {
        None if visible => Answer::Unknown,
        None => Answer::Open,
        Some(name) if visible && name == sent.step.name => Answer::Right,
        Some(_) => Answer::Wrong,
    }
}
