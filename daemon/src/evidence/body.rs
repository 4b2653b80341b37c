//! What each kind of record says.
//!
//! In: conclusions of the core. Out: types that serialise to a record's canonical body and are
//! read back by exports. Keys are documented in `docs/export-format.md`; records grow by new keys
//! and kinds, never by changed ones.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sakshi_rules::contact::{AppClass, AppProtocol, Grade, Name, NameToken, Place, Proto};

pub use sakshi_rules::contact::PacketRef;
use serde::{Deserialize, Serialize};

use super::{Circumstances, Draft, Kind, Resolver, canonical::CanonicalError};
use crate::{
    input::{Apk, InventoryChange, Note, Observation, PhaseChange},
    time::Timestamp,
};

pub use sakshi_rules::contact::Endpoint;

pub use crate::{
    attribute::{charge::ChargeBasis, owner::Basis, process::ProcessBasis},
    flow::{FlowState, RttBasis},
    input::{
        Gap, GapCause, InterfaceChange, InterfaceCount, InterfaceCounters, ProbeMark, Suspension,
    },
};

/// Who sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The kernel's UID; null when unknown or disputed.
    pub uid: Option<u32>,
    /// Android user.
    pub user: Option<u32>,
    /// How the owner is known.
    pub basis: Basis,
    /// Every package that runs under the UID, sorted.
    pub apps: Vec<String>,
    /// Class of the packages together.
    pub class: AppClass,
    /// Name of the process (of the app, where `process_basis` says so); null: not known.
    pub process: Option<String>,
    /// How `process` is known.
    pub process_basis: Option<ProcessBasis>,
    /// Name of the process on whose behalf `process` acts, where that is said.
    pub process_acts_for: Option<String>,
    /// Android's name of a platform UID.
    pub name: Option<String>,
    /// Why no app stands behind the UID; null: one does, the UID is the platform's, or not known.
    pub note: Option<String>,
    /// What a UID of the platform does for others (`resolver`); null: nothing that is known of.
    #[serde(default)]
    pub role: Option<String>,
    /// The socket's creator, where it is not the owner.
    pub creator_uid: Option<u32>,
    /// The other UID that was given, where the owner is disputed.
    pub disputed_uid: Option<u32>,
    /// A platform UID on a resolver's socket, and no lookup said for whom.
    pub may_act_for_app: bool,
}

/// Whom the traffic is charged to, as a privileged process told netd. It is an indicator of for whom
/// the owner worked, and never the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargedTo {
    /// The UID that is charged.
    pub uid: u32,
    /// Android user.
    pub user: u32,
    /// Every package that runs under the UID, sorted, as they were when the flow began.
    pub apps: Vec<String>,
    /// Class of the packages together.
    pub class: AppClass,
    /// Android's name of a platform UID.
    pub name: Option<String>,
    /// Why no app stands behind the UID; null: one does, or the UID is the platform's.
    pub note: Option<String>,
    /// What the socket was tagged with; 0: nothing but the UID.
    pub tag: u32,
    /// What Android uses that tag for; null: it is an app's own.
    pub tag_name: Option<String>,
    /// How the charge is known.
    pub basis: ChargeBasis,
    /// When it was first read; null in contacts, which stand for several flows.
    pub since: Option<Timestamp>,
}

/// A package as it was when the record was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// How it came onto the handset.
    pub class: AppClass,
    /// Why it has that class.
    pub class_reason: String,
    /// Android's `versionCode`.
    pub version_code: Option<u64>,
    /// Package that installed it.
    pub installer: Option<String>,
    /// SHA-256 of each signer certificate.
    pub signers: Vec<String>,
    /// Where its code lies.
    pub code_path: Option<String>,
}

/// Where the first server reached stands, without what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceSummary {
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// Provider key.
    pub provider: Option<String>,
    /// The provider's own name of the region.
    pub region: Option<String>,
    /// Autonomous system, where known.
    pub asn: Option<u32>,
    /// How well it is known.
    pub grade: Grade,
}

