//! Exports say what `docs/export-format.md` and the schemas beside it promise.
//!
//! The real program inspects the sample's captures; every line of every export is validated, and
//! the CSV is read back and compared with the JSON. As root a live case is validated, too.

use std::{collections::BTreeSet, fs, path::Path};

use sakshi_tests::{
    daemon::{self, Daemon, EXPORTS, text},
    handset::Handset,
    live_possible, sample, scenes,
};
use serde_json::Value;
use tempfile::TempDir;

/// The exports with their schemas.
const SCHEMAS: [(&str, &str); 5] = [
    ("findings", "finding"),
    ("contacts", "contact"),
    ("flows", "flow"),
    ("gaps", "gap"),
    ("records", "record"),
];

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn schema(name: &str) -> Value {
    let path = docs().join(format!("schema/{name}.schema.json"));
    let text = fs::read_to_string(&path).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

fn all_schemas() -> Vec<(&'static str, Value)> {
    let rows = SCHEMAS.iter().map(|(_, name)| *name);
    rows.chain(["coverage", "summary", "status", "doctor"])
        .map(|name| (name, schema(name)))
        .collect()
}

/// What a value does wrong, a line each.
fn problems(schema: &Value, value: &Value) -> Vec<String> {
    jsonschema::draft202012::options()
        .build(schema)
        .expect("a schema of draft 2020-12")
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The sample, inspected: the folder with the case `case`, and the summary.
fn inspected() -> (TempDir, Value) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let arguments = sample.inspect(&dir.path().join("case"));
    let summary = daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    (dir, daemon::json(summary.trim()).expect("a summary"))
}

/// Validates every line of every export of a case; gives how many there were.
fn validate(case: &Path) -> usize {
    let mut lines = 0;
    for (what, name) in SCHEMAS {
        let schema = schema(name);
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        for row in daemon::export(case, what).expect("an export") {
            assert!(
                validator.is_valid(&row),
                "{what}: {:#?}\n{row:#}",
                problems(&schema, &row)
            );
            lines += 1;
        }
    }
    lines
}

/// A dry run of a case's journal counts each of its flows by its name.
fn look_for_names(case: &Path) {
    let dry = daemon::output(["inspect", text(case), "--dry-run", "--format", "json"]);
    let dry = daemon::json(dry.expect("inspected").trim()).expect("a summary");
    assert_eq!(problems(&schema("summary"), &dry), [""; 0]);
    let kinds = ["said", "asked", "resolved", "candidates", "unnamed"];
    let counts = kinds.map(|kind| dry["by_name"][kind].as_u64().expect("a count"));
    let flows = daemon::export(case, "flows").expect("an export").len();
    assert_eq!(counts.iter().sum::<u64>(), flows as u64, "{dry}");
}

#[test]
fn every_line_matches_its_schema() {
    let (dir, summary) = inspected();
    let case = dir.path().join("case");
    assert_eq!(problems(&schema("summary"), &summary), [""; 0]);
    look_for_names(&case);
    let lines = validate(&case);
    println!("{lines} lines are valid");
    for what in EXPORTS {
        let rows = daemon::export(&case, what).expect("an export");
        assert!(!rows.is_empty(), "the sample has no {what}");
    }
    // The summary counts what the exports list.
    let rows = |what| daemon::export(&case, what).expect("an export");
    assert_eq!(summary["flows"], rows("flows").len());
    assert_eq!(summary["contacts"], rows("contacts").len());
    let stands = |row: &Value| row["outcome"] != "excepted";
    let findings = rows("findings").into_iter().filter(stands).count();
    assert_eq!(summary["findings"], findings);
    // The sample has one of everything that it promises.
    let flows = daemon::export(&case, "flows").expect("flows");
    let has = |key: &str, value: &str| {
        let text = |flow: &Value| flow.pointer(key).and_then(Value::as_str) == Some(value);
        assert!(flows.iter().any(text), "no flow has {value} at {key}");
    };
    for proto in ["tcp", "udp", "icmp"] {
        has("/proto", proto);
    }
    for class in [
        "preloaded",
        "updated_preload",
        "deletable_preload",
        "user",
        "system",
        "unknown",
    ] {
        has("/owner/class", class);
    }
    for protocol in ["dns", "http", "tls", "unknown"] {
        has("/app_protocol", protocol);
    }
    for source in ["dns", "http", "tls", "resolved"] {
        let named = |flow: &Value| {
            let names = flow["names"].as_array().expect("names");
            names.iter().any(|name| name["source"] == source)
        };
        assert!(flows.iter().any(named), "no name is known by {source}");
    }
}

#[test]
fn an_examination_matches_its_schema_and_each_fact_is_documented() {
    let output = daemon::sakshi(["doctor", "--format", "json"])
        .output()
        .expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout);
    let examination = daemon::json(text.trim()).expect("JSON");
    assert_eq!(problems(&schema("doctor"), &examination), [""; 0]);
    let failed = examination["counts"]["failed"].as_u64();
    assert_eq!(output.status.code(), Some(i32::from(failed != Some(0))));
    let keys: Vec<&Value> = examination["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["key"])
        .collect();
    let known = schema("doctor")
        .pointer("/properties/lines/items/properties/key/examples")
        .cloned()
        .expect("the keys");
    assert_eq!(serde_json::json!(keys), known, "in the order of the page");
    let page = fs::read_to_string(docs().join("export-format.md")).expect("the documentation");
    for line in examination["lines"].as_array().expect("lines") {
        let row = format!("| `{}` | ", line["key"].as_str().expect("a key"));
        // The page of the doctor comes last; other tables may have a key of the same name.
        let row = page.lines().rfind(|text| text.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("no row for {}", line["key"]));
        for fact in line["facts"].as_object().expect("facts").keys() {
            assert!(
                row.contains(&format!("`{fact}`")),
                "{fact} is not in: {row}"
            );
        }
    }
}

#[test]
fn a_live_case_matches_the_schemas() {
    if !live_possible("a_live_case_matches_the_schemas") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.phase(scenes::IDLE).expect("a phase");
    daemon
        .note("=a remark that begins like a formula")
        .expect("a note");
    for scene in scenes::all().iter().take(2) {
        scene.play(&handset).expect("played");
    }
    let status = daemon.status().expect("a status");
    assert_eq!(problems(&schema("status"), &status), [""; 0], "{status:#}");
    let summary = daemon.stop().expect("a summary");
    assert_eq!(problems(&schema("summary"), &summary), [""; 0]);
    println!("{} lines are valid", validate(&case));
    look_for_names(&case);
    // The examination goes into the same transaction as the session, right behind it.
    let records = daemon::export(&case, "records").expect("records");
    let kinds: Vec<&str> = records
        .iter()
        .filter_map(|record| record["kind"].as_str())
        .collect();
    let session = kinds.iter().position(|kind| *kind == "session");
    let session = session.expect("a session");
    assert_eq!(kinds[session..session + 2], ["session", "doctor"]);
    let coverage = daemon::output(["coverage", text(&case), "--format", "jsonl"]);
    let coverage = daemon::json(coverage.expect("a statement").trim()).expect("JSON");
    assert_eq!(problems(&schema("coverage"), &coverage), [""; 0]);
    for kind in ["interface", "counters"] {
        let known = |record: &Value| record["kind"] == kind;
        assert!(records.iter().any(known), "no record is {kind}");
    }
    csv_says_the_same_as_json(&case);
}

#[test]
fn the_csv_of_the_sample_says_the_same_as_its_json() {
    let (dir, _) = inspected();
    let case = dir.path().join("case");
    csv_says_the_same_as_json(&case);
    let csv = daemon::export_text(&case, "findings", "csv").expect("CSV");
    let defused = format!(",'{},", sample::FORMULA);
    assert!(csv.contains(&defused), "{defused} is not in:\n{csv}");
    assert!(csv.contains(",'=hyperlink.example,"), "{csv}");
}

fn csv_says_the_same_as_json(case: &Path) {
    for what in EXPORTS {
        let rows = daemon::export(case, what).expect("JSON Lines");
        let text = daemon::export_text(case, what, "csv").expect("CSV");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().expect("a header").clone();
        let lines: Vec<csv::StringRecord> =
            reader.records().map(|line| line.expect("a line")).collect();
        assert_eq!(lines.len(), rows.len(), "lines of {what}");
        for (line, row) in lines.iter().zip(&rows) {
            let names: BTreeSet<&str> = columns.iter().collect();
            uncovered(row, "", &names, &mut |path| {
                panic!("{what}: no column says {path}")
            });
            for (column, cell) in columns.iter().zip(line) {
                same(&format!("{what}, {column}"), cell, value_at(row, column));
            }
        }
    }
}

/// Names what no column says: a value is said by a column of its own or of what it is part of.
fn uncovered(value: &Value, path: &str, columns: &BTreeSet<&str>, report: &mut impl FnMut(&str)) {
    if columns.contains(path) {
        return;
    }
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                uncovered(value, &path, columns, report);
            }
        }
        _ => report(path),
    }
}

