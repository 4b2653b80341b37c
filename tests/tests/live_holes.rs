//! Our rules are flushed again and again, another program listens to a group of its own, the lock
//! of iptables is held by a third, and one of its commands fails now and then: capture goes on, each
//! hole is a gap, and what was seen, lost and missed adds up to what a counter of ours counted.
//!
//! `SAKSHI_HOLES_SECONDS=60` flushes for a minute; the everyday run is shorter.

use std::{
    fs::{File, Permissions},
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use sakshi::{
    capture::nflog::socket::{Delivery, GroupSocket, Received},
    platform::clock::{Clock as _, SystemClock},
    time::Timestamp,
};
use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, counter, places, script::Action},
    live_possible,
};
use serde_json::Value;

/// Seconds of flushing, without the variable.
const SECONDS: u64 = 10;
/// How often netd flushes.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// How long the lock is held: longer than the daemon waits for it.
const LOCKED: Duration = Duration::from_secs(7);
/// The pause of a sender that sends steadily.
const PAUSE: Duration = Duration::from_millis(5);
/// Datagrams of an app between two flushes.
const BURST: u64 = 300;
/// The other program's group, in the range from which the daemon takes its own.
const OTHER_GROUP: u16 = 100;
/// The chains that netd has in the filter table.
const NETD: [&str; 3] = ["oem_out", "fw_OUTPUT", "bw_OUTPUT"];
/// Legacy iptables has a lock, as on a phone.
const PROGRAMS: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// While this file is there, each third look of IPv6 at the table with the independent counter fails.
const FAILING: &str = "failing";

/// Commands that are the real ones with a lock of their own, so that nobody else on this machine
/// waits for it.
fn commands(dir: &Path, lock: &Path) -> PathBuf {
    for name in ["iptables", "ip6tables"] {
        for suffix in ["", "-restore"] {
            let path = dir.join(format!("{name}{suffix}"));
            let failing = dir.join(FAILING);
            let (failing, lock) = (failing.display(), lock.display());
            let at_times = format!(
                "case \"$*\" in *'-t raw'*) if [ -e {failing} ]; then\n\
                 turn=$(cat {failing}); echo $(( (turn + 1) % 3 )) > {failing}\n\
                 [ \"$turn\" != 0 ] || {{ echo 'holding the xtables lock' >&2; exit 4; }}\n\
                 fi;; esac\n"
            );
            let at_times = if name == "ip6tables" { &at_times } else { "" };
            let script = format!(
                "#!/bin/sh\n{at_times}XTABLES_LOCKFILE={lock} exec {name}-legacy{suffix} \"$@\"\n"
            );
            std::fs::write(&path, script).expect("a script");
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a program");
        }
    }
    dir.join("iptables")
}

fn sh(handset: &Handset, line: &str) -> String {
    handset
        .output(Command::new("sh").args(["-ec", line]))
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Makes netd's chains, and another program's rule and group.
fn furnish(handset: &Handset, dir: &Path) {
    for program in ["iptables", "ip6tables"] {
        let program = dir.join(program).display().to_string();
        for chain in NETD {
            sh(
                handset,
                &format!("{program} -w -N {chain}; {program} -w -A OUTPUT -j {chain}"),
            );
        }
        let log = format!("-j NFLOG --nflog-group {OTHER_GROUP}");
        sh(handset, &format!("{program} -w -A OUTPUT {log}"));
    }
}

/// Flushes what netd flushes at its restart, and everybody else's chains with it; every second
/// time the kernel's own chain too, with the jumps in it. Gives when it did.
fn flush(handset: &Handset, dir: &Path, with_jumps: bool) -> Flush {
    let before = SystemClock.now();
    for program in ["iptables", "ip6tables"] {
        let program = dir.join(program).display().to_string();
        let hook = if with_jumps { "-F OUTPUT\n" } else { "" };
        // Listed first: the two commands would wait for each other's lock.
        let listed = sh(handset, &format!("{program} -w -S"));
        let chains = listed.lines().filter(|line| line.starts_with("-N "));
        let chains: Vec<String> = chains.map(|line| line.replacen("-N", "-F", 1)).collect();
        let text = format!("*filter\n{}\n{hook}COMMIT", chains.join("\n"));
        // A chain may go between the two: the daemon mends its own.
        let line = format!("printf '%s\\n' '{text}' | {program}-restore -w 20 --noflush || true");
        sh(handset, &line);
    }
    (before, SystemClock.now())
}

/// Ends the sender, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends steadily, as root, until told to stop; counts.
fn send_steadily(stop: &AtomicBool, sent: &AtomicU64) {
    let to = [
        places::SINGAPORE.v4(places::DISCARD),
        places::MUMBAI.v6(places::DISCARD),
    ];
    let sockets = ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).expect("a socket"));
    while !stop.load(Ordering::Relaxed) {
        for (socket, to) in sockets.iter().zip(to) {
            socket.send_to(&[0; 100], to).expect("a datagram");
            sent.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(PAUSE);
    }
}