impl From<&Place> for PlaceSummary {
    fn from(place: &Place) -> Self {
        Self {
            country: place.country.clone(),
            provider: place.provider.clone(),
            region: place.region.clone(),
            asn: place.asn,
            grade: place.grade,
        }
    }
}

/// By which way it left the handset. Ordered: of several, the last stands for the flow. An open
/// enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Via {
    /// By an interface that is no tunnel.
    Direct,
    /// By such an interface, from an app that holds the other end of a tunnel: it may carry what
    /// others sent into that tunnel, or be the app's own traffic. Which one is not told.
    VpnOuter,
    /// IPv4 on an IPv6-only network (464XLAT); it leaves as IPv6.
    Clat,
    /// Into a tunnel: it leaves inside another flow, which may be recorded too.
    Vpn,
    /// Seen inside the packets of another flow of a capture file, which is recorded too.
    Inside,
    /// The IPv6 side of a flow that is recorded as [`Via::Clat`]: the same packets again.
    ClatCopy,
}

impl Via {
    /// The word that stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::VpnOuter => "vpn_outer",
            Self::Clat => "clat",
            Self::Vpn => "vpn",
            Self::Inside => "inside",
            Self::ClatCopy => "clat_copy",
        }
    }
}

/// Record `flow`: written when a flow ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Session and number of the flow in it.
    pub flow: String,
    /// Protocol.
    pub proto: Proto,
    /// IP protocol number.
    pub protocol: u8,
    /// The handset's address.
    pub src: IpAddr,
    /// The handset's port.
    pub sport: Option<u16>,
    /// The other side's address.
    pub dst: IpAddr,
    /// The other side's port.
    pub dport: Option<u16>,
    /// First packet.
    pub start: Timestamp,
    /// Last packet.
    pub end: Timestamp,
    /// Packets that the handset sent.
    pub packets_out: u64,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
    /// Packets received; null when not all were observed.
    pub packets_in: Option<u64>,
    /// IP bytes received; null when not all were observed.
    pub bytes_in: Option<u64>,
    /// How far it got.
    pub state: FlowState,
    /// Round-trip time from kernel or file times, or as the kernel measured it, microseconds.
    pub rtt_us: Option<u64>,
    /// What that time rests on.
    pub rtt_basis: Option<RttBasis>,
    /// When the kernel told that it destroyed the flow's socket; null: not told.
    pub socket_closed: Option<Timestamp>,
    /// The kernel's name of the socket until the next boot.
    pub socket_cookie: Option<u64>,
    /// Bytes that the peer acknowledged in the socket's whole life, SYN and FIN counted.
    pub bytes_acked: Option<u64>,
    /// Bytes received in the socket's whole life, the peer's FIN counted.
    pub bytes_received: Option<u64>,
    /// Why it ended.
    pub end_reason: String,
    /// Who sent.
    pub owner: Owner,
    /// Whom netd charges, the owner itself included, in the order in which that was read; empty:
    /// nothing was read.
    #[serde(default)]
    pub charged_to: Vec<ChargedTo>,
    /// Number of the process `owner.process`; null: not known.
    pub pid: Option<u32>,
    /// Packets without a UID of their own, which the flow's owner was carried to.
    pub carried_packets: u64,
    /// Names seen.
    pub names: Vec<Name>,
    /// What the payload was seen to speak.
    pub app_protocol: AppProtocol,
    /// What a TLS handshake said in clear; null: none was read.
    #[serde(default)]
    pub tls: Option<Box<Tls>>,
    /// Where the other side is.
    pub place: PlaceSummary,
    /// Phase in which it began.
    pub phase: String,
    /// By which way it left; null: not known.
    #[serde(default)]
    pub via: Option<Via>,
    /// Interfaces by which it left, in the order of their use.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// The IPv4 address inside `dst`, where a translator sends on to it (NAT64).
    #[serde(default)]
    pub embedded_ipv4: Option<Ipv4Addr>,
    /// The contact it was counted to last.
    pub contact: Option<String>,
    /// Its first packets.
    pub packets: Vec<PacketRef>,
}

