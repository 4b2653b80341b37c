//! A block of a `TPACKET_V3` ring as frames.
//!
//! In: the bytes of a block behind its status word. Out: each packet with its time, direction and
//! interface, or where the block cannot be read. Layout: `tpacket_block_desc`, `tpacket3_hdr` and
//! `sockaddr_ll` in Linux's `include/uapi/linux/if_packet.h`; numbers are in the machine's order.
//! Every offset is checked against the block, though the kernel is who wrote it.

use crate::time::Timestamp;

/// Where the bytes that [`frames`] reads begin in a block: behind its version, private offset and
/// status word.
pub const BODY_OFFSET: usize = 12;
/// Length of `tpacket_block_desc`.
const DESCRIPTION_BYTES: usize = 48;
/// Length of `tpacket3_hdr`, behind which `sockaddr_ll` lies.
const HEADER_BYTES: usize = 48;
/// `PACKET_OUTGOING` of `sll_pkttype`.
const OUTGOING: u8 = 4;

/// A packet as it lies in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it passed, by the kernel's wall clock.
    pub at: Timestamp,
    /// Whether this machine sent it.
    pub outgoing: bool,
    /// Index of the interface that it passed.
    pub interface: u32,
    /// Its length before it was cut.
    pub original_len: u32,
    /// From the IP header on.
    pub data: &'a [u8],
}

/// Why a block cannot be read to its end. Its remaining frames are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a block of the packet ring says that it holds {expected} packets and cannot be read after \
     {read}: {what} lies beyond its end"
)]
pub struct BlockError {
    /// Packets that the block says it holds.
    pub expected: u32,
    /// Packets that were read.
    pub read: u32,
    /// What was looked for.
    pub what: &'static str,
}

/// The packets of a block, in the order in which they passed. Ends after the first error.
pub fn frames(body: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, BlockError>> {
    let expected = field(body, 0).unwrap_or(0);
    let mut offset = field(body, 4).unwrap_or(0);
    let mut read = 0;
    std::iter::from_fn(move || {
        if read >= expected {
            return None;
        }
        let failed = |what| BlockError {
            expected,
            read,
            what,
        };
        match frame(body, offset) {
            Ok((frame, next)) => {
                read += 1;
                // A frame that names no successor is the last one.
                if next == 0 && read < expected {
                    offset = u32::MAX;
                } else {
                    offset = offset.saturating_add(next);
                }
                Some(Ok(frame))
            }
            Err(what) => {
                let error = failed(what);
                read = expected;
                Some(Err(error))
            }
        }
    })
}

/// The frame at an offset from the block's start, and how far behind it the next one lies.
fn frame(body: &[u8], offset: u32) -> Result<(Frame<'_>, u32), &'static str> {
    let start = usize::try_from(offset).map_err(|_| "a frame")?;
    if start < DESCRIPTION_BYTES {
        return Err("a frame");
    }
    let bytes = body.get(start - BODY_OFFSET..).ok_or("a frame")?;
    let word = |at| field(bytes, at).ok_or("a frame's header");
    let (next, seconds, nanos) = (word(0)?, word(4)?, word(8)?);
    let (captured, original_len) = (word(12)?, word(16)?);
    // `tp_mac` and `tp_net`; for a cooked socket both are where the network header begins.
    let network = usize::try_from(word(24)? >> if cfg!(target_endian = "big") { 0 } else { 16 })
        .map_err(|_| "a packet")?
        & 0xffff;
    let interface = word(HEADER_BYTES + 4)?;
    let packet_type = *bytes.get(HEADER_BYTES + 10).ok_or("a frame's address")?;
    let captured = usize::try_from(captured).map_err(|_| "a packet")?;
    let end = network.checked_add(captured).ok_or("a packet")?;
    let data = bytes.get(network..end).ok_or("a packet")?;
    let at = Timestamp::from_nanos(i64::from(seconds) * 1_000_000_000 + i64::from(nanos));
    let frame = Frame {
        at,
        outgoing: packet_type == OUTGOING,
        interface,
        original_len,
        data,
    };
    Ok((frame, next))
}

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a block with these packets, as a kernel of this machine writes it.
    fn block(packets: &[(bool, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; DESCRIPTION_BYTES - BODY_OFFSET];
        body[..4].copy_from_slice(&u32::try_from(packets.len()).unwrap().to_ne_bytes());
        body[4..8].copy_from_slice(&48_u32.to_ne_bytes());
        for (number, (outgoing, data)) in packets.iter().enumerate() {
            let mut frame = vec![0; 96];
            let len = u32::try_from(data.len()).unwrap();
            let room = (96 + data.len()).next_multiple_of(16);
            let next = u32::try_from(room).unwrap();
            for (at, value) in [(0, next), (4, 7), (8, 5), (12, len), (16, len + 1)] {
                frame[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            }
            frame[24..26].copy_from_slice(&96_u16.to_ne_bytes());
            frame[26..28].copy_from_slice(&96_u16.to_ne_bytes());
            let index = u32::try_from(number).unwrap() + 2;
            frame[52..56].copy_from_slice(&index.to_ne_bytes());
            frame[58] = if *outgoing { OUTGOING } else { 0 };
            frame.extend(*data);
            frame.resize(room, 0);
            body.extend(frame);
        }
        body
    }

    #[test]
    fn reads_each_packet_with_time_direction_and_interface() {
        let body = block(&[(true, &[0x45; 30]), (false, &[0x60; 3])]);
        let found: Vec<Frame<'_>> = frames(&body).map(Result::unwrap).collect();
        assert_eq!(
            found,
            [
                Frame {
                    at: Timestamp::from_nanos(7_000_000_005),
                    outgoing: true,
                    interface: 2,
                    original_len: 31,
                    data: &[0x45; 30]
                },
                Frame {
                    at: Timestamp::from_nanos(7_000_000_005),
                    outgoing: false,
                    interface: 3,
                    original_len: 4,
                    data: &[0x60; 3]
                }
            ]
        );
    }

    #[test]
    fn a_block_that_ends_early_says_what_is_missing() {
        let body = block(&[(true, &[1; 32]), (true, &[2; 32])]);
        for len in 0..body.len() {
            let read: Vec<_> = frames(&body[..len]).collect();
            assert!(read.len() <= 2);
            if len >= 8 {
                let error = read.last().unwrap().unwrap_err();
                assert_eq!((error.expected, error.read as usize), (2, read.len() - 1));
            }
        }
    }

    #[test]
    fn a_frame_without_successor_before_the_last_is_an_error() {
        let mut body = block(&[(true, &[1; 32]), (true, &[2; 32])]);
        body[36..40].fill(0);
        let read: Vec<_> = frames(&body).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].unwrap_err().read, 1);
    }

    #[test]
    fn an_empty_block_holds_nothing() {
        assert_eq!(frames(&block(&[])).count(), 0);
        assert_eq!(frames(&[]).count(), 0);
    }
}
