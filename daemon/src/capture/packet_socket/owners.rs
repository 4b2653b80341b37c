//! Who owns the sockets of packets that came without a UID.
//!
//! In: at once, what opens a flow (outgoing SYN and UDP, by a small socket beside the ring); later,
//! when the ring hands it over, each outgoing packet. Out: [`OwnerFact`]s, each behind the packet
//! that it was asked for. The ring gathers for up to 20 ms and a short flow's socket is gone by
//! then, so the kernel is asked when the small socket shows the packet, and the answer waits.
//!
//! Unknown rather than wrong: an answer counts only for the packet for which it was asked, told by
//! its bytes, and only if it was asked within [`LATE_OPENING_NANOS_MAX`] of it. UDP is asked for
//! again after [`AGAIN_NANOS`] while there is time, since a five-tuple can change hands between two
//! packets, and after a packet whose sender was not found it names nobody for [`RECENT_NANOS_MAX`].
//! Two answers that differ are both told; the core then names nobody. So it does when the kernel
//! closes a UDP socket of the same five-tuple that no question had found.

use std::{hash::BuildHasher, io, os::fd::AsFd, os::fd::BorrowedFd, os::fd::OwnedFd};

use foldhash::quality::FixedState;
use rustix::{io::Errno, net::RecvFlags};

use super::{
    closings::Closings,
    filter::{ENDS_BYTES, Filter},
    ring,
};
use crate::{
    attribute::sock_diag::{SockDiag, Socket},
    capture::{
        live::lookup::{self, Ends},
        nflog::socket::size_receive_buffer,
    },
    input::{FactBasis, OwnerDoubt, OwnerFact, SocketProto},
    platform::clock::Clock,
    time::Timestamp,
};

/// Five-tuples that are remembered, in sets of [`WAYS`]. One that pushes another out, the one of its
/// set that was asked for longest ago, costs a second, late question.
const RECENT_MAX: usize = 8192;
/// Places of a set.
const WAYS: usize = 4;
/// How long an answer is believed for packets of TCP that open nothing, and a miss is remembered.
const RECENT_NANOS_MAX: i64 = 30_000_000_000;
/// An answer for a packet that may open a flow is believed only if it was asked for this soon.
const LATE_OPENING_NANOS_MAX: i64 = 5_000_000;
/// The same for a packet of an established connection: none takes its place without a SYN.
const LATE_NANOS_MAX: i64 = 100_000_000;
/// Answers of a five-tuple that wait for their packets; a further one replaces the last.
const WAITING_MAX: usize = 3;
/// A UDP five-tuple with an owner is asked for again after this long.
const AGAIN_NANOS: i64 = 1_000_000;
/// Part of the time that questions may take: an eighth.
const TIME_SHARE: i64 = 8;
/// Time that is saved up at most. Questions about five-tuples that are known already are asked only
/// while more than half of it is there.
const SAVED_NANOS_MAX: i64 = 100_000_000;
/// Receive buffer of the small socket. When it is full, questions come late: nothing else is lost.
const OPENINGS_BUFFER_BYTES: usize = 64 * 1024;
/// Closed sockets that are read before anything else has its turn.
const CLOSINGS_PER_TURN_MAX: usize = 1024;
/// Any number: the table's layout never shows in what comes out.
const HASH_SEED: u64 = 0x5a4b;

/// What the kernel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    /// The packet's fingerprint.
    packet: u64,
    asked: Timestamp,
    socket: Option<Socket>,
}

/// A five-tuple and what is known of it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    ends: Ends,
    /// When it was asked for last.
    asked: Timestamp,
    /// Answers that wait for their packets, the oldest first.
    waiting: [Option<Answer>; WAITING_MAX],
    /// The socket that was told last, and when.
    told: Option<(Socket, Timestamp)>,
    /// When a packet's sender was not found.
    missed: Option<Timestamp>,
    /// Sockets that were found.
    found: u32,
    /// Sockets that the kernel closed.
    closed: u32,
}

impl Seen {
    const fn new(ends: Ends) -> Self {
        Self {
            ends,
            asked: Timestamp::from_nanos(i64::MIN),
            waiting: [None; WAITING_MAX],
            told: None,
            missed: None,
            found: 0,
            closed: 0,
        }
    }

    /// Whether more sockets closed than were found or will be, once their packets are here.
    fn has_stranger(&self) -> bool {
        let waiting = self.waiting.iter().flatten().count();
        let known = usize::try_from(self.found)
            .unwrap_or(usize::MAX)
            .saturating_add(waiting);
        usize::try_from(self.closed).is_ok_and(|closed| closed > known)
    }

