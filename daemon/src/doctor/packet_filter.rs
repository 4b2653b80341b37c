//! Lines about iptables, ip6tables and their lock.
//!
//! In: what the commands said. Out: lines.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt as _, path::Path};

use serde_json::Value;

use super::{
    Probes, below, files, line,
    probes::{PacketFilter, Unlisted},
};
use crate::{capture::nflog::listing::Listing, evidence::examination::Line};

/// What is lost without the packet filter.
pub(super) const NO_NFLOG: &str = "the owner that comes with each packet, and the count of lost \
                                   ones: packet sockets are used instead";
/// Where the lock lies: iptables' own place, Android's before and after Android 8 (`XT_LOCK_NAME`).
const LOCKS: [&str; 2] = ["/run/xtables.lock", "/system/etc/xtables.lock"];
const KEY_LOCK: &str = "xtables_lock";

/// One family's command.
pub(super) fn command(key: &str, filter: &PacketFilter, root: bool) -> Line {
    let (command, version, listing) = match filter {
        PacketFilter::NoFamily => {
            return facts(
                line::ok(key, "this machine has no IPv6, so that it is not needed"),
                None,
                None,
                None,
            );
        }
        PacketFilter::NotFound { command } => {
            let line = line::degraded(key, format!("`{command}` was not found"), NO_NFLOG)
                .remedy("install iptables (with ip6tables), or put its folder into PATH");
            return facts(line, None, None, None);
        }
        PacketFilter::Found {
            command,
            version,
            listing,
        } => (command, version.as_deref(), listing),
    };
    let shown = version.unwrap_or(command);
    let line = match listing {
        Ok(listing) => listed(key, shown, listing),
        Err(Unlisted::NotPermitted) if !root => line::unknown(
            key,
            format!("{shown}; its table can only be listed by root"),
        ),
        Err(Unlisted::NotPermitted) => line::degraded(
            key,
            format!("{shown}; its table cannot be listed: not permitted"),
            NO_NFLOG,
        )
        .remedy("see what SELinux or the container refuses"),
        Err(Unlisted::LockHeld) => line::failed(
            key,
            format!("{shown}; another program has held its lock for a second"),
            "end that program (the line xtables_lock names it), or try again",
        ),
        Err(Unlisted::Failed { cause, remedy }) => line::degraded(
            key,
            format!("{shown}; its table cannot be listed: {cause}"),
            NO_NFLOG,
        )
        .remedy(remedy.as_str()),
    };
    facts(line, Some(command), version, listing.as_ref().ok())
}

fn listed(key: &str, shown: &str, listing: &Listing) -> Line {
    let rules = listing.rules.len();
    let earlier: Vec<String> = listing
        .earlier_accepts()
        .map(|rule| format!("-A {} {}", rule.chain, rule.text))
        .collect();
    if earlier.is_empty() {
        return line::ok(key, format!("{shown}; its table has {rules} rules"));
    }
    line::degraded(
        key,
        format!(
            "{shown}; rules of somebody else accept packets before ours see them: {}",
            earlier.join(", ")
        ),
        "the packets that these rules accept",
    )
    .remedy("see who made these rules, and whether they are needed")
}

fn facts(
    line: Line,
    command: Option<&String>,
    version: Option<&str>,
    listing: Option<&Listing>,
) -> Line {
    let accepts = listing.map_or(0, |listing| listing.earlier_accepts().count());
    line.fact("command", command.map(String::as_str))
        .fact("version", version)
        .fact("variant", version.map(variant))
        .fact("rules", listing.map(|listing| listing.rules.len()))
        .fact("earlier_accepts", listing.map(|_| accepts))
}

/// `iptables v1.8.9 (nf_tables)`; versions before 1.8 say nothing and are legacy.
fn variant(version: &str) -> &'static str {
    if version.contains("nf_tables") {
        "nft"
    } else {
        "legacy"
    }
}

/// The lock that legacy iptables takes.
pub(super) fn lock(root: &Path, probes: &Probes) -> Line {
    const REMEDY: &str = "end that program, or try again";
    let waited = [&probes.v4, &probes.v6].into_iter().any(waited_in_vain);
    let found = LOCKS.iter().find_map(|path| {
        let metadata = below(root, path).metadata().ok()?;
        Some((*path, metadata))
    });
    let Some((path, metadata)) = found else {
        let line = if waited {
            line::failed(KEY_LOCK, "a program that cannot be named holds it", REMEDY)
        } else {
            line::ok(KEY_LOCK, "nobody has taken it yet: there is no lock file")
        };
        return lock_facts(line, None, Some(waited), None);
    };
    let (line, held, who) = match (holder(root, &metadata), waited) {
        (Ok(Some((pid, name))), _) => {
            let says = format!("process {pid} ({name}) holds {path}");
            let line = if waited {
                line::failed(KEY_LOCK, says, REMEDY)
            } else {
                line::ok(KEY_LOCK, format!("{says} just now"))
            };
            (line, Some(true), Some((pid, name)))
        }
        (_, true) => {
            let says = format!("a program that cannot be named holds {path}");
            (line::failed(KEY_LOCK, says, REMEDY), Some(true), None)
        }
        (Ok(None), false) => {
            let says = format!("nobody holds {path}");
            (line::ok(KEY_LOCK, says), Some(false), None)
        }
        (Err(_), false) => {
            let says = format!("whether {path} is held cannot be told");
            (line::unknown(KEY_LOCK, says), None, None)
        }
    };
    lock_facts(line, Some(path), held, who)
}

fn waited_in_vain(filter: &PacketFilter) -> bool {
    matches!(
        filter,
        PacketFilter::Found {
            listing: Err(Unlisted::LockHeld),
            ..
        }
    )
}

/// The process that holds a file's lock, and its name; none: nobody does.
fn holder(root: &Path, file: &Metadata) -> io::Result<Option<(u32, String)>> {
    let locks = files::text(&below(root, "/proc/locks"))?;
    let device = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let holder = files::lock_holder(&locks, device, file.ino()).map(|pid| {
        let name = files::word(&below(root, format!("/proc/{pid}/comm")));
        (pid, name.unwrap_or_else(|| "of unknown name".to_owned()))
    });
    Ok(holder)
}

fn lock_facts(
    line: Line,
    path: Option<&str>,
    held: Option<bool>,
    who: Option<(u32, String)>,
) -> Line {
    let (pid, process) = who.map_or((Value::Null, Value::Null), |(pid, name)| {
        (pid.into(), name.into())
    });
    line.fact("path", path)
        .fact("held", held)
        .fact("pid", pid)
        .fact("process", process)
}
