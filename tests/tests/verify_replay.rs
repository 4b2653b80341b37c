//! `verify --replay`: the journal gives the same findings again, or it is said what differs.

use std::{fs, path::Path, process::Output};

use rusqlite::{Connection, params};
use sakshi::evidence::{Hash, record_hash, schema};
use sakshi_tests::{daemon, sample};
use serde_json::Value;

/// The trigger that refuses updates.
const TRIGGER: &str = "record_is_not_changed";

fn verify(case: &Path, format: &str) -> Output {
    let arguments = ["verify", "--replay", daemon::text(case), "--format", format];
    daemon::sakshi(arguments).output().expect("sakshi runs")
}

/// What `--replay` says: the last line.
fn replayed(case: &Path) -> (Option<i32>, Value) {
    let output = verify(case, "json");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let last = text.lines().last().expect("a line");
    (
        output.status.code(),
        daemon::json(last).expect("the result of a replay"),
    )
}

fn inspected(dir: &Path) -> std::path::PathBuf {
    let sample = sample::write(dir).expect("written");
    let case = dir.join("case");
    let arguments = sample.inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    case
}

/// Changes the bodies of a kind and chains all records anew, as one could who has no key: the case
/// is intact again, since an inspection is unsigned.
fn forge(case: &Path, kind: &str, change: impl Fn(&str) -> String) {
    let connection = Connection::open(case.join("evidence.db")).expect("a database");
    let object = schema::OBJECTS.iter().find(|object| object.name == TRIGGER);
    connection
        .execute_batch(&format!("DROP TRIGGER {TRIGGER}"))
        .expect("no trigger");
    let mut statement = connection
        .prepare("SELECT seq, kind, body, attachment FROM record ORDER BY seq")
        .expect("prepared");
    let rows = statement
        .query_map([], |row| {
            let (seq, kind, body) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((seq, kind, body, row.get::<_, Option<Vec<u8>>>(3)?))
        })
        .expect("rows");
    let rows: Vec<(i64, String, String, Option<Vec<u8>>)> =
        rows.collect::<Result<_, _>>().expect("rows");
    let mut prev = Hash::ZERO;
    for (seq, of_kind, mut body, attachment) in rows {
        if of_kind == kind {
            body = change(&body);
        }
        let (kind, text) = (of_kind.as_bytes(), body.as_bytes());
        let hash = record_hash(&prev, seq, kind, text, attachment.as_deref());
        let update = "UPDATE record SET body = ?1, prev = ?2, hash = ?3 WHERE seq = ?4";
        connection
            .execute(update, params![body, prev.as_bytes(), hash.as_bytes(), seq])
            .expect("changed");
        prev = hash;
    }
    let trigger = object.expect("the trigger").sql;
    connection.execute_batch(trigger).expect("the trigger");
}

#[test]
fn an_inspected_case_gives_its_findings_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = inspected(dir.path());
    let before = fs::read(case.join("evidence.db")).expect("a database");
    let (code, said) = replayed(&case);
    assert_eq!(
        (code, &said["replay"]),
        (Some(0), &Value::from("identical"))
    );
    let rows = daemon::export(&case, "findings").expect("findings").len();
    assert!(
        said["findings"].as_u64() >= u64::try_from(rows).ok(),
        "{said}"
    );
    let text = String::from_utf8(verify(&case, "text").stdout).expect("UTF-8");
    assert!(text.contains("replay identical: "), "{text}");
    let after = fs::read(case.join("evidence.db")).expect("a database");
    assert!(before == after, "reading changes nothing");
}

#[test]
fn what_was_recorded_otherwise_is_named() {
    let cases = [
        (
            "contact",
            "\"country\":\"SG\"",
            "\"country\":\"IN\"",
            "place",
        ),
        ("contact", "\"uid\":10050,", "\"uid\":10051,", "owner"),
        ("contact", ".example\",", ".invalid\",", "endpoint"),
        (
            "finding",
            "\"outcome\":\"finding\"",
            "\"outcome\":\"excepted\"",
            "outcome",
        ),
        ("summary", "\"findings\":", "\"findings\":1", "findings"),
    ];
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pristine = inspected(dir.path());
    for (number, (kind, from, to, what)) in cases.into_iter().enumerate() {
        let case = dir.path().join(format!("case-{number}"));
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&pristine, &case])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "copied");
        forge(&case, kind, |body| body.replace(from, to));
        daemon::verify(&case).expect("a forged chain that fits together");
        let (code, said) = replayed(&case);
        assert_eq!(code, Some(1), "{kind}: {said}");
        let differences = said["differences"].as_array().expect("a list");
        assert!(
            differences.iter().any(|one| one["what"] == what),
            "{kind}: {what} is not among {differences:?}"
        );
        assert_eq!(said["replay"], "different");
    }
}
