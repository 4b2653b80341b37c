//! What is known of the interfaces, and what of it was told.
//!
//! In: messages of the kernel, default routes, holders of tunnels. Out: a change for each interface
//! that is not as it was told last. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    capture::rtnetlink::{Link, RouteMessage},
    input::{
        Event, Gap, GapCause, Interface, InterfaceAddress, InterfaceChange, InterfaceHappening,
        InterfaceKind,
    },
    time::Timestamp,
};

/// Interfaces that are followed at once at most; one more is told as a gap.
pub(super) const INTERFACES_MAX: usize = 256;
/// Addresses of one interface that are kept at most.
const ADDRESSES_MAX: usize = 64;

/// Hardware types (`include/uapi/linux/if_arp.h`).
mod hardware {
    pub(super) const ETHER: u16 = 1;
    pub(super) const PPP: u16 = 512;
    pub(super) const RAWIP: u16 = 519;
    pub(super) const TUNNEL: u16 = 768;
    pub(super) const TUNNEL6: u16 = 769;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const SIT: u16 = 776;
    pub(super) const IPGRE: u16 = 778;
    pub(super) const IP6GRE: u16 = 823;
}

/// The kernel's kinds of links that take packets into a process or into another packet.
const TUNNELS: [&str; 11] = [
    "tun",
    "wireguard",
    "ovpn",
    "vti",
    "vti6",
    "xfrm",
    "ipip",
    "ip6tnl",
    "sit",
    "gre",
    "ip6gre",
];
/// Its kinds that are made by software and are no tunnels.
const VIRTUALS: [&str; 7] = ["veth", "bridge", "dummy", "ifb", "nlmon", "vrf", "netkit"];
/// Names that modem makers give where the kernel's word would not tell a modem.
const CELLULAR: [&str; 5] = ["rmnet", "ccmni", "seth_", "wwan", "pdp"];
/// Names of Wi-Fi interfaces.
const WLAN: [&str; 4] = ["wlan", "swlan", "p2p", "wifi"];
/// What clatd names its interfaces with.
const CLAT: &str = "v4-";

/// What a walk through the processes gave.
pub(super) enum HolderLookup {
    /// UIDs by the name of the tunnel.
    Found(BTreeMap<String, BTreeSet<u32>>),
    /// It could not be made.
    Failed,
}

/// The interfaces by index.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: BTreeMap<u32, Interface>,
    told: BTreeMap<u32, Interface>,
    /// Interfaces that found no room since the last change was told.
    turned_away: u64,
    new_tunnel: bool,
}

impl Table {
    /// Forgets what is known, not what was told: everything is about to be said anew.
    pub(super) fn begin_anew(&mut self) {
        self.known.clear();
    }

    pub(super) fn take(&mut self, message: RouteMessage) {
        match message {
            RouteMessage::Link(link) => self.link(link),
            RouteMessage::LinkGone { index } => {
                self.known.remove(&index);
            }
            RouteMessage::Address {
                index,
                addr,
                prefix_len,
                there,
            } => {
                let Some(interface) = self.known.get_mut(&index) else {
                    return;
                };
                let address = InterfaceAddress { addr, prefix_len };
                interface.addresses.retain(|known| *known != address);
                if there && interface.addresses.len() < ADDRESSES_MAX {
                    interface.addresses.push(address);
                    interface.addresses.sort_unstable();
                }
            }
            // Routes are asked for as a whole: the kernel does not tell each one's end.
            RouteMessage::DefaultRoute { .. } | RouteMessage::Other => {}
        }
    }

    fn link(&mut self, mut link: Link) {
        if !self.known.contains_key(&link.index) && self.known.len() >= INTERFACES_MAX {
            self.turned_away += 1;
            return;
        }
        if let Some(known) = self.known.get(&link.index) {
            // A message about a flag alone may leave out how the link was made.
            link.kind = link.kind.or_else(|| known.link_kind.clone());
        }
        let kind = kind_of(&link);
        let mut new_tunnel = false;
        let interface = self.known.entry(link.index).or_insert_with(|| {
            new_tunnel = kind == InterfaceKind::Tunnel;
            // What was told of it before everything was asked for anew is not asked for again.
            let told = self
                .told
                .get(&link.index)
                .filter(|told| told.name == link.name);
            Interface {
                index: link.index,
                name: String::new(),
                kind,
                hardware_type: link.hardware_type,
                link_kind: None,
                up: false,
                addresses: Vec::new(),
                default_ipv4: false,
                default_ipv6: false,
                holders: told.and_then(|told| told.holders.clone()),
            }
        });
        interface.name = link.name;
        interface.kind = kind;
        interface.hardware_type = link.hardware_type;
        interface.link_kind = link.kind;
        interface.up = link.up;
        self.new_tunnel |= new_tunnel;
    }

