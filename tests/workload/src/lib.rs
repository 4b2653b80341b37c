//! Captures with known names: a mobile mix made from a seed, and the truth beside it.
//!
//! In: a [`Plan`]. Out: a capture file and a file of JSON lines ([`truth`]) that says of each flow
//! what it names. The same plan gives the same bytes. Nothing of the product is used here: what the
//! product reads is written by other code and, where it is encrypted, by another library.

mod dns;
pub mod dtls;
pub mod flood;
mod flows;
mod hello;
pub mod hosts;
pub mod initial;
mod quic_flows;
mod random;
pub mod truth;
mod wire;
pub mod world;

mod capture;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, Write},
};

pub use capture::{Capture, Format};
pub use hello::{Hello, records};
pub use random::Random;
pub use wire::{Ends, Way};

use flows::Maker;
use truth::{Line, Totals};
use world::World;

/// Microseconds since 1970 of the first packet.
const BEGIN: u64 = 1_790_000_000_000_000;
/// Noise that payloads are cut from.
const NOISE_BYTES: usize = 1 << 17;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where all choices come from.
    pub seed: u64,
    /// Flows are begun until there are so many packets.
    pub packets: u64,
    /// Flows are begun until there are so many flows.
    pub flows: u64,
    /// Packets with data after a flow's names, on average.
    pub data_packets: usize,
    /// Microseconds between the beginnings of flows, on average.
    pub every: u64,
    /// Format of the capture.
    pub format: Format,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            packets: u64::MAX,
            flows: 2_000,
            data_packets: 14,
            every: 10_000,
            format: Format::Pcap,
        }
    }
}

/// Makes a capture and the truth about it.
pub fn make(plan: &Plan, capture: impl Write, mut truth: impl Write) -> io::Result<Totals> {
    let mut random = Random::new(plan.seed);
    let mut world = World::new(&mut random).with_ports_of(plan.seed);
    let noise = random.bytes(NOISE_BYTES);
    let mut maker = Maker {
        random: &mut random,
        world: &mut world,
        noise: &noise,
        data_packets: plan.data_packets,
    };
    let mut file = Capture::begin(plan.format, capture)?;
    let mut waiting: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>> = BinaryHeap::new();
    let (mut at, mut flows, mut packets) = (BEGIN, 0, 0);
    while flows < plan.flows && packets < plan.packets {
        let made = maker.flow(at);
        for flow in made.flows {
            flows += 1;
            write_line(&mut truth, &Line::Flow(flow))?;
        }
        for wire in made.wires {
            packets += 1;
            waiting.push(Reverse((wire.at, packets, wire.bytes)));
        }
        at += 1 + maker
            .random
            .below(2 * usize::try_from(plan.every).unwrap_or(1)) as u64;
        while waiting.peek().is_some_and(|Reverse((due, ..))| *due < at) {
            if let Some(Reverse((due, _, bytes))) = waiting.pop() {
                file.packet(due, &bytes)?;
            }
        }
    }
    while let Some(Reverse((due, _, bytes))) = waiting.pop() {
        file.packet(due, &bytes)?;
    }
    let totals = Totals {
        seed: plan.seed,
        flows,
        packets: file.finish()?,
    };
    write_line(&mut truth, &Line::Totals(totals.clone()))?;
    truth.flush()?;
    Ok(totals)
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
