//! Live capture: what this machine sends, as it sends it.
//!
//! In: a [`LiveConfig`] and a clock. Out: a stream of [`Batch`]es with packets, owner facts and
//! gaps, and at the end the totals. Two named threads: `capture` reads, stamps and hands on, and
//! asks for owners at once; `rules` watches our packet filter rules, mends them, and does the sums.
//! Nothing here sends a packet.
//!
//! Loss is exact: the rules' own counters minus what was received. Holes in the sequence numbers
//! say where; what no hole shows is found at the stop, when the jumps are gone, the counters read
//! and the sockets drained.

pub(crate) mod account;
pub(crate) mod charges;
pub(crate) mod clock_step;
pub(crate) mod closes;
pub(crate) mod interfaces;
pub(crate) mod lateness;
pub(crate) mod ledger;
pub(crate) mod lookup;
pub(crate) mod outbox;
pub(crate) mod process;
pub(crate) mod receive;
pub(crate) mod sums;
pub(crate) mod watch;

use std::{
    collections::BTreeSet,
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub use clock_step::CLOCK_STEP_NANOS;
pub use outbox::{BATCH_NANOS_MAX, QUEUE_BATCHES_MAX};

use self::{
    charges::ChargeWatch,
    closes::CloseWatch,
    interfaces::InterfaceWatch,
    lookup::OwnerLookup,
    outbox::Outbox,
    process::ProcessAsker,
    receive::{Capture, Command, LoopTotals},
    watch::{Request, Watch},
};
use super::{
    degradation::{Degradation, Weakness},
    exactness::{self, BPFFS, Inbox, Layer, LayerError, TagMap, TagMapError},
    nflog::{
        plan::{Groups, Plan},
        rules::{self, Commands, Finding, Rules, RulesError},
        socket::{Delivery, GroupSocket, SocketError},
    },
    packet_socket::{PACKET_SOCKETS_LOSE, PacketCapture, PacketSocketError, RING_BYTES},
    rtnetlink::RouteError,
};
use crate::{
    input::{Batch, Event, Tally},
    platform::clock::Clock,
};

/// Packets that the kernel gathers for a batched group.
const BATCHED_THRESHOLD: u32 = 64;
/// Bytes that it gathers.
const GATHER_BYTES: u32 = 64 * 1024;
/// How long it gathers, in hundredths of a second.
const FLUSH_HUNDREDTHS: u32 = 2;
/// The receive buffer that is asked for; measured to lose nothing at 280,000 packets a second.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Groups that are tried. netd has 0 to 3.
const GROUPS: RangeInclusive<u16> = 100..=130;
/// How often the rules are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(3);

/// The way of capturing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureWay {
    /// NFLOG, or else a packet socket, which is then said as a weakness.
    #[default]
    Auto,
    /// NFLOG or nothing.
    Nflog,
    /// A packet socket.
    Packet,
}

/// How to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveConfig {
    /// Numbers of the Android users, so that each one's system UIDs are known.
    pub users: Vec<u32>,
    /// App ids that several packages share: the process behind their flows is looked for.
    pub shared: BTreeSet<u32>,
    /// The way.
    pub way: CaptureWay,
    /// The commands that set rules.
    pub commands: Commands,
    /// Receive buffer of each socket, in bytes.
    pub receive_buffer_bytes: usize,
    /// Size of the packet socket's ring, in bytes.
    pub ring_bytes: usize,
    /// NFLOG groups that may be used; the first two that are free are.
    pub groups: RangeInclusive<u16>,
    /// How often the rules are looked at.
    pub check_every: Duration,
    /// Folder of a BPF file system that every process sees; none: the usual one.
    pub bpffs: Option<PathBuf>,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            users: vec![0],
            shared: BTreeSet::new(),
            way: CaptureWay::Auto,
            commands: Commands::default(),
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
            ring_bytes: RING_BYTES,
            groups: GROUPS,
            check_every: CHECK_EVERY,
            bpffs: None,
        }
    }
}

