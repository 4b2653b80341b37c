//! Rules and claims through the real program: the register of a brand's claims, judging again,
//! explanations, and what helps to write rules.
//!
//! `tests/cases/claims/` holds the brand's file and what `sakshi claims` is to say;
//! `SAKSHI_BLESS=1` writes the latter anew, for a person to read over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use sakshi::evidence::Hash;
use sakshi_tests::{
    daemon::{self, text},
    sample, statements,
};
use serde_json::Value;
use tempfile::TempDir;

/// Contacts that are judged again at once.
const MANY: u32 = 10_000;

struct Situation {
    _dir: TempDir,
    case: PathBuf,
    brand: PathBuf,
}

fn situation() -> Situation {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let files = statements::write(dir.path()).expect("written");
    let case = dir.path().join("case");
    let brand = dir.path().join("brand.toml");
    let signer = Hash::of(statements::CERTIFICATE).to_string();
    fs::write(&brand, statements::declaration(&signer)).expect("written");
    let (capture, inventory) = (text(&files.capture), text(&files.inventory));
    daemon::output([
        "inspect",
        capture,
        "--case",
        text(&case),
        "--inventory",
        inventory,
    ])
    .expect("inspected");
    Situation {
        _dir: dir,
        case,
        brand,
    }
}

/// Standings by statement and claim.
fn standings(register: &Value) -> BTreeMap<String, String> {
    let brands = register["register"]["brands"].as_array().expect("brands");
    let mut found = BTreeMap::new();
    for said in brands
        .iter()
        .flat_map(|brand| brand["statements"].as_array().expect("a list"))
    {
        for claim in said["claims"].as_array().expect("claims") {
            let key = format!(
                "{}/{}",
                said["statement"].as_str().expect("an id"),
                claim["claim"].as_str().expect("an id")
            );
            let standing = claim["standing"].as_str().expect("a standing");
            found.insert(key, standing.to_owned());
        }
    }
    found
}

#[test]
fn each_claim_stands_as_the_capture_shows() {
    let Situation { _dir, case, brand } = situation();
    let before = daemon::export_text(&case, "records", "jsonl").expect("records");
    let arguments = ["claims", text(&case), "--declarations", text(&brand)];
    let line = daemon::output(arguments.into_iter().chain(["--format", "jsonl"])).expect("claims");
    let register = daemon::json(line.trim()).expect("JSON");
    let expected = [
        ("2017-08/storage", "unnamed_place"),
        ("2026-01/path", "consistent"),
        ("made-up/certificates", "consistent"),
        ("made-up/encrypted", "not_determinable"),
        ("made-up/exclusive", "contradicted"),
        ("made-up/games", "not_exercised"),
        ("made-up/nobody-else", "contradicted"),
        ("made-up/procedure", "needs_document"),
    ];
    let expected = expected.map(|(claim, standing)| (claim.to_owned(), standing.to_owned()));
    assert_eq!(standings(&register), BTreeMap::from(expected));
    let undeclared = register["register"]["undeclared"]
        .as_array()
        .expect("a list");
    let parties: Vec<&str> = undeclared
        .iter()
        .filter_map(|one| one["party"].as_str())
        .collect();
    assert_eq!(parties, ["ff.avast.com"]);
    let page = daemon::output(arguments).expect("claims");
    // What was watched stands below, and has its own tests; paths are those of this run.
    let page = page.split("\nWhat of the time").next().expect("a page");
    let page = page.replace(text(&brand), "brand.toml");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/claims/register.txt");
    if std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1") {
        fs::write(&golden, &page).expect("written");
    }
    assert_eq!(
        page,
        fs::read_to_string(&golden).expect("the expected register")
    );
    let after = daemon::export_text(&case, "records", "jsonl").expect("records");
    assert_eq!(before, after, "reading changes nothing");
}

#[test]
fn the_built_in_files_accuse_nobody_whose_signer_is_not_known() {
    let Situation { _dir, case, .. } = situation();
    let line = daemon::output(["claims", text(&case), "--format", "jsonl"]).expect("claims");
    let register = daemon::json(line.trim()).expect("JSON");
    let found = standings(&register);
    assert_eq!(
        found.get("2017-08/storage").map(String::as_str),
        Some("unnamed_place")
    );
    assert!(
        found.values().all(|standing| standing != "contradicted"),
        "{found:?}"
    );
    let silent = register["no_app_seen"].as_array().expect("a list");
    assert!(silent.iter().any(|brand| brand == "Samsung"), "{silent:?}");
}

