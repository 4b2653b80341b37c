//! What a watch may leave on a machine: packet-filter rules, BPF pins, files, processes, sockets.
//!
//! In: where to look. Out: lists that are compared with those of another moment. The case itself is
//! no trace: it is why the watch was made.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::handset::Result;

/// Runs a command where the watch was, and gives what it says.
pub type Run<'a> = &'a dyn Fn(&mut Command) -> Result<String>;

/// What the kernel lists of sockets, and the columns by which two of them are told apart; pointers,
/// counters and inode numbers are left out.
const SOCKETS: [(&str, &[usize]); 4] = [
    ("/proc/net/unix", &[4, 7]),
    ("/proc/net/netlink", &[1, 3]),
    ("/proc/net/packet", &[2, 3, 4]),
    ("/proc/net/netfilter/nfnetlink_log", &[0]),
];
/// A socket of the kernel's own has this for its process.
const KERNEL: &str = "0";

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folders whose files are looked at.
    pub files: Vec<PathBuf>,
    /// Folders in them that are not: cases, and what the test itself puts somewhere.
    pub except: Vec<PathBuf>,
    /// The BPF file system.
    pub bpffs: PathBuf,
    /// Only processes that run a file below this.
    pub programs: PathBuf,
}

/// What was there at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// By what is looked at, each thing in a line, sorted.
    pub of: BTreeMap<String, Vec<String>>,
}

/// A moment of a test and what was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Its name.
    pub name: String,
    /// What was there.
    pub traces: Traces,
}

impl Traces {
    /// Looks.
    pub fn look(run: Run<'_>, places: &Places) -> Result<Self> {
        let mut pins = Vec::new();
        walk(&places.bpffs, &[], &mut pins);
        let mut files = Vec::new();
        for folder in &places.files {
            walk(folder, &places.except, &mut files);
        }
        let looked = [
            ("rules", rules(run)?),
            ("pins", pins),
            ("files", files),
            ("processes", processes(&places.programs)),
            ("sockets", sockets(run)?),
        ];
        let of = looked.into_iter().map(|(what, mut lines)| {
            lines.sort();
            (what.to_owned(), lines)
        });
        Ok(Self { of: of.collect() })
    }

    /// What is there now and was not `before`, and what is missing; empty: as before.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let mut difference = Vec::new();
        for (what, sign, more, less) in self
            .of
            .keys()
            .chain(before.of.keys())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .flat_map(|what| [(what, "more", self, before), (what, "less", before, self)])
        {
            let mut rest = less.of.get(what).cloned().unwrap_or_default();
            for line in more.of.get(what).into_iter().flatten() {
                match rest.iter().position(|other| other == line) {
                    Some(at) => drop(rest.remove(at)),
                    None => difference.push(format!("{what}, {sign}: {line}")),
                }
            }
        }
        difference
    }

    /// How many things of a kind are there.
    pub fn count(&self, what: &str) -> usize {
        self.of.get(what).map_or(0, Vec::len)
    }
}

/// The rules of the packet filter, without the chains' counters.
fn rules(run: Run<'_>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for program in ["iptables", "ip6tables"] {
        for table in ["raw", "mangle", "filter"] {
            let said = run(Command::new(program).args(["-w", "-t", table, "-S"]))?;
            let lines = said.lines();
            all.extend(lines.map(|line| format!("{program} {table} {line}")));
        }
    }
    Ok(all)
}

/// A folder's files: kind, path, and of a file its length and when it was last written.
fn walk(folder: &Path, except: &[PathBuf], all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if except.contains(&path) {
            continue;
        }
        let name = path.display();
        if meta.is_dir() {
            all.push(format!("folder {name}"));
            walk(&path, except, all);
        } else if meta.is_file() {
            let (size, at, nanos) = (meta.size(), meta.mtime(), meta.mtime_nsec());
            all.push(format!("file {name} {size} bytes {at}.{nanos:09}"));
        } else {
            all.push(format!("other {name}"));
        }
    }
}

/// Processes whose program lies below a folder; a program that was removed is named all the same.
fn processes(programs: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path().join("exe")).ok())
        .filter(|program| program.starts_with(programs))
        .map(|program| program.display().to_string())
        .collect()
}

/// Named unix sockets, netlink sockets of processes, packet sockets, groups of NFLOG.
fn sockets(run: Run<'_>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (file, columns) in SOCKETS {
        let line = format!("cat {file} 2>/dev/null || true");
        let said = run(Command::new("sh").args(["-c", &line]))?;
        for row in said.lines() {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let is_nobodys = match file {
                // Without a name: a pair within a process, or between a test's own.
                "/proc/net/unix" => fields.len() < 8,
                "/proc/net/netlink" => fields.get(2) == Some(&KERNEL),
                _ => false,
            };
            if !is_nobodys {
                let kept = columns.iter().filter_map(|at| fields.get(*at).copied());
                all.push(format!("{file} {}", kept.collect::<Vec<_>>().join(" ")));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &[&str]) -> Traces {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Traces {
            of: BTreeMap::from([("pins".to_owned(), lines)]),
        }
    }

    #[test]
    fn what_is_more_or_less_is_told_each_time() {
        let before = with(&["a", "b"]);
        assert!(before.since(&before.clone()).is_empty());
        assert_eq!(
            with(&["b", "b", "c"]).since(&before),
            ["pins, more: b", "pins, more: c", "pins, less: a"]
        );
        assert_eq!(
            Traces::default().since(&before),
            ["pins, less: a", "pins, less: b"]
        );
    }

    #[test]
    fn a_file_is_seen_and_what_is_excepted_is_not() {
        let room = tempfile::tempdir().expect("a folder");
        for name in ["kept", "case"] {
            fs::create_dir(room.path().join(name)).expect("a folder");
            fs::write(room.path().join(name).join("file"), "x").expect("a file");
        }
        let mut all = Vec::new();
        walk(room.path(), &[room.path().join("case")], &mut all);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.iter().any(|line| line.contains("kept/file 1 bytes")));
    }
}
