//! What is still to be read of a flow, and how far that got.
//!
//! In: the payloads of one flow, packet by packet, both directions. Out: what was [`Heard`], and for
//! each packet whether its payload was read: one that was not changes nothing here, whatever it
//! holds, so that the journal need not keep it. Bytes are kept only while a question is open, within
//! [`WINDOW_BYTES`](super::stream::WINDOW_BYTES) of each direction, and given back once it is
//! answered.
//!
//! The handset's side of a TCP stream is read for names; the other side only where it answers: DNS,
//! and the server's part of a TLS handshake. A datagram's protocol has its place in [`Datagrams`].

mod client;
mod datagram;
mod server;

use std::sync::Arc;

use sakshi_rules::contact::{AppProtocol, NameSource};

pub use self::datagram::Datagrams;
use self::{
    client::{Client, Stage},
    server::Server,
};
use super::{
    dns::{DnsKind, DnsMessage},
    http::HttpRequest,
    stream::{End, Front, Piece, Pushed, Stream, WINDOW_BYTES},
    tls::{ClientHello, ServerHello},
};
use crate::input::SocketProto;

/// Packets of the handset with payload in which something known is looked for, where the flow does
/// not begin with it.
pub const GLANCES_MAX: u8 = 8;

/// A packet's payload as a reading is shown it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Transport.
    pub proto: SocketProto,
    /// Port of the handset.
    pub local_port: u16,
    /// Port of the other side.
    pub remote_port: u16,
    /// Whether the handset sent it.
    pub outbound: bool,
    /// Whether only names are asked for: then what a server chose in a handshake is not read.
    pub names_only: bool,
    /// TCP's numbers and flags; zeros for a datagram.
    pub tcp: Numbers,
    /// Payload bytes on the wire.
    pub wire_len: u32,
    /// Those that were captured.
    pub bytes: &'a [u8],
}

/// TCP's part of a [`Shown`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, where `acks`.
    pub ack: u32,
    /// SYN.
    pub syn: bool,
    /// ACK.
    pub acks: bool,
}

/// Something that a payload said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What the flow speaks.
    Protocol(AppProtocol),
    /// A name in it.
    Name(Arc<str>, NameSource),
    /// The flow goes to a proxy: what is named is not its other end.
    Proxied,
    /// A DNS message and which protocol of that format it belongs to.
    Dns(DnsKind, Box<DnsMessage>),
    /// A `ClientHello`; the name in it, if any, follows.
    Hello(Box<ClientHello>),
    /// An HTTP/1 request.
    Request(Box<HttpRequest>),
    /// A server's part of a TLS handshake.
    Server(Box<ServerHello>),
}

/// What became of a packet's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// Whether it was read or kept: then the journal must hold it.
    pub read: bool,
    /// Whether the reading gave up because of a bound.
    pub gave_up: bool,
}

impl Took {
    const NOTHING: Self = Self {
        read: false,
        gave_up: false,
    };
    const READ: Self = Self {
        read: true,
        gave_up: false,
    };
}

/// Reads one direction of a stream.
trait Reader {
    /// Reads what it can of a front, and returns how many bytes it is done with; these may be more
    /// than the front has. Asked again from there when more is known.
    fn read(&mut self, front: Front<'_>, port: u16, heard: &mut Vec<Heard>) -> u32;
    /// Whether it wants nothing more.
    fn is_done(&self) -> bool;
    /// From now on it wants nothing more.
    fn stop(&mut self);
}

/// A direction and who reads it.
#[derive(Debug, Default)]
struct Half<R> {
    stream: Stream,
    reader: R,
}

impl<R: Reader> Half<R> {
    /// Brings a segment to the stream and has what comes next read.
    fn advance(&mut self, piece: Piece<'_>, port: u16, heard: &mut Vec<Heard>) -> Took {
        let mut took = Took::READ;
        if let Some(front) = self.stream.direct(piece) {
            let taken = self.reader.read(front, port, heard);
            self.stream.take(taken);
            if !self.reader.is_done() {
                self.stream.push(piece);
            }
        } else {
            match self.stream.push(piece) {
                Pushed::Nothing => return Took::NOTHING,
                Pushed::Kept => {}
                Pushed::TooMany => took.gave_up = true,
            }
            self.pump(port, heard);
        }
        if self.reader.is_done() {
            self.stream.forget();
        } else if self.stream.is_full() {
            self.conclude(port, heard);
            took.gave_up = true;
        }
        took
    }

