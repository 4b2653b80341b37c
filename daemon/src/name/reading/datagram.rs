//! Datagrams: each stands by itself, or is a piece of a handshake that was split over several.
//!
//! In: the payloads of one flow. Out: what was heard.

use sakshi_rules::contact::{AppProtocol, NameSource};

use super::{Heard, Shown, Took, hear_dns};
use crate::name::{
    Probe,
    dns::{self, DnsKind},
    http,
    quic::{self, Initials, Outcome, google},
};

/// Datagrams of the handset in which something known is looked for.
pub const DATAGRAMS_MAX: u8 = 8;

/// The state of a datagram flow.
#[derive(Debug, Default)]
pub enum Datagrams {
    /// Nothing known yet; so many of the handset's were looked at.
    #[default]
    Fresh,
    /// Looked at so many of the handset's.
    Unknown(u8),
    /// Messages of the DNS format.
    Dns,
    /// QUIC: the Initials of its connections.
    Quic(Box<Initials>),
    /// Nothing more is looked for.
    Done,
}

impl Datagrams {
    pub(super) fn show(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        if shown.wire_len == 0 {
            return Took::NOTHING;
        }
        let kind = DnsKind::of_port(shown.remote_port).or(DnsKind::of_port(shown.local_port));
        if let Some(kind) = kind {
            *self = Self::Dns;
            if let Ok(message) = dns::message(shown.bytes) {
                hear_dns(kind, message, heard);
            }
            return Took::READ;
        }
        match self {
            Self::Fresh if shown.outbound => self.look(0, shown, heard),
            Self::Unknown(seen) if shown.outbound => {
                let seen = *seen;
                self.look(seen, shown, heard)
            }
            Self::Quic(initials) if shown.outbound => initial(initials, shown, heard),
            _ => Took::NOTHING,
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Fresh => false,
            Self::Quic(initials) => !initials.awaits_more(),
            Self::Unknown(_) | Self::Dns | Self::Done => true,
        }
    }

    pub(super) fn held(&self) -> usize {
        match self {
            Self::Quic(initials) => initials.bytes_held(),
            _ => 0,
        }
    }

    /// Half a hello names nobody: what is held of one is given back.
    pub(super) fn conclude(&mut self) {
        if let Self::Quic(initials) = self {
            initials.give_up();
        }
    }

    /// Looks at one of the handset's datagrams. One that says nothing leaves a count only.
    fn look(&mut self, seen: u8, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        match quic::recognise(shown.bytes) {
            Some(quic::Kind::Google) => return self.google(seen, shown, heard),
            // What follows a version that was not agreed upon is one that is.
            Some(quic::Kind::Readable | quic::Kind::Negotiation) => {
                heard.push(Heard::Protocol(AppProtocol::Quic));
                let mut initials = Box::new(Initials::default());
                let took = initial(&mut initials, shown, heard);
                *self = Self::Quic(initials);
                return Took { read: true, ..took };
            }
            None => {}
        }
        if let Probe::Yes(request) = http::request(shown.bytes) {
            heard.push(Heard::Protocol(AppProtocol::Http));
            if let Some(host) = &request.host {
                heard.push(Heard::Name(host.clone(), NameSource::Http));
            }
            heard.push(Heard::Request(Box::new(request)));
            *self = Self::Done;
            return Took::READ;
        }
        *self = Self::after(seen);
        Took::NOTHING
    }

    const fn after(seen: u8) -> Self {
        if seen + 1 >= DATAGRAMS_MAX {
            Self::Done
        } else {
            Self::Unknown(seen + 1)
        }
    }

    /// Google's own QUIC: its hello is in one datagram, the first in most cases.
    fn google(&mut self, seen: u8, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        heard.push(Heard::Protocol(AppProtocol::Quic));
        *self = match google::hello(shown.bytes) {
            Probe::Yes(hello) => {
                heard.extend(hello.sni.map(|sni| Heard::Name(sni, NameSource::Quic)));
                Self::Done
            }
            Probe::NotYet => Self::after(seen),
            Probe::No => Self::Done,
        };
        Took::READ
    }
}

/// Reads one datagram of QUIC's.
fn initial(initials: &mut Initials, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
    let read = initials.datagram(shown.bytes);
    for hello in read.hellos {
        let sni = hello.hello.sni.clone();
        heard.push(Heard::Hello(Box::new(hello.hello)));
        heard.extend(sni.map(|sni| Heard::Name(sni, NameSource::Quic)));
    }
    match read.outcome {
        Outcome::Ignored => Took::NOTHING,
        Outcome::NotYet | Outcome::Settled => Took::READ,
        Outcome::Exhausted => {
            initials.give_up();
            Took {
                read: true,
                gave_up: true,
            }
        }
    }
}
