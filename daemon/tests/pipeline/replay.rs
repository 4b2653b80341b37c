//! Feeding the journal again gives the same records, though it keeps little of most packets.

use proptest::prelude::*;
use sakshi::{
    attribute::charge::{Charge, ChargeBasis},
    evidence::{
        body::Record,
        journal::{JournalWriter, read_block},
    },
    input::{
        ChargeFact, Event, FactBasis, Input, LinkType, Note, OwnerFact, Packet, PhaseChange,
        SocketProto, TimeBasis,
    },
    pipeline::{Core, Keep},
};

use crate::{
    PACKAGES,
    owners::{loss, opening, sighted},
    stream::{HANDSET, Kind, Sent, at, core, dns, get, tcp, udp},
};

#[derive(Debug, Clone)]
enum Step {
    Packet(Sent),
    Event(Event),
}

fn uid() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![
        Just(None),
        Just(Some(0)),
        Just(Some(10_050)),
        Just(Some(10_055))
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop_oneof![Just("a.example"), Just("b.example")].prop_map(get),
        Just(b"GET / HT".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let millis = 0_i64..90_000;
    let port = 40_000_u16..40_003;
    let peer = prop_oneof![
        Just("13.228.10.20:80"),
        Just("1.180.18.20:443"),
        Just("104.16.1.1:443")
    ];
    let kind = prop_oneof![
        Just(Kind::Syn),
        Just(Kind::SynAck),
        Just(Kind::Ack),
        Just(Kind::Fin)
    ];
    let resolver = "49.45.0.1:53";
    prop_oneof![
        6 => (millis.clone(), uid(), port.clone(), peer, kind, payload())
            .prop_map(|(millis, uid, port, peer, kind, payload)| {
                Step::Packet(tcp(millis, uid, port, peer, kind, &payload))
            }),
        2 => (millis.clone(), uid(), port.clone(), any::<bool>()).prop_map(move |(millis, uid, port, inbound)| {
            let message = dns("a.example", inbound.then_some([13, 228, 10, 20]));
            Step::Packet(udp(millis, uid, port, resolver, inbound, &message))
        }),
        1 => (millis.clone(), port.clone(), uid(), 0_u64..4).prop_map(move |(millis, port, uid, cookie)| {
            Step::Event(Event::OwnerFact(OwnerFact {
                at: at(millis),
                proto: SocketProto::Udp,
                local: format!("{HANDSET}:{port}").parse().unwrap(),
                remote: resolver.parse().unwrap(),
                uid,
                inode: 1,
                basis: FactBasis::SockDiag,
                cookie: (cookie > 0).then_some(cookie),
                kernel_nanos: None,
                opening: None,
            }))
        }),
        1 => (millis.clone(), port.clone(), 1_u64..4, 10_050_u32..10_057).prop_map(
            move |(millis, port, cookie, uid)| {
                Step::Event(Event::ChargeFact(ChargeFact {
                    at: at(millis),
                    proto: SocketProto::Udp,
                    local: format!("{HANDSET}:{port}").parse().unwrap(),
                    remote: resolver.parse().unwrap(),
                    cookie,
                    charge: Charge { uid, tag: 1 },
                    basis: ChargeBasis::NetdTag,
                }))
            },
        ),
        2 => (millis.clone(), port, uid(), 1_u64..4, any::<bool>(), any::<bool>()).prop_map(
            move |(millis, port, uid, cookie, tcp, other)| {
                let question = dns("a.example", None);
                let opening = if tcp { OPENING_OF_TCP } else { opening(&question) };
                let remote = if tcp { "13.228.10.20:80" } else { resolver };
                sighting(millis, port, remote, uid, cookie, opening + u64::from(other))
            },
        ),
        1 => millis.clone().prop_map(|millis| Step::Event(Event::Gap(loss(millis)))),
        1 => millis.clone().prop_map(|millis| Step::Event(Event::Tick(at(millis)))),
        1 => millis.clone().prop_map(|millis| {
            Step::Event(Event::PhaseChange(PhaseChange { at: at(millis), name: format!("p{millis}") }))
        }),
        1 => millis.prop_map(|millis| Step::Event(Event::Note(Note { at: at(millis), text: "n".to_owned() }))),
    ]
}

/// Sequence number of every TCP packet here.
const OPENING_OF_TCP: u64 = 1 << 32;

fn sighting(
    millis: i64,
    port: u16,
    remote: &str,
    uid: Option<u32>,
    cookie: u64,
    opening: u64,
) -> Step {
    Step::Event(Event::OwnerFact(sighted(
        millis, port, remote, uid, cookie, opening,
    )))
}

fn feed(core: &mut Core, steps: &[Step], journal: &mut JournalWriter) -> Vec<Record> {
    let mut records = Vec::new();
    for (frame, step) in (1..).zip(steps) {
        let packet = |sent: &'_ Sent| Packet {
            at: sent.at,
            time_basis: TimeBasis::Receive,
            link: LinkType::RawIp,
            vantage: sent.vantage,
            uid: sent.uid,
            interface: sent.interface,
            original_len: u32::try_from(sent.bytes.len()).unwrap(),
            source: 0,
            frame,
            data: &[],
        };
        let input = match step {
            Step::Packet(sent) => Input::Packet(Packet {
                data: &sent.bytes,
                ..packet(sent)
            }),
            Step::Event(event) => Input::Event(event),
        };
        let keep = match core.feed(&input, &mut records) {
            Keep::Whole => usize::MAX,
            Keep::Headers(bytes) => bytes,
        };
        journal.push(&input, keep).unwrap();
    }
    core.finish(&mut records);
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_gives_the_same_records(steps in proptest::collection::vec(step(), 1..60)) {
        let mut journal = JournalWriter::new();
        let first = feed(&mut core(PACKAGES), &steps, &mut journal);
        let block = read_block(&journal.close().unwrap().unwrap().attachment).unwrap();
        let mut again = core(PACKAGES);
        let mut second = Vec::new();
        for input in block.inputs.iter() {
            again.feed(&input, &mut second);
        }
        again.finish(&mut second);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn contacts_add_up_to_what_flows_sent(steps in proptest::collection::vec(step(), 1..60)) {
        let records = feed(&mut core(PACKAGES), &steps, &mut JournalWriter::new());
        let mut totals = std::collections::BTreeMap::new();
        let mut sent = 0;
        for record in &records {
            match record {
                Record::Total(total) => { totals.insert(total.contact.clone(), total.bytes_out); }
                Record::Flow(flow) => sent += flow.bytes_out,
                _ => {}
            }
        }
        prop_assert_eq!(totals.values().sum::<u64>(), sent);
    }
}
