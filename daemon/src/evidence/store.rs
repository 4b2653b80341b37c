//! The database of a case, opened for writing: the only SQL that changes anything.
//!
//! In: [`Draft`]s. Out: the [`Head`] after them, once they are on the disk. One transaction is one
//! call; a call that fails leaves the store as it was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig, params,
};
use serde::Deserialize;

use super::{
    bundle::SealedBody,
    case::{
        self, Case, CaseBody, CaseFiles, CaseLock, CaseMeta, FORMAT_VERSION, FileEntry, FilesBody,
        METADATA_FILE,
    },
    error::StoreError,
    medium,
    parts::{self, RolledBody},
    record::{ATTACHMENT_MAX, BODY_MAX, Draft, Hash, Head, Kind, record_hash},
    schema,
    signing::{self, CheckpointBody, KeyBody, Ratchet, Reason, Signing},
    snapshot,
};

/// The write-ahead log is cut back to this many bytes when it is reused.
const WAL_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// How long another process that has the database open is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How the session before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastSession {
    /// There was none.
    None,
    /// With a `stop` record, or its unclean end is recorded already.
    Ended {
        /// Its number.
        session: u64,
    },
    /// Without one: killed, out of power, or out of space. The caller appends `unclean_stop`.
    Unclean {
        /// Its number.
        session: u64,
        /// Its `session` record.
        began: i64,
        /// The last record of the case.
        last: Head,
    },
}

/// A case that is open for writing; there is one at most, the lock sees to it.
#[derive(Debug)]
pub struct Store {
    // Fields drop in this order: the database is closed before the lock is given up.
    connection: Connection,
    /// The part of the case that is written.
    path: PathBuf,
    /// The parts before it.
    closed: Vec<PathBuf>,
    /// The next part has its name already, and is not opened yet: nothing goes into this one.
    moving: bool,
    case: Case,
    head: Head,
    sessions: Sessions,
    /// None in an unsigned case.
    ratchet: Option<Ratchet>,
    /// The last checkpoint; 0 before the first.
    vouched: i64,
    _lock: CaseLock,
}

/// What the records say about sessions and files.
#[derive(Debug)]
struct Sessions {
    /// Number of the last `session` record, 0 when there is none.
    session: u64,
    /// Number for which files were last recorded; a `case` record that names files for a session
    /// counts as 1.
    files_session: u64,
    /// Files in use, by the name that they have in every session.
    files: BTreeMap<String, FileEntry>,
    /// How the last session ended.
    last: LastSession,
}

impl Case {
    /// Makes a new case in `dir`, which must be empty or not be there; its parent must. The first
    /// record names every file; in a signed case the key and a checkpoint follow. Everything is on
    /// the disk when it returns.
    pub fn create(
        dir: &Path,
        meta: CaseMeta,
        files: &CaseFiles,
        signing: &Signing,
    ) -> Result<Store, StoreError> {
        let (case, lock, first) = Self::lay_out(dir, meta, files)?;
        let mut ratchet = None;
        let mut drafts = vec![first];
        if case.meta().is_signed() {
            let made = Ratchet::create(dir, signing)?;
            case::sync_folder(dir)?;
            drafts.push(made.key_draft()?);
            ratchet = Some(made);
        }
        let path = case.database();
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_CREATE)?;
        make_durable(&connection, &path)?;
        let reason = ratchet.is_some().then_some(Reason::Case);
        let head = commit(
            &mut connection,
            &path,
            ratchet.as_mut(),
            |transaction| {
                lay_out(transaction, 0)?;
                insert(transaction, Head::EMPTY, &drafts)
            },
            reason,
        )?;
        let sessions = Sessions::read(&connection, &path, &[], head)?;
        Ok(Store {
            connection,
            path,
            closed: Vec::new(),
            moving: false,
            case,
            head,
            sessions,
            ratchet,
            vouched: head.seq,
            _lock: lock,
        })
    }
}

