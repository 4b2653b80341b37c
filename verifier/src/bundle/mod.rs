//! Verifies a bundle: the archive, its manifest, and the case inside, in one pass over the stream.
//!
//! In: bytes of any origin. Out: a [`Verification`]. The parts of the database go into a temporary
//! folder; of all others only length and hashes are kept.

pub mod archive;
mod manifest;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use self::{
    archive::{Archive, ArchiveError, BLOCK, Entry},
    manifest::{CASE_FOLDER, Manifest, ManifestFile, ManifestSignature},
};
use crate::{
    case::{self, METADATA_FILE, METADATA_MAX, Walked},
    damage::{Damages, Flaw, Subject},
    error::VerifyError,
    files::{Content, Files},
    hash::Hash,
    head::ExpectedHead,
    progress::{Progress, Report, Stage},
    snapshot::{Snapshot, part_number, private_folder},
    verify::{BundleFacts, Verification, conclude},
};

const MANIFEST_FILE: &str = "manifest.json";
const SIGNATURE_FILE: &str = "manifest.sig";
/// Longest manifest that is read, in bytes; a longer one is damaged.
const MANIFEST_MAX: u64 = 16 * 1024 * 1024;
/// Longest signature file, in bytes.
const SIGNATURE_MAX: u64 = 4096;
/// Begins a file that age encrypted.
const AGE: &[u8] = b"age-encryption.org/v1";

/// Verifies the bundle that `source` gives from its first byte to its last. `name` names it in
/// errors, `total` is its length where it is known, in bytes.
pub fn verify_bundle(
    mut source: impl Read,
    name: &Path,
    total: u64,
    expected: Option<ExpectedHead>,
    progress: Report<'_>,
) -> Result<Verification, VerifyError> {
    let mut start = Vec::new();
    (&mut source)
        .take(BLOCK as u64)
        .read_to_end(&mut start)
        .map_err(|error| VerifyError::io(name, error))?;
    if start.starts_with(AGE) {
        return Err(VerifyError::Encrypted(name.to_owned()));
    }
    if !resembles_bundle(&start) {
        return Err(VerifyError::NotABundle(name.to_owned()));
    }
    let mut unpacking = Unpacking {
        archive: Archive::new(start.as_slice().chain(source)),
        damages: Damages::default(),
        total,
        progress,
        files: BTreeMap::new(),
        unchecked: [false; 2],
    };
    let folder = private_folder()?;
    let unpacked = unpacking.unpack_or_note(folder.path(), name)?;
    let Unpacking {
        archive,
        mut damages,
        progress,
        files,
        unchecked,
        ..
    } = unpacking;
    let Some(unpacked) = unpacked else {
        return Ok(conclude(Walked::nothing(), damages, None));
    };
    let snapshot = Snapshot::open_own(folder)?;
    let metadata = &unpacked.metadata;
    let read = Files::Read(&files);
    let walked = case::walk(
        name,
        metadata,
        &snapshot,
        &read,
        expected,
        &mut damages,
        progress,
    );
    let walked = match walked {
        Ok(walked) => walked,
        // What the manifest already tells of these files is the reason.
        Err(_) if damages.total() > 0 => Walked::nothing(),
        Err(error) => return Err(error),
    };
    check_seal(&unpacked, &walked, &mut damages);
    let facts = BundleFacts {
        files: files.len() as u64,
        bytes: archive.offset(),
        manifest: unpacked.hash,
        unchecked: names(unchecked),
    };
    Ok(conclude(walked, damages, Some(facts)))
}

/// Whether a file begins as a bundle does, so that one with damage there is told from another file.
fn resembles_bundle(start: &[u8]) -> bool {
    let magic = start.get(257..262);
    start.starts_with(MANIFEST_FILE.as_bytes()) || magic == Some(b"ustar")
}

/// The names of the hashes that were not checked.
fn names(unchecked: [bool; 2]) -> Vec<String> {
    let all = ["SHA-1", "MD5"].into_iter().zip(unchecked);
    all.filter(|(_, unchecked)| *unchecked)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// What was read of a bundle that could be read to its end.
struct Unpacked {
    manifest: Manifest,
    /// SHA-256 of `manifest.json`.
    hash: Hash,
    signature: ManifestSignature,
    /// Content of `case.json`.
    metadata: Vec<u8>,
}

/// A bundle that is being read.
struct Unpacking<'a, R> {
    archive: Archive<R>,
    damages: Damages,
    total: u64,
    progress: Report<'a>,
    /// What was read, by its path in the case.
    files: BTreeMap<String, Content>,
    /// Whether SHA-1 and MD5 are listed and were not checked.
    unchecked: [bool; 2],
}

