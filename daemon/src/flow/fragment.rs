//! Joins later fragments to the flow of their first fragment.
//!
//! In: first fragments, which have ports. Out: those ports for later fragments. At most
//! [`FRAGMENTS_MAX`] datagrams are remembered; one more replaces the oldest. A fragment whose
//! first one is not remembered is counted to a flow without ports.

use super::five_tuple::Ends;
use crate::packet::{Addresses, View};

/// Datagrams remembered at once; looked through from end to end for each fragment, so small.
pub(super) const FRAGMENTS_MAX: usize = 256;
/// Nanoseconds for which a datagram is remembered: the time that RFC 8200 gives to reassembly.
const FRAGMENT_AGE_NANOS_MAX: i64 = 60 * 1_000_000_000;

#[derive(Debug, Clone, Copy)]
struct First {
    addresses: Addresses,
    id: u32,
    protocol: u8,
    ports: Option<[u16; 2]>,
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
        ports: Option<[u16; 2]>,
        now_nanos: i64,
    ) {
        let first = First {
            addresses: view.addresses,
            id,
            protocol: view.protocol,
            ports,
            at_nanos: now_nanos,
        };
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = first,
            None => self.ring.push(first),
        }
        self.next = (self.next + 1) % FRAGMENTS_MAX;
    }

    /// The ends of a later fragment, with the ports of its first one.
    pub(super) fn recall(&self, view: &View<'_>, id: u32, now_nanos: i64) -> Option<Ends> {
        let newest_first = self.ring[..self.next]
            .iter()
            .rev()
            .chain(self.ring[self.next..].iter().rev());
        let first = newest_first
            .filter(|first| now_nanos.saturating_sub(first.at_nanos) <= FRAGMENT_AGE_NANOS_MAX)
            .find(|first| {
                first.id == id
                    && first.protocol == view.protocol
                    && first.addresses == view.addresses
            })?;
        Some(Ends::with_ports(view, first.ports))
    }
}
