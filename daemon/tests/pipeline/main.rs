//! The core at its boundary: inputs in, records out.

mod charges;
mod circumstances;
mod closes;
mod lateness;
mod owners;
mod paths;
mod replay;
mod stream;
mod tunnels;

use sakshi::{
    attribute::{inventory::AppClass, owner::Basis, process::ProcessBasis},
    evidence::body::Record,
    input::{
        Event, FactBasis, Gap, GapCause, InventoryChange, OwnerFact, PhaseChange, ProcessFact,
        SocketProto, Vantage,
    },
    pipeline::Keep,
};

use stream::{Kind, Witness, at, core, core_with, dns, get, tcp, tcp_behind, udp};

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
    assert_eq!(witness.core.summary().findings, Some(2));
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
        basis: FactBasis::SockDiag,
        cookie: None,
        kernel_nanos: None,
        opening: None,
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
            basis: FactBasis::SockDiag,
            cookie: None,
            kernel_nanos: None,
            opening: None,
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
fn a_further_host_of_a_connection_is_a_name_of_its_contact() {
    let mut witness = Witness::new(core_with(PACKAGES, &[RULE_ON_B]));
    let to = "13.228.10.20:80";
    let first = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nGET /\r\n0\r\nDigest: x\r\n\r\n";
    witness.see(&tcp(0, APP, 40_000, to, Kind::Syn, b""));
    witness.see(&tcp(1, APP, 40_000, to, Kind::Ack, first));
    witness.tick(6_000);
    assert_eq!(witness.contacts(), [(APP, Some("a.example".to_owned()))]);
    let further = tcp_behind(7_000, APP, 40_000, to, first.len(), &get("b.example"));
    witness.see(&further);
    witness.finish();
    let contacts: Vec<(String, Vec<String>)> = witness
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Contact(contact) => Some((
                contact.contact.clone(),
                contact
                    .endpoint
                    .names
                    .iter()
                    .map(|name| name.name.clone())
                    .collect(),
            )),
            _ => None,
        })
        .collect();
    let hosts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        contacts,
        [
            ("1-1".to_owned(), hosts(&["a.example"])),
            ("1-2".to_owned(), hosts(&["a.example", "b.example"]))
        ]
    );
    let totals = witness.totals();
    assert_eq!((totals["1-1"].0, totals["1-2"].0), (0, 1), "it has moved");
    assert!(witness.findings().contains(&finding("B-001", "finding")));
}

const RULE_ON_B: &str = r#"
schema = 1
id = "b"
version = "1"
title = "B"
home = ["IN"]

[[rule]]
id = "B-001"
title = "b.example was asked for"
kind = "destination"
severity = "low"
when = { name = ["b.example"] }
"#;

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
        since: None,
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

/// What an inventory of `packages.list` lines becomes: a change from `before` to `after`.
fn change(millis: i64, before: &str, after: &str) -> Event {
    let read = |text: &str| {
        let files = [("packages.list", text.as_bytes())];
        sakshi::attribute::inventory::Inventory::from_files(&files).0
    };
    let (changed, removed) = read(before).diff(&read(after));
    Event::InventoryChange(InventoryChange {
        at: at(millis),
        since: Some(at(millis - 1)),
        changed,
        removed,
    })
}

/// Packages of each contact and of each flow, in order.
fn packages(witness: &Witness) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let (mut contacts, mut flows) = (Vec::new(), Vec::new());
    for record in &witness.records {
        match record {
            Record::Contact(contact) => contacts.push(contact.owner.apps.clone()),
            Record::Flow(flow) => flows.push(flow.owner.apps.clone()),
            _ => {}
        }
    }
    (contacts, flows)
}

#[test]
fn a_uid_that_another_app_takes_over_is_not_the_old_apps() {
    let reinstalled = PACKAGES.replace("com.sample.push", "org.other.player");
    let mut witness = Witness::new(core(PACKAGES));
    let request = get("a.example");
    // Settled before the change, not settled yet at the change, and after it.
    witness.see(&tcp(0, APP, 40_000, SINGAPORE, Kind::Ack, &request));
    witness.tick(1);
    witness.see(&tcp(2, APP, 40_001, SINGAPORE, Kind::Syn, b""));
    witness.see(&udp(2, APP, 40_002, "13.228.10.20:9999", false, b"old"));
    witness.hear(&change(3, PACKAGES, &reinstalled));
    witness.see(&udp(4, APP, 40_002, "13.228.10.20:9999", false, b"new"));
    witness.see(&tcp(5, APP, 40_003, SINGAPORE, Kind::Ack, &request));
    witness.tick(9_000);
    witness.finish();
    let (old, new) = (["com.sample.push"], ["org.other.player"]);
    let (contacts, flows) = packages(&witness);
    assert_eq!(contacts, [&old[..], &old, &old, &new, &new]);
    assert_eq!(flows, [&old[..], &old, &old, &new, &new]);
    let reasons = witness.records.iter().filter_map(|record| match record {
        Record::Flow(flow) => Some(flow.end_reason.clone()),
        _ => None,
    });
    let reasons: Vec<String> = reasons.collect();
    assert_eq!(reasons[..3], ["app_gone"; 3], "{reasons:?}");
}

