//! With the exactness layer every short flow has its owner, also where nothing else could tell it.
//!
//! Apps and a resolver make flows that are over at once: connect and close, send and close, sockets
//! given to another UID, data that outlives its socket, ports that one app has right after another,
//! over IPv4 and IPv6. What they say they sent is compared with what the daemon recorded, datagram
//! by datagram. `SAKSHI_FLOWS=50000` makes the full count.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{
        Handset,
        bpffs::Bpffs,
        places,
        script::{Action, Proto, Sent, Short},
    },
    live_possible,
    owners::{self, Tuple},
    seed::Seed,
};
use serde_json::Value;

/// Apps: of the cast, unknown to the inventory, and a second user's.
const UIDS: [u32; 16] = [
    10_050, 10_051, 10_054, 10_055, 10_056, 10_199, 10_200, 10_201, 10_202, 10_203, 10_204, 10_205,
    1_010_050, 1_010_051, 1_010_054, 1_010_055,
];
/// Flows of all together, without the resolver's.
const FLOWS: u64 = 4_000;
/// Ports that the apps share.
const SHARED_PORTS: std::ops::Range<u16> = 20_000..20_024;
/// Pause of an app between two flows, in microseconds: all together make 1,000 a second, which a
/// daemon without optimisation writes down on a busy machine.
const PAUSE_US: u64 = 20_000;
/// What the apps do, in turn.
const KINDS: [Short; 5] = [
    Short::Connect,
    Short::Send,
    Short::Orphan,
    Short::SharedUdp,
    Short::SharedTcp,
];

/// What one owner sent in flows of one five-tuple.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    flows: u64,
    datagrams: u64,
}

/// By five-tuple and owner.
type Shares = BTreeMap<(Tuple, Option<u64>), Share>;

fn sent_shares(truth: &[Sent]) -> Shares {
    let mut shares = Shares::new();
    for sent in truth {
        let tuple = (sent.proto, sent.local, sent.remote);
        let share = shares
            .entry((tuple, Some(u64::from(sent.uid))))
            .or_default();
        share.flows += 1;
        share.datagrams += sent.datagrams.unwrap_or(0);
    }
    shares
}

/// A recorded flow as its tuple, its owner and what was sent; none when it has no ports, or was begun
/// by the other side.
fn reduced(flow: &Value) -> Option<(Tuple, Option<u64>, u64)> {
    let (tuple, uid) = owners::reduced(flow)?;
    // Netd's own UID on a resolver's socket names no app, and says so.
    let may_act_for_app = flow["owner"]["may_act_for_app"].as_bool()?;
    let uid = uid.filter(|_| !may_act_for_app);
    Some((tuple, uid, flow["packets_out"].as_u64()?))
}

fn recorded_shares(case: &Path) -> Shares {
    let mut shares = Shares::new();
    for flow in daemon::export_unredacted(case, "flows").expect("flows") {
        let Some((tuple, uid, packets)) = reduced(&flow) else {
            continue;
        };
        let share = shares.entry((tuple, uid)).or_default();
        share.flows += 1;
        if tuple.0 == Proto::Udp {
            share.datagrams += packets;
        }
    }
    shares
}

/// What the comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// Flows that were made, one for each socket.
    made: u64,
    /// Those with their owner in the record.
    owned: u64,
    /// Owners that are on record for what they did not send, or for more than they sent.
    wrong: Vec<((Tuple, Option<u64>), Share)>,
    /// What was sent and is on record for nobody, or for less.
    missing: Vec<((Tuple, Option<u64>), Share)>,
}

/// Compares datagram by datagram, and TCP by who used the five-tuple at all: its packets are the
/// kernel's own.
fn compare(sent: &Shares, recorded: &Shares) -> Comparison {
    let mut comparison = Comparison::default();
    let is_udp = |key: &(Tuple, Option<u64>)| key.0.0 == Proto::Udp;
    for (key, share) in sent {
        comparison.made += share.flows;
        let found = recorded.get(key).copied().unwrap_or_default();
        let whole = found.flows > 0 && (!is_udp(key) || found.datagrams >= share.datagrams);
        if whole {
            comparison.owned += share.flows;
        } else {
            comparison.missing.push((*key, *share));
        }
    }
    for (key, share) in recorded.iter().filter(|(key, _)| key.1.is_some()) {
        let said = sent.get(key).copied().unwrap_or_default();
        if said.flows == 0 || (is_udp(key) && share.datagrams > said.datagrams) {
            comparison.wrong.push((*key, *share));
        }
    }
    comparison
}

