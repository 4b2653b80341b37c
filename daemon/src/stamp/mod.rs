//! Trusted time (RFC 3161): somebody else vouches that a bundle was there at a moment.
//!
//! In: the SHA-256 of a bundle's manifest; later the answer of a time stamping authority, and the
//! roots that are trusted. Out: the request, and whether the answer holds. Nothing is sent: a person
//! carries request and answer. The request has no nonce, so that it is the same each time; the
//! answer is bound to the manifest by its hash.

pub mod answer;
pub mod check;
pub mod request;

use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use der::{
    Sequence,
    asn1::{ObjectIdentifier, OctetString},
};

/// SHA-256 (RFC 5754).
pub(crate) const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// `MessageImprint` (RFC 3161, 2.4.1): what is stamped.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct Imprint {
    pub(crate) algorithm: AlgorithmIdentifierOwned,
    pub(crate) hash: OctetString,
}
