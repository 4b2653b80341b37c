//! Lines about the machine: privileges, `SELinux`, kernel, clock, storage.
//!
//! In: files and probes. Out: lines.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{
    Probes, below, files,
    kernel_config::{Built, KernelConfig, OPTIONS},
    line,
};
use crate::{evidence::examination::Line, time::Timestamp};

/// With less room than this nobody should begin: a case that cannot grow ends the watch.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// With less than this a long watch may fill the disk: 1 GiB is a day of much traffic.
const FREE_BYTES_GOOD: u64 = 1024 * 1024 * 1024;
/// File systems that keep nothing over a power cut.
const VOLATILE: [&str; 3] = ["ramfs", "rootfs", "tmpfs"];
/// File systems without modes of their own, or over a network: evidence there is open to every app,
/// or to what the other side does; SQLite's write-ahead log does not work over a network.
const UNFIT: [&str; 14] = [
    "9p", "afs", "ceph", "cifs", "esdfs", "exfat", "msdos", "nfs", "nfs4", "ntfs", "ntfs3",
    "sdcardfs", "smb3", "vfat",
];
/// Android's shared storage, under the names that it has.
const SHARED: [&str; 5] = [
    "/sdcard",
    "/storage",
    "/mnt/media_rw",
    "/mnt/user",
    "/data/media",
];

/// Root and capabilities.
pub(super) fn privileges(probes: &Probes) -> Line {
    const KEY: &str = "privileges";
    const REMEDY: &str = "start it as root: sudo, or su -c on the handset";
    let has = probes.privileges;
    let line = if !has.root() {
        line::failed(
            KEY,
            "this is not root, so a watch cannot be started and much cannot be told",
            REMEDY,
        )
    } else if !has.net_admin && !has.net_raw {
        line::failed(
            KEY,
            "root without CAP_NET_ADMIN and CAP_NET_RAW: no packet can be seen",
            REMEDY,
        )
    } else if !has.net_admin {
        line::degraded(
            KEY,
            "root without CAP_NET_ADMIN",
            "NFLOG: packet sockets are used instead",
        )
    } else if !has.net_raw {
        line::degraded(
            KEY,
            "root without CAP_NET_RAW",
            "the fallback where NFLOG cannot be used",
        )
    } else if !has.bpf {
        line::degraded(
            KEY,
            "root without CAP_BPF and CAP_SYS_ADMIN",
            "exact owners by xt_bpf",
        )
    } else {
        line::ok(KEY, "root, with every capability that a watch uses")
    };
    line.fact("uid", has.uid)
        .fact("net_admin", has.net_admin)
        .fact("net_raw", has.net_raw)
        .fact("bpf", has.bpf)
}

/// The mode of `SELinux`. What it refuses shows in the other lines.
pub(super) fn selinux(root: &Path) -> Line {
    const KEY: &str = "selinux";
    let enforce = below(root, "/sys/fs/selinux/enforce");
    let context = files::word(&below(root, "/proc/self/attr/current"));
    let word = files::word(&enforce);
    let there = enforce.try_exists().unwrap_or(true);
    let (line, mode) = match word.as_deref() {
        Some("1") => (
            line::ok(KEY, "enforcing; what it refuses shows in the other lines"),
            Some("enforcing"),
        ),
        Some("0") => (line::ok(KEY, "permissive"), Some("permissive")),
        _ if !there => (line::ok(KEY, "not there"), Some("absent")),
        _ => (line::unknown(KEY, "its mode cannot be read"), None),
    };
    line.fact("mode", mode).fact("context", context)
}

/// The kernel's configuration.
pub(super) fn kernel(probes: &Probes, config: &KernelConfig) -> Line {
    const KEY: &str = "kernel";
    let release = probes.release.as_str();
    let (file, options) = match config {
        KernelConfig::Known { file, options } => (file, options),
        KernelConfig::Unknown(why) => {
            return line::unknown(
                KEY,
                format!("Linux {release}; what it was built with is not told: {why}"),
            )
            .fact("config", Value::Null)
            .fact("options", Map::new());
        }
    };
    let missing: Vec<_> = OPTIONS
        .iter()
        .filter(|option| options.get(option.name) == Some(&Built::Absent))
        .filter(|option| !option.lost.is_empty())
        .collect();
    let line = if missing.is_empty() {
        line::ok(
            KEY,
            format!("Linux {release} has what a watch uses ({file})"),
        )
    } else {
        let names: Vec<&str> = missing.iter().map(|option| option.name).collect();
        let mut lost: Vec<&str> = Vec::new();
        for option in &missing {
            if !lost.contains(&option.lost) {
                lost.push(option.lost);
            }
        }
        line::degraded(
            KEY,
            format!("Linux {release} lacks {} ({file})", names.join(", ")),
            lost.join("; "),
        )
        .remedy("use a kernel with these options, where there is a choice")
    };
    let options: Map<String, Value> = options
        .iter()
        .map(|(name, built)| ((*name).to_owned(), built.as_str().into()))
        .collect();
    line.fact("config", file.as_str()).fact("options", options)
}

/// The clock.
pub(super) fn clock(root: &Path, now: Timestamp, not_before: Timestamp) -> Line {
    const KEY: &str = "clock";
    let source = files::word(&below(
        root,
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    ));
    let line = match &source {
        _ if now < not_before => line::failed(
            KEY,
            format!("the clock shows {now}: the data that is built in was published later"),
            format!("set the clock; it must be later than {not_before}"),
        ),
        Some(source) => line::ok(
            KEY,
            format!("{}; the kernel counts time by {source}", now.local()),
        ),
        None => line::unknown(
            KEY,
            format!(
                "{}; what the kernel counts time by is not told",
                now.local()
            ),
        ),
    };
    line.fact("source", source)
        .fact("not_before", not_before.to_string())
}