fn flows_wanted() -> u64 {
    std::env::var("SAKSHI_FLOWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(FLOWS)
}

/// Has the apps and a resolver make their flows; gives what they sent.
fn traffic(handset: &Handset, seed: &mut Seed) -> Vec<Sent> {
    let hosts = [places::SINGAPORE, places::MUMBAI, places::CHINA];
    let to: Vec<SocketAddr> = hosts
        .iter()
        .flat_map(|host| [host.v4(places::ECHO), host.v6(places::ECHO)])
        .collect();
    let resolvers = [
        places::RESOLVER.v4(places::DNS),
        places::RESOLVER.v6(places::DNS),
    ];
    let each = flows_wanted() / UIDS.len() as u64;
    let mut start = |uid, kinds: &[Short], count, pause_us| {
        let flows = Action::ShortFlows {
            count,
            kinds: kinds.to_vec(),
            to: to.clone(),
            resolvers: resolvers.to_vec(),
            on_behalf_of: UIDS.to_vec(),
            ports: SHARED_PORTS,
            pause_us,
            seed: seed.next_number(),
        };
        handset.start_app(uid, &[flows]).expect("an app")
    };
    let mut apps: Vec<_> = UIDS
        .iter()
        .map(|uid| start(*uid, &KINDS, each, PAUSE_US))
        .collect();
    apps.push(start(0, &[Short::Resolver], each * 4, PAUSE_US / 4));
    apps.into_iter()
        .flat_map(|app| app.finish().expect("an app that did all"))
        .collect()
}

/// A watch of the traffic: what was sent, and the case.
fn watched(handset: &Handset, more: &[&str], seed: &mut Seed) -> (Shares, Shares) {
    let case = handset.dir().join("case");
    let daemon = Daemon::start(handset, &case, more).expect("the daemon watches");
    let truth = traffic(handset, seed);
    let summary = daemon.stop().expect("a summary");
    println!("summary: {summary}");
    for gap in daemon::export(&case, "gaps").expect("gaps") {
        println!("gap: {}: {}", gap["cause"], gap["detail"]);
    }
    daemon::verify(&case).expect("intact evidence");
    (sent_shares(&truth), recorded_shares(&case))
}

fn bases(case: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for flow in daemon::export(case, "flows").expect("flows") {
        let basis = flow["owner"]["basis"].as_str().unwrap_or_default();
        *counts.entry(basis.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn with_the_layer_every_flow_has_its_owner() {
    if !live_possible("with_the_layer_every_flow_has_its_owner") {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0120);
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let (sent, recorded) = watched(&handset, &["--bpffs", text(bpffs.path())], &mut seed);
    let comparison = compare(&sent, &recorded);
    println!("bases: {:?}", bases(&handset.dir().join("case")));
    println!(
        "flows {}, owned {}, wrong {}, missing {}",
        comparison.made,
        comparison.owned,
        comparison.wrong.len(),
        comparison.missing.len()
    );
    assert_eq!(comparison.wrong, [], "owners that did not send");
    assert_eq!(comparison.missing, [], "owners that are not on record");
    assert_eq!(comparison.owned, comparison.made);
    assert_eq!(bpffs.pins(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn without_the_layer_nobody_is_named_wrongly() {
    if !live_possible("without_the_layer_nobody_is_named_wrongly") {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0121);
    let handset = Handset::start().expect("a virtual handset");
    let nowhere = handset.dir().join("no-bpffs");
    let (sent, recorded) = watched(&handset, &["--bpffs", text(&nowhere)], &mut seed);
    let of_app = |(tuple, _): &(Tuple, Option<u64>)| tuple.2.port() != places::DNS;
    let comparison = compare(&sent, &recorded);
    let made: u64 = sent
        .iter()
        .filter(|(key, _)| of_app(key))
        .map(|(_, share)| share.flows)
        .sum();
    let missing: u64 = comparison
        .missing
        .iter()
        .filter(|(key, _)| of_app(key))
        .map(|(_, share)| share.flows)
        .sum();
    println!("flows {made} not given away, without owner {missing}");
    println!("wrong {:?}", comparison.wrong);
    assert_eq!(comparison.wrong, [], "owners that did not send");
    assert!(missing * 1000 <= made, "{missing} of {made} have no owner");
    let gaps = daemon::export(&handset.dir().join("case"), "gaps").expect("gaps");
    let told = |gap: &Value| {
        let detail = gap["detail"].as_str().unwrap_or_default();
        gap["cause"] == "degraded" && detail.contains("there is no BPF file system at")
    };
    assert!(gaps.iter().any(told), "{gaps:?}");
}

#[test]
fn the_comparison_sees_what_is_wrong() {
    let local = SocketAddr::from(([192, 168, 43, 100], 40_000));
    let remote = SocketAddr::from(([13, 228, 10, 20], 7));
    let tuple = (Proto::Udp, local, remote);
    let shares = |of: &[(u64, u64)]| -> Shares {
        let share = |(uid, datagrams): &(u64, u64)| {
            let share = Share {
                flows: 1,
                datagrams: *datagrams,
            };
            ((tuple, Some(*uid)), share)
        };
        of.iter().map(share).collect()
    };
    let sent = shares(&[(1, 2), (2, 1)]);
    let counts = |recorded: &[(u64, u64)]| {
        let found = compare(&sent, &shares(recorded));
        (found.owned, found.wrong.len(), found.missing.len())
    };
    assert_eq!(counts(&[(1, 2), (2, 1)]), (2, 0, 0));
    assert_eq!(counts(&[(1, 1), (2, 2)]), (1, 1, 1));
    assert_eq!(counts(&[(1, 3)]), (1, 1, 1));
    assert_eq!(counts(&[(1, 2), (2, 1), (3, 1)]), (2, 1, 0));
    assert_eq!(counts(&[]), (0, 0, 2));
}
