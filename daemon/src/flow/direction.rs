//! Which side of a flow's first packet is the handset.
//!
//! In: the packet, its view, the handset's addresses. Out: whether the handset sent it. The
//! answer holds for the whole flow.

use std::net::IpAddr;

use crate::{
    input::{Packet, Vantage},
    packet::{Transport, View},
};

/// The vantage decides, else the handset's addresses, else a SYN, else a port that servers listen on
/// on one side only; else the first sender is taken for the handset.
pub(super) fn first_is_outbound(packet: &Packet<'_>, view: &View<'_>, handset: &[IpAddr]) -> bool {
    match packet.vantage {
        Vantage::Output => return true,
        Vantage::Input => return false,
        Vantage::Both => {}
    }
    match (handset.contains(&view.src()), handset.contains(&view.dst())) {
        (true, false) => return true,
        (false, true) => return false,
        _ => {}
    }
    match view.transport {
        Transport::Tcp(tcp) if tcp.syn => !tcp.ack_flag,
        Transport::Tcp(tcp) => !is_served(tcp.sport, tcp.dport),
        Transport::Udp(udp) => !is_served(udp.sport, udp.dport),
        _ => true,
    }
}

/// Whether only the first of two ports is one that servers listen on (RFC 6335, section 6).
const fn is_served(first: u16, other: u16) -> bool {
    const SYSTEM_PORT_MAX: u16 = 1023;
    first <= SYSTEM_PORT_MAX && other > SYSTEM_PORT_MAX
}
