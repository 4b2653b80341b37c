//! What a verification comes to.

use std::{fs::File, io, path::Path};

use crate::{
    bundle::verify_bundle,
    case::{Walked, walk_folder},
    chain::Chain,
    damage::{Damage, Damages},
    error::VerifyError,
    hash::{Hash, Head},
    head::ExpectedHead,
    progress::Report,
    signatures::Checkpoint,
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Everything fits together.
    Intact(Found),
    /// Nothing is wrong, but nothing vouches for the end: records stand behind the last checkpoint,
    /// or a session has no end.
    Incomplete(Found),
    /// Something does not fit.
    Damaged(Damaged),
}

/// Exit codes that say what was found; what else a program may end with is its own affair.
impl Verification {
    /// 0, 1 or 4.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Intact(_) => 0,
            Self::Damaged(_) => 1,
            Self::Incomplete(_) => 4,
        }
    }
}

/// A case without damage. A case that was cut off behind one of its checkpoints leaves no trace in
/// what remains: compare with a head that left the handset before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How many records there are.
    pub records: u64,
    /// The end of the chain.
    pub head: Head,
    /// Whether the last session's end is on record; false while a daemon runs, and after a kill.
    pub ended: bool,
    /// Its signatures; none in a case that has none.
    pub signed: Option<Signed>,
    /// When it was sealed; none when it was not.
    pub sealed: Option<String>,
    /// Whether it was held against a head that left the handset.
    pub compared: bool,
    /// Files that no record names: of an interrupted start, or put there by somebody. Not evidence.
    pub unlisted: Vec<String>,
    /// What a bundle says of itself; none for a folder.
    pub bundle: Option<BundleFacts>,
}

/// A bundle as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFacts {
    /// Files in it, beside the manifest and its signature.
    pub files: u64,
    /// Bytes of the whole.
    pub bytes: u64,
    /// SHA-256 of its manifest: what a certificate or a timestamp names.
    pub manifest: Hash,
    /// Further hashes that the manifest lists, and that this build did not check.
    pub unchecked: Vec<String>,
}

/// The signatures of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The last one; none when the case was cut off before its first.
    pub last: Option<Checkpoint>,
    /// Records behind it, for which nothing vouches.
    pub behind: u64,
}

/// A case with damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What is damaged, in the order found; [`DAMAGES_MAX`](crate::DAMAGES_MAX) at most.
    pub damages: Vec<Damage>,
    /// How many damages there are in all.
    pub total: u64,
    /// How many records could be read.
    pub records: u64,
    /// The last checkpoint before the first damaged record: what it vouches for is as it was.
    pub good: Option<Checkpoint>,
}

/// Verifies the case in a folder, or a bundle in a file; `-` is a bundle from standard input. An
/// error means that it could not be told; damage is a result.
pub fn verify(path: &Path, progress: Report<'_>) -> Result<Verification, VerifyError> {
    verify_against(path, None, progress)
}

/// The same, held against a head that left the handset.
pub fn verify_against(
    path: &Path,
    expected: Option<ExpectedHead>,
    progress: Report<'_>,
) -> Result<Verification, VerifyError> {
    if path == Path::new("-") {
        return verify_bundle(io::stdin().lock(), path, 0, expected, progress);
    }
    // A pipe is read as a file is.
    if path.exists() && !path.is_dir() {
        let file = File::open(path).map_err(|error| VerifyError::io(path, error))?;
        let total = file.metadata().map_or(0, |found| found.len());
        return verify_bundle(file, path, total, expected, progress);
    }
    let mut damages = Damages::default();
    let walked = walk_folder(path, expected, &mut damages, progress)?;
    Ok(conclude(walked, damages, None))
}

/// What damages and records come to.
pub(crate) fn conclude(
    walked: Walked,
    damages: Damages,
    bundle: Option<BundleFacts>,
) -> Verification {
    let chain = match walked.chain {
        Some(chain) if damages.total() == 0 => chain,
        chain => {
            return Verification::Damaged(Damaged {
                records: chain.as_ref().map_or(0, Chain::records),
                good: chain.and_then(|chain| chain.good().cloned()),
                total: damages.total(),
                damages: damages.into_list(),
            });
        }
    };
    let signatures = chain.signatures();
    let signed = signatures.is_signed().then(|| {
        let last = signatures.last().cloned();
        let vouched = last.as_ref().map_or(0, |last| last.head.seq);
        Signed {
            checkpoints: signatures.count(),
            behind: u64::try_from(chain.head().seq - vouched).unwrap_or(0),
            last,
        }
    });
    let whole = chain.ended() && signed.as_ref().is_none_or(|signed| signed.behind == 0);
    let found = Found {
        records: chain.records(),
        head: chain.head(),
        ended: chain.ended(),
        signed,
        sealed: signatures.seal().map(|seal| seal.at.clone()),
        compared: chain.compared(),
        unlisted: walked.unlisted,
        bundle,
    };
    if whole {
        Verification::Intact(found)
    } else {
        Verification::Incomplete(found)
    }
}
