//! The probe: a child process under a UID of its own sends known flows to the lab's own host.
//!
//! In: where to. Out: what was sent, as an input of the core. The daemon itself sends nothing: the
//! child does, and only when it was asked for.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::{
    input::{ProbeFlow, ProbeMark, ProbeSent, SocketProto},
    platform::{
        clock::Clock,
        command::{self, OWN_PROGRAM},
    },
};

/// Name of the hidden command that sends.
pub const COMMAND: &str = "probe-send";
/// The UID that the probe sends under. Android leaves 5000 to 5999 to makers
/// (`AID_OEM_RESERVED_2_START`), gives none of them itself, and installs no app there; a maker that
/// uses this very number would have to send to the lab's host as well to be taken for the probe.
pub const PROBE_UID: u32 = 5_750;
/// The group whose members may use the network on older kernels of Android (`AID_INET`).
const INET_GROUP: u32 = 3003;
/// Most targets of a probe: it shows that the watch works, and is no load.
pub const TARGETS_MAX: usize = 8;
/// Datagrams that are sent to each target.
const DATAGRAMS: u64 = 3;
/// Time for a connection; one that is refused, or that nobody answers, was sent all the same.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Time for answers. One that finds no socket has the kernel itself send an error, which is nobody's.
const ANSWERS_MAX: Duration = Duration::from_secs(1);
/// A child that has not ended by then is ended.
const CHILD_MAX: Duration = Duration::from_secs(30);

/// What the child says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    flows: Vec<ProbeFlow>,
    failed: Option<String>,
}

/// Has the child send to `targets` and waits for it.
pub(super) fn send(targets: &[SocketAddr], mark: ProbeMark, clock: &dyn Clock) -> ProbeSent {
    let told = run_child(targets).unwrap_or_else(|error| Told {
        flows: Vec::new(),
        failed: Some(format!("the probe did not run: {error}")),
    });
    ProbeSent {
        at: clock.now(),
        mark,
        flows: told.flows,
        failed: told.failed,
    }
}

fn run_child(targets: &[SocketAddr]) -> io::Result<Told> {
    let mut child = Command::new(OWN_PROGRAM)
        .arg(COMMAND)
        .args(targets.iter().map(SocketAddr::to_string))
        .current_dir("/")
        .uid(PROBE_UID)
        .gid(INET_GROUP)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let pipe = child.stdout.take();
    let status = command::wait(&mut child, CHILD_MAX)?;
    let ended = status.is_some_and(|status| status.success());
    let mut said = Vec::new();
    if let Some(mut pipe) = pipe {
        // A few flows: it fits the pipe, so the child never waits for us.
        pipe.read_to_end(&mut said)?;
    }
    if !ended {
        return Err(io::Error::other("it did not end well"));
    }
    serde_json::from_slice(&said).map_err(io::Error::other)
}

/// The child's work: sends, and says on standard output what it sent.
pub fn send_and_tell(targets: &[SocketAddr]) -> io::Result<()> {
    command::end_with_parent(Signal::KILL);
    let mut told = Told::default();
    for target in targets {
        if let Err(error) = to_target(*target, &mut told.flows) {
            told.failed = Some(format!("{target}: {error}"));
        }
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &told)?;
    out.flush()
}

/// Keeps the socket open for what may come back.
fn take_answers(socket: &UdpSocket, packets: u64) -> io::Result<()> {
    socket.set_read_timeout(Some(ANSWERS_MAX))?;
    for _ in 0..packets {
        if socket.recv(&mut [0; 64]).is_err() {
            break; // Refused, or nobody answers: both are fine.
        }
    }
    Ok(())
}

fn to_target(target: SocketAddr, flows: &mut Vec<ProbeFlow>) -> io::Result<()> {
    let any: IpAddr = if target.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let token = format!("sakshi probe {}", std::process::id());
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    let local = socket.local_addr()?;
    let mut packets = 0;
    for _ in 0..DATAGRAMS {
        // Where nobody listens, an error comes back with the next one, which is then not sent.
        packets += u64::from(socket.send(token.as_bytes()).is_ok());
    }
    flows.push(ProbeFlow {
        proto: SocketProto::Udp,
        local,
        remote: target,
        packets,
    });
    take_answers(&socket, packets)?;
    let stream = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    stream.bind(&SocketAddr::new(local.ip(), 0).into())?;
    let own = stream.local_addr()?.as_socket();
    // Refused, or not answered: the first packet of it was sent.
    if stream.connect_timeout(&target.into(), CONNECT_MAX).is_ok() {
        (&stream).write_all(token.as_bytes())?;
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    flows.push(ProbeFlow {
        proto: SocketProto::Tcp,
        local: own.unwrap_or(local),
        remote: target,
        packets: 1,
    });
    Ok(())
}
