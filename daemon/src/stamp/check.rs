//! Whether an answer holds: for this hash, from an authority that a given root vouches for.
//!
//! In: an [`Answer`], the hash, roots as PEM. Out: [`Stamp`], or the first reason why not. Offline:
//! no list of revoked certificates is fetched. The chain is checked as of the stamp's own time, by
//! `rustls-webpki`; what RFC 3161 (2.3) and RFC 5816 ask beyond it is checked here.

use cms::{
    cert::x509::{
        Certificate,
        attr::Attributes,
        ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier},
        spki::AlgorithmIdentifierOwned,
    },
    signed_data::SignerIdentifier,
};
use der::{
    Any, Decode, Encode, Sequence,
    asn1::{ObjectIdentifier, OctetString},
};
use rustls_pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime, pem::PemObject,
};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use super::{
    SHA_256,
    answer::{Answer, TST_INFO},
};
use crate::time::Timestamp;

const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
/// `id-contentType`, `id-messageDigest` (RFC 5652, 11).
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// `id-aa-signingCertificate` (RFC 2634, 5.4), and its second version (RFC 5035).
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
/// `id-ce-extKeyUsage`, `id-kp-timeStamping` (RFC 5280, 4.2.1.12).
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The same as bytes, as the chain's checker wants it.
const TIME_STAMPING_BYTES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
/// `id-ce-subjectKeyIdentifier`.
const SUBJECT_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
/// Names of signatures (RFC 8017, appendix C; RFC 5758, 3.2; RFC 8410, 3).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED_25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Signatures that are known, in the order in which [`named`] tells them apart. SHA-1 is none of
/// them.
static SIGNATURES: [&dyn SignatureVerificationAlgorithm; 8] = [
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
];

/// Why an answer does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is the stamp of something else.
    #[error(
        "it stamps something else: its hash is not that of this manifest; give the answer to this bundle's request"
    )]
    OtherHash,
    /// What is signed is not the stamp.
    #[error("its signature is not for this stamp: the stamp was changed after it was signed")]
    OtherContent,
    /// The signature is wrong.
    #[error("its signature is wrong: it was changed after it was signed, or another key signed it")]
    Signature,
    /// The signer's certificate is not in the answer.
    #[error(
        "the signer's certificate is not in it: send the request as it was made, which asks for it"
    )]
    NoCertificate,
    /// The certificate is not the one that was signed for.
    #[error("its certificate is not the one that the signer meant")]
    OtherCertificate,
    /// The certificate is not for time stamping.
    #[error(
        "its certificate is not for time stamping alone (extended key usage, critical): this is no time stamping authority"
    )]
    Usage,
    /// No chain to a root.
    #[error(
        "no chain leads from its certificate to the given roots, as of the stamp's time: {0}; give the authority's root"
    )]
    Chain(String),
    /// An algorithm that is not known.
    #[error("it uses an algorithm that this version does not know ({0})")]
    Algorithm(String),
    /// A part cannot be read.
    #[error("{0} in it cannot be read")]
    Part(&'static str),
    /// The roots cannot be read.
    #[error("the roots cannot be read: {0}; give certificates in PEM")]
    Roots(String),
}

/// A stamp that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The moment that the authority vouches for.
    pub time: Timestamp,
    /// By how much it may be off, in microseconds; none: not said.
    pub accuracy_us: Option<u64>,
    /// The authority, as its certificate names it.
    pub authority: String,
    /// Its number of the stamp, in hex.
    pub serial: String,
    /// The policy that it was made under.
    pub policy: String,
}

/// Checks an answer for what has the SHA-256 `hash`.
pub fn check(answer: &Answer, hash: [u8; 32], roots: &[u8]) -> Result<Stamp, CheckError> {
    matches_hash(answer, hash)?;
    let (der, certificate) = signer(answer)?;
    let attributes = answer
        .signer
        .signed_attrs
        .as_ref()
        .ok_or(CheckError::Part("what is signed"))?;
    signed_content(answer, attributes)?;
    meant(attributes, der)?;
    let der = CertificateDer::from(der);
    let entity =
        EndEntityCert::try_from(&der).map_err(|_| CheckError::Part("the signer's certificate"))?;
    signature(answer, attributes, &entity)?;
    usage(&certificate)?;
    chain(answer, &entity, roots)?;
    Ok(Stamp {
        time: answer.time,
        accuracy_us: answer.accuracy_us,
        authority: certificate.tbs_certificate.subject.to_string(),
        serial: answer.serial.clone(),
        policy: answer.policy.clone(),
    })
}

