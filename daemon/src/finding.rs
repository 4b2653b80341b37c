//! Contacts and what rules say of them.
//!
//! In: flows whose owner, name and place are settled. Out: `contact`, `finding` and `total`
//! drafts. A contact is judged when it is first known and again when a bound in a rule is crossed;
//! what is unchanged is not out twice.

mod claim;

use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sakshi_rules::{
    Outcome, RuleSet, Verdict,
    contact::{self as rules, AppProtocol, Place},
    judge,
    token::country_token,
    vocabulary::Word,
};

use self::claim::Key;
pub use self::claim::{Claim, Found};
use crate::{
    attribute::{inventory::OwnerApps, owner::Conclusion, process::NamedProcess, uid},
    evidence::{
        Resolver,
        body::{self, PacketRef, Record},
    },
    input::{Observation, SHIM},
    time::Timestamp,
};

/// Most contacts a session keeps apart; further ones are counted to no contact, as a gap.
pub const CONTACTS_MAX: usize = 200_000;

/// What the flows of our own probe are called in `owner.role`.
pub const PROBE: &str = "probe";

/// What an observation of the screen is about.
const SCREEN: &str = "screen";

/// What an observation of Android's idle mode is about.
const DOZE: &str = "doze";

/// The role of a UID that resolves names for others: it is no app.
const RESOLVER: &str = "resolver";

/// Index of a contact in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactId(u32);

impl ContactId {
    /// Its number in the session, from 1, as in its label.
    pub const fn number(self) -> u32 {
        self.0.saturating_add(1)
    }
}

/// Counts that a flow adds to its contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Packets that the handset sent.
    pub packets_out: u64,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
}

impl Share {
    /// What is left of it without `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            packets_out: self.packets_out.saturating_sub(other.packets_out),
            bytes_out: self.bytes_out.saturating_sub(other.bytes_out),
        }
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// The key's hash.
    hash: u64,
    /// None once rules are not asked again: payload was sent, and no bound of bytes is left.
    asked: Option<Box<Asked>>,
    /// How many of what they said last stand and are not excepted.
    standing: u64,
    /// Whether payload was sent.
    payload: bool,
    flows: u64,
    share: Share,
    first: Timestamp,
    last: Timestamp,
    /// The next byte count at which a rule may say something else.
    next_bound: Option<u64>,
    dirty: bool,
    /// Our own probe's: no rule is asked.
    probe: bool,
}

/// What only judging needs.
#[derive(Debug)]
struct Asked {
    /// What rules are asked.
    input: rules::Contact,
    packets: Vec<PacketRef>,
    /// What rules said last.
    verdicts: Vec<Verdict>,
}

impl Asked {
    fn of(input: rules::Contact, packets: Vec<PacketRef>) -> Box<Self> {
        Box::new(Self {
            input,
            packets,
            verdicts: Vec::new(),
        })
    }
}

/// All contacts of a session.
#[derive(Debug)]
pub struct ContactBook {
    session: u64,
    sets: Vec<RuleSet>,
    bounds: Vec<u64>,
    /// Contacts by the hash of their keys, which stand in the entries only.
    by_key: HashTable<ContactId>,
    hasher: RandomState,
    /// Each apart, so that a book that grows moves none.
    #[expect(
        clippy::vec_box,
        reason = "an entry is large, and a vector of them that doubles would copy them all"
    )]
    entries: Vec<Box<Entry>>,
    dirty: Vec<ContactId>,
    phase: u32,
    /// Names of the phases by number; the first one is before any phase.
    phase_names: Vec<String>,
    turned_away: u64,
    /// Verdicts that stand and are not excepted.
    findings: u64,
    /// Where the lab states that traffic goes out into the internet.
    egress: Option<String>,
    /// Whether the screen is on, as far as was told.
    screen_on: Option<bool>,
    /// Whether Android is in its idle mode, as far as was told.
    idle: Option<bool>,
    /// The latest contact's day, by its number since the epoch: as text it costs more than the rest.
    day: (i64, String),
}

impl ContactBook {
    /// A book for one session, judged by `sets`.
    pub fn new(session: u64, sets: Vec<RuleSet>) -> Self {
        let mut bounds: Vec<u64> = sets.iter().flat_map(RuleSet::byte_bounds).collect();
        bounds.sort_unstable();
        bounds.dedup();
        Self {
            session,
            sets,
            bounds,
            by_key: HashTable::new(),
            hasher: RandomState::default(),
            entries: Vec::new(),
            dirty: Vec::new(),
            phase: 0,
            phase_names: vec![String::new()],
            turned_away: 0,
            findings: 0,
            egress: None,
            screen_on: None,
            idle: None,
            day: (0, day(Timestamp::default())),
        }
    }

