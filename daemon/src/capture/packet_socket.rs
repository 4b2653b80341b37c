//! Capture by packet sockets, where NFLOG cannot be used.
//!
//! In: the interfaces that are up, loopback left out. Out: packets of both directions without an
//! owner, and owner facts from lookups at once for what is sent. Weaker than NFLOG, and said so:
//! no UID with the packet, no count of what the kernel dropped, a packet that passes two interfaces
//! (a VPN's and the one below it) is seen twice, and an interface that appears is seen up to
//! [`RESCAN_NANOS`] late. Nothing is sent and no interface is made promiscuous.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::fd::{AsFd, IntoRawFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use pnet::datalink::{self, Channel, ChannelType, Config, DataLinkReceiver, NetworkInterface};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketFlags, SocketType},
};

use super::{
    degradation::{Degradation, Weakness},
    live::{
        clock_step::ClockWatch,
        lookup::{self, OwnerLookup},
        outbox::Outbox,
        receive::{Command, LoopTotals},
    },
    nflog::socket::size_receive_buffer,
};
use crate::{
    input::{Event, Gap, GapCause, LinkType, Packet, TimeBasis, Vantage},
    platform::{clock::Clock, machine},
    time::Timestamp,
};

/// How often new interfaces are looked for, in nanoseconds.
pub const RESCAN_NANOS: i64 = 5_000_000_000;
/// Interfaces that are watched at most; further ones are told as not watched.
pub const INTERFACES_MAX: usize = 64;
/// Packets read from one interface before the others have their turn.
const PACKETS_PER_TURN_MAX: usize = 256;
/// Longest packet that is read whole.
const PACKET_BYTES_MAX: usize = 65_536;
/// `ETH_P_ALL`: every protocol, and what is sent as well as what is received.
const ETH_P_ALL: u16 = 3;
/// How long the thread sleeps at most.
const IDLE_NANOS: i64 = 100_000_000;
/// How long it sleeps while a batch is due.
const BUSY_NANOS: i64 = 5_000_000;

/// What is lost where packet sockets are used instead of NFLOG.
pub const PACKET_SOCKETS_LOSE: &str = "packets carry no UID, so that owners are looked up at once as a best effort and some stay \
     unknown; packets that the kernel drops are not counted; what passes two interfaces (a VPN) is \
     seen twice";

/// Why packet sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PacketSocketError {
    /// We may not.
    #[error("packet sockets need root (CAP_NET_RAW); start it as root")]
    NotPermitted,
    /// An interface cannot be watched.
    #[error("interface {interface} cannot be watched: {source}")]
    Interface {
        /// Its name.
        interface: String,
        /// The system's answer.
        source: io::Error,
    },
}

struct Watched {
    name: String,
    /// A second handle of the socket, to wait on.
    waiting: OwnedFd,
    receiver: Box<dyn DataLinkReceiver>,
}

/// The capture thread's state.
pub(crate) struct PacketCapture {
    watched: BTreeMap<u32, Watched>,
    refused: BTreeSet<u32>,
    local: BTreeSet<IpAddr>,
    receive_buffer_bytes: usize,
    outbox: Outbox,
    owners: Option<OwnerLookup>,
    commands: Receiver<Command>,
    clock: Arc<dyn Clock>,
    clock_watch: ClockWatch,
    scanned: i64,
    totals: LoopTotals,
}

impl PacketCapture {
    pub(crate) fn open(
        receive_buffer_bytes: usize,
        outbox: Outbox,
        owners: Option<OwnerLookup>,
        commands: Receiver<Command>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Vec<Degradation>), PacketSocketError> {
        if !machine::may_open_raw_sockets() {
            return Err(PacketSocketError::NotPermitted);
        }
        let mut capture = Self {
            watched: BTreeMap::new(),
            refused: BTreeSet::new(),
            local: BTreeSet::new(),
            receive_buffer_bytes,
            outbox,
            owners,
            commands,
            clock_watch: ClockWatch::new(&*clock),
            scanned: clock.monotonic_nanos(),
            clock,
            totals: LoopTotals::default(),
        };
        let mut degradations = vec![Degradation::new(
            Weakness::PacketSocket,
            format!("packets come from packet sockets, and this is lost: {PACKET_SOCKETS_LOSE}"),
        )];
        for (name, error) in capture.scan().1 {
            degradations.push(Degradation::new(
                Weakness::InterfaceNotWatched,
                format!("{error}; what passes {name} is not seen"),
            ));
        }
        Ok((capture, degradations))
    }

    /// Runs until the command channel is closed.
    pub(crate) fn run(mut self) -> LoopTotals {
        loop {
            self.wait();
            let indices: Vec<u32> = self.watched.keys().copied().collect();
            for index in indices {
                self.read_interface(index);
            }
            if let Some(gap) = self.clock_watch.look(&*self.clock) {
                self.outbox.push_event(Event::Gap(gap), &*self.clock);
            }
            if let Some(slept) = self.clock_watch.take_suspension() {
                self.outbox
                    .push_event(Event::Suspension(slept), &*self.clock);
            }
            self.rescan_if_due();
            let open = self.obey();
            self.outbox.flush_if_due(&*self.clock);
            if !open {
                break;
            }
        }
        self.totals.lookup_errors = self.owners.as_ref().map_or(0, OwnerLookup::errors);
        self.totals.queue_dropped = self.outbox.finish(&*self.clock);
        self.totals
    }