    fn is_of(&self, ends: &Ends) -> bool {
        (self.ends.proto, self.ends.src, self.ends.dst) == (ends.proto, ends.src, ends.dst)
    }

    fn keep(&mut self, answer: Answer) {
        self.asked = answer.asked;
        let free = self.waiting.iter_mut().find(|waiting| waiting.is_none());
        match free {
            Some(free) => *free = Some(answer),
            None => self.waiting[WAITING_MAX - 1] = Some(answer),
        }
    }

    /// The answer that was asked for this packet; those asked for earlier ones are dropped.
    fn answer_for(&mut self, packet: u64, at: Timestamp) -> Option<Answer> {
        let is_for = |answer: &Answer| answer.packet == packet && answer.asked >= at;
        let place = self
            .waiting
            .iter()
            .position(|waiting| waiting.as_ref().is_some_and(is_for))?;
        self.waiting.rotate_left(place);
        let found = self.waiting[0].take();
        self.waiting.rotate_left(1);
        if let Some(dropped) = self.waiting.get_mut(WAITING_MAX - 1 - place..) {
            dropped.fill(None);
        }
        found
    }

    /// Whether an answer is to be told: the first, another socket than before, an old one again, or
    /// any for a packet that may begin another flow of the same five-tuple.
    fn tell(&mut self, answer: Answer, (at, late_max): (Timestamp, i64), opens: bool) -> bool {
        let late = answer.asked.nanos_since(at) > late_max;
        // Found late, it is no answer; but a second owner is one too many however late it shows.
        let other = |socket: &Socket| self.told.is_some_and(|(told, _)| told.uid != socket.uid);
        let Some(socket) = answer.socket.filter(|socket| !late || other(socket)) else {
            self.missed = Some(at);
            return false;
        };
        let doubtful = self.ends.proto == SocketProto::Udp
            && self
                .missed
                .is_some_and(|missed| at.nanos_since(missed) < RECENT_NANOS_MAX);
        // A doubtful five-tuple that was given to somebody before may still turn out disputed.
        if doubtful && self.told.is_none() {
            return false;
        }
        let same = self.told.is_some_and(|(told, when)| {
            told.inode == socket.inode
                && told.uid == socket.uid
                && at.nanos_since(when) < RECENT_NANOS_MAX
        });
        if same && !opens {
            return false;
        }
        let is_new = self.told.is_none_or(|(told, _)| told.inode != socket.inode);
        self.found = self.found.saturating_add(u32::from(is_new));
        self.told = Some((socket, at));
        true
    }
}

/// Time that questions may take.
#[derive(Debug)]
struct Budget {
    saved: i64,
    at: i64,
}

impl Budget {
    const fn new(now: i64) -> Self {
        Self {
            saved: SAVED_NANOS_MAX,
            at: now,
        }
    }

    /// Whether there is time for a question; one that is only asked to be sure needs more of it.
    fn allows(&mut self, now: i64, only_to_be_sure: bool) -> bool {
        let earned = now.saturating_sub(self.at).max(0) / TIME_SHARE;
        self.saved = self.saved.saturating_add(earned).min(SAVED_NANOS_MAX);
        self.at = now;
        let needed = if only_to_be_sure {
            SAVED_NANOS_MAX / 2
        } else {
            0
        };
        self.saved > needed
    }

    /// A question took until `now`.
    fn spend(&mut self, now: i64) {
        self.saved = self.saved.saturating_sub(now.saturating_sub(self.at));
        self.at = now;
    }
}

/// Asks, remembers, and tells.
pub(crate) struct PacketOwners {
    diag: SockDiag,
    openings: OwnedFd,
    /// None where the kernel does not tell.
    closings: Option<Closings>,
    hasher: FixedState,
    seen: Box<[Option<Seen>]>,
    budget: Budget,
    errors: u64,
    unasked: u64,
}

impl PacketOwners {
    pub(crate) fn open(diag: SockDiag, clock: &dyn Clock) -> io::Result<Self> {
        let openings = ring::cooked_socket(&Filter::openings()?)?;
        // What is granted does not matter: a full buffer only makes questions late.
        let _ = size_receive_buffer(&openings, OPENINGS_BUFFER_BYTES);
        ring::bind_to_all(&openings)?;
        Ok(Self {
            diag,
            openings,
            closings: Closings::open().ok(),
            hasher: FixedState::with_seed(HASH_SEED),
            seen: vec![None; RECENT_MAX].into_boxed_slice(),
            budget: Budget::new(clock.monotonic_nanos()),
            errors: 0,
            unasked: 0,
        })
    }

