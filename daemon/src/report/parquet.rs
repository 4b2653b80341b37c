//! Parquet: the rows of an export as columns, so that many cases are asked at once without Sakshi.
//!
//! In: JSON rows and the columns of their kind. Out: one file of the Apache Parquet format. Each row
//! also says which case it is of and which handset, so that files of many cases can be laid together.
//! The same rows give the same bytes: no clock is read, and the writer is named by our version alone.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, GzipLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use serde_json::Value;

use super::export::{ExportError, What, parse};
use crate::{
    evidence::{
        Kind, Reader,
        authority::{Recorded, recorded},
        canonical::to_canonical,
        device::DeviceFacts,
    },
    time::Timestamp,
};

/// Rows of a group, which are in memory at once.
const GROUP_ROWS: usize = 65_536;

/// Which case a row is of, and which handset; null where the case does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    case: String,
    make: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
}

impl Origin {
    /// As a case says: its authority first, else the handset's own account.
    pub fn of(reader: &Reader) -> Result<Self, ExportError> {
        let facts: Option<DeviceFacts> = reader
            .last(&Kind::DEVICE)?
            .map(|record| parse(&record))
            .transpose()?;
        let facts = facts.unwrap_or_default();
        let (make, model) = match recorded(reader)? {
            Recorded::Authority { authority, .. } => {
                (Some(authority.device.make), Some(authority.device.model))
            }
            _ => (facts.manufacturer.value, facts.model.value),
        };
        Ok(Self {
            case: reader.case().meta().id.clone(),
            make,
            model,
            fingerprint: facts.fingerprint.value,
        })
    }

    /// Its columns.
    fn columns(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("case_id", Some(&self.case)),
            ("device_make", self.make.as_deref()),
            ("device_model", self.model.as_deref()),
            ("device_fingerprint", self.fingerprint.as_deref()),
        ]
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Text.
    Text,
    /// A list or an object, as canonical JSON.
    Json,
    /// An integer of 64 bits.
    Integer,
    /// True or false.
    Truth,
    /// Microseconds since the Unix epoch, UTC.
    Time,
}

impl Form {
    /// Of a column of the export.
    fn of(what: What, column: &str) -> Self {
        let key = column.rsplit('.').next().unwrap_or(column);
        match key {
            "packets" if what == What::Gaps => Self::Integer,
            "basis" if column == "place.basis" => Self::Json,
            "apps" | "packages" | "charged_to" | "names" | "names_hidden" | "interfaces"
            | "packets" | "kept" | "reference" | "body" | "tls" => Self::Json,
            "uid" | "user" | "creator_uid" | "disputed_uid" | "sport" | "dport" | "port"
            | "protocol" | "packets_out" | "bytes_out" | "packets_in" | "bytes_in" | "rtt_us"
            | "socket_cookie" | "bytes_acked" | "bytes_received" | "pid" | "carried_packets"
            | "asn" | "flows" | "seq" | "attachment_bytes" => Self::Integer,
            "may_act_for_app" | "redacted" => Self::Truth,
            "start" | "end" | "socket_closed" | "first" | "last" | "at" | "from" | "to" => {
                Self::Time
            }
            _ => Self::Text,
        }
    }

    const fn declared(self) -> (&'static str, &'static str) {
        match self {
            Self::Text | Self::Json => ("BYTE_ARRAY", "(UTF8)"),
            Self::Integer => ("INT64", ""),
            Self::Truth => ("BOOLEAN", ""),
            Self::Time => ("INT64", "(TIMESTAMP(MICROS,true))"),
        }
    }
}

/// The values of a column, without those that are null.
#[derive(Debug)]
enum Values {
    Texts(Vec<ByteArray>),
    Integers(Vec<i64>),
    Truths(Vec<bool>),
}

/// A column of a group.
#[derive(Debug)]
struct Column {
    path: &'static str,
    form: Form,
    values: Values,
    /// 1 where there is a value, 0 where it is null.
    levels: Vec<i16>,
}

impl Column {
    fn new(path: &'static str, form: Form) -> Self {
        Self {
            path,
            form,
            values: match form {
                Form::Text | Form::Json => Values::Texts(Vec::new()),
                Form::Integer | Form::Time => Values::Integers(Vec::new()),
                Form::Truth => Values::Truths(Vec::new()),
            },
            levels: Vec::new(),
        }
    }

