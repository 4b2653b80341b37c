//! The coverage statement at its boundary: records of a case in, what of a span was watched out.

use std::path::Path;

use sakshi::{
    evidence::{
        Case, CaseFiles, CaseMeta, Draft, Kind, Reader, Signing, Store, journal::JournalWriter,
    },
    input::{Input, LinkType, Packet, TimeBasis, Vantage},
    report::coverage::{Asked, Coverage, CoverageError, coverage, text},
    time::Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-24T00:00:00Z.
const START: i64 = 1_795_478_400;

/// A moment, in seconds of the tests' day.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((START + seconds) * 1_000_000)
}

fn draft(kind: Kind, body: &Value) -> Draft {
    Draft::new(kind, body).unwrap()
}

fn session(number: u64, seconds: i64, boot: Option<&str>) -> Draft {
    let booted = boot.map(|_| at(-600));
    let body = json!({
        "session": number, "mode": "run", "at": at(seconds), "local": null, "tool_version": "test",
        "kernel": null, "boot_id": boot, "booted": booted, "capture": "nflog",
        "sources": [], "files": {}, "handset": []
    });
    draft(Kind::SESSION, &body)
}

fn stop(number: u64, seconds: i64) -> [Draft; 2] {
    let summary = json!({
        "packets": 6, "unparsed": {"ip_malformed": 2}, "flows": 1, "contacts": 1, "findings": 0,
        "lost": 0, "files": []
    });
    let stop = json!({"session": number, "at": at(seconds), "reason": "asked"});
    [draft(Kind::SUMMARY, &summary), draft(Kind::STOP, &stop)]
}

fn gap(
    cause: &str,
    from: Option<i64>,
    to: Option<i64>,
    noticed: i64,
    packets: Option<u64>,
) -> Draft {
    let body = json!({
        "at": at(noticed), "cause": cause, "from": from.map(at), "to": to.map(at),
        "packets": packets, "place": "here", "detail": "why"
    });
    draft(Kind::GAP, &body)
}

fn slept(from: i64, to: i64, seconds: u64) -> Draft {
    let body = json!({"at": at(to), "from": at(from), "suspended_us": seconds * 1_000_000});
    draft(Kind::SUSPENSION, &body)
}

/// A journal block with a packet at each of these seconds.
fn packets(seconds: &[i64]) -> Draft {
    let mut writer = JournalWriter::new();
    for (frame, second) in (1..).zip(seconds) {
        let packet = Packet {
            at: at(*second),
            time_basis: TimeBasis::Receive,
            link: LinkType::RawIp,
            vantage: Vantage::Output,
            uid: None,
            interface: None,
            original_len: 1,
            source: 0,
            frame,
            data: &[0],
        };
        writer.push(&Input::Packet(packet), 1).unwrap();
    }
    writer.close().unwrap().unwrap().into_draft().unwrap()
}

fn flow(from: i64, to: i64, uid: Option<u32>, via: Option<&str>, interface: &str) -> Draft {
    let basis = if uid.is_some() { "nflog" } else { "none" };
    let body = json!({
        "flow": "1-1", "proto": "udp", "protocol": 17, "src": "192.0.2.1", "sport": 1,
        "dst": "192.0.2.2", "dport": 2, "start": at(from), "end": at(to), "packets_out": 2,
        "bytes_out": 100, "packets_in": null, "bytes_in": null, "state": "attempted",
        "rtt_us": null, "end_reason": "idle",
        "owner": {"uid": uid, "user": null, "basis": basis, "apps": [], "class": "unknown",
            "process": null, "name": null, "creator_uid": null, "disputed_uid": null,
            "may_act_for_app": false},
        "carried_packets": 0, "names": [], "app_protocol": "unknown",
        "place": {"country": null, "provider": null, "region": null, "asn": null, "grade": "none"},
        "phase": "", "via": via, "interfaces": [interface], "embedded_ipv4": null,
        "contact": null, "packets": []
    });
    draft(Kind::FLOW, &body)
}

fn counters(seconds: i64, packets: u64) -> Draft {
    let body = json!({"at": at(seconds), "interfaces": [{
        "index": 2, "name": "wlan0", "rx_packets": 0, "rx_bytes": 0, "tx_packets": packets,
        "tx_bytes": packets * 100
    }]});
    draft(Kind::COUNTERS, &body)
}

fn store(dir: &Path) -> Store {
    let meta = CaseMeta::new([7; 16], at(0), "sakshi test", "live");
    let files = CaseFiles {
        rules: Vec::new(),
        inventory: Vec::new(),
        places: Vec::new(),
        data: b"{}\n".to_vec(),
    };
    Case::create(dir, meta, &files, &Signing::system()).unwrap()
}

/// A case with these records.
fn case(records: &[Draft]) -> (TempDir, Reader) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("case");
    store(&path).append(records).unwrap();
    let reader = Reader::open(&path).unwrap();
    (dir, reader)
}