    /// Every default route that there is: links and whether it is one of IPv6.
    pub(super) fn set_default_routes(&mut self, routes: &[(Vec<u32>, bool)]) {
        for interface in self.known.values_mut() {
            let by = |wanted: bool| {
                routes
                    .iter()
                    .any(|(links, ipv6)| *ipv6 == wanted && links.contains(&interface.index))
            };
            (interface.default_ipv4, interface.default_ipv6) = (by(false), by(true));
        }
    }

    /// Whether a tunnel was made since the last call.
    pub(super) fn has_new_tunnel(&mut self) -> bool {
        std::mem::take(&mut self.new_tunnel)
    }

    /// Whether there is a tunnel that a process may hold.
    pub(super) fn wants_holders(&self) -> bool {
        self.known.values().any(is_held)
    }

    pub(super) fn set_holders(&mut self, lookup: &HolderLookup) {
        for interface in self
            .known
            .values_mut()
            .filter(|interface| is_held(interface))
        {
            interface.holders = match lookup {
                HolderLookup::Found(found) => {
                    let holders = found.get(&interface.name);
                    Some(holders.map_or_else(Vec::new, |uids| uids.iter().copied().collect()))
                }
                HolderLookup::Failed => None,
            };
        }
    }

    /// What is not as it was told last; from now on it counts as told.
    pub(super) fn changes(&mut self, at: Timestamp, first: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let mut say = |happening, interface: &Interface| {
            events.push(Event::Interface(InterfaceChange {
                at,
                happening,
                interface: interface.clone(),
            }));
        };
        for (index, told) in &self.told {
            if !self.known.contains_key(index) {
                say(InterfaceHappening::Removed, told);
            }
        }
        for (index, interface) in &self.known {
            match self.told.get(index) {
                Some(told) if told == interface => {}
                Some(_) => say(InterfaceHappening::Changed, interface),
                None if first => say(InterfaceHappening::Present, interface),
                None => say(InterfaceHappening::Added, interface),
            }
        }
        if !events.is_empty() {
            self.told.clone_from(&self.known);
        }
        let turned_away = std::mem::take(&mut self.turned_away);
        if turned_away > 0 {
            events.push(Event::Gap(Gap {
                at,
                cause: GapCause::TableFull,
                from: Some(at),
                to: None,
                packets: Some(0),
                place: "interfaces".to_owned(),
                detail: format!(
                    "{turned_away} interfaces are not followed, since {INTERFACES_MAX} others are"
                ),
            }));
        }
        events
    }
}

/// A tunnel that is a process's file (`tun(4)`).
fn is_held(interface: &Interface) -> bool {
    interface.kind == InterfaceKind::Tunnel && interface.link_kind.as_deref() == Some("tun")
}

