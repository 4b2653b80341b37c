//! The pipeline thread of a live watch: owns the engine, and with it all state of flows.
//!
//! In: batches of the capture, orders of the control socket, the clock. Out: drafts for the store
//! and the status that others may look at. No lock is taken per packet.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    SessionError,
    apps::{Apps, AppsAtStart},
    engine::Engine,
    packets::Keeper,
};
use crate::{
    capture::live::LiveBatches,
    control::{protocol::Status, server::Order},
    evidence::{Draft, ExhibitBody, Head, Kind, Receipt, StoreSender, Urgency, body::Summary},
    input::{Event, Gap, GapCause, Input, Note, Observation, PhaseChange},
    pipeline::Core,
    platform::clock::Clock,
};

/// Longest wait for a batch before orders and the clock are looked at. Each look wakes the
/// processor, so it is no shorter than a person who gives an order would notice.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Time passes for the core at least this often while a flow is live.
const TICK_NANOS: i64 = 1_000_000_000;
/// Time passes for it this often while nothing happens: each tick is written to the disk, and after
/// a power cut the last one tells until when it was watched.
const REST_TICK_NANOS: i64 = 10_000_000_000;
/// What waits is handed to the store this often; the store commits once a second.
const HAND_ON_NANOS: i64 = 500_000_000;

/// What a session begins with.
pub struct First {
    /// Its `session` record.
    pub session: Draft,
    /// What the machine offers: its `doctor` record.
    pub doctor: Draft,
    /// Which handset this is: its `device` record.
    pub device: Draft,
    /// Reports that belong to it.
    pub reports: Vec<Draft>,
    /// What was not seen until now, or is seen less well.
    pub events: Vec<Event>,
    /// What is known of the apps.
    pub apps: AppsAtStart,
}

/// The engine of a live watch and what it talks to.
pub struct Worker {
    engine: Engine,
    store: StoreSender,
    clock: Arc<dyn Clock>,
    status: Arc<Mutex<Status>>,
    /// Set when the room that is kept in reserve came into use.
    full: Arc<AtomicBool>,
    ticked: i64,
    /// Whether anything came in since the last tick.
    fed: bool,
    handed_on: i64,
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(
        core: Core,
        (store, keeper): (StoreSender, Option<Keeper>),
        clock: Arc<dyn Clock>,
        (status, full): (Arc<Mutex<Status>>, Arc<AtomicBool>),
    ) -> Self {
        let now = clock.monotonic_nanos();
        Self {
            engine: Engine::new(core).with_keeper(keeper),
            store,
            clock,
            status,
            full,
            ticked: now,
            fed: true,
            handed_on: now,
        }
    }

