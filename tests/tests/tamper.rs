//! Whatever single value of whatever record is changed, `verify` names that record.
//!
//! A real case, made by the program, is changed in one place at a time: every column of every
//! record, every leaf of its body (written again canonically, so that only the value differs), and
//! its attachment. `SAKSHI_TAMPER_ALL=1` tries all leaves; else each record's columns and every
//! [`STRIDE`]th leaf.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, params, types::Value as Sql};
use sakshi::{
    evidence::{
        self, Case, CaseFiles, CaseMeta, Draft, ExhibitBody, Hash, Kind, Reader, Record, Signing,
        Store, StoreOptions, StoreThread, Verification,
        bundle::{SealedBody, Tool},
        record_hash, schema,
        verify::Subject,
    },
    platform::clock::SystemClock,
    time::Timestamp,
};
use sakshi_tests::{daemon, handset::Handset, live_possible, sample, scenes};
use serde_json::{Value, json};

/// Of the leaves of all bodies, one in so many is tried when not all are asked for.
const STRIDE: usize = 5;
/// The trigger that refuses updates.
const TRIGGER: &str = "record_is_not_changed";

/// One changed value.
#[derive(Debug, Clone)]
struct Change {
    column: &'static str,
    value: Sql,
    what: String,
}

impl Change {
    fn new(column: &'static str, value: impl Into<Sql>, what: impl Into<String>) -> Self {
        Self {
            column,
            value: value.into(),
            what: what.into(),
        }
    }
}

/// A copy of a case in which one value after the other is changed.
struct Bench {
    case: PathBuf,
    /// The parts of its database: path, first record, bytes.
    pristine: Vec<(PathBuf, i64, Vec<u8>)>,
    trigger: &'static str,
}

/// The parts of a case's database. Each but the first begins with the record that closes the one
/// before.
fn parts(case: &Path) -> Vec<(PathBuf, i64, Vec<u8>)> {
    let rolled = records(case).into_iter();
    let rolled = rolled.filter(|record| record.kind == Kind::ROLLED);
    let firsts = std::iter::once(1).chain(rolled.map(|record| record.seq));
    let with_path = |(part, first)| {
        let path = case.join(match part {
            1 => "evidence.db".to_owned(),
            part => format!("evidence-{part:06}.db"),
        });
        let bytes = fs::read(&path).expect("a part of the database");
        (path, first, bytes)
    };
    (1..).zip(firsts).map(with_path).collect()
}

impl Bench {
    fn new(case: &Path) -> Self {
        let object = schema::OBJECTS.iter().find(|object| object.name == TRIGGER);
        Self {
            case: case.to_owned(),
            pristine: parts(case),
            trigger: object.expect("the trigger").sql,
        }
    }

    /// Makes changes to records, with the trigger out of the way meanwhile.
    fn apply(&self, changes: &[(i64, &Change)]) {
        self.restore();
        let (seq, _) = changes.first().expect("a change");
        let mut parts = self.pristine.iter().rev();
        let (path, ..) = parts.find(|(_, first, _)| first <= seq).expect("a part");
        let connection = Connection::open(path).expect("a database");
        let all = || -> rusqlite::Result<()> {
            connection.execute_batch(&format!(
                "PRAGMA synchronous = OFF; BEGIN; DROP TRIGGER {TRIGGER}"
            ))?;
            for (seq, change) in changes {
                let sql = format!("UPDATE record SET {} = ?1 WHERE seq = ?2", change.column);
                let rows = connection.execute(&sql, params![change.value, seq])?;
                assert_eq!(rows, 1, "{seq}: {change:?}");
            }
            connection.execute_batch(&format!("{}; COMMIT", self.trigger))
        };
        all().unwrap_or_else(|error| panic!("{changes:?}: {error}"));
    }

    fn restore(&self) {
        for (path, _, bytes) in &self.pristine {
            fs::write(path, bytes).expect("restored");
        }
    }

    /// What `verify` names.
    fn named(&self) -> Vec<Subject> {
        match evidence::verify(&self.case, &mut |_| ()).expect("verified") {
            Verification::Intact(_) | Verification::Incomplete(_) => Vec::new(),
            Verification::Damaged(damaged) => {
                let all = damaged.damages.into_iter();
                all.map(|damage| damage.subject).collect()
            }
        }
    }