/// Where the case lies or would lie.
pub(super) fn storage(root: &Path, case: Option<&Path>, probes: &Probes) -> Line {
    let given = case.is_some();
    let case = case.map_or_else(
        || {
            if probes.android {
                PathBuf::from("/data")
            } else {
                std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
            }
        },
        Path::to_owned,
    );
    let there = there(root, &case);
    let mounts = files::text(&below(root, "/proc/self/mountinfo"))
        .map(|text| files::mounts(&text))
        .unwrap_or_default();
    let mount = files::mount_of(&mounts, &there);
    let free = rustix::fs::statvfs(below(root, &there))
        .ok()
        .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let shared = SHARED
        .iter()
        .any(|shared| case.starts_with(shared) || there.starts_with(shared));
    stored(&case, mount, free, shared)
        .fact("path", case.to_string_lossy())
        .fact("given", given)
        .fact("file_system", mount.map(|mount| mount.kind.as_str()))
        .fact("read_only", mount.map(|mount| mount.read_only))
        .fact("free_bytes", free)
}

fn stored(case: &Path, mount: Option<&files::Mount>, free: Option<u64>, shared: bool) -> Line {
    const KEY: &str = "storage";
    const ELSEWHERE: &str = "put the case under /data on a handset, or on a disk of this machine";
    let shown = case.display();
    let kind = mount.map(|mount| mount.kind.as_str());
    if mount.is_some_and(|mount| mount.read_only) {
        return line::failed(KEY, format!("{shown} can only be read"), ELSEWHERE);
    }
    if shared {
        let says = format!("{shown} lies on shared storage, which apps can read and write");
        return line::failed(KEY, says, ELSEWHERE);
    }
    if let Some(kind) = kind.filter(|kind| UNFIT.contains(kind) || kind.starts_with("fuse")) {
        let says = format!(
            "{shown} lies on {kind}, which keeps no file to root alone or does not lock reliably"
        );
        return line::failed(KEY, says, ELSEWHERE);
    }
    let Some(free) = free else {
        return line::unknown(KEY, format!("the room at {shown} cannot be told"));
    };
    let room = format!("{} MiB", free / (1024 * 1024));
    if free < FREE_BYTES_MIN {
        let says = format!("{shown} has {room} left");
        return line::failed(
            KEY,
            says,
            "make room: a watch needs 64 MiB, a day may need 1 GiB",
        );
    }
    match kind {
        Some(kind) if VOLATILE.contains(&kind) => line::degraded(
            KEY,
            format!("{shown} lies on {kind}, {room} free"),
            "everything, when the power goes",
        )
        .remedy(ELSEWHERE),
        _ if free < FREE_BYTES_GOOD => line::degraded(
            KEY,
            format!("{shown} has {room} left"),
            "a long watch may end early, when the disk is full",
        )
        .remedy("make room: a day may need 1 GiB"),
        Some(kind) => line::ok(KEY, format!("{shown} lies on {kind}, {room} free")),
        None => line::unknown(
            KEY,
            format!("{shown} has {room} free; on what file system is not told"),
        ),
    }
}

/// The nearest folder above a path that is there, links followed, as the machine names it.
fn there(root: &Path, case: &Path) -> PathBuf {
    let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    case.ancestors()
        .find_map(|ancestor| {
            let real = below(root, ancestor).canonicalize().ok()?;
            let inside = real.strip_prefix(&real_root).ok()?;
            Some(Path::new("/").join(inside))
        })
        .unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::examination::Verdict;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn mount(kind: &str, read_only: bool) -> files::Mount {
        files::Mount {
            on: "/".to_owned(),
            kind: kind.to_owned(),
            read_only,
        }
    }

    #[test]
    fn a_place_for_a_case_is_judged_by_its_worst() {
        for (kind, read_only, free, shared, verdict, says) in [
            ("f2fs", false, Some(9 * GIB), false, Verdict::Ok, "f2fs"),
            (
                "f2fs",
                true,
                Some(9 * GIB),
                false,
                Verdict::Failed,
                "only be read",
            ),
            (
                "f2fs",
                false,
                Some(9 * GIB),
                true,
                Verdict::Failed,
                "shared",
            ),
            (
                "fuse.sshfs",
                false,
                None,
                false,
                Verdict::Failed,
                "fuse.sshfs",
            ),
            ("vfat", false, Some(9 * GIB), false, Verdict::Failed, "vfat"),
            ("ext4", false, Some(1024), false, Verdict::Failed, "left"),
            (
                "ext4",
                false,
                Some(GIB / 2),
                false,
                Verdict::Degraded,
                "left",
            ),
            (
                "tmpfs",
                false,
                Some(9 * GIB),
                false,
                Verdict::Degraded,
                "tmpfs",
            ),
            (
                "ext4",
                false,
                None,
                false,
                Verdict::Unknown,
                "cannot be told",
            ),
        ] {
            let line = stored(Path::new("/x"), Some(&mount(kind, read_only)), free, shared);
            assert_eq!(line.verdict, verdict, "{kind} {}", line.says);
            assert!(line.says.contains(says), "{kind}: {}", line.says);
        }
        let line = stored(Path::new("/x"), None, Some(9 * GIB), false);
        assert_eq!(line.verdict, Verdict::Unknown);
    }
}
