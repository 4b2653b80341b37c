//! The packets export, opened by somebody else's program: tshark.
//!
//! UIDs and comments are what tshark shows; what is personal is looked for in the file's bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::Handset,
    judges, live_possible, sample, scenes,
};

/// What tshark shows of a packet.
#[derive(Debug)]
struct Shown {
    len: u64,
    captured: u64,
    uid: Option<u64>,
    sent: bool,
    src: String,
    comments: Vec<String>,
}

fn tshark(program: &Path, file: &Path, more: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(["-n", "-r", text(file)]).args(more);
    let output = command.output().expect("tshark runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {error}");
    for word in ["cut short", "appears", "damaged", "isn't"] {
        assert!(!error.contains(word), "tshark: {error}");
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shown(program: &Path, file: &Path) -> Vec<Shown> {
    let fields = "frame.len frame.cap_len nflog.uid frame.packet_flags_direction ip.src ipv6.src \
        frame.comment";
    let mut more = vec!["-T", "fields", "-E", "separator=/t", "-E", "aggregator=~"];
    more.extend(fields.split_whitespace().flat_map(|field| ["-e", field]));
    tshark(program, file, &more)
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let number = |at: usize| cells[at].parse().ok();
            Shown {
                len: number(0).expect("a length"),
                captured: number(1).expect("a length"),
                uid: number(2),
                sent: cells[3].ends_with('2'),
                src: [cells[4], cells[5]].concat(),
                comments: cells[6].split('~').map(str::to_owned).collect(),
            }
        })
        .collect()
}

fn export(case: &Path, to: &Path, more: &[&str]) {
    let first = ["export", text(case), "--what", "packets", "--format"];
    let rest = ["pcapng", "-o", text(to)];
    daemon::output(first.into_iter().chain(rest).chain(more.iter().copied())).expect("an export");
}

const UNREDACTED: [&str; 3] = ["--unredacted", "--by", "A. Rao"];

fn inspected(dir: &Path) -> (PathBuf, u64) {
    let sample = sample::write(dir).expect("written");
    let case = dir.join("case");
    let arguments = sample.inspect(&case);
    let summary = daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    let summary = daemon::json(summary.trim()).expect("a summary");
    (case, summary["packets"].as_u64().expect("a count"))
}

#[test]
fn tshark_shows_what_is_known_of_each_packet() {
    let Some(judge) = judges::tshark("tshark_shows_what_is_known_of_each_packet") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (case, packets) = inspected(dir.path());
    let file = dir.path().join("all.pcapng");
    export(&case, &file, &UNREDACTED);
    let all = shown(&judge, &file);
    assert_eq!(all.len() as u64, packets);
    let flows = daemon::export(&case, "flows").expect("flows");
    let mut of_flow: BTreeMap<&str, Vec<&Shown>> = BTreeMap::new();
    for packet in &all {
        assert!(packet.comments[0].starts_with("source: "), "{packet:?}");
        if let Some(label) = packet.comments[1].strip_prefix("flow: ") {
            of_flow.entry(label).or_default().push(packet);
        }
    }
    let mut findings = 0;
    for flow in &flows {
        let label = flow["flow"].as_str().expect("a label");
        let found = of_flow.get(label).map_or(&[][..], Vec::as_slice);
        assert!(!found.is_empty(), "no packet is of flow {label}");
        let uid = flow["owner"]["uid"].as_u64();
        let by_nflog = flow["owner"]["basis"] == "nflog";
        for packet in found {
            let said = packet.comments.join("\n");
            for name in flow["names"].as_array().expect("names") {
                let name = name["name"].as_str().expect("a name");
                assert!(said.contains(&format!("name: {name} (by ")), "{said}");
            }
            let place = flow["place"]["country"].as_str().unwrap_or_default();
            assert!(said.contains(&format!("place: {place}")), "{said}");
            for app in flow["owner"]["apps"].as_array().expect("apps") {
                assert!(said.contains(app.as_str().expect("a name")), "{said}");
            }
            assert!(packet.uid.is_none() || !by_nflog || packet.uid == uid);
            findings += said.matches("finding: record ").count();
        }
        assert!(
            !by_nflog || found.iter().any(|packet| packet.uid == uid),
            "{label}"
        );
    }
    assert!(findings > 0, "no comment names a finding");
    println!(
        "{} packets, {} flows, {findings} comments about findings",
        all.len(),
        flows.len()
    );
}

