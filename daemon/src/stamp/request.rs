//! The request to a time stamping authority.
//!
//! In: a hash. Out: `TimeStampReq` (RFC 3161, 2.4.1) in DER, which asks for the authority's
//! certificate as well.

use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use der::{Encode, Sequence, asn1::OctetString};

use super::{Imprint, SHA_256};

/// The request could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be written as DER: {0}; this is an error of sakshi, report it")]
pub struct RequestError(#[from] der::Error);

#[derive(Sequence)]
struct Request {
    version: u8,
    imprint: Imprint,
    wants_certificate: bool,
}

/// Asks for a stamp of what has the SHA-256 `hash`.
pub fn request(hash: [u8; 32]) -> Result<Vec<u8>, RequestError> {
    let request = Request {
        version: 1,
        imprint: Imprint {
            algorithm: AlgorithmIdentifierOwned {
                oid: SHA_256,
                parameters: Some(der::Any::null()),
            },
            hash: OctetString::new(hash.as_slice())?,
        },
        wants_certificate: true,
    };
    Ok(request.to_der()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_der_with_the_hash_and_wants_the_certificate() {
        let request = request([7; 32]).unwrap();
        assert_eq!(request.len(), 59);
        assert!(request.starts_with(&[0x30, 57, 2, 1, 1, 0x30, 0x31]));
        assert!(request.ends_with(&[7, 7, 1, 1, 0xff]));
    }
}
