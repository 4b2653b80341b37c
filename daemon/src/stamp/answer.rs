//! The answer of a time stamping authority, taken apart.
//!
//! In: `TimeStampResp` (RFC 3161, 2.4.2) in DER; from anybody, so nothing in it is believed here.
//! Out: its parts. Whether they hold is `check`'s to say.

use cms::{
    content_info::ContentInfo,
    signed_data::{SignedData, SignerInfo},
};
use der::{
    Any, Decode, Encode, Sequence, Tag, Tagged,
    asn1::{BitString, Int, ObjectIdentifier, OctetString},
};

use super::Imprint;
use crate::time::Timestamp;

/// Longest answer that is read, in bytes; a longer one is refused.
pub const ANSWER_MAX: usize = 256 * 1024;
/// `id-signedData` (RFC 5652, 5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `id-ct-TSTInfo` (RFC 3161, 2.4.2).
pub(super) const TST_INFO: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// Why an answer cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is longer than [`ANSWER_MAX`].
    #[error("it has more than {ANSWER_MAX} bytes: this is no answer of a time stamping authority")]
    TooLong,
    /// It is not what RFC 3161 describes.
    #[error(
        "{0} cannot be read: it is cut off, changed, or no answer of RFC 3161 in DER; fetch it again"
    )]
    Malformed(&'static str),
    /// The authority refused.
    #[error("the authority refused (status {status}){said}; ask it why, and ask again")]
    Refused {
        /// `PKIStatus`.
        status: u64,
        /// What it said.
        said: String,
    },
}

#[derive(Debug, Sequence)]
struct Response {
    status: StatusInfo,
    #[asn1(optional = "true")]
    token: Option<ContentInfo>,
}

#[derive(Debug, Sequence)]
struct StatusInfo {
    status: u64,
    #[asn1(optional = "true")]
    said: Option<Vec<String>>,
    #[asn1(optional = "true")]
    failure: Option<BitString>,
}

/// `TSTInfo`. The time is taken apart by hand: it may have fractions of a second (RFC 3161, 2.4.2),
/// which the library's type refuses.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct Info {
    version: u8,
    policy: ObjectIdentifier,
    imprint: Imprint,
    serial: Int,
    time: Any,
    #[asn1(optional = "true")]
    accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    ordering: bool,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    authority: Option<Any>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    extensions: Option<Vec<Any>>,
}

/// `Accuracy`: by how much the time may be off, either way.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct Accuracy {
    #[asn1(optional = "true")]
    seconds: Option<u64>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    micros: Option<u16>,
}

/// An answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was signed, byte for byte.
    pub(super) content: Vec<u8>,
    /// Algorithm of the hash that was stamped.
    pub(super) algorithm: ObjectIdentifier,
    /// That hash.
    pub(super) imprint: Vec<u8>,
    /// The moment.
    pub time: Timestamp,
    /// By how much it may be off, in microseconds; none: not said.
    pub accuracy_us: Option<u64>,
    /// The authority's number of the stamp, in hex.
    pub serial: String,
    /// The policy that it was made under.
    pub policy: String,
    pub(super) signer: SignerInfo,
    /// The certificates that came with it, in DER.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Answer {
    /// Takes an answer apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        if bytes.len() > ANSWER_MAX {
            return Err(AnswerError::TooLong);
        }
        let bad = |what| move |_: der::Error| AnswerError::Malformed(what);
        let response = Response::from_der(bytes).map_err(bad("the answer"))?;
        // 0: granted; 1: granted, with changes that are in the token.
        if response.status.status > 1 {
            let said = response.status.said.unwrap_or_default().join("; ");
            return Err(AnswerError::Refused {
                status: response.status.status,
                said: if said.is_empty() {
                    said
                } else {
                    format!(": {}", said.escape_debug())
                },
            });
        }
        let token = response.token.ok_or(AnswerError::Malformed("the token"))?;
        if token.content_type != SIGNED_DATA {
            return Err(AnswerError::Malformed("the token"));
        }
        let signed: SignedData = token.content.decode_as().map_err(bad("the token"))?;
        Self::of(&signed)
    }

    fn of(signed: &SignedData) -> Result<Self, AnswerError> {
        let bad = |what| move |_: der::Error| AnswerError::Malformed(what);
        let inner = &signed.encap_content_info;
        let content = inner
            .econtent
            .as_ref()
            .filter(|_| inner.econtent_type == TST_INFO)
            .ok_or(AnswerError::Malformed("the stamp"))?;
        let content: OctetString = content.decode_as().map_err(bad("the stamp"))?;
        let info = Info::from_der(content.as_bytes()).map_err(bad("the stamp"))?;
        let time = moment(&info.time).ok_or(AnswerError::Malformed("the stamp's time"))?;
        // Exactly one signer (RFC 3161, 2.4.2).
        let [only] = signed.signer_infos.0.as_slice() else {
            return Err(AnswerError::Malformed("the signer"));
        };
        let mut certificates = Vec::new();
        for certificate in signed.certificates.iter().flat_map(|set| set.0.iter()) {
            certificates.push(certificate.to_der().map_err(bad("a certificate"))?);
        }
        Ok(Self {
            content: content.as_bytes().to_vec(),
            algorithm: info.imprint.algorithm.oid,
            imprint: info.imprint.hash.as_bytes().to_vec(),
            time,
            accuracy_us: info.accuracy.map(|accuracy| {
                let part = |value: Option<u16>| u64::from(value.unwrap_or(0));
                accuracy
                    .seconds
                    .unwrap_or(0)
                    .saturating_mul(1_000_000)
                    .saturating_add(part(accuracy.millis) * 1_000 + part(accuracy.micros))
            }),
            serial: hex(info.serial.as_bytes()),
            policy: info.policy.to_string(),
            signer: only.clone(),
            certificates,
        })
    }
}

/// `GeneralizedTime`: `YYYYMMDDhhmmss`, perhaps a fraction, `Z`.
fn moment(value: &Any) -> Option<Timestamp> {
    if value.tag() != Tag::GeneralizedTime {
        return None;
    }
    let text = std::str::from_utf8(value.value()).ok()?;
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to);
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Timestamp::parse(&format!(
        "{}-{}-{}T{}:{}:{}.{fraction}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    ))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes all that is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_have_fractions() {
        let at = |text: &str| {
            let value = Any::new(Tag::GeneralizedTime, text.as_bytes()).unwrap();
            moment(&value).map(|moment| moment.to_string())
        };
        assert_eq!(
            at("20261128120000Z").as_deref(),
            Some("2026-11-28T12:00:00.000000Z")
        );
        assert_eq!(
            at("20261128120000.25Z").as_deref(),
            Some("2026-11-28T12:00:00.250000Z")
        );
        for wrong in [
            "20261128120000",
            "2026112812000Z",
            "20261328120000Z",
            "é",
            "",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
