//! `control` and `observe`: the handset's end of the lab's PC.

use super::{
    Failure, Outcome,
    args::{ControlArgs, ObserveArgs},
    talk::committed,
};
use crate::{
    control::{protocol::Request, stdio},
    input::checked_observation,
    platform::clock::SystemClock,
};

/// Runs a command of this program and answers in frames.
pub fn control(args: &ControlArgs) -> Result<Outcome, Failure> {
    match &args.detach {
        Some(log) => stdio::start(&args.words, log, &SystemClock)?,
        None => stdio::answer(&args.words, args.skip, &SystemClock)?,
    }
    Ok(Outcome::Done)
}

/// Gives the running daemon what somebody beside the packets tells.
pub fn observe(args: ObserveArgs) -> Result<Outcome, Failure> {
    let facts = args.facts.into_iter().collect();
    checked_observation(&args.source, &args.topic, &facts)?;
    let request = Request::Observe {
        source: args.source,
        topic: args.topic,
        facts,
    };
    committed(&args.target, &request, "on record")
}