#[test]
fn a_flow_that_outlives_an_update_keeps_the_version_that_began_it() {
    let updated = PACKAGES.replace("3003 0 1 1 @system", "3003 0 2 1 @system");
    let mut witness = Witness::new(core(PACKAGES));
    let request = get("a.example");
    witness.see(&tcp(0, APP, 40_000, SINGAPORE, Kind::Syn, b""));
    witness.hear(&change(1, PACKAGES, &updated));
    witness.see(&tcp(2, APP, 40_000, SINGAPORE, Kind::Ack, &request));
    witness.see(&tcp(3, APP, 40_001, SINGAPORE, Kind::Ack, &request));
    witness.finish();
    let versions = witness.records.iter().filter_map(|record| match record {
        Record::Contact(contact) => contact.packages[0].version_code,
        _ => None,
    });
    assert_eq!(versions.collect::<Vec<_>>(), [1, 2]);
    let reasons = witness.records.iter().filter_map(|record| match record {
        Record::Flow(flow) => Some(flow.end_reason.clone()),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["end_of_input"; 2]);
}

#[test]
fn sandboxes_and_second_users_are_their_app_and_an_isolated_process_is_nobodys() {
    let mut witness = Witness::new(core(PACKAGES));
    let uids = [20_050, 1_010_050, 1_020_050, 99_001, 1_099_001, 10_999];
    for (port, uid) in (40_000..).zip(uids) {
        let request = get("a.example");
        witness.see(&tcp(0, Some(uid), port, SINGAPORE, Kind::Ack, &request));
    }
    witness.finish();
    let push: &[&str] = &["com.sample.push"];
    let (contacts, _) = packages(&witness);
    assert_eq!(contacts, [push, push, push, &[], &[], &[]]);
}

/// A process found behind a socket to Singapore.
fn process(millis: i64, port: u16, uid: u32, name: &str, basis: ProcessBasis) -> Event {
    Event::ProcessFact(ProcessFact {
        at: at(millis),
        proto: SocketProto::Tcp,
        local: format!("192.168.43.100:{port}").parse().unwrap(),
        remote: SINGAPORE.parse().unwrap(),
        uid,
        pid: 700,
        process: name.to_owned(),
        basis,
    })
}

/// Packages, class, basis and process of each flow, in order.
fn owners(witness: &Witness) -> Vec<(Vec<String>, AppClass, Basis, Option<String>)> {
    let owner = |record: &Record| match record {
        Record::Flow(flow) => {
            let owner = flow.owner.clone();
            Some((owner.apps, owner.class, owner.basis, owner.process))
        }
        _ => None,
    };
    witness.records.iter().filter_map(owner).collect()
}

#[test]
fn a_process_stands_beside_the_uid_it_was_found_under() {
    let mut witness = Witness::new(core(PACKAGES));
    let system = Some(1000);
    for port in 40_000..40_003 {
        witness.see(&tcp(0, system, port, SINGAPORE, Kind::Ack, b"x"));
    }
    witness.hear(&process(
        1,
        40_000,
        1000,
        "system_server",
        ProcessBasis::ProcSocket,
    ));
    // Found under another UID, and two that contradict each other: nobody is named.
    witness.hear(&process(1, 40_001, 1001, "radio", ProcessBasis::ProcSocket));
    witness.hear(&process(1, 40_002, 1000, "one", ProcessBasis::ProcSocket));
    witness.hear(&process(2, 40_002, 1000, "other", ProcessBasis::ProcSocket));
    witness.finish();
    let processes: Vec<_> = owners(&witness).into_iter().map(|owner| owner.3).collect();
    assert_eq!(processes, [Some("system_server".to_owned()), None, None]);
}

#[test]
fn a_process_that_is_found_late_moves_its_flow() {
    let mut witness = Witness::new(core(PACKAGES));
    let request = get("a.example");
    witness.see(&tcp(0, Some(1000), 40_000, SINGAPORE, Kind::Ack, &request));
    witness.tick(10);
    witness.hear(&process(
        11,
        40_000,
        1000,
        "system_server",
        ProcessBasis::ProcSocket,
    ));
    witness.tick(20);
    witness.finish();
    let processes = witness.records.iter().filter_map(|record| match record {
        Record::Contact(contact) => Some(contact.owner.process.clone()),
        _ => None,
    });
    let processes: Vec<_> = processes.collect();
    assert_eq!(processes, [None, Some("system_server".to_owned())]);
    assert_eq!(witness.totals()["1-1"].0, 0);
    assert_eq!(witness.totals()["1-2"].0, 1);
}

#[test]
fn an_isolated_process_is_its_apps_only_by_its_name() {
    let mut witness = Witness::new(core(PACKAGES));
    let names = [
        Some("com.sample.push:sandboxed_process0"),
        Some("com.unknown:isolated"),
        None,
    ];
    for ((port, uid), name) in (40_000..).zip(99_001..).zip(names) {
        let request = get("a.example");
        witness.see(&tcp(0, Some(uid), port, SINGAPORE, Kind::Ack, &request));
        if let Some(name) = name {
            witness.hear(&process(1, port, uid, name, ProcessBasis::ProcUid));
        }
    }
    // An app cannot be given to another by what a process calls itself.
    witness.see(&tcp(0, Some(10_055), 41_000, SINGAPORE, Kind::Ack, b"x"));
    witness.hear(&process(
        1,
        41_000,
        10_055,
        "com.sample.push",
        ProcessBasis::ProcUid,
    ));
    witness.finish();
    let found: Vec<_> = owners(&witness)
        .into_iter()
        .map(|(apps, class, basis, _)| (apps, class, basis))
        .collect();
    let app = |name: &str| vec![name.to_owned()];
    assert_eq!(
        found,
        [
            (app("com.sample.push"), AppClass::Preloaded, Basis::Process),
            (vec![], AppClass::Unknown, Basis::Nflog),
            (vec![], AppClass::Unknown, Basis::Nflog),
            (app("org.example.chat"), AppClass::Unknown, Basis::Nflog),
        ]
    );
}
