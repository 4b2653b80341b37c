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
/// The same with room for what a watch keeps in reserve.
const ROOMY: &str = "size=16m,mode=700";

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
fn a_disk_that_fills_up_ends_a_watch_in_order_with_its_reserve() {
    if !live_possible("a_disk_that_fills_up_ends_a_watch_in_order_with_its_reserve") {
        return;
    }
    let room = Room::open(ROOMY);
    let case = room.disk("case");
    let watch = room.watch(&case, []);
    let reserve = fs::metadata(room.seen("case/reserve")).expect("the reserve");
    assert_eq!(reserve.len(), 8 * 1024 * 1024);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&reserve);
    assert!(blocks * 512 >= reserve.len(), "{blocks} blocks");
    fill(&room);
    // What is said while the disk is full is committed all the same.
    let note = room.sakshi(["note", "the disk is full"]).output();
    println!("the note: {}", note.expect("it ran").status);
    watch.ends(
        COULD_NOT,
        &[
            "no space left",
            "ended in order",
            "free some space and start again",
        ],
    );
    let rules = room.run("iptables", &["-w", "-S"]);
    assert!(!rules.contains("NFLOG"), "rules are left: {rules}");
    assert!(!room.seen("case/reserve").exists());

    its_end_is_on_record(&room, &case);

    // Without room for a reserve nothing is begun.
    fill(&room);
    let filler = fs::File::options().write(true).open(room.seen("filler"));
    let filler = filler.expect("the filler");
    let len = filler.metadata().expect("its length").len();
    filler.set_len(len - 1024 * 1024).expect("a MiB of room");
    drop(filler);
    let run = ["run", "--case", text(&case)];
    let says = ["no space left", "8 MiB that a watch keeps in reserve"];
    check(&mut room.sakshi(run), COULD_NOT, &says);
    // With space again the case goes on; its end was in order.
    fs::remove_file(room.seen("filler")).expect("removed");
    let watch = room.watch(&case, []);
    check(&mut room.sakshi(["stop"]), DONE, &[]);
    watch.ends(DONE, &[]);
    let unclean = |record: &&Value| record["kind"] == "unclean_stop";
    assert_eq!(records(&room, &case).iter().filter(unclean).count(), 0);
    check(room.sakshi(["verify"]).arg(&case), DONE, &[]);
}

/// The end is vouched for, unlike that of a watch which broke off, and says why.
fn its_end_is_on_record(room: &Room, case: &Path) {
    let kept = keep(room, "case");
    check(room.place().sakshi(["verify"]).arg(&kept), DONE, &[]);
    let found = records(room, case);
    let of = |kind: &str| {
        found
            .iter()
            .filter(|record| record["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let gaps = of("gap");
    let full: Vec<&&Value> = gaps
        .iter()
        .filter(|gap| gap["body"]["cause"] == "disk_full")
        .collect();
    assert_eq!(full.len(), 1, "{gaps:#?}");
    let reasons: Vec<&Value> = of("checkpoint")
        .iter()
        .map(|record| &record["body"]["reason"])
        .collect();
    assert!(
        reasons.iter().any(|reason| **reason == "reserve"),
        "{reasons:?}"
    );
    assert_eq!(of("stop")[0]["body"]["reason"], "disk_full");
    assert!(of("summary")[0]["body"]["bytes_written"].is_u64());
}

/// A root of its own, in which /sdcard leads to where Android's does.
const SCRIPT: &str = "set -e; cd \"$1\"; \
    for dir in usr bin lib lib64 proc dev target; do mkdir $dir; done; \
    mkdir -p storage/emulated/0 data/sakshi; ln -s /storage/emulated/0 sdcard; \
    for dir in usr bin lib lib64 proc dev; do [ -e /$dir ] && mount --rbind /$dir $dir; done; \
    mount --bind \"$2\" target; shift 2; \
    for case in /sdcard/case /storage/emulated/0/a/b /data/sakshi/case; do \
    chroot . /target/sakshi case new $case --from /data/answers.toml || true; done";

#[test]
fn shared_storage_takes_no_case() {
    if !live_possible("shared_storage_takes_no_case") {
        return;
    }
    let room = Room::open("size=8m,mode=755");
    let own_root = room.disk("root");
    room.run("mkdir", &["-p", text(&own_root.join("data"))]);
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    fs::copy(&answers, room.seen("root/data/answers.toml")).expect("copied");
    let programs = sakshi_tests::program("sakshi");
    let programs = programs.parent().expect("a folder");
    let mut command = room.command(Path::new("unshare"));
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        SCRIPT,
        "sh",
    ]);
    let output = command
        .arg(&own_root)
        .arg(programs)
        .output()
        .expect("it ran");
    let (out, error) = [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .into();
    assert_eq!(
        error.matches("lies on shared storage").count(),
        2,
        "{error}"
    );
    assert_eq!(out.matches("authority recorded").count(), 1, "{out}{error}");
    assert!(!room.seen("root/storage/emulated/0/case").exists());
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
