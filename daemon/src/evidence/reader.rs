//! Records read back, one at a time, for exports and tables; the case keeps every byte.
//!
//! In: the folder of a case. Out: [`Record`]s in order of their sequence numbers. What is read is
//! not checked against the chain: that is the verifier's work.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row, params, types::Type};

use super::{
    case::Case,
    error::StoreError,
    record::{Hash, Head, Kind, Record},
    schema,
    snapshot::Snapshot,
};

/// A case that is open for reading: its state at the moment of opening.
#[derive(Debug)]
pub struct Reader {
    snapshot: Snapshot,
    case: Case,
    path: PathBuf,
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
        let reader = Self {
            snapshot,
            case,
            path,
        };
        let version: i64 = reader.run(|connection| {
            connection.pragma_query_value(None, "user_version", |row| row.get(0))
        })?;
        if version > i64::from(schema::VERSION) {
            return Err(StoreError::newer(&reader.path, version));
        }
        Ok(reader)
    }

    /// The case it belongs to.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The end of the chain.
    pub fn head(&self) -> Result<Head, StoreError> {
        self.run(|connection| {
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
        })
        .map(|head| head.unwrap_or(Head::EMPTY))
    }

    /// How many records there are of each of `kinds`.
    pub fn count(&self, kinds: &[Kind]) -> Result<u64, StoreError> {
        let kinds = filter(kinds);
        self.run(|connection| {
            connection.query_row(
                "SELECT count(*) FROM record \
                 WHERE ?1 IS NULL OR kind IN (SELECT value FROM json_each(?1))",
                params![kinds],
                |row| row.get::<_, i64>(0),
            )
        })
        // A count is never negative.
        .map(|count| u64::try_from(count).unwrap_or(0))
    }

    /// The records of `kinds` (every kind when there are none named), in order of their sequence
    /// numbers. One record is in memory at a time.
    pub fn records(&self, kinds: &[Kind]) -> Records<'_> {
        Records {
            reader: self,
            kinds: filter(kinds),
            last: i64::MIN,
            done: false,
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
        self.run(|connection| {
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
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT seq, kind, body, attachment, prev, hash FROM record WHERE kind = ?1 \
                     ORDER BY seq DESC LIMIT 1",
                )?
                .query_row([kind.as_str()], record)
                .optional()
        })
    }

    fn run<T>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        query(self.snapshot.connection()).map_err(|error| match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt {
                path: self.path.clone(),
                detail: error.to_string(),
            },
            _ => StoreError::sqlite(&self.path, error),
        })
    }
}

/// A walk over records; see [`Reader::records`]. It ends after an error.
#[derive(Debug)]
pub struct Records<'a> {
    reader: &'a Reader,
    kinds: Option<String>,
    last: i64,
    done: bool,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.reader.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT seq, kind, body, attachment, prev, hash FROM record WHERE seq > ?1 \
                     AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2))) \
                     ORDER BY seq LIMIT 1",
                )?
                .query_row(params![self.last, self.kinds], record)
                .optional()
        });
        match &found {
            Ok(Some(record)) => self.last = record.seq,
            Ok(None) | Err(_) => self.done = true,
        }
        found.transpose()
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