    /// Has what is kept read, as long as that leads on.
    fn pump(&mut self, port: u16, heard: &mut Vec<Heard>) {
        while !self.reader.is_done() {
            let front = self.stream.front();
            if front.bytes.is_empty() && !front.is_last() {
                return;
            }
            let taken = self.reader.read(front, port, heard);
            self.stream.take(taken);
            if taken == 0 {
                return;
            }
        }
    }

    /// Has what is kept read as far as it goes; nothing more is waited for.
    fn conclude(&mut self, port: u16, heard: &mut Vec<Heard>) {
        let front = Front {
            end: End::Hole,
            ..self.stream.front()
        };
        self.reader.read(front, port, heard);
        self.stream.forget();
        self.reader.stop();
    }
}

/// The state of one flow's reading, which takes memory only while something is asked of the flow.
#[derive(Debug, Default)]
pub enum Reading {
    /// Nothing was shown yet.
    #[default]
    Fresh,
    /// Of datagrams.
    Datagrams(Datagrams),
    /// Of a stream, in which something is still looked for.
    Streams(Box<Streams>),
    /// Of a stream, in which nothing more is looked for.
    Over,
}

impl Reading {
    /// Shows it a packet's payload; what that says is appended to `heard`.
    pub fn show(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        if let Self::Fresh = self {
            *self = match shown.proto {
                SocketProto::Udp => Self::Datagrams(Datagrams::default()),
                SocketProto::Tcp if shown.wire_len == 0 && !shown.tcp.syn => return Took::NOTHING,
                SocketProto::Tcp => Self::Streams(Box::default()),
            };
        }
        match self {
            Self::Datagrams(datagrams) => datagrams.show(shown, heard),
            Self::Streams(streams) => {
                let took = streams.show(shown, heard);
                if streams.is_over(shown.remote_port) {
                    *self = Self::Over;
                }
                took
            }
            Self::Fresh | Self::Over => Took::NOTHING,
        }
    }

    /// Whether nothing more is looked for: whatever it is shown changes nothing.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Over | Self::Datagrams(Datagrams::Done))
    }

    /// Whether the handset's side has said whom it talks to, or did not begin with anything known. What
    /// is found later all the same is heard then.
    pub fn is_answered(&self) -> bool {
        match self {
            Self::Fresh => false,
            Self::Datagrams(datagrams) => datagrams.is_answered(),
            Self::Streams(streams) => streams.client.reader.is_answered(),
            Self::Over => true,
        }
    }

    /// Bytes of memory that wait.
    pub fn held(&self) -> usize {
        match self {
            Self::Datagrams(datagrams) => datagrams.held(),
            Self::Streams(streams) => streams.client.stream.held() + streams.server.stream.held(),
            Self::Fresh | Self::Over => 0,
        }
    }

    /// Reads what is there as far as it goes, and gives the memory back: nothing more will come, or
    /// is waited for. `port` is the other side's.
    pub fn conclude(&mut self, port: u16, heard: &mut Vec<Heard>) {
        match self {
            Self::Datagrams(datagrams) => datagrams.conclude(heard),
            Self::Streams(streams) => streams.conclude(port, heard),
            Self::Fresh | Self::Over => {}
        }
    }
}

/// Both directions of a stream.
#[derive(Debug, Default)]
pub struct Streams {
    client: Half<Client>,
    server: Half<Server>,
    /// Whether the handset's first byte is known from the handshake.
    based: bool,
    glances: u8,
}

impl Streams {
    /// Whether nothing more is looked for in either direction.
    fn is_over(&self, port: u16) -> bool {
        let server = &self.server.reader;
        self.client.reader.stage() == Stage::Done
            && server.is_done()
            && !server.awaits_answers(port)
    }

    fn conclude(&mut self, port: u16, heard: &mut Vec<Heard>) {
        if self.client.stream.is_waiting() {
            self.client.conclude(port, heard);
        }
        if self.server.stream.is_waiting() {
            self.server.conclude(port, heard);
        }
    }

    fn show(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        self.note_base(shown);
        if shown.wire_len == 0 {
            Took::NOTHING
        } else if shown.outbound {
            self.client_segment(shown, heard)
        } else {
            self.server_segment(shown, heard)
        }
    }

