//! Sockets that were read at the way out of packets which are still to come in the stream.
//!
//! In: owner facts of basis `xt_bpf`; packets. Out: the fact that belongs to a packet. A fact and
//! its packet come through different channels, so they are joined by what both hold: five-tuple and
//! opening ([`View::opening`]). A packet that has no fact of its own is never given another one.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use foldhash::fast::RandomState;

use crate::{
    input::{OwnerFact, Packet, SocketProto},
    packet::{Transport, View},
};

/// Facts that wait for their packets. One more pushes out the oldest, which is counted: its flow's
/// owner then rests on what else is known.
pub const SIGHTINGS_MAX: usize = 16_384;
/// Facts of one five-tuple that wait; one more pushes out its oldest, counted likewise. Two sockets
/// that share a five-tuple and send in turn are reported at each turn.
pub const SAME_ENDS_MAX: usize = 64;
/// How long a fact waits, in the time of the stream. Its packet is at most a buffer's worth behind;
/// one that was lost, or dropped before it was logged, never comes.
pub const SIGHTING_WAIT_NANOS: i64 = 10_000_000_000;

/// Protocol and ends of a socket, the handset's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) proto: SocketProto,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Ends {
    /// Those of a packet that the handset sent.
    pub(super) fn of_sent(view: &View<'_>) -> Option<Self> {
        let (proto, sport, dport) = match view.transport {
            Transport::Tcp(tcp) => (SocketProto::Tcp, tcp.sport, tcp.dport),
            Transport::Udp(udp) => (SocketProto::Udp, udp.sport, udp.dport),
            _ => return None,
        };
        Some(Self {
            proto,
            local: SocketAddr::new(view.src(), sport),
            remote: SocketAddr::new(view.dst(), dport),
        })
    }

    /// Those of a fact.
    pub(super) const fn of_fact(fact: &OwnerFact) -> Self {
        Self {
            proto: fact.proto,
            local: fact.local,
            remote: fact.remote,
        }
    }

    /// The IP protocol number.
    pub(super) const fn protocol(&self) -> u8 {
        match self.proto {
            SocketProto::Tcp => 6,
            SocketProto::Udp => 17,
        }
    }
}

/// A socket that was read at a packet's way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The kernel's number of the socket.
    pub(super) cookie: u64,
    /// Its owner.
    pub(super) uid: u32,
    /// What tells its packet.
    pub(super) opening: u64,
}

impl Sighting {
    /// What a fact says, if it was read off a packet's socket and says all that is needed.
    pub(super) fn of(fact: &OwnerFact) -> Option<Self> {
        Some(Self {
            cookie: fact.cookie?,
            uid: fact.uid?,
            opening: fact.opening?,
        })
    }
}

/// What a packet found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// The socket that sent it.
    pub(super) sighting: Option<Sighting>,
    /// Whether its bytes were compared: then the journal must keep them.
    pub(super) compared: bool,
}

/// Facts that wait for their packets.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    waiting: HashMap<Ends, Vec<Sighting>, RandomState>,
    /// How many those are.
    len: usize,
    /// In the order in which they came, with the elapsed nanoseconds at which they are given up;
    /// those whose packet has come may still be among them.
    order: VecDeque<(i64, Ends, Sighting)>,
    forgotten: u64,
}

impl Sightings {
    /// A fact whose packet has not been seen.
    pub(super) fn wait(&mut self, ends: Ends, sighting: Sighting, now_nanos: i64) {
        self.clear_front(now_nanos);
        while self.len >= SIGHTINGS_MAX
            && let Some((_, ends, sighting)) = self.order.pop_front()
        {
            self.forgotten += u64::from(self.remove(&ends, &sighting));
        }
        if self.order.len() >= 2 * SIGHTINGS_MAX {
            let waiting = &self.waiting;
            self.order
                .retain(|(_, ends, sighting)| is_in(waiting, ends, sighting));
        }
        let due = now_nanos.saturating_add(SIGHTING_WAIT_NANOS);
        self.order.push_back((due, ends, sighting));
        let same = self.waiting.entry(ends).or_default();
        if same.len() >= SAME_ENDS_MAX {
            same.remove(0);
            self.len -= 1;
            self.forgotten += 1;
        }
        same.push(sighting);
        self.len += 1;
    }

