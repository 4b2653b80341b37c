//! The thread `packets` of a live watch: writes kept packets into segments of the case.
//!
//! In: copies of packets and news of flows, many at once, through a bounded queue. Out: segments, and
//! drafts for the store that tell of them. The pipeline never waits for it: what finds no room in the
//! queue is counted, and becomes a gap.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::SessionError;
use crate::{
    evidence::{
        Draft, StoreSender, Urgency,
        body::{self, Gap, GapCause},
        segments::{Found, Handful, Mark, Past, Sample, Shelf, ShelfError, ShelfOptions},
    },
    input::Packet,
    platform::clock::Clock,
    time::Timestamp,
};

/// Handfuls that wait for the thread, at most: 4 MiB of packets, or what the store's commit of a
/// drop takes.
pub const QUEUE_MAX: usize = 16;
/// Marks of flows that wait with a queue that is full, at most; more are forgotten, and with them
/// that the flows' packets belong to findings.
const NEWS_MAX: usize = 262_144;
/// Findings are pointed from their packets this long after they were made, at most.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
/// The place that gaps name.
const PLACE: &str = "packets";

/// What is to be kept, and where.
#[derive(Debug)]
pub struct Keeping {
    /// Folder of the case.
    pub dir: PathBuf,
    /// Bytes that segments may take; 0: none is kept.
    pub quota: u64,
    /// Number of the session.
    pub session: u64,
    /// Whether packets come by NFLOG.
    pub as_nflog: bool,
    /// The segments that are there.
    pub past: Past,
}

/// What the thread tells while it works.
#[derive(Debug, Default)]
struct Told {
    packets: AtomicU64,
    bytes: AtomicU64,
    unkept: AtomicU64,
}

/// The pipeline's end of the queue.
#[derive(Debug)]
pub struct Keeper {
    handful: Handful,
    full: SyncSender<Handful>,
    empty: Receiver<Handful>,
    told: Arc<Told>,
    thread: JoinHandle<Result<(), ShelfError>>,
    unkept: u64,
    /// Why the thread keeps nothing any more.
    ended: bool,
    quota: u64,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptSoFar {
    /// Packets in segments.
    pub packets: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Bytes that they may take.
    pub quota: u64,
}

impl Keeper {
    /// Starts the thread; none where nothing is to be kept.
    pub fn start(
        keeping: Keeping,
        store: StoreSender,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, SessionError> {
        if keeping.quota == 0 {
            return Ok(None);
        }
        let quota = keeping.quota;
        let options = ShelfOptions {
            dir: keeping.dir,
            quota,
            session: keeping.session,
            as_nflog: keeping.as_nflog,
        };
        let shelf = Shelf::open(options, keeping.past)?;
        let (full, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (returns, empty) = mpsc::sync_channel(QUEUE_MAX);
        let told = Arc::new(Told::default());
        let mut desk = Desk {
            shelf,
            store,
            clock: Arc::clone(clock),
            told: Arc::clone(&told),
        };
        desk.tell();
        let thread = thread::Builder::new()
            .name(PLACE.to_owned())
            .spawn(move || desk.work(&inbox, &returns))
            .map_err(|source| SessionError::Machine {
                what: "the packets thread could not be started",
                source,
            })?;
        Ok(Some(Self {
            handful: Handful::default(),
            full,
            empty,
            told,
            thread,
            unkept: 0,
            ended: false,
            quota,
        }))
    }

    /// Copies a packet.
    pub fn packet(&mut self, packet: &Packet<'_>, sample: Sample) {
        self.handful.push(packet, sample);
        if self.handful.is_full() {
            self.hand_over();
        }
    }

    /// Takes the contacts of flows.
    pub fn marks(&mut self, marks: impl Iterator<Item = Mark>) {
        self.handful.marks.extend(marks);
    }

    /// Takes a finding, unless an exception covers it.
    pub fn finding(&mut self, finding: &body::Finding) {
        let number = finding.contact.rsplit_once('-').map(|(_, number)| number);
        let Some(contact) = number.and_then(|number| number.parse().ok()) else {
            return;
        };
        if finding.outcome != "excepted" {
            let live = finding.packets.iter().map(|packet| packet.frame).collect();
            self.handful.findings.push(Found { contact, live });
        }
    }

    /// Hands over what was gathered; without room in the queue its packets are counted and gone.
    pub fn hand_over(&mut self) {
        if self.handful.is_empty() {
            return;
        }
        let next = self.empty.try_recv().unwrap_or_default();
        let handful = std::mem::replace(&mut self.handful, next);
        if let Err(error) = self.full.try_send(handful) {
            let (TrySendError::Full(mut handful) | TrySendError::Disconnected(mut handful)) = error;
            if handful.is_full() || self.thread.is_finished() {
                self.unkept += handful.forget_packets();
            }
            if self.thread.is_finished() || handful.marks.len() > NEWS_MAX {
                handful.clear();
            }
            self.handful = handful;
        }
    }

    /// What could not be kept since the last call.
    pub fn gap(&mut self, now: Timestamp) -> Option<Gap> {
        let unkept = std::mem::take(&mut self.unkept) + self.told.unkept.swap(0, Ordering::Relaxed);
        let ends = self.thread.is_finished() && !std::mem::replace(&mut self.ended, true);
        let detail = match (ends, unkept) {
            (true, _) => "packets are not kept any more in this session: a segment could not be \
                          written; they are watched and counted all the same. See that the storage \
                          has room, then start anew"
                .to_owned(),
            (false, 0) => return None,
            (false, unkept) => format!(
                "{unkept} packets were not kept: they came faster than they could be written, or the \
                 quota is taken by what is held; they are counted all the same. Give a larger \
                 `--packets-quota`"
            ),
        };
        Some(Gap::uncounted(GapCause::NotKept, now, PLACE, detail))
    }

    /// How much is kept.
    pub fn kept(&self) -> KeptSoFar {
        KeptSoFar {
            packets: self.told.packets.load(Ordering::Relaxed),
            bytes: self.told.bytes.load(Ordering::Relaxed),
            quota: self.quota,
        }
    }

    /// Hands over the last packets, and waits until all is written and told to the store.
    pub fn finish(self) -> Result<(), SessionError> {
        // The thread may have ended by itself; that was told.
        let _ = self.full.send(self.handful);
        drop(self.full);
        match self.thread.join() {
            Ok(Ok(()) | Err(ShelfError::Io { .. })) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SessionError::ThreadLost(PLACE)),
        }
    }
}

/// What the thread works with.
struct Desk {
    shelf: Shelf,
    store: StoreSender,
    clock: Arc<dyn Clock>,
    told: Arc<Told>,
}

impl Desk {
    fn work(
        &mut self,
        inbox: &Receiver<Handful>,
        returns: &SyncSender<Handful>,
    ) -> Result<(), ShelfError> {
        let worked = self.until_the_end(inbox, returns);
        if let Err(ShelfError::Io { .. }) = worked {
            self.shelf.give_up(self.clock.now())?;
            self.append()?;
        }
        worked
    }

