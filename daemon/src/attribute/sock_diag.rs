//! Asks the kernel who owns a socket (`sock_diag(7)`, `NETLINK_SOCK_DIAG`).
//!
//! In: a socket's protocol and both its ends. Out: its owner as it is now, `fchown` included, or
//! nothing. Unlike NFLOG's UID, which is the creator's, this one is the app for which netd opened
//! a resolver socket. Nothing is sent to the network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::{
    io::Errno,
    net::{RecvFlags, sockopt},
};

use crate::input::SocketProto;

/// How long an answer may take. The kernel answers within the request's own system call; this only
/// keeps a broken kernel from holding the caller.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
/// Datagrams of one answer that are read at most.
const ANSWER_DATAGRAMS_MAX: usize = 4096;
/// The kernel sends dumps in datagrams of up to 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// A cookie that stands for none (`INET_DIAG_NOCOOKIE`).
pub(super) const NO_COOKIE: [u8; 8] = [0xff; 8];
/// A socket that waits for connections (`TCP_LISTEN`).
const STATE_LISTEN: u8 = 10;

/// A socket that the kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its owner.
    pub uid: u32,
    /// Its inode; never 0 here.
    pub inode: u32,
    /// Its state, as the kernel numbers TCP's states (7 for UDP that is not connected).
    pub state: u8,
    /// The kernel's number of it, never given to a second one until the next boot.
    pub cookie: Option<u64>,
}

/// Why the kernel could not be asked. That it knows no such socket is no error.
#[derive(Debug, thiserror::Error)]
pub enum SockDiagError {
    /// The request failed.
    #[error("sock_diag: {step}: {source}; the owner of sockets cannot be looked up")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It gave no end of its answer.
    #[error("sock_diag: the kernel's answer did not end")]
    NoAnswer,
    /// It gave something that we can't read.
    #[error("sock_diag: the kernel's answer cannot be read: {0}")]
    Malformed(String),
}

/// A connection to the kernel's socket tables, in the network namespace where it was opened.
pub struct SockDiag {
    netlink: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
}

impl SockDiag {
    /// Opens it. Needs no privilege.
    pub fn open() -> Result<Self, SockDiagError> {
        let mut netlink = Netlink::new(NETLINK_SOCK_DIAG).map_err(failed("open"))?;
        netlink.bind_auto().map_err(failed("bind"))?;
        netlink
            .connect(&NetlinkAddr::new(0, 0))
            .map_err(failed("connect"))?;
        sockopt::set_socket_timeout(&netlink, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|errno| failed("set a timeout")(errno.into()))?;
        Ok(Self {
            netlink,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            sequence: 0,
        })
    }

