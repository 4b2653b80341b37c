//! Capture by a packet socket, where NFLOG cannot be used.
//!
//! In: every interface at once, those that come later too; loopback left out. Out: what
//! [`filter`] takes, each packet with the kernel's own time and direction, owner facts from lookups,
//! and a gap for each packet that the kernel had no room for, to the last one. Weaker than NFLOG,
//! and said so: no UID comes with a packet, and a packet is seen where it passes an interface, not
//! where it is sent. Nothing is sent and no interface is made promiscuous.

pub mod block;
pub(crate) mod closings;
pub mod filter;
pub(crate) mod owners;
pub(crate) mod replies;
pub mod ring;

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    block::{Frame, frames},
    filter::Filter,
    owners::PacketOwners,
    replies::Replies,
    ring::Ring,
};
use super::{
    degradation::{Degradation, Weakness},
    live::{
        clock_step::ClockWatch,
        lookup::{self, Ends},
        outbox::Outbox,
        receive::{Command, LoopTotals},
    },
};
use crate::{
    attribute::sock_diag::SockDiag,
    input::{Event, Gap, GapCause, LinkType, Packet, SocketProto, TimeBasis, Vantage},
    platform::{clock::Clock, machine},
    time::Timestamp,
};

/// Bytes of the ring: some 40,000 short packets. It is memory of the kernel that counts as ours.
pub const RING_BYTES: usize = 8 * 1024 * 1024;
/// Blocks that are read before anything else has its turn.
const BLOCKS_PER_TURN_MAX: usize = 16;
/// Opening packets that are read before anything else has its turn.
const OPENINGS_PER_TURN_MAX: usize = 64;
/// After a full turn the openings rest for this long, so that a flood of datagrams costs a bounded
/// part of the time; questions about what found no room meanwhile come late.
const OPENINGS_REST_NANOS: i64 = 2_000_000;
/// How long the thread sleeps at most.
const IDLE_NANOS: i64 = 100_000_000;
/// How long it sleeps while a batch is due.
const BUSY_NANOS: i64 = 5_000_000;
/// The ring is drained when no block came for three times as long as the kernel keeps one.
const QUIET_NANOS: i64 = 3 * ring::RETIRE_MILLIS as i64 * 1_000_000;
/// Draining ends after this long, come what may.
const SETTLE_NANOS_MAX: i64 = 10_000_000_000;
/// Niceness of the thread: it asks for owners as soon as a packet shows.
const NICE: i32 = -15;
/// How gaps name the ring.
const PLACE: &str = "packet ring";

/// What is lost where packet sockets are used instead of NFLOG.
pub const PACKET_SOCKETS_LOSE: &str = "packets carry no UID, so that owners are looked up at once \
     as a best effort and some stay unknown; a packet is seen at each interface that it passes, not \
     where it is sent; of what servers send on a TCP connection only the beginning and the end";

/// Why packet sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PacketSocketError {
    /// We may not.
    #[error("packet sockets need root (CAP_NET_RAW); start it as root")]
    NotPermitted,
    /// The kernel gives no ring.
    #[error(
        "a packet socket with a ring of {bytes} bytes cannot be opened: {source}; a kernel with \
         CONFIG_PACKET and TPACKET_V3 is needed, and memory for the ring"
    )]
    Ring {
        /// Size of the ring.
        bytes: usize,
        /// The system's answer.
        source: io::Error,
    },
}

/// The capture thread's state.
pub(crate) struct PacketCapture {
    ring: Ring,
    reader: Reader,
    commands: Receiver<Command>,
    clock_watch: ClockWatch,
    openings_rest_until: i64,
}

/// What takes packets from the ring.
struct Reader {
    outbox: Outbox,
    owners: Option<PacketOwners>,
    replies: Replies,
    clock: Arc<dyn Clock>,
    totals: LoopTotals,
    account: Account,
}

/// What the kernel counted and what became of it.
#[derive(Debug, Default)]
struct Account {
    /// Packets that passed the filter, by the kernel's count.
    counted: u64,
    /// Packets that were handed over: taken, left out here, or in a block that can't be read.
    accounted: u64,
    /// When the kernel was last asked.
    asked: Option<Timestamp>,
    /// Whether the last question failed, so that a lasting failure is told once.
    blind: bool,
}

impl PacketCapture {
    pub(crate) fn open(
        ring_bytes: usize,
        outbox: Outbox,
        commands: Receiver<Command>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Vec<Degradation>), PacketSocketError> {
        if !machine::may_open_raw_sockets() {
            return Err(PacketSocketError::NotPermitted);
        }
        let mut degradations = weaknesses();
        // Before the ring, so that the first packet's owner is asked for.
        let owners = open_owners(&**clock, &mut degradations);
        if owners
            .as_ref()
            .is_some_and(|owners| owners.closings_missed().is_none())
        {
            degradations.push(Degradation::new(
                Weakness::NoSocketLookup,
                "the kernel does not tell which sockets close, so a UDP five-tuple that changed \
                 hands within moments may be booked to its first owner",
            ));
        }
        let ring = Filter::ring()
            .and_then(|filter| Ring::open(&filter, ring_bytes))
            .map_err(|source| PacketSocketError::Ring {
                bytes: ring_bytes,
                source,
            })?;
        let capture = Self {
            ring,
            reader: Reader {
                outbox,
                owners,
                replies: Replies::new(),
                totals: LoopTotals::default(),
                account: Account {
                    asked: Some(clock.now()),
                    ..Account::default()
                },
                clock: Arc::clone(clock),
            },
            commands,
            clock_watch: ClockWatch::new(&**clock),
            openings_rest_until: 0,
        };
        Ok((capture, degradations))
    }

