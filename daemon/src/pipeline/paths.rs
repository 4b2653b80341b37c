//! By which way a flow left the handset: directly, into a VPN, as a VPN's outer side, or translated.
//!
//! In: interfaces as they come and go, and who holds the tunnels among them. Out: a flow's [`Via`],
//! the name of an interface, and the flow that a translated one repeats. No guess: without a known
//! interface the way is not known.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{
    attribute::uid,
    evidence::body::Via,
    input::{Interface, InterfaceChange, InterfaceHappening, InterfaceKind},
    locate::nat64::{self, Nat64},
    name::dns::{AnswerData, DnsMessage, Question},
};

/// Interfaces that are remembered at most, those that are gone included: flows that left by them
/// may end later. The one with the lowest index that is gone is forgotten first.
const INTERFACES_MAX: usize = 1024;
/// Interfaces kept with one flow.
pub(super) const FLOW_INTERFACES_MAX: usize = 4;

/// Where a flow's packets left, as far as was told.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Interfaces in the order in which they were first used.
    interfaces: [u32; FLOW_INTERFACES_MAX],
    used: u8,
    last: Option<u32>,
    /// [`Paths::generation`] when the way was last concluded.
    generation: u32,
    via: Option<Via>,
}

impl Way {
    /// Nothing was told.
    pub(super) const UNKNOWN: Self = Self {
        interfaces: [0; FLOW_INTERFACES_MAX],
        used: 0,
        last: None,
        generation: 0,
        via: None,
    };

    /// How it left.
    pub(super) const fn via(&self) -> Option<Via> {
        self.via
    }

    /// Its packets came inside those of another flow.
    pub(super) const fn mark_inside(&mut self) {
        self.via = Some(Via::Inside);
    }

    /// It repeats another flow.
    pub(super) const fn mark_copy(&mut self) {
        self.via = Some(Via::ClatCopy);
    }

    fn note(&mut self, interface: u32) {
        self.last = Some(interface);
        let at = usize::from(self.used);
        let used = self.interfaces.get(..at).unwrap_or_default();
        if !used.contains(&interface)
            && let Some(free) = self.interfaces.get_mut(at)
        {
            *free = interface;
            self.used += 1;
        }
    }
}

#[derive(Debug)]
struct Known {
    interface: Interface,
    gone: bool,
}

/// What is known of the interfaces, and of translators.
#[derive(Debug, Default)]
pub(super) struct Paths {
    interfaces: BTreeMap<u32, Known>,
    /// Counts the changes, so that a flow's way is concluded anew only after one.
    generation: u32,
    /// The prefixes of translators.
    pub(super) nat64: Nat64,
}

impl Paths {
    /// An interface came, went or changed.
    pub(super) fn apply(&mut self, change: &InterfaceChange) {
        self.generation = self.generation.wrapping_add(1);
        let known = Known {
            interface: change.interface.clone(),
            gone: change.happening == InterfaceHappening::Removed,
        };
        self.interfaces.insert(change.interface.index, known);
        if self.interfaces.len() > INTERFACES_MAX {
            let gone = self.interfaces.iter().find(|(_, known)| known.gone);
            let first = gone.or(self.interfaces.first_key_value());
            if let Some(index) = first.map(|(index, _)| *index) {
                self.interfaces.remove(&index);
            }
        }
    }

    /// Learns a translator's prefix from an answer that was asked for.
    pub(super) fn learn_translators(&mut self, message: &DnsMessage) {
        let asked = |question: &Question| *question.name == *nat64::DISCOVERY_NAME;
        if !message.response || !message.questions.iter().any(asked) {
            return;
        }
        for answer in &message.answers {
            if let AnswerData::Address(addr) = answer.data {
                self.nat64.learn(addr);
            }
        }
    }

    /// Takes in by which interface a packet of the flow left. The strongest conclusion stands: a
    /// flow that carried a tunnel stays one when the tunnel is gone.
    pub(super) fn follow(&self, way: &mut Way, interface: u32, owner: Option<u32>) {
        if way.last == Some(interface) && way.generation == self.generation {
            return;
        }
        way.note(interface);
        way.generation = self.generation;
        way.via = way.via.max(self.conclude(interface, owner));
    }

    /// Concludes anew with what was told since the flow's last packet: its first packet may have come
    /// before the news of its interface.
    pub(super) fn reconsider(&self, way: &mut Way, owner: Option<u32>) {
        if let Some(interface) = way.last {
            self.follow(way, interface, owner);
        }
    }

    /// Whether a flow left by an interface of which nothing was told yet: it is new, and the news of
    /// it is on its way. Where no interface is told at all there is nothing to wait for.
    pub(super) fn awaits(&self, way: &Way) -> bool {
        let known = |index: u32| self.interfaces.contains_key(&index);
        !self.interfaces.is_empty() && way.last.is_some_and(|index| !known(index))
    }

    fn conclude(&self, index: u32, owner: Option<u32>) -> Option<Via> {
        match self.interfaces.get(&index)?.interface.kind {
            InterfaceKind::Tunnel => Some(Via::Vpn),
            InterfaceKind::Clat => Some(Via::Clat),
            // A modem's own link or a VPN, and whatever a later version of the input may say.
            InterfaceKind::Ppp | InterfaceKind::Other => None,
            InterfaceKind::Loopback => Some(Via::Direct),
            _ if owner.is_some_and(|owner| self.holds_a_tunnel(owner)) => Some(Via::VpnOuter),
            _ => Some(Via::Direct),
        }
    }

    /// Whether a UID holds a tunnel that is there. The system makes tunnels for others and sends
    /// much else, so of the platform's UIDs only the one that is made for VPNs counts.
    fn holds_a_tunnel(&self, owner: u32) -> bool {
        let counts = !uid::is_platform(owner) || uid::appid(owner) == uid::VPN;
        counts
            && self.interfaces.values().any(|known| {
                !known.gone
                    && known.interface.up
                    && known.interface.kind == InterfaceKind::Tunnel
                    && known
                        .interface
                        .holders
                        .as_ref()
                        .is_some_and(|holders| holders.contains(&owner))
            })
    }

    /// Names of the interfaces that a flow left by; an index where the name was not told.
    pub(super) fn names(&self, way: &Way) -> Vec<String> {
        let used = way.interfaces.get(..way.used.into());
        used.unwrap_or_default()
            .iter()
            .map(|index| match self.interfaces.get(index) {
                Some(known) => known.interface.name.clone(),
                None => format!("#{index}"),
            })
            .collect()
    }

    /// The ends of the IPv4 flows that an IPv6 flow of a translator may repeat: from an address of a
    /// CLAT interface, at the same ports, to the IPv4 address inside the remote one.
    pub(super) fn originals(
        &self,
        local_port: u16,
        remote: SocketAddr,
    ) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let inside = self.nat64.embedded(remote.ip());
        let clat = self
            .interfaces
            .values()
            .filter(|known| known.interface.kind == InterfaceKind::Clat);
        let own = clat.flat_map(|known| &known.interface.addresses);
        own.filter(|own| own.addr.is_ipv4()).filter_map(move |own| {
            let remote = SocketAddr::new(IpAddr::V4(inside?), remote.port());
            Some((SocketAddr::new(own.addr, local_port), remote))
        })
    }
}

/// Whether a UID is one under which clatd sends (`clat`, or `system` on later versions).
pub(super) const fn may_translate(owner: u32) -> bool {
    matches!(uid::appid(owner), uid::CLAT | uid::SYSTEM)
}
