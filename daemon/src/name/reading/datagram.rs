//! Datagrams: each stands by itself, or is a piece of a handshake that was split over several.
//!
//! In: the payloads of one flow. Out: what was heard. QUIC's state has its place here.

use sakshi_rules::contact::{AppProtocol, NameSource};

use super::{Heard, Shown, Took, hear_dns};
use crate::name::{
    Probe,
    dns::{self, DnsKind},
    http,
};

/// Datagrams of the handset in which something known is looked for.
pub const DATAGRAMS_MAX: u8 = 8;

/// The state of a datagram flow.
#[derive(Debug, Default)]
pub(super) enum Datagrams {
    /// Nothing known yet; so many of the handset's were looked at.
    #[default]
    Fresh,
    /// Looked at so many of the handset's.
    Unknown(u8),
    /// Messages of the DNS format.
    Dns,
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
            _ => Took::NOTHING,
        }
    }

    pub(super) const fn is_answered(&self) -> bool {
        !matches!(self, Self::Fresh)
    }

    #[expect(
        clippy::unused_self,
        reason = "what waits for more of a handshake holds bytes"
    )]
    pub(super) const fn held(&self) -> usize {
        0
    }

    #[expect(
        clippy::unused_self,
        reason = "what waits for more of a handshake is read here"
    )]
    pub(super) const fn conclude(&mut self, _: &mut Vec<Heard>) {}

    /// Looks at one of the handset's datagrams. One that says nothing leaves a count only.
    fn look(&mut self, seen: u8, shown: &Shown<'_>, heard: &mut Vec<Heard>) -> Took {
        if is_quic_long_header(shown.bytes) {
            heard.push(Heard::Protocol(AppProtocol::Quic));
            *self = Self::Done;
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
        *self = if seen + 1 >= DATAGRAMS_MAX {
            Self::Done
        } else {
            Self::Unknown(seen + 1)
        };
        Took::NOTHING
    }
}

/// A QUIC long header (RFC 9000 section 17.2) of a version that is spoken: 1, 2 (RFC 9369) and
/// drafts 29 to 34. Its name is encrypted under keys that anybody can derive; not read here yet.
fn is_quic_long_header(payload: &[u8]) -> bool {
    const CONNECTION_ID_BYTES_MAX: u8 = 20;
    let &[first, v0, v1, v2, v3, dcid_len, ..] = payload else {
        return false;
    };
    let version = u32::from_be_bytes([v0, v1, v2, v3]);
    first & 0xc0 == 0xc0
        && matches!(version, 1 | 0x6b33_43cf | 0xff00_001d..=0xff00_0022)
        && dcid_len <= CONNECTION_ID_BYTES_MAX
}
