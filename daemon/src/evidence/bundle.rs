//! A sealed case as one file that anybody can open: a POSIX ustar archive with a signed manifest.
//!
//! In: the folder of a case whose last record is the checkpoint of its seal. Out: the archive. The
//! manifest follows from the case alone, and it is kept beside the case with its signature, so that
//! a bundle can be written again at any time, byte for byte. `docs/evidence-format.md` has the form.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    canonical,
    case::{self, CaseBody, FileEntry, FilesBody},
    error::StoreError,
    reader::Reader,
    record::{Hash, Head, Kind},
    signing::{ALGORITHM, CheckpointBody, Ratchet, Signing},
    store, ustar,
};
use crate::time::Timestamp;

/// The list of a bundle's files; its first entry, and kept in a sealed case's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The signature over it; a bundle's second entry, and kept likewise.
pub const SIGNATURE_FILE: &str = "manifest.sig";
/// `format` of a [`Manifest`].
pub const BUNDLE_FORMAT: &str = "sakshi-bundle";
/// `version` of a [`Manifest`].
pub const BUNDLE_VERSION: u32 = 1;
/// Folder of the case in the archive, with its slash.
const CASE_FOLDER: &str = "case/";
/// Begins what the signature is made over.
pub(super) const MANIFEST_TAG: &[u8] = b"sakshi manifest 1\n";
/// Longest manifest that is read back, in bytes; a longer one is damaged.
const MANIFEST_MAX: u64 = 16 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Which program made something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// SHA-256 of its file.
    pub sha256: Hash,
    /// Its version.
    pub version: String,
}

/// Body of a `sealed` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedBody {
    /// When.
    pub at: Timestamp,
    /// Number of the last session.
    pub session: u64,
    /// What sealed it.
    pub tool: Tool,
}

/// Hashes beside SHA-256, which a certificate's form may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Also {
    /// SHA-1 (FIPS 180-4).
    pub sha1: bool,
    /// MD5 (RFC 1321).
    pub md5: bool,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path in the archive.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Hash,
    /// SHA-1 in lower-case hex, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// MD5 in lower-case hex, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Identifier of the case.
    pub case: String,
    /// Body of the last `device` record; null: there is none.
    pub device: Value,
    /// Every file below `case/`, by path.
    pub files: Vec<ManifestFile>,
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// The last record.
    pub head: Head,
    /// When it was sealed.
    pub sealed: Timestamp,
    /// What sealed it.
    pub tool: Tool,
    /// [`BUNDLE_VERSION`].
    pub version: u32,
}

/// Content of [`SIGNATURE_FILE`].
#[derive(Debug, Serialize)]
struct SignatureFile {
    algorithm: &'static str,
    public: String,
    signature: String,
}

/// A bundle that can be written.
#[derive(Debug)]
pub struct Bundle {
    /// Its shared lock keeps the case as it is.
    _reader: Reader,
    dir: PathBuf,
    manifest: Manifest,
    text: String,
    signature: Vec<u8>,
}

