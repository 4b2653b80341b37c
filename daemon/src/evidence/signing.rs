//! Checkpoints: who holds a case today vouches for everything before, and cannot rewrite it later.
//!
//! In: the head of the chain. Out: the draft of a `checkpoint` record, signed with a key that is
//! used once: the record names the key of the next one, and the old private key is erased when the
//! record is on the disk. So whoever takes the handset later finds only the key of what is still to
//! come (a ratchet). `docs/evidence-format.md` gives the form of the record and of `signing.key`.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ed25519_compact::{KeyPair, Seed};
use serde::{Deserialize, Serialize};

use super::{
    canonical, case,
    error::StoreError,
    record::{Draft, Head, Kind},
};
use crate::{
    platform::{
        clock::{Clock, SystemClock},
        random,
    },
    time::Timestamp,
};

/// Holds the private key of the next checkpoint; never named by a record, never in a bundle.
pub const KEY_FILE: &str = "signing.key";
/// Begins what a checkpoint's signature is made over.
pub const CHECKPOINT_TAG: &[u8] = b"sakshi checkpoint 1\n";
/// Most records behind a checkpoint until there is another one.
pub const CHECKPOINT_RECORDS: i64 = 1000;
/// `mode` of the cases without a signature: repeating an inspection gives the same bytes.
pub const UNSIGNED_MODE: &str = "inspect";

/// `algorithm` of a `key` record.
pub(super) const ALGORITHM: &str = "ed25519";
/// Distance of the two slots, in bytes: a write that is torn by a loss of power spoils one of them
/// at most, since no medium writes more than this at once without keeping the rest.
const SLOT_BYTES: usize = 4096;
/// Slots of [`KEY_FILE`].
const SLOTS: usize = 2;
/// Bytes of a private key (RFC 8032, 5.1.5: the seed); 32 zeros are no key.
const SEED_BYTES: usize = 32;
/// What an empty slot holds.
const NO_SEED: [u8; SEED_BYTES] = [0; SEED_BYTES];

/// Where private keys come from.
pub trait KeySource: Send + Sync {
    /// A private key that nobody can foretell.
    fn seed(&self) -> io::Result<[u8; SEED_BYTES]>;
}

/// The system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemKeys;

impl KeySource for SystemKeys {
    fn seed(&self) -> io::Result<[u8; SEED_BYTES]> {
        random::filled()
    }
}

/// What a writer needs from outside to sign: keys, and the time if there is one to tell.
#[derive(Clone)]
pub struct Signing {
    keys: Arc<dyn KeySource>,
    clock: Option<Arc<dyn Clock>>,
}

impl Signing {
    /// From the given sources; without a clock, checkpoints say no time.
    pub fn new(keys: Arc<dyn KeySource>, clock: Option<Arc<dyn Clock>>) -> Self {
        Self { keys, clock }
    }

    /// The system's keys, and the time of a clock.
    pub fn timed(clock: Arc<dyn Clock>) -> Self {
        Self::new(Arc::new(SystemKeys), Some(clock))
    }

    /// The system's keys and its clock.
    pub fn system() -> Self {
        Self::timed(Arc::new(SystemClock))
    }

    /// The system's keys, and no time: what is written is about a file, not about now.
    pub fn timeless() -> Self {
        Self::new(Arc::new(SystemKeys), None)
    }

