//! Whatever is changed behind the store's back, `verify` names it.

use std::fs;

use rusqlite::Connection;
use sakshi::evidence::{StoreError, schema};

use super::{Path, check, contents, copy, create, damages, folder, intact, note, sample, session};

/// Runs SQL with the triggers out of the way, so that only the values differ afterwards.
fn alter(dir: &Path, sql: &str) {
    let path = dir.join("evidence.db");
    let triggers = || {
        schema::OBJECTS
            .iter()
            .filter(|object| object.kind == "trigger")
    };
    let loosen = |from: &str, to: &str| {
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA synchronous = OFF; PRAGMA writable_schema = ON; \
                 UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'record'"
            ))
            .unwrap();
    };
    let table = schema::OBJECTS[0].sql;
    let loose = table.replace(" STRICT", "").replace(" NOT NULL", "");
    loosen(table, &loose);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("PRAGMA synchronous = OFF")
        .unwrap();
    for trigger in triggers() {
        connection
            .execute(&format!("DROP TRIGGER {}", trigger.name), [])
            .unwrap();
    }
    connection.execute_batch(sql).unwrap();
    for trigger in triggers() {
        connection.execute(trigger.sql, []).unwrap();
    }
    drop(connection);
    loosen(&loose, table);
}

/// Damages a copy of the sample with `sql`.
fn damaged_by(sql: &str) -> Vec<String> {
    let (original, altered) = (folder(), folder());
    sample(&original.path().join("case"));
    copy(&original.path().join("case"), altered.path());
    alter(altered.path(), sql);
    damages(altered.path())
}

fn names(lines: &[String], subject: &str) -> bool {
    lines.iter().any(|line| line.starts_with(subject))
}

#[test]
fn a_sample_is_intact_also_after_the_tests_own_detour() {
    let dir = folder();
    let case = dir.path().join("case");
    sample(&case);
    let found = intact(&case);
    assert_eq!((found.records, found.head.seq, found.ended), (10, 10, true));
    assert!(found.unlisted.is_empty());
    alter(&case, "SELECT 1");
    assert_eq!(intact(&case), found);
}

#[test]
fn every_column_of_every_record_is_protected() {
    let original = folder();
    let case = original.path().join("case");
    sample(&case);
    let changes = [
        "kind = 'other'",
        "kind = 'N'",
        "kind = NULL",
        "kind = CAST(kind AS BLOB)",
        "body = '[]'",
        "body = body || ' '",
        "body = NULL",
        "body = x'7b7d'",
        "body = CAST(x'ff' AS TEXT)",
        "attachment = CASE WHEN attachment IS NULL THEN x'' END",
        "attachment = x'00'",
        "attachment = 'text'",
        "prev = x'00'",
        "prev = zeroblob(31) || x'01'",
        "prev = CAST(zeroblob(31) || x'01' AS BLOB)",
        "prev = 7",
        "hash = zeroblob(32)",
        "hash = prev",
        "hash = NULL",
        "seq = seq + 100",
        "seq = -seq",
    ];
    for seq in 1..=10 {
        for change in changes {
            let altered = folder();
            copy(&case, altered.path());
            alter(
                altered.path(),
                &format!("UPDATE record SET {change} WHERE seq = {seq}"),
            );
            let lines = damages(altered.path());
            let moved = change.starts_with("seq");
            assert!(
                names(&lines, &format!("record {seq} ("))
                    || moved
                        && lines
                            .iter()
                            .any(|line| line == &format!("record {seq}: missing"))
                    || moved && names(&lines, &format!("record -{seq} ("))
                    || moved && names(&lines, &format!("record {} (", seq + 100)),
                "{change} of {seq}: {lines:#?}"
            );
        }
    }
}

