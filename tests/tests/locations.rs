//! `sakshi data`, `sakshi locate` and `--data`: published files are collected, asked, and kept with
//! a case, so that it stays checkable.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use sakshi_tests::{daemon, fuzz, sample};
use serde_json::Value;

/// A file as it is published.
fn published(name: &str) -> String {
    daemon::text(&fuzz::corpus("published").join(name)).to_owned()
}

fn run(arguments: &[&str]) -> Output {
    let mut command = daemon::sakshi(arguments.iter().copied());
    command.output().expect("sakshi runs")
}

#[track_caller]
fn done(arguments: &[&str]) -> String {
    let output = run(arguments);
    let heard = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {heard}");
    heard + &String::from_utf8(output.stdout).expect("UTF-8")
}

fn add(dir: &Path, files: &[&str], more: &[&str]) -> String {
    let files: Vec<String> = files.iter().map(|name| published(name)).collect();
    let mut arguments = vec!["data", "add", "--dir", daemon::text(dir)];
    arguments.extend(files.iter().map(String::as_str));
    arguments.extend(more);
    done(&arguments)
}

fn places(dir: &Path) -> PathBuf {
    dir.join("places.bin")
}

/// Asks for addresses, in lines of JSON as they were printed.
fn locate(dir: &Path, addrs: &[&str]) -> Vec<String> {
    let places = places(dir);
    let mut arguments = vec!["locate", "--format", "jsonl", "--at", "2026-08-30"];
    arguments.extend(["--data", daemon::text(&places)]);
    arguments.extend(addrs);
    let text = done(&arguments);
    text.lines().map(str::to_owned).collect()
}

fn parsed(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| daemon::json(line).expect("JSON"))
        .collect()
}

/// Addresses with what is known of them: country, provider, region, grade.
const ASKED: [(&str, &str); 13] = [
    ("203.0.100.9", "TH aws ap-southeast-1 high"),
    ("203.0.101.9", "IN aws ap-south-1 high"),
    ("203.0.102.9", "- aws - not_locatable"),
    ("203.0.103.9", "AU aws xx-new-9 low"),
    ("34.93.1.1", "IN gcp asia-south1 high"),
    ("34.93.7.7", "- gcp - not_locatable"),
    ("35.190.0.1", "- gcp - not_locatable"),
    ("20.192.1.1", "IN azure centralindia high"),
    ("13.107.246.7", "- azure - not_locatable"),
    ("129.154.224.1", "IN oracle ap-mumbai-1 high"),
    ("2400:6180::1", "SG digitalocean SG-01 Singapore high"),
    ("10.0.0.1", "- - - none"),
    ("203.0.101.9", "IN aws ap-south-1 high"),
];

/// Everything that can be added, in one collection.
fn whole_collection(dir: &Path) {
    let files = [
        "aws.json",
        "gcp.json",
        "oracle.json",
        "ipfire.txt",
        "ipfire6.txt",
        "flat.mmdb",
    ];
    let heard = add(dir, &files, &[]);
    let told = "country is not taken from the list: xx-new-9";
    assert!(heard.contains(told), "{heard}");
    let files = [
        "azure.json",
        "anycast-v4.txt",
        "asn.csv",
        "systems.tsv",
        "hosts.txt",
        "names.txt",
    ];
    add(
        dir,
        &files,
        &["--published", "2026-08-17", "--licence", "unknown"],
    );
    let more = ["--published", "2026-08-01", "--provider", "digitalocean"];
    add(dir, &["geofeed.csv", "adguard.json", "systems.mmdb"], &more);
}

