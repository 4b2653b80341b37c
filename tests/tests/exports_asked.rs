//! What is asked of an export: which rows, and whether what is personal stands in them.
//!
//! The real program on the sample's captures. What a filter lets through is compared with what the
//! whole export says; what is redacted is looked for byte by byte.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::Handset,
    live_possible, sample,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Identifiers that the case's authority names.
const SERIAL: &str = "R58M123ABC";
const IMEI: &str = "490154203237518";

/// The sample, inspected into a case that says by whose leave.
fn inspected() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let case = dir.path().join("case");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    let authority = fs::read_to_string(demo)
        .expect("the file")
        .replace("SAMPLE-0000", SERIAL)
        .replace("imei = []", &format!("imei = [\"{IMEI}\"]"));
    let file = dir.path().join("authority.toml");
    fs::write(&file, authority).expect("written");
    daemon::output(["case", "new", text(&case), "--from", text(&file)]).expect("prepared");
    let arguments = sample.inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    (dir, case)
}

fn run(case: &Path, what: &str, more: &[&str]) -> Output {
    let first = ["export", text(case), "--what", what];
    let mut command = daemon::sakshi(first.iter().chain(more).copied());
    command.output().expect("the program ran")
}

fn rows(case: &Path, what: &str, more: &[&str]) -> Vec<Value> {
    let output = run(case, what, more);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{more:?}: {error}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| daemon::json(line).expect("JSON"))
        .collect()
}

/// What an export says on standard error, and its exit code.
fn complaint(case: &Path, what: &str, more: &[&str]) -> (String, Option<i32>) {
    let output = run(case, what, more);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (error, output.status.code())
}

fn country(row: &Value) -> &str {
    row.pointer("/place/country")
        .and_then(Value::as_str)
        .unwrap_or("unknown")
}

#[test]
fn a_filter_leaves_rows_out_and_changes_none() {
    let (_dir, case) = inspected();
    for what in ["findings", "contacts", "flows"] {
        let all = rows(&case, what, &[]);
        let countries: BTreeSet<&str> = all.iter().map(country).collect();
        assert!(countries.len() > 1, "{what}: {countries:?}");
        let mut taken = 0;
        for code in countries {
            let expected: Vec<&Value> = all.iter().filter(|row| country(row) == code).collect();
            let found = rows(&case, what, &["--country", code]);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{what} {code}");
            taken += found.len();
        }
        assert_eq!(taken, all.len());
        let of_app = |row: &&Value, app: &str| {
            let apps = row["owner"]["apps"].as_array().expect("apps");
            apps.iter().any(|known| known == app) || row["owner"]["name"] == app
        };
        let apps: BTreeSet<&str> = all
            .iter()
            .flat_map(|row| row["owner"]["apps"].as_array().expect("apps"))
            .filter_map(Value::as_str)
            .collect();
        assert!(apps.len() > 1, "{what}: {apps:?}");
        for app in apps {
            let expected: Vec<&Value> = all.iter().filter(|row| of_app(row, app)).collect();
            let argument = format!("--app={app}");
            let found = rows(&case, what, &[&argument]);
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{what} {app}");
        }
    }
}

#[test]
fn a_rule_is_asked_for_by_what_it_says_of_contacts() {
    let (_dir, case) = inspected();
    let findings = rows(&case, "findings", &[]);
    let rules: BTreeSet<&str> = findings
        .iter()
        .filter_map(|row| row["rule"].as_str())
        .collect();
    let records = rows(&case, "records", &[]);
    let flows = rows(&case, "flows", &[]);
    for rule in rules {
        let found = rows(&case, "findings", &["--rule", rule]);
        assert!(!found.is_empty() && found.iter().all(|row| row["rule"] == rule));
        let contacts: BTreeSet<&str> = records
            .iter()
            .filter(|record| record["kind"] == "finding" && record["body"]["rule"] == rule)
            .filter_map(|record| record["body"]["contact"].as_str())
            .collect();
        let counted = |flow: &&Value| {
            flow["contact"]
                .as_str()
                .is_some_and(|it| contacts.contains(it))
        };
        let expected: Vec<&Value> = flows.iter().filter(counted).collect();
        let found = rows(&case, "flows", &["--rule", rule]);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{rule}");
        let found = rows(&case, "contacts", &["--rule", rule]);
        assert!(!found.is_empty() && found.len() <= contacts.len(), "{rule}");
    }
    // Any of the values of one option.
    let two = rows(&case, "findings", &["--country", "in", "--country", "SG"]);
    let expected = ["IN", "SG"].map(|code| rows(&case, "findings", &["--country", code]).len());
    assert_eq!(two.len(), expected.iter().sum::<usize>());
}

