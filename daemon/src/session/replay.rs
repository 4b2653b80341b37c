//! Feeds a case's journal through the pipeline again, with the rules, apps and places it had.
//!
//! In: a case. Out: the same findings, in a new case or a summary; or a list of differences.

use std::{path::Path, sync::Arc};

use sakshi_rules::RuleSet;
use serde::de::DeserializeOwned;

use super::{
    SessionError,
    engine::Engine,
    inspect::{InspectConfig, Inspected, Output, Progress, session_record},
    rules::Rules,
    setup::{InventoryFrom, Materials},
};
use crate::{
    attribute::inventory::Inventory,
    evidence::{
        CaseBody, CaseFiles, DATA_FILE, FileEntry, FilesBody, Kind, PLACES_FILE, Reader, Record,
        body::{self, ByName, Summary},
        journal::{JournalError, read_block},
        name_of,
    },
    input::Input,
    locate::Atlas,
    pipeline::{Core, Setup},
};

/// Inspects a case: each session of it by a core of its own, as when it was recorded, and as a
/// session of the new case that keeps its number, its sources and its files.
pub(super) fn inspect_case(
    dir: &Path,
    config: &InspectConfig,
    progress: Progress<'_>,
) -> Result<Inspected, SessionError> {
    let reader = Reader::open(dir)?;
    let mut replay = Replay {
        dir,
        config,
        given: match config.case {
            Some(_) => Given::load(config)?,
            None => Given::default(),
        },
        files: Vec::new(),
        output: None,
        engine: None,
        session: (0, 0),
        total: Summary {
            lost: Some(0),
            ..Summary::default()
        },
    };
    let mut done = 0;
    for record in reader.records(&[Kind::CASE, Kind::FILES, Kind::SESSION, Kind::JOURNAL]) {
        let record = record?;
        match record.kind.as_str() {
            "case" => replay.files = parse::<CaseBody>(&record)?.files,
            "files" => replay.files(parse(&record)?)?,
            "session" => {
                replay.end_session()?;
                replay.begin_session(parse(&record)?)?;
            }
            _ => {
                done += replay.feed(&record)?;
                progress(done);
            }
        }
    }
    replay.end_session()?;
    if replay.output.is_none() {
        // No session of it began: an empty one says so.
        replay.begin_session(session_record(1, "journal", Vec::new(), Vec::new()))?;
        replay.end_session()?;
    }
    Ok(Inspected {
        summary: replay.total,
        unread: Vec::new(),
    })
}

/// A case that is being fed through again.
#[derive(Debug)]
struct Replay<'a> {
    dir: &'a Path,
    config: &'a InspectConfig,
    given: Given,
    /// The files of the session that is being replayed.
    files: Vec<FileEntry>,
    output: Option<Output>,
    engine: Option<Engine>,
    /// Number of the session that is being replayed, and changes of its inventory so far.
    session: (u64, u32),
    total: Summary,
}

impl Replay<'_> {
    /// What the next session uses; or what became of the inventory within this one, which the new
    /// case keeps as well: the change itself is in the journal.
    fn files(&mut self, body: FilesBody) -> Result<(), SessionError> {
        let (Some(engine), Some(output), true) = (
            &mut self.engine,
            &mut self.output,
            body.session == self.session.0,
        ) else {
            self.files = body.files;
            return Ok(());
        };
        if self.config.case.is_some() && self.given.inventory.is_none() {
            self.session.1 += 1;
            output.drain(engine, true)?;
            let files = folder(self.dir, &body.files, "inventory/")?;
            output.keep_inventory(self.session.1, &files)?;
        }
        Ok(())
    }

    fn begin_session(&mut self, recorded: body::Session) -> Result<(), SessionError> {
        self.session = (recorded.session, 0);
        let Some(case) = &self.config.case else {
            let sources = names_of(recorded.sources);
            let core = Core::for_names(recorded.session, recorded.handset, sources);
            self.output = Some(Output::nowhere(recorded.session));
            self.engine = Some(Engine::for_counts(core));
            return Ok(());
        };
        let files = self.given.case_files(self.dir, &self.files)?;
        let session = body::Session {
            circumstances: recorded.circumstances.clone(),
            ..session_record(
                recorded.session,
                "journal",
                recorded.sources.clone(),
                recorded.handset.clone(),
            )
        };
        let core = self.given.core(self.dir, &self.files, recorded)?;
        match &mut self.output {
            Some(output) => output.next_session(&files, &session)?,
            none => *none = Some(Output::begin(case, &files, &session)?),
        }
        self.engine = Some(Engine::new(core));
        Ok(())
    }

    /// Feeds a block; gives the bytes of its attachment.
    fn feed(&mut self, record: &Record) -> Result<u64, SessionError> {
        let (Some(engine), Some(output)) = (&mut self.engine, &mut self.output) else {
            return Ok(0);
        };
        let bytes = replay_block(record, |input| engine.feed(&input))?;
        output.drain(engine, false)?;
        Ok(bytes)
    }

    fn end_session(&mut self) -> Result<(), SessionError> {
        if let (Some(engine), Some(output)) = (self.engine.take(), &mut self.output) {
            let summary = output.close(engine)?;
            output.stop(&summary)?;
            add(&mut self.total, summary);
        }
        Ok(())
    }
}

