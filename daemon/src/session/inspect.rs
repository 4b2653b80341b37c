//! Judges capture files, or another case's journal, through the same pipeline as a live watch.
//!
//! In: paths. Out: a case, or with a dry run only counts of names. No clock is read, so that the same
//! captures with the same rules, apps and places give the same case, byte for byte.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    SessionError,
    authority::PREPARED,
    engine::Engine,
    replay,
    setup::{InventoryFrom, Materials, problem_gap},
};
use crate::{
    capture::file::{CaptureFile, Next},
    evidence::{
        Case, CaseFiles, CaseMeta, Circumstances, Draft, Hash, Kind, LastSession, Signing, Store,
        body::{self, Summary},
    },
    input::{Batch, Event, Gap, GapCause, Input, Packet, Sink},
    pipeline::{Core, Setup},
    time::Timestamp,
};

/// What to inspect.
#[derive(Debug, Clone)]
pub struct InspectConfig {
    /// Captures, `-` for standard input, or one case's folder.
    pub files: Vec<PathBuf>,
    /// The new case; none for a dry run.
    pub case: Option<PathBuf>,
    /// The handset's addresses.
    pub handset: Vec<IpAddr>,
    /// The handset's inventory.
    pub inventory: Option<PathBuf>,
    /// Rule sets.
    pub rules: Vec<PathBuf>,
    /// Location data; none: what is built in, or of a case, its own.
    pub data: Option<PathBuf>,
    /// What the lab states of the network, of captures; a case says it itself.
    pub circumstances: Option<Circumstances>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Counts; files by the paths that were given.
    pub summary: Summary,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// A capture that was not read to its end; the same is a gap of the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which, where and why, in plain words.
    pub text: String,
    /// Whether not even its beginning could be read.
    pub whole: bool,
}

/// Called with the bytes read so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// Inspects, and judges and keeps the result where a case is asked for.
pub fn inspect(config: &InspectConfig, progress: Progress<'_>) -> Result<Inspected, SessionError> {
    if let Some(case) = config.files.iter().find(|path| path.is_dir()) {
        if config.files.len() > 1 {
            return Err(SessionError::CaseAmongFiles(case.clone()));
        }
        return replay::inspect_case(case, config, progress);
    }
    if config.files.len() > usize::from(u16::MAX) {
        return Err(SessionError::TooManyFiles(config.files.len()));
    }
    let names = source_names(&config.files);
    let (mut output, mut engine) = if let Some(case) = &config.case {
        begin(config, case, &names, progress)?
    } else {
        let core = Core::for_names(1, config.handset.clone(), names.clone());
        (Output::nowhere(1), Engine::for_counts(core))
    };
    let mut unread = Vec::new();
    let mut done = 0;
    for ((number, path), place) in (0..).zip(&config.files).zip(&names) {
        unread.extend(feed_file(
            &mut engine,
            &mut output,
            path,
            place,
            number,
            &mut |bytes| progress(done + bytes),
        )?);
        done += file_len(path);
    }
    let mut summary = output.close(engine)?;
    output.stop(&summary)?;
    for (count, path) in summary.files.iter_mut().zip(&config.files) {
        count.file = path.display().to_string();
    }
    Ok(Inspected { summary, unread })
}

/// Begins a case, with an engine that judges for it.
fn begin(
    config: &InspectConfig,
    case: &Path,
    names: &[String],
    progress: Progress<'_>,
) -> Result<(Output, Engine), SessionError> {
    let data = config.data.as_deref();
    let materials = Materials::load(&config.rules, &inventory_from(config), data)?;
    let sources = sources(&config.files, names, progress)?;
    let session = body::Session {
        circumstances: config.circumstances.clone(),
        ..session_record(1, "files", sources, config.handset.clone())
    };
    let output = Output::begin(case, &materials.files, &session)?;
    let mut engine = Engine::new(Core::new(Setup {
        session: 1,
        handset: config.handset.clone(),
        inventory: materials.inventory,
        rules: materials.rules,
        atlas: materials.atlas,
        sources: names.to_vec(),
        egress: config
            .circumstances
            .as_ref()
            .and_then(|stated| stated.egress.clone()),
    }));
    for problem in &materials.problems {
        engine.feed(&Input::Event(&Event::Gap(problem_gap(
            problem,
            Timestamp::default(),
        ))))?;
    }
    Ok((output, engine))
}

/// Where an inspection has its inventory from.
pub(super) fn inventory_from(config: &InspectConfig) -> InventoryFrom {
    config
        .inventory
        .clone()
        .map_or(InventoryFrom::Nowhere, InventoryFrom::Folder)
}

