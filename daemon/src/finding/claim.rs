//! What a settled flow claims, and what makes two flows the same contact.
//!
//! In: claims, which borrow from their flows. Out: whether a claim is that of a known contact, without
//! a copy; a [`Key`] of its own only where the contact is new.

use std::{
    hash::BuildHasher,
    net::{IpAddr, Ipv4Addr},
};

use sakshi_rules::contact::{AppProtocol, Name, NameSource, Place, Proto};

use crate::{
    attribute::{charge::Charge, inventory::Version, owner::Conclusion, process::NamedProcess},
    evidence::{
        Resolver,
        body::{self, PacketRef},
    },
    time::Timestamp,
};

/// A settled flow's claims: who, what, where.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Who sent.
    pub owner: Conclusion,
    /// The process behind it.
    pub process: Option<NamedProcess>,
    /// Whom netd charges, where that is another.
    pub charged_to: Vec<body::ChargedTo>,
    /// Version of the inventory in which the flow began.
    pub inventory: Version,
    /// Address reached.
    pub addr: IpAddr,
    /// The IPv4 address inside it that a translator sends on to.
    pub embedded_ipv4: Option<Ipv4Addr>,
    /// Port reached.
    pub port: Option<u16>,
    /// Protocol.
    pub proto: Proto,
    /// What the payload spoke.
    pub app_protocol: AppProtocol,
    /// Name beyond a choice between candidates.
    pub name: Option<&'a str>,
    /// What was said besides: further hosts of one connection, and such names as cover others.
    pub said: Vec<(&'a str, NameSource)>,
    /// Names are hidden in it.
    pub names_hidden: Option<body::NamesHidden>,
    /// By which way it left.
    pub via: Option<body::Via>,
    /// One of those who gave its name to its address stands in none of the countries that count as the
    /// handset's own.
    pub resolver_abroad: Option<IpAddr>,
    /// Whether payload was sent.
    pub payload: bool,
    /// Whether it is our own probe's, of which no rule is asked.
    pub probe: bool,
    /// When it was settled.
    pub at: Timestamp,
}

impl Claim<'_> {
    /// What was reached, as records have it.
    pub(super) fn endpoint(
        &self,
        names: Vec<Name>,
        categories: Option<Vec<String>>,
    ) -> body::Endpoint {
        body::Endpoint {
            addr: self.addr,
            embedded_ipv4: self.embedded_ipv4,
            port: self.port,
            proto: self.proto,
            app_protocol: self.app_protocol,
            name: self.name.map(str::to_owned),
            names,
            categories,
        }
    }
}

/// What is asked of a flow only where its contact is a new one.
#[derive(Debug)]
pub struct Found {
    /// Where it is.
    pub place: Place,
    /// What lists of domains say that its name is for; none without such lists.
    pub categories: Option<Vec<String>>,
    /// Who gave its name to its address.
    pub resolvers: Vec<Resolver>,
    /// Every name seen.
    pub names: Vec<Name>,
    /// Its first packets.
    pub packets: Vec<PacketRef>,
}

/// What makes two flows the same contact.
#[derive(Debug)]
pub(super) struct Key {
    owner: Conclusion,
    addr: IpAddr,
    embedded_ipv4: Option<Ipv4Addr>,
    port: Option<u16>,
    proto: Proto,
    name: Option<Box<str>>,
    /// What few have.
    besides: Option<Box<Besides>>,
    names_hidden: Option<body::NamesHidden>,
    app_protocol: AppProtocol,
    via: Option<body::Via>,
    resolver_abroad: Option<IpAddr>,
    phase: u32,
    /// Version of the inventory in which its flow began: an app that was updated is another
    /// contact.
    inventory: Version,
}

#[derive(Debug)]
struct Besides {
    process: Option<NamedProcess>,
    charges: Vec<Charge>,
    /// What its flows said besides: a connection that asks for a further host is another contact.
    said: Vec<(Box<str>, NameSource)>,
}

impl Besides {
    fn new(claim: &Claim<'_>) -> Option<Box<Self>> {
        if Self::has_none(claim) {
            return None;
        }
        let said = claim.said.iter();
        Some(Box::new(Self {
            process: claim.process.clone(),
            charges: charges(claim).collect(),
            said: said
                .map(|(name, source)| ((*name).into(), *source))
                .collect(),
        }))
    }

    const fn has_none(claim: &Claim<'_>) -> bool {
        claim.process.is_none() && claim.charged_to.is_empty() && claim.said.is_empty()
    }

    fn is_of(&self, claim: &Claim<'_>) -> bool {
        let Self {
            process,
            charges: charged,
            said,
        } = self;
        let said = said.iter().map(|(name, source)| (&**name, *source));
        *process == claim.process
            && charged.iter().copied().eq(charges(claim))
            && said.eq(claim.said.iter().copied())
    }
}

impl Key {
    /// The key of a claim's contact in a phase.
    pub(super) fn new(claim: &Claim<'_>, phase: u32) -> Self {
        Self {
            owner: claim.owner,
            addr: claim.addr,
            embedded_ipv4: claim.embedded_ipv4,
            port: claim.port,
            proto: claim.proto,
            name: claim.name.map(Into::into),
            besides: Besides::new(claim),
            names_hidden: claim.names_hidden,
            app_protocol: claim.app_protocol,
            via: claim.via,
            resolver_abroad: claim.resolver_abroad,
            phase,
            inventory: claim.inventory,
        }
    }

    /// Whether a claim in a phase is one of this contact.
    pub(super) fn is_of(&self, claim: &Claim<'_>, phase: u32) -> bool {
        let Self {
            owner,
            addr,
            embedded_ipv4,
            port,
            proto,
            name,
            besides,
            names_hidden,
            app_protocol,
            via,
            resolver_abroad,
            phase: of_phase,
            inventory,
        } = self;
        *addr == claim.addr
            && *port == claim.port
            && name.as_deref() == claim.name
            && *owner == claim.owner
            && match besides {
                Some(besides) => besides.is_of(claim),
                None => Besides::has_none(claim),
            }
            && *embedded_ipv4 == claim.embedded_ipv4
            && *proto == claim.proto
            && *names_hidden == claim.names_hidden
            && *app_protocol == claim.app_protocol
            && *via == claim.via
            && *resolver_abroad == claim.resolver_abroad
            && *of_phase == phase
            && *inventory == claim.inventory
    }
}

/// The hash of what mostly tells contacts apart: claims of one contact have one hash.
pub(super) fn hash(hasher: &impl BuildHasher, claim: &Claim<'_>, phase: u32) -> u64 {
    let uids = (claim.owner.uid, claim.owner.creator_uid);
    let end = (claim.addr, claim.port, claim.proto, claim.app_protocol);
    hasher.hash_one((uids, end, claim.name, &claim.said, phase, claim.inventory))
}

fn charges(claim: &Claim<'_>) -> impl Iterator<Item = Charge> {
    claim.charged_to.iter().map(|charged| Charge {
        uid: charged.uid,
        tag: charged.tag,
    })
}