    fn now(&self) -> Option<Timestamp> {
        self.clock.as_ref().map(|clock| clock.now())
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("timed", &self.clock.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a checkpoint was made. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The case was made.
    Case,
    /// A session began.
    Session,
    /// Records waited for a minute.
    Interval,
    /// [`CHECKPOINT_RECORDS`] waited, or a few were written beside a session and no others follow.
    Records,
    /// A phase began.
    Phase,
    /// A session ended in order.
    Stop,
    /// An unclean stop was made good.
    Recovery,
    /// The space that is kept in reserve was used.
    Reserve,
    /// A part of the database was closed and the next one begun.
    Roll,
    /// The case was closed for good.
    Seal,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

impl Reason {
    /// Why a record of this kind is vouched for as soon as it is written; none for the others, for
    /// which a later checkpoint is soon enough.
    fn of(kind: &Kind) -> Option<Self> {
        match kind.as_str() {
            "session" => Some(Self::Session),
            "phase" => Some(Self::Phase),
            "stop" => Some(Self::Stop),
            "unclean_stop" => Some(Self::Recovery),
            // Written beside a session, so that nothing may follow for long.
            "authority" | "custody" | "export" | "files" | "validation" => Some(Self::Records),
            _ => None,
        }
    }
}

/// Body of the second record of a signed case (`key`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBody {
    /// `ed25519`.
    pub algorithm: String,
    /// The public key of the first checkpoint, 64 lower-case hex digits.
    pub public: String,
}

/// Body of a `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointBody {
    /// When; null where no clock is read.
    pub at: Option<Timestamp>,
    /// Only in the last checkpoint of a sealed case: the public key of its bundle's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The public key of the next checkpoint; null if there will be none.
    pub next: Option<String>,
    /// Why.
    pub reason: Reason,
    /// 128 lower-case hex digits; absent from what is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The keys of a case that is open for writing.
#[derive(Debug)]
pub(super) struct Ratchet {
    signing: Signing,
    file: KeyFile,
    current: Key,
    /// The key after it, on the disk already; it stays the same until it is in a record, so that a
    /// commit that failed and may yet stand names a key that is there.
    next: Option<Key>,
}

/// A private key and the slot that holds it.
struct Key {
    slot: usize,
    pair: KeyPair,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The public half only.
        write!(f, "Key({})", self.public())
    }
}

impl Key {
    fn new(slot: usize, seed: [u8; SEED_BYTES]) -> Option<Self> {
        let pair = KeyPair::try_from_seed(Seed::new(seed)).ok()?;
        Some(Self { slot, pair })
    }

    fn public(&self) -> String {
        hex(self.pair.pk.as_slice())
    }
}

impl Ratchet {
    /// Makes the first key of a new case; it is on the disk when this returns.
    pub(super) fn create(dir: &Path, signing: &Signing) -> Result<Self, StoreError> {
        let file = KeyFile::create(dir)?;
        let current = file.new_key(0, signing)?;
        Ok(Self {
            signing: signing.clone(),
            file,
            current,
            next: None,
        })
    }

    /// Finds the key whose public half the last checkpoint names, and erases what else is there.
    pub(super) fn open(dir: &Path, expected: &str, signing: &Signing) -> Result<Self, StoreError> {
        let file = KeyFile::open(dir)?;
        let mut current = None;
        for slot in 0..SLOTS {
            let seed = file.read(slot)?;
            if seed == NO_SEED {
                continue;
            }
            match Key::new(slot, seed).filter(|key| key.public() == expected) {
                Some(key) if current.is_none() => current = Some(key),
                _ => {}
            }
        }
        let current = current.ok_or_else(|| StoreError::Key {
            path: file.path.clone(),
            expected: expected.to_owned(),
        })?;
        for slot in (0..SLOTS).filter(|slot| *slot != current.slot) {
            if file.read(slot)? != NO_SEED {
                file.write(slot, &NO_SEED)?;
            }
        }
        Ok(Self {
            signing: signing.clone(),
            file,
            current,
            next: None,
        })
    }

    /// The record that names the first key.
    pub(super) fn key_draft(&self) -> Result<Draft, StoreError> {
        let body = KeyBody {
            algorithm: ALGORITHM.to_owned(),
            public: self.current.public(),
        };
        Ok(Draft::new(Kind::KEY, &body)?)
    }

    /// Puts the key after the current one on the disk, before a checkpoint names it.
    pub(super) fn prepare(&mut self) -> Result<(), StoreError> {
        if self.next.is_none() {
            let slot = (self.current.slot + 1) % SLOTS;
            self.next = Some(self.file.new_key(slot, &self.signing)?);
        }
        Ok(())
    }

