//! What an app of the virtual handset does, and what it says it did.
//!
//! In and out: JSON, a [`Script`] on the app's standard input, a line per [`Sent`] on its standard
//! output. These lines are the truth that the daemon's records are compared with.

use std::{net::SocketAddr, ops::Range, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Transport protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One thing that an app does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// Asks a resolver for a name's address.
    Resolve {
        /// The name.
        name: String,
        /// Ask for AAAA, not A.
        ipv6: bool,
        /// Whom to ask.
        resolver: SocketAddr,
        /// Over TCP or UDP.
        over: Proto,
        /// Give the socket to this UID before asking, as Android's netd does for an app.
        on_behalf_of: Option<u32>,
    },
    /// A TLS handshake, a request and its answer.
    Tls {
        /// Server name.
        name: String,
        /// Address and port.
        to: SocketAddr,
    },
    /// An HTTP request in clear and its answer.
    Http {
        /// Host header.
        name: String,
        /// Address and port.
        to: SocketAddr,
    },
    /// Datagrams of `bytes` payload from one socket.
    Udp {
        /// Address and port.
        to: SocketAddr,
        /// Payload of each.
        bytes: usize,
        /// How many.
        packets: u64,
        /// Wait for an answer to each.
        answered: bool,
    },
    /// One datagram from a socket that stays open until a file is there.
    Hold {
        /// Address and port.
        to: SocketAddr,
        /// The file.
        until: PathBuf,
    },
    /// Datagrams from one socket, each when it is told to: while it waits, its socket can be tagged
    /// as netd does. In `folder` it writes the socket's cookie to `cookie` and, after the answer to
    /// datagram N, the file `did-N`; it sends when it finds `go-N`, from 1, and ends at `end`.
    Told {
        /// An echo host.
        to: SocketAddr,
        /// A folder that the app may write to.
        folder: PathBuf,
    },
    /// Connects and closes.
    TcpTouch {
        /// Address and port.
        to: SocketAddr,
    },
    /// Many short flows, TCP and UDP in turn, to echo hosts.
    Flows {
        /// How many.
        count: u64,
        /// Threads that make them.
        parallel: u64,
        /// Addresses and ports of echo hosts; chosen by the seed.
        to: Vec<SocketAddr>,
        /// Seed of the choice.
        seed: u64,
        /// How long each socket stays open after all is said, in milliseconds.
        #[serde(default)]
        open_ms: u64,
    },
    /// One five-tuple that changes hands: a socket for each owner, one after the other, from the
    /// same port, closed before the next is opened. Needs root.
    Inherit {
        /// Protocol of the sockets.
        proto: Proto,
        /// Local port.
        port: u16,
        /// An echo host.
        to: SocketAddr,
        /// To whom the sockets are given.
        owners: Vec<u32>,
        /// How long each stays open after all is said, in milliseconds.
        open_ms: u64,
    },
    /// As many datagrams as fast as the machine can, from several sockets; ends early after
    /// `seconds`.
    Flood {
        /// Address and port.
        to: SocketAddr,
        /// Payload of each.
        bytes: usize,
        /// Threads, each with a socket of its own.
        threads: u64,
        /// Datagrams of each thread.
        packets: u64,
        /// Datagrams a second of all threads together; 0: no bound.
        rate: u64,
        /// Seconds after which it ends.
        seconds: u64,
    },
    /// Many flows that are over at once.
    ShortFlows {
        /// How many.
        count: u64,
        /// How they are made, in turn.
        kinds: Vec<Short>,
        /// Addresses and ports of hosts; chosen by the seed.
        to: Vec<SocketAddr>,
        /// Where sockets of a resolver ask.
        resolvers: Vec<SocketAddr>,
        /// UIDs that sockets of a resolver are given to, in turn.
        on_behalf_of: Vec<u32>,
        /// Ports that apps share.
        ports: Range<u16>,
        /// Pause between two of them, in microseconds.
        pause_us: u64,
        /// Seed of the choice.
        seed: u64,
    },
}

/// How a short flow is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Short {
    /// TCP: connects and closes at once.
    Connect,
    /// UDP: sends once, closes at once.
    Send,
    /// TCP: writes more than one window holds and closes at once: the kernel sends the rest of it
    /// from a socket that no process has any more.
    Orphan,
    /// UDP from one of few ports, which other apps use as well; closed at once.
    SharedUdp,
    /// TCP from one of few ports, which other apps use as well; reset at once, so that the port is
    /// free again.
    SharedTcp,
    /// UDP: a socket that is given to another UID, as netd does; asks a resolver once, closes at
    /// once. Needs root.
    Resolver,
}

/// Everything that an app does, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Certificate that it trusts (DER).
    pub trusted_certificate: Vec<u8>,
    /// What it does.
    pub actions: Vec<Action>,
}

/// A flow that an app made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sent {
    /// Protocol.
    pub proto: Proto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// UID under which the app ran, or to which it gave the socket.
    pub uid: u32,
    /// Datagrams sent; none for TCP, whose packets the kernel makes.
    pub datagrams: Option<u64>,
}
