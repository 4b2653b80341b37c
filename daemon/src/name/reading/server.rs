//! The other side of a TCP stream: what it answers.
//!
//! In: fronts of the stream. Out: DNS messages, and a server's part of a TLS handshake.

use super::{Heard, Reader, hear_dns};
use crate::name::{
    Probe,
    dns::{self, DnsKind},
    stream::Front,
    tls,
};

/// Reads what the other side sends, where that is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Server {
    /// Not asked for.
    #[default]
    Unread,
    /// Answers to questions.
    Answers,
    /// A `ServerHello` and certificates.
    Tls,
    /// It was read.
    Done,
}

impl Server {
    pub(super) const fn answers() -> Self {
        Self::Answers
    }

    pub(super) const fn tls() -> Self {
        Self::Tls
    }

    /// Whether what comes from this port is to be read from here on.
    pub(super) const fn awaits_answers(self, port: u16) -> bool {
        matches!(self, Self::Unread) && DnsKind::of_port(port).is_some()
    }
}

impl Reader for Server {
    fn read(&mut self, front: Front<'_>, _: u16, heard: &mut Vec<Heard>) -> u32 {
        match self {
            Self::Answers => self.read_answers(front, heard),
            Self::Tls => self.read_handshake(front, heard),
            Self::Unread | Self::Done => 0,
        }
    }

    fn is_done(&self) -> bool {
        matches!(self, Self::Unread | Self::Done)
    }

    fn stop(&mut self) {
        *self = Self::Done;
    }
}

impl Server {
    fn read_answers(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> u32 {
        let mut front = front;
        let mut taken = 0;
        loop {
            match dns::tcp_message(front.bytes) {
                Probe::Yes(first) => {
                    hear_dns(DnsKind::Unicast, first.message, heard);
                    taken += u32::try_from(first.consumed).unwrap_or(0);
                    front = front.after(first.consumed);
                }
                Probe::NotYet if !front.is_last() => return taken,
                Probe::NotYet | Probe::No => {
                    *self = Self::Done;
                    return taken;
                }
            }
        }
    }

    fn read_handshake(&mut self, front: Front<'_>, heard: &mut Vec<Heard>) -> u32 {
        match tls::server_flight(front.bytes, front.is_last()) {
            Probe::Yes(hello) => {
                heard.push(Heard::Server(Box::new(hello)));
                *self = Self::Done;
            }
            Probe::NotYet => {}
            Probe::No => *self = Self::Done,
        }
        0
    }
}
