//! The Parquet export, read by somebody else's program: `DuckDB`, without Sakshi.
//!
//! Every value of every export is compared with the JSON Lines; a hundred cases are asked at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sakshi_tests::{
    daemon::{self, EXPORTS, text},
    judges, sample,
};
use tempfile::TempDir;

/// Cases that one query asks.
const CASES: usize = 100;

/// Compares a file with JSON Lines, whose columns are those of the CSV's header. Times are compared
/// as microseconds, lists and objects as JSON.
const SAME: &str = r#"
import csv, datetime, duckdb, json, sys
parquet, jsonl, table, case = sys.argv[1:5]
paths = next(csv.reader(open(table, newline="", encoding="utf-8")))
names = [path.replace(".", "_") for path in paths]
rows = [json.loads(line) for line in open(jsonl, encoding="utf-8")]
kinds = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?)", [parquet]).fetchall()
kinds = {kind[0]: kind[1] for kind in kinds}
own = ["case_id", "device_make", "device_model", "device_fingerprint"]
assert list(kinds) == own + names, list(kinds)
def shown(name):
    return f'epoch_us("{name}")' if kinds[name].startswith("TIMESTAMP") else f'"{name}"'
wanted = ", ".join(shown(name) for name in names)
found = duckdb.execute(f"SELECT {wanted} FROM read_parquet(?)", [parquet]).fetchall()
assert len(found) == len(rows), (len(found), len(rows))
def micros(text):
    at = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    span = at - datetime.datetime(1970, 1, 1)
    return (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds
values = 0
for row, cells in zip(rows, found):
    for path, name, cell in zip(paths, names, cells):
        value = row
        for key in path.split("."):
            value = value[key]
        if value is not None:
            values += 1
            if kinds[name].startswith("TIMESTAMP"):
                value = micros(value)
            elif isinstance(value, (list, dict)):
                cell = json.loads(cell)
        assert cell == value and type(cell) == type(value), (name, cell, value)
origin = duckdb.execute("SELECT DISTINCT case_id, device_make, device_model, device_fingerprint FROM read_parquet(?)", [parquet]).fetchall()
assert origin == [(case, "SAMPLE make", "SAMPLE virtual handset", None)] * bool(rows), origin
print(len(rows), values)
"#;

/// Asks all files of a kind at once.
const ASK: &str = r#"
import duckdb, sys
flows, findings = sys.argv[1:3]
print(*duckdb.execute("""
    SELECT count(DISTINCT f.case_id), count(*), sum(f.bytes_out)::BIGINT,
        (SELECT count(DISTINCT case_id) FROM read_parquet(?) WHERE place_country = 'SG'),
        count(*) FILTER (WHERE json_contains(f.owner_apps, '"com.sample.games"'))
    FROM read_parquet(?) f
""", [findings, flows]).fetchone())
"#;

fn python(script: &str, arguments: &[&str], python: &Path) -> String {
    let mut command = Command::new(python);
    let output = command
        .args(["-c", script])
        .args(arguments)
        .output()
        .expect("Python runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The sample, in a case with an identifier of its own.
fn inspected(dir: &Path, sample: &sample::Sample, name: &str) -> (PathBuf, String) {
    let case = dir.join(name);
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    daemon::output(["case", "new", text(&case), "--from", text(&authority)]).expect("prepared");
    let arguments = sample.inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    let metadata = fs::read_to_string(case.join("case.json")).expect("metadata");
    let metadata = daemon::json(&metadata).expect("JSON");
    let id = metadata["id"].as_str().expect("an identifier").to_owned();
    (case, id)
}

fn export(case: &Path, what: &str, format: &str, to: &Path) {
    let arguments = ["export", text(case), "--what", what, "--format", format];
    daemon::output(arguments.into_iter().chain(["-o", text(to)])).expect("an export");
}

fn sampled() -> (TempDir, sample::Sample) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    (dir, sample)
}

#[test]
fn duckdb_reads_what_the_json_says() {
    let Some(judge) = judges::python("duckdb_reads_what_the_json_says") else {
        return;
    };
    let (dir, sample) = sampled();
    let (case, id) = inspected(dir.path(), &sample, "case");
    for what in EXPORTS {
        let [parquet, again, jsonl, csv] = ["parquet", "again", "jsonl", "csv"]
            .map(|suffix| dir.path().join(format!("{what}.{suffix}")));
        export(&case, what, "parquet", &parquet);
        export(&case, what, "jsonl", &jsonl);
        export(&case, what, "csv", &csv);
        let files = [&parquet, &jsonl, &csv].map(|path| text(path));
        let said = python(SAME, &[&files[..], &[&id]].concat(), &judge);
        println!("{what}: rows and values: {said}");
        assert!(!said.starts_with("0 "), "the sample has no {what}");
        export(&case, what, "parquet", &again);
        let [one, other] = [&parquet, &again].map(|path| fs::read(path).expect("a file"));
        assert!(one == other, "{what} is not the same again");
    }
}

#[test]
fn a_hundred_cases_are_asked_in_one_query() {
    let Some(judge) = judges::python("a_hundred_cases_are_asked_in_one_query") else {
        return;
    };
    let (dir, sample) = sampled();
    let (case, _) = inspected(dir.path(), &sample, "first");
    let flows = daemon::export(&case, "flows").expect("flows");
    let sum = |key: &str| {
        flows
            .iter()
            .filter_map(|flow| flow[key].as_u64())
            .sum::<u64>()
    };
    let games = |flow: &&serde_json::Value| {
        let apps = flow["owner"]["apps"].as_array().expect("apps");
        apps.iter().any(|app| app == "com.sample.games")
    };
    let games = flows.iter().filter(games).count();
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (dir, sample) = (dir.path(), &sample);
            scope.spawn(move || {
                for number in (half..CASES).step_by(2) {
                    let (case, _) = inspected(dir, sample, &format!("case-{number}"));
                    for what in ["flows", "findings"] {
                        let to = dir.join(format!("{number}.{what}.parquet"));
                        export(&case, what, "parquet", &to);
                    }
                    fs::remove_dir_all(&case).expect("removed");
                }
            });
        }
    });
    let files = ["flows", "findings"].map(|what| dir.path().join(format!("*.{what}.parquet")));
    let said = python(ASK, &files.each_ref().map(|path| text(path)), &judge);
    println!("cases, flows, bytes, cases with a finding in SG, flows of an app: {said}");
    let expected = [
        CASES,
        CASES * flows.len(),
        CASES * usize::try_from(sum("bytes_out")).expect("small"),
        CASES,
        CASES * games,
    ];
    assert!(games > 0);
    assert_eq!(said, expected.map(|count| count.to_string()).join(" "));
}
