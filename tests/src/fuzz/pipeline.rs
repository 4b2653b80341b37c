//! The whole way: a capture is judged and journaled, and its journal is judged again.

use std::{
    io::Cursor,
    sync::{Arc, LazyLock},
};

use sakshi::{
    attribute::inventory::Inventory,
    capture::file::{CaptureFile, Next},
    evidence::{
        body::{Record, Summary},
        journal::{DecodedBlock, JournalWriter, read_block},
    },
    input::{Batch, Event, Input},
    locate::{Atlas, format},
    pipeline::{Core, Keep, Setup},
};
use sakshi_rules::{
    RuleSet,
    declare::{BrandFile, asked_by_built_in},
};

use super::evidence::as_stored;

/// Places small enough to be read anew for each input.
const PLACES: &[u8] = include_bytes!("../../corpus/places/sample.payload");

static RULES: LazyLock<Vec<RuleSet>> = LazyLock::new(|| {
    let asked = asked_by_built_in().iter();
    let brands: Vec<BrandFile> = asked
        .map(|(name, text)| BrandFile::parse(name, text).expect("a sound file"))
        .collect();
    let sets = sakshi_rules::embedded().iter();
    sets.map(|(name, text)| {
        RuleSet::parse(name, text, &brands).expect("the embedded rules are sound")
    })
    .collect()
});

/// The embedded rules.
pub(super) fn rules() -> &'static [RuleSet] {
    &RULES
}

fn core() -> Core {
    Core::new(Setup {
        session: 1,
        handset: Vec::new(),
        inventory: Inventory::empty(),
        rules: RULES.clone(),
        atlas: Arc::new(Atlas::new(
            format::decode_payload(PLACES).expect("the sample is sound"),
        )),
        sources: vec!["fuzz.pcap".to_owned()],
        egress: None,
    })
}

/// A core that journals what it is fed, as the daemon does.
struct Journaled {
    core: Core,
    writer: JournalWriter,
    blocks: Vec<DecodedBlock>,
    records: Vec<Record>,
}

impl Journaled {
    fn feed(&mut self, input: &Input<'_>) {
        let keep = match self.core.feed(input, &mut self.records) {
            Keep::Whole => usize::MAX,
            Keep::Headers(bytes) => bytes,
        };
        self.writer
            .push(input, keep)
            .expect("an input of a capture fits");
        if self.writer.is_full() {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(block) = self.writer.close().expect("a block closes") {
            let read = read_block(&block.attachment).expect("what was written reads back");
            read.check(&as_stored(&block.body))
                .expect("it is as its body says");
            self.blocks.push(read);
        }
    }
}

/// A capture: every packet is counted, and its journal gives the same records.
pub(super) fn pipeline(data: &[u8]) {
    let Ok(mut capture) = CaptureFile::open(Cursor::new(data.to_vec()), 0) else {
        return;
    };
    let mut first = Journaled {
        core: core(),
        writer: JournalWriter::new(),
        blocks: Vec::new(),
        records: Vec::new(),
    };
    let mut batch = Batch::new();
    let end = loop {
        batch.clear();
        let next = capture.next(&mut batch);
        batch.iter().for_each(|input| first.feed(&input));
        if let Next::End(end) = next {
            break end;
        }
    };
    if let Some(damage) = end {
        let gap = damage.to_gap("fuzz.pcap", capture.last_at());
        first.feed(&Input::Event(&Event::Gap(gap)));
    }
    let over = Event::SourceEnd(capture.last_at());
    first.feed(&Input::Event(&over));
    first.close();
    first.core.finish(&mut first.records);
    let summary = first.core.summary();
    assert_eq!(summary.packets, capture.frames(), "packets counted = read");
    let flows = first
        .records
        .iter()
        .filter(|record| matches!(record, Record::Flow(_)));
    assert_eq!(
        summary.flows,
        flows.count() as u64,
        "flows counted = written"
    );
    let (again, records) = feed(&first.blocks);
    assert_eq!(bodies(&records), bodies(&first.records));
    assert_eq!(again.summary(), summary);
    for_names(&first.blocks, &summary, &first.records);
}

/// A core that only looks for names counts the same packets, flows and gaps, and each flow once.
fn for_names(blocks: &[DecodedBlock], judged: &Summary, records: &[Record]) {
    let core = Core::for_names(1, Vec::new(), vec!["fuzz.pcap".to_owned()]);
    let (core, _) = feed_to(core, blocks);
    let summary = core.summary();
    let by_name = summary.by_name.expect("flows are counted by their names");
    let gaps = records
        .iter()
        .filter(|record| matches!(record, Record::Gap(_)));
    assert_eq!(by_name.gaps, gaps.count() as u64);
    let named = by_name.said + by_name.resolved + by_name.candidates;
    assert_eq!(named + by_name.asked + by_name.unnamed, summary.flows);
    let as_judged = Summary {
        by_name: None,
        contacts: judged.contacts,
        findings: judged.findings,
        ..summary
    };
    assert_eq!(as_judged, *judged);
}

/// Feeds blocks to a core of their own; every record has its canonical form.
pub(super) fn feed(blocks: &[DecodedBlock]) -> (Core, Vec<Record>) {
    let (core, records) = feed_to(core(), blocks);
    assert_eq!(bodies(&records).len(), records.len());
    (core, records)
}

fn feed_to(mut core: Core, blocks: &[DecodedBlock]) -> (Core, Vec<Record>) {
    let mut records = Vec::new();
    for input in blocks.iter().flat_map(|block| block.inputs.iter()) {
        core.feed(&input, &mut records);
    }
    core.finish(&mut records);
    (core, records)
}

/// What the store would keep of the records.
fn bodies(records: &[Record]) -> Vec<String> {
    let draft = |record: &Record| record.draft().expect("a record has a canonical form");
    records
        .iter()
        .map(|record| {
            let draft = draft(record);
            format!("{} {}", draft.kind(), draft.body())
        })
        .collect()
}
