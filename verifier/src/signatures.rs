//! Follows the keys of a signed case from checkpoint to checkpoint.
//!
//! In: its records in order. Out: what is wrong with their signatures, and what the last good one
//! vouches for. Each checkpoint is signed by the key that the one before named (a ratchet).

use ed25519_compact::{PublicKey, Signature};

use crate::{
    body::{CheckpointBody, KeyBody, Meta, SealedBody},
    canonical,
    chain::Typed,
    damage::Flaw,
    hash::{Hash, Head},
};

/// Begins what a checkpoint's signature is over.
const CHECKPOINT_TAG: &[u8] = b"sakshi checkpoint 1\n";
/// The reason of a sealed case's last checkpoint.
const SEAL: &str = "seal";

/// A checkpoint whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number and hash: the head that may have left the handset.
    pub head: Head,
    /// When it was made, as it says; none where no clock was read.
    pub at: Option<String>,
}

/// The end of a sealed case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    /// When it was sealed, as the record `sealed` says.
    pub(crate) at: String,
    /// Number and hash of the seal's checkpoint.
    pub(crate) head: Head,
    /// The key that signs the manifest of its bundle.
    pub(crate) manifest: Option<[u8; 32]>,
}

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// Whether the case is signed; none when its first record does not say.
    signed: Option<bool>,
    /// The key of the next checkpoint; none when what should name it is damaged, or it has none.
    key: Option<[u8; 32]>,
    count: u64,
    last: Option<Checkpoint>,
    /// Number and time of the record `sealed`.
    sealed: Option<(i64, String)>,
    seal: Option<Seal>,
    /// A record before is damaged: it may have been `sealed`.
    doubtful: bool,
}

impl Signatures {
    /// What the first record says.
    pub(crate) fn begin(&mut self, meta: Option<&Meta>) {
        self.signed = meta.map(Meta::is_signed);
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.signed == Some(true)
    }

    /// How many signatures were right.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last checkpoint with a right signature.
    pub(crate) fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    pub(crate) fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// What a checkpoint or key says next is not known: a record of these kinds is damaged.
    pub(crate) fn lose(&mut self) {
        self.key = None;
    }

    /// A record is damaged: what it was is not known.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Checks one record; `computed` is its hash.
    pub(crate) fn check(&mut self, record: &Typed<'_>, computed: Hash) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let is_checkpoint = record.kind == "checkpoint";
        if self.seal.is_some() || self.sealed.is_some() && !is_checkpoint {
            flaws.push(Flaw::AfterSeal);
        }
        if record.kind == "sealed" {
            match serde_json::from_str::<SealedBody>(record.body) {
                Ok(body) => self.sealed = Some((record.seq, body.at)),
                Err(error) => flaws.push(Flaw::Body(error.to_string())),
            }
        }
        match self.signed {
            Some(true) => {}
            Some(false) if is_checkpoint || record.kind == "key" => {
                flaws.push(Flaw::Unsigned);
                return flaws;
            }
            _ => return flaws,
        }
        if (record.kind == "key") != (record.seq == 2) {
            flaws.push(Flaw::KeyRecord);
        } else if record.kind == "key" {
            flaws.extend(self.begin_with(record));
        }
        if record.seq == 3 && !is_checkpoint {
            flaws.push(Flaw::FirstCheckpoint);
        }
        if is_checkpoint {
            match serde_json::from_str::<CheckpointBody>(record.body) {
                Ok(body) => flaws.extend(self.checkpoint(record, computed, &body)),
                Err(error) => {
                    self.lose();
                    flaws.push(Flaw::Body(error.to_string()));
                }
            }
        }
        flaws
    }

    fn begin_with(&mut self, record: &Typed<'_>) -> Option<Flaw> {
        match serde_json::from_str::<KeyBody>(record.body) {
            Ok(body) if body.algorithm == "ed25519" => {
                self.key = Some(body.public.0);
                None
            }
            Ok(body) => Some(Flaw::Body(format!(
                "the algorithm is {:?}, not \"ed25519\"",
                body.algorithm
            ))),
            Err(error) => Some(Flaw::Body(error.to_string())),
        }
    }