/// Why capture did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The exactness layer could not be removed.
    #[error("{0}; run `sakshi clean`")]
    Layer(#[from] LayerError),
    /// A group's socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The packet socket.
    #[error(transparent)]
    Packet(#[from] PacketSocketError),
    /// Interfaces and their changes.
    #[error(transparent)]
    Interfaces(#[from] RouteError),
    /// Too many groups are taken.
    #[error("{}; {}", self.cause(), self.remedy())]
    NoGroupFree {
        /// The groups that were tried.
        groups: RangeInclusive<u16>,
    },
    /// NFLOG was asked for and cannot be used.
    #[error(
        "NFLOG cannot be used: {source}; or watch with `--capture packet`, which loses this: \
         {PACKET_SOCKETS_LOSE}"
    )]
    NoNflog {
        /// Why not.
        source: Box<LiveError>,
    },
    /// Neither way works.
    #[error(
        "nothing can be watched: NFLOG cannot be used: {nflog}; nor can packet sockets: {packet}"
    )]
    NoWay {
        /// Why not NFLOG.
        nflog: Box<LiveError>,
        /// Why not a packet socket.
        packet: Box<LiveError>,
    },
    /// A thread could not be started.
    #[error("thread `{name}` could not be started: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A thread ended before its time.
    #[error("thread `{name}` ended unexpectedly; this is a defect, please report it")]
    ThreadGone {
        /// Its name.
        name: &'static str,
    },
}

impl LiveError {
    /// What failed, without what to do about it.
    pub fn cause(&self) -> String {
        match self {
            Self::Rules(error) => error.cause(),
            Self::Socket(error) => error.cause(),
            Self::NoGroupFree { groups } => format!(
                "two free NFLOG groups are needed, and groups {} to {} are taken by other processes",
                groups.start(),
                groups.end()
            ),
            other => other.to_string(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Rules(error) => error.remedy(),
            Self::Socket(error) => error.remedy(),
            Self::NoGroupFree { .. } => "end those that listen there",
            _ => "see `sakshi doctor`",
        }
    }
}

/// The receiving end: batches in order, and the way back for empty ones.
#[derive(Debug)]
pub struct LiveBatches {
    batches: Receiver<Batch>,
    returns: SyncSender<Batch>,
}

impl LiveBatches {
    /// The next batch; none when capture has ended and all was read.
    pub fn recv(&self) -> Option<Batch> {
        self.batches.recv().ok()
    }

    /// The next batch within `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Batch, RecvTimeoutError> {
        self.batches.recv_timeout(timeout)
    }

    /// Hands a batch back, so that its memory is used again.
    pub fn give_back(&self, mut batch: Batch) {
        batch.clear();
        // With the way back full or closed it is simply freed.
        let _ = self.returns.try_send(batch);
    }
}

/// One group's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupTotals {
    /// Its number.
    pub group: u16,
    /// Packets received.
    pub received: u64,
    /// Packets that the rules counted; none when the counters could not be read at the end.
    pub counted: Option<u64>,
    /// Packets told to be lost.
    pub lost: u64,
}

/// What a capture came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTotals {
    /// The way that was used: never [`CaptureWay::Auto`].
    pub way: CaptureWay,
    /// Per NFLOG group; empty for a packet socket.
    pub groups: Vec<GroupTotals>,
    /// Packets received.
    pub received: u64,
    /// Packets told to be lost in the kernel.
    pub lost: u64,
    /// Packets dropped because the pipeline did not keep up.
    pub queue_dropped: u64,
    /// Repairs of our rules.
    pub repairs: u64,
    /// Where each packet is that was sent; none where it could not be summed up.
    pub tally: Option<Tally>,
    /// Times that the kernel said it lost packets (`ENOBUFS`).
    pub overruns: u64,
    /// Messages that could not be read; their packets are in `lost`.
    pub malformed: u64,
    /// Owner lookups that failed.
    pub lookup_errors: u64,
}

/// A running capture. Stop it with [`LiveCapture::stop`]; dropping it stops it too.
pub struct LiveCapture {
    way: CaptureWay,
    runner: Option<Runner>,
    interfaces: Option<InterfaceWatch>,
}

