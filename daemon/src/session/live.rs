//! A live watch: from the lock on the case to the stop record.
//!
//! In: what the command line asked for. Out: a case with one session more. Four threads do the work
//! (`capture`, `rules`, `pipeline`, `store`); the one that calls [`run`] listens for orders and
//! signals.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use tokio::sync::{Notify, watch};

use super::{
    SessionError,
    apps::AppsAtStart,
    examine::examine_with,
    inspect::tool,
    packets::{Keeper, Keeping},
    probe,
    recover::{self, Since},
    setup::{InventoryFrom, Materials, problem_gap},
    validation,
    worker::{First, Worker},
};
use crate::{
    attribute::inventory::Stamps,
    capture::{
        live::{CaptureWay, LiveBatches, LiveCapture, LiveConfig, Started},
        nflog::rules::Commands,
    },
    control::{
        protocol::Status,
        server::{Order, Server, Shared, StopReason},
    },
    evidence::{
        Case, CaseMeta, Circumstances, Draft, Kind, Reserve, Signing, Store, StoreError,
        StoreOptions, StoreSender, StoreThread,
        authority::Authority,
        body::{self, Summary},
        device::{DeviceFacts, Fact},
        segments::Past,
    },
    input::{Apk, Event, Gap, GapCause, ProbeMark, ProbeOrder},
    pipeline::{Core, Setup},
    platform::{
        clock::{Clock, boot_time},
        machine, random,
    },
    time::{self, Timestamp},
};

/// What to watch.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Folder of the case.
    pub case: PathBuf,
    /// Rule sets; none: the embedded one.
    pub rules: Vec<PathBuf>,
    /// Location data; none: what is built in.
    pub data: Option<PathBuf>,
    /// Folder of the inventory; none: the device's own.
    pub inventory: Option<PathBuf>,
    /// How packets are watched.
    pub capture: CaptureWay,
    /// Receive buffer of the capture sockets in bytes; none: the default.
    pub receive_buffer: Option<usize>,
    /// The commands that set packet rules.
    pub commands: Commands,
    /// Folder of the BPF file system; none: the usual one.
    pub bpffs: Option<PathBuf>,
    /// Bytes that kept packets may take in the case; 0: none are kept.
    pub packets_quota: u64,
    /// Bytes after which a new part of the database begins.
    pub roll_bytes: u64,
    /// How the handset was rooted, as somebody stated it; none: as the case's authority says.
    pub rooted: Option<String>,
    /// Where our own probe sends to; empty: there is none.
    pub probe: Vec<SocketAddr>,
    /// What the lab states of the network.
    pub circumstances: Option<Circumstances>,
    /// Report of a validation that is recorded with the session.
    pub validation: Option<PathBuf>,
}

/// Watches until told to stop. `announce` is told, once, that packets are being watched.
pub fn run(
    config: &RunConfig,
    clock: &Arc<dyn Clock>,
    announce: &mut dyn FnMut(&Status),
) -> Result<Summary, SessionError> {
    let from = InventoryFrom::chosen(config.inventory.as_deref());
    let stamps = from.dir().map(|dir| Stamps::of(&dir));
    let materials = Materials::load(&config.rules, &from, config.data.as_deref())?;
    // Before anything is touched, so that it says how the machine was found.
    let (examination, facts) = examine_with(
        &config.case,
        &config.commands,
        &materials,
        &from,
        clock.as_ref(),
    );
    let reports = reports(config, clock.as_ref())?;
    let (store, not_watched) = open_case(config, clock, &materials)?;
    let reserve = Reserve::keep(&config.case)?;
    let session = store.next_session();
    let server = Server::bind(&store.case().meta().id).map_err(SessionError::Control)?;
    let started = LiveCapture::start(&live_config(config, &materials), clock)?;
    let record = session_record(config, session, clock.now(), started.capture.way());
    let status = Arc::new(Mutex::new(first_status(config, &record, &started)));
    let first = First {
        session: Draft::new(Kind::SESSION, &record)?,
        doctor: Draft::new(Kind::DOCTOR, &examination)?,
        device: Draft::new(Kind::DEVICE, &with_root(facts, config, &store)?)?,
        reports,
        events: first_events(config, &materials, &started, (not_watched, clock.now())),
        apps: apps_at_start((from, stamps), &materials, &store)?,
    };
    let core = core_of(&record, materials);
    let keeping = keeping(config, &store, started.capture.way())?;
    let full = Arc::new(AtomicBool::new(false));
    let work = Work {
        worker: |sender: StoreSender| {
            let keeper = Keeper::start(keeping, sender.clone(), clock)?;
            let shown = (Arc::clone(&status), Arc::clone(&full));
            Ok(Worker::new(
                core,
                (sender, keeper),
                Arc::clone(clock),
                shown,
            ))
        },
        first,
        batches: started.batches,
        roll_bytes: config.roll_bytes,
        reserve: (reserve.clone(), Arc::clone(&full)),
    };
    let threads = Threads::start(store, work, &status, clock)?;

    announce(&status.lock().unwrap_or_else(PoisonError::into_inner));
    threads.probe_at_start(config, clock)?;
    let outcome = server.serve(&threads.shared);
    threads.probe_at_stop(config, &outcome, clock.as_ref());
    "stopping".clone_into(&mut status.lock().unwrap_or_else(PoisonError::into_inner).state);
    // The capture ends first and hands on what it still holds; the pipeline ends when it has all.
    let captured = started.capture.stop();
    let (store, mut summary) = threads.join()?;
    let (reason, waiting) = outcome.map_err(SessionError::Control)?;
    captured?;
    summary.bytes_written = machine::bytes_written();
    close(store, &reserve, (session, reason), clock.now(), &summary)?;
    // Those who asked for the stop wait until the connection is closed: only now is all written.
    drop(waiting);
    had_room(reason, config).map(|()| summary)
}

