//! Sakshi's rule engine: rule sets and contacts go in, verdicts come out.
//!
//! Pure: no I/O, no clock, and no dependency on any other room.

pub mod contact;
