//! Verifies a case: what its database, its records and its files say of each other.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    body::Meta,
    chain::Chain,
    damage::{Damages, Flaw, Subject},
    error::VerifyError,
    files::{self, Files},
    head::ExpectedHead,
    progress::Report,
    schema,
    snapshot::{DATABASE_FILE, Opened, Snapshot, part_name},
};

/// The metadata file.
pub(crate) const METADATA_FILE: &str = "case.json";
/// Longest `case.json` that is read, in bytes.
pub(crate) const METADATA_MAX: u64 = 64 * 1024;

/// What was learnt of a case, beside its damages.
pub(crate) struct Walked {
    /// The records; none when the database could not be read.
    pub(crate) chain: Option<Chain>,
    /// Files that no record names.
    pub(crate) unlisted: Vec<String>,
}

impl Walked {
    /// Of a case whose database could not be read.
    pub(crate) fn nothing() -> Self {
        Self {
            chain: None,
            unlisted: Vec::new(),
        }
    }
}

/// Verifies the case in the folder `dir`.
pub(crate) fn walk_folder(
    dir: &Path,
    expected: Option<ExpectedHead>,
    damages: &mut Damages,
    progress: Report<'_>,
) -> Result<Walked, VerifyError> {
    let metadata = read_metadata(dir)?;
    let snapshot = Snapshot::open(dir)?;
    let path = dir.join(DATABASE_FILE);
    let files = Files::Folder(dir);
    walk(
        &path, &metadata, &snapshot, &files, expected, damages, progress,
    )
}

/// Verifies a case by its parts. `path` names its database in errors.
pub(crate) fn walk(
    path: &Path,
    metadata: &[u8],
    snapshot: &Snapshot,
    files: &Files<'_>,
    expected: Option<ExpectedHead>,
    damages: &mut Damages,
    progress: Report<'_>,
) -> Result<Walked, VerifyError> {
    let case = check_metadata(path, metadata, damages)?;
    let mut chain = Chain::new(expected);
    let Some(version) = walk_parts(path, snapshot, &mut chain, damages, progress)? else {
        return Ok(Walked::nothing());
    };
    chain.finish(damages);
    if let (Some(case), Some(body)) = (&case, chain.case())
        && *case != body.case
    {
        damages.add(Subject::File(METADATA_FILE.to_owned()), Flaw::OtherCase);
    }
    if let Some(meta) = chain.meta()
        && meta.version != version
    {
        let subject = Subject::Schema {
            file: DATABASE_FILE.to_owned(),
            name: "user_version".to_owned(),
        };
        damages.add(subject, Flaw::Version(meta.version));
    }
    let unlisted = files::check(files, &chain, damages, progress)?;
    Ok(Walked {
        chain: Some(chain),
        unlisted,
    })
}

/// Reads the parts of the database one after the other; gives the version of the first, without which
/// nothing is read.
fn walk_parts(
    path: &Path,
    snapshot: &Snapshot,
    chain: &mut Chain,
    damages: &mut Damages,
    progress: Report<'_>,
) -> Result<Option<i64>, VerifyError> {
    let mut version = None;
    let first = snapshot.parts().first();
    if first.is_none_or(|part| part.number > 1) {
        let subject = Subject::Database(DATABASE_FILE.to_owned());
        damages.add(subject, Flaw::FileMissing);
        return Ok(None);
    }
    for part in snapshot.parts() {
        let file = part_name(part.number);
        let database = match part.open()? {
            Opened::Readable(connection) => Database { connection, file },
            Opened::Damaged(detail) => {
                damages.add(Subject::Database(file), Flaw::Unreadable(detail));
                if part.number == 1 {
                    return Ok(None);
                }
                continue;
            }
        };
        let found = database.check_version(path, damages)?;
        let expected = *version.get_or_insert(found);
        if found != expected && found >= schema::VERSION_MIN {
            let flaw = Flaw::Pragma { expected, found };
            damages.add(database.schema("user_version"), flaw);
        }
        let readable = database.check_schema(damages);
        database.check_pages(damages);
        if readable {
            chain.walk(part.number, &database.connection, damages, progress);
        }
    }
    Ok(version)
}

fn read_metadata(dir: &Path) -> Result<Vec<u8>, VerifyError> {
    let found = fs::metadata(dir).map_err(|error| VerifyError::io(dir, error))?;
    if !found.is_dir() {
        return Err(VerifyError::NotACase(dir.to_owned()));
    }
    let path = dir.join(METADATA_FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(METADATA_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(VerifyError::NotACase(dir.to_owned()))
        }
        Err(error) => Err(VerifyError::io(&path, error)),
    }
}

