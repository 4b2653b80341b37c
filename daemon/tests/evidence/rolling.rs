//! A database that has grown goes on in a next part, and all parts read as one.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, params};
use sakshi::{
    evidence::{
        Draft, Hash, Head, Kind, LastSession, Reader, RolledBody, Store, StoreError, StoreOptions,
        StoreThread, Urgency, bundle::named_files, record_hash,
    },
    platform::clock::SystemClock,
};
use serde_json::json;

use super::{Path, check, contents, create, damages, draft, folder, intact, note, open, session};

/// Small enough for a few notes.
const PART: u64 = 120_000;

fn long(number: usize) -> Draft {
    draft(
        Kind::NOTE,
        &json!({"text": number.to_string(), "filler": "x".repeat(9_000)}),
    )
}

/// A thread that rolls soon, and the heads that it tells.
fn spawn(store: Store) -> (StoreThread, Arc<Mutex<Vec<Head>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let mut options = StoreOptions::new(
        Arc::new(SystemClock),
        Arc::new(move |head| seen.lock().unwrap().push(head)),
    );
    options.interval = Duration::from_hours(1);
    options.roll_bytes = PART;
    (StoreThread::spawn(store, options).unwrap(), heads)
}

/// Writes notes, each acknowledged, and says where each stands.
fn write(thread: &StoreThread, count: usize) -> Vec<i64> {
    let sender = thread.sender();
    (0..count)
        .map(|number| {
            let receipt = sender
                .append_acknowledged(vec![long(number)], Urgency::AtOnce)
                .unwrap();
            let committed = receipt.wait().unwrap();
            assert_eq!(committed.first, committed.last);
            committed.first
        })
        .collect()
}

/// A case of several parts whose session ended.
fn rolled(case: &Path) -> Vec<i64> {
    let mut store = create(case);
    store.append(&[session(1)]).unwrap();
    let (thread, _) = spawn(store);
    let seqs = write(&thread, 40);
    let mut store = thread.stop().unwrap();
    store
        .append(&[draft(Kind::STOP, &json!({"session": 1}))])
        .unwrap();
    seqs
}

fn parts(case: &Path) -> Vec<String> {
    let names = contents(case).into_keys();
    let mut parts: Vec<String> = names
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .filter(|name| name.starts_with("evidence"))
        .collect();
    // `evidence-000002.db` sorts before `evidence.db`.
    parts.sort_by_key(|name| (name != "evidence.db", name.clone()));
    parts
}

#[test]
fn a_large_database_goes_on_in_parts_that_read_as_one() {
    let dir = folder();
    let case = dir.path().join("case");
    let seqs = rolled(&case);
    let names = parts(&case);
    assert!(names.len() > 3, "{names:?}");
    assert_eq!(names[..2], ["evidence.db", "evidence-000002.db"]);

    let reader = Reader::open(&case).unwrap();
    for (number, seq) in seqs.iter().enumerate() {
        let record = reader.record(*seq).unwrap().unwrap();
        assert!(record.body.contains(&format!("\"text\":\"{number}\"")));
    }
    let all: Vec<i64> = reader
        .records(&[])
        .map(|record| record.unwrap().seq)
        .collect();
    let head = reader.head().unwrap();
    assert_eq!(all, (1..=head.seq).collect::<Vec<_>>());
    assert_eq!(reader.count(&[]).unwrap(), all.len() as u64);
    assert_eq!(reader.count(&[Kind::NOTE]).unwrap(), seqs.len() as u64);
    assert_eq!(reader.last(&Kind::CASE).unwrap().unwrap().seq, 1);
    let behind = reader.records_after(seqs[20], &[Kind::NOTE]);
    let behind: Vec<i64> = behind.map(|record| record.unwrap().seq).collect();
    assert_eq!(behind, seqs[21..]);
    // Every closed part is named by the next one, and a checkpoint stands behind.
    let entries = named_files(&reader).unwrap();
    for name in &names[..names.len() - 1] {
        let bytes = fs::read(case.join(name)).unwrap();
        assert_eq!(entries[name].sha256, Hash::of(&bytes), "{name}");
    }
    for record in reader.records(&[Kind::ROLLED]) {
        let next = reader.record(record.unwrap().seq + 1).unwrap().unwrap();
        assert_eq!(next.kind, Kind::CHECKPOINT);
        assert!(next.body.contains("\"reason\":\"roll\""), "{}", next.body);
    }

    let found = intact(&case);
    assert_eq!((found.head, found.unlisted), (head, vec![]));
    assert_eq!(check(&case).exit_code(), 0);
}

