//! Flows: who talks to whom, how much, how far it got.
//!
//! In: packets with their views, ends of sockets, and the passing of time. Out: [`Flow`]s, each once, when it has
//! ended. Start and end follow the rules of `docs/flows.md`. Time is the packets' own.

mod closing;
mod direction;
mod five_tuple;
mod fragment;
mod progress;
mod slab;
mod table;

pub use closing::{Closing, RttBasis};
pub use five_tuple::{FiveTuple, Side};
pub use progress::{Counts, Ended, FRAMES_MAX, Flow, FlowId, FlowState, FrameRef};
pub use table::{FlowTable, FlowTimeouts, Left, Observed};

/// Flows that are kept at once. One more ends the flow that has been idle longest, which is
/// counted in [`FlowTable::evicted`] and marked [`Ended::TableFull`].
pub const FLOWS_MAX: usize = 262_144;
