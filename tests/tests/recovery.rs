//! What a killed daemon had not yet written is made good from its journal at the next start.

use std::{collections::BTreeSet, path::Path, time::Duration};

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, places, script::Action},
    live_possible, scenes, wait,
};
use serde_json::Value;

/// Upper bound for the daemon to commit what it has seen.
const COMMIT_MAX: Duration = Duration::from_secs(20);
/// The exports that a replay of the journal gives again.
const REPLAYED: [&str; 3] = ["findings", "contacts", "flows"];

fn of_kind(case: &Path, kind: &str) -> Vec<Value> {
    let records = daemon::export(case, "records").expect("records");
    let found = records.into_iter().filter(|record| record["kind"] == kind);
    found.collect()
}

/// Plays scenes, waits until their packets are in the journal, and kills the daemon: connections
/// that were closed a moment ago and datagrams are flows that are still open then.
fn cut(handset: &Handset, case: &Path) {
    let daemon = Daemon::start(handset, case, &[]).expect("the daemon watches");
    daemon.phase(scenes::IDLE).expect("a phase");
    for scene in scenes::all().iter().take(3) {
        scene.play(handset).expect("played");
    }
    let packets = Action::Udp {
        to: places::CHINA.v4(places::ECHO),
        bytes: 700,
        packets: 3,
        answered: true,
    };
    handset.run_app(10_054, &[packets]).expect("played");
    // A note is committed with the journal of everything before it.
    let seen = |status: &Value| status["flows"].as_u64();
    wait::until(COMMIT_MAX, || {
        let status = daemon.status().ok()?;
        (seen(&status)? >= 6).then_some(())
    })
    .expect("the flows are seen");
    daemon
        .note("the last thing that is acknowledged")
        .expect("a note");
    daemon.kill().expect("killed");
}

#[test]
fn a_session_that_was_cut_is_made_good() {
    if !live_possible("a_session_that_was_cut_is_made_good") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    for session in 1..=2_u64 {
        cut(&handset, &case);
        daemon::not_damaged(&case).expect("undamaged evidence");
        assert_eq!(of_kind(&case, "unclean_stop").len() as u64, session - 1);
    }
    let before = of_kind(&case, "flow").len();
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.stop().expect("a summary");
    daemon::verify(&case).expect("intact evidence");

    let stops = of_kind(&case, "unclean_stop");
    let sessions: Vec<_> = stops
        .iter()
        .map(|stop| stop["body"]["session"].clone())
        .collect();
    assert_eq!(sessions, [1, 2]);
    for stop in &stops {
        println!("{}", stop["body"]);
        assert!(stop["body"]["recovered"].as_u64() > Some(0), "{stop}");
    }
    let after = of_kind(&case, "flow").len();
    assert!(
        after > before,
        "open flows were made good: {before}, {after}"
    );
    // Nothing was made good twice.
    let labels = |kind: &str, key: &str| {
        let records = of_kind(&case, kind);
        let labels: BTreeSet<String> = records
            .iter()
            .map(|record| record["body"][key].to_string())
            .collect();
        (records.len(), labels.len())
    };
    for (kind, key) in [("flow", "flow"), ("contact", "contact")] {
        let (records, labels) = labels(kind, key);
        assert_eq!(records, labels, "a {kind} is recorded twice");
    }

    let again = handset.dir().join("again");
    daemon::output([
        "inspect",
        daemon::text(&case),
        "--case",
        daemon::text(&again),
    ])
    .expect("replayed");
    daemon::verify(&again).expect("intact evidence");
    for what in REPLAYED {
        let one = daemon::export_text(&case, what, "jsonl").expect("an export");
        let two = daemon::export_text(&again, what, "jsonl").expect("an export");
        for (at, (one, two)) in one.lines().zip(two.lines()).enumerate() {
            assert_eq!(one, two, "{what}, line {}", at + 1);
        }
        assert_eq!(one.len(), two.len(), "length of {what}");
        println!("{} {what}, the same from the journal", one.lines().count());
        assert!(!one.is_empty(), "there are {what}");
    }
}
