//! What the kernel lost is a gap, and its count is exact, the last packets included.
//!
//! A counter of the packet filter that is not the daemon's says how many packets were sent; the
//! daemon reads them through a receive buffer that is far too small.

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, counter, places, script::Action},
    live_possible,
};

/// Receive buffer of the daemon, in bytes.
const RECEIVE_BUFFER: &str = "8192";
/// Apps that send at once.
const UIDS: [u32; 4] = [10_050, 10_051, 10_055, 1_010_050];
/// Datagrams of each.
const DATAGRAMS: u64 = 20_000;

#[test]
fn what_the_kernel_lost_is_counted_exactly() {
    if !live_possible("what_the_kernel_lost_is_counted_exactly") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    counter::set(&handset).expect("counters");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &["--receive-buffer", RECEIVE_BUFFER])
        .expect("the daemon watches");
    assert_eq!(
        counter::read(&handset).expect("counters"),
        0,
        "nobody sent yet"
    );
    let apps: Vec<_> = UIDS
        .iter()
        .map(|uid| {
            let flood = |to| Action::Udp {
                to,
                bytes: 600,
                packets: DATAGRAMS / 2,
                answered: false,
            };
            let actions = [
                flood(places::SINGAPORE.v4(places::DISCARD)),
                flood(places::MUMBAI.v6(places::DISCARD)),
            ];
            handset.start_app(*uid, &actions).expect("an app")
        })
        .collect();
    for app in apps {
        app.finish().expect("an app that sent all");
    }
    // Stopped at once: what is lost at the tail shows in no sequence number.
    let summary = daemon.stop().expect("a summary");
    let sent = counter::read(&handset).expect("counters");
    let received = summary["packets"].as_u64().expect("packets in the summary");
    let gaps = daemon::export(&case, "gaps").expect("gaps");
    let lost: u64 = gaps
        .iter()
        .filter(|gap| gap["cause"] == "kernel_loss" || gap["cause"] == "queue_full")
        .map(|gap| gap["packets"].as_u64().expect("a loss that is counted"))
        .sum();
    println!("sent {sent}, received {received}, in gaps {lost}; {summary}");
    assert_eq!(sent, DATAGRAMS * UIDS.len() as u64, "nobody else sent");
    assert!(received < sent, "the buffer was not small enough to lose");
    assert_eq!(lost, sent - received);
    assert_eq!(summary["lost"].as_u64(), Some(lost), "the summary says so");
    let outbound = &summary["outbound"];
    assert_eq!(
        outbound["counter"].as_u64(),
        Some(sent),
        "counted to the packet"
    );
    assert_eq!(outbound["lost"].as_u64(), Some(lost), "{outbound}");
    daemon::verify(&case).expect("intact evidence");
}
