//! The names that a certificate is for: its subjectAltName, or where it has none the common name of
//! its subject (RFC 5280 sections 4.2.1.6 and 4.1.2.6).
//!
//! In: the bytes of a certificate. Out: names as text. Only the way there is read: lengths and tags.
//! Nothing is checked, and nothing that is said here is believed: a server may send any certificate.

use std::{net::IpAddr, sync::Arc};

use super::{bytes::Reader, text};

/// Names kept of a certificate; those beyond are left out.
pub const CERTIFICATE_NAMES_MAX: usize = 64;
/// Elements looked at in one sequence.
const ELEMENTS_MAX: usize = 1_024;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// `extensions`, [3] of a `TBSCertificate`.
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` and `iPAddress` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The names of a certificate; none where it cannot be read.
pub fn names(der: &[u8]) -> Vec<Arc<str>> {
    read(der).unwrap_or_default()
}

fn read(der: &[u8]) -> Option<Vec<Arc<str>>> {
    let certificate = inside(element(&mut Reader::new(der))?, SEQUENCE)?;
    let tbs = inside(element(&mut Reader::new(certificate))?, SEQUENCE)?;
    let mut alternative = Vec::new();
    let mut subject = None;
    // Serial number, algorithm, issuer, validity, subject: the fourth sequence is the subject.
    let mut sequences = 0;
    for (tag, value) in elements(tbs) {
        match tag {
            SEQUENCE => {
                sequences += 1;
                if sequences == 4 {
                    subject = Some(value);
                }
            }
            EXTENSIONS => alternative = subject_alt_names(value),
            _ => {}
        }
    }
    if alternative.is_empty() {
        alternative.extend(subject.and_then(common_name));
    }
    Some(alternative)
}

fn subject_alt_names(value: &[u8]) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    let list = element(&mut Reader::new(value)).and_then(|list| inside(list, SEQUENCE));
    for (tag, extension) in elements(list.unwrap_or_default()) {
        let mut parts = elements(extension);
        if tag != SEQUENCE || parts.next() != Some((OBJECT, SUBJECT_ALT_NAME)) {
            continue;
        }
        let Some((_, octets)) = parts.find(|(tag, _)| *tag == OCTETS) else {
            continue;
        };
        let general = element(&mut Reader::new(octets)).and_then(|list| inside(list, SEQUENCE));
        let texts = elements(general.unwrap_or_default()).filter_map(general_name);
        names.extend(texts.take(CERTIFICATE_NAMES_MAX - names.len()));
    }
    names
}

fn general_name((tag, value): (u8, &[u8])) -> Option<Arc<str>> {
    match tag {
        DNS_NAME => text::host_name(value),
        IP_ADDRESS => {
            let addr = <[u8; 4]>::try_from(value)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from));
            addr.ok().map(|addr| addr.to_string().into())
        }
        _ => None,
    }
}

fn common_name(subject: &[u8]) -> Option<Arc<str>> {
    let sets = elements(subject).filter(|(tag, _)| *tag == SET);
    let attributes = sets.flat_map(|(_, set)| elements(set));
    let values = attributes.filter_map(|(tag, attribute)| {
        let mut parts = elements(attribute);
        (tag == SEQUENCE && parts.next() == Some((OBJECT, COMMON_NAME)))
            .then(|| parts.next())
            .flatten()
    });
    values.last().and_then(|(_, value)| text::host_name(value))
}

fn inside((tag, value): (u8, &[u8]), wanted: u8) -> Option<&[u8]> {
    (tag == wanted).then_some(value)
}

/// The elements of a constructed value, up to the first that cannot be read.
fn elements(value: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = Reader::new(value);
    std::iter::from_fn(move || element(&mut reader)).take(ELEMENTS_MAX)
}

/// An element with a tag of one byte and a definite length of up to four.
fn element<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = reader.u8().ok()?;
    let first = reader.u8().ok()?;
    let len = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => reader
            .take(usize::from(first & 0x0f))
            .ok()?
            .iter()
            .try_fold(0_usize, |len, &byte| {
                len.checked_mul(256)?.checked_add(usize::from(byte))
            })?,
        _ => return None,
    };
    Some((tag, reader.take(len).ok()?))
}
