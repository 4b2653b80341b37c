//! Every short flow is recorded, and none is given to somebody who did not send it.
//!
//! Eight apps make 10,000 short TCP and UDP flows over IPv4 and IPv6. What they say they made is
//! compared with the flows that the daemon recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{
        Handset, places,
        script::{Action, Proto, Sent},
    },
    live_possible,
    seed::Seed,
};
use serde_json::Value;

/// UIDs of the apps: of the cast, unknown to the inventory, and a second user's.
const UIDS: [u32; 8] = [
    10_050, 10_051, 10_054, 10_055, 10_056, 10_199, 1_010_050, 1_010_055,
];
/// Flows of all apps together.
const FLOWS: u64 = 10_000;
/// Threads of each app.
const PARALLEL: u64 = 2;
/// Share of the flows whose owner must be named: 99.9 %, in flows out of 1000.
const OWNED_PER_MILLE: usize = 999;

/// Protocol, the handset's side, the other side.
type Tuple = (Proto, SocketAddr, SocketAddr);

/// What the comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    made: usize,
    unrecorded: Vec<Tuple>,
    wrong: Vec<(Tuple, u64)>,
    owned: usize,
}

fn compare(truth: &[Sent], recorded: &BTreeMap<Tuple, Vec<Option<u64>>>) -> Comparison {
    let mut made: BTreeMap<Tuple, BTreeSet<u64>> = BTreeMap::new();
    for sent in truth {
        let tuple = (sent.proto, sent.local, sent.remote);
        made.entry(tuple).or_default().insert(u64::from(sent.uid));
    }
    let mut comparison = Comparison::default();
    for (tuple, uids) in &made {
        let owners = recorded.get(tuple).map_or(&[][..], Vec::as_slice);
        comparison.made += uids.len();
        // A port that two apps used one after the other makes two flows.
        if owners.len() < uids.len() {
            comparison.unrecorded.push(*tuple);
        }
        let named: BTreeSet<u64> = owners.iter().flatten().copied().collect();
        comparison.owned += named.intersection(uids).count();
        let wrong = named.difference(uids).map(|uid| (*tuple, *uid));
        comparison.wrong.extend(wrong);
    }
    comparison
}

/// A recorded flow as its tuple and owner; none when it has no ports.
fn reduced(flow: &Value) -> Option<(Tuple, Option<u64>)> {
    let proto = match flow["proto"].as_str()? {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        _ => return None,
    };
    let side = |address: &str, port: &str| {
        let address = flow[address].as_str()?.parse().ok()?;
        let port = u16::try_from(flow[port].as_u64()?).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let tuple = (proto, side("src", "sport")?, side("dst", "dport")?);
    Some((tuple, flow["owner"]["uid"].as_u64()))
}

#[test]
fn short_flows_have_their_owners() {
    if !live_possible("short_flows_have_their_owners") {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0003);
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let hosts = [places::SINGAPORE, places::MUMBAI, places::CHINA];
    let to: Vec<SocketAddr> = hosts
        .iter()
        .flat_map(|host| [host.v4(places::ECHO), host.v6(places::ECHO)])
        .collect();
    let apps: Vec<_> = UIDS
        .iter()
        .map(|uid| {
            let flows = Action::Flows {
                count: FLOWS / UIDS.len() as u64,
                parallel: PARALLEL,
                to: to.clone(),
                seed: seed.next_number(),
            };
            handset.start_app(*uid, &[flows]).expect("an app")
        })
        .collect();
    let truth: Vec<Sent> = apps
        .into_iter()
        .flat_map(|app| app.finish().expect("an app that did all"))
        .collect();
    assert_eq!(truth.len() as u64, FLOWS);
    let summary = daemon.stop().expect("a summary");
    println!("summary: {summary}");

    let mut recorded: BTreeMap<Tuple, Vec<Option<u64>>> = BTreeMap::new();
    for flow in daemon::export(&case, "flows").expect("flows") {
        if let Some((tuple, uid)) = reduced(&flow) {
            recorded.entry(tuple).or_default().push(uid);
        }
    }
    let comparison = compare(&truth, &recorded);
    println!(
        "sockets {}, distinct flows {}, not recorded {}, owned {}, wrong owners {}",
        truth.len(),
        comparison.made,
        comparison.unrecorded.len(),
        comparison.owned,
        comparison.wrong.len()
    );
    assert_eq!(comparison.unrecorded, [], "flows that were not recorded");
    assert_eq!(comparison.wrong, [], "owners that did not send");
    assert!(
        comparison.owned * 1000 >= comparison.made * OWNED_PER_MILLE,
        "only {} of {} flows have an owner",
        comparison.owned,
        comparison.made
    );
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn the_comparison_sees_what_is_wrong() {
    let local = SocketAddr::from(([192, 168, 43, 100], 40_000));
    let remote = SocketAddr::from(([13, 228, 10, 20], 7));
    let sent = |uid| Sent {
        proto: Proto::Tcp,
        local,
        remote,
        uid,
        datagrams: None,
    };
    let tuple = (Proto::Tcp, local, remote);
    let with = |owners: Vec<Option<u64>>| BTreeMap::from([(tuple, owners)]);
    let counts = |truth: &[Sent], recorded| {
        let found = compare(truth, &recorded);
        (found.unrecorded.len(), found.wrong.len(), found.owned)
    };
    assert_eq!(counts(&[sent(1)], with(vec![Some(1)])), (0, 0, 1));
    assert_eq!(counts(&[sent(1)], with(vec![None])), (0, 0, 0));
    assert_eq!(counts(&[sent(1)], with(vec![Some(2)])), (0, 1, 0));
    assert_eq!(counts(&[sent(1)], BTreeMap::new()), (1, 0, 0));
    assert_eq!(counts(&[sent(1), sent(2)], with(vec![Some(1)])), (1, 0, 1));
}

#[test]
fn a_flow_is_read_as_the_export_documents_it() {
    let flow = serde_json::json!({
        "proto": "udp", "src": "2001:db8:43::100", "sport": 40_000,
        "dst": "2406:da18:10::20", "dport": 7, "owner": {"uid": 10_050}
    });
    let (tuple, uid) = reduced(&flow).expect("a flow");
    assert_eq!(
        (tuple.0, tuple.2.port(), uid),
        (Proto::Udp, 7, Some(10_050))
    );
    assert_eq!(reduced(&serde_json::json!({"proto": "icmp"})), None);
}
