//! Names of a made-up day, against the truth that was written beside it: every name, no other one,
//! and each flow once.
//!
//! `SAKSHI_WORKLOAD_SEEDS` and `SAKSHI_WORKLOAD_FLOWS` ask for more seeds or larger captures.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::BufWriter,
    net::SocketAddr,
    path::Path,
};

use sakshi_tests::daemon::{self, text};
use sakshi_workload::{
    Capture, Ends, Format, Hello, Plan, Random, Way,
    initial::{Ids, Sealer, Version, crypto_frame},
    make,
    truth::{Flow, Line, Said, Source, Totals},
    world::World,
};
use serde_json::{Value, json};

/// Seeds tried.
const SEEDS: u64 = 10;
/// Flows of each capture.
const FLOWS: u64 = 1_200;
/// Misses that a failure shows.
const SHOWN: usize = 20;

fn asked(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}

/// A flow's ends and its beginning in microseconds: no two have the same.
type Key = (String, SocketAddr, SocketAddr, u64);

/// What the daemon says of a flow: names by how they were said, and those of its address.
#[derive(Debug, Default)]
struct Told {
    said: BTreeSet<Said>,
    resolved: BTreeSet<String>,
    suite: Option<String>,
}

fn key_of_truth(flow: &Flow) -> Key {
    (flow.proto.clone(), flow.handset, flow.server, flow.start)
}

fn side(flow: &Value, addr: &str, port: &str) -> SocketAddr {
    let addr = flow[addr].as_str().expect("an address");
    let port = flow[port]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    SocketAddr::new(addr.parse().expect("an address"), port.expect("a port"))
}

/// Microseconds since 1970 of a moment as records write it.
fn micros(text: &str) -> u64 {
    let (days, time) = text.split_once('T').expect("a date and a time");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let [year, month, day] = [&days[..4], &days[5..7], &days[8..]].map(number);
    // Days since 1970-01-01, counted from March (Howard Hinnant, "chrono-compatible algorithms").
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let [hour, minute, second] = [&time[..2], &time[3..5], &time[6..8]].map(number);
    let fraction = time[8..].trim_start_matches('.').trim_end_matches('Z');
    let micros = number(&format!("{fraction:0<6}")[..6]);
    ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros
}

fn told(case: &Path) -> BTreeMap<Key, Told> {
    let mut all = BTreeMap::new();
    for flow in daemon::export_unredacted(case, "flows").expect("an export") {
        let key = (
            flow["proto"].as_str().expect("a protocol").to_owned(),
            side(&flow, "src", "sport"),
            side(&flow, "dst", "dport"),
            micros(flow["start"].as_str().expect("a moment")),
        );
        let mut told = Told {
            suite: flow["tls"]["cipher_suite"].as_str().map(str::to_owned),
            ..Told::default()
        };
        for name in flow["names"].as_array().expect("names") {
            let text = name["name"].as_str().expect("a name").to_owned();
            match serde_json::from_value::<Source>(name["source"].clone()) {
                Ok(source) => drop(told.said.insert(Said { name: text, source })),
                Err(_) => drop(told.resolved.insert(text)),
            }
        }
        assert!(all.insert(key.clone(), told).is_none(), "{key:?} twice");
    }
    all
}

/// Names that are their endpoint's.
fn own_names(said: &BTreeSet<Said>) -> BTreeSet<String> {
    let own = said.iter().filter(|said| said.source != Source::Dns);
    own.map(|said| said.name.clone()).collect()
}

/// Endpoints, each with the names that flows said of it.
fn contacts(case: &Path) -> BTreeSet<(SocketAddr, BTreeSet<String>)> {
    let contact = |contact: &Value| {
        let names = contact["names"].as_array().expect("names").iter();
        let said = names.filter_map(|name| {
            let source = serde_json::from_value::<Source>(name["source"].clone()).ok()?;
            let text = name["name"].as_str()?.to_owned();
            Some(Said { name: text, source })
        });
        (side(contact, "address", "port"), own_names(&said.collect()))
    };
    let rows = daemon::export(case, "contacts").expect("an export");
    rows.iter().map(contact).collect()
}

fn truth(path: &Path) -> (Vec<Flow>, Totals) {
    let (mut flows, mut totals) = (Vec::new(), None);
    for line in std::fs::read_to_string(path).expect("the truth").lines() {
        match serde_json::from_str(line).expect("a line") {
            Line::Flow(flow) => flows.push(flow),
            Line::Totals(all) => totals = Some(all),
        }
    }
    (flows, totals.expect("totals"))
}

