//! What this machine is and what we may do on it.
//!
//! In: nothing. Out: privileges, kernel release, network interfaces. Reads only.

use std::{net::IpAddr, time::Duration};

use rustix::thread::CapabilitySet;

use super::command::{self, Invocation};

/// Makers of boards that are no hardware.
const VIRTUAL_MAKERS: [&str; 7] = [
    "Amazon EC2",
    "Google",
    "Microsoft Corporation",
    "QEMU",
    "VMware",
    "Xen",
    "innotek",
];

/// Longest wait for a property.
const GETPROP_MAX: Duration = Duration::from_secs(5);

/// Whether the effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this thread may change packet filter rules and bind NFLOG groups (`CAP_NET_ADMIN`).
pub fn may_administer_network() -> bool {
    has(CapabilitySet::NET_ADMIN)
}

/// Whether this thread may open packet sockets (`CAP_NET_RAW`).
pub fn may_open_raw_sockets() -> bool {
    has(CapabilitySet::NET_RAW)
}

/// Whether this thread may load programs into the kernel (`CAP_BPF`, or `CAP_SYS_ADMIN` before
/// Linux 5.8).
pub fn may_load_programs() -> bool {
    has(CapabilitySet::BPF) || has(CapabilitySet::SYS_ADMIN)
}

/// The effective user.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn has(wanted: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// The network namespace of this process, as `/proc` names it (`net:[4026531840]`); empty where it
/// cannot be told.
pub fn network_namespace() -> String {
    std::fs::read_link("/proc/self/ns/net")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The kernel's name for this start of the machine: another one after each.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let text = text.trim();
    let plain = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(plain)).then(|| text.to_owned())
}

/// Release of the running kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// The machine's architecture, as `uname -m` prints it.
pub fn architecture() -> String {
    rustix::system::uname()
        .machine()
        .to_string_lossy()
        .into_owned()
}

/// Which virtual machine this is, as far as it says so itself: a hypervisor's name, the board that an
/// emulator calls its own, or the flag of the processor. None: nothing says so.
pub fn virtual_machine() -> Option<String> {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let board = text("/proc/device-tree/compatible").unwrap_or_default();
    let board = board.split('\0').find(|name| name.contains("virt"));
    let maker = text("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let maker = VIRTUAL_MAKERS.iter().find(|known| maker.contains(**known));
    let flags = text("/proc/cpuinfo").unwrap_or_default();
    let flagged = flags.lines().any(|line| {
        line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
    });
    text("/sys/hypervisor/type")
        .map(|name| name.trim().to_owned())
        .or_else(|| board.map(str::to_owned))
        .or_else(|| maker.map(|name| (*name).to_owned()))
        .or_else(|| flagged.then(|| "a hypervisor (by the processor's flags)".to_owned()))
}

/// Whether this network namespace has IPv6 at all.
pub fn has_ipv6() -> bool {
    std::path::Path::new("/proc/thread-self/net/if_inet6").exists()
}

/// Whether packets of others are forwarded now (tethering).
pub fn forwards_packets() -> bool {
    [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ]
    .into_iter()
    .any(|file| std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "0"))
}

/// A network interface, as far as capture needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name (`wlan0`).
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The network interfaces of this namespace, ordered by index.
pub fn interfaces() -> Vec<Interface> {
    let mut found: Vec<Interface> = pnet::datalink::interfaces()
        .into_iter()
        .map(|interface| Interface {
            index: interface.index,
            up: interface.is_up(),
            loopback: interface.is_loopback(),
            addresses: interface
                .ips
                .iter()
                .map(pnet::ipnetwork::IpNetwork::ip)
                .collect(),
            name: interface.name,
        })
        .collect();
    found.sort_by_key(|interface| interface.index);
    found
}

/// Bytes that this process has had written to storage, as the kernel counts them
/// (`/proc/self/io`); none where it does not.
pub fn bytes_written() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = counts
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"));
    line?.trim().parse().ok()
}

/// Where a process says how soon the kernel may end it for want of memory.
const OOM_FILE: &str = "/proc/self/oom_score_adj";
/// What we ask for: after nearly everything else, as Android's own persistent processes.
const OOM_WANTED: &str = "-900";

/// Asks the kernel to end others first when memory is short; it may refuse.
pub fn spare_from_low_memory() {
    // How it came out is read back for the record.
    let _ = std::fs::write(OOM_FILE, OOM_WANTED);
}

/// How soon the kernel ends this process when memory is short: -1000 never, 1000 first; none: not
/// told.
pub fn oom_score_adj() -> Option<i32> {
    std::fs::read_to_string(OOM_FILE).ok()?.trim().parse().ok()
}

/// The program that tells Android's properties.
const GETPROP: &str = "/system/bin/getprop";

/// The time zone that Android is set to (`persist.sys.timezone`), for a program that Android's C
/// library does not tell; none elsewhere, and where `TZ` says it.
pub fn android_zone() -> Option<String> {
    if std::env::var_os("TZ").is_some() || !std::path::Path::new(GETPROP).exists() {
        return None;
    }
    let invocation = Invocation {
        program: GETPROP,
        args: &["persist.sys.timezone"],
        stdin: None,
        timeout: GETPROP_MAX,
    };
    let name = command::run(&invocation).ok()?.stdout.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_loopback_and_a_release() {
        assert!(interfaces().iter().any(|interface| interface.loopback));
        assert!(kernel_release().contains('.'));
    }
}
