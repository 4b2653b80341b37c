//! A live watch on a machine that lacks something: iptables, a free NFLOG group, a place for its
//! socket, or somebody who listens to it. Each test has a network of its own.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use sakshi::capture::nflog::socket::{Delivery, GroupSocket};
use sakshi_tests::{
    daemon::{self, text},
    live_possible,
};
use serde_json::Value;

use super::{COULD_NOT, DONE, INCOMPLETE, check, room::Room};

const DISK: &str = "size=32m,mode=700";

/// A folder of programs with these of the system in it.
fn programs(room: &Room, names: &[&str]) -> PathBuf {
    let folder = room.place().at("bin");
    fs::create_dir(&folder).expect("a folder");
    let search = std::env::var_os("PATH").expect("a PATH");
    for name in names {
        let found = std::env::split_paths(&search)
            .map(|dir| dir.join(name))
            .find(|path| path.exists());
        symlink(found.expect("a program of the system"), folder.join(name)).expect("a link");
    }
    folder
}

/// A path to a program, so that `nsenter` needs no PATH, with another PATH for the program.
fn run_with_path(room: &Room, path: &std::path::Path, arguments: &[&str]) -> std::process::Command {
    let mut command = room.command(std::path::Path::new("/usr/bin/env"));
    command.arg(format!("PATH={}", path.display()));
    command.arg(sakshi_tests::program("sakshi")).args(arguments);
    command
}

fn status(room: &Room) -> Value {
    let said = check(&mut room.sakshi(["status", "--format", "json"]), DONE, &[]);
    daemon::json(said.stdout.trim()).expect("a status")
}

fn stop(room: &Room) {
    check(&mut room.sakshi(["stop"]), DONE, &[]);
}

#[test]
fn without_iptables_nflog_is_refused_and_auto_takes_the_packet_socket() {
    if !live_possible("without_iptables_nflog_is_refused_and_auto_takes_the_packet_socket") {
        return;
    }
    let room = Room::open(DISK);
    let nothing = programs(&room, &[]);
    let case = room.disk("case");
    let arguments = ["run", "--case", text(&case), "--capture", "nflog"];
    check(
        &mut run_with_path(&room, &nothing, &arguments),
        COULD_NOT,
        &[
            "`iptables` was not found",
            "install iptables",
            "`--capture packet`",
        ],
    );

    let watch = room.watch_by(run_with_path(
        &room,
        &nothing,
        &["run", "--format", "json", "--case", text(&case)],
    ));
    assert!(
        watch
            .said()
            .contains("degraded: NFLOG cannot be used: `iptables` was not found"),
        "{}",
        watch.said()
    );
    assert_eq!(status(&room)["capture"], "packet");
    stop(&room);
    watch.ends(DONE, &[]);
    let gaps = room_gaps(&room, &case);
    let gap = gaps
        .iter()
        .find(|gap| gap["cause"] == "degraded")
        .expect("the gap");
    let detail = gap["detail"].as_str().unwrap_or_default();
    assert!(
        detail.starts_with("NFLOG cannot be used: `iptables` was not found"),
        "{detail}"
    );
    assert_eq!(gap["to"], Value::Null, "it is open to the end");
}

/// The gaps of a case on the room's disk, which must be intact.
fn room_gaps(room: &Room, case: &std::path::Path) -> Vec<Value> {
    check(room.sakshi(["verify"]).arg(case), DONE, &[]);
    let said = check(
        &mut room.sakshi(["export", text(case), "--what", "gaps"]),
        DONE,
        &[],
    );
    said.stdout
        .lines()
        .map(|line| daemon::json(line).expect("JSON"))
        .collect()
}

#[test]
fn without_ip6tables_no_half_of_the_rules_is_set() {
    if !live_possible("without_ip6tables_no_half_of_the_rules_is_set") {
        return;
    }
    let room = Room::open(DISK);
    let half = programs(&room, &["iptables", "iptables-restore", "iptables-save"]);
    let case = room.disk("case");
    let arguments = ["run", "--case", text(&case), "--capture", "nflog"];
    check(
        &mut run_with_path(&room, &half, &arguments),
        COULD_NOT,
        &[
            "`ip6tables` was not found",
            "(with ip6tables)",
            "`--capture packet`",
        ],
    );
    let rules = room.run("iptables", &["-w", "-S"]);
    assert!(!rules.contains("NFLOG"), "{rules}");

    // Rules that a crash left are removed as far as the commands go.
    let watch = room.watch(&case, []);
    drop(watch);
    assert!(
        room.run("iptables", &["-w", "-S"]).contains("NFLOG"),
        "left by the crash"
    );
    check(
        &mut run_with_path(&room, &half, &["clean"]),
        COULD_NOT,
        &["`ip6tables` was not found"],
    );
    assert!(
        !room.run("iptables", &["-w", "-S"]).contains("NFLOG"),
        "IPv4 is clean"
    );
    assert!(
        room.run("ip6tables", &["-w", "-S"]).contains("NFLOG"),
        "IPv6 is not, and that was said"
    );
    check(&mut room.sakshi(["clean"]), DONE, &[]);
    assert!(!room.run("ip6tables", &["-w", "-S"]).contains("NFLOG"));
}

