//! Lines about capture and the network: NFLOG, packet sockets, look-ups, BPF, interfaces, VPN, DNS.
//!
//! In: files and probes. Out: lines.

use std::path::Path;

use serde_json::Value;

use super::{
    Probes, Tried, below, files,
    kernel_config::{Built, KernelConfig},
    line::{self, LIST_MAX},
    packet_filter::NO_NFLOG,
};
use crate::evidence::examination::Line;

/// How the names of tunnels begin.
const TUNNELS: [&str; 4] = ["ipsec", "ppp", "tun", "wg"];

/// NFLOG and its groups.
pub(super) fn nflog(root: &Path, probes: &Probes) -> Line {
    const KEY: &str = "nflog";
    let used = files::text(&below(root, "/proc/net/netfilter/nfnetlink_log"))
        .ok()
        .map(|text| files::nflog_groups(&text));
    let line = match &probes.nflog {
        Tried::Works([first, second]) => line::ok(
            KEY,
            format!("groups {first} and {second} are free and could be bound"),
        ),
        Tried::Refused | Tried::Absent => line::unknown(
            KEY,
            "only a process with CAP_NET_ADMIN can try to bind a group",
        ),
        Tried::Fails { cause, remedy } => {
            line::degraded(KEY, cause.as_str(), NO_NFLOG).remedy(remedy.as_str())
        }
    };
    let free = match &probes.nflog {
        Tried::Works(groups) => groups.to_vec(),
        _ => Vec::new(),
    };
    line.fact("groups_in_use", used.map(shortened))
        .fact("groups_bound", free)
}

fn shortened(mut groups: Vec<u16>) -> Vec<u16> {
    groups.truncate(LIST_MAX);
    groups
}

/// The fallback.
pub(super) fn packet_socket(probes: &Probes) -> Line {
    const KEY: &str = "packet_socket";
    match &probes.packet_socket {
        Tried::Works(()) => line::ok(KEY, "one could be opened"),
        Tried::Refused | Tried::Absent => {
            line::unknown(KEY, "only a process with CAP_NET_RAW can try to open one")
        }
        Tried::Fails { cause, remedy } => line::degraded(
            KEY,
            cause.as_str(),
            "the fallback where NFLOG cannot be used",
        )
        .remedy(remedy.as_str()),
    }
}

/// Look-ups of owners.
pub(super) fn sock_diag(probes: &Probes) -> Line {
    const KEY: &str = "sock_diag";
    let (line, found) = match &probes.sock_diag {
        Tried::Works(true) => (
            line::ok(KEY, "the kernel told the owner of a socket of ours"),
            Some(true),
        ),
        Tried::Works(false) => (
            line::unknown(
                KEY,
                "the kernel answers, but did not tell of a socket of ours",
            ),
            Some(false),
        ),
        Tried::Refused | Tried::Absent => (line::unknown(KEY, "it could not be tried"), None),
        Tried::Fails { cause, remedy } => (
            line::degraded(
                KEY,
                cause.as_str(),
                "for whom the platform's sockets act: packets that netd sends for an app are \
                 booked to netd",
            )
            .remedy(remedy.as_str()),
            None,
        ),
    };
    line.fact("own_socket_found", found)
}

/// The BPF file system and the match `bpf`.
pub(super) fn bpf(root: &Path, config: &KernelConfig) -> Line {
    const KEY: &str = "bpf";
    const LOST: &str = "exact owners by xt_bpf";
    let mounted = files::text(&below(root, "/proc/self/mountinfo"))
        .ok()
        .map(|text| {
            files::mounts(&text)
                .iter()
                .any(|mount| mount.on == "/sys/fs/bpf" && mount.kind == "bpf")
        });
    let listed = |path: &str| {
        let text = files::text(&below(root, path)).ok()?;
        Some(text.lines().any(|line| line.trim() == "bpf"))
    };
    let v4 = listed("/proc/net/ip_tables_matches");
    let v6 = listed("/proc/net/ip6_tables_matches");
    let built = config.get("NETFILTER_XT_MATCH_BPF");
    let offered =
        v4 == Some(true) || v6 == Some(true) || matches!(built, Some(Built::In | Built::Module));
    let line = match mounted {
        Some(false) => line::degraded(KEY, "no BPF file system is mounted at /sys/fs/bpf", LOST)
            .remedy("mount -t bpf bpf /sys/fs/bpf"),
        _ if !offered && built == Some(Built::Absent) => {
            line::degraded(KEY, "the kernel has no match `bpf` (xt_bpf)", LOST)
        }
        Some(true) if offered => line::ok(
            KEY,
            "the BPF file system is mounted at /sys/fs/bpf, and xt_bpf is offered",
        ),
        // The kernel lists a match only once its module is loaded.
        Some(true) => line::unknown(
            KEY,
            "the BPF file system is mounted; whether xt_bpf is offered shows only when it is used",
        ),
        None => line::unknown(KEY, "what is mounted cannot be read"),
    };
    line.fact("bpffs", mounted)
        .fact("xt_bpf_listed_v4", v4)
        .fact("xt_bpf_listed_v6", v6)
}

