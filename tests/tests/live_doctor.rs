//! The doctor on a virtual handset: it changes nothing and sends nothing, tells a daemon's rules from
//! what a crash left, and its result is a record of the session. And what is used where NFLOG is not.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use sakshi_tests::{
    daemon::{self, Daemon, sakshi, text},
    handset::{Handset, Result, cast, places, script::Action},
    live_possible,
};
use serde_json::Value;

/// What the doctor says on the handset. Control sockets are the machine's, not the handset's: what
/// other tests leave there, or take away, is none of this test's business.
fn examine(handset: &Handset) -> Value {
    let inventory = handset.inventory();
    let mut command = sakshi(["doctor", "--format", "json", "--inventory"]);
    command.arg(text(&inventory)).stdout(Stdio::piped());
    let output = handset
        .spawn(&mut command)
        .expect("it starts")
        .wait_with_output()
        .expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    daemon::json(said.trim()).expect("one object")
}

fn line<'a>(examination: &'a Value, key: &str) -> &'a Value {
    let lines = examination["lines"].as_array().expect("lines");
    let found = lines.iter().find(|line| line["key"] == key);
    found.unwrap_or_else(|| panic!("no line {key}"))
}

/// The whole packet filter, counters left out.
fn rules(handset: &Handset) -> Result<String> {
    let mut all = String::new();
    for program in ["iptables", "ip6tables"] {
        all += &handset.output(Command::new(program).args(["-w", "-S"]))?;
    }
    Ok(all)
}

#[test]
fn it_tells_a_daemon_from_what_a_crash_left_and_changes_nothing() {
    if !live_possible("it_tells_a_daemon_from_what_a_crash_left_and_changes_nothing") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let sent = || handset.network().sent_by_interfaces().expect("counters");
    let before = (rules(&handset).expect("rules"), sent());
    let found = examine(&handset);
    assert_eq!((rules(&handset).expect("rules"), sent()), before);
    for key in ["privileges", "iptables", "ip6tables", "nflog", "sock_diag"] {
        assert_eq!(line(&found, key)["verdict"], "ok", "{found:#}");
    }
    let chains = &line(&found, "leftovers")["facts"]["chains"];
    assert_eq!(*chains, serde_json::json!([]), "{found:#}");
    assert_eq!(line(&found, "inventory")["facts"]["problems"], 0);

    let case = handset.dir().join("case");
    let watching = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let pid = watching.pid();
    let during = (rules(&handset).expect("rules"), sent());
    let found = examine(&handset);
    assert_eq!((rules(&handset).expect("rules"), sent()), during);
    let is_ours = |daemon: &&Value| daemon["pid"] == pid;
    let running = &line(&found, "daemon")["facts"]["running"];
    let ours = running.as_array().expect("daemons").iter().find(is_ours);
    assert_eq!(ours.expect("it is named")["here"], true);
    let left = line(&found, "leftovers");
    assert_ne!(left["facts"]["chains"], serde_json::json!([]));
    let says = left["says"].as_str().expect("a sentence");
    assert!(
        !says.contains("packet rules"),
        "they are the daemon's: {left:#}"
    );
    let groups = &line(&found, "nflog")["facts"];
    let used = groups["groups_in_use"].as_array().expect("groups");
    assert_eq!(used.len(), 2, "those of the daemon: {groups}");
    let bound = groups["groups_bound"].as_array().expect("groups");
    assert!(bound.iter().all(|group| !used.contains(group)), "{groups}");

    watching.kill().expect("killed");
    let found = examine(&handset);
    let left = line(&found, "leftovers");
    assert_eq!(left["verdict"], "degraded", "{left:#}");
    let says = left["says"].as_str().expect("a sentence");
    assert!(says.contains("packet rules (iptables sakshi_out"), "{says}");
    let remedy = left["remedy"].as_str().expect("a remedy");
    assert!(remedy.contains("`sakshi clean`"), "{remedy}");
    daemon::clean(&handset).expect("cleaned");
    let found = examine(&handset);
    assert_eq!(
        line(&found, "leftovers")["facts"]["chains"],
        serde_json::json!([])
    );
    assert_eq!(rules(&handset).expect("rules"), before.0);

    record_says_how_it_was_found(&case, &found);
}

/// The session that was killed has its record.
fn record_says_how_it_was_found(case: &Path, later: &Value) {
    daemon::not_damaged(case).expect("undamaged evidence");
    let records = daemon::export(case, "records").expect("records");
    let of_kind: Vec<&Value> = records
        .iter()
        .filter(|record| record["kind"] == "doctor")
        .collect();
    assert_eq!(of_kind.len(), 1);
    let body = &of_kind[0]["body"];
    assert_eq!(
        line(body, "leftovers")["facts"]["chains"],
        serde_json::json!([])
    );
    assert_eq!(line(body, "storage")["facts"]["given"], true);
    let apps = &line(body, "inventory")["facts"]["apps"];
    assert_eq!(*apps, line(later, "inventory")["facts"]["apps"]);
}

#[test]
fn without_iptables_it_still_finds_and_says_what_is_lost() {
    if !live_possible("without_iptables_it_still_finds_and_says_what_is_lost") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let inventory = handset.inventory();
    let without = ["run", "--iptables", "/nonexistent/iptables", "--inventory"];
    let mut command = sakshi(without);
    command.arg(text(&inventory));
    let daemon = Daemon::start_command(&handset, &case, command).expect("the daemon watches");
    // Its socket stays open while the answers come, so that there is somebody to be found.
    let long = Action::Udp {
        to: places::CHINA.v4(places::ECHO),
        bytes: 900,
        packets: 50,
        answered: true,
    };
    handset
        .run_app(cast::STATS.uid(), &[long])
        .expect("an app of the vendor");
    let status = daemon.status().expect("a status");
    assert_eq!(status["capture"], "packet");
    let told = status["degraded"].as_array().expect("a list");
    let starts = |text: &&Value| {
        text.as_str()
            .is_some_and(|text| text.starts_with("NFLOG cannot be used: "))
    };
    let told = told.iter().find(starts).expect("it is said");
    daemon.stop().expect("a summary");
    daemon::verify(&case).expect("intact evidence");

    let gaps = daemon::export(&case, "gaps").expect("gaps");
    let gap = gaps.iter().find(|gap| gap["detail"] == *told);
    let gap = gap.expect("the same words are on record");
    assert_eq!(gap["cause"], "degraded");
    let detail = told.as_str().expect("text");
    for part in [
        "`/nonexistent/iptables` was not found",
        "packet sockets are used instead",
        "packets carry no UID",
        "install iptables",
    ] {
        assert!(detail.contains(part), "{part:?} is not in: {detail}");
    }
    let findings = daemon::export(&case, "findings").expect("findings");
    let found = findings.iter().find(|finding| {
        finding["owner"]["uid"] == cast::STATS.uid() && finding["place"]["country"] == "CN"
    });
    let found = found.unwrap_or_else(|| panic!("no finding: {findings:#?}"));
    assert_eq!(found["owner"]["basis"], "sock_diag", "{found:#}");
    let records = daemon::export(&case, "records").expect("records");
    let record = records.iter().find(|record| record["kind"] == "doctor");
    let examination = &record.expect("a record")["body"];
    for key in ["iptables", "ip6tables"] {
        let line = line(examination, key);
        assert_eq!(line["verdict"], "degraded", "{line:#}");
    }
}
