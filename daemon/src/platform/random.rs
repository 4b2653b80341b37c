//! The system's random source.

use std::{fs::File, io::Read};

/// Sixteen bytes that nobody can foretell (`/dev/urandom`).
pub fn bytes() -> std::io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
