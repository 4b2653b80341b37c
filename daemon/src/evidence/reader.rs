//! Records read back, one at a time, for exports and tables; the case keeps every byte.
//!
//! In: the folder of a case. Out: [`Record`]s in order of their sequence numbers. What is read is
//! not checked against the chain: that is the verifier's work.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::{
    case::Case,
    error::StoreError,
    record::{Hash, Head, Kind, Record},
    schema,
    snapshot::{Part, Snapshot},
};

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
    /// numbers. One record is in memory at a time.
    pub fn records(&self, kinds: &[Kind]) -> Records<'_> {
        Records {
            parts: self.snapshot.parts(),
            kinds: filter(kinds),
            last: i64::MIN,
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
    last: i64,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [part, rest @ ..] = self.parts {
            let found = run(part, |connection| {
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
                Ok(None) => {
                    self.parts = rest;
                    continue;
                }
                Err(_) => self.parts = &[],
            }
            return found.transpose();
        }
        None
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
