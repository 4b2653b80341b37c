//! `sakshi head`: what leaves the handset says what the case says, in every form, and reading it
//! changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sakshi_tests::{daemon, sample};
use serde_json::Value;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A signed case with a session.
fn case() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    daemon::output(["case", "new", text(&case), "--from", text(&answers)]).expect("a case");
    let arguments = sample::write(dir.path()).expect("written").inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    (dir, case)
}

/// Every file of a case with its bytes.
fn bytes(case: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(case).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(bytes(&path));
        } else {
            found.insert(path.clone(), fs::read(path).expect("a file"));
        }
    }
    found
}

#[test]
fn every_form_says_what_the_case_says_and_changes_nothing() {
    let (dir, case) = case();
    let before = bytes(&case);
    let last = daemon::export(&case, "records").expect("records").pop();
    let last = last.expect("a last record");
    assert_eq!(
        (&last["kind"], &last["body"]["reason"]),
        (&Value::from("checkpoint"), &Value::from("stop"))
    );
    let json = daemon::output(["head", text(&case), "--format", "json"]).expect("a head");
    let head = daemon::json(&json).expect("JSON");
    for key in ["seq", "hash"] {
        assert_eq!(head[key], last[key]);
    }
    assert_eq!(
        (&head["format"], &head["version"], &head["reason"]),
        (
            &Value::from("sakshi-head"),
            &Value::from(1),
            &Value::from("stop")
        )
    );
    let file = dir.path().join("case.head");
    let page = daemon::output(["head", text(&case), "-o", text(&file)]).expect("a head");
    let code = head["code"].as_str().expect("a code");
    for said in [code, head["case"].as_str().expect("an id"), "can forge"] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    assert_eq!(fs::read_to_string(file).expect("the file"), json);
    assert_eq!(bytes(&case), before);

    let inside = case.join("x.head");
    let refused = daemon::output(["head", text(&case), "-o", text(&inside)]);
    assert!(refused.is_err_and(|error| error.to_string().contains("lies in the case")));
    assert_eq!(bytes(&case), before);
}

#[test]
fn an_inspection_has_no_head() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let arguments = sample::write(dir.path()).expect("written").inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    let refused = daemon::output(["head", text(&case)]);
    assert!(refused.is_err_and(|error| error.to_string().contains("is not signed")));
}

/// What a scanner sees of a terminal that draws blocks in white on black.
fn scan(page: &str) -> String {
    const SCALE: usize = 4;
    let rows: Vec<Vec<bool>> = page
        .lines()
        .filter(|line| line.contains(['█', '▀', '▄']))
        .flat_map(|line| {
            let row = |light: [char; 2]| line.chars().map(|c| light.contains(&c)).collect();
            [row(['█', '▀']), row(['█', '▄'])]
        })
        .collect();
    let width = rows[0].len();
    let light = |x: usize, y: usize| rows[y / SCALE][x / SCALE];
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, rows.len() * SCALE, |x, y| {
            if light(x, y) { 255 } else { 0 }
        });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "codes in\n{page}");
    grids[0].decode().expect("a QR code").1
}

#[test]
fn the_code_on_the_terminal_can_be_scanned() {
    let (_dir, case) = case();
    let page = daemon::output(["head", text(&case), "--qr"]).expect("a head");
    let json = daemon::output(["head", text(&case), "--format", "json"]).expect("a head");
    let head = daemon::json(&json).expect("JSON");
    let (id, code) = (head["case"].as_str(), head["code"].as_str());
    let expected = format!(
        "SAKSHI-HEAD:1:{}:{}",
        id.expect("an id").to_uppercase(),
        code.expect("a code")
    );
    assert_eq!(scan(&page), expected);
}
