//! Is the evidence intact? Recomputes everything that the format promises, and changes nothing.
//!
//! In: the folder of a case. Out: [`Verification`]. Shares with the writer the canonical encoding,
//! the hash of a record and the schema's text, and none of the code that writes, so that it can be
//! trusted alone. Memory is bounded: one record at a time, a bounded list of damages.

mod chain;
mod damage;
mod files;

use std::path::Path;

use rusqlite::Connection;

use super::{case::Case, error::StoreError, record::Head, schema, snapshot::Snapshot};
use chain::Chain;
pub use damage::{Damage, Flaw, Subject};

/// Damages that are listed; more are counted only.
pub const DAMAGES_MAX: usize = 256;
/// Records between two reports of progress.
const PROGRESS_RECORDS: u64 = 1024;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records checked.
    pub records: u64,
    /// Sequence number of the last record of the case, 0 when it is not known.
    pub total: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Everything fits together.
    Intact(Intact),
    /// Something does not.
    Damaged(Damaged),
}

/// A case without damage. Records cut off the end leave no trace in what remains: compare `head`
/// with one that left the handset before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intact {
    /// How many records there are.
    pub records: u64,
    /// The end of the chain.
    pub head: Head,
    /// Whether the last session's end is on record; false while a daemon runs, and after a kill.
    pub ended: bool,
    /// Files in the folder that no record names: of an interrupted start, or put there by somebody.
    /// Not evidence.
    pub unlisted: Vec<String>,
}

/// A case with damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What is damaged, in the order found; [`DAMAGES_MAX`] at most.
    pub damages: Vec<Damage>,
    /// How many damages there are in all.
    pub total: u64,
    /// How many records could be read.
    pub records: u64,
}

/// Verifies the case in `dir`. An error means that it could not be told; damage is a result.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Verification, StoreError> {
    let mut damages = Damages::default();
    let case = match Case::open(dir) {
        Ok(case) => Some(case),
        Err(StoreError::Metadata { detail, .. }) => {
            damages.add(
                Subject::File("case.json".to_owned()),
                Flaw::Unreadable(detail),
            );
            None
        }
        Err(error) => return Err(error),
    };
    let snapshot = match Snapshot::open(dir) {
        Ok(snapshot) => snapshot,
        Err(StoreError::Corrupt { detail, .. } | StoreError::Foreign { detail, .. }) => {
            damages.add(Subject::Database, Flaw::Unreadable(detail));
            return Ok(damages.into_damaged(0));
        }
        Err(StoreError::Missing(path)) if path == dir.join(super::case::DATABASE_FILE) => {
            damages.add(Subject::Database, Flaw::FileMissing);
            return Ok(damages.into_damaged(0));
        }
        Err(error) => return Err(error),
    };
    let connection = snapshot.connection();
    check_version(connection, dir, &mut damages)?;
    let readable = check_schema(connection, &mut damages);
    check_pages(connection, &mut damages);
    let mut chain = Chain::new();
    if readable {
        chain.walk(connection, &mut damages, progress);
    }
    let unlisted = files::check(dir, case.as_ref(), &chain, &mut damages)?;
    if damages.total > 0 {
        return Ok(damages.into_damaged(chain.records()));
    }
    Ok(Verification::Intact(Intact {
        records: chain.records(),
        head: chain.head(),
        ended: chain.ended(),
        unlisted,
    }))
}

/// A bounded list.
#[derive(Debug, Default)]
struct Damages {
    list: Vec<Damage>,
    total: u64,
}

impl Damages {
    fn add(&mut self, subject: Subject, flaw: Flaw) {
        self.total += 1;
        if self.list.len() < DAMAGES_MAX {
            self.list.push(Damage { subject, flaw });
        }
    }

    fn into_damaged(self, records: u64) -> Verification {
        Verification::Damaged(Damaged {
            damages: self.list,
            total: self.total,
            records,
        })
    }
}

fn check_version(
    connection: &Connection,
    dir: &Path,
    damages: &mut Damages,
) -> Result<(), StoreError> {
    let path = dir.join(super::case::DATABASE_FILE);
    let pragma = |name: &str| -> Result<i64, StoreError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| StoreError::sqlite(&path, error))
    };
    let version = pragma("user_version")?;
    if version > i64::from(schema::VERSION) {
        return Err(StoreError::newer(&path, version));
    }
    for (name, expected, found) in [
        ("user_version", schema::VERSION, version),
        (
            "application_id",
            schema::APPLICATION_ID,
            pragma("application_id")?,
        ),
    ] {
        if found != i64::from(expected) {
            damages.add(
                Subject::Schema(name.to_owned()),
                Flaw::Pragma {
                    expected: expected.into(),
                    found,
                },
            );
        }
    }
    Ok(())
}

/// Compares the schema's text; tells whether the table of records is what it should be, so that
/// reading it runs no foreign code.
fn check_schema(connection: &Connection, damages: &mut Damages) -> bool {
    let found = connection
        .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY rowid")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<Vec<(String, String, String)>>>()
        });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            damages.add(Subject::Database, Flaw::Unreadable(error.to_string()));
            return false;
        }
    };
    let mut readable = false;
    for object in schema::OBJECTS {
        let name = || Subject::Schema(object.name.to_owned());
        let mut same_name = found.iter().filter(|(_, name, _)| name == object.name);
        match (same_name.next(), same_name.next()) {
            (None, _) => damages.add(name(), Flaw::SchemaMissing),
            (Some((kind, _, sql)), None) if kind == object.kind && sql == object.sql => {
                readable |= object.name == "record";
            }
            _ => damages.add(name(), Flaw::SchemaChanged),
        }
    }
    for (_, name, _) in &found {
        if !schema::OBJECTS.iter().any(|object| object.name == name) {
            damages.add(Subject::Schema(name.clone()), Flaw::SchemaAdded);
        }
    }
    if !readable {
        damages.add(
            Subject::Database,
            Flaw::Unreadable(
                "the table of records is defined otherwise, so it was not read".into(),
            ),
        );
    }
    readable
}

/// Lets SQLite check its pages: structure, types of a STRICT table, NOT NULL.
fn check_pages(connection: &Connection, damages: &mut Damages) {
    let result = connection
        .prepare("PRAGMA integrity_check(16)")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        });
    match result {
        Ok(lines) if lines == ["ok"] => {}
        Ok(lines) => {
            for line in lines {
                damages.add(Subject::Database, Flaw::Page(line));
            }
        }
        Err(error) => damages.add(Subject::Database, Flaw::Page(error.to_string())),
    }
}
