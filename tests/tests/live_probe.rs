//! `sakshi run --probe`: known flows of our own must be found again (as root, with namespaces).

use std::{path::Path, process::Command, time::Duration};

use sakshi_tests::{
    daemon::{self, Daemon, export, output, sakshi, text},
    handset::{Handset, places, script::Action},
    wait,
};
use serde_json::Value;

/// The UID that the probe sends under (`session::probe`).
const PROBE_UID: u32 = 5_750;
/// Flows of one probe: UDP and TCP to each target.
const FLOWS: u64 = 4;
/// A probe is judged five seconds after it was sent.
const PATIENCE: Duration = Duration::from_mins(1);

fn targets() -> String {
    format!(
        "{},{}",
        places::CHINA.v4(places::ECHO),
        places::MUMBAI.v6(places::ECHO)
    )
}

fn of_kind(case: &Path, kind: &str) -> Vec<Value> {
    export(case, "records")
        .expect("records")
        .into_iter()
        .filter(|record| record["kind"] == kind)
        .map(|record| record["body"].clone())
        .collect()
}

/// Waits until the probe of the start was judged.
fn first_probe(case: &Path) -> Value {
    let probes = wait::until(PATIENCE, || {
        let probes = of_kind(case, "probe");
        (!probes.is_empty()).then_some(probes)
    });
    probes.expect("a probe on record").remove(0)
}

fn not_working(case: &Path) -> Vec<Value> {
    let gaps = export(case, "gaps").expect("gaps");
    gaps.into_iter()
        .filter(|gap| gap["cause"] == "probe_failed")
        .collect()
}

/// A rule that every payload breaks, whoever sent it.
const EVERYTHING: &str = r#"
schema = 1
id = "everything"
version = "1"
title = "Every payload"
home = ["IN"]

[[rule]]
id = "ALL-001"
title = "Payload left the handset"
kind = "destination"
severity = "low"
when = { payload = true }
"#;

fn rules(handset: &Handset) -> String {
    let path = handset.dir().join("everything.toml");
    std::fs::write(&path, EVERYTHING).expect("a rule set");
    text(&path).to_owned()
}

/// Makes what the probe sends invisible, or visible again: it never comes to our rules.
fn hide(handset: &Handset, how: &str) {
    for program in ["iptables", "ip6tables"] {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "raw", how, "OUTPUT", "-m", "owner"]);
        command.args(["--uid-owner", &PROBE_UID.to_string(), "-j", "DROP"]);
        handset.output(&mut command).expect("a rule");
    }
}

#[test]
fn a_watch_that_works_finds_its_probe_and_draws_nothing_from_it() {
    let handset = Handset::start().expect("a handset");
    let case = handset.dir().join("case");
    let targets = targets();
    let daemon = Daemon::start(
        &handset,
        &case,
        &["--probe", &targets, "--rules", &rules(&handset)],
    )
    .expect("a daemon");
    let start = first_probe(&case);
    daemon.stop().expect("stopped");
    daemon::verify(&case).expect("intact");
    let probes = of_kind(&case, "probe");
    let marks: Vec<&Value> = probes.iter().map(|probe| &probe["mark"]).collect();
    assert_eq!(marks, ["start", "stop"], "{probes:?}");
    assert_eq!(probes[0], start);
    for probe in &probes {
        assert_eq!(
            (&probe["sent"], &probe["found"]),
            (&FLOWS.into(), &FLOWS.into()),
            "{probe}"
        );
        assert_eq!(
            (&probe["missing"], &probe["wrong_owner"]),
            (&0.into(), &0.into())
        );
    }
    assert_eq!(not_working(&case), [] as [Value; 0]);
    // Its traffic is on record like any other, says what it is, and is in no finding.
    let flows = export(&case, "flows").expect("flows");
    let ours: Vec<&Value> = flows
        .iter()
        .filter(|flow| flow["owner"]["role"] == "probe")
        .collect();
    assert_eq!(u64::try_from(ours.len()), Ok(2 * FLOWS));
    assert!(ours.iter().all(|flow| flow["owner"]["uid"] == PROBE_UID));
    let findings = export(&case, "findings").expect("findings");
    assert_eq!(findings, [] as [Value; 0]);
    // A replay says the same.
    let again = handset.dir().join("again");
    output(["inspect", text(&case), "--case", text(&again)]).expect("a replay");
    assert_eq!(of_kind(&again, "probe"), probes);
    assert_eq!(export(&again, "findings").expect("findings"), findings);
}

