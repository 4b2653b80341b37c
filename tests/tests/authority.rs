//! By whose leave: what `sakshi case` and `sakshi custody` record, and what other outputs say of it.
//!
//! Through the real program: files with mistakes, a case that is prepared and then inspected into,
//! hand-overs, and the line *no authority recorded* where nobody said anything.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::Handset,
    live_possible, sample,
};
use serde_json::Value;
use tempfile::TempDir;

const NOTHING: &str = "no authority recorded";

fn demo_authority() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml")
}

fn run(arguments: &[&str]) -> Output {
    let mut command = daemon::sakshi(arguments.iter().copied());
    command
        .stdin(Stdio::null())
        .output()
        .expect("the program ran")
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    )
}

/// A case that was prepared with the demo's authority, in a folder of its own.
fn prepared() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let from = demo_authority();
    daemon::output(["case", "new", text(&case), "--from", text(&from)]).expect("prepared");
    (dir, case)
}

fn of_kind(case: &Path, kind: &str) -> Vec<Value> {
    let records = daemon::export(case, "records").expect("records");
    let found = records.into_iter().filter(|record| record["kind"] == kind);
    found.collect()
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_line() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (case, file) = (dir.path().join("case"), dir.path().join("a.toml"));
    let good = fs::read_to_string(demo_authority()).expect("the file");
    let bad = good
        .replace("persona_is_the_labs = true\n", "")
        .replace("imei = []", "imei = [\"490154203237519\"]")
        .replace("date = 2026-11-24", "date = \"24.11.2026\"")
        .replace("invoice =", "invoise =");
    fs::write(&file, &bad).expect("written");
    let (out, error, code) = said(&run(&["case", "new", text(&case), "--from", text(&file)]));
    assert_eq!((out.as_str(), code), ("", Some(3)), "{error}");
    let line = |start: &str| {
        bad.lines()
            .position(|line| line.starts_with(start))
            .unwrap()
            + 1
    };
    for part in [
        format!("a.toml:{}:9: `imei` cannot be used", line("imei")),
        "compare it with *#06#".to_owned(),
        format!("a.toml:{}:8: `date` cannot be used", line("date")),
        "`persona_is_the_labs` is missing in the file".to_owned(),
        format!("a.toml:{}:1: unknown key `invoise`", line("invoise")),
        "did you mean `invoice`?".to_owned(),
    ] {
        assert!(error.contains(&part), "{part} is not in:\n{error}");
    }
    assert!(!case.exists(), "nothing is made from a bad file");
    // The template asks every question and answers none.
    let template = daemon::output(["case", "template"]).expect("a template");
    fs::write(&file, template).expect("written");
    let (_, error, code) = said(&run(&["case", "new", text(&case), "--from", text(&file)]));
    assert_eq!(code, Some(3));
    assert!(error.matches("a.toml:").count() > 15, "{error}");
}

#[test]
fn a_case_is_made_from_answers_that_are_typed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let typed = "FSL\n2027-01-31\nno\n\nR. Menon\n\nMTNL Bhavan\nF.1(2)\n2026-11-02\n\nA. Rao\n\
        Scientist C\nAcme\nX1\nblack\n\n490154203237518\n\nretail\nby the maker's tool\nINV-7\n\
        FSL/26/117\n\n\n";
    let answer = |typed: &str| {
        let mut child = Command::new(sakshi_tests::program("sakshi"))
            .args(["case", "new", text(&case)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(typed.as_bytes()).expect("typed");
        drop(stdin);
        said(&child.wait_with_output().expect("its end"))
    };
    let (_, error, code) = answer(typed.split_at(30).0);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("the input ended before"), "{error}");
    assert!(!case.exists());
    let (out, error, code) = answer(typed);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.contains("authority recorded: record 5 vouches for it"),
        "{out}"
    );
    let shown = daemon::output(["case", "authority", text(&case), "--show"]).expect("shown");
    let shown = daemon::json(&shown).expect("JSON");
    assert_eq!(shown["owner"], "FSL");
    assert_eq!(shown["persona_is_the_labs"], false);
    assert_eq!(shown["device"]["seals"], serde_json::json!(["FSL/26/117"]));
    assert_eq!(shown["person_in_charge"]["relation"], Value::Null);
    assert_eq!(shown["sample"], false);
    let page = daemon::output(["findings", text(&case)]).expect("findings");
    assert!(page.contains("NOT the lab's own"), "{page}");
}

