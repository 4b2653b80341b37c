//! Producers of inputs: NFLOG, packet socket, capture file.

pub mod file;
