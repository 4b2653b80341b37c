//! Whom netd charges stands beside the owner of that socket's flow, and of no other.

use sakshi::{
    attribute::charge::{Charge, ChargeBasis},
    evidence::body::{ChargedTo, Flow, Record},
    input::{ChargeFact, Event},
};

use crate::{
    APP, PACKAGES,
    owners::{opening, sighted},
    stream::{Witness, at, core, udp},
};

const PEER: &str = "13.228.10.20:9";
const PORT: u16 = 40_000;
const COOKIE: u64 = 7;
const CHAT: u32 = 10_055;
const DOWNLOAD: u32 = 0xffff_ff01;

fn charged(millis: i64, cookie: u64, uid: u32, tag: u32) -> Event {
    let fact = sighted(millis, PORT, PEER, APP, cookie, 0);
    Event::ChargeFact(ChargeFact {
        at: at(millis),
        proto: fact.proto,
        local: fact.local,
        remote: fact.remote,
        cookie,
        charge: Charge { uid, tag },
        basis: ChargeBasis::NetdTag,
    })
}

/// A core that was told of the socket, and what is still to come of it.
struct Bench(Witness);

impl Bench {
    fn new() -> Self {
        Self(Witness::new(core(PACKAGES)))
    }

    fn read(&mut self, millis: i64) {
        let fact = sighted(millis, PORT, PEER, APP, COOKIE, opening(b"x"));
        self.0.hear(&Event::OwnerFact(fact));
    }

    fn send(&mut self, millis: i64) {
        self.0.see(&udp(millis, APP, PORT, PEER, false, b"x"));
    }

    fn flow(&mut self) -> Flow {
        self.0.finish();
        let flow = |record: &Record| match record {
            Record::Flow(flow) => Some((**flow).clone()),
            _ => None,
        };
        let flow = self.0.records.iter().find_map(flow).unwrap();
        assert_eq!(flow.owner.uid, APP, "a charge never touches the owner");
        assert_eq!(flow.owner.basis.as_str(), "xt_bpf");
        flow
    }

    /// Whom each contact is charged to, with the flows that were counted to it in the end.
    fn contacts(&self) -> Vec<(Vec<u32>, u64)> {
        let totals = self.0.totals();
        let contact = |record: &Record| match record {
            Record::Contact(contact) => {
                let flows = totals.get(&contact.contact).map_or(0, |total| total.0);
                Some((uids(&contact.charged_to), flows))
            }
            _ => None,
        };
        self.0.records.iter().filter_map(contact).collect()
    }
}

fn uids(charged: &[ChargedTo]) -> Vec<u32> {
    charged.iter().map(|charged| charged.uid).collect()
}

#[test]
fn a_charge_that_is_read_before_its_packet_is_seen_waits_for_it() {
    let mut bench = Bench::new();
    bench.0.hear(&charged(0, COOKIE, CHAT, DOWNLOAD));
    bench.read(0);
    bench.send(1);
    let flow = bench.flow();
    let [to] = flow.charged_to.as_slice() else {
        panic!("{:?}", flow.charged_to);
    };
    assert_eq!((to.uid, to.user, to.tag), (CHAT, 0, DOWNLOAD));
    assert_eq!(to.apps, ["org.example.chat"]);
    assert_eq!(to.tag_name.as_deref(), Some("download"));
    assert_eq!((to.basis, to.since), (ChargeBasis::NetdTag, Some(at(0))));
    assert_eq!(bench.contacts(), [(vec![CHAT], 1)]);
}

#[test]
fn a_charge_of_another_socket_is_not_the_flow_s() {
    let mut bench = Bench::new();
    bench.0.hear(&charged(0, COOKIE + 1, CHAT, 0));
    bench.read(0);
    bench.send(1);
    bench.0.hear(&charged(2, COOKIE + 1, CHAT, 0));
    assert_eq!(bench.flow().charged_to, []);
}

#[test]
fn a_charge_without_the_socket_s_own_fact_charges_nobody() {
    let mut bench = Witness::new(core(PACKAGES));
    bench.see(&udp(1, APP, PORT, PEER, false, b"x"));
    bench.hear(&charged(2, COOKIE, CHAT, 0));
    bench.finish();
    let charged = |record: &Record| match record {
        Record::Flow(flow) => Some(flow.charged_to.len()),
        _ => None,
    };
    assert_eq!(bench.records.iter().find_map(charged), Some(0));
}

#[test]
fn a_flow_that_is_charged_to_another_later_moves_and_keeps_both_in_order() {
    let mut bench = Bench::new();
    bench.read(0);
    bench.0.hear(&charged(0, COOKIE, CHAT, DOWNLOAD));
    bench.send(1);
    bench.0.tick(6_000);
    bench.0.hear(&charged(7_000, COOKIE, 1000, 0));
    bench.0.hear(&charged(8_000, COOKIE, CHAT, DOWNLOAD));
    let flow = bench.flow();
    assert_eq!(uids(&flow.charged_to), [CHAT, 1000]);
    assert_eq!(flow.charged_to[1].name.as_deref(), Some("system"));
    assert_eq!(bench.contacts(), [(vec![CHAT], 0), (vec![CHAT, 1000], 1)]);
}

#[test]
fn who_pays_for_itself_is_no_contact_of_its_own() {
    let mut bench = Bench::new();
    bench.read(0);
    bench.send(1);
    bench.0.tick(6_000);
    bench.0.hear(&charged(7_000, COOKIE, 10_050, 5));
    // netd's resolver tags its sockets so, whoever they are for.
    bench.0.hear(&charged(8_000, COOKIE, 1051, 0xffff_ff82));
    assert_eq!(uids(&bench.flow().charged_to), [10_050, 1051]);
    assert_eq!(bench.contacts(), [(vec![], 1)]);
}

#[test]
fn charges_beyond_the_bound_are_counted() {
    let mut bench = Bench::new();
    bench.read(0);
    bench.send(1);
    for uid in 10_100..10_106 {
        bench.0.hear(&charged(2, COOKIE, uid, 0));
    }
    assert_eq!(bench.flow().charged_to.len(), 4);
    let told = |record: &Record| match record {
        Record::Gap(gap) => Some((gap.place.clone(), gap.detail.clone())),
        _ => None,
    };
    let (place, detail) = bench.0.records.iter().find_map(told).unwrap();
    assert_eq!(place, "charges");
    assert!(detail.starts_with("2 further charges"), "{detail}");
}
