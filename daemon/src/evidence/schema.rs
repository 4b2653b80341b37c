//! The database's schema as text: what the writer creates and the verifier expects, byte for byte.
//!
//! One table holds everything; the other names are views over it, so that nothing is stored twice.
//! There is no index on purpose: an index is a second copy that could say something else.

/// `PRAGMA application_id` of an evidence database: `SKSH` in ASCII.
pub const APPLICATION_ID: i32 = 0x534b_5348;

/// `PRAGMA user_version`: the version of this schema.
///
/// 2 since cases are signed; the objects are those of version 1.
pub const VERSION: i32 = 2;

/// What the trigger `record_is_appended` of a case's first part takes for the record before its
/// first; a later part has the last record of the part before in its place.
const FIRST_BASE: &str = "coalesce(max(seq), 0)";

/// An object of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// `table`, `view` or `trigger`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The statement that creates it, as SQLite keeps it in `sqlite_schema.sql`.
    pub sql: &'static str,
}

impl Object {
    /// The statement for a part of a case whose records follow the record `base`.
    pub(super) fn sql_behind(&self, base: i64) -> String {
        self.sql
            .replace(FIRST_BASE, &format!("coalesce(max(seq), {base})"))
    }
}

const fn object(kind: &'static str, name: &'static str, sql: &'static str) -> Object {
    Object { kind, name, sql }
}

/// Every object, in the order of creation.
pub const OBJECTS: &[Object] = &[
    object(
        "table",
        "record",
        "CREATE TABLE record(\
         seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL, attachment BLOB, \
         prev BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
    ),
    object(
        "trigger",
        "record_is_appended",
        "CREATE TRIGGER record_is_appended BEFORE INSERT ON record \
         WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record) \
         BEGIN SELECT RAISE(ABORT, 'records are appended in order'); END",
    ),
    object(
        "trigger",
        "record_is_not_changed",
        "CREATE TRIGGER record_is_not_changed BEFORE UPDATE ON record \
         BEGIN SELECT RAISE(ABORT, 'records are never changed'); END",
    ),
    object(
        "trigger",
        "record_is_not_deleted",
        "CREATE TRIGGER record_is_not_deleted BEFORE DELETE ON record \
         BEGIN SELECT RAISE(ABORT, 'records are never deleted'); END",
    ),
    object(
        "view",
        "flows",
        "CREATE VIEW flows AS SELECT seq, body ->> '$.proto' AS proto, body ->> '$.src' AS src, \
         body ->> '$.sport' AS sport, body ->> '$.dst' AS dst, body ->> '$.dport' AS dport, \
         body ->> '$.start' AS started, body ->> '$.end' AS ended, \
         body ->> '$.packets_out' AS packets_out, body ->> '$.bytes_out' AS bytes_out, \
         body ->> '$.packets_in' AS packets_in, body ->> '$.bytes_in' AS bytes_in, \
         body ->> '$.state' AS state, body ->> '$.rtt_us' AS rtt_us, \
         body ->> '$.owner.uid' AS uid, body -> '$.owner' AS owner, body -> '$.names' AS names, \
         body -> '$.place' AS place FROM record WHERE kind = 'flow'",
    ),
    object(
        "view",
        "contacts",
        "CREATE VIEW contacts AS SELECT seq, body ->> '$.contact' AS contact, \
         body ->> '$.owner.uid' AS uid, body -> '$.owner' AS owner, \
         body -> '$.packages' AS packages, body ->> '$.endpoint.addr' AS address, \
         body ->> '$.endpoint.port' AS port, body ->> '$.endpoint.proto' AS proto, \
         body ->> '$.endpoint.name' AS name, body ->> '$.phase' AS phase, \
         body ->> '$.place.country' AS country, body ->> '$.place.grade' AS grade, \
         body -> '$.place' AS place, body ->> '$.at' AS at FROM record WHERE kind = 'contact'",
    ),
    object(
        "view",
        "findings",
        "CREATE VIEW findings AS SELECT seq, body ->> '$.contact' AS contact, \
         body ->> '$.set' AS rule_set, body ->> '$.set_version' AS set_version, \
         body ->> '$.rule' AS rule, body ->> '$.kind' AS kind, \
         body ->> '$.severity' AS severity, body ->> '$.outcome' AS outcome, \
         body ->> '$.reason' AS reason, body -> '$.reference' AS reference, \
         body -> '$.packets' AS packets, body ->> '$.at' AS at \
         FROM record WHERE kind = 'finding'",
    ),
    object(
        "view",
        "totals",
        "CREATE VIEW totals AS SELECT seq, body ->> '$.contact' AS contact, \
         body ->> '$.flows' AS flows, body ->> '$.packets_out' AS packets_out, \
         body ->> '$.bytes_out' AS bytes_out, body ->> '$.first' AS first_at, \
         body ->> '$.last' AS last_at FROM record WHERE kind = 'total'",
    ),
    object(
        "view",
        "gaps",
        "CREATE VIEW gaps AS SELECT seq, body ->> '$.at' AS at, body ->> '$.cause' AS cause, \
         body ->> '$.from' AS started, body ->> '$.to' AS ended, \
         body ->> '$.packets' AS packets, body ->> '$.place' AS place, \
         body ->> '$.detail' AS detail FROM record WHERE kind = 'gap'",
    ),
    object(
        "view",
        "notes",
        "CREATE VIEW notes AS SELECT seq, body ->> '$.at' AS at, body ->> '$.text' AS text \
         FROM record WHERE kind = 'note'",
    ),
    object(
        "view",
        "phases",
        "CREATE VIEW phases AS SELECT seq, body ->> '$.at' AS at, body ->> '$.name' AS name \
         FROM record WHERE kind = 'phase'",
    ),
    object(
        "view",
        "journal",
        "CREATE VIEW journal AS SELECT seq, body ->> '$.first' AS first, \
         body ->> '$.inputs' AS inputs, body ->> '$.packets' AS packets, \
         body ->> '$.from' AS started, body ->> '$.to' AS ended, \
         body ->> '$.raw_len' AS raw_len, length(attachment) AS stored_len \
         FROM record WHERE kind = 'journal'",
    ),
];
