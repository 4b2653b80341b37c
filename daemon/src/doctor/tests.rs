//! Handsets made of files: whole ones, poor ones, and ones that somebody made to break us.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

use super::{
    probes::{Daemons, PacketFilter, Privileges, Running, Unlisted},
    *,
};
use crate::{
    capture::nflog::listing::Listing,
    evidence::{
        canonical::to_canonical,
        examination::{Examination, Line, Verdict},
    },
    platform::machine::Interface,
};

/// Files that are read below the root, whatever they hold.
const FILES: [&str; 14] = [
    "boot/config-6.1",
    "proc/config.gz",
    "proc/locks",
    "proc/net/ip6_tables_matches",
    "proc/net/ip_tables_matches",
    "proc/net/ipv6_route",
    "proc/net/netfilter/nfnetlink_log",
    "proc/net/route",
    "proc/self/attr/current",
    "proc/self/mountinfo",
    "run/xtables.lock",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/fs/selinux/enforce",
    "system/build.prop",
];

fn put(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn found(listing: &str) -> PacketFilter {
    PacketFilter::Found {
        command: "iptables".to_owned(),
        version: Some("iptables v1.8.7 (legacy)".to_owned()),
        listing: Ok(Listing::parse(listing)),
    }
}

fn interface(name: &str, up: bool) -> Interface {
    Interface {
        name: name.to_owned(),
        index: 1,
        up,
        loopback: name == "lo",
        addresses: Vec::new(),
    }
}

/// A phone on which all is well.
pub(super) fn well() -> Probes {
    Probes {
        privileges: Privileges {
            uid: 0,
            net_admin: true,
            net_raw: true,
            bpf: true,
        },
        release: "6.1".to_owned(),
        interfaces: vec![interface("lo", true), interface("wlan0", true)],
        v4: found(""),
        v6: found(""),
        nflog: Tried::Works([100, 101]),
        packet_socket: Tried::Works(()),
        sock_diag: Tried::Works(true),
        tag_map: Tried::Works(PathBuf::from(
            "/sys/fs/bpf/netd_shared/map_netd_cookie_tag_map",
        )),
        properties: Tried::Works("[ro.build.fingerprint]: [maker/model/x:14/y]\n".to_owned()),
        private_dns: Tried::Works(["off".to_owned(), "null".to_owned()]),
        android: true,
        daemons: Ok(Daemons {
            running: Vec::new(),
            stale: Vec::new(),
        }),
    }
}

/// The files of that phone.
fn phone() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = kernel_config::OPTIONS
        .map(|option| format!("CONFIG_{}=y\n", option.name))
        .concat();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(config.as_bytes()).unwrap();
    put(root, "proc/config.gz", packed.finish().unwrap());
    put(
        root,
        "proc/self/mountinfo",
        "1 0 8:1 / / ro - erofs x ro\n2 1 8:2 / /data rw - f2fs x rw\n\
         3 1 0:9 / /sys/fs/bpf rw - bpf bpf rw\n",
    );
    put(root, "sys/fs/selinux/enforce", "1");
    put(root, "proc/self/attr/current", "u:r:magisk:s0\0");
    put(
        root,
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "arch_sys_counter\n",
    );
    put(
        root,
        "proc/net/netfilter/nfnetlink_log",
        "0 99 0 2 65535 0 1\n",
    );
    put(root, "proc/net/route", "");
    put(root, "proc/net/ipv6_route", "");
    put(root, "proc/net/ip_tables_matches", "bpf\n");
    put(root, "proc/locks", "");
    put(root, "system/etc/xtables.lock", "");
    put(root, "system/build.prop", "");
    fs::create_dir_all(root.join("my_product")).unwrap();
    fs::create_dir_all(root.join("data/sakshi")).unwrap();
    folder
}

fn place(root: &Path) -> Place {
    Place {
        root: root.to_owned(),
        commands: Commands::default(),
        case: Some(PathBuf::from("/data/sakshi/case")),
        not_before: Timestamp::from_micros(1_000),
    }
}