fn value_at<'a>(row: &'a Value, column: &str) -> &'a Value {
    column.split('.').fold(row, |value, key| &value[key])
}

/// Reads a cell back as the documentation says, and compares.
fn same(what: &str, cell: &str, value: &Value) {
    let formula = ['=', '+', '-', '@', '\t', '\r', '\n'];
    assert!(!cell.starts_with(formula), "{what} is a formula: {cell}");
    let text = cell.strip_prefix('\'').unwrap_or(cell);
    let read = match value {
        Value::Null => {
            assert_eq!(text, "", "{what}");
            return;
        }
        Value::String(_) => Value::from(text),
        Value::Array(_) if text.is_empty() => Value::from(Vec::<Value>::new()),
        Value::Array(_) if !text.starts_with('[') => {
            Value::from(text.split("; ").map(Value::from).collect::<Vec<_>>())
        }
        _ => serde_json::from_str(text).unwrap_or_else(|error| panic!("{what}: {error}: {cell}")),
    };
    assert_eq!(read, *value, "{what}");
}

#[test]
fn an_undocumented_key_or_a_wrong_type_is_seen() {
    let (dir, _) = inspected();
    for (what, name) in SCHEMAS {
        let schema = schema(name);
        let rows = daemon::export(&dir.path().join("case"), what).expect("an export");
        let row = rows.last().expect("a row");
        assert_eq!(problems(&schema, row), [""; 0]);
        let keys: Vec<&String> = row.as_object().expect("an object").keys().collect();
        for key in keys {
            let mut without = row.clone();
            without.as_object_mut().expect("an object").remove(key);
            assert_ne!(problems(&schema, &without), [""; 0], "{name} without {key}");
            let mut other = row.clone();
            other[key] = serde_json::json!({ "undocumented": 1.5 });
            assert_ne!(
                problems(&schema, &other),
                [""; 0],
                "{name} with another {key}"
            );
        }
        let mut more = row.clone();
        more["undocumented"] = Value::Null;
        assert_ne!(problems(&schema, &more), [""; 0], "{name}");
    }
    let body = serde_json::json!({"at": "2026-11-24T04:00:00.000000Z", "text": "x", "more": 1});
    let hash = "0".repeat(64);
    let note = serde_json::json!({"seq": 1, "kind": "note", "redacted": false, "body": body, "attachment_bytes": null,
        "attachment_sha256": null, "prev": hash, "hash": hash});
    assert_ne!(problems(&schema("record"), &note), [""; 0]);
}