/// Reads a capture to its end, or to where it is damaged; that is a gap, and what was read stays.
fn feed_file(
    engine: &mut Engine,
    output: &mut Output,
    path: &Path,
    place: &str,
    number: u16,
    progress: Progress<'_>,
) -> Result<Option<Unread>, SessionError> {
    let mut capture = match CaptureFile::open(reader(path)?, number) {
        Ok(capture) => capture,
        Err(error) => {
            let gap = unreadable(place, error.to_string());
            engine.feed(&Input::Event(&Event::Gap(gap)))?;
            return Ok(Some(Unread {
                text: format!("{}: {error}", path.display()),
                whole: true,
            }));
        }
    };
    let end = loop {
        let mut feed = Feed::new(engine);
        let next = capture.next(&mut feed);
        feed.end()?;
        output.drain(engine, false)?;
        progress(capture.bytes_read());
        if let Next::End(damage) = next {
            break damage;
        }
    };
    if let Some(damage) = &end {
        engine.feed(&Input::Event(&Event::Gap(
            damage.to_gap(place, capture.last_at()),
        )))?;
    }
    engine.feed(&Input::Event(&Event::SourceEnd(capture.last_at())))?;
    output.drain(engine, false)?;
    Ok(end.map(|damage| Unread {
        text: format!("{}: {damage}", path.display()),
        whole: false,
    }))
}

/// Feeds the engine packet by packet, without a copy, and pauses as often as batches would.
struct Feed<'a> {
    engine: &'a mut Engine,
    inputs: usize,
    bytes: usize,
    failed: Option<SessionError>,
}

impl<'a> Feed<'a> {
    const fn new(engine: &'a mut Engine) -> Self {
        Self {
            engine,
            inputs: 0,
            bytes: 0,
            failed: None,
        }
    }

    /// Feeds one input, unless one before it failed.
    fn feed(&mut self, one: impl FnOnce(&mut Engine) -> Result<(), SessionError>) {
        self.inputs += 1;
        if self.failed.is_none()
            && let Err(error) = one(self.engine)
        {
            self.failed = Some(error);
        }
    }

    fn end(self) -> Result<(), SessionError> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Sink for Feed<'_> {
    fn packet(&mut self, packet: &Packet<'_>) {
        self.bytes += packet.data.len();
        self.feed(|engine| engine.feed_packet(packet));
    }

    fn event(&mut self, event: Event) {
        self.feed(|engine| engine.feed(&Input::Event(&event)));
    }

    fn is_full(&self) -> bool {
        self.bytes >= Batch::BYTES_MAX || self.inputs >= Batch::INPUTS_MAX || self.failed.is_some()
    }
}

/// The gap of a capture of which nothing could be read, and so no time is known.
fn unreadable(place: &str, detail: String) -> Gap {
    Gap {
        at: Timestamp::default(),
        cause: GapCause::CaptureDamaged,
        from: None,
        to: None,
        packets: None,
        place: place.to_owned(),
        detail,
    }
}

fn reader(path: &Path) -> Result<Box<dyn Read + Send>, SessionError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).map_err(|source| SessionError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Box::new(file))
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What sources are called in records: their file names where these differ, else their paths.
fn source_names(paths: &[PathBuf]) -> Vec<String> {
    let short = |path: &PathBuf| {
        path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    };
    let names: Vec<String> = paths.iter().map(short).collect();
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if distinct.len() == names.len() {
        names
    } else {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }
}

/// The sources with the hashes of their files.
fn sources(
    paths: &[PathBuf],
    names: &[String],
    progress: Progress<'_>,
) -> Result<Vec<body::Source>, SessionError> {
    paths
        .iter()
        .zip(names)
        .map(|(path, name)| {
            progress(0);
            let sha256 = if path == Path::new("-") {
                None
            } else {
                Some(hash_file(path)?)
            };
            Ok(body::Source {
                name: name.clone(),
                sha256,
            })
        })
        .collect()
}

