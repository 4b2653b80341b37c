//! Apps while the daemon watches: one takes over another's UID, APK files are hashed, and the
//! process behind a UID that is not one app is named.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{
        Handset, cast, inventory, places,
        script::{Action, Sent},
    },
    inventory_writer::{Encoding, FLAG_SYSTEM, Model, Package, write_folder},
    live_possible, wait,
};
use serde_json::Value;

/// Upper bound for the daemon to notice and record something.
const NOTICED_MAX: Duration = Duration::from_mins(1);
const FILES: [&str; 2] = ["packages.list", "packages.xml"];

/// The records of a case in which `wanted` is, once it is.
fn wait_for(case: &Path, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    wait::until(NOTICED_MAX, || {
        let records = daemon::export(case, "records").ok()?;
        records.iter().any(&wanted).then_some(records)
    })
    .expect("the daemon records it")
}

fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    of_kind.map(|record| &record["body"]).collect()
}

/// Puts a model's files in the place of the handset's, as the package manager does.
fn replace(handset: &Handset, model: &Model) {
    let next = handset.dir().join("next");
    write_folder(model, Encoding::Abx, &next).expect("written");
    for file in FILES {
        fs::rename(next.join(file), handset.inventory().join(file)).expect("replaced");
    }
}

fn datagram() -> Action {
    Action::Udp {
        to: places::SINGAPORE.v4(places::ECHO),
        bytes: 20,
        packets: 1,
        answered: true,
    }
}

/// The flow that an app says it made.
fn flow_of<'a>(flows: &'a [Value], sent: &Sent) -> &'a Value {
    let port = u64::from(sent.local.port());
    let found = flows
        .iter()
        .find(|flow| flow["sport"].as_u64() == Some(port));
    found.expect("the flow is recorded")
}

/// Feeds a case through again: it says the same and keeps the same files.
fn replayed_is_the_same(handset: &Handset, case: &Path) {
    let again = handset.dir().join("again");
    daemon::output(["inspect", text(case), "--case", text(&again)]).expect("replayed");
    for what in ["flows", "contacts", "findings"] {
        let [one, other] = [case, &again].map(|case| daemon::export_text(case, what, "jsonl"));
        assert_eq!(one.expect("rows"), other.expect("rows"), "{what}");
    }
    assert!(
        again
            .join("session-1/change-1/inventory/packages.xml")
            .is_file()
    );
    daemon::verify(&again).expect("intact evidence");
}

