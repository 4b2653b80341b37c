//! The processes of a validation: the Internet, the handset, and those who send on it.
//!
//! In: what the command line of a child names. Out: real traffic, and on standard output what was
//! sent. Each ends when its parent does.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{
    CASE, Error, INVENTORY, network,
    plan::{PORT_DNS, PORT_HTTP, PORT_PLAIN, PORT_TLS, Plan, Step, What},
    truth, wire,
};
use crate::platform::command::{self, OWN_PROGRAM};

/// Name of the hidden command that starts a part.
pub const COMMAND: &str = "validate-part";
/// The group whose members may use the network on older kernels of Android (`AID_INET`).
const INET_GROUP: u32 = 3003;
/// What the daemon says once packets are watched.
const WATCHING: &str = "watching with ";
/// Time an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer that is late may have been lost: a question is sent again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// A daemon that was asked to stop has done so by then.
const STOP_MAX: Duration = Duration::from_mins(3);
/// Sockets of the resolver that stay open: as a busy resolver's do, for a while after the answer.
const KEPT_OPEN: usize = 128;

/// What a sender says that it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// What it was told.
    pub step: Step,
    /// The handset's end.
    pub local: SocketAddr,
    /// Datagrams that it sent; 0 for TCP.
    pub datagrams: u64,
}

/// What the handset says of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Every flow.
    pub sent: Vec<Sent>,
    /// Packets that the cable took from the handset while the daemon watched.
    pub cable: u64,
}

/// How the handset is set up.
#[derive(Debug, Clone)]
pub struct HandsetConfig {
    /// Process whose network namespace is the Internet.
    pub internet: u32,
    /// Folder of the inventory and the case.
    pub dir: PathBuf,
    /// Flows to send.
    pub flows: u32,
    /// Seed of the plan.
    pub seed: u64,
    /// What the daemon is started with beside its case and inventory.
    pub run: Vec<String>,
}

/// Answers whoever asks until the parent ends: says `ready` once it listens.
pub fn internet() -> Result<(), Error> {
    command::end_with_parent(Signal::KILL);
    let any = |port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listening = |port: u16| Error::io(format!("listening on port {port}"));
    for port in [PORT_HTTP, PORT_TLS, PORT_PLAIN] {
        let listener = TcpListener::bind(any(port)).map_err(listening(port))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || read_to_end(&stream));
            }
        });
    }
    // Nothing reads it: what finds no room is dropped here, when it has long been sent.
    let sink = UdpSocket::bind(any(PORT_PLAIN)).map_err(listening(PORT_PLAIN))?;
    let resolver = UdpSocket::bind(any(PORT_DNS)).map_err(listening(PORT_DNS))?;
    say("ready")?;
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = resolver.recv_from(&mut buffer) else {
            continue; // An answer to somebody who has gone.
        };
        if let Some(answer) = buffer.get(..length).and_then(wire::answer) {
            // Whoever asked asks again when it does not come.
            let _ = resolver.send_to(&answer, from);
        }
        let _ = &sink;
    }
}

fn say(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Error::io("talking to the parent"))
}

