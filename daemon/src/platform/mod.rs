//! The machine underneath: the clock, commands of the system, what we may do on it.
//!
//! The only room that reads a clock or runs a child process.

pub mod clock;
pub mod command;
pub mod logcat;
pub mod machine;
pub mod random;
pub mod tunnel;
