//! `cargo xtask data`: rebuilds or checks the embedded location data, `daemon/data/places.bin`.
//!
//! In: the published country database, the AWS list of the pinned crate, and the reviewed lists in
//! `daemon/data/`. Out: the data file, the same bytes for the same inputs; or, with `--check`, the
//! word whether the committed file is what those inputs give. `docs/data.md` says where to get
//! them. The readers sit behind the feature `data`, so that other commands need not build them.

#[cfg(feature = "data")]
mod aws;
#[cfg(feature = "data")]
mod bench;
#[cfg(feature = "data")]
mod build;
#[cfg(feature = "data")]
mod check;
#[cfg(feature = "data")]
mod dbip;
#[cfg(feature = "data")]
mod lists;

/// What went wrong, in words for the terminal.
pub type Error = Box<dyn std::error::Error>;

#[cfg(feature = "data")]
pub use self::{bench::run as bench, build::run};

/// Runs this command again with the feature that it needs.
#[cfg(not(feature = "data"))]
pub fn run(args: &[String]) -> Result<(), Error> {
    again(&[], &["data"], args)
}

/// Likewise, as the product is built.
#[cfg(not(feature = "data"))]
pub fn bench(args: &[String]) -> Result<(), Error> {
    again(&["--release"], &["bench", "places"], args)
}

#[cfg(not(feature = "data"))]
fn again(how: &[&str], command: &[&str], args: &[String]) -> Result<(), Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask"])
        .args(how)
        .args(["--features", "data", "--"])
        .args(command)
        .args(args)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("data: the command above failed".into())
    }
}
