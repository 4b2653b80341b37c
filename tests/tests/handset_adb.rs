//! A technician's way over adb: Debian's `adb`, a stand-in for its server, and a virtual handset in
//! a namespace behind it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sakshi_tests::{
    adb::{SERIAL, Tethered, adb_possible},
    daemon::{self, text},
    handset::{Handset, bpffs::Bpffs, places, script::Action},
    program,
    traces::{Places, Traces},
    wait,
};
use serde_json::Value;

/// A filled template.
fn authority() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml")
}

/// What `sakshi handset` says, and how it ends.
fn said(phone: &Tethered, words: &[&str]) -> (String, String, Option<i32>) {
    let output = phone.sakshi(words).output().expect("sakshi runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code(),
    );
    println!("$ sakshi handset {}\n{}{}", words.join(" "), said.0, said.1);
    said
}

fn well(phone: &Tethered, words: &[&str]) -> String {
    let (out, err, code) = said(phone, words);
    assert_eq!(code, Some(0), "{words:?}: {out}{err}");
    out
}

/// What a watch may leave on the handset; its folder is all of its data partition here.
fn traces(phone: &Tethered, bpffs: &Bpffs) -> Traces {
    let handset: &Handset = &phone.handset;
    let places = Places {
        files: vec![phone.path("").into()],
        except: Vec::new(),
        bpffs: bpffs.path().into(),
        programs: phone.path("").into(),
    };
    Traces::look(&|command| handset.output(command), &places).expect("what is there")
}

/// Whether the kernel lets a process of ours be spared when memory is short (`CAP_SYS_RESOURCE`).
fn may_be_spared() -> bool {
    let line = "echo -900 2>/dev/null >/proc/self/oom_score_adj";
    let status = Command::new("sh").args(["-c", line]).status();
    status.is_ok_and(|status| status.success())
}

fn start_words<'a>(inventory: &'a str, case: &'a str, bpffs: &'a Bpffs) -> Vec<&'a str> {
    let run = ["--", "--inventory", inventory, "--capture", "nflog"];
    let mut words = vec!["start", "--case", case];
    words.extend(run);
    words.extend(["--bpffs", text(bpffs.path())]);
    words
}

/// `clean` with what `start` was given for its packet filter.
fn clean<'a>(words: &[&'a str], bpffs: &'a Bpffs) -> Vec<&'a str> {
    let mut all = vec!["clean"];
    all.extend(words);
    all.extend(["--", "--bpffs", text(bpffs.path())]);
    all
}

/// Whether the stand-in for the shim runs, by the number that was kept of it.
fn shim_runs(pid: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("org.sakshi.Main")
}

/// Upper bound for the stand-in for the shim to begin or end.
const SHIM_MAX: Duration = Duration::from_secs(20);
/// Devices as adb lists them.
type States = &'static [(&'static str, &'static str)];

fn observed<'a>(records: &'a [Value], topic: &str) -> Vec<&'a Value> {
    let of = |record: &&Value| record["kind"] == "observation" && record["body"]["topic"] == topic;
    records
        .iter()
        .filter(of)
        .map(|record| &record["body"]["facts"])
        .collect()
}

/// From the start of a watch to an app that has sent.
fn watch(phone: &Tethered, baseline: &str, bpffs: &Bpffs) {
    // The answer to the start is lost; the watch goes on, and is found again.
    phone.server.cut("'run'", 20);
    let inventory = phone.handset.inventory();
    let authority = authority();
    let mut words = start_words(text(&inventory), "case-17", bpffs);
    words.splice(
        1..1,
        ["--baseline", baseline, "--authority", text(&authority)],
    );
    let told = well(phone, &words);
    assert!(told.contains("2 things differ"), "{told}");
    assert_eq!(phone.server.broken(), 1);
    well(phone, &["phase", "idle"]);
    well(phone, &["note", "an app's notice was refused"]);
    well(
        phone,
        &["consent", "com.sample.weather", "notice 4.2; refused"],
    );
    let photo = phone.handset.dir().join("photo of the screen.jpg");
    fs::write(&photo, "a photograph").expect("written");
    let words = ["consent", "--photo", text(&photo), "com.sample.weather"];
    well(phone, &[&words[..], &["notice 4.2; accepted"]].concat());
    let to = places::SINGAPORE.v4(places::ECHO);
    let action = Action::Udp {
        to,
        bytes: 900,
        packets: 40,
        answered: true,
    };
    phone
        .handset
        .run_app(10_050, &[action])
        .expect("an app sends");
    let status = well(phone, &["status", "--format", "json"]);
    assert_eq!(
        daemon::json(status.trim()).expect("JSON")["state"],
        "watching"
    );
}

