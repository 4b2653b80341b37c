//! Who holds the other end of a tunnel interface: the process that a VPN's packets go through.
//!
//! In: `/proc`, as root. Out: for each tunnel by its name, the UIDs of the processes that have it
//! open. The kernel names the interface in the `fdinfo` of the file (`iff:`, `drivers/net/tun.c`).
//! Reads only; what cannot be read names nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// Processes that are looked at at most.
const PROCESSES_MAX: usize = 32_768;
/// Open files of one process that are looked at at most.
const FILES_MAX: usize = 16_384;
/// The device that tunnels are made with, on Android and elsewhere.
const DEVICES: [&str; 2] = ["/dev/tun", "/dev/net/tun"];

/// The holders of every tunnel of this network namespace, by the tunnel's name.
pub fn holders() -> io::Result<BTreeMap<String, BTreeSet<u32>>> {
    holders_in(Path::new("/proc"))
}

fn holders_in(proc: &Path) -> io::Result<BTreeMap<String, BTreeSet<u32>>> {
    let own_namespace = fs::read_link(proc.join("thread-self/ns/net")).ok();
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for process in fs::read_dir(proc)?.flatten().take(PROCESSES_MAX) {
        let name = process.file_name();
        if !name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let process = process.path();
        let tunnels = tunnels_of(&process);
        // Names of another namespace are other interfaces.
        if tunnels.is_empty() || fs::read_link(process.join("ns/net")).ok() != own_namespace {
            continue;
        }
        let uid = fs::read_to_string(process.join("status"))
            .ok()
            .and_then(|status| uid(&status));
        for tunnel in tunnels {
            found.entry(tunnel).or_default().extend(uid);
        }
    }
    Ok(found)
}

/// The tunnels that a process has open; none of a process that has gone meanwhile.
fn tunnels_of(process: &Path) -> BTreeSet<String> {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return BTreeSet::new();
    };
    files
        .flatten()
        .take(FILES_MAX)
        .filter(|file| {
            fs::read_link(file.path())
                .is_ok_and(|to| DEVICES.iter().any(|device| to == Path::new(device)))
        })
        .filter_map(|file| {
            let info = process.join("fdinfo").join(file.file_name());
            interface(&fs::read_to_string(info).ok()?)
        })
        .collect()
}

/// The interface in the text of a tunnel's `fdinfo`; none while it has none.
fn interface(info: &str) -> Option<String> {
    let name = info.lines().find_map(|line| line.strip_prefix("iff:"))?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The real UID in the text of a process's `status`.
fn uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn reads_what_proc_says() {
        assert_eq!(
            interface("pos:\t0\nflags:\t0104002\nmnt_id:\t26\nino:\t99\niff:\ttun0\n").as_deref(),
            Some("tun0")
        );
        assert_eq!(interface("pos:\t0\niff:\t\n"), None);
        assert_eq!(interface(""), None);
        let status = "Name:\tvpn\nUid:\t10060\t10061\t10062\t10063\nGid:\t0\t0\t0\t0\n";
        assert_eq!(uid(status), Some(10_060));
        assert_eq!(uid("Uid:\tx"), None);
    }

    /// A process as `/proc` shows it: its UID, its namespace, where its files lead, their `fdinfo`.
    fn process(proc: &Path, pid: &str, uid: u32, namespace: &str, files: &[(&str, &str)]) {
        let dir = proc.join(pid);
        for part in ["fd", "fdinfo", "ns"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        fs::write(
            dir.join("status"),
            format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
        )
        .unwrap();
        symlink(namespace, dir.join("ns/net")).unwrap();
        for (number, (to, info)) in files.iter().enumerate() {
            symlink(to, dir.join(format!("fd/{number}"))).unwrap();
            fs::write(dir.join(format!("fdinfo/{number}")), info).unwrap();
        }
    }

    #[test]
    fn finds_who_has_a_tunnel_open() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path();
        let tun0 = ("/dev/tun", "pos:\t0\niff:\ttun0\n");
        let file = ("/data/file", "pos:\t0\niff:\ttun0\n");
        process(proc, "thread-self", 0, "net:[1]", &[]);
        process(proc, "17", 10_060, "net:[1]", &[file, tun0, tun0]);
        process(
            proc,
            "18",
            1000,
            "net:[1]",
            &[tun0, ("/dev/net/tun", "iff:\ttun1\n")],
        );
        process(proc, "19", 10_070, "net:[2]", &[tun0]);
        process(
            proc,
            "20",
            10_080,
            "net:[1]",
            &[file, ("/dev/tun", "pos:\t0\n")],
        );
        process(proc, "self", 10_090, "net:[1]", &[tun0]);
        let expected = [
            ("tun0".to_owned(), BTreeSet::from([1000, 10_060])),
            ("tun1".to_owned(), BTreeSet::from([1000])),
        ];
        assert_eq!(holders_in(proc).unwrap(), BTreeMap::from(expected));
        // The real one can be read as well, whoever we are.
        holders().unwrap();
    }
}
