//! Lines about the handset's apps and identity, and about daemons and what they left.
//!
//! In: the inventory, files and probes. Out: lines.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Apps, Probes, Tried, below, files, line,
    probes::{PacketFilter, Running},
};
use crate::{attribute::inventory::SYSTEM_PARTITIONS, evidence::examination::Line};

/// Problems of the inventory that are told one by one; its gaps in the case tell all.
const PROBLEMS_TOLD: usize = 3;
/// How binary XML begins.
const ABX_MAGIC: &[u8] = b"ABX\0";
/// Android's properties that say what device this is, by the names that they have in a line.
const PROPERTIES: [(&str, &str); 8] = [
    ("fingerprint", "ro.build.fingerprint"),
    ("manufacturer", "ro.product.manufacturer"),
    ("brand", "ro.product.brand"),
    ("model", "ro.product.model"),
    ("device", "ro.product.device"),
    ("release", "ro.build.version.release"),
    ("security_patch", "ro.build.version.security_patch"),
    ("verified_boot", "ro.boot.verifiedbootstate"),
];

/// The apps.
pub(super) fn inventory(apps: Apps<'_>) -> Line {
    const KEY: &str = "inventory";
    const LOST: &str = "which app a UID stands for, and whether it was preloaded";
    let (from, inventory, problems) = match apps {
        Apps::Read {
            from,
            inventory,
            problems,
        } => (from, inventory, problems),
        Apps::Unreadable(why) => {
            return line::failed(KEY, why, "name a folder that can be read with --inventory")
                .fact("from", Value::Null)
                .fact("files", Map::new())
                .fact("apps", Value::Null)
                .fact("users", Value::Null)
                .fact("problems", Value::Null);
        }
        Apps::Nowhere => {
            return line::degraded(KEY, "there is no inventory here", LOST)
                .remedy("name a copy of the handset's /data/system with --inventory")
                .fact("from", Value::Null)
                .fact("files", Map::new())
                .fact("apps", 0)
                .fact("users", 0)
                .fact("problems", 0);
        }
    };
    let (found, users) = (inventory.apps().len(), inventory.users().len());
    let says = format!("{found} packages, {users} user(s) in {from}");
    let line = if problems.is_empty() {
        line::ok(KEY, says)
    } else {
        let told: Vec<String> = problems
            .iter()
            .take(PROBLEMS_TOLD)
            .map(ToString::to_string)
            .collect();
        let more = problems.len().saturating_sub(PROBLEMS_TOLD);
        let lost = if found == 0 {
            LOST
        } else {
            "of some packages, whom they belong to or whether they were preloaded"
        };
        let line = line::degraded(KEY, says, lost).remedy(told.join(" | "));
        line.fact("problems_untold", more)
    };
    let files: Map<String, Value> = inventory
        .sources()
        .iter()
        .map(|source| (source.name.clone(), form(&source.bytes).into()))
        .collect();
    line.fact("from", from)
        .fact("files", files)
        .fact("apps", found)
        .fact("users", users)
        .fact("problems", problems.len())
}

/// How a file is written: Android 12 and later write most of theirs as binary XML.
fn form(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(ABX_MAGIC) {
        "abx"
    } else {
        "text"
    }
}

/// Partitions that preloaded apps come from.
pub(super) fn preloads(root: &Path, probes: &Probes) -> Line {
    const KEY: &str = "preload_partitions";
    let mut found = Vec::new();
    let mut unread = Vec::new();
    for partition in SYSTEM_PARTITIONS {
        match std::fs::read_dir(below(root, partition)) {
            Ok(_) => found.push(partition),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => unread.push(partition),
        }
    }
    let line = if !unread.is_empty() {
        line::degraded(
            KEY,
            format!("these cannot be read: {}", unread.join(", ")),
            "which deletable apps were preloaded from there",
        )
        .remedy("run it as root, and see what SELinux refuses")
    } else if !found.is_empty() {
        line::ok(KEY, format!("found: {}", found.join(", ")))
    } else if probes.android {
        line::degraded(
            KEY,
            "none was found on this Android device",
            "which deletable apps were preloaded",
        )
    } else {
        line::ok(KEY, "none: this is no Android device")
    };
    line.fact("found", found).fact("unreadable", unread)
}