    fn until_the_end(
        &mut self,
        inbox: &Receiver<Handful>,
        returns: &SyncSender<Handful>,
    ) -> Result<(), ShelfError> {
        let mut settled = self.clock.monotonic_nanos();
        loop {
            let received = if self.shelf.is_waiting() {
                inbox.recv_timeout(SETTLE_EVERY)
            } else {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match received {
                Ok(mut handful) => {
                    self.put(&handful)?;
                    handful.clear();
                    // There are as many as are needed when there is no room for it.
                    let _ = returns.try_send(handful);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.monotonic_nanos();
            if u128::try_from(now - settled).unwrap_or(0) >= SETTLE_EVERY.as_nanos() {
                settled = now;
                self.shelf.settle(self.clock.now())?;
                self.append()?;
            }
            self.tell();
        }
        self.shelf.finish(self.clock.now())?;
        self.append()
    }

    fn put(&mut self, handful: &Handful) -> Result<(), ShelfError> {
        let store = &self.store;
        let mut commit = |drafts: Vec<Draft>| {
            let receipt = store.append_acknowledged(drafts, Urgency::AtOnce)?;
            receipt.wait().map(|_| ())
        };
        self.shelf.put(handful, self.clock.now(), &mut commit)
    }

    fn append(&mut self) -> Result<(), ShelfError> {
        let drafts = self.shelf.take_drafts();
        if !drafts.is_empty() {
            self.store.append(drafts, Urgency::Batched)?;
        }
        Ok(())
    }

    fn tell(&mut self) {
        let told = &self.told;
        told.packets.store(self.shelf.packets(), Ordering::Relaxed);
        told.bytes.store(self.shelf.bytes(), Ordering::Relaxed);
        told.unkept
            .fetch_add(self.shelf.take_unkept(), Ordering::Relaxed);
    }
}
