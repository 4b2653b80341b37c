//! What was counted: flows by how their owner is known and by which way they left, and the kernel's
//! own counts of the interfaces beside them.
//!
//! In: `flow` and `counters` records. Out: sums. A counter that went back gives no sum.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timeline::Span;
use crate::{
    evidence::body::{Flow, InterfaceCount, InterfaceCounters, Via},
    time::Timestamp,
};

/// Flows with what the handset sent in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    /// Flows.
    pub flows: u64,
    /// Packets that the handset sent.
    pub packets_out: u64,
    /// IP bytes that it sent.
    pub bytes_out: u64,
}

impl Sum {
    fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        self.packets_out = self.packets_out.saturating_add(flow.packets_out);
        self.bytes_out = self.bytes_out.saturating_add(flow.bytes_out);
    }
}

/// The flows of a span.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Flows {
    /// Those that have ended. A flow that reaches into the span is counted whole.
    pub all: Sum,
    /// Of these, the ones that began before the span or ended behind it.
    pub across: u64,
    /// By how the owner is known (`nflog`, `none`).
    pub by_basis: BTreeMap<String, Sum>,
    /// By which way they left (`direct`, `vpn`, `unknown`).
    pub by_via: BTreeMap<String, Sum>,
    /// Without a known owner.
    pub unattributed: Sum,
    /// Of a million bytes sent, those without a known owner; null when nothing was sent.
    pub unattributed_bytes_ppm: Option<u64>,
    /// What left the handset, each packet once: without `vpn`, whose packets leave inside others,
    /// and without `clat_copy`, whose packets are those of `clat` again.
    pub left_once: Sum,
}

/// The word for a way that is not known.
const UNKNOWN: &str = "unknown";

impl Flows {
    /// Counts a flow, if it reaches into the span.
    pub(super) fn take(&mut self, flow: &Flow, span: Span) {
        if !span.touches(flow.start, flow.end) {
            return;
        }
        self.all.add(flow);
        self.across += u64::from(!span.holds(flow.start) || !span.holds(flow.end));
        let basis = flow.owner.basis.as_str().to_owned();
        self.by_basis.entry(basis).or_default().add(flow);
        let via = flow.via.map_or(UNKNOWN, Via::as_str).to_owned();
        self.by_via.entry(via).or_default().add(flow);
        if flow.owner.uid.is_none() {
            self.unattributed.add(flow);
        }
        if !matches!(flow.via, Some(Via::Vpn | Via::Inside | Via::ClatCopy)) {
            self.left_once.add(flow);
        }
    }

    /// All flows are taken.
    pub(super) fn finish(&mut self) {
        let (part, whole) = (self.unattributed.bytes_out, self.all.bytes_out);
        let ppm = u128::from(part) * 1_000_000;
        self.unattributed_bytes_ppm = ppm
            .checked_div(whole.into())
            .and_then(|ppm| u64::try_from(ppm).ok());
    }
}

/// The kernel's counts of one interface in a span, between the samples that lie in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceSum {
    /// Its name.
    pub name: String,
    /// First sample in the span.
    pub from: Timestamp,
    /// Last sample in the span.
    pub to: Timestamp,
    /// Packets sent by the kernel's own count, forwarded ones and those of no process included;
    /// null: the counter went back.
    pub tx_packets: Option<u64>,
    /// Bytes sent, link headers included where there are any.
    pub tx_bytes: Option<u64>,
    /// Packets received.
    pub rx_packets: Option<u64>,
    /// Bytes received.
    pub rx_bytes: Option<u64>,
    /// What flows that left by this interface alone sent: IP packets before they are cut to size.
    pub seen: Sum,
}

/// Sums up samples as they come.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// The last sample by index, of the present session only: nobody watched between two.
    last: Option<BTreeMap<u32, InterfaceCount>>,
    sums: BTreeMap<String, InterfaceSum>,
    seen: BTreeMap<String, Sum>,
}

impl Interfaces {
    /// A session begins.
    pub(super) fn begin_session(&mut self) {
        self.last = None;
    }

