//! The golden case: what the exports of a known case are, byte for byte.
//!
//! `tests/cases/golden/` holds captures, inventory and rules, and what `sakshi export` is to write
//! of them. `SAKSHI_BLESS=1` writes the folder anew; then read every changed line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sakshi_tests::{
    daemon::{self, EXPORTS},
    sample::{self, Sample},
};

/// Most bytes that the folder may have.
const BYTES_MAX: usize = 250_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/golden")
}

fn blessing() -> bool {
    std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1")
}

/// Every file below a folder, by its path in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below the folder");
                found.insert(name.to_owned(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Compares text line by line, so that a difference can be read.
#[track_caller]
fn same_lines(what: &str, expected: &str, found: &str) {
    for (at, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(expected, found, "{what}, line {}", at + 1);
    }
    assert_eq!(expected.len(), found.len(), "length of {what}");
}

#[test]
fn the_golden_case_is_as_it_was() {
    // In this order: blessing writes the inputs before they are used.
    the_inputs_are_what_the_sample_writes();
    the_exports_are_as_expected();
}

fn the_inputs_are_what_the_sample_writes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    sample::write(dir.path()).expect("written");
    if blessing() {
        sample::write(&golden()).expect("written");
    }
    let committed = files(&golden());
    for (name, bytes) in files(dir.path()) {
        let kept = committed.get(&name);
        assert!(kept == Some(&bytes), "{} differs", name.display());
    }
    let bytes: usize = committed.values().map(Vec::len).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

fn the_exports_are_as_expected() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let arguments = Sample::in_dir(&golden()).inspect(&case);
    let summary = daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    // The summary names the files by the paths that were given.
    let summary = summary.replace(&format!("{}/", golden().display()), "");
    let mut exports = vec![("summary.json".to_owned(), summary)];
    for what in EXPORTS {
        for format in ["jsonl", "csv"] {
            // The rows of the others say all that their CSV can say wrong.
            if format == "jsonl" || what == "findings" {
                let text = daemon::export_text(&case, what, format).expect("an export");
                exports.push((format!("{what}.{format}"), text));
            }
        }
    }
    // Once more with the handset's own addresses; last, since the case takes a record of it.
    let flows = ["export", daemon::text(&case), "--what", "flows"];
    let whole = ["--unredacted", "--by", "the golden case"];
    let flows = daemon::output(flows.into_iter().chain(whole)).expect("an export");
    exports.push(("flows_unredacted.jsonl".to_owned(), flows));
    for (name, found) in exports {
        let path = golden().join("expected").join(&name);
        if blessing() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, &found).expect("written");
        }
        let expected = fs::read_to_string(&path).expect("an expected export");
        same_lines(&name, &expected, &found);
    }
    daemon::verify(&case).expect("intact evidence");
}
