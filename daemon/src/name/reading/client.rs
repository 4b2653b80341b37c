//! The handset's side of a TCP stream: whom it names, by content, on any port.
//!
//! In: fronts of the stream. Out: what was heard. TLS and HTTP are what a stream begins with, or what
//! follows in it: behind a request to a proxy, behind the line with which a client of SMTP, IMAP,
//! POP3, FTP or XMPP asks for TLS, and behind each HTTP request where its head says how long it is.

use sakshi_rules::contact::{AppProtocol, NameSource};

use super::{Heard, Reader, hear_dns};
use crate::name::{
    Probe,
    dns::{self, DnsKind},
    http::{self, Chunk},
    http2, lines, socks,
    stream::Front,
    tls, xmpp,
};

/// Requests of one stream that are read.
pub const REQUESTS_MAX: u16 = 1_024;
/// Chunks of the bodies of one stream that are passed over; behind them no request is read.
pub const CHUNKS_MAX: u16 = 4_096;

/// What is awaited at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Nothing has come.
    #[default]
    Fresh,
    /// What the stream begins with, or what begins behind a proxy's request or a command for TLS.
    Start,
    /// It began with nothing known: what a segment begins with.
    Glance,
    /// A further HTTP request.
    Request,
    /// A chunk of a request's body.
    Chunk,
    /// What follows the last chunk.
    Trailers,
    /// A frame of HTTP/2.
    Frame,
    /// Commands, line by line, of one of the protocols that may change to TLS.
    Lines,
    /// What follows the head of an XMPP stream.
    Xmpp,
    /// What follows a greeting to a SOCKS proxy.
    Socks,
    /// Questions.
    Dns(DnsKind),
    /// Nothing.
    Done,
}

/// Reads the handset's side.
#[derive(Debug, Default)]
pub(super) struct Client {
    stage: Stage,
    requests: u16,
    chunks: u16,
    commands: u8,
    /// A hello was read and nobody has asked yet.
    hello: bool,
    /// Where the stage was reached from, for what begins there.
    behind: Behind,
    http2: Option<Box<http2::Connection>>,
}

/// Behind what a new beginning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Behind {
    #[default]
    Nothing,
    Proxy,
    Commands,
}

/// What a step comes to.
enum Step {
    /// More bytes are needed.
    Wait,
    /// So many bytes are done with.
    Take(u64),
    /// Nothing more is wanted.
    Stop,
}

/// Whether bytes begin a hello, or where the stream's own beginning was not seen, a request.
pub(super) fn begins(bytes: &[u8], based: bool) -> bool {
    tls::begins_hello(bytes)
        || (!based && (http::begins(bytes) || bytes.starts_with(http2::PREFACE)))
}