/// What device this is.
pub(super) fn android(probes: &Probes) -> Line {
    const KEY: &str = "android";
    let wanted = PROPERTIES.map(|(_, property)| property);
    let (known, failure) = match &probes.properties {
        Tried::Works(text) => (files::properties(text, &wanted), None),
        Tried::Fails { cause, .. } => (files::properties("", &wanted), Some(cause.as_str())),
        Tried::Refused | Tried::Absent => (files::properties("", &wanted), None),
    };
    let mut line = match known.get("ro.build.fingerprint") {
        Some(fingerprint) => line::ok(KEY, fingerprint.as_str()),
        None if !probes.android => line::ok(KEY, "not Android"),
        None => line::unknown(
            KEY,
            failure.map_or_else(
                || "an Android device that does not tell its fingerprint".to_owned(),
                |cause| format!("an Android device whose properties cannot be read: {cause}"),
            ),
        ),
    };
    for (name, property) in PROPERTIES {
        line = line.fact(name, known.get(property).cloned());
    }
    line.fact("is_android", probes.android)
}

/// Daemons that run.
pub(super) fn daemon(probes: &Probes) -> Line {
    const KEY: &str = "daemon";
    let daemons = match &probes.daemons {
        Ok(daemons) => daemons,
        Err(why) => {
            return line::unknown(KEY, format!("whether one runs cannot be told: {why}"))
                .fact("running", Value::Null);
        }
    };
    let running: Vec<Value> = daemons.running.iter().map(described).collect();
    let silent = daemons.running.iter().any(|daemon| daemon.pid.is_none());
    let line = match daemons.running.as_slice() {
        [] => line::ok(KEY, "none is running"),
        [only] if !silent => {
            let pid = only.pid.unwrap_or_default();
            let case = only.case.as_deref().unwrap_or_default();
            let place = if only.here == Some(true) {
                "here"
            } else {
                "in another network namespace"
            };
            line::ok(KEY, format!("process {pid} watches {place}; case {case}"))
        }
        _ if silent => line::failed(
            KEY,
            "one is running, and does not answer",
            "look at its process; end it if it hangs, then run `sakshi clean`",
        ),
        several => line::ok(KEY, format!("{} are running", several.len())),
    };
    line.fact("running", running)
}

fn described(daemon: &Running) -> Value {
    Value::Object(Map::from_iter([
        ("pid".to_owned(), daemon.pid.into()),
        ("case".to_owned(), daemon.case.clone().into()),
        ("here".to_owned(), daemon.here.into()),
    ]))
}

/// Our chains that are there, and whether a family could not be looked at.
fn chains_of_ours(probes: &Probes) -> (Vec<String>, bool) {
    let mut chains = Vec::new();
    let mut unlisted = false;
    for filter in [&probes.v4, &probes.v6] {
        match filter {
            PacketFilter::Found {
                command,
                listing: Ok(listing),
                ..
            } => {
                let ours: Vec<&str> = listing.our_chains().collect();
                if ours.is_empty() && listing.has_ours() {
                    chains.push(format!("{command} jumps"));
                }
                chains.extend(ours.iter().map(|chain| format!("{command} {chain}")));
            }
            PacketFilter::NoFamily => {}
            PacketFilter::Found { .. } | PacketFilter::NotFound { .. } => unlisted = true,
        }
    }
    (chains, unlisted)
}

/// What a daemon that crashed left behind.
pub(super) fn leftovers(probes: &Probes) -> Line {
    const KEY: &str = "leftovers";
    let (chains, unlisted) = chains_of_ours(probes);
    let (watched, stale) = match &probes.daemons {
        // One that does not answer may well be the owner of the chains.
        Ok(daemons) => (
            daemons
                .running
                .iter()
                .any(|daemon| daemon.here != Some(false)),
            Some(daemons.stale.len()),
        ),
        Err(_) => (false, None),
    };
    let left = !chains.is_empty() && !watched;
    let sockets = stale.unwrap_or(0);
    let line = if stale.is_none() && left {
        line::unknown(
            KEY,
            format!(
                "there are chains of ours ({}), and whether a daemon runs cannot be told",
                chains.join(", ")
            ),
        )
    } else if left || sockets > 0 {
        let mut what = Vec::new();
        if left {
            what.push(format!("packet rules ({})", chains.join(", ")));
        }
        if sockets > 0 {
            what.push(format!("{sockets} control socket(s)"));
        }
        line::degraded(
            KEY,
            format!("a daemon that crashed left {}", what.join(" and ")),
            "the handset is not as it was found",
        )
        .remedy("run `sakshi clean`; the next `sakshi run` does so too")
    } else if unlisted || stale.is_none() {
        line::unknown(
            KEY,
            "not everything could be looked at: see the lines iptables, ip6tables and daemon",
        )
    } else if watched && !chains.is_empty() {
        line::ok(KEY, "none: the chains are of the daemon that watches")
    } else {
        line::ok(KEY, "none")
    };
    line.fact("chains", chains).fact("stale_sockets", stale)
}