#[test]
fn a_time_takes_what_lasts_until_then_and_begins_before() {
    let (_dir, case) = inspected();
    let all = rows(&case, "flows", &[]);
    let at = |row: &Value, key: &str| row[key].as_str().expect("a time").to_owned();
    let middle = at(&all[all.len() / 2], "start");
    let since = rows(&case, "flows", &["--since", &middle]);
    let until = rows(&case, "flows", &["--until", &middle]);
    let expected = |keep: &dyn Fn(&Value) -> bool| all.iter().filter(|row| keep(row)).count();
    assert_eq!(since.len(), expected(&|row| at(row, "end") >= middle));
    assert_eq!(until.len(), expected(&|row| at(row, "start") < middle));
    assert!(!since.is_empty() && !until.is_empty());
    // A gap without a beginning or an end may reach anywhere: no filter hides it.
    let gaps = rows(&case, "gaps", &[]);
    let open = gaps
        .iter()
        .filter(|gap| gap["from"].is_null() && gap["to"].is_null());
    let later = rows(&case, "gaps", &["--since", "2100-01-01T00:00:00Z"]);
    assert_eq!(later.len(), open.count());
    assert!(!later.is_empty());
}

#[test]
fn a_value_that_no_row_has_is_told_with_those_that_there_are() {
    let (_dir, case) = inspected();
    let (error, code) = complaint(&case, "flows", &["--app", "org.example.no_such_app"]);
    assert_eq!(code, Some(1), "{error}");
    for part in [
        "no flow has app \"org.example.no_such_app\"",
        "there are \"",
        "others",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let (error, code) = complaint(&case, "contacts", &["--phase", "idel"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("no contact has phase \"idel\"; there are \"\""),
        "{error}"
    );
    let output = daemon::sakshi(["findings", text(&case), "--rule", "no-such-rule"])
        .output()
        .expect("the program ran");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("No finding that was asked for"), "{said}");
    // What says nothing of the rows is refused.
    let (error, code) = complaint(&case, "gaps", &["--app", "x"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("gaps have no app"), "{error}");
    let (error, code) = complaint(&case, "records", &["--since", "2026-01-01T00:00:00Z"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("exported whole"), "{error}");
    let (error, code) = complaint(&case, "flows", &["--country", "India"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("two letters"), "{error}");
}

/// What must not be in a redacted export.
fn personal() -> Vec<String> {
    let mut texts = vec![
        SERIAL.to_owned(),
        IMEI.to_owned(),
        sample::GATEWAY_HANDSET.to_owned(),
    ];
    texts.extend(
        [
            "SAMPLE owner",
            "SAMPLE person",
            "SAMPLE examiner",
            "no such person",
        ]
        .map(str::to_owned),
    );
    texts
}

#[test]
fn what_is_personal_is_not_in_an_export() {
    let (_dir, case) = inspected();
    let whole = |more: &[&str]| {
        let text = |what: &str| {
            ["jsonl", "csv"].map(|format| {
                let output = run(&case, what, &[&["--format", format], more].concat());
                assert!(output.status.success());
                String::from_utf8_lossy(&output.stdout).into_owned()
            })
        };
        daemon::EXPORTS
            .iter()
            .flat_map(|what| text(what))
            .collect::<String>()
    };
    let redacted = whole(&[]);
    for text in personal() {
        assert!(!redacted.contains(&text), "{text} is in an export");
    }
    let flows = rows(&case, "flows", &[]);
    assert!(flows.iter().all(|flow| flow["src"] == "redacted"));
    let records = rows(&case, "records", &[]);
    let authority = records.iter().find(|record| record["kind"] == "authority");
    let authority = authority.expect("an authority");
    assert_eq!(authority["redacted"], true);
    assert_eq!(authority["body"]["order"]["reference"], "SAMPLE/0000/2026");
    assert_eq!(authority["body"]["device"]["imei"], json!(["redacted"]));
    assert_eq!(
        authority["body"]["person_in_charge"]["relation"],
        Value::Null
    );
    assert_eq!(records[0]["redacted"], false);
    // The same bytes again: the word is always the same, and nothing of the machine is in it.
    assert_eq!(whole(&[]), redacted);

    let unredacted = whole(&["--unredacted", "--by", "A. Rao"]);
    for text in personal() {
        assert!(
            unredacted.contains(&text),
            "{text} is not in an unredacted export"
        );
    }
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn an_unredacted_export_is_on_record_before_it_is_made() {
    let (dir, case) = inspected();
    let file = dir.path().join("contacts.csv");
    let (error, code) = complaint(&case, "contacts", &["--unredacted"]);
    assert_eq!(code, Some(2), "who takes it must be said: {error}");
    let more = [
        "--unredacted",
        "--by",
        "A. Rao",
        "--format",
        "csv",
        "--country",
        "SG",
    ];
    let (error, code) = complaint(
        &case,
        "contacts",
        &[&more[..], &["-o", text(&file)]].concat(),
    );
    assert_eq!(code, Some(0), "{error}");
    let records = daemon::export_unredacted(&case, "records").expect("records");
    let made: Vec<&Value> = records
        .iter()
        .filter(|record| record["kind"] == "export")
        .map(|record| &record["body"])
        .collect();
    assert_eq!(made.len(), 2, "the export that tells of itself is the last");
    assert_eq!(made[0]["by"], "A. Rao");
    assert_eq!(made[0]["what"], "contacts");
    assert_eq!(made[0]["format"], "csv");
    assert_eq!(made[0]["filters"], json!({"country": ["SG"]}));
    assert_eq!(made[0]["output"], text(&file));
    assert_eq!(made[1]["what"], "records");
    assert!(error.contains("the case says so in record"), "{error}");
    // Redacted, it does not say by whom.
    let records = rows(&case, "records", &[]);
    let made = records.iter().rfind(|record| record["kind"] == "export");
    let last = &made.expect("a record")["body"];
    assert_eq!(
        (&last["by"], &last["what"]),
        (&json!("redacted"), &json!("records"))
    );
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn while_a_daemon_watches_only_a_redacted_export_is_made() {
    if !live_possible("while_a_daemon_watches_only_a_redacted_export_is_made") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.note("A. Rao looked at it").expect("a note");
    let records = rows(&case, "records", &[]);
    let note = records.iter().find(|record| record["kind"] == "note");
    assert_eq!(note.expect("a note")["body"]["text"], "redacted");
    let own = records
        .iter()
        .filter(|record| record["kind"] == "interface");
    let addresses: Vec<&Value> = own
        .flat_map(|record| {
            record["body"]["interface"]["addresses"]
                .as_array()
                .expect("a list")
        })
        .collect();
    assert!(!addresses.is_empty());
    assert!(
        addresses
            .iter()
            .all(|address| address["addr"] == "redacted")
    );
    let (error, code) = complaint(&case, "records", &["--unredacted", "--by", "A. Rao"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("without --unredacted it can be exported now"),
        "{error}"
    );
    daemon.stop().expect("a summary");
    let records = daemon::export_unredacted(&case, "records").expect("records");
    let note = records.iter().find(|record| record["kind"] == "note");
    assert_eq!(note.expect("a note")["body"]["text"], "A. Rao looked at it");
    daemon::verify(&case).expect("intact evidence");
}
