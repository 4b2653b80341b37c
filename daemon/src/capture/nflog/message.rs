//! Reads the datagrams of an NFLOG group.
//!
//! In: one datagram of a netlink socket, with one message or many. Out: an iterator over what they
//! say, borrowing from the datagram. Layout: netlink(7) and the kernel's
//! `include/uapi/linux/netfilter/nfnetlink_log.h`. Nothing is allocated and nothing panics.

use crate::time::Timestamp;

/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Length of `struct nfgenmsg`.
const GENERIC_LEN: usize = 4;
/// Length of `struct nlattr`.
const ATTRIBUTE_LEN: usize = 4;
/// The two flag bits (nested, byte order) above an attribute's number.
const ATTRIBUTE_MASK: u16 = 0x3fff;

/// A message that asks for nothing.
pub(super) const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const MSG_PACKET: u16 = 4 << 8;

const NFULA_PACKET_HDR: u16 = 1;
const NFULA_MARK: u16 = 2;
const NFULA_TIMESTAMP: u16 = 3;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_UID: u16 = 11;
const NFULA_SEQ: u16 = 12;
const NFULA_GID: u16 = 14;

/// A netfilter hook that our rules sit at (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `NF_INET_LOCAL_IN`.
    Input,
    /// `NF_INET_LOCAL_OUT`.
    Output,
    /// Any other.
    Other(u8),
}

/// A packet that a rule logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NflogPacket<'a> {
    /// The group that it was logged to (`nfgenmsg.res_id`).
    pub group: u16,
    /// The hook at which it passed; none when the header attribute is missing.
    pub hook: Option<Hook>,
    /// UID of the socket's creator.
    pub uid: Option<u32>,
    /// GID of the socket's creator.
    pub gid: Option<u32>,
    /// Sequence number within the group, from 0, when the group was asked for it.
    pub seq: Option<u32>,
    /// The packet's mark.
    pub mark: Option<u32>,
    /// Index of the interface that it came in by.
    pub indev: Option<u32>,
    /// Index of the interface that it goes out by.
    pub outdev: Option<u32>,
    /// When the kernel saw it; not given at OUTPUT.
    pub timestamp: Option<Timestamp>,
    /// The bytes from the IP header on, as far as copied.
    pub payload: &'a [u8],
}

/// What one netlink message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A packet.
    Packet(NflogPacket<'a>),
    /// The answer to a request: 0 for yes, else a negated errno.
    Answer {
        /// Sequence number of the request.
        request: u32,
        /// 0, or a negated errno.
        code: i32,
    },
    /// The kernel says that messages were lost.
    Overrun,
    /// A message of a kind that we don't read.
    Other(u16),
}

/// Why a message could not be read. The ones after it in the datagram are lost with it when its
/// length cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than a header.
    #[error("netlink message cut off: {had} bytes left, {HEADER_LEN} needed")]
    Header {
        /// Bytes left.
        had: usize,
    },
    /// A length that the datagram cannot hold.
    #[error("netlink message says {says} bytes where {had} are left")]
    Length {
        /// The length field.
        says: u32,
        /// Bytes left.
        had: usize,
    },
    /// A message too short for its kind.
    #[error("netlink message of type {kind:#06x} is too short: {had} bytes after its header")]
    Short {
        /// Its type.
        kind: u16,
        /// Bytes after its header.
        had: usize,
    },
    /// An attribute runs past its message, or is shorter than its value.
    #[error("netlink attribute {kind} says {says} bytes where {had} are left")]
    Attribute {
        /// Its number.
        kind: u16,
        /// Its length field.
        says: u16,
        /// Bytes left.
        had: usize,
    },
}

/// Iterates over the messages of one datagram; ends after the first whose length cannot be right.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// Reads one datagram.
pub const fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (kind, request, body) = match self.split() {
                Ok(parts) => parts,
                Err(malformed) => {
                    self.rest = &[];
                    return Some(Err(malformed));
                }
            };
            match kind {
                NLMSG_NOOP | NLMSG_DONE => {}
                NLMSG_ERROR => {
                    return Some(
                        native_u32(body, 0)
                            .map(|code| Message::Answer {
                                request,
                                code: code.cast_signed(),
                            })
                            .ok_or(Malformed::Short {
                                kind,
                                had: body.len(),
                            }),
                    );
                }
                NLMSG_OVERRUN => return Some(Ok(Message::Overrun)),
                MSG_PACKET => return Some(packet(body).map(Message::Packet)),
                other => return Some(Ok(Message::Other(other))),
            }
        }
    }
}