    /// Runs until the command channel is closed; then takes what is still under way.
    pub(crate) fn run(mut self) -> LoopTotals {
        // What comes late finds no socket. Refused, only more owners are unknown.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        loop {
            self.wait();
            self.turn();
            if let Some(gap) = self.clock_watch.look(&*self.reader.clock) {
                self.reader.push_event(Event::Gap(gap));
            }
            if let Some(slept) = self.clock_watch.take_suspension() {
                self.reader.push_event(Event::Suspension(slept));
            }
            let open = self.obey();
            self.reader.outbox.flush_if_due(&*self.reader.clock);
            if !open {
                break;
            }
        }
        self.drain();
        self.reader.finish()
    }

    /// Sleeps until a packet comes or something is due.
    fn wait(&self) {
        let clock = &*self.reader.clock;
        let resting = self.openings_rest_until - clock.monotonic_nanos();
        let nanos = match self.reader.outbox.nanos_left(clock) {
            _ if resting > 0 => resting.min(OPENINGS_REST_NANOS),
            Some(left) => left.max(BUSY_NANOS),
            None => IDLE_NANOS,
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: nanos,
        };
        let ring = PollFd::from_borrowed_fd(self.ring.as_fd(), PollFlags::IN);
        let openings = self.reader.owners.as_ref().filter(|_| resting <= 0);
        // An interrupted or failed poll only means an early look.
        let _ = match openings {
            Some(owners) => {
                let openings = PollFd::from_borrowed_fd(owners.as_fd(), PollFlags::IN);
                poll(&mut [ring, openings], Some(&timeout))
            }
            None => poll(&mut [ring], Some(&timeout)),
        };
    }

    /// Takes what waits, up to a turn's worth: openings before each block, since their questions
    /// cannot wait. Says whether there was a block.
    fn turn(&mut self) -> bool {
        let mut any = false;
        for _ in 0..BLOCKS_PER_TURN_MAX {
            self.ask_for_openings();
            let Some(block) = self.ring.next_block() else {
                break;
            };
            self.reader.take_block(block.body());
            any = true;
        }
        self.reader.read_closings();
        self.reader.count_losses(&self.ring);
        any
    }

    fn ask_for_openings(&mut self) {
        let reader = &mut self.reader;
        let now = reader.clock.monotonic_nanos();
        if now < self.openings_rest_until {
            return;
        }
        if let Some(owners) = &mut reader.owners
            && owners.ask_for_openings(OPENINGS_PER_TURN_MAX, &*reader.clock)
                == OPENINGS_PER_TURN_MAX
        {
            self.openings_rest_until = reader.clock.monotonic_nanos() + OPENINGS_REST_NANOS;
        }
    }

    /// Lets nothing more in, takes what lies in the ring, and tells what is missing.
    fn drain(&mut self) {
        let clock = Arc::clone(&self.reader.clock);
        let closed = self.ring.close_intake();
        let start = clock.monotonic_nanos();
        let mut last = start;
        loop {
            let now = clock.monotonic_nanos();
            if now - last >= QUIET_NANOS || now - start >= SETTLE_NANOS_MAX {
                break;
            }
            self.wait();
            if self.turn() {
                last = clock.monotonic_nanos();
            }
        }
        if closed.is_ok() {
            self.reader.tell_tail();
        }
    }

    /// Does what was asked. False when nobody can ask any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Event(event)) => self.reader.push_event(event),
                // There are no groups to settle; dropping the reply says so.
                Ok(Command::Settle(_)) => {}
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}

impl Reader {
    fn push_event(&mut self, event: Event) {
        self.outbox.push_event(event, &*self.clock);
    }

