//! What crosses rooms: a virtual handset to run the real daemon on, and the comparison of what
//! it found with what was to be found.
//!
//! In: the programs of this workspace. Out: live tests, the demo, and the rules of the house as
//! tests. Nothing here is part of the product.

pub mod adb;
#[cfg(feature = "fuzz")]
pub mod bundle_writer;
pub mod capture_writer;
pub mod daemon;
pub mod emulated;
pub mod expectation;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod handset;
pub mod inventory_writer;
pub mod judges;
pub mod owners;
pub mod sample;
pub mod scenes;
pub mod seed;
pub mod statements;
pub mod traces;
pub mod wait;

use std::path::{Path, PathBuf};

/// Where a program of this workspace lies: beside the running one, as cargo builds them.
///
/// `SAKSHI_BIN_DIR` names another folder. The answer may not exist; starting it then says so.
pub fn program(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("SAKSHI_BIN_DIR") {
        return PathBuf::from(dir).join(name);
    }
    let me = std::env::current_exe().unwrap_or_default();
    let mut dir = me.parent().unwrap_or_else(|| Path::new("."));
    if dir.ends_with("deps") {
        dir = dir.parent().unwrap_or(dir);
    }
    dir.join(name)
}

/// Whether we run as root, as a virtual handset needs.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a live test can run here. Says in one line why not; in CI (`CI` is set) that fails.
///
/// # Panics
/// In CI, when something is missing.
pub fn live_possible(test: &str) -> bool {
    let reason = if is_root() {
        match handset::missing_tools().as_slice() {
            [] => return true,
            missing => format!("not found: {}", missing.join(", ")),
        }
    } else {
        "needs root for network namespaces".to_owned()
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} must run in CI, but: {reason}"
    );
    println!("{test} did not run: {reason}");
    false
}