enum Runner {
    Nflog {
        requests: Sender<Request>,
        watch: JoinHandle<Result<LiveTotals, LiveError>>,
    },
    Packet {
        commands: Sender<Command>,
        capture: JoinHandle<LoopTotals>,
    },
}

/// What [`LiveCapture::start`] gives.
pub struct Started {
    /// The capture.
    pub capture: LiveCapture,
    /// Its stream.
    pub batches: LiveBatches,
    /// What is weaker than it should be.
    pub degradations: Vec<Degradation>,
    /// The interfaces as they are, and their counters: these stand before the first packet.
    pub first: Vec<Event>,
}

impl LiveCapture {
    /// Starts capturing in the network namespace of the calling thread.
    pub fn start(config: &LiveConfig, clock: &Arc<dyn Clock>) -> Result<Started, LiveError> {
        match config.way {
            CaptureWay::Nflog => start_nflog(config, clock).map_err(|error| LiveError::NoNflog {
                source: Box::new(error),
            }),
            CaptureWay::Packet => start_packet(config, clock),
            CaptureWay::Auto => start_nflog(config, clock)
                .or_else(|nflog| start_packet_instead(config, clock, nflog)),
        }
    }

    /// The way that is used: never [`CaptureWay::Auto`].
    pub const fn way(&self) -> CaptureWay {
        self.way
    }