    /// The checkpoint that stands behind `head`; [`Ratchet::prepare`] was called before.
    pub(super) fn checkpoint(&self, head: Head, reason: Reason) -> Result<Draft, StoreError> {
        // The last checkpoint has no next; the key after it signs the manifest.
        let after = self.next.as_ref().map(Key::public);
        let (next, manifest) = match reason {
            Reason::Seal => (None, after),
            _ => (after, None),
        };
        let mut body = CheckpointBody {
            at: self.signing.now(),
            manifest,
            next,
            reason,
            signature: None,
        };
        let text = canonical::to_canonical(&body)?;
        let message = checkpoint_message(head, &text);
        body.signature = Some(hex(self.current.pair.sk.sign(message, None).as_slice()));
        Ok(Draft::new(Kind::CHECKPOINT, &body)?)
    }

    /// The checkpoint is on the disk: goes on to the next key and erases the one that was used. If
    /// that fails, the next call of [`Ratchet::prepare`] writes over it or says why it cannot.
    pub(super) fn advance(&mut self) {
        if let Some(next) = self.next.take() {
            let used = std::mem::replace(&mut self.current, next);
            let _ = self.file.write(used.slot, &NO_SEED);
        }
    }
}

impl Ratchet {
    /// Signs a manifest with the current key, which the last checkpoint of a sealed case names.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        hex(self.current.pair.sk.sign(message, None).as_slice())
    }

    /// Locks the file of the keys of a sealed case, so that one process at a time makes and signs its
    /// manifest; none where the keys are gone, since that is done.
    pub(super) fn lock(dir: &Path) -> Result<Option<File>, StoreError> {
        let KeyFile { file, path } = match KeyFile::open(dir) {
            Err(StoreError::NoKey(_)) => return Ok(None),
            other => other?,
        };
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| StoreError::io(&path, error.into()))?;
        // Another process may have been done with it meanwhile.
        Ok(path.exists().then_some(file))
    }

    /// Erases and removes the file of the keys of a sealed case, where it still is.
    pub(super) fn destroy(dir: &Path) -> Result<(), StoreError> {
        let file = match KeyFile::open(dir) {
            Ok(file) => file,
            Err(StoreError::NoKey(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        for slot in 0..SLOTS {
            file.write(slot, &NO_SEED)?;
        }
        fs::remove_file(&file.path).map_err(|error| StoreError::io(&file.path, error))?;
        case::sync_folder(dir)
    }
}

/// What the checkpoint that follows `head` signs: `text` is its canonical body without the
/// signature.
fn checkpoint_message(head: Head, text: &str) -> Vec<u8> {
    let mut message = CHECKPOINT_TAG.to_vec();
    message.extend(head.hash.as_bytes());
    message.extend((head.seq + 1).to_be_bytes());
    // A text's length fits 64 bits on every machine that Rust knows.
    message.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    message.extend(text.as_bytes());
    message
}

/// Why records behind a checkpoint are vouched for now, if they are: `waiting` of them before
/// `drafts`; `due` if they have waited long enough.
pub(super) fn reason(drafts: &[Draft], waiting: i64, due: bool) -> Option<Reason> {
    let count = waiting.saturating_add(i64::try_from(drafts.len()).unwrap_or(i64::MAX));
    drafts
        .iter()
        .find_map(|draft| Reason::of(draft.kind()))
        .or((count >= CHECKPOINT_RECORDS).then_some(Reason::Records))
        .or((due && count > 0).then_some(Reason::Interval))
}

/// The open file of the keys.
#[derive(Debug)]
struct KeyFile {
    file: File,
    path: PathBuf,
}

impl KeyFile {
    fn create(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(KEY_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| {
                // Later writes find their blocks taken, also on a full disk.
                (&file).write_all(&[0; SLOT_BYTES * SLOTS])?;
                file.sync_all()?;
                Ok(file)
            })
            .map_err(|error| StoreError::io(&path, error))?;
        Ok(Self { file, path })
    }

    fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(KEY_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::NoKey(path.clone()),
                _ => StoreError::io(&path, error),
            })?;
        Ok(Self { file, path })
    }

    /// What a slot holds; nothing where the file is shorter.
    fn read(&self, slot: usize) -> Result<[u8; SEED_BYTES], StoreError> {
        let mut seed = NO_SEED;
        let mut file = &self.file;
        let read = file
            .seek(offset(slot))
            .and_then(|_| file.read_exact(&mut seed));
        match read {
            Ok(()) => Ok(seed),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(NO_SEED),
            Err(error) => Err(StoreError::io(&self.path, error)),
        }
    }

    /// Writes a slot; it is on the disk when this returns.
    fn write(&self, slot: usize, seed: &[u8; SEED_BYTES]) -> Result<(), StoreError> {
        let mut file = &self.file;
        file.seek(offset(slot))
            .and_then(|_| file.write_all(seed))
            .and_then(|()| file.sync_all())
            .map_err(|error| StoreError::io(&self.path, error))
    }

    /// Makes a key and puts it into a slot.
    fn new_key(&self, slot: usize, signing: &Signing) -> Result<Key, StoreError> {
        let failed = |error| StoreError::io(&self.path, error);
        let seed = signing.keys.seed().map_err(failed)?;
        let key = Key::new(slot, seed)
            .ok_or_else(|| failed(io::Error::other("the random source gave no private key")))?;
        self.write(slot, &seed)?;
        Ok(key)
    }
}

