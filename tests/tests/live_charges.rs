//! Whom netd charges for a socket is said beside who sent, and never instead.
//!
//! A map of the shape of netd's is pinned where Android 13 has it; the test writes to it what netd
//! would when an app or a download service tags its sockets. Nothing depends on how fast anybody is:
//! an app sends when it is told to, and keeps its socket until the watch has ended.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData};
use aya_obj::{
    EbpfSectionKind,
    generated::bpf_map_type::BPF_MAP_TYPE_HASH,
    maps::{LegacyMap, Map as Definition, bpf_map_def},
};
use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{
        Handset,
        apps::RunningApp,
        bpffs::Bpffs,
        cast::{CHAT, GAMES, PUSH, STATS, WEATHER},
        places,
        script::Action,
    },
    live_possible, wait,
};
use serde_json::Value;

/// Upper bound for an app or the daemon to have done something.
const DONE_MAX: Duration = Duration::from_mins(1);
/// `TrafficStats.TAG_SYSTEM_DOWNLOAD`.
const DOWNLOAD: u32 = 0xffff_ff01;

/// netd's map.
struct NetdMap {
    path: PathBuf,
    entries: HashMap<MapData, u64, [u8; 8]>,
}

fn pinned(bpffs: &Bpffs, value_size: u32) -> (PathBuf, MapData) {
    let folder = bpffs.path().join("netd_shared");
    fs::create_dir(&folder).expect("a folder");
    let definition = Definition::Legacy(LegacyMap {
        def: bpf_map_def {
            map_type: BPF_MAP_TYPE_HASH as u32,
            key_size: 8,
            value_size,
            max_entries: 16,
            ..bpf_map_def::default()
        },
        section_index: 0,
        section_kind: EbpfSectionKind::Maps,
        symbol_index: None,
        data: Vec::new(),
    });
    let map = MapData::create(definition, "cookie_tag_map", None).expect("a map");
    let path = folder.join("map_netd_cookie_tag_map");
    map.pin(&path).expect("pinned");
    (path, map)
}

impl NetdMap {
    fn pin(bpffs: &Bpffs) -> Self {
        let (path, map) = pinned(bpffs, 8);
        let entries = Map::HashMap(map).try_into().expect("of this shape");
        Self { path, entries }
    }

    fn tag(&mut self, cookie: u64, uid: u32, tag: u32) {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&uid.to_ne_bytes());
        value[4..].copy_from_slice(&tag.to_ne_bytes());
        self.entries.insert(cookie, value, 0).expect("tagged");
    }

    fn content(&self) -> Vec<(u64, [u8; 8])> {
        let mut content: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.expect("one"))
            .collect();
        content.sort_unstable();
        content
    }
}

/// An app whose socket waits.
struct Waiting {
    app: RunningApp,
    folder: PathBuf,
    cookie: u64,
}

impl Waiting {
    fn start(handset: &Handset, uid: u32) -> Self {
        let folder = handset.dir().join(format!("told-{uid}"));
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open to the app");
        let told = Action::Told {
            to: places::SINGAPORE.v4(places::ECHO),
            folder: folder.clone(),
        };
        let app = handset.start_app(uid, &[told]).expect("an app");
        let cookie = wait::until(DONE_MAX, || fs::read_to_string(folder.join("cookie")).ok())
            .expect("a cookie");
        Self {
            app,
            folder,
            cookie: cookie.parse().expect("a number"),
        }
    }

    fn send(&self, number: u32) {
        fs::write(self.folder.join(format!("go-{number}")), "").expect("told");
        let did = self.folder.join(format!("did-{number}"));
        wait::until(DONE_MAX, || did.exists().then_some(())).expect("an answer");
    }

    fn end(self) {
        fs::write(self.folder.join("end"), "").expect("told");
        self.app.finish().expect("an app that did all");
    }
}

/// The rows of an owner.
fn of(case: &Path, what: &str, uid: u32) -> Vec<Value> {
    let mut rows = daemon::export(case, what).expect("rows");
    rows.retain(|row| row["owner"]["uid"] == uid);
    rows
}

/// UIDs and tags that a row is charged to.
fn charges(row: &Value) -> Vec<(u64, u64)> {
    let list = row["charged_to"].as_array().expect("a list");
    let charge = |to: &Value| Some((to["uid"].as_u64()?, to["tag"].as_u64()?));
    list.iter()
        .map(|to| charge(to).expect("a charge"))
        .collect()
}

fn degraded(case: &Path, said: &str) -> usize {
    let gaps = daemon::export(case, "gaps").expect("gaps");
    let told = |gap: &&Value| {
        let detail = gap["detail"].as_str().unwrap_or_default();
        gap["cause"] == "degraded" && detail.contains(said)
    };
    gaps.iter().filter(told).count()
}