    /// The same, where the lab states in which country traffic goes out into the internet.
    #[must_use]
    pub fn leaving_in(mut self, egress: Option<String>) -> Self {
        self.egress = egress;
        self
    }

    /// Whether a country is none of those in which the handset is: the one that the lab states, else
    /// those that a set calls home. Without either nothing is known to be abroad.
    pub fn is_abroad(&self, country: &str) -> bool {
        match &self.egress {
            Some(egress) => egress != country,
            None => !self.sets.is_empty() && !self.is_home(country),
        }
    }

    fn is_home(&self, country: &str) -> bool {
        self.sets.iter().any(|set| set.home().contains(country))
    }

    /// Takes what was told of the screen and of the idle mode; anything else is left alone.
    pub fn hear(&mut self, told: &Observation) {
        if told.source != SHIM {
            return;
        }
        match told.topic.as_str() {
            SCREEN => self.screen_on = flag(told, "on", "off"),
            DOZE => self.idle = flag(told, "true", "false"),
            _ => {}
        }
    }

    /// Contacts so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Findings so far, every outcome but *excepted*: one that replaces another counts once.
    pub const fn findings(&self) -> u64 {
        self.findings
    }

    /// Name of the phase.
    pub fn phase_name(&self) -> &str {
        self.name_of_phase(self.phase)
    }

    /// Name of the phase with this number.
    pub fn name_of_phase(&self, number: u32) -> &str {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.phase_names.get(at).map_or("", String::as_str)
    }

    /// Number of the phase; flows counted under another number are to be settled anew.
    pub const fn phase(&self) -> u32 {
        self.phase
    }

    /// Begins a phase. The caller writes the totals first.
    pub fn begin_phase(&mut self, name: &str) {
        self.phase += 1;
        self.phase_names.push(name.to_owned());
    }

    /// Flows that found no room since the last call.
    pub fn take_turned_away(&mut self) -> u64 {
        std::mem::take(&mut self.turned_away)
    }

    /// The contact's name in records.
    pub fn label(&self, id: ContactId) -> String {
        label(self.session, id)
    }

    /// Whether a rule says something of the contact other than *excepted*.
    pub fn has_finding(&self, id: ContactId) -> bool {
        let entry = self.entries.get(id.0 as usize);
        entry.is_some_and(|entry| entry.standing > 0)
    }

    /// Finds or makes the contact of a settled flow and judges a new one; none when the book is
    /// full. `found` is asked by its name, of a new one only.
    pub fn settle(
        &mut self,
        claim: Claim<'_>,
        found: impl FnOnce(Option<&str>) -> Found,
        apps: Option<&OwnerApps<'_>>,
        out: &mut Vec<Record>,
    ) -> Option<ContactId> {
        let hash = claim::hash(&self.hasher, &claim, self.phase);
        if let Some(id) = self.known(hash, &claim) {
            self.strengthen(id, claim.payload, out);
            return Some(id);
        }
        if self.entries.len() >= CONTACTS_MAX {
            self.turned_away += 1;
            return None;
        }
        let id = ContactId(u32::try_from(self.entries.len()).ok()?);
        let at = claim.at;
        let found = found(claim.name);
        if self.day.0 != at.day() {
            self.day = (at.day(), day(at));
        }
        let (entry, record) = self.new_entry(id, hash, claim, found, apps);
        self.entries.push(Box::new(entry));
        let entries = &self.entries;
        let hash_of = |id: &ContactId| entries.get(id.0 as usize).map_or(0, |entry| entry.hash);
        self.by_key.insert_unique(hash, id, hash_of);
        out.push(Record::Contact(Box::new(record)));
        self.judge(id, at, out);
        Some(id)
    }

    fn known(&self, hash: u64, claim: &Claim<'_>) -> Option<ContactId> {
        let is_it = |id: &ContactId| {
            let entry = self.entries.get(id.0 as usize);
            entry.is_some_and(|entry| entry.hash == hash && entry.key.is_of(claim, self.phase))
        };
        self.by_key.find(hash, is_it).copied()
    }