fn examined(root: &Path, probes: &Probes) -> Examination {
    let inventory = Inventory::empty();
    let apps = Apps::Read {
        from: "/data/system",
        inventory: &inventory,
        problems: &[],
    };
    let examination = examine(&place(root), probes, apps, Timestamp::from_micros(2_000));
    to_canonical(&examination).expect("a record can say it");
    examination
}

fn line(examination: &Examination, key: &str) -> Line {
    let found = examination.lines.iter().find(|line| line.key == key);
    found.unwrap_or_else(|| panic!("no line {key}")).clone()
}

#[test]
fn a_whole_phone_is_well() {
    let folder = phone();
    let examination = examined(folder.path(), &well());
    let poor: Vec<&Line> = examination
        .lines
        .iter()
        // How much room this machine's disk has is not the test's to say.
        .filter(|line| line.verdict != Verdict::Ok && line.key != "storage")
        .collect();
    assert_eq!(poor, Vec::<&Line>::new());
    let fact = |key: &str, name: &str| line(&examination, key).facts[name].clone();
    assert_eq!(fact("selinux", "context"), "u:r:magisk:s0");
    assert_eq!(fact("nflog", "groups_in_use"), serde_json::json!([0]));
    assert_eq!(fact("storage", "file_system"), "f2fs");
    assert_eq!(fact("xtables_lock", "path"), "/system/etc/xtables.lock");
    assert_eq!(fact("android", "fingerprint"), "maker/model/x:14/y");
    assert_eq!(fact("kernel", "options")["PACKET"], "y");
    assert_eq!(
        fact("preload_partitions", "found"),
        serde_json::json!(["/system", "/my_product"])
    );
}

#[test]
fn with_nothing_there_nothing_is_called_well_that_was_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = Probes {
        privileges: Privileges {
            uid: 2000,
            net_admin: false,
            net_raw: false,
            bpf: false,
        },
        interfaces: Vec::new(),
        v4: PacketFilter::NotFound {
            command: "iptables".to_owned(),
        },
        v6: PacketFilter::Found {
            command: "ip6tables".to_owned(),
            version: None,
            listing: Err(Unlisted::NotPermitted),
        },
        nflog: Tried::Refused,
        packet_socket: Tried::Refused,
        sock_diag: Tried::Fails {
            cause: "no".to_owned(),
            remedy: "yes".to_owned(),
        },
        tag_map: Tried::Refused,
        properties: Tried::Absent,
        private_dns: Tried::Absent,
        android: false,
        daemons: Err("Permission denied".to_owned()),
        ..well()
    };
    let apps = Apps::Unreadable("the inventory folder /x cannot be read");
    let now = Timestamp::from_micros(0);
    let examination = examine(&place(folder.path()), &nothing, apps, now);
    let ok: Vec<&str> = examination
        .lines
        .iter()
        .filter(|line| line.verdict == Verdict::Ok)
        .map(|line| line.key.as_str())
        .collect();
    // What is not there cannot do harm; each of these says so.
    assert_eq!(
        ok,
        [
            "selinux",
            "xtables_lock",
            "vpn",
            "preload_partitions",
            "android"
        ]
    );
    let failed: Vec<&str> = examination
        .lines
        .iter()
        .filter(|line| line.verdict == Verdict::Failed)
        .map(|line| line.key.as_str())
        .collect();
    assert_eq!(failed, ["privileges", "clock", "inventory"]);
    let whole = examination.lines.iter().all(|line| match line.verdict {
        Verdict::Degraded => line.lost.is_some(),
        Verdict::Failed => line.remedy.is_some(),
        Verdict::Ok | Verdict::Unknown => line.lost.is_none(),
    });
    assert!(whole, "{examination:#?}");
    assert_eq!(
        examination.counts.ok + examination.counts.degraded,
        (examination.lines.len() as u64) - examination.counts.failed - examination.counts.unknown
    );
}