    /// Questions that failed for another reason than that there is no such socket.
    pub(crate) const fn errors(&self) -> u64 {
        self.errors
    }

    /// Whether the kernel tells which sockets close; and how often it had more to tell than was read.
    pub(crate) fn closings_missed(&self) -> Option<u64> {
        self.closings.as_ref().map(Closings::overruns)
    }

    /// New five-tuples that were not asked for, because it was too late or there was no time.
    pub(crate) const fn unasked(&self) -> u64 {
        self.unasked
    }

    /// Reads up to `max` opening packets and asks for their owners. Says how many there were.
    pub(crate) fn ask_for_openings(&mut self, max: usize, clock: &dyn Clock) -> usize {
        let mut packet = [0; ENDS_BYTES as usize];
        for read in 0..max {
            let received = rustix::net::recv(&self.openings, &mut packet[..], RecvFlags::DONTWAIT);
            match received {
                Ok((_, len)) => {
                    let packet = packet.get(..len).unwrap_or_default();
                    if let Some(ends) = lookup::ends(packet) {
                        self.opening(&ends, packet, clock);
                    }
                }
                Err(Errno::INTR) => {}
                // Nothing waits; should the socket have failed, the ring's packets ask, late.
                Err(_) => return read,
            }
        }
        max
    }

    fn opening(&mut self, ends: &Ends, packet: &[u8], clock: &dyn Clock) {
        let Some(seen) = self.slot(ends) else {
            return;
        };
        let only_to_be_sure = seen.told.is_some() && !ends.opens;
        if only_to_be_sure && clock.now().nanos_since(seen.asked) < AGAIN_NANOS {
            return;
        }
        let packet = self.fingerprint(packet);
        if let Some(answer) = self.ask(ends, packet, only_to_be_sure, clock)
            && let Some(seen) = self.slot(ends)
        {
            seen.keep(answer);
        }
    }

    /// What is to be told behind an outgoing packet of the ring.
    pub(crate) fn fact(
        &mut self,
        ends: &Ends,
        (at, data): (Timestamp, &[u8]),
        clock: &dyn Clock,
    ) -> Option<OwnerFact> {
        let established = ends.proto == SocketProto::Tcp && !ends.opens;
        let expects = self.slot(ends)?.waiting[0].is_some();
        let waiting = if established || !expects {
            None
        } else {
            let packet = self.fingerprint(data);
            self.slot(ends)?.answer_for(packet, at)
        };
        let seen = self.slot(ends)?;
        // A newer connection of the same ends waits for its packets: asking now would find that.
        let newer = seen.waiting[0].is_some();
        let (asked, known) = (seen.asked, seen.told.is_some());
        let again = if established {
            RECENT_NANOS_MAX
        } else {
            AGAIN_NANOS
        };
        let late_max = if established {
            LATE_NANOS_MAX
        } else {
            LATE_OPENING_NANOS_MAX
        };
        let answer = match waiting {
            Some(answer) => answer,
            None if established && newer => return None,
            None if known && !ends.opens && at.nanos_since(asked) < again => return None,
            None if !established && asked >= at => return None,
            None => self.late_answer(ends, at, late_max, clock)?,
        };
        if !self.slot(ends)?.tell(answer, (at, late_max), ends.opens) {
            return None;
        }
        let socket = answer.socket?;
        Some(OwnerFact {
            at: answer.asked,
            proto: ends.proto,
            local: ends.src,
            remote: ends.dst,
            uid: Some(socket.uid),
            inode: socket.inode,
            basis: FactBasis::SockDiag,
            cookie: socket.cookie,
            kernel_nanos: None,
            opening: None,
        })
    }

    /// Reads which sockets closed; gives a doubt for each five-tuple of which more sockets closed
    /// than were found.
    pub(crate) fn read_closings(&mut self, clock: &dyn Clock, each: &mut dyn FnMut(OwnerDoubt)) {
        let Some(mut closings) = self.closings.take() else {
            return;
        };
        closings.read(CLOSINGS_PER_TURN_MAX, |local, remote| {
            let ends = Ends {
                proto: SocketProto::Udp,
                src: local,
                dst: remote,
                opens: false,
                question: 0,
            };
            if let Some(seen) = self.known(&ends) {
                seen.closed = seen.closed.saturating_add(1);
                if seen.has_stranger() {
                    each(OwnerDoubt {
                        at: clock.now(),
                        proto: ends.proto,
                        local,
                        remote,
                    });
                }
            }
        });
        self.closings = Some(closings);
    }

