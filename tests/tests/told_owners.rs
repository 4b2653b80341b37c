//! Owners that another tool wrote into a capture: `PCAPdroid`'s UIDs and names, PKTAP's processes.
//!
//! `tests/cases/told/` holds the captures, which [`writers`] make, and what `sakshi export` is to
//! write of them. `SAKSHI_BLESS=1` writes the folder anew; then read every changed line.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use sakshi_tests::{
    capture_writer::{self as writer, ETHERNET, PKTAP, Pcapng, PktapProcess, RAW_IP, USER_2},
    daemon::{self, text},
    handset::dns,
};
use serde_json::Value;

/// 2026-11-24T04:00:00Z, in nanoseconds since the Unix epoch.
const BEGIN: u64 = 1_795_492_800_000_000_000;
const PHONE: &str = "192.168.43.100";
const SERVER: &str = "13.228.10.20:9999";
const RESOLVER: &str = "49.45.0.1:53";
const SYSTEM: i32 = 1051;
const CHAT: i32 = 10_055;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/told")
}

fn blessing() -> bool {
    std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1")
}

fn sent(port: u16, to: &str, payload: &[u8]) -> Vec<u8> {
    let from = SocketAddr::new(PHONE.parse().expect("an address"), port);
    writer::udp(from, to.parse().expect("an address and a port"), payload)
}

fn question() -> Vec<u8> {
    dns::question(7, "chat.example", false).expect("a name")
}

/// A row of packets, one a millisecond.
fn in_order(packets: Vec<Vec<u8>>) -> Vec<(u64, Vec<u8>)> {
    let moments = (0..).map(|at| BEGIN + at * 1_000_000);
    moments.zip(packets).collect()
}

/// A pcap with trailers. The fourth packet is made to look as if it had one by an app: its payload
/// ends as a trailer does, behind addresses of zeros as on a loopback.
fn pcapdroid_pcap() -> Vec<u8> {
    let forged = writer::pcapdroid(10_050, "Forged", b"");
    let mut without = writer::ethernet(&sent(40_003, SERVER, &forged[16..]));
    without[..12].fill(0);
    let packets = vec![
        writer::pcapdroid(CHAT, "Chat", &sent(40_000, SERVER, b"one")),
        writer::pcapdroid(SYSTEM, "netd", &sent(40_001, RESOLVER, &question())),
        writer::pcapdroid(-1, "Unknown", &sent(40_002, SERVER, b"three")),
        without,
        // The same five-tuple under another UID: another flow.
        writer::pcapdroid(10_099, "Other", &sent(40_000, SERVER, b"five")),
    ];
    writer::pcap(ETHERNET, &in_order(packets))
}

/// A pcapng with mappings and comments; a comment whose UID no mapping named says nothing.
fn pcapdroid_pcapng() -> Vec<u8> {
    let mut file = Pcapng::new();
    let tunnel = file.interface(RAW_IP, false);
    file.pcapdroid_uid(CHAT, "org.example.chat", "Chat");
    let packet = |file: &mut Pcapng, at: u64, port, comment: &str| {
        let packet = sent(port, SERVER, b"payload");
        file.commented(tunnel, BEGIN + at, &packet, usize::MAX, comment);
    };
    packet(&mut file, 0, 40_000, "u-10055");
    packet(&mut file, 1_000_000, 40_001, "u-10056");
    packet(&mut file, 2_000_000, 40_002, "user's remark");
    file.pcapdroid_uid(10_056, "org.example.late", "Late");
    packet(&mut file, 3_000_000, 40_003, "u-10056");
    file.finish()
}

fn pktap_packets(second: bool) -> Vec<(u64, Vec<u8>)> {
    let process = |pid, name, effective| PktapProcess {
        pid,
        name,
        effective,
    };
    let wrapped = |process: PktapProcess<'_>, port, to: &str, payload: &[u8]| {
        writer::pktap(&process, second, &sent(port, to, payload))
    };
    let asked = question();
    in_order(vec![
        wrapped(process(311, "Chat", None), 40_000, SERVER, b"one"),
        wrapped(
            process(90, "mDNSResponder", Some((311, "Chat"))),
            40_001,
            RESOLVER,
            &asked,
        ),
        wrapped(process(-1, "", None), 40_002, SERVER, b"three"),
        // Two processes on one five-tuple: none is named.
        wrapped(process(5, "one", None), 40_003, SERVER, b"four"),
        wrapped(process(6, "other", None), 40_003, SERVER, b"five"),
        wrapped(process(311, "Chat", None), 40_000, SERVER, b"six"),
    ])
}

