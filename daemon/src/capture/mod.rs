//! Producers of inputs: NFLOG, packet socket, capture file.
//!
//! In: the kernel's packets, or a file's. Out: [`Batch`](crate::input::Batch)es for the core.

pub mod degradation;
pub mod exactness;
pub mod file;
pub mod live;
pub mod nflog;
pub mod packet_socket;
pub mod rtnetlink;
