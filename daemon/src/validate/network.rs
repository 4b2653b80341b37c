//! Two network namespaces joined by a virtual cable, without a way out.
//!
//! In: the process that holds the other namespace. Out: the namespace that we are in is a handset's,
//! the other one the Internet of the published ranges. Both go with their last process, and the cable
//! with them, so there is nothing to clean up.

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    Error,
    plan::{ROUTER_V4, ROUTER_V6},
    truth::RANGES,
};
use crate::platform::command::{self, Invocation};

/// The handset's interface.
const CABLE: &str = "wan0";
/// The handset's addresses.
const HANDSET_V4: &str = "192.168.43.100";
const HANDSET_V6: &str = "2001:db8:43::100";
/// Link addresses are fixed, so that no neighbour must be discovered.
const HANDSET_MAC: &str = "02:00:5e:10:00:64";
const ROUTER_MAC: &str = "02:00:5e:10:00:01";
/// `ip` does its work at once, or something is wrong.
const IP_MAX: Duration = Duration::from_secs(20);
/// Time for the multicast reports that the kernel sends when an address is added: they are counted on
/// the cable, and were sent by nobody.
const SETTLE: Duration = Duration::from_millis(300);

/// Joins this namespace to the one that process `internet` is in.
pub(super) fn join(internet: u32) -> Result<(), Error> {
    quiet()?;
    inside(internet, quiet)??;
    let peer = internet.to_string();
    ip(&format!(
        "link add {CABLE} address {HANDSET_MAC} type veth peer name lan0 address {ROUTER_MAC} netns {peer}"
    ))?;
    side(CABLE, HANDSET_V4, HANDSET_V6)?;
    for address in [ROUTER_V4.to_string(), ROUTER_V6.to_string()] {
        neighbour(&address, ROUTER_MAC, CABLE)?;
    }
    inside(internet, || {
        side("lan0", &ROUTER_V4.to_string(), &ROUTER_V6.to_string())?;
        for address in [HANDSET_V4, HANDSET_V6] {
            neighbour(address, HANDSET_MAC, "lan0")?;
        }
        // Every address of these ranges is the router's own.
        RANGES.iter().try_for_each(|range| {
            let family = if range.first.is_ipv6() { "-6 " } else { "" };
            ip(&format!("{family}route add local {} dev lo", range.cidr()))
        })
    })??;
    ip(&format!("route add default via {ROUTER_V4}"))?;
    ip(&format!("-6 route add default via {ROUTER_V6}"))?;
    thread::sleep(SETTLE);
    Ok(())
}

/// Packets that the cable has taken from the handset so far.
pub(super) fn sent() -> Result<u64, Error> {
    // After the colon: eight received columns, then bytes and packets transmitted.
    const PACKETS_COLUMN: usize = 9;
    let path = "/proc/thread-self/net/dev";
    let table = fs::read_to_string(path).map_err(Error::io("reading the cable's counter"))?;
    table
        .lines()
        .filter_map(|line| line.trim().strip_prefix(CABLE)?.strip_prefix(':'))
        .find_map(|columns| columns.split_whitespace().nth(PACKETS_COLUMN)?.parse().ok())
        .ok_or_else(|| Error::Unexpected(format!("{CABLE} is not in {path}")))
}

/// What the kernel would say by itself on a new link is switched off.
fn quiet() -> Result<(), Error> {
    for (key, value) in [
        ("accept_ra", "0"),
        ("accept_dad", "0"),
        ("router_solicitations", "0"),
        ("mldv2_unsolicited_report_interval", "1"),
    ] {
        fs::write(format!("/proc/sys/net/ipv6/conf/default/{key}"), value)
            .map_err(Error::io(format!("setting {key} (is IPv6 switched off?)")))?;
    }
    Ok(())
}

/// Switches one end of the cable on.
fn side(device: &str, v4: &str, v6: &str) -> Result<(), Error> {
    ip(&format!("link set {device} addrgenmode none"))?;
    ip(&format!("link set {device} up"))?;
    ip("link set lo up")?;
    ip(&format!("addr add {v4}/24 dev {device}"))?;
    ip(&format!("addr add {v6}/64 dev {device} nodad"))
}

fn neighbour(address: &str, link: &str, device: &str) -> Result<(), Error> {
    ip(&format!(
        "neigh replace {address} lladdr {link} nud permanent dev {device}"
    ))
}

fn ip(line: &str) -> Result<(), Error> {
    let args: Vec<&str> = line.split(' ').collect();
    command::run(&Invocation {
        program: "ip",
        args: &args,
        stdin: None,
        timeout: IP_MAX,
    })?;
    Ok(())
}

/// Runs `work` in a thread that lives in the namespace of a process; what it spawns lives there.
fn inside<T: Send>(process: u32, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let path = format!("/proc/{process}/ns/net");
    let file = File::open(&path).map_err(Error::io(format!("opening {path}")))?;
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| Error::io(format!("entering {path}"))(errno.into()))?;
            Ok(work())
        });
        let ended = thread.join();
        ended.map_err(|_| Error::Unexpected("a thread ended by a panic".to_owned()))?
    })
}
