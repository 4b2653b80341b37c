//! The evidence room at its boundary: cases are written, damaged, killed and read back.

mod rolling;
mod signing;
mod tamper;
mod writing;

use std::{collections::BTreeMap, fs, path::Path};

use sakshi::{
    evidence::{
        Case, CaseFiles, CaseMeta, Draft, Hash, Head, Kind, Signing, Store, StoreError,
        Verification, journal::JournalWriter,
    },
    input::{Event, Input},
    time::Timestamp,
};
use serde_json::json;
use tempfile::TempDir;

/// A folder for a case that is removed afterwards.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn files() -> CaseFiles {
    CaseFiles {
        rules: vec![("india.toml".to_owned(), b"version = 1\n".to_vec())],
        inventory: vec![("packages.list".to_owned(), b"com.example 10050\n".to_vec())],
        places: Vec::new(),
        data: b"{}\n".to_vec(),
    }
}

/// A signed case, without a session.
pub(crate) fn create(dir: &Path) -> Store {
    create_as(dir, "live")
}

fn create_as(dir: &Path, mode: &str) -> Store {
    let created = Timestamp::from_micros(1_795_513_311_000_000);
    let meta = CaseMeta::new([7; 16], created, "sakshi test", mode);
    Case::create(dir, meta, &files(), &Signing::system()).unwrap()
}

/// Opens a case to go on with it.
pub(crate) fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, &Signing::system())
}

pub(crate) fn draft(kind: Kind, body: &serde_json::Value) -> Draft {
    Draft::new(kind, body).unwrap()
}

pub(crate) fn session(number: u64) -> Draft {
    draft(Kind::SESSION, &json!({ "session": number }))
}

pub(crate) fn note(text: &str) -> Draft {
    draft(
        Kind::NOTE,
        &json!({"at": "2026-11-24T09:41:51.000000Z", "text": text}),
    )
}

pub(crate) fn journal_block(inputs: i64) -> Draft {
    let mut writer = JournalWriter::new();
    for nanos in 0..inputs {
        let tick = Event::Tick(Timestamp::from_nanos(nanos));
        writer.push(&Input::Event(&tick), 0).unwrap();
    }
    writer.close().unwrap().unwrap().into_draft().unwrap()
}

/// An unsigned case with one record of several kinds, written and closed.
pub(crate) fn sample(dir: &Path) {
    let mut store = create_as(dir, "inspect");
    let owner = json!({"uid": 10050, "basis": "nflog"});
    let flow =
        json!({"proto": "tcp", "dst": "13.228.0.1", "dport": 443, "owner": owner, "end": "x"});
    let finding = json!({"contact": "1-1", "rule": "in.outside", "outcome": "finding"});
    store
        .append(&[
            session(1),
            draft(Kind::PHASE, &json!({"name": "idle"})),
            draft(Kind::GAP, &json!({"cause": "kernel_loss", "packets": 3})),
            note("first"),
            draft(Kind::FLOW, &flow),
            draft(Kind::FINDING, &finding),
            journal_block(5),
            note("last").with_attachment(b"photo".to_vec()),
            draft(Kind::STOP, &json!({})),
        ])
        .unwrap();
}

pub(crate) fn check(dir: &Path) -> Verification {
    sakshi::evidence::verify(dir, &mut |_| ()).unwrap()
}

/// A case without damage, in the types of the writing side.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Intact {
    pub(crate) records: u64,
    pub(crate) head: Head,
    pub(crate) ended: bool,
    pub(crate) unlisted: Vec<String>,
}

/// What `verify` says of a case that has no damage, complete or not.
pub(crate) fn intact(dir: &Path) -> Intact {
    match check(dir) {
        Verification::Intact(found) | Verification::Incomplete(found) => Intact {
            records: found.records,
            head: Head {
                seq: found.head.seq,
                hash: Hash::from_slice(found.head.hash.as_bytes()).unwrap(),
            },
            ended: found.ended,
            unlisted: found.unlisted,
        },
        Verification::Damaged(damaged) => panic!("{damaged:#?}"),
    }
}

/// What `verify` says of a damaged case, a line each.
pub(crate) fn damages(dir: &Path) -> Vec<String> {
    match check(dir) {
        Verification::Intact(found) | Verification::Incomplete(found) => {
            panic!("no damage: {found:?}")
        }
        Verification::Damaged(damaged) => damaged.damages.iter().map(ToString::to_string).collect(),
    }
}

/// Every file below `dir` with its bytes.
pub(crate) fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Copies a folder, hot log included.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