/// Makes a capture, has it inspected, and compares.
fn compare(seed: u64, flows: u64, format: Format) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [capture, lines, case] = ["day", "truth.jsonl", "case"].map(|name| dir.path().join(name));
    let create = |path| BufWriter::new(File::create(path).expect("a file"));
    let plan = Plan {
        seed,
        flows,
        data_packets: 3,
        format,
        ..Plan::default()
    };
    make(&plan, create(&capture), create(&lines)).expect("made");
    let mut arguments = vec!["inspect".to_owned(), text(&capture).to_owned()];
    for addr in World::handset() {
        arguments.extend(["--handset".to_owned(), addr.to_string()]);
    }
    arguments.extend(["--case".to_owned(), text(&case).to_owned()]);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");

    let mut told = told(&case);
    let contacts = contacts(&case);
    let (flows, totals) = truth(&lines);
    assert_eq!(totals.flows, flows.len() as u64);
    let mut wrong = Vec::new();
    let mut names = 0;
    for flow in &flows {
        let Some(told) = told.remove(&key_of_truth(flow)) else {
            wrong.push(format!("no flow {:?} ({})", key_of_truth(flow), flow.kind));
            continue;
        };
        let said: BTreeSet<Said> = flow.names.iter().cloned().collect();
        names += said.len();
        if said != told.said {
            wrong.push(format!("{}: {:?}, and not {said:?}", flow.kind, told.said));
        }
        if flow.suite != told.suite {
            wrong.push(format!("{}: suite {:?}", flow.kind, told.suite));
        }
        let own = own_names(&said);
        if own.len() > 1 && !contacts.contains(&(flow.server, own)) {
            wrong.push(format!("{}: no contact with {said:?}", flow.kind));
        }
        // What answers gave to its address is one of the names that it has.
        for name in &told.resolved {
            if !flow.server_names.contains(name) {
                wrong.push(format!("{}: {name} is not there", flow.kind));
            }
        }
    }
    wrong.extend(told.keys().map(|key| format!("a flow too many: {key:?}")));
    println!(
        "seed {seed}: {} packets, {} flows, {names} names, {} wrong",
        totals.packets,
        flows.len(),
        wrong.len()
    );
    wrong
}

#[test]
fn every_name_and_no_other() {
    let flows = asked("SAKSHI_WORKLOAD_FLOWS", FLOWS);
    let mut wrong = Vec::new();
    for seed in 1..=asked("SAKSHI_WORKLOAD_SEEDS", SEEDS) {
        let format = if seed % 2 == 0 {
            Format::Pcap
        } else {
            Format::Pcapng
        };
        wrong.extend(compare(seed, flows, format));
    }
    let shown = wrong.get(..SHOWN).unwrap_or(&wrong);
    assert!(wrong.is_empty(), "{} wrong: {shown:#?}", wrong.len());
}