impl<'a> Messages<'a> {
    /// Type, sequence number and body of the next message; moves on behind it.
    fn split(&mut self) -> Result<(u16, u32, &'a [u8]), Malformed> {
        let had = self.rest.len();
        let (Some(says), Some(kind), Some(request)) = (
            native_u32(self.rest, 0),
            native_u16(self.rest, 4),
            native_u32(self.rest, 8),
        ) else {
            return Err(Malformed::Header { had });
        };
        let body = usize::try_from(says)
            .ok()
            .and_then(|len| self.rest.get(HEADER_LEN..len))
            .ok_or(Malformed::Length { says, had })?;
        self.rest = self
            .rest
            .get(align(HEADER_LEN + body.len())..)
            .unwrap_or_default();
        Ok((kind, request, body))
    }
}

fn packet(body: &[u8]) -> Result<NflogPacket<'_>, Malformed> {
    let group = big_u16(body, 2).ok_or(Malformed::Short {
        kind: MSG_PACKET,
        had: body.len(),
    })?;
    let mut packet = NflogPacket {
        group,
        hook: None,
        uid: None,
        gid: None,
        seq: None,
        mark: None,
        indev: None,
        outdev: None,
        timestamp: None,
        payload: &[],
    };
    let mut rest = body.get(GENERIC_LEN..).unwrap_or_default();
    while !rest.is_empty() {
        let had = rest.len();
        let (Some(says), Some(kind)) = (native_u16(rest, 0), native_u16(rest, 2)) else {
            return Err(Malformed::Attribute {
                kind: 0,
                says: 0,
                had,
            });
        };
        let kind = kind & ATTRIBUTE_MASK;
        let malformed = Malformed::Attribute { kind, says, had };
        let value = rest
            .get(ATTRIBUTE_LEN..usize::from(says))
            .ok_or(malformed)?;
        take(&mut packet, kind, value).ok_or(malformed)?;
        rest = rest.get(align(usize::from(says))..).unwrap_or_default();
    }
    Ok(packet)
}

/// Puts an attribute where it belongs; none when its value is too short.
fn take<'a>(packet: &mut NflogPacket<'a>, kind: u16, value: &'a [u8]) -> Option<()> {
    match kind {
        NFULA_PACKET_HDR => {
            packet.hook = Some(match *value.get(2)? {
                1 => Hook::Input,
                3 => Hook::Output,
                other => Hook::Other(other),
            });
        }
        NFULA_MARK => packet.mark = Some(big_u32(value, 0)?),
        NFULA_TIMESTAMP => packet.timestamp = Some(timestamp(value)?),
        NFULA_IFINDEX_INDEV => packet.indev = Some(big_u32(value, 0)?),
        NFULA_IFINDEX_OUTDEV => packet.outdev = Some(big_u32(value, 0)?),
        NFULA_PAYLOAD => packet.payload = value,
        NFULA_UID => packet.uid = Some(big_u32(value, 0)?),
        NFULA_SEQ => packet.seq = Some(big_u32(value, 0)?),
        NFULA_GID => packet.gid = Some(big_u32(value, 0)?),
        _ => {}
    }
    Some(())
}

/// `struct nfulnl_msg_packet_timestamp`: seconds and microseconds, 64 bits each.
fn timestamp(value: &[u8]) -> Option<Timestamp> {
    let seconds = i64::from_be_bytes(value.get(0..8)?.try_into().ok()?);
    let micros = i64::from_be_bytes(value.get(8..16)?.try_into().ok()?);
    Some(Timestamp::from_micros(
        seconds.saturating_mul(1_000_000).saturating_add(micros),
    ))
}