fn read_to_end(mut stream: &TcpStream) {
    // However it ended, it is over.
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// Watches with the daemon while the plan is carried out, and says what was sent.
pub fn handset(config: &HandsetConfig) -> Result<(), Error> {
    command::end_with_parent(Signal::KILL);
    network::join(config.internet)?;
    let plan = Plan::draw(config.flows, config.seed);
    let mut daemon = Daemon::start(&config.dir, &config.run)?;
    let before = network::sent()?;
    let mut sent = start_sender(None, &plan.resolver)?.finish()?;
    let running: Vec<Running> = plan
        .senders
        .iter()
        .zip(&truth::SENDERS)
        .map(|(steps, sender)| start_sender(Some(sender.uid), steps))
        .collect::<Result<_, _>>()?;
    for sender in running {
        sent.extend(sender.finish()?);
    }
    daemon.stop()?;
    // After the stop: what the daemon saw to its end had been sent by then.
    let cable = network::sent()? - before;
    let told = serde_json::to_string(&Told { sent, cable }).map_err(Error::json)?;
    say(&told)
}

/// The daemon under test, a process like any other.
struct Daemon {
    child: Child,
    said: Option<JoinHandle<String>>,
}

impl Daemon {
    fn start(dir: &Path, more: &[String]) -> Result<Self, Error> {
        let mut child = Command::new(OWN_PROGRAM)
            .args(["run", "--format", "json", "--end-with-parent", "--case"])
            .arg(dir.join(CASE))
            .arg("--inventory")
            .arg(dir.join(INVENTORY))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("starting the daemon"))?;
        let pipe = child.stderr.take();
        let mut daemon = Self { child, said: None };
        let mut lines = BufReader::new(pipe.ok_or_else(|| Error::Unexpected("no pipe".into()))?);
        let mut all = String::new();
        loop {
            let from = all.len();
            let read = lines
                .read_line(&mut all)
                .map_err(Error::io("listening to the daemon"))?;
            if all
                .get(from..)
                .is_some_and(|line| line.starts_with(WATCHING))
            {
                daemon.said = Some(thread::spawn(move || rest_of(lines)));
                return Ok(daemon);
            }
            if read == 0 {
                return Err(Error::Daemon(all.trim().to_owned()));
            }
        }
    }

    fn stop(&mut self) -> Result<(), Error> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Unexpected("the daemon has no number".into()))?;
        kill_process(pid, Signal::TERM)
            .map_err(|errno| Error::io("asking the daemon to stop")(errno.into()))?;
        let status = command::wait(&mut self.child, STOP_MAX)
            .map_err(Error::io("waiting for the daemon"))?;
        let said = self.said.take().and_then(|said| said.join().ok());
        match status {
            Some(status) if status.success() => Ok(()),
            _ => Err(Error::Daemon(said.unwrap_or_default().trim().to_owned())),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended in the good case; then both calls only say so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it still says, so that it never waits for a reader.
fn rest_of(mut lines: BufReader<ChildStderr>) -> String {
    let mut bytes = Vec::new();
    // An error that cannot be read in full still helps.
    let _ = lines.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A sender at work.
struct Running {
    child: Child,
    output: JoinHandle<io::Result<Vec<u8>>>,
}

/// Starts a process under `uid` (none: root) that carries out `steps`.
fn start_sender(uid: Option<u32>, steps: &[Step]) -> Result<Running, Error> {
    let mut command = Command::new(OWN_PROGRAM);
    command
        .args([COMMAND, "send"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(uid) = uid {
        // Supplementary groups go with the change of the UID.
        command.uid(uid).gid(INET_GROUP);
    }
    let mut child = command.spawn().map_err(Error::io("starting a sender"))?;
    let told = serde_json::to_vec(steps).map_err(Error::json)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let output = thread::spawn(move || {
        let mut said = Vec::new();
        if let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) {
            stdin.write_all(&told)?;
            drop(stdin);
            stdout.read_to_end(&mut said)?;
        }
        Ok(said)
    });
    Ok(Running { child, output })
}

impl Running {
    fn finish(mut self) -> Result<Vec<Sent>, Error> {
        let said = self.output.join();
        let said = said.map_err(|_| Error::Unexpected("a thread ended by a panic".to_owned()))?;
        let status = self
            .child
            .wait()
            .map_err(Error::io("waiting for a sender"))?;
        if !status.success() {
            return Err(Error::Unexpected(format!("a sender ended with {status}")));
        }
        let said = said.map_err(Error::io("listening to a sender"))?;
        serde_json::from_slice(&said).map_err(Error::json)
    }
}

/// Carries out the steps on standard input, as whoever it was started as.
pub fn send() -> Result<(), Error> {
    command::end_with_parent(Signal::KILL);
    let steps: Vec<Step> = serde_json::from_reader(io::stdin().lock()).map_err(Error::json)?;
    let mut open = VecDeque::new();
    let sent: Vec<Sent> = steps
        .into_iter()
        .map(|step| {
            let failed = Error::io(format!("{:?} to {} as {}", step.what, step.to, step.uid));
            carry_out(step, &mut open).map_err(failed)
        })
        .collect::<Result<_, _>>()?;
    let told = serde_json::to_string(&sent).map_err(Error::json)?;
    say(&told)
}

fn carry_out(step: Step, open: &mut VecDeque<UdpSocket>) -> io::Result<Sent> {
    let payload = step.payload();
    if step.what.is_tcp() {
        let mut stream = TcpStream::connect_timeout(&step.to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&payload)?;
        stream.shutdown(Shutdown::Write)?;
        // Until the other side is done: what is closed before has no owner any more.
        io::copy(&mut stream, &mut io::sink())?;
        let local = stream.local_addr()?;
        let datagrams = 0;
        return Ok(Sent {
            step,
            local,
            datagrams,
        });
    }
    let own: IpAddr = if step.to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((own, step.port))?;
    if step.given {
        rustix::fs::fchown(&socket, Some(rustix::fs::Uid::from_raw(step.uid)), None)?;
    }
    socket.connect(step.to)?;
    let local = socket.local_addr()?;
    let datagrams = if step.what == What::Question {
        ask(&socket, &payload)?
    } else {
        for _ in 0..step.datagrams {
            socket.send(&payload)?;
        }
        step.datagrams
    };
    if step.given {
        open.push_back(socket);
        if open.len() > KEPT_OPEN {
            open.pop_front();
        }
    }
    Ok(Sent {
        step,
        local,
        datagrams,
    })
}

/// Sends a question until an answer comes; gives how often.
fn ask(socket: &UdpSocket, question: &[u8]) -> io::Result<u64> {
    socket.set_read_timeout(Some(RETRY))?;
    let mut answer = [0; 1500];
    for attempt in 1..=PATIENCE.as_secs() / RETRY.as_secs() {
        socket.send(question)?;
        match socket.recv(&mut answer) {
            Ok(_) => return Ok(attempt),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