fn asked(from: i64, to: i64) -> Asked {
    Asked {
        from: Some(at(from)),
        to: Some(at(to)),
    }
}

fn seconds(us: Option<u64>) -> Option<u64> {
    us.map(|us| us / 1_000_000)
}

/// Two sessions, 0 to 100 and 200 to 260, with a reboot between them.
fn two_sessions() -> Vec<Draft> {
    let mut records = vec![
        session(1, 0, Some("aaaa")),
        gap("not_running", Some(-600), Some(0), 0, None),
        gap("degraded", Some(0), None, 0, None),
        counters(0, 50),
        packets(&[10, 20, 30, 40]),
        slept(40, 71, 30),
        gap("rules_missing", Some(80), Some(83), 83, None),
        flow(5, 95, Some(10_050), Some("direct"), "wlan0"),
        flow(60, 90, None, Some("vpn"), "tun0"),
        packets(&[99]),
        counters(99, 60),
    ];
    records.extend(stop(1, 100));
    records.extend([
        session(2, 200, Some("bbbb")),
        gap("not_running", Some(100), Some(200), 200, None),
        counters(200, 5),
        packets(&[210]),
        gap("kernel_loss", Some(210), Some(220), 220, Some(7)),
        flow(205, 250, Some(10_050), None, "wlan0"),
        counters(259, 8),
    ]);
    records.extend(stop(2, 260));
    records
}

#[test]
fn every_moment_from_boot_to_the_end_is_accounted_for() {
    let (_dir, reader) = case(&two_sessions());
    let all = coverage(&reader, Asked::default()).unwrap();
    assert_eq!((all.from, all.to), (at(-600), at(260)));
    assert_eq!(seconds(all.not_watched_us), Some(600 + 100));
    assert_eq!(seconds(all.suspended_us), Some(30));
    assert_eq!(seconds(all.rules_missing_us), Some(3));
    assert_eq!(seconds(all.watched_us), Some(100 + 60 - 30 - 3));
    let parts = [
        all.watched_us,
        all.not_watched_us,
        all.suspended_us,
        all.rules_missing_us,
        Some(all.skipped_by_clock_us),
    ];
    assert_eq!(
        parts.iter().map(|part| part.unwrap()).sum::<u64>(),
        all.span_us
    );
    let whys: Vec<&str> = all
        .not_watched
        .iter()
        .map(|hole| hole.why.as_str())
        .collect();
    assert_eq!(whys, ["before_first_session", "between_sessions"]);
    assert_eq!(all.reboots, Some(1));
    assert_eq!(all.rule_repairs, 1);
    assert_eq!(all.degraded.len(), 1);
}

#[test]
fn what_was_counted_is_told_and_what_is_not_known_is_null() {
    let (_dir, reader) = case(&two_sessions());
    let all = coverage(&reader, Asked::default()).unwrap();
    assert_eq!(all.packets, Some(6));
    assert_eq!(all.lost, None, "rules were missing, so nobody knows");
    assert_eq!(all.unparsed.as_ref().unwrap()["ip_malformed"], 4);
    assert_eq!(all.output_counter, None);
    assert_eq!(all.uid_counters, None);
    let flows = &all.flows;
    assert_eq!((flows.all.flows, flows.all.bytes_out), (3, 300));
    assert_eq!(
        (flows.by_basis["nflog"].flows, flows.by_basis["none"].flows),
        (2, 1)
    );
    assert_eq!(flows.unattributed_bytes_ppm, Some(333_333));
    // The inner flow leaves inside another one.
    assert_eq!((flows.by_via["vpn"].flows, flows.left_once.flows), (1, 2));
    let [tun_is_not_counted] = &all.interfaces[..] else {
        panic!("{:?}", all.interfaces);
    };
    assert_eq!(tun_is_not_counted.name, "wlan0");
    assert_eq!(tun_is_not_counted.tx_packets, Some(10 + 3));
    assert_eq!(tun_is_not_counted.seen.packets_out, 4);
}

#[test]
fn a_span_is_cut_out_to_the_moment() {
    let (_dir, reader) = case(&two_sessions());
    let cut = coverage(&reader, asked(20, 30)).unwrap();
    assert_eq!((seconds(cut.watched_us), cut.packets), (Some(10), Some(2)));
    assert_eq!((cut.lost, cut.unparsed.as_ref()), (Some(0), None));
    assert_eq!((cut.flows.all.flows, cut.flows.across), (1, 1));
    assert_eq!(cut.interfaces, []);

    // Asleep from 40 on, for 30 seconds of 31: not more than what the span has.
    let asleep = coverage(&reader, asked(41, 46)).unwrap();
    assert_eq!(
        (seconds(asleep.watched_us), seconds(asleep.suspended_us)),
        (Some(0), Some(5))
    );
    assert_eq!(asleep.may_be_said.len(), 1);

    let between = coverage(&reader, asked(120, 180)).unwrap();
    assert_eq!(
        (seconds(between.watched_us), between.packets),
        (Some(0), Some(0))
    );
    assert_eq!(seconds(between.not_watched_us), Some(60));
    assert!(between.may_be_said[0].starts_with("It may not be said"));

    let lossy = coverage(&reader, asked(200, 260)).unwrap();
    assert_eq!((lossy.lost, lossy.reboots), (Some(7), Some(1)));
    let empty = coverage(&reader, asked(9, 9));
    assert!(matches!(empty, Err(CoverageError::Empty { .. })));
}

