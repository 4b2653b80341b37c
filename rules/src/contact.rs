//! What a rule is asked about: *this app reached this endpoint, so named, at this place*.
//!
//! In: what the daemon concluded, each claim with its basis. Out: nothing; these are the types
//! that the engine reads.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

pub use crate::token::NameToken;

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
    /// SOCKS, and nothing known inside.
    Socks,
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
    /// Asked of a SOCKS proxy in this flow.
    Socks,
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
    /// Whether it names the endpoint: it is no question, and covers no other name.
    pub const fn is_own(self) -> bool {
        !matches!(self, Self::Dns | Self::Mdns | Self::Llmnr | Self::EchOuter)
    }

    /// Whether a flow itself called its other end so, or what that end leads to.
    pub const fn is_said(self) -> bool {
        !matches!(self, Self::Dns | Self::Mdns | Self::Llmnr | Self::Resolved)
    }
}

/// How well a name is known to be the one that was meant; ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameStrength {
    /// Said in the flow itself.
    Said,
    /// Nothing was said; the same owner had asked for it shortly before, and the address has no other
    /// name.
    ResolvedByOwner,
    /// Nothing was said; an answer to somebody gave it to the address, which has no other name.
    Resolved,
    /// One of several names that answers gave to the address: which one was meant is not known.
    Candidate,
}

/// Points to a packet: in a capture file, or in the case's journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PacketRef {
    /// Name of the source, as the session record lists it (`live`, a file's name).
    pub source: String,
    /// 1-based number of the packet in it.
    pub frame: u64,
}

/// A name with its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The name, lower case, without a trailing dot.
    pub name: String,
    /// How it is known.
    pub source: NameSource,
    /// How well; none: not said by whoever wrote it down.
    #[serde(default)]
    pub strength: Option<NameStrength>,
    /// The packet with which it was said, or that held the answer.
    #[serde(default)]
    pub packet: Option<PacketRef>,
}

/// The names that a flow said beside its endpoint's `name`: further hosts of one connection, and such as
/// cover others. They tell one contact from another.
pub fn said_besides<'a>(
    names: &'a [Name],
    name: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, NameSource)> {
    let other = move |said: &&Name| said.source.is_said() && Some(said.name.as_str()) != name;
    names
        .iter()
        .filter(other)
        .map(|said| (said.name.as_str(), said.source))
}

impl Name {
    /// Whether it is no more than one of several that may have been meant.
    pub fn is_candidate(&self) -> bool {
        self.strength == Some(NameStrength::Candidate)
    }
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
    /// What lists of domains say that the name is for (`advertising`), sorted; none when no such
    /// list was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
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
    /// The country that it is registered in, which says nothing of where the server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn_country: Option<String>,
    /// Organisation, where known.
    pub organisation: Option<String>,
    /// How well it is known.
    pub grade: Grade,
    /// What it rests on.
    pub basis: Vec<PlaceBasis>,
}

impl Place {
    /// The place of an address of which nothing is known.
    pub const fn unknown() -> Self {
        Self {
            country: None,
            provider: None,
            region: None,
            asn: None,
            asn_country: None,
            organisation: None,
            grade: Grade::None,
            basis: Vec::new(),
        }
    }
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
    /// What steers where a name leads to, so that the server reached says little of where the same
    /// app goes elsewhere (`through a VPN`); none: nothing is known to.
    #[serde(default)]
    pub steered: Option<String>,
    /// Whether it went into a tunnel of the handset's, so that what is readable there is not so on the
    /// way that the tunnel takes.
    #[serde(default)]
    pub tunnelled: bool,
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
    /// Minutes after midnight in UTC when it was settled; none when that is not known.
    #[serde(default)]
    pub minute: Option<u16>,
    /// Whether the screen was on; none when that was not observed.
    #[serde(default)]
    pub screen_on: Option<bool>,
    /// Whether the handset was in Android's idle mode (Doze); none when that was not observed.
    #[serde(default)]
    pub idle: Option<bool>,
}

/// What is known of where an endpoint is, apart from the place itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlaceStatus {
    /// There is a country for it.
    Located,
    /// Anycast or a content network.
    NotLocatable,
    /// Sources contradict each other.
    Conflict,
    /// No source knows the address, or a country for it.
    Unknown,
    /// An address of the network that the handset is on.
    Local,
}
