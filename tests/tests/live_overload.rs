//! What the kernel lost is a gap, and its count is exact, the last packets included.
//!
//! A counter of the packet filter that is not the daemon's says how many packets were sent; the
//! daemon reads them through a receive buffer that is far too small.

use std::process::Command;

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, Result, places, script::Action},
    live_possible,
};

/// Receive buffer of the daemon, in bytes.
const RECEIVE_BUFFER: &str = "8192";
/// Apps that send at once.
const UIDS: [u32; 4] = [10_050, 10_051, 10_055, 1_010_050];
/// Datagrams of each.
const DATAGRAMS: u64 = 20_000;

/// Counters in the raw table, before everything that the daemon sets: rules without a target.
fn count_independently(handset: &Handset) -> Result<()> {
    for program in ["iptables", "ip6tables"] {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "raw", "-A", "OUTPUT", "!", "-o", "lo"]);
        handset.output(&mut command)?;
    }
    Ok(())
}

fn counted(handset: &Handset) -> Result<u64> {
    let mut sum = 0;
    for program in ["iptables", "ip6tables"] {
        let mut command = Command::new(program);
        command.args(["-w", "-t", "raw", "-v", "-x", "-n", "-L", "OUTPUT"]);
        sum += packets_of_first_rule(&handset.output(&mut command)?);
    }
    Ok(sum)
}

/// The first column of the first rule: two lines of heading come before it.
fn packets_of_first_rule(listing: &str) -> u64 {
    let rule = listing.lines().nth(2).unwrap_or_default();
    let packets = rule.split_whitespace().next().unwrap_or_default();
    packets.parse().unwrap_or(0)
}

#[test]
fn what_the_kernel_lost_is_counted_exactly() {
    if !live_possible("what_the_kernel_lost_is_counted_exactly") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    count_independently(&handset).expect("counters");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &["--receive-buffer", RECEIVE_BUFFER])
        .expect("the daemon watches");
    assert_eq!(counted(&handset).expect("counters"), 0, "nobody sent yet");
    let apps: Vec<_> = UIDS
        .iter()
        .map(|uid| {
            let flood = |to| Action::Udp {
                to,
                bytes: 600,
                packets: DATAGRAMS / 2,
                answered: false,
            };
            let actions = [
                flood(places::SINGAPORE.v4(places::DISCARD)),
                flood(places::MUMBAI.v6(places::DISCARD)),
            ];
            handset.start_app(*uid, &actions).expect("an app")
        })
        .collect();
    for app in apps {
        app.finish().expect("an app that sent all");
    }
    // Stopped at once: what is lost at the tail shows in no sequence number.
    let summary = daemon.stop().expect("a summary");
    let sent = counted(&handset).expect("counters");
    let received = summary["packets"].as_u64().expect("packets in the summary");
    let gaps = daemon::export(&case, "gaps").expect("gaps");
    let lost: u64 = gaps
        .iter()
        .filter(|gap| gap["cause"] == "kernel_loss" || gap["cause"] == "queue_full")
        .map(|gap| gap["packets"].as_u64().expect("a loss that is counted"))
        .sum();
    println!("sent {sent}, received {received}, in gaps {lost}; {summary}");
    assert_eq!(sent, DATAGRAMS * UIDS.len() as u64, "nobody else sent");
    assert!(received < sent, "the buffer was not small enough to lose");
    assert_eq!(lost, sent - received);
    assert_eq!(summary["lost"].as_u64(), Some(lost), "the summary says so");
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn reads_the_counter_of_a_rule() {
    let listing = "Chain OUTPUT (policy ACCEPT 5 packets, 300 bytes)\n    pkts      bytes target \
        prot opt in out source destination\n   12345  678900            0    --  *  !lo  0.0.0.0/0\n";
    assert_eq!(packets_of_first_rule(listing), 12_345);
}
