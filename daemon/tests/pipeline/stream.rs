//! Builds a core and the inputs that it is fed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
};

use etherparse::PacketBuilder;
use sakshi::{
    attribute::inventory::Inventory,
    evidence::body::Record,
    input::{Event, Input, LinkType, Packet, TimeBasis, Vantage},
    locate::Atlas,
    pipeline::{Core, Keep, Setup},
    time::Timestamp,
};
use sakshi_rules::{
    RuleSet,
    declare::{BrandFile, asked_by_built_in},
};

/// 2026-11-24T00:00:00Z.
const START_MICROS: i64 = 1_795_478_400_000_000;

/// Read once: every core shares it.
static ATLAS: LazyLock<Arc<Atlas>> = LazyLock::new(|| Arc::new(Atlas::embedded().unwrap()));

/// A moment, in milliseconds from the start of the tests' day.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(START_MICROS + millis * 1000)
}

/// A core with the built-in rules and these packages.
pub fn core(packages_list: &str) -> Core {
    core_with(packages_list, &[])
}

/// The same, with more rules behind the built-in ones.
pub fn core_with(packages_list: &str, more: &[&str]) -> Core {
    let (inventory, _) = Inventory::from_files(&[("packages.list", packages_list.as_bytes())]);
    let asked = asked_by_built_in().iter();
    let brands: Vec<BrandFile> = asked
        .map(|(name, text)| BrandFile::parse(name, text).expect("a sound file"))
        .collect();
    let embedded = sakshi_rules::embedded().iter().map(|(_, text)| *text);
    let rules = embedded
        .chain(more.iter().copied())
        .map(|text| RuleSet::parse("rules.toml", text, &brands).unwrap())
        .collect();
    Core::new(Setup {
        session: 1,
        handset: Vec::new(),
        inventory,
        rules,
        atlas: Arc::clone(&ATLAS),
        sources: vec!["live".to_owned()],
        egress: None,
    })
}

/// One packet of a stream.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Timestamp,
    pub uid: Option<u32>,
    pub interface: Option<u32>,
    pub vantage: Vantage,
    pub bytes: Vec<u8>,
}

/// What a TCP packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Syn,
    SynAck,
    Ack,
    Fin,
}

pub const HANDSET: &str = "192.168.43.100";

