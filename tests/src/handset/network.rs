//! Two network namespaces joined by a virtual cable, with no way out.
//!
//! In: the hosts' addresses. Out: namespaces that threads can enter. Where the machine itself is the
//! handset (an emulated one), the handset's namespace is the one that we are in. The kernel's own chatter
//! (neighbour discovery, router solicitation) is switched off or over before `start` returns, so
//! that what is counted was sent by a process.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Error, Result, places::Host};

/// Start of every namespace name; then the process id, a counter, and the side.
const PREFIX: &str = "sakshi-vh";
/// Where iproute2 keeps named namespaces.
const NETNS_DIR: &str = "/run/netns";
/// The handset's addresses.
pub const HANDSET_V4: &str = "192.168.43.100";
/// The handset's IPv6 address (RFC 3849: for documentation, so nobody's).
pub const HANDSET_V6: &str = "2001:db8:43::100";
/// The router's addresses: the internet's end of the cable.
const ROUTER_V4: &str = "192.168.43.1";
const ROUTER_V6: &str = "2001:db8:43::1";
/// Link addresses are fixed, so that no neighbour must be discovered.
const HANDSET_MAC: &str = "02:00:5e:10:00:64";
const ROUTER_MAC: &str = "02:00:5e:10:00:01";
/// Time for the multicast reports that the kernel sends when an address is added.
const SETTLE: Duration = Duration::from_millis(300);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Namespace {
    /// The one that we are in.
    Own,
    /// One that iproute2 keeps under this name.
    Named(String),
}

/// The handset's namespace and the internet's.
#[derive(Debug)]
pub struct Network {
    handset: Namespace,
    internet: Namespace,
    guardian: Child,
}

impl Network {
    /// Makes both namespaces, joins them and gives the internet its addresses.
    pub fn start(hosts: &[Host]) -> Result<Self> {
        remove_leftovers()?;
        let stem = stem();
        Self::join_sides(
            Namespace::Named(format!("{stem}-handset")),
            Namespace::Named(format!("{stem}-internet")),
            hosts,
        )
    }

    /// Makes the internet's namespace only: this machine is the handset.
    pub fn start_on_this_machine(hosts: &[Host]) -> Result<Self> {
        let internet = Namespace::Named(format!("{}-internet", stem()));
        Self::join_sides(Namespace::Own, internet, hosts)
    }

    fn join_sides(handset: Namespace, internet: Namespace, hosts: &[Host]) -> Result<Self> {
        let named: Vec<&str> = [&handset, &internet]
            .into_iter()
            .filter_map(Namespace::name)
            .collect();
        let guardian = guardian(&named)?;
        for name in named {
            run("ip", &["netns", "add", name])?;
        }
        let network = Self {
            handset,
            internet,
            guardian,
        };
        network.make()?;
        network.join()?;
        network.add_hosts(hosts)?;
        thread::sleep(SETTLE);
        Ok(network)
    }

    fn make(&self) -> Result<()> {
        let quiet = [
            ("net/ipv6/conf/default/accept_ra", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/router_solicitations", "0"),
            (
                "net/ipv6/conf/default/mldv2_unsolicited_report_interval",
                "1",
            ),
        ];
        // A router answers that a destination is unreachable, instead of saying nothing.
        let router = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ];
        self.in_handset(|| settings(&quiet))??;
        self.in_internet(|| settings(&quiet).and_then(|()| settings(&router)))?
    }

    fn join(&self) -> Result<()> {
        let (h, i) = (&self.handset, &self.internet);
        let internet = i.name().unwrap_or_default();
        let link = "link add wan0 address HM type veth peer name lan0 address RM netns I";
        let fill = |line: &str| {
            line.split(' ')
                .map(|word| match word {
                    "HM" => HANDSET_MAC.to_owned(),
                    "RM" => ROUTER_MAC.to_owned(),
                    "I" => internet.to_owned(),
                    other => other.to_owned(),
                })
                .collect::<Vec<_>>()
        };
        ip(h, &fill(link))?;
        for (namespace, device) in [(h, "wan0"), (i, "lan0")] {
            ip(
                namespace,
                &fill(&format!("link set {device} addrgenmode none")),
            )?;
            ip(namespace, &fill(&format!("link set {device} up")))?;
            ip(namespace, &fill("link set lo up"))?;
        }
        for (namespace, device, v4, v6) in [
            (h, "wan0", HANDSET_V4, HANDSET_V6),
            (i, "lan0", ROUTER_V4, ROUTER_V6),
        ] {
            ip(namespace, &fill(&format!("addr add {v4}/24 dev {device}")))?;
            ip(
                namespace,
                &fill(&format!("addr add {v6}/64 dev {device} nodad")),
            )?;
        }
        for (namespace, device, mac, addresses) in [
            (h, "wan0", "RM", [ROUTER_V4, ROUTER_V6]),
            (i, "lan0", "HM", [HANDSET_V4, HANDSET_V6]),
        ] {
            for address in addresses {
                let neighbour =
                    format!("neigh replace {address} lladdr {mac} nud permanent dev {device}");
                ip(namespace, &fill(&neighbour))?;
            }
        }
        ip(h, &fill(&format!("route add default via {ROUTER_V4}")))?;
        ip(h, &fill(&format!("-6 route add default via {ROUTER_V6}")))
    }