/// Hellos over QUIC to resolvers, and one to somebody else.
#[test]
fn where_names_are_hidden_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [file, case] = ["hidden.pcap", "case"].map(|name| dir.path().join(name));
    let mut random = Random::new(5);
    let out = BufWriter::new(File::create(&file).expect("a file"));
    let mut capture = Capture::begin(Format::Pcap, out).expect("begun");
    let talks = [
        (
            "doq.example",
            "doq",
            8853,
            r#"{"basis":"alpn","how":"doq"}"#,
        ),
        ("doq.example", "h3", 853, r#"{"basis":"port","how":"doq"}"#),
        ("dns.google", "h3", 443, r#"{"basis":"name","how":"doh"}"#),
        ("www.example", "h3", 443, "null"),
    ];
    for (at, (sni, alpn, port, _)) in (0..).zip(talks) {
        let hello = Hello {
            sni: Some(sni),
            alpn: &[alpn],
            hybrid: false,
            ech: false,
            quic: true,
        };
        let mut frames = Vec::new();
        crypto_frame(&mut frames, 0, &hello.message(&mut random));
        frames.resize(1150, 0);
        let id = random.bytes(8);
        let ids = Ids { to: &id, from: &[] };
        let initial = Sealer::new(Version::V1, &id).initial(ids, &[], 0, &frames);
        let ends = Ends {
            handset: (World::handset()[0], 40_000 + at).into(),
            server: ([198, 18, 0, 10], port).into(),
        };
        let packet = ends.datagram(Way::Out, &initial);
        let moment = 1_790_000_000_000_000 + u64::from(at);
        capture.packet(moment, &packet).expect("written");
    }
    capture.finish().expect("written");
    let arguments = ["inspect", text(&file), "--case", text(&case)];
    daemon::output(arguments).expect("inspected");
    let flows = daemon::export(&case, "flows").expect("an export");
    assert_eq!(flows.len(), talks.len());
    for (flow, (sni, _, _, expected)) in flows.iter().zip(talks) {
        assert_eq!(flow["names"][0]["name"], sni);
        assert_eq!(flow["tls"]["names_hidden"].to_string(), expected, "{sni}");
    }
    let dry = inspected_dry(&file);
    assert_eq!(
        (&dry["by_name"]["said"], &dry["by_name"]["hidden"]),
        (&json!(4), &json!(3))
    );
    // An auditor looks for it among the contacts.
    let contacts = daemon::export(&case, "contacts").expect("an export");
    let said: Vec<String> = contacts
        .iter()
        .map(|contact| contact["names_hidden"].to_string())
        .collect();
    assert_eq!(said, talks.map(|(_, _, _, expected)| expected));
}

/// A dry run judges nothing, and reads no server's part of a handshake: its names are the same.
#[test]
fn a_dry_run_names_flows_as_an_inspection_does() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [capture, case] = ["day.pcap", "case"].map(|name| dir.path().join(name));
    let plan = Plan {
        seed: 11,
        flows: 600,
        ..Plan::default()
    };
    let out = BufWriter::new(File::create(&capture).expect("a file"));
    make(&plan, out, std::io::sink()).expect("made");
    let inspected = inspected(&capture, &["--case", text(&case)]);
    let dry = inspected_dry(&capture);
    for key in ["packets", "unparsed", "flows", "lost"] {
        assert_eq!(dry[key], inspected[key], "{key}");
    }
    assert_eq!(dry["flows"], 600);
    let flows = daemon::export(&case, "flows").expect("an export");
    let expected = named(&flows);
    for kind in ["said", "asked", "resolved", "candidates", "unnamed"] {
        let count = dry["by_name"][kind].as_u64().expect("a count");
        assert_eq!(count, expected[kind], "{kind}");
        assert!(count > 0, "the capture has none that are {kind}: {dry}");
    }
    assert_eq!(expected.values().sum::<u64>(), 600);
    // Not judged is another thing than nothing found.
    assert_eq!(
        (&dry["contacts"], &dry["findings"]),
        (&json!(null), &json!(null))
    );
    // So does a dry run of the case's own journal.
    assert_eq!(inspected_dry(&case)["by_name"], dry["by_name"]);
}

/// Flows as they are exported, by what names their other end.
fn named(flows: &[Value]) -> BTreeMap<&'static str, u64> {
    let kind = |flow: &Value| {
        let names = flow["names"].as_array().expect("names");
        let any = |key: &str, values: &[&str]| {
            names
                .iter()
                .any(|name| values.iter().any(|value| name[key] == *value))
        };
        if any("source", &["tls", "quic", "http"]) {
            "said"
        } else if any("source", &["dns", "mdns", "llmnr"]) {
            "asked"
        } else if any("strength", &["resolved", "resolved_by_owner"]) {
            "resolved"
        } else if any("strength", &["candidate"]) {
            "candidates"
        } else {
            "unnamed"
        }
    };
    let mut counts = BTreeMap::new();
    for flow in flows {
        *counts.entry(kind(flow)).or_default() += 1;
    }
    counts
}

fn inspected_dry(file: &Path) -> Value {
    inspected(file, &["--dry-run"])
}

/// What `sakshi inspect` says at the end.
fn inspected(file: &Path, how: &[&str]) -> Value {
    let mut arguments = vec!["inspect", text(file), "--format", "json"];
    arguments.extend(how);
    let said = daemon::output(arguments).expect("inspected");
    serde_json::from_str(&said).expect("one object")
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let plan = Plan {
        flows: 50,
        ..Plan::default()
    };
    let made = |plan| {
        let (mut capture, mut truth) = (Vec::new(), Vec::new());
        make(plan, &mut capture, &mut truth).expect("made");
        (capture, truth)
    };
    let one = made(&plan);
    assert_eq!(one, made(&plan));
    assert_ne!(one, made(&Plan { seed: 2, ..plan }));
}

#[test]
fn moments_are_read_as_records_write_them() {
    assert_eq!(micros("1970-01-01T00:00:01Z"), 1_000_000);
    assert_eq!(micros("2026-11-24T04:01:03.960005Z"), 1_795_492_863_960_005);
}