impl Store {
    /// Opens an existing case for writing and says how its last session ended. A signed case needs
    /// its key.
    pub fn open(dir: &Path, signing: &Signing) -> Result<Self, StoreError> {
        let case = Case::open(dir)?;
        case.check_private()?;
        medium::check(dir)?;
        if case.meta().version < FORMAT_VERSION {
            return Err(StoreError::OlderFormat {
                path: dir.to_owned(),
                found: case.meta().version,
            });
        }
        let lock = CaseLock::exclusive(dir)?;
        let mut closed = parts::list(dir)?;
        let Some(path) = closed.pop() else {
            return Err(StoreError::Interrupted(dir.to_owned()));
        };
        let connection = connect(&path, OpenFlags::empty())?;
        check_identity(&connection, &path, dir)?;
        let head = read_head(&connection, &path)?;
        if head == Head::EMPTY {
            return Err(StoreError::Interrupted(dir.to_owned()));
        }
        let (ratchet, vouched) = if case.meta().is_signed() {
            let (seq, next) = read_next_key(&connection, &path, &closed)?;
            let next = next.ok_or_else(|| StoreError::Sealed(dir.to_owned()))?;
            (Some(Ratchet::open(dir, &next, signing)?), seq)
        } else {
            (None, head.seq)
        };
        // A sealed case's file stays as it is in bundles, so this comes last.
        make_durable(&connection, &path)?;
        parts::forget_next(dir);
        let sessions = Sessions::read(&connection, &path, &closed, head)?;
        Ok(Self {
            connection,
            path,
            closed,
            moving: false,
            case,
            head,
            sessions,
            ratchet,
            vouched,
            _lock: lock,
        })
    }

    /// Appends `drafts` in order as one transaction, and a checkpoint behind them where there is a
    /// [`Reason`] for one. When it returns they survive a loss of power. An error leaves nothing of
    /// them behind; the same drafts may be given again.
    pub fn append(&mut self, drafts: &[Draft]) -> Result<Head, StoreError> {
        self.append_due(drafts, false)
    }

    /// The same; with `due`, what waits for a checkpoint has waited long enough.
    pub(super) fn append_due(&mut self, drafts: &[Draft], due: bool) -> Result<Head, StoreError> {
        self.append_for(drafts, signing::reason(drafts, self.unvouched(), due))
    }

    /// The same, with a checkpoint for the reason given, which a signed case then has in any case.
    pub fn append_vouched(&mut self, drafts: &[Draft], reason: Reason) -> Result<Head, StoreError> {
        self.append_for(drafts, Some(reason))
    }

    fn append_for(&mut self, drafts: &[Draft], reason: Option<Reason>) -> Result<Head, StoreError> {
        check_sizes(drafts)?;
        let reason = reason.filter(|_| self.ratchet.is_some());
        if drafts.is_empty() && reason.is_none() {
            return Ok(self.head);
        }
        if self.moving {
            self.move_on()?;
        }
        let before = self.head;
        self.head = commit(
            &mut self.connection,
            &self.path,
            self.ratchet.as_mut(),
            |transaction| insert(transaction, before, drafts),
            reason,
        )?;
        if reason.is_some() {
            self.vouched = self.head.seq;
        }
        for (draft, seq) in drafts.iter().zip(before.seq + 1..) {
            self.sessions
                .note(draft.kind().as_str(), draft.body(), seq, self.head);
        }
        Ok(self.head)
    }

    /// How many bytes the part that is written has.
    pub(super) fn part_bytes(&self) -> Result<u64, StoreError> {
        let pragma = |name| -> rusqlite::Result<i64> {
            self.connection
                .pragma_query_value(None, name, |row| row.get(0))
        };
        pragma("page_count")
            .and_then(|pages| Ok(pages.saturating_mul(pragma("page_size")?)))
            // A size is never negative.
            .map(|bytes| u64::try_from(bytes).unwrap_or(0))
            .map_err(|error| StoreError::sqlite(&self.path, error))
    }

