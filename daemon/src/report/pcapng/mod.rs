//! The packets of a case as pcapng, each with what is known of it: its owner, name, place and
//! findings stand in packet comments, the UID in the attributes of NFLOG.
//!
//! In: a case's journal and its flows. Out: one file that Wireshark and tshark open. A packet has
//! what the journal kept of it; its original length stays known.

mod blocks;
mod cover;
mod known;

use std::io::Write;

use self::{
    blocks::{Block, Blocks},
    known::{KnownFlow, KnownFlows},
};
use super::{
    export::{ExportError, Exported, Wanted, parse},
    filter::Filter,
    redact::Redactor,
};
use crate::{
    evidence::{
        Kind, Reader,
        body::Session,
        journal::{JournalError, read_block},
        segments::{LINK_NFLOG, link_number, nflog},
    },
    input::{Input, LinkType, Packet, Vantage},
    packet::{dissect, ip_offset},
};

/// Writes the packets that are wanted.
pub fn export(
    reader: &Reader,
    wanted: &Wanted,
    redactor: Option<&Redactor>,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let (flows, unknown) = KnownFlows::read(reader, &wanted.filter, redactor)?;
    let what = if redactor.is_some() {
        "headers only, without the handset's own address"
    } else {
        "as the journal kept them"
    };
    let comment = format!("case {}; packets {what}", reader.case().meta().id);
    let writer = concat!("sakshi ", env!("CARGO_PKG_VERSION"));
    let mut packets = Packets {
        blocks: Blocks::begin(to, writer, &comment)?,
        flows,
        filter: &wanted.filter,
        redacted: redactor.is_some(),
        wrapped: Vec::new(),
        rows: 0,
    };
    let (mut session, mut sources) = (0, Vec::new());
    for record in reader.records(&[Kind::SESSION, Kind::JOURNAL]) {
        let record = record?;
        if record.kind == Kind::SESSION {
            let body: Session = parse(&record)?;
            session = body.session;
            sources = body.sources.into_iter().map(|source| source.name).collect();
            continue;
        }
        let attachment = record.attachment.as_deref().ok_or(JournalError::Missing);
        let block = attachment
            .and_then(read_block)
            .map_err(|source| ExportError::Journal {
                seq: record.seq,
                source,
            })?;
        for input in block.inputs.iter() {
            if let Input::Packet(packet) = input {
                let source = sources.get(usize::from(packet.source));
                packets.take(session, source.map_or("", String::as_str), &packet)?;
            }
        }
    }
    packets.blocks.finish()?;
    Ok(Exported {
        rows: packets.rows,
        unknown,
    })
}

/// The packets on their way out.
struct Packets<'a> {
    blocks: Blocks<'a>,
    flows: KnownFlows,
    filter: &'a Filter,
    redacted: bool,
    wrapped: Vec<u8>,
    rows: u64,
}

impl Packets<'_> {
    fn take(&mut self, session: u64, source: &str, packet: &Packet<'_>) -> Result<(), ExportError> {
        if !self.filter.touches(Some(packet.at), Some(packet.at)) {
            return Ok(());
        }
        let view = dissect(packet.link, packet.data, packet.original_len);
        let flow = view
            .as_ref()
            .ok()
            .and_then(|view| self.flows.of(session, source, packet, view));
        let wanted = match flow {
            Some(flow) => flow.wanted,
            // Of a packet without a flow only the time is known.
            None => self.filter.is_of_time_only(),
        };
        if !wanted {
            return Ok(());
        }
        let mut comments = vec![format!("source: {source}, frame {}", packet.frame)];
        match (&view, flow) {
            (Ok(_), Some(flow)) => comments.extend(flow.comments.iter().cloned()),
            (Ok(_), None) => comments.push("flow: not known".to_owned()),
            (Err(reason), _) => comments.push(format!("not dissected: {}", reason.key())),
        }
        self.rows += 1;
        let is_live = packet.link == LinkType::RawIp && packet.vantage != Vantage::Both;
        if !self.redacted {
            return if is_live {
                self.wrap(packet, packet.data, packet.original_len, &comments)
            } else {
                self.put(
                    link_number(packet.link),
                    packet,
                    (packet.data, packet.original_len),
                    &comments,
                )
            };
        }
        let raw = link_number(LinkType::RawIp);
        let offset = ip_offset(packet.link, packet.data, packet.original_len);
        let (Ok(view), Ok(offset)) = (&view, offset) else {
            comments.push("left out: what cannot be dissected may hold anything".to_owned());
            return self.put(raw, packet, (&[], packet.original_len), &comments);
        };
        let own = |address| is_own(flow, packet, view, address);
        let bytes = cover::covered(packet.data, offset, view, own);
        let link_len = u32::try_from(offset).unwrap_or(u32::MAX);
        let original_len = packet.original_len.saturating_sub(link_len);
        if is_live || packet.link == LinkType::Nflog {
            self.wrap(packet, &bytes, original_len, &comments)
        } else {
            self.put(raw, packet, (&bytes, original_len), &comments)
        }
    }

    /// An IP packet with what the kernel told of it around it.
    fn wrap(
        &mut self,
        packet: &Packet<'_>,
        ip: &[u8],
        original_len: u32,
        comments: &[String],
    ) -> Result<(), ExportError> {
        let mut wrapped = std::mem::take(&mut self.wrapped);
        wrapped.clear();
        nflog(
            &mut wrapped,
            &Packet {
                data: ip,
                ..*packet
            },
        );
        let around = u32::try_from(wrapped.len().saturating_sub(ip.len())).unwrap_or(u32::MAX);
        let original_len = original_len.saturating_add(around);
        self.put(LINK_NFLOG, packet, (&wrapped, original_len), comments)?;
        self.wrapped = wrapped;
        Ok(())
    }

    fn put(
        &mut self,
        link: u16,
        packet: &Packet<'_>,
        (data, original_len): (&[u8], u32),
        comments: &[String],
    ) -> Result<(), ExportError> {
        Ok(self.blocks.packet(&Block {
            link,
            at: packet.at,
            vantage: packet.vantage,
            original_len,
            data,
            comments,
        })?)
    }
}

/// Whether an address of a packet is the handset's; where that is not known, both are taken for it.
fn is_own(
    flow: Option<&KnownFlow>,
    packet: &Packet<'_>,
    view: &crate::packet::View<'_>,
    address: std::net::IpAddr,
) -> bool {
    match (flow, packet.vantage) {
        (Some(flow), _) => address == flow.own,
        (None, Vantage::Output) => address == view.src(),
        (None, Vantage::Input) => address == view.dst(),
        (None, Vantage::Both) => true,
    }
}
