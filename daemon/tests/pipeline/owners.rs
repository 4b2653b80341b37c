//! What was read off a packet's own socket reaches that socket's flow, and no other.

use sakshi::{
    evidence::body::{Flow, Record},
    input::{Event, FactBasis, Gap, GapCause, OwnerFact, SocketProto},
    packet::dissect,
    pipeline::Keep,
};

use crate::{
    APP, PACKAGES, SINGAPORE,
    stream::{HANDSET, Kind, Sent, Witness, at, core, dns, tcp, udp},
};

const RESOLVER: &str = "49.45.0.1:53";
const ROOT: Option<u32> = Some(0);
const CHAT: Option<u32> = Some(10_055);

/// What tells a UDP packet of this payload.
pub fn opening(payload: &[u8]) -> u64 {
    let len = u64::try_from(payload.len() + 8).unwrap();
    let first = payload
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes));
    len << 48 | u64::from(first)
}

/// A fact of basis `xt_bpf`.
pub fn sighted(
    millis: i64,
    port: u16,
    remote: &str,
    uid: Option<u32>,
    cookie: u64,
    opening: u64,
) -> OwnerFact {
    let remote: std::net::SocketAddr = remote.parse().unwrap();
    OwnerFact {
        at: at(millis),
        proto: if remote.port() == 80 {
            SocketProto::Tcp
        } else {
            SocketProto::Udp
        },
        local: format!("{HANDSET}:{port}").parse().unwrap(),
        remote,
        uid,
        inode: 0,
        basis: FactBasis::XtBpf,
        cookie: Some(cookie),
        kernel_nanos: Some(1),
        opening: Some(opening),
    }
}

/// Packets that the kernel lost.
pub fn loss(millis: i64) -> Gap {
    Gap {
        at: at(millis),
        cause: GapCause::KernelLoss,
        from: None,
        to: None,
        packets: Some(1),
        place: "nflog group 100".to_owned(),
        detail: String::new(),
    }
}

struct Dns {
    witness: Witness,
}

impl Dns {
    fn new() -> Self {
        Self {
            witness: Witness::new(core(PACKAGES)),
        }
    }

    /// A question for `name` from port 40000, of a socket that root made.
    fn ask(&mut self, millis: i64, name: &str) {
        self.witness.see(&question(millis, name));
    }

    /// The kernel read the socket of that question.
    fn read(&mut self, millis: i64, name: &str, uid: Option<u32>, cookie: u64) {
        let opening = opening(&dns(name, None));
        let fact = sighted(millis, 40_000, RESOLVER, uid, cookie, opening);
        self.witness.hear(&Event::OwnerFact(fact));
    }

    fn finish(&mut self) -> Vec<(Option<u32>, String, u64)> {
        self.witness.finish();
        flows(&self.witness)
            .map(|flow| {
                (
                    flow.owner.uid,
                    flow.owner.basis.as_str().to_owned(),
                    flow.packets_out,
                )
            })
            .collect()
    }
}

fn question(millis: i64, name: &str) -> Sent {
    udp(millis, ROOT, 40_000, RESOLVER, false, &dns(name, None))
}

fn flows(witness: &Witness) -> impl Iterator<Item = &Flow> {
    witness.records.iter().filter_map(|record| match record {
        Record::Flow(flow) => Some(&**flow),
        _ => None,
    })
}

fn xt_bpf(uid: Option<u32>, packets: u64) -> (Option<u32>, String, u64) {
    (uid, "xt_bpf".to_owned(), packets)
}

fn nflog(uid: Option<u32>, packets: u64) -> (Option<u32>, String, u64) {
    (uid, "nflog".to_owned(), packets)
}

#[test]
fn a_fact_reaches_its_flow_before_its_packet_and_after() {
    for early in [true, false] {
        let mut dns = Dns::new();
        if early {
            dns.read(0, "a.example", CHAT, 1);
        }
        dns.ask(1, "a.example");
        if !early {
            dns.read(0, "a.example", CHAT, 1);
        }
        dns.ask(2, "a.example");
        assert_eq!(dns.finish(), [xt_bpf(CHAT, 2)]);
        let flow = flows(&dns.witness).next().unwrap();
        assert_eq!(flow.owner.creator_uid, ROOT);
    }
}

#[test]
fn sockets_of_one_creator_on_one_five_tuple_are_flows_of_their_own() {
    let mut dns = Dns::new();
    // Both facts are there before the first packet, as when the kernel delivers in batches.
    dns.read(0, "a.example", APP, 1);
    dns.read(1, "longer.example", CHAT, 2);
    dns.ask(2, "a.example");
    dns.ask(3, "a.example");
    dns.ask(4, "longer.example");
    dns.ask(5, "longer.example");
    assert_eq!(dns.finish(), [xt_bpf(APP, 2), xt_bpf(CHAT, 2)]);
}

#[test]
fn of_packets_that_look_alike_the_first_is_the_first_socket_s() {
    let mut dns = Dns::new();
    dns.read(0, "a.example", APP, 1);
    dns.read(1, "a.example", CHAT, 2);
    dns.ask(2, "a.example");
    dns.ask(3, "a.example");
    assert_eq!(dns.finish(), [xt_bpf(APP, 1), xt_bpf(CHAT, 1)]);
}