    /// Makes one change; gives what is wrong with what `verify` says of it.
    fn attempt(&self, record: &Record, change: &Change) -> Option<String> {
        self.apply(&[(record.seq, change)]);
        let named = self.named();
        let is = |seq| move |subject: &Subject| matches!(subject, Subject::Record { seq: at, .. } if *at == seq);
        let complaint = |text: &str| {
            let (seq, kind) = (record.seq, &record.kind);
            Some(format!(
                "{text}: record {seq} ({kind}), {}: {named:?}",
                change.what
            ))
        };
        if change.column == "seq" {
            // The number that is gone, or the row that stands where none should.
            let gone = |subject: &Subject| matches!(subject, Subject::Records { from, to } if (*from..=*to).contains(&record.seq));
            let Sql::Integer(moved) = change.value else {
                return complaint("no number");
            };
            let found = named.iter().any(gone) || named.iter().any(is(moved));
            return if found { None } else { complaint("not named") };
        }
        if !named.iter().any(is(record.seq)) {
            return complaint("not named");
        }
        let others = |subject: &Subject| matches!(subject, Subject::Record { seq, .. } if *seq != record.seq);
        if named.iter().any(others) {
            return complaint("others are named, too");
        }
        None
    }
}

/// Every column, changed in the ways that its type allows.
fn columns(record: &Record) -> Vec<Change> {
    let seq = record.seq;
    let kind = record.kind.as_str();
    let mut changes = vec![
        Change::new("seq", seq + 1_000_000, "seq moved"),
        Change::new("seq", -seq, "seq negative"),
        Change::new("kind", format!("{kind}_"), "kind longer"),
        Change::new("kind", other_kind(kind).to_owned(), "another kind"),
        Change::new("body", format!("{} ", record.body), "body with a space"),
        Change::new("body", "{}".to_owned(), "body emptied"),
    ];
    for (column, hash) in [("prev", &record.prev), ("hash", &record.hash)] {
        for at in [0, 31] {
            let mut bytes = hash.as_bytes().to_vec();
            bytes[at] ^= 1;
            changes.push(Change::new(column, bytes, format!("{column}, byte {at}")));
        }
    }
    let mut attach = |value: Sql, what: &str| changes.push(Change::new("attachment", value, what));
    match &record.attachment {
        None => {
            attach(Vec::new().into(), "empty attachment");
            attach(vec![0].into(), "attachment of a byte");
        }
        Some(bytes) => {
            attach(Sql::Null, "no attachment");
            attach([&bytes[..], &[0]].concat().into(), "longer attachment");
            attach(
                bytes[..bytes.len() - 1].to_vec().into(),
                "shorter attachment",
            );
            for at in (0..bytes.len()).step_by(bytes.len().div_ceil(8).max(1)) {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                attach(bytes.into(), &format!("attachment, byte {at}"));
            }
        }
    }
    changes
}

fn other_kind(kind: &str) -> &'static str {
    if kind == "note" { "phase" } else { "note" }
}

/// Every leaf of a body, changed.
fn leaves(record: &Record) -> Vec<Change> {
    let body: Value = serde_json::from_str(&record.body).expect("JSON");
    let mut pointers = Vec::new();
    collect(&body, String::new(), &mut pointers);
    pointers
        .into_iter()
        .map(|pointer| {
            let mut changed = body.clone();
            let leaf = changed.pointer_mut(&pointer).expect("a leaf");
            *leaf = another(leaf);
            let text = evidence::canonical::to_canonical(&changed).expect("canonical");
            Change::new("body", text, pointer)
        })
        .collect()
}

fn collect(value: &Value, pointer: String, out: &mut Vec<String>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{key}"), out);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for (at, value) in values.iter().enumerate() {
                collect(value, format!("{pointer}/{at}"), out);
            }
        }
        _ => out.push(pointer),
    }
}

/// Another value in place of a leaf.
fn another(leaf: &Value) -> Value {
    match leaf {
        Value::Null => json!(0),
        Value::Bool(value) => json!(!value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => json!(number.checked_add(1).unwrap_or(0)),
            (None, Some(number)) => json!(number + 1),
            (None, None) => panic!("{number} is no integer"),
        },
        Value::String(text) => {
            let mut changed: Vec<char> = text.chars().collect();
            match changed.last_mut() {
                Some(last) => *last = if *last == '1' { '2' } else { '1' },
                None => changed.push('1'),
            }
            json!(changed.into_iter().collect::<String>())
        }
        Value::Array(_) => json!([0]),
        Value::Object(_) => json!({ "a": 0 }),
    }
}