/// Feeds a journal record's inputs; gives the bytes of its attachment.
pub(super) fn replay_block(
    record: &Record,
    mut each: impl FnMut(Input<'_>) -> Result<(), SessionError>,
) -> Result<u64, SessionError> {
    let attachment = record.attachment.as_deref().ok_or(JournalError::Missing)?;
    let block = read_block(attachment)?;
    block.inputs.iter().try_for_each(&mut each)?;
    Ok(u64::try_from(attachment.len()).unwrap_or(u64::MAX))
}

/// Reads a record's body.
pub(super) fn parse<T: DeserializeOwned>(record: &Record) -> Result<T, SessionError> {
    serde_json::from_str(&record.body).map_err(|error| SessionError::Record {
        seq: record.seq,
        detail: error.to_string(),
    })
}

/// What the caller wants used instead of the case's own.
#[derive(Debug, Default)]
struct Given {
    rules: Option<Vec<RuleSet>>,
    inventory: Option<Inventory>,
    atlas: Option<Arc<Atlas>>,
    files: Option<CaseFiles>,
}

impl Given {
    fn load(config: &InspectConfig) -> Result<Self, SessionError> {
        let folder = config
            .inventory
            .clone()
            .map_or(InventoryFrom::Nowhere, InventoryFrom::Folder);
        let data = config.data.as_deref();
        let materials = Materials::load(&config.rules, &folder, data)?;
        Ok(Self {
            atlas: data.is_some().then_some(materials.atlas),
            rules: (!config.rules.is_empty()).then_some(materials.rules),
            inventory: config.inventory.is_some().then_some(materials.inventory),
            files: Some(materials.files),
        })
    }

    /// The files that the new case keeps for a session: the old one's, where nothing else was given.
    fn case_files(&self, dir: &Path, recorded: &[FileEntry]) -> Result<CaseFiles, SessionError> {
        let mut files = self.files.clone().unwrap_or_default();
        if self.rules.is_none() {
            files.rules = folder(dir, recorded, "rules/")?;
        }
        if self.inventory.is_none() {
            files.inventory = folder(dir, recorded, "inventory/")?;
        }
        if self.atlas.is_none()
            && let Some(entry) = recorded.iter().find(|entry| is_places(&entry.path))
        {
            files.places = read(dir, entry)?;
            let manifest = recorded
                .iter()
                .find(|entry| name_of(&entry.path) == DATA_FILE);
            if let Some(entry) = manifest {
                files.data = read(dir, entry)?;
            }
        }
        Ok(files)
    }

    fn core(
        &self,
        dir: &Path,
        files: &[FileEntry],
        session: body::Session,
    ) -> Result<Core, SessionError> {
        let rules = match &self.rules {
            Some(rules) => rules.clone(),
            None => recorded_rules(dir, files)?,
        };
        let inventory = match &self.inventory {
            Some(inventory) => inventory.clone(),
            None => recorded_inventory(dir, files)?,
        };
        let atlas = match &self.atlas {
            Some(atlas) => Arc::clone(atlas),
            None => Arc::new(recorded_atlas(dir, files)?),
        };
        Ok(Core::new(Setup {
            session: session.session,
            handset: session.handset,
            inventory,
            rules,
            atlas,
            sources: names_of(session.sources),
            egress: session.circumstances.and_then(|stated| stated.egress),
        }))
    }
}

/// The core of a recorded session, with its own rules and apps.
pub(super) fn recorded_core(
    dir: &Path,
    files: &[FileEntry],
    session: body::Session,
) -> Result<Core, SessionError> {
    Given::default().core(dir, files, session)
}

fn names_of(sources: Vec<body::Source>) -> Vec<String> {
    sources.into_iter().map(|source| source.name).collect()
}

/// The rule sets that a session of the case in `dir` was judged by, as the case pinned them: a file
/// that is not what its hash says is an error.
#[cfg(feature = "lab")]
pub fn rules_of_session(dir: &Path, session: u64) -> Result<Vec<RuleSet>, SessionError> {
    let reader = Reader::open(dir)?;
    let mut files = Vec::new();
    for record in reader.records(&[Kind::CASE, Kind::FILES, Kind::SESSION]) {
        let record = record?;
        match record.kind.as_str() {
            "case" => files = parse::<CaseBody>(&record)?.files,
            "files" => files = parse::<FilesBody>(&record)?.files,
            _ if parse::<body::Session>(&record)?.session == session => break,
            _ => {}
        }
    }
    for entry in files.iter().filter(|entry| entry.path.contains("rules/")) {
        if crate::evidence::Hash::of(&read(dir, entry)?) != entry.sha256 {
            return Err(SessionError::Rules(format!(
                "{} is not the file that the case was judged by: run `sakshi verify` on it",
                entry.path
            )));
        }
    }
    recorded_rules(dir, &files)
}

fn recorded_rules(dir: &Path, files: &[FileEntry]) -> Result<Vec<RuleSet>, SessionError> {
    let texts = folder(dir, files, "rules/")?
        .into_iter()
        .map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned()));
    Rules::recorded(texts.collect()).map(Rules::into_sets)
}

