//! Flows that are over before anybody could ask whose they are.
//!
//! In: an action `short_flows`. Out: sockets that are closed as soon as they have sent, and what was
//! sent by whom.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{self, AddressFamily, SocketType, sockopt};
use sakshi_tests::{
    handset::{
        dns,
        script::{Action, Proto, Short},
    },
    seed::Seed,
};

use super::{App, Result, SHORT, udp_socket};

/// Bytes of an orphan: more than a first window, less than the socket's buffer.
const ORPHAN_BYTES: usize = 48 * 1024;
/// How often a shared port is tried before it counts as taken for good.
const TRIES_MAX: u32 = 2_000;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(1);

pub fn flows(app: &App, action: &Action) -> Result<()> {
    let Action::ShortFlows {
        count,
        kinds,
        to,
        resolvers,
        on_behalf_of,
        ports,
        pause_us,
        seed,
    } = action
    else {
        return Err("not an action of this kind".into());
    };
    let mut seed = Seed::new(*seed);
    for number in 0..*count {
        let kind = in_turn(kinds, number)?;
        let to = *chosen(to, &mut seed)?;
        let port = ports.start + u16::try_from(seed.below(u64::from(ports.end - ports.start)))?;
        match kind {
            Short::Connect => app.connect(to).map(drop)?,
            Short::Send => send(app, &udp_socket(to)?, to)?,
            Short::Orphan => app.connect(to)?.write_all(&vec![b'.'; ORPHAN_BYTES])?,
            Short::SharedUdp => send(app, &patiently(|| UdpSocket::bind(any(to, port)))?, to)?,
            Short::SharedTcp => shared_tcp(app, to, port)?,
            Short::Resolver => {
                let resolver = *chosen(resolvers, &mut seed)?;
                let id = u16::try_from(number % 0x1_0000)?;
                resolve(app, resolver, *in_turn(on_behalf_of, number)?, id)?;
            }
        }
        std::thread::sleep(Duration::from_micros(*pause_us));
    }
    Ok(())
}

fn in_turn<T>(of: &[T], number: u64) -> Result<&T> {
    let at = number
        .checked_rem(of.len() as u64)
        .ok_or("none to choose")?;
    Ok(of.get(usize::try_from(at)?).ok_or("none to choose")?)
}

fn chosen<'a, T>(of: &'a [T], seed: &mut Seed) -> Result<&'a T> {
    let at = usize::try_from(seed.below(of.len() as u64))?;
    Ok(of.get(at).ok_or("none to choose")?)
}

fn any(to: SocketAddr, port: u16) -> SocketAddr {
    if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, port).into()
    }
}

fn send(app: &App, socket: &UdpSocket, to: SocketAddr) -> Result<()> {
    socket.connect(to)?;
    socket.send(SHORT)?;
    app.say(Proto::Udp, socket.local_addr()?, to, app.uid, Some(1))
}

/// As netd: opened as root, given to the app, asked once, closed.
fn resolve(app: &App, to: SocketAddr, owner: u32, id: u16) -> Result<()> {
    let question = dns::question(id, "push-sg.sample.example", false).ok_or("not a name")?;
    let socket = udp_socket(to)?;
    let uid = app.give_to(&socket, Some(owner))?;
    socket.connect(to)?;
    socket.send(&question)?;
    app.say(Proto::Udp, socket.local_addr()?, to, uid, Some(1))
}

fn shared_tcp(app: &App, to: SocketAddr, port: u16) -> Result<()> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket: OwnedFd = patiently(|| {
        let socket = net::socket(family, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &any(to, port))?;
        net::connect(&socket, &to)?;
        Ok(socket)
    })?;
    // A reset leaves no TIME_WAIT.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(SHORT)?;
    app.say(Proto::Tcp, stream.local_addr()?, to, app.uid, None)
}

/// Tries again while another app has the port.
fn patiently<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 0;
    loop {
        match open() {
            Err(error)
                if tries < TRIES_MAX
                    && matches!(
                        error.kind(),
                        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
                    ) =>
            {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}
