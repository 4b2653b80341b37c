//! QUIC: the `ClientHello` in a client's Initial packets (RFC 9000, RFC 9001, RFC 9369).
//!
//! In: the UDP payloads of one flow. Out: each [`Hello`] of the handset, once, and what the server chose.
//! Initials are encrypted under keys that anybody can derive from the connection ID that the client's
//! first one carries; their tags are verified, so what is read here is what was sent. Of what a server
//! sends only its `ServerHello` is read. Google's QUIC before the standard is in [`google`].
//!
//! A flow that speaks QUIC is an [`Initials`]. What it may cost is bounded: connections, decryptions
//! and bytes held, each by a named constant.

mod crypto;
pub mod google;
mod header;
mod keys;

use self::{
    crypto::Crypto,
    header::{Id, Initial, Packet},
    keys::{Keys, Room, Side},
};
use super::{
    Probe,
    tls::{self, ClientHello, ServerHello},
};

pub use super::pieces::{BYTES_MAX as CRYPTO_BYTES_MAX, PIECES_MAX as CRYPTO_PIECES_MAX};

/// Decryptions tried in one flow, those that succeed included; then the flow's Initials are left
/// unread and [`Outcome::Exhausted`] says so. A handshake takes one to five; one with a retry, a
/// negotiated version and a hello over many Initials takes fewer than twenty.
pub const DECRYPTIONS_MAX: u8 = 64;
/// Decryptions tried of what servers send in one flow; those behind are left unread. A handshake takes
/// one to three.
pub const ANSWERS_MAX: u8 = 16;
/// Connections of one flow that are told apart; beyond that the oldest is forgotten. Several share a
/// five-tuple where a port is used again, or a client keeps one socket for all.
pub const CONNECTIONS_MAX: usize = 4;
/// Packets looked at in one datagram; those behind are left unread.
pub const PACKETS_MAX: usize = 16;

/// A version of the protocol whose Initials can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Version 1 (RFC 9000).
    V1,
    /// Version 2 (RFC 9369).
    V2,
    /// A draft from 23 to 34, by its number; long gone from phones, but not from captures. Facebook's
    /// own number for draft 27 counts as that.
    Draft(u8),
}

impl Version {
    /// The version of a header's field, if its Initials can be read.
    pub const fn of_wire(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            0xff00_0017..=0xff00_0022 => Some(Self::Draft((number & 0xff) as u8)),
            0xface_b002 => Some(Self::Draft(27)),
            _ => None,
        }
    }
}

/// What kind of QUIC a datagram begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A long header of a version whose Initials can be read.
    Readable,
    /// A long header that asks for a negotiation of the version (RFC 9000 section 15): the name
    /// follows in another version.
    Negotiation,
    /// Google's QUIC.
    Google,
}

/// Which QUIC the bytes begin with; none for anything else, and for short headers, which nothing
/// tells from other protocols.
pub fn recognise(datagram: &[u8]) -> Option<Kind> {
    let number = header::version(datagram);
    if number.is_some_and(|number| Version::of_wire(number).is_some()) {
        return Some(Kind::Readable);
    }
    if google::version(datagram).is_some() {
        return Some(Kind::Google);
    }
    let number = number?;
    match number {
        // A version that is reserved to exercise the negotiation; the padded size of a client's
        // first datagram tells it from other protocols (RFC 9000 section 14.1).
        _ if number & 0x0f0f_0f0f == 0x0a0a_0a0a && datagram.len() >= INITIAL_BYTES_MIN => {
            Some(Kind::Negotiation)
        }
        _ => None,
    }
}

/// Whether a datagram begins with a long header, as those do that Initials come in.
pub fn is_long(datagram: &[u8]) -> bool {
    header::is_long(datagram)
}

/// Smallest datagram that a client's Initial comes in (RFC 9000 section 14.1).
const INITIAL_BYTES_MIN: usize = 1200;

/// A `ClientHello` with the version that carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of the Initials.
    pub version: Version,
    /// What the client offers.
    pub hello: ClientHello,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing in it was read, and nothing is changed by it.
    Ignored,
    /// It was read, and a connection's hello is not complete yet.
    NotYet,
    /// It was read, and no connection waits for more.
    Settled,
    /// The bound on decryptions is reached: what the flow names from now on is not known. Said with
    /// the datagram that reached it; later ones are ignored.
    Exhausted,
}

/// What a datagram said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Hellos that it completed; seldom more than one.
    pub hellos: Vec<Hello>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Read {
    const IGNORED: Self = Self {
        hellos: Vec::new(),
        outcome: Outcome::Ignored,
    };
}

/// The Initials that one flow's client sends.
#[derive(Debug, Default)]
pub struct Initials {
    /// Oldest first.
    connections: Vec<Connection>,
    /// A connection ID that opens nothing by itself: most often the one that the server chose.
    foreign: Id,
    decryptions: u8,
    answers: u8,
}