    fn take_block(&mut self, body: &[u8]) {
        for read in frames(body) {
            match read {
                Ok(frame) => {
                    self.account.accounted += 1;
                    self.take(&frame);
                }
                Err(error) => {
                    let packets = u64::from(error.expected.saturating_sub(error.read));
                    self.account.accounted += packets;
                    self.totals.malformed += packets;
                    self.tell_loss(packets, error.to_string());
                }
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        let ends = lookup::ends(frame.data);
        if !frame.outgoing && !self.is_wanted(ends.as_ref(), frame.at) {
            return;
        }
        self.totals.received += 1;
        let copied = u32::try_from(frame.data.len()).unwrap_or(u32::MAX);
        let packet = Packet {
            at: frame.at,
            time_basis: TimeBasis::Kernel,
            link: LinkType::RawIp,
            vantage: if frame.outgoing {
                Vantage::Output
            } else {
                Vantage::Input
            },
            uid: None,
            interface: Some(frame.interface),
            // The IP header's own length where it says one: what lies behind it is padding.
            original_len: lookup::ip_len(frame.data)
                .map_or(frame.original_len, |len| len.max(copied)),
            source: 0,
            frame: self.totals.received,
            data: frame.data,
        };
        self.outbox.push_packet(&packet, &*self.clock);
        if frame.outgoing
            && let Some(ends) = ends
            && let Some(owners) = &mut self.owners
            && let Some(fact) = owners.fact(&ends, (frame.at, frame.data), &*self.clock)
        {
            self.push_event(Event::OwnerFact(fact));
        }
    }

    /// Whether a packet that we received is kept: of UDP that neither names nor proves, a flow's
    /// first ones are.
    fn is_wanted(&mut self, ends: Option<&Ends>, at: Timestamp) -> bool {
        match ends {
            Some(ends)
                if ends.proto == SocketProto::Udp && !filter::takes_all_from(ends.src.port()) =>
            {
                self.replies.is_first(ends, at)
            }
            _ => true,
        }
    }

    /// Tells which five-tuples had a second socket that nobody was asked about.
    fn read_closings(&mut self) {
        let Self {
            outbox,
            owners,
            clock,
            ..
        } = self;
        if let Some(owners) = owners {
            owners.read_closings(&**clock, &mut |doubt| {
                outbox.push_event(Event::OwnerDoubt(doubt), &**clock);
            });
        }
    }

    /// Asks the kernel what it had no room for.
    fn count_losses(&mut self, ring: &Ring) {
        match ring.statistics() {
            Ok(counted) => {
                self.account.blind = false;
                self.account.counted += u64::from(counted.packets);
                if counted.drops > 0 {
                    self.account.accounted += u64::from(counted.drops);
                    self.tell_loss(
                        counted.drops.into(),
                        "the ring was full; the kernel counted what found no room".into(),
                    );
                }
                self.account.asked = Some(self.clock.now());
            }
            Err(error) if !self.account.blind => {
                self.account.blind = true;
                let detail = format!(
                    "the kernel does not say what it lost: {error}; losses from here on are not \
                     counted: start anew"
                );
                self.push_event(Event::Gap(self.gap(GapCause::Degraded, None, detail)));
            }
            Err(_) => {}
        }
    }

    /// What was counted but neither handed over nor counted as lost is missing at the end.
    fn tell_tail(&mut self) {
        let tail = self.account.counted.saturating_sub(self.account.accounted);
        if tail > 0 {
            self.tell_loss(
                tail,
                "the kernel counted more packets than it handed over: the last ones were lost"
                    .into(),
            );
        }
    }

    fn tell_loss(&mut self, packets: u64, detail: String) {
        self.totals.lost += packets;
        let gap = self.gap(GapCause::KernelLoss, Some(packets), detail);
        self.push_event(Event::Gap(gap));
    }

    fn gap(&self, cause: GapCause, packets: Option<u64>, detail: String) -> Gap {
        let at = self.clock.now();
        Gap {
            at,
            cause,
            from: self.account.asked,
            to: Some(at),
            packets,
            place: PLACE.into(),
            detail,
        }
    }

    fn finish(mut self) -> LoopTotals {
        if let Some(owners) = &self.owners {
            self.totals.lookup_errors = owners.errors();
            let unasked = (owners.unasked() > 0).then(|| {
                format!(
                    "the owners of {} new sockets were not asked for in time; they are unknown",
                    owners.unasked()
                )
            });
            let unread = owners
                .closings_missed()
                .filter(|missed| *missed > 0)
                .map(|_| {
                    "the kernel closed more sockets than were read of, so a UDP five-tuple that \
                 changed hands within moments may be booked to its first owner"
                        .to_owned()
                });
            for detail in [unasked, unread].into_iter().flatten() {
                let gap = Gap {
                    place: "socket lookup".into(),
                    ..self.gap(GapCause::Degraded, Some(0), detail)
                };
                self.push_event(Event::Gap(gap));
            }
        }
        self.totals.queue_dropped = self.outbox.finish(&*self.clock);
        self.totals
    }
}

fn open_owners(clock: &dyn Clock, degradations: &mut Vec<Degradation>) -> Option<PacketOwners> {
    let opened = SockDiag::open()
        .map_err(|error| error.to_string())
        .and_then(|diag| PacketOwners::open(diag, clock).map_err(|error| error.to_string()));
    opened
        .map_err(|error| {
            degradations.push(Degradation::new(
                Weakness::NoSocketLookup,
                format!("{error}; every owner is unknown"),
            ));
        })
        .ok()
}

/// What is weaker than with NFLOG.
fn weaknesses() -> Vec<Degradation> {
    let mut found = vec![Degradation::new(
        Weakness::PacketSocket,
        format!("packets come from packet sockets, and this is lost: {PACKET_SOCKETS_LOSE}"),
    )];
    if machine::forwards_packets() {
        found.push(Degradation::new(
            Weakness::ForwardedSeen,
            "this machine forwards packets (tethering): what it forwards is seen as sent by it, \
             without an owner",
        ));
    }
    found
}
