//! `sakshi validate` with the real program on this kernel (as root, with namespaces).

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, export, json, sakshi, text},
    wait,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How long a process may take to start or to be gone.
const PATIENCE: Duration = Duration::from_mins(1);
/// The dimensions of a report.
const SCORES: [&str; 7] = [
    "owner",
    "name",
    "place",
    "flows",
    "datagrams",
    "bytes",
    "packets",
];

fn validate(dir: &Path, more: &[&str]) -> Output {
    let mut command = sakshi(["validate", "-o", text(dir), "--flows", "300"]);
    command.args(more).output().expect("the program runs")
}

fn report(dir: &Path) -> (String, Value) {
    let text = fs::read_to_string(dir.join("validation.json")).expect("a report");
    let value = json(&text).expect("JSON");
    (text, value)
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// For tests that ask something else of a validation: where the machine stalls between a packet and
/// the look at its socket, too much may be unknown to pass, and nothing may be wrong.
fn nothing_is_wrong(output: &Output, dir: &Path) {
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", said(output));
    let (_, report) = report(dir);
    for (of, score) in report["scores"].as_object().expect("scores") {
        assert_eq!(score["wrong"], 0, "{of}: {}", said(output));
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Processes of a validation into this folder that are there.
fn left_behind(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text(dir)) {
            found.insert(line);
        }
    }
    found
}

/// Runs of which one must pass: a stall of the machine may spoil the others.
const RUNS_MAX: usize = 3;

/// A validation that passed, of [`RUNS_MAX`]; nothing is wrong in those before it either.
fn passed(work: &Path) -> (PathBuf, Output) {
    for run in 1..=RUNS_MAX {
        let dir = work.join(format!("report-{run}"));
        let output = validate(&dir, &["--keep"]);
        nothing_is_wrong(&output, &dir);
        if output.status.success() {
            return (dir, output);
        }
        println!("run {run} of {RUNS_MAX} did not pass:\n{}", said(&output));
    }
    panic!("no validation of {RUNS_MAX} passed");
}

#[test]
fn nothing_is_wrong_on_this_kernel_and_the_report_says_what_it_rests_on() {
    let work = tempfile::tempdir().expect("a folder");
    let (dir, output) = passed(work.path());
    let (text_of_report, report) = report(&dir);
    let hash = hex(text_of_report.as_bytes());
    assert!(said(&output).contains(&hash), "the hash is printed");
    let for_people = fs::read_to_string(dir.join("validation.txt")).expect("a text");
    assert!(for_people.contains(&hash), "and stands in the text");
    assert_eq!(report["passed"], true);
    assert_eq!(report["flows"], 300);
    for name in SCORES {
        let score = &report["scores"][name];
        let count = |key: &str| score[key].as_u64().expect("a count");
        assert_eq!(count("wrong"), 0, "{name}");
        assert_eq!(
            count("of"),
            count("right") + count("wrong") + count("unknown") + count("open"),
            "{name}"
        );
        assert!(count("of") >= 300, "{name}");
        // 0 of n: about 3 of n.
        let about = 3_000_000 / count("of");
        let bound = count("wrong_at_most_ppm");
        assert!(
            bound <= about && bound >= about * 95 / 100,
            "{name}: {bound}"
        );
    }
    // What it rests on: the truth beside it, the very program, the case.
    let truth = fs::read(dir.join("truth.jsonl")).expect("the truth");
    assert_eq!(report["truth_sha256"], hex(&truth));
    let program = fs::read(sakshi_tests::program("sakshi")).expect("the program");
    assert_eq!(report["tool"]["sha256"], hex(&program));
    daemon::verify(&dir.join("case")).expect("an intact case");

    let unknown = &report["scores"]["owner"]["unknown"];
    the_truth_is_what_was_sent(&truth, &dir.join("case"), unknown);
    assert_eq!(left_behind(&dir), BTreeSet::new());
}

/// The case against the truth once more, by another hand: every UID's flows, and no other's. An owner that
/// says itself that it may act for an app, or is not known, is somebody's of the same ends; there are as
/// many of them as the report says.
fn the_truth_is_what_was_sent(truth: &[u8], case: &Path, unknown: &Value) {
    let mut sent: Vec<(u64, String)> = String::from_utf8_lossy(truth)
        .lines()
        .map(|line| {
            let line = json(line).expect("JSON");
            let step = &line["step"];
            let uid = step["uid"].as_u64().expect("a UID");
            (uid, format!("{}>{}", line["local"], step["to"]))
        })
        .collect();
    let mut flows = daemon::export_unredacted(case, "flows").expect("flows");
    flows.retain(|flow| flow["sport"].is_u64());
    flows.retain(|flow| {
        let is_it =
            |(uid, ends): &(u64, String)| flow["owner"]["uid"] == *uid && *ends == told(flow);
        let found = sent.iter().position(is_it);
        found.map(|at| sent.swap_remove(at)).is_none()
    });
    assert_eq!(*unknown, flows.len(), "{flows:#?}");
    for flow in flows {
        let owner = &flow["owner"];
        let says_so = owner["uid"].is_null() || owner["may_act_for_app"] == true;
        assert!(says_so, "nobody sent {flow:#}");
        let found = sent.iter().position(|(_, ends)| *ends == told(&flow));
        sent.swap_remove(found.unwrap_or_else(|| panic!("nobody sent {flow:#}")));
    }
    assert_eq!(sent, [], "not on record");
}

/// A flow's ends as the truth writes them.
fn told(flow: &Value) -> String {
    let end = |addr: &str, port: &str| {
        let addr = flow[addr].as_str().expect("an address");
        let port = &flow[port];
        if addr.contains(':') {
            format!("\"[{addr}]:{port}\"")
        } else {
            format!("\"{addr}:{port}\"")
        }
    };
    format!("{}>{}", end("src", "sport"), end("dst", "dport"))
}

#[test]
fn the_same_seed_sends_the_same_and_another_one_another() {
    let work = tempfile::tempdir().expect("a folder");
    let steps = |name: &str, seed: &str| {
        let dir = work.path().join(name);
        let output = validate(&dir, &["--seed", seed]);
        nothing_is_wrong(&output, &dir);
        assert!(!dir.join("case").exists(), "the case is not kept unasked");
        let truth = fs::read_to_string(dir.join("truth.jsonl")).expect("the truth");
        let mut steps: Vec<String> = truth
            .lines()
            .map(|line| json(line).expect("JSON")["step"].to_string())
            .collect();
        steps.sort();
        steps
    };
    let first = steps("first", "7");
    assert_eq!(first, steps("second", "7"));
    assert_ne!(first, steps("third", "8"));
}

/// A weaker way of watching has its errors told: the check can fail.
#[test]
fn what_was_missed_is_told() {
    let work = tempfile::tempdir().expect("a folder");
    let dir = work.path().join("report");
    // A ring of one page loses and a packet socket does not know whose a packet is.
    let output = validate(&dir, &["--capture", "packet"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let (_, report) = report(&dir);
    assert_eq!(
        (&report["passed"], &report["capture"]),
        (&false.into(), &"packet".into())
    );
    let owner = &report["scores"]["owner"];
    let unsure =
        owner["unknown"].as_u64().expect("a count") + owner["wrong"].as_u64().expect("a count");
    assert!(unsure > 0, "{owner}");
    let errors = report["errors"].as_array().expect("errors");
    assert!(errors.iter().any(|line| {
        line.as_str()
            .is_some_and(|line| line.contains("owner on record"))
    }));
}

#[test]
fn a_case_carries_its_report_and_says_whether_it_is_its_kernels() {
    let work = tempfile::tempdir().expect("a folder");
    let case = work.path().join("first");
    // A validation's own case is a case like any other.
    let first = work.path().join("one");
    let output = validate(&first, &["--keep"]);
    nothing_is_wrong(&output, &first);
    fs::rename(first.join("case"), &case).expect("moved");
    let second = work.path().join("two");
    let output = validate(&second, &["--into", text(&case)]);
    nothing_is_wrong(&output, &second);
    let (text_of_report, report) = report(&second);
    let records = export(&case, "records").expect("records");
    let recorded: Vec<&Value> = records
        .iter()
        .filter(|record| record["kind"] == "validation")
        .map(|record| &record["body"])
        .collect();
    let [body] = recorded.as_slice() else {
        panic!("{} records", recorded.len());
    };
    assert_eq!(body["sha256"], hex(text_of_report.as_bytes()));
    assert_eq!(body["report"], report);
    assert_eq!(body["same_kernel"], true);
    assert_eq!(body["same_program"], true);
    daemon::verify(&case).expect("still intact");
}

#[test]
fn a_file_that_is_no_report_is_refused_before_anything_is_touched() {
    let work = tempfile::tempdir().expect("a folder");
    let (file, case) = (work.path().join("x.json"), work.path().join("case"));
    for content in ["", "{}", "{\"format\": 1}", "[", "\u{0}"] {
        fs::write(&file, content).expect("written");
        let output = sakshi(["run", "--case", text(&case), "--validation", text(&file)])
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains("is no report"), "{}", said(&output));
        assert!(!case.exists());
    }
}

#[test]
fn a_killed_validation_leaves_no_process_behind() {
    let work = tempfile::tempdir().expect("a folder");
    let dir = work.path().join("report");
    let mut child = sakshi(["validate", "-o", text(&dir), "--flows", "3000"])
        .spawn()
        .expect("the program runs");
    // The last that is started: the daemon, in the namespace of the handset.
    let watched = wait::until(PATIENCE, || {
        let there = left_behind(&dir);
        there
            .iter()
            .any(|line| line.contains("--end-with-parent"))
            .then_some(there.len())
    });
    assert_eq!(
        watched,
        Some(4),
        "itself, the Internet, the handset, the daemon"
    );
    child.kill().expect("killed");
    child.wait().expect("it ended");
    let gone = wait::until(PATIENCE, || left_behind(&dir).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", left_behind(&dir));
}

#[test]
fn too_few_flows_and_a_folder_that_is_there_are_refused() {
    let work = tempfile::tempdir().expect("a folder");
    let output = sakshi(["validate", "--flows", "10"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let output = validate(work.path(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("already"), "{}", said(&output));
}
