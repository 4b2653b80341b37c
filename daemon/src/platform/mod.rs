//! The machine underneath: the clock, commands of the system, raw sockets.
//!
//! The only room that reads a clock or runs a child process.

pub mod clock;