    /// Closes the part that is written and begins the next, with a record that names the closed one
    /// and a checkpoint behind it. Nothing happens while somebody else has the file open. After an
    /// error, as after a crash, the case has either the old part or both, each as a whole; calling
    /// again goes on.
    pub(super) fn roll(&mut self) -> Result<Head, StoreError> {
        if self.moving {
            return self.move_on();
        }
        let part = self.closed.len() + 1;
        let begun = parts::close(&self.connection, &self.path, part)
            .and_then(|closed| closed.map_or(Ok(()), |closed| self.begin_part(part, closed)));
        if !self.moving {
            // Goes on with this one. The first error counts.
            let durable = make_durable(&self.connection, &self.path);
            return begun.and(durable).map(|()| self.head);
        }
        begun?;
        self.move_on()
    }

    fn begin_part(&mut self, part: usize, (bytes, sha256): (u64, Hash)) -> Result<(), StoreError> {
        let first = self
            .connection
            .query_row("SELECT min(seq) FROM record", [], |row| row.get(0))
            .map_err(|error| StoreError::sqlite(&self.path, error))?;
        let closed = RolledBody {
            bytes,
            first,
            last: self.head.seq,
            part: part + 1,
            path: parts::name(part),
            sha256,
        };
        let dir = self.case.dir();
        parts::make_next(dir, self.head, &closed)?;
        let begun = parts::begin_next(dir, part + 1);
        // An error may come after the deed; then nothing may go into the closed part any more.
        let next = dir.join(parts::name(part + 1));
        self.moving = begun.is_ok() || next.try_exists().unwrap_or(true);
        begun
    }

    /// Opens the part that was begun.
    fn move_on(&mut self) -> Result<Head, StoreError> {
        case::sync_folder(self.case.dir())?;
        let path = self.case.dir().join(parts::name(self.closed.len() + 2));
        let connection = connect(&path, OpenFlags::empty())?;
        make_durable(&connection, &path)?;
        self.head = read_head(&connection, &path)?;
        self.connection = connection;
        self.closed.push(std::mem::replace(&mut self.path, path));
        self.moving = false;
        self.sessions
            .note(Kind::ROLLED.as_str(), "", self.head.seq, self.head);
        self.append_vouched(&[], Reason::Roll)
    }

    /// Closes the case for good: appends what says so, and the last checkpoint. What is written into
    /// a bundle afterwards is [`Bundle`](super::bundle::Bundle)'s work.
    pub fn seal(mut self, sealed: &SealedBody) -> Result<Head, StoreError> {
        if self.ratchet.is_none() {
            return Err(StoreError::Unsigned(self.case.dir().to_owned()));
        }
        self.append_vouched(&[Draft::new(Kind::SEALED, sealed)?], Reason::Seal)
    }

    /// How many records no checkpoint vouches for yet; 0 in an unsigned case.
    pub fn unvouched(&self) -> i64 {
        if self.ratchet.is_some() {
            self.head.seq - self.vouched
        } else {
            0
        }
    }

    /// Copies the files as this session uses them into the folder, where they differ from those of
    /// the sessions before, and appends the `files` record. Once a session, before its `session`
    /// record; not needed in a new case's first session.
    pub fn append_files(&mut self, files: &CaseFiles) -> Result<Head, StoreError> {
        let number = self.sessions.session.max(self.sessions.files_session) + 1;
        self.append_files_of(number, files)
    }

    /// As [`Store::append_files`], for a session that keeps the number that it has in another case.
    pub fn append_files_of(&mut self, session: u64, files: &CaseFiles) -> Result<Head, StoreError> {
        let draft = self.case.add_files(session, files, &self.sessions.files)?;
        self.append(&[draft])
    }

    /// Keeps the inventory's files as they became while a session watches: copies those that
    /// differ into the folder of this change, and appends the `files` record of the session's files
    /// from then on. `change` counts such changes of the session from 1.
    pub fn append_inventory(
        &mut self,
        change: u32,
        files: &[(String, Vec<u8>)],
    ) -> Result<Head, StoreError> {
        let session = self.sessions.session;
        let draft = self
            .case
            .add_inventory((session, change), files, &self.sessions.files)?;
        self.append(&[draft])
    }

