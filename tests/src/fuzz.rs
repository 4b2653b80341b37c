//! Every parser as a fuzz target: a function from any bytes to nothing, or to a panic.
//!
//! In: bytes that libFuzzer (`tests/fuzz`) or the smoke test (`tests/tests/fuzz_smoke.rs`) made.
//! Out: nothing; a panic says that a promise is broken. A target asks for more than an end without
//! a panic where that is cheap: bounds, safe text, the same answer twice, what is written reads
//! back. Seeds of target `x` lie in `tests/corpus/x/`; `docs/fuzzing.md` says how to run all this.

mod doctor;
mod evidence;
mod files;
mod names;
mod packets;
mod pipeline;
mod stamp;
mod verifier;

use std::path::PathBuf;

/// Longest input that a target is given, in bytes: enough for every structure that is parsed, and
/// small enough for thousands of executions a second.
pub const INPUT_MAX: usize = 64 * 1024;

/// A parser with what it promises.
pub type Target = fn(&[u8]);

/// Every target by its name, sorted by room.
pub const TARGETS: &[(&str, Target)] = &[
    ("dissect", packets::dissect),
    ("nflog_attributes", packets::nflog_attributes),
    ("pktap", packets::pktap),
    ("nflog_message", packets::nflog_message),
    ("nflog_listing", packets::nflog_listing),
    ("sock_diag", packets::sock_diag),
    ("sock_destroy", packets::sock_destroy),
    ("ring_block", packets::ring_block),
    ("rtnetlink", packets::rtnetlink),
    ("capture_file", packets::capture_file),
    ("dns", names::dns),
    ("dns_tcp", names::dns_tcp),
    ("service", names::service),
    ("dtls", names::dtls),
    ("quic", names::quic),
    ("quic_frames", names::quic_frames),
    ("gquic", names::gquic),
    ("tls", names::tls),
    ("http", names::http),
    ("http2", names::http2),
    ("identify", names::identify),
    ("server_flight", names::server_flight),
    ("certificate", names::certificate),
    ("lines", names::lines),
    ("xmpp", names::xmpp),
    ("socks", names::socks),
    ("reading", names::reading),
    ("inventory_list", files::inventory_list),
    ("inventory_xml", files::inventory_xml),
    ("inventory_users", files::inventory_users),
    ("inventory_preloads", files::inventory_preloads),
    ("rule_set", files::rule_set),
    ("rule_cases", files::rule_cases),
    ("declaration", files::declaration),
    ("places", files::places),
    ("published", files::published),
    ("journal", evidence::journal),
    ("journal_inputs", evidence::journal_inputs),
    ("canonical", evidence::canonical),
    ("control_request", evidence::control_request),
    ("control_frames", evidence::control_frames),
    ("segment_blocks", evidence::segment_blocks),
    ("kernel_config", doctor::kernel_config),
    ("machine_files", doctor::machine_files),
    ("timestamp", stamp::timestamp),
    ("bundle", verifier::bundle),
    ("head", verifier::head),
    ("verifier_canonical", verifier::canonical),
    ("verifier_journal", verifier::journal),
    ("pipeline", pipeline::pipeline),
];

/// Runs a target on `data`.
///
/// # Panics
/// When the target is not in [`TARGETS`], or finds a promise broken.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no fuzz target {target}"));
    target(data);
}

/// Folder with the seeds of a target.
pub fn corpus(target: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(target)
}
