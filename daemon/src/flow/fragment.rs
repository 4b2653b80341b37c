//! Joins later fragments to the flow of their first fragment.
//!
//! In: first fragments, which have ports. Out: those ports for later fragments. At most
//! [`FRAGMENTS_MAX`] datagrams are remembered; one more replaces the oldest. A fragment whose
//! first one is not remembered is counted to a flow without ports.

use std::net::IpAddr;

use super::five_tuple::Side;
use crate::packet::View;

/// Datagrams remembered at once; looked through from end to end for each fragment, so small.
pub(super) const FRAGMENTS_MAX: usize = 256;
/// Nanoseconds for which a datagram is remembered: the time that RFC 8200 gives to reassembly.
const FRAGMENT_AGE_NANOS_MAX: i64 = 60 * 1_000_000_000;

#[derive(Debug, Clone, Copy)]
struct First {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    protocol: u8,
    sport: Option<u16>,
    dport: Option<u16>,
    at_nanos: i64,
}

/// The first fragments seen lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Fragments {
    ring: Vec<First>,
    next: usize,
}

impl Fragments {
    /// Remembers the ports of a first fragment.
    pub(super) fn remember(
        &mut self,
        view: &View<'_>,
        id: u32,
        sides: (Side, Side),
        now_nanos: i64,
    ) {
        let first = First {
            src: view.src,
            dst: view.dst,
            id,
            protocol: view.protocol,
            sport: sides.0.port,
            dport: sides.1.port,
            at_nanos: now_nanos,
        };
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = first,
            None => self.ring.push(first),
        }
        self.next = (self.next + 1) % FRAGMENTS_MAX;
    }

    /// The sides of a later fragment, with the ports of its first one.
    pub(super) fn recall(&self, view: &View<'_>, id: u32, now_nanos: i64) -> Option<(Side, Side)> {
        let newest_first = self.ring[..self.next]
            .iter()
            .rev()
            .chain(self.ring[self.next..].iter().rev());
        let first = newest_first
            .filter(|first| now_nanos.saturating_sub(first.at_nanos) <= FRAGMENT_AGE_NANOS_MAX)
            .find(|first| {
                first.id == id
                    && first.protocol == view.protocol
                    && first.src == view.src
                    && first.dst == view.dst
            })?;
        let src = Side {
            addr: first.src,
            port: first.sport,
        };
        let dst = Side {
            addr: first.dst,
            port: first.dport,
        };
        Some((src, dst))
    }
}