#[test]
fn a_prepared_case_is_inspected_into_once() {
    let (dir, case) = prepared();
    let sample = sample::write(dir.path()).expect("written");
    let arguments = sample.inspect(&case);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (_, error, code) = said(&run(&arguments));
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("SAMPLE, made up"), "{error}");
    daemon::verify(&case).expect("intact evidence");
    let kinds: Vec<String> = daemon::export(&case, "records")
        .expect("records")
        .iter()
        .take(8)
        .map(|record| record["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        kinds.join(" "),
        "case key checkpoint authority checkpoint files checkpoint session"
    );
    // What was found is what a new case would hold.
    let other = dir.path().join("other");
    let again = sample.inspect(&other);
    daemon::output(again.iter().map(String::as_str)).expect("inspected");
    for what in ["findings", "contacts", "flows", "gaps"] {
        let of = |case: &Path| daemon::export_text(case, what, "jsonl").expect("an export");
        assert_eq!(of(&case), of(&other), "{what}");
    }
    // And its journal can be fed again, into a prepared case as well.
    let (_third, third) = prepared();
    daemon::output(["inspect", text(&case), "--case", text(&third)]).expect("replayed");
    daemon::verify(&third).expect("intact evidence");
    let of = |case: &Path| daemon::export_text(case, "findings", "jsonl").expect("an export");
    assert_eq!(of(&case), of(&third));
    let (_, error, code) = said(&run(&arguments));
    assert_eq!(code, Some(3));
    assert!(error.contains("holds a session already"), "{error}");
}