    fn checkpoint(
        &mut self,
        record: &Typed<'_>,
        computed: Hash,
        body: &CheckpointBody,
    ) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if record.attachment.is_some() {
            flaws.push(Flaw::Body("nothing is attached to a checkpoint".to_owned()));
        }
        let is_seal = body.reason == SEAL;
        if is_seal != body.next.is_none() {
            flaws.push(Flaw::Ratchet);
        }
        let behind_sealed = self
            .sealed
            .as_ref()
            .filter(|(seq, _)| seq + 1 == record.seq);
        if is_seal != behind_sealed.is_some() && !self.doubtful {
            flaws.push(Flaw::Seal);
        }
        let head = Head {
            seq: record.seq,
            hash: computed,
        };
        // Without the key nothing can be said of this one; the one that should name it is damaged.
        if let Some(key) = self.key {
            match verify_checkpoint(record, &key, &body.signature.0) {
                Ok(()) => {
                    self.count += 1;
                    self.last = Some(Checkpoint {
                        head,
                        at: body.at.clone(),
                    });
                }
                Err(detail) => flaws.push(Flaw::Signature(detail)),
            }
        }
        if let Some((_, at)) = behind_sealed.filter(|_| is_seal) {
            self.seal = Some(Seal {
                at: at.clone(),
                head,
                manifest: body.manifest.map(|key| key.0),
            });
        }
        self.key = body.next.map(|key| key.0);
        flaws
    }
}

/// Checks a checkpoint's signature; the error says what is wrong.
fn verify_checkpoint(
    record: &Typed<'_>,
    key: &[u8; 32],
    signature: &[u8; 64],
) -> Result<(), &'static str> {
    let body = canonical::without(record.body, "signature").ok_or("its body is not canonical")?;
    let mut message = CHECKPOINT_TAG.to_vec();
    message.extend_from_slice(record.prev.as_bytes());
    message.extend_from_slice(&record.seq.to_be_bytes());
    message.extend_from_slice(&(body.len() as u64).to_be_bytes());
    message.extend_from_slice(body.as_bytes());
    verify(key, &message, signature)
}

/// Checks an Ed25519 signature (RFC 8032).
pub(crate) fn verify(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), &'static str> {
    let signature = Signature::from_slice(signature).map_err(|_| "it is no signature")?;
    PublicKey::from_slice(key)
        .map_err(|_| "the key is no public key")?
        .verify(message, &signature)
        .map_err(|_| "the key does not verify it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{record_hash, unhex};

    #[test]
    fn the_example_of_the_format_verifies() {
        let key = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let body = "{\"at\":null,\"next\":\"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\",\
            \"reason\":\"case\",\"signature\":\"7f2bb3b788e249f8be65fc56b81b9ff2e2e3120bdf4320fa875d1249be4df5c\
            398d37fce17d6a41475b2fa5f37cc8d43adb60694208ce699bf4ceb893d00b70c\"}";
        let prev: Option<[u8; 32]> =
            unhex("ec5dc84fa1af023784cf968787fc45f5f17d8af4061fa9a82077d04d96da1e76");
        let prev = Hash::from_slice(&prev.unwrap()).unwrap();
        let record = Typed {
            seq: 3,
            kind: "checkpoint",
            body,
            attachment: None,
            prev,
            hash: record_hash(&prev, 3, b"checkpoint", body.as_bytes(), None),
        };
        assert_eq!(
            record.hash.to_string(),
            "39bb2e6f4fca3a157674f83083c772461a2b9d1e67eafb74c5f347216206db2c"
        );
        let parsed: CheckpointBody = serde_json::from_str(body).unwrap();
        let verified = |record| verify_checkpoint(record, &key.unwrap(), &parsed.signature.0);
        assert_eq!(verified(&record), Ok(()));
        let moved = Typed { seq: 4, ..record };
        assert!(verified(&moved).is_err());
    }
}