impl Client {
    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) const fn begin(&mut self) {
        self.stage = Stage::Start;
    }

    /// Whether a hello was read since this was asked last.
    pub(super) const fn take_hello(&mut self) -> bool {
        std::mem::replace(&mut self.hello, false)
    }

    pub(super) const fn is_answered(&self) -> bool {
        (matches!(self.stage, Stage::Frame) && self.requests > 0)
            || matches!(
                self.stage,
                Stage::Done
                    | Stage::Glance
                    | Stage::Request
                    | Stage::Chunk
                    | Stage::Trailers
                    | Stage::Dns(_)
            )
    }

    fn step(&mut self, front: Front<'_>, port: u16, heard: &mut Vec<Heard>) -> Step {
        match self.stage {
            Stage::Start => self.start(front, port, heard),
            Stage::Request => self.request(front, heard),
            Stage::Chunk => self.chunk(front),
            Stage::Trailers => self.trailers(front),
            Stage::Frame => self.frame(front, heard),
            Stage::Lines => self.line(front),
            Stage::Xmpp => self.starttls(front),
            Stage::Socks => self.socks(socks::further(front.bytes), front, heard),
            Stage::Dns(kind) => dns_question(front, kind, heard),
            Stage::Fresh | Stage::Glance | Stage::Done => Step::Stop,
        }
    }

    /// What a stream begins with.
    fn start(&mut self, front: Front<'_>, port: u16, heard: &mut Vec<Heard>) -> Step {
        let Some(&first) = front.bytes.first() else {
            return Step::Wait;
        };
        let dns = (self.behind == Behind::Nothing)
            .then(|| DnsKind::of_port(port))
            .flatten();
        // Whatever else is sent to a DNS port shows by its content: no query is so long that its
        // length prefix looks like TLS or HTTP.
        match (first, dns) {
            (20..=24, _) => self.tls(front, heard),
            (b'A'..=b'Z' | b'\r' | b'\n', _) => match self.request(front, heard) {
                Step::Stop if self.stage == Stage::Start => self.text(front, port, heard),
                step => step,
            },
            (_, Some(kind)) => {
                self.stage = Stage::Dns(kind);
                dns_question(front, kind, heard)
            }
            (b'<', _) => self.xmpp(front, heard),
            (4 | 5, _) if self.behind == Behind::Nothing => {
                self.socks(socks::opening(front.bytes), front, heard)
            }
            _ => self.text(front, port, heard),
        }
    }

    fn tls(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> Step {
        let probe = match tls::client_hello(front.bytes) {
            Probe::NotYet if front.is_last() => tls::cut_hello(front.bytes),
            probe => probe,
        };
        match probe {
            Probe::Yes(hello) => {
                heard.push(Heard::Protocol(AppProtocol::Tls));
                let sni = hello.sni.clone();
                heard.push(Heard::Hello(Box::new(hello)));
                heard.extend(sni.map(|sni| Heard::Name(sni, NameSource::Tls)));
                self.hello = true;
                Step::Stop
            }
            Probe::NotYet => Step::Wait,
            // Another message of the handshake, or a flow that was joined in its middle.
            Probe::No if tls::is_tls_record(front.bytes) => {
                heard.push(Heard::Protocol(AppProtocol::Tls));
                Step::Stop
            }
            Probe::No => self.unknown(),
        }
    }

    fn request(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> Step {
        // A server skips empty lines before a request line (RFC 9112 section 2.2).
        if let [b'\r' | b'\n', ..] = front.bytes {
            return Step::Take(1);
        }
        match http2::preface(front.bytes) {
            Probe::Yes(()) => {
                heard.push(Heard::Protocol(AppProtocol::Http));
                self.stage = Stage::Frame;
                self.http2 = Some(Box::default());
                return Step::Take(http2::PREFACE.len() as u64);
            }
            Probe::NotYet if !front.is_last() => return Step::Wait,
            Probe::NotYet | Probe::No => {}
        }
        let probe = match http::request(front.bytes) {
            Probe::NotYet if front.is_last() => http::cut_request(front.bytes),
            probe => probe,
        };
        let request = match probe {
            Probe::Yes(request) => request,
            Probe::NotYet => return Step::Wait,
            Probe::No => return Step::Stop,
        };
        heard.push(Heard::Protocol(AppProtocol::Http));
        if let Some(host) = &request.host {
            heard.push(Heard::Name(host.clone(), NameSource::Http));
        }
        self.requests = self.requests.saturating_add(1);
        let next_at = request.next_at.filter(|_| self.requests < REQUESTS_MAX);
        self.stage = if request.method == "CONNECT" {
            self.behind = Behind::Proxy;
            Stage::Start
        } else if request.chunked {
            Stage::Chunk
        } else {
            Stage::Request
        };
        if request.target_is_absolute {
            heard.push(Heard::Proxied);
        }
        heard.push(Heard::Request(Box::new(request)));
        if let Some(len) = next_at {
            Step::Take(len)
        } else {
            self.stage = Stage::Done;
            Step::Stop
        }
    }

    /// A frame of HTTP/2; of a request its host is said.
    fn frame(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> Step {
        let Some(connection) = &mut self.http2 else {
            return Step::Stop;
        };
        let frame = match connection.frame(front.bytes, front.is_last()) {
            Probe::Yes(frame) => frame,
            Probe::NotYet => return Step::Wait,
            Probe::No => return Step::Stop,
        };
        if let Some(request) = frame.request {
            self.requests = self.requests.saturating_add(1);
            if request.connect {
                heard.push(Heard::Proxied);
            }
            heard.extend(request.host.map(|host| Heard::Name(host, NameSource::Http)));
            if self.requests >= REQUESTS_MAX {
                return Step::Stop;
            }
        }
        Step::Take(frame.len)
    }

    /// A chunk of a body: the next request stands behind the last one.
    fn chunk(&mut self, front: Front<'_>) -> Step {
        match http::chunk(front.bytes) {
            Probe::Yes(_) if self.chunks >= CHUNKS_MAX => Step::Stop,
            Probe::Yes(Chunk::Data(len)) => {
                self.chunks += 1;
                Step::Take(len)
            }
            Probe::Yes(Chunk::Last(len)) => {
                self.stage = Stage::Trailers;
                Step::Take(len)
            }
            Probe::NotYet if !front.is_last() => Step::Wait,
            Probe::NotYet | Probe::No => Step::Stop,
        }
    }

    fn trailers(&mut self, front: Front<'_>) -> Step {
        match http::trailers(front.bytes) {
            Probe::Yes(len) => {
                self.stage = Stage::Request;
                Step::Take(len)
            }
            Probe::NotYet if !front.is_last() => Step::Wait,
            Probe::NotYet | Probe::No => Step::Stop,
        }
    }

    /// The first line of a protocol of commands.
    fn text(&mut self, front: Front<'_>, port: u16, heard: &mut Vec<Heard>) -> Step {
        if lines::is_mqtt_connect(front.bytes) {
            heard.push(Heard::Protocol(AppProtocol::Mqtt));
            return Step::Stop;
        }
        match lines::protocol(front.bytes, port) {
            Probe::Yes(protocol) => {
                if self.behind == Behind::Nothing {
                    heard.push(Heard::Protocol(protocol));
                }
                self.stage = Stage::Lines;
                self.line(front)
            }
            Probe::NotYet if !front.is_last() => Step::Wait,
            Probe::NotYet | Probe::No if self.behind == Behind::Commands => {
                self.stage = Stage::Lines;
                self.line(front)
            }
            Probe::NotYet | Probe::No => self.unknown(),
        }
    }

    fn line(&mut self, front: Front<'_>) -> Step {
        self.commands = self.commands.saturating_add(1);
        if self.commands > lines::COMMANDS_MAX {
            return Step::Stop;
        }
        match lines::command(front.bytes) {
            Probe::Yes(command) => {
                if command.asks_for_tls {
                    self.stage = Stage::Start;
                    self.behind = Behind::Commands;
                }
                Step::Take(u64::try_from(command.len).unwrap_or(u64::MAX))
            }
            Probe::NotYet if !front.is_last() => {
                self.commands -= 1;
                Step::Wait
            }
            Probe::NotYet | Probe::No => Step::Stop,
        }
    }

    fn xmpp(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> Step {
        match xmpp::stream_head(front.bytes) {
            Probe::Yes(stream) => {
                heard.push(Heard::Protocol(AppProtocol::Xmpp));
                if let Some(to) = stream.to {
                    heard.push(Heard::Name(to, NameSource::Xmpp));
                }
                self.stage = Stage::Xmpp;
                Step::Take(u64::try_from(stream.len).unwrap_or(u64::MAX))
            }
            Probe::NotYet if !front.is_last() => Step::Wait,
            Probe::NotYet | Probe::No => self.unknown(),
        }
    }

    fn starttls(&mut self, front: Front<'_>) -> Step {
        match xmpp::starttls(front.bytes) {
            Probe::Yes(len) => {
                self.stage = Stage::Start;
                self.behind = Behind::Commands;
                Step::Take(u64::try_from(len).unwrap_or(u64::MAX))
            }
            Probe::NotYet if !front.is_last() => Step::Wait,
            Probe::NotYet | Probe::No => Step::Stop,
        }
    }

    fn socks(
        &mut self,
        probe: Probe<socks::Message>,
        front: Front<'_>,
        heard: &mut Vec<Heard>,
    ) -> Step {
        let message = match probe {
            Probe::Yes(message) => message,
            Probe::NotYet if !front.is_last() => return Step::Wait,
            Probe::NotYet | Probe::No => return self.unknown(),
        };
        if message.is_request {
            heard.push(Heard::Protocol(AppProtocol::Socks));
            heard.push(Heard::Proxied);
            heard.extend(
                message
                    .host
                    .map(|host| Heard::Name(host, NameSource::Socks)),
            );
            self.behind = Behind::Proxy;
            self.stage = Stage::Start;
        } else {
            self.stage = Stage::Socks;
        }
        Step::Take(u64::try_from(message.len).unwrap_or(u64::MAX))
    }

    /// Nothing known begins here.
    const fn unknown(&mut self) -> Step {
        if matches!(self.behind, Behind::Nothing) {
            self.stage = Stage::Glance;
        }
        Step::Stop
    }
}

fn dns_question(front: Front<'_>, kind: DnsKind, heard: &mut Vec<Heard>) -> Step {
    match dns::tcp_message(front.bytes) {
        Probe::Yes(first) => {
            hear_dns(kind, first.message, heard);
            Step::Take(u64::try_from(first.consumed).unwrap_or(u64::MAX))
        }
        Probe::NotYet if !front.is_last() => Step::Wait,
        Probe::NotYet | Probe::No => Step::Stop,
    }
}

impl Reader for Client {
    fn read(&mut self, front: Front<'_>, port: u16, heard: &mut Vec<Heard>) -> u32 {
        let mut front = front;
        let mut taken: u32 = 0;
        loop {
            if front.bytes.is_empty() && !front.is_last() {
                return taken;
            }
            let len = match self.step(front, port, heard) {
                Step::Wait => return taken,
                Step::Stop => {
                    if self.stage != Stage::Glance {
                        self.stop();
                    }
                    return taken;
                }
                Step::Take(len) => len,
            };
            // Half the sequence space is the most that can be told from a repetition.
            let Some(sum) = u32::try_from(len)
                .ok()
                .and_then(|len| taken.checked_add(len))
                .filter(|sum| i32::try_from(*sum).is_ok())
            else {
                self.stop();
                return taken;
            };
            taken = sum;
            match usize::try_from(len) {
                Ok(len) if len <= front.bytes.len() => front = front.after(len),
                _ => return taken,
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Glance)
    }

    fn stop(&mut self) {
        self.stage = Stage::Done;
        self.http2 = None;
    }
}
