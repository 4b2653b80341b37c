//! Which app sent a packet, and how that is known.
//!
//! In: UIDs that came with packets, answers of the kernel, the app inventory. Out: an owner with
//! its basis; unknown is a value.

pub mod charge;
pub mod inventory;
pub mod owner;
pub mod process;
pub mod sock_destroy;
pub mod sock_diag;
pub mod uid;
