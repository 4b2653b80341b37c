//! What answers on the virtual internet: DNS, TLS, HTTP, echo and discard.
//!
//! In: the table of hosts. Out: threads of the calling thread's namespace that live as long as the
//! process. TCP services listen on every address at once; UDP has a socket per address, since an
//! answer must come from the address that was asked.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{
    Error, Result, dns,
    places::{DISCARD, DNS, ECHO, HTTP, Host, NTP, TLS},
    tls::Authority,
};

/// How long the resolver thinks before it answers: about what a real one takes, and long enough
/// for the daemon to ask who owns the socket.
const RESOLVER_DELAY: Duration = Duration::from_millis(20);
/// A client that is silent for so long is left.
const PATIENCE: Duration = Duration::from_secs(10);
/// Threads that accept connections of a service.
const ACCEPTORS: usize = 2;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Largest request or DNS message that is read from a stream.
const MESSAGE_MAX: usize = 65_535;

type Service = fn(TcpStream, &Context) -> io::Result<()>;

struct Context {
    hosts: &'static [Host],
    tls: Arc<ServerConfig>,
}

/// Starts all services in the calling thread's namespace.
pub fn start(hosts: &'static [Host], authority: &Authority) -> Result<()> {
    let context = Arc::new(Context {
        hosts,
        tls: authority.server()?,
    });
    let services: [(u16, Service); 5] = [
        (TLS, serve_tls),
        (HTTP, serve_http),
        (DNS, serve_dns),
        (ECHO, serve_echo),
        (DISCARD, serve_discard),
    ];
    for (port, service) in services {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener =
            TcpListener::bind(any).map_err(Error::io(format!("listening on TCP port {port}")))?;
        for _ in 0..ACCEPTORS {
            let listener = listener
                .try_clone()
                .map_err(Error::io("sharing a listener"))?;
            let context = Arc::clone(&context);
            thread::spawn(move || accept(&listener, service, &context));
        }
    }
    for address in hosts.iter().flat_map(Host::addresses) {
        for port in [DNS, ECHO, DISCARD, NTP] {
            datagrams(address, port, hosts)?;
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, service: Service, context: &Arc<Context>) {
    for stream in listener.incoming().flatten() {
        let context = Arc::clone(context);
        thread::spawn(move || {
            let patient = stream
                .set_read_timeout(Some(PATIENCE))
                .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            // What an app does to its connection is the app's affair, not a failure of the host.
            drop(patient.and_then(|()| service(stream, &context)));
        });
    }
}

fn serve_echo(mut stream: TcpStream, _: &Context) -> io::Result<()> {
    let mut from = stream.try_clone()?;
    io::copy(&mut from, &mut stream).map(drop)
}

fn serve_discard(mut stream: TcpStream, _: &Context) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn serve_http(mut stream: TcpStream, _: &Context) -> io::Result<()> {
    answer_request(&mut stream)?;
    part(stream)
}

fn serve_tls(stream: TcpStream, context: &Context) -> io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(&context.tls)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    answer_request(&mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    part(stream.sock)
}

/// Says that no more will come, and waits for the app to do the same: a connection that is closed
/// with unread bytes would be reset.
fn part(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Reads an HTTP request's head and answers it.
fn answer_request(stream: &mut (impl io::Read + io::Write)) -> io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && request.len() < MESSAGE_MAX {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")?;
    stream.flush()
}

/// DNS over TCP: each message has its length before it (RFC 1035, 4.2.2).
fn serve_dns(mut stream: TcpStream, context: &Context) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    thread::sleep(RESOLVER_DELAY);
    let answer = dns::answer(&question, context.hosts).unwrap_or_default();
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend(answer);
    stream.write_all(&message)
}

fn datagrams(address: IpAddr, port: u16, hosts: &'static [Host]) -> Result<()> {
    let socket = UdpSocket::bind((address, port)).map_err(Error::io(format!(
        "listening on UDP port {port} of {address}"
    )))?;
    thread::spawn(move || {
        let mut buffer = vec![0; DATAGRAM_MAX];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let received = &buffer[..length];
            let reply = match port {
                DISCARD => None,
                DNS => {
                    thread::sleep(RESOLVER_DELAY);
                    dns::answer(received, hosts)
                }
                _ => Some(received.to_vec()),
            };
            if let Some(reply) = reply {
                // A lost answer is a lost datagram; the app asks again or goes without.
                drop(socket.send_to(&reply, peer));
            }
        }
    });
    Ok(())
}