const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn big_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn big_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(body.len() + 16).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    fn logged(group: u16, seq: u32, uid: Option<u32>, payload: &[u8]) -> Vec<u8> {
        let mut body = vec![2, 0];
        body.extend(group.to_be_bytes());
        body.extend(attribute(NFULA_PACKET_HDR, &[8, 0, 3, 0]));
        body.extend(attribute(NFULA_IFINDEX_OUTDEV, &9_u32.to_be_bytes()));
        body.extend(attribute(NFULA_PAYLOAD, payload));
        if let Some(uid) = uid {
            body.extend(attribute(NFULA_UID, &uid.to_be_bytes()));
            body.extend(attribute(NFULA_GID, &3003_u32.to_be_bytes()));
        }
        body.extend(attribute(NFULA_SEQ, &seq.to_be_bytes()));
        message(MSG_PACKET, &body)
    }

    #[test]
    fn reads_many_messages_of_a_datagram() {
        let mut datagram = logged(101, 0, Some(10_050), b"first");
        datagram.extend(logged(101, 1, None, b"second!"));
        datagram.extend(message(NLMSG_DONE, &[]));
        let read: Vec<_> = messages(&datagram).map(Result::unwrap).collect();
        let first = NflogPacket {
            group: 101,
            hook: Some(Hook::Output),
            uid: Some(10_050),
            gid: Some(3003),
            seq: Some(0),
            mark: None,
            indev: None,
            outdev: Some(9),
            timestamp: None,
            payload: b"first",
        };
        let second = NflogPacket {
            uid: None,
            gid: None,
            seq: Some(1),
            payload: b"second!",
            ..first
        };
        assert_eq!(read, [Message::Packet(first), Message::Packet(second)]);
    }

    #[test]
    fn reads_the_kernel_s_time() {
        let mut body = vec![2, 0, 0, 102];
        let mut time = 1_795_513_311_i64.to_be_bytes().to_vec();
        time.extend(42_i64.to_be_bytes());
        body.extend(attribute(NFULA_TIMESTAMP, &time));
        let datagram = message(MSG_PACKET, &body);
        let Some(Ok(Message::Packet(packet))) = messages(&datagram).next() else {
            panic!("no packet");
        };
        assert_eq!(
            packet.timestamp,
            Some(Timestamp::from_micros(1_795_513_311_000_042))
        );
    }

    #[test]
    fn tells_answers_and_overruns() {
        let mut datagram = message(NLMSG_ERROR, &(-1_i32).to_ne_bytes());
        datagram.extend(message(NLMSG_OVERRUN, &[]));
        datagram.extend(message(0x0501, &[]));
        let read: Vec<_> = messages(&datagram).map(Result::unwrap).collect();
        assert_eq!(
            read,
            [
                Message::Answer {
                    request: 7,
                    code: -1
                },
                Message::Overrun,
                Message::Other(0x0501)
            ]
        );
    }

    #[test]
    fn says_what_is_wrong_with_lengths() {
        let good = logged(100, 0, Some(0), b"x");
        let check = |datagram: &[u8]| messages(datagram).find_map(Result::err).unwrap();
        assert_eq!(check(&good[..7]), Malformed::Header { had: 7 });
        let says = u32::try_from(good.len()).unwrap();
        let had = good.len() - 4;
        assert_eq!(check(&good[..had]), Malformed::Length { says, had });
        let mut short = good.clone();
        short[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(
            check(&short),
            Malformed::Length {
                says: 3,
                had: good.len()
            }
        );
        // The first attribute claims more than its message holds, then less than its own header.
        for says in [u16::MAX, 3, 0] {
            let mut long = good.clone();
            long[20..22].copy_from_slice(&says.to_ne_bytes());
            let had = good.len() - 20;
            assert_eq!(check(&long), Malformed::Attribute { kind: 1, says, had });
        }
        assert_eq!(
            check(&message(MSG_PACKET, &[2, 0])),
            Malformed::Short {
                kind: MSG_PACKET,
                had: 2
            }
        );
        assert_eq!(
            check(&message(NLMSG_ERROR, &[])),
            Malformed::Short {
                kind: NLMSG_ERROR,
                had: 0
            }
        );
    }

    #[test]
    fn a_bad_message_does_not_hide_the_next() {
        let mut datagram = message(MSG_PACKET, &[2, 0]);
        datagram.extend(logged(100, 4, Some(1000), b"kept"));
        let packets = messages(&datagram)
            .filter(|read| matches!(read, Ok(Message::Packet(_))))
            .count();
        assert_eq!(packets, 1);
    }

    #[test]
    fn reads_the_corpus() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/nflog_message");
        let mut packets = 0;
        let mut malformed = 0;
        for seed in [
            "answer-no",
            "attribute-too-short",
            "cut-after-packet",
            "two-packets-and-done",
        ] {
            let bytes = std::fs::read(format!("{folder}/{seed}")).unwrap();
            for read in messages(&bytes) {
                match read {
                    Ok(Message::Packet(_)) => packets += 1,
                    Ok(_) => {}
                    Err(_) => malformed += 1,
                }
            }
        }
        assert_eq!((packets, malformed), (3, 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER_LEN + 1);
        }

        #[test]
        fn any_change_of_a_byte_is_survived(
            seq in any::<u32>(),
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let mut datagram = logged(101, seq, Some(10_001), &payload);
            {
                let packet = messages(&datagram).next();
                let Some(Ok(Message::Packet(packet))) = packet else { panic!("no packet") };
                prop_assert_eq!(packet.payload, &payload[..]);
                prop_assert_eq!(packet.seq, Some(seq));
            }
            let at = at.index(datagram.len());
            datagram[at] = value;
            prop_assert!(messages(&datagram).count() <= 3);
        }
    }
}