#[test]
fn hostile_files_change_lines_and_nothing_else() {
    let keys: Vec<String> = examined(phone().path(), &well())
        .lines
        .into_iter()
        .map(|line| line.key)
        .collect();
    let junk: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let long_line = vec![b'1'; 3 * 1024 * 1024];
    let gzip_of_nothing = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for bytes in [
        &b""[..],
        b"\n\n\n",
        &junk,
        &long_line,
        &gzip_of_nothing,
        b"\x1f\x8b",
    ] {
        let folder = tempfile::tempdir().unwrap();
        for name in FILES {
            put(folder.path(), name, bytes);
        }
        let examination = examined(folder.path(), &well());
        let now: Vec<String> = examination.lines.into_iter().map(|line| line.key).collect();
        assert_eq!(now, keys);
    }
    // Folders, and links in a ring, where files should be.
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.len() % 2 == 0 {
            fs::create_dir_all(&path).unwrap();
        } else {
            std::os::unix::fs::symlink(&path, &path).unwrap();
        }
    }
    let examination = examined(folder.path(), &well());
    for key in ["kernel", "clock", "selinux", "bpf"] {
        let line = line(&examination, key);
        assert_eq!(line.verdict, Verdict::Unknown, "{line:?}");
    }
}

#[test]
fn a_kernel_without_nflog_says_what_is_used_instead() {
    let folder = phone();
    put(folder.path(), "proc/config.gz", "CONFIG_PACKET=y\n");
    let probes = Probes {
        nflog: Tried::Fails {
            cause: "this kernel has no NFLOG".to_owned(),
            remedy: "use another".to_owned(),
        },
        ..well()
    };
    let examination = examined(folder.path(), &probes);
    for key in ["kernel", "nflog"] {
        let line = line(&examination, key);
        assert_eq!(line.verdict, Verdict::Degraded);
        assert!(
            line.lost
                .unwrap()
                .contains("packet sockets are used instead")
        );
    }
}

#[test]
fn what_a_crash_left_is_told_from_what_a_daemon_uses() {
    let folder = phone();
    let ours = "-N sakshi_out\n-A OUTPUT -c 0 0 -j sakshi_out\n";
    let running = |here, pid| Running {
        pid,
        case: Some("/data/c".to_owned()),
        here,
    };
    for (daemons, stale, verdict) in [
        (vec![], 0, Verdict::Degraded),
        (vec![running(Some(false), Some(7))], 0, Verdict::Degraded),
        (vec![running(Some(true), Some(7))], 0, Verdict::Ok),
        (vec![running(Some(true), Some(7))], 1, Verdict::Degraded),
        (vec![running(None, None)], 0, Verdict::Ok),
    ] {
        let probes = Probes {
            v4: found(ours),
            daemons: Ok(Daemons {
                running: daemons,
                stale: vec![PathBuf::from("/run/x.sock"); stale],
            }),
            ..well()
        };
        let line = line(&examined(folder.path(), &probes), "leftovers");
        assert_eq!(line.verdict, verdict, "{line:?}");
        let clean = line
            .remedy
            .is_some_and(|remedy| remedy.contains("sakshi clean"));
        assert_eq!(clean, verdict == Verdict::Degraded);
    }
    let nobody_knows = Probes {
        v4: found(ours),
        daemons: Err("Permission denied".to_owned()),
        ..well()
    };
    let line = line(&examined(folder.path(), &nobody_knows), "leftovers");
    assert_eq!(line.verdict, Verdict::Unknown);
}

#[test]
fn who_holds_the_lock_is_named() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = phone();
    let metadata = fs::metadata(folder.path().join("system/etc/xtables.lock")).unwrap();
    let (major, minor) = (
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
    );
    let locks = format!(
        "1: FLOCK  ADVISORY  WRITE 77 {major:02x}:{minor:02x}:{} 0 EOF\n",
        metadata.ino()
    );
    put(folder.path(), "proc/locks", locks);
    put(folder.path(), "proc/77/comm", "netd\n");
    let lock = line(&examined(folder.path(), &well()), "xtables_lock");
    assert_eq!(lock.verdict, Verdict::Ok, "held for a moment: {lock:?}");
    assert_eq!(lock.facts["process"], "netd");
    let waited = Probes {
        v4: PacketFilter::Found {
            command: "iptables".to_owned(),
            version: None,
            listing: Err(Unlisted::LockHeld),
        },
        ..well()
    };
    let examination = examined(folder.path(), &waited);
    for key in ["iptables", "xtables_lock"] {
        assert_eq!(line(&examination, key).verdict, Verdict::Failed);
    }
    assert!(
        line(&examination, "xtables_lock")
            .says
            .contains("77 (netd)")
    );
}