/// What this PC told the watch.
fn what_is_on_record(records: &[Value]) {
    let clocks = observed(records, "clock");
    assert_eq!(clocks.len(), 2, "at start and stop");
    for facts in clocks {
        let number = |name: &str| {
            facts[name]
                .as_str()
                .expect(name)
                .parse::<i64>()
                .expect(name)
        };
        // It is the same clock: the truth is 0, and must lie within the bounds.
        assert!(
            number("offset_us").abs() <= number("either_way_us"),
            "{facts}"
        );
        assert!(facts["pc_source"].is_string(), "{facts}");
    }
    assert_eq!(observed(records, "transport")[0]["over"], "usb");
    let differs = observed(records, "baseline")[0];
    assert_eq!(
        differs["property"],
        "ro.boot.verifiedbootstate: green -> orange"
    );
    assert!(
        differs["package"]
            .as_str()
            .is_some_and(|text| text.contains("com.root.manager"))
    );
    let steps = observed(records, "consent");
    let pictures = steps.iter().map(|facts| &facts["screen_from"]);
    assert_eq!(pictures.collect::<Vec<_>>(), ["screencap", "a file"]);
    assert!(steps.iter().all(|facts| facts["version_code"] == "1001"));
    let session = records.iter().find(|record| record["kind"] == "session");
    let session = &session.expect("a session")["body"];
    let spared = session["oom_score_adj"].as_i64();
    assert!(spared == Some(-900) || !may_be_spared(), "{session}");
    let sealed = records.last().expect("records");
    assert!(sealed["seq"].as_u64() > Some(10), "{sealed}");
}

#[test]
fn from_push_to_a_verified_bundle_with_a_cable_that_breaks() {
    if !adb_possible("from_push_to_a_verified_bundle_with_a_cable_that_breaks") {
        return;
    }
    let phone = Tethered::start().expect("a tethered handset");
    let here = tempfile::tempdir().expect("a folder");
    let file = |name: &str| here.path().join(name).to_string_lossy().into_owned();
    let bpffs = Bpffs::mount(&phone.handset).expect("a BPF file system");
    let untouched = traces(&phone, &bpffs);

    let baseline = file("baseline.json");
    well(&phone, &["baseline", "-o", &baseline]);
    phone.root().expect("rooted");
    let sakshi = program("sakshi");
    well(&phone, &["push", "--program", text(&sakshi)]);
    let (table, _, code) = said(&phone, &["doctor"]);
    assert!(
        matches!(code, Some(0 | 1)) && table.contains("kernel"),
        "{table}"
    );
    assert_eq!(said(&phone, &["status"]).2, Some(1), "none runs yet");

    let pushed = traces(&phone, &bpffs);
    watch(&phone, &baseline, &bpffs);
    phone.server.cut("'stop'", 10);
    well(&phone, &["stop"]);
    let (cases, log) = (phone.path("cases"), phone.path("sakshi/log"));
    let stopped = traces(&phone, &bpffs).since(&pushed);
    let more = stopped
        .iter()
        .filter(|line| !line.contains(&cases) && !line.contains(&log));
    assert_eq!(more.collect::<Vec<_>>(), [""; 0], "after stop");
    // Within the opening line, and twice within the bundle.
    for after in [5, 9_000, 30_000] {
        phone.server.cut("'seal'", after);
    }
    let bundle = file("case-17.tar");
    let pulled = well(&phone, &["pull", "--case", "case-17", "-o", &bundle]);
    assert!(pulled.contains("broke 3 times"), "{pulled}");
    assert_eq!(phone.server.broken(), 5);
    daemon::verify(Path::new(&bundle)).expect("an intact bundle");
    let listed = Command::new("tar").args(["-tf", &bundle]).output();
    let listed = String::from_utf8_lossy(&listed.expect("tar").stdout).into_owned();
    let exhibits = listed
        .lines()
        .filter(|name| name.starts_with("case/exhibits/"));
    assert_eq!(exhibits.count(), 2, "{listed}");

    let (_, err, code) = said(&phone, &["clean"]);
    assert_eq!(code, Some(3), "a case without a copy stays: {err}");
    assert!(err.contains("case-17"), "{err}");
    let copy = phone.path("cases/case-17");
    let records = daemon::export(Path::new(&copy), "records").expect("records");
    well(&phone, &clean(&["--pulled", &bundle], &bpffs));
    assert_eq!(traces(&phone, &bpffs).since(&untouched), [""; 0]);

    what_is_on_record(&records);
}

