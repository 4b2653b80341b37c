//! Other people's programs that judge our files: tshark, and a Python with `DuckDB`.
//!
//! In: what `cargo xtask test` has installed. Out: their paths; in CI a missing one fails.

use std::path::{Path, PathBuf};

/// Names another Python.
const PYTHON_VARIABLE: &str = "SAKSHI_PYTHON";

/// The Python that the prerequisites made; none, said in a line, where there is none.
///
/// # Panics
/// In CI, when it is missing.
pub fn python(test: &str) -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let python = std::env::var_os(PYTHON_VARIABLE).map_or(made, PathBuf::from);
    there(test, python, "run `cargo xtask test` once, which makes it")
}

/// tshark; likewise.
///
/// # Panics
/// In CI, when it is missing.
pub fn tshark(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join("tshark"))
        .find(|program| program.is_file());
    there(
        test,
        found.unwrap_or_else(|| PathBuf::from("tshark")),
        "on Debian: apt-get install tshark",
    )
}

fn there(test: &str, program: PathBuf, remedy: &str) -> Option<PathBuf> {
    if program.is_file() {
        return Some(program);
    }
    let reason = format!("{} is not here: {remedy}", program.display());
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} must run in CI, but {reason}"
    );
    println!("{test} did not run: {reason}");
    None
}