fn records(case: &Path) -> Vec<Record> {
    let reader = Reader::open(case).expect("a case");
    let records = reader.records(&[]).map(|record| record.expect("a record"));
    records.collect()
}

/// Changes one value after the other; says how many changes there were.
fn tamper(case: &Path) {
    let all = std::env::var_os("SAKSHI_TAMPER_ALL").is_some_and(|value| value == "1");
    let records = records(case);
    let bench = Bench::new(case);
    assert_eq!(bench.named(), [], "the case is intact");
    let mut complaints = Vec::new();
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let mut left_out = 0;
    let mut number = 0;
    for record in &records {
        let leaves = leaves(record).into_iter().filter(|_| {
            number += 1;
            let tried = all || number % STRIDE == 0;
            left_out += usize::from(!tried);
            tried
        });
        for change in columns(record).iter().chain(&leaves.collect::<Vec<_>>()) {
            *made.entry(change.column).or_default() += 1;
            complaints.extend(bench.attempt(record, change));
        }
    }
    let kinds: std::collections::BTreeSet<&str> =
        records.iter().map(|record| record.kind.as_str()).collect();
    println!(
        "{} changes of {} records of {} kinds, by column {made:?}; {left_out} leaves left out",
        made.values().sum::<usize>(),
        records.len(),
        kinds.len()
    );
    assert_eq!(complaints, Vec::<String>::new());
    bench.restore();
    assert_eq!(bench.named(), [], "the case is intact again");
}

/// A body of each kind about kept packets, and about what was done with the case.
fn kinds_of_packets() -> Vec<(Kind, Value)> {
    let at = "2026-11-24T05:00:00.000000Z";
    vec![
        (
            Kind::SEGMENT,
            json!({"path": "packets/000001.pcapng", "bytes": 7, "sha256": "0".repeat(64)}),
        ),
        (
            Kind::SEGMENT_DROPPED,
            json!({"at": at, "path": "packets/000001.pcapng", "reason": "quota"}),
        ),
        (
            Kind::PACKETS,
            json!({"at": at, "contact": "1-1", "frames": [1, 2], "segment": null}),
        ),
        (
            Kind::EXPORT,
            json!({"at": at, "what": "flows", "redacted": false}),
        ),
        (Kind::PROBE, json!({"at": at, "sent": 3, "found": 3})),
        (
            Kind::VALIDATION,
            json!({"at": at, "kernel": "6.1", "wrong": 0}),
        ),
    ]
}

/// A body of each kind that only a live watch, or a person, writes.
fn kinds_of_a_live_watch() -> Vec<(Kind, Value)> {
    let at = "2026-11-24T05:00:00.000000Z";
    let app = json!({"appid": 10_050, "class": "user", "package": "com.sample.new"});
    vec![
        (
            Kind::SESSION,
            json!({"session": 2, "at": at, "handset": []}),
        ),
        (
            Kind::INVENTORY,
            json!({"at": at, "changed": [app], "removed": ["a"]}),
        ),
        (
            Kind::APK,
            json!({"at": at, "package": "com.sample.new", "bytes": 7, "sha256": null}),
        ),
        (Kind::PHASE, json!({"at": at, "name": "idle"})),
        (Kind::NOTE, json!({"at": at, "text": "ü ≠ \"u\"\n"})),
        (
            Kind::INTERFACE,
            json!({"at": at, "happening": "added", "interface": {"name": "tun0", "holders": [1]}}),
        ),
        (
            Kind::COUNTERS,
            json!({"at": at, "interfaces": [{"name": "wlan0", "tx_packets": 7}]}),
        ),
        (
            Kind::SUSPENSION,
            json!({"at": at, "from": at, "suspended_us": 1_000_000}),
        ),
        (
            Kind::REPAIR,
            json!({"at": at, "rules": 2, "before": -3, "again": true}),
        ),
        (
            Kind::DEGRADED,
            json!({"at": at, "of": {}, "most": u64::MAX}),
        ),
        (
            Kind::DOCTOR,
            json!({"at": at, "lines": [{"key": "nflog", "verdict": "ok"}], "kernel": "6.1"}),
        ),
        (
            Kind::AUTHORITY,
            json!({"at": at, "owner": "FSL", "device": {"imei": ["490154203237518"]}}),
        ),
        (
            Kind::CUSTODY,
            json!({"at": at, "who": "A. Rao", "seal": null}),
        ),
        (
            Kind::DEVICE,
            json!({"at": at, "kernel": {"value": "6.1", "read_from": "uname -r"}}),
        ),
        (
            Kind::OBSERVATION,
            json!({"at": at, "facts": {"state": "on"}, "source": "shim", "topic": "screen"}),
        ),
        (
            Kind::UNCLEAN_STOP,
            json!({"session": 2, "recovered": 0, "noticed": at}),
        ),
    ]
}