/// One connection, as far as its client's Initials tell.
#[derive(Debug)]
struct Connection {
    /// The connection ID that its keys come from.
    id: Id,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// Its hello is not complete.
    Hello(Box<Open>),
    /// Its hello was read, and what the server chose was not; what is there of that.
    Answer(Option<Box<Open>>),
    /// Both were read, or the hello is none.
    Done,
}

#[derive(Debug)]
struct Open {
    version: Version,
    keys: Keys,
    crypto: Crypto,
}

impl Initials {
    /// Reads a datagram that the handset sent.
    pub fn datagram(&mut self, datagram: &[u8]) -> Read {
        if self.decryptions >= DECRYPTIONS_MAX || !header::is_long(datagram) {
            return Read::IGNORED;
        }
        let mut read = Read::IGNORED;
        let mut rest = datagram;
        for _ in 0..PACKETS_MAX {
            let Some((packet, behind)) = header::split(rest) else {
                break;
            };
            rest = behind;
            if let Packet::Initial(initial) = packet {
                self.initial(&initial, &mut read);
            }
        }
        if read.outcome != Outcome::Ignored {
            read.outcome = self.outcome();
        }
        read
    }

    /// Reads a datagram that the other side sent: what it chose, once that is complete, and whether
    /// anything of it was read. With `names_only` nothing is decrypted, and the connection ID that it
    /// carries is believed as it stands.
    pub fn answer(&mut self, datagram: &[u8], names_only: bool) -> (Option<ServerHello>, bool) {
        let mut read = false;
        let mut rest = datagram;
        for _ in 0..PACKETS_MAX {
            if !header::is_long(rest) || self.connections.is_empty() {
                break;
            }
            let Some((packet, behind)) = header::split(rest) else {
                break;
            };
            rest = behind;
            let Packet::Initial(initial) = packet else {
                continue;
            };
            if names_only {
                read |= self.note_chosen(initial.source);
                continue;
            }
            if let Some(hello) = self.open_answer(&initial, &mut read) {
                return (Some(hello), true);
            }
        }
        (None, read)
    }

    /// The connection ID that the server chose: what the client sends under it belongs to a connection
    /// that is known, and no keys come from it (RFC 9000 section 7.2). True where it is news.
    fn note_chosen(&mut self, id: Id) -> bool {
        let is_news = self.foreign != id;
        self.foreign = id;
        is_news
    }

    /// Tries a server's Initial with the keys of each connection of which nothing was chosen yet. The
    /// latest is the most likely: behind a retry, keys come from its new ID.
    fn open_answer(&mut self, initial: &Initial<'_>, read: &mut bool) -> Option<ServerHello> {
        for connection in self.connections.iter_mut().rev() {
            if !connection.awaits_answer() || self.answers >= ANSWERS_MAX {
                continue;
            }
            self.answers += 1;
            *read = true;
            let Some(chosen) = connection.answer(initial) else {
                continue;
            };
            // Only who has the connection's keys seals it: the ID is this connection's.
            self.note_chosen(initial.source);
            return match chosen {
                Probe::Yes(hello) => Some(hello),
                Probe::NotYet | Probe::No => None,
            };
        }
        None
    }

    /// Bytes of hellos that are not complete yet, with what is kept to go on.
    pub fn bytes_held(&self) -> usize {
        let open = |connection: &Connection| match &connection.reading {
            Reading::Hello(open) | Reading::Answer(Some(open)) => {
                size_of::<Open>() + open.crypto.bytes_held()
            }
            Reading::Answer(None) | Reading::Done => 0,
        };
        self.connections.iter().map(open).sum()
    }

    /// Gives back what is held of hellos that are not complete; they are not read any more.
    pub fn give_up(&mut self) {
        for connection in &mut self.connections {
            connection.reading = Reading::Done;
        }
    }

    /// Whether a hello has begun and is not complete, or none has begun.
    pub fn awaits_more(&self) -> bool {
        self.decryptions == 0 || self.has_open()
    }

    fn has_open(&self) -> bool {
        let waits = |connection: &Connection| matches!(connection.reading, Reading::Hello(_));
        self.connections.iter().any(waits)
    }

    fn outcome(&self) -> Outcome {
        match (self.decryptions >= DECRYPTIONS_MAX, self.has_open()) {
            (true, _) => Outcome::Exhausted,
            (false, true) => Outcome::NotYet,
            (false, false) => Outcome::Settled,
        }
    }