    /// Works until the capture has ended and everything it gave is handed on.
    pub fn run(
        mut self,
        first: First,
        batches: &LiveBatches,
        orders: &mpsc::Receiver<Order>,
    ) -> Result<Summary, SessionError> {
        let mut apps = self.begin(first)?;
        loop {
            match batches.recv_timeout(WAIT_MAX) {
                Ok(batch) => {
                    self.fed = true;
                    batch
                        .iter()
                        .try_for_each(|input| self.engine.feed(&input))?;
                    batches.give_back(batch);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(order) = orders.try_recv() {
                self.obey(order, &apps)?;
            }
            apps.look(&mut self.engine, &self.store)?;
            self.look_at_the_clock()?;
            self.look_at_the_room()?;
        }
        // The probe of the stop was sent before the capture ended.
        while let Ok(order) = orders.try_recv() {
            self.obey(order, &apps)?;
        }
        self.look_at_the_room()?;
        apps.look(&mut self.engine, &self.store)?;
        drop(apps);
        self.engine.keep_on(self.clock.now())?;
        self.engine.finish()?;
        self.hand_on()?;
        Ok(self.engine.summary())
    }

    /// Commits the session and what was not seen before it as one: a session without the gap that
    /// goes before it would be silent about that gap.
    fn begin(&mut self, first: First) -> Result<Apps, SessionError> {
        for event in first.events {
            self.engine.feed(&Input::Event(&event))?;
        }
        let mut drafts = vec![first.session, first.doctor, first.device];
        drafts.extend(first.reports);
        drafts.extend(self.engine.take()?.0);
        self.store
            .append_acknowledged(drafts, Urgency::AtOnce)?
            .wait()?;
        Apps::start(first.apps, &self.clock)
    }

    /// A watch without room ends; from when on nothing is seen is on record before it does.
    fn look_at_the_room(&mut self) -> Result<(), SessionError> {
        if !self.full.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let now = self.clock.now();
        let gap = Event::Gap(Gap {
            at: now,
            cause: GapCause::DiskFull,
            from: Some(now),
            to: None,
            packets: None,
            place: "storage".to_owned(),
            detail:
                "no space was left for the case, so the watch ends, with the room that was kept \
                     in reserve; free some space and start again"
                    .to_owned(),
        });
        self.engine.feed(&Input::Event(&gap))
    }

    fn look_at_the_clock(&mut self) -> Result<(), SessionError> {
        let now = self.clock.monotonic_nanos();
        let rests = self.engine.is_at_rest() && !self.fed;
        if now - self.ticked >= if rests { REST_TICK_NANOS } else { TICK_NANOS } {
            (self.ticked, self.fed) = (now, false);
            let tick = Event::Tick(self.clock.now());
            self.engine.feed(&Input::Event(&tick))?;
        }
        if self.engine.is_urgent()
            || self.engine.is_large()
            || now - self.handed_on >= HAND_ON_NANOS
        {
            self.handed_on = now;
            self.hand_on()?;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order, apps: &Apps) -> Result<(), SessionError> {
        self.fed = true;
        let at = self.clock.now();
        let mut exhibit = None;
        let (event, reply) = match order {
            Order::Probe(sent) => return self.engine.feed(&Input::Event(&Event::ProbeSent(sent))),
            Order::Note(text, reply) => (Event::Note(Note { at, text }), reply),
            Order::Observe(told, file, reply) => {
                exhibit = file.map(|file| ExhibitBody { at, file });
                let told = apps.with_version(Observation { at, ..told });
                (Event::Observation(told), reply)
            }
            Order::Phase(name, reply) => (Event::PhaseChange(PhaseChange { at, name }), reply),
        };
        self.engine.feed(&Input::Event(&event))?;
        let (mut drafts, _) = self.engine.take()?;
        if let Some(body) = exhibit {
            drafts.push(Draft::new(Kind::EXHIBIT, &body)?);
        }
        let receipt = self.store.append_acknowledged(drafts, Urgency::AtOnce)?;
        // The answer waits for the disk; packets do not wait for the answer.
        let waiting = thread::Builder::new()
            .name("acknowledge".to_owned())
            .spawn(move || {
                // Whoever asked may have gone; the record stands all the same.
                let _ = reply.send(acknowledged(receipt));
            });
        waiting.map_err(|source| SessionError::Machine {
            what: "a thread could not be started",
            source,
        })?;
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), SessionError> {
        let kept = self.engine.keep_on(self.clock.now())?;
        let (drafts, urgency) = self.engine.take()?;
        if !drafts.is_empty() {
            self.store.append(drafts, urgency)?;
        }
        let summary = self.engine.summary();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.phase().clone_into(&mut status.phase);
        (status.packets, status.flows) = (summary.packets, summary.flows);
        // A watch judges.
        status.contacts = summary.contacts.unwrap_or_default();
        status.findings = summary.findings.unwrap_or_default();
        status.lost = summary.lost;
        (status.packets_kept, status.packets_bytes) = (kept.packets, kept.bytes);
        status.packets_quota = kept.quota;
        Ok(())
    }
}

fn acknowledged(receipt: Receipt) -> Result<Head, String> {
    let committed = receipt.wait().map_err(|gone| gone.to_string())?;
    Ok(committed.head)
}