    /// A contact judged without payload is judged again once payload was sent.
    fn strengthen(&mut self, id: ContactId, payload: bool, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return;
        };
        if payload && !entry.payload {
            entry.payload = true;
            mark_dirty(entry, id, &mut self.dirty);
            let at = entry.last;
            self.judge(id, at, out);
        }
    }

    fn new_entry(
        &self,
        id: ContactId,
        hash: u64,
        claim: Claim<'_>,
        found: Found,
        apps: Option<&OwnerApps<'_>>,
    ) -> (Entry, body::Contact) {
        let key = Key::new(&claim, self.phase);
        let mut owner = owner_body(&claim.owner, apps, claim.process.as_ref());
        if claim.probe {
            owner.role = Some(PROBE.to_owned());
        }
        let packages = packages_body(apps);
        let endpoint = claim.endpoint(found.names, found.categories);
        let steered = self.steered(claim.via, claim.resolver_abroad, &found.resolvers);
        let input = rules::Contact {
            steered: steered.clone(),
            tunnelled: claim.via == Some(body::Via::Vpn),
            screen_on: self.screen_on,
            idle: self.idle,
            ..rules_input(
                &owner,
                &packages,
                endpoint,
                found.place,
                When {
                    phase: self.phase_name().to_owned(),
                    day: self.day.1.clone(),
                    at: claim.at,
                },
                claim.payload,
            )
        };
        let record = body::Contact {
            contact: self.label(id),
            owner,
            packages,
            charged_to: claim.charged_to,
            name_token: input.endpoint.name.as_deref().and_then(country_token),
            endpoint: input.endpoint.clone(),
            place: input.place.clone(),
            via: claim.via,
            resolvers: found.resolvers,
            steered,
            screen_on: self.screen_on,
            idle: self.idle,
            names_hidden: claim.names_hidden,
            phase: self.phase_name().to_owned(),
            at: claim.at,
        };
        let entry = Entry {
            key,
            hash,
            payload: input.payload,
            asked: Some(Asked::of(input, found.packets)),
            standing: 0,
            flows: 0,
            share: Share::default(),
            first: claim.at,
            last: claim.at,
            next_bound: self.bounds.first().copied(),
            dirty: false,
            probe: claim.probe,
        };
        (entry, record)
    }

    /// What may lead names to other servers than those for whoever is in the handset's place: content
    /// networks answer for a tunnel's far end, and for a resolver's place.
    fn steered(
        &self,
        via: Option<body::Via>,
        resolver_abroad: Option<IpAddr>,
        resolvers: &[Resolver],
    ) -> Option<String> {
        let mut by: Vec<String> = Vec::new();
        if via == Some(body::Via::Vpn) {
            by.push("through a VPN".to_owned());
        }
        if let Some(addr) = resolver_abroad {
            let of = resolvers.iter().find(|resolver| resolver.addr == addr);
            let country = of.and_then(|resolver| resolver.country.as_deref());
            by.push(format!(
                "through the resolver {addr} ({})",
                country.unwrap_or("abroad")
            ));
        }
        if let Some(egress) = self
            .egress
            .as_ref()
            .filter(|egress| !self.sets.is_empty() && !self.is_home(egress))
        {
            by.push(format!("going out in {egress}, as the lab states"));
        }
        let by = by.join(" and ");
        (!by.is_empty()).then(|| format!("{by}, which may lead names to other servers"))
    }

    fn judge(&mut self, id: ContactId, at: Timestamp, out: &mut Vec<Record>) {
        let session = self.session;
        let entry = self.entries.get_mut(id.0 as usize);
        let Some(entry) = entry.filter(|entry| !entry.probe) else {
            return;
        };
        let Some(asked) = &mut entry.asked else {
            return;
        };
        let input = &mut asked.input;
        (input.payload, input.bytes_out) = (entry.payload, entry.share.bytes_out);
        let verdicts = judge(&self.sets, input);
        let new = verdicts
            .iter()
            .filter(|verdict| !asked.verdicts.contains(verdict));
        out.extend(new.map(|verdict| {
            let label = label(session, id);
            Record::Finding(Box::new(finding_body(&label, verdict, &asked.packets, at)))
        }));
        let standing = not_excepted(&verdicts);
        asked.verdicts = verdicts;
        self.findings = self.findings.saturating_sub(entry.standing) + standing;
        entry.standing = standing;
        if entry.payload && entry.next_bound.is_none() {
            entry.asked = None;
        }
    }

    /// Counts a flow to a contact, with what it had sent before it was settled. A contact's first
    /// counts are written at once, so that it is never shown without any.
    pub fn add_flow(
        &mut self,
        id: ContactId,
        share: Share,
        first: Timestamp,
        last: Timestamp,
        out: &mut Vec<Record>,
    ) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return;
        };
        let is_first = entry.flows == 0;
        if is_first {
            (entry.first, entry.last) = (first, last);
        }
        entry.flows += 1;
        entry.first = entry.first.min(first);
        self.count(id, share, last, out);
        if is_first {
            self.total(id, out);
        }
    }

    /// Takes back what a flow had added: it turned out to belong to another contact.
    pub fn withdraw_flow(&mut self, id: ContactId, share: Share) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            entry.flows = entry.flows.saturating_sub(1);
            entry.share = entry.share.minus(share);
            mark_dirty(entry, id, &mut self.dirty);
        }
    }

    /// Adds a packet to a contact's counts; no allocation unless a bound is crossed.
    pub fn count(&mut self, id: ContactId, share: Share, last: Timestamp, out: &mut Vec<Record>) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return;
        };
        entry.share.packets_out += share.packets_out;
        entry.share.bytes_out += share.bytes_out;
        entry.last = entry.last.max(last);
        mark_dirty(entry, id, &mut self.dirty);
        if entry
            .next_bound
            .is_some_and(|bound| entry.share.bytes_out > bound)
        {
            let bytes = entry.share.bytes_out;
            entry.next_bound = self.bounds.iter().copied().find(|bound| *bound >= bytes);
            self.judge(id, last, out);
        }
    }

    /// The totals that changed since the last call, in order of their contacts.
    pub fn totals(&mut self, out: &mut Vec<Record>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        for id in dirty.drain(..) {
            self.total(id, out);
        }
        self.dirty = dirty;
    }

    /// A contact's counts, if they have changed since they were written last.
    fn total(&mut self, id: ContactId, out: &mut Vec<Record>) {
        let session = self.session;
        let changed = self.entries.get_mut(id.0 as usize);
        let Some(entry) = changed.filter(|entry| entry.dirty) else {
            return;
        };
        entry.dirty = false;
        out.push(Record::Total(body::Total {
            contact: label(session, id),
            flows: entry.flows,
            packets_out: entry.share.packets_out,
            bytes_out: entry.share.bytes_out,
            payload: Some(entry.payload),
            first: entry.first,
            last: entry.last,
        }));
    }
}