    fn wait(&self) {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: match self.outbox.nanos_left(&*self.clock) {
                Some(left) => left.max(BUSY_NANOS),
                None => IDLE_NANOS,
            },
        };
        let mut waiting: Vec<PollFd<'_>> = self
            .watched
            .values()
            .map(|watched| PollFd::from_borrowed_fd(watched.waiting.as_fd(), PollFlags::IN))
            .collect();
        // An interrupted or failed poll only means an early look.
        let _ = poll(&mut waiting, Some(&timeout));
    }

    fn read_interface(&mut self, index: u32) {
        for _ in 0..PACKETS_PER_TURN_MAX {
            let Some(watched) = self.watched.get_mut(&index) else {
                return;
            };
            match watched.receiver.next() {
                Ok(data) => {
                    self.totals.received += 1;
                    let now = self.clock.now();
                    let copied = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    let packet = Packet {
                        at: now,
                        time_basis: TimeBasis::Receive,
                        link: LinkType::RawIp,
                        vantage: Vantage::Both,
                        uid: None,
                        interface: Some(index),
                        original_len: lookup::ip_len(data).map_or(copied, |len| len.max(copied)),
                        source: 0,
                        frame: self.totals.received,
                        data,
                    };
                    self.outbox.push_packet(&packet, &*self.clock);
                    if let Some(owners) = &mut self.owners
                        && let Some(ends) = lookup::ends(data)
                        && self.local.contains(&ends.src.ip())
                        && let Some(fact) = owners.ask(&ends, now, self.clock.monotonic_nanos())
                    {
                        self.outbox.push_event(Event::OwnerFact(fact), &*self.clock);
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::TimedOut
                            | io::ErrorKind::WouldBlock
                            | io::ErrorKind::Interrupted
                    ) =>
                {
                    return;
                }
                Err(error) => return self.give_up(index, &error),
            }
        }
    }

    fn give_up(&mut self, index: u32, error: &io::Error) {
        if let Some(gone) = self.watched.remove(&index) {
            self.tell(
                &gone.name,
                format!("{error}; it is watched again when it is up"),
                None,
            );
        }
    }

    fn tell(&mut self, interface: &str, detail: String, from: Option<Timestamp>) {
        let at = self.clock.now();
        let gap = Gap {
            at,
            cause: GapCause::Degraded,
            from: from.or(Some(at)),
            to: from.map(|_| at),
            packets: None,
            place: format!("interface {interface}"),
            detail,
        };
        self.outbox.push_event(Event::Gap(gap), &*self.clock);
    }

    fn rescan_if_due(&mut self) {
        let now = self.clock.monotonic_nanos();
        let waited = now.saturating_sub(self.scanned);
        if waited < RESCAN_NANOS {
            return;
        }
        self.scanned = now;
        let since = self.clock.now().plus_nanos(-waited);
        let (added, failed) = self.scan();
        for name in added {
            self.tell(
                &name,
                "this interface appeared while we watched; its first packets are missing".into(),
                Some(since),
            );
        }
        for (name, error) in failed {
            self.tell(&name, error.to_string(), None);
        }
    }

    /// Opens a socket on every interface that is up and new: names of those that are watched now,
    /// and of those that can't be (told once).
    fn scan(&mut self) -> (Vec<String>, Vec<(String, PacketSocketError)>) {
        let (mut added, mut failed) = (Vec::new(), Vec::new());
        self.local.clear();
        for interface in datalink::interfaces() {
            self.local
                .extend(interface.ips.iter().map(pnet::ipnetwork::IpNetwork::ip));
            if interface.is_loopback()
                || !interface.is_up()
                || self.watched.contains_key(&interface.index)
                || self.refused.contains(&interface.index)
            {
                continue;
            }
            let opened = if self.watched.len() < INTERFACES_MAX {
                watch(&interface, self.receive_buffer_bytes)
            } else {
                Err(io::Error::other(format!(
                    "{INTERFACES_MAX} interfaces are watched already"
                )))
            };
            match opened {
                Ok(watched) => {
                    self.watched.insert(interface.index, watched);
                    added.push(interface.name);
                }
                Err(source) => {
                    self.refused.insert(interface.index);
                    let error = PacketSocketError::Interface {
                        interface: interface.name.clone(),
                        source,
                    };
                    failed.push((interface.name, error));
                }
            }
        }
        (added, failed)
    }

    /// Does what was asked. False when nobody can ask any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Event(event)) => self.outbox.push_event(event, &*self.clock),
                // There are no groups to settle; dropping the reply says so.
                Ok(Command::Settle(_)) => {}
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}

/// A cooked socket (`SOCK_DGRAM`): the kernel strips the link header, whatever it is.
fn watch(interface: &NetworkInterface, receive_buffer_bytes: usize) -> io::Result<Watched> {
    let socket = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    size_receive_buffer(&socket, receive_buffer_bytes)?;
    let waiting = socket.try_clone()?;
    let config = Config {
        read_buffer_size: PACKET_BYTES_MAX,
        read_timeout: Some(Duration::ZERO),
        channel_type: ChannelType::Layer3(ETH_P_ALL),
        promiscuous: false,
        // The channel owns the socket from here on and closes it.
        socket_fd: Some(socket.into_raw_fd()),
        ..Config::default()
    };
    match datalink::channel(interface, config)? {
        Channel::Ethernet(_, receiver) => Ok(Watched {
            name: interface.name.clone(),
            waiting,
            receiver,
        }),
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}