#[test]
fn without_authority_every_output_says_so() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let case = dir.path().join("case");
    let arguments = sample.inspect(&case);
    let inspected = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said(&inspected).1.contains(NOTHING));
    let case = text(&case);
    let span = [
        "--from",
        "2026-01-01T00:00:00Z",
        "--to",
        "2026-01-02T00:00:00Z",
    ];
    for (arguments, on_stdout) in [
        (vec!["findings", case], true),
        ([vec!["coverage", case], span.to_vec()].concat(), true),
        (
            [vec!["coverage", case, "--format", "jsonl"], span.to_vec()].concat(),
            false,
        ),
        (vec!["verify", case], true),
        (vec!["verify", case, "--format", "json"], false),
        (vec!["export", case, "--what", "flows"], false),
        (
            vec!["export", case, "--what", "gaps", "--format", "csv"],
            false,
        ),
    ] {
        let (out, error, code) = said(&run(&arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
        assert_eq!(out.contains(NOTHING), on_stdout, "{arguments:?}: {out}");
        assert_eq!(error.contains(NOTHING), !on_stdout, "{arguments:?}");
    }
    assert_eq!(
        said(&run(&["case", "authority", case, "--show"])).2,
        Some(1)
    );
    // Recorded later, it is said from then on; recorded again, the later one counts.
    let from = demo_authority();
    daemon::output(["case", "authority", case, "--from", text(&from)]).expect("recorded");
    let later = dir.path().join("later.toml");
    let stated = fs::read_to_string(&from).expect("the file");
    fs::write(
        &later,
        stated.replace("SAMPLE/0000/2026", "SAMPLE/0001/2026"),
    )
    .expect("written");
    daemon::output(["case", "authority", case, "--from", text(&later)]).expect("recorded");
    let (out, ..) = said(&run(&["findings", case]));
    assert!(
        !out.contains(NOTHING) && out.contains("SAMPLE/0001/2026"),
        "{out}"
    );
    assert_eq!(of_kind(Path::new(case), "authority").len(), 2);
    daemon::verify(Path::new(case)).expect("intact evidence");
}

#[test]
fn hand_overs_are_recorded_and_listed() {
    let (_dir, case) = prepared();
    let case_text = text(&case);
    let (out, ..) = said(&run(&["custody", case_text, "--list"]));
    assert_eq!(out, "No custody is recorded.\n");
    for arguments in [
        vec![
            "--by",
            "A. Rao",
            "--received-from",
            "Store",
            "--seal",
            "S/1",
        ],
        vec!["--by", "A. Rao", "--handed-to", "B\u{1b}[2J. Iyer"],
        vec!["--by", "A. Rao", "--when", "2999-01-01T00:00:00Z"],
        vec![
            "--by",
            "A. Rao",
            "--handed-to",
            "B. Iyer",
            "--when",
            "2026-11-01T10:00:00+05:30",
        ],
    ] {
        let mut all = vec!["custody", case_text];
        all.extend(&arguments);
        let (out, error, code) = said(&run(&all));
        let refused = error.contains("control characters") || error.contains("in the future");
        assert_eq!(
            code,
            Some(if refused { 3 } else { 0 }),
            "{arguments:?}: {error}"
        );
        assert_eq!(out.starts_with("custody recorded: record"), !refused);
    }
    let rows = of_kind(&case, "custody");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[1]["body"]["when"], "2026-11-01T04:30:00.000000Z");
    let (out, ..) = said(&run(&["custody", case_text, "--list"]));
    for part in ["Store", "S/1", "B. Iyer", "handset"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    daemon::verify(&case).expect("intact evidence");
    // While somebody else writes or reads the case, nothing is recorded.
    let lock = File::open(case.join("case.lock")).expect("the lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let (_, error, code) = said(&run(&["custody", case_text, "--by", "A. Rao"]));
    assert_eq!(code, Some(3));
    assert!(error.contains("sakshi stop"), "{error}");
    drop(lock);
    assert_eq!(of_kind(&case, "custody").len(), 2);
}

#[test]
fn a_watch_goes_on_in_a_prepared_case_and_says_which_handset_it_is() {
    if !live_possible("the watch in a prepared case") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let from = demo_authority();
    daemon::output(["case", "new", text(&case), "--from", text(&from)]).expect("prepared");
    let watch = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let (_, error, code) = said(&run(&["custody", text(&case), "--by", "A. Rao"]));
    assert_eq!(code, Some(3));
    assert!(error.contains("sakshi stop"), "{error}");
    watch.stop().expect("stopped");
    daemon::verify(&case).expect("intact evidence");
    let device = of_kind(&case, "device");
    let doctor = of_kind(&case, "doctor");
    let seq = |records: &[Value]| records[0]["seq"].as_i64();
    assert_eq!(seq(&device), seq(&doctor).map(|seq| seq + 1));
    let body = &device[0]["body"];
    assert_eq!(body["is_android"], false);
    assert_eq!(body["fingerprint"]["value"], Value::Null);
    assert_eq!(
        body["rooted"]["value"],
        "it was never locked: root of a network namespace"
    );
    assert_eq!(body["kernel"]["read_from"], "uname -r");
    // A second session goes on in it as in any other case.
    let watch = Daemon::start(&handset, &case, &["--rooted", "another way"]).expect("it watches");
    watch.stop().expect("stopped");
    daemon::verify(&case).expect("intact evidence");
    assert_eq!(
        of_kind(&case, "device")[1]["body"]["rooted"]["value"],
        "another way"
    );
    let sessions: Vec<Value> = of_kind(&case, "session")
        .iter()
        .map(|record| record["body"]["session"].clone())
        .collect();
    assert_eq!(sessions, [1, 2]);
}
