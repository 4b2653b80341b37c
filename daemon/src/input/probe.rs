//! Our own probe: known flows to the lab's own host, each of which must be found again.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::SocketProto;
use crate::time::Timestamp;

/// Which flows are the probe's: said before it sends any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// When it was said.
    pub at: Timestamp,
    /// The UID that it sends under.
    pub uid: u32,
    /// Where it sends to.
    pub targets: Vec<SocketAddr>,
}

/// At which end of the watch a probe was sent. Serialised as its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMark {
    /// When packets began to be watched.
    Start,
    /// Before the watch ended.
    Stop,
}

/// A flow that the probe says it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFlow {
    /// Its protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// Packets that it sent, at least.
    pub packets: u64,
}

/// What the probe says that it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSent {
    /// When it had sent all.
    pub at: Timestamp,
    /// At which end of the watch.
    pub mark: ProbeMark,
    /// Its flows.
    pub flows: Vec<ProbeFlow>,
    /// Why it could not send all that it should; none: it did.
    pub failed: Option<String>,
}
