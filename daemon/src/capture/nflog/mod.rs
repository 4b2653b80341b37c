//! Packets by way of the kernel's NFLOG: rules that pick them, groups that deliver them.
//!
//! In: a plan (which users, which groups). Out: [`message::NflogPacket`]s, with the UID of the
//! socket's creator, and the rules' own counters, which say how many there should have been.

pub mod counter;
pub mod listing;
pub mod message;
pub mod plan;
pub mod raw;
pub mod rules;
pub mod socket;