    fn initial(&mut self, initial: &Initial<'_>, read: &mut Read) {
        if let Some(at) = self.at(initial.id) {
            return self.continued(at, initial, read);
        }
        if self.foreign == initial.id && !self.has_open() {
            return;
        }
        // With the server's answer the client takes the connection ID that the server chose; its
        // keys stay those of the first one.
        for at in 0..self.connections.len() {
            let opened = self.continues(at, initial, read);
            if opened {
                return;
            }
        }
        if self.foreign == initial.id || !self.spend(read) {
            return;
        }
        let keys = keys(initial, initial.id, Side::Client);
        match keys.open(initial, &mut Room::new()) {
            Some(payload) => {
                let mut open = Open {
                    version: initial.version,
                    keys,
                    crypto: Crypto::default(),
                };
                let reading = match open.take(payload, read) {
                    Probe::NotYet => Reading::Hello(Box::new(open)),
                    Probe::Yes(()) => Reading::Answer(None),
                    Probe::No => Reading::Done,
                };
                self.begin(initial.id, reading);
            }
            None => self.foreign = initial.id,
        }
    }

    fn at(&self, id: Id) -> Option<usize> {
        self.connections
            .iter()
            .position(|connection| connection.id == id)
    }

    fn begin(&mut self, id: Id, reading: Reading) {
        if self.connections.len() == CONNECTIONS_MAX {
            self.connections.remove(0);
        }
        // Most flows have one.
        self.connections.reserve_exact(1);
        self.connections.push(Connection { id, reading });
    }

    /// An Initial under the connection ID of a connection that is known.
    fn continued(&mut self, at: usize, initial: &Initial<'_>, read: &mut Read) {
        let waits = self
            .connections
            .get(at)
            .is_some_and(|connection| matches!(connection.reading, Reading::Hello(_)));
        if waits {
            self.continues(at, initial, read);
        }
    }

    /// Tries an Initial with the keys of a connection whose hello is not complete; true if it opens.
    fn continues(&mut self, at: usize, initial: &Initial<'_>, read: &mut Read) -> bool {
        let waits = self
            .connections
            .get(at)
            .is_some_and(|connection| matches!(connection.reading, Reading::Hello(_)));
        if !waits || !self.spend(read) {
            return false;
        }
        let Some(connection) = self.connections.get_mut(at) else {
            return false;
        };
        let Reading::Hello(open) = &mut connection.reading else {
            return false;
        };
        // A compatible version was negotiated (RFC 9368): keys of the new one from the same ID.
        let other =
            (open.version != initial.version).then(|| keys(initial, connection.id, Side::Client));
        let mut room = Room::new();
        let keys = other.as_ref().unwrap_or(&open.keys);
        let Some(payload) = keys.open(initial, &mut room) else {
            return false;
        };
        if let Some(keys) = other {
            (open.version, open.keys) = (initial.version, keys);
        }
        match open.take(payload, read) {
            Probe::NotYet => {}
            Probe::Yes(()) => connection.reading = Reading::Answer(None),
            Probe::No => connection.reading = Reading::Done,
        }
        true
    }

    /// Takes one decryption from what the flow may cost; false when none is left.
    fn spend(&mut self, read: &mut Read) -> bool {
        if self.decryptions >= DECRYPTIONS_MAX {
            return false;
        }
        self.decryptions += 1;
        read.outcome = Outcome::NotYet;
        true
    }
}

impl Connection {
    const fn awaits_answer(&self) -> bool {
        matches!(self.reading, Reading::Answer(_))
    }

    /// Reads an Initial of the server; none where it is not this connection's.
    fn answer(&mut self, initial: &Initial<'_>) -> Option<Probe<ServerHello>> {
        let Reading::Answer(begun) = &mut self.reading else {
            return None;
        };
        let known = begun.take_if(|open| open.version == initial.version);
        let mut open = known.unwrap_or_else(|| {
            Box::new(Open {
                version: initial.version,
                keys: keys(initial, self.id, Side::Server),
                crypto: Crypto::default(),
            })
        });
        let mut room = Room::new();
        let Some(payload) = open.keys.open(initial, &mut room) else {
            if !open.crypto.contiguous().is_empty() {
                *begun = Some(open);
            }
            return None;
        };
        let read = if open.crypto.take(payload) {
            tls::server_message(open.crypto.contiguous())
        } else {
            Probe::No
        };
        match read {
            Probe::NotYet => *begun = Some(open),
            Probe::Yes(_) | Probe::No => self.reading = Reading::Done,
        }
        Some(read)
    }
}

fn keys(initial: &Initial<'_>, id: Id, side: Side) -> Keys {
    Keys::derive(initial.version, id, side)
}

impl Open {
    /// Takes the frames of a decrypted Initial; *yes* when the hello is complete and was handed out.
    fn take(&mut self, payload: &[u8], read: &mut Read) -> Probe<()> {
        if !self.crypto.take(payload) {
            return Probe::No;
        }
        match tls::hello_message(self.crypto.contiguous()) {
            Probe::Yes(hello) => {
                read.hellos.push(Hello {
                    version: self.version,
                    hello,
                });
                Probe::Yes(())
            }
            Probe::NotYet => Probe::NotYet,
            Probe::No => Probe::No,
        }
    }
}
