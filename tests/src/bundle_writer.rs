//! A bundle as `docs/evidence-format.md` describes it, made from a case's folder.
//!
//! In: the folder. Out: one POSIX ustar file. Its signature is made up: what reads bundles for pages
//! leaves that to the verifier.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::Path,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Writes the bundle `to` of the case in `case`; its manifest.
pub fn write(case: &Path, to: &Path) -> io::Result<Value> {
    let mut names = Vec::new();
    list(case, "", &mut names)?;
    names.sort();
    let files: io::Result<Vec<Value>> = names
        .iter()
        .map(|name| {
            let bytes = fs::read(case.join(name))?;
            Ok(json!({
                "path": format!("case/{name}"),
                "bytes": bytes.len(),
                "sha256": sha256(&bytes),
                "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            }))
        })
        .collect();
    let meta: Value = serde_json::from_slice(&fs::read(case.join("case.json"))?)?;
    let manifest = json!({
        "format": "sakshi-bundle",
        "version": 1,
        "case": meta["id"],
        "head": { "seq": 1, "hash": "0".repeat(64) },
        "sealed": "2026-11-28T12:00:00.000000Z",
        "tool": { "version": "0.1.0", "sha256": "0".repeat(64) },
        "device": {},
        "files": files?,
    });
    let mut archive = tar::Builder::new(File::create(to)?);
    append(
        &mut archive,
        "manifest.json",
        manifest.to_string().as_bytes(),
    )?;
    append(&mut archive, "manifest.sig", b"{}")?;
    for name in &names {
        append(
            &mut archive,
            &format!("case/{name}"),
            &fs::read(case.join(name))?,
        )?;
    }
    archive.finish()?;
    Ok(manifest)
}

fn append(archive: &mut tar::Builder<File>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len().try_into().map_err(io::Error::other)?);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}

fn list(dir: &Path, before: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), names)?;
        } else if name != "case.lock" {
            names.push(name);
        }
    }
    Ok(())
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // A String takes all that is written.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
