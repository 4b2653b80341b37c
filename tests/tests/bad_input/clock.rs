//! Times that jump: a clock that is set back by an hour or by years, set forward, or nonsense. The
//! rule is in `docs/flows.md`, "Which time counts": flows stay whole and everything is counted.
//! That a live watch records the step itself is shown beside `capture::live::clock_step`.

use std::sync::Arc;

use sakshi::{
    attribute::inventory::Inventory,
    evidence::body::{Flow, Record},
    input::{Event, Input, LinkType, Packet, TimeBasis, Vantage},
    locate::Atlas,
    pipeline::{Core, Setup},
    time::Timestamp,
};

use super::{DONE, Place, check, made};
use sakshi_tests::daemon::{self, text};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
const START: i64 = made::START as i64;

fn core() -> Core {
    Core::new(Setup {
        session: 1,
        handset: Vec::new(),
        inventory: Inventory::empty(),
        rules: Vec::new(),
        atlas: Arc::new(Atlas::embedded().expect("the embedded data")),
        sources: vec!["live".to_owned()],
        egress: None,
    })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn packet(data: &[u8], at: Timestamp, frame: u64) -> Packet<'_> {
    Packet {
        at,
        time_basis: TimeBasis::Kernel,
        link: LinkType::RawIp,
        vantage: Vantage::Output,
        uid: Some(10_050),
        interface: None,
        original_len: u32::try_from(data.len()).expect("a short packet"),
        source: 0,
        frame,
        data,
    }
}

/// Feeds one flow's packets at these seconds, each after a tick of the same time; what the core
/// said until then, and what it said at the end.
fn feed(seconds: impl IntoIterator<Item = i64>) -> (Vec<Record>, Vec<Record>, u64) {
    let mut core = core();
    let (mut live, mut last) = (Vec::new(), Vec::new());
    let data = made::datagram(40_000);
    for (frame, seconds) in (1..).zip(seconds) {
        core.feed(&Input::Event(&Event::Tick(at(seconds))), &mut live);
        core.feed(&Input::Packet(packet(&data, at(seconds), frame)), &mut live);
    }
    core.finish(&mut last);
    (live, last, core.summary().packets)
}

fn flows(records: &[Record]) -> Vec<&Flow> {
    let mut flows = Vec::new();
    for record in records {
        if let Record::Flow(flow) = record {
            flows.push(&**flow);
        }
    }
    flows
}

#[test]
fn a_clock_that_is_set_back_leaves_a_flow_whole() {
    for back in [HOUR, 10 * YEAR] {
        let before = (0..5).map(|second| START + second);
        let after = (5..50).map(|second| START - back + second);
        let (live, last, packets) = feed(before.chain(after));
        assert_eq!(packets, 50);
        assert_eq!(flows(&live).len(), 0, "ended before their time");
        let flows = flows(&last);
        let [flow] = flows.as_slice() else {
            panic!("{} flows instead of one", flows.len());
        };
        assert_eq!(flow.packets_out, 50);
        assert_eq!(flow.start, at(START - back + 5), "the earliest time");
        assert_eq!(flow.end, at(START + 4), "the latest time");
    }
}

#[test]
fn after_a_step_back_contacts_and_totals_come_in_their_time() {
    // Set back before the flow was settled; then more than a minute passes.
    let before = (0..3).map(|second| START + second);
    let after = (3..100).map(|second| START - YEAR + second);
    let (live, _, _) = feed(before.chain(after));
    let count = |is: fn(&Record) -> bool| live.iter().filter(|record| is(record)).count();
    assert_eq!(count(|record| matches!(record, Record::Contact(_))), 1);
    // The contact's first counts, and those of the minute.
    assert_eq!(count(|record| matches!(record, Record::Total(_))), 2);
}

#[test]
fn a_clock_that_goes_to_and_fro_or_to_the_ends_of_time_loses_no_packet() {
    let ends = [0, i64::MIN / 1_000_000, i64::MAX / 1_000_000, -1, 1, START];
    let seconds = ends.into_iter().cycle().take(60);
    let (mut live, mut last, packets) = feed(seconds);
    assert_eq!(packets, 60);
    live.append(&mut last);
    let counted: u64 = flows(&live).iter().map(|flow| flow.packets_out).sum();
    assert_eq!(counted, 60, "in whatever flows");
}

#[test]
fn a_capture_whose_clock_was_set_back_is_one_flow_in_the_export() {
    let place = Place::new();
    let back = u32::try_from(HOUR).expect("an hour");
    let seconds = (0..20).map(|at| {
        if at < 10 {
            made::START + at
        } else {
            made::START - back + at
        }
    });
    let packets: Vec<_> = seconds.map(|at| (at, made::datagram(40_000))).collect();
    let capture = place.file("back.pcap", made::pcap(&packets));
    let case = place.at("case");
    let mut command = place.sakshi(["inspect", text(&capture), "--format", "json"]);
    let said = check(command.args(["--case", text(&case)]), DONE, &[]);
    assert_eq!((said.count("packets"), said.count("flows")), (20, 1));
    let mut command = place.sakshi(["export", text(&case), "--what", "flows"]);
    let said = check(&mut command, DONE, &[]);
    let flow = daemon::json(said.stdout.trim()).expect("one flow");
    assert_eq!(flow["packets_out"], 20);
    place.gaps(&case);
}