#[test]
fn every_kind_of_published_file_is_taken_and_asked_in_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    whole_collection(dir);
    let listed = done(&["data", "list", "--dir", daemon::text(dir)]);
    for name in [
        "aws-ip-ranges",
        "azure-service-tags",
        "anycast-v4",
        "geofeed-digitalocean",
    ] {
        assert!(listed.contains(name), "{name} in {listed}");
    }
    let lines = locate(dir, &ASKED.map(|(addr, _)| addr));
    let found = parsed(&lines);
    assert_eq!(found.len(), ASKED.len());
    for (place, (addr, expected)) in found.iter().zip(ASKED) {
        let text = |key: &str| place[key].as_str().unwrap_or("-").to_owned();
        let known = ["country", "provider", "region", "grade"].map(text);
        assert_eq!(
            (text("addr").as_str(), known.join(" ").as_str()),
            (addr, expected)
        );
    }
    // The keys stand in the order that is promised.
    let at = |key: &str| lines[0].find(&format!("\"{key}\":")).expect("a key");
    let keys = [
        "addr",
        "country",
        "provider",
        "region",
        "asn",
        "organisation",
        "grade",
        "basis",
    ];
    assert!(keys.map(at).is_sorted());
    let basis = &found[0]["basis"][0];
    assert_eq!(basis["prefix"], "203.0.100.0/24");
    assert_eq!(basis["source"], "aws-ip-ranges");
    assert_eq!(basis["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn addresses_are_read_from_standard_input() {
    let mut command = daemon::sakshi(["locate", "-", "--format", "jsonl"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("sakshi runs");
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(b"13.228.10.20\n\n  2600:1f14::1 \nnonsense\n")
        .expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let heard = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        heard.contains("line 4: expected an IPv4 or IPv6 address, found \"nonsense\""),
        "{heard}"
    );
}

#[test]
fn a_changed_file_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    add(dir, &["aws.json", "ipfire.txt"], &[]);
    let verify = ["data", "verify", "--dir", daemon::text(dir)];
    let said = done(&verify);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(
        said.lines().all(|line| line.ends_with(": intact")),
        "{said}"
    );
    let first = fs::read_dir(dir.join("files")).expect("a folder").next();
    let first = first.expect("a file").expect("a file").path();
    let mut bytes = fs::read(&first).expect("read");
    bytes.push(b'\n');
    fs::write(&first, bytes).expect("written");
    let output = run(&verify);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.matches("not as it was added").count(), 2, "{said}");
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let both = ["one", "two"].map(|name| dir.path().join(name));
    for dir in &both {
        add(dir, &["gcp.json", "ipfire.txt", "flat.mmdb"], &[]);
    }
    let [one, two] = both.map(|dir| fs::read(places(&dir)).expect("compiled"));
    assert!(one == two);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let collection = dir.path().join("collection");
    let bad = dir.path().join("bad.csv");
    for (text, says) in [
        (
            "1.0.0.0,1.0.0.255,AU\n1.0.1.0,1.0.0.9,AU\n",
            "line 2: expected a last address not before the first",
        ),
        (
            "192.0.2.0/24,XYZ,,,\n",
            "line 1: expected a country code of two letters",
        ),
        (
            "1.1.1.0/24\n1.1.1.1/24\n",
            "line 2: expected a prefix without host bits",
        ),
        (
            "{\"createDate\":\"x\"}",
            "this is no file that can be added",
        ),
        (
            "one.example.com\nnot a name\n",
            "line 2: expected a domain name",
        ),
        ("\n# nothing\n", "the file holds no entry that can be used"),
    ] {
        fs::write(&bad, text).expect("written");
        let arguments = [
            "data",
            "add",
            daemon::text(&bad),
            "--dir",
            daemon::text(&collection),
        ];
        let more = ["--published", "2026-08-01"];
        let output = run(&[arguments.as_slice(), more.as_slice()].concat());
        let heard = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{text}: {heard}");
        assert!(heard.contains(says), "{text}: {heard}");
        assert!(!collection.join("places.bin").exists());
    }
    fs::write(&bad, "1.1.1.0/24\n").expect("written");
    let output = run(&[
        "data",
        "add",
        daemon::text(&bad),
        "--dir",
        daemon::text(&collection),
    ]);
    let heard = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(heard.contains("give --published YYYY-MM-DD"), "{heard}");
}

/// Inspects the sample with location data; gives the case.
fn inspected(dir: &Path, data: &Path) -> PathBuf {
    let sample = sample::write(dir).expect("written");
    let case = dir.join("case");
    let mut arguments = sample.inspect(&case);
    arguments.extend(["--data".to_owned(), daemon::text(data).to_owned()]);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    case
}

#[test]
fn a_case_keeps_its_location_data_and_is_replayed_by_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let collection = dir.path().join("collection");
    add(&collection, &["aws.json", "ipfire.txt", "flat.mmdb"], &[]);
    let case = inspected(dir.path(), &places(&collection));
    let kept = fs::read(case.join("places.bin")).expect("kept");
    assert!(kept == fs::read(places(&collection)).expect("compiled"));
    let manifest = fs::read_to_string(case.join("data.json")).expect("a manifest");
    assert!(manifest.contains("\"compiled\""), "{manifest}");
    // What the lab's collection becomes later does not matter to the case.
    fs::remove_dir_all(&collection).expect("removed");
    daemon::verify(&case).expect("intact");
    let output = run(&[
        "verify",
        "--replay",
        daemon::text(&case),
        "--format",
        "json",
    ]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let last = daemon::json(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{last}");
    assert_eq!(last["other_data"], false, "{last}");
    assert_eq!(last["differences"], Value::Array(Vec::new()), "{last}");
    // Inspected again, it gives the same findings, by the same data.
    let again = dir.path().join("again");
    done(&[
        "inspect",
        daemon::text(&case),
        "--case",
        daemon::text(&again),
    ]);
    assert!(fs::read(again.join("places.bin")).expect("kept") == kept);
    let findings = |case: &Path| daemon::export_text(case, "findings", "jsonl").expect("findings");
    assert_eq!(findings(&case), findings(&again));
}

#[test]
fn data_whose_licence_forbids_old_versions_is_not_kept_with_a_case() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let collection = dir.path().join("collection");
    let heard = add(&collection, &["nested.mmdb"], &[]);
    assert!(heard.contains("forbids keeping old versions"), "{heard}");
    let case = inspected(dir.path(), &places(&collection));
    assert!(!case.join("places.bin").exists());
    let manifest = fs::read_to_string(case.join("data.json")).expect("a manifest");
    let manifest = daemon::json(&manifest).expect("JSON");
    let compiled = manifest
        .as_array()
        .and_then(|all| all.last())
        .expect("sources");
    assert_eq!(
        (&compiled["name"], &compiled["passing"]),
        (&"compiled".into(), &true.into())
    );
    daemon::verify(&case).expect("intact");
    // A newer version of the same database takes its place, and the old file goes.
    let newer = dir.path().join("newer.mmdb");
    let mut bytes = fs::read(published("nested.mmdb")).expect("a file");
    bytes.extend(b" ");
    fs::write(&newer, bytes).expect("written");
    let folder = collection.join("files");
    let before = fs::read_dir(&folder).expect("a folder").count();
    let arguments = [
        "data",
        "add",
        daemon::text(&newer),
        "--dir",
        daemon::text(&collection),
    ];
    let heard = done(&[arguments.as_slice(), &["--name", "geolite2-country"]].concat());
    assert!(
        heard.contains("deleted, as its licence asks: nested.mmdb"),
        "{heard}"
    );
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), before);
    done(&["data", "verify", "--dir", daemon::text(&collection)]);
}