fn label(session: u64, id: ContactId) -> String {
    format!("{session}-{}", id.number())
}

fn not_excepted(verdicts: &[Verdict]) -> u64 {
    let counted = verdicts
        .iter()
        .filter(|verdict| verdict.outcome != Outcome::Excepted);
    u64::try_from(counted.count()).unwrap_or(u64::MAX)
}

fn mark_dirty(entry: &mut Entry, id: ContactId, dirty: &mut Vec<ContactId>) {
    if !entry.dirty {
        entry.dirty = true;
        dirty.push(id);
    }
}

/// The owner as records show it.
pub fn owner_body(
    owner: &Conclusion,
    apps: Option<&OwnerApps<'_>>,
    process: Option<&NamedProcess>,
) -> body::Owner {
    body::Owner {
        uid: owner.uid,
        user: apps.map(|apps| apps.user),
        basis: owner.basis,
        apps: apps
            .map(|apps| apps.apps.iter().map(|app| app.package.clone()).collect())
            .unwrap_or_default(),
        class: apps.map_or(rules::AppClass::Unknown, |apps| apps.class),
        process: process.map(|process| process.name.clone()),
        process_basis: process.map(|process| process.basis),
        process_acts_for: process.and_then(|process| process.acts_for.clone()),
        name: apps.and_then(|apps| apps.android_name).map(str::to_owned),
        note: apps.and_then(|apps| apps.note).map(str::to_owned),
        role: owner
            .uid
            .filter(|owner| uid::is_resolver(*owner))
            .map(|_| RESOLVER.to_owned()),
        creator_uid: owner.creator_uid,
        disputed_uid: owner.disputed_uid,
        may_act_for_app: owner.may_act_for_app,
    }
}