    /// Learns where the handset's bytes begin: from its SYN, or from the answer to it.
    fn note_base(&mut self, shown: &Shown<'_>) {
        let Numbers {
            seq,
            ack,
            syn,
            acks,
        } = shown.tcp;
        if !syn || self.based || self.client.reader.stage() != Stage::Fresh {
            return;
        }
        let base = match (shown.outbound, acks) {
            (true, _) => seq.wrapping_add(1),
            (false, true) => ack,
            (false, false) => return,
        };
        self.client.stream = Stream::at(base);
        self.based = true;
    }

    fn client_segment(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        let piece = piece(shown);
        match self.client.reader.stage() {
            Stage::Done => return Took::NOTHING,
            Stage::Fresh => {
                if !self.based {
                    self.client.stream = Stream::at(piece.seq);
                }
                self.client.reader.begin();
            }
            Stage::Glance => return self.glance(piece, shown, heard),
            Stage::Start if !self.based => {
                let earlier = self.client.stream.next().wrapping_sub(piece.seq);
                if earlier < WINDOW_BYTES {
                    self.client.stream.begin_earlier(earlier);
                }
            }
            _ => {}
        }
        let took = self.client.advance(piece, shown.remote_port, heard);
        self.after_client(shown);
        took
    }

    /// Looks whether a segment begins with something known, in a flow that did not.
    fn glance(&mut self, piece: Piece<'_>, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        self.glances = self.glances.saturating_add(1);
        if !client::begins(piece.bytes, self.based) {
            if self.glances >= GLANCES_MAX {
                self.client.reader.stop();
            }
            return Took::NOTHING;
        }
        self.client.stream = Stream::at(piece.seq);
        self.client.reader.begin();
        let took = self.client.advance(piece, shown.remote_port, heard);
        self.after_client(shown);
        took
    }

    /// A server's part of a handshake begins where the client's packet says that it stands.
    fn after_client(&mut self, shown: &Shown<'_>) {
        if self.client.reader.take_hello() && shown.tcp.acks && !shown.names_only {
            self.server = Half {
                stream: Stream::at(shown.tcp.ack),
                reader: Server::tls(),
            };
        }
        if self.client.reader.stage() == Stage::Glance && self.glances >= GLANCES_MAX {
            self.client.reader.stop();
        }
    }

    fn server_segment(&mut self, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        let piece = piece(shown);
        if self.server.reader.awaits_answers(shown.remote_port) {
            self.server = Half {
                stream: Stream::at(piece.seq),
                reader: Server::answers(),
            };
        }
        if self.server.reader.is_done() {
            return Took::NOTHING;
        }
        self.server.advance(piece, shown.remote_port, heard)
    }
}

/// What a segment carries, and where. A SYN stands before the first byte.
fn piece<'a>(shown: &Shown<'a>) -> Piece<'a> {
    Piece {
        seq: shown.tcp.seq.wrapping_add(u32::from(shown.tcp.syn)),
        wire_len: shown.wire_len,
        bytes: shown.bytes,
    }
}

/// What one payload says by itself: a datagram, or the first bytes of a stream's side.
pub fn heard_alone(bytes: &[u8], proto: SocketProto, port: u16, outbound: bool) -> Vec<Heard> {
    let mut heard = Vec::new();
    let shown = Shown {
        proto,
        local_port: 0,
        remote_port: port,
        outbound,
        names_only: false,
        tcp: Numbers::default(),
        wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        bytes,
    };
    Reading::default().show(&shown, &mut heard);
    heard
}

/// A DNS message with the names that it asks for; what is asked on the local link is another name
/// space, and has sources of its own.
fn hear_dns(kind: DnsKind, message: DnsMessage, heard: &mut Vec<Heard>) {
    heard.push(Heard::Protocol(AppProtocol::Dns));
    let source = match kind {
        DnsKind::Unicast => NameSource::Dns,
        DnsKind::Mdns => NameSource::Mdns,
        DnsKind::Llmnr => NameSource::Llmnr,
    };
    let names = message
        .questions
        .iter()
        .map(|question| question.name.clone());
    heard.extend(names.map(|name| Heard::Name(name, source)));
    heard.push(Heard::Dns(kind, Box::new(message)));
}