/// Calls `each` with every object in a schema that describes one.
fn each_object(schema: &Value, each: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match schema {
        Value::Object(entries) => {
            if entries.get("type").is_some_and(|kind| kind == "object") {
                each(entries);
            }
            entries.values().for_each(|value| each_object(value, each));
        }
        Value::Array(values) => values.iter().for_each(|value| each_object(value, each)),
        _ => {}
    }
}

/// Keys that are left out where nothing is said, which is most often; every other one is required.
const LEFT_OUT: [&str; 14] = [
    "asn_country",
    "by_name",
    "categories",
    "circumstances",
    "egress",
    "idle",
    "name_token",
    "network",
    "oom_score_adj",
    "operator",
    "resolvers",
    "screen_on",
    "steered",
    "zone",
];

#[test]
fn the_schemas_are_closed_and_each_key_is_required() {
    for (name, schema) in all_schemas() {
        each_object(&schema, &mut |object| {
            let Some(properties) = object.get("properties").and_then(Value::as_object) else {
                return;
            };
            assert_eq!(
                object["additionalProperties"], false,
                "{name}: {properties:?}"
            );
            let required: BTreeSet<&str> = object["required"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let keys = properties.keys().map(String::as_str);
            let keys: BTreeSet<&str> = keys.filter(|key| !LEFT_OUT.contains(key)).collect();
            assert_eq!(required, keys, "{name}");
        });
    }
}

#[test]
fn every_key_and_known_word_is_documented() {
    let text = fs::read_to_string(docs().join("export-format.md")).expect("the documentation");
    let mut missing = BTreeSet::new();
    let mut words = 0;
    for (name, schema) in all_schemas() {
        words_of(&schema, &mut |word| {
            words += 1;
            if !text.contains(&format!("`{word}`")) {
                missing.insert(format!("{name}: {word}"));
            }
        });
    }
    println!("{words} keys and words looked for");
    assert_eq!(missing, BTreeSet::new());
}

/// Every key and every word that a schema knows.
fn words_of(schema: &Value, each: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(entries) => {
            if let Some(properties) = entries.get("properties").and_then(Value::as_object) {
                properties.keys().for_each(|key| each(key));
            }
            if let Some(examples) = entries.get("examples").and_then(Value::as_array) {
                examples
                    .iter()
                    .filter_map(Value::as_str)
                    .for_each(&mut *each);
            }
            entries.values().for_each(|value| words_of(value, each));
        }
        Value::Array(values) => values.iter().for_each(|value| words_of(value, each)),
        _ => {}
    }
}