/// A watch that ended for want of room has done what it could, and that was not all.
fn had_room(reason: StopReason, config: &RunConfig) -> Result<(), SessionError> {
    match reason {
        StopReason::DiskFull => Err(SessionError::Full(config.case.clone())),
        _ => Ok(()),
    }
}

/// The report that was given for this session, read before anything is touched.
fn reports(config: &RunConfig, clock: &dyn Clock) -> Result<Vec<Draft>, SessionError> {
    let kernel = machine::kernel_release();
    validation::drafts(config.validation.as_deref(), Some(&kernel), clock.now())
}

/// What the pipeline thread is given.
struct Work<F> {
    /// Makes the worker, given where its drafts go.
    worker: F,
    first: First,
    batches: LiveBatches,
    /// Bytes after which a new part of the database begins.
    roll_bytes: u64,
    /// Room for the end, and what the worker learns its use by.
    reserve: (Reserve, Arc<AtomicBool>),
}

/// The threads behind the capture, and what the control socket shares with them.
struct Threads {
    store: StoreThread,
    pipeline: JoinHandle<Result<Summary, SessionError>>,
    shared: Shared,
}

/// Says that the pipeline has ended, however it did.
struct EndNotice(Arc<Notify>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Threads {
    fn start(
        store: Store,
        work: Work<impl FnOnce(StoreSender) -> Result<Worker, SessionError>>,
        status: &Arc<Mutex<Status>>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SessionError> {
        let (head_sender, head) = watch::channel(store.head());
        let case = store.case().clone();
        let on_commit = Arc::new(move |head| {
            head_sender.send_replace(head);
        });
        let full = Arc::new(Notify::new());
        let mut options = StoreOptions::new(Arc::clone(clock), on_commit);
        options.roll_bytes = work.roll_bytes;
        let ((reserve, seen), told) = (work.reserve, Arc::clone(&full));
        let tell = move || {
            seen.store(true, Ordering::Relaxed);
            told.notify_one();
        };
        options.reserve = Some((reserve, Arc::new(tell)));
        let store = StoreThread::spawn(store, options).map_err(|source| SessionError::Machine {
            what: "the store thread could not be started",
            source,
        })?;
        let (orders, inbox) = mpsc::channel();
        let ended = Arc::new(Notify::new());
        let notice = EndNotice(Arc::clone(&ended));
        let worker = (work.worker)(store.sender())?;
        let (first, batches) = (work.first, work.batches);
        let pipeline = thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || {
                let _notice = notice;
                worker.run(first, &batches, &inbox)
            })
            .map_err(|source| SessionError::Machine {
                what: "the pipeline thread could not be started",
                source,
            })?;
        let status = Arc::clone(status);
        let shared = Shared {
            status,
            case,
            head,
            orders,
            ended,
            full,
        };
        Ok(Self {
            store,
            pipeline,
            shared,
        })
    }

    /// Has the probe send as soon as packets are watched; whoever stops the watch meanwhile need not
    /// wait for it.
    fn probe_at_start(
        &self,
        config: &RunConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), SessionError> {
        if config.probe.is_empty() {
            return Ok(());
        }
        let (targets, clock) = (config.probe.clone(), Arc::clone(clock));
        let orders = self.shared.orders.clone();
        let spawned = thread::Builder::new()
            .name("probe".to_owned())
            .spawn(move || {
                let sent = probe::send(&targets, ProbeMark::Start, clock.as_ref());
                // A watch that has ended takes no more.
                let _ = orders.send(Order::Probe(sent));
            });
        spawned.map(drop).map_err(|source| SessionError::Machine {
            what: "the probe's thread could not be started",
            source,
        })
    }

    /// Has it send once more before the capture ends, unless the watch has failed already.
    fn probe_at_stop<T>(
        &self,
        config: &RunConfig,
        outcome: &std::io::Result<(StopReason, T)>,
        clock: &dyn Clock,
    ) {
        let in_order = matches!(outcome, Ok((StopReason::Asked | StopReason::Signal, _)));
        if in_order && !config.probe.is_empty() {
            let sent = probe::send(&config.probe, ProbeMark::Stop, clock);
            let _ = self.shared.orders.send(Order::Probe(sent));
        }
    }

    /// Waits until everything is handed on and committed. An error of the store explains the
    /// pipeline's, so it comes first.
    fn join(self) -> Result<(Store, Summary), SessionError> {
        let worked = self
            .pipeline
            .join()
            .map_err(|_| SessionError::ThreadLost("pipeline"));
        let store = self.store.stop().map_err(SessionError::StoreEnded)?;
        Ok((store, worked??))
    }
}

/// What is known of the apps before the session.
fn apps_at_start(
    (from, stamps): (InventoryFrom, Option<Stamps>),
    materials: &Materials,
    store: &Store,
) -> Result<AppsAtStart, SessionError> {
    Ok(AppsAtStart {
        from,
        stamps,
        inventory: materials.inventory.clone(),
        problems: materials.problems.clone(),
        hashed: hashed_before(store)?,
    })
}

/// Which packets are kept, and where.
fn keeping(config: &RunConfig, store: &Store, way: CaptureWay) -> Result<Keeping, SessionError> {
    Ok(Keeping {
        dir: config.case.clone(),
        quota: config.packets_quota,
        session: store.next_session(),
        as_nflog: !matches!(way, CaptureWay::Packet),
        past: Past::read(|kind| store.bodies(kind))?,
    })
}

fn core_of(record: &body::Session, materials: Materials) -> Core {
    Core::new(Setup {
        session: record.session,
        handset: record.handset.clone(),
        inventory: materials.inventory,
        rules: materials.rules,
        atlas: materials.atlas,
        sources: record
            .sources
            .iter()
            .map(|source| source.name.clone())
            .collect(),
        egress: record
            .circumstances
            .as_ref()
            .and_then(|stated| stated.egress.clone()),
    })
}

/// Opens or makes the case, makes good an unclean stop, and says since when nothing was watched.
fn open_case(
    config: &RunConfig,
    clock: &Arc<dyn Clock>,
    materials: &Materials,
) -> Result<(Store, Gap), SessionError> {
    let now = clock.now();
    let signing = Signing::timed(Arc::clone(clock));
    let (store, since) = match Case::open(&config.case) {
        Ok(_) => continue_case(config, now, materials, &signing)?,
        Err(StoreError::Missing(_) | StoreError::NotACase(_)) => {
            let id = random::bytes().map_err(|source| SessionError::Machine {
                what: "the system's random source failed",
                source,
            })?;
            let meta = CaseMeta::new(id, Some(now), tool(), "live");
            (
                Case::create(&config.case, meta, &materials.files, &signing)?,
                None,
            )
        }
        Err(error) => return Err(error.into()),
    };
    let (cause, from, detail) = match since {
        Some((cause, from)) => (
            cause,
            from,
            "nothing was watched between the session before and this one",
        ),
        None => (
            GapCause::NotRunning,
            boot_time(now),
            "nothing was watched from the machine's start until now",
        ),
    };
    let gap = Gap {
        at: now,
        cause,
        from,
        to: Some(now),
        packets: None,
        place: "handset".to_owned(),
        detail: detail.to_owned(),
    };
    Ok((store, gap))
}

/// The APK files that earlier sessions of the case have hashed; what a later version of this
/// program wrote otherwise is passed over, and hashed again.
fn hashed_before(store: &Store) -> Result<Vec<Apk>, SessionError> {
    let bodies = store.bodies(&Kind::APK)?;
    let read = |body: &String| serde_json::from_str(body).ok();
    Ok(bodies.iter().filter_map(read).collect())
}

/// The facts of the handset with how it was rooted, which only a person can say.
fn with_root(
    mut facts: DeviceFacts,
    config: &RunConfig,
    store: &Store,
) -> Result<DeviceFacts, SessionError> {
    let authority = store.bodies(&Kind::AUTHORITY)?.pop();
    let stated = authority.and_then(|body| serde_json::from_str::<Authority>(&body).ok());
    facts.rooted = match (&config.rooted, stated) {
        (Some(text), _) => Fact::new(text.clone(), "stated at the start (--rooted)"),
        (None, Some(authority)) => authority.device.rooted.map_or_else(Fact::default, |text| {
            Fact::new(text, "stated in the case's authority")
        }),
        (None, None) => Fact::default(),
    };
    Ok(facts)
}

/// Opens a case that is there and makes good an unclean stop; tells until when it was watched.
fn continue_case(
    config: &RunConfig,
    now: Timestamp,
    materials: &Materials,
    signing: &Signing,
) -> Result<(Store, Option<Since>), SessionError> {
    let (before, head) = recover::before(&config.case, now)?;
    let mut store = Store::open(&config.case, signing)?;
    if store.head() != head {
        // Another daemon ended between the look and the lock: what was seen is not the end.
        return Err(StoreError::Busy(config.case.clone()).into());
    }
    if !store.case().meta().is_signed() {
        return Err(SessionError::Unsigned(config.case.clone()));
    }
    let since = recover::make_good(&mut store, before, now)?;
    store.append_files(&materials.files)?;
    Ok((store, since))
}

fn live_config(config: &RunConfig, materials: &Materials) -> LiveConfig {
    let default = LiveConfig::default();
    LiveConfig {
        users: materials.inventory.users().to_vec(),
        shared: materials.inventory.shared_appids(),
        way: config.capture,
        commands: config.commands.clone(),
        bpffs: config.bpffs.clone(),
        receive_buffer_bytes: config
            .receive_buffer
            .unwrap_or(default.receive_buffer_bytes),
        ring_bytes: config.receive_buffer.unwrap_or(default.ring_bytes),
        ..default
    }
}

const fn way_name(way: CaptureWay) -> &'static str {
    match way {
        CaptureWay::Auto => "auto",
        CaptureWay::Nflog => "nflog",
        CaptureWay::Packet => "packet",
    }
}