#[test]
fn the_same_rules_say_the_same_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let case = dir.path().join("case");
    daemon::output(sample.inspect(&case).iter().map(String::as_str)).expect("inspected");
    let arguments = [
        "judge",
        text(&case),
        "--rules",
        text(&sample.rules),
        "--format",
        "jsonl",
    ];
    let list = daemon::output(arguments).expect("judged");
    let (head, rows) = list.split_once('\n').expect("a head");
    let head = daemon::json(head).expect("JSON");
    assert!(
        head["post_hoc"]
            .as_str()
            .is_some_and(|text| text.starts_with("POST HOC"))
    );
    assert_eq!(head["payload_not_recorded"], 0);
    let sorted = |text: &str| {
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| daemon::json(line).expect("JSON"))
            // Where packets are kept is not asked again, and packets are those of a first finding.
            .map(|mut row| {
                row["kept"] = Value::Null;
                row["packets"] = Value::Null;
                row
            })
            .collect();
        lines.sort_by_key(ToString::to_string);
        lines
    };
    let found = daemon::export_text(&case, "findings", "jsonl").expect("findings");
    assert!(!found.is_empty());
    assert_eq!(sorted(rows), sorted(&found));
    let inside = text(&case).to_owned() + "/list.jsonl";
    let refused = daemon::sakshi(arguments.into_iter().chain(["-o", &inside]))
        .output()
        .expect("sakshi runs");
    assert_eq!(refused.status.code(), Some(3));
    assert!(!Path::new(&inside).exists());
}

#[test]
fn ten_thousand_contacts_are_judged_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (capture, case) = (dir.path().join("many.pcap"), dir.path().join("case"));
    fs::write(&capture, statements::many(MANY)).expect("written");
    let handset = ["--handset", "192.168.43.100"];
    let arguments = ["inspect", text(&capture), "--case", text(&case)];
    daemon::output(arguments.into_iter().chain(handset)).expect("inspected");
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, sample::RULES).expect("written");
    let begin = Instant::now();
    let arguments = [
        "judge",
        text(&case),
        "--rules",
        text(&rules),
        "--format",
        "jsonl",
    ];
    let list = daemon::output(arguments).expect("judged");
    eprintln!("{MANY} contacts judged again in {:?}", begin.elapsed());
    let head = daemon::json(list.lines().next().expect("a head")).expect("JSON");
    assert_eq!(head["contacts"], MANY);
    // Nobody is known to have sent, which one rule is about.
    assert_eq!(
        list.lines().count(),
        1 + usize::try_from(MANY).expect("a number")
    );
}

#[test]
fn a_finding_is_explained_value_by_value() {
    let Situation { _dir, case, .. } = situation();
    let list = daemon::output(["rules", "explain", text(&case)]).expect("a list");
    let line = list
        .lines()
        .find(|line| line.contains("CLR-001"))
        .expect("a finding");
    let number = line.split_whitespace().next().expect("its number");
    let why = daemon::output(["rules", "explain", text(&case), number]).expect("explained");
    assert!(
        why.contains("in-lab CLR-001 (Cleartext HTTP from a preloaded app): finding"),
        "{why}"
    );
    assert!(why.contains("+ app_protocol"), "{why}");
    assert!(
        why.contains("OWN-001") && why.contains("does not hold: owner"),
        "{why}"
    );
    let none = daemon::sakshi(["rules", "explain", text(&case), "99999999"])
        .output()
        .expect("sakshi runs");
    assert_eq!(none.status.code(), Some(3));
}

#[test]
fn a_technician_begins_checks_and_tests_a_set() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("mine");
    daemon::output(["rules", "new", text(&folder)]).expect("made");
    let (set, cases) = (folder.join("set.toml"), folder.join("cases.toml"));
    daemon::output(["rules", "check", text(&set), text(&cases)]).expect("good");
    daemon::output(["rules", "test", text(&folder)]).expect("good");
    let broken = fs::read_to_string(&set)
        .expect("a set")
        .replace("country =", "contry =");
    fs::write(&set, broken).expect("written");
    let checked = daemon::sakshi(["rules", "check", text(&set), text(&cases)])
        .output()
        .expect("sakshi runs");
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8(checked.stdout).expect("UTF-8");
    assert!(
        said.contains("did you mean `country`?") && said.contains("cases.toml: good"),
        "{said}"
    );
    let asked = daemon::output(["declaration", "new", "OPPO"]).expect("a questionnaire");
    let file = dir.path().join("oppo.toml");
    fs::write(&file, asked).expect("written");
    daemon::output(["declaration", "check", text(&file)]).expect("good");
    let schema = daemon::output(["rules", "schema"]).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    for key in sakshi_rules::vocabulary::WHEN_KEYS {
        let of = &schema["$defs"]["when"]["properties"][key];
        assert!(of.is_object(), "{key}");
    }
}