/// Datagrams of an app that sends as fast as it can.
fn burst(handset: &Handset) -> u64 {
    let flood = Action::Udp {
        to: places::CHINA.v4(places::DISCARD),
        bytes: 200,
        packets: BURST,
        answered: false,
    };
    let sent = handset.run_app(10_050, &[flood]).expect("an app");
    sent.iter().filter_map(|sent| sent.datagrams).sum()
}

/// How often it is flushed.
fn rounds() -> u64 {
    let given = std::env::var("SAKSHI_HOLES_SECONDS").ok();
    let given = given.map(|text| text.parse().expect("SAKSHI_HOLES_SECONDS is a number"));
    given.unwrap_or(SECONDS) / FLUSH_EVERY.as_secs()
}

fn number(object: &Value, key: &str) -> u64 {
    object[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {object}"))
}

fn moment(at: Timestamp) -> String {
    at.to_string()
}

/// Another program's group.
fn listen(handset: &Handset) -> GroupSocket {
    let delivery = Delivery {
        threshold: 1,
        flush_hundredths: 1,
        gather_bytes: 65_536,
        receive_buffer_bytes: 1 << 20,
    };
    let opened = handset
        .network()
        .in_handset(|| GroupSocket::open(OTHER_GROUP, &delivery));
    opened.expect("the namespace").expect("a group")
}

/// When a flush began and ended.
type Flush = (Timestamp, Timestamp);

/// Sends, flushes and holds the lock. Gives the packets sent, and the flushes.
fn tear_holes(handset: &Handset, tools: &Path, lock: &Path) -> (u64, Vec<Flush>) {
    let (stop, steady) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut flushes = Vec::new();
    let mut sent = 0;
    thread::scope(|scope| {
        let _ends = Ends(&stop);
        scope.spawn(|| {
            handset
                .network()
                .in_handset(|| send_steadily(&stop, &steady))
        });
        std::fs::write(tools.join(FAILING), "1").expect("a file");
        for _ in 0..rounds() {
            flushes.push(flush(handset, tools, flushes.len() % 2 == 1));
            sent += burst(handset);
            thread::sleep(FLUSH_EVERY);
        }
        std::fs::remove_file(tools.join(FAILING)).expect("the file");
        // Somebody holds the lock, right after a flush: the hole is mended when it is free again.
        flushes.push(flush(handset, tools, false));
        let held = File::create(lock).expect("the lock's file");
        flock(&held, FlockOperation::LockExclusive).expect("the lock");
        sent += burst(handset);
        thread::sleep(LOCKED);
        drop(held);
        sent += burst(handset);
    });
    (sent + steady.load(Ordering::Relaxed), flushes)
}

#[test]
fn each_hole_is_a_gap_and_everything_adds_up() {
    let have = |program: &&str| Command::new(program).arg("-V").output().is_ok();
    if !live_possible("each_hole_is_a_gap_and_everything_adds_up") {
        return;
    }
    if !PROGRAMS.iter().all(have) {
        println!(
            "each_hole_is_a_gap did not run: needs {}",
            PROGRAMS.join(" and ")
        );
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let tools = tempfile::tempdir().expect("a folder");
    let lock = tools.path().join("lock");
    let iptables = commands(tools.path(), &lock);
    let other = listen(&handset);
    furnish(&handset, tools.path());
    counter::set_by(&handset, &PROGRAMS).expect("counters");

    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &["--iptables", daemon::text(&iptables)])
        .expect("the daemon watches");
    let (sent, flushes) = tear_holes(&handset, tools.path(), &lock);
    let summary = daemon.stop().expect("a summary");
    let counted = counter::read_by(&handset, &PROGRAMS).expect("counters");
    println!(
        "sent {sent}, counted {counted}, flushes {}; {summary}",
        flushes.len()
    );
    assert_eq!(counted, sent, "nobody else sent");
    let outbound = &summary["outbound"];
    assert_eq!(number(outbound, "counter"), counted, "{outbound}");
    let parts = ["seen", "lost", "missed"].map(|key| number(outbound, key));
    assert_eq!(parts.iter().sum::<u64>(), counted, "{outbound}");
    assert!(parts[0] > 0 && parts[2] > 0, "no hole was torn: {outbound}");
    check_gaps(&case, &flushes, parts[2]);
    check_stop(&case, outbound);
    assert!(heard(&other) > 0, "the other program's group was disturbed");
    daemon::verify(&case).expect("intact evidence");
}

/// Each flush falls into a gap, and what the gaps counted is what was missed.
fn check_gaps(case: &Path, flushes: &[Flush], missed: u64) {
    let gaps = daemon::export(case, "gaps").expect("gaps");
    let holes: Vec<&Value> = gaps
        .iter()
        .filter(|gap| gap["cause"] == "rules_missing")
        .collect();
    for (before, after) in flushes {
        let (before, after) = (moment(*before), moment(*after));
        let covers = |gap: &&&Value| {
            let (from, to) = (gap["from"].as_str(), gap["to"].as_str());
            from.is_some_and(|from| from <= after.as_str())
                && to.is_some_and(|to| to >= before.as_str())
        };
        assert!(holes.iter().any(|gap| covers(&gap)), "{before}: {holes:?}");
    }
    let counts: Vec<Option<u64>> = holes.iter().map(|gap| gap["packets"].as_u64()).collect();
    println!("holes: {counts:?}");
    let counted: u64 = counts.iter().flatten().sum();
    // Under a sender without a pause a hole may be counted only later: by a gap of its own.
    assert_eq!(counted, missed, "{holes:?}");
}

/// The stop record carries the sums too.
fn check_stop(case: &Path, outbound: &Value) {
    let records = daemon::export(case, "records").expect("records");
    let stop = records
        .iter()
        .find(|record| record["kind"] == "stop")
        .expect("a stop record");
    assert_eq!(&stop["body"]["outbound"], outbound);
}

/// Datagrams that wait at the other program's group.
fn heard(other: &GroupSocket) -> usize {
    let mut buffer = vec![0; 128 * 1024];
    let mut datagrams = 0;
    while matches!(
        other.receive(&mut buffer),
        Ok(Received::Datagram(_) | Received::TooLong | Received::Overrun)
    ) {
        datagrams += 1;
    }
    datagrams
}

#[test]
fn ends_of_sockets_reach_their_flows() {
    if !live_possible("ends_of_sockets_reach_their_flows") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let touch = |to| Action::TcpTouch { to };
    let actions = [
        Action::Tls {
            name: places::SINGAPORE.name.to_owned(),
            to: places::SINGAPORE.v4(places::TLS),
        },
        touch(places::MUMBAI.v6(places::ECHO)),
        // Nobody listens there, and nobody says so.
        Action::Udp {
            to: places::MUMBAI.v4(places::DISCARD),
            bytes: 10,
            packets: 1,
            answered: false,
        },
    ];
    handset.run_app(10_050, &actions).expect("an app");
    let joined = || {
        let status = daemon.status().expect("a status");
        status["flows"].as_u64() >= Some(3)
    };
    sakshi_tests::wait::until(Duration::from_secs(20), || joined().then_some(()));
    // An end is held for the packets before it.
    thread::sleep(Duration::from_secs(1));
    let summary = daemon.stop().expect("a summary");
    let flows = daemon::export(&case, "flows").expect("flows");
    println!("{summary}");
    let tcp: Vec<&Value> = flows.iter().filter(|flow| flow["proto"] == "tcp").collect();
    assert_eq!(tcp.len(), 2);
    for flow in tcp {
        println!("{flow}");
        assert!(number(flow, "bytes_acked") > 0, "{flow}");
        assert_eq!(flow["state"], "closed", "{flow}");
        assert_eq!(flow["rtt_basis"], "tcp_min_rtt", "{flow}");
        assert!(number(flow, "rtt_us") > 0 && flow["socket_closed"].is_string());
    }
    let tls = flows.iter().find(|flow| flow["dport"] == 443).expect("TLS");
    assert!(
        number(tls, "bytes_received") > 500,
        "a certificate came: {tls}"
    );
    let udp = flows
        .iter()
        .find(|flow| flow["proto"] == "udp")
        .expect("UDP");
    assert_eq!(udp["state"], "attempted");
    assert!(udp["bytes_acked"].is_null() && udp["rtt_us"].is_null());
    assert!(number(&summary["closes"], "joined") >= 2, "{summary}");
}
