//! What a rule is asked about: *this app reached this endpoint, so named, at this place*.
//!
//! In: what the daemon concluded, each claim with its basis. Out: nothing; these are the types
//! that the engine reads.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// How an app came onto the handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppClass {
    /// On a system partition, as shipped.
    Preloaded,
    /// Shipped on a system partition and since updated through a store.
    UpdatedPreload,
    /// Copied to the data partition at first boot from a vendor's preload folder.
    DeletablePreload,
    /// Installed by the user or on their behalf.
    User,
    /// Not an app: a UID of the platform itself.
    System,
    /// The inventory does not say, or a shared UID holds apps of different classes.
    Unknown,
}

/// One package behind a UID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// How it came onto the handset.
    pub class: AppClass,
    /// SHA-256 of its signer certificates, lower-case hex.
    pub signers: Vec<String>,
}

/// Who sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The kernel's UID; none when unknown.
    pub uid: Option<u32>,
    /// Android user (uid / 100000).
    pub user: Option<u32>,
    /// How the owner is known (`xt_bpf`, `nflog`, `sock_diag`, `none`, …).
    pub basis: String,
    /// Class of the packages together: [`AppClass::Unknown`] when they differ.
    pub class: AppClass,
    /// Every package that runs under the UID.
    pub packages: Vec<Package>,
    /// A platform UID on a socket on which it may act for an app (a resolver's).
    pub may_act_for_app: bool,
}

/// A transport or network protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// `ICMPv4` or `ICMPv6`.
    Icmp,
    /// Any other.
    Other,
}

/// What the payload was seen to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppProtocol {
    /// DNS.
    Dns,
    /// HTTP/1 in clear.
    Http,
    /// TLS.
    Tls,
    /// TLS over datagrams.
    Dtls,
    /// QUIC.
    Quic,
    /// SMTP in clear; what follows a STARTTLS is TLS.
    Smtp,
    /// IMAP in clear, likewise.
    Imap,
    /// POP3 in clear, likewise.
    Pop3,
    /// FTP in clear, likewise.
    Ftp,
    /// XMPP in clear, likewise.
    Xmpp,
    /// MQTT in clear.
    Mqtt,
    /// Not recognised, or no payload.
    Unknown,
}

/// How a name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// SNI of a TLS `ClientHello` of this flow.
    Tls,
    /// SNI of a QUIC Initial of this flow.
    Quic,
    /// SNI of a hello of this flow under which another, encrypted hello was offered (ECH): the name
    /// that covers it, not the one meant.
    EchOuter,
    /// HTTP Host of this flow.
    Http,
    /// The domain that an XMPP stream of this flow is to.
    Xmpp,
    /// Asked in this flow (a question to a resolver, not the endpoint's own name).
    Dns,
    /// Asked in this flow on the local link, by multicast DNS.
    Mdns,
    /// Asked in this flow on the local link, by LLMNR.
    Llmnr,
    /// Learnt from an answer elsewhere.
    Resolved,
}

impl NameSource {
    /// Whether it is what was asked for: a question, not the endpoint's own name.
    pub const fn is_question(self) -> bool {
        matches!(self, Self::Dns | Self::Mdns | Self::Llmnr)
    }
}

/// A name with its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The name, lower case, without a trailing dot.
    pub name: String,
    /// How it is known.
    pub source: NameSource,
}

/// What was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address.
    pub addr: IpAddr,
    /// The IPv4 address inside `addr` that a translator sends on to (NAT64, RFC 6052); this is the
    /// server that is located.
    #[serde(default)]
    pub embedded_ipv4: Option<Ipv4Addr>,
    /// Port, for protocols that have one.
    pub port: Option<u16>,
    /// Protocol.
    pub proto: Proto,
    /// What the payload was seen to speak.
    pub app_protocol: AppProtocol,
    /// The endpoint's name where one is known beyond a choice between candidates.
    pub name: Option<String>,
    /// Every name seen for it, with its source, in order.
    pub names: Vec<Name>,
    /// What lists of names say that it is for (`advertising`, `analytics`), sorted; empty: no list
    /// says anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

impl Endpoint {
    /// The address of the server that is located: behind a translator, the IPv4 one.
    pub fn located_addr(&self) -> IpAddr {
        self.embedded_ipv4.map_or(self.addr, IpAddr::V4)
    }
}

/// How well a place is known; ordered from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// No source knows the address.
    None,
    /// Anycast or a content network: the organisation only.
    NotLocatable,
    /// Sources contradict each other.
    Conflict,
    /// One database, or two of three.
    Low,
    /// Three databases agree, or the provider's own list is older than the rule set allows.
    Medium,
    /// The provider's own published region, recent enough.
    High,
}

/// Where the first server reached stands, as far as sources say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// Provider key (`aws`).
    pub provider: Option<String>,
    /// The provider's own name of the region (`ap-southeast-1`).
    pub region: Option<String>,
    /// Autonomous system, where known.
    pub asn: Option<u32>,
    /// Organisation, where known.
    pub organisation: Option<String>,
    /// How well it is known.
    pub grade: Grade,
    /// What it rests on.
    pub basis: Vec<PlaceBasis>,
}

/// One source's word on a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceBasis {
    /// Name of the source.
    pub source: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file as published, lower-case hex; none for what a standard says, which is
    /// written into the program.
    pub sha256: Option<String>,
    /// The prefix that matched, in CIDR notation.
    pub prefix: String,
    /// What it says (`SG ap-southeast-1`).
    pub says: String,
    /// Days between its publication and the contact.
    pub age_days: i64,
}

/// The rule engine's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who sent.
    pub owner: Owner,
    /// What was reached, and what it is called.
    pub endpoint: Endpoint,
    /// Where it is.
    pub place: Place,
    /// Phase of the examination; empty before the first.
    pub phase: String,
    /// Whether the handset sent payload (more than a handshake).
    pub payload: bool,
    /// Whether payload was readable in transit; none when it could not be told.
    pub cleartext: Option<bool>,
    /// IP bytes that the handset sent.
    pub bytes_out: u64,
    /// Day of the contact, `YYYY-MM-DD` in UTC: decides which exceptions and references apply.
    pub day: String,
    /// Time of day of the contact, `HH:MM` in UTC; empty: not known.
    #[serde(default)]
    pub time: String,
}
