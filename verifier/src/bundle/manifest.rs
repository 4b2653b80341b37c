//! The manifest of a bundle and its signature.

use serde::Deserialize;

use crate::{
    canonical::is_canonical,
    files::stays_inside,
    hash::{Hash, Head, Hex},
    signatures,
};

/// Begins what the manifest's signature is over.
const MANIFEST_TAG: &[u8] = b"sakshi manifest 1\n";
/// Folder of the case in the archive.
pub(crate) const CASE_FOLDER: &str = "case/";

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) version: i64,
    pub(crate) case: String,
    pub(crate) head: Head,
    pub(crate) sealed: String,
    pub(crate) files: Vec<ManifestFile>,
}

/// A file that it lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ManifestFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Hash,
    pub(crate) sha1: Option<String>,
    pub(crate) md5: Option<String>,
}

impl Manifest {
    /// Reads it; the error says what is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| is_canonical(text))
            .ok_or("it is not canonical JSON")?;
        let manifest: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if manifest.format != "sakshi-bundle" || manifest.version != 1 {
            return Err(format!(
                "it is of format {:?}, version {}; expected \"sakshi-bundle\", version 1",
                manifest.format, manifest.version
            ));
        }
        let paths: Vec<&str> = manifest
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        if !paths.is_sorted_by(|one, other| one < other) {
            return Err("its files are not in order, or one is listed twice".to_owned());
        }
        let inside = |path: &&str| path.starts_with(CASE_FOLDER) && stays_inside(path);
        match paths.iter().find(|path| !inside(path)) {
            Some(path) => Err(format!("it lists {path:?}, which is not below case/")),
            None => Ok(manifest),
        }
    }
}

/// `manifest.sig`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestSignature {
    algorithm: String,
    pub(crate) public: Hex<32>,
    signature: Hex<64>,
}

impl ManifestSignature {
    /// Reads it; the error says what is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| is_canonical(text))
            .ok_or("it is not canonical JSON")?;
        let signature: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if signature.algorithm != "ed25519" {
            return Err(format!("its algorithm is {:?}", signature.algorithm));
        }
        Ok(signature)
    }

    /// Whether it is over a manifest of this hash.
    pub(crate) fn verify(&self, manifest: &Hash) -> Result<(), &'static str> {
        let mut message = MANIFEST_TAG.to_vec();
        message.extend_from_slice(manifest.as_bytes());
        signatures::verify(&self.public.0, &message, &self.signature.0)
    }
}
