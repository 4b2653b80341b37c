//! Walks the records in order and recomputes what binds them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row, types::ValueRef};
use serde::Deserialize;

use crate::{
    body::{CaseBody, DroppedBody, FileEntry, FilesBody, Meta, RolledBody},
    canonical::is_canonical,
    damage::{Damages, Flaw, JournalFlaw, Subject},
    hash::{Hash, Head, record_hash},
    head::ExpectedHead,
    journal::{self, JournalBody},
    progress::{Progress, Stage},
    signatures::{Checkpoint, Signatures},
    snapshot::part_name,
};

/// Files that records may name at a time; beyond it a case is damaged.
const FILES_MAX: usize = 65_536;
/// Characters of a malformed kind that are shown.
const KIND_SHOWN_MAX: usize = 40;
/// Longest kind, in bytes.
const KIND_MAX: usize = 32;
/// Longest body and attachment, in bytes.
const BODY_MAX: usize = 16 * 1024 * 1024;
const ATTACHMENT_MAX: usize = 64 * 1024 * 1024;
/// Records between two reports of progress.
const PROGRESS_RECORDS: u64 = 1024;

/// A file that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The first record that names it.
    pub(crate) seq: i64,
    pub(crate) entry: FileEntry,
    /// A segment of packets: it may be dropped later.
    segment: bool,
}

/// What the walk has learnt.
#[derive(Debug)]
pub(crate) struct Chain {
    records: u64,
    last_seq: i64,
    /// The part of the database that is read, or was last.
    part: u64,
    /// Its first record; none before it was read.
    part_first: Option<i64>,
    /// First and last record of the part before; none when that is not there, or cannot be read.
    before: Option<(i64, i64)>,
    /// Hash of the last record as stored and as computed: they differ when it was damaged, and a
    /// next record that links to either is not damaged itself.
    stored: Hash,
    computed: Hash,
    /// The input that the next journal block begins with; none when the last one was unreadable.
    next_input: Option<u64>,
    ended: bool,
    case: Option<CaseBody>,
    files: BTreeMap<String, Named>,
    dropped: BTreeSet<String>,
    signatures: Signatures,
    /// The last checkpoint before the first damage: since when something is wrong.
    good: Option<Checkpoint>,
    flawed: bool,
    expected: Option<ExpectedHead>,
    comparison: Comparison,
}

/// Whether the head that was looked for is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// No record with its number was met.
    NotMet,
    /// The record with its number is not it.
    Other,
    /// It is there.
    Same,
}

/// A row whose columns have the types that they should have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Typed<'a> {
    pub(crate) seq: i64,
    pub(crate) kind: &'a str,
    pub(crate) body: &'a str,
    pub(crate) attachment: Option<&'a [u8]>,
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
}

