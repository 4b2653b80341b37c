//! Packets are kept within their quota, and every finding leads to its own.
//!
//! The real daemon watches under load with a small quota. `SAKSHI_PACKETS` says how many packets are
//! sent at least (10,000,000 for the full run, under 64 MiB); tshark reads every segment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use sakshi::{
    evidence::{
        Kind, Reader,
        journal::read_block,
        segments::{LINK_NFLOG, packets_of},
    },
    input::Input,
    packet::nflog_attributes,
};
use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, apps::RunningApp, cast, counter, places, script::Action},
    live_possible,
    seed::Seed,
    wait,
};
use serde_json::Value;

/// Packets of a normal run, and its quota.
const PACKETS: u64 = 120_000;
const QUOTA_MIB: u64 = 2;
/// Quota of the full run.
const QUOTA_MIB_FULL: u64 = 64;
/// Packets from which on it is the full run.
const PACKETS_FULL: u64 = 1_000_000;
/// Packets that a short flow sends, about.
const PACKETS_OF_A_FLOW: u64 = 6;
/// Payload of the datagrams of long flows.
const DATAGRAM: usize = 300;
/// Upper bound for something that takes a second.
const SOON: Duration = Duration::from_secs(30);

fn packets() -> u64 {
    let asked = std::env::var("SAKSHI_PACKETS").ok();
    asked.map_or(PACKETS, |text| {
        text.parse().expect("SAKSHI_PACKETS is a number")
    })
}

/// Whether tshark is here; in CI it must be.
fn has_tshark(test: &str) -> bool {
    let found = Command::new("tshark").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} must run in CI, but tshark is not here"
    );
    println!("{test} did not run: tshark is not here");
    false
}

/// Bytes below `packets/`.
fn on_disk(case: &Path) -> u64 {
    let entries = fs::read_dir(case.join("packets")).into_iter().flatten();
    entries
        .flatten()
        // One may go between the two looks.
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

fn tls(name: &str, to: SocketAddr) -> Action {
    let name = name.to_owned();
    Action::Tls { name, to }
}

/// What has findings: few flows, before the load or behind it.
fn few(handset: &Handset, first: bool) {
    let name = if first { "early" } else { "late" };
    let actions = [
        tls(
            &format!("{name}.sample.example"),
            places::SINGAPORE.v4(places::TLS),
        ),
        Action::Http {
            name: format!("{name}.weather.example"),
            to: places::CHINA.v6(places::HTTP),
        },
        Action::Udp {
            to: places::MUMBAI.v4(if first { places::ECHO } else { places::NTP }),
            bytes: 100,
            packets: 40,
            answered: true,
        },
    ];
    // A certificate is not made for these names; the greeting was sent all the same.
    if let Err(error) = handset.run_app(cast::PUSH.uid(), &actions[1..]) {
        panic!("{error}");
    }
    drop(handset.run_app(cast::WEATHER.uid(), &actions[..1]));
}

fn load(handset: &Handset, packets: u64, seed: u64) -> Vec<RunningApp> {
    let to = vec![
        places::SINGAPORE.v4(places::ECHO),
        places::CHINA.v6(places::ECHO),
        places::MUMBAI.v4(places::ECHO),
    ];
    let flows = Action::Flows {
        count: packets / 2 / PACKETS_OF_A_FLOW,
        parallel: 4,
        to,
        seed,
        open_ms: 0,
    };
    let long = |to| Action::Udp {
        to,
        bytes: DATAGRAM,
        packets: packets / 4,
        answered: false,
    };
    let both = [
        long(places::SINGAPORE.v4(places::DISCARD)),
        long(places::CHINA.v6(places::DISCARD)),
    ];
    vec![
        handset
            .start_app(cast::STATS.uid(), &[flows])
            .expect("short flows"),
        handset
            .start_app(cast::MARKET.uid(), &both)
            .expect("long flows"),
    ]
}

/// What tshark says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: Option<u32>,
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
}