    /// Looks at the rules now instead of at the next turn; none when they could not be read, or
    /// there are none.
    pub fn check(&self) -> Result<Option<Finding>, LiveError> {
        let Some(Runner::Nflog { requests, .. }) = &self.runner else {
            return Ok(None);
        };
        let (reply, answer) = mpsc::sync_channel(1);
        let gone = || LiveError::ThreadGone {
            name: watch::THREAD,
        };
        requests.send(Request::Check(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// Removes the rules, drains what is under way, does the sums, and ends the threads.
    pub fn stop(mut self) -> Result<LiveTotals, LiveError> {
        self.end()
    }

    fn end(&mut self) -> Result<LiveTotals, LiveError> {
        // The thread hands its events to the capture thread, which ends when nobody does any more.
        if let Some(interfaces) = self.interfaces.take() {
            interfaces.stop();
        }
        match self.runner.take() {
            Some(Runner::Nflog { requests, watch }) => {
                drop(requests);
                watch.join().unwrap_or(Err(LiveError::ThreadGone {
                    name: watch::THREAD,
                }))
            }
            Some(Runner::Packet { commands, capture }) => {
                drop(commands);
                let totals = capture.join().map_err(|_| LiveError::ThreadGone {
                    name: receive::THREAD,
                })?;
                Ok(totals.to_live(CaptureWay::Packet))
            }
            None => Err(LiveError::ThreadGone {
                name: receive::THREAD,
            }),
        }
    }
}

impl Drop for LiveCapture {
    fn drop(&mut self) {
        if self.runner.is_some() {
            // Who wants to know how it ended calls `stop`.
            let _ = self.end();
        }
    }
}

/// Removes rules and the pinned program that an earlier run left; `bpffs` is as in [`LiveConfig`].
/// Says whether there were any. What fails of one does not keep the other there.
pub fn clean(commands: &Commands, bpffs: Option<&Path>) -> Result<bool, LiveError> {
    let layer = exactness::clean(commands, bpffs);
    let rules = rules::remove(commands)?;
    Ok(layer? || rules)
}

fn channels() -> (Outbox, LiveBatches) {
    let (batches, received) = mpsc::sync_channel(QUEUE_BATCHES_MAX);
    let (returns, returned) = mpsc::sync_channel(QUEUE_BATCHES_MAX);
    let stream = LiveBatches {
        batches: received,
        returns,
    };
    (Outbox::new(batches, returned), stream)
}

fn open_lookup(degradations: &mut Vec<Degradation>) -> Option<OwnerLookup> {
    OwnerLookup::open()
        .map_err(|error| {
            degradations.push(Degradation::new(
                Weakness::NoSocketLookup,
                format!("{error}; packets that netd sends for an app are booked to netd"),
            ));
        })
        .ok()
}

fn open_closes(clock: &dyn Clock, degradations: &mut Vec<Degradation>) -> Option<CloseWatch> {
    CloseWatch::open(clock)
        .map_err(|error| {
            degradations.push(Degradation::new(
                Weakness::NoClosingTotals,
                error.to_string(),
            ));
        })
        .ok()
}

/// Loads the exactness layer; nothing runs it yet.
fn load_layer(
    config: &LiveConfig,
    degradations: &mut Vec<Degradation>,
) -> (Option<Layer>, Option<Inbox>) {
    match Layer::load(&config.commands, config.bpffs.as_deref()) {
        Ok((layer, inbox)) => (Some(layer), Some(inbox)),
        Err(error) => {
            degradations.push(no_exact_owners(&error));
            (None, None)
        }
    }
}

/// Has the packet filter run the layer, once packets are logged: what it says of an earlier packet
/// would find no packet.
fn attach_layer(layer: Option<Layer>, degradations: &mut Vec<Degradation>) -> Option<Layer> {
    let mut layer = layer?;
    match layer.attach() {
        Ok(()) => Some(layer),
        Err(error) => {
            degradations.push(no_exact_owners(&error));
            None
        }
    }
}

fn no_exact_owners(error: &LayerError) -> Degradation {
    Degradation::new(
        Weakness::NoExactOwners,
        format!(
            "owners are not read off the packets' own sockets (xt_bpf): {error}; they rest on \
             NFLOG, which says who made a socket, and on lookups, which miss short flows"
        ),
    )
}

/// Opens netd's map of tags, for sockets whose cookies the layer tells.
fn open_charges(
    config: &LiveConfig,
    inbox: Option<&Inbox>,
) -> Result<Option<ChargeWatch>, TagMapError> {
    let bpffs = config.bpffs.as_deref().unwrap_or(Path::new(BPFFS));
    inbox
        .map(|_| TagMap::find(bpffs).map(ChargeWatch::new))
        .transpose()
}

/// Why whom netd charges is not read.
fn no_charges(why: &dyn std::fmt::Display) -> Degradation {
    Degradation::new(
        Weakness::NoCharges,
        format!(
            "whom netd charges for a socket's traffic is not read: {why}; a download by a system \
             service shows the service, and not for which app it is"
        ),
    )
}

/// The same where the sockets' cookies are not known.
fn no_charges_without_layer() -> Degradation {
    no_charges(&"netd keeps it by the socket's cookie, which only the layer (xt_bpf) tells")
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, LiveError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|source| LiveError::Thread { name, source })
}

fn start_packet_instead(
    config: &LiveConfig,
    clock: &Arc<dyn Clock>,
    nflog: LiveError,
) -> Result<Started, LiveError> {
    match start_packet(config, clock) {
        Ok(mut started) => {
            // One sentence for the whole of it instead of the packet sockets' own.
            let own = |degradation: &Degradation| degradation.weakness != Weakness::PacketSocket;
            started.degradations.retain(own);
            let detail = format!(
                "NFLOG cannot be used: {}; packet sockets are used instead, and this is lost: \
                 {PACKET_SOCKETS_LOSE}; to have it again: {}",
                nflog.cause(),
                nflog.remedy()
            );
            started
                .degradations
                .insert(0, Degradation::new(Weakness::PacketSocket, detail));
            Ok(started)
        }
        Err(packet) => Err(LiveError::NoWay {
            nflog: Box::new(nflog),
            packet: Box::new(packet),
        }),
    }
}

fn start_packet(config: &LiveConfig, clock: &Arc<dyn Clock>) -> Result<Started, LiveError> {
    let (outbox, batches) = channels();
    let (commands, received) = mpsc::channel();
    let (capture, mut degradations) =
        PacketCapture::open(config.ring_bytes, outbox, received, clock)?;
    degradations.push(no_charges_without_layer());
    let (interfaces, first) = interfaces::start_or_degrade(&commands, clock, &mut degradations);
    let capture = spawn(receive::THREAD, move || capture.run())?;
    Ok(Started {
        capture: LiveCapture {
            way: CaptureWay::Packet,
            runner: Some(Runner::Packet { commands, capture }),
            interfaces,
        },
        batches,
        degradations,
        first,
    })
}

fn start_nflog(config: &LiveConfig, clock: &Arc<dyn Clock>) -> Result<Started, LiveError> {
    let mut degradations = Vec::new();
    let sockets = open_groups(config)?;
    note_small_buffers(config, &sockets, &mut degradations);
    let groups = sockets.each_ref().map(GroupSocket::group);
    let [system, apps] = groups;
    let plan = Plan {
        users: config.users.clone(),
        groups: Groups { system, apps },
        threshold: BATCHED_THRESHOLD,
    };
    let owners = open_lookup(&mut degradations);
    let closes = open_closes(&**clock, &mut degradations);
    let (layer, inbox) = load_layer(config, &mut degradations);
    let (charges, uncharged) = match open_charges(config, inbox.as_ref()) {
        Ok(charges) => (charges, None),
        Err(error) => (None, Some(error)),
    };
    let (outbox, batches) = channels();
    let (commands, received) = mpsc::channel();
    let processes = ProcessAsker::start(config.shared.clone(), clock)?;
    let capture = Capture::new(
        sockets,
        outbox,
        (owners, inbox, charges, processes, closes),
        received,
        Arc::clone(clock),
    );
    // The threads are started before the rules, so that whatever fails leaves no rule behind.
    let capture = spawn(receive::THREAD, move || capture.run())?;
    let (rules, weaker) = Rules::install(config.commands.clone(), plan)?;
    degradations.extend(weaker);
    let (interfaces, first) = interfaces::start_or_degrade(&commands, clock, &mut degradations);
    let layer = attach_layer(layer, &mut degradations);
    if layer.is_none() {
        degradations.push(no_charges_without_layer());
    } else if let Some(error) = uncharged {
        degradations.push(no_charges(&error));
    }
    let (requests, asked) = mpsc::channel();
    let mut watch = Watch::new(
        (rules, layer),
        groups,
        (commands, capture),
        Arc::clone(clock),
    );
    watch.open_sums();
    let every = config.check_every;
    let watch = match spawn(watch::THREAD, move || watch.run(&asked, every)) {
        Ok(watch) => watch,
        Err(error) => {
            clean(&config.commands, config.bpffs.as_deref())?;
            return Err(error);
        }
    };
    Ok(Started {
        capture: LiveCapture {
            way: CaptureWay::Nflog,
            runner: Some(Runner::Nflog { requests, watch }),
            interfaces,
        },
        batches,
        degradations,
        first,
    })
}

/// What the kernel did not grant.
fn note_small_buffers(
    config: &LiveConfig,
    sockets: &[GroupSocket; 2],
    degradations: &mut Vec<Degradation>,
) {
    for socket in sockets {
        if socket.granted_bytes() < config.receive_buffer_bytes {
            degradations.push(Degradation::new(
                Weakness::SmallReceiveBuffer,
                format!(
                    "the kernel granted {} of {} bytes of receive buffer to NFLOG group {}, so a \
                     burst loses packets sooner; each loss is counted",
                    socket.granted_bytes(),
                    config.receive_buffer_bytes,
                    socket.group()
                ),
            ));
        }
    }
}

/// The system's and the apps' group, at the first free numbers.
fn open_groups(config: &LiveConfig) -> Result<[GroupSocket; 2], LiveError> {
    let mut numbers = config.groups.clone();
    let mut open = |threshold| -> Result<GroupSocket, LiveError> {
        let delivery = Delivery {
            threshold,
            flush_hundredths: FLUSH_HUNDREDTHS,
            gather_bytes: GATHER_BYTES,
            receive_buffer_bytes: config.receive_buffer_bytes,
        };
        for number in numbers.by_ref() {
            match GroupSocket::open(number, &delivery) {
                Err(SocketError::GroupTaken { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        Err(LiveError::NoGroupFree {
            groups: config.groups.clone(),
        })
    };
    Ok([open(1)?, open(BATCHED_THRESHOLD)?])
}
