//! The process behind a flow, and owners that the writer of a capture told.
//!
//! In: what was found in `/proc`, PKTAP headers, names that `PCAPdroid` gave. Out: at most one
//! [`NamedProcess`] for a flow: two different ones name nobody.

use std::collections::BTreeMap;

use super::{Core, mark_ready};
use crate::{
    attribute::{
        owner::{self, Basis, Conclusion},
        process::{NamedProcess, ProcessBasis},
    },
    flow::FlowId,
    input::{AppName, LinkType, Packet, ProcessFact, SocketProto},
    packet::pktap,
};

/// UIDs whose app a capture's writer may name; a phone has some hundreds.
pub const APP_NAMES_MAX: usize = 4096;

/// What is known of the process behind a flow.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Who told the owner, where it was not the kernel.
    told_by: Option<Basis>,
    found: Found,
}

#[derive(Debug, Default)]
enum Found {
    /// Nothing yet.
    #[default]
    Nothing,
    /// One process, and its number.
    One(Box<NamedProcess>, Option<u32>),
    /// Several, so none is named.
    Several,
}

impl Known {
    pub(super) const NOTHING: Self = Self {
        told_by: None,
        found: Found::Nothing,
    };

    /// Notes a process; true if it changes what is known.
    fn note(&mut self, process: NamedProcess, pid: Option<u32>) -> bool {
        match &self.found {
            Found::Nothing => self.found = Found::One(Box::new(process), pid),
            Found::One(known, _) if **known == process => return false,
            Found::One(..) => self.found = Found::Several,
            Found::Several => return false,
        }
        true
    }

    /// Whether it is known to be the process of these names already.
    fn is(&self, name: &[u8], acts_for: &[u8]) -> bool {
        match &self.found {
            Found::Nothing => false,
            Found::One(known, _) => {
                known.name.as_bytes() == name
                    && known.acts_for.as_deref().unwrap_or_default().as_bytes() == acts_for
            }
            Found::Several => true,
        }
    }

    /// Number of the process.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.found {
            Found::One(_, pid) => *pid,
            _ => None,
        }
    }

    /// The process, or what the writer of the capture calls the owner's app.
    pub(super) fn named(&self, owner: Conclusion, names: &AppNames) -> Option<NamedProcess> {
        match (&self.found, self.told_by, owner.uid) {
            (Found::One(process, _), _, _) => Some((**process).clone()),
            (_, Some(Basis::Pcapdroid), Some(uid)) => Some(NamedProcess {
                name: names.of(uid)?.to_owned(),
                acts_for: None,
                basis: ProcessBasis::Pcapdroid,
            }),
            _ => None,
        }
    }

    /// The owner as the writer of the capture told it; none where the kernel was asked.
    pub(super) fn conclude(
        &self,
        uid: Option<u32>,
        remote_port: Option<u16>,
    ) -> Option<Conclusion> {
        let basis = self.told_by?;
        let told = owner::as_told(uid, basis, remote_port);
        Some(match self.found {
            Found::One(..) if basis == Basis::Pktap => Conclusion { basis, ..told },
            Found::Several if basis == Basis::Pktap => Conclusion {
                basis: Basis::Disputed,
                ..told
            },
            _ => told,
        })
    }
}

/// What the apps of UIDs are called, as the writer of a capture says.
#[derive(Debug, Default)]
pub(super) struct AppNames {
    names: BTreeMap<u32, String>,
    turned_away: u64,
}

impl AppNames {
    pub(super) fn note(&mut self, told: &AppName) {
        if self.names.len() >= APP_NAMES_MAX && !self.names.contains_key(&told.uid) {
            self.turned_away += 1;
            return;
        }
        self.names.insert(told.uid, told.name.clone());
    }

    fn of(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }

    /// Another capture may be another handset's.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    pub(super) fn take_turned_away(&mut self) -> u64 {
        std::mem::take(&mut self.turned_away)
    }
}

impl Core {
    /// Takes what the writer of the capture put beside the packet.
    #[inline]
    pub(super) fn read_told(&mut self, id: FlowId, packet: &Packet<'_>) {
        if matches!(packet.link, LinkType::Pcapdroid | LinkType::Pktap) {
            self.take_told(id, packet);
        }
    }

    #[inline(never)]
    fn take_told(&mut self, id: FlowId, packet: &Packet<'_>) {
        let told_by = match packet.link {
            LinkType::Pcapdroid => Basis::Pcapdroid,
            LinkType::Pktap => Basis::Pktap,
            _ => return,
        };
        let Some(flow) = self.table.get_mut(id) else {
            return;
        };
        flow.user.told_mut().process.told_by = Some(told_by);
        if told_by != Basis::Pktap {
            return;
        }
        let Ok(header) = pktap(packet.data) else {
            return;
        };
        let acts_for = if header.effective == header.process {
            &[]
        } else {
            header.effective
        };
        if header.process.is_empty() || flow.user.told().process.is(header.process, acts_for) {
            return;
        }
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let process = NamedProcess {
            name: text(header.process),
            acts_for: (!acts_for.is_empty()).then(|| text(acts_for)),
            basis: ProcessBasis::Pktap,
        };
        if flow.user.told_mut().process.note(process, header.pid) && flow.user.settled.is_some() {
            mark_ready(flow, &mut self.ready);
        }
    }

    /// Takes a process that was found behind a socket, if its flow still has the UID that it was
    /// looked for under.
    pub(super) fn process_fact(&mut self, fact: &ProcessFact) {
        let protocol = match fact.proto {
            SocketProto::Tcp => 6,
            SocketProto::Udp => 17,
        };
        let Some(id) = self.table.find(protocol, fact.local, fact.remote) else {
            return;
        };
        let Some(flow) = self.table.get_mut(id) else {
            return;
        };
        if super::settle::conclude(flow).uid != Some(fact.uid) {
            return;
        }
        let process = NamedProcess {
            name: fact.process.clone(),
            acts_for: None,
            basis: fact.basis,
        };
        if flow.user.told_mut().process.note(process, Some(fact.pid)) && flow.user.settled.is_some()
        {
            mark_ready(flow, &mut self.ready);
        }
    }
}