    /// The fact of a packet that the handset sent. Of several sockets whose packets look alike, the
    /// one of the packet's own UID, else the one that was read first.
    pub(super) fn take(&mut self, packet: &Packet<'_>, ends: &Ends, view: &View<'_>) -> Found {
        if self.waiting.is_empty() {
            return Found::default();
        }
        let (Some(waiting), Some(opening)) = (self.waiting.get(ends), view.opening()) else {
            return Found::default();
        };
        let mut fitting = waiting
            .iter()
            .filter(|sighting| sighting.opening == opening);
        let first = fitting.clone().next();
        let sighting = fitting
            .find(|sighting| Some(sighting.uid) == packet.uid)
            .or(first)
            .copied();
        if let Some(sighting) = &sighting {
            self.remove(ends, sighting);
        }
        Found {
            sighting,
            compared: true,
        }
    }

    /// Facts that were pushed out so far.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Forgets those whose packet does not come, and what is kept of those whose packet came.
    fn clear_front(&mut self, now_nanos: i64) {
        while let Some((due, ends, sighting)) = self.order.front().copied() {
            if due > now_nanos && is_in(&self.waiting, &ends, &sighting) {
                return;
            }
            self.remove(&ends, &sighting);
            self.order.pop_front();
        }
    }

    fn remove(&mut self, ends: &Ends, sighting: &Sighting) -> bool {
        let Some(waiting) = self.waiting.get_mut(ends) else {
            return false;
        };
        let at = waiting.iter().position(|kept| kept == sighting);
        if let Some(at) = at {
            waiting.remove(at);
            self.len -= 1;
        }
        if waiting.is_empty() {
            self.waiting.remove(ends);
        }
        at.is_some()
    }
}

fn is_in(
    waiting: &HashMap<Ends, Vec<Sighting>, RandomState>,
    ends: &Ends,
    sighting: &Sighting,
) -> bool {
    waiting
        .get(ends)
        .is_some_and(|waiting| waiting.contains(sighting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends {
            proto: SocketProto::Udp,
            local: SocketAddr::from(([192, 168, 43, 100], port)),
            remote: SocketAddr::from(([13, 228, 10, 20], 7)),
        }
    }

    const fn sighting(cookie: u64) -> Sighting {
        Sighting {
            cookie,
            uid: 10_050,
            opening: cookie,
        }
    }

    #[test]
    fn the_oldest_is_pushed_out_and_counted() {
        let mut sightings = Sightings::default();
        for port in 0..=u16::try_from(SIGHTINGS_MAX).unwrap() {
            sightings.wait(ends(port), sighting(u64::from(port)), 0);
        }
        assert_eq!(sightings.forgotten(), 1);
        assert_eq!(sightings.order.len(), SIGHTINGS_MAX);
        assert!(!sightings.remove(&ends(0), &sighting(0)));
        assert!(sightings.remove(&ends(1), &sighting(1)));
    }

    #[test]
    fn one_that_waits_long_holds_up_no_other() {
        let mut sightings = Sightings::default();
        sightings.wait(ends(0), sighting(0), 0);
        for round in 1..=3 * SIGHTINGS_MAX as u64 {
            sightings.wait(ends(1), sighting(round), 0);
            assert!(sightings.remove(&ends(1), &sighting(round)));
        }
        assert_eq!((sightings.len, sightings.forgotten()), (1, 0));
        assert!(sightings.order.len() <= 2 * SIGHTINGS_MAX);
        assert!(sightings.remove(&ends(0), &sighting(0)));
    }

    #[test]
    fn one_five_tuple_does_not_fill_the_table() {
        let mut sightings = Sightings::default();
        for cookie in 0..=SAME_ENDS_MAX as u64 {
            sightings.wait(ends(1), sighting(cookie), 0);
        }
        assert_eq!(sightings.forgotten(), 1);
        assert!(!sightings.remove(&ends(1), &sighting(0)));
    }

    #[test]
    fn one_whose_packet_never_comes_is_given_up() {
        let mut sightings = Sightings::default();
        sightings.wait(ends(1), sighting(1), 0);
        sightings.wait(ends(2), sighting(2), SIGHTING_WAIT_NANOS);
        assert_eq!((sightings.waiting.len(), sightings.order.len()), (1, 1));
        assert_eq!(sightings.forgotten(), 0);
    }
}