/// Whether the answer is for this hash.
pub fn matches_hash(answer: &Answer, hash: [u8; 32]) -> Result<(), CheckError> {
    if answer.algorithm == SHA_256 && answer.imprint == hash {
        Ok(())
    } else {
        Err(CheckError::OtherHash)
    }
}

/// The signer's certificate.
fn signer(answer: &Answer) -> Result<(&[u8], Certificate), CheckError> {
    for der in &answer.certificates {
        let Ok(certificate) = Certificate::from_der(der) else {
            continue;
        };
        let body = &certificate.tbs_certificate;
        let is_it = match &answer.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(of) => {
                of.issuer == body.issuer && of.serial_number == body.serial_number
            }
            SignerIdentifier::SubjectKeyIdentifier(of) => extension(&certificate, SUBJECT_KEY)
                .and_then(|(_, value)| SubjectKeyIdentifier::from_der(value).ok())
                .is_some_and(|key| key == *of),
        };
        if is_it {
            return Ok((der, certificate));
        }
    }
    Err(CheckError::NoCertificate)
}

/// Whether an extension is critical, and its value.
fn extension(certificate: &Certificate, oid: ObjectIdentifier) -> Option<(bool, &[u8])> {
    let extensions = certificate.tbs_certificate.extensions.as_ref()?;
    let found = extensions.iter().find(|found| found.extn_id == oid)?;
    Some((found.critical, found.extn_value.as_bytes()))
}

/// The only value of the only attribute of a kind.
fn attribute(attributes: &Attributes, oid: ObjectIdentifier) -> Option<&Any> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    match (found.next(), found.next()) {
        (Some(attribute), None) if attribute.values.len() == 1 => attribute.values.get(0),
        _ => None,
    }
}

/// Whether what is signed is the stamp.
fn signed_content(answer: &Answer, attributes: &Attributes) -> Result<(), CheckError> {
    let kind: ObjectIdentifier = attribute(attributes, CONTENT_TYPE)
        .and_then(|value| value.decode_as().ok())
        .ok_or(CheckError::Part("the kind of what is signed"))?;
    let digest: OctetString = attribute(attributes, MESSAGE_DIGEST)
        .and_then(|value| value.decode_as().ok())
        .ok_or(CheckError::Part("the hash of what is signed"))?;
    let computed = digest_of(answer.signer.digest_alg.oid, &answer.content)?;
    if kind == TST_INFO && digest.as_bytes() == computed {
        Ok(())
    } else {
        Err(CheckError::OtherContent)
    }
}

fn digest_of(algorithm: ObjectIdentifier, bytes: &[u8]) -> Result<Vec<u8>, CheckError> {
    Ok(match algorithm {
        SHA_256 => Sha256::digest(bytes).to_vec(),
        SHA_384 => Sha384::digest(bytes).to_vec(),
        SHA_512 => Sha512::digest(bytes).to_vec(),
        other => return Err(CheckError::Algorithm(other.to_string())),
    })
}

/// `SigningCertificate`, both versions; what follows the identifiers says nothing that is needed.
#[derive(Sequence)]
struct SigningCertificate {
    ids: Vec<Any>,
    #[asn1(optional = "true")]
    policies: Option<Vec<Any>>,
}

#[derive(Sequence)]
struct CertificateId {
    hash: OctetString,
    #[asn1(optional = "true")]
    issuer: Option<Any>,
}

#[derive(Sequence)]
struct CertificateIdV2 {
    #[asn1(optional = "true")]
    algorithm: Option<AlgorithmIdentifierOwned>,
    hash: OctetString,
    #[asn1(optional = "true")]
    issuer: Option<Any>,
}

