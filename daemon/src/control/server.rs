//! The daemon's side of the control socket, and its signals.
//!
//! In: connections of the same user, SIGINT and SIGTERM. Out: requests to the engine, answers, and
//! the reason to stop. Runs on the current thread until there is one.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot, watch},
};

use super::{
    protocol::{Answer, LINE_MAX, PHASE_NAME, REMARK, Request, Status, checked_text},
    socket,
};
use crate::{
    evidence::{Case, FileEntry, Head},
    input::{Observation, ProbeSent, checked_observation},
    platform::machine,
    time::Timestamp,
};

/// Connections that are served at once; a further one is closed at once.
pub const CONNECTIONS_MAX: usize = 16;

/// What the server hands to the engine.
#[derive(Debug)]
pub enum Order {
    /// A remark; the head after it was committed comes back.
    Note(String, oneshot::Sender<Result<Head, String>>),
    /// A phase; likewise.
    Phase(String, oneshot::Sender<Result<Head, String>>),
    /// What the PC, Android or the technician told, and the case's copy of a file that belongs to
    /// it; likewise.
    Observe(
        Observation,
        Option<FileEntry>,
        oneshot::Sender<Result<Head, String>>,
    ),
    /// What our own probe sent.
    Probe(ProbeSent),
}

/// What server and engine share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// How it is going; the engine writes it at every commit.
    pub status: Arc<Mutex<Status>>,
    /// The case that is written.
    pub case: Case,
    /// The last durable record.
    pub head: watch::Receiver<Head>,
    /// Orders to the engine.
    pub orders: mpsc::Sender<Order>,
    /// The engine or the store has ended by itself.
    pub ended: Arc<Notify>,
    /// The room that was kept in reserve is in use.
    pub full: Arc<Notify>,
}

/// Why the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// `sakshi stop`.
    Asked,
    /// SIGINT or SIGTERM.
    Signal,
    /// A part of the daemon ended by itself; its error tells why.
    Failure,
    /// No room is left for the case but what was kept in reserve.
    DiskFull,
}

impl StopReason {
    /// As the stop record says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Signal => "signal",
            Self::Failure => "failure",
            Self::DiskFull => "disk_full",
        }
    }
}

/// A socket that is listened on; removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        socket::remove(&self.path);
    }
}

impl Server {
    /// Listens on the socket of the case with this id. A socket that a crash left is replaced: the
    /// lock on the case says that nobody else writes it.
    pub fn bind(case_id: &str) -> io::Result<Self> {
        socket::make_folder()?;
        let path = socket::path(case_id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until there is a reason to stop. Connections that asked for the stop are closed when
    /// the process ends, so that `sakshi stop` returns when everything is written.
    pub fn serve(
        &self,
        shared: &Shared,
    ) -> io::Result<(StopReason, Vec<std::os::unix::net::UnixStream>)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let result = runtime.block_on(self.serve_async(shared));
        runtime.shutdown_timeout(Duration::from_millis(100));
        result
    }

    async fn serve_async(
        &self,
        shared: &Shared,
    ) -> io::Result<(StopReason, Vec<std::os::unix::net::UnixStream>)> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        let (stop_sender, mut stop) = tokio::sync::mpsc::channel(CONNECTIONS_MAX);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let (shared, stop) = (shared.clone(), stop_sender.clone());
                    tokio::spawn(async move {
                        // A connection that breaks off concerns only the one who broke it off.
                        let _ = serve_one(stream, shared, stop).await;
                        drop(place);
                    });
                }
                asked = stop.recv() => {
                    let waiting: Vec<_> = asked.into_iter().collect();
                    return Ok((StopReason::Asked, waiting));
                }
                _ = interrupt.recv() => return Ok((StopReason::Signal, Vec::new())),
                _ = terminate.recv() => return Ok((StopReason::Signal, Vec::new())),
                () = shared.full.notified() => return Ok((StopReason::DiskFull, Vec::new())),
                () = shared.ended.notified() => return Ok((StopReason::Failure, Vec::new())),
            }
        }
    }
}

type StopSender = tokio::sync::mpsc::Sender<std::os::unix::net::UnixStream>;

