//! A brand's claims against a capture, through the real program, and the questionnaire for a brand.
//!
//! `tests/cases/claims/` holds the brand's file and what `sakshi claims` is to say;
//! `SAKSHI_BLESS=1` writes the latter anew, for a person to read over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sakshi::evidence::Hash;
use sakshi_tests::{
    daemon::{self, text},
    statements,
};
use serde_json::Value;
use tempfile::TempDir;

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
    assert_eq!(parties, ["avast.com"]);
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
fn a_questionnaire_is_sound() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let asked = daemon::output(["declaration", "new", "OPPO"]).expect("a questionnaire");
    let file = dir.path().join("oppo.toml");
    fs::write(&file, &asked).expect("written");
    daemon::output(["declaration", "check", text(&file)]).expect("sound");
    fs::write(&file, asked.replace("kind = \"path\"", "kind = \"pth\"")).expect("written");
    let checked = daemon::sakshi(["declaration", "check", text(&file)])
        .output()
        .expect("sakshi runs");
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8(checked.stdout).expect("UTF-8");
    assert!(said.contains("did you mean `path`?"), "{said}");
}