#[test]
fn a_redacted_packet_has_its_headers_and_nobodys_address() {
    let Some(judge) = judges::tshark("a_redacted_packet_has_its_headers_and_nobodys_address")
    else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (case, packets) = inspected(dir.path());
    let [redacted, whole] = ["redacted", "whole"].map(|name| dir.path().join(name));
    export(&case, &redacted, &[]);
    export(&case, &whole, &UNREDACTED);
    let (covered, open) = (shown(&judge, &redacted), shown(&judge, &whole));
    assert_eq!(covered.len() as u64, packets);
    let [less, more] = [&redacted, &whole].map(|path| fs::read(path).expect("a file"));
    for own in [[192, 168, 43, 7], [192, 168, 43, 100]] {
        let has = |bytes: &[u8]| bytes.windows(4).any(|at| at == own);
        assert!(has(&more), "{own:?} is not in what is whole");
        assert!(!has(&less), "{own:?} is in what is redacted");
    }
    let replaced = covered
        .iter()
        .filter(|packet| ["192.0.2.1", "2001:db8::1"].contains(&packet.src.as_str()));
    assert!(replaced.count() > 0);
    // Payload is gone, the length that it had is not.
    for (covered, open) in covered.iter().zip(&open) {
        assert!(covered.len <= open.len && covered.captured <= open.captured + 60);
        assert!(open.len - covered.len < 100, "{covered:?} {open:?}");
        assert_eq!(covered.comments[..2], open.comments[..2]);
    }
    assert!(covered.iter().any(|packet| packet.captured < packet.len));
    for layer in ["dns", "tls", "http"] {
        let found = |file: &Path| tshark(&judge, file, &["-Y", layer]).lines().count();
        assert_eq!(found(&redacted), 0, "{layer}");
        assert!(found(&whole) > 0, "{layer}");
    }
    let check = [
        "-o",
        "ip.check_checksum:TRUE",
        "-Y",
        "ip.checksum.status == 0",
    ];
    assert_eq!(tshark(&judge, &redacted, &check), "", "a checksum is wrong");
    // The same bytes again.
    let again = dir.path().join("again");
    export(&case, &again, &[]);
    assert!(fs::read(&again).expect("a file") == less);
}

#[test]
fn packets_are_asked_for_by_what_is_known_of_their_flows() {
    let Some(judge) = judges::tshark("packets_are_asked_for_by_what_is_known") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (case, _) = inspected(dir.path());
    let file = dir.path().join("asked.pcapng");
    export(&case, &file, &["--country", "SG"]);
    let found = shown(&judge, &file);
    assert!(!found.is_empty());
    for packet in &found {
        assert!(
            packet
                .comments
                .iter()
                .any(|said| said.starts_with("place: SG"))
        );
    }
    let refused = |more: &[&str]| {
        let first = ["export", text(&case), "--what"];
        let output = daemon::sakshi(first.iter().chain(more).copied())
            .output()
            .expect("the program ran");
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["packets"]).contains("go together"));
    assert!(refused(&["flows", "--format", "pcapng"]).contains("go together"));
    assert!(refused(&["packets", "--format", "pcapng"]).contains("name a file with -o"));
}

#[test]
fn tshark_shows_the_uids_of_a_live_watch() {
    if !live_possible("tshark_shows_the_uids_of_a_live_watch") {
        return;
    }
    let Some(judge) = judges::tshark("tshark_shows_the_uids_of_a_live_watch") else {
        return;
    };
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    for scene in scenes::all().iter().take(2) {
        scene.play(&handset).expect("played");
    }
    let summary = daemon.stop().expect("a summary");
    let flows = daemon::export(&case, "flows").expect("flows");
    for (name, more) in [("redacted", &[][..]), ("whole", &UNREDACTED[..])] {
        let file = handset.dir().join(name);
        export(&case, &file, more);
        let found = shown(&judge, &file);
        assert_eq!(Some(found.len() as u64), summary["packets"].as_u64());
        let mut seen = 0;
        for packet in found.iter().filter(|packet| packet.sent) {
            let Some(uid) = packet.uid else { continue };
            let flow = packet.comments[1].trim_start_matches("flow: ");
            let flow = flows.iter().find(|known| known["flow"] == flow);
            let owner = &flow.expect("its flow is known")["owner"];
            let told = [&owner["uid"], &owner["creator_uid"], &owner["disputed_uid"]];
            assert!(told.iter().any(|told| **told == uid), "{packet:?} {owner}");
            seen += 1;
        }
        println!("{name}: {} packets, {seen} with a UID", found.len());
        assert!(seen > 0);
    }
}