impl<R: Read> Unpacking<'_, R> {
    /// Reads all, and notes where it is not as the format says; then there is none.
    fn unpack_or_note(
        &mut self,
        folder: &Path,
        name: &Path,
    ) -> Result<Option<Unpacked>, VerifyError> {
        match self.unpack(folder) {
            Ok(unpacked) => Ok(unpacked),
            Err(ArchiveError::Flaw { offset, what }) => {
                let flaw = Flaw::Archive { offset, what };
                self.damages.add(Subject::Bundle, flaw);
                Ok(None)
            }
            Err(ArchiveError::Read(error)) => Err(VerifyError::io(name, error)),
            Err(ArchiveError::Write(error)) => Err(VerifyError::no_copy(error)),
        }
    }

    /// Reads all; the parts of the database go into `folder`. None when manifest or signature cannot be
    /// understood, which is noted.
    fn unpack(&mut self, folder: &Path) -> Result<Option<Unpacked>, ArchiveError> {
        let Some(manifest_text) = self.own_file(MANIFEST_FILE, MANIFEST_MAX)? else {
            return Ok(None);
        };
        let Some(signature_text) = self.own_file(SIGNATURE_FILE, SIGNATURE_MAX)? else {
            return Ok(None);
        };
        let manifest = self.understood(MANIFEST_FILE, Manifest::read(&manifest_text));
        let signature = ManifestSignature::read(&signature_text);
        let signature = self.understood(SIGNATURE_FILE, signature);
        let (Some(manifest), Some(signature)) = (manifest, signature) else {
            return Ok(None);
        };
        let mut metadata = Vec::new();
        let mut listed = manifest.files.iter().peekable();
        while let Some(entry) = self.archive.next_entry()? {
            // What the list has before it is not there: both are in order.
            while let Some(missing) = listed.next_if(|file| file.path < entry.path) {
                let subject = Subject::File(missing.path.clone());
                self.damages.add(subject, Flaw::FileMissing);
            }
            let Some(file) = listed.next_if(|file| file.path == entry.path) else {
                let subject = Subject::File(entry.path.clone());
                self.damages.add(subject, Flaw::FileExtra);
                continue;
            };
            self.file(&entry, file, folder, &mut metadata)?;
        }
        for missing in listed {
            let subject = Subject::File(missing.path.clone());
            self.damages.add(subject, Flaw::FileMissing);
        }
        Ok(Some(Unpacked {
            hash: Hash::of(&manifest_text),
            manifest,
            signature,
            metadata,
        }))
    }

    /// The manifest or its signature: each has its place and a bound.
    fn own_file(&mut self, name: &str, max: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let entry = self.archive.next_entry()?;
        let Some(entry) = entry.filter(|entry| entry.path == name && entry.bytes <= max) else {
            let subject = Subject::File(name.to_owned());
            self.damages.add(subject, Flaw::NotInItsPlace);
            return Ok(None);
        };
        let mut content = Vec::new();
        self.archive.content(&mut |chunk| {
            content.extend_from_slice(chunk);
            Ok(())
        })?;
        debug_assert_eq!(content.len() as u64, entry.bytes);
        Ok(Some(content))
    }

    fn understood<T>(&mut self, name: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|detail| {
            let subject = Subject::File(name.to_owned());
            self.damages.add(subject, Flaw::Unreadable(detail));
        })
        .ok()
    }

    /// Reads a file of the case and holds it against the manifest.
    fn file(
        &mut self,
        entry: &Entry,
        listed: &ManifestFile,
        folder: &Path,
        metadata: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        let name = entry.path.strip_prefix(CASE_FOLDER).unwrap_or(&entry.path);
        let mut database = part_number(name)
            .map(|_| File::create_new(folder.join(name)))
            .transpose()
            .map_err(ArchiveError::Write)?;
        let keep = name == METADATA_FILE;
        let mut sha256 = Sha256::new();
        let mut others = Others::new(listed);
        let (mut done, total) = (self.archive.offset(), self.total);
        let progress = &mut self.progress;
        self.archive
            .content(&mut |chunk: &[u8]| -> io::Result<()> {
                sha256.update(chunk);
                others.update(chunk);
                if keep && metadata.len() as u64 <= METADATA_MAX {
                    metadata.extend_from_slice(chunk);
                }
                done += chunk.len() as u64;
                progress(Progress {
                    stage: Stage::Bundle,
                    done,
                    total,
                });
                match &mut database {
                    Some(database) => database.write_all(chunk),
                    None => Ok(()),
                }
            })?;
        let subject = || Subject::File(entry.path.clone());
        let content = Content {
            bytes: entry.bytes,
            sha256: Hash::from_sha256(sha256),
        };
        if content.sha256 != listed.sha256 || content.bytes != listed.bytes {
            let flaw = Flaw::EntryChanged {
                expected: listed.sha256,
                found: content.sha256,
            };
            self.damages.add(subject(), flaw);
        }
        let (wrong, unchecked) = others.finish(listed);
        for name in wrong {
            self.damages.add(subject(), Flaw::OtherHash(name));
        }
        for (all, one) in self.unchecked.iter_mut().zip(unchecked) {
            *all |= one;
        }
        self.files.insert(name.to_owned(), content);
        Ok(())
    }
}

