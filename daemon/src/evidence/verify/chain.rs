//! Walks the records in order and recomputes what binds them.

use rusqlite::{Connection, Row, types::ValueRef};
use serde::Deserialize;

use super::{Damages, Flaw, PROGRESS_RECORDS, Progress, Subject};
use crate::evidence::{
    canonical::is_canonical,
    case::{CaseBody, FileEntry, FilesBody},
    journal::{self, JournalBody, JournalError},
    record::{Hash, Head, Kind, record_hash},
};

/// Files that records may name in all; beyond it a case is damaged.
const FILES_MAX: usize = 4096;
/// Characters of a malformed kind that are shown.
const KIND_SHOWN_MAX: usize = 40;

/// What the walk has learnt.
#[derive(Debug)]
pub(super) struct Chain {
    records: u64,
    last_seq: i64,
    /// Hash of the last record as stored and as computed: they differ when it was damaged, and a
    /// next record that links to either is not damaged itself.
    stored: Hash,
    computed: Hash,
    /// The input that the next journal block begins with; none when the last one was unreadable.
    next_input: Option<u64>,
    ended: bool,
    case: Option<CaseBody>,
    files: Vec<(i64, FileEntry)>,
}

/// A row whose columns have the types that they should have.
struct Typed<'a> {
    seq: i64,
    kind: &'a str,
    body: &'a str,
    attachment: Option<&'a [u8]>,
    prev: Hash,
    hash: Hash,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self {
            records: 0,
            last_seq: 0,
            stored: Hash::ZERO,
            computed: Hash::ZERO,
            next_input: Some(1),
            ended: true,
            case: None,
            files: Vec::new(),
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn head(&self) -> Head {
        Head {
            seq: self.last_seq,
            hash: self.stored,
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What the first record says.
    pub(super) fn case(&self) -> Option<&CaseBody> {
        self.case.as_ref()
    }

    /// Every file that a record names, with that record's number.
    pub(super) fn files(&self) -> &[(i64, FileEntry)] {
        &self.files
    }

    /// Reads every record once, in the order of the table.
    pub(super) fn walk(
        &mut self,
        connection: &Connection,
        damages: &mut Damages,
        progress: &mut dyn FnMut(Progress),
    ) {
        let total = connection
            .query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| {
                row.get::<_, i64>(0)
            })
            .map_or(0, |max| u64::try_from(max).unwrap_or(0));
        let result = self.read(connection, damages, total, progress);
        if let Err(error) = result {
            let flaw = Flaw::Unreadable(format!("after record {}: {error}", self.last_seq));
            damages.add(Subject::Database, flaw);
        }
        if self.records == 0 {
            damages.add(Subject::Database, Flaw::Empty);
        }
        progress(Progress {
            records: self.records,
            total,
        });
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
                    records: self.records,
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
        self.check_order(seq, &subject, damages);
        match typed(row, seq)? {
            Ok(record) => {
                for flaw in self.check_record(&record) {
                    damages.add(subject(), flaw);
                }
            }
            Err(flaws) => {
                for flaw in flaws {
                    damages.add(subject(), flaw);
                }
                // The next record's link can still be held against what is stored.
                self.computed = Hash::ZERO;
                self.stored = row
                    .get_ref(5)?
                    .as_blob()
                    .ok()
                    .and_then(Hash::from_slice)
                    .unwrap_or(Hash::ZERO);
                self.next_input = None;
            }
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

    fn check_record(&mut self, record: &Typed<'_>) -> Vec<Flaw> {
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
        if Kind::new(record.kind).is_none() {
            flaws.push(Flaw::Kind);
        }
        if !is_canonical(record.body) {
            flaws.push(Flaw::NotCanonical);
        }
        if (record.kind == Kind::CASE.as_str()) != (self.records == 1) {
            flaws.push(Flaw::CaseRecord);
        }
        flaws.extend(self.check_kind(record));
        if !flaws.is_empty() {
            // What a damaged record was is not known: the next block is not held against it.
            self.next_input = None;
        }
        flaws
    }

    /// Checks the kinds whose bodies the format describes.
    fn check_kind(&mut self, record: &Typed<'_>) -> Option<Flaw> {
        match record.kind {
            "case" => match parse::<CaseBody>(record.body) {
                Ok(body) => {
                    let flaw = self.name_files(record.seq, &body.files);
                    self.case = Some(body);
                    flaw
                }
                Err(flaw) => Some(flaw),
            },
            "files" => match parse::<FilesBody>(record.body) {
                Ok(body) => self.name_files(record.seq, &body.files),
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
        let body: JournalBody = serde_json::from_str(record.body).map_err(JournalError::Body)?;
        let attachment = record.attachment.ok_or(JournalError::Missing)?;
        journal::read_block(attachment)?.check(&body)?;
        if let Some(expected) = self.next_input.filter(|expected| *expected != body.first) {
            return Err(Flaw::JournalOrder {
                expected,
                found: body.first,
            });
        }
        self.next_input = body.first.checked_add(body.inputs);
        Ok(())
    }

    fn name_files(&mut self, seq: i64, files: &[FileEntry]) -> Option<Flaw> {
        for file in files {
            if self.files.len() >= FILES_MAX {
                return Some(Flaw::Body(format!("more than {FILES_MAX} files are named")));
            }
            let known = self.files.iter().any(|(_, known)| known == file);
            if !known {
                self.files.push((seq, file.clone()));
            }
        }
        None
    }
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