/// What an interface is. The kernel's word for how it was made comes first.
fn kind_of(link: &Link) -> InterfaceKind {
    let named = |names: &[&str]| names.iter().any(|name| link.name.starts_with(name));
    match link.kind.as_deref() {
        Some("tun") if link.name.starts_with(CLAT) => return InterfaceKind::Clat,
        Some("rmnet") => return InterfaceKind::Cellular,
        Some("ppp") => return InterfaceKind::Ppp,
        Some(kind) if TUNNELS.contains(&kind) => return InterfaceKind::Tunnel,
        Some(kind) if VIRTUALS.contains(&kind) => return InterfaceKind::Virtual,
        _ => {}
    }
    match link.hardware_type {
        hardware::LOOPBACK => InterfaceKind::Loopback,
        hardware::RAWIP => InterfaceKind::Cellular,
        _ if named(&CELLULAR) => InterfaceKind::Cellular,
        hardware::TUNNEL
        | hardware::TUNNEL6
        | hardware::SIT
        | hardware::IPGRE
        | hardware::IP6GRE => InterfaceKind::Tunnel,
        hardware::PPP => InterfaceKind::Ppp,
        _ if named(&WLAN) => InterfaceKind::Wlan,
        hardware::ETHER => InterfaceKind::Ethernet,
        _ => InterfaceKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, hardware_type: u16, kind: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            hardware_type,
            kind: kind.map(str::to_owned),
            up: true,
            count: None,
        }
    }

    #[test]
    fn tells_what_an_interface_is() {
        use InterfaceKind as Is;
        for (name, hardware_type, kind, expected) in [
            ("lo", 772, None, Is::Loopback),
            ("wlan0", 1, None, Is::Wlan),
            ("rmnet_data0", 519, Some("rmnet"), Is::Cellular),
            ("rmnet_ipa0", 530, None, Is::Cellular),
            ("ccmni1", 65_534, None, Is::Cellular),
            ("eth0", 1, None, Is::Ethernet),
            ("tun0", 65_534, Some("tun"), Is::Tunnel),
            ("wg0", 65_534, Some("wireguard"), Is::Tunnel),
            ("ipsec0", 768, Some("vti"), Is::Tunnel),
            ("v4-wlan0", 65_534, Some("tun"), Is::Clat),
            ("ppp0", 512, Some("ppp"), Is::Ppp),
            ("wan0", 1, Some("veth"), Is::Virtual),
            ("dummy0", 1, Some("dummy"), Is::Virtual),
            ("v4-odd", 1, Some("veth"), Is::Virtual),
            ("odd", 65_534, None, Is::Other),
        ] {
            assert_eq!(
                kind_of(&link(9, name, hardware_type, kind)),
                expected,
                "{name}"
            );
        }
    }

    fn said(events: Vec<Event>) -> Vec<(InterfaceHappening, String, bool, usize)> {
        events
            .into_iter()
            .map(|event| match event {
                Event::Interface(InterfaceChange {
                    happening,
                    interface,
                    ..
                }) => (
                    happening,
                    interface.name,
                    interface.default_ipv4,
                    interface.addresses.len(),
                ),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn tells_each_change_once() {
        use InterfaceHappening as It;
        let at = Timestamp::from_micros(1);
        let mut table = Table::default();
        table.take(RouteMessage::Link(link(2, "wlan0", 1, None)));
        table.set_default_routes(&[(vec![2], false)]);
        let told = said(table.changes(at, true));
        assert_eq!(told, [(It::Present, "wlan0".to_owned(), true, 0)]);
        assert_eq!(table.changes(at, false), []);

        // Another network: the index and the name stay, the route and an address come later.
        let address = |there| RouteMessage::Address {
            index: 2,
            addr: "192.0.2.7".parse().unwrap(),
            prefix_len: 24,
            there,
        };
        table.take(address(true));
        table.take(address(true));
        table.set_default_routes(&[]);
        let told = said(table.changes(at, false));
        assert_eq!(told, [(It::Changed, "wlan0".to_owned(), false, 1)]);
        table.take(address(false));
        table.take(RouteMessage::LinkGone { index: 2 });
        table.take(RouteMessage::Link(link(3, "rmnet_data0", 519, None)));
        let told = said(table.changes(at, false));
        assert_eq!(
            told,
            [
                (It::Removed, "wlan0".to_owned(), false, 1),
                (It::Added, "rmnet_data0".to_owned(), false, 0)
            ]
        );
    }

    #[test]
    fn asks_for_everything_anew_and_tells_only_what_differs() {
        let at = Timestamp::from_micros(1);
        let mut table = Table::default();
        table.take(RouteMessage::Link(link(2, "wlan0", 1, None)));
        table.take(RouteMessage::Link(link(5, "tun0", 65_534, Some("tun"))));
        assert!(table.wants_holders() && table.has_new_tunnel() && !table.has_new_tunnel());
        let holders = BTreeMap::from([("tun0".to_owned(), BTreeSet::from([10_060]))]);
        table.set_holders(&HolderLookup::Found(holders));
        table.changes(at, true);
        table.begin_anew();
        table.take(RouteMessage::Link(link(2, "wlan0", 1, None)));
        table.take(RouteMessage::Link(link(5, "tun0", 65_534, Some("tun"))));
        assert_eq!(table.changes(at, false), []);
        table.set_holders(&HolderLookup::Failed);
        let told = said(table.changes(at, false));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn one_interface_too_many_is_a_gap() {
        let at = Timestamp::from_micros(1);
        let mut table = Table::default();
        for index in 1..=u32::try_from(INTERFACES_MAX).unwrap() + 1 {
            table.take(RouteMessage::Link(link(index, "dummy", 1, Some("dummy"))));
        }
        let events = table.changes(at, true);
        assert_eq!(events.len(), INTERFACES_MAX + 1);
        let Some(Event::Gap(gap)) = events.last() else {
            panic!("no gap");
        };
        assert_eq!(gap.cause, GapCause::TableFull);
        assert_eq!(table.changes(at, false), []);
    }
}