/// The packets of a file, as tshark reads it; it complains of nothing.
fn tshark(file: &Path) -> Vec<Seen> {
    let fields = ["nflog.uid", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst"];
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file).args(["-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command
        .args(["-E", "occurrence=f"])
        .output()
        .expect("tshark");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", file.display());
    assert!(!complaints.contains("damaged") && !complaints.contains("cut short"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let uid = columns.next().and_then(|text| text.parse().ok());
            let mut addresses = columns.map(|text| text.parse().ok());
            let mut next = || addresses.next().flatten();
            let (src4, dst4, src6, dst6) = (next(), next(), next(), next());
            Seen {
                uid,
                src: src4.or(src6),
                dst: dst4.or(dst6),
            }
        })
        .collect()
}

/// What the journal holds of the packets that are asked for.
#[derive(Default)]
struct Journaled {
    /// Their bytes as far as it kept them, by session and number.
    packets: BTreeMap<(u64, u64), Vec<u8>>,
    /// The last number in each session: after a kill the journal may end before the segments do.
    last: BTreeMap<u64, u64>,
}

fn journal(case: &Path, wanted: &BTreeSet<(u64, u64)>) -> Journaled {
    let reader = Reader::open(case).expect("the case");
    let mut session = 0;
    let mut journaled = Journaled::default();
    for record in reader.records(&[Kind::SESSION, Kind::JOURNAL]) {
        let record = record.expect("a record");
        let Some(attachment) = record.attachment else {
            let body: Value = serde_json::from_str(&record.body).expect("JSON");
            session = body["session"].as_u64().expect("a number");
            continue;
        };
        let block = read_block(&attachment).expect("a block");
        for input in block.inputs.iter() {
            let Input::Packet(packet) = input else {
                continue;
            };
            let key = (session, packet.frame);
            if wanted.contains(&key) {
                journaled.packets.insert(key, packet.data.to_vec());
            }
            let last = journaled.last.entry(session).or_default();
            *last = packet.frame.max(*last);
        }
    }
    journaled
}

/// The bodies of a kind. A full run has a million records of other kinds.
fn of_kind(case: &Path, kind: &Kind) -> Vec<Value> {
    let reader = Reader::open(case).expect("the case");
    let records = reader.records(std::slice::from_ref(kind));
    records
        .map(|record| serde_json::from_str(&record.expect("a record").body).expect("JSON"))
        .collect()
}

/// The session in a `packets` record's label.
fn session_of(body: &Value) -> u64 {
    let label = text(&body["contact"]);
    let number = label.split('-').next().and_then(|text| text.parse().ok());
    number.expect("a session")
}

fn numbers<T: TryFrom<u64>>(list: &Value) -> Vec<T> {
    let list = list.as_array().expect("a list").iter();
    list.filter_map(|number| T::try_from(number.as_u64()?).ok())
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Holds a case's segments against its records, its findings, its journal, and tshark.
fn check(case: &Path) {
    let dropped: BTreeSet<String> = of_kind(case, &Kind::SEGMENT_DROPPED)
        .iter()
        .map(|body| text(&body["path"]))
        .collect();
    let mut seen = BTreeMap::new();
    for body in of_kind(case, &Kind::SEGMENT) {
        let path = text(&body["path"]);
        if dropped.contains(&path) {
            assert!(!case.join(&path).exists(), "{path} was dropped");
            continue;
        }
        let read = tshark(&case.join(&path));
        assert_eq!(Some(read.len() as u64), body["packets"].as_u64(), "{path}");
        seen.insert(path, read);
    }
    let files = fs::read_dir(case.join("packets")).into_iter().flatten();
    let files = files.map(|file| file.expect("a file").file_name());
    let files: BTreeSet<String> = files
        .map(|name| format!("packets/{}", name.display()))
        .collect();
    assert_eq!(
        files,
        seen.keys().cloned().collect(),
        "each file is on record"
    );
    let with_uid = seen.values().flatten().filter(|seen| seen.uid.is_some());
    let uids: BTreeSet<u32> = with_uid.filter_map(|seen| seen.uid).collect();
    let apps = [cast::PUSH, cast::WEATHER, cast::STATS].map(|app| app.uid());
    assert!(
        apps.iter().all(|uid| uids.contains(uid)),
        "tshark shows {uids:?}"
    );
    let packets = of_kind(case, &Kind::PACKETS);
    let wanted = packets.iter().flat_map(|body| {
        let session = session_of(body);
        let live = numbers(&body["live"]).into_iter();
        live.map(move |live| (session, live))
    });
    let journal = journal(case, &wanted.collect());
    let contacts: BTreeMap<String, Value> = of_kind(case, &Kind::CONTACT)
        .into_iter()
        .map(|body| (text(&body["contact"]), body))
        .collect();
    let mut pointed = 0;
    for body in &packets {
        let Some(path) = body["segment"]
            .as_str()
            .filter(|path| !dropped.contains(*path))
        else {
            continue;
        };
        let contact = &contacts[body["contact"].as_str().expect("a label")];
        check_packets(case, path, (body, contact), &seen[path], &journal);
        pointed += 1;
    }
    assert!(pointed > 0);
}

/// What a `packets` record points to: as the journal has it, and of the contact.
fn check_packets(
    case: &Path,
    path: &str,
    (body, contact): (&Value, &Value),
    seen: &[Seen],
    journal: &Journaled,
) {
    let (frames, live): (Vec<u32>, Vec<u64>) = (numbers(&body["frames"]), numbers(&body["live"]));
    assert_eq!(frames.len(), live.len());
    let kept = packets_of(case, path, &frames)
        .expect("a segment")
        .expect("its path");
    assert_eq!(kept.len(), frames.len(), "{path}: {body}");
    let session = session_of(body);
    let endpoint: IpAddr = text(&contact["endpoint"]["addr"])
        .parse()
        .expect("an address");
    let uid = contact["owner"]["uid"].as_u64();
    for (kept, live) in kept.iter().zip(live) {
        assert_eq!(kept.link, LINK_NFLOG);
        let packet = nflog_attributes(&kept.data)
            .expect("an NFLOG record")
            .payload;
        match journal.packets.get(&(session, live)) {
            Some(journaled) => assert!(
                packet.starts_with(journaled),
                "{path}, frame {}",
                kept.frame
            ),
            None => assert!(
                journal.last.get(&session).is_none_or(|last| live > *last),
                "{path}, frame {}: the journal goes on without packet {live}",
                kept.frame
            ),
        }
        let shown = &seen[usize::try_from(kept.frame).expect("a small number") - 1];
        let sent = shown.dst == Some(endpoint);
        assert!(
            sent || shown.src == Some(endpoint),
            "{shown:?} of {contact}"
        );
        if sent && let Some(shown) = shown.uid {
            assert_eq!(Some(u64::from(shown)), uid, "{contact}");
        }
    }
}

/// Every finding but excepted ones says where its packets are.
fn check_findings(case: &Path) -> usize {
    let findings = daemon::export(case, "findings").expect("findings");
    let counted = findings.iter().filter(|row| row["outcome"] != "excepted");
    for finding in counted.clone() {
        let kept = finding["kept"].as_array().expect("a list");
        assert!(!kept.is_empty(), "no packet of {finding}");
    }
    counted.count()
}

/// Seconds of processor time of the daemon's threads, by their names.
fn processor_time(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut times = Vec::new();
    for task in tasks.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|text| text.parse::<u64>().ok()).sum();
        // A tick is a hundredth of a second on every Linux that we run on.
        times.push(format!("{name} {}.{:02}", ticks / 100, ticks % 100));
    }
    times.sort();
    times.join(", ")
}

/// Sends until so many packets have left the handset; says how often the case was looked at
/// meanwhile, and the most bytes that packets took there.
fn under_load(handset: &Handset, case: &Path, packets: u64) -> (u64, u64) {
    let (mut looks, mut most) = (0, 0);
    while counter::read(handset).expect("counters") < packets {
        for app in load(handset, packets.min(PACKETS_FULL), looks) {
            let running = thread::spawn(move || app.finish());
            while !running.is_finished() {
                looks += 1;
                most = most.max(on_disk(case));
                thread::sleep(Duration::from_millis(2));
            }
            let finished = running.join().expect("no panic");
            finished.expect("an app that sent all");
        }
    }
    (looks, most)
}

#[test]
fn findings_keep_their_packets_within_the_quota() {
    let test = "findings_keep_their_packets_within_the_quota";
    if !live_possible(test) || !has_tshark(test) {
        return;
    }
    let packets = packets();
    let mib = if packets < PACKETS_FULL {
        QUOTA_MIB
    } else {
        QUOTA_MIB_FULL
    };
    let quota = mib * 1024 * 1024;
    let handset = Handset::start().expect("a virtual handset");
    counter::set(&handset).expect("counters");
    let case = handset.dir().join("case");
    let size = format!("{mib}M");
    let watch = wait::Stopwatch::start();
    let daemon =
        Daemon::start(&handset, &case, &["--packets-quota", &size]).expect("the daemon watches");
    few(&handset, true);
    let (looks, most) = under_load(&handset, &case, packets);
    few(&handset, false);
    let kept = wait::until(SOON, || {
        let status = daemon.status().ok()?;
        (status["findings"].as_u64()? >= 2).then_some(status)
    });
    let kept = kept.expect("a status with findings");
    assert_eq!(kept["packets_quota"].as_u64(), Some(quota));
    assert!(kept["packets_kept"].as_u64() > Some(0), "{kept}");
    let times = processor_time(daemon.pid());
    let summary = daemon.stop().expect("a summary");
    let sent = counter::read(&handset).expect("counters");
    let findings = check_findings(&case);
    let dropped = of_kind(&case, &Kind::SEGMENT_DROPPED);
    let sum = |key: &str| {
        dropped
            .iter()
            .filter_map(|body| body[key].as_u64())
            .sum::<u64>()
    };
    println!(
        "{sent} packets sent, {} seen in {:?}; at most {most} of {quota} bytes in {looks} looks; \
         {} segments dropped with {} packets, {} of findings held, {} not; {findings} findings; \
         seconds of processor time: {times}",
        summary["packets"],
        watch.elapsed(),
        dropped.len(),
        sum("packets"),
        sum("held"),
        sum("not_held"),
    );
    assert!(most <= quota && on_disk(&case) <= quota);
    assert!(dropped.len() > 2, "the load was not enough");
    check(&case);
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn what_a_killed_daemon_kept_is_on_record_after_the_next_start() {
    let test = "what_a_killed_daemon_kept_is_on_record_after_the_next_start";
    if !live_possible(test) || !has_tshark(test) {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0015);
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let more = ["--packets-quota", "2M"];
    for _ in 0..3 {
        let daemon = Daemon::start(&handset, &case, &more).expect("the daemon watches");
        few(&handset, true);
        let apps = load(&handset, 60_000, seed.next_number());
        thread::sleep(Duration::from_millis(seed.below(1500)));
        daemon.kill().expect("killed");
        for app in apps {
            app.abort().expect("the load ended");
        }
        daemon::not_damaged(&case).expect("no damage by the kill");
    }
    let daemon = Daemon::start(&handset, &case, &more).expect("the daemon watches");
    few(&handset, false);
    // In a session of its own each contact is new.
    few(&handset, true);
    let apps = load(&handset, 2_000, seed.next_number());
    for app in apps {
        app.finish().expect("an app that sent all");
    }
    daemon.stop().expect("a summary");
    let segments = of_kind(&case, &Kind::SEGMENT);
    let recovered = segments.iter().filter(|body| body["reason"] == "recovery");
    assert!(recovered.clone().count() >= 3, "{segments:?}");
    assert!(recovered.clone().all(|body| body["flows"].is_null()));
    assert!(on_disk(&case) <= 2 * 1024 * 1024);
    check(&case);
    assert!(check_findings(&case) > 0);
    // Sessions that were killed are made good from their journal, so that a replay gives no more.
    daemon::output(["verify", "--replay", daemon::text(&case)]).expect("the same findings");
}
