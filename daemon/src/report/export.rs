//! Exports: JSON Lines and CSV of what a case holds.
//!
//! In: a case that is open. Out: rows on a writer, in recorded order; the same case gives the same bytes.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{csv, fold::Fold};
use crate::evidence::{
    Hash, Kind, Reader, Record, StoreError, body,
    canonical::{CanonicalError, to_canonical},
};

/// What to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Findings of every outcome.
    Findings,
    /// Contacts.
    Contacts,
    /// Flows.
    Flows,
    /// Gaps.
    Gaps,
    /// Every record as stored.
    Records,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// CSV with a header.
    Csv,
}

/// Why an export could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The case could not be read.
    #[error(transparent)]
    Case(#[from] StoreError),
    /// A record's body is not what its kind says.
    #[error("record {seq} ({kind}) cannot be read: {source}; run `sakshi verify` on the case")]
    Body {
        /// Its sequence number.
        seq: i64,
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A row could not be written as canonical JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Write(#[from] io::Error),
    /// A row has no form in CSV.
    #[error("a row cannot be written as CSV: {0}")]
    Csv(::csv::Error),
}

impl From<::csv::Error> for ExportError {
    fn from(error: ::csv::Error) -> Self {
        if !error.is_io_error() {
            return Self::Csv(error);
        }
        match error.into_kind() {
            ::csv::ErrorKind::Io(error) => Self::Write(error),
            other => Self::Write(io::Error::other(format!("{other:?}"))),
        }
    }
}

/// Writes `what` of a case to `to`, and says how many rows that were.
pub fn export(
    reader: &Reader,
    what: What,
    format: Format,
    to: &mut dyn Write,
) -> Result<u64, ExportError> {
    let columns = match what {
        What::Findings => csv::FINDINGS,
        What::Contacts => csv::CONTACTS,
        What::Flows => csv::FLOWS,
        What::Gaps => csv::GAPS,
        What::Records => csv::RECORDS,
    };
    let mut rows = Rows::begin(format, columns, to)?;
    match what {
        What::Findings => fold(reader)?
            .finding_rows()?
            .iter()
            .try_for_each(|row| rows.row(row))?,
        What::Contacts => fold(reader)?
            .contact_rows()?
            .iter()
            .try_for_each(|row| rows.row(row))?,
        What::Flows => bodies::<body::Flow>(reader, Kind::FLOW, |row| rows.row(&row))?,
        What::Gaps => bodies::<body::Gap>(reader, Kind::GAP, |row| rows.row(&row))?,
        What::Records => reader
            .records(&[])
            .try_for_each(|record| rows.row(&record_row(&record?)?))?,
    }
    rows.finish()
}

/// Contacts, totals and findings of a case.
pub fn fold(reader: &Reader) -> Result<Fold, ExportError> {
    let mut fold = Fold::default();
    let kinds = [
        Kind::CONTACT,
        Kind::TOTAL,
        Kind::FINDING,
        Kind::PACKETS,
        Kind::SEGMENT_DROPPED,
    ];
    for record in reader.records(&kinds) {
        let record = record?;
        match record.kind.as_str() {
            "contact" => fold.contact(parse(&record)?),
            "total" => fold.total(parse(&record)?),
            "packets" => fold.packets(parse(&record)?),
            "segment_dropped" => fold.segment_dropped(parse(&record)?),
            _ => fold.finding(parse(&record)?),
        }
    }
    Ok(fold)
}

/// Reads every body of a kind in order.
pub fn bodies<T: DeserializeOwned>(
    reader: &Reader,
    kind: Kind,
    mut each: impl FnMut(T) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    reader
        .records(&[kind])
        .try_for_each(|record| each(parse(&record?)?))
}

pub(super) fn parse<T: DeserializeOwned>(record: &Record) -> Result<T, ExportError> {
    serde_json::from_str(&record.body).map_err(|source| ExportError::Body {
        seq: record.seq,
        kind: record.kind.clone(),
        source,
    })
}

fn record_row(record: &Record) -> Result<Value, ExportError> {
    let body: Value = parse(record)?;
    Ok(serde_json::json!({
        "seq": record.seq,
        "kind": record.kind.as_str(),
        "body": body,
        "attachment_bytes": record.attachment.as_ref().map(Vec::len),
        "attachment_sha256": record.attachment.as_ref().map(|bytes| Hash::of(bytes)),
        "prev": record.prev,
        "hash": record.hash,
    }))
}

/// Rows on their way out.
enum Rows<'a> {
    Jsonl(&'a mut dyn Write, u64),
    Csv(Box<csv::Writer<&'a mut dyn Write>>, u64),
}

impl<'a> Rows<'a> {
    fn begin(
        format: Format,
        columns: &'static [&'static str],
        to: &'a mut dyn Write,
    ) -> Result<Self, ExportError> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(to, 0),
            Format::Csv => Self::Csv(Box::new(csv::Writer::new(to, columns)?), 0),
        })
    }

    fn row<T: Serialize>(&mut self, row: &T) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(to, count) => {
                *count += 1;
                writeln!(to, "{}", to_canonical(row)?)?;
            }
            Self::Csv(to, count) => {
                *count += 1;
                let value = serde_json::to_value(row).map_err(CanonicalError::from)?;
                to.row(&value)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<u64, ExportError> {
        match self {
            Self::Jsonl(to, count) => {
                to.flush()?;
                Ok(count)
            }
            Self::Csv(to, count) => {
                to.finish()?;
                Ok(count)
            }
        }
    }
}
