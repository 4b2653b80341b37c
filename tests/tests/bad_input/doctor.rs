//! The doctor on a machine that is broken, or that somebody broke for it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
};

use sakshi_tests::{
    daemon::{self, text},
    is_root,
};
use serde_json::Value;

use super::{COULD_NOT, DONE, NO, Place, Said, WRONG_USE, check, judge};

/// A program that does what the script says.
fn program(place: &Place, name: &str, script: &str) -> PathBuf {
    let path = place.file(name, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    path
}

fn examination(said: &Said) -> Value {
    daemon::json(said.stdout.trim()).expect("one JSON object")
}

fn line(said: &Said, key: &str) -> Value {
    let examination = examination(said);
    let lines = examination["lines"].as_array().expect("lines");
    let found = lines.iter().find(|line| line["key"] == key);
    found.unwrap_or_else(|| panic!("no line {key}")).clone()
}

/// Examines with other arguments; whatever else this machine has, it must end with 0 or 1.
fn examine(place: &Place, more: &[&str]) -> Said {
    let mut command = place.sakshi(["doctor", "--format", "json"]);
    let output = command.args(more).output().expect("it runs");
    let code = output.status.code().expect("no signal");
    assert!([DONE, NO].contains(&code), "{more:?}: {code}");
    let said = judge("sakshi doctor", &output, code, &[]);
    let failed = examination(&said)["counts"]["failed"] != 0;
    assert_eq!(failed, code == NO, "the exit code says whether one failed");
    said
}

#[test]
fn words_that_it_does_not_know_are_wrong_use() {
    let place = Place::new();
    for words in [
        &["doctor", "extra"][..],
        &["doctor", "--format", "xml"],
        &["doctor", "--case"],
        &["doctor", "--fix"],
    ] {
        check(
            &mut place.sakshi(words.iter().copied()),
            WRONG_USE,
            &["--help"],
        );
    }
}

#[test]
fn an_inventory_that_cannot_be_read_fails_its_line() {
    let place = Place::new();
    let file = place.file("file", "x");
    for named in ["/nonexistent", text(&file)] {
        let said = examine(&place, &["--inventory", named]);
        let line = line(&said, "inventory");
        assert_eq!(line["verdict"], "failed", "{line:#}");
        let says = line["says"].as_str().expect("a sentence");
        assert!(
            says.contains(named) && says.contains("cannot be read"),
            "{says}"
        );
    }
    let empty = place.at("empty");
    fs::create_dir(&empty).expect("a folder");
    place.file("empty/packages.xml", [0xff; 5000]);
    let line = line(
        &examine(&place, &["--inventory", text(&empty)]),
        "inventory",
    );
    assert_eq!(line["verdict"], "degraded", "{line:#}");
    assert_eq!(line["facts"]["apps"], 0);
}

#[test]
fn a_packet_filter_that_lies_hangs_or_floods_is_a_line() {
    let place = Place::new();
    for (name, script, verdict) in [
        ("failing", "echo no table >&2; exit 3", "degraded"),
        (
            "flooding",
            "yes -- '-A INPUT -c 1 1 -j ACCEPT' | head -c 9000000",
            "degraded",
        ),
        ("babbling", "head -c 100000 /dev/urandom", "ok"),
        ("empty", "exit 0", "ok"),
        (
            "locked",
            "[ \"$1\" = -V ] && exit 0; echo 'Another app is currently holding the xtables lock' \
             >&2; exit 4",
            "failed",
        ),
    ] {
        let path = program(&place, name, script);
        let line = line(&examine(&place, &["--iptables", text(&path)]), "iptables");
        assert_eq!(line["verdict"], verdict, "{name}: {line:#}");
        let size = line.to_string().len();
        assert!(size < 16 * 1024, "{name}: {size} bytes in one line");
    }
    let hanging = program(&place, "hanging", "exec sleep 600");
    let said = examine(&place, &["--iptables", text(&hanging)]);
    let line = line(&said, "iptables");
    assert_eq!(line["verdict"], "degraded");
    let says = line["says"].as_str().expect("a sentence");
    assert!(says.contains("did not end within 2 s"), "{says}");
    let nothing = ["--iptables", "/nonexistent/iptables"];
    for key in ["iptables", "ip6tables"] {
        let line = self::line(&examine(&place, &nothing), key);
        assert_eq!(line["verdict"], "degraded", "{line:#}");
        let lost = line["lost"].as_str().expect("what is lost");
        assert!(lost.contains("packet sockets are used instead"), "{lost}");
    }
}

#[test]
fn a_place_for_the_case_that_is_none_is_a_line() {
    let place = Place::new();
    let file = place.file("file", "x");
    let ring = place.at("ring");
    symlink(&ring, &ring).expect("a link");
    let long = "x/".repeat(3000);
    for case in [
        text(&file),
        text(&ring),
        &long,
        "/proc/self/fd",
        "/sdcard/case",
    ] {
        let said = examine(&place, &["--case", case]);
        let line = line(&said, "storage");
        assert_eq!(line["facts"]["given"], true, "{case:.40}: {line:#}");
        if case == "/sdcard/case" {
            assert_eq!(line["verdict"], "failed", "{line:#}");
        }
    }
}

#[test]
fn control_sockets_that_are_none_are_left_behind_by_nobody_and_stay() {
    let place = Place::new();
    let sockets = place.at("sockets");
    fs::create_dir(&sockets).expect("a folder");
    place.file("sockets/a.sock", "no socket");
    symlink("/nonexistent", sockets.join("b.sock")).expect("a link");
    let line = line(&examine(&place, &[]), "leftovers");
    assert_eq!(line["facts"]["stale_sockets"], 2, "{line:#}");
    assert_eq!(line["verdict"], "degraded");
    assert_eq!(fs::read_dir(&sockets).expect("the folder").count(), 2);
    fs::remove_dir_all(&sockets).expect("removed");
    place.file("sockets", "a file");
    let line = self::line(&examine(&place, &[]), "daemon");
    assert_eq!(line["verdict"], "unknown", "{line:#}");
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let place = Place::new();
    fs::create_dir(place.at("sockets")).expect("a folder");
    let silent = std::os::unix::net::UnixListener::bind(place.at("sockets/x.sock"));
    let silent = silent.expect("somebody who never answers");
    // That this line is reached at all says that nobody waits for an answer that never comes.
    let line = line(&examine(&place, &[]), "daemon");
    assert_eq!(line["verdict"], "failed", "{line:#}");
    drop(silent);
}

#[test]
fn output_that_cannot_be_written_is_said() {
    let place = Place::new();
    for format in ["text", "json"] {
        let full = fs::File::options().write(true).open("/dev/full");
        let output = place
            .sakshi(["doctor", "--format", format])
            .stdout(full.expect("the full device"))
            .output()
            .expect("it runs");
        judge(
            "doctor",
            &output,
            COULD_NOT,
            &["standard output cannot be written"],
        );
    }
}

#[test]
fn without_root_it_says_what_cannot_be_told() {
    const NOBODY: u32 = 65_534;
    let place = Place::new();
    let built = sakshi_tests::program("sakshi");
    let copy = place.at("sakshi");
    let mut command = if is_root() {
        // Where the program lies, nobody may look.
        fs::copy(&built, &copy).expect("a copy");
        fs::set_permissions(place.at(""), fs::Permissions::from_mode(0o755)).expect("opened");
        let mut command = std::process::Command::new(&copy);
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        std::process::Command::new(&built)
    };
    command
        .args(["doctor", "--format", "json"])
        .current_dir(Path::new("/"))
        .env("SAKSHI_RUNTIME_DIR", place.at("sockets"));
    let said = check(&mut command, NO, &[]);
    assert_eq!(line(&said, "privileges")["verdict"], "failed");
    for key in ["nflog", "packet_socket"] {
        let line = line(&said, key);
        assert_eq!(line["verdict"], "unknown", "{line:#}");
    }
    assert_ne!(line(&said, "leftovers")["verdict"], "failed");
}
