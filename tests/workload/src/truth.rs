//! What a capture holds, as it was made: one line of JSON for each flow, and one for the whole.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How a name is said in a flow; the words are those of the product's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Asked of a resolver.
    Dns,
    /// In a `ClientHello` over TCP.
    Tls,
    /// In a `ClientHello` over QUIC.
    Quic,
    /// In a request.
    Http,
}

/// A name that a flow says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// The name.
    pub name: String,
    /// How.
    pub source: Source,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp` or `udp`.
    pub proto: String,
    /// The handset's side.
    pub handset: SocketAddr,
    /// The far side.
    pub server: SocketAddr,
    /// Microseconds since 1970 of its first packet.
    pub start: u64,
    /// Which kind of traffic it is, and which shape its hello has.
    pub kind: String,
    /// Every name that it says, each once, sorted.
    pub names: Vec<Said>,
    /// What its server is called, said or not: all names that share the address.
    pub server_names: Vec<String>,
    /// The cipher suite that its server is seen to choose.
    pub suite: Option<String>,
    /// Its packets.
    pub packets: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The seed.
    pub seed: u64,
    /// Flows of the capture.
    pub flows: u64,
    /// Packets of the capture.
    pub packets: u64,
}

/// A line of the file beside the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A flow.
    Flow(Flow),
    /// All of it.
    Totals(Totals),
}
