//! Which process holds a socket: narrows a UID that is the platform's or that several packages share.
//!
//! In: a UID and the inode of a socket of its. Out: name and number of the process under that UID
//! that has the socket open. Best effort, and weaker than a UID: a process can be gone before it is
//! asked for, and can call itself what it likes. Every look is bounded by [`PIDS_MAX`],
//! [`FDS_MAX`], [`LOOKS_MAX`] and by whoever asks.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Processes that are looked at for one question; Android runs fewer than 2,000.
pub const PIDS_MAX: usize = 8192;
/// Descriptors of one process that are looked at.
pub const FDS_MAX: usize = 32_768;
/// Descriptors of all processes that are looked at for one question.
pub const LOOKS_MAX: usize = 65_536;
/// Longest name that is kept, in bytes; Android's have at most 127.
pub const NAME_BYTES_MAX: usize = 256;

/// How a process's name is known. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessBasis {
    /// A process under the flow's UID had the socket open when it was looked for in `/proc`.
    ProcSocket,
    /// The only process under the flow's UID when it was looked for in `/proc`: an isolated
    /// process has a UID of its own.
    ProcUid,
    /// Android itself, of an isolated process, through the shim.
    Android,
    /// Apple's PKTAP header in front of the packet.
    Pktap,
    /// The app's name as `PCAPdroid` wrote it; no process's.
    Pcapdroid,
}

/// A process's name with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedProcess {
    /// The name.
    pub name: String,
    /// Name of the process on whose behalf it acts, where that is said and another.
    pub acts_for: Option<String>,
    /// How it is known.
    pub basis: ProcessBasis,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What it calls itself: the first argument of its command line.
    pub name: String,
}

/// The processes under `uid`; none when a bound was reached. `go_on` is asked before each process.
pub fn under(proc: &Path, uid: u32, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        seen += 1;
        if seen > PIDS_MAX || !go_on() {
            return None;
        }
        if runs_under(&entry.path(), uid) {
            found.push(pid);
        }
    }
    Some(found)
}

/// Which of the processes `pids` of `uid` has the socket open; none when none has, when several
/// with different names have it, or when a bound was reached. `go_on` is asked before each process.
pub fn of_socket(
    proc: &Path,
    (uid, pids): (u32, &[u32]),
    inode: u32,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let mut looks = 0;
    let mut holders = Vec::new();
    for pid in pids {
        if !go_on() {
            return None;
        }
        let Ok(descriptors) = fs::read_dir(proc.join(pid.to_string()).join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten().take(FDS_MAX) {
            looks += 1;
            if looks > LOOKS_MAX {
                return None;
            }
            let target = fs::read_link(descriptor.path());
            if target.is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
                holders.push(*pid);
                break;
            }
        }
    }
    only(proc, uid, &holders)
}

/// The process under `uid`, of which `pids` are all; none when there is none, or when there are
/// several with different names.
pub fn only(proc: &Path, uid: u32, pids: &[u32]) -> Option<Process> {
    let mut found: Option<Process> = None;
    for pid in pids {
        let path = proc.join(pid.to_string());
        let Some(name) = name_of(&path) else {
            continue;
        };
        // The number may have been given to another process meanwhile.
        if !runs_under(&path, uid) {
            continue;
        }
        match &found {
            None => found = Some(Process { pid: *pid, name }),
            Some(other) if other.name == name => {}
            Some(_) => return None,
        }
    }
    found
}

/// The package that an Android process's name begins with: `com.a:sandboxed_process0` is
/// `com.a`'s.
pub fn package_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(package, _)| package)
}

/// Whether a process runs under a UID: the folder of a process is its effective user's.
fn runs_under(process: &Path, uid: u32) -> bool {
    fs::metadata(process).is_ok_and(|found| found.is_dir() && found.uid() == uid)
}

/// The first argument of the command line; none for a process without one.
fn name_of(process: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(process.join("cmdline"))
        .ok()?
        .take(NAME_BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    let first = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(first).trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder like `/proc`, whose processes run under the UID of this test.
    struct FakeProc(tempfile::TempDir);

    impl FakeProc {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn add(&self, pid: u32, command: &str, inodes: &[u32]) {
            let process = self.0.path().join(pid.to_string());
            fs::create_dir_all(process.join("fd")).unwrap();
            fs::write(process.join("cmdline"), command).unwrap();
            for (at, inode) in inodes.iter().enumerate() {
                let link = process.join(format!("fd/{at}"));
                symlink(format!("socket:[{inode}]"), link).unwrap();
            }
        }

        fn uid(&self) -> u32 {
            fs::metadata(self.0.path()).unwrap().uid()
        }

        fn of_socket(&self, uid: u32, inode: u32) -> Option<(u32, String)> {
            let pids = under(self.0.path(), uid, &mut || true)?;
            let found = of_socket(self.0.path(), (uid, &pids), inode, &mut || true)?;
            Some((found.pid, found.name))
        }
    }

    #[test]
    fn the_process_that_has_the_socket_open_is_named() {
        let proc = FakeProc::new();
        proc.add(700, "system_server\0", &[5]);
        proc.add(800, "com.android.phone\0-x\0", &[6, 7]);
        fs::create_dir(proc.0.path().join("self")).unwrap();
        let uid = proc.uid();
        let phone = Some((800, "com.android.phone".to_owned()));
        assert_eq!(proc.of_socket(uid, 7), phone);
        assert_eq!(proc.of_socket(uid, 8), None);
        assert_eq!(proc.of_socket(uid + 1, 7), None, "of another UID");
    }

    #[test]
    fn two_that_share_it_are_named_only_if_they_bear_one_name() {
        let proc = FakeProc::new();
        proc.add(1, "a\0", &[5]);
        proc.add(2, "a\0", &[5]);
        assert!(proc.of_socket(proc.uid(), 5).is_some());
        proc.add(3, "b\0", &[5]);
        assert_eq!(proc.of_socket(proc.uid(), 5), None);
    }

    #[test]
    fn who_asks_can_end_the_search_and_a_process_without_a_name_has_none() {
        let proc = FakeProc::new();
        proc.add(1, "", &[5]);
        assert_eq!(proc.of_socket(proc.uid(), 5), None);
        proc.add(2, "a\0", &[5]);
        let ended = of_socket(proc.0.path(), (proc.uid(), &[2]), 5, &mut || false);
        assert_eq!(ended, None);
        assert_eq!(under(proc.0.path(), proc.uid(), &mut || false), None);
    }

    #[test]
    fn this_process_holds_its_own_socket() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&socket)
        ));
        let link = link.unwrap().display().to_string();
        let inode = link.trim_start_matches("socket:[").trim_end_matches(']');
        let uid = fs::metadata("/proc/self").unwrap().uid();
        let pids = [std::process::id()];
        let inode = inode.parse().unwrap();
        let found = of_socket("/proc".as_ref(), (uid, &pids), inode, &mut || true);
        assert_eq!(found.map(|found| found.pid), Some(std::process::id()));
    }

    #[test]
    fn an_isolated_process_bears_its_packages_name() {
        assert_eq!(package_of("com.a:sandboxed_process0:x"), "com.a");
        assert_eq!(package_of("com.a"), "com.a");
    }
}