#[test]
fn what_is_missing_is_said_with_what_helps() {
    if !adb_possible("what_is_missing_is_said_with_what_helps") {
        return;
    }
    let phone = Tethered::start().expect("a tethered handset");
    let fails = |words: &[&str], with: &[&str]| {
        let (_, err, code) = said(&phone, words);
        assert_eq!(code, Some(3), "{words:?}: {err}");
        for with in with {
            assert!(err.contains(with), "{words:?} without {with:?}: {err}");
        }
    };
    fails(&["status"], &["is not on the handset", "handset push"]);
    phone.refuse_root(true).expect("refused");
    fails(&["status"], &["gives no root", "su -c id"]);
    phone.refuse_root(false).expect("granted");
    fails(
        &["push", "--program", "/bin/sh-that-is-not"],
        &["No such file"],
    );
    fails(
        &["push", "--program", "/etc/services"],
        &["no program", "x86_64"],
    );
    fails(
        &["status", "--adb", "no-such-adb"],
        &["was not found", "apt-get install adb"],
    );
    fails(&["status", "--su", "no-such-su -c"], &["gives no root"]);
    fails(&["start", "--case", "../x"], &["no name for a case"]);
    let states: [(States, &[&str]); 4] = [
        (&[], &["no handset is connected", "USB debugging"]),
        (&[(SERIAL, "unauthorized")], &["has not allowed this PC"]),
        (&[(SERIAL, "offline")], &["`offline`"]),
        (
            &[(SERIAL, "device"), ("emulator-5554", "device")],
            &["2 handsets", "--serial", "emulator-5554"],
        ),
    ];
    for (devices, with) in states {
        phone.server.devices(devices);
        fails(&["status"], with);
    }
    // The one that is named is taken.
    fails(&["status", "--serial", SERIAL], &["is not on the handset"]);
    phone.server.devices(&[("192.168.1.5:5555", "device")]);
    fails(&["status"], &["adb goes over the network"]);
}

