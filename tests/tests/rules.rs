//! What people who write rules have: `sakshi rules` and `sakshi judge`, through the real program.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Output,
    time::Instant,
};

use sakshi_tests::{
    bundle_writer,
    capture_writer::{self, RAW_IP, Tcp},
    daemon::{self, text},
    sample,
};
use serde_json::Value;
use tempfile::TempDir;

const HANDBOOK: &str = include_str!("../../docs/rules.md");

fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    daemon::sakshi(arguments).output().expect("the program")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An inspected case in a folder of its own.
fn inspected() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let case = dir.path().join("case-17");
    daemon::output(sample.inspect(&case).iter().map(String::as_str)).expect("inspected");
    (dir, case)
}

#[test]
fn the_commands_of_the_handbook_work_in_their_order() {
    let (dir, _) = inspected();
    let block = HANDBOOK
        .split("```console\n")
        .nth(1)
        .expect("a block of commands");
    let block = block.split("```").next().expect("its end");
    let commands: Vec<&str> = block
        .lines()
        .filter_map(|line| line.strip_prefix("$ sakshi "))
        .collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let output = daemon::sakshi(command.split(' '))
            .current_dir(dir.path())
            .output()
            .expect("the program");
        assert!(
            output.status.success(),
            "sakshi {command}: {}{}",
            said(&output),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn check_says_everything_that_is_wrong_with_every_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (good, bad) = (dir.path().join("good.toml"), dir.path().join("bad.toml"));
    fs::write(&good, sample::RULES).expect("written");
    let brand = dir.path().join("sample-vendor.toml");
    fs::write(&brand, sample::BRAND).expect("written");
    fs::write(&bad, "schema = 2\nid = 7\nwhat = 1\n").expect("written");
    let output = run(["rules", "check", text(&bad), text(&brand), text(&good)]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for part in [
        "bad.toml:1:10: unknown format version",
        "bad.toml:2:6: ",
        "bad.toml:3:1: unknown key `what`",
        "`home` is missing",
        "sample-vendor.toml: sound. Sample Vendor: 1 statements, 1 claims",
        "good.toml: sound. golden version 1",
        "asks the files of Sample Vendor",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let output = run(["rules", "check", text(&brand), text(&good), text(&good)]);
    assert_eq!(output.status.code(), Some(1), "two sets of one id");
    let output = run(["rules", "check", text(&dir.path().join("none.toml"))]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn new_makes_a_set_that_is_sound_and_a_wrong_case_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let set = dir.path().join("our-lab");
    assert!(run(["rules", "new", text(&set)]).status.success());
    assert!(run(["rules", "test", text(&set)]).status.success());
    let cases = set.join("cases.toml");
    let cut = fs::read_to_string(&cases)
        .expect("cases")
        .replace("\"none\"", "\"finding\"");
    fs::write(&cases, cut).expect("written");
    let output = run(["rules", "test", text(&set)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("NEW-001 should say finding, and says nothing"),
        "{}",
        said(&output)
    );
    // What is there is not written over.
    assert_eq!(run(["rules", "new", text(&set)]).status.code(), Some(3));
}

/// TOML as the JSON that a schema is held against.
fn as_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), as_json(value)))
            .collect(),
        toml::Value::Array(items) => items.iter().map(as_json).collect(),
        toml::Value::Datetime(day) => Value::String(day.to_string()),
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
    }
}

#[test]
fn the_schema_takes_what_is_shipped_and_refuses_what_has_another_shape() {
    let schema: Value = serde_json::from_str(&said(&run(["rules", "schema"]))).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let valid = |text: &str| {
        let table: toml::Value = toml::Value::Table(text.parse().expect("TOML"));
        validator.is_valid(&as_json(&table))
    };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    let read = |path: &str| fs::read_to_string(rules.join(path)).expect("a file");
    for set in [
        read("sets/in-lab/set.toml"),
        read("sets/demo/set.toml"),
        sample::RULES.to_owned(),
    ] {
        assert!(valid(&set));
    }
    for broken in [
        "unknown-condition",
        "unknown-word",
        "no-header",
        "not-a-day",
        "text-for-list",
        "empty-list",
        "set-holds-declaration",
        "port-too-large",
        "unknown-top-key",
        "no-span-of-the-day",
        "screen-in-quotes",
        "idle-in-quotes",
        "unknown-place-status",
        "wrong-severity",
        "no-approver",
        "newer-schema",
    ] {
        assert!(
            !valid(&read(&format!("tests/broken/{broken}.toml"))),
            "{broken}"
        );
    }
}

