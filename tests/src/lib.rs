//! x

pub mod inventory_writer;
