//! The daemon sends nothing: counted at every interface of its namespace, loopback included,
//! during a whole run with start, status, note, phase and stop.

use std::{thread, time::Duration};

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, places, script::Action},
    live_possible,
};

/// How long it watches with nobody sending: several rule checks and commits.
const ALONE: Duration = Duration::from_secs(8);

#[test]
fn the_daemon_sends_nothing() {
    if !live_possible("the_daemon_sends_nothing") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let count = || handset.network().sent_by_interfaces().expect("counters");
    let case = handset.dir().join("case");
    let before = count();
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.phase("idle").expect("a phase");
    daemon.note("nobody sends").expect("a note");
    thread::sleep(ALONE);
    daemon.status().expect("a status");
    let summary = daemon.stop().expect("a summary");
    let after = count();
    println!(
        "packets sent in the namespace during the run: {}",
        after - before
    );
    assert_eq!(after, before, "the daemon sent; summary: {summary}");
    assert_eq!(summary["packets"].as_u64(), Some(0), "and saw nothing");
    daemon::verify(&case).expect("intact evidence");

    // The counter counts: a datagram of an app moves it.
    let one = Action::Udp {
        to: places::MUMBAI.v4(places::DISCARD),
        bytes: 1,
        packets: 1,
        answered: false,
    };
    handset.run_app(10_055, &[one]).expect("an app");
    assert_eq!(count(), after + 1);
}