/// What a TLS handshake said in clear, QUIC's and DTLS's included. Versions and suites are written as
/// four hexadecimal digits (IANA, TLS Parameters).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Whether the client named a server.
    pub server_name: ServerName,
    /// Whether it sent an encrypted hello besides.
    pub ech: Ech,
    /// Versions that it offered, in its order.
    pub versions: Vec<String>,
    /// Application protocols that it offered (ALPN), in its order.
    pub alpn: Vec<String>,
    /// Version that the server chose; null: not seen.
    pub version: Option<String>,
    /// Cipher suite that the server chose; null: not seen.
    pub cipher_suite: Option<String>,
    /// The server's certificate, as it sent it, checked by nobody; null: encrypted or not seen.
    pub certificate: Option<Certificate>,
    /// Names are hidden in it; null: nothing says so.
    #[serde(default)]
    pub names_hidden: Option<NamesHidden>,
}

/// How names are kept out of sight, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamesHidden {
    /// The protocol.
    pub how: HiddenIn,
    /// What says so.
    pub basis: HiddenBasis,
}

/// What hides names: those that are asked for, or the one that was meant. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenIn {
    /// DNS over TLS or DTLS.
    Dot,
    /// DNS over HTTPS.
    Doh,
    /// DNS over QUIC.
    Doq,
    /// An encrypted hello: the name that is said covers the one that was meant.
    Ech,
}

/// What says that names are hidden. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenBasis {
    /// The application protocol that the client offers.
    Alpn,
    /// The port.
    Port,
    /// The server's name is one of a list of resolvers.
    Name,
    /// An HTTPS record had offered it under the name that is said.
    HttpsRecord,
}

impl NamesHidden {
    /// In words.
    pub fn text(self) -> String {
        let how = match self.how {
            HiddenIn::Dot => "DNS over TLS",
            HiddenIn::Doh => "DNS over HTTPS",
            HiddenIn::Doq => "DNS over QUIC",
            HiddenIn::Ech => "an encrypted hello",
        };
        let basis = match self.basis {
            HiddenBasis::Alpn => "by the protocol offered",
            HiddenBasis::Port => "by the port",
            HiddenBasis::Name => "by the server's name, which may serve pages too",
            HiddenBasis::HttpsRecord => "as an HTTPS record had offered under this name",
        };
        format!("names hidden here: {how}, {basis}")
    }
}

/// Whether a hello has a server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerName {
    /// It has one: it stands among the flow's names.
    Given,
    /// It has none.
    Absent,
    /// The hello was not read to its end.
    Unread,
}

/// What is known of an encrypted hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ech {
    /// The extension is not there.
    Absent,
    /// The extension is there. It may hold a hello, or noise that is meant to look like one (GREASE).
    Present,
    /// It is there, and an answer had offered it under the name that is said: that is an outer name.
    Offered,
    /// The hello was not read to its end.
    Unread,
}

/// A server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// The names that it says it is for.
    pub names: Vec<String>,
}

