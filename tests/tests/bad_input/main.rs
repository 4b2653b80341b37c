//! Bad input and hostile surroundings, at the boundary: the real program gets it, and answers with a
//! clear error and the right exit code, or with a counted record. It never panics.
//!
//! In: files that are cut, flipped or lie; folders that are no case; disks that are full or
//! read-only; a machine without root, iptables or a free NFLOG group. Out: what `sakshi` said.

mod captures;
mod cases;
mod clock;
mod control;
mod disks;
mod doctor;
mod inventory;
mod live;
mod made;
mod output;
mod pcapng;
mod room;
mod rules;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sakshi_tests::daemon::{self, sakshi, text};
use serde_json::Value;
use tempfile::TempDir;

/// Done.
const DONE: i32 = 0;
/// The answer is no.
const NO: i32 = 1;
/// Wrong use.
const WRONG_USE: i32 = 2;
/// Could not.
const COULD_NOT: i32 = 3;

/// Nothing is wrong with a case, but nothing vouches for its end.
const INCOMPLETE: i32 = 4;

/// What a command said.
#[derive(Debug)]
struct Said {
    stdout: String,
    stderr: String,
}

impl Said {
    /// The summary of `--format json`.
    fn summary(&self) -> Value {
        daemon::json(self.stdout.trim()).expect("one JSON object on standard output")
    }

    /// A count of the summary.
    fn count(&self, key: &str) -> u64 {
        self.summary()[key].as_u64().expect("a count")
    }

    /// Packets that could not be dissected, whatever the reason.
    fn unparsed(&self) -> u64 {
        let summary = self.summary();
        let reasons = summary["unparsed"].as_object().expect("reasons");
        reasons.values().filter_map(Value::as_u64).sum()
    }
}

/// Runs a command to its end: it must end with `code`, say each of `says` on standard error, and
/// never panic.
fn check(command: &mut Command, code: i32, says: &[&str]) -> Said {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    judge(&format!("{command:?}"), &output, code, says)
}

/// The same for a command that has ended.
fn judge(command: &str, output: &std::process::Output, code: i32, says: &[&str]) -> Said {
    let said = Said {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let shown = format!("{command} ended with {}:\n{}", output.status, said.stderr);
    assert!(!said.stderr.contains("panicked"), "{shown}");
    assert_eq!(output.status.code(), Some(code), "{shown}");
    for part in says {
        assert!(said.stderr.contains(part), "expected {part:?}; {shown}");
    }
    said
}

/// A folder for one test, and what lies in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A path in it.
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file in it.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        std::fs::write(&path, bytes).expect("a file of the test");
        path
    }

    /// `sakshi` with arguments, and with control sockets of its own.
    fn sakshi<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = sakshi(arguments);
        command.env("SAKSHI_RUNTIME_DIR", self.at("sockets"));
        command
    }

    /// `sakshi inspect FILE --dry-run --format json`.
    fn try_inspect(&self, file: &Path) -> Command {
        self.sakshi(["inspect", text(file), "--dry-run", "--format", "json"])
    }

    /// The same, into a case.
    fn try_case(&self, file: &Path) -> Command {
        let case = self.at("judged");
        self.sakshi([
            "inspect",
            text(file),
            "--format",
            "json",
            "--case",
            text(&case),
        ])
    }

    /// A case made from the sample capture.
    fn case(&self) -> PathBuf {
        let capture = self.file("sample.pcap", made::sample());
        let case = self.at("case");
        check(
            &mut self.sakshi(["inspect", text(&capture), "--case", text(&case)]),
            DONE,
            &[],
        );
        case
    }

    /// The gaps of a case, as (cause, place, detail); the case must be intact.
    fn gaps(&self, case: &Path) -> Vec<(String, String, String)> {
        check(&mut self.sakshi(["verify", text(case)]), DONE, &[]);
        let said = check(
            &mut self.sakshi(["export", text(case), "--what", "gaps"]),
            DONE,
            &[],
        );
        let field = |gap: &Value, key: &str| gap[key].as_str().unwrap_or_default().to_owned();
        said.stdout
            .lines()
            .map(|line| daemon::json(line).expect("a line of JSON"))
            .map(|gap| {
                (
                    field(&gap, "cause"),
                    field(&gap, "place"),
                    field(&gap, "detail"),
                )
            })
            .collect()
    }
}

#[test]
#[should_panic(expected = "ended with exit status: 3")]
fn the_check_sees_another_exit_code() {
    let place = Place::new();
    check(
        &mut place.sakshi(["verify", "/nonexistent/case"]),
        DONE,
        &[],
    );
}

#[test]
#[should_panic(expected = "expected \"a remedy\"")]
fn the_check_sees_a_missing_text() {
    let place = Place::new();
    check(
        &mut place.sakshi(["verify", "/nonexistent/case"]),
        COULD_NOT,
        &["a remedy"],
    );
}
