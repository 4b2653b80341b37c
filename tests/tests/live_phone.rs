//! Living on a phone: Android's log, consent steps, a change from Wi-Fi to mobile and back, too
//! little memory. On a virtual handset in a namespace, so without Android.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{Error, Handset, Result, cast, places, script::Action},
    live_possible, wait,
};
use serde_json::Value;

/// Upper bound for something to be on record, or for a daemon without memory to end.
const DONE_MAX: Duration = Duration::from_mins(1);
/// How long a daemon is watched that was left no more memory: it ends, or does with what it has.
const SHORT_MAX: Duration = Duration::from_secs(10);
/// Flows that the load would make if nobody ended it.
const ENDLESS: u64 = 1_000_000;

fn bodies(case: &Path, kind: &str) -> Vec<Value> {
    let records = daemon::export(case, "records").expect("records");
    let of_kind = records.into_iter().filter(|record| record["kind"] == kind);
    of_kind.map(|mut record| record["body"].take()).collect()
}

fn replays(case: &Path) {
    daemon::verify(case).expect("intact evidence");
    daemon::output(["verify", "--replay", text(case)]).expect("the same from the journal");
}

/// An entry of `logd`, taken apart as its reader does.
#[derive(Debug)]
struct Logged {
    priority: u8,
    tag: String,
    text: String,
    seconds: u32,
}

fn logged(entry: &[u8]) -> Logged {
    assert_eq!(entry[0], 0, "the main log");
    let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 bytes"));
    assert!(number(7) < 1_000_000_000, "nanoseconds");
    let payload = &entry[11..];
    assert!(payload.len() <= 4_068, "{} bytes", payload.len());
    let mut texts = payload[1..].split(|byte| *byte == 0);
    let mut text = || {
        let bytes = texts.next().expect("a text").to_vec();
        String::from_utf8(bytes).expect("UTF-8")
    };
    Logged {
        priority: payload[0],
        tag: text(),
        text: text(),
        seconds: number(3),
    }
}

