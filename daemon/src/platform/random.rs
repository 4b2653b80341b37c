//! The system's random source.

use std::{fs::File, io::Read};

/// Sixteen bytes that nobody can foretell (`/dev/urandom`).
pub fn bytes() -> std::io::Result<[u8; 16]> {
    filled()
}

/// As many bytes as are asked for, of the same source.
pub fn filled<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