#[test]
fn rows_deleted_swapped_doubled_and_inserted_are_named() {
    let lines = damaged_by("DELETE FROM record WHERE seq IN (4, 5)");
    assert!(
        lines.contains(&"records 4 to 5: missing".to_owned()),
        "{lines:#?}"
    );
    assert!(names(&lines, "record 6 (flow): its prev"), "{lines:#?}");

    let lines = damaged_by(
        "UPDATE record SET seq = 100 WHERE seq = 3; UPDATE record SET seq = 3 WHERE seq = 5; \
         UPDATE record SET seq = 5 WHERE seq = 100",
    );
    assert!(
        names(&lines, "record 3 (") && names(&lines, "record 5 ("),
        "{lines:#?}"
    );

    let lines = damaged_by(
        "INSERT INTO record SELECT 11, kind, body, attachment, prev, hash FROM record WHERE seq = 5",
    );
    assert!(names(&lines, "record 11 ("), "{lines:#?}");

    let lines = damaged_by(
        "INSERT INTO record SELECT 11, 'note', '{}', NULL, hash, hash FROM record WHERE seq = 10",
    );
    assert!(
        names(&lines, "record 11 (note): its content does not match"),
        "{lines:#?}"
    );

    let lines = damaged_by("DELETE FROM record");
    assert!(names(&lines, "evidence.db: it has no record"), "{lines:#?}");
}

#[test]
fn a_changed_schema_is_named() {
    for (sql, subject) in [
        ("DROP VIEW flows", "schema of evidence.db, flows: missing"),
        (
            "DROP VIEW notes; CREATE VIEW notes AS SELECT 1",
            "schema of evidence.db, notes: defined otherwise",
        ),
        (
            "CREATE TABLE extra(x)",
            "schema of evidence.db, extra: not part",
        ),
        (
            "CREATE INDEX extra ON record(kind)",
            "schema of evidence.db, extra: not part",
        ),
        ("ANALYZE", "schema of evidence.db, sqlite_stat1: not part"),
        (
            "PRAGMA application_id = 1",
            "schema of evidence.db, application_id: is 1",
        ),
    ] {
        let lines = damaged_by(sql);
        assert!(names(&lines, subject), "{sql}: {lines:#?}");
    }
    let dir = folder();
    let case = dir.path().join("case");
    sample(&case);
    Connection::open(case.join("evidence.db"))
        .unwrap()
        .execute_batch("DROP TRIGGER record_is_not_deleted")
        .unwrap();
    assert!(names(
        &damages(&case),
        "schema of evidence.db, record_is_not_deleted"
    ));
}

