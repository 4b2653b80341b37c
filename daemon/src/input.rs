//! The one port of the core: an ordered stream of inputs, live, from captures or from a journal.
//!
//! In: what a producer in `capture` or the supervisor learnt. Out: [`Batch`]es, which carry many
//! inputs through one channel send, so that the hot path allocates nothing per packet.

mod gap;
mod observation;
mod probe;
mod surroundings;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    attribute::{
        charge::{Charge, ChargeBasis},
        inventory::App,
        process::ProcessBasis,
    },
    time::Timestamp,
};

pub use gap::{Gap, GapCause};
pub use observation::{
    CONFOUNDER, CONSENT, Observation, ObservationRefused, PACKAGE, SHIM, VERSION_CODE,
    checked_observation,
};
pub use probe::{ProbeFlow, ProbeMark, ProbeOrder, ProbeSent};
pub use surroundings::{
    Interface, InterfaceAddress, InterfaceChange, InterfaceCount, InterfaceCounters,
    InterfaceHappening, InterfaceKind, ReadLate, Suspension,
};

/// How the first byte of a packet is to be read (numbers of the tcpdump.org link-type registry,
/// reduced to what we dissect).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkType {
    /// Ethernet II or 802.3, VLAN tags included (1).
    Ethernet,
    /// IPv4 or IPv6, told by the version nibble (12, 14, 101, 228, 229), and what NFLOG gives live.
    RawIp,
    /// BSD loopback with a 4-byte family in the writer's byte order (0).
    Null,
    /// OpenBSD loopback, family in network byte order (108).
    Loop,
    /// Linux cooked capture v1 (113).
    Sll,
    /// Linux cooked capture v2 (276).
    Sll2,
    /// PPP with or without HDLC framing (9, 50).
    Ppp,
    /// Linux NFLOG: netlink attributes around an IP packet (239).
    Nflog,
    /// IPv4 or IPv6, told by the version nibble; its UID is what `PCAPdroid` wrote beside it.
    Pcapdroid,
    /// Apple's PKTAP: interface and process in front of another link header (258, 149).
    Pktap,
    /// Any other number: counted by it, and with few exceptions not dissected.
    Other(u16),
}

/// Where a packet's time comes from; handshake times are computed from kernel times only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBasis {
    /// Stamped by the kernel when the packet passed.
    Kernel,
    /// Stamped by us when we received it from the kernel, up to a flush interval later.
    Receive,
    /// Read from a capture file.
    File,
}

/// Where the packet was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// The kernel's OUTPUT hook: sent by this handset, everything of its kind seen.
    Output,
    /// The kernel's INPUT hook through a narrow chain: received, only what names and proves.
    Input,
    /// A capture of both directions; the direction is concluded from addresses.
    Both,
}

/// A packet as the kernel or a capture file gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it passed.
    pub at: Timestamp,
    /// What `at` rests on.
    pub time_basis: TimeBasis,
    /// How `data` begins.
    pub link: LinkType,
    /// Where it was seen.
    pub vantage: Vantage,
    /// UID that came with it (`NFULA_UID`): the creator of the socket.
    pub uid: Option<u32>,
    /// Index of the interface by which it leaves, or came in; none when that was not told.
    pub interface: Option<u32>,
    /// Length before truncation, in bytes, counted like `data` (link header included).
    pub original_len: u32,
    /// Which source of the case it came from (index into the case's list of sources).
    pub source: u16,
    /// 1-based ordinal within that source.
    pub frame: u64,
    /// The bytes that were captured.
    pub data: &'a [u8],
}

impl Packet<'_> {
    /// What is known of it beside its bytes.
    pub const fn without_data(&self) -> Packet<'static> {
        let Self {
            at,
            time_basis,
            link,
            vantage,
            uid,
            interface,
            original_len,
            source,
            frame,
            data: _,
        } = *self;
        Packet {
            at,
            time_basis,
            link,
            vantage,
            uid,
            interface,
            original_len,
            source,
            frame,
            data: &[],
        }
    }
}

/// Transport protocol of a socket that the kernel can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketProto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How the kernel came to say who owns a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactBasis {
    /// It was asked for the socket of a five-tuple, shortly after a packet.
    #[default]
    SockDiag,
    /// A program at the packet's way out read the owner off the packet's own socket.
    XtBpf,
}

/// What the kernel said of a socket's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerFact {
    /// When the answer came; when the packet passed, where the packet's own socket was read.
    pub at: Timestamp,
    /// The socket's protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// The owner, `fchown` included; none when no socket was found, or its inode was 0
    /// (`TIME_WAIT` rows say uid 0 and mean nothing).
    pub uid: Option<u32>,
    /// Inode of the socket, 0 when unknown.
    pub inode: u32,
    /// How the kernel came to say so.
    #[serde(default)]
    pub basis: FactBasis,
    /// The kernel's number of the socket, never given to a second one until the next boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
    /// The kernel's own time of the packet (`CLOCK_MONOTONIC`, nanoseconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_nanos: Option<u64>,
    /// What tells the packet from others of its five-tuple, see `packet::View::opening`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<u64>,
}

