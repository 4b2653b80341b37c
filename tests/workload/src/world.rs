//! The world around a made-up handset: servers with names, and resolvers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::random::Random;

/// Addresses of the handset.
pub const HANDSET: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 2)),
];
/// Servers of the world; their names are asked for and reached over and over.
const SERVERS: usize = 400;
/// Names that share each address of a content network.
const SHARED: usize = 3;
/// Of a hundred flows so many use IPv6.
const IPV6_PERCENT: usize = 40;
/// Lowest port of the handset.
const FIRST_PORT: u16 = 1024;

/// A server: a name and its addresses, one of each family.
#[derive(Debug, Clone)]
pub struct Server {
    /// What it is called.
    pub name: String,
    /// Its canonical name, where it is behind an alias.
    pub alias: Option<String>,
    /// IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
}

/// Servers, and what tells flows apart.
#[derive(Debug)]
pub struct World {
    servers: Vec<Server>,
    /// Next port of the handset, for each family: every flow has one of its own until they have all
    /// been used.
    ports: [u32; 2],
}

const LABELS: [&str; 12] = [
    "api",
    "cdn",
    "graph",
    "events",
    "log",
    "img",
    "push",
    "edge",
    "config",
    "telemetry",
    "static",
    "auth",
];
const DOMAINS: [&str; 8] = [
    "example.com",
    "example.net",
    "example.org",
    "vendor.test",
    "social.test",
    "adnetwork.test",
    "cloud.test",
    "shop.test",
];

impl World {
    /// The servers that follow from a seed.
    ///
    /// # Panics
    /// Never: they are fewer than there are addresses.
    pub fn new(random: &mut Random) -> Self {
        let mut servers = Vec::with_capacity(SERVERS);
        for number in 0..SERVERS {
            let name = format!("{}{number}.{}", random.pick(&LABELS), random.pick(&DOMAINS));
            let alias = random
                .percent(30)
                .then(|| format!("{number}.edge.content.test"));
            // A tenth of the names shares addresses.
            let host = if number < SERVERS / 10 {
                number / SHARED
            } else {
                number
            };
            let host = u16::try_from(host).expect("few servers");
            let [high, low] = host.to_be_bytes();
            servers.push(Server {
                name,
                alias,
                addresses: [
                    Ipv4Addr::new(198, 18 + high, low, 10).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, host, 0x10).into(),
                ],
            });
        }
        Self {
            servers,
            ports: [0; 2],
        }
    }

    /// The same, whose handset has other ports for each seed: ten seeds in a row reach those that some
    /// protocol is known by (3544, 5353, 5355).
    ///
    /// # Panics
    /// Never: the number is one of a port.
    #[must_use]
    pub fn with_ports_of(mut self, seed: u64) -> Self {
        const STEP: u64 = 1_061;
        let ports = u64::from(u16::MAX - FIRST_PORT);
        let first = seed.saturating_sub(1).wrapping_mul(STEP) % ports;
        self.ports = [u32::try_from(first).expect("a port"); 2];
        self
    }

    /// A server.
    pub fn server(&self, random: &mut Random) -> Server {
        random.pick(&self.servers).clone()
    }

    /// A server that shares its address with others, and one of those others.
    pub fn neighbours(&self, random: &mut Random) -> (Server, Server) {
        let first = random.below(SERVERS / 10 / SHARED) * SHARED;
        (self.servers[first].clone(), self.servers[first + 1].clone())
    }

    /// Every name of an address.
    pub fn names_of(&self, addr: IpAddr) -> Vec<String> {
        self.servers
            .iter()
            .filter(|server| server.addresses.contains(&addr))
            .map(|server| server.name.clone())
            .collect()
    }

    /// The family of a flow: 0 for IPv4, 1 for IPv6.
    pub fn family(random: &mut Random) -> usize {
        usize::from(random.percent(IPV6_PERCENT))
    }

    /// A socket of the handset that no flow had before.
    ///
    /// # Panics
    /// When a family has had more flows than there are sockets.
    pub fn socket(&mut self, family: usize) -> SocketAddr {
        let ports = u32::from(u16::MAX - FIRST_PORT);
        let number = self.ports[family];
        self.ports[family] += 1;
        let port = FIRST_PORT + u16::try_from(number % ports).expect("a port");
        // When all ports are used up, the handset gets another address.
        let address = u8::try_from(number / ports).expect("fewer flows");
        let addr = match HANDSET[family] {
            IpAddr::V4(addr) => {
                let [a, b, c, d] = addr.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d + address))
            }
            IpAddr::V6(addr) => {
                let mut segments = addr.segments();
                segments[7] += u16::from(address);
                IpAddr::V6(segments.into())
            }
        };
        SocketAddr::new(addr, port)
    }

    /// The resolver of a family.
    pub fn resolver(family: usize) -> SocketAddr {
        let addr = match family {
            0 => Ipv4Addr::new(10, 0, 0, 1).into(),
            _ => Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 1).into(),
        };
        SocketAddr::new(addr, 53)
    }

    /// All addresses that the handset may have.
    pub fn handset() -> Vec<IpAddr> {
        (0..4)
            .flat_map(|step: u8| {
                [
                    Ipv4Addr::new(10, 0, 0, 2 + step).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 2 + u16::from(step)).into(),
                ]
            })
            .collect()
    }
}