/// The same traffic of the same UID, without a probe: what the test above would see if nothing were
/// left out.
#[test]
fn the_same_traffic_is_judged_where_no_probe_was_asked_for() {
    let handset = Handset::start().expect("a handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &["--rules", &rules(&handset)]).expect("a daemon");
    let action = Action::Udp {
        to: places::CHINA.v4(places::ECHO),
        bytes: 30,
        packets: 3,
        answered: true,
    };
    handset.run_app(PROBE_UID, &[action]).expect("sent");
    daemon.stop().expect("stopped");
    assert_eq!(of_kind(&case, "probe"), [] as [Value; 0]);
    let flows = export(&case, "flows").expect("flows");
    assert!(flows.iter().all(|flow| flow["owner"]["role"] != "probe"));
    let findings = export(&case, "findings").expect("findings");
    assert!(
        findings
            .iter()
            .any(|finding| finding["owner"]["uid"] == PROBE_UID),
        "{findings:?}"
    );
}

#[test]
fn what_is_not_found_makes_the_case_say_not_working_properly() {
    let handset = Handset::start().expect("a handset");
    let case = handset.dir().join("case");
    let targets = targets();
    let daemon = Daemon::start(&handset, &case, &["--probe", &targets]).expect("a daemon");
    let start = first_probe(&case);
    assert_eq!(start["found"], FLOWS, "{start}");
    hide(&handset, "-I");
    daemon.stop().expect("stopped");
    let probes = of_kind(&case, "probe");
    let stop = probes.last().expect("a probe");
    assert_eq!(
        (&stop["mark"], &stop["found"]),
        (&"stop".into(), &0.into()),
        "{stop}"
    );
    assert_eq!(
        (&stop["sent"], &stop["missing"]),
        (&FLOWS.into(), &FLOWS.into()),
        "{stop}"
    );
    let gaps = not_working(&case);
    let [gap] = gaps.as_slice() else {
        panic!("{gaps:?}");
    };
    assert_eq!((&gap["from"], &gap["to"]), (&start["at"], &stop["at"]));
    let coverage = output(["coverage", text(&case)]).expect("coverage");
    assert!(coverage.contains("not working properly"), "{coverage}");
}

#[test]
fn what_was_not_found_at_first_is_not_shown_to_work_until_it_is_found_again() {
    let handset = Handset::start().expect("a handset");
    let case = handset.dir().join("case");
    let targets = targets();
    hide(&handset, "-I");
    let daemon = Daemon::start(&handset, &case, &["--probe", &targets]).expect("a daemon");
    let start = first_probe(&case);
    assert_eq!(start["found"], 0, "{start}");
    hide(&handset, "-D");
    daemon.stop().expect("stopped");
    let probes = of_kind(&case, "probe");
    let stop = probes.last().expect("a probe");
    assert_eq!(stop["found"], FLOWS, "{stop}");
    let spans: Vec<(Value, Value)> = not_working(&case)
        .iter()
        .map(|gap| (gap["from"].clone(), gap["to"].clone()))
        .collect();
    let expected = [
        (Value::Null, start["at"].clone()),
        (start["at"].clone(), stop["at"].clone()),
    ];
    assert_eq!(spans, expected);
}

#[test]
fn a_name_is_no_target() {
    let output = sakshi(["run", "--case", "x", "--probe", "lab.example:7"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
}