/// Where a slot begins.
const fn offset(slot: usize) -> SeekFrom {
    SeekFrom::Start((slot * SLOT_BYTES) as u64)
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::evidence::record::{Hash, record_hash};

    /// The private keys of RFC 8032, 7.1, tests 1 and 2.
    struct Rfc8032(Mutex<Vec<[u8; SEED_BYTES]>>);

    impl KeySource for Rfc8032 {
        fn seed(&self) -> io::Result<[u8; SEED_BYTES]> {
            self.0
                .lock()
                .unwrap()
                .pop()
                .ok_or(io::Error::other("no more"))
        }
    }

    fn seed(text: &str) -> [u8; SEED_BYTES] {
        std::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
    }

    #[test]
    fn the_example_of_the_format_is_what_is_written() {
        // Computed with Python from docs/evidence-format.md.
        let keys = Rfc8032(Mutex::new(vec![
            seed("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
            seed("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
        ]));
        let dir = tempfile::tempdir().unwrap();
        let mut ratchet = Ratchet::create(dir.path(), &Signing::new(Arc::new(keys), None)).unwrap();
        let mut head = Head::EMPTY;
        let mut hash = |kind: &str, body: &str| {
            head.seq += 1;
            head.hash = record_hash(&head.hash, head.seq, kind.as_bytes(), body.as_bytes(), None);
            head
        };
        hash("note", "{}");
        let key = ratchet.key_draft().unwrap();
        let head = hash("key", key.body());
        assert_eq!(
            head.hash.to_string(),
            "ec5dc84fa1af023784cf968787fc45f5f17d8af4061fa9a82077d04d96da1e76"
        );
        ratchet.prepare().unwrap();
        let checkpoint = ratchet.checkpoint(head, Reason::Case).unwrap();
        assert!(checkpoint.body().ends_with(
            "\"signature\":\"7f2bb3b788e249f8be65fc56b81b9ff2e2e3120bdf4320fa875d1249be4df5c398d37\
             fce17d6a41475b2fa5f37cc8d43adb60694208ce699bf4ceb893d00b70c\"}"
        ));
        let last: Hash = hash("checkpoint", checkpoint.body()).hash;
        assert_eq!(
            last.to_string(),
            "39bb2e6f4fca3a157674f83083c772461a2b9d1e67eafb74c5f347216206db2c"
        );
        let mut message = crate::evidence::bundle::MANIFEST_TAG.to_vec();
        message.extend(Hash::of(b"{}").as_bytes());
        assert_eq!(
            ratchet.sign(&message),
            "c8dae827becb51a6b291b9d6dfa7bf3f46f6048a7c75dc194474c6fbe8dd62ce5670258d3b7ce06f\
             a3753aa95696b30242e3d1aa2dcbfe059a054f90649e870d"
        );
    }
}