    /// Takes a value; false: it is of another form.
    fn push(&mut self, value: Option<&Value>) -> bool {
        let value = value.unwrap_or(&Value::Null);
        if value.is_null() {
            self.levels.push(0);
            return true;
        }
        let taken = match &mut self.values {
            Values::Texts(texts) => {
                let text = match (self.form, value) {
                    (Form::Text, Value::String(text)) => Some(text.clone()),
                    (Form::Json, value) => to_canonical(value).ok(),
                    _ => None,
                };
                text.map(|text| texts.push(text.into_bytes().into()))
            }
            Values::Integers(integers) => match self.form {
                Form::Time => value
                    .as_str()
                    .and_then(Timestamp::parse)
                    .map(Timestamp::as_micros),
                _ => value.as_i64(),
            }
            .map(|integer| integers.push(integer)),
            Values::Truths(truths) => value.as_bool().map(|truth| truths.push(truth)),
        };
        self.levels.push(1);
        taken.is_some()
    }

    /// Writes what it holds as the group's next column, and is empty.
    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let levels = std::mem::take(&mut self.levels);
        let levels = Some(&levels[..]);
        let Some(mut column) = group.next_column()? else {
            return Ok(());
        };
        match &mut self.values {
            Values::Texts(values) => {
                let values = std::mem::take(values);
                let to = column.typed::<ByteArrayType>();
                to.write_batch(&values, levels, None)?;
            }
            Values::Integers(values) => {
                let values = std::mem::take(values);
                let to = column.typed::<Int64Type>();
                to.write_batch(&values, levels, None)?;
            }
            Values::Truths(values) => {
                let values = std::mem::take(values);
                let to = column.typed::<BoolType>();
                to.write_batch(&values, levels, None)?;
            }
        }
        column.close()
    }
}

/// Writes rows of one kind.
pub struct Writer<'a> {
    /// The file grows in memory: it is a fraction of the rows.
    file: SerializedFileWriter<Vec<u8>>,
    to: &'a mut dyn Write,
    origin: Origin,
    columns: Vec<Column>,
    rows: usize,
}

impl<'a> Writer<'a> {
    /// Begins a file.
    pub fn new(
        to: &'a mut dyn Write,
        what: What,
        columns: &'static [&'static str],
        origin: Origin,
    ) -> Result<Self, ExportError> {
        let own = origin
            .columns()
            .map(|(name, _)| Column::new(name, Form::Text));
        let others = columns
            .iter()
            .map(|path| Column::new(path, Form::of(what, path)));
        let columns: Vec<Column> = own.into_iter().chain(others).collect();
        let properties = WriterProperties::builder()
            .set_created_by(format!("sakshi version {}", env!("CARGO_PKG_VERSION")))
            .set_compression(Compression::GZIP(GzipLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let schema = Arc::new(parse_message_type(&message(what, &columns))?);
        Ok(Self {
            file: SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?,
            to,
            origin,
            columns,
            rows: 0,
        })
    }

    /// Takes a row.
    pub fn row(&mut self, row: &Value) -> Result<(), ExportError> {
        let own = self.origin.columns();
        let (first, others) = self.columns.split_at_mut(own.len());
        for (column, (_, text)) in first.iter_mut().zip(own) {
            column.push(text.map(Value::from).as_ref());
        }
        for column in others {
            let value = column
                .path
                .split('.')
                .try_fold(row, |value, key| value.get(key));
            if !column.push(value) {
                return Err(ExportError::Unfit(column.path));
            }
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS {
            self.group()?;
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), ExportError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Ends the file and hands it on.
    pub fn finish(mut self) -> Result<(), ExportError> {
        if self.rows > 0 {
            self.group()?;
        }
        self.to.write_all(&self.file.into_inner()?)?;
        Ok(self.to.flush()?)
    }
}

/// The schema as Parquet's own text: every column may be null, so that it stays the same whatever a
/// case holds.
fn message(what: What, columns: &[Column]) -> String {
    let mut text = format!("message {} {{", what.as_str());
    for column in columns {
        let (kind, annotation) = column.form.declared();
        text.extend([
            " OPTIONAL ",
            kind,
            " ",
            &column.path.replace('.', "_"),
            " ",
            annotation,
            ";",
        ]);
    }
    text + " }"
}
