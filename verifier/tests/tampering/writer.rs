//! A writer of signed cases and bundles, made from `docs/evidence-format.md` for tests alone: the
//! verifier is thus held against a second reading of the format, and not only against the daemon.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use ed25519_compact::{KeyPair, Seed};
use flate2::{Compression, write::ZlibEncoder};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// When everything of these cases happened.
pub const AT: &str = "2026-11-28T06:00:00.000000Z";

/// Statements that make the database, in their order.
pub fn schema() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/evidence-schema.sql");
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Where a golden case lies.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/cases")
        .join(name)
}

/// The file of a part of the database.
pub fn part_name(part: usize) -> String {
    match part {
        1 => "evidence.db".to_owned(),
        part => format!("evidence-{part:06}.db"),
    }
}

/// A row of the table of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: i64,
    pub kind: String,
    pub body: String,
    pub attachment: Option<Vec<u8>>,
    pub prev: Vec<u8>,
    pub hash: Vec<u8>,
    /// The part of the database that it lies in.
    pub part: usize,
}

/// The hash of a record.
pub fn hash(row: &Row) -> Vec<u8> {
    let mut sha = Sha256::new();
    sha.update(b"sakshi record 1\n");
    sha.update(&row.prev);
    sha.update(row.seq.to_be_bytes());
    for part in [row.kind.as_bytes(), row.body.as_bytes()] {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    match &row.attachment {
        None => sha.update([0]),
        Some(bytes) => {
            sha.update([1]);
            sha.update((bytes.len() as u64).to_be_bytes());
            sha.update(bytes);
        }
    }
    sha.finalize().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Canonical text of a value that has printable ASCII texts only: `serde_json` sorts its keys.
pub fn canonical(value: &Value) -> String {
    fn write_value(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                out.push('{');
                for (at, (key, value)) in sorted.into_iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    write!(out, "{key:?}:").unwrap();
                    write_value(value, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (at, value) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    write_value(value, out);
                }
                out.push(']');
            }
            other => out.push_str(&other.to_string()),
        }
    }
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// A chain that is being made. Keys follow from a number, so that the case is the same each time.
pub struct Writer {
    pub rows: Vec<Row>,
    pub files: BTreeMap<String, Vec<u8>>,
    salt: u8,
    keys: u8,
    /// The part that is written; those before are among the files.
    part: usize,
}

impl Writer {
    pub fn new(salt: u8) -> Self {
        Self {
            rows: Vec::new(),
            files: BTreeMap::new(),
            salt,
            keys: 0,
            part: 1,
        }
    }

    pub fn key(&self, number: u8) -> KeyPair {
        let mut seed = [self.salt; 32];
        seed[0] = number;
        KeyPair::from_seed(Seed::new(seed))
    }

    fn public(&self, number: u8) -> String {
        hex(self.key(number).pk.as_slice())
    }

    pub fn id(&self) -> String {
        hex(&[self.salt; 16])
    }

    pub fn append(&mut self, kind: &str, body: &Value, attachment: Option<Vec<u8>>) {
        let mut row = Row {
            seq: i64::try_from(self.rows.len()).unwrap() + 1,
            kind: kind.to_owned(),
            body: canonical(body),
            attachment,
            prev: self
                .rows
                .last()
                .map_or_else(|| vec![0; 32], |row| row.hash.clone()),
            hash: Vec::new(),
            part: self.part,
        };
        row.hash = hash(&row);
        self.rows.push(row);
    }

    pub fn checkpoint(&mut self, reason: &str) {
        let mut body = json!({"at": AT, "next": self.public(self.keys + 1), "reason": reason});
        if reason == "seal" {
            body["next"] = Value::Null;
            body["manifest"] = json!(self.public(self.keys + 1));
        }
        let signed = canonical(&body);
        let last = self.rows.last().expect("a record before");
        let mut message = b"sakshi checkpoint 1\n".to_vec();
        message.extend(&last.hash);
        message.extend((last.seq + 1).to_be_bytes());
        message.extend((signed.len() as u64).to_be_bytes());
        message.extend(signed.as_bytes());
        let signature = self.key(self.keys).sk.sign(&message, None);
        body["signature"] = json!(hex(signature.as_slice()));
        self.keys += 1;
        self.append("checkpoint", &body, None);
    }

    fn entry(&mut self, path: &str, bytes: &[u8]) -> Value {
        self.files.insert(path.to_owned(), bytes.to_vec());
        json!({"bytes": bytes.len(), "path": path, "sha256": hex(&Sha256::digest(bytes))})
    }

    /// Closes the part that is written and begins the next.
    pub fn roll(&mut self) {
        let mut body = rolled(&self.rows);
        let path = body["path"].as_str().unwrap().to_owned();
        let bytes = part_bytes(&self.rows, self.part);
        body["bytes"] = json!(bytes.len());
        body["sha256"] = json!(hex(&Sha256::digest(&bytes)));
        self.files.insert(path, bytes);
        self.part += 1;
        self.append("rolled", &body, None);
        self.checkpoint("roll");
    }

    /// Cuts off all behind the first `kept` records.
    pub fn cut(&mut self, kept: usize) {
        self.rows.truncate(kept);
        self.part = self.rows.last().unwrap().part;
        let last = self.part;
        self.files
            .retain(|path, _| (last..9).all(|part| *path != part_name(part)));
    }

    /// A case as a watch leaves it that saw little; sealed or not.
    pub fn sample(salt: u8, sealed: bool) -> Self {
        Self::build(salt, sealed, false)
    }

    /// The same, in three parts.
    pub fn in_parts(salt: u8, sealed: bool) -> Self {
        Self::build(salt, sealed, true)
    }

    fn build(salt: u8, sealed: bool, parts: bool) -> Self {
        let mut case = Self::new(salt);
        let meta = json!({"created": AT, "format": "sakshi-case", "id": case.id(),
            "mode": "live", "tool": "a test", "version": 2});
        let files = vec![
            case.entry("case.json", canonical(&meta).as_bytes()),
            case.entry("rules/a.toml", &[b'#', salt, b'\n']),
        ];
        case.append("case", &json!({"case": meta, "files": files}), None);
        let public = case.public(0);
        case.append(
            "key",
            &json!({"algorithm": "ed25519", "public": public}),
            None,
        );
        case.checkpoint("case");
        case.append("session", &json!({"at": AT, "session": 1}), None);
        case.checkpoint("session");
        case.append(
            "note",
            &json!({"at": AT, "text": format!("of {salt}")}),
            Some(vec![salt; 9]),
        );
        case.append("phase", &json!({"at": AT, "name": "idle"}), None);
        case.checkpoint("phase");
        if parts {
            case.roll();
        }
        let (body, block) = journal_block();
        case.append("journal", &body, Some(block));
        for number in 1..=2_u8 {
            let path = format!("packets/{number:06}.pcapng");
            let mut segment = case.entry(&path, &[number ^ salt; 700]);
            segment["session"] = json!(1);
            case.append("segment", &segment, None);
        }
        let dropped = "packets/000001.pcapng";
        case.append(
            "segment_dropped",
            &json!({"at": AT, "path": dropped, "session": 1}),
            None,
        );
        case.files.remove(dropped);
        if parts {
            case.roll();
        }
        case.append(
            "finding",
            &json!({"contact": "1-1", "count": 3, "rule": "r"}),
            None,
        );
        case.append("stop", &json!({"at": AT}), None);
        case.checkpoint("stop");
        if sealed {
            case.append("sealed", &json!({"at": AT, "session": 1}), None);
            case.checkpoint("seal");
        }
        case
    }

    /// Writes it as a folder.
    pub fn write(&self, dir: &Path, schema: &[String]) {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(dir.join("case.lock"), "").unwrap();
        write_part(dir, schema, &self.rows, self.part);
    }

    /// The case, sealed and written as a folder, as a bundle.
    pub fn bundle(&self, dir: &Path) -> Vec<u8> {
        let mut contents = self.files.clone();
        let last = part_name(self.part);
        let database = fs::read(dir.join(&last)).unwrap();
        contents.insert(last, database);
        let files: Vec<Value> = contents
            .iter()
            .map(|(path, bytes)| {
                json!({"bytes": bytes.len(), "path": format!("case/{path}"),
                    "sha256": hex(&Sha256::digest(bytes))})
            })
            .collect();
        let last = self.rows.last().unwrap();
        let head = json!({"hash": hex(&last.hash), "seq": last.seq});
        let manifest = canonical(&json!({"case": self.id(), "device": null, "files": files,
            "format": "sakshi-bundle", "head": head, "sealed": AT, "version": 1,
            "tool": {"sha256": hex(&[0; 32]), "version": "0"}}));
        let mut message = b"sakshi manifest 1\n".to_vec();
        message.extend(Sha256::digest(manifest.as_bytes()));
        let signature = self.key(self.keys).sk.sign(&message, None);
        let signature = canonical(&json!({"algorithm": "ed25519",
            "public": self.public(self.keys), "signature": hex(signature.as_slice())}));
        let mut out = Vec::new();
        put(&mut out, "manifest.json", manifest.as_bytes());
        put(&mut out, "manifest.sig", signature.as_bytes());
        for (path, bytes) in &contents {
            put(&mut out, &format!("case/{path}"), bytes);
        }
        out.extend([0; 1024]);
        out
    }
}

/// What closes the part that the last row lies in; its length and hash are still to be said.
pub fn rolled(rows: &[Row]) -> Value {
    let part = rows.last().unwrap().part;
    let first = rows.iter().find(|row| row.part == part).unwrap().seq;
    json!({"first": first, "last": rows.last().unwrap().seq, "part": part + 1,
        "path": part_name(part)})
}

/// The file of a part, of the rows that lie in it.
pub fn part_bytes(rows: &[Row], part: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    write_part(dir.path(), &schema(), rows, part);
    fs::read(dir.path().join(part_name(part))).unwrap()
}

/// Writes a part of the rows into the folder `dir`; without rows there is no such part.
pub fn write_part(dir: &Path, schema: &[String], rows: &[Row], part: usize) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.part == part).collect();
    let path = dir.join(part_name(part));
    let _ = fs::remove_file(&path);
    let Some(first) = rows.iter().map(|row| row.seq).min() else {
        return;
    };
    let base = if part == 1 { 0 } else { first - 1 };
    let base = format!("coalesce(max(seq), {base})");
    let schema: Vec<String> = schema
        .iter()
        .map(|sql| sql.replace("coalesce(max(seq), 0)", &base))
        .collect();
    write_database(&path, &schema, &rows);
}

