//! The `interfaces` thread: follows the network interfaces, and reads their counters.
//!
//! In: a [`RouteSocket`], who holds the tunnels, a clock. Out: events for what came, went or
//! changed, a sample of the kernel's own counters every minute, and a gap where changes were lost.
//! It sleeps until the kernel says something or a sample is due, and sends nothing to the network.

mod table;

use std::{
    os::fd::OwnedFd,
    sync::{Arc, mpsc::Sender},
    thread::JoinHandle,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};

use self::table::{HolderLookup, Table};
use super::{LiveError, receive::Command, spawn};
use crate::{
    capture::{
        degradation::{Degradation, Weakness},
        rtnetlink::{Dump, Heard, RouteError, RouteMessage, RouteSocket, changes},
    },
    input::{Event, Gap, GapCause, InterfaceCount, InterfaceCounters},
    platform::{clock::Clock, tunnel},
    time::Timestamp,
};

/// Name of the thread.
const THREAD: &str = "interfaces";
/// How often the counters are read, in nanoseconds.
const SAMPLE_EVERY_NANOS: i64 = 60_000_000_000;
/// How long after a tunnel was made its holder is looked up again: the system makes it, and hands
/// it to the VPN's app.
const HANDED_OVER_NANOS: i64 = 2_000_000_000;
/// Datagrams read before what follows from them is told.
const DATAGRAMS_PER_TURN_MAX: usize = 64;
/// How gaps name what is followed here.
const PLACE: &str = "interfaces";

/// The running thread; end it with [`InterfaceWatch::stop`].
pub(crate) struct InterfaceWatch {
    stop: OwnedFd,
    thread: JoinHandle<()>,
}

