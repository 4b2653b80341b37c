//! Sleep and set clocks, as records of a case tell them.

use serde_json::{Value, json};

use super::{Asked, Coverage, coverage};
use crate::{
    evidence::{Case, CaseFiles, CaseMeta, Draft, Kind, Reader, Signing},
    time::Timestamp,
};

const MINUTE_US: u64 = 60_000_000;

/// A moment of the day, as records write it.
fn at(clock: &str) -> String {
    format!("2026-11-24T{clock}.000000Z")
}

fn moment(clock: &str) -> Timestamp {
    Timestamp::parse(&at(clock)).expect("a time")
}

fn session() -> Value {
    json!({
        "session": 1, "mode": "run", "at": at("10:00:00"), "local": null, "tool_version": "0",
        "kernel": null, "boot_id": null, "booted": null, "capture": "nflog", "sources": [],
        "files": {}, "handset": [],
    })
}

fn slept(from: &str, to: &str, us: u64) -> Value {
    json!({ "at": at(to), "from": at(from), "suspended_us": us })
}

fn clock_set(from: &str, to: &str) -> Value {
    json!({
        "at": at(to), "cause": "clock_step", "from": at(from), "to": at(to), "packets": 0,
        "place": "wall clock", "detail": "the clock was set",
    })
}

fn stop() -> Value {
    json!({ "session": 1, "at": at("11:00:00"), "reason": "asked", "outbound": null })
}

fn stated(bodies: &[(Kind, Value)], asked: Asked) -> Coverage {
    let parent = tempfile::tempdir().expect("a folder");
    let dir = parent.path().join("case");
    let meta = CaseMeta::new([7; 16], None, "test", "live");
    let mut store =
        Case::create(&dir, meta, &CaseFiles::default(), &Signing::system()).expect("a case");
    let drafts: Vec<Draft> = bodies
        .iter()
        .map(|(kind, body)| Draft::new(kind.clone(), body).expect("a draft"))
        .collect();
    store.append(&drafts).expect("records");
    drop(store);
    coverage(&Reader::open(&dir).expect("a case"), asked).expect("a statement")
}

#[test]
fn sleep_is_not_watching_and_each_part_of_the_span_is_accounted_for() {
    let us = 9 * MINUTE_US;
    let bodies = [
        (Kind::SESSION, session()),
        (Kind::SUSPENSION, slept("10:10:00", "10:20:00", us)),
        (Kind::STOP, stop()),
    ];
    let whole = stated(&bodies, Asked::default());
    assert_eq!((whole.suspensions, whole.suspended_us), (1, Some(us)));
    assert_eq!(whole.watched_us, Some(51 * MINUTE_US));
    assert_eq!(
        (whole.not_watched_us, &whole.not_watched[..]),
        (Some(0), &[][..])
    );
    assert_eq!(whole.span_us, 60 * MINUTE_US);

    // The span begins while it sleeps, and ends after the session.
    let part = stated(
        &bodies,
        Asked {
            from: Some(moment("10:15:00")),
            to: Some(moment("11:10:00")),
        },
    );
    assert_eq!(part.suspended_us, Some(5 * MINUTE_US));
    assert_eq!(part.watched_us, Some(40 * MINUTE_US));
    assert_eq!(part.not_watched_us, Some(10 * MINUTE_US));
    assert_eq!(part.not_watched[0].why, "after_last_session");
}

#[test]
fn a_clock_that_is_set_neither_adds_nor_hides_time() {
    let bodies = [
        (Kind::SESSION, session()),
        (Kind::GAP, clock_set("10:30:00", "10:35:00")),
        (Kind::GAP, clock_set("10:50:00", "10:48:00")),
        (Kind::STOP, stop()),
    ];
    let whole = stated(&bodies, Asked::default());
    let steps: Vec<i64> = whole.clock_steps.iter().map(|step| step.step_us).collect();
    assert_eq!(steps, [300_000_000, -120_000_000]);
    // No moment had the five minutes that were skipped.
    assert_eq!(whole.skipped_by_clock_us, 5 * MINUTE_US);
    assert_eq!(
        (whole.not_watched_us, whole.not_watched.len()),
        (Some(0), 0)
    );
    // 30 minutes, then 15, then 12: the two that came twice were watched twice.
    assert_eq!(whole.watched_us, Some(57 * MINUTE_US));
}

#[test]
fn a_cause_of_a_later_version_leaves_the_case_readable() {
    let gap = |cause: &str, packets: Value| {
        json!({
            "at": at("10:30:00"), "cause": cause, "from": at("10:29:00"), "to": at("10:30:00"),
            "packets": packets, "place": "handset", "detail": "of a later version",
        })
    };
    let bodies = |packets: Value| {
        [
            (Kind::SESSION, session()),
            (Kind::GAP, gap("queue_full", json!(2))),
            (Kind::GAP, gap("of_a_later_version", packets)),
            (Kind::STOP, stop()),
        ]
    };
    assert_eq!(stated(&bodies(json!(5)), Asked::default()).lost, Some(7));
    assert_eq!(stated(&bodies(Value::Null), Asked::default()).lost, None);
}
