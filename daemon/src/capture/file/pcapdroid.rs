//! What `PCAPdroid` writes beside the packets of an Android handset that is not rooted: the UID of
//! each packet's app, and what the app is called.
//!
//! In: packets and custom blocks of a capture. Out: the packet without `PCAPdroid`'s wrapping and
//! with its UID, and names by UID. Two forms are read: the trailer of its pcap files, and the UID
//! mappings and comments of its pcapng files. Nothing that an app can put into a packet is taken for
//! either: the trailer stands behind the end of the IP packet, and a comment counts only for a UID
//! that a mapping block named before.
//! Source: `PCAPdroid`'s published source and its Wireshark script.

use std::collections::BTreeMap;

use super::bytes::{Fields, Order};
use crate::{
    input::{AppName, LinkType, Packet},
    time::Timestamp,
};

/// Begins the trailer, big-endian.
const TRAILER_MAGIC: u32 = 0x0107_2021;
/// Magic, UID, name of 20 bytes, checksum.
const TRAILER_LEN: usize = 32;
/// Length of the name in the trailer.
const TRAILER_NAME_LEN: usize = 20;
/// The made-up Ethernet header: two addresses of zeros, an `EtherType`.
const ETHERNET_LEN: usize = 14;
/// `PCAPdroid`'s private enterprise number, in custom blocks.
const ENTERPRISE: u32 = 62_652;
/// Version of the custom blocks that is read.
const BLOCK_VERSION: u16 = 1;
/// Type of the custom block that maps a UID to names.
const UID_MAPPING: u8 = 1;
/// Longest mapping block: its header and two names of 255 bytes.
pub(super) const MAPPING_LEN_MAX: u32 = 12 + 16 + 2 * 255 + 2;
/// Begins the comment of a packet, before the UID.
const COMMENT_PREFIX: &[u8] = b"u-";
/// UIDs whose names are kept; a phone has some hundreds.
const NAMES_MAX: usize = 4096;

/// The names of a file's UIDs.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    /// Notes a name; gives the event that says so if it is new.
    fn note(&mut self, uid: u32, name: String, at: Timestamp) -> Option<AppName> {
        if self.0.get(&uid) == Some(&name)
            || (self.0.len() >= NAMES_MAX && !self.0.contains_key(&uid))
        {
            return None;
        }
        self.0.insert(uid, name.clone());
        Some(AppName { at, uid, name })
    }

    /// Another section begins.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A custom block's body; the name that it gives, if it is a mapping that is new.
    pub(super) fn mapping(&mut self, body: &[u8], order: Order, at: Timestamp) -> Option<AppName> {
        let mut fields = Fields::new(body, order);
        if fields.u32()? != ENTERPRISE || fields.u16()? != BLOCK_VERSION {
            return None;
        }
        if fields.bytes(2)?.first() != Some(&UID_MAPPING) {
            return None;
        }
        let uid = known(fields.u32()?)?;
        let [package_len, app_len] = *fields.bytes(2)?.first_chunk()?;
        let package = fields.bytes(usize::from(package_len))?;
        let app = fields.bytes(usize::from(app_len))?;
        let name = text(if package.is_empty() { app } else { package });
        self.note(uid, name, at)
    }

    /// The UID in a packet's comment, if a mapping named it.
    pub(super) fn commented(&self, comment: &[u8]) -> Option<u32> {
        let digits = comment.strip_prefix(COMMENT_PREFIX)?;
        let uid = known(std::str::from_utf8(digits).ok()?.parse().ok()?)?;
        self.0.contains_key(&uid).then_some(uid)
    }

    /// Takes the wrapping off a packet with a trailer; none for any other.
    pub(super) fn unwrap<'a>(
        &mut self,
        packet: &Packet<'a>,
    ) -> Option<(Packet<'a>, Option<AppName>)> {
        let trailer = trailer(packet)?;
        let taken = packet.data.len() - trailer.ip.len();
        let unwrapped = Packet {
            link: LinkType::Pcapdroid,
            uid: trailer.uid,
            original_len: packet
                .original_len
                .saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX)),
            data: trailer.ip,
            ..*packet
        };
        let name = trailer
            .uid
            .filter(|_| !trailer.name.is_empty())
            .and_then(|uid| self.note(uid, text(trailer.name), packet.at));
        Some((unwrapped, name))
    }
}

/// Whether a frame begins as all of `PCAPdroid`'s do: between addresses of zeros. Few others do.
#[inline]
pub(super) fn may_be_wrapped(packet: &Packet<'_>) -> bool {
    matches!(packet.link, LinkType::Ethernet) && packet.data.first_chunk() == Some(&[0; 12])
}

struct Trailer<'a> {
    ip: &'a [u8],
    uid: Option<u32>,
    name: &'a [u8],
}

/// The trailer of a frame that is laid out exactly as `PCAPdroid` does.
fn trailer<'a>(packet: &Packet<'a>) -> Option<Trailer<'a>> {
    let data = packet.data;
    if !may_be_wrapped(packet) || usize::try_from(packet.original_len) != Ok(data.len()) {
        return None;
    }
    let (frame, trailer) = data.split_at_checked(data.len().checked_sub(TRAILER_LEN)?)?;
    let mut fields = Fields::new(trailer, Order::Big);
    if fields.u32()? != TRAILER_MAGIC {
        return None;
    }
    let uid = known(fields.u32()?);
    let name = fields.bytes(TRAILER_NAME_LEN)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let padded = frame.get(ETHERNET_LEN..)?;
    let ip = padded.get(..ip_len(frame, padded)?)?;
    // Padded to a multiple of four, and the trailer follows: an app's bytes end before.
    let whole = (ETHERNET_LEN + ip.len()).next_multiple_of(4);
    (whole == frame.len()).then_some(Trailer { ip, uid, name })
}

/// Length of the IP packet by its own header, which must be of the version that the frame says.
fn ip_len(frame: &[u8], ip: &[u8]) -> Option<usize> {
    let mut ethertype = Fields::new(frame.get(12..)?, Order::Big);
    let (at, more) = match (ethertype.u16()?, ip.first()? >> 4) {
        (0x0800, 4) => (2, 0),
        (0x86dd, 6) => (4, 40),
        _ => return None,
    };
    let mut length = Fields::new(ip.get(at..)?, Order::Big);
    Some(usize::from(length.u16()?) + more)
}

/// A UID that was found: `PCAPdroid` writes −1 where it found none.
fn known(uid: u32) -> Option<u32> {
    (uid <= i32::MAX.cast_unsigned()).then_some(uid)
}

/// A name as text; one that was cut within a letter loses that letter.
fn text(name: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(name);
    lossy.trim_end_matches('\u{fffd}').trim().to_owned()
}
