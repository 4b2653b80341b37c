//! The end of a flow's socket, as the kernel tells it, and whose end it can be.
//!
//! In: what the kernel said when it destroyed a socket. Out: whether it belongs to the life of the
//! flow that has the five-tuple now. A tuple is used again, and the kernel may tell of the old
//! socket after the new one has sent: totals that cannot be told apart belong to nobody.

use serde::{Deserialize, Serialize};

use super::{Flow, FlowState};
use crate::time::Timestamp;

/// A packet is stamped when it is received, up to this long after it was sent: the kernel gathers
/// packets for 20 ms, and the reader may be held up. Ends of sockets are told at once.
pub(super) const RECEIVE_LAG_NANOS: i64 = 100_000_000;

/// What the kernel said of a socket when it destroyed it. The totals are those of the socket's
/// whole life, which may have begun before the flow was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// When we were told.
    pub at: Timestamp,
    /// Names the socket until the next boot.
    pub cookie: Option<u64>,
    /// Bytes that the peer acknowledged, SYN and FIN counted as one each.
    pub bytes_acked: Option<u64>,
    /// Bytes received from the peer, its FIN counted as one.
    pub bytes_received: Option<u64>,
    /// Shortest round trip that the kernel measured, in microseconds.
    pub min_rtt_us: Option<u32>,
}

/// What a round-trip time rests on. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RttBasis {
    /// SYN to SYN+ACK, both stamped by the kernel when they passed.
    Kernel,
    /// SYN to SYN+ACK by the times of a capture file.
    File,
    /// `tcpi_min_rtt`: the shortest that the kernel measured before it destroyed the socket.
    TcpMinRtt,
}

impl<T> Flow<T> {
    /// Takes the end of its socket, if it can only be its own: told within the flow's life (or so
    /// shortly before that its first packet was still on its way to us), and not perhaps that of an
    /// earlier socket on the same five-tuple. Says whether it did.
    pub(super) fn close(&mut self, closing: Closing) -> bool {
        if self.closing.is_some() {
            return false;
        }
        let lead = self.start.nanos_since(closing.at);
        if lead > 0 && (self.predecessor_open || lead > self.start_lag_nanos()) {
            // The earlier socket's, so the next one is this flow's.
            self.predecessor_open = false;
            return false;
        }
        // The first end after a reuse may be the earlier socket's, told late. If it was this
        // flow's after all, its totals stay unknown, which is no harm.
        if std::mem::take(&mut self.predecessor_open) {
            return false;
        }
        self.closing = Some(Box::new(closing));
        if self.is_tcp() {
            if self.state == FlowState::Attempted && closing.bytes_acked.is_some_and(|n| n > 0) {
                self.state = FlowState::Answered;
            }
            if self.state == FlowState::Answered {
                self.state = FlowState::Closed;
            }
        }
        true
    }

    /// Round-trip time in microseconds, and what it rests on: of the handshake where both its times
    /// are the packets' own, else what the kernel measured itself. None when the handset's SYN was
    /// not seen, or seen twice; times of receipt never give one.
    pub fn rtt(&self) -> Option<(u64, RttBasis)> {
        if let Some((nanos, basis)) = self.handshake() {
            return Some((u64::try_from(nanos / 1_000).ok()?, basis));
        }
        let measured = self.closing.as_ref().and_then(|closing| closing.min_rtt_us);
        measured
            .filter(|_| self.has_one_own_syn())
            .map(|micros| (micros.into(), RttBasis::TcpMinRtt))
    }
}