#[test]
fn after_a_crash_a_clean_handset_is_as_before() {
    if !adb_possible("after_a_crash_a_clean_handset_is_as_before") {
        return;
    }
    let phone = Tethered::start().expect("a tethered handset");
    let bpffs = Bpffs::mount(&phone.handset).expect("a BPF file system");
    let untouched = traces(&phone, &bpffs);
    let here = tempfile::tempdir().expect("a folder");
    let shim = here.path().join("shim.jar");
    fs::write(&shim, "a stand-in").expect("written");
    let (shim, sakshi) = (text(&shim), program("sakshi"));
    let words = ["push", "--program", text(&sakshi), "--shim", shim];
    well(&phone, &[&words[..], &["--library", shim]].concat());
    let inventory = phone.handset.inventory();
    well(&phone, &start_words(text(&inventory), "crashed", &bpffs));
    let shim = fs::read_to_string(phone.path("sakshi/shim.pid")).expect("its number");
    // It may be about to become that program.
    let runs = wait::until(SHIM_MAX, || shim_runs(shim.trim()).then_some(()));
    assert!(runs.is_some(), "{shim}");
    let status = well(&phone, &["status", "--format", "json"]);
    let status = daemon::json(status.trim()).expect("JSON");
    let pid = status["pid"].as_u64().expect("a process").to_string();
    let left = |traces: &Traces, what: &str| {
        let since = traces.since(&untouched);
        since.iter().filter(|line| line.starts_with(what)).count()
    };
    let watching = traces(&phone, &bpffs);
    for what in ["rules", "pins", "files", "processes", "sockets"] {
        assert_ne!(left(&watching, what), 0, "the look is blind for {what}");
    }
    let (_, err, code) = said(&phone, &["clean", "--keep-cases"]);
    assert_eq!(code, Some(3), "not while it watches: {err}");
    phone
        .handset
        .output(Command::new("kill").args(["-9", &pid]))
        .expect("killed");
    let crashed = traces(&phone, &bpffs);
    for what in ["rules", "pins", "files"] {
        assert_ne!(left(&crashed, what), 0, "a crash leaves {what}");
    }
    well(&phone, &clean(&["--keep-cases"], &bpffs));
    let ended = wait::until(SHIM_MAX, || (!shim_runs(shim.trim())).then_some(()));
    assert!(ended.is_some(), "{shim}");
    let case = phone.path("cases/crashed");
    daemon::not_damaged(Path::new(&case)).expect("its evidence");
    // The case itself is evidence; it stays until somebody has it.
    fs::remove_dir_all(phone.path("cases")).expect("removed");
    assert_eq!(traces(&phone, &bpffs).since(&untouched), [""; 0]);
}

/// Devices of which one is reached over Wi-Fi.
const WIFI: States = &[("192.168.1.5:5555", "device")];

#[test]
fn adb_over_wifi_is_in_the_case_and_in_its_coverage() {
    if !adb_possible("adb_over_wifi_is_in_the_case_and_in_its_coverage") {
        return;
    }
    let phone = Tethered::start().expect("a tethered handset");
    well(&phone, &["push", "--program", text(&program("sakshi"))]);
    let inventory = phone.handset.inventory();
    let case = phone.path("cases/wifi");
    let mut words = vec!["start", "--case", "wifi", "--", "--inventory"];
    words.extend([text(&inventory), "--capture", "nflog"]);
    well(&phone, &words);
    well(&phone, &["note", "over the cable"]);
    // The cable goes in the middle of the watch.
    phone.server.devices(WIFI);
    let (_, err, code) = said(&phone, &["note", "over Wi-Fi"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("adb goes over the network"), "{err}");
    well(&phone, &["stop"]);
    let records = daemon::export(Path::new(&case), "records").expect("records");
    let told: Vec<_> = observed(&records, "transport")
        .iter()
        .map(|facts| (facts["over"].to_string(), facts["confounder"].to_string()))
        .collect();
    let of = |over: &str, confounder: &str| (format!("{over:?}"), format!("{confounder:?}"));
    let wifi = of("network", "true");
    assert_eq!(told, [of("usb", "false"), wifi.clone(), wifi]);
    let covered = daemon::output(["coverage", &case]).expect("coverage");
    let lines = covered
        .lines()
        .filter(|line| line.contains("adb went over the network"));
    assert_eq!(
        lines.count(),
        1,
        "once, however often it was told: {covered}"
    );
    // The same of a case that was watched over the cable alone says nothing of it.
    phone.server.devices(&[(SERIAL, "device")]);
    words[2] = "cable";
    well(&phone, &words);
    well(&phone, &["stop"]);
    let covered = daemon::output(["coverage", &phone.path("cases/cable")]).expect("coverage");
    assert!(!covered.contains("adb"), "{covered}");
}