fn packages_body(apps: Option<&OwnerApps<'_>>) -> Vec<body::Package> {
    let package = |app: &&crate::attribute::inventory::App| body::Package {
        name: app.package.clone(),
        class: app.class,
        class_reason: app.class_reason.clone(),
        version_code: app.version_code,
        installer: app.installer.clone(),
        signers: app.signers.clone(),
        code_path: app.code_path.clone(),
    };
    apps.map(|apps| apps.apps.iter().map(package).collect())
        .unwrap_or_default()
}

/// What the rule engine is asked of a recorded contact with its last counts; none when the case does
/// not say enough of it, or it is our own probe's.
#[cfg(feature = "lab")]
pub fn recorded_input(contact: &body::Contact, total: &body::Total) -> Option<rules::Contact> {
    if contact.owner.role.as_deref() == Some(PROBE) {
        return None;
    }
    let input = rules_input(
        &contact.owner,
        &contact.packages,
        contact.endpoint.clone(),
        contact.place.clone(),
        When {
            phase: contact.phase.clone(),
            day: day(contact.at),
            at: contact.at,
        },
        total.payload?,
    );
    Some(rules::Contact {
        steered: contact.steered.clone(),
        tunnelled: contact.via == Some(body::Via::Vpn),
        screen_on: contact.screen_on,
        idle: contact.idle,
        bytes_out: total.bytes_out,
        ..input
    })
}

/// When a contact was settled.
struct When {
    phase: String,
    /// As [`day`] has it.
    day: String,
    at: Timestamp,
}

/// What the rule engine is asked.
fn rules_input(
    owner: &body::Owner,
    packages: &[body::Package],
    endpoint: body::Endpoint,
    place: Place,
    when: When,
    payload: bool,
) -> rules::Contact {
    let When { phase, day, at } = when;
    let package = |package: &body::Package| rules::Package {
        name: package.name.clone(),
        class: package.class,
        signers: package.signers.clone(),
    };
    rules::Contact {
        owner: rules::Owner {
            uid: owner.uid,
            user: owner.user,
            basis: owner.basis.as_str().to_owned(),
            class: owner.class,
            packages: packages.iter().map(package).collect(),
            may_act_for_app: owner.may_act_for_app,
        },
        cleartext: cleartext(endpoint.app_protocol),
        endpoint,
        place,
        steered: None,
        tunnelled: false,
        phase,
        payload,
        bytes_out: 0,
        day,
        minute: minute(at),
        screen_on: None,
        idle: None,
    }
}

/// What an observation's value says; any other word than the two says nothing.
fn flag(told: &Observation, yes: &str, no: &str) -> Option<bool> {
    let value = told.facts.get("value")?;
    match value.as_str() {
        word if word == yes => Some(true),
        word if word == no => Some(false),
        _ => None,
    }
}

/// The day in UTC, as `2026-11-24`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Minutes after midnight in UTC.
fn minute(at: Timestamp) -> Option<u16> {
    let minutes = at.as_micros().div_euclid(60_000_000);
    u16::try_from(minutes.rem_euclid(24 * 60)).ok()
}

/// Whether a protocol leaves its payload readable; unknown protocols are not guessed.
const fn cleartext(protocol: AppProtocol) -> Option<bool> {
    match protocol {
        AppProtocol::Http
        | AppProtocol::Dns
        | AppProtocol::Smtp
        | AppProtocol::Imap
        | AppProtocol::Pop3
        | AppProtocol::Ftp
        | AppProtocol::Xmpp
        | AppProtocol::Mqtt => Some(true),
        AppProtocol::Tls | AppProtocol::Dtls | AppProtocol::Quic => Some(false),
        // What is inside may be anything.
        AppProtocol::Socks | AppProtocol::Unknown => None,
    }
}

/// A verdict as records show it.
pub fn finding_body(
    label: &str,
    verdict: &Verdict,
    packets: &[PacketRef],
    at: Timestamp,
) -> body::Finding {
    body::Finding {
        contact: label.to_owned(),
        set: verdict.set.clone(),
        set_version: verdict.set_version.clone(),
        rule: verdict.rule.clone(),
        kind: verdict.kind.label().to_owned(),
        severity: verdict.severity.word().to_owned(),
        outcome: verdict.outcome.word().to_owned(),
        reason: verdict.reason.clone(),
        reference: verdict.reference.clone(),
        packets: packets.to_vec(),
        at,
    }
}

#[cfg(all(test, feature = "lab"))]
mod tests;