async fn serve_one(stream: UnixStream, shared: Shared, stop: StopSender) -> io::Result<()> {
    if stream.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    while let Some(line) = next_line(&mut lines).await? {
        match serde_json::from_str::<Request>(&line) {
            Ok(Request::Stop) => {
                send(&mut write, &Answer::Stopping).await?;
                let stream = lines
                    .into_inner()
                    .reunite(write)
                    .map_err(io::Error::other)?
                    .into_std()?;
                return stop.send(stream).await.map_err(io::Error::other);
            }
            Ok(Request::Follow) => return follow(write, shared.head).await,
            Ok(request) => send(&mut write, &answer(request, &shared).await).await?,
            Err(error) => {
                send(
                    &mut write,
                    &failed(format!("the request is not understood: {error}")),
                )
                .await?;
            }
        }
    }
    Ok(())
}

async fn next_line(lines: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let bound = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    let read = lines.take(bound).read_line(&mut line).await?;
    Ok((read > 0 && line.ends_with('\n')).then_some(line))
}

async fn answer(request: Request, shared: &Shared) -> Answer {
    match request {
        Request::Status => {
            let mut status = shared
                .status
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let head = *shared.head.borrow();
            (status.seq, status.hash) = (head.seq, head.hash.to_string());
            status.bytes_written = machine::bytes_written();
            Answer::Status(Box::new(status))
        }
        Request::Note { text } => order(&text, REMARK, shared, Order::Note).await,
        Request::Phase { name } => order(&name, PHASE_NAME, shared, Order::Phase).await,
        Request::Observe {
            source,
            topic,
            facts,
            file,
        } => {
            let told = Observation {
                at: Timestamp::default(), // Whoever takes it says when.
                source,
                topic,
                facts,
            };
            match with_file(told, file.as_deref(), &shared.case) {
                Ok((told, kept)) => {
                    hand_over(shared, |reply| Order::Observe(told, kept, reply)).await
                }
                Err(refused) => failed(refused),
            }
        }
        Request::Stop | Request::Follow => failed("not answered here".to_owned()),
    }
}

/// Keeps a copy of the file that belongs to an observation and says so in it. A failure is the
/// asker's alone: the watch goes on.
fn with_file(
    mut told: Observation,
    file: Option<&Path>,
    case: &Case,
) -> Result<(Observation, Option<FileEntry>), String> {
    let check = |told: &Observation| {
        checked_observation(&told.source, &told.topic, &told.facts).map_err(|no| no.to_string())
    };
    check(&told)?;
    let Some(file) = file else {
        return Ok((told, None));
    };
    let kept = case.keep_exhibit(file).map_err(|no| no.to_string())?;
    let facts = [
        ("file", kept.path.clone()),
        ("file_bytes", kept.bytes.to_string()),
        ("file_sha256", kept.sha256.to_string()),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    told.facts.extend(facts);
    check(&told)?;
    Ok((told, Some(kept)))
}

async fn order(
    text: &str,
    what: &'static str,
    shared: &Shared,
    make: impl FnOnce(String, oneshot::Sender<Result<Head, String>>) -> Order,
) -> Answer {
    let text = match checked_text(text, what) {
        Ok(text) => text,
        Err(refused) => return failed(refused.to_string()),
    };
    hand_over(shared, |reply| make(text.to_owned(), reply)).await
}

async fn hand_over(
    shared: &Shared,
    make: impl FnOnce(oneshot::Sender<Result<Head, String>>) -> Order,
) -> Answer {
    let (sender, receiver) = oneshot::channel();
    if shared.orders.send(make(sender)).is_err() {
        return failed("the daemon is ending".to_owned());
    }
    match receiver.await {
        Ok(Ok(head)) => Answer::committed(head),
        Ok(Err(reason)) => failed(reason),
        Err(_) => failed("the daemon ended before it was committed".to_owned()),
    }
}

async fn follow(mut write: OwnedWriteHalf, mut head: watch::Receiver<Head>) -> io::Result<()> {
    loop {
        let now = *head.borrow_and_update();
        send(&mut write, &Answer::committed(now)).await?;
        if head.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn failed(reason: String) -> Answer {
    Answer::Failed { reason }
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer).map_err(io::Error::other)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}