#[test]
fn judging_by_the_same_rules_finds_the_same_and_changes_no_byte() {
    let (dir, case) = inspected();
    let before = daemon::state(&case);
    let rules = dir.path().join("rules.toml");
    let brand = dir.path().join("sample-vendor.toml");
    let output = run([
        "judge",
        text(&case),
        "--rules",
        text(&rules),
        "--rules",
        text(&brand),
        "--format",
        "jsonl",
    ]);
    assert!(output.status.success());
    let lines: Vec<Value> = said(&output)
        .lines()
        .map(|line| daemon::json(line).expect("JSON"))
        .collect();
    let (heading, rows) = lines.split_first().expect("a heading");
    assert_eq!(heading["list"], "post_hoc");
    assert_eq!(
        heading["sets"][0]["sha256"],
        bundle_writer::sha256(sample::RULES.as_bytes())
    );
    assert_eq!(
        heading["declarations"][0]["sha256"],
        bundle_writer::sha256(sample::BRAND.as_bytes())
    );
    let sorted = |rows: &[Value]| {
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    let standing = daemon::export(&case, "findings").expect("findings");
    assert!(!standing.is_empty());
    assert_eq!(sorted(rows), sorted(&standing));
    assert_eq!(daemon::state(&case), before, "judging changed the case");
    // A list never lies in the case that it is of.
    let within = case.join("list.jsonl");
    let output = run([
        "judge",
        text(&case),
        "--rules",
        text(&rules),
        "--rules",
        text(&brand),
        "-o",
        text(&within),
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!within.exists());
}

#[test]
fn rules_ask_files_of_brands_and_hold_none_themselves() {
    let (dir, case) = inspected();
    let kept = fs::read_to_string(case.join("rules/02-sample-vendor.toml")).expect("it is kept");
    assert_eq!(kept, sample::BRAND);
    let rules = dir.path().join("rules.toml");
    let without = run(["judge", text(&case), "--rules", text(&rules)]);
    assert_eq!(without.status.code(), Some(3));
    let told = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(
        told.contains("no claim about places has the id \"Sample Vendor/2026/path\""),
        "{told}"
    );
    let old = dir.path().join("old.toml");
    let text_of_old = sample::RULES.to_owned() + "[[declaration]]\nid = \"d\"\n";
    fs::write(&old, text_of_old).expect("written");
    let told = said(&run(["rules", "check", text(&old)]));
    assert!(
        told.contains("a rule set holds no declaration any more"),
        "{told}"
    );
    assert!(told.contains("sakshi declaration new BRAND"), "{told}");
    // The set that is built in, with the file of a brand that it asks.
    let other = dir.path().join("case-of-built-in");
    let [phone, _] = &sample::Sample::in_dir(dir.path()).captures;
    assert!(
        run(["inspect", text(phone), "--case", text(&other)])
            .status
            .success()
    );
    for file in ["in-lab.toml", "oppo.toml"] {
        assert!(other.join("rules").join(file).is_file(), "{file}");
    }
    assert!(!other.join("rules/vivo.toml").exists());
    assert!(run(["verify", text(&other), "--replay"]).status.success());
    let twice = [
        "--rules",
        text(&rules),
        "--rules",
        text(&dir.path().join("sample-vendor.toml")),
    ]
    .map(str::to_owned);
    let again = dir.path().join("again.toml");
    fs::write(&again, sample::BRAND).expect("written");
    let mut asked = vec!["judge".to_owned(), text(&case).to_owned()];
    asked.extend(twice);
    asked.extend(["--rules".to_owned(), text(&again).to_owned()]);
    let told = run(asked.iter().map(String::as_str));
    assert_eq!(told.status.code(), Some(3));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("are both the file of Sample Vendor"),
        "{told}"
    );
}

#[test]
fn a_bundle_is_judged_by_other_rules_beside_what_stands() {
    let (dir, case) = inspected();
    let bundle = dir.path().join("case-17.tar");
    bundle_writer::write(&case, &bundle).expect("a bundle");
    let rules = dir.path().join("other.toml");
    let other = "schema = 1\nid = \"other\"\nversion = \"1\"\ntitle = \"t\"\nhome = [\"IN\"]\n[[rule]]\n\
        id = \"OTH-001\"\ntitle = \"Nothing was sent\"\nkind = \"owner\"\nseverity = \"low\"\n\
        when = { payload = false }\n[[rule]]\nid = \"OTH-002\"\ntitle = \"At night\"\nkind = \"owner\"\n\
        severity = \"low\"\nwhen = { time_of_day = [\"04:00-05:00\"], screen_on = true }\n";
    fs::write(&rules, other).expect("written");
    let output = run(["judge", text(&bundle), "--rules", text(&rules)]);
    assert!(output.status.success());
    let table = said(&output);
    assert!(table.starts_with("POST HOC: "), "{table}");
    assert!(table.contains("OTH-002"), "{table}");
    let list = dir.path().join("list.jsonl");
    assert!(
        run([
            "judge",
            text(&bundle),
            "--rules",
            text(&rules),
            "-o",
            text(&list)
        ])
        .status
        .success()
    );
    let list = fs::read_to_string(&list).expect("the list");
    let rows: Vec<Value> = list
        .lines()
        .skip(1)
        .map(|line| daemon::json(line).expect("JSON"))
        .collect();
    assert!(
        rows.iter()
            .any(|row| row["rule"] == "OTH-002" && row["outcome"] == "needs_review")
    );
    // Rows are those of the findings export.
    let schema = include_str!("../../docs/schema/finding.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for row in &rows {
        assert!(validator.is_valid(row), "{row}");
    }
}

#[test]
fn a_finding_is_explained_value_by_value_by_the_rules_that_the_case_pinned() {
    let (dir, case) = inspected();
    let list = said(&run(["rules", "explain", text(&case)]));
    let first = list
        .lines()
        .find(|line| line.contains("/GLD-001  finding"))
        .expect("a finding");
    let id = first.split("  ").next().expect("its id");
    let explained = said(&run(["rules", "explain", text(&case), id]));
    let rules: Vec<&str> = explained
        .lines()
        .filter(|line| line.starts_with("golden "))
        .collect();
    assert!(
        rules[0].starts_with("golden GLD-001: finding."),
        "{explained}"
    );
    assert!(
        rules.iter().any(|rule| rule.contains(": silent.")),
        "{explained}"
    );
    assert!(
        explained.contains("  yes       country_not = IN: IN is home; place "),
        "{explained}"
    );
    assert!(explained.contains("  no        "), "{explained}");
    // By the number of its record.
    let mut records = daemon::export(&case, "records").expect("records");
    records.retain(|record| record["kind"] == "finding");
    let seq = records[0]["seq"].to_string();
    let of_record = run(["rules", "explain", text(&case), &seq]);
    assert!(of_record.status.success());
    let label = records[0]["body"]["contact"].as_str().expect("a label");
    assert!(said(&of_record).starts_with(&format!("contact {label}: ")));
    // A pinned file that was changed explains nothing.
    let pinned = fs::read_dir(case.join("rules"))
        .expect("the folder")
        .flatten()
        .next()
        .expect("a set");
    let text_of = fs::read_to_string(pinned.path()).expect("its text");
    fs::write(pinned.path(), text_of + "\n").expect("written");
    let output = run(["rules", "explain", text(&case), id]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("sakshi verify"));
    drop(dir);
}

/// Contacts of the large case.
const MANY: u16 = 10_000;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the time is told, and decides nothing"
)]
fn ten_thousand_contacts_are_judged_and_the_time_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let handset: SocketAddr = "192.168.43.7:40000".parse().expect("an address");
    let packets: Vec<(u64, Vec<u8>)> = (0..MANY)
        .map(|at| {
            let [high, low] = at.to_be_bytes();
            let server = SocketAddr::from((Ipv4Addr::new(13, 228, high, low), 443));
            let packet = Tcp {
                syn: false,
                fin: false,
                rst: false,
                seq: 1,
                ack: Some(1),
                payload: b"data",
            }
            .packet(handset, server);
            (
                1_795_492_800_000_000_000 + u64::from(at) * 1_000_000,
                packet,
            )
        })
        .collect();
    let capture = dir.path().join("many.pcap");
    fs::write(&capture, capture_writer::pcap(RAW_IP, &packets)).expect("written");
    let case = dir.path().join("case");
    let inspect = [
        "inspect",
        text(&capture),
        "--case",
        text(&case),
        "--handset",
        "192.168.43.7",
    ];
    daemon::output(inspect).expect("inspected");
    let rules = dir.path().join("rules.toml");
    let all = sample::RULES.replace(
        "app_class = [\"@preloads\"]",
        "owner = [\"known\", \"unknown\"]",
    );
    fs::write(&rules, all).expect("written");
    fs::write(dir.path().join("sample-vendor.toml"), sample::BRAND).expect("written");
    let list = dir.path().join("list.jsonl");
    let begin = Instant::now();
    let output = run([
        "judge",
        text(&case),
        "--rules",
        text(&rules),
        "--rules",
        text(&dir.path().join("sample-vendor.toml")),
        "-o",
        text(&list),
    ]);
    let took = begin.elapsed();
    assert!(output.status.success());
    println!(
        "{MANY} contacts judged in {} ms, from start to list",
        took.as_millis()
    );
    let list = fs::read_to_string(&list).expect("the list");
    let heading = daemon::json(list.lines().next().expect("a heading")).expect("JSON");
    assert_eq!(heading["judged"], MANY);
    assert!(list.lines().count() > usize::from(MANY));
}