/// Record `contact`: an app reached an endpoint, so named, at a place, in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Session and number of the contact in it.
    pub contact: String,
    /// Who.
    pub owner: Owner,
    /// Its packages as they were then.
    pub packages: Vec<Package>,
    /// Whom netd charges, where that is another than the owner; empty: nothing was read.
    #[serde(default)]
    pub charged_to: Vec<ChargedTo>,
    /// What.
    pub endpoint: Endpoint,
    /// Where.
    pub place: Place,
    /// The country that the endpoint's name says by a token in it, which is no place; left out where
    /// it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_token: Option<NameToken>,
    /// By which way it left; null: not known.
    #[serde(default)]
    pub via: Option<Via>,
    /// Who had been heard to give its name to its address; left out where nobody was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<Resolver>,
    /// What may have led its name to another server than elsewhere; left out where nothing is known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steered: Option<String>,
    /// Whether the screen was on when it was settled; left out where that was not observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen_on: Option<bool>,
    /// Whether Android was in its idle mode (Doze) when it was settled; left out where that was not
    /// observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
    /// Names are hidden in it; null: nothing says so.
    #[serde(default)]
    pub names_hidden: Option<NamesHidden>,
    /// When in the examination.
    pub phase: String,
    /// When it was settled.
    pub at: Timestamp,
}

/// Record `finding`: what a rule says of a contact. A later one with the same contact, set and rule
/// replaces an earlier one in exports; both stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The contact that was judged.
    pub contact: String,
    /// Rule set and its version.
    pub set: String,
    /// Version of the set.
    pub set_version: String,
    /// Rule.
    pub rule: String,
    /// Kind of finding, as the rule names it.
    pub kind: String,
    /// Severity.
    pub severity: String,
    /// Outcome: `finding`, `needs_review`, `excepted`.
    pub outcome: String,
    /// Why, in plain words.
    pub reason: String,
    /// Provisions valid on the day of the contact.
    pub reference: Vec<String>,
    /// Packets that show it.
    pub packets: Vec<PacketRef>,
    /// When it was judged.
    pub at: Timestamp,
}

/// Record `total`: a contact's counts so far. The last one of a contact stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The contact.
    pub contact: String,
    /// Flows counted to it; 0 when its flows turned out to belong to another contact.
    pub flows: u64,
    /// Packets that the handset sent.
    pub packets_out: u64,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
    /// Whether it sent payload, more than a handshake; null: written before that was kept.
    #[serde(default)]
    pub payload: Option<bool>,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
}

/// A source of packets of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name: `live`, or the file's name.
    pub name: String,
    /// SHA-256 of the file; null for a live capture or standard input.
    pub sha256: Option<String>,
}

/// Record `session`: a run of the daemon, or an inspection, begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// 1 for the first of the case.
    pub session: u64,
    /// `run` or `inspect`.
    pub mode: String,
    /// When it began; null where no clock may be read (`inspect`).
    pub at: Option<Timestamp>,
    /// Local time with its offset, where a clock is read.
    pub local: Option<String>,
    /// Version of the tool.
    pub tool_version: String,
    /// Kernel release and machine, for a live run.
    pub kernel: Option<String>,
    /// The kernel's name for this start of the machine (`/proc/sys/kernel/random/boot_id`); null
    /// where it was not read.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// When the machine was started, by its own account; null where it was not read.
    #[serde(default)]
    pub booted: Option<Timestamp>,
    /// How soon the kernel ends the daemon when memory is short (`oom_score_adj`, -1000 never to
    /// 1000 first); absent where it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Name of the time zone that `local` is in; absent where it was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How packets are watched (`nflog`, `packet`, `files`, `journal`).
    pub capture: String,
    /// Sources in the order of their numbers.
    pub sources: Vec<Source>,
    /// Files of the case that this session uses, with SHA-256.
    pub files: BTreeMap<String, String>,
    /// Addresses of the handset, as given.
    pub handset: Vec<IpAddr>,
    /// What the lab states of the network; left out where it states nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circumstances: Option<Circumstances>,
}