/// Keys that were there from the beginning: schema, place in it, keys.
const FIRST_KEYS: [(&str, &str, &str); 9] = [
    (
        "flow",
        "/properties",
        "proto src sport dst dport start end packets_out bytes_out packets_in bytes_in state \
         rtt_us owner names place",
    ),
    (
        "flow",
        "/$defs/owner/properties",
        "uid user basis apps class process",
    ),
    ("flow", "/$defs/name/properties", "name source"),
    (
        "contact",
        "/properties",
        "owner address port proto name phase place flows bytes_out first last",
    ),
    (
        "finding",
        "/properties",
        "rule kind severity outcome owner endpoint place flows bytes_out first last reason \
         reference packets",
    ),
    (
        "finding",
        "/$defs/endpoint/properties",
        "addr port proto names",
    ),
    (
        "finding",
        "/$defs/place/properties",
        "country provider region asn grade basis",
    ),
    (
        "summary",
        "/properties",
        "packets unparsed flows contacts findings lost files",
    ),
    (
        "summary",
        "/properties/files/items/properties",
        "file packets flows",
    ),
];

#[test]
fn the_first_keys_stay() {
    for (name, at, keys) in FIRST_KEYS {
        let schema = schema(name);
        let properties = schema.pointer(at).expect("keys");
        for key in keys.split_whitespace() {
            assert!(properties.get(key).is_some(), "{name}{at} has no {key}");
        }
    }
}