fn hash_file(path: &Path) -> Result<String, SessionError> {
    let failed = |source| SessionError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(Hash::from_sha256(sha).to_string()),
            read => sha.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// The session record of an inspection: no clock, no machine.
pub(super) fn session_record(
    session: u64,
    capture: &str,
    sources: Vec<body::Source>,
    handset: Vec<IpAddr>,
) -> body::Session {
    body::Session {
        session,
        mode: "inspect".to_owned(),
        at: None,
        local: None,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: None,
        boot_id: None,
        booted: None,
        oom_score_adj: None,
        zone: None,
        capture: capture.to_owned(),
        sources,
        files: BTreeMap::new(),
        handset,
        circumstances: None,
    }
}

/// Where an inspection's records go.
#[derive(Debug)]
pub(super) struct Output {
    store: Option<Store>,
    session: u64,
}

impl Output {
    /// None, for a session of which nothing is kept.
    pub(super) const fn nowhere(session: u64) -> Self {
        Self {
            store: None,
            session,
        }
    }

    /// Makes the case and writes its first session record.
    pub(super) fn begin(
        dir: &Path,
        files: &CaseFiles,
        session: &body::Session,
    ) -> Result<Self, SessionError> {
        let draft = Draft::new(Kind::SESSION, session)?;
        let mut store = if let Some(mut prepared) = prepared(dir)? {
            prepared.append_files_of(session.session, files)?;
            prepared
        } else {
            let meta = CaseMeta::new(case_id(&draft, files), None, tool(), "inspect");
            Case::create(dir, meta, files, &Signing::timeless())?
        };
        store.append(&[draft])?;
        Ok(Self {
            store: Some(store),
            session: session.session,
        })
    }

    /// Begins a further session of the same case, after [`Output::stop`].
    pub(super) fn next_session(
        &mut self,
        files: &CaseFiles,
        session: &body::Session,
    ) -> Result<(), SessionError> {
        self.session = session.session;
        if let Some(store) = &mut self.store {
            store.append_files_of(session.session, files)?;
            store.append(&[Draft::new(Kind::SESSION, session)?])?;
        }
        Ok(())
    }

    /// Keeps a version of the inventory's files.
    pub(super) fn keep_inventory(
        &mut self,
        change: u32,
        files: &[(String, Vec<u8>)],
    ) -> Result<(), SessionError> {
        if let Some(store) = &mut self.store {
            store.append_inventory(change, files)?;
        }
        Ok(())
    }

    /// Writes what waits, if it is due or `all` is asked for.
    pub(super) fn drain(&mut self, engine: &mut Engine, all: bool) -> Result<(), SessionError> {
        if all || engine.is_large() {
            let (drafts, _) = engine.take()?;
            if let Some(store) = &mut self.store {
                store.append(&drafts)?;
            }
        }
        Ok(())
    }

    /// Ends an engine's flows, writes what waits and gives its counts.
    pub(super) fn close(&mut self, mut engine: Engine) -> Result<Summary, SessionError> {
        engine.finish()?;
        self.drain(&mut engine, true)?;
        Ok(engine.summary())
    }

    /// Writes the session's summary and its stop record.
    pub(super) fn stop(&mut self, summary: &Summary) -> Result<(), SessionError> {
        if let Some(store) = &mut self.store {
            let stop = body::Stop {
                session: self.session,
                at: None,
                reason: "end of input".to_owned(),
                outbound: summary.outbound,
            };
            store.append(&[
                Draft::new(Kind::SUMMARY, summary)?,
                Draft::new(Kind::STOP, &stop)?,
            ])?;
        }
        Ok(())
    }
}

/// The case that was prepared in `dir`, if there is one; it must hold no session yet.
fn prepared(dir: &Path) -> Result<Option<Store>, SessionError> {
    match Case::open(dir) {
        Ok(case) if case.meta().mode == PREPARED => {}
        // Making a new case says what is wrong with anything else.
        _ => return Ok(None),
    }
    let store = Store::open(dir, &Signing::timeless())?;
    if store.last_session() == LastSession::None {
        Ok(Some(store))
    } else {
        Err(SessionError::Used(dir.to_owned()))
    }
}

/// Name and version of this program.
pub(super) fn tool() -> &'static str {
    concat!("sakshi ", env!("CARGO_PKG_VERSION"))
}

/// An inspection's case is named after what goes into it, so that repeating it gives the same case.
fn case_id(session: &Draft, files: &CaseFiles) -> [u8; 16] {
    let mut sha = Sha256::new();
    sha.update(b"sakshi inspect 1\n");
    sha.update(session.body());
    for (name, bytes) in files.rules.iter().chain(&files.inventory) {
        sha.update(name);
        sha.update(Sha256::digest(bytes));
    }
    sha.update(Sha256::digest(&files.data));
    if !files.places.is_empty() {
        sha.update(Sha256::digest(&files.places));
    }
    let digest = sha.finalize();
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}