/// A socket that no lookup found had the same ends as one that was found: whose packets are whose
/// cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerDoubt {
    /// When it was noticed.
    pub at: Timestamp,
    /// The sockets' protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
}

/// A process was found behind a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFact {
    /// When it was found.
    pub at: Timestamp,
    /// The socket's protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// The UID that it was looked for under.
    pub uid: u32,
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub process: String,
    /// How it is known.
    pub basis: ProcessBasis,
}

/// netd keeps whom a socket's traffic is charged to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeFact {
    /// When it was read.
    pub at: Timestamp,
    /// The socket's protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// The kernel's number of the socket.
    pub cookie: u64,
    /// Whom, and under which tag.
    #[serde(flatten)]
    pub charge: Charge,
    /// How it is known.
    #[serde(default)]
    pub basis: ChargeBasis,
}

/// A capture's writer says what the app of a UID is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppName {
    /// Time of the packet before which it stands.
    pub at: Timestamp,
    /// The UID.
    pub uid: u32,
    /// The package's name, or the app's where the file has only that.
    pub name: String,
}

/// The kernel closed a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketClosed {
    /// When we were told.
    pub at: Timestamp,
    /// The socket's protocol.
    pub proto: SocketProto,
    /// The handset's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// Names the socket until the next boot, where the kernel says.
    #[serde(default)]
    pub cookie: Option<u64>,
    /// Bytes the peer acknowledged, where the kernel says; SYN and FIN count one each.
    pub bytes_acked: Option<u64>,
    /// Bytes received from the peer, where the kernel says; its FIN counts one.
    pub bytes_received: Option<u64>,
    /// Shortest round trip that the kernel measured, in microseconds.
    #[serde(default)]
    pub min_rtt_us: Option<u32>,
}

/// The app inventory changed while we watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryChange {
    /// When we noticed.
    pub at: Timestamp,
    /// The last look at which it was not so yet: what was sent between may be booked to the apps
    /// of before; none: not told.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Apps that are new or differ, as they are now.
    pub changed: Vec<App>,
    /// Packages that are gone.
    pub removed: Vec<String>,
}

/// A file of a preloaded app's code was hashed, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apk {
    /// When that was done.
    pub at: Timestamp,
    /// The app's package.
    pub package: String,
    /// Its `versionCode`; none: not known, or the file is of the version that an update replaced.
    pub version_code: Option<u64>,
    /// Path of the file; of the folder where that could not be listed.
    pub path: String,
    /// Its length in bytes; none: not known.
    pub bytes: Option<u64>,
    /// When it was changed last, as the file system says; none: not known.
    pub modified: Option<Timestamp>,
    /// SHA-256 of its content, lower-case hex; none: it could not be read.
    pub sha256: Option<String>,
    /// Why there is no hash, in plain words.
    pub problem: Option<String>,
}

/// The technician began a phase of the examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseChange {
    /// When it began.
    pub at: Timestamp,
    /// Its name.
    pub name: String,
}

/// Sums of a live capture at its end, over the packets that the handset sent. Where `counter` is
/// known, `counter + repeated = received + lost + missed + elsewhere + unattributed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// When the sums were done.
    pub at: Timestamp,
    /// What the independent counter counted while we watched; none when there was none, or it
    /// cannot be told to the packet.
    pub counter: Option<u64>,
    /// Received from the kernel; those that our own queue dropped are among them.
    pub received: u64,
    /// Logged by our rules, and lost on the way to us.
    pub lost: u64,
    /// Passed while our rules were gone.
    pub missed: u64,
    /// Decided by something else before our rules.
    pub elsewhere: u64,
    /// Missed or decided elsewhere: which cannot be told.
    pub unattributed: u64,
    /// Received more than once, because our jump was repeated.
    pub repeated: u64,
}

/// A remark of the technician.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it was given.
    pub at: Timestamp,
    /// The remark.
    pub text: String,
}

/// Everything the core learns that is not a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The kernel was asked for a socket's owner.
    OwnerFact(OwnerFact),
    /// A process was found behind a socket.
    ProcessFact(ProcessFact),
    /// netd told whom a socket's traffic is charged to.
    ChargeFact(ChargeFact),
    /// A capture's writer named the app of a UID.
    AppName(AppName),
    /// Another socket had the ends of one whose owner is known.
    OwnerDoubt(OwnerDoubt),
    /// The kernel closed a socket.
    SocketClosed(SocketClosed),
    /// Apps came, went or changed.
    InventoryChange(InventoryChange),
    /// An APK file of a preloaded app was hashed.
    Apk(Apk),
    /// A phase began.
    PhaseChange(PhaseChange),
    /// Something was not seen.
    Gap(Gap),
    /// Sums of a live capture.
    Tally(Tally),
    /// A remark.
    Note(Note),
    /// The lab's PC or Android itself told something.
    Observation(Observation),
    /// An interface came, went or changed.
    Interface(InterfaceChange),
    /// The kernel's own counts of the interfaces.
    Counters(InterfaceCounters),
    /// The handset slept.
    Suspension(Suspension),
    /// What follows was read late, or no longer.
    ReadLate(ReadLate),
    /// Which flows are our own probe's.
    ProbeOrder(ProbeOrder),
    /// Our own probe sent.
    ProbeSent(ProbeSent),
    /// Time passed without a packet.
    Tick(Timestamp),
    /// A capture file has ended, at its last packet's time: its flows end with it.
    SourceEnd(Timestamp),
}