#[test]
fn a_case_of_several_parts_is_continued_and_read_meanwhile() {
    let dir = folder();
    let case = dir.path().join("case");
    rolled(&case);
    let before = parts(&case).len();
    let mut store = open(&case).unwrap();
    assert_eq!(store.last_session(), LastSession::Ended { session: 1 });
    assert_eq!(store.next_session(), 2);
    assert_eq!(store.bodies(&Kind::NOTE).unwrap().len(), 40);
    store.append(&[session(2)]).unwrap();
    let (thread, heads) = spawn(store);
    for _ in 0..4 {
        let seqs = write(&thread, 9);
        let reader = Reader::open(&case).unwrap();
        let head = *heads.lock().unwrap().last().unwrap();
        assert_eq!(reader.head().unwrap(), head);
        assert!(reader.record(seqs[0]).unwrap().is_some());
        assert_eq!(check(&case).exit_code(), 4);
    }
    drop(thread.stop().unwrap());
    assert!(parts(&case).len() > before + 1);
    // Not ended: the session before began parts ago.
    let store = open(&case).unwrap();
    let LastSession::Unclean { session: 2, .. } = store.last_session() else {
        panic!("{:?}", store.last_session());
    };
    let kept = contents(&case);
    drop(store);
    drop(Reader::open(&case).unwrap());
    for (name, bytes) in kept {
        if Path::new(&name).extension().is_some_and(|end| end == "db") {
            assert!(contents(&case)[&name] == bytes, "{name}");
        }
    }
}

#[test]
fn a_part_that_is_missing_changed_or_added_is_told_by_its_name() {
    let dir = folder();
    let case = dir.path().join("case");
    rolled(&case);
    for name in ["evidence.db", "evidence-000002.db"] {
        let path: PathBuf = case.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let said = damages(&case);
        let expected = if name == "evidence.db" {
            "evidence.db: missing".to_owned()
        } else {
            format!("file {name}: missing")
        };
        assert!(said.contains(&expected), "{said:#?}");
        let error = Reader::open(&case).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(matches!(open(&case), Err(StoreError::Corrupt { .. })));

        // A byte behind the last row of a page, which no record says anything of.
        let mut changed = bytes.clone();
        changed[4096 * 3 - 1] ^= 1;
        fs::write(&path, &changed).unwrap();
        let said = damages(&case);
        let found = said
            .iter()
            .any(|line| line.starts_with(&format!("file {name}: changed since record")));
        assert!(found, "{said:#?}");
        // What SQLite itself would read beside it is not read.
        fs::write(&path, &bytes).unwrap();
        let log = case.join(format!("{name}-wal"));
        fs::write(&log, "x").unwrap();
        assert_eq!(intact(&case).unlisted, [format!("{name}-wal")]);
        fs::remove_file(log).unwrap();
    }
    fs::write(case.join("evidence-000900.db"), "x").unwrap();
    let said = damages(&case);
    let unreadable = said
        .iter()
        .any(|line| line.starts_with("evidence-000900.db: cannot be read"));
    assert!(unreadable, "{said:#?}");
    fs::remove_file(case.join("evidence-000900.db")).unwrap();
    // Another case's part fits nowhere.
    let other = dir.path().join("other");
    rolled(&other);
    fs::copy(
        other.join("evidence-000002.db"),
        case.join("evidence-000002.db"),
    )
    .unwrap();
    assert!(!damages(&case).is_empty());
}

/// A case that is to roll next; its last record.
fn quiet(case: &Path) -> Head {
    let mut store = create(case);
    store.append(&[session(1), note("one")]).unwrap();
    let head = store.head();
    drop(store);
    head
}