    /// The number that the next `session` record carries.
    pub fn next_session(&self) -> u64 {
        self.sessions.files_session.max(self.sessions.session + 1)
    }

    /// The bodies of every record of a kind, in order.
    pub fn bodies(&self, kind: &Kind) -> Result<Vec<String>, StoreError> {
        let mut bodies = Vec::new();
        let mut read = |connection: &Connection, path: &Path| {
            (|| {
                let mut statement =
                    connection.prepare("SELECT body FROM record WHERE kind = ?1 ORDER BY seq")?;
                let mut rows = statement.query_map(params![kind.as_str()], |row| row.get(0))?;
                rows.try_for_each(|body| body.map(|body| bodies.push(body)))
            })()
            .map_err(|error| StoreError::sqlite(path, error))
        };
        for path in &self.closed {
            read(&snapshot::closed(path)?, path)?;
        }
        read(&self.connection, &self.path)?;
        Ok(bodies)
    }

    /// How the session before ended.
    pub fn last_session(&self) -> LastSession {
        self.sessions.last
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The case it belongs to.
    pub fn case(&self) -> &Case {
        &self.case
    }
}

impl Sessions {
    /// Reads backwards until everything is known: to the start of the last session as a rule.
    fn read(
        connection: &Connection,
        path: &Path,
        closed: &[PathBuf],
        head: Head,
    ) -> Result<Self, StoreError> {
        let mut rows: Vec<(i64, String, String)> = Vec::new();
        let (mut files, mut session) = (false, false);
        backwards(connection, path, closed, |connection| {
            let mut statement = connection.prepare(
                "SELECT seq, kind, body FROM record \
                 WHERE kind IN ('case', 'files', 'session', 'stop', 'unclean_stop') \
                 ORDER BY seq DESC",
            )?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let (seq, kind, body): (i64, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                files |= kind == "files" || kind == "case";
                session |= kind == "session";
                rows.push((seq, kind, body));
                if files && session {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })?;
        let mut sessions = Self {
            session: 0,
            files_session: 0,
            files: BTreeMap::new(),
            last: LastSession::None,
        };
        for (seq, kind, body) in rows.iter().rev() {
            sessions.note(kind, body, *seq, head);
        }
        Ok(sessions)
    }

    /// Takes a record in. A body of another form is of a later version, and changes nothing.
    fn note(&mut self, kind: &str, body: &str, seq: i64, head: Head) {
        #[derive(Deserialize)]
        struct Number {
            session: u64,
        }
        match kind {
            "case" => {
                if let Ok(body) = serde_json::from_str::<CaseBody>(body) {
                    // Beside its metadata a prepared case has no file before its first session.
                    let prepared = body.files.iter().all(|file| file.path == METADATA_FILE);
                    self.use_files(u64::from(!prepared), body.files);
                }
            }
            "files" => {
                if let Ok(body) = serde_json::from_str::<FilesBody>(body) {
                    self.use_files(body.session, body.files);
                }
            }
            "session" => {
                let number = serde_json::from_str(body).map(|Number { session }| session);
                self.session = number.unwrap_or(self.session + 1);
                self.last = LastSession::Unclean {
                    session: self.session,
                    began: seq,
                    last: head,
                };
            }
            "stop" | "unclean_stop" => {
                self.last = LastSession::Ended {
                    session: self.session,
                };
            }
            _ => {}
        }
        if let LastSession::Unclean { last, .. } = &mut self.last {
            *last = head;
        }
    }

    fn use_files(&mut self, session: u64, files: Vec<FileEntry>) {
        self.files_session = session;
        self.files = files
            .into_iter()
            .map(|entry| (case::name_of(&entry.path).to_owned(), entry))
            .collect();
    }
}

/// Moves everything into the database file of a sealed case, so that it is one file which nobody
/// writes beside, also if that was interrupted before.
pub(super) fn close_for_good(dir: &Path) -> Result<(), StoreError> {
    let _lock = CaseLock::exclusive(dir)?;
    // Those before it are closed already.
    let mut closed = parts::list(dir)?;
    let path = closed
        .pop()
        .ok_or_else(|| StoreError::Interrupted(dir.to_owned()))?;
    let connection = connect(&path, OpenFlags::empty())?;
    check_identity(&connection, &path, dir)?;
    let (_, next) = read_next_key(&connection, &path, &closed)?;
    if next.is_some() {
        return Err(StoreError::NotSealed(dir.to_owned()));
    }
    (|| {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
    })()
    .map_err(|error| StoreError::sqlite(&path, error))?;
    connection
        .close()
        .map_err(|(_, error)| StoreError::sqlite(&path, error))
}

/// Asks the part that is written, then the closed ones from the last to the first, until one answers.
fn backwards<T>(
    connection: &Connection,
    path: &Path,
    closed: &[PathBuf],
    mut ask: impl FnMut(&Connection) -> rusqlite::Result<Option<T>>,
) -> Result<Option<T>, StoreError> {
    let mut answer = ask(connection).map_err(|error| StoreError::sqlite(path, error))?;
    for path in closed.iter().rev() {
        if answer.is_some() {
            break;
        }
        let connection = snapshot::closed(path)?;
        answer = ask(&connection).map_err(|error| StoreError::sqlite(path, error))?;
    }
    Ok(answer)
}

/// Makes the tables of a part whose records follow the record `base`.
pub(super) fn lay_out(connection: &Connection, base: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", schema::VERSION)?;
    for object in schema::OBJECTS {
        connection.execute(&object.sql_behind(base), [])?;
    }
    Ok(())
}

/// Moves everything from the write-ahead log into the database, and goes on without one; false
/// while somebody else has it open.
pub(super) fn leave_log(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    // Nobody is waited for: others wait for us.
    connection.busy_timeout(Duration::ZERO).map_err(failed)?;
    let mut left = false;
    let changed = connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| {
        left = row.get::<_, String>(0)? == "delete";
        Ok(())
    });
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    match changed.map_err(failed) {
        Ok(()) => Ok(left),
        Err(StoreError::Locked(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens for reading and writing, hardened against a hostile file.
pub(super) fn connect(path: &Path, more: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            Ok(connection)
        })
        .map_err(|error| StoreError::sqlite(path, error))
}

/// Puts every commit on the disk. It changes the file, so it comes after it was found to be ours.
fn make_durable(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    (|| {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MAX, |_| Ok(()))
    })()
    .map_err(|error| StoreError::sqlite(path, error))
}

/// Checks that the file is an evidence database of a version that we know.
fn check_identity(connection: &Connection, path: &Path, dir: &Path) -> Result<(), StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| StoreError::sqlite(path, error))
    };
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| StoreError::sqlite(path, error))?;
    if objects == 0 {
        return Err(StoreError::Interrupted(dir.to_owned()));
    }
    let application = pragma("application_id")?;
    if application != i64::from(schema::APPLICATION_ID) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            detail: format!(
                "application_id is {application}, expected {}",
                schema::APPLICATION_ID
            ),
        });
    }
    let version = pragma("user_version")?;
    if version > i64::from(schema::VERSION) {
        return Err(StoreError::newer(path, version));
    }
    Ok(())
}

