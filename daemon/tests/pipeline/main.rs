//! The core at its boundary: inputs in, records out.

mod replay;
mod stream;

use sakshi::{
    evidence::body::{Basis, Record},
    input::{Event, Gap, GapCause, InventoryChange, OwnerFact, PhaseChange, SocketProto, Vantage},
    pipeline::Keep,
};

use stream::{Kind, Witness, at, core, core_with, dns, get, tcp, udp};

/// A preloaded app (`@system`), one that a user installed, and a shared UID.
const PACKAGES: &str = "\
com.sample.push 10050 0 /data/user/0/com.sample.push platform 3003 0 1 1 @system\n\
org.example.chat 10055 0 /data/user/0/org.example.chat default 3003 0 1 1 com.android.vending\n";

const SINGAPORE: &str = "13.228.10.20:80";
const APP: Option<u32> = Some(10_050);

fn finding(rule: &str, outcome: &str) -> (String, String) {
    (rule.to_owned(), outcome.to_owned())
}

#[test]
fn a_flow_is_judged_once_its_name_is_known() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.see(&tcp(0, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.see(&tcp(9, None, 40_000, SINGAPORE, Kind::SynAck, b""));
    witness.see(&tcp(
        10,
        APP,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("push.example"),
    ));
    assert_eq!(
        witness.contacts(),
        [],
        "what follows belongs to the same input"
    );
    witness.tick(20);
    assert_eq!(witness.contacts(), [(APP, Some("push.example".to_owned()))]);
    assert_eq!(
        witness.findings(),
        [finding("LOC-001", "finding"), finding("CLR-001", "finding")]
    );
    witness.see(&tcp(30, APP, 40_000, SINGAPORE, Kind::Ack, b"more"));
    witness.finish();
    assert_eq!(
        witness.findings().len(),
        2,
        "what is unchanged is not said twice"
    );
    assert_eq!(witness.core.summary().findings, 2);
}

#[test]
fn without_a_name_a_flow_is_settled_after_five_seconds_and_judged_again_with_payload() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.see(&tcp(0, APP, 40_000, "13.228.10.20:443", Kind::Syn, b""));
    witness.tick(4_999);
    assert_eq!(witness.contacts(), []);
    witness.tick(5_000);
    assert_eq!(witness.contacts(), [(APP, None)]);
    assert_eq!(witness.findings(), [], "nothing was sent yet");
    witness.see(&tcp(
        6_000,
        APP,
        40_000,
        "13.228.10.20:443",
        Kind::Ack,
        b"\x99unknown",
    ));
    witness.tick(6_001);
    assert_eq!(witness.findings(), [finding("LOC-001", "finding")]);
    assert_eq!(witness.contacts().len(), 1);
}

