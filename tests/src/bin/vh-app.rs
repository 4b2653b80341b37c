//! An app of the virtual handset.
//!
//! In: a script on standard input (`handset::script`). Out: real traffic, and a line per flow on
//! standard output. It runs under an app's UID and ends with an error when an action fails, so
//! that a test never compares with traffic that was not sent.

#[path = "vh-app/short.rs"]
mod short;

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket},
    os::{fd::AsFd, unix::fs::fchown},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use sakshi_tests::{
    handset::{
        dns,
        script::{Action, Proto, Script, Sent},
        tls,
    },
    seed::Seed,
    wait,
};

#[path = "vh-app/flood.rs"]
mod flood;

/// Time an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that is late may have been lost: datagrams are sent again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// How long a resolver's socket stays open after the answer, as a busy resolver's would.
const RESOLVER_LINGER: Duration = Duration::from_millis(100);
/// How long a socket is held open at most: a test that has not let go by then has failed.
const HOLD_MAX: Duration = Duration::from_mins(5);
/// Payload of a short flow.
const SHORT: &[u8] = b"a short flow of the virtual handset";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct App {
    uid: u32,
    tls: Arc<ClientConfig>,
    said: Mutex<Vec<Sent>>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vh-app: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let script: Script = serde_json::from_reader(io::stdin().lock())?;
    let app = App {
        uid: rustix::process::geteuid().as_raw(),
        tls: tls::client(&script.trusted_certificate)?,
        said: Mutex::new(Vec::new()),
    };
    let done = script.actions.iter().try_for_each(|action| {
        app.act(action)
            .map_err(|error| format!("{action:?}: {error}"))
    });
    app.report()?;
    Ok(done?)
}

impl App {
    fn act(&self, action: &Action) -> Result<()> {
        match action {
            Action::Resolve {
                name,
                ipv6,
                resolver,
                over,
                on_behalf_of,
            } => {
                let question = dns::question(0x5a5a, name, *ipv6).ok_or("not a name")?;
                match over {
                    Proto::Udp => self.resolve_udp(&question, *resolver, *on_behalf_of),
                    Proto::Tcp => self.resolve_tcp(&question, *resolver, *on_behalf_of),
                }
            }
            Action::Tls { name, to } => self.tls(name, *to),
            Action::Http { name, to } => self.http(name, *to),
            Action::Udp {
                to,
                bytes,
                packets,
                answered,
            } => self.datagrams(*to, *bytes, *packets, *answered),
            Action::Hold { to, until } => self.hold(*to, until),
            Action::Told { to, folder } => self.told(*to, folder),
            Action::TcpTouch { to } => {
                let stream = self.connect(*to)?;
                Ok(stream.shutdown(Shutdown::Both)?)
            }
            Action::Flows {
                count,
                parallel,
                to,
                seed,
                open_ms,
            } => {
                let open = Duration::from_millis(*open_ms);
                self.flows(*count, *parallel, (to, *seed), open)
            }
            Action::Inherit {
                proto,
                port,
                to,
                owners,
                open_ms,
            } => {
                let open = Duration::from_millis(*open_ms);
                owners
                    .iter()
                    .try_for_each(|owner| self.inherit(*proto, *port, *to, (*owner, open)))
            }
            Action::Flood { .. } => flood::run(action, |local, to, sent| {
                self.say(Proto::Udp, local, to, self.uid, Some(sent))
            }),
            Action::ShortFlows { .. } => short::flows(self, action),
        }
    }

    fn resolve_udp(&self, question: &[u8], to: SocketAddr, owner: Option<u32>) -> Result<()> {
        let socket = udp_socket(to)?;
        let uid = self.give_to(&socket, owner)?;
        socket.connect(to)?;
        let sent = ask(&socket, question)?;
        self.say(Proto::Udp, socket.local_addr()?, to, uid, Some(sent))?;
        thread::sleep(RESOLVER_LINGER);
        Ok(())
    }