    /// The socket with these ends; none when there is none, when it has no owner any more (its
    /// inode is 0), or when it cannot be told which of several it is.
    pub fn owner(
        &mut self,
        proto: SocketProto,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<Socket>, SockDiagError> {
        let local = canonical(local);
        let remote = canonical(remote);
        // The kernel looks a UDP socket up as if the request were a packet that it received, so
        // there the remote end is the source (Android's InetDiagMessage does the same).
        let (source, destination) = match proto {
            SocketProto::Tcp => (local, remote),
            SocketProto::Udp => (remote, local),
        };
        let request = request(proto, family(local.ip()), source, destination, NO_COOKIE);
        let mut exact = None;
        self.ask(request, 0, |response| {
            if ends(response) == (local, remote) && response.header.state != STATE_LISTEN {
                exact = Some(socket(response));
            }
        })?;
        match (exact, proto) {
            (Some(found), _) => Ok(found),
            (None, SocketProto::Tcp) => Ok(None),
            (None, SocketProto::Udp) => self.only_udp_socket(local, remote),
        }
    }

    /// The one UDP socket that can have sent from `local` to `remote` without being connected.
    fn only_udp_socket(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<Socket>, SockDiagError> {
        let families: &[u8] = if local.is_ipv4() {
            &[AF_INET, AF_INET6]
        } else {
            &[AF_INET6]
        };
        let mut candidates = 0_usize;
        let mut found = None;
        for &family in families {
            let any: IpAddr = if family == AF_INET {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            };
            let source = SocketAddr::new(any, local.port());
            let all = request(
                SocketProto::Udp,
                family,
                source,
                SocketAddr::new(any, 0),
                [0; 8],
            );
            self.ask(all, NLM_F_DUMP, |response| {
                if can_have_sent(response, local, remote) {
                    candidates += 1;
                    found = socket(response);
                }
            })?;
        }
        Ok(if candidates == 1 { found } else { None })
    }

    /// Sends a request and gives each socket of the answer to `each`.
    fn ask(
        &mut self,
        request: InetRequest,
        flags: u16,
        mut each: impl FnMut(&InetResponse),
    ) -> Result<(), SockDiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.netlink.send(&bytes, 0).map_err(failed("ask"))?;
        for _ in 0..ANSWER_DATAGRAMS_MAX {
            let len = self.receive()?;
            let datagram = self.buffer.get(..len).unwrap_or_default();
            for message in messages(datagram) {
                let message = message?;
                if message.header.sequence_number != self.sequence {
                    // The late answer to a request that timed out.
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        each(&response);
                        if flags & NLM_F_DUMP == 0 {
                            return Ok(());
                        }
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return answered_no(error.to_io()),
                    _ => {}
                }
            }
        }
        Err(SockDiagError::NoAnswer)
    }

    fn receive(&mut self) -> Result<usize, SockDiagError> {
        loop {
            return match rustix::net::recv(
                self.netlink.as_fd(),
                &mut self.buffer[..],
                RecvFlags::empty(),
            ) {
                Ok((_, len)) => Ok(len),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Err(SockDiagError::NoAnswer),
                Err(errno) => Err(failed("read the answer")(errno.into())),
            };
        }
    }
}

/// Reads the messages of a datagram of the kernel, in their order; ends after the first that
/// cannot be read.
pub fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<SockDiagMessage>, SockDiagError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
            .map_err(|error| SockDiagError::Malformed(error.to_string()));
        let used = message.as_ref().map_or(usize::MAX, |message| {
            usize::try_from(message.header.length).unwrap_or(usize::MAX)
        });
        let used = used.checked_next_multiple_of(4).unwrap_or(usize::MAX);
        rest = rest.get(used.max(4)..).unwrap_or_default();
        Some(message)
    })
}

/// An exact question about a socket that is not there is answered with `ENOENT`.
fn answered_no(error: io::Error) -> Result<(), SockDiagError> {
    if Errno::from_io_error(&error) == Some(Errno::NOENT) {
        return Ok(());
    }
    Err(failed("ask")(error))
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> SockDiagError {
    move |source| SockDiagError::Io { step, source }
}

/// An IPv4-mapped IPv6 address as what goes over the wire: an IPv4 one.
fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

const fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn request(
    proto: SocketProto,
    family: u8,
    source: SocketAddr,
    destination: SocketAddr,
    cookie: [u8; 8],
) -> InetRequest {
    InetRequest {
        family,
        protocol: match proto {
            SocketProto::Tcp => IPPROTO_TCP,
            SocketProto::Udp => IPPROTO_UDP,
        },
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: source.port(),
            destination_port: destination.port(),
            source_address: source.ip(),
            destination_address: destination.ip(),
            interface_id: 0,
            cookie,
        },
    }
}

/// The local and the remote end of a socket.
pub(super) fn ends(response: &InetResponse) -> (SocketAddr, SocketAddr) {
    let id = &response.header.socket_id;
    (
        canonical(SocketAddr::new(id.source_address, id.source_port)),
        canonical(SocketAddr::new(id.destination_address, id.destination_port)),
    )
}

/// None for a row without an inode: it says uid 0 and means nothing.
fn socket(response: &InetResponse) -> Option<Socket> {
    let header = &response.header;
    (header.inode != 0).then_some(Socket {
        uid: header.uid,
        inode: header.inode,
        state: header.state,
        cookie: cookie(header.socket_id.cookie),
    })
}

/// A cookie comes as two words of the machine's byte order, the lower one first.
fn cookie(bytes: [u8; 8]) -> Option<u64> {
    let [low, high] = [bytes.first_chunk::<4>(), bytes.last_chunk::<4>()]
        .map(|word| word.map_or(0, |word| u64::from(u32::from_ne_bytes(*word))));
    (bytes != NO_COOKIE).then_some(high << 32 | low)
}