impl Bundle {
    /// Makes the manifest of the sealed case in `dir` and signs it, or reads the one that was made
    /// before: then `also` is not looked at. `progress` is told of bytes that were hashed.
    pub fn open(
        dir: &Path,
        also: Also,
        signing: &Signing,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, StoreError> {
        // The key goes last, so where it still is, a seal was interrupted or is new.
        let unfinished = Ratchet::lock(dir)?;
        if unfinished.is_some() {
            store::close_for_good(dir)?;
        }
        let reader = Reader::open(dir)?;
        let key = manifest_key(&reader)?;
        match Ratchet::open(dir, &key, signing) {
            Ok(ratchet) => sign(&reader, &make(&reader, also, progress)?, &key, &ratchet)?,
            // Erased already: then what it signed is on the disk.
            Err(StoreError::NoKey(_) | StoreError::Key { .. })
                if dir.join(SIGNATURE_FILE).exists() => {}
            Err(error) => return Err(error),
        }
        if unfinished.is_some() {
            Ratchet::destroy(dir)?;
        }
        let text = read(&dir.join(MANIFEST_FILE))?;
        let signature = read(&dir.join(SIGNATURE_FILE))?.into_bytes();
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| StoreError::Metadata {
                path: dir.join(MANIFEST_FILE),
                detail: error.to_string(),
            })?;
        if manifest.head != reader.head()? {
            return Err(StoreError::Changed {
                path: dir.join(MANIFEST_FILE),
            });
        }
        Ok(Self {
            _reader: reader,
            dir: dir.to_owned(),
            manifest,
            text,
            signature,
        })
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the archive; gives its SHA-256. A file that is not what the manifest says ends it.
    pub fn write(
        &self,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Hash, BundleError> {
        let mut out = Hashed {
            out,
            sha: Sha256::new(),
        };
        for (name, bytes) in [
            (MANIFEST_FILE, self.text.as_bytes()),
            (SIGNATURE_FILE, &self.signature),
        ] {
            let length = bytes.len() as u64;
            begin(&mut out, name, length)?;
            out.write_all(bytes)?;
            end(&mut out, length)?;
        }
        for file in &self.manifest.files {
            let inner = file.path.strip_prefix(CASE_FOLDER).unwrap_or(&file.path);
            let path = self.dir.join(inner);
            begin(&mut out, &file.path, file.bytes)?;
            let mut sha = Sha256::new();
            // Never more than the header said, should the file have grown.
            let mut source = open(&path)?.take(file.bytes);
            let mut copied = 0;
            each_chunk(&mut source, &path, &mut |chunk| {
                sha.update(chunk);
                copied += chunk.len() as u64;
                progress(chunk.len() as u64);
                out.write_all(chunk).map_err(BundleError::Write)
            })?;
            if copied != file.bytes || Hash::from_sha256(sha) != file.sha256 {
                return Err(StoreError::Changed { path }.into());
            }
            end(&mut out, file.bytes)?;
        }
        out.write_all(&ustar::END)?;
        out.flush()?;
        Ok(Hash::from_sha256(out.sha))
    }
}

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The case failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive could not be written.
    #[error("the bundle cannot be written: {0}; the case is sealed, `sakshi seal` writes it again")]
    Write(#[from] io::Error),
}

/// Passes on what is written, and hashes it.
struct Hashed<'a> {
    out: &'a mut dyn Write,
    sha: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn begin(out: &mut Hashed<'_>, path: &str, bytes: u64) -> Result<(), BundleError> {
    let header = ustar::header(path, bytes).ok_or_else(|| too_large(path))?;
    Ok(out.write_all(&header)?)
}

fn end(out: &mut Hashed<'_>, bytes: u64) -> io::Result<()> {
    out.write_all(&ustar::END[..ustar::padding(bytes)])
}

fn too_large(path: &str) -> StoreError {
    StoreError::NoBundle {
        path: path.to_owned(),
        max: ustar::FILE_BYTES_MAX,
    }
}

/// The files that a case's records name and that are still to be there, by path.
pub fn named_files(reader: &Reader) -> Result<BTreeMap<String, FileEntry>, StoreError> {
    #[derive(Deserialize)]
    struct Dropped {
        path: String,
    }
    let mut named = BTreeMap::new();
    let kinds = [
        Kind::CASE,
        Kind::FILES,
        Kind::SEGMENT,
        Kind::SEGMENT_DROPPED,
        Kind::ROLLED,
        Kind::EXHIBIT,
    ];
    for record in reader.records(&kinds) {
        let record = record?;
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            path: reader.case().database(),
            detail: format!("record {} cannot be read: {error}", record.seq),
        };
        let body = record.body.as_str();
        let files = match record.kind.as_str() {
            "case" => serde_json::from_str::<CaseBody>(body).map(|body| body.files),
            "files" => serde_json::from_str::<FilesBody>(body).map(|body| body.files),
            "segment" | "rolled" | "exhibit" => {
                serde_json::from_str::<FileEntry>(body).map(|entry| vec![entry])
            }
            _ => {
                let Dropped { path } = serde_json::from_str(body).map_err(corrupt)?;
                named.remove(&path);
                continue;
            }
        };
        for entry in files.map_err(corrupt)? {
            named.insert(entry.path.clone(), entry);
        }
    }
    Ok(named)
}

/// Whether every named file is there as the records say, and fits into a bundle: before a case is
/// sealed, since nothing can be mended afterwards.
pub fn check_files(reader: &Reader, progress: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
    let dir = reader.case().dir();
    // Whoever put these there was not us: they would pass for the seal's own.
    for name in [MANIFEST_FILE, SIGNATURE_FILE] {
        let path = dir.join(name);
        if path.exists() {
            return Err(StoreError::Changed { path });
        }
    }
    for (path, entry) in named_files(reader)? {
        let at = dir.join(&path);
        let found = digest(&at, Also::default(), progress)?;
        if (found.sha256, found.bytes) != (entry.sha256, entry.bytes) {
            return Err(StoreError::Changed { path: at });
        }
        let name = format!("{CASE_FOLDER}{path}");
        ustar::header(&name, entry.bytes).ok_or_else(|| too_large(&path))?;
    }
    let database = reader.last_part();
    let bytes = fs::metadata(&database)
        .map_err(|error| StoreError::io(&database, error))?
        .len();
    // Half of it is left for what the log still holds.
    if bytes > ustar::FILE_BYTES_MAX / 2 {
        return Err(too_large(&file_name(&database)));
    }
    Ok(())
}

/// The manifest of a sealed case, from its records and files.
fn make(
    reader: &Reader,
    also: Also,
    progress: &mut dyn FnMut(u64),
) -> Result<Manifest, StoreError> {
    let case = reader.case();
    let body = |kind: &Kind| -> Result<Option<Value>, StoreError> {
        let record = reader.last(kind)?;
        Ok(record.and_then(|record| serde_json::from_str(&record.body).ok()))
    };
    let sealed = body(&Kind::SEALED)?
        .and_then(|body| serde_json::from_value::<SealedBody>(body).ok())
        .ok_or_else(|| StoreError::Corrupt {
            path: case.database(),
            detail: "the record of its seal cannot be read".to_owned(),
        })?;
    let mut paths: Vec<String> = named_files(reader)?.into_keys().collect();
    paths.push(file_name(&reader.last_part()));
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let found = digest(&case.dir().join(&path), also, progress)?;
        files.push(ManifestFile {
            path: format!("{CASE_FOLDER}{path}"),
            ..found
        });
    }
    Ok(Manifest {
        case: case.meta().id.clone(),
        device: body(&Kind::DEVICE)?.unwrap_or_default(),
        files,
        format: BUNDLE_FORMAT.to_owned(),
        head: reader.head()?,
        sealed: sealed.at,
        tool: sealed.tool,
        version: BUNDLE_VERSION,
    })
}