impl InterfaceWatch {
    /// Looks at the interfaces as they are, then follows them. The first events must stand in the
    /// stream before the first packet.
    pub(crate) fn start(
        commands: Sender<Command>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Vec<Event>), LiveError> {
        let opened = |source| {
            LiveError::Interfaces(RouteError::Io {
                step: "make a signal",
                source,
            })
        };
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| opened(errno.into()))?;
        let stopped = stop.try_clone().map_err(opened)?;
        let mut follower = Follower::open(Arc::clone(clock))?;
        let first = follower.begin()?;
        let thread = spawn(THREAD, move || follower.run(&stopped, &commands))?;
        Ok((Self { stop, thread }, first))
    }

    /// Takes a last sample and ends the thread.
    pub(crate) fn stop(self) {
        // A signal that cannot be given, or a thread that has ended, leaves nothing to be done:
        // what it watched is told as a gap where it ended.
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Starts the watch; where it cannot be, the rest goes on without it and says so.
pub(super) fn start_or_degrade(
    commands: &Sender<Command>,
    clock: &Arc<dyn Clock>,
    degradations: &mut Vec<Degradation>,
) -> (Option<InterfaceWatch>, Vec<Event>) {
    match InterfaceWatch::start(commands.clone(), clock) {
        Ok((watch, first)) => (Some(watch), first),
        Err(error) => {
            degradations.push(Degradation::new(
                Weakness::NoInterfaces,
                format!(
                    "{error}; by which way a packet left (Wi-Fi, modem, VPN) is not told in this \
                     session: start as root"
                ),
            ));
            (None, Vec::new())
        }
    }
}

/// The thread's state.
struct Follower {
    socket: RouteSocket,
    table: Table,
    clock: Arc<dyn Clock>,
    buffer: Vec<u8>,
    sampled: i64,
    /// When the holders of tunnels are to be looked up, in monotonic time.
    holders_due: Option<i64>,
}

impl Follower {
    fn open(clock: Arc<dyn Clock>) -> Result<Self, RouteError> {
        Ok(Self {
            socket: RouteSocket::open()?,
            table: Table::default(),
            sampled: clock.monotonic_nanos(),
            clock,
            buffer: RouteSocket::buffer(),
            holders_due: None,
        })
    }

    /// What is there now, and the first sample.
    fn begin(&mut self) -> Result<Vec<Event>, RouteError> {
        let at = self.clock.now();
        let unread = self.ask_for_all()?;
        self.look_up_holders();
        let mut events = self.table.changes(at, true);
        events.extend(self.unread(unread, at));
        events.push(self.sample(at));
        Ok(events)
    }

    /// Runs until told to stop, or until nobody takes the events any more.
    fn run(mut self, stop: &OwnedFd, commands: &Sender<Command>) {
        loop {
            let turn = self
                .wait(stop)
                .and_then(|stopping| Ok((self.turn(stopping)?, stopping)));
            let (events, ends) = match turn {
                Ok(turn) => turn,
                Err(error) => {
                    let detail = format!("{error}; interfaces are followed no longer: start anew");
                    (vec![Event::Gap(self.gap(None, detail))], true)
                }
            };
            let told = events
                .into_iter()
                .all(|event| commands.send(Command::Event(event)).is_ok());
            if ends || !told {
                return;
            }
        }
    }

    /// Sleeps until something is to be done; says whether that is to stop.
    fn wait(&self, stop: &OwnedFd) -> Result<bool, RouteError> {
        let now = self.clock.monotonic_nanos();
        let due = self
            .holders_due
            .unwrap_or(i64::MAX)
            .min(self.sampled.saturating_add(SAMPLE_EVERY_NANOS));
        let nanos = due.saturating_sub(now).max(0);
        let timeout = Timespec {
            tv_sec: nanos / 1_000_000_000,
            tv_nsec: nanos % 1_000_000_000,
        };
        let mut waiting = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(RouteError::Io {
                    step: "wait",
                    source: errno.into(),
                });
            }
        }
        Ok(waiting
            .last()
            .is_some_and(|stop| stop.revents().contains(PollFlags::IN)))
    }

    /// Reads what waits and does what is due.
    fn turn(&mut self, stopping: bool) -> Result<Vec<Event>, RouteError> {
        let at = self.clock.now();
        let mut events = self.read_changes(at)?;
        let now = self.clock.monotonic_nanos();
        let sample = stopping || now.saturating_sub(self.sampled) >= SAMPLE_EVERY_NANOS;
        if sample || self.holders_due.is_some_and(|due| now >= due) {
            self.holders_due = None;
            self.look_up_holders();
            events.extend(self.table.changes(at, false));
        }
        if sample {
            self.sampled = now;
            events.push(self.sample(at));
        }
        Ok(events)
    }

    fn read_changes(&mut self, at: Timestamp) -> Result<Vec<Event>, RouteError> {
        let mut events = Vec::new();
        let (mut heard, mut unread) = (false, 0);
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            match self.socket.hear(&mut self.buffer)? {
                Heard::Nothing => break,
                Heard::Overrun => {
                    unread += self.ask_for_all()?;
                    events.push(Event::Gap(self.gap(
                        Some(at),
                        "changes of interfaces came faster than they were read; what is there now \
                         was asked for anew, what came and went meanwhile is not known"
                            .to_owned(),
                    )));
                }
                Heard::Datagram(len) => {
                    for change in changes(self.buffer.get(..len).unwrap_or_default()) {
                        match change {
                            Ok(change) => self.table.take(change),
                            Err(_) => unread += 1,
                        }
                        events.extend(self.table.changes(at, false));
                    }
                }
            }
            heard = true;
        }
        if heard {
            // The kernel drops routes with their interface and does not always say so.
            unread += self.ask_for_routes()?;
            if self.table.has_new_tunnel() {
                self.look_up_holders();
                let due = self
                    .clock
                    .monotonic_nanos()
                    .saturating_add(HANDED_OVER_NANOS);
                self.holders_due = Some(due);
            }
            events.extend(self.table.changes(at, false));
        }
        events.extend(self.unread(unread, at));
        Ok(events)
    }

    fn ask_for_all(&mut self) -> Result<u64, RouteError> {
        let mut all = Vec::new();
        let mut unread = self.socket.dump(Dump::Links, |message| all.push(message))?;
        unread += self
            .socket
            .dump(Dump::Addresses, |message| all.push(message))?;
        self.table.begin_anew();
        for message in all {
            self.table.take(message);
        }
        Ok(unread + self.ask_for_routes()?)
    }

    fn ask_for_routes(&mut self) -> Result<u64, RouteError> {
        let mut routes = Vec::new();
        let unread = self.socket.dump(Dump::Routes, |message| {
            if let RouteMessage::DefaultRoute { links, ipv6, .. } = message {
                routes.push((links, ipv6));
            }
        })?;
        self.table.set_default_routes(&routes);
        Ok(unread)
    }

    /// Looks up who holds the tunnels, if there are any: it costs a walk through all processes.
    fn look_up_holders(&mut self) {
        if self.table.wants_holders() {
            let found = tunnel::holders().map_or(HolderLookup::Failed, HolderLookup::Found);
            self.table.set_holders(&found);
        }
    }

    /// The counters of all interfaces; a gap when they could not be read.
    fn sample(&mut self, at: Timestamp) -> Event {
        let mut interfaces = Vec::new();
        let asked = self.socket.dump(Dump::Links, |message| {
            if let RouteMessage::Link(link) = message
                && let Some(count) = link.count
            {
                interfaces.push(InterfaceCount {
                    index: link.index,
                    name: link.name,
                    rx_packets: count.rx_packets,
                    rx_bytes: count.rx_bytes,
                    tx_packets: count.tx_packets,
                    tx_bytes: count.tx_bytes,
                });
            }
        });
        if let Err(error) = asked {
            return Event::Gap(self.gap(Some(at), error.to_string()));
        }
        interfaces.sort_by_key(|count| count.index);
        Event::Counters(InterfaceCounters { at, interfaces })
    }

    fn unread(&self, unread: u64, at: Timestamp) -> Option<Event> {
        (unread > 0).then(|| {
            Event::Gap(self.gap(
                Some(at),
                format!("{unread} of the kernel's messages about interfaces could not be read"),
            ))
        })
    }

    /// No packet is lost by it, but by which way some left may not be known.
    fn gap(&self, to: Option<Timestamp>, detail: String) -> Gap {
        let at = self.clock.now();
        Gap {
            at,
            cause: GapCause::Degraded,
            from: to.or(Some(at)),
            to,
            packets: Some(0),
            place: PLACE.to_owned(),
            detail,
        }
    }
}