/// The location data that the case keeps, or what is built in.
fn recorded_atlas(dir: &Path, files: &[FileEntry]) -> Result<Atlas, SessionError> {
    Ok(match files.iter().find(|entry| is_places(&entry.path)) {
        Some(entry) => Atlas::from_bytes(&read(dir, entry)?)?,
        None => Atlas::embedded()?,
    })
}

/// Whether a recorded file is a session's location data.
pub(super) fn is_places(path: &str) -> bool {
    name_of(path) == PLACES_FILE
}

fn read(dir: &Path, entry: &FileEntry) -> Result<Vec<u8>, SessionError> {
    let path = dir.join(&entry.path);
    std::fs::read(&path).map_err(|source| SessionError::Read { path, source })
}

fn recorded_inventory(dir: &Path, files: &[FileEntry]) -> Result<Inventory, SessionError> {
    let stored = folder(dir, files, "inventory/")?;
    let Some((_, bytes)) = stored
        .iter()
        .find(|(name, _)| name == super::setup::INVENTORY_FILE)
    else {
        return Ok(Inventory::empty());
    };
    serde_json::from_slice(bytes).map_err(|error| SessionError::Record {
        seq: 1,
        detail: format!("{}: {error}", super::setup::INVENTORY_FILE),
    })
}

/// The recorded files of a folder of the case, in their recorded order.
fn folder(
    dir: &Path,
    files: &[FileEntry],
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, SessionError> {
    files
        .iter()
        .filter_map(|entry| {
            entry
                .path
                .rsplit_once(prefix)
                .map(|(_, name)| (entry, name))
        })
        .map(|(entry, name)| {
            let path = dir.join(&entry.path);
            let bytes =
                std::fs::read(&path).map_err(|source| SessionError::Read { path, source })?;
            Ok((name.to_owned(), bytes))
        })
        .collect()
}

/// The sum of two counts, or the one that is known.
fn both<T>(one: Option<T>, other: Option<T>, sum: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(sum(one, other)),
        (one, other) => one.or(other),
    }
}

/// Adds a session's counts.
fn add(total: &mut Summary, summary: Summary) {
    total.packets += summary.packets;
    total.flows += summary.flows;
    total.by_name = both(total.by_name, summary.by_name, ByName::plus);
    total.contacts = both(total.contacts, summary.contacts, u64::saturating_add);
    total.findings = both(total.findings, summary.findings, u64::saturating_add);
    total.lost = total
        .lost
        .zip(summary.lost)
        .and_then(|(one, other)| one.checked_add(other));
    total.outbound = both(total.outbound, summary.outbound, |one, other| {
        one.plus(&other)
    });
    if let Some(closes) = summary.closes {
        let sum = total.closes.get_or_insert_default();
        sum.joined += closes.joined;
        sum.unmatched += closes.unmatched;
    }
    for (reason, count) in summary.unparsed {
        *total.unparsed.entry(reason).or_default() += count;
    }
    for count in summary.files {
        match total
            .files
            .iter_mut()
            .find(|known| known.file == count.file)
        {
            Some(known) => {
                known.packets += count.packets;
                known.flows += count.flows;
            }
            None => total.files.push(count),
        }
    }
}
