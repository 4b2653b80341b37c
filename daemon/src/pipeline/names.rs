//! The names of a flow: what was said in it, and what answers had called its other end.
//!
//! In: what readings heard, with the packet; the table of resolved names. Out: every name with its
//! source, its packet and how well it is known, and the one beyond a choice. No name takes another's
//! place: what was said, and what was resolved, stand beside each other.

use std::{net::IpAddr, sync::Arc};

use sakshi_rules::contact::{Name, NameSource, NameStrength, PacketRef};

use super::{
    Flow,
    lateness::{self},
};
use crate::{
    attribute::owner::Conclusion,
    evidence::{
        Hash,
        body::{Certificate, Ech, HiddenBasis, HiddenIn, NamesHidden, ServerName, Tls},
    },
    flow::FrameRef,
    name::{
        hidden::{Basis, Hidden},
        resolved::{Believed, Resolution, ResolvedName, ResolvedNames},
        tls::{ClientHello, ServerHello},
    },
};

/// Names kept with one flow, those that were said and those that were resolved; further ones are
/// counted, and their packets stay in the journal.
pub const FLOW_NAMES_MAX: usize = 64;
/// A name that the owner itself asked for at most this long before the flow is its own; later the
/// name is no better than one that somebody asked for.
pub const ASKED_SHORTLY_NANOS: i64 = 60_000_000_000;

/// A name that was said in a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    name: Arc<str>,
    source: NameSource,
    /// The packet with which it was whole.
    frame: FrameRef,
}

/// The names that were said in a flow: one in most.
#[derive(Debug, Default)]
pub(super) enum Names {
    #[default]
    None,
    One(Said),
    Several(Box<[Said]>),
}

impl std::ops::Deref for Names {
    type Target = [Said];

    fn deref(&self) -> &[Said] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

impl Said {
    fn is_outer(&self) -> bool {
        self.source == NameSource::EchOuter
    }
}

/// What a handshake said in a flow.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub(super) hello: Option<Box<ClientHello>>,
    pub(super) server: Option<Box<ServerHello>>,
}

/// Adds a name that a flow said; false when there is no room for it. The first packet stands.
pub(super) fn push(names: &mut Names, name: Arc<str>, source: NameSource, frame: FrameRef) -> bool {
    if names
        .iter()
        .any(|said| said.name == name && said.source == source)
    {
        return true;
    }
    if names.len() >= FLOW_NAMES_MAX {
        return false;
    }
    let said = Said {
        name,
        source,
        frame,
    };
    *names = match std::mem::take(names) {
        Names::None => Names::One(said),
        Names::One(first) => Names::Several([first, said].into()),
        Names::Several(all) => Names::Several(all.into_iter().chain([said]).collect()),
    };
    true
}

/// What answers had called the flow's other end by the time that it began.
pub(super) fn believed<'a>(flow: &Flow, resolved: &'a ResolvedNames) -> Believed<'a> {
    // An answer that came before the flow may be stamped behind it: the groups are read apart.
    resolved.believed(flow.tuple().remote.addr, lateness::known_by(flow))
}

/// The endpoint's name, where one is known beyond a choice. What was asked of a resolver or of a proxy
/// is not its own name, nor is one that covers another.
pub(super) fn endpoint<'a>(flow: &'a Flow, resolved: &'a Resolution<'_>) -> Option<&'a str> {
    own(flow).or(match resolved {
        Resolution::One(one) => Some(&one.name),
        _ => None,
    })
}

/// What the flow itself calls its other end.
pub(super) fn own(flow: &Flow) -> Option<&str> {
    let mut own = flow.user.names.iter().filter(|said| said.source.is_own());
    let said = own.next().filter(|_| !flow.user.through_proxy)?;
    Some(&said.name)
}

/// Whether names were asked for in the flow.
pub(super) fn asks(flow: &Flow) -> bool {
    use NameSource::{Dns, Llmnr, Mdns};
    let mut names = flow.user.names.iter();
    names.any(|said| matches!(said.source, Dns | Mdns | Llmnr))
}

/// What a flow said beside that name.
pub(super) fn besides<'a>(flow: &'a Flow, name: Option<&str>) -> Vec<(&'a str, NameSource)> {
    let said = flow.user.names.iter();
    said.filter(|said| said.source.is_said() && Some(&*said.name) != name)
        .map(|said| (&*said.name, said.source))
        .collect()
}

