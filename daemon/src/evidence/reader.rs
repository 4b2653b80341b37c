//! Records read back, a few at a time, for exports and tables; the case keeps every byte.
//!
//! In: the folder of a case. Out: [`Record`]s in order of their sequence numbers. What is read is
//! not checked against the chain: that is the verifier's work.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::{
    case::Case,
    error::StoreError,
    record::{Hash, Head, Kind, Record},
    schema,
    snapshot::{Part, Snapshot},
};

/// Bytes of records that a walk reads with one query; it stops behind the record that reaches them.
pub const BATCH_BYTES: usize = 64 * 1024;

/// A case that is open for reading: its state at the moment of opening.
#[derive(Debug)]
pub struct Reader {
    snapshot: Snapshot,
    case: Case,
}

impl Reader {
    /// Opens the case in `dir`; a daemon may be writing into it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let case = Case::open(dir)?;
        let path = case.database();
        let snapshot = Snapshot::open(dir).map_err(|error| match error {
            StoreError::Missing(missing) if missing == path => {
                StoreError::Interrupted(dir.to_owned())
            }
            other => other,
        })?;
        let reader = Self { snapshot, case };
        for part in reader.snapshot.parts() {
            let version: i64 = run(part, |connection| {
                connection.pragma_query_value(None, "user_version", |row| row.get(0))
            })?;
            if version > i64::from(schema::VERSION) {
                return Err(StoreError::newer(part.path(), version));
            }
        }
        Ok(reader)
    }

    /// The case it belongs to.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The part of the database that was written last: no record names it.
    pub(super) fn last_part(&self) -> PathBuf {
        let last = self.snapshot.parts().last();
        last.map_or_else(|| self.case.database(), |part| part.path().to_owned())
    }

    /// The end of the chain.
    pub fn head(&self) -> Result<Head, StoreError> {
        let head = self.backwards(|connection| {
            connection
                .query_row(
                    "SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1",
                    [],
                    |row| {
                        Ok(Head {
                            seq: row.get(0)?,
                            hash: hash(row, 1)?,
                        })
                    },
                )
                .optional()
        })?;
        Ok(head.unwrap_or(Head::EMPTY))
    }

    /// How many records there are of each of `kinds`.
    pub fn count(&self, kinds: &[Kind]) -> Result<u64, StoreError> {
        let kinds = filter(kinds);
        let mut total = 0;
        for part in self.snapshot.parts() {
            let count: i64 = run(part, |connection| {
                connection.query_row(
                    "SELECT count(*) FROM record \
                     WHERE ?1 IS NULL OR kind IN (SELECT value FROM json_each(?1))",
                    params![kinds],
                    |row| row.get(0),
                )
            })?;
            // A count is never negative.
            total += u64::try_from(count).unwrap_or(0);
        }
        Ok(total)
    }

    /// The records of `kinds` (every kind when there are none named), in order of their sequence
    /// numbers. Few are in memory at a time: as many as [`BATCH_BYTES`] hold.
    pub fn records(&self, kinds: &[Kind]) -> Records<'_> {
        Records {
            parts: self.snapshot.parts(),
            kinds: filter(kinds),
            last: i64::MIN,
            ready: VecDeque::new(),
        }
    }

    /// The same, of the records behind `seq`.
    pub fn records_after(&self, seq: i64, kinds: &[Kind]) -> Records<'_> {
        Records {
            last: seq,
            ..self.records(kinds)
        }
    }

    /// The record `seq`, if there is one.
    pub fn record(&self, seq: i64) -> Result<Option<Record>, StoreError> {
        self.backwards(|connection| {
            connection
                .prepare_cached(
                    "SELECT seq, kind, body, attachment, prev, hash FROM record WHERE seq = ?1",
                )?
                .query_row([seq], record)
                .optional()
        })
    }

    /// The last record of a kind, if there is one.
    pub fn last(&self, kind: &Kind) -> Result<Option<Record>, StoreError> {
        self.backwards(|connection| {
            connection
                .prepare_cached(
                    "SELECT seq, kind, body, attachment, prev, hash FROM record WHERE kind = ?1 \
                     ORDER BY seq DESC LIMIT 1",
                )?
                .query_row([kind.as_str()], record)
                .optional()
        })
    }

    /// Asks the parts from the last to the first, until one answers.
    fn backwards<T>(
        &self,
        query: impl Fn(&Connection) -> rusqlite::Result<Option<T>>,
    ) -> Result<Option<T>, StoreError> {
        let parts = self.snapshot.parts().iter().rev();
        parts
            .map(|part| run(part, &query))
            .find_map(Result::transpose)
            .transpose()
    }
}

fn run<T>(
    part: &Part,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    query(part.connection()?).map_err(|error| match error {
        rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
            StoreError::Corrupt {
                path: part.path().to_owned(),
                detail: error.to_string(),
            }
        }
        _ => StoreError::sqlite(part.path(), error),
    })
}

/// A walk over records; see [`Reader::records`]. It ends after an error.
#[derive(Debug)]
pub struct Records<'a> {
    /// The part that is read, and those behind it.
    parts: &'a [Part],
    kinds: Option<String>,
    /// The last record that was given.
    last: i64,
    /// Read together, and not given yet.
    ready: VecDeque<Record>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let [part, rest @ ..] = self.parts else {
                return None;
            };
            match run(part, |connection| self.batch(connection)) {
                Ok(ready) if ready.is_empty() => self.parts = rest,
                Ok(ready) => self.ready = ready,
                Err(error) => {
                    self.parts = &[];
                    return Some(Err(error));
                }
            }
        }
        let record = self.ready.pop_front()?;
        self.last = record.seq;
        Some(Ok(record))
    }
}

impl Records<'_> {
    /// The records behind the last one, as far as their bodies and attachments fit into the bound; one
    /// at least. What cannot be read ends them, and is an error where it is the first.
    fn batch(&self, connection: &Connection) -> rusqlite::Result<VecDeque<Record>> {
        let mut query = connection.prepare_cached(
            "SELECT seq, kind, body, attachment, prev, hash FROM record WHERE seq > ?1 \
             AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2))) ORDER BY seq",
        )?;
        let mut rows = query.query(params![self.last, self.kinds])?;
        let mut ready = VecDeque::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let next = rows.next().and_then(|row| row.map(record).transpose());
            let record = match next {
                Ok(Some(record)) => record,
                Err(error) if ready.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            };
            bytes += record.body.len() + record.attachment.as_ref().map_or(0, Vec::len);
            ready.push_back(record);
        }
        Ok(ready)
    }
}

/// The kinds as a JSON array; none for no filter.
fn filter(kinds: &[Kind]) -> Option<String> {
    let quoted: Vec<String> = kinds.iter().map(|kind| format!("\"{kind}\"")).collect();
    (!quoted.is_empty()).then(|| format!("[{}]", quoted.join(",")))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let kind: String = row.get(1)?;
    Ok(Record {
        seq: row.get(0)?,
        kind: Kind::new(&kind).ok_or_else(|| malformed(1, "a kind is lower-case letters"))?,
        body: row.get(2)?,
        attachment: row.get(3)?,
        prev: hash(row, 4)?,
        hash: hash(row, 5)?,
    })
}

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    let bytes: Vec<u8> = row.get(column)?;
    Hash::from_slice(&bytes).ok_or_else(|| malformed(column, "a hash has 32 bytes"))
}

fn malformed(column: usize, expected: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, expected.into())
}
