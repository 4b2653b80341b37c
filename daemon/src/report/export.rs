//! Exports: JSON Lines and CSV of what a case holds.
//!
//! In: a case that is open, and what of it is wanted. Out: rows on a writer, in recorded order; the
//! same case gives the same bytes.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    csv,
    filter::{Filter, NoSuchPart, RulesOf, Sieve},
    fold::Fold,
    redact::Redactor,
};
#[cfg(feature = "lab")]
use super::{parquet, pcapng};
#[cfg(feature = "lab")]
use crate::evidence::journal::JournalError;
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
    /// Packets of the journal.
    #[cfg(feature = "lab")]
    Packets,
}

impl What {
    /// Its word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Contacts => "contacts",
            Self::Flows => "flows",
            Self::Gaps => "gaps",
            Self::Records => "records",
            #[cfg(feature = "lab")]
            Self::Packets => "packets",
        }
    }

    /// One of its rows, in words.
    const fn one(self) -> &'static str {
        match self {
            Self::Findings => "finding",
            Self::Contacts => "contact",
            Self::Flows => "flow",
            Self::Gaps => "gap",
            Self::Records => "record",
            #[cfg(feature = "lab")]
            Self::Packets => "packet",
        }
    }
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// CSV with a header.
    Csv,
    /// Columns, for many cases at once.
    #[cfg(feature = "lab")]
    Parquet,
    /// Packets with comments.
    #[cfg(feature = "lab")]
    Pcapng,
}

impl Format {
    /// Its word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            #[cfg(feature = "lab")]
            Self::Parquet => "parquet",
            #[cfg(feature = "lab")]
            Self::Pcapng => "pcapng",
        }
    }
}

impl Format {
    /// Whether it is for programs only.
    pub const fn is_binary(self) -> bool {
        match self {
            Self::Jsonl | Self::Csv => false,
            #[cfg(feature = "lab")]
            Self::Parquet | Self::Pcapng => true,
        }
    }
}

/// What of a case is wanted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub what: What,
    /// In which form.
    pub format: Format,
    /// Which rows.
    pub filter: Filter,
    /// Whether what is personal stands in it.
    pub unredacted: bool,
}

/// What became of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Rows that were written.
    pub rows: u64,
    /// Values that were asked for and that no row has, a sentence each.
    pub unknown: Vec<String>,
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
    /// A filter says nothing of what is exported.
    #[error(transparent)]
    Filter(#[from] NoSuchPart),
    /// A row could not be written as canonical JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Write(#[from] io::Error),
    /// A value is not of its column's form.
    #[error(
        "a value of `{0}` does not fit its column: run `sakshi verify` on the case, or export it as JSON Lines"
    )]
    Unfit(&'static str),
    /// A form that is not that of what is exported.
    #[cfg(feature = "lab")]
    #[error("{what} are not written as {format}: --what packets and --format pcapng go together", what = .0.as_str(), format = .1.as_str())]
    Form(What, Format),
    /// A block of the journal cannot be read.
    #[cfg(feature = "lab")]
    #[error(
        "the packets of record {seq} cannot be read: {source}; run `sakshi verify` on the case"
    )]
    Journal {
        /// The record.
        seq: i64,
        /// What is wrong.
        source: JournalError,
    },
    /// The columns could not be written.
    #[cfg(feature = "lab")]
    #[error("the export cannot be written as Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
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

/// Writes what is wanted of a case to `to`.
pub fn export(
    reader: &Reader,
    wanted: &Wanted,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    check(wanted)?;
    let redactor = (!wanted.unredacted)
        .then(|| Redactor::of(reader))
        .transpose()?;
    let columns = match wanted.what {
        #[cfg(feature = "lab")]
        What::Packets => return pcapng::export(reader, wanted, redactor.as_ref(), to),
        What::Findings => csv::FINDINGS,
        What::Contacts => csv::CONTACTS,
        What::Flows => csv::FLOWS,
        What::Gaps => csv::GAPS,
        What::Records => csv::RECORDS,
    };
    let mut rows = Rows {
        sink: Sink::begin(reader, wanted, columns, to)?,
        count: 0,
        redactor,
    };
    let unknown = write_rows(reader, wanted, &mut rows)?;
    rows.sink.finish()?;
    Ok(Exported {
        rows: rows.count,
        unknown,
    })
}

/// Whether form and filter say something of what is exported.
pub fn check(wanted: &Wanted) -> Result<(), ExportError> {
    #[cfg(feature = "lab")]
    if (wanted.what == What::Packets) != (wanted.format == Format::Pcapng) {
        return Err(ExportError::Form(wanted.what, wanted.format));
    }
    match wanted.what {
        What::Gaps => wanted.filter.only_time()?,
        What::Records => wanted.filter.nothing()?,
        _ => {}
    }
    Ok(())
}

