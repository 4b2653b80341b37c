//! The capture thread: reads two NFLOG groups, stamps what it reads, and hands it on.
//!
//! In: datagrams of the groups and ends of sockets; commands of the `rules` thread. Out: packets,
//! owner facts, closed sockets and gaps in an [`Outbox`]. It never waits for anything but packets.

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    CaptureWay, LiveTotals,
    charges::{ChargeWatch, Moment},
    clock_step::ClockWatch,
    closes::CloseWatch,
    lateness::Lateness,
    ledger::{Hole, Ledger, Standing},
    lookup::{self, OwnerLookup},
    outbox::Outbox,
    process::ProcessAsker,
};
use crate::{
    capture::exactness::Inbox,
    capture::nflog::{
        message::{Hook, Message, NflogPacket, messages},
        socket::{DATAGRAM_BYTES_MAX, GroupSocket, Received, SocketError},
    },
    input::{Event, Gap, GapCause, LinkType, Packet, TimeBasis, Vantage},
    platform::clock::Clock,
    time::Timestamp,
};

/// Name of the thread.
pub(crate) const THREAD: &str = "capture";
/// Datagrams read from one group before the others have their turn.
const DATAGRAMS_PER_TURN_MAX: usize = 64;
/// Index of the group of system UIDs.
const SYSTEM: usize = 0;
/// Index of the group of all other packets.
const APPS: usize = 1;
/// How long the thread sleeps when nothing comes.
const IDLE_NANOS: i64 = 100_000_000;
/// How long it sleeps while something is due soon.
const BUSY_NANOS: i64 = 5_000_000;
/// A group is drained when nothing came for three times the kernel's flush interval (20 ms).
const QUIET_NANOS: i64 = 60_000_000;
/// Draining ends after this long, come what may.
const SETTLE_NANOS_MAX: i64 = 10_000_000_000;

/// What the `rules` thread asks of the capture thread. A closed channel means: end.
pub(crate) enum Command {
    /// Say how the groups stand once nothing is under way any more.
    Settle(SyncSender<[Standing; 2]>),
    /// Put this into the stream.
    Event(Event),
}

/// Sums of the thread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoopTotals {
    pub(crate) received: u64,
    /// Lost in the kernel, where the thread itself counts that.
    pub(crate) lost: u64,
    pub(crate) queue_dropped: u64,
    pub(crate) overruns: u64,
    pub(crate) malformed: u64,
    pub(crate) lookup_errors: u64,
}

impl LoopTotals {
    pub(crate) const fn to_live(self, way: CaptureWay) -> LiveTotals {
        LiveTotals {
            way,
            groups: Vec::new(),
            received: self.received,
            lost: self.lost,
            queue_dropped: self.queue_dropped,
            repairs: 0,
            tally: None,
            overruns: self.overruns,
            malformed: self.malformed,
            lookup_errors: self.lookup_errors,
        }
    }
}

/// One group as the thread sees it.
struct Group {
    socket: GroupSocket,
    ledger: Ledger,
    lateness: Lateness,
    /// Whether owners are asked for at once.
    unbatched: bool,
    /// Set when the socket fails for good.
    broken: bool,
}

struct Settling {
    since: i64,
    reply: SyncSender<[Standing; 2]>,
}

/// The thread's state.
pub(crate) struct Capture {
    groups: [Group; 2],
    outbox: Outbox,
    owners: Option<OwnerLookup>,
    processes: ProcessAsker,
    closes: Option<CloseWatch>,
    inbox: Option<Inbox>,
    charges: Option<ChargeWatch>,
    commands: Receiver<Command>,
    clock: Arc<dyn Clock>,
    clock_watch: ClockWatch,
    settling: Option<Settling>,
    last_datagram: i64,
    totals: LoopTotals,
}