/// Record `summary`: counts of a session, written before its stop record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Summary {
    /// Packets seen.
    pub packets: u64,
    /// Packets that could not be dissected, by reason.
    pub unparsed: BTreeMap<String, u64>,
    /// Flows.
    pub flows: u64,
    /// Flows by what names their other end; none where they were judged: each has its record then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<ByName>,
    /// Contacts; null: nothing was judged.
    pub contacts: Option<u64>,
    /// Findings, every outcome but *excepted*; null: nothing was judged.
    pub findings: Option<u64>,
    /// Packets known to be lost; null when some loss could not be counted.
    pub lost: Option<u64>,
    /// Where each packet is that the handset sent; null: no live capture by NFLOG told.
    pub outbound: Option<Outbound>,
    /// Sockets whose end the kernel told; null: it told none.
    pub closes: Option<Closes>,
    /// Bytes that a watch has had written to storage; null: an inspection, or the kernel does not say.
    #[serde(default)]
    pub bytes_written: Option<u64>,
    /// Sources with their counts.
    pub files: Vec<SourceCount>,
}

/// Flows by what names their other end: each is counted once, and [`ByName::hidden`] besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ByName {
    /// It was called by a name in the flow itself.
    pub said: u64,
    /// In the flow somebody was asked for names; what it asks is no name of its other end.
    pub asked: u64,
    /// An answer before the flow gave its address one name.
    pub resolved: u64,
    /// Answers before the flow gave its address several names, none of which is certain.
    pub candidates: u64,
    /// Nothing names it.
    pub unnamed: u64,
    /// Flows of any of these that hide names: resolvers asked out of sight, hellos that cover another.
    pub hidden: u64,
    /// Gaps, which a case would tell one by one.
    pub gaps: u64,
}

impl ByName {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            said: self.said + other.said,
            asked: self.asked + other.asked,
            resolved: self.resolved + other.resolved,
            candidates: self.candidates + other.candidates,
            unnamed: self.unnamed + other.unnamed,
            hidden: self.hidden + other.hidden,
            gaps: self.gaps + other.gaps,
        }
    }
}

/// Where each packet is that the handset sent. Where `counter` is known, it and `repeated` together
/// equal the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbound {
    /// What the independent counter counted; null when there was none, or it cannot be told to the
    /// packet.
    pub counter: Option<u64>,
    /// Seen.
    pub seen: u64,
    /// Logged by our rules, and lost on the way.
    pub lost: u64,
    /// Passed while our rules were gone.
    pub missed: u64,
    /// Decided by something else before our rules.
    pub elsewhere: u64,
    /// Missed or decided elsewhere: which cannot be told.
    pub unattributed: u64,
    /// Seen more than once, because our jump was repeated.
    pub repeated: u64,
}

impl Outbound {
    /// Both sessions together; their counter is known where both are.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            counter: self
                .counter
                .zip(other.counter)
                .and_then(|(one, other)| one.checked_add(other)),
            seen: self.seen.saturating_add(other.seen),
            lost: self.lost.saturating_add(other.lost),
            missed: self.missed.saturating_add(other.missed),
            elsewhere: self.elsewhere.saturating_add(other.elsewhere),
            unattributed: self.unattributed.saturating_add(other.unattributed),
            repeated: self.repeated.saturating_add(other.repeated),
        }
    }
}

/// Ends of sockets that the kernel told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Closes {
    /// Given to the flow whose life they fall in.
    pub joined: u64,
    /// Of no flow that is known, or of one that cannot be told from another on the same ports.
    pub unmatched: u64,
}

/// Counts of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCount {
    /// The source's name.
    pub file: String,
    /// Packets in it.
    pub packets: u64,
    /// Flows in it.
    pub flows: u64,
}

/// Record `stop`: a session ended as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Number of the session.
    pub session: u64,
    /// When; null for an inspection.
    pub at: Option<Timestamp>,
    /// Why (`asked`, `signal`, `end of input`, an error's text).
    pub reason: String,
    /// As in the summary before it.
    pub outbound: Option<Outbound>,
}

/// Record `unclean_stop`: the session before ended without a stop record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncleanStop {
    /// Number of the session that ended so.
    pub session: u64,
    /// When that was noticed; null for an inspection.
    pub noticed: Option<Timestamp>,
    /// Last moment that the session journaled.
    pub last_journaled: Option<Timestamp>,
    /// Records that were made good from its journal.
    pub recovered: u64,
    /// In plain words.
    pub detail: String,
}