/// Writes the rows, and gives the values of the filter that none has.
fn write_rows(
    reader: &Reader,
    wanted: &Wanted,
    rows: &mut Rows<'_>,
) -> Result<Vec<String>, ExportError> {
    let what = wanted.what;
    let by_rule = !wanted.filter.rule.is_empty();
    let folded = match what {
        What::Findings | What::Contacts => fold(reader)?,
        What::Flows if by_rule => fold(reader)?,
        _ => Fold::default(),
    };
    let rules = if by_rule {
        folded.rules_of()
    } else {
        RulesOf::new()
    };
    let mut sieve = Sieve::new(&wanted.filter, rules);
    match what {
        What::Findings => {
            let mut found = folded.finding_rows()?;
            found.retain(|row| sieve.finding(row));
            found
                .iter()
                .try_for_each(|row| rows.row(&Kind::FINDING, row))?;
        }
        What::Contacts => {
            let mut found = folded.contact_rows()?;
            found.retain(|row| sieve.contact(row));
            found
                .iter()
                .try_for_each(|row| rows.row(&Kind::CONTACT, row))?;
        }
        What::Flows => bodies::<body::Flow>(reader, Kind::FLOW, |row| {
            if sieve.flow(&row) {
                rows.row(&Kind::FLOW, &row)?;
            }
            Ok(())
        })?,
        What::Gaps => bodies::<body::Gap>(reader, Kind::GAP, |row| {
            if sieve.gap(&row) {
                rows.row(&Kind::GAP, &row)?;
            }
            Ok(())
        })?,
        What::Records => reader
            .records(&[])
            .try_for_each(|record| rows.record(&record?))?,
        #[cfg(feature = "lab")]
        What::Packets => {}
    }
    Ok(sieve.unknown(what.one()))
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

/// Rows on their way out.
struct Rows<'a> {
    sink: Sink<'a>,
    count: u64,
    /// None: what is personal goes out as well.
    redactor: Option<Redactor>,
}

impl Rows<'_> {
    fn row<T: Serialize>(&mut self, kind: &Kind, row: &T) -> Result<(), ExportError> {
        let mut row = serde_json::to_value(row).map_err(CanonicalError::from)?;
        if let Some(redactor) = &self.redactor {
            redactor.body(kind.as_str(), &mut row);
        }
        self.count += 1;
        self.sink.row(&row)
    }

    fn record(&mut self, record: &Record) -> Result<(), ExportError> {
        let stored: Value = parse(record)?;
        let mut body = stored.clone();
        if let Some(redactor) = &self.redactor {
            redactor.body(record.kind.as_str(), &mut body);
        }
        self.count += 1;
        self.sink.row(&serde_json::json!({
            "seq": record.seq,
            "kind": record.kind.as_str(),
            "redacted": body != stored,
            "body": body,
            "attachment_bytes": record.attachment.as_ref().map(Vec::len),
            "attachment_sha256": record.attachment.as_ref().map(|bytes| Hash::of(bytes)),
            "prev": record.prev,
            "hash": record.hash,
        }))
    }
}

/// Where rows go.
enum Sink<'a> {
    Jsonl(&'a mut dyn Write),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    #[cfg(feature = "lab")]
    Parquet(Box<parquet::Writer<'a>>),
}

impl<'a> Sink<'a> {
    #[cfg_attr(
        not(feature = "lab"),
        expect(unused_variables, reason = "only columns say of which case they are")
    )]
    fn begin(
        reader: &Reader,
        wanted: &Wanted,
        columns: &'static [&'static str],
        to: &'a mut dyn Write,
    ) -> Result<Self, ExportError> {
        Ok(match wanted.format {
            Format::Jsonl => Self::Jsonl(to),
            Format::Csv => Self::Csv(Box::new(csv::Writer::new(to, columns)?)),
            #[cfg(feature = "lab")]
            Format::Parquet => {
                let origin = parquet::Origin::of(reader)?;
                Self::Parquet(Box::new(parquet::Writer::new(
                    to,
                    wanted.what,
                    columns,
                    origin,
                )?))
            }
            #[cfg(feature = "lab")]
            Format::Pcapng => return Err(ExportError::Form(wanted.what, wanted.format)),
        })
    }

    fn row(&mut self, row: &Value) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(to) => writeln!(to, "{}", to_canonical(row)?)?,
            Self::Csv(to) => to.row(row)?,
            #[cfg(feature = "lab")]
            Self::Parquet(to) => to.row(row)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(to) => to.flush()?,
            Self::Csv(to) => to.finish()?,
            #[cfg(feature = "lab")]
            Self::Parquet(to) => to.finish()?,
        }
        Ok(())
    }
}