/// Whether the signer meant this certificate: else a key could be passed off with another one.
fn meant(attributes: &Attributes, certificate: &[u8]) -> Result<(), CheckError> {
    let bad = CheckError::Part("which certificate the signer meant");
    let ids = |value: &Any| -> Option<Any> {
        let read: SigningCertificate = value.decode_as().ok()?;
        read.ids.into_iter().next()
    };
    let (meant, computed) = if let Some(value) = attribute(attributes, SIGNING_CERTIFICATE_V2) {
        let id = ids(value).ok_or_else(|| bad.clone())?;
        let id: CertificateIdV2 = id.decode_as().map_err(|_| bad)?;
        let algorithm = id.algorithm.map_or(SHA_256, |algorithm| algorithm.oid);
        (id.hash, digest_of(algorithm, certificate)?)
    } else {
        // The first version has SHA-1 only; it names a certificate that the chain vouches for.
        let value = attribute(attributes, SIGNING_CERTIFICATE).ok_or_else(|| bad.clone())?;
        let id = ids(value).ok_or_else(|| bad.clone())?;
        let id: CertificateId = id.decode_as().map_err(|_| bad)?;
        (id.hash, Sha1::digest(certificate).to_vec())
    };
    if meant.as_bytes() == computed {
        Ok(())
    } else {
        Err(CheckError::OtherCertificate)
    }
}

/// Whether the signature is right: over the attributes as a set (RFC 5652, 5.4).
fn signature(
    answer: &Answer,
    attributes: &Attributes,
    entity: &EndEntityCert<'_>,
) -> Result<(), CheckError> {
    let signed = attributes
        .to_der()
        .map_err(|_| CheckError::Part("what is signed"))?;
    let signature = answer.signer.signature.as_bytes();
    let oid = answer.signer.signature_algorithm.oid;
    let mut known = false;
    for algorithm in named(oid, answer.signer.digest_alg.oid) {
        match entity.verify_signature(*algorithm, &signed, signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::InvalidSignatureForPublicKey) => known = true,
            Err(_) => {}
        }
    }
    if known {
        Err(CheckError::Signature)
    } else {
        Err(CheckError::Algorithm(oid.to_string()))
    }
}

/// What a signature's algorithm may be, by its name; which of them the key decides. Plain RSA is
/// named without its hash (RFC 3370, 3.2), which is then that of the content.
fn named(
    oid: ObjectIdentifier,
    digest: ObjectIdentifier,
) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    match (oid, digest) {
        (RSA_SHA_256, _) | (RSA, SHA_256) => SIGNATURES.get(0..1),
        (RSA_SHA_384, _) | (RSA, SHA_384) => SIGNATURES.get(1..2),
        (RSA_SHA_512, _) | (RSA, SHA_512) => SIGNATURES.get(2..3),
        (ECDSA_SHA_256, _) => SIGNATURES.get(3..5),
        (ECDSA_SHA_384, _) => SIGNATURES.get(5..7),
        (ED_25519, _) => SIGNATURES.get(7..8),
        _ => None,
    }
    .unwrap_or_default()
}

/// One purpose only, and critical (RFC 3161, 2.3).
fn usage(certificate: &Certificate) -> Result<(), CheckError> {
    let (critical, value) = extension(certificate, EXTENDED_KEY_USAGE).ok_or(CheckError::Usage)?;
    let usage = ExtendedKeyUsage::from_der(value).map_err(|_| CheckError::Usage)?;
    if critical && usage.0 == [TIME_STAMPING] {
        Ok(())
    } else {
        Err(CheckError::Usage)
    }
}

fn chain(answer: &Answer, entity: &EndEntityCert<'_>, roots: &[u8]) -> Result<(), CheckError> {
    let roots: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(roots)
        .collect::<Result<_, _>>()
        .map_err(|error| CheckError::Roots(error.to_string()))?;
    let anchors: Vec<TrustAnchor<'_>> = roots
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<_, _>>()
        .map_err(|error| CheckError::Roots(error.to_string()))?;
    if anchors.is_empty() {
        return Err(CheckError::Roots("there is none in the file".to_owned()));
    }
    let others: Vec<CertificateDer<'_>> = answer
        .certificates
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let seconds = answer.time.as_micros().div_euclid(1_000_000);
    let seconds = u64::try_from(seconds).map_err(|_| CheckError::Part("the stamp's time"))?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    entity
        .verify_for_usage(
            &SIGNATURES,
            &anchors,
            &others,
            at,
            // An authority above may leave its purpose open; the signer's own was checked before.
            KeyUsage::required_if_present(TIME_STAMPING_BYTES),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| CheckError::Chain(error.to_string()))
}