impl Chain {
    /// A walk that also looks for a head that left the handset.
    pub(crate) fn new(expected: Option<ExpectedHead>) -> Self {
        Self {
            records: 0,
            last_seq: 0,
            part: 0,
            part_first: None,
            before: None,
            stored: Hash::ZERO,
            computed: Hash::ZERO,
            next_input: Some(1),
            ended: true,
            case: None,
            files: BTreeMap::new(),
            dropped: BTreeSet::new(),
            signatures: Signatures::default(),
            good: None,
            flawed: false,
            expected,
            comparison: Comparison::NotMet,
        }
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    pub(crate) fn head(&self) -> Head {
        Head {
            seq: self.last_seq,
            hash: self.stored,
        }
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// What the first record says.
    pub(crate) fn case(&self) -> Option<&CaseBody> {
        self.case.as_ref()
    }

    /// What it says of the case; none when it is damaged.
    pub(crate) fn meta(&self) -> Option<Meta> {
        self.case.as_ref().and_then(CaseBody::meta)
    }

    /// Every file that should be there, by its path.
    pub(crate) fn files(&self) -> &BTreeMap<String, Named> {
        &self.files
    }

    pub(crate) fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// The last checkpoint before the first damage of a record.
    pub(crate) fn good(&self) -> Option<&Checkpoint> {
        self.good.as_ref()
    }

    /// Whether the head that was looked for is there.
    pub(crate) fn compared(&self) -> bool {
        self.comparison == Comparison::Same
    }

    /// The file name of the last part that was read.
    pub(crate) fn last_part(&self) -> String {
        part_name(self.part)
    }

    /// Reads every record of a part once, in the order of the table.
    pub(crate) fn walk(
        &mut self,
        part: u64,
        connection: &Connection,
        damages: &mut Damages,
        progress: &mut dyn FnMut(Progress),
    ) {
        let total = connection
            .query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_or(0, |max| u64::try_from(max).unwrap_or(0));
        let first = self.part_first.filter(|_| self.part + 1 == part);
        self.before = first.map(|first| (first, self.last_seq));
        (self.part, self.part_first) = (part, None);
        let result = self.read(connection, damages, total, progress);
        if let Err(error) = result {
            let flaw = Flaw::Unreadable(format!("after record {}: {error}", self.last_seq));
            damages.add(Subject::Database(part_name(part)), flaw);
        }
        if self.part_first.is_none() {
            damages.add(Subject::Database(part_name(part)), Flaw::Empty);
        }
        progress(Progress {
            stage: Stage::Records,
            done: self.records,
            total,
        });
    }

    /// After the last part: what is to be said of a head that no record was.
    pub(crate) fn finish(&self, damages: &mut Damages) {
        let Some(expected) = &self.expected else {
            return;
        };
        let id = self.meta().map(|meta| meta.id);
        if let (Some(case), Some(id)) = (&expected.case, &id)
            && case != id
        {
            let subject = Subject::File("case.json".to_owned());
            damages.add(subject, Flaw::HeadCase(case.clone()));
        } else if self.comparison == Comparison::NotMet {
            let subject = Subject::Records {
                from: expected.seq,
                to: expected.seq,
            };
            damages.add(subject, Flaw::HeadMissing);
        }
    }

    fn read(
        &mut self,
        connection: &Connection,
        damages: &mut Damages,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> rusqlite::Result<()> {
        let mut statement = connection
            .prepare("SELECT seq, kind, body, attachment, prev, hash FROM record ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.check_row(row, damages)?;
            if self.records.is_multiple_of(PROGRESS_RECORDS) {
                progress(Progress {
                    stage: Stage::Records,
                    done: self.records,
                    total,
                });
            }
        }
        Ok(())
    }

    fn check_row(&mut self, row: &Row<'_>, damages: &mut Damages) -> rusqlite::Result<()> {
        self.records += 1;
        let seq = row.get_ref(0)?.as_i64().unwrap_or(i64::MIN);
        let kind_shown = show_kind(row.get_ref(1)?);
        let subject = || Subject::Record {
            seq,
            kind: kind_shown.clone(),
        };
        let before = damages.total();
        if self.expected.as_ref().is_some_and(|head| head.seq == seq) {
            self.comparison = Comparison::Other;
        }
        self.check_order(seq, &subject, damages);
        let begins_part = self.part_first.is_none();
        self.part_first.get_or_insert(seq);
        let flaws = match typed(row, seq)? {
            Ok(record) => self.check_record(&record, begins_part),
            Err(flaws) => {
                // The next record's link can still be held against what is stored.
                self.computed = Hash::ZERO;
                self.stored = row
                    .get_ref(5)?
                    .as_blob()
                    .ok()
                    .and_then(Hash::from_slice)
                    .unwrap_or(Hash::ZERO);
                self.next_input = None;
                self.signatures.lose();
                flaws
            }
        };
        for flaw in flaws {
            damages.add(subject(), flaw);
        }
        if damages.total() > before {
            self.flawed = true;
            self.signatures.doubt();
        }
        if !self.flawed && self.signatures.last() != self.good.as_ref() {
            self.good = self.signatures.last().cloned();
        }
        self.last_seq = seq;
        Ok(())
    }

    fn check_order(&self, seq: i64, subject: &dyn Fn() -> Subject, damages: &mut Damages) {
        let expected = self.last_seq.saturating_add(1);
        if seq < expected {
            damages.add(subject(), Flaw::Order(self.last_seq));
        } else if seq > expected {
            damages.add(
                Subject::Records {
                    from: expected,
                    to: seq - 1,
                },
                Flaw::Missing,
            );
        }
    }

    fn check_record(&mut self, record: &Typed<'_>, begins_part: bool) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        let computed = record_hash(
            &record.prev,
            record.seq,
            record.kind.as_bytes(),
            record.body.as_bytes(),
            record.attachment,
        );
        if computed != record.hash {
            flaws.push(Flaw::Hash {
                stored: record.hash,
                computed,
            });
        }
        if record.prev != self.stored && record.prev != self.computed {
            flaws.push(Flaw::Link {
                stored: record.prev,
                expected: self.stored,
            });
        }
        self.stored = record.hash;
        self.computed = computed;
        if !is_kind(record.kind) {
            flaws.push(Flaw::Kind);
        }
        if !is_canonical(record.body) {
            flaws.push(Flaw::NotCanonical);
        }
        let attached = record.attachment.map_or(0, <[u8]>::len);
        if record.body.len() > BODY_MAX || attached > ATTACHMENT_MAX {
            flaws.push(Flaw::Body("it is longer than the format allows".to_owned()));
        }
        if (record.kind == "case") != (self.records == 1) {
            flaws.push(Flaw::CaseRecord);
        }
        if (record.kind == "rolled") != (begins_part && self.part > 1) {
            flaws.push(Flaw::Rolled);
        }
        flaws.extend(self.check_kind(record));
        let changed = computed != record.hash;
        flaws.extend(self.signatures.check(record, computed));
        if changed {
            // It may have been what names the next key.
            self.signatures.lose();
        }
        flaws.extend(self.compare(record));
        if !flaws.is_empty() {
            // What a damaged record was is not known: the next block is not held against it.
            self.next_input = None;
        }
        flaws
    }

    /// Holds a record against the head that left the handset.
    fn compare(&mut self, record: &Typed<'_>) -> Option<Flaw> {
        let expected = self.expected.as_ref();
        let expected = expected.filter(|expected| expected.seq == record.seq)?;
        if record.kind == "checkpoint" && expected.fits(&record.hash) {
            self.comparison = Comparison::Same;
            return None;
        }
        Some(Flaw::HeadOther)
    }

    /// Checks the kinds whose bodies the format describes.
    fn check_kind(&mut self, record: &Typed<'_>) -> Option<Flaw> {
        match record.kind {
            "case" => match parse::<CaseBody>(record.body) {
                Ok(body) => {
                    let flaw = self.name_files(record.seq, &body.files);
                    self.signatures.begin(body.meta().as_ref());
                    let meta = body.meta().map(|_| ());
                    self.case = Some(body);
                    let missing = || Flaw::Body("it does not say what case it is".to_owned());
                    flaw.or_else(|| meta.is_none().then(missing))
                }
                Err(flaw) => Some(flaw),
            },
            "files" => match parse::<FilesBody>(record.body) {
                Ok(body) => self.name_files(record.seq, &body.files),
                Err(flaw) => Some(flaw),
            },
            "exhibit" => match parse::<FileEntry>(record.body) {
                Ok(entry) => self.name_file(record.seq, &entry, false),
                Err(flaw) => Some(flaw),
            },
            "segment" => match parse::<FileEntry>(record.body) {
                Ok(entry) => self.name_file(record.seq, &entry, true),
                Err(flaw) => Some(flaw),
            },
            "rolled" => match parse::<RolledBody>(record.body) {
                Ok(body) => self.close_part(record, &body),
                Err(flaw) => Some(flaw),
            },
            "segment_dropped" => match parse::<DroppedBody>(record.body) {
                Ok(body) => self.drop_segment(body.path),
                Err(flaw) => Some(flaw),
            },
            "session" => {
                self.ended = false;
                self.next_input = Some(1);
                None
            }
            "stop" | "unclean_stop" => {
                self.ended = true;
                None
            }
            "journal" => {
                let result = self.check_journal(record);
                if result.is_err() {
                    self.next_input = None;
                }
                result.err()
            }
            _ => None,
        }
    }

    fn check_journal(&mut self, record: &Typed<'_>) -> Result<(), Flaw> {
        let body = parse::<JournalBody>(record.body)?;
        let block = record.attachment.ok_or(JournalFlaw::Missing)?;
        journal::count_block(block)?.check(&body)?;
        if let Some(expected) = self.next_input.filter(|expected| *expected != body.first) {
            return Err(Flaw::JournalOrder {
                expected,
                found: body.first,
            });
        }
        self.next_input = body.first.checked_add(body.inputs);
        Ok(())
    }

    /// Takes the part before for a file that a record names.
    fn close_part(&mut self, record: &Typed<'_>, body: &RolledBody) -> Option<Flaw> {
        let entry = match parse::<FileEntry>(record.body) {
            Ok(entry) => entry,
            Err(flaw) => return Some(flaw),
        };
        let here = body.part == self.part && entry.path == part_name(self.part.saturating_sub(1));
        let range = (body.first, body.last);
        let follows = self.before.is_none_or(|before| before == range);
        if !here || !follows || body.last.checked_add(1) != Some(record.seq) {
            return Some(Flaw::Rolled);
        }
        self.name_file(record.seq, &entry, false)
    }

    fn name_files(&mut self, seq: i64, files: &[FileEntry]) -> Option<Flaw> {
        let mut files = files.iter();
        files.find_map(|entry| self.name_file(seq, entry, false))
    }

    fn name_file(&mut self, seq: i64, entry: &FileEntry, segment: bool) -> Option<Flaw> {
        // Behind a damaged record it may be that one's fault.
        let sure = !self.flawed;
        let again = || sure.then(|| Flaw::NamedAgain(entry.path.clone()));
        if self.dropped.contains(&entry.path) {
            return again();
        }
        if let Some(known) = self.files.get(&entry.path) {
            let same = known.entry == *entry && !segment;
            return if same { None } else { again() };
        }
        if self.files.len() >= FILES_MAX {
            return Some(Flaw::Body(format!("more than {FILES_MAX} files are named")));
        }
        let named = Named {
            seq,
            entry: entry.clone(),
            segment,
        };
        self.files.insert(entry.path.clone(), named);
        None
    }

    fn drop_segment(&mut self, path: String) -> Option<Flaw> {
        if !self.files.get(&path).is_some_and(|named| named.segment) {
            // Behind a damaged record it may be that one's fault.
            return (!self.flawed).then_some(Flaw::DropsNothing(path));
        }
        self.files.remove(&path);
        self.dropped.insert(path);
        None
    }
}

/// Whether a text is a kind: 1 to 32 lower-case letters, digits and underscores, a letter first.
fn is_kind(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= KIND_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(allowed)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, Flaw> {
    serde_json::from_str(body).map_err(|error| Flaw::Body(error.to_string()))
}

/// The row's columns, or everything that is wrong with their types.
fn typed<'a>(row: &'a Row<'_>, seq: i64) -> rusqlite::Result<Result<Typed<'a>, Vec<Flaw>>> {
    let mut flaws = Vec::new();
    let mut text = |column: &'static str, value: ValueRef<'a>| match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).unwrap_or_else(|_| {
            flaws.push(Flaw::Utf8(column));
            ""
        }),
        other => {
            flaws.push(column_type(column, "text", other));
            ""
        }
    };
    let kind = text("kind", row.get_ref(1)?);
    let body = text("body", row.get_ref(2)?);
    let attachment = match row.get_ref(3)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) => Some(bytes),
        other => {
            flaws.push(column_type("attachment", "a blob or null", other));
            None
        }
    };
    let mut hash = |column: &'static str, value: ValueRef<'_>| match value {
        ValueRef::Blob(bytes) if bytes.len() == 32 => Hash::from_slice(bytes).unwrap_or(Hash::ZERO),
        other => {
            flaws.push(column_type(column, "a blob of 32 bytes", other));
            Hash::ZERO
        }
    };
    let prev = hash("prev", row.get_ref(4)?);
    let hash = hash("hash", row.get_ref(5)?);
    if !flaws.is_empty() {
        return Ok(Err(flaws));
    }
    Ok(Ok(Typed {
        seq,
        kind,
        body,
        attachment,
        prev,
        hash,
    }))
}

fn column_type(column: &'static str, expected: &'static str, found: ValueRef<'_>) -> Flaw {
    let found = match found {
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
        other => other.data_type().to_string().to_lowercase(),
    };
    Flaw::ColumnType {
        column,
        expected,
        found,
    }
}

/// A kind as stored, bounded and printable, for messages.
fn show_kind(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes)
            .chars()
            .take(KIND_SHOWN_MAX)
            .flat_map(char::escape_debug)
            .collect(),
        other => format!("kind is {}", other.data_type().to_string().to_lowercase()),
    }
}
