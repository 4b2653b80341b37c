//! Which side of a flow's first packet is the handset.
//!
//! In: the packet, its view, the handset's addresses. Out: whether the handset sent it. The
//! answer holds for the whole flow.

use std::net::IpAddr;

use crate::{
    input::{Packet, Vantage},
    packet::{Transport, View},
};

/// The vantage decides, else the handset's addresses, else a SYN, else the first sender is taken
/// for the handset.
pub(super) fn first_is_outbound(packet: &Packet<'_>, view: &View<'_>, handset: &[IpAddr]) -> bool {
    match packet.vantage {
        Vantage::Output => return true,
        Vantage::Input => return false,
        Vantage::Both => {}
    }
    match (handset.contains(&view.src), handset.contains(&view.dst)) {
        (true, false) => return true,
        (false, true) => return false,
        _ => {}
    }
    match view.transport {
        Transport::Tcp(tcp) if tcp.syn => !tcp.ack_flag,
        _ => true,
    }
}