#[test]
fn a_uid_that_changes_hands_is_booked_to_who_had_it() {
    if !live_possible("a_uid_that_changes_hands_is_booked_to_who_had_it") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let uid = cast::CHAT.uid();
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let before = handset.run_app(uid, &[datagram()]).expect("an app");

    let mut model = inventory::model();
    let chat = model
        .packages
        .iter_mut()
        .find(|package| package.name == cast::CHAT.package);
    "org.other.player".clone_into(&mut chat.expect("the app").name);
    replace(&handset, &model);
    wait_for(&case, |record| {
        record["kind"] == "inventory" && record["body"]["removed"][0] == cast::CHAT.package
    });
    let after = handset.run_app(uid, &[datagram()]).expect("an app");
    daemon.stop().expect("a summary");

    let flows = daemon::export(&case, "flows").expect("flows");
    for (sent, package) in [
        (&before[0], cast::CHAT.package),
        (&after[0], "org.other.player"),
    ] {
        let owner = &flow_of(&flows, sent)["owner"];
        assert_eq!(owner["apps"], serde_json::json!([package]), "{owner:#}");
        assert_eq!(owner["uid"], uid);
    }
    let records = daemon::export(&case, "records").expect("records");
    let changes = of_kind(&records, "inventory");
    let last = changes.last().expect("a change");
    assert!(last["since"].as_str() <= last["at"].as_str());
    let files = of_kind(&records, "files");
    let kept = files.last().expect("the files of the change")["files"].to_string();
    assert!(
        kept.contains("session-1/change-1/inventory/packages.xml"),
        "{kept}"
    );
    assert!(
        kept.contains("\"rules/"),
        "what did not change is named as before"
    );
    daemon::verify(&case).expect("intact evidence");

    replayed_is_the_same(&handset, &case);

    // A further session begins with what is there now.
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let third = handset.run_app(uid, &[datagram()]).expect("an app");
    daemon.stop().expect("a summary");
    let flows = daemon::export(&case, "flows").expect("flows");
    let owner = &flow_of(&flows, &third[0])["owner"];
    assert_eq!(owner["apps"], serde_json::json!(["org.other.player"]));
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn an_unclean_stop_after_a_change_is_made_good() {
    if !live_possible("an_unclean_stop_after_a_change_is_made_good") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    handset
        .run_app(cast::CHAT.uid(), &[datagram()])
        .expect("an app");
    let mut model = inventory::model();
    model
        .packages
        .retain(|package| package.name != cast::CHAT.package);
    replace(&handset, &model);
    wait_for(&case, |record| record["kind"] == "inventory");
    daemon.kill().expect("killed");
    daemon::clean(&handset).expect("cleaned");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.stop().expect("a summary");
    let records = daemon::export(&case, "records").expect("records");
    let stop = of_kind(&records, "unclean_stop");
    let detail = stop[0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("were made from its journal"), "{detail}");
    let flow = &of_kind(&records, "flow")[0]["owner"];
    assert_eq!(flow["apps"], serde_json::json!([cast::CHAT.package]));
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn apks_of_preloads_are_hashed_once_in_a_case() {
    if !live_possible("apks_of_preloads_are_hashed_once_in_a_case") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let code = handset.dir().join("app/Radio");
    fs::create_dir_all(&code).expect("made");
    fs::write(code.join("base.apk"), b"apk").expect("written");
    let mut model = inventory::model();
    model.packages.push(Package {
        name: "com.sample.radio".to_owned(),
        code_path: text(&code).to_owned(),
        flags: FLAG_SYSTEM,
        version: 7,
        user_id: 10_060,
        ..Package::default()
    });
    replace(&handset, &model);
    let case = handset.dir().join("case");
    let is_hash = |record: &Value| record["kind"] == "apk" && !record["body"]["sha256"].is_null();
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let records = wait_for(&case, is_hash);
    daemon.stop().expect("a summary");
    let hashed = records
        .iter()
        .find(|record| is_hash(record))
        .expect("there");
    let body = &hashed["body"];
    assert_eq!(body["package"], "com.sample.radio");
    assert_eq!(body["path"], text(&code.join("base.apk")));
    assert_eq!(
        (&body["bytes"], &body["version_code"]),
        (&3.into(), &7.into())
    );
    // SHA-256 of `apk`.
    let sha256 = "dd37c2d7274f7ea982cb83390c36918fee9ce8889073c44b68cdc00bdb8c3e04";
    assert_eq!(body["sha256"], sha256);

    // The others' code is not on this machine, which is recorded as well.
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let told = |record: &Value| {
        record["kind"] == "apk" && record["body"]["package"] == cast::WEATHER.package
    };
    let session = |records: &[Value]| of_kind(records, "session").len();
    wait::until(NOTICED_MAX, || {
        let records = daemon::export(&case, "records").ok()?;
        let again = records
            .iter()
            .rev()
            .take_while(|record| record["kind"] != "session");
        (session(&records) == 2 && again.into_iter().any(told)).then_some(())
    })
    .expect("the second session looks for the code of other apps");
    daemon.stop().expect("a summary");
    let records = daemon::export(&case, "records").expect("records");
    assert_eq!(records.iter().filter(|record| is_hash(record)).count(), 1);
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn the_process_behind_a_uid_that_is_not_one_app_is_named() {
    if !live_possible("the_process_behind_a_uid_that_is_not_one_app_is_named") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let release: PathBuf = handset.dir().join("release");
    let hold = [Action::Hold {
        to: places::SINGAPORE.v4(places::ECHO),
        until: release.clone(),
    }];
    let shared = cast::SHARED_A.uid();
    let isolated = 99_001;
    let processes = [
        (cast::SYSTEM_UID, "system_server"),
        (shared, "com.sample.camera"),
        (isolated, "com.sample.push:sandboxed_process0"),
        (isolated + 1, "webview_service"),
    ];
    let apps: Vec<_> = processes
        .iter()
        .map(|(uid, name)| handset.start_process(*uid, name, &hold).expect("a process"))
        .collect();
    for (uid, name) in processes {
        wait_for(&case, |record| {
            let owner = &record["body"]["owner"];
            record["kind"] == "contact" && owner["uid"] == uid && owner["process"] == name
        });
    }
    // One app alone is not asked for.
    let push = handset
        .run_app(cast::PUSH.uid(), &[datagram()])
        .expect("an app");
    fs::write(&release, b"").expect("written");
    let sent: Vec<Sent> = apps
        .into_iter()
        .flat_map(|app| app.finish().expect("a process that did all"))
        .collect();
    daemon.stop().expect("a summary");

    let flows = daemon::export(&case, "flows").expect("flows");
    let shown = |sent: &Sent| {
        let flow = flow_of(&flows, sent);
        let owner = &flow["owner"];
        assert_eq!(flow["pid"].is_u64(), owner["process"].is_string());
        let text = |key: &str| owner[key].as_str().unwrap_or_default().to_owned();
        (
            text("basis"),
            text("process_basis"),
            owner["apps"].as_array().map_or(0, Vec::len),
            text("class"),
            text("note"),
        )
    };
    let shown: Vec<_> = sent.iter().chain(&push).map(shown).collect();
    let expected = [
        ("nflog", "proc_socket", 0, "system", ""),
        ("nflog", "proc_socket", 2, "preloaded", ""),
        ("process", "proc_uid", 1, "preloaded", ""),
        ("nflog", "proc_uid", 0, "unknown", "isolated, app unknown"),
        ("nflog", "", 1, "preloaded", ""),
    ];
    for (shown, (basis, process_basis, apps, class, note)) in shown.into_iter().zip(expected) {
        let expected = [basis, process_basis, class, note].map(str::to_owned);
        let (a, b, found, c, d) = shown;
        assert_eq!(([a, b, c, d], found), (expected, apps));
    }
    daemon::verify(&case).expect("intact evidence");
}