/// Reads `case.json`; none when it is damaged.
fn check_metadata(
    path: &Path,
    metadata: &[u8],
    damages: &mut Damages,
) -> Result<Option<Value>, VerifyError> {
    let read = || -> serde_json::Result<(Value, Meta)> {
        let value: Value = serde_json::from_slice(metadata)?;
        let meta = Meta::deserialize(&value)?;
        Ok((value, meta))
    };
    let flaw = match read() {
        Ok((_, meta)) if meta.format == "sakshi-case" && meta.version > schema::VERSION_MAX => {
            return Err(VerifyError::Newer {
                path: path.with_file_name(METADATA_FILE),
                found: meta.version,
                supported: schema::VERSION_MAX,
            });
        }
        Ok((value, meta)) if meta.format == "sakshi-case" => return Ok(Some(value)),
        Ok((_, meta)) => format!("format is {:?}, not \"sakshi-case\"", meta.format),
        Err(error) => error.to_string(),
    };
    let subject = Subject::File(METADATA_FILE.to_owned());
    damages.add(subject, Flaw::Unreadable(flaw));
    Ok(None)
}

/// A part of the database that can be read.
struct Database {
    connection: Connection,
    /// Its file in the case.
    file: String,
}

impl Database {
    fn whole(&self) -> Subject {
        Subject::Database(self.file.clone())
    }

    fn schema(&self, name: &str) -> Subject {
        Subject::Schema {
            file: self.file.clone(),
            name: name.to_owned(),
        }
    }

    fn check_version(&self, path: &Path, damages: &mut Damages) -> Result<i64, VerifyError> {
        let pragma = |name: &str| -> Result<i64, VerifyError> {
            self.connection
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(|source| VerifyError::Sqlite {
                    path: path.to_owned(),
                    source,
                })
        };
        let version = pragma("user_version")?;
        if version > schema::VERSION_MAX {
            return Err(VerifyError::Newer {
                path: path.to_owned(),
                found: version,
                supported: schema::VERSION_MAX,
            });
        }
        let application = pragma("application_id")?;
        for (name, expected, found) in [
            ("user_version", version.max(schema::VERSION_MIN), version),
            ("application_id", schema::APPLICATION_ID, application),
        ] {
            if found != expected {
                damages.add(self.schema(name), Flaw::Pragma { expected, found });
            }
        }
        Ok(version)
    }

    /// Compares the schema's text; tells whether the table of records is what it should be, so that
    /// reading it runs no foreign code.
    fn check_schema(&self, damages: &mut Damages) -> bool {
        let found = self
            .connection
            .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY rowid")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<rusqlite::Result<Vec<(String, String, String)>>>()
            });
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                damages.add(self.whole(), Flaw::Unreadable(error.to_string()));
                return false;
            }
        };
        let table = |(_, name, sql): &(String, String, String)| {
            let ours = schema::OBJECTS.iter().find(|object| object.name == name);
            ours.is_some_and(|object| object.kind == "table" && object.sql == sql)
        };
        // What a trigger expects is where this part begins; where that is, the chain tells.
        let first = if found.iter().any(table) {
            self.first_record()
        } else {
            1
        };
        let mut readable = false;
        for object in schema::OBJECTS {
            let name = || self.schema(object.name);
            let mut same_name = found.iter().filter(|(_, name, _)| name == object.name);
            match (same_name.next(), same_name.next()) {
                (None, _) => damages.add(name(), Flaw::SchemaMissing),
                (Some((kind, _, sql)), None)
                    if kind == object.kind && *sql == object.sql_from(first) =>
                {
                    readable |= object.name == "record";
                }
                _ => damages.add(name(), Flaw::SchemaChanged),
            }
        }
        for (_, name, _) in &found {
            if !schema::OBJECTS.iter().any(|object| object.name == name) {
                damages.add(self.schema(name), Flaw::SchemaAdded);
            }
        }
        if !readable {
            damages.add(
                self.whole(),
                Flaw::Unreadable(
                    "the table of records is defined otherwise, so it was not read".into(),
                ),
            );
        }
        readable
    }

    /// The first record's number. The first part begins with 1 whatever is left of it.
    fn first_record(&self) -> i64 {
        if self.file == DATABASE_FILE {
            return 1;
        }
        let query = "SELECT coalesce(min(seq), 1) FROM record";
        let first = self.connection.query_row(query, [], |row| row.get(0));
        // What cannot be read is told by the walk.
        first.unwrap_or(1)
    }

    /// Lets SQLite check its pages: structure, types of a STRICT table, NOT NULL.
    fn check_pages(&self, damages: &mut Damages) {
        let result = self
            .connection
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
                    damages.add(self.whole(), Flaw::Page(line));
                }
            }
            Err(error) => damages.add(self.whole(), Flaw::Page(error.to_string())),
        }
    }
}