#[test]
fn a_clock_that_is_set_neither_makes_nor_takes_time() {
    // Awake for 10 s, forward by an hour, 20 s, back by two hours, 30 s.
    let mut records = vec![
        session(1, 0, None),
        gap("clock_step", Some(10), Some(3610), 3610, Some(0)),
        gap("clock_step", Some(3630), Some(-3570), -3570, Some(0)),
    ];
    records.extend(stop(1, -3540));
    let (_dir, reader) = case(&records);
    let stepped = coverage(&reader, asked(-4000, 4000)).unwrap();
    assert_eq!(seconds(stepped.watched_us), Some(60));
    let steps: Vec<i64> = stepped
        .clock_steps
        .iter()
        .map(|step| step.step_us / 1_000_000)
        .collect();
    assert_eq!(steps, [3600, -7200]);
    assert_eq!(stepped.skipped_by_clock_us, 3_600_000_000);
    let not_watched = 8000 - 60 - 3600;
    assert_eq!(seconds(stepped.not_watched_us), Some(not_watched));
    assert_eq!(stepped.reboots, Some(0));
}

#[test]
fn a_session_that_has_not_ended_is_covered_as_far_as_it_tells() {
    let mut records = vec![
        session(1, 0, None),
        packets(&[10]),
        counters(30, 1),
        draft(
            Kind::UNCLEAN_STOP,
            &json!({"session": 1, "noticed": at(100), "last_journaled": at(50), "recovered": 0,
                "detail": ""}),
        ),
        session(2, 100, Some("bbbb")),
        packets(&[110, 120]),
    ];
    records.push(flow(110, 120, Some(10_050), Some("direct"), "wlan0"));
    let (_dir, reader) = case(&records);
    let open = coverage(&reader, Asked::default()).unwrap();
    assert_eq!((open.from, open.to), (at(0), at(120)));
    assert_eq!(seconds(open.watched_us), Some(50 + 20));
    let ends: Vec<&str> = open.sessions.iter().map(|it| it.ended.as_str()).collect();
    assert_eq!(ends, ["unclean", "open"]);
    assert!(!open.flows_complete);
    assert_eq!((open.unparsed, open.reboots), (None, None));
}

#[test]
fn captures_are_no_watch() {
    let body = json!({
        "session": 1, "mode": "inspect", "at": null, "local": null, "tool_version": "test",
        "kernel": null, "boot_id": null, "booted": null, "capture": "files",
        "sources": [], "files": {}, "handset": []
    });
    let records = vec![
        draft(Kind::SESSION, &body),
        packets(&[10, 20]),
        flow(10, 20, None, None, "wlan0"),
    ];
    let (_dir, reader) = case(&records);
    let whole = coverage(&reader, Asked::default());
    assert!(matches!(whole, Err(CoverageError::NoWatch)));
    let counted = coverage(&reader, asked(0, 15)).unwrap();
    assert_eq!((counted.watched_us, counted.not_watched_us), (None, None));
    assert_eq!((counted.packets, counted.reboots), (Some(1), None));
    assert!(counted.may_be_said[0].starts_with("It may not be said"));
}

fn page(coverage: &Coverage) -> String {
    let page = text::page(coverage);
    assert_eq!(page, text::page(coverage), "the same twice");
    page
}

#[test]
fn the_page_ends_with_what_may_be_said() {
    let (_dir, reader) = case(&two_sessions());
    let all = page(&coverage(&reader, Asked::default()).unwrap());
    for line in [
        "Watched           2 min 7 s (127.000 s)",
        "Not watched       11 min 40 s (700.000 s)",
        "Reboots           1",
        "Lost              not known",
        "Raw OUTPUT count  not known",
        "Owner not known   1 flows, 2 packets, 100 B sent; 33.34 % of the bytes",
        "- packets were lost, and how many is not known",
    ] {
        assert!(all.contains(line), "{line} is not in:\n{all}");
    }
    let (_, said) = all
        .split_once("How \"no contact with X\" may be said:\n")
        .unwrap();
    assert!(
        said.starts_with("  \"Between 2026-11-23T23:50:00.000000Z and "),
        "{said}"
    );
}