    fn resolve_tcp(&self, question: &[u8], to: SocketAddr, owner: Option<u32>) -> Result<()> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        let uid = self.give_to(&stream, owner)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.say(Proto::Tcp, stream.local_addr()?, to, uid, None)?;
        let mut message = u16::try_from(question.len())?.to_be_bytes().to_vec();
        message.extend(question);
        stream.write_all(&message)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        thread::sleep(RESOLVER_LINGER);
        if answer.len() > 2 {
            Ok(())
        } else {
            Err("no answer".into())
        }
    }

    fn tls(&self, name: &str, to: SocketAddr) -> Result<()> {
        let stream = self.connect(to)?;
        let server = ServerName::try_from(name.to_owned())?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), server)?;
        let mut stream = StreamOwned::new(connection, stream);
        request(&mut stream, name)?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(stream.sock.shutdown(Shutdown::Write)?)
    }

    fn http(&self, name: &str, to: SocketAddr) -> Result<()> {
        let mut stream = self.connect(to)?;
        request(&mut stream, name)?;
        Ok(stream.shutdown(Shutdown::Write)?)
    }

    fn datagrams(&self, to: SocketAddr, bytes: usize, packets: u64, answered: bool) -> Result<()> {
        let socket = udp_socket(to)?;
        socket.connect(to)?;
        let payload = vec![b'.'; bytes];
        let mut sent = 0;
        for _ in 0..packets {
            if answered {
                sent += ask(&socket, &payload)?;
            } else {
                socket.send(&payload)?;
                sent += 1;
            }
        }
        self.say(Proto::Udp, socket.local_addr()?, to, self.uid, Some(sent))
    }

    fn hold(&self, to: SocketAddr, until: &Path) -> Result<()> {
        let socket = udp_socket(to)?;
        socket.connect(to)?;
        socket.send(SHORT)?;
        self.say(Proto::Udp, socket.local_addr()?, to, self.uid, Some(1))?;
        wait::until(HOLD_MAX, || until.exists().then_some(()))
            .ok_or_else(|| format!("{} did not appear", until.display()).into())
    }

    /// A socket that sends when it is told to.
    fn told(&self, to: SocketAddr, folder: &Path) -> Result<()> {
        let socket = udp_socket(to)?;
        socket.connect(to)?;
        let cookie = sockopt::socket_cookie(&socket)?;
        // Renamed, so that whoever finds it finds it whole.
        let unnamed = folder.join("cookie.new");
        std::fs::write(&unnamed, cookie.to_string())?;
        std::fs::rename(&unnamed, folder.join("cookie"))?;
        let mut sent = 0;
        for number in 1.. {
            let go = folder.join(format!("go-{number}"));
            let end = folder.join("end");
            let ended = wait::until(HOLD_MAX, || {
                go.exists()
                    .then_some(false)
                    .or(end.exists().then_some(true))
            });
            if ended.ok_or("nothing was told")? {
                break;
            }
            sent += ask(&socket, SHORT)?;
            std::fs::write(folder.join(format!("did-{number}")), "")?;
        }
        self.say(Proto::Udp, socket.local_addr()?, to, self.uid, Some(sent))
    }

    fn flows(
        &self,
        count: u64,
        parallel: u64,
        (to, seed): (&[SocketAddr], u64),
        open: Duration,
    ) -> Result<()> {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..parallel)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut seed = Seed::new(seed ^ (thread << 32));
                        let mut mine = (thread..count).step_by(usize::try_from(parallel)?);
                        mine.try_for_each(|number| {
                            let choice = usize::try_from(seed.below(to.len() as u64))?;
                            let to = *to.get(choice).ok_or("no host to choose")?;
                            self.short_flow(number, to, open)
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread of the app panicked")?)
        })
    }

    fn short_flow(&self, number: u64, to: SocketAddr, open: Duration) -> Result<()> {
        if number % 2 == 1 {
            let socket = udp_socket(to)?;
            socket.connect(to)?;
            let sent = ask(&socket, SHORT)?;
            self.say(Proto::Udp, socket.local_addr()?, to, self.uid, Some(sent))?;
            thread::sleep(open);
            return Ok(());
        }
        let mut stream = self.connect(to)?;
        stream.write_all(SHORT)?;
        // Before the connection ends: what is closed on both sides has no owner either.
        thread::sleep(open);
        // The socket is closed only after the other side is done: an orphaned socket has no owner.
        stream.shutdown(Shutdown::Write)?;
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo)?;
        Ok(())
    }

    /// A socket from a port that the one before had, given to `owner` before it says anything.
    fn inherit(
        &self,
        proto: Proto,
        port: u16,
        to: SocketAddr,
        (owner, open): (u32, Duration),
    ) -> Result<()> {
        let any = any_address(to, port);
        match proto {
            Proto::Udp => {
                let socket = UdpSocket::bind(any)?;
                self.give_to(&socket, Some(owner))?;
                socket.connect(to)?;
                let sent = ask(&socket, SHORT)?;
                self.say(proto, socket.local_addr()?, to, owner, Some(sent))?;
                thread::sleep(open);
            }
            Proto::Tcp => {
                let family = if to.is_ipv4() {
                    AddressFamily::INET
                } else {
                    AddressFamily::INET6
                };
                let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
                sockopt::set_socket_reuseaddr(&socket, true)?;
                // Closed with a reset, so that the port is free at once.
                sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
                rustix::net::bind(&socket, &any)?;
                self.give_to(&socket, Some(owner))?;
                rustix::net::connect(&socket, &to)?;
                let mut stream = TcpStream::from(socket);
                self.say(proto, stream.local_addr()?, to, owner, None)?;
                stream.write_all(SHORT)?;
                stream.read_exact(&mut [0; SHORT.len()])?;
                thread::sleep(open);
            }
        }
        Ok(())
    }

    fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.say(Proto::Tcp, stream.local_addr()?, to, self.uid, None)?;
        Ok(stream)
    }

    /// Gives a socket to another UID, as netd does for the app on whose behalf it asks.
    fn give_to(&self, socket: &impl AsFd, owner: Option<u32>) -> Result<u32> {
        if let Some(uid) = owner {
            fchown(socket, Some(uid), None)?;
        }
        Ok(owner.unwrap_or(self.uid))
    }

    fn say(
        &self,
        proto: Proto,
        local: SocketAddr,
        remote: SocketAddr,
        uid: u32,
        datagrams: Option<u64>,
    ) -> Result<()> {
        let mut said = self
            .said
            .lock()
            .map_err(|_| "a thread of the app panicked")?;
        said.push(Sent {
            proto,
            local,
            remote,
            uid,
            datagrams,
        });
        Ok(())
    }

    fn report(&self) -> Result<()> {
        let said = self
            .said
            .lock()
            .map_err(|_| "a thread of the app panicked")?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        for sent in said.iter() {
            serde_json::to_writer(&mut out, sent)?;
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
}

fn udp_socket(to: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(any_address(to, 0))
}

/// Any own address of the family of `to`, with a port.
fn any_address(to: SocketAddr, port: u16) -> SocketAddr {
    if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, port).into()
    }
}

/// Sends a datagram until an answer comes; gives how often it was sent.
fn ask(socket: &UdpSocket, question: &[u8]) -> io::Result<u64> {
    socket.set_read_timeout(Some(RETRY))?;
    let mut answer = vec![0; 65_535];
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

/// Sends an HTTP request with a small body and reads the answer to its end.
fn request(stream: &mut (impl io::Read + io::Write), name: &str) -> Result<()> {
    // In one piece, as HTTP libraries write it.
    let head = format!("GET /v1/report HTTP/1.1\r\nHost: {name}\r\nUser-Agent: vh-app\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err("the host did not answer the request".into())
    }
}