fn captures() -> [(&'static str, Vec<u8>); 4] {
    [
        ("pcapdroid.pcap", pcapdroid_pcap()),
        ("pcapdroid.pcapng", pcapdroid_pcapng()),
        ("pktap.pcap", writer::pcap(PKTAP, &pktap_packets(false))),
        (
            "pktap-user2.pcap",
            writer::pcap(USER_2, &pktap_packets(true)),
        ),
    ]
}

/// Inspects a capture, and gives its flows as they are exported.
fn flows(capture: &Path, case: &Path) -> String {
    let inventory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/golden/inventory");
    let arguments = [
        "inspect",
        text(capture),
        "--case",
        text(case),
        "--inventory",
        text(&inventory),
        "--handset",
        PHONE,
    ];
    daemon::output(arguments).expect("inspected");
    daemon::verify(case).expect("intact evidence");
    daemon::export_text_unredacted(case, "flows").expect("flows")
}

fn rows(flows: &str) -> Vec<Value> {
    let row = |line| daemon::json(line).expect("a row");
    flows.lines().map(row).collect()
}

/// UID, basis, process and the one that it acts for.
fn owner(row: &Value) -> (Option<u64>, &str, Option<&str>, Option<&str>) {
    let owner = &row["owner"];
    (
        owner["uid"].as_u64(),
        owner["basis"].as_str().expect("a basis"),
        owner["process"].as_str(),
        owner["process_acts_for"].as_str(),
    )
}

#[test]
fn the_cases_are_as_they_were() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in captures() {
        let path = folder().join(name);
        let expected = folder().join(format!("{name}.flows.jsonl"));
        if blessing() {
            fs::create_dir_all(folder()).expect("made");
            fs::write(&path, &bytes).expect("written");
        }
        assert!(fs::read(&path).expect("a capture") == bytes, "{name}");
        let found = flows(&path, &dir.path().join(name));
        if blessing() {
            fs::write(&expected, &found).expect("written");
        }
        let expected = fs::read_to_string(&expected).expect("expected flows");
        for (expected, found) in expected.lines().zip(found.lines()) {
            assert_eq!(expected, found, "{name}");
        }
        assert_eq!(expected.len(), found.len(), "{name}");
        // What the journal keeps of the packets tells the owners again.
        let again = dir.path().join(format!("{name}-again"));
        let arguments = [
            "inspect",
            text(&dir.path().join(name)),
            "--case",
            text(&again),
        ]
        .map(str::to_owned);
        daemon::output(arguments.iter().map(String::as_str)).expect("replayed");
        let replayed = daemon::export_text_unredacted(&again, "flows").expect("flows");
        assert_eq!(replayed, found, "{name}, replayed");
    }
}

#[test]
fn pcapdroids_uids_are_owners_and_a_forged_trailer_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let found = rows(&flows(
        &folder().join("pcapdroid.pcap"),
        &dir.path().join("case"),
    ));
    let owners: Vec<_> = found.iter().map(owner).collect();
    assert_eq!(
        owners,
        [
            (Some(10_055), "pcapdroid", Some("Chat"), None),
            (Some(1051), "pcapdroid", Some("netd"), None),
            (None, "none", None, None),
            (None, "none", None, None),
            (Some(10_099), "pcapdroid", Some("Other"), None),
        ]
    );
    assert_eq!(found[0]["owner"]["apps"][0], "org.example.chat");
    assert_eq!(found[1]["owner"]["may_act_for_app"], true);
    assert_eq!(found[0]["bytes_out"], 31, "without what PCAPdroid added");
}

#[test]
fn a_comment_counts_only_once_a_mapping_named_its_uid() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let found = rows(&flows(
        &folder().join("pcapdroid.pcapng"),
        &dir.path().join("case"),
    ));
    let owners: Vec<_> = found.iter().map(owner).collect();
    assert_eq!(
        owners,
        [
            (Some(10_055), "pcapdroid", Some("org.example.chat"), None),
            (None, "none", None, None),
            (None, "none", None, None),
            (Some(10_056), "pcapdroid", Some("org.example.late"), None),
        ]
    );
    // Wireshark numbers PCAPdroid's mappings as frames.
    assert_eq!(found[0]["packets"][0]["frame"], 2);
}

#[test]
fn pktap_names_a_process_and_no_uid_in_both_layouts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["pktap.pcap", "pktap-user2.pcap"] {
        let found = rows(&flows(&folder().join(name), &dir.path().join(name)));
        let owners: Vec<_> = found.iter().map(owner).collect();
        assert_eq!(
            owners,
            [
                (None, "pktap", Some("Chat"), None),
                (None, "pktap", Some("mDNSResponder"), Some("Chat")),
                (None, "none", None, None),
                (None, "disputed", None, None),
            ],
            "{name}"
        );
        assert_eq!(found[0]["pid"], 311);
        assert_eq!(found[0]["packets_out"], 2);
        assert_eq!(found[0]["owner"]["class"], "unknown");
    }
}

/// Nobody is accused on a process's name alone.
#[test]
fn an_owner_without_uid_is_an_unknown_owner_to_the_rules() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    flows(&folder().join("pktap.pcap"), &case);
    let findings = daemon::export(&case, "findings").expect("findings");
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding["kind"], "unknown owner", "{finding:#}");
        assert_eq!(finding["outcome"], "needs_review");
    }
}
