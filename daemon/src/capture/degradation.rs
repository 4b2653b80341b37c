//! Ways of watching that this machine does not offer.
//!
//! In: what a producer found out at its start. Out: a typed reason with a sentence for people; a
//! weaker watch is said, never assumed.

use crate::{
    input::{Gap, GapCause},
    time::Timestamp,
};

/// What is weaker than it should be. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Weakness {
    /// The packet socket is used instead of NFLOG.
    PacketSocket,
    /// This kernel has no IPv6, or it is switched off.
    NoIpv6,
    /// No owner match: system UIDs share the batched group, so their sockets are asked for late.
    NoOwnerMatch,
    /// No multiport match: packets on cleartext ports are cut like others.
    NoWholeCleartext,
    /// QUIC answers are not seen.
    NoQuicAnswers,
    /// The first replies of a flow are not seen.
    NoFirstReplies,
    /// The kernel granted a smaller receive buffer than asked for.
    SmallReceiveBuffer,
    /// A rule of somebody else accepts packets before ours see them.
    EarlierAccept,
    /// A rule of somebody else drops packets before ours see them, or hands them to a process.
    EarlierDrop,
    /// Nothing independent counts what is sent, so that holes in our rules have no count.
    NoIndependentCounter,
    /// What is forwarded for others is seen as if it were sent here.
    ForwardedSeen,
    /// Interfaces cannot be followed.
    NoInterfaces,
    /// Sockets cannot be asked for their owner.
    NoSocketLookup,
    /// The kernel does not tell when it destroys sockets: no closing totals.
    NoClosingTotals,
    /// Owners are not read off the packets' own sockets.
    NoExactOwners,
    /// Whom netd charges for a socket's traffic is not read.
    NoCharges,
}

/// One weakness of this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degradation {
    /// What it is.
    pub weakness: Weakness,
    /// In plain words: what is lost, and why.
    pub detail: String,
}

impl Degradation {
    /// A weakness and what is lost by it.
    pub fn new(weakness: Weakness, detail: impl Into<String>) -> Self {
        Self {
            weakness,
            detail: detail.into(),
        }
    }

    /// The record of it: a gap of unknown size that is open from `at` on.
    pub fn to_gap(&self, at: Timestamp) -> Gap {
        Gap {
            at,
            cause: GapCause::Degraded,
            from: Some(at),
            to: None,
            packets: None,
            place: "capture".into(),
            detail: self.detail.clone(),
        }
    }
}