impl Capture {
    /// The groups in the order system (unbatched), apps.
    pub(crate) fn new(
        sockets: [GroupSocket; 2],
        outbox: Outbox,
        (owners, inbox, charges, processes, closes): (
            Option<OwnerLookup>,
            Option<Inbox>,
            Option<ChargeWatch>,
            ProcessAsker,
            Option<CloseWatch>,
        ),
        commands: Receiver<Command>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut unbatched = true;
        let groups = sockets.map(|socket| Group {
            socket,
            ledger: Ledger::default(),
            lateness: Lateness::new(clock.monotonic_nanos()),
            unbatched: std::mem::take(&mut unbatched),
            broken: false,
        });
        Self {
            groups,
            outbox,
            owners,
            inbox,
            charges,
            processes,
            closes,
            commands,
            clock_watch: ClockWatch::new(&*clock),
            clock,
            settling: None,
            last_datagram: 0,
            totals: LoopTotals::default(),
        }
    }

    /// Runs until the command channel is closed.
    pub(crate) fn run(mut self) -> LoopTotals {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut system_buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            self.wait();
            self.read_system(&mut system_buffer);
            self.read_apps(&mut buffer, &mut system_buffer);
            if let Some(closes) = &mut self.closes {
                let mut each = |event| self.outbox.push_event(event, &*self.clock);
                closes.turn(&*self.clock, &mut each);
            }
            if let Some(gap) = self.clock_watch.look(&*self.clock) {
                self.outbox.push_event(Event::Gap(gap), &*self.clock);
            }
            if let Some(slept) = self.clock_watch.take_suspension() {
                self.outbox
                    .push_event(Event::Suspension(slept), &*self.clock);
            }
            self.take_processes();
            self.look_for_charges();
            let open = self.obey();
            self.settle();
            self.outbox.flush_if_due(&*self.clock);
            if !open {
                break;
            }
        }
        self.take_processes();
        if let Some(gap) = self.processes.not_asked(self.clock.now()) {
            self.outbox.push_event(gap, &*self.clock);
        }
        if let Some(charges) = self.charges.take() {
            let moment = moment(&*self.clock);
            let mut each = |event| self.outbox.push_event(event, &*self.clock);
            charges.finish(moment, &mut each);
        }
        if let Some(closes) = self.closes.take() {
            let mut each = |event| self.outbox.push_event(event, &*self.clock);
            closes.finish(&*self.clock, &mut each);
        }
        self.totals.lookup_errors = self.owners.as_ref().map_or(0, OwnerLookup::errors);
        self.totals.queue_dropped = self.outbox.finish(&*self.clock);
        self.totals
    }

    /// Sleeps until a packet comes or something is due.
    fn wait(&self) {
        let nanos = match (&self.settling, self.outbox.nanos_left(&*self.clock)) {
            (Some(_), _) => BUSY_NANOS,
            (None, Some(left)) => left.max(BUSY_NANOS),
            (None, None) => IDLE_NANOS,
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: nanos,
        };
        let [system, apps] = &self.groups;
        let none = PollFd::from_borrowed_fd(system.socket.as_fd(), PollFlags::empty());
        let mut waiting = [
            PollFd::from_borrowed_fd(system.socket.as_fd(), flags(system)),
            PollFd::from_borrowed_fd(apps.socket.as_fd(), flags(apps)),
            self.closes
                .as_ref()
                .and_then(CloseWatch::poll_fd)
                .unwrap_or(none),
        ];
        // An interrupted or failed poll only means an early look.
        let _ = poll(&mut waiting, Some(&timeout));
    }

    /// Reads what waits of the system's packets, up to a turn's worth.
    fn read_system(&mut self, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            match self.receive(SYSTEM, buffer) {
                None => return,
                Some(len) => self.read_datagram(SYSTEM, buffer.get(..len).unwrap_or_default()),
            }
        }
    }

    /// Reads what waits of the apps' and the inbound packets, up to a turn's worth. Before each
    /// datagram is looked at, the system's packets are: a question of theirs was handed over before
    /// the kernel could gather its answer, and stays before it.
    fn read_apps(&mut self, buffer: &mut [u8], system_buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            let Some(len) = self.receive(APPS, buffer) else {
                return self.tell_lateness();
            };
            self.tell_lateness();
            self.read_system(system_buffer);
            self.read_datagram(APPS, buffer.get(..len).unwrap_or_default());
        }
    }

    /// Says so when the apps' group is read late, and no longer; sets marks to know by how much.
    fn tell_lateness(&mut self) {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic_nanos());
        let [_, apps] = &mut self.groups;
        if apps.lateness.wants_mark(monotonic)
            && let Some(request) = apps.socket.mark()
        {
            apps.lateness.marked(request, monotonic);
        }
        let number = apps.socket.group();
        for event in apps
            .lateness
            .look(now, monotonic, || place(number))
            .into_iter()
            .flatten()
        {
            self.outbox.push_event(event, &*self.clock);
        }
    }

    /// The length of the next datagram of a group; none when nothing waits. An overrun counts as an
    /// empty one.
    fn receive(&mut self, at: usize, buffer: &mut [u8]) -> Option<usize> {
        let group = self.groups.get_mut(at).filter(|group| !group.broken)?;
        match group.socket.receive(buffer) {
            Ok(Received::Nothing) => {
                group.lateness.drained(self.clock.monotonic_nanos());
                return None;
            }
            Ok(Received::Datagram(len)) => return Some(len),
            Ok(Received::Overrun) => {
                group.lateness.lost();
                self.totals.overruns += 1;
            }
            Ok(Received::TooLong) => self.totals.malformed += 1,
            Err(error) => {
                self.give_up_group(at, &error);
                return None;
            }
        }
        Some(0)
    }

    fn read_datagram(&mut self, at: usize, datagram: &[u8]) {
        let now = self.clock.now();
        let monotonic = self.clock.monotonic_nanos();
        self.last_datagram = monotonic;
        self.read_owners();
        for read in messages(datagram) {
            match read {
                Ok(Message::Packet(packet)) => self.take(at, &packet, now, monotonic),
                Ok(Message::Overrun) => self.totals.overruns += 1,
                Ok(Message::Answer { request, .. }) => {
                    if let Some(group) = self.groups.get_mut(at) {
                        group.lateness.answered(request);
                    }
                }
                Ok(Message::Other(_)) => {}
                Err(_) => self.totals.malformed += 1,
            }
        }
    }

    /// Puts what was read of sockets before the packets that they have sent: raw OUTPUT ran the
    /// program before filter OUTPUT logged the packet.
    fn read_owners(&mut self) {
        let Some(inbox) = &mut self.inbox else {
            return;
        };
        let clock = &*self.clock;
        let (charges, outbox) = (&mut self.charges, &mut self.outbox);
        inbox.empty(clock, &mut |event| {
            if let (Some(charges), Event::OwnerFact(fact)) = (charges.as_mut(), &event) {
                let mut each = |charge| outbox.push_event(charge, clock);
                charges.sighted(fact, moment(clock), &mut each);
            }
            outbox.push_event(event, clock);
        });
    }

    /// Looks again whom sockets are charged to, where it is time.
    fn look_for_charges(&mut self) {
        if let Some(charges) = &mut self.charges {
            let moment = moment(&*self.clock);
            let mut each = |event| self.outbox.push_event(event, &*self.clock);
            charges.turn(moment, &mut each);
        }
    }

    fn take(&mut self, at: usize, logged: &NflogPacket<'_>, now: Timestamp, monotonic: i64) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        let number = group.socket.group();
        let unbatched = group.unbatched;
        let vantage = match logged.hook {
            Some(Hook::Input) => Vantage::Input,
            _ => Vantage::Output,
        };
        if let Some(hole) = group.ledger.take(logged.seq, now) {
            self.outbox
                .push_event(hole_event(number, hole, now), &*self.clock);
        }
        self.totals.received += 1;
        let (at, time_basis) = logged
            .timestamp
            .map_or((now, TimeBasis::Receive), |time| (time, TimeBasis::Kernel));
        if vantage == Vantage::Output {
            let family = usize::from(logged.payload.first().is_some_and(|first| first >> 4 == 6));
            group.ledger.note_sent(family);
        }
        let copied = u32::try_from(logged.payload.len()).unwrap_or(u32::MAX);
        let packet = Packet {
            at,
            time_basis,
            link: LinkType::RawIp,
            vantage,
            uid: logged.uid,
            interface: match vantage {
                Vantage::Input => logged.indev,
                _ => logged.outdev,
            },
            original_len: lookup::ip_len(logged.payload).map_or(copied, |len| len.max(copied)),
            source: 0,
            frame: self.totals.received,
            data: logged.payload,
        };
        self.outbox.push_packet(&packet, &*self.clock);
        if unbatched
            && let Some(owners) = &mut self.owners
            && let Some(ends) = lookup::ends(logged.payload)
            && let Some(fact) = owners.ask(&ends, now, monotonic)
        {
            if let Some(uid) = fact.uid.filter(|uid| self.processes.wants(*uid)) {
                self.processes.ask_of(ends, uid, fact.inode);
            }
            self.outbox.push_event(Event::OwnerFact(fact), &*self.clock);
        } else if !unbatched
            && let Some(uid) = logged.uid.filter(|uid| self.processes.wants(*uid))
            && let Some(ends) = lookup::ends(logged.payload)
        {
            self.processes.ask(ends, uid, monotonic);
        }
    }

    /// Puts what was found of processes into the stream, behind the packets it is about.
    fn take_processes(&mut self) {
        while let Some(fact) = self.processes.next() {
            self.outbox.push_event(fact, &*self.clock);
        }
    }

    fn give_up_group(&mut self, at: usize, error: &SocketError) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        group.broken = true;
        let now = self.clock.now();
        let gap = Gap {
            at: now,
            cause: GapCause::Degraded,
            from: group.ledger.standing().last_at,
            to: None,
            packets: None,
            place: place(group.socket.group()),
            detail: format!("{error}; nothing more is read from this group: start anew"),
        };
        self.outbox.push_event(Event::Gap(gap), &*self.clock);
    }

    /// Does what was asked. False when nobody can ask any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Event(event)) => self.outbox.push_event(event, &*self.clock),
                Ok(Command::Settle(reply)) => {
                    self.settling = Some(Settling {
                        since: self.clock.monotonic_nanos(),
                        reply,
                    });
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Answers once the groups are drained.
    fn settle(&mut self) {
        let now = self.clock.monotonic_nanos();
        let last = self.last_datagram;
        let Some(settling) = self.settling.take_if(|settling| {
            now.saturating_sub(settling.since.max(last)) >= QUIET_NANOS
                || now.saturating_sub(settling.since) >= SETTLE_NANOS_MAX
        }) else {
            return;
        };
        let standings = self.groups.each_ref().map(|group| group.ledger.standing());
        // Who asked and went away needs no answer.
        let _ = settling.reply.try_send(standings);
    }
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment {
        now: clock.now(),
        monotonic: clock.monotonic_nanos(),
    }
}

fn flags(group: &Group) -> PollFlags {
    if group.broken {
        PollFlags::empty()
    } else {
        PollFlags::IN
    }
}

/// How gaps name a group.
pub(crate) fn place(group: u16) -> String {
    format!("nflog group {group}")
}

fn hole_event(group: u16, hole: Hole, now: Timestamp) -> Event {
    Event::Gap(Gap {
        at: now,
        cause: GapCause::KernelLoss,
        from: hole.from,
        to: Some(now),
        packets: Some(hole.packets),
        place: place(group),
        detail: "the kernel's buffer was full; its sequence numbers show the hole".into(),
    })
}