#[test]
fn a_case_on_shared_storage_is_refused_by_any_name() {
    let folder = phone();
    fs::create_dir_all(folder.path().join("storage/emulated/0")).unwrap();
    std::os::unix::fs::symlink("storage/emulated/0", folder.path().join("sdcard")).unwrap();
    std::os::unix::fs::symlink("../storage/emulated", folder.path().join("data/link")).unwrap();
    for case in [
        "/sdcard/case",
        "/storage/emulated/0/x/y",
        "/data/link/0/case",
    ] {
        let place = Place {
            case: Some(PathBuf::from(case)),
            ..place(folder.path())
        };
        let examination = examine(
            &place,
            &well(),
            Apps::Nowhere,
            Timestamp::from_micros(2_000),
        );
        let line = line(&examination, "storage");
        assert_eq!(line.verdict, Verdict::Failed, "{case}: {line:?}");
    }
}

#[test]
fn tunnels_and_private_dns_are_weaknesses() {
    let folder = phone();
    put(
        folder.path(),
        "proc/net/route",
        "tun0\t00000000\t0\t1\t0\t0\t0\t00000000\t0\n",
    );
    let with = |mode: &str| Probes {
        interfaces: vec![interface("tun0", true), interface("wg0", false)],
        private_dns: Tried::Works([mode.to_owned(), "dns.example".to_owned()]),
        ..well()
    };
    let examination = examined(folder.path(), &with("hostname"));
    let vpn = line(&examination, "vpn");
    assert_eq!(vpn.verdict, Verdict::Degraded);
    assert_eq!(vpn.facts["tunnels"], serde_json::json!(["tun0"]));
    assert_eq!(vpn.facts["default_over_tunnel"], true);
    for (mode, verdict) in [
        ("hostname", Verdict::Degraded),
        ("opportunistic", Verdict::Degraded),
        ("null", Verdict::Degraded),
        ("off", Verdict::Ok),
        ("\u{1b}[2J", Verdict::Unknown),
    ] {
        let line = line(&examined(folder.path(), &with(mode)), "private_dns");
        assert_eq!(line.verdict, verdict, "{line:?}");
    }
}

#[test]
fn commands_of_the_handset_are_asked_and_none_is_waited_for_long() {
    let folder = phone();
    let script = |name: &str, text: &str| {
        put(folder.path(), &format!("system/bin/{name}"), text);
        let path = folder.path().join("system/bin").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script(
        "getprop",
        "#!/bin/sh\necho '[ro.build.fingerprint]: [f]'\necho '[ro.product.model]: [m]'\n",
    );
    script("settings", "#!/bin/sh\nexec sleep 600\n");
    script("iptables", "#!/bin/sh\nhead -c 9000000 /dev/zero\nexit 1\n");
    let bin = folder.path().join("system/bin");
    let place = Place {
        commands: Commands::named(bin.join("iptables").to_str().unwrap()),
        ..place(folder.path())
    };
    let probes = Probes::take(&place);
    let examination = examine(
        &place,
        &probes,
        Apps::Nowhere,
        Timestamp::from_micros(2_000),
    );
    assert_eq!(line(&examination, "android").facts["model"], "m");
    let dns = line(&examination, "private_dns");
    assert_eq!(dns.verdict, Verdict::Unknown);
    assert!(dns.says.contains("did not end within 2 s"), "{}", dns.says);
    assert_eq!(line(&examination, "iptables").verdict, Verdict::Degraded);
}

#[test]
fn texts_of_the_machine_are_cut() {
    let folder = phone();
    let text = format!("[ro.build.fingerprint]: [{}]\n", "é".repeat(100_000));
    let probes = Probes {
        properties: Tried::Works(text),
        ..well()
    };
    let line = line(&examined(folder.path(), &probes), "android");
    assert!(line.says.len() < 2 * line::TEXT_BYTES_MAX);
    assert!(line.facts["fingerprint"].as_str().unwrap().ends_with('…'));
}