fn session_record(
    config: &RunConfig,
    session: u64,
    now: Timestamp,
    way: CaptureWay,
) -> body::Session {
    body::Session {
        session,
        mode: "run".to_owned(),
        at: Some(now),
        local: Some(now.local()),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: Some(machine::kernel_release()),
        boot_id: machine::boot_id(),
        booted: boot_time(now),
        oom_score_adj: machine::oom_score_adj(),
        zone: time::zone_name(),
        capture: way_name(way).to_owned(),
        sources: vec![body::Source {
            name: "live".to_owned(),
            sha256: None,
        }],
        files: BTreeMap::new(),
        // The kernel tells the direction of each packet.
        handset: Vec::new(),
        circumstances: config.circumstances.clone(),
    }
}

fn first_status(config: &RunConfig, record: &body::Session, started: &Started) -> Status {
    Status {
        state: "watching".to_owned(),
        case: config.case.display().to_string(),
        session: record.session,
        pid: std::process::id(),
        network_namespace: machine::network_namespace(),
        since: record.at.unwrap_or_default(),
        capture: record.capture.clone(),
        degraded: started
            .degradations
            .iter()
            .map(|degradation| degradation.detail.clone())
            .collect(),
        lost: Some(0),
        ..Status::default()
    }
}

/// What was not seen, or is seen less well, from the start on.
fn first_events(
    config: &RunConfig,
    materials: &Materials,
    started: &Started,
    (not_watched, now): (Gap, Timestamp),
) -> Vec<Event> {
    let order = (!config.probe.is_empty()).then(|| {
        Event::ProbeOrder(ProbeOrder {
            at: now,
            uid: probe::PROBE_UID,
            targets: config.probe.clone(),
        })
    });
    std::iter::once(not_watched)
        .chain(
            materials
                .problems
                .iter()
                .map(|problem| problem_gap(problem, now)),
        )
        .chain(
            started
                .degradations
                .iter()
                .map(|degradation| degradation.to_gap(now)),
        )
        .map(Event::Gap)
        .chain(order)
        .chain(started.first.iter().cloned())
        .collect()
}

/// Writes the last two records of the session; then the room for them is needed no more.
fn close(
    mut store: Store,
    reserve: &Reserve,
    (session, reason): (u64, StopReason),
    now: Timestamp,
    summary: &Summary,
) -> Result<(), SessionError> {
    let stop = body::Stop {
        session,
        at: Some(now),
        reason: reason.as_str().to_owned(),
        outbound: summary.outbound,
    };
    store.append(&[
        Draft::new(Kind::SUMMARY, summary)?,
        Draft::new(Kind::STOP, &stop)?,
    ])?;
    reserve.release();
    Ok(())
}
