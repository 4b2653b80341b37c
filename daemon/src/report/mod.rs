//! What is read out of a case: exports, tables, summaries.
//!
//! In: records of the evidence room, and nothing else. Out: rows in the order in which they were
//! first recorded. Reading changes no byte of a case.

pub mod authority;
pub mod coverage;
pub mod csv;
pub mod examination;
pub mod export;
pub mod filter;
pub mod fold;
#[cfg(feature = "lab")]
pub mod parquet;
#[cfg(feature = "lab")]
pub mod pcapng;
pub mod redact;
pub mod table;