#[test]
fn a_flow_moves_when_its_owner_becomes_known() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.see(&tcp(
        0,
        None,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.tick(10);
    assert_eq!(witness.contacts(), [(None, Some("a.example".to_owned()))]);
    assert_eq!(witness.findings(), [finding("OWN-001", "needs_review")]);
    witness.see(&tcp(20, APP, 40_000, SINGAPORE, Kind::Ack, b"x"));
    witness.finish();
    assert_eq!(witness.contacts().len(), 2);
    let totals = witness.totals();
    assert_eq!(totals["1-1"].0, 0, "the contact of nobody has no flow left");
    assert_eq!(totals["1-1"].2, 0);
    assert_eq!((totals["1-2"].0, totals["1-2"].1), (1, 2));
}

#[test]
fn a_resolver_socket_belongs_to_the_app_that_it_was_given_to() {
    let mut witness = Witness::new(core(PACKAGES));
    let resolver = "49.45.0.1:53";
    witness.see(&udp(
        0,
        Some(0),
        40_000,
        resolver,
        false,
        &dns("a.example", None),
    ));
    witness.hear(&Event::OwnerFact(OwnerFact {
        at: at(0),
        proto: SocketProto::Udp,
        local: "192.168.43.100:40000".parse().unwrap(),
        remote: resolver.parse().unwrap(),
        uid: APP,
        inode: 7,
    }));
    witness.see(&udp(
        1,
        Some(0),
        40_001,
        resolver,
        false,
        &dns("b.example", None),
    ));
    witness.finish();
    assert_eq!(witness.contacts(), [(APP, None), (Some(0), None)]);
    let marked = witness.records.iter().filter_map(|record| match record {
        Record::Contact(contact) => Some(contact.owner.may_act_for_app),
        _ => None,
    });
    assert_eq!(marked.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_five_tuple_that_changed_hands_names_nobody() {
    let there = "13.228.10.20:9";
    let mut witness = Witness::new(core(PACKAGES));
    let lookup = |second, uid: u32, inode| {
        Event::OwnerFact(OwnerFact {
            at: at(second),
            proto: SocketProto::Udp,
            local: "192.168.43.100:40000".parse().unwrap(),
            remote: there.parse().unwrap(),
            uid: Some(uid),
            inode,
        })
    };
    witness.see(&udp(0, None, 40_000, there, false, b"\x99one"));
    // Another socket of the same app is no contradiction.
    for (inode, uid) in [(1, 10_050), (2, 10_050), (3, 10_051), (4, 10_050)] {
        witness.hear(&lookup(0, uid, inode));
        witness.see(&udp(10, None, 40_000, there, false, b"\x99two"));
    }
    witness.finish();
    let flows: Vec<_> = witness
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Flow(flow) => Some(&flow.owner),
            _ => None,
        })
        .collect();
    assert_eq!(flows.len(), 1);
    let owner = flows[0];
    assert_eq!((owner.uid, owner.basis), (None, Basis::Disputed));
    let both = (owner.creator_uid, owner.disputed_uid);
    assert_eq!(both, (Some(10_050), Some(10_051)));
}

#[test]
fn answers_name_addresses_and_two_names_name_none() {
    let resolver = "49.45.0.1:53";
    let mut witness = Witness::new(core(PACKAGES));
    for (port, name) in [(40_000, "one.example"), (40_001, "two.example")] {
        witness.see(&udp(0, Some(0), port, resolver, false, &dns(name, None)));
        let answer = dns(name, Some([13, 228, 10, 20]));
        witness.see(&udp(1, None, port, resolver, true, &answer));
        witness.see(&udp(2, APP, port, "13.228.10.20:9", false, b"\x99x"));
    }
    // Nobody asked this: it teaches nothing.
    let forged = dns("forged.example", Some([13, 228, 10, 21]));
    witness.see(&udp(3, None, 41_000, resolver, true, &forged));
    witness.see(&udp(4, APP, 40_003, "13.228.10.21:9", false, b"\x99x"));
    witness.finish();
    let names: Vec<_> = witness
        .contacts()
        .into_iter()
        .filter(|(uid, _)| *uid == APP)
        .collect();
    assert_eq!(
        names,
        [
            (APP, Some("one.example".to_owned())),
            (APP, None),
            (APP, None)
        ]
    );
    let candidates = witness.records.iter().find_map(|record| match record {
        Record::Flow(flow) if flow.sport == Some(40_001) && flow.dport == Some(9) => {
            Some(flow.names.len())
        }
        _ => None,
    });
    assert_eq!(candidates, Some(2), "both are candidates");
}

#[test]
fn a_proxy_is_not_called_by_what_is_asked_of_it() {
    let mut witness = Witness::new(core(PACKAGES));
    let request = b"GET http://inner.example/ HTTP/1.1\r\nHost: inner.example\r\n\r\n";
    witness.see(&tcp(
        0,
        APP,
        40_000,
        "13.228.10.20:8080",
        Kind::Ack,
        request,
    ));
    witness.finish();
    assert_eq!(witness.contacts(), [(APP, None)]);
}

#[test]
fn each_phase_has_totals_of_its_own() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.hear(&Event::PhaseChange(PhaseChange {
        at: at(0),
        name: "idle".to_owned(),
    }));
    witness.see(&tcp(
        1,
        APP,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.hear(&Event::PhaseChange(PhaseChange {
        at: at(2),
        name: "in-use".to_owned(),
    }));
    witness.see(&tcp(3, APP, 40_000, SINGAPORE, Kind::Ack, b"12345"));
    witness.see(&tcp(4, APP, 40_000, SINGAPORE, Kind::Ack, b"1234567"));
    witness.finish();
    let totals = witness.totals();
    let first = 40 + u64::try_from(get("a.example").len()).unwrap();
    assert_eq!(totals["1-1"], (1, 1, first));
    assert_eq!(totals["1-2"], (1, 2, 45 + 47));
    let flow_phase = witness.records.iter().find_map(|record| match record {
        Record::Flow(flow) => Some(flow.phase.clone()),
        _ => None,
    });
    assert_eq!(flow_phase.as_deref(), Some("idle"), "where it began");
}

#[test]
fn an_app_that_was_updated_is_another_contact() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.see(&tcp(
        0,
        APP,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.tick(1);
    let mut app = sakshi::attribute::inventory::Inventory::from_files(&[(
        "packages.list",
        PACKAGES.as_bytes(),
    )])
    .0
    .app("com.sample.push")
    .unwrap()
    .clone();
    app.version_code = Some(2);
    witness.hear(&Event::InventoryChange(InventoryChange {
        at: at(2),
        changed: vec![app],
        removed: Vec::new(),
    }));
    witness.see(&tcp(
        3,
        APP,
        40_001,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.finish();
    let versions = witness.records.iter().filter_map(|record| match record {
        Record::Contact(contact) => Some(contact.packages[0].version_code),
        _ => None,
    });
    assert_eq!(versions.collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn a_bound_in_a_rule_is_judged_when_it_is_crossed() {
    let rule = "schema = 1\nid = \"big\"\nversion = \"1\"\ntitle = \"t\"\nhome = [\"IN\"]\n\
        [[rule]]\nid = \"BIG-1\"\ntitle = \"much\"\nkind = \"destination\"\nseverity = \"low\"\n\
        when = { bytes_out_over = 1000 }\n";
    let mut witness = Witness::new(core_with(PACKAGES, &[rule]));
    witness.see(&tcp(
        0,
        APP,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.tick(1);
    assert!(!witness.findings().contains(&finding("BIG-1", "finding")));
    witness.see(&tcp(2, APP, 40_000, SINGAPORE, Kind::Ack, &[7; 1200]));
    assert!(witness.findings().contains(&finding("BIG-1", "finding")));
}

#[test]
fn lost_packets_add_up_and_an_uncounted_loss_is_not_zero() {
    let gap = |packets, cause| {
        Event::Gap(Gap {
            at: at(0),
            cause,
            from: None,
            to: None,
            packets,
            place: "x".to_owned(),
            detail: "y".to_owned(),
        })
    };
    let mut witness = Witness::new(core(PACKAGES));
    witness.hear(&gap(Some(3), GapCause::KernelLoss));
    witness.hear(&gap(Some(4), GapCause::QueueFull));
    assert_eq!(witness.core.summary().lost, Some(7));
    witness.hear(&gap(None, GapCause::RulesMissing));
    assert_eq!(witness.core.summary().lost, None);
}

#[test]
fn payloads_are_kept_only_where_they_were_read() {
    let mut witness = Witness::new(core(PACKAGES));
    witness.see(&tcp(0, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.see(&tcp(
        1,
        APP,
        40_000,
        SINGAPORE,
        Kind::Ack,
        &get("a.example"),
    ));
    witness.see(&tcp(2, APP, 40_000, SINGAPORE, Kind::Ack, b"secret"));
    assert_eq!(
        witness.kept,
        [Keep::Headers(40), Keep::Whole, Keep::Headers(40)]
    );
}

#[test]
fn a_handset_that_only_received_has_no_contact() {
    let mut witness = Witness::new(core(PACKAGES));
    let mut unasked = udp(0, None, 40_000, "1.180.18.20:9", true, b"\x99x");
    unasked.vantage = Vantage::Input;
    witness.see(&unasked);
    witness.finish();
    assert_eq!(witness.contacts(), []);
    assert_eq!(witness.core.summary().flows, 1);
}

#[test]
fn time_that_goes_back_loses_nothing() {
    let mut witness = Witness::new(core(PACKAGES));
    for (millis, port) in [
        (0, 40_000),
        (-3_600_000, 40_001),
        (-100_000_000_000, 40_002),
        (1, 40_003),
    ] {
        witness.see(&tcp(
            millis,
            APP,
            port,
            SINGAPORE,
            Kind::Ack,
            &get("a.example"),
        ));
        witness.tick(millis);
    }
    witness.finish();
    let summary = witness.core.summary();
    assert_eq!((summary.packets, summary.flows), (4, 4));
    assert_eq!(witness.totals()["1-1"].0, 4);
}