    fn add_hosts(&self, hosts: &[Host]) -> Result<()> {
        for address in hosts.iter().flat_map(Host::addresses) {
            let mut arguments = vec!["addr", "add"];
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            let with_prefix = format!("{address}/{prefix}");
            arguments.extend([with_prefix.as_str(), "dev", "lo"]);
            if address.is_ipv6() {
                arguments.push("nodad");
            }
            ip(&self.internet, &arguments)?;
        }
        Ok(())
    }

    /// Runs `work` in a thread that lives in the handset's namespace; what it spawns lives there.
    pub fn in_handset<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.handset.inside(work)
    }

    /// Runs `work` in a thread that lives in the internet's namespace; what it spawns lives there.
    pub fn in_internet<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.internet.inside(work)
    }

    /// Packets that the handset's interfaces, loopback included, have sent so far: whatever path
    /// a packet takes, it is counted here.
    pub fn sent_by_interfaces(&self) -> Result<u64> {
        let table = self
            .in_handset(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?
            .map_err(Error::io("reading the interface counters"))?;
        Ok(transmitted(&table))
    }
}

/// Sum of the transmitted packets in the text of `/proc/net/dev`.
fn transmitted(table: &str) -> u64 {
    // After the colon: eight received columns, then bytes and packets transmitted.
    const PACKETS_COLUMN: usize = 9;
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(_, columns)| columns.split_whitespace().nth(PACKETS_COLUMN))
        .filter_map(|packets| packets.parse::<u64>().ok())
        .sum()
}

impl Drop for Network {
    fn drop(&mut self) {
        // The guardian cleans up when its standard input closes.
        drop(self.guardian.stdin.take());
        if let Err(error) = self.guardian.wait() {
            eprintln!("the virtual handset may be left behind: {error}");
        }
    }
}

/// A process that removes the namespaces, and ends what still runs in them, as soon as its
/// standard input closes: when we drop the network, and also when we are killed.
fn guardian(namespaces: &[&str]) -> Result<Child> {
    const SCRIPT: &str = "cat >/dev/null; for n in \"$@\"; do ip netns pids \"$n\" | \
        xargs -r kill -9; ip netns del \"$n\"; done 2>/dev/null";
    Command::new("sh")
        .args(["-c", SCRIPT, "sakshi-vh-guardian"])
        .args(namespaces)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: Ctrl-C at a terminal must not reach it.
        .process_group(0)
        .spawn()
        .map_err(Error::io("starting the guardian of the namespaces"))
}

/// Removes the namespaces of processes that no longer exist.
fn remove_leftovers() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(NETNS_DIR) else {
        return Ok(()); // No namespace was ever named on this machine.
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = owner_pid(&name) else {
            continue;
        };
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            println!("removing {name}, left behind by a process that is gone");
            run("ip", &["netns", "del", &name])?;
        }
    }
    Ok(())
}

/// Process id in the name of one of our namespaces.
fn owner_pid(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix('-')?;
    rest.split('-').next()?.parse().ok()
}

/// Sets kernel parameters of the calling thread's namespace.
fn settings(values: &[(&str, &str)]) -> Result<()> {
    for (key, value) in values {
        std::fs::write(format!("/proc/sys/{key}"), value)
            .map_err(Error::io(format!("setting {key} (is IPv6 switched off?)")))?;
    }
    Ok(())
}

impl Namespace {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Named(name) => Some(name),
        }
    }

    /// Runs `work` in a thread that lives there.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let Self::Named(name) = self else {
            return Ok(work());
        };
        let path = format!("{NETNS_DIR}/{name}");
        let file = File::open(&path).map_err(Error::io(format!("opening {path}")))?;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|errno| Error::io(format!("entering {path}"))(errno.into()))?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Start of a namespace's name: this process, and a number.
fn stem() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}-{}-{number}", std::process::id())
}

fn ip<S: AsRef<str>>(namespace: &Namespace, arguments: &[S]) -> Result<()> {
    let mut all = Vec::new();
    if let Some(name) = namespace.name() {
        all.extend(["-n", name]);
    }
    all.extend(arguments.iter().map(AsRef::as_ref));
    run("ip", &all)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    checked(&command, &output).map(drop)
}

/// Standard output of a command that ended well.
pub(crate) fn checked(command: &Command, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: format!("{command:?}"),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_owner_of_a_namespace() {
        assert_eq!(owner_pid("sakshi-vh-4711-0-handset"), Some(4711));
        assert_eq!(owner_pid("sakshi-vh-x-0-handset"), None);
        assert_eq!(owner_pid("somebody-elses"), None);
    }

    #[test]
    fn sums_the_packets_sent() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    \
            lo: 1 2 3 4 5 6 7 8 90 10 0 0 0 0 0 0\n  wan0: 1 2 3 4 5 6 7 8 90 7 0 0 0 0 0 0\n";
        assert_eq!(transmitted(table), 17);
    }
}
