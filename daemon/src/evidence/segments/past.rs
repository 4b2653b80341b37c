//! What the records of a case say of its segments, and segments that no record names yet.
//!
//! In: records; the folder after an unclean stop. Out: the segments that are there, and records for
//! those that their session could not close.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{
    Block, Blocks, DroppedBody, FOLDER, PacketsBody, SEGMENT_BYTES_MAX, SegmentBody, ShelfError,
    block::PACKET_OVERHEAD_MAX, draft, number_of,
};
use crate::{
    evidence::{Draft, Kind, record::Hash},
    time::Timestamp,
};

/// Longest file that is read as a segment, in bytes.
const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX + 0x1_0000 + PACKET_OVERHEAD_MAX as u64;

/// A packet that a record points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointed {
    /// Number in the segment, from 1.
    pub(super) frame: u32,
    pub(super) live: u64,
    pub(super) contact: String,
    pub(super) named: bool,
}

/// The segments of a case by its records.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Segments that are there, by their paths.
    pub(super) segments: BTreeMap<String, SegmentBody>,
    pub(super) dropped: BTreeSet<String>,
    pub(super) pointed: BTreeMap<String, Vec<Pointed>>,
}

impl Past {
    /// Reads the bodies of the kinds that say something of segments. What has another form is of a
    /// later version, and is passed over.
    pub fn read<E>(mut bodies: impl FnMut(&Kind) -> Result<Vec<String>, E>) -> Result<Self, E> {
        let mut past = Self::default();
        let segments: Vec<SegmentBody> = parse(&bodies(&Kind::SEGMENT)?);
        let dropped: Vec<DroppedBody> = parse(&bodies(&Kind::SEGMENT_DROPPED)?);
        past.dropped = dropped.into_iter().map(|body| body.path).collect();
        for body in segments {
            if !past.dropped.contains(&body.path) {
                past.segments.insert(body.path.clone(), body);
            }
        }
        let packets: Vec<PacketsBody> = parse(&bodies(&Kind::PACKETS)?);
        for body in packets {
            past.point(body);
        }
        Ok(past)
    }

    fn point(&mut self, body: PacketsBody) {
        let Some(path) = body.segment else {
            return;
        };
        if self.dropped.contains(&path) {
            return;
        }
        let pointed = self.pointed.entry(path).or_default();
        for (frame, live) in body.frames.into_iter().zip(body.live) {
            pointed.push(Pointed {
                frame,
                live,
                contact: body.contact.clone(),
                named: body.named,
            });
        }
    }
}

fn parse<T: DeserializeOwned>(bodies: &[String]) -> Vec<T> {
    bodies
        .iter()
        .filter_map(|body| serde_json::from_str(body).ok())
        .collect()
}

/// The files in the folder of segments, with their paths as records have them.
pub(super) fn files(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = format!("{FOLDER}{}", entry?.file_name().to_string_lossy());
        if number_of(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// After an unclean stop of `session`: gives the records of the segments that it had not closed,
/// each cut behind its last whole block, and removes those that were dropped, or hold no packet.
pub fn adopt(
    dir: &Path,
    past: &Past,
    session: u64,
    now: Timestamp,
) -> Result<Vec<Draft>, ShelfError> {
    let found = files(dir).map_err(|source| ShelfError::io(dir.join(FOLDER), source))?;
    let mut drafts = Vec::new();
    for path in found {
        if past.segments.contains_key(&path) {
            continue;
        }
        let full = dir.join(&path);
        let adopted = if past.dropped.contains(&path) {
            fs::remove_file(&full).map(|()| None)
        } else {
            adopt_file(&full, path, session, now)
        };
        if let Some(body) = adopted.map_err(|source| ShelfError::io(full, source))? {
            drafts.push(draft(Kind::SEGMENT, &body)?);
        }
    }
    Ok(drafts)
}

fn adopt_file(
    full: &Path,
    path: String,
    session: u64,
    now: Timestamp,
) -> io::Result<Option<SegmentBody>> {
    let metadata = fs::symlink_metadata(full)?;
    // What is none of our files stays as it is, and is no evidence.
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Ok(None);
    }
    let bytes = fs::read(full)?;
    let mut blocks = Blocks::of(&bytes);
    let (mut packets, mut first, mut last) = (0, None::<Timestamp>, None::<Timestamp>);
    for block in blocks.by_ref() {
        if let Block::Packet(packet) = block {
            packets += 1;
            first = Some(first.map_or(packet.at, |first| first.min(packet.at)));
            last = last.max(Some(packet.at));
        }
    }
    let whole = bytes.get(..blocks.whole()).unwrap_or_default();
    if packets == 0 {
        return fs::remove_file(full).map(|()| None);
    }
    let file = OpenOptions::new().write(true).open(full)?;
    file.set_len(whole.len() as u64)?;
    file.sync_all()?;
    Ok(Some(SegmentBody {
        held: number_of(&path).is_some_and(|(_, held)| held),
        path,
        bytes: whole.len() as u64,
        sha256: Hash::of(whole),
        session,
        packets,
        flows: None,
        first,
        last,
        reason: "recovery".to_owned(),
        closed: Some(now),
        torn: (bytes.len() - whole.len()) as u64,
    }))
}