/// A TCP packet of the handset, or to it.
pub fn tcp(millis: i64, uid: Option<u32>, port: u16, to: &str, kind: Kind, payload: &[u8]) -> Sent {
    let to: SocketAddr = to.parse().unwrap();
    let inbound = kind == Kind::SynAck;
    let (v4, other) = (addr(HANDSET), addr(&to.ip().to_string()));
    let seq = match kind {
        Kind::Syn | Kind::SynAck => 1,
        Kind::Ack | Kind::Fin => 2,
    };
    let builder = if inbound {
        PacketBuilder::ipv4(other, v4, 64).tcp(to.port(), port, seq, 65_535)
    } else {
        PacketBuilder::ipv4(v4, other, 64).tcp(port, to.port(), seq, 65_535)
    };
    let builder = match kind {
        Kind::Syn => builder.syn(),
        Kind::SynAck => builder.syn().ack(2),
        Kind::Ack => builder.ack(2).psh(),
        Kind::Fin => builder.ack(2).fin(),
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    sent(millis, uid, inbound, bytes)
}

/// Data of the handset that stands so many bytes behind the first of a connection.
pub fn tcp_behind(
    millis: i64,
    uid: Option<u32>,
    port: u16,
    to: &str,
    behind: usize,
    payload: &[u8],
) -> Sent {
    let to: SocketAddr = to.parse().unwrap();
    let (v4, other) = (addr(HANDSET), addr(&to.ip().to_string()));
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(v4, other, 64)
        .tcp(port, to.port(), 2 + u32::try_from(behind).unwrap(), 65_535)
        .ack(2)
        .psh()
        .write(&mut bytes, payload)
        .unwrap();
    sent(millis, uid, false, bytes)
}

/// A UDP packet of the handset, or to it.
pub fn udp(
    millis: i64,
    uid: Option<u32>,
    port: u16,
    peer: &str,
    inbound: bool,
    payload: &[u8],
) -> Sent {
    let peer: SocketAddr = peer.parse().unwrap();
    let (v4, other) = (addr(HANDSET), addr(&peer.ip().to_string()));
    let builder = if inbound {
        PacketBuilder::ipv4(other, v4, 64).udp(peer.port(), port)
    } else {
        PacketBuilder::ipv4(v4, other, 64).udp(port, peer.port())
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    sent(millis, uid, inbound, bytes)
}

fn addr(text: &str) -> [u8; 4] {
    match text.parse().unwrap() {
        IpAddr::V4(addr) => addr.octets(),
        IpAddr::V6(_) => panic!("IPv4 only"),
    }
}

fn sent(millis: i64, uid: Option<u32>, inbound: bool, bytes: Vec<u8>) -> Sent {
    let vantage = if inbound {
        Vantage::Input
    } else {
        Vantage::Output
    };
    Sent {
        at: at(millis),
        uid,
        interface: None,
        vantage,
        bytes,
    }
}

/// An HTTP request in one segment.
pub fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// A question for A, or the answer that gives it an address.
pub fn dns(name: &str, answer: Option<[u8; 4]>) -> Vec<u8> {
    let mut message = vec![
        0,
        1,
        if answer.is_some() { 0x81 } else { 1 },
        0,
        0,
        1,
        0,
        u8::from(answer.is_some()),
        0,
        0,
        0,
        0,
    ];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    if let Some(address) = answer {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        message.extend_from_slice(&address);
    }
    message
}

/// Feeds a core and keeps what it says.
pub struct Witness {
    pub core: Core,
    pub records: Vec<Record>,
    pub kept: Vec<Keep>,
    frames: u64,
}

impl Witness {
    pub fn new(core: Core) -> Self {
        Self {
            core,
            records: Vec::new(),
            kept: Vec::new(),
            frames: 0,
        }
    }

    pub fn see(&mut self, sent: &Sent) {
        self.frames += 1;
        let packet = Packet {
            at: sent.at,
            time_basis: TimeBasis::Receive,
            link: LinkType::RawIp,
            vantage: sent.vantage,
            uid: sent.uid,
            interface: sent.interface,
            original_len: u32::try_from(sent.bytes.len()).unwrap(),
            source: 0,
            frame: self.frames,
            data: &sent.bytes,
        };
        self.kept
            .push(self.core.feed(&Input::Packet(packet), &mut self.records));
    }

    pub fn hear(&mut self, event: &Event) {
        self.core.feed(&Input::Event(event), &mut self.records);
    }

    pub fn tick(&mut self, millis: i64) {
        self.hear(&Event::Tick(at(millis)));
    }

    pub fn finish(&mut self) {
        self.core.finish(&mut self.records);
    }

    /// Rule and outcome of each finding so far.
    pub fn findings(&self) -> Vec<(String, String)> {
        let finding = |record: &Record| match record {
            Record::Finding(finding) => Some((finding.rule.clone(), finding.outcome.clone())),
            _ => None,
        };
        self.records.iter().filter_map(finding).collect()
    }

    /// UID and name of each contact so far.
    pub fn contacts(&self) -> Vec<(Option<u32>, Option<String>)> {
        let contact = |record: &Record| match record {
            Record::Contact(contact) => Some((contact.owner.uid, contact.endpoint.name.clone())),
            _ => None,
        };
        self.records.iter().filter_map(contact).collect()
    }

    /// The last totals of each contact: flows, packets and bytes sent.
    pub fn totals(&self) -> std::collections::BTreeMap<String, (u64, u64, u64)> {
        let total = |record: &Record| match record {
            Record::Total(total) => Some((
                total.contact.clone(),
                (total.flows, total.packets_out, total.bytes_out),
            )),
            _ => None,
        };
        self.records.iter().filter_map(total).collect()
    }
}