/// Signs a manifest with the key that the last checkpoint names, and puts both into the folder.
fn sign(
    reader: &Reader,
    manifest: &Manifest,
    public: &str,
    ratchet: &Ratchet,
) -> Result<(), StoreError> {
    let dir = reader.case().dir();
    let text = canonical::to_canonical(manifest)?;
    let mut message = MANIFEST_TAG.to_vec();
    message.extend(Hash::of(text.as_bytes()).as_bytes());
    let signature = canonical::to_canonical(&SignatureFile {
        algorithm: ALGORITHM,
        public: public.to_owned(),
        signature: ratchet.sign(&message),
    })?;
    case::write_file(dir, MANIFEST_FILE, text.as_bytes())?;
    case::write_file(dir, SIGNATURE_FILE, signature.as_bytes())
}

/// The public key that the last checkpoint names for the manifest.
fn manifest_key(reader: &Reader) -> Result<String, StoreError> {
    reader
        .last(&Kind::CHECKPOINT)?
        .and_then(|record| serde_json::from_str::<CheckpointBody>(&record.body).ok())
        .and_then(|body| body.manifest)
        .ok_or_else(|| StoreError::Corrupt {
            path: reader.case().database(),
            detail: "its last checkpoint names no key for a manifest".to_owned(),
        })
}

fn read(path: &Path) -> Result<String, StoreError> {
    let mut text = String::new();
    open(path)?
        .take(MANIFEST_MAX)
        .read_to_string(&mut text)
        .map_err(|error| StoreError::io(path, error))?;
    Ok(text)
}

/// Opens an ordinary file; a link, a pipe or a folder is none that a record named.
fn open(path: &Path) -> Result<File, StoreError> {
    let failed = |error| StoreError::io(path, error);
    if !fs::symlink_metadata(path).map_err(failed)?.is_file() {
        return Err(StoreError::Changed {
            path: path.to_owned(),
        });
    }
    File::open(path).map_err(failed)
}

fn each_chunk<E: From<StoreError>>(
    from: &mut impl Read,
    path: &Path,
    take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => take(chunk.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io(path, error).into()),
        }
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Length and SHA-256 of an ordinary file.
pub(super) fn length_and_hash(path: &Path) -> Result<(u64, Hash), StoreError> {
    let found = digest(path, Also::default(), &mut |_| ())?;
    Ok((found.bytes, found.sha256))
}

/// Length and hashes of a file; its path is left to the caller.
fn digest(
    path: &Path,
    also: Also,
    progress: &mut dyn FnMut(u64),
) -> Result<ManifestFile, StoreError> {
    let mut sha256 = Sha256::new();
    let mut others = Others::new(also);
    let mut bytes = 0;
    each_chunk::<StoreError>(&mut open(path)?, path, &mut |chunk| {
        sha256.update(chunk);
        others.update(chunk);
        bytes += chunk.len() as u64;
        progress(chunk.len() as u64);
        Ok(())
    })?;
    let (sha1, md5) = others.finish();
    Ok(ManifestFile {
        path: String::new(),
        bytes,
        sha256: Hash::from_sha256(sha256),
        sha1,
        md5,
    })
}

/// The hashes that were asked for beside SHA-256.
#[cfg(feature = "lab")]
struct Others {
    sha1: Option<sha1::Sha1>,
    md5: Option<md5::Md5>,
}

#[cfg(feature = "lab")]
impl Others {
    fn new(also: Also) -> Self {
        Self {
            sha1: also.sha1.then(sha1::Sha1::new),
            md5: also.md5.then(md5::Md5::new),
        }
    }

    fn update(&mut self, chunk: &[u8]) {
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(chunk);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(chunk);
        }
    }

    fn finish(self) -> (Option<String>, Option<String>) {
        let hex = super::signing::hex;
        (
            self.sha1.map(|sha1| hex(&sha1.finalize())),
            self.md5.map(|md5| hex(&md5.finalize())),
        )
    }
}

/// The phone computes SHA-256 alone; a PC computes the others of the same files.
#[cfg(not(feature = "lab"))]
struct Others;

#[cfg(not(feature = "lab"))]
#[expect(
    clippy::unused_self,
    reason = "called as the lab's, which has something to update"
)]
impl Others {
    fn new(_also: Also) -> Self {
        Self
    }

    fn update(&mut self, _chunk: &[u8]) {}

    fn finish(self) -> (Option<String>, Option<String>) {
        (None, None)
    }
}