#[test]
fn a_group_that_is_taken_is_passed_over() {
    if !live_possible("a_group_that_is_taken_is_passed_over") {
        return;
    }
    let room = Room::open(DISK);
    let delivery = Delivery {
        threshold: 1,
        flush_hundredths: 1,
        gather_bytes: 4096,
        receive_buffer_bytes: 65_536,
    };
    let take = |groups: std::ops::RangeInclusive<u16>| -> Vec<GroupSocket> {
        room.in_network(|| {
            groups
                .map(|group| GroupSocket::open(group, &delivery).expect("a free group"))
                .collect()
        })
    };
    let taken = take(100..=101);
    let case = room.disk("case");
    let watch = room.watch(&case, ["--capture", "nflog"]);
    let rules = room.run("iptables", &["-w", "-S"]);
    for (group, used) in [(100, false), (101, false), (102, true), (103, true)] {
        assert_eq!(
            rules.contains(&format!("--nflog-group {group}")),
            used,
            "{group}: {rules}"
        );
    }
    stop(&room);
    watch.ends(DONE, &[]);

    let all = take(102..=130);
    let arguments = ["run", "--case", text(&case), "--capture", "nflog"];
    check(
        &mut room.sakshi(arguments),
        COULD_NOT,
        &[
            "free NFLOG groups are needed",
            "groups 100 to 130 are taken by other processes",
            "end those that listen there",
        ],
    );
    drop((taken, all));
}

#[test]
fn a_folder_for_the_socket_that_cannot_be_used_is_named() {
    if !live_possible("a_folder_for_the_socket_that_cannot_be_used_is_named") {
        return;
    }
    let room = Room::open(DISK);
    let case = room.disk("case");
    let file = room.place().file("file", "no folder");
    let open = room.place().at("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .expect("open to all");
    let long = room.place().at(&"x".repeat(120));
    for (folder, says) in [
        (&file, "Not a directory"),
        (
            &open,
            "its mode is 1777, so others may write there; expected 0700",
        ),
        (&long, "SUN_LEN"),
        (&PathBuf::from("/proc/sakshi"), ""),
    ] {
        let mut command = room.sakshi(["run", "--case", text(&case)]);
        command.env("SAKSHI_RUNTIME_DIR", folder);
        check(
            &mut command,
            COULD_NOT,
            &[
                text(folder),
                says,
                "set SAKSHI_RUNTIME_DIR to a folder that root can write",
            ],
        );
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&open).expect("there").permissions());
    assert_eq!(
        mode & 0o7777,
        0o1777,
        "somebody else's folder stays as it was"
    );
    assert!(!room.run("iptables", &["-w", "-S"]).contains("NFLOG"));

    // The case goes on where the socket can be made.
    let watch = room.watch(&case, []);
    stop(&room);
    watch.ends(DONE, &[]);
    check(room.sakshi(["verify"]).arg(&case), DONE, &[]);
}

#[test]
fn a_case_that_is_watched_into_is_locked_and_the_watch_goes_on() {
    if !live_possible("a_case_that_is_watched_into_is_locked_and_the_watch_goes_on") {
        return;
    }
    let room = Room::open(DISK);
    let other = Room::open(DISK);
    // On a disk that both rooms see.
    let case = room.place().at("case");
    let watch = room.watch(&case, []);
    let mut command = other.sakshi(["run", "--case", text(&case)]);
    check(
        &mut command,
        COULD_NOT,
        &[text(&case), "is locked", "sakshi stop"],
    );
    // In the same network a second daemon would take the rules away, whatever its case.
    let second = room.disk("second");
    let says = [
        "a daemon is watching (process ",
        text(&case),
        "end it with `sakshi stop` first",
    ];
    check(
        &mut room.sakshi(["run", "--case", text(&second)]),
        COULD_NOT,
        &says,
    );
    check(&mut room.sakshi(["clean"]), COULD_NOT, &says);
    assert!(!room.seen("second").exists());
    // Readers need no lock.
    for words in [&["findings"][..], &["export", "--what", "records"]] {
        check(room.sakshi(words.iter().copied()).arg(&case), DONE, &[]);
    }
    check(room.sakshi(["verify"]).arg(&case), INCOMPLETE, &[]);
    assert_eq!(status(&room)["state"], "watching");
    assert!(room.run("iptables", &["-w", "-S"]).contains("NFLOG"));
    stop(&room);
    watch.ends(DONE, &[]);
    check(room.sakshi(["verify"]).arg(&case), DONE, &[]);
}