#[test]
fn the_owner_stays_and_the_charge_is_said() {
    if !live_possible("the_owner_stays_and_the_charge_is_said") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let mut netd = NetdMap::pin(&bpffs);
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &["--bpffs", text(bpffs.path())]).expect("a watch");
    let [service, untagged, own] =
        [PUSH, WEATHER, STATS].map(|app| Waiting::start(&handset, app.uid()));
    netd.tag(service.cookie, CHAT.uid(), DOWNLOAD);
    netd.tag(own.cookie, STATS.uid(), 7);
    for app in [&service, &untagged, &own] {
        app.send(1);
    }
    let first = [(u64::from(CHAT.uid()), u64::from(DOWNLOAD))];
    wait::until(DONE_MAX, || {
        let rows = of(&case, "contacts", PUSH.uid());
        rows.iter().any(|row| charges(row) == first).then_some(())
    })
    .expect("a contact that is charged to another app");
    // The same connection, now for another app.
    netd.tag(service.cookie, GAMES.uid(), DOWNLOAD);
    service.send(2);
    let content = netd.content();
    daemon.stop().expect("a summary");
    assert_eq!(netd.content(), content, "netd's map is only read");
    assert!(netd.path.exists());
    for app in [service, untagged, own] {
        app.end();
    }
    let both = [first[0], (u64::from(GAMES.uid()), u64::from(DOWNLOAD))];
    let stats = [(u64::from(STATS.uid()), 7)];
    for (app, of_flow, of_contact) in [
        (PUSH, &both[..], &both[..]),
        (WEATHER, &[], &[]),
        (STATS, &stats, &[]),
    ] {
        let flows = of(&case, "flows", app.uid());
        let [flow] = flows.as_slice() else {
            panic!("{flows:?}");
        };
        assert_eq!(flow["owner"]["basis"], "xt_bpf");
        assert_eq!(charges(flow), of_flow, "{flow}");
        for what in ["contacts", "findings"] {
            let rows = of(&case, what, app.uid());
            assert!(!rows.is_empty(), "{what} of {}", app.package);
            for row in &rows {
                assert_eq!(charges(row), of_contact, "{row}");
            }
        }
    }
    let to = &of(&case, "flows", PUSH.uid())[0]["charged_to"][0];
    assert_eq!(to["apps"], serde_json::json!([CHAT.package]), "{to}");
    assert_eq!(
        (&to["tag_name"], &to["basis"]),
        (&"download".into(), &"netd_tag".into())
    );
    let table = daemon::output(["findings", text(&case)]).expect("a table");
    assert!(table.contains("charged to UID 10055"), "{table}");
    assert_eq!(degraded(&case, "whom netd charges"), 0);
    replayed_is_the_same(&handset, &case);
}

fn replayed_is_the_same(handset: &Handset, case: &Path) {
    daemon::verify(case).expect("intact evidence");
    let again = handset.dir().join("again");
    daemon::output(["inspect", text(case), "--case", text(&again)]).expect("replayed");
    for what in ["flows", "contacts", "findings"] {
        let [one, other] = [case, &again].map(|case| {
            let rows = daemon::export_text(case, what, "jsonl").expect("rows");
            rows.lines().map(daemon::without_kept).collect::<Vec<_>>()
        });
        assert_eq!(one, other, "{what}");
    }
}

#[test]
fn where_it_cannot_be_read_the_case_says_why_once() {
    if !live_possible("where_it_cannot_be_read_the_case_says_why_once") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let case = handset.dir().join("case");
    let nowhere = handset.dir().join("no-bpffs");
    let watch = |folder: &Path| {
        let daemon = Daemon::start(&handset, &case, &["--bpffs", text(folder)]).expect("a watch");
        let touch = Action::Udp {
            to: places::SINGAPORE.v4(places::ECHO),
            bytes: 20,
            packets: 1,
            answered: true,
        };
        handset.run_app(PUSH.uid(), &[touch]).expect("an app");
        daemon.stop().expect("a summary");
    };
    watch(bpffs.path());
    assert_eq!(degraded(&case, "there is no map of tagged sockets"), 1);
    watch(&nowhere);
    assert_eq!(degraded(&case, "which only the layer (xt_bpf) tells"), 1);
    let (_, _map) = pinned(&bpffs, 4);
    watch(bpffs.path());
    assert_eq!(
        degraded(&case, "a hash map with keys and values of 8 bytes was"),
        1
    );
    assert_eq!(degraded(&case, "whom netd charges"), 3);
    for flow in of(&case, "flows", PUSH.uid()) {
        assert_eq!(charges(&flow), []);
    }
    daemon::verify(&case).expect("intact evidence");
}