/// Record `export`: somebody takes out what is personal. Written before the first row goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// When.
    pub at: Timestamp,
    /// Who, as they say.
    pub by: String,
    /// The user of the system who ran the command.
    pub uid: u32,
    /// What (`flows`).
    pub what: String,
    /// In which form (`csv`).
    pub format: String,
    /// Options that leave rows out, with their values; empty: everything was taken.
    pub filters: BTreeMap<String, Vec<String>>,
    /// The file as it was named; null: standard output.
    pub output: Option<String>,
    /// Version of the tool.
    pub tool_version: String,
}

/// Record `probe`: known flows of our own were sent, and each was found or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When they had been sent.
    pub at: Timestamp,
    /// At which end of the watch.
    pub mark: ProbeMark,
    /// Flows that were sent.
    pub sent: u64,
    /// Found with the right owner, and all their packets.
    pub found: u64,
    /// Found with another owner, or with none.
    pub wrong_owner: u64,
    /// Not found, or not all of their packets.
    pub missing: u64,
    /// Why the probe could not send all that it should; null: it did.
    pub failed: Option<String>,
}

/// A record of the core, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A flow ended.
    Flow(Box<Flow>),
    /// A contact is new.
    Contact(Box<Contact>),
    /// A rule says something new of a contact.
    Finding(Box<Finding>),
    /// A contact's counts.
    Total(Total),
    /// Something was not seen.
    Gap(Gap),
    /// A remark.
    Note(Note),
    /// The lab's PC or Android itself told something.
    Observation(Observation),
    /// A phase began.
    Phase(PhaseChange),
    /// Apps came, went or changed.
    Inventory(InventoryChange),
    /// An APK file of a preloaded app.
    Apk(Apk),
    /// An interface came, went or changed.
    Interface(Box<InterfaceChange>),
    /// The kernel's own counts of the interfaces.
    Counters(InterfaceCounters),
    /// The handset slept.
    Suspension(Suspension),
    /// Our own probe was sent, and found or not.
    Probe(Probe),
}

impl Record {
    /// Kinds that come from the core.
    pub const KINDS: [Kind; 14] = [
        Kind::FLOW,
        Kind::CONTACT,
        Kind::FINDING,
        Kind::TOTAL,
        Kind::GAP,
        Kind::NOTE,
        Kind::OBSERVATION,
        Kind::PHASE,
        Kind::INVENTORY,
        Kind::APK,
        Kind::INTERFACE,
        Kind::COUNTERS,
        Kind::SUSPENSION,
        Kind::PROBE,
    ];

    /// The draft that the store appends.
    pub fn draft(&self) -> Result<Draft, CanonicalError> {
        match self {
            Self::Flow(body) => Draft::new(Kind::FLOW, body),
            Self::Contact(body) => Draft::new(Kind::CONTACT, body),
            Self::Finding(body) => Draft::new(Kind::FINDING, body),
            Self::Total(body) => Draft::new(Kind::TOTAL, body),
            Self::Gap(body) => Draft::new(Kind::GAP, body),
            Self::Note(body) => Draft::new(Kind::NOTE, body),
            Self::Observation(body) => Draft::new(Kind::OBSERVATION, body),
            Self::Phase(body) => Draft::new(Kind::PHASE, body),
            Self::Inventory(body) => Draft::new(Kind::INVENTORY, body),
            Self::Apk(body) => Draft::new(Kind::APK, body),
            Self::Interface(body) => Draft::new(Kind::INTERFACE, body),
            Self::Counters(body) => Draft::new(Kind::COUNTERS, body),
            Self::Suspension(body) => Draft::new(Kind::SUSPENSION, body),
            Self::Probe(body) => Draft::new(Kind::PROBE, body),
        }
    }
}