/// netd's map of tagged sockets.
pub(super) fn netd_tags(probes: &Probes) -> Line {
    const KEY: &str = "netd_tags";
    const LOST: &str = "for which app a system service works: a download by one shows the service";
    let (line, path) = match &probes.tag_map {
        Tried::Works(path) => (
            line::ok(KEY, "netd's map of tagged sockets can be read"),
            path.to_str(),
        ),
        Tried::Absent if probes.android => (
            line::degraded(KEY, "netd's map of tagged sockets was not found", LOST),
            None,
        ),
        Tried::Absent => (
            line::ok(KEY, "no map of netd's: this is no Android device"),
            None,
        ),
        Tried::Refused => (line::unknown(KEY, "it could not be tried"), None),
        Tried::Fails { cause, remedy } => (
            line::degraded(KEY, cause.as_str(), LOST).remedy(remedy.as_str()),
            None,
        ),
    };
    line.fact("path", path.map(str::to_owned))
}

/// Interfaces that are up.
pub(super) fn interfaces(probes: &Probes) -> Line {
    const KEY: &str = "interfaces";
    let up: Vec<&str> = probes
        .interfaces
        .iter()
        .filter(|interface| interface.up && !interface.loopback)
        .map(|interface| interface.name.as_str())
        .collect();
    let line = if up.is_empty() {
        line::degraded(
            KEY,
            "none is up beside the loopback",
            "everything: nothing can be sent until one is",
        )
        .remedy("switch on the network that is to be watched")
    } else {
        line::ok(KEY, format!("up: {}", up.join(", ")))
    };
    line.fact("count", up.len()).fact("up", up)
}

/// Tunnels.
pub(super) fn vpn(root: &Path, probes: &Probes) -> Line {
    const KEY: &str = "vpn";
    let tunnels: Vec<&str> = probes
        .interfaces
        .iter()
        .filter(|interface| interface.up)
        .map(|interface| interface.name.as_str())
        .filter(|name| TUNNELS.iter().any(|start| name.starts_with(start)))
        .collect();
    let routes = |path: &str, read: fn(&str) -> Vec<String>| {
        files::text(&below(root, path)).ok().map(|text| read(&text))
    };
    let v4 = routes("/proc/net/route", files::default_routes_v4);
    let v6 = routes("/proc/net/ipv6_route", files::default_routes_v6);
    let over = [&v4, &v6]
        .into_iter()
        .flatten()
        .flatten()
        .any(|name| tunnels.contains(&name.as_str()));
    let line = if tunnels.is_empty() {
        line::ok(KEY, "no tunnel is up")
    } else {
        let mut says = format!("up: {}", tunnels.join(", "));
        if over {
            says.push_str("; the default route goes over it");
        }
        line::degraded(
            KEY,
            says,
            "what goes through a tunnel is seen twice, from the app and from who runs the tunnel, \
             and how the second one goes on from its far end is not seen",
        )
        .remedy("end the VPN, unless it is what is to be examined")
    };
    line.fact("tunnels", tunnels)
        .fact("default_routes_v4", v4)
        .fact("default_routes_v6", v6)
        .fact("default_over_tunnel", over)
}

/// Android's private DNS.
pub(super) fn private_dns(probes: &Probes) -> Line {
    const KEY: &str = "private_dns";
    const LOST: &str = "names that are asked for over TLS: what DNS answers would have told stays \
                        unknown where a flow does not name its endpoint itself";
    const REMEDY: &str = "switch private DNS off in the handset's settings, if the examination \
                          allows it";
    let (line, mode, specifier) = match &probes.private_dns {
        Tried::Works([mode, specifier]) => {
            let line = match mode.as_str() {
                "off" => line::ok(KEY, "off"),
                "opportunistic" => line::degraded(
                    KEY,
                    "opportunistic: used where the network's resolver offers it",
                    LOST,
                )
                .remedy(REMEDY),
                "hostname" => {
                    line::degraded(KEY, format!("on, with the resolver {specifier}"), LOST)
                        .remedy(REMEDY)
                }
                "null" | "" => line::degraded(
                    KEY,
                    "not set, so it is as Android or the vendor has it, mostly opportunistic",
                    LOST,
                )
                .remedy(REMEDY),
                other => line::unknown(KEY, format!("the mode {other} is not known")),
            };
            let known = |text: &String| match text.as_str() {
                "null" | "" => Value::Null,
                text => text.into(),
            };
            (line, known(mode), known(specifier))
        }
        Tried::Fails { cause, .. } => (
            line::unknown(KEY, format!("it could not be asked for: {cause}")),
            Value::Null,
            Value::Null,
        ),
        Tried::Refused | Tried::Absent => (
            line::unknown(KEY, "this machine has no `settings` to ask"),
            Value::Null,
            Value::Null,
        ),
    };
    line.fact("mode", mode).fact("specifier", specifier)
}