/// Writes rows as a database, in the order given.
fn write_database(path: &Path, schema: &[String], rows: &[&Row]) {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA application_id = 1397445448; PRAGMA user_version = 2",
        )
        .unwrap();
    let transaction = connection.transaction().unwrap();
    let (table, others) = schema.split_first().unwrap();
    transaction.execute_batch(table).unwrap();
    for row in rows {
        transaction
            .execute(
                "INSERT INTO record VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    row.seq,
                    row.kind,
                    row.body,
                    row.attachment,
                    row.prev,
                    row.hash
                ],
            )
            .unwrap();
    }
    // Triggers come last: mutated rows need not be in order.
    for sql in others {
        transaction.execute_batch(sql).unwrap();
    }
    transaction.commit().unwrap();
}

/// Appends a file to a ustar archive.
pub fn put(out: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    let mut header = [0_u8; 512];
    let size = format!("{:011o}\0", bytes.len());
    for (at, field) in [
        (0, path.as_bytes()),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, size.as_bytes()),
        (136, b"00000000000\0"),
        (148, b"        "),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (329, b"0000000\0"),
        (337, b"0000000\0"),
    ] {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend(header);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// A block of a packet and an event, with the body of its record.
fn journal_block() -> (Value, Vec<u8>) {
    // A packet of four bytes at time 0; an event one millisecond later.
    let mut raw = vec![1, 0, 0, 1, 0, 2, 60, 4, 4, 1, 2, 3, 4];
    let event = b"{\"tick\":\"1970-01-01T00:00:00.001000Z\"}";
    raw.push(2);
    let mut step = 2_000_000_u32;
    while step > 0x7f {
        raw.push(u8::try_from(step & 0x7f).unwrap() | 0x80);
        step >>= 7;
    }
    raw.push(u8::try_from(step).unwrap());
    raw.push(u8::try_from(event.len()).unwrap());
    raw.extend(event);
    let mut block = ZlibEncoder::new(b"SKJ\x01".to_vec(), Compression::default());
    block.write_all(&raw).unwrap();
    let body = json!({"first": 1, "from": "1970-01-01T00:00:00.000000Z", "inputs": 2,
        "packets": 1, "raw_len": raw.len(), "to": "1970-01-01T00:00:00.001000Z", "version": 1});
    (body, block.finish().unwrap())
}