/// The name of a source, by its number.
pub(super) fn source(sources: &[String], number: u16) -> String {
    let known = sources.get(usize::from(number));
    known.cloned().unwrap_or_default()
}

/// Every name seen for the endpoint: those that were said, then those that were resolved.
pub(super) fn all(
    flow: &Flow,
    owner: Conclusion,
    resolved: &Resolution<'_>,
    sources: &[String],
) -> Vec<Name> {
    let packet = |(number, frame): (u16, u64)| PacketRef {
        source: source(sources, number),
        frame,
    };
    let of_answer = |resolved: &ResolvedName, strength| Name {
        name: resolved.name.to_string(),
        source: NameSource::Resolved,
        strength: Some(strength),
        packet: Some(packet(resolved.packet)),
    };
    let said = flow.user.names.iter().map(|said| Name {
        name: said.name.to_string(),
        source: said.source,
        strength: Some(NameStrength::Said),
        packet: Some(packet((said.frame.source(), said.frame.frame()))),
    });
    let mut names: Vec<Name> = said.collect();
    match resolved {
        Resolution::None => {}
        Resolution::One(one) => {
            let own = owner.uid.is_some() && one.asked_by == owner.uid;
            let shortly = lateness::known_by(flow).nanos_since(one.at) <= ASKED_SHORTLY_NANOS;
            let strength = if own && shortly {
                NameStrength::ResolvedByOwner
            } else {
                NameStrength::Resolved
            };
            names.push(of_answer(one, strength));
        }
        Resolution::Candidates(candidates) => {
            let of_answer =
                |candidate: &&ResolvedName| of_answer(candidate, NameStrength::Candidate);
            names.extend(candidates.iter().map(of_answer));
        }
    }
    names.truncate(FLOW_NAMES_MAX);
    names
}

/// Who had been heard to give an address its name, or where none is known, any; one more than once.
pub(super) fn resolvers(
    believed: Believed<'_>,
    name: Option<&str>,
) -> impl Iterator<Item = IpAddr> {
    let answers = believed.iter();
    answers
        .filter(move |answer| name.is_none_or(|name| *answer.name == *name))
        .map(|answer| answer.by)
}

/// What a flow's handshake said, as its record has it.
pub(super) fn tls(flow: &Flow) -> Option<Box<Tls>> {
    let handshake = flow.user.tls.as_deref()?;
    let hello = handshake.hello.as_ref()?;
    let server = handshake.server.as_ref();
    Some(Box::new(Tls {
        server_name: match (&hello.sni, hello.damaged) {
            (Some(_), _) => ServerName::Given,
            (None, false) => ServerName::Absent,
            (None, true) => ServerName::Unread,
        },
        ech: match (hello.ech, hello.damaged) {
            (true, _) if flow.user.names.iter().any(Said::is_outer) => Ech::Offered,
            (true, _) => Ech::Present,
            (false, false) => Ech::Absent,
            (false, true) => Ech::Unread,
        },
        versions: hello.versions.iter().copied().map(hexadecimal).collect(),
        alpn: hello.alpn().map(str::to_owned).collect(),
        version: server.map(|server| hexadecimal(server.version)),
        cipher_suite: server.map(|server| hexadecimal(server.suite)),
        certificate: server
            .and_then(|server| server.certificate.as_ref())
            .map(|own| Certificate {
                sha256: Hash::of_sha256(own.sha256).to_string(),
                names: own.names.iter().map(ToString::to_string).collect(),
            }),
        names_hidden: names_hidden(flow),
    }))
}

/// What hides names in a flow: a resolver's protocol before a hello that covers another.
pub(super) fn names_hidden(flow: &Flow) -> Option<NamesHidden> {
    let Some((how, basis)) = flow.user.hidden else {
        let covered = flow.user.names.iter().any(Said::is_outer);
        return covered.then_some(NamesHidden {
            how: HiddenIn::Ech,
            basis: HiddenBasis::HttpsRecord,
        });
    };
    Some(NamesHidden {
        how: match how {
            Hidden::Dot => HiddenIn::Dot,
            Hidden::Doh => HiddenIn::Doh,
            Hidden::Doq => HiddenIn::Doq,
        },
        basis: match basis {
            Basis::Alpn => HiddenBasis::Alpn,
            Basis::Port => HiddenBasis::Port,
            Basis::Name => HiddenBasis::Name,
        },
    })
}

fn hexadecimal(number: u16) -> String {
    format!("{number:04x}")
}