/// Whether a UDP socket can send from `local` to `remote`.
fn can_have_sent(response: &InetResponse, local: SocketAddr, remote: SocketAddr) -> bool {
    let (own_local, own_remote) = ends(response);
    let v6_only = response
        .nlas
        .iter()
        .any(|nla| matches!(nla, Nla::SkV6Only(true)));
    let speaks_family = own_local.ip() == local.ip()
        || (own_local.ip().is_unspecified()
            && (own_local.is_ipv4() == local.is_ipv4() || (!own_local.is_ipv4() && !v6_only)));
    let goes_there =
        own_remote == remote || (own_remote.ip().is_unspecified() && own_remote.port() == 0);
    own_local.port() == local.port() && speaks_family && goes_there
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::fs::MetadataExt,
    };

    use netlink_packet_core::Parseable;
    use proptest::prelude::*;

    use super::*;

    fn my_uid() -> u32 {
        std::fs::metadata("/proc/self").unwrap().uid()
    }

    fn udp(proto_local: SocketAddr, remote: &str) -> Option<Socket> {
        SockDiag::open()
            .unwrap()
            .owner(SocketProto::Udp, proto_local, remote.parse().unwrap())
            .unwrap()
    }

    #[test]
    fn finds_a_tcp_socket_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let mut diag = SockDiag::open().unwrap();
        let found = diag
            .owner(SocketProto::Tcp, local, remote)
            .unwrap()
            .unwrap();
        assert_eq!(found.uid, my_uid());
        let elsewhere = SocketAddr::new(remote.ip(), 9);
        assert_eq!(
            diag.owner(SocketProto::Tcp, local, elsewhere).unwrap(),
            None
        );
        // A listener on the port is not the sender.
        let listening = listener.local_addr().unwrap();
        assert_eq!(
            diag.owner(SocketProto::Tcp, listening, elsewhere).unwrap(),
            None
        );
    }

    #[test]
    fn finds_a_v4_connection_of_a_v6_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let Ok(stream) = TcpStream::connect((mapped, port)) else {
            return;
        };
        // The packet on the wire is an IPv4 one.
        let local = canonical(stream.local_addr().unwrap());
        assert!(local.is_ipv4());
        let remote = listener.local_addr().unwrap();
        let mut diag = SockDiag::open().unwrap();
        let found = diag.owner(SocketProto::Tcp, local, remote).unwrap();
        assert_eq!(found.map(|socket| socket.uid), Some(my_uid()));
    }

    #[test]
    fn finds_a_connected_udp_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:53").unwrap();
        let found = udp(socket.local_addr().unwrap(), "127.0.0.1:53").unwrap();
        assert_eq!(found.uid, my_uid());
        assert_eq!(udp(socket.local_addr().unwrap(), "127.0.0.1:54"), None);
    }

    #[test]
    fn finds_a_wildcard_udp_socket_of_either_family() {
        for (bind, local, remote) in [
            ("0.0.0.0:0", "127.0.0.1", "127.0.0.1:53"),
            ("[::]:0", "127.0.0.1", "127.0.0.1:53"),
            ("[::]:0", "::1", "[::1]:53"),
        ] {
            let Ok(socket) = UdpSocket::bind(bind) else {
                assert!(bind.starts_with('['), "{bind} cannot be bound");
                continue;
            };
            let port = socket.local_addr().unwrap().port();
            let local = SocketAddr::new(local.parse().unwrap(), port);
            let found = udp(local, remote).unwrap();
            assert_eq!(found.uid, my_uid(), "{bind}");
        }
    }

    #[test]
    fn does_not_choose_between_two() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let Ok(_other) = UdpSocket::bind(("::1", port)) else {
            return;
        };
        // The one at ::1 cannot send from 127.0.0.1, so there is no choice to make yet.
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        assert!(udp(local, "127.0.0.1:53").is_some());
        let one: SocketAddr = ([127, 0, 0, 1], port).into();
        let rows = [("0.0.0.0", true), ("127.0.0.1", true), ("127.0.0.2", false)];
        for (address, can) in rows {
            let response = row(address);
            let sent = can_have_sent(
                &with_port(response, port),
                one,
                "127.0.0.1:53".parse().unwrap(),
            );
            assert_eq!(sent, can, "{address}");
        }
    }

    fn row(local: &str) -> InetResponse {
        // `struct inet_diag_msg` with nothing in it but the family and the state.
        let mut bytes = [0; 72];
        bytes[..2].copy_from_slice(&[AF_INET, 7]);
        let mut row = InetResponse::parse(&bytes[..]).unwrap();
        row.header.socket_id.source_address = local.parse().unwrap();
        row
    }

    fn with_port(mut response: InetResponse, port: u16) -> InetResponse {
        response.header.socket_id.source_port = port;
        response
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / 4 + 1);
        }
    }

    #[test]
    fn a_row_without_inode_names_nobody() {
        assert_eq!(socket(&row("0.0.0.0")), None);
    }
}
