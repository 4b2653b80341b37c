//! Writes records into a case as fast as the store takes them, and says which were acknowledged.
//!
//! In: the folder of a case, made if it is not there; standard input. Out: a line `ready` when it
//! writes, a line for each acknowledged record with the text that it carries. It ends in order when
//! its standard input does, and with exit code 3 and a line `gone: reason` when the store gave up.
//! It is there to be killed: see `tests/tests/store_crash`.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use sakshi::{
    evidence::{
        Case, CaseFiles, CaseMeta, Draft, Kind, LastSession, Signing, Store, StoreError,
        StoreOptions, StoreSender, StoreThread, Urgency,
    },
    platform::clock::{Clock, SystemClock},
};
use serde_json::json;

/// Threads that write at the same time.
const THREADS: u64 = 3;
/// Records of one call, at most.
const RECORDS: u64 = 5;
/// Between commits; short, so that a kill meets many of them.
const COMMIT: Duration = Duration::from_millis(5);
/// Between checkpoints; likewise.
const CHECKPOINT: Duration = Duration::from_millis(40);
/// Bytes of a part of the database; few, so that a kill meets the change to the next one too.
const PART: u64 = 256 * 1024;

fn main() -> ExitCode {
    let Some(case) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("evidence-writer CASE");
        return ExitCode::from(2);
    };
    match write(&case) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("gone: {reason}");
            ExitCode::from(3)
        }
    }
}

fn write(case: &Path) -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut store = open(case, &clock).map_err(|error| error.to_string())?;
    let session = store.next_session();
    let began = Draft::new(Kind::SESSION, &json!({ "session": session }));
    let began = began.map_err(|error| error.to_string())?;
    store.append(&[began]).map_err(|error| error.to_string())?;
    let options = StoreOptions {
        interval: COMMIT,
        checkpoint_interval: CHECKPOINT,
        roll_bytes: PART,
        ..StoreOptions::new(clock, Arc::new(|_| ()))
    };
    let running = StoreThread::spawn(store, options).map_err(|error| error.to_string())?;
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..THREADS)
        .map(|number| {
            let (sender, over) = (running.sender(), Arc::clone(&over));
            thread::spawn(move || write_notes(&sender, session, number, &over))
        })
        .collect();
    say("ready");
    // Ends when whoever started us says so; an error of the store ends the writers before.
    thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        over.store(true, Ordering::Relaxed);
    });
    for writer in writers {
        writer.join().map_err(|_| "a writer panicked".to_owned())?;
    }
    let mut store = running.stop().map_err(|error| error.to_string())?;
    let stop = Draft::new(Kind::STOP, &json!({ "session": session }));
    let stop = stop.map_err(|error| error.to_string())?;
    store
        .append(&[stop])
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Opens the case and makes good an unclean stop, or makes the case.
fn open(case: &Path, clock: &Arc<dyn Clock>) -> Result<Store, StoreError> {
    let signing = Signing::timed(Arc::clone(clock));
    match Store::open(case, &signing) {
        Ok(mut store) => {
            if let LastSession::Unclean { session, .. } = store.last_session() {
                let stop = Draft::new(Kind::UNCLEAN_STOP, &json!({ "session": session }))?;
                store.append(&[stop])?;
            }
            Ok(store)
        }
        Err(StoreError::Missing(_) | StoreError::NotACase(_)) => {
            let meta = CaseMeta::new([7; 16], Some(clock.now()), "evidence-writer", "live");
            let files = CaseFiles {
                rules: vec![("lab.toml".to_owned(), b"version = 1\n".to_vec())],
                inventory: vec![("packages.list".to_owned(), b"com.example 10050\n".to_vec())],
                places: Vec::new(),
                data: b"{}\n".to_vec(),
            };
            Case::create(case, meta, &files, &signing)
        }
        Err(error) => Err(error),
    }
}

/// Appends notes of many sizes until told to end, or until the store is gone.
fn write_notes(sender: &StoreSender, session: u64, thread: u64, over: &AtomicBool) {
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let count = 1 + number % RECORDS;
        let texts: Vec<String> = (number..number + count)
            .map(|number| format!("{session}-{thread}-{number}"))
            .collect();
        number += count;
        let drafts = texts.iter().filter_map(|text| {
            // Now and then one that spans many pages.
            let length = if number.is_multiple_of(37) {
                40_000
            } else {
                60
            };
            let filler = "x".repeat(length);
            Draft::new(Kind::NOTE, &json!({ "text": text, "filler": filler })).ok()
        });
        let urgency = if number.is_multiple_of(3) {
            Urgency::AtOnce
        } else {
            Urgency::Batched
        };
        let Ok(receipt) = sender.append_acknowledged(drafts.collect(), urgency) else {
            return;
        };
        if receipt.wait().is_err() {
            return;
        }
        say(&texts.join("\n"));
    }
}

/// One write for all, so that a kill leaves no half of a line before the last.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Who listened may be gone; then nobody misses it.
    let _ = out.write_all(format!("{text}\n").as_bytes());
    let _ = out.flush();
}
