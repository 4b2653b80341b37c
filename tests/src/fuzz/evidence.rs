//! Targets of `evidence` and `control`: what is read back, and what the command line asks.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::ZlibEncoder};
use sakshi::{
    control::{
        frame::{FOREIGN_MAX, Frame, Frames},
        protocol::Request,
    },
    evidence::{
        canonical::{is_canonical, to_canonical},
        journal::{JournalBody, JournalWriter, MAGIC, VERSION, read_block},
        segments::{Block, Blocks},
    },
};
use serde_json::Value;

/// A journal record's attachment.
pub(super) fn journal(data: &[u8]) {
    match read_block(data) {
        Ok(block) => {
            block
                .check(&as_stored(&block.found))
                .expect("it is as it says");
            assert_eq!(block.found.inputs, block.inputs.len() as u64);
            assert_eq!(block.found.packets, block.inputs.packets() as u64);
            assert!(block.cut <= block.found.packets);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What is inside a block's compression: is read, written anew, and fed to the core.
pub(super) fn journal_inputs(data: &[u8]) {
    let Ok(block) = read_block(&attachment(data)) else {
        return;
    };
    let mut writer = JournalWriter::new();
    for input in block.inputs.iter() {
        writer
            .push(&input, usize::MAX)
            .expect("what was read can be written");
    }
    match writer.close().expect("a block closes") {
        Some(written) => {
            let again = read_block(&written.attachment).expect("what was written reads back");
            assert!(again.inputs.iter().eq(block.inputs.iter()));
        }
        None => assert!(block.inputs.is_empty()),
    }
    super::pipeline::feed(&[block]);
}

/// A block's body as its record keeps it: times in microseconds.
pub(super) fn as_stored(body: &JournalBody) -> JournalBody {
    let text = to_canonical(body).expect("a body has a canonical form");
    serde_json::from_str(&text).expect("its JSON is a body")
}

fn attachment(raw: &[u8]) -> Vec<u8> {
    let mut attachment = MAGIC.to_vec();
    attachment.push(VERSION);
    let mut encoder = ZlibEncoder::new(attachment, Compression::fast());
    encoder.write_all(raw).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Canonical JSON: what is canonical is written so, and what is written is canonical.
pub(super) fn canonical(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = serde_json::from_str::<Value>(text);
    let written = parsed
        .as_ref()
        .ok()
        .and_then(|value| to_canonical(value).ok());
    if is_canonical(text) {
        assert_eq!(written.as_deref(), Some(text));
    }
    if let Some(written) = written {
        assert!(is_canonical(&written), "{written}");
        // Another writer of the same form: its maps are sorted, and there are no fractions.
        let other = serde_json::to_string(&sorted(parsed.as_ref().expect("it was written")));
        assert_eq!(other.expect("it is JSON"), written);
        let again: Value = serde_json::from_str(&written).expect("it is JSON");
        assert_eq!(parsed.ok(), Some(again));
    }
}

/// The same value with sorted maps, whatever map `serde_json` was built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            let map: BTreeMap<&String, Value> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            map.into_iter()
                .map(|(key, value)| (key.clone(), value))
                .collect()
        }
        other => other.clone(),
    }
}

/// An answer through adb: what is read of it is written and read the same.
pub(super) fn control_frames(data: &[u8]) {
    let (frames, foreign) = frames_of(data);
    assert!(
        foreign.len() <= FOREIGN_MAX * 3,
        "text that is not ours is bounded"
    );
    let mut written = Vec::new();
    for frame in &frames {
        frame.write(&mut written).expect("into memory");
    }
    assert_eq!(frames_of(&written).0, frames);
}

fn frames_of(data: &[u8]) -> (Vec<Frame>, String) {
    let mut reader = Frames::new(data);
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = reader.next_frame() {
        frames.push(frame);
    }
    (frames, reader.foreign())
}

/// A line of the control socket.
pub(super) fn control_request(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(request) = serde_json::from_str::<Request>(line) {
        let text = serde_json::to_string(&request).expect("a request is JSON");
        let again: Request = serde_json::from_str(&text).expect("its JSON is a request");
        assert_eq!(again, request);
    }
}

/// A segment that a killed session left: its whole blocks, and where they end.
pub(super) fn segment_blocks(data: &[u8]) {
    let mut blocks = Blocks::of(data);
    let read: Vec<Block<'_>> = blocks.by_ref().collect();
    let whole = blocks.whole();
    assert!(whole <= data.len());
    assert!(
        matches!(read.first(), None | Some(Block::Section)),
        "a section first"
    );
    let cut = &data[..whole];
    assert!(Blocks::of(cut).eq(read.iter().copied()), "cut, it is whole");
    let bytes: usize = read
        .iter()
        .map(|block| match block {
            Block::Packet(packet) => packet.data.len(),
            Block::Section | Block::Interface(_) => 0,
        })
        .sum();
    assert!(bytes <= whole);
}
