//! The thread `store`: gathers drafts and commits them at most once a second.
//!
//! In: drafts through a bounded channel that blocks when it is full and never drops. Out: the new
//! head after each commit, through a callback, and an acknowledgement to whoever asked for one.
//! What is acknowledged is on the disk. An error of the store ends the thread; every sender is told
//! the reason.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    error::StoreError,
    parts::ROLL_BYTES,
    record::{Draft, Head},
    reserve::Reserve,
    signing::Reason,
    store::Store,
};
use crate::platform::clock::Clock;

/// Messages that wait in the channel; a sender blocks when there are more.
pub const QUEUE_MAX: usize = 1024;
/// Bytes that wait for the next commit; more are committed at once, before the second is over.
pub const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records that wait for the next commit; more are committed at once.
pub const PENDING_RECORDS_MAX: usize = 8192;
/// Time from the first draft that waits until it is committed.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Time from the first record that no checkpoint vouches for until one does.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_mins(1);

/// Called with the new head after each commit, on the store's thread: it must not block.
pub type OnCommit = Arc<dyn Fn(Head) + Send + Sync>;

/// Called once the reserve was given up, on the store's thread: it must not block.
pub type OnReserve = Arc<dyn Fn() + Send + Sync>;

/// How the thread works.
#[derive(Clone)]
pub struct StoreOptions {
    /// Tells when the interval is over.
    pub clock: Arc<dyn Clock>,
    /// [`COMMIT_INTERVAL`], or another one in tests.
    pub interval: Duration,
    /// [`CHECKPOINT_INTERVAL`], or another one in tests.
    pub checkpoint_interval: Duration,
    /// [`ROLL_BYTES`], or less in tests.
    pub roll_bytes: u64,
    /// Told of each commit.
    pub on_commit: OnCommit,
    /// Room to be given up when the disk is full, and who is told of it.
    pub reserve: Option<(Reserve, OnReserve)>,
}

impl StoreOptions {
    /// Commits once in [`COMMIT_INTERVAL`].
    pub fn new(clock: Arc<dyn Clock>, on_commit: OnCommit) -> Self {
        Self {
            clock,
            interval: COMMIT_INTERVAL,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            roll_bytes: ROLL_BYTES,
            on_commit,
            reserve: None,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// When drafts are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// With others, when the interval is over.
    Batched,
    /// At once, together with what waits: a first finding, a note, a phase.
    AtOnce,
}

/// Where drafts stand in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Sequence number of the first draft of the message.
    pub first: i64,
    /// Sequence number of the last draft of the message; `first - 1` when it had none.
    pub last: i64,
    /// The head of the commit that they were part of.
    pub head: Head,
}

/// The store's thread has ended and takes nothing more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the evidence store has stopped: {}", .reason.as_deref().map_or_else(|| "it was told to".to_owned(), ToString::to_string))]
pub struct StoreGone {
    /// Its error; none when it was stopped in order.
    pub reason: Option<Arc<StoreError>>,
}

/// A promise of an acknowledgement.
#[derive(Debug)]
pub struct Receipt {
    committed: Receiver<Committed>,
    failure: Failure,
}

impl Receipt {
    /// Waits until the drafts are on the disk.
    pub fn wait(self) -> Result<Committed, StoreGone> {
        self.committed.recv().map_err(|_| self.failure.gone())
    }
}

/// Set before the thread gives up its end of the channel.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<OnceLock<Arc<StoreError>>>);

impl Failure {
    fn gone(&self) -> StoreGone {
        StoreGone {
            reason: self.0.get().cloned(),
        }
    }
}

enum Message {
    Append {
        drafts: Vec<Draft>,
        urgency: Urgency,
        acknowledge: Option<SyncSender<Committed>>,
    },
    Inventory {
        change: u32,
        files: Vec<(String, Vec<u8>)>,
    },
    Stop,
}

/// Feeds the thread; may be cloned.
#[derive(Debug, Clone)]
pub struct StoreSender {
    channel: SyncSender<Message>,
    failure: Failure,
}

impl StoreSender {
    /// Hands drafts over, in order; blocks while the channel is full.
    pub fn append(&self, drafts: Vec<Draft>, urgency: Urgency) -> Result<(), StoreGone> {
        self.send(Message::Append {
            drafts,
            urgency,
            acknowledge: None,
        })
    }