/// Reads the last record and checks its hash, so that nothing is chained to a damaged end.
fn read_head(connection: &Connection, path: &Path) -> Result<Head, StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt {
        path: path.to_owned(),
        detail,
    };
    let last = connection
        .query_row(
            "SELECT seq, kind, body, attachment, prev, hash FROM record ORDER BY seq DESC LIMIT 1",
            [],
            |row| {
                let (seq, kind, body): (i64, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let attachment: Option<Vec<u8>> = row.get(3)?;
                let (prev, hash): (Vec<u8>, Vec<u8>) = (row.get(4)?, row.get(5)?);
                Ok((seq, kind, body, attachment, prev, hash))
            },
        )
        .optional()
        .map_err(|error| StoreError::sqlite(path, error))?;
    let Some((seq, kind, body, attachment, prev, hash)) = last else {
        return Ok(Head::EMPTY);
    };
    let (Some(prev), Some(hash)) = (Hash::from_slice(&prev), Hash::from_slice(&hash)) else {
        return Err(corrupt(format!(
            "record {seq} has a hash that is not 32 bytes"
        )));
    };
    let computed = record_hash(
        &prev,
        seq,
        kind.as_bytes(),
        body.as_bytes(),
        attachment.as_deref(),
    );
    if computed != hash {
        return Err(corrupt(format!("record {seq} does not match its hash")));
    }
    Ok(Head { seq, hash })
}