    /// What tells a packet from others of its five-tuple: what the small socket shows of it.
    fn fingerprint(&self, packet: &[u8]) -> u64 {
        let shown = packet.get(..usize::from(ENDS_BYTES)).unwrap_or(packet);
        self.hasher.hash_one(shown)
    }

    /// Asks for a packet that nobody asked for when it passed.
    fn late_answer(
        &mut self,
        ends: &Ends,
        at: Timestamp,
        late_max: i64,
        clock: &dyn Clock,
    ) -> Option<Answer> {
        let known = self.slot(ends).is_some_and(|seen| seen.told.is_some());
        let now = clock.now();
        let in_time = now.nanos_since(at) <= late_max;
        if in_time && let Some(answer) = self.ask(ends, 0, known && !ends.opens, clock) {
            if let Some(seen) = self.slot(ends) {
                seen.asked = answer.asked;
            }
            return Some(answer);
        }
        if known && !ends.opens {
            // It has a name already; this question was only to be sure.
            return None;
        }
        let seen = self.slot(ends)?;
        let first_miss = seen.missed.is_none();
        seen.asked = seen.asked.max(at);
        if first_miss {
            self.unasked += 1;
        }
        Some(Answer {
            packet: 0,
            asked: now,
            socket: None,
        })
    }

    /// The kernel's answer; none when there is no time to ask, or it could not be asked.
    fn ask(
        &mut self,
        ends: &Ends,
        packet: u64,
        only_to_be_sure: bool,
        clock: &dyn Clock,
    ) -> Option<Answer> {
        let started = clock.monotonic_nanos();
        if !self.budget.allows(started, only_to_be_sure) {
            return None;
        }
        let found = self.diag.owner(ends.proto, ends.src, ends.dst);
        self.budget.spend(clock.monotonic_nanos());
        let asked = clock.now();
        let Ok(socket) = found else {
            self.errors += 1;
            return None;
        };
        Some(Answer {
            packet,
            asked,
            socket,
        })
    }

    /// The five-tuple's place, made its own if it was another's.
    fn slot(&mut self, ends: &Ends) -> Option<&mut Seen> {
        let set = self.set(ends);
        let own = |place: &Option<Seen>| place.as_ref().is_some_and(|seen| seen.is_of(ends));
        if let Some(place) = set.iter().position(own) {
            return set.get_mut(place)?.as_mut();
        }
        let oldest = set
            .iter_mut()
            .min_by_key(|place| place.as_ref().map(|seen| seen.asked))?;
        Some(oldest.insert(Seen::new(*ends)))
    }

    /// What is known of a five-tuple, if anything is.
    fn known(&mut self, ends: &Ends) -> Option<&mut Seen> {
        self.set(ends)
            .iter_mut()
            .flatten()
            .find(|seen| seen.is_of(ends))
    }

    fn set(&mut self, ends: &Ends) -> &mut [Option<Seen>] {
        let hash = self.hasher.hash_one((ends.proto, ends.src, ends.dst));
        let sets = (RECENT_MAX / WAYS) as u64;
        let first = usize::try_from(hash % sets).unwrap_or(0) * WAYS;
        self.seen.get_mut(first..first + WAYS).unwrap_or_default()
    }
}

impl AsFd for PacketOwners {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.openings.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn seen(proto: SocketProto) -> Seen {
        let end = |port| ([192, 0, 2, 1], port).into();
        Seen::new(Ends {
            proto,
            src: end(1),
            dst: end(2),
            opens: false,
            question: 0,
        })
    }

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn answer(asked: i64, inode: u32) -> Answer {
        let socket = (inode != 0).then_some(Socket {
            uid: 10_000 + inode,
            inode,
            state: 1,
            cookie: None,
        });
        Answer {
            packet: 7,
            asked: at(asked),
            socket,
        }
    }