    /// The same, and gives a receipt to wait on.
    pub fn append_acknowledged(
        &self,
        drafts: Vec<Draft>,
        urgency: Urgency,
    ) -> Result<Receipt, StoreGone> {
        let (sender, committed) = mpsc::sync_channel(1);
        self.send(Message::Append {
            drafts,
            urgency,
            acknowledge: Some(sender),
        })?;
        Ok(Receipt {
            committed,
            failure: self.failure.clone(),
        })
    }

    /// Keeps a version of the inventory's files, in order with the drafts; see
    /// [`Store::append_inventory`].
    pub fn append_inventory(
        &self,
        change: u32,
        files: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreGone> {
        self.send(Message::Inventory { change, files })
    }

    /// Commits what was handed over so far and waits for it.
    pub fn flush(&self) -> Result<Head, StoreGone> {
        self.append_acknowledged(Vec::new(), Urgency::AtOnce)?
            .wait()
            .map(|committed| committed.head)
    }

    fn send(&self, message: Message) -> Result<(), StoreGone> {
        self.channel.send(message).map_err(|_| self.failure.gone())
    }
}

/// The running thread.
#[derive(Debug)]
pub struct StoreThread {
    sender: StoreSender,
    thread: JoinHandle<Result<Store, Arc<StoreError>>>,
}

impl StoreThread {
    /// Starts the thread with a store that was opened (and whose unclean end was recorded) before.
    pub fn spawn(store: Store, options: StoreOptions) -> std::io::Result<Self> {
        let (channel, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let failure = Failure::default();
        let sender = StoreSender {
            channel,
            failure: failure.clone(),
        };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(store, &inbox, &options, &failure))?;
        Ok(Self { sender, thread })
    }

    /// A sender for another thread.
    pub fn sender(&self) -> StoreSender {
        self.sender.clone()
    }

    /// Whether it still takes drafts.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Commits what was handed over before this call, ends the thread and gives the store back.
    /// What others send later is refused.
    pub fn stop(self) -> Result<Store, Arc<StoreError>> {
        // It may have ended by itself; then its result tells why.
        let _ = self.sender.send(Message::Stop);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Arc::new(StoreError::ThreadLost)))
    }
}

fn run(
    store: Store,
    inbox: &Receiver<Message>,
    options: &StoreOptions,
    failure: &Failure,
) -> Result<Store, Arc<StoreError>> {
    let mut batcher = Batcher {
        store,
        options,
        drafts: Vec::new(),
        bytes: 0,
        deadline_nanos: None,
        vouch_nanos: None,
        waiting: Vec::new(),
    };
    batcher.look_at_what_waits();
    match batcher.work(inbox) {
        Ok(()) => Ok(batcher.store),
        Err(error) => {
            let error = Arc::new(error);
            // Set once, here; before `batcher` and `inbox` are dropped, which wakes the senders.
            let _ = failure.0.set(Arc::clone(&error));
            Err(error)
        }
    }
}

/// Who waits for an acknowledgement, and for which drafts of the batch.
struct Waiting {
    from: usize,
    until: usize,
    sender: SyncSender<Committed>,
}

/// What the thread holds between two commits.
struct Batcher<'a> {
    store: Store,
    options: &'a StoreOptions,
    drafts: Vec<Draft>,
    bytes: usize,
    /// On the monotonic clock; none while nothing waits.
    deadline_nanos: Option<i64>,
    /// When a checkpoint is due, on the same clock; none while it has nothing to vouch for.
    vouch_nanos: Option<i64>,
    waiting: Vec<Waiting>,
}

