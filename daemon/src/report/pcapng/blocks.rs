//! The blocks of a pcapng file: one little-endian section, times in nanoseconds.
//!
//! In: packets and texts. Out: bytes on a writer. Sources: draft-ietf-opsawg-pcapng;
//! `linux/netfilter/nfnetlink_log.h` and the tcpdump.org description of `LINKTYPE_NFLOG`.

use std::io::{self, Write};

use crate::{
    input::{LinkType, Vantage},
    time::Timestamp,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
/// Bits of `epb_flags`.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Longest value of an option or attribute, in bytes; a longer one is cut.
const VALUE_MAX: usize = 0xfff0;

/// Number of NFLOG in the tcpdump.org registry.
pub const NFLOG: u16 = 239;
/// Number of raw IP.
pub const RAW: u16 = 101;

const NFULA_PACKET_HDR: u16 = 1;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_UID: u16 = 11;
/// Netfilter hooks (`enum nf_inet_hooks`).
const LOCAL_IN: u8 = 1;
const LOCAL_OUT: u8 = 3;
/// Address families.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The number of a link type in the tcpdump.org registry.
pub const fn link_number(link: LinkType) -> u16 {
    match link {
        LinkType::Ethernet => 1,
        // The UID that PCAPdroid wrote beside a packet is no part of its bytes.
        LinkType::RawIp | LinkType::Pcapdroid => RAW,
        LinkType::Null => 0,
        LinkType::Loop => 108,
        LinkType::Sll => 113,
        LinkType::Sll2 => 276,
        LinkType::Ppp => 9,
        LinkType::Nflog => NFLOG,
        LinkType::Pktap => 258,
        LinkType::Other(number) => number,
    }
}

/// A packet as it goes into the file.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Its link type's number.
    pub link: u16,
    /// When it passed.
    pub at: Timestamp,
    /// Where it was seen.
    pub vantage: Vantage,
    /// Its length before it was cut, counted like `data`.
    pub original_len: u32,
    /// What is there of it.
    pub data: &'a [u8],
    /// What is known of it, a line each.
    pub comments: &'a [String],
}

/// Writes a file.
pub struct Blocks<'a> {
    to: &'a mut dyn Write,
    links: Vec<u16>,
    block: Vec<u8>,
}

impl<'a> Blocks<'a> {
    /// Begins a file.
    pub fn begin(to: &'a mut dyn Write, writer: &str, comment: &str) -> io::Result<Self> {
        let mut blocks = Self {
            to,
            links: Vec::new(),
            block: Vec::new(),
        };
        // Version 1.0; the section's length is not told.
        let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend([0xff; 8]);
        attribute(&mut body, OPT_COMMENT, comment.as_bytes(), false);
        attribute(&mut body, SHB_USERAPPL, writer.as_bytes(), false);
        body.extend([0; 4]);
        blocks.put(SECTION_HEADER, &body)?;
        Ok(blocks)
    }

    /// Writes a packet, on the interface of its link type.
    pub fn packet(&mut self, packet: &Block<'_>) -> io::Result<()> {
        let number = self.interface(packet.link)?;
        let nanos = u64::try_from(packet.at.as_nanos()).unwrap_or(0);
        let captured = word(packet.data.len());
        let mut body = std::mem::take(&mut self.block);
        body.clear();
        for value in [
            number,
            word(nanos >> 32),
            word(nanos & 0xffff_ffff),
            captured,
            packet.original_len.max(captured),
        ] {
            body.extend(value.to_le_bytes());
        }
        body.extend(packet.data);
        pad(&mut body);
        for comment in packet.comments {
            attribute(&mut body, OPT_COMMENT, comment.as_bytes(), false);
        }
        let flags = match packet.vantage {
            Vantage::Output => OUTBOUND,
            Vantage::Input => INBOUND,
            Vantage::Both => 0,
        };
        attribute(&mut body, EPB_FLAGS, &flags.to_le_bytes(), false);
        body.extend([0; 4]);
        self.put(ENHANCED_PACKET, &body)?;
        self.block = body;
        Ok(())
    }

    /// Hands on what is held back.
    pub fn finish(self) -> io::Result<()> {
        self.to.flush()
    }

    /// The number of the interface of a link type; described where it is the first of its kind.
    fn interface(&mut self, link: u16) -> io::Result<u32> {
        if let Some(number) = self.links.iter().position(|known| *known == link) {
            return Ok(word(number));
        }
        // Reserved; no limit of captured bytes.
        let mut body = link.to_le_bytes().to_vec();
        body.extend([0; 6]);
        attribute(&mut body, IF_TSRESOL, &[9], false);
        body.extend([0; 4]);
        self.put(INTERFACE_DESCRIPTION, &body)?;
        self.links.push(link);
        Ok(word(self.links.len() - 1))
    }

    fn put(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = word(body.len() + 12).to_le_bytes();
        self.to.write_all(&kind.to_le_bytes())?;
        self.to.write_all(&length)?;
        self.to.write_all(body)?;
        self.to.write_all(&length)
    }
}

/// What the kernel told of a packet, as netlink attributes around it; its length without the
/// packet's own bytes comes back.
pub fn nflog(
    out: &mut Vec<u8>,
    vantage: Vantage,
    uid: Option<u32>,
    interface: Option<u32>,
    ip: &[u8],
) -> u32 {
    let is_v6 = ip.first().is_some_and(|first| first >> 4 == 6);
    let (family, [p0, p1]) = if is_v6 {
        (AF_INET6, [0x86, 0xdd])
    } else {
        (AF_INET, [0x08, 0x00])
    };
    let (hook, device) = match vantage {
        Vantage::Input => (LOCAL_IN, NFULA_IFINDEX_INDEV),
        Vantage::Output | Vantage::Both => (LOCAL_OUT, NFULA_IFINDEX_OUTDEV),
    };
    out.clear();
    out.extend([family, 0, 0, 0]);
    attribute(out, NFULA_PACKET_HDR, &[p0, p1, hook, 0], true);
    if let Some(index) = interface {
        attribute(out, device, &index.to_be_bytes(), true);
    }
    if let Some(uid) = uid {
        attribute(out, NFULA_UID, &uid.to_be_bytes(), true);
    }
    let before = out.len() + 4;
    attribute(out, NFULA_PAYLOAD, ip, true);
    // The last attribute's padding belongs to no packet.
    out.truncate(before + ip.len().min(VALUE_MAX));
    word(before)
}

/// An option of pcapng (`kind`, then length) or an attribute of netlink (length with its header,
/// then `kind`), padded to four bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8], netlink: bool) {
    let value = value.get(..VALUE_MAX).unwrap_or(value);
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let words = if netlink {
        [length.saturating_add(4), kind]
    } else {
        [kind, length]
    };
    for word in words {
        out.extend(word.to_le_bytes());
    }
    out.extend(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn word<T: TryInto<u32>>(value: T) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}
