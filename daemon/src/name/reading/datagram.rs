//! Datagrams: each stands by itself, or is a piece of a handshake that was split over several.
//!
//! In: the payloads of one flow. Out: what was heard.

use sakshi_rules::contact::{AppProtocol, NameSource};

use super::{Heard, Shown, Took, hear_dns};
use crate::name::{
    Probe,
    dns::{self, DnsKind},
    dtls::{self, Opening},
    http,
    quic::{self, Initials, Outcome, google},
    tls::ClientHello,
};

/// Datagrams of the handset in which something known is looked for.
pub const DATAGRAMS_MAX: u8 = 8;

/// Datagrams of STUN that are passed over before something known: a call looks for its way with them.
pub const STUN_MAX: u8 = 32;

/// The state of a datagram flow.
#[derive(Debug, Default)]
pub enum Datagrams {
    /// Nothing known yet; so many of the handset's were looked at.
    #[default]
    Fresh,
    /// Looked at some of the handset's.
    Unknown(Looked),
    /// Messages of the DNS format.
    Dns,
    /// QUIC: the Initials of its connections.
    Quic(Box<Initials>),
    /// DTLS: a hello that is not whole.
    Dtls(Box<Opening>),
    /// Nothing more is looked for.
    Done,
}

/// Datagrams of the handset that were looked at.
#[derive(Debug, Default, Clone, Copy)]
pub struct Looked {
    seen: u8,
    /// Those of STUN, which are not among them.
    stun: u8,
}

impl Datagrams {
    pub(super) fn show(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        if shown.wire_len == 0 {
            return Took::NOTHING;
        }
        // To a port of DNS it is the bytes that tell something else from a message.
        let told_apart = DnsKind::of_port(shown.remote_port).is_some()
            && matches!(self, Self::Fresh | Self::Unknown(_) | Self::Dns);
        if let Some(took) = self.dns(shown, heard) {
            return took;
        }
        let took = self.show_other(shown, heard);
        Took {
            read: took.read || told_apart,
            ..took
        }
    }

    /// The same of what is no message of the DNS format.
    fn show_other(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        match self {
            Self::Fresh if shown.outbound => self.look(Looked::default(), shown, heard),
            Self::Unknown(looked) if shown.outbound => {
                let looked = *looked;
                self.look(looked, shown, heard)
            }
            Self::Quic(_) if !quic::is_long(shown.bytes) => Took::NOTHING,
            Self::Quic(initials) if shown.outbound => initial(initials, shown, heard),
            Self::Quic(initials) => {
                let (chosen, read) = initials.answer(shown.bytes, shown.names_only);
                heard.extend(chosen.map(|chosen| Heard::Server(Box::new(chosen))));
                if read { Took::READ } else { Took::NOTHING }
            }
            Self::Dtls(opening) if shown.outbound && dtls::is_record(shown.bytes) => {
                if opening_hello(opening, shown, heard) {
                    *self = Self::Done;
                }
                Took::READ
            }
            _ => Took::NOTHING,
        }
    }

    /// Reads a message of the DNS format; none where the datagram is none. To a port of DNS everything is
    /// one but what is known for something else. From such a port of the handset's own, which any
    /// socket may be given, only a flow that began with a whole message is one.
    fn dns(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Option<Took> {
        let by_remote = DnsKind::of_port(shown.remote_port);
        let kind = by_remote.or(DnsKind::of_port(shown.local_port))?;
        let is_other = match self {
            Self::Fresh | Self::Unknown(_) | Self::Dns => {
                quic::recognise(shown.bytes) == Some(quic::Kind::Readable)
                    || dtls::is_record(shown.bytes)
            }
            Self::Quic(_) | Self::Dtls(_) | Self::Done => true,
        };
        if is_other {
            return None;
        }
        let message = dns::message(shown.bytes);
        let is_whole = message
            .as_ref()
            .is_ok_and(|message| message.stopped.is_none());
        if by_remote.is_none() && !is_whole && !matches!(self, Self::Dns) {
            return None;
        }
        *self = Self::Dns;
        if let Ok(message) = message {
            hear_dns(kind, message, heard);
        }
        Some(Took::READ)
    }

    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Fresh | Self::Dtls(_) => false,
            Self::Quic(initials) => !initials.awaits_more(),
            Self::Unknown(_) | Self::Dns | Self::Done => true,
        }
    }

    pub(super) fn held(&self) -> usize {
        match self {
            Self::Quic(initials) => initials.bytes_held(),
            Self::Dtls(opening) => opening.bytes_held(),
            _ => 0,
        }
    }

    /// Half a hello over QUIC names nobody: what is held of one is given back. Of one over DTLS what is
    /// there is read.
    pub(super) fn conclude(&mut self, heard: &mut Vec<Heard>) {
        match self {
            Self::Quic(initials) => initials.give_up(),
            Self::Dtls(opening) => {
                hear_hello(opening.cut(), heard);
                *self = Self::Done;
            }
            _ => {}
        }
    }

    /// Looks at one of the handset's datagrams. One that says nothing leaves a count only.
    fn look(&mut self, looked: Looked, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        match quic::recognise(shown.bytes) {
            Some(quic::Kind::Google) => return self.google(looked, shown, heard),
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
        if dtls::is_record(shown.bytes) {
            heard.push(Heard::Protocol(AppProtocol::Dtls));
            let mut opening = Box::default();
            *self = if opening_hello(&mut opening, shown, heard) {
                Self::Done
            } else {
                Self::Dtls(opening)
            };
            return Took::READ;
        }
        if looked.stun < STUN_MAX && dtls::is_stun(shown.bytes) {
            *self = Self::Unknown(Looked {
                stun: looked.stun + 1,
                ..looked
            });
            return Took::READ;
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
        *self = Self::after(looked);
        Took::NOTHING
    }

    const fn after(looked: Looked) -> Self {
        let seen = looked.seen + 1;
        if seen >= DATAGRAMS_MAX {
            Self::Done
        } else {
            Self::Unknown(Looked { seen, ..looked })
        }
    }

    /// Google's own QUIC: its hello is in one datagram, the first in most cases.
    fn google(&mut self, looked: Looked, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        heard.push(Heard::Protocol(AppProtocol::Quic));
        *self = match google::hello(shown.bytes) {
            Probe::Yes(hello) => {
                heard.extend(hello.sni.map(|sni| Heard::Name(sni, NameSource::Quic)));
                Self::Done
            }
            Probe::NotYet => Self::after(looked),
            Probe::No => Self::Done,
        };
        Took::READ
    }
}

/// Reads one datagram of a hello over DTLS; true when no more of it is wanted.
fn opening_hello(opening: &mut Opening, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> bool {
    let captured = u32::try_from(shown.bytes.len()).unwrap_or(u32::MAX);
    let read = opening.datagram(shown.bytes, captured < shown.wire_len);
    let waits = read == Probe::NotYet;
    hear_hello(read, heard);
    !waits
}

fn hear_hello(read: Probe<ClientHello>, heard: &mut Vec<Heard>) {
    if let Probe::Yes(hello) = read {
        let sni = hello.sni.clone();
        heard.push(Heard::Hello(Box::new(hello)));
        heard.extend(sni.map(|sni| Heard::Name(sni, NameSource::Tls)));
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
