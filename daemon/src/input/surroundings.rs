//! What changes around the packets: network interfaces, their counters, and sleep.
//!
//! In: what the kernel told a producer. Out: the inputs that say by which way a packet left and how
//! long nothing could be seen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What an interface is, by what the kernel says of it; by its name only where the kernel's word
/// for it is one for many things. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InterfaceKind {
    /// Traffic of the handset with itself.
    Loopback,
    /// Wi-Fi.
    Wlan,
    /// The modem's: raw IP, or by the names that modem makers give.
    Cellular,
    /// A cable, or what looks like one (USB, Bluetooth).
    Ethernet,
    /// Packets go to a process or into another packet: a VPN's inner side.
    Tunnel,
    /// IPv4 over an IPv6-only network (464XLAT, RFC 6877): what goes in leaves as IPv6.
    Clat,
    /// PPP: a modem's own link, or a VPN (L2TP, PPTP). Which one is not told.
    Ppp,
    /// Made by software and no tunnel: pairs, bridges, dummies.
    Virtual,
    /// None of these.
    Other,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub addr: IpAddr,
    /// Length of its prefix, in bits.
    pub prefix_len: u8,
}

/// An interface as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The kernel's index; a new one for an interface that is made anew.
    pub index: u32,
    /// Name (`wlan0`).
    pub name: String,
    /// What it is.
    pub kind: InterfaceKind,
    /// The kernel's hardware type (`ARPHRD_…`), which `kind` rests on.
    pub hardware_type: u16,
    /// The kernel's word for how it was made (`tun`, `veth`); none for hardware.
    pub link_kind: Option<String>,
    /// Whether it is up.
    pub up: bool,
    /// Its addresses, sorted.
    pub addresses: Vec<InterfaceAddress>,
    /// Whether a default route for IPv4 goes by it, in whichever routing table.
    pub default_ipv4: bool,
    /// Whether a default route for IPv6 does.
    pub default_ipv6: bool,
    /// UIDs of the processes that hold the other end of a tunnel, sorted; none: it is no such
    /// tunnel, or it was not looked up.
    pub holders: Option<Vec<u32>>,
}

/// What happened to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceHappening {
    /// It was there when the watch began.
    Present,
    /// It is new.
    Added,
    /// It is another than before.
    Changed,
    /// It is gone; it is told as it was last.
    Removed,
}

/// An interface came, went or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceChange {
    /// When we were told.
    pub at: Timestamp,
    /// What happened.
    pub happening: InterfaceHappening,
    /// How it stands now.
    pub interface: Interface,
}

/// The kernel's own counts of one interface since it was made (`IFLA_STATS64`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceCount {
    /// The kernel's index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received, link headers included where there are any.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent, link headers included where there are any.
    pub tx_bytes: u64,
}

/// The kernel's counts of every interface at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceCounters {
    /// When they were read.
    pub at: Timestamp,
    /// One for each interface, by index.
    pub interfaces: Vec<InterfaceCount>,
}

/// Inbound packets and those of apps are read late: what follows may have passed any time since
/// `since`, though it is stamped later. Packets of the system are read before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLate {
    /// When it was noticed.
    pub at: Timestamp,
    /// What follows passed after this; the same as `at` when the reader has caught up.
    pub since: Timestamp,
}

/// The handset slept: the kernel ran nothing, so no process sent anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// When it was noticed.
    pub at: Timestamp,
    /// Start of the span in which it happened.
    pub from: Timestamp,
    /// How long it slept in that span, perhaps in several parts, in microseconds.
    pub suspended_us: u64,
}