/// Opens the case, writes, and finds everything in order.
fn goes_on(case: &Path) {
    let mut store = open(case).unwrap();
    store
        .append(&[note("two"), draft(Kind::STOP, &json!({"session": 1}))])
        .unwrap();
    drop(store);
    let found = intact(case);
    assert!(found.unlisted.is_empty(), "{found:?}");
    assert_eq!(check(case).exit_code(), 0);
    let reader = Reader::open(case).unwrap();
    assert_eq!(reader.count(&[Kind::NOTE]).unwrap(), 2);
}

fn leave_log(case: &Path) {
    let connection = Connection::open(case.join("evidence.db")).unwrap();
    connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .unwrap();
}

#[test]
fn a_roll_that_was_cut_off_before_the_next_part_had_its_name() {
    let dir = folder();
    let case = dir.path().join("case");
    let head = quiet(&case);
    // Its log left, half a next part written.
    leave_log(&case);
    fs::write(case.join("evidence.next"), "SQLite format 3").unwrap();
    assert_eq!(intact(&case).unlisted, ["evidence.next"]);
    assert_eq!(Reader::open(&case).unwrap().head().unwrap(), head);
    goes_on(&case);
    assert_eq!(parts(&case), ["evidence.db"]);
}

#[test]
fn a_roll_that_was_cut_off_before_its_checkpoint() {
    let dir = folder();
    let case = dir.path().join("case");
    let head = quiet(&case);
    leave_log(&case);
    let closed = fs::read(case.join("evidence.db")).unwrap();
    let rolled = RolledBody {
        bytes: closed.len() as u64,
        first: 1,
        last: head.seq,
        part: 2,
        path: "evidence.db".to_owned(),
        sha256: Hash::of(&closed),
    };
    let body = Draft::new(Kind::ROLLED, &rolled).unwrap();
    let seq = head.seq + 1;
    let hash = record_hash(&head.hash, seq, b"rolled", body.body().as_bytes(), None);
    let part = Connection::open(case.join("evidence-000002.db")).unwrap();
    part.execute_batch("PRAGMA application_id = 1397445448; PRAGMA user_version = 2")
        .unwrap();
    let schema = include_str!("../../../docs/evidence-schema.sql");
    for sql in schema.lines() {
        let base = format!("coalesce(max(seq), {})", head.seq);
        part.execute_batch(&sql.replace("coalesce(max(seq), 0)", &base))
            .unwrap();
    }
    part.execute(
        "INSERT INTO record VALUES(?1, 'rolled', ?2, NULL, ?3, ?4)",
        params![
            seq,
            body.body(),
            head.hash.as_bytes().as_slice(),
            hash.as_bytes().as_slice()
        ],
    )
    .unwrap();
    drop(part);
    assert_eq!(intact(&case).unlisted, Vec::<String>::new());
    assert_eq!(check(&case).exit_code(), 4);
    assert_eq!(
        Reader::open(&case).unwrap().head().unwrap(),
        Head { seq, hash }
    );
    goes_on(&case);
    assert_eq!(parts(&case), ["evidence.db", "evidence-000002.db"]);
}

#[test]
fn a_part_that_somebody_has_open_is_closed_later() {
    let dir = folder();
    let case = dir.path().join("case");
    let mut store = create(&case);
    store.append(&[session(1)]).unwrap();
    let (thread, _) = spawn(store);
    write(&thread, 3);
    let onlooker = Connection::open(case.join("evidence.db")).unwrap();
    let count: i64 = onlooker
        .query_row("SELECT count(*) FROM notes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 3);
    write(&thread, 30);
    assert!(!parts(&case).contains(&"evidence-000002.db".to_owned()));
    drop(onlooker);
    write(&thread, 2);
    assert!(parts(&case).contains(&"evidence-000002.db".to_owned()));
    drop(thread.stop().unwrap());
    assert_eq!(
        Reader::open(&case).unwrap().count(&[Kind::NOTE]).unwrap(),
        35
    );
}
