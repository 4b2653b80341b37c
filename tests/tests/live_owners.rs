//! Every short flow is recorded, and none is given to somebody who did not send it.
//!
//! Eight apps make 10,000 short TCP and UDP flows over IPv4 and IPv6. What they say they made is
//! compared with the flows that the daemon recorded.

use std::net::SocketAddr;

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{
        Handset, places,
        script::{Action, Sent},
    },
    live_possible, owners,
    seed::Seed,
};

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
                open_ms: 0,
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

    let flows = daemon::export_unredacted(&case, "flows").expect("flows");
    let comparison = owners::compare(&truth, &owners::recorded(&flows));
    println!("sockets {}, {comparison}", truth.len());
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
