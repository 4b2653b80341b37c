//! Random changes of a case or a bundle, as somebody might make them who has everything but the
//! private keys. The same number gives the same change.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::writer::{Row, Writer, canonical, hash, hex, part_bytes, part_name, rolled, write_part};

/// Numbers that look like chance (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).unwrap()
    }
}

/// What a verifier must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// Damaged, with or without a head.
    Damaged,
    /// Damaged with a head; without one, an older state looks as it did then.
    DamagedWithHead,
    /// Records that fit were appended without a key: nothing vouches for them.
    NotIntact,
    /// Damaged, or nothing that a record says has changed.
    DamagedOrSame,
}

/// Two cases and where one of them is changed.
pub struct Bench<'a> {
    pub case: &'a Writer,
    pub other: &'a Writer,
    pub schema: &'a [String],
}

impl Bench<'_> {
    /// Writes the case with one change into the empty folder `dir`.
    pub fn mutate(&self, dir: &Path, chance: &mut Chance) -> (String, Must) {
        let mut rows = self.case.rows.clone();
        let at = chance.below(rows.len());
        let name = |what: &str| format!("{what}, record {}", at + 1);
        let (what, must) = match chance.below(14) {
            0 | 1 => (value(&mut rows, at, chance), Must::Damaged),
            2 => {
                let last = at == rows.len() - 1;
                rows.remove(at);
                let must = if last {
                    Must::DamagedWithHead
                } else {
                    Must::Damaged
                };
                (name("deleted"), must)
            }
            3 => {
                let other = (at + 1 + chance.below(rows.len() - 1)) % rows.len();
                rows.swap(at, other);
                let numbers = (rows[at].seq, rows[other].seq);
                (rows[at].seq, rows[other].seq) = (numbers.1, numbers.0);
                let parts = (rows[at].part, rows[other].part);
                (rows[at].part, rows[other].part) = (parts.1, parts.0);
                (name("swapped"), Must::Damaged)
            }
            4 => {
                let mut again = rows[at].clone();
                again.seq = number(rows.len() + 1);
                again.part = rows[rows.len() - 1].part;
                if chance.below(2) == 0 {
                    again.prev.clone_from(&rows[rows.len() - 1].hash);
                    again.hash = hash(&again);
                }
                rows.push(again);
                (name("doubled"), Must::NotIntact)
            }
            5 => {
                rows.truncate(at.max(1));
                (
                    format!("cut behind record {}", at.max(1)),
                    Must::DamagedWithHead,
                )
            }
            6 | 7 => self.made_anew(&mut rows, at, chance),
            8 => {
                rows.clone_from(&self.other.rows);
                ("database of another case".to_owned(), Must::Damaged)
            }
            9 => return self.part_more(dir, chance),
            _ => return self.file(dir, chance),
        };
        self.case.write(dir, self.schema);
        let of = |rows: &[Row], part| -> Vec<Row> {
            let rows = rows.iter().filter(|row| row.part == part);
            rows.cloned().collect()
        };
        for part in 1..=self.case.rows[self.case.rows.len() - 1].part {
            if of(&rows, part) != of(&self.case.rows, part) {
                write_part(dir, self.schema, &rows, part);
            }
        }
        (what, must)
    }

    /// A part behind the last one: some file, a part of another case, or one that fits.
    fn part_more(&self, dir: &Path, chance: &mut Chance) -> (String, Must) {
        self.case.write(dir, self.schema);
        let mut rows = self.case.rows.clone();
        let part = rows[rows.len() - 1].part + 1;
        let path = dir.join(part_name(part + chance.below(2)));
        let (what, must) = match chance.below(3) {
            0 => {
                fs::write(&path, [b'x'; 700]).unwrap();
                ("a file for a part", Must::Damaged)
            }
            1 => {
                let last = &self.other.rows;
                fs::write(&path, part_bytes(last, last[last.len() - 1].part)).unwrap();
                ("a part of another case more", Must::Damaged)
            }
            _ => {
                let body = closing(&rows);
                let mut row = rows[rows.len() - 1].clone();
                (row.kind, row.body) = ("rolled".to_owned(), canonical(&body));
                (row.seq, row.part) = (row.seq + 1, part);
                row.prev.clone_from(&row.hash);
                row.hash = hash(&row);
                rows.push(row);
                write_part(dir, self.schema, &rows, part);
                ("a part more that fits", Must::NotIntact)
            }
        };
        (what.to_owned(), must)
    }

    /// A value changed, and every hash behind it made to fit: all that is possible without a key.
    fn made_anew(&self, rows: &mut [Row], at: usize, chance: &mut Chance) -> (String, Must) {
        let what = value(rows, at, chance);
        for index in at..rows.len() {
            if index > at {
                let before = rows[index - 1].hash.clone();
                rows[index].prev = before;
                if rows[index].kind == "rolled" {
                    rows[index].body = canonical(&closing(&rows[..index]));
                }
            }
            rows[index].seq = number(index + 1);
            rows[index].hash = hash(&rows[index]);
        }
        // A hash that was changed alone is right again.
        if rows == self.case.rows {
            rows[at].prev[0] ^= 1;
        }
        // The last checkpoint may become something that nothing vouches for.
        let last = at == rows.len() - 1;
        let must = if last {
            Must::DamagedWithHead
        } else {
            Must::Damaged
        };
        (format!("{what}, chain made anew"), must)
    }

    /// A file, or a byte of the database, changed.
    fn file(&self, dir: &Path, chance: &mut Chance) -> (String, Must) {
        self.case.write(dir, self.schema);
        if chance.below(2) == 0 {
            let part = 1 + chance.below(self.case.rows[self.case.rows.len() - 1].part);
            let path = dir.join(part_name(part));
            let mut bytes = fs::read(&path).unwrap();
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
            fs::write(path, bytes).unwrap();
            return (format!("byte {at} of part {part}"), Must::DamagedOrSame);
        }
        let paths: Vec<&String> = self.case.files.keys().collect();
        let path = paths[chance.below(paths.len())];
        let mut bytes = self.case.files[path].clone();
        let what = match chance.below(4) {
            0 => {
                fs::remove_file(dir.join(path)).unwrap();
                return (format!("{path} removed"), Must::Damaged);
            }
            1 => {
                bytes.truncate(chance.below(bytes.len()));
                "cut"
            }
            2 => {
                bytes.clone_from(&self.other.files[path]);
                "of another case"
            }
            _ => {
                let at = chance.below(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
                "changed"
            }
        };
        fs::write(dir.join(path), bytes).unwrap();
        (format!("{path} {what}"), Must::Damaged)
    }
}

