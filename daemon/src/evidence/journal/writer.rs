//! Packs inputs into a block.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};

use super::{
    BLOCK_RAW_TARGET, Block, DEFLATE_LEVEL, ENTRY_MAX, FLAG_INTERFACE, FLAG_UID, JournalBody,
    JournalError, LINK_OTHER, LINKS, MAGIC, TAG_EVENT, TAG_PACKET, TIME_BASES, VANTAGES, VERSION,
    code_of, event_time, varint,
};
use crate::{
    evidence::canonical::to_canonical,
    input::{Event, Input, LinkType, Packet},
    time::Timestamp,
};

/// Gathers inputs until a block is full. One buffer is kept from block to block, so that a packet
/// allocates nothing.
#[derive(Debug)]
pub struct JournalWriter {
    raw: Vec<u8>,
    first: u64,
    inputs: u64,
    packets: u64,
    last_nanos: i64,
    last_frame: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl JournalWriter {
    /// A writer for a session, whose inputs it counts from 1.
    pub fn new() -> Self {
        Self {
            raw: Vec::with_capacity(BLOCK_RAW_TARGET + 64 * 1024),
            first: 1,
            inputs: 0,
            packets: 0,
            last_nanos: 0,
            last_frame: 0,
            span: None,
        }
    }

    /// Appends an input; of a packet's bytes at most the first `keep`. After an error the block is
    /// as it was before.
    pub fn push(&mut self, input: &Input<'_>, keep: usize) -> Result<(), JournalError> {
        let start = self.raw.len();
        let written = match input {
            Input::Packet(packet) => self.push_packet(packet, keep),
            Input::Event(event) => self.push_event(event),
        };
        let length = self.raw.len() - start;
        let written = written.and_then(|at| match length {
            0..=ENTRY_MAX => Ok(at),
            _ => Err(JournalError::EntryTooLong(length)),
        });
        match written {
            Ok(at) => {
                self.last_nanos = at.as_nanos();
                if let Input::Packet(packet) = input {
                    self.last_frame = packet.frame;
                    self.packets += 1;
                }
                self.inputs += 1;
                let (from, to) = self.span.unwrap_or((at, at));
                self.span = Some((from.min(at), to.max(at)));
                Ok(())
            }
            Err(error) => {
                self.raw.truncate(start);
                Err(error)
            }
        }
    }

    /// Whether the block should be closed now.
    pub fn is_full(&self) -> bool {
        self.raw.len() >= BLOCK_RAW_TARGET
    }

    /// How many inputs wait in the block.
    pub fn pending(&self) -> u64 {
        self.inputs
    }

    /// Closes the block; none when there is nothing in it. The next one goes on counting.
    pub fn close(&mut self) -> Result<Option<Block>, JournalError> {
        let Some((from, to)) = self.span else {
            return Ok(None);
        };
        let mut attachment = Vec::with_capacity(self.raw.len() / 2);
        attachment.extend_from_slice(&MAGIC);
        attachment.push(VERSION);
        let mut encoder = ZlibEncoder::new(attachment, Compression::new(DEFLATE_LEVEL));
        encoder
            .write_all(&self.raw)
            .map_err(JournalError::Deflate)?;
        let attachment = encoder.finish().map_err(JournalError::Deflate)?;
        let body = JournalBody {
            version: VERSION,
            first: self.first,
            inputs: self.inputs,
            packets: self.packets,
            raw_len: self.raw.len() as u64,
            from,
            to,
        };
        self.first += self.inputs;
        self.inputs = 0;
        self.packets = 0;
        self.last_nanos = 0;
        self.last_frame = 0;
        self.span = None;
        self.raw.clear();
        self.raw.shrink_to(BLOCK_RAW_TARGET * 2);
        Ok(Some(Block { body, attachment }))
    }

    fn push_packet(&mut self, packet: &Packet<'_>, keep: usize) -> Result<Timestamp, JournalError> {
        let kept = packet.data.get(..keep).unwrap_or(packet.data);
        if kept.len() > ENTRY_MAX {
            return Err(JournalError::EntryTooLong(kept.len()));
        }
        // Every variant has a code; a test walks them.
        let basis = code_of(&TIME_BASES, packet.time_basis).unwrap_or_default();
        let vantage = code_of(&VANTAGES, packet.vantage).unwrap_or_default();
        let uid_flag = if packet.uid.is_some() { FLAG_UID } else { 0 };
        let interface_flag = if packet.interface.is_some() {
            FLAG_INTERFACE
        } else {
            0
        };
        let out = &mut self.raw;
        out.push(TAG_PACKET);
        varint::write_signed(out, packet.at.as_nanos().wrapping_sub(self.last_nanos));
        out.push(basis | vantage << 2 | uid_flag | interface_flag);
        match (packet.link, code_of(&LINKS, packet.link)) {
            (LinkType::Other(number), _) => {
                out.push(LINK_OTHER);
                varint::write(out, number.into());
            }
            (_, code) => out.push(code.unwrap_or_default()),
        }
        if let Some(uid) = packet.uid {
            varint::write(out, uid.into());
        }
        if let Some(interface) = packet.interface {
            varint::write(out, interface.into());
        }
        varint::write(out, packet.source.into());
        varint::write_signed(
            out,
            packet.frame.wrapping_sub(self.last_frame).cast_signed(),
        );
        varint::write(out, packet.original_len.into());
        varint::write(out, packet.data.len() as u64);
        varint::write(out, kept.len() as u64);
        out.extend_from_slice(kept);
        Ok(packet.at)
    }

    fn push_event(&mut self, event: &Event) -> Result<Timestamp, JournalError> {
        let mut event = event.clone();
        let at = *event_time(&mut event);
        let text = to_canonical(&event)?;
        let out = &mut self.raw;
        out.push(TAG_EVENT);
        varint::write_signed(out, at.as_nanos().wrapping_sub(self.last_nanos));
        varint::write(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
        Ok(at)
    }
}

impl Default for JournalWriter {
    fn default() -> Self {
        Self::new()
    }
}