#[test]
fn the_daemon_speaks_in_androids_log_and_never_waits_for_it() {
    if !live_possible("the_daemon_speaks_in_androids_log_and_never_waits_for_it") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let socket = handset.dir().join("logdw");
    let logd = UnixDatagram::bind(&socket).expect("a stand-in for logd");
    logd.set_nonblocking(true).expect("set");
    let case = handset.dir().join("case");
    let more = ["--logcat", text(&socket)];
    let daemon = Daemon::start(&handset, &case, &more).expect("the daemon watches");
    let since = daemon.status().expect("its status")["since"].clone();
    daemon.stop().expect("a summary");
    let mut all = Vec::new();
    let mut entry = [0; 8_192];
    while let Ok(length) = logd.recv(&mut entry) {
        all.push(logged(&entry[..length]));
    }
    println!("{all:#?}");
    assert!(all.iter().all(|one| one.tag == "sakshi" && one.seconds > 0));
    let first = all.first().expect("a line");
    assert!(first.text.starts_with("watching with nflog"), "{since}");
    assert_eq!(
        (first.priority, all.last().expect("a line").priority),
        (4, 4)
    );
    assert!(all.last().expect("a line").text.starts_with("stopped; "));
    // The namespace has no BPF file system: a warning.
    let warned = |one: &Logged| one.priority == 5 && one.text.starts_with("degraded: ");
    assert!(all.iter().any(warned));

    // Nobody empties the socket: it fills, and the watch goes on.
    let writer = UnixDatagram::unbound().expect("a socket");
    writer.set_nonblocking(true).expect("set");
    while writer.send_to(&[0; 100], &socket).is_ok() {}
    let daemon = Daemon::start(&handset, &case, &more).expect("the daemon watches");
    daemon.stop().expect("a summary");
    // What is no datagram socket is no logd.
    let other = handset.dir().join("other");
    let _listener = UnixListener::bind(&other).expect("a socket");
    let daemon = Daemon::start(&handset, &case, &["--logcat", text(&other)]);
    daemon
        .expect("the daemon watches")
        .stop()
        .expect("a summary");
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn an_end_in_error_is_in_androids_log() {
    if !live_possible("an_end_in_error_is_in_androids_log") {
        return;
    }
    let room = tempfile::tempdir().expect("a folder");
    let socket = room.path().join("logdw");
    let logd = UnixDatagram::bind(&socket).expect("a stand-in for logd");
    let case = room.path().join("no/such/folder");
    let mut command = daemon::sakshi(["run", "--case", text(&case), "--logcat", text(&socket)]);
    let status = command.output().expect("runs").status;
    assert_eq!(status.code(), Some(3));
    let mut entry = [0; 8_192];
    let length = logd.recv(&mut entry).expect("an entry");
    assert_eq!(logged(&entry[..length]).priority, 6);
}

fn consent(case: &Path, more: &[&str]) -> Output {
    let mut command = daemon::sakshi(["consent", "--case", text(case)]);
    command.args(more).output().expect("runs")
}

fn consents_well(case: &Path, more: &[&str]) {
    let output = consent(case, more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// A program that takes a picture as Android's does: `screencap -p FILE`.
fn screencap(dir: &Path) -> PathBuf {
    let program = dir.join("screencap");
    fs::write(
        &program,
        "#!/bin/sh\n[ \"$1\" = -p ] && printf '\\211PNG a screen' >\"$2\"\n",
    )
    .expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("opened");
    program
}

#[test]
fn a_consent_step_is_on_record_with_its_picture() {
    if !live_possible("a_consent_step_is_on_record_with_its_picture") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let program = screencap(handset.dir());
    let taken = ["--screencap", text(&program)];
    let known = [cast::WEATHER.package, "notice 4.2 of 1 March 2026; refused"];
    consents_well(&case, &[&taken[..], &known].concat());
    let photo = handset.dir().join("photo.jpg");
    fs::write(&photo, "a photograph").expect("written");
    let given = ["--screenshot", text(&photo), "com.none.such", "no version"];
    // The same picture twice is one file.
    consents_well(&case, &given);
    consents_well(&case, &given);
    refused(&case, handset.dir());
    daemon.stop().expect("a summary");
    let steps = bodies(&case, "observation");
    assert_eq!(
        steps.len(),
        3,
        "what was refused is not on record: {steps:?}"
    );
    for step in &steps {
        assert_eq!(
            (&step["source"], &step["topic"]),
            (&"technician".into(), &"consent".into())
        );
        let file = case.join(step["facts"]["file"].as_str().expect("a file"));
        let bytes = fs::read(&file).expect("its bytes");
        assert_eq!(step["facts"]["file_bytes"], bytes.len().to_string());
        let exhibits = bodies(&case, "exhibit");
        assert_eq!(exhibits.len(), 3);
        let named = |exhibit: &Value| {
            (&exhibit["path"], &exhibit["sha256"])
                == (&step["facts"]["file"], &step["facts"]["file_sha256"])
        };
        assert!(exhibits.iter().any(named));
    }
    let facts = &steps[0]["facts"];
    assert_eq!(
        fs::read(case.join(facts["file"].as_str().expect("a file"))).expect("bytes"),
        b"\x89PNG a screen"
    );
    assert_eq!(
        (&facts["version_code"], &facts["notice"]),
        (&"1001".into(), &known[1].into())
    );
    assert_eq!(facts["screen_from"], "screencap");
    assert!(steps[1]["facts"]["version_code"].is_null(), "not known");
    assert_eq!(
        fs::read_dir(case.join("exhibits"))
            .expect("a folder")
            .count(),
        2
    );
    replays(&case);
    // Whoever changes the picture is found out.
    let file = case.join(facts["file"].as_str().expect("a file"));
    fs::write(&file, b"\x89PNG another ").expect("written");
    daemon::verify(&case).expect_err("a changed picture");
}

/// What is not taken says why, and the watch goes on.
fn refused(case: &Path, dir: &Path) {
    let empty = dir.join("empty.png");
    fs::write(&empty, "").expect("written");
    let long = dir.join("long.png");
    let file = fs::File::create(&long).expect("a file");
    file.set_len(33 << 20).expect("a long one");
    let (broken, much) = (dir.join("none"), "x".repeat(3_000));
    for (words, with) in [
        (["--screenshot", text(&empty), "a", "b"], "is empty"),
        (
            ["--screenshot", text(&long), "a", "b"],
            "longer than 32 MiB",
        ),
        (["--screenshot", text(&broken), "a", "b"], "none"),
        (["--screencap", text(&broken), "a", "b"], "photograph it"),
        (["--screenshot", text(&empty), "a", &much], "notice"),
    ] {
        let output = consent(case, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(with), "{words:?} without {with:?}: {said}");
    }
}

fn ip(handset: &Handset, line: &str) -> Result<()> {
    let mut command = Command::new("ip");
    handset.output(command.args(line.split(' '))).map(drop)
}

fn send(handset: &Handset, app: &cast::App, to: SocketAddr) {
    let datagrams = Action::Udp {
        to,
        bytes: 64,
        packets: 5,
        answered: false,
    };
    handset.run_app(app.uid(), &[datagrams]).expect("an app");
}

#[test]
fn a_change_from_wifi_to_mobile_and_back_is_on_record_and_nothing_is_missed() {
    if !live_possible("a_change_from_wifi_to_mobile_and_back") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    send(&handset, &cast::PUSH, places::MUMBAI.v4(places::DISCARD));
    let told = |happening: &str, name: &str, count: usize| {
        let seen = wait::until(DONE_MAX, || {
            let all = bodies(&case, "interface");
            let is =
                |body: &&Value| body["happening"] == happening && body["interface"]["name"] == name;
            (all.iter().filter(is).count() >= count).then_some(())
        });
        assert!(seen.is_some(), "{name} was not told as {happening}");
    };
    let change = |lines: &[&str]| {
        for line in lines {
            ip(&handset, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    };
    // Wi-Fi goes; mobile comes, with another address.
    change(&[
        "link set wan0 down",
        "link add rmnet_data0 type veth peer name modem",
        "link set modem up",
        "addr add 10.66.7.8/24 dev rmnet_data0",
        "link set rmnet_data0 up",
        "route add default dev rmnet_data0",
    ]);
    told("added", "rmnet_data0", 1);
    send(
        &handset,
        &cast::WEATHER,
        places::SINGAPORE.v4(places::DISCARD),
    );
    // Mobile goes altogether; Wi-Fi is back with an address that it did not have.
    change(&[
        "link del rmnet_data0",
        "link set wan0 up",
        "addr add 192.168.43.77/24 dev wan0",
        "route add default via 192.168.43.1 dev wan0 src 192.168.43.77",
    ]);
    told("removed", "rmnet_data0", 1);
    send(&handset, &cast::CHAT, places::MUMBAI.v4(places::DISCARD));
    let summary = daemon.stop().expect("a summary");
    assert_eq!(summary["lost"], 0, "{summary}");
    what_was_sent_by_which_way(&case);
    replays(&case);
}

fn what_was_sent_by_which_way(case: &Path) {
    let flows = daemon::export_unredacted(case, "flows").expect("flows");
    for (app, local, interface) in [
        (&cast::PUSH, "192.168.43.100", "wan0"),
        (&cast::WEATHER, "10.66.7.8", "rmnet_data0"),
        (&cast::CHAT, "192.168.43.77", "wan0"),
    ] {
        let of = |flow: &&Value| flow["owner"]["uid"] == app.uid();
        let flow = flows.iter().find(of);
        let flow = flow.unwrap_or_else(|| panic!("{} has no flow in {flows:#?}", app.package));
        let said = flow.to_string();
        assert!(said.contains(local), "{local}: {said}");
        assert!(said.contains(interface), "{interface}: {said}");
    }
    let known = ["not_running", "degraded"];
    let gaps = daemon::export(case, "gaps").expect("gaps");
    let other = gaps
        .iter()
        .filter(|gap| !known.contains(&gap["cause"].as_str().unwrap_or("")));
    assert_eq!(
        other.collect::<Vec<_>>(),
        [&Value::Null; 0],
        "nothing was missed"
    );
}

/// Leaves a process no more memory for data than it has taken.
fn no_more_memory(pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::io("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let bytes = kib.expect("a number") * 1_024;
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &pid.to_string(),
            &format!("--data={bytes}:{bytes}"),
        ])
        .status()
        .map_err(Error::io("prlimit (package util-linux)"))?;
    assert!(status.success(), "prlimit: {status}");
    Ok(())
}

/// Android's answer to want of memory is SIGKILL, which `live_kill` has; the kernel's may be to give
/// a process no more. Either way what was acknowledged stays, and the next start says what was not
/// seen.
#[test]
fn without_memory_the_watch_ends_and_what_it_acknowledged_stays() {
    if !live_possible("without_memory_the_watch_ends_and_what_it_acknowledged_stays") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let pid = daemon.pid();
    let follower = daemon.follow().expect("a follower");
    let load = Action::Flows {
        count: ENDLESS,
        parallel: 4,
        to: vec![places::SINGAPORE.v4(places::ECHO)],
        seed: 8,
        open_ms: 0,
    };
    let app = handset.start_app(10_050, &[load]).expect("the load");
    wait::until(DONE_MAX, || (follower.count() > 0).then_some(())).expect("an acknowledgement");
    no_more_memory(pid).expect("no more memory");
    let ended = wait::until(SHORT_MAX, || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // It stays a zombie until the test takes it.
        let gone = state
            .rsplit(')')
            .next()
            .is_some_and(|rest| !rest.starts_with(" Z"));
        (state.is_empty() || !gone).then_some(())
    });
    app.abort().expect("the load ended");
    println!(
        "the daemon {}",
        if ended.is_some() { "ended" } else { "went on" }
    );
    daemon.kill().expect("ended");
    let acknowledged = follower.finish().expect("what was acknowledged");
    daemon::not_damaged(&case).expect("its evidence");
    let records = daemon::export(&case, "records").expect("records");
    let lost = acknowledged.iter().filter(|head| {
        let held = |record: &&Value| record["seq"] == head.seq && record["hash"] == head.hash;
        !records.iter().any(|record| held(&record))
    });
    assert_eq!(lost.count(), 0, "acknowledged, but gone");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches again");
    daemon.stop().expect("a summary");
    let gaps = daemon::export(&case, "gaps").expect("gaps");
    assert!(
        gaps.iter().any(|gap| gap["cause"] == "unclean_stop"),
        "{gaps:?}"
    );
    replays(&case);
}