/// Holds the manifest against the seal, which names its key.
fn check_seal(unpacked: &Unpacked, walked: &Walked, damages: &mut Damages) {
    for path in &walked.unlisted {
        let subject = Subject::File(format!("{CASE_FOLDER}{path}"));
        damages.add(subject, Flaw::FileExtra);
    }
    let Some(chain) = &walked.chain else {
        return;
    };
    let Some(seal) = chain.signatures().seal() else {
        damages.add(Subject::Bundle, Flaw::NotSealed);
        return;
    };
    let manifest = &unpacked.manifest;
    let subject = || Subject::File(MANIFEST_FILE.to_owned());
    let id = chain.meta().map(|meta| meta.id);
    for (what, same) in [
        ("case", id.as_ref() == Some(&manifest.case)),
        ("head", manifest.head == seal.head),
        ("sealed", manifest.sealed == seal.at),
    ] {
        if !same {
            damages.add(subject(), Flaw::OtherSeal(what));
        }
    }
    let subject = || Subject::File(SIGNATURE_FILE.to_owned());
    if seal.manifest != Some(unpacked.signature.public.0) {
        damages.add(subject(), Flaw::ManifestKey);
    }
    if let Err(detail) = unpacked.signature.verify(&unpacked.hash) {
        damages.add(subject(), Flaw::ManifestSignature(detail));
    }
}

/// SHA-1 and MD5 of a file, where the manifest lists them.
#[cfg(feature = "other-hashes")]
struct Others {
    sha1: Option<sha1::Sha1>,
    md5: Option<md5::Md5>,
}

#[cfg(feature = "other-hashes")]
impl Others {
    fn new(listed: &ManifestFile) -> Self {
        Self {
            sha1: listed.sha1.is_some().then(sha1::Sha1::new),
            md5: listed.md5.is_some().then(md5::Md5::new),
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

    /// The hashes that differ; and which of the two were not checked.
    fn finish(self, listed: &ManifestFile) -> (Vec<&'static str>, [bool; 2]) {
        let sha1 = self.sha1.map(|sha1| crate::hash::hex(&sha1.finalize()));
        let md5 = self.md5.map(|md5| crate::hash::hex(&md5.finalize()));
        let mut wrong = Vec::new();
        if sha1 != listed.sha1 {
            wrong.push("SHA-1");
        }
        if md5 != listed.md5 {
            wrong.push("MD5");
        }
        (wrong, [false; 2])
    }
}

/// This build leaves SHA-1 and MD5 unchecked, and says so.
#[cfg(not(feature = "other-hashes"))]
struct Others;

#[cfg(not(feature = "other-hashes"))]
#[expect(
    clippy::unused_self,
    reason = "called as the other one, which computes"
)]
impl Others {
    fn new(_listed: &ManifestFile) -> Self {
        Self
    }

    fn update(&mut self, _chunk: &[u8]) {}

    fn finish(self, listed: &ManifestFile) -> (Vec<&'static str>, [bool; 2]) {
        (Vec::new(), [listed.sha1.is_some(), listed.md5.is_some()])
    }
}
