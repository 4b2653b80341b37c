//! Checkpoints: when they are made, that each signature holds, and that one key at a time is there.
//!
//! Signatures are checked here from the text of `docs/evidence-format.md`, not with the writer's code.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};
use sakshi::{
    evidence::{
        Case, CaseMeta, Kind, Reader, Record, Signing, Store, StoreError, StoreOptions,
        StoreThread, Urgency,
        signing::{KEY_FILE, KeySource, Reason},
    },
    platform::clock::{Clock, SystemClock},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{Path, copy, create, draft, files, folder, intact, note, open, sample, session};

/// 1, 2, 3 … in every byte.
#[derive(Default)]
struct Counted(AtomicI64);

impl KeySource for Counted {
    fn seed(&self) -> std::io::Result<[u8; 32]> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok([u8::try_from(count).unwrap(); 32])
    }
}

/// A clock that a test moves.
#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.monotonic_nanos())
    }

    fn monotonic_nanos(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn body(record: &Record) -> Value {
    serde_json::from_str(&record.body).unwrap()
}

/// Checks every signature of a case; gives the reasons in order, and how many records stand behind
/// the last checkpoint.
fn checkpoints(dir: &Path) -> (Vec<String>, i64) {
    let mut key: Option<PublicKey> = None;
    let (mut reasons, mut vouched, mut last) = (Vec::new(), 0, 0);
    for record in Reader::open(dir).unwrap().records(&[]) {
        let record = record.unwrap();
        last = record.seq;
        match record.kind.as_str() {
            "key" => {
                let body = body(&record);
                assert_eq!((record.seq, &body["algorithm"]), (2, &json!("ed25519")));
                key = Some(PublicKey::from_slice(&bytes(&body["public"])).unwrap());
            }
            "checkpoint" => {
                let mut body = body(&record);
                let signature = body.as_object_mut().unwrap().remove("signature").unwrap();
                let text = serde_json::to_string(&body).unwrap();
                let mut message = b"sakshi checkpoint 1\n".to_vec();
                message.extend(record.prev.as_bytes());
                message.extend(record.seq.to_be_bytes());
                message.extend((text.len() as u64).to_be_bytes());
                message.extend(text.bytes());
                let signature = Signature::from_slice(&bytes(&signature)).unwrap();
                key.unwrap().verify(&message, &signature).unwrap();
                key = PublicKey::from_slice(&bytes(&body["next"])).ok();
                reasons.push(body["reason"].as_str().unwrap().to_owned());
                vouched = record.seq;
            }
            _ => {}
        }
    }
    (reasons, last - vouched)
}

/// The private keys in the file, by slot; none for an empty one.
fn slots(dir: &Path) -> [Option<Vec<u8>>; 2] {
    let file = fs::read(dir.join(KEY_FILE)).unwrap();
    [0, 4096].map(|at| {
        let seed = file[at..at + 32].to_vec();
        (seed != [0; 32]).then_some(seed)
    })
}

fn write_slot(dir: &Path, slot: usize, seed: [u8; 32]) {
    let path = dir.join(KEY_FILE);
    let mut file = fs::read(&path).unwrap();
    file[slot * 4096..slot * 4096 + 32].copy_from_slice(&seed);
    fs::write(&path, file).unwrap();
}

#[test]
fn a_case_is_signed_from_its_start_and_an_inspection_never() {
    let dir = folder();
    let case = dir.path().join("case");
    drop(create(&case));
    assert_eq!(checkpoints(&case), (vec!["case".to_owned()], 0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&case.join(KEY_FILE)), 0o600);
    assert!(intact(&case).unlisted.is_empty());

    let unsigned = dir.path().join("unsigned");
    sample(&unsigned);
    assert_eq!(checkpoints(&unsigned).0, [""; 0]);
    assert!(!unsigned.join(KEY_FILE).exists());
    // An inspection of the same files is the same database, byte for byte.
    let again = dir.path().join("again");
    sample(&again);
    let database = |case: &Path| fs::read(case.join("evidence.db")).unwrap();
    assert_eq!(database(&unsigned), database(&again));
}

#[test]
fn each_turn_of_a_watch_is_vouched_for() {
    let dir = folder();
    let case = dir.path().join("case");
    let mut store = create(&case);
    store.append(&[session(1), note("x")]).unwrap();
    store.append(&[note("y")]).unwrap();
    assert_eq!((store.unvouched(), checkpoints(&case).1), (1, 1));
    let phase = draft(Kind::PHASE, &json!({"name": "idle"}));
    store.append(&[phase, note("z")]).unwrap();
    store.append(&[draft(Kind::STOP, &json!({}))]).unwrap();
    store.append_files(&files()).unwrap();
    store
        .append(&[draft(Kind::CUSTODY, &json!({"who": "A. Rao"}))])
        .unwrap();
    store.append_vouched(&[], Reason::Reserve).unwrap();
    drop(store);
    let (reasons, left) = checkpoints(&case);
    assert_eq!(
        reasons.join(" "),
        "case session phase stop records records reserve"
    );
    assert_eq!(left, 0);
}

#[test]
fn a_thousand_records_are_vouched_for_at_once() {
    let dir = folder();
    let case = dir.path().join("case");
    let mut store = create(&case);
    let mut most = 0;
    for _ in 0..60 {
        let batch: Vec<_> = (0..70).map(|_| note("busy")).collect();
        store.append(&batch).unwrap();
        most = most.max(store.unvouched());
    }
    assert!(most < 1000, "{most}");
    let (reasons, _) = checkpoints(&case);
    assert_eq!(reasons.join(" "), "case records records records records");
}

#[test]
fn records_wait_a_minute_at_most_and_nothing_is_written_while_idle() {
    let dir = folder();
    let case = dir.path().join("case");
    let clock = Arc::new(Hand::default());
    let mut options = StoreOptions::new(Arc::clone(&clock) as _, Arc::new(|_| ()));
    // Each message is a commit of its own, and the hand decides what a minute is.
    options.interval = Duration::ZERO;
    let thread = StoreThread::spawn(create(&case), options).unwrap();
    let sender = thread.sender();
    let second = |at: i64| {
        clock.0.store(at * 1_000_000_000, Ordering::Relaxed);
        sender.append(vec![note("x")], Urgency::AtOnce).unwrap();
        sender.flush().unwrap();
        checkpoints(&case).0.len()
    };
    assert_eq!([second(1), second(30), second(60)], [1, 1, 1]);
    assert_eq!([second(61), second(120), second(179)], [2, 2, 2]);
    assert_eq!(second(180), 3);
    let store = thread.stop().unwrap();
    assert_eq!(store.unvouched(), 0);
    let head = store.head();

    // Records that nothing follows are vouched for as well, once, without a message.
    let mut options = StoreOptions::new(Arc::new(SystemClock), Arc::new(|_| ()));
    options.checkpoint_interval = Duration::from_millis(20);
    let thread = StoreThread::spawn(store, options).unwrap();
    thread
        .sender()
        .append(vec![note("alone")], Urgency::AtOnce)
        .unwrap();
    while checkpoints(&case).0.len() < 4 {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(100));
    let store = thread.stop().unwrap();
    assert_eq!(store.head().seq, head.seq + 2);
    assert!(checkpoints(&case).0.ends_with(&["interval".to_owned()]));
}

#[test]
fn one_key_is_there_and_no_earlier_one() {
    let dir = folder();
    let case = dir.path().join("case");
    let keys = Arc::new(Counted::default());
    let clock = Arc::new(Hand(AtomicI64::new(5_000)));
    let signing = Signing::new(keys, Some(clock));
    let meta = CaseMeta::new([7; 16], None, "sakshi test", "live");
    let mut store = Case::create(&case, meta, &files(), &signing).unwrap();
    for number in 2..20_u8 {
        let found: Vec<_> = slots(&case).into_iter().flatten().collect();
        assert_eq!(found, [vec![number; 32]]);
        store
            .append_vouched(&[note("x")], Reason::Interval)
            .unwrap();
    }
    drop(store);
    let file = fs::read(case.join(KEY_FILE)).unwrap();
    assert_eq!(file.iter().filter(|byte| **byte != 0).count(), 32);
    let record = Reader::open(&case).unwrap().record(3).unwrap().unwrap();
    assert_eq!(body(&record)["at"], "1970-01-01T00:00:00.000005Z");
    let second = KeyPair::from_seed(Seed::new([2; 32]));
    assert_eq!(bytes(&body(&record)["next"]), second.pk.as_slice());
}

#[test]
fn a_crash_on_either_side_of_the_commit_leaves_the_right_key() {
    let dir = folder();
    let case = dir.path().join("case");
    let keys = Arc::new(Counted::default());
    let signing = Signing::new(keys, None);
    let meta = CaseMeta::new([7; 16], None, "sakshi test", "live");
    drop(Case::create(&case, meta, &files(), &signing).unwrap());
    let current = slots(&case).iter().position(Option::is_some).unwrap();
    // Before: the next key is on the disk, and no record names it.
    write_slot(&case, 1 - current, [99; 32]);
    drop(Store::open(&case, &signing).unwrap());
    assert_eq!(slots(&case)[current], Some(vec![2; 32]));
    assert_eq!(slots(&case)[1 - current], None);
    // After: the key that was used is still there.
    let used: [u8; 32] = slots(&case)[current].clone().unwrap().try_into().unwrap();
    let mut store = Store::open(&case, &signing).unwrap();
    store
        .append_vouched(&[note("x")], Reason::Interval)
        .unwrap();
    drop(store);
    write_slot(&case, current, used);
    let mut store = Store::open(&case, &signing).unwrap();
    assert_eq!(slots(&case)[current], None);
    store
        .append_vouched(&[note("y")], Reason::Interval)
        .unwrap();
    drop(store);
    assert_eq!(checkpoints(&case).0.len(), 3);
}

#[test]
fn without_its_key_a_case_is_not_continued() {
    let dir = folder();
    let case = dir.path().join("case");
    drop(create(&case));
    let older = dir.path().join("older");
    copy(&case, &older);
    let mut store = open(&case).unwrap();
    store
        .append_vouched(&[note("x")], Reason::Interval)
        .unwrap();
    drop(store);
    // An older key, a wrong one, a short file, none.
    fs::copy(older.join(KEY_FILE), case.join(KEY_FILE)).unwrap();
    for file in [None, Some(vec![7; 8192]), Some(vec![7; 10]), Some(vec![])] {
        if let Some(bytes) = file {
            fs::write(case.join(KEY_FILE), bytes).unwrap();
        }
        let error = open(&case).unwrap_err();
        assert!(matches!(error, StoreError::Key { .. }), "{error}");
        assert!(error.to_string().contains("start a new one"), "{error}");
    }
    fs::remove_file(case.join(KEY_FILE)).unwrap();
    assert!(matches!(open(&case), Err(StoreError::NoKey(_))));
    assert_eq!(checkpoints(&case).0, ["case", "interval"]);
}

#[test]
fn a_case_of_version_1_is_not_continued() {
    let dir = folder();
    let case = dir.path().join("case");
    drop(create(&case));
    let path = case.join("case.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"version\": 2", "\"version\": 1")).unwrap();
    let error = open(&case).unwrap_err();
    assert!(
        matches!(error, StoreError::OlderFormat { found: 1, .. }),
        "{error}"
    );
    assert!(Reader::open(&case).is_ok());
}

/// What the killed process does; started by the next test only.
#[test]
#[ignore = "the child of kill_leaves_a_usable_key"]
fn child_signs_until_killed() {
    let Some(case) = std::env::var_os("SAKSHI_TEST_CASE") else {
        return;
    };
    let mut store = open(Path::new(&case)).unwrap();
    println!("ready");
    loop {
        store
            .append_vouched(&[note("x")], Reason::Interval)
            .unwrap();
    }
}

#[test]
fn kill_leaves_a_usable_key() {
    let dir = folder();
    let case = dir.path().join("case");
    drop(create(&case));
    for round in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "signing::child_signs_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env("SAKSHI_TEST_CASE", &case)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let ready = std::io::BufRead::lines(output)
            .map_while(Result::ok)
            .any(|line| line.contains("ready"));
        assert!(ready);
        std::thread::sleep(Duration::from_micros(round * 731 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(checkpoints(&case).1, 0);
        let mut store = open(&case).unwrap();
        assert_eq!(slots(&case).iter().flatten().count(), 1);
        store.append_vouched(&[], Reason::Recovery).unwrap();
    }
}