impl Batcher<'_> {
    fn work(&mut self, inbox: &Receiver<Message>) -> Result<(), StoreError> {
        loop {
            match self.receive(inbox) {
                Ok(Message::Append {
                    drafts,
                    urgency,
                    acknowledge,
                }) => {
                    self.take(drafts, acknowledge);
                    if urgency == Urgency::AtOnce || self.is_full() || self.is_due() {
                        self.commit()?;
                    }
                }
                Ok(Message::Inventory { change, files }) => {
                    // What was handed over before is recorded before.
                    self.commit()?;
                    let head =
                        self.with_reserve(&|store| store.append_inventory(change, &files))?;
                    self.look_at_what_waits();
                    (self.options.on_commit)(head);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.is_due() || self.is_vouching_due() {
                        self.commit()?;
                    }
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
        }
    }

    fn receive(&self, inbox: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        let deadlines = [self.deadline_nanos, self.vouch_nanos];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return inbox.recv().map_err(|_| RecvTimeoutError::Disconnected);
        };
        let left = deadline.saturating_sub(self.options.clock.monotonic_nanos());
        inbox.recv_timeout(Duration::from_nanos(u64::try_from(left).unwrap_or(0)))
    }

    fn take(&mut self, drafts: Vec<Draft>, acknowledge: Option<SyncSender<Committed>>) {
        let from = self.drafts.len();
        self.bytes += drafts.iter().map(Draft::size).sum::<usize>();
        self.drafts.extend(drafts);
        if let Some(sender) = acknowledge {
            self.waiting.push(Waiting {
                from,
                until: self.drafts.len(),
                sender,
            });
        }
        if self.deadline_nanos.is_none() {
            self.deadline_nanos = Some(self.after(self.options.interval));
        }
    }

    /// The moment after an interval.
    fn after(&self, interval: Duration) -> i64 {
        let interval = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        let now = self.options.clock.monotonic_nanos();
        now.saturating_add(interval)
    }

    /// After a commit: whether records wait for a checkpoint, and until when. While nothing is
    /// written none waits.
    fn look_at_what_waits(&mut self) {
        self.vouch_nanos = match self.store.unvouched() {
            0 => None,
            _ => self
                .vouch_nanos
                .or_else(|| Some(self.after(self.options.checkpoint_interval))),
        };
    }

    fn is_vouching_due(&self) -> bool {
        self.vouch_nanos
            .is_some_and(|deadline| self.options.clock.monotonic_nanos() >= deadline)
    }

    fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX || self.drafts.len() >= PENDING_RECORDS_MAX
    }

    fn is_due(&self) -> bool {
        self.deadline_nanos
            .is_some_and(|deadline| self.options.clock.monotonic_nanos() >= deadline)
    }

    /// Writes; on a full disk once more, with the room that was kept for it and a checkpoint behind
    /// what it was for. Whoever keeps the reserve is told, so that the watch ends.
    fn with_reserve(
        &mut self,
        write: &dyn Fn(&mut Store) -> Result<Head, StoreError>,
    ) -> Result<Head, StoreError> {
        match (write(&mut self.store), &self.options.reserve) {
            (Err(StoreError::DiskFull(_)), Some((reserve, tell))) if reserve.release() => {
                write(&mut self.store)?;
                let head = self.store.append_vouched(&[], Reason::Reserve)?;
                tell();
                Ok(head)
            }
            (written, _) => written,
        }
    }

    /// Between two commits: begins a new part where the one that is written is large enough.
    fn roll(&mut self) -> Result<(), StoreError> {
        if self.store.part_bytes()? < self.options.roll_bytes {
            return Ok(());
        }
        let before = self.store.head();
        let head = self.with_reserve(&Store::roll)?;
        if head != before {
            self.look_at_what_waits();
            (self.options.on_commit)(head);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.roll()?;
        let before = self.store.head();
        let due = self.is_vouching_due();
        let drafts = std::mem::take(&mut self.drafts);
        let head = self.with_reserve(&|store| store.append_due(&drafts, due));
        self.drafts = drafts;
        let head = head?;
        self.look_at_what_waits();
        self.drafts.clear();
        self.bytes = 0;
        self.deadline_nanos = None;
        if head != before {
            (self.options.on_commit)(head);
        }
        for waiting in self.waiting.drain(..) {
            let seq =
                |index: usize| before.seq + i64::try_from(index).unwrap_or(i64::MAX - before.seq);
            // Nobody waits any more when the receipt was dropped.
            let _ = waiting.sender.send(Committed {
                first: seq(waiting.from) + 1,
                last: seq(waiting.until),
                head,
            });
        }
        Ok(())
    }
}