#[test]
fn the_fact_of_a_lost_packet_is_given_to_nobody_else() {
    let mut dns = Dns::new();
    dns.read(0, "a.example", APP, 1);
    dns.ask(1, "a.example");
    // The first packet of the next socket is lost, its second one is not.
    dns.read(2, "b.example", CHAT, 2);
    dns.witness.hear(&Event::Gap(loss(3)));
    dns.ask(4, "longer.example");
    assert_eq!(dns.finish(), [xt_bpf(APP, 1), nflog(ROOT, 1)]);
    let second = flows(&dns.witness).nth(1).unwrap();
    assert!(second.owner.may_act_for_app);
}

#[test]
fn without_the_layer_each_question_has_an_owner_of_its_own() {
    let mut dns = Dns::new();
    let looked_up = |uid| {
        let fact = sighted(0, 40_000, RESOLVER, uid, 7, 0);
        Event::OwnerFact(OwnerFact {
            basis: FactBasis::SockDiag,
            ..fact
        })
    };
    dns.ask(1, "a.example");
    dns.witness.hear(&looked_up(CHAT));
    dns.ask(2, "a.example");
    // From the same port, another socket of netd's, which no lookup found in time.
    dns.ask(3, "longer.example");
    let sock_diag = (CHAT, "sock_diag".to_owned(), 2);
    assert_eq!(dns.finish(), [sock_diag, nflog(ROOT, 1)]);
}

#[test]
fn after_a_loss_a_packet_that_shows_its_owner_stays_in_its_flow() {
    let mut witness = Witness::new(core(PACKAGES));
    let fact = sighted(0, 40_000, SINGAPORE, APP, 1, 1 << 32);
    witness.hear(&Event::OwnerFact(fact));
    witness.see(&tcp(1, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.hear(&Event::Gap(loss(2)));
    witness.see(&tcp(3, APP, 40_000, SINGAPORE, Kind::Ack, b"x"));
    witness.see(&tcp(4, None, 40_000, SINGAPORE, Kind::Ack, b""));
    witness.finish();
    assert_eq!(flows(&witness).count(), 1);
}

#[test]
fn a_socket_that_is_given_away_stays_one_flow() {
    let mut dns = Dns::new();
    dns.read(0, "a.example", ROOT, 1);
    dns.ask(1, "a.example");
    dns.read(2, "b.example", CHAT, 1);
    dns.ask(3, "b.example");
    assert_eq!(dns.finish(), [xt_bpf(CHAT, 2)]);
}

#[test]
fn data_of_a_closed_socket_has_its_owner() {
    let mut witness = Witness::new(core(PACKAGES));
    let fact = sighted(0, 40_000, SINGAPORE, APP, 1, 2 << 32);
    witness.hear(&Event::OwnerFact(fact));
    witness.see(&tcp(1, None, 40_000, SINGAPORE, Kind::Ack, b"orphaned"));
    witness.finish();
    let flow = flows(&witness).next().unwrap();
    assert_eq!((flow.owner.uid, flow.carried_packets), (APP, 1));
    assert_eq!(flow.owner.basis.as_str(), "xt_bpf");
}

#[test]
fn a_reused_connection_is_another_socket_s() {
    let mut witness = Witness::new(core(PACKAGES));
    for (millis, uid, cookie) in [(0, APP, 1), (10, CHAT, 2)] {
        let fact = sighted(millis, 40_000, SINGAPORE, uid, cookie, 1 << 32);
        witness.hear(&Event::OwnerFact(fact));
        // Without a UID of its own, nor an answer: nothing else tells the two apart.
        witness.see(&tcp(millis + 1, None, 40_000, SINGAPORE, Kind::Syn, b""));
    }
    witness.finish();
    let owners: Vec<Option<u32>> = flows(&witness).map(|flow| flow.owner.uid).collect();
    assert_eq!(owners, [APP, CHAT]);
}

#[test]
fn a_compared_packet_is_kept_whole() {
    let mut dns = Dns::new();
    let more = |dns: &mut Dns, millis| {
        let sent = udp(millis, APP, 40_000, "13.228.10.20:7", false, b"payload");
        dns.witness.see(&sent);
        *dns.witness.kept.last().unwrap()
    };
    for millis in 0..8 {
        more(&mut dns, millis);
    }
    assert!(matches!(more(&mut dns, 9), Keep::Headers(_)));
    let fact = sighted(10, 40_000, "13.228.10.20:7", APP, 1, 5);
    dns.witness.hear(&Event::OwnerFact(fact));
    assert_eq!(more(&mut dns, 11), Keep::Whole);
}

#[test]
fn the_opening_is_what_the_program_computes() {
    let link = sakshi::input::LinkType::RawIp;
    let told = |sent: &Sent| {
        let len = u32::try_from(sent.bytes.len()).unwrap();
        dissect(link, &sent.bytes, len).unwrap().opening()
    };
    let name = dns("a.example", None);
    assert_eq!(told(&question(0, "a.example")), Some(opening(&name)));
    let short = udp(0, APP, 40_000, RESOLVER, false, b"abc");
    assert_eq!(told(&short), Some(11 << 48));
    let syn = tcp(0, APP, 40_000, SINGAPORE, Kind::Syn, b"");
    assert_eq!(told(&syn), Some(1 << 32));
}