/// One input of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Anything else.
    Event(&'a Event),
}

/// What a [`Batch`] remembers of a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
struct PacketEntry {
    packet: Packet<'static>,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone)]
enum Entry {
    Packet(PacketEntry),
    Event(Event),
}

/// Takes inputs in order.
pub trait Sink {
    /// Takes a packet; its bytes are lent.
    fn packet(&mut self, packet: &Packet<'_>);
    /// Takes an event.
    fn event(&mut self, event: Event);
    /// Whether a producer should pause now.
    fn is_full(&self) -> bool;
}

impl Sink for Batch {
    fn packet(&mut self, packet: &Packet<'_>) {
        self.push_packet(packet);
    }

    fn event(&mut self, event: Event) {
        self.push_event(event);
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }
}

/// Many inputs in order, in two allocations that are reused from batch to batch.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// A producer hands a batch on when it holds this many bytes, or sooner.
    pub const BYTES_MAX: usize = 256 * 1024;
    /// A producer hands a batch on when it holds this many inputs, or sooner.
    pub const INPUTS_MAX: usize = 4096;

    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a packet, copying its bytes.
    pub fn push_packet(&mut self, packet: &Packet<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet.data);
        let end = self.bytes.len();
        let packet = packet.without_data();
        self.entries
            .push(Entry::Packet(PacketEntry { packet, start, end }));
    }

    /// Appends an event.
    pub fn push_event(&mut self, event: Event) {
        self.entries.push(Entry::Event(event));
    }

    /// How many inputs it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many packets it holds.
    pub fn packets(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Packet(_)))
            .count()
    }

    /// Whether a producer should hand it on now.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::BYTES_MAX || self.entries.len() >= Self::INPUTS_MAX
    }

    /// The inputs in the order in which they were appended.
    pub fn iter(&self) -> impl Iterator<Item = Input<'_>> {
        self.entries.iter().map(|entry| match entry {
            Entry::Packet(kept) => Input::Packet(Packet {
                data: &self.bytes[kept.start..kept.end],
                ..kept.packet
            }),
            Entry::Event(event) => Input::Event(event),
        })
    }

    /// Empties it and keeps its allocations.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_of_an_older_journal_is_a_lookup() {
        let old = r#"{"at":"2026-11-24T09:00:00.000000Z","inode":7,"local":"192.168.43.100:40000",
            "proto":"udp","remote":"49.45.0.1:53","uid":10050}"#;
        let fact: OwnerFact = serde_json::from_str(old).unwrap();
        assert_eq!((fact.basis, fact.cookie), (FactBasis::SockDiag, None));
    }

    #[test]
    fn keeps_order_and_bytes() {
        let packet = Packet {
            at: Timestamp::from_micros(1),
            time_basis: TimeBasis::File,
            link: LinkType::RawIp,
            vantage: Vantage::Both,
            uid: Some(10_050),
            interface: Some(3),
            original_len: 9,
            source: 0,
            frame: 1,
            data: &[1, 2, 3],
        };
        let tick = Event::Tick(Timestamp::from_micros(2));
        let mut batch = Batch::new();
        batch.push_packet(&packet);
        batch.push_event(tick.clone());
        batch.push_packet(&Packet {
            data: &[4],
            frame: 2,
            ..packet
        });
        let inputs: Vec<Input<'_>> = batch.iter().collect();
        assert_eq!(inputs[0], Input::Packet(packet));
        assert_eq!(inputs[1], Input::Event(&tick));
        assert_eq!(
            inputs[2],
            Input::Packet(Packet {
                data: &[4],
                frame: 2,
                ..packet
            })
        );
        assert_eq!((batch.len(), batch.packets()), (3, 2));
    }

    /// Journals of earlier versions do not have the later keys.
    #[test]
    fn an_end_of_a_socket_without_later_keys_is_read() {
        let old = r#"{"socket_closed":{"at":"2026-11-24T00:00:00.000000Z","proto":"tcp",
            "local":"192.0.2.1:1","remote":"192.0.2.2:2","bytes_acked":5,"bytes_received":null}}"#;
        let Event::SocketClosed(closed) = serde_json::from_str(old).unwrap() else {
            panic!("another event");
        };
        assert_eq!((closed.bytes_acked, closed.bytes_received), (Some(5), None));
        assert_eq!((closed.cookie, closed.min_rtt_us), (None, None));
    }
}
