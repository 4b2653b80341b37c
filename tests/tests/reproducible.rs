//! The same input gives the same exports, byte for byte: twice, on one core, and out of a journal.

use std::{path::Path, process::Command};

use sakshi_tests::{
    daemon::{self, Daemon, EXPORTS},
    handset::Handset,
    live_possible, sample, scenes,
};

/// The exports that a replay gives again. Records tell of the session and its journal, which are
/// the replay's own, and gaps of a live case are partly the supervisor's.
const REPLAYED: [&str; 3] = ["findings", "contacts", "flows"];

/// An export of a case, without where packets are kept: a replay keeps none.
fn export(case: &Path, what: &str) -> String {
    let text = daemon::export_text(case, what, "jsonl").expect("an export");
    text.split_inclusive('\n')
        .map(daemon::without_kept)
        .collect()
}

#[track_caller]
fn same(case: &Path, other: &Path, exports: &[&str]) -> usize {
    let mut bytes = 0;
    for what in exports {
        let (one, two) = (export(case, what), export(other, what));
        for (at, (one, two)) in one.lines().zip(two.lines()).enumerate() {
            assert_eq!(one, two, "{what}, line {}", at + 1);
        }
        assert_eq!(one.len(), two.len(), "length of {what}");
        bytes += one.len();
    }
    bytes
}

/// Feeds a case's journal through again, into the case `again`.
fn replay(case: &Path, again: &Path) {
    let (case, again) = (daemon::text(case), daemon::text(again));
    daemon::output(["inspect", case, "--case", again]).expect("replayed");
}

#[test]
fn inspecting_twice_and_on_one_core_gives_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let [first, second, pinned] = ["first", "second", "pinned"].map(|name| dir.path().join(name));
    for case in [&first, &second] {
        let arguments = sample.inspect(case);
        daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    }
    let bytes = same(&first, &second, &EXPORTS);
    println!("five exports, {bytes} bytes, twice the same");

    let program = sakshi_tests::program("sakshi");
    let status = Command::new("taskset")
        .args(["-c", "0"])
        .arg(program)
        .args(sample.inspect(&pinned))
        .stdout(std::process::Stdio::null())
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "on one core: {status}");
            same(&first, &pinned, &EXPORTS);
            println!("the same on one core");
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "taskset: {error}");
            println!("not tried on one core: taskset: {error}");
        }
    }
    // The last hash covers every record of a case.
    let head = |case: &Path| {
        let records = daemon::export(case, "records").expect("records");
        records.last().map(|record| record["hash"].clone())
    };
    assert_eq!(head(&first), head(&second));
}

#[test]
fn another_folder_changes_nothing() {
    // Paths are no part of a case: the same files elsewhere give the same case.
    let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
    let (one, two) = (one.expect("a folder"), two.expect("a folder"));
    for dir in [&one, &two] {
        let sample = sample::write(dir.path()).expect("written");
        let arguments = sample.inspect(&dir.path().join("case"));
        daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    }
    same(&one.path().join("case"), &two.path().join("case"), &EXPORTS);
}

#[test]
fn replaying_an_inspected_case_gives_its_exports() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let [case, again, thrice] = ["case", "again", "thrice"].map(|name| dir.path().join(name));
    let arguments = sample.inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    replay(&case, &again);
    replay(&again, &thrice);
    for other in [&again, &thrice] {
        same(&case, other, &REPLAYED);
        same(&case, other, &["gaps"]);
        daemon::verify(other).expect("intact evidence");
    }
}

#[test]
fn replaying_a_live_case_gives_its_findings() {
    if !live_possible("replaying_a_live_case_gives_its_findings") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let rules = handset.dir().join("rules.toml");
    let brand = handset.dir().join("sample-vendor.toml");
    std::fs::write(&rules, sample::RULES).expect("written");
    std::fs::write(&brand, sample::BRAND).expect("written");
    // Two sessions, each with phases and notes; the second one with other rules and one app more.
    for session in 1..=2 {
        let more: &[&str] = if session == 2 {
            let list = handset.inventory().join("packages.list");
            let text = std::fs::read_to_string(&list).expect("a list");
            let app = "org.example.new 10199 0 /data/user/0/org.example.new default none";
            std::fs::write(&list, format!("{text}{app}\n")).expect("written");
            &[
                "--rules",
                daemon::text(&rules),
                "--rules",
                daemon::text(&brand),
            ]
        } else {
            &[]
        };
        let daemon = Daemon::start(&handset, &case, more).expect("the daemon watches");
        let mut phase = "";
        for scene in scenes::all() {
            if scene.phase != phase {
                phase = scene.phase;
                daemon.phase(phase).expect("a phase");
                daemon
                    .note(&format!("session {session}, {phase}"))
                    .expect("a note");
            }
            scene.play(&handset).expect("played");
        }
        println!("{}", daemon.stop().expect("a summary"));
    }
    daemon::output(["verify", "--replay", daemon::text(&case)]).expect("the same findings");
    let again = handset.dir().join("again");
    replay(&case, &again);
    let bytes = same(&case, &again, &REPLAYED);
    let rows = |what| export(&case, what).lines().count();
    println!(
        "{} findings, {} contacts, {} flows, {bytes} bytes, the same from the journal",
        rows("findings"),
        rows("contacts"),
        rows("flows")
    );
    assert!(rows("findings") > 0);
    let of_kind = |case: &Path, kind: &str| {
        let mut records = daemon::export_unredacted(case, "records").expect("records");
        records.retain(|record| record["kind"] == kind);
        records
            .into_iter()
            .map(|record| record["body"].clone())
            .collect::<Vec<_>>()
    };
    for kind in ["phase", "note", "gap", "total", "inventory"] {
        assert_eq!(of_kind(&case, kind), of_kind(&again, kind), "{kind}");
    }
    daemon::verify(&again).expect("intact evidence");
}
