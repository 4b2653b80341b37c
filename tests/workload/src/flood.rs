//! A flood of Initials with random connection IDs, to see what each costs.

use std::io::{self, Write};

use crate::{
    BEGIN, Capture, Ends, Format, Random, Way,
    initial::{Ids, Sealer, Version, crypto_frame},
    world::{HANDSET, World},
};

/// Where a flood's Initials go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All from one socket.
    OneFlow,
    /// Each from a socket of its own.
    ManyFlows,
}

/// Makes a capture of `count` Initials, each sealed rightly under a connection ID of its own, with the
/// beginning of a hello that never ends.
pub fn make(seed: u64, count: u64, spread: Spread, capture: impl Write) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut world = World::new(&mut random);
    let mut file = Capture::begin(Format::Pcap, capture)?;
    let mut frames = Vec::new();
    let mut hello = random.bytes(700);
    hello[..6].copy_from_slice(&[1, 0, 8, 0, 3, 3]);
    crypto_frame(&mut frames, 0, &hello);
    frames.resize(1150, 0);
    for number in 0..count {
        let handset = match spread {
            Spread::OneFlow => (HANDSET[0], 40_000).into(),
            Spread::ManyFlows => world.socket(0),
        };
        let ends = Ends {
            handset,
            server: "198.18.0.10:443".parse().map_err(io::Error::other)?,
        };
        let id = random.bytes(8);
        let ids = Ids { to: &id, from: &[] };
        let packet = Sealer::new(Version::V1, &id).initial(ids, &[], 0, &frames);
        file.packet(BEGIN + number * 10, &ends.datagram(Way::Out, &packet))?;
    }
    file.finish()?;
    Ok(())
}