    pub(super) fn take(&mut self, sample: &InterfaceCounters, span: Span) {
        if !span.holds(sample.at) {
            self.last = None;
            return;
        }
        let before = self.last.take();
        for now in &sample.interfaces {
            let sum = self
                .sums
                .entry(now.name.clone())
                .or_insert_with(|| InterfaceSum {
                    name: now.name.clone(),
                    from: sample.at,
                    to: sample.at,
                    tx_packets: Some(0),
                    tx_bytes: Some(0),
                    rx_packets: Some(0),
                    rx_bytes: Some(0),
                    seen: Sum::default(),
                });
            sum.to = sample.at;
            let Some(before) = &before else {
                continue;
            };
            // One that was not there at the sample before was made since, and counts from 0.
            let earlier = before.get(&now.index);
            let of = |count: fn(&InterfaceCount) -> u64| earlier.map_or(0, count);
            grow(&mut sum.tx_packets, of(|it| it.tx_packets), now.tx_packets);
            grow(&mut sum.tx_bytes, of(|it| it.tx_bytes), now.tx_bytes);
            grow(&mut sum.rx_packets, of(|it| it.rx_packets), now.rx_packets);
            grow(&mut sum.rx_bytes, of(|it| it.rx_bytes), now.rx_bytes);
        }
        let present = sample.interfaces.iter();
        self.last = Some(present.map(|count| (count.index, count.clone())).collect());
    }

    pub(super) fn take_flow(&mut self, flow: &Flow, span: Span) {
        if let [only] = flow.interfaces.as_slice()
            && span.touches(flow.start, flow.end)
        {
            self.seen.entry(only.clone()).or_default().add(flow);
        }
    }

    /// By name.
    pub(super) fn finish(mut self) -> Vec<InterfaceSum> {
        let mut sums: Vec<InterfaceSum> = self.sums.into_values().collect();
        for sum in &mut sums {
            sum.seen = self.seen.remove(&sum.name).unwrap_or_default();
        }
        sums
    }
}

/// Adds what a counter grew by; one that went back makes the sum unknown.
fn grow(sum: &mut Option<u64>, before: u64, now: u64) {
    *sum = sum
        .zip(now.checked_sub(before))
        .and_then(|(sum, more)| sum.checked_add(more));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, counts: &[(u32, &str, u64)]) -> InterfaceCounters {
        InterfaceCounters {
            at: Timestamp::from_micros(at),
            interfaces: counts
                .iter()
                .map(|(index, name, packets)| InterfaceCount {
                    index: *index,
                    name: (*name).to_owned(),
                    rx_packets: 0,
                    rx_bytes: 0,
                    tx_packets: *packets,
                    tx_bytes: 100 * packets,
                })
                .collect(),
        }
    }

    #[test]
    fn sums_what_the_counters_grew_by_while_watched() {
        let span = Span::new(Timestamp::from_micros(10), Timestamp::from_micros(100)).unwrap();
        let mut interfaces = Interfaces::default();
        interfaces.begin_session();
        interfaces.take(&sample(5, &[(2, "wlan0", 3)]), span);
        interfaces.take(&sample(10, &[(2, "wlan0", 7)]), span);
        // Made anew: another index, counted from 0.
        interfaces.take(&sample(20, &[(2, "wlan0", 9), (5, "tun0", 1)]), span);
        interfaces.take(&sample(30, &[(2, "wlan0", 12), (6, "tun0", 2)]), span);
        interfaces.begin_session();
        interfaces.take(&sample(40, &[(2, "wlan0", 1000), (7, "wlan1", 4)]), span);
        interfaces.take(&sample(50, &[(2, "wlan0", 1001), (7, "wlan1", 3)]), span);
        interfaces.take(&sample(101, &[(2, "wlan0", 2000)]), span);
        let sums = interfaces.finish();
        let packets: Vec<_> = sums
            .iter()
            .map(|sum| (sum.name.as_str(), sum.tx_packets, sum.to.as_micros()))
            .collect();
        assert_eq!(
            packets,
            [
                ("tun0", Some(1 + 2), 30),
                ("wlan0", Some(2 + 3 + 1), 50),
                ("wlan1", None, 50)
            ]
        );
    }
}