/// The public key of the next checkpoint, and the record that names it; no key in a sealed case.
fn read_next_key(
    connection: &Connection,
    path: &Path,
    closed: &[PathBuf],
) -> Result<(i64, Option<String>), StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt {
        path: path.to_owned(),
        detail,
    };
    let last = |connection: &Connection| {
        connection
            .query_row(
                "SELECT seq, kind, body FROM record WHERE kind IN ('key', 'checkpoint') \
                 ORDER BY seq DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
    };
    let (seq, kind, body): (i64, String, String) = backwards(connection, path, closed, last)?
        .ok_or_else(|| {
            corrupt("a signed case has a key as its record 2, this one has none".into())
        })?;
    let next = if kind == Kind::KEY.as_str() {
        serde_json::from_str(&body).map(|KeyBody { public, .. }| Some(public))
    } else {
        serde_json::from_str(&body).map(|CheckpointBody { next, .. }| next)
    };
    Ok((
        seq,
        next.map_err(|error| corrupt(format!("record {seq} names no key: {error}")))?,
    ))
}

/// One transaction: what `write` appends, then the checkpoint for `reason`. The key that it names
/// is on the disk before, and the one that it used is erased afterwards.
pub(super) fn commit(
    connection: &mut Connection,
    path: &Path,
    ratchet: Option<&mut Ratchet>,
    write: impl FnOnce(&Connection) -> rusqlite::Result<Head>,
    reason: Option<Reason>,
) -> Result<Head, StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    let mut signed = ratchet.zip(reason);
    if let Some((ratchet, _)) = &mut signed {
        ratchet.prepare()?;
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let mut head = write(&transaction).map_err(failed)?;
    if let Some((ratchet, reason)) = &signed {
        let draft = ratchet.checkpoint(head, *reason)?;
        head = insert(&transaction, head, &[draft]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    if let Some((ratchet, _)) = signed {
        ratchet.advance();
    }
    Ok(head)
}

/// Inserts `drafts` behind `head`; the caller commits.
pub(super) fn insert(
    connection: &Connection,
    head: Head,
    drafts: &[Draft],
) -> rusqlite::Result<Head> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO record(seq, kind, body, attachment, prev, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut head = head;
    for draft in drafts {
        let seq = head.seq + 1;
        let kind: &Kind = draft.kind();
        let hash = record_hash(
            &head.hash,
            seq,
            kind.as_str().as_bytes(),
            draft.body().as_bytes(),
            draft.attachment(),
        );
        statement.execute(params![
            seq,
            kind.as_str(),
            draft.body(),
            draft.attachment(),
            head.hash.as_bytes(),
            hash.as_bytes()
        ])?;
        head = Head { seq, hash };
    }
    Ok(head)
}

fn check_sizes(drafts: &[Draft]) -> Result<(), StoreError> {
    for draft in drafts {
        let lengths = [
            (draft.body().len(), BODY_MAX),
            (draft.attachment().map_or(0, <[u8]>::len), ATTACHMENT_MAX),
        ];
        for (bytes, max) in lengths {
            if bytes > max {
                return Err(StoreError::TooLarge {
                    kind: draft.kind().to_string(),
                    bytes,
                    max,
                });
            }
        }
    }
    Ok(())
}
