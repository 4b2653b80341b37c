//! The thread `process`: asks who holds a socket of a UID that is not one app.
//!
//! In: flows whose UID is the platform's, an isolated process's, or shared by several packages.
//! Out: a [`ProcessFact`] for each one that was found. Looking through `/proc` takes milliseconds,
//! so the capture thread only leaves a question in a queue of [`ASKED_MAX`]; what finds no room is
//! not asked, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher as _,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use foldhash::quality::FixedState;

use super::{LiveError, lookup::Ends, spawn};
use crate::{
    attribute::{
        process::{self, Process, ProcessBasis},
        sock_diag::SockDiag,
        uid::{self, AppId},
    },
    input::{Event, Gap, GapCause, ProcessFact},
    platform::clock::Clock,
    time::Timestamp,
};

/// Where processes are looked for.
const PROC: &str = "/proc";
/// Name of the thread.
const THREAD: &str = "process";
/// Questions that wait at most.
const ASKED_MAX: usize = 256;
/// Answers that wait for the capture thread at most.
const ANSWERS_MAX: usize = 1024;
/// Time that one question may take.
const SEARCH_NANOS_MAX: i64 = 50_000_000;
/// Sockets whose process is remembered; then all are forgotten. Inodes of sockets count up, so
/// that one is not given again soon.
const CACHED_MAX: usize = 1024;
/// UIDs whose processes are remembered; then all are forgotten.
const UIDS_MAX: usize = 64;
/// After this long the processes of a UID are looked for anew.
const PIDS_NANOS_MAX: i64 = 2_000_000_000;
/// Five-tuples that are remembered as asked; one that pushes another out is asked again.
const RECENT_MAX: usize = 1024;
/// After this long a five-tuple counts as new.
const RECENT_NANOS_MAX: i64 = 30_000_000_000;

/// A question.
#[derive(Debug, Clone, Copy)]
struct Question {
    ends: Ends,
    uid: u32,
    /// Inode of the socket; none: to be looked up.
    inode: Option<u32>,
}

/// Leaves questions, and takes answers.
pub(crate) struct ProcessAsker {
    /// App ids that several packages share.
    shared: BTreeSet<u32>,
    questions: Option<SyncSender<Question>>,
    answers: Receiver<ProcessFact>,
    thread: Option<JoinHandle<()>>,
    hasher: FixedState,
    recent: Box<[(u64, i64)]>,
    not_asked: u64,
}

impl ProcessAsker {
    /// Starts the thread, in the network namespace of the caller.
    pub(crate) fn start(shared: BTreeSet<u32>, clock: &Arc<dyn Clock>) -> Result<Self, LiveError> {
        let (questions, asked) = mpsc::sync_channel(ASKED_MAX);
        let (answer, answers) = mpsc::sync_channel(ANSWERS_MAX);
        let mut search = Search {
            diag: SockDiag::open().ok(),
            cache: BTreeMap::new(),
            pids: BTreeMap::new(),
            clock: Arc::clone(clock),
        };
        let thread = spawn(THREAD, move || {
            for question in asked {
                let start = search.clock.monotonic_nanos();
                if let Some(fact) = search.answer(question)
                    && answer.send(fact).is_err()
                {
                    return;
                }
                search.rest(start);
            }
        })?;
        Ok(Self {
            shared,
            questions: Some(questions),
            answers,
            thread: Some(thread),
            hasher: FixedState::with_seed(0),
            recent: vec![(0, i64::MIN); RECENT_MAX].into_boxed_slice(),
            not_asked: 0,
        })
    }

    /// Whether a UID needs its process: it is not one app.
    pub(crate) fn wants(&self, uid: u32) -> bool {
        match AppId::of(uid) {
            AppId::Platform(_) | AppId::AppZygoteIsolated(_) | AppId::Isolated(_) => true,
            AppId::App(appid) => self.shared.contains(&appid),
            _ => false,
        }
    }

    /// Leaves a question about a socket whose inode was just looked up.
    pub(crate) fn ask_of(&mut self, ends: Ends, uid: u32, inode: u32) {
        self.leave(Question {
            ends,
            uid,
            inode: Some(inode),
        });
    }

    /// Leaves a question about a socket, if its five-tuple is new.
    pub(crate) fn ask(&mut self, ends: Ends, uid: u32, monotonic: i64) {
        let hash = self.hasher.hash_one((ends.proto, ends.src, ends.dst));
        let slot = usize::try_from(hash % RECENT_MAX as u64).unwrap_or(0);
        let Some(seen) = self.recent.get_mut(slot) else {
            return;
        };
        let known = seen.0 == hash && monotonic.saturating_sub(seen.1) < RECENT_NANOS_MAX;
        *seen = (hash, monotonic);
        if !known || ends.opens {
            self.leave(Question {
                ends,
                uid,
                inode: None,
            });
        }
    }