/// What closes the part of the last row, whatever is in it.
fn closing(rows: &[Row]) -> Value {
    let mut body = rolled(rows);
    let bytes = part_bytes(rows, rows[rows.len() - 1].part);
    body["bytes"] = json!(bytes.len());
    body["sha256"] = json!(hex(&Sha256::digest(&bytes)));
    body
}

/// Another value in one column of one row.
fn value(rows: &mut [Row], at: usize, chance: &mut Chance) -> String {
    let count = number(rows.len());
    let row = &mut rows[at];
    let column = match chance.below(6) {
        0 => {
            let other = if row.kind == "note" { "gap" } else { "note" };
            other.clone_into(&mut row.kind);
            "kind"
        }
        1 => {
            row.attachment = match row.attachment.take() {
                None => Some(vec![]),
                Some(mut bytes) if !bytes.is_empty() => {
                    let index = chance.below(bytes.len());
                    bytes[index] ^= 1 << chance.below(8);
                    Some(bytes)
                }
                Some(_) => None,
            };
            "attachment"
        }
        2 => {
            row.prev[chance.below(32)] ^= 1 << chance.below(8);
            "prev"
        }
        3 => {
            row.hash[chance.below(32)] ^= 1 << chance.below(8);
            "hash"
        }
        4 => {
            row.seq += count * (1 + number(chance.below(9)));
            "seq"
        }
        _ => {
            let mut body: Value = serde_json::from_str(&row.body).unwrap();
            leaf(&mut body, chance);
            row.body = canonical(&body);
            "body"
        }
    };
    format!("{column} of record {}", at + 1)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

/// Changes one leaf of a body.
fn leaf(value: &mut Value, chance: &mut Chance) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let at = chance.below(map.len());
            leaf(map.values_mut().nth(at).unwrap(), chance);
        }
        Value::Array(items) if !items.is_empty() => {
            let at = chance.below(items.len());
            leaf(&mut items[at], chance);
        }
        Value::String(text) if !text.is_empty() => {
            let mut bytes = text.clone().into_bytes();
            let at = chance.below(bytes.len());
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            *text = String::from_utf8(bytes).unwrap();
        }
        Value::Number(number) => *value = json!(number.as_i64().unwrap() + 1),
        _ => *value = json!(7),
    }
}

/// A bundle with one change.
pub fn mutate_bundle(bundle: &[u8], other: &[u8], chance: &mut Chance) -> (String, Vec<u8>) {
    let mut bytes = bundle.to_vec();
    let at = chance.below(bytes.len());
    let block = at / 512 * 512;
    let what = match chance.below(8) {
        0..=3 => {
            bytes[at] ^= 1 << chance.below(8);
            format!("byte {at}")
        }
        4 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        5 => {
            bytes.insert(at, 0);
            format!("a byte more at {at}")
        }
        6 => {
            bytes.drain(block..block + 512);
            format!("block at {block} left out")
        }
        _ => {
            let length = 512.min(other.len() - block.min(other.len()));
            let theirs = other[other.len() - length..].to_vec();
            let theirs = other.get(block..block + 512).unwrap_or(&theirs);
            bytes[block..block + theirs.len()].copy_from_slice(theirs);
            format!("block at {block} of another bundle")
        }
    };
    (what, bytes)
}
