//! A counter of the packet filter that is not the daemon's: the truth about what was sent.
//!
//! In: a handset. Out: packets that left it for the network, whatever path they took in the filter.

use std::process::Command;

use super::{Handset, Result};

/// Sets counters in the raw table, rules without a target, before everything that the daemon sets.
pub fn set(handset: &Handset) -> Result<()> {
    set_by(handset, &["iptables", "ip6tables"])
}

/// The same by other programs, as `iptables-legacy` and its twin.
pub fn set_by(handset: &Handset, programs: &[&str]) -> Result<()> {
    for program in programs {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "raw", "-A", "OUTPUT", "!", "-o", "lo"]);
        handset.output(&mut command)?;
    }
    Ok(())
}

/// Packets counted so far, IPv4 and IPv6 together.
pub fn read(handset: &Handset) -> Result<u64> {
    read_by(handset, &["iptables", "ip6tables"])
}

/// The same by other programs.
pub fn read_by(handset: &Handset, programs: &[&str]) -> Result<u64> {
    let mut sum = 0;
    for program in programs {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "raw", "-v", "-x", "-n", "-L", "OUTPUT"]);
        sum += counted(&handset.output(&mut command)?);
    }
    Ok(sum)
}

/// The first column of the rule without a target: two lines of heading come first, and the daemon's
/// jump may stand before it.
fn counted(listing: &str) -> u64 {
    let ours = listing
        .lines()
        .skip(2)
        .find(|line| !line.contains("sakshi"));
    let packets = ours.and_then(|rule| rule.split_whitespace().next());
    packets
        .and_then(|packets| packets.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_counter_of_its_own_rule() {
        let listing = "Chain OUTPUT (policy ACCEPT 5 packets, 300 bytes)\n    pkts      bytes target \
            prot opt in out source destination\n       7 420 sakshi_raw 0 -- * * 0.0.0.0/0\n   \
            12345  678900            0    --  *  !lo  0.0.0.0/0\n";
        assert_eq!(counted(listing), 12_345);
    }
}