/// A signed case of the sample; kinds that only a live watch writes are added through the store.
fn sample_case(dir: &Path) -> PathBuf {
    let case = dir.join("case");
    let meta = CaseMeta::new([3; 16], None, "sakshi test", "prepared");
    let prepared = Case::create(&case, meta, &CaseFiles::default(), &Signing::system());
    drop(prepared.expect("prepared"));
    let arguments = sample::write(dir).expect("written").inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    let mut store = Store::open(&case, &Signing::system()).expect("the case");
    let files = CaseFiles {
        rules: vec![("other.toml".to_owned(), b"schema = 1\n".to_vec())],
        inventory: vec![],
        places: Vec::new(),
        data: b"{}".to_vec(),
    };
    store.append_files(&files).expect("appended");
    // The rest goes into a second part.
    let mut options = StoreOptions::new(Arc::new(SystemClock), Arc::new(|_| ()));
    options.roll_bytes = 1;
    let thread = StoreThread::spawn(store, options).expect("a thread");
    let mut store = thread.stop().expect("rolled");
    let picture = dir.join("screen.png");
    fs::write(&picture, "a screen").expect("a picture");
    let file = store.case().keep_exhibit(&picture).expect("kept");
    let exhibit = ExhibitBody {
        at: Timestamp::default(),
        file,
    };
    let exhibit = serde_json::to_value(&exhibit).expect("JSON");
    let drafts: Vec<Draft> = kinds_of_a_live_watch()
        .into_iter()
        .chain([(Kind::EXHIBIT, exhibit)])
        .chain(kinds_of_packets())
        .map(|(kind, body)| {
            // Attachments are part of what is changed.
            let draft = Draft::new(kind.clone(), &body).expect("canonical");
            if kind == Kind::NOTE {
                return draft.with_attachment(b"a photograph".to_vec());
            }
            draft
        })
        .collect();
    store.append(&drafts).expect("appended");
    let sealed = SealedBody {
        at: Timestamp::default(),
        session: 1,
        tool: Tool {
            sha256: Hash::ZERO,
            version: "0".to_owned(),
        },
    };
    store.seal(&sealed).expect("sealed");
    case
}

#[test]
fn every_changed_value_of_a_case_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = sample_case(dir.path());
    let kinds = records(&case).into_iter().map(|record| record.kind);
    let kinds: std::collections::BTreeSet<Kind> = kinds.collect();
    assert_eq!(
        kinds,
        Kind::ALL.iter().cloned().collect(),
        "one of every kind"
    );
    tamper(&case);
}

#[test]
fn every_changed_value_of_a_live_case_is_named() {
    if !live_possible("every_changed_value_of_a_live_case_is_named") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let start = || daemon::Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let daemon = start();
    daemon.phase(scenes::IDLE).expect("a phase");
    daemon.note("to be killed").expect("a note");
    scenes::all()[0].play(&handset).expect("played");
    daemon.kill().expect("killed");
    start().stop().expect("a summary");
    tamper(&case);
}

#[test]
fn a_record_made_anew_breaks_the_link_of_the_next() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = sample_case(dir.path());
    let bench = Bench::new(&case);
    let records = records(&case);
    for pair in records.windows(2).step_by(7) {
        let [record, next] = pair else { continue };
        let Some(change) = leaves(record).pop() else {
            continue;
        };
        let Sql::Text(body) = &change.value else {
            panic!("{change:?}");
        };
        let hash = record_hash(
            &record.prev,
            record.seq,
            record.kind.as_str().as_bytes(),
            body.as_bytes(),
            record.attachment.as_deref(),
        );
        let rehashed = Change::new("hash", hash.as_bytes().to_vec(), "hash made anew");
        bench.apply(&[(record.seq, &change), (record.seq, &rehashed)]);
        let named = bench.named();
        let found =
            |subject: &Subject| matches!(subject, Subject::Record { seq, .. } if *seq == next.seq);
        assert!(
            named.iter().any(found),
            "record {} unnoticed: {named:?}",
            record.seq
        );
    }
}
