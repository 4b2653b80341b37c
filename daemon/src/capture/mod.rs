//! Producers of inputs: NFLOG, packet socket, capture file.

pub mod degradation;
pub mod live;
pub mod nflog;
pub mod packet_socket;
