//! Disks that are read-only or full: small file systems in a mount namespace of the test's own.

use std::{fs, path::Path};

use sakshi_tests::{
    daemon::{self, text},
    live_possible,
};
use serde_json::Value;

use super::{COULD_NOT, DONE, INCOMPLETE, Place, check, made, room::Room};

/// A disk on which a case can be made and little more.
const SMALL: &str = "size=4m,mode=700";

/// Takes every byte that is left.
fn fill(room: &Room) {
    let filler = fs::File::create(room.seen("filler")).expect("a file");
    let error = std::io::copy(&mut std::io::repeat(1), &mut &filler).expect_err("the disk is full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

/// Copies a case out of the room, with the modes of its files.
fn keep(room: &Room, name: &str) -> std::path::PathBuf {
    let kept = room.place().at("kept");
    room.run("cp", &["-a", text(&room.disk(name)), text(&kept)]);
    kept
}

/// The case has no damage; its last session has no end.
fn verified(place: &Place, case: &Path) {
    check(place.sakshi(["verify"]).arg(case), INCOMPLETE, &[]);
}

#[test]
fn a_read_only_disk_takes_no_case_but_gives_one() {
    if !live_possible("a_read_only_disk_takes_no_case_but_gives_one") {
        return;
    }
    let room = Room::open("size=8m,mode=700");
    let capture = room.place().file("sample.pcap", made::sample());
    let case = room.disk("case");
    check(
        &mut room.sakshi(["inspect", text(&capture), "--case", text(&case)]),
        DONE,
        &[],
    );
    room.run("mount", &["-o", "remount,ro", text(&room.disk(""))]);

    let other = room.disk("other");
    let says = [
        "cannot be written",
        "read-only",
        "put the case on a writable one",
    ];
    let inspect = ["inspect", text(&capture), "--case", text(&other)];
    check(
        &mut room.sakshi(inspect),
        COULD_NOT,
        &[text(&other), says[0], says[1], says[2]],
    );
    for case in [&case, &other] {
        check(
            &mut room.sakshi(["run", "--case", text(case)]),
            COULD_NOT,
            &says,
        );
    }
    for words in [
        &["findings"][..],
        &["verify"],
        &["export", "--what", "flows"],
        &["inspect", "--dry-run"],
    ] {
        check(room.sakshi(words.iter().copied()).arg(&case), DONE, &[]);
    }
    let flows = room.disk("flows");
    let export = ["export", text(&case), "--what", "flows", "-o", text(&flows)];
    check(
        &mut room.sakshi(export),
        COULD_NOT,
        &["cannot be written: Read-only file system"],
    );
}

#[test]
fn a_full_disk_ends_an_inspection_with_the_reason() {
    if !live_possible("a_full_disk_ends_an_inspection_with_the_reason") {
        return;
    }
    let room = Room::open(SMALL);
    // 40,000 flows are more than the disk holds.
    let packets: Vec<_> = (0..40_000_u16)
        .map(|at| (made::START + u32::from(at) / 100, made::datagram(at)))
        .collect();
    let capture = room.place().file("large.pcap", made::pcap(&packets));
    let case = room.disk("case");
    let inspect = ["inspect", text(&capture), "--case", text(&case)];
    let says = ["no space left on the file system", "free some space"];
    check(&mut room.sakshi(inspect), COULD_NOT, &says);
    verified(room.place(), &keep(&room, "case"));

    // No room even for the first record.
    fill(&room);
    let other = room.disk("other");
    let inspect = ["inspect", text(&capture), "--case", text(&other)];
    check(&mut room.sakshi(inspect), COULD_NOT, &says[..1]);
}

#[test]
fn a_disk_that_fills_up_ends_a_watch_and_keeps_what_was_acknowledged() {
    if !live_possible("a_disk_that_fills_up_ends_a_watch_and_keeps_what_was_acknowledged") {
        return;
    }
    let room = Room::open(SMALL);
    let case = room.disk("case");
    let watch = room.watch(&case, []);
    let said = check(
        &mut room.sakshi(["note", "before the disk was full"]),
        DONE,
        &[],
    );
    let seq: i64 = said
        .stdout
        .split(&[' ', ','][..])
        .find_map(|word| word.parse().ok())
        .expect("a number");
    fill(&room);
    watch.ends(
        COULD_NOT,
        &[
            "evidence.db",
            "no space left",
            "what was acknowledged is kept",
        ],
    );
    let rules = room.run("iptables", &["-w", "-S"]);
    assert!(!rules.contains("NFLOG"), "rules are left: {rules}");

    let kept = keep(&room, "case");
    verified(room.place(), &kept);
    let note = records(&room, &case)
        .into_iter()
        .find(|record| record["seq"] == seq)
        .expect("the record that was acknowledged");
    assert_eq!(note["kind"], "note");
    let hash = note["hash"].as_str().expect("a hash");
    assert!(said.stdout.contains(hash), "{} is not {hash}", said.stdout);

    // With space again the case goes on, and the stop without a record is one.
    fs::remove_file(room.seen("filler")).expect("removed");
    let watch = room.watch(&case, []);
    check(&mut room.sakshi(["stop"]), DONE, &[]);
    watch.ends(DONE, &[]);
    let unclean = records(&room, &case)
        .iter()
        .filter(|record| record["kind"] == "unclean_stop")
        .count();
    assert_eq!(unclean, 1);
    check(room.sakshi(["verify"]).arg(&case), DONE, &[]);
}

fn records(room: &Room, case: &Path) -> Vec<Value> {
    let mut command = room.sakshi(["export", text(case), "--what", "records"]);
    let said = check(&mut command, DONE, &[]);
    let lines = said.stdout.lines();
    lines
        .map(|line| daemon::json(line).expect("JSON"))
        .collect()
}

/// A case that was not closed in order is read from a copy; there must be a place for it.
#[test]
fn without_a_folder_for_the_copy_the_remedy_is_said() {
    let place = Place::new();
    let case = place.case();
    // What a killed daemon leaves: a log beside the database.
    place.file("case/evidence.db-wal", [0; 32]);
    let mut command = place.sakshi(["findings"]);
    command.arg(&case).env("TMPDIR", place.at("nowhere"));
    check(
        &mut command,
        COULD_NOT,
        &["which cannot be made in", "nowhere", "set TMPDIR"],
    );
    check(place.sakshi(["findings"]).arg(&case), DONE, &[]);
}