#[test]
fn a_long_note_is_refused_by_the_daemon_too() {
    use std::io::{BufRead as _, BufReader, Write as _};
    if !live_possible("a_long_note_is_refused_by_the_daemon_too") {
        return;
    }
    let room = Room::open(DISK);
    let case = room.disk("case");
    let watch = room.watch(&case, []);
    check(
        &mut room.sakshi(["note", &"x".repeat(5_000)]),
        COULD_NOT,
        &["1 to 4000 characters"],
    );
    check(&mut room.sakshi(["note", &"ü".repeat(4_000)]), DONE, &[]);
    // Past the command line: what it refuses, and what is no request at all.
    let socket = fs::read_dir(room.place().at("sockets"))
        .expect("the folder")
        .next()
        .expect("a socket")
        .expect("it")
        .path();
    let ask = |line: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connected");
        // A daemon that hangs up early has answered too.
        drop(stream.write_all(line));
        drop(stream.write_all(b"\n"));
        let mut answer = String::new();
        drop(BufReader::new(stream).read_line(&mut answer));
        answer
    };
    let note = |text: &str| format!("{{\"command\":\"note\",\"text\":\"{text}\"}}").into_bytes();
    assert!(ask(&note(&"x".repeat(5_000))).contains("this one has 5000"));
    assert!(ask(b"{\"command\":\"format\"}").contains("the request is not understood"));
    assert!(ask(b"no json").contains("the request is not understood"));
    assert_eq!(ask(b"\xff\xfe"), "", "no text at all: hung up");
    assert_eq!(
        ask(&note(&"x".repeat(100_000))),
        "",
        "longer than a line: hung up"
    );
    assert_eq!(status(&room)["state"], "watching");
    stop(&room);
    watch.ends(DONE, &[]);
    let said = check(
        &mut room.sakshi(["export", text(&case), "--what", "records"]),
        DONE,
        &[],
    );
    assert_eq!(
        said.stdout.matches("\"kind\":\"note\"").count(),
        1,
        "only the one that was taken"
    );
}

#[test]
fn a_watch_outlives_its_terminal() {
    if !live_possible("a_watch_outlives_its_terminal") {
        return;
    }
    let room = Room::open(DISK);
    let case = room.disk("case");
    let mut command = room.sakshi(["run", "--case", text(&case)]);
    let (out, writer) = std::io::pipe().expect("a pipe");
    let (err, errors) = std::io::pipe().expect("a pipe");
    drop((out, err));
    command
        .stdin(std::process::Stdio::null())
        .stdout(writer)
        .stderr(errors);
    let mut child = command.spawn().expect("a daemon");
    drop(command);
    let watching = sakshi_tests::wait::until(std::time::Duration::from_mins(1), || {
        let output = room.sakshi(["status"]).output().ok()?;
        output.status.success().then_some(())
    });
    assert!(watching.is_some(), "it ended with {:?}", child.try_wait());
    stop(&room);
    assert_eq!(child.wait().expect("its end").code(), Some(DONE));
    check(room.sakshi(["verify"]).arg(&case), DONE, &[]);
}

#[test]
fn a_bad_rule_set_or_inventory_starts_no_watch() {
    if !live_possible("a_bad_rule_set_or_inventory_starts_no_watch") {
        return;
    }
    let room = Room::open(DISK);
    let bad = room.place().file("bad.toml", "schema = 1\nrulez = 2\n");
    let case = room.disk("case");
    let mut command = room.sakshi(["run", "--case", text(&case), "--rules", text(&bad)]);
    check(
        &mut command,
        COULD_NOT,
        &["bad.toml:2:1: unknown key `rulez`"],
    );
    let mut command = room.sakshi(["run", "--case", text(&case), "--inventory", "/nonexistent"]);
    check(
        &mut command,
        COULD_NOT,
        &["the inventory folder /nonexistent cannot be read"],
    );
    assert!(!room.seen("case").exists());
    assert!(!room.run("iptables", &["-w", "-S"]).contains("NFLOG"));
}

#[test]
fn a_folder_that_cannot_be_continued_starts_no_watch() {
    if !live_possible("a_folder_that_cannot_be_continued_starts_no_watch") {
        return;
    }
    let room = Room::open(DISK);
    let place = room.place();
    let refused = |case: &std::path::Path, says: &[&str]| {
        check(
            &mut room.sakshi(["run", "--case", text(case)]),
            COULD_NOT,
            says,
        );
    };
    fs::create_dir(place.at("full")).expect("a folder");
    let file = place.file("full/letter.txt", "of somebody");
    refused(&place.at("full"), &["is not empty and is no case"]);
    refused(&file, &["is a file, expected a folder"]);
    refused(
        &place.at("no/parent"),
        &["the folder above", "make it first"],
    );

    let case = place.case();
    let metadata = fs::read_to_string(case.join("case.json")).expect("the metadata");
    let later = metadata.replace("\"version\": 2", "\"version\": 3");
    place.file("case/case.json", later);
    refused(&case, &["has schema version 3", "reads up to 2"]);
    place.file("case/case.json", metadata);
    let open = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&case, mode).expect("another mode");
    };
    open(0o755);
    refused(&case, &["has mode 0755", "expected 0700", "chmod 700"]);
    open(0o700);
    place.file("case/evidence.db", [0xff; 4096]);
    refused(&case, &["evidence.db", "sakshi verify"]);
    fs::remove_file(case.join("evidence.db")).expect("removed");
    refused(&case, &["no evidence.db at all", "from a copy"]);
    assert!(!room.run("iptables", &["-w", "-S"]).contains("NFLOG"));
}
