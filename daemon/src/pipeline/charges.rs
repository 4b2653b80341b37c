//! Whom a flow's traffic is charged to, beside who sent it.
//!
//! In: charges that were read by the cookie of a socket. Out: the charges of each flow, in the order
//! in which they were read. They never touch the owner: who is charged is what a privileged process
//! told netd. A charge joins the flow whose own socket has its cookie; one that was read before its
//! packet came waits for it, as the owner's fact does.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::{Core, mark_ready, sightings::Ends};
use crate::{
    attribute::charge::{Charge, ChargeBasis},
    input::ChargeFact,
    time::Timestamp,
};

/// Charges kept with one flow; what a socket is charged to beyond is counted.
pub const CHARGES_MAX: usize = 4;
/// Sockets whose charge was read before their packet came. One more pushes out the oldest, which is
/// counted: its flow then has no charge until another is read.
pub const EARLY_CHARGES_MAX: usize = super::SIGHTINGS_MAX;
/// How long a charge waits for its packet, in the time of the stream.
const EARLY_NANOS_MAX: i64 = super::SIGHTING_WAIT_NANOS;

/// A charge as it was first read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) charge: Charge,
    pub(super) basis: ChargeBasis,
    pub(super) since: Timestamp,
}

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    New,
    Known,
    NoRoom,
}

/// The charges of a flow's socket.
#[derive(Debug, Default, Clone)]
pub(super) struct Charges(Vec<Read>);

impl Charges {
    pub(super) const NONE: Self = Self(Vec::new());

    fn note(&mut self, read: Read) -> Noted {
        if self.0.iter().any(|known| known.charge == read.charge) {
            Noted::Known
        } else if self.0.len() >= CHARGES_MAX {
            Noted::NoRoom
        } else {
            self.0.push(read);
            Noted::New
        }
    }

    /// Those that were read, in that order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Read> {
        self.0.iter()
    }
}

/// A socket, with its ends: one may have several flows.
type Socket = (u64, Ends);

/// Charges whose packet has not come yet, and what was not kept.
#[derive(Debug, Default)]
pub(super) struct EarlyCharges {
    waiting: HashMap<Socket, Charges, RandomState>,
    /// In the order in which they came, with the elapsed nanoseconds at which they are given up;
    /// those whose packet has come may still be among them.
    order: VecDeque<(i64, Socket)>,
    forgotten: u64,
    no_room: u64,
}

impl EarlyCharges {
    fn wait(&mut self, socket: Socket, read: Read, now_nanos: i64) {
        while let Some((due, front)) = self.order.front().copied()
            && (due <= now_nanos || self.order.len() >= EARLY_CHARGES_MAX)
        {
            self.order.pop_front();
            let unused = self.waiting.remove(&front).is_some();
            self.forgotten += u64::from(unused && due > now_nanos);
        }
        let charges = self.waiting.entry(socket).or_insert_with(|| {
            self.order
                .push_back((now_nanos.saturating_add(EARLY_NANOS_MAX), socket));
            Charges::default()
        });
        self.no_room += u64::from(charges.note(read) == Noted::NoRoom);
    }

    /// The charges of a socket whose packet has come.
    pub(super) fn take(&mut self, cookie: u64, ends: &Ends) -> Option<Charges> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.remove(&(cookie, *ends))
    }

    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    pub(super) fn take_no_room(&mut self) -> u64 {
        std::mem::take(&mut self.no_room)
    }
}

impl Core {
    /// Takes what netd keeps of a socket.
    pub(super) fn charge_fact(&mut self, fact: &ChargeFact) {
        let ends = Ends {
            proto: fact.proto,
            local: fact.local,
            remote: fact.remote,
        };
        let read = Read {
            charge: fact.charge,
            basis: fact.basis,
            since: fact.at,
        };
        let found = self.table.find(ends.protocol(), ends.local, ends.remote);
        let flow = found.and_then(|id| self.table.get_mut(id));
        let of_socket = |flow: &&mut super::Flow| {
            let sighted = flow.user.told().sighted;
            sighted.is_some_and(|sighted| sighted.cookie == fact.cookie)
        };
        let Some(flow) = flow.filter(of_socket) else {
            let now_nanos = self.table.clock().elapsed_nanos();
            self.charges.wait((fact.cookie, ends), read, now_nanos);
            return;
        };
        match flow.user.told_mut().charges.note(read) {
            Noted::New if flow.user.settled.is_some() => mark_ready(flow, &mut self.ready),
            Noted::New | Noted::Known => {}
            Noted::NoRoom => self.charges.no_room += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::SocketProto;

    fn ends(port: u16) -> Ends {
        Ends {
            proto: SocketProto::Udp,
            local: std::net::SocketAddr::from(([192, 168, 43, 100], port)),
            remote: std::net::SocketAddr::from(([13, 228, 10, 20], 7)),
        }
    }

    const fn read(uid: u32) -> Read {
        Read {
            charge: Charge { uid, tag: 0 },
            basis: ChargeBasis::NetdTag,
            since: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn the_first_charges_are_kept_in_order_and_each_once() {
        let mut charges = Charges::default();
        let noted: Vec<Noted> = [1, 2, 1, 3, 4, 5].map(|uid| charges.note(read(uid))).into();
        assert_eq!(noted[2], Noted::Known);
        assert_eq!(noted[5], Noted::NoRoom);
        let uids: Vec<u32> = charges.iter().map(|read| read.charge.uid).collect();
        assert_eq!(uids, [1, 2, 3, 4]);
    }

    #[test]
    fn a_charge_waits_for_the_packet_of_its_socket_only() {
        let mut early = EarlyCharges::default();
        early.wait((7, ends(1)), read(1), 0);
        early.wait((7, ends(1)), read(2), 0);
        assert!(early.take(8, &ends(1)).is_none(), "another socket");
        assert!(early.take(7, &ends(2)).is_none(), "another five-tuple");
        let taken = early.take(7, &ends(1)).unwrap();
        assert_eq!(taken.iter().count(), 2);
        assert!(early.take(7, &ends(1)).is_none());
        early.wait((9, ends(1)), read(1), EARLY_NANOS_MAX);
        assert_eq!(early.order.len(), 1, "what was used or is old is gone");
        assert_eq!(early.take_forgotten(), 0);
    }

    #[test]
    fn the_oldest_is_pushed_out_and_counted() {
        let mut early = EarlyCharges::default();
        for cookie in 0..=EARLY_CHARGES_MAX as u64 {
            early.wait((cookie, ends(1)), read(1), 0);
        }
        assert_eq!(early.take_forgotten(), 1);
        assert!(early.take(0, &ends(1)).is_none());
        assert!(early.take(1, &ends(1)).is_some());
    }
}