    #[test]
    fn answers_wait_for_the_packets_that_they_were_asked_for() {
        let mut seen = seen(SocketProto::Tcp);
        let of = |packet, asked| Answer {
            packet,
            ..answer(asked, 1)
        };
        for (packet, asked) in [(1, 11), (2, 21), (3, 31)] {
            seen.keep(of(packet, asked));
        }
        assert_eq!(seen.answer_for(4, at(10)), None);
        assert_eq!(seen.answer_for(1, at(10)), Some(of(1, 11)));
        // The packet of the second answer was lost.
        assert_eq!(seen.answer_for(3, at(30)), Some(of(3, 31)));
        assert_eq!(seen.answer_for(2, at(20)), None);
        // Asked for before the packet was sent: it was another of the same bytes.
        seen.keep(of(5, 50));
        assert_eq!(seen.answer_for(5, at(51)), None);
        for (packet, asked) in [(6, 61), (7, 71), (8, 81)] {
            seen.keep(of(packet, asked));
        }
        assert_eq!(seen.answer_for(8, at(80)), Some(of(8, 81)));
        assert_eq!(seen.waiting, [None; WAITING_MAX]);
    }

    #[test]
    fn an_answer_is_told_when_it_says_something_new() {
        let mut seen = seen(SocketProto::Udp);
        assert!(seen.tell(answer(1, 7), (at(1), LATE_OPENING_NANOS_MAX), false));
        assert!(!seen.tell(answer(2, 7), (at(2), LATE_OPENING_NANOS_MAX), false));
        assert!(seen.tell(answer(3, 8), (at(3), LATE_OPENING_NANOS_MAX), false));
        assert!(seen.tell(answer(4, 8), (at(4), LATE_OPENING_NANOS_MAX), true));
        assert!(seen.tell(
            answer(5, 8),
            (at(4 + RECENT_NANOS_MAX), LATE_OPENING_NANOS_MAX),
            false
        ));
    }

    #[test]
    fn after_a_miss_a_udp_tuple_names_nobody_for_a_while() {
        let mut udp = seen(SocketProto::Udp);
        assert!(!udp.tell(answer(1, 0), (at(1), LATE_OPENING_NANOS_MAX), false));
        assert!(!udp.tell(answer(2, 7), (at(2), LATE_OPENING_NANOS_MAX), false));
        assert!(udp.tell(
            answer(3, 7),
            (at(1 + RECENT_NANOS_MAX), LATE_OPENING_NANOS_MAX),
            false
        ));
        // What was told before is contradicted all the same.
        assert!(!udp.tell(
            answer(4, 0),
            (at(2 + RECENT_NANOS_MAX), LATE_OPENING_NANOS_MAX),
            false
        ));
        assert!(udp.tell(
            answer(5, 8),
            (at(3 + RECENT_NANOS_MAX), LATE_OPENING_NANOS_MAX),
            false
        ));
        let mut tcp = seen(SocketProto::Tcp);
        assert!(!tcp.tell(answer(1, 0), (at(1), LATE_OPENING_NANOS_MAX), true));
        assert!(tcp.tell(answer(2, 7), (at(2), LATE_OPENING_NANOS_MAX), false));
    }

    #[test]
    fn more_sockets_that_closed_than_were_found_leave_a_doubt() {
        let mut seen = seen(SocketProto::Udp);
        assert!(!seen.has_stranger());
        seen.closed = 1;
        assert!(seen.has_stranger());
        assert!(seen.tell(answer(1, 7), (at(1), LATE_OPENING_NANOS_MAX), false));
        assert!(!seen.has_stranger());
        seen.closed = 2;
        assert!(seen.has_stranger());
        seen.keep(answer(2, 8));
        assert!(!seen.has_stranger());
    }

    #[test]
    fn a_late_answer_counts_only_against_the_first() {
        let mut seen = seen(SocketProto::Udp);
        let late = (at(1), LATE_OPENING_NANOS_MAX);
        let asked = 2 + LATE_OPENING_NANOS_MAX;
        assert!(!seen.tell(answer(asked, 7), late, false));
        seen.missed = None;
        assert!(seen.tell(answer(2, 7), late, false));
        assert!(!seen.tell(answer(asked, 7), late, false));
        assert!(seen.tell(answer(asked, 8), late, false));
    }

    #[test]
    fn questions_take_their_share_of_the_time_and_new_ones_come_first() {
        let mut budget = Budget::new(0);
        assert!(budget.allows(0, true));
        budget.spend(SAVED_NANOS_MAX * 3 / 4);
        assert!(!budget.allows(SAVED_NANOS_MAX * 3 / 4, true));
        assert!(budget.allows(SAVED_NANOS_MAX * 3 / 4, false));
        budget.spend(SAVED_NANOS_MAX * 2);
        assert!(!budget.allows(SAVED_NANOS_MAX * 2, false));
        assert!(budget.allows(10 * SECOND, true));
    }
}