    fn leave(&mut self, question: Question) {
        let Some(questions) = &self.questions else {
            return;
        };
        match questions.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.not_asked += 1,
        }
    }

    /// An answer that has come.
    pub(crate) fn next(&self) -> Option<Event> {
        self.answers.try_recv().ok().map(Event::ProcessFact)
    }

    /// What was not asked, as a gap; none when everything was.
    pub(crate) fn not_asked(&self, at: Timestamp) -> Option<Event> {
        (self.not_asked > 0).then(|| {
            Event::Gap(Gap {
                at,
                cause: GapCause::TableFull,
                from: None,
                to: Some(at),
                packets: None,
                place: "process names".to_owned(),
                detail: format!(
                    "{} flows came too fast for the process behind them to be looked up; their \
                     UIDs are known all the same",
                    self.not_asked
                ),
            })
        })
    }
}

impl Drop for ProcessAsker {
    fn drop(&mut self) {
        drop(self.questions.take());
        // A thread that waits for room ends when nobody takes its answers any more.
        let (_, closed) = mpsc::sync_channel(0);
        self.answers = closed;
        if let Some(thread) = self.thread.take() {
            // It ends after the question it is at; a panic of it ended the process already.
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Search {
    diag: Option<SockDiag>,
    cache: BTreeMap<(u32, u32), Option<Process>>,
    /// The processes of a UID, and when they were looked for.
    pids: BTreeMap<u32, (i64, Vec<u32>)>,
    clock: Arc<dyn Clock>,
}

impl Search {
    fn answer(&mut self, question: Question) -> Option<ProcessFact> {
        let Question { ends, uid, inode } = question;
        let isolated = uid::is_isolated(uid);
        let found = if isolated {
            self.pids.remove(&uid);
            let (_, pids) = self.pids_of(uid)?;
            process::only(Path::new(PROC), uid, &pids)
        } else {
            let inode = match inode {
                Some(inode) => inode,
                None => self.inode(&ends, uid)?,
            };
            self.of_socket(uid, inode)
        }?;
        Some(ProcessFact {
            at: self.clock.now(),
            proto: ends.proto,
            local: ends.src,
            remote: ends.dst,
            uid,
            pid: found.pid,
            process: found.name,
            basis: if isolated {
                ProcessBasis::ProcUid
            } else {
                ProcessBasis::ProcSocket
            },
        })
    }

    /// The socket's inode, if it still belongs to the UID.
    fn inode(&mut self, ends: &Ends, uid: u32) -> Option<u32> {
        let socket = self.diag.as_mut()?.owner(ends.proto, ends.src, ends.dst);
        let socket = socket.ok().flatten()?;
        (socket.uid == uid).then_some(socket.inode)
    }

    fn of_socket(&mut self, uid: u32, inode: u32) -> Option<Process> {
        if let Some(known) = self.cache.get(&(uid, inode)) {
            return known.clone();
        }
        let found = self.search(uid, inode);
        if self.cache.len() >= CACHED_MAX {
            self.cache.clear();
        }
        self.cache.insert((uid, inode), found.clone());
        found
    }

    /// Looks among the processes that were known to run under the UID; then, unless they were just
    /// looked for, among those that do now.
    fn search(&mut self, uid: u32, inode: u32) -> Option<Process> {
        let mut in_time = self.in_time();
        let (fresh, pids) = self.pids_of(uid)?;
        let found = process::of_socket(Path::new(PROC), (uid, &pids), inode, &mut in_time);
        if found.is_some() || fresh {
            return found;
        }
        self.pids.remove(&uid);
        let (_, pids) = self.pids_of(uid)?;
        process::of_socket(Path::new(PROC), (uid, &pids), inode, &mut in_time)
    }

    /// The processes of a UID, and whether they were looked for just now.
    fn pids_of(&mut self, uid: u32) -> Option<(bool, Vec<u32>)> {
        let now = self.clock.monotonic_nanos();
        if let Some((at, pids)) = self.pids.get(&uid)
            && now.saturating_sub(*at) < PIDS_NANOS_MAX
        {
            return Some((false, pids.clone()));
        }
        let mut in_time = self.in_time();
        let pids = process::under(Path::new(PROC), uid, &mut in_time)?;
        if self.pids.len() >= UIDS_MAX {
            self.pids.clear();
        }
        self.pids.insert(uid, (now, pids.clone()));
        Some((true, pids))
    }

    /// Rests as long as the work since `start` took, so that however many ask, half of one
    /// processor is the most that it takes.
    fn rest(&self, start: i64) {
        let worked = self.clock.monotonic_nanos().saturating_sub(start);
        let nanos = worked.clamp(0, 2 * SEARCH_NANOS_MAX);
        thread::sleep(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)));
    }

    /// True until the time for one question is over.
    fn in_time(&self) -> impl FnMut() -> bool + use<> {
        let clock = Arc::clone(&self.clock);
        let start = clock.monotonic_nanos();
        move || clock.monotonic_nanos().saturating_sub(start) < SEARCH_NANOS_MAX
    }
}
