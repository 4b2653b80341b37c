//! The hosts of the virtual internet: one table of names, addresses and what they stand for.
//!
//! The names are under `.example` (RFC 2606), so they are nobody's. The addresses are real ones of
//! the places they stand for, since the daemon must locate them; no packet leaves the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host of the virtual internet.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Name under which the resolver knows it.
    pub name: &'static str,
    /// IPv4 address, where it has one.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address, where it has one.
    pub v6: Option<Ipv6Addr>,
    /// What it stands for.
    pub stands_for: &'static str,
}

impl Host {
    /// Every address it has.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Its IPv4 address and a port.
    ///
    /// # Panics
    /// When the table gives it no IPv4 address.
    pub fn v4(&self, port: u16) -> SocketAddr {
        let address = self.v4.expect("the table gives this host an IPv4 address");
        SocketAddr::from((address, port))
    }

    /// Its IPv6 address and a port.
    ///
    /// # Panics
    /// When the table gives it no IPv6 address.
    pub fn v6(&self, port: u16) -> SocketAddr {
        let address = self.v6.expect("the table gives this host an IPv6 address");
        SocketAddr::from((address, port))
    }
}

/// The lab's resolver, in India.
pub const RESOLVER: Host = Host {
    name: "dns.lab.example",
    v4: Some(Ipv4Addr::new(49, 45, 0, 1)),
    v6: Some(Ipv6Addr::new(0x2405, 0x200, 0, 0, 0, 0, 0, 0x53)),
    stands_for: "a resolver in India",
};

/// AWS ap-southeast-1.
pub const SINGAPORE: Host = Host {
    name: "push-sg.sample.example",
    v4: Some(Ipv4Addr::new(13, 228, 10, 20)),
    v6: Some(Ipv6Addr::new(0x2406, 0xda18, 0x10, 0, 0, 0, 0, 0x20)),
    stands_for: "AWS Singapore",
};

/// AWS ap-south-1.
pub const MUMBAI: Host = Host {
    name: "stats-in.sample.example",
    v4: Some(Ipv4Addr::new(13, 126, 30, 40)),
    v6: Some(Ipv6Addr::new(0x2406, 0xda1a, 0x30, 0, 0, 0, 0, 0x40)),
    stands_for: "AWS Mumbai",
};

/// China Telecom.
pub const CHINA: Host = Host {
    name: "weather-cn.sample.example",
    v4: Some(Ipv4Addr::new(1, 180, 18, 20)),
    v6: Some(Ipv6Addr::new(0x240e, 0x18, 0x20, 0, 0, 0, 0, 0x20)),
    stands_for: "a server in China",
};

/// An anycast content network.
pub const CDN: Host = Host {
    name: "static.market.example",
    v4: Some(Ipv4Addr::new(104, 16, 20, 30)),
    v6: Some(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0x6810, 0x141e)),
    stands_for: "an anycast content network",
};

/// Every host.
pub const HOSTS: &[Host] = &[RESOLVER, SINGAPORE, MUMBAI, CHINA, CDN];

/// TLS.
pub const TLS: u16 = 443;
/// HTTP in clear.
pub const HTTP: u16 = 80;
/// DNS.
pub const DNS: u16 = 53;
/// Echo, over TCP and UDP (RFC 862).
pub const ECHO: u16 = 7;
/// Discard, over TCP and UDP (RFC 863).
pub const DISCARD: u16 = 9;
/// NTP, answered by echo: only that it is asked matters here.
pub const NTP: u16 = 123;
