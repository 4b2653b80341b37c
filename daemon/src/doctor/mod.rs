//! The doctor: what this machine offers a watch, what it lacks, and what to do about it.
//!
//! In: where to look ([`Place`]), and what the kernel and the system's commands answered
//! ([`Probes`]). Out: an [`Examination`], one line for each thing, always in the same order. It
//! changes nothing and sends no packet; what it tries (a socket, a free NFLOG group) it lets go at
//! once. Unknown is a verdict: nothing is called well because it could not be looked at.
//!
//! What is read lies below [`Place::root`], so that a test can build a handset out of files.

mod device;
pub mod files;
pub mod kernel_config;
mod line;
mod machine;
mod network;
mod packet_filter;
pub mod probes;
mod traces;

use std::path::{Path, PathBuf};

pub use self::{
    device::device_facts,
    probes::{Probes, Tried},
};
use crate::{
    attribute::inventory::{Inventory, InventoryProblem},
    capture::nflog::rules::Commands,
    evidence::examination::Examination,
    time::Timestamp,
};

/// Where to look.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root of the files that are looked at: `/`, or a test's folder.
    pub root: PathBuf,
    /// The commands that set packet rules.
    pub commands: Commands,
    /// Where the case lies or would lie; none: nobody said so.
    pub case: Option<PathBuf>,
    /// A clock that shows an earlier moment is wrong: by then this program did not exist.
    pub not_before: Timestamp,
}

/// The apps, as far as they could be read.
#[derive(Debug, Clone, Copy)]
pub enum Apps<'a> {
    /// Read from here.
    Read {
        /// The folder, or the device.
        from: &'a str,
        /// What was read.
        inventory: &'a Inventory,
        /// What was wrong with it.
        problems: &'a [InventoryProblem],
    },
    /// Could not be read; the text says why and what to do.
    Unreadable(&'a str),
    /// There is nothing to read.
    Nowhere,
}

/// Examines the machine. `now` is the moment that the record bears.
pub fn examine(place: &Place, probes: &Probes, apps: Apps<'_>, now: Timestamp) -> Examination {
    let config = kernel_config::find(&place.root, &probes.release);
    let root = place.root.as_path();
    let lines = vec![
        machine::privileges(probes),
        machine::selinux(root),
        machine::kernel(probes, &config),
        machine::clock(root, now, place.not_before),
        machine::storage(root, place.case.as_deref(), probes),
        packet_filter::command("iptables", &probes.v4, probes.privileges.root()),
        packet_filter::command("ip6tables", &probes.v6, probes.privileges.root()),
        packet_filter::lock(root, probes),
        network::nflog(root, probes),
        network::packet_socket(probes),
        network::sock_diag(probes),
        network::bpf(root, &config),
        network::netd_tags(probes),
        network::interfaces(probes),
        network::vpn(root, probes),
        network::private_dns(probes),
        traces::inventory(apps),
        traces::preloads(root, probes),
        traces::android(probes),
        traces::daemon(probes),
        traces::leftovers(probes),
    ];
    Examination::new(now, probes.release.clone(), lines)
}

/// Everything at once, on the machine that this runs on.
pub fn examine_here(place: &Place, apps: Apps<'_>, now: Timestamp) -> Examination {
    examine(place, &Probes::take(place), apps, now)
}

/// A path of the machine, below the root that is looked at.
fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests;