#[test]
fn changed_files_are_named() {
    let change = |act: &dyn Fn(&Path)| {
        let dir = folder();
        let case = dir.path().join("case");
        sample(&case);
        act(&case);
        damages(&case)
    };
    let lines = change(&|case| fs::write(case.join("rules/india.toml"), "version = 2\n").unwrap());
    assert!(
        names(&lines, "file rules/india.toml: changed since record 1"),
        "{lines:#?}"
    );
    let lines = change(&|case| fs::remove_file(case.join("data.json")).unwrap());
    assert_eq!(lines, ["file data.json: missing"]);
    let lines = change(&|case| {
        let path = case.join("inventory/packages.list");
        fs::rename(&path, case.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(case.join("elsewhere"), path).unwrap();
    });
    assert_eq!(
        lines,
        ["file inventory/packages.list: not an ordinary file"]
    );
    let lines = change(&|case| {
        let path = case.join("case.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("inspect", "live")).unwrap();
    });
    assert!(
        names(&lines, "file case.json: it is not the case"),
        "{lines:#?}"
    );
    let lines = change(&|case| fs::write(case.join("case.json"), "{").unwrap());
    assert!(
        names(&lines, "file case.json: cannot be read"),
        "{lines:#?}"
    );
    let lines = change(&|case| fs::remove_file(case.join("evidence.db")).unwrap());
    assert_eq!(lines, ["evidence.db: missing"]);
    let lines = change(&|case| fs::write(case.join("evidence.db"), [7; 5000]).unwrap());
    assert!(names(&lines, "evidence.db: cannot be read"), "{lines:#?}");
}

#[test]
fn a_database_of_another_case_is_named() {
    let dir = folder();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    sample(&one);
    let mut files = super::files();
    files.data = b"[]\n".to_vec();
    let meta =
        sakshi::evidence::CaseMeta::new([8; 16], super::Timestamp::default(), "x", "inspect");
    drop(
        sakshi::evidence::Case::create(&two, meta, &files, &sakshi::evidence::Signing::system())
            .unwrap(),
    );
    fs::copy(two.join("evidence.db"), one.join("evidence.db")).unwrap();
    let lines = damages(&one);
    assert!(
        names(&lines, "file case.json: ") && names(&lines, "file data.json: "),
        "{lines:#?}"
    );
}

#[test]
fn damaged_pages_give_damage_and_no_crash() {
    let original = folder();
    let case = original.path().join("case");
    sample(&case);
    let bytes = fs::read(case.join("evidence.db")).unwrap();
    for step in 0..60 {
        let altered = folder();
        copy(&case, altered.path());
        let mut changed = bytes.clone();
        let at = 100 + step * 257 % (bytes.len() - 100);
        changed[at..]
            .iter_mut()
            .take(16)
            .for_each(|byte| *byte ^= 0x5a);
        fs::write(altered.path().join("evidence.db"), changed).unwrap();
        // Bytes that hold nothing may change; what is intact must read as before.
        let verify = |dir| sakshi::evidence::verify(dir, &mut |_| ());
        if let Ok(found @ sakshi::evidence::Verification::Intact(_)) = verify(altered.path()) {
            assert_eq!(found, check(&case), "{at}");
        }
    }
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let dir = folder();
    let case = dir.path().join("case");
    sample(&case);
    Connection::open(case.join("evidence.db"))
        .unwrap()
        .execute_batch("PRAGMA user_version = 9")
        .unwrap();
    let errors = [
        super::open(&case).map(|_| ()).unwrap_err(),
        sakshi::evidence::Reader::open(&case)
            .map(|_| ())
            .unwrap_err(),
    ];
    for error in &errors {
        assert!(matches!(error, StoreError::NewerSchema { .. }));
    }
    let verified = sakshi::evidence::verify(&case, &mut |_| ()).unwrap_err();
    assert!(matches!(
        verified,
        sakshi_verifier::VerifyError::Newer { .. }
    ));
    let said = errors.iter().map(ToString::to_string);
    for error in said.chain([verified.to_string()]) {
        assert!(error.contains("version 9, this version of sakshi reads up to 2"));
    }
}

#[test]
fn reading_changes_no_byte_with_a_writer_and_after_a_kill() {
    let dir = folder();
    let case = dir.path().join("case");
    let mut store = create(&case);
    store.append(&[session(1), note("hot")]).unwrap();
    let before = contents(&case);
    assert!(!before[&case.join("evidence.db-wal").display().to_string()].is_empty());
    let read = |case: &Path| {
        assert_eq!(intact(case).records, 6);
        let reader = sakshi::evidence::Reader::open(case).unwrap();
        assert_eq!(reader.records(&[]).count(), 6);
    };
    read(&case);
    assert_eq!(contents(&case), before);
    // As a kill leaves it: the log is there and nobody holds the lock.
    let killed = dir.path().join("killed");
    copy(&case, &killed);
    let _ = fs::remove_file(killed.join("evidence.db-shm"));
    let before = contents(&killed);
    read(&killed);
    assert_eq!(contents(&killed), before);
    drop(store);
    // Closed in order: read in place.
    let before = contents(&case);
    read(&case);
    assert_eq!(contents(&case), before);
    // Its session has no stop record.
    assert!(matches!(
        check(&case),
        sakshi::evidence::Verification::Incomplete(_)
    ));
}
