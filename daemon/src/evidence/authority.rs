//! Records `authority` and `custody`: by whose leave a handset is examined, and in whose hands it
//! was.
//!
//! In: what a person stated. Out: bodies of records, documented in `docs/export-format.md`. A later
//! `authority` takes the place of an earlier one; both stay. What is not known is null.

use serde::{Deserialize, Serialize};

use super::{error::StoreError, reader::Reader, record::Kind};
use crate::time::Timestamp;

/// What kind of software the handset runs. An open enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Build {
    /// As it is sold.
    Retail,
    /// Made for engineers.
    Engineering,
    /// Nobody said, or a word of a later version.
    #[serde(other)]
    Unknown,
}

impl Build {
    /// Its word, as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retail => "retail",
            Self::Engineering => "engineering",
            Self::Unknown => "unknown",
        }
    }
}

/// Who has lawful control of the handset, as Part A of a certificate names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonInCharge {
    /// Name.
    pub name: String,
    /// Son, daughter or spouse of whom.
    pub relation: Option<String>,
    /// Where they live or are employed.
    pub residing_or_employed_at: Option<String>,
}

/// The order or letter by which the examination was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number, as it is cited.
    pub reference: String,
    /// Its day, `YYYY-MM-DD`.
    pub date: String,
    /// Who issued it.
    pub issued_by: Option<String>,
}

/// Who examines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examiner {
    /// Name.
    pub name: String,
    /// Designation.
    pub designation: Option<String>,
    /// Whether they are notified under section 79A of the IT Act. Always null: a person says so on
    /// the certificate, not this program.
    pub notified: Option<bool>,
}

/// The handset, as a certificate's device block names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Make.
    pub make: String,
    /// Model.
    pub model: String,
    /// Colour.
    pub colour: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// IMEIs, 15 digits each, in the order of the slots; null: not known, empty: it has none.
    pub imei: Option<Vec<String>>,
    /// Other identifiers and relevant information.
    pub other: Option<String>,
    /// What kind of software it runs.
    pub build: Build,
    /// How it was rooted.
    pub rooted: Option<String>,
    /// The invoice or other proof of where it comes from.
    pub invoice: Option<String>,
    /// Marks of the seals that it came with; null: not known, empty: there were none.
    pub seals: Option<Vec<String>>,
}

/// Record `authority`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// When it was recorded.
    pub at: Timestamp,
    /// Owner of the handset.
    pub owner: String,
    /// Person in charge of it.
    pub person_in_charge: PersonInCharge,
    /// The order or letter.
    pub order: Order,
    /// Who examines.
    pub examiner: Examiner,
    /// The handset.
    pub device: Device,
    /// Last day on which the evidence is kept, `YYYY-MM-DD`.
    pub retention_until: String,
    /// Whether persona, SIM and accounts on the handset are the lab's own.
    pub persona_is_the_labs: bool,
    /// Anything else.
    pub remarks: Option<String>,
    /// Made up for a demonstration.
    #[serde(default)]
    pub sample: bool,
}

/// Record `custody`: a thing changed hands, or was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// When it was recorded.
    pub at: Timestamp,
    /// When it happened.
    pub when: Timestamp,
    /// Who records it.
    pub who: String,
    /// From whom it was received.
    pub received_from: Option<String>,
    /// To whom it was handed.
    pub handed_to: Option<String>,
    /// Which thing; null: the handset.
    pub item: Option<String>,
    /// Mark of its seal.
    pub seal: Option<String>,
    /// Anything else.
    pub remark: Option<String>,
}

/// What a case says of its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing.
    Nothing,
    /// The last `authority` record.
    Authority {
        /// Its sequence number.
        seq: i64,
        /// What it says.
        authority: Box<Authority>,
    },
    /// There is such a record, and this version cannot read it.
    Unreadable {
        /// Its sequence number.
        seq: i64,
    },
}

/// What the case that `reader` has open says of its authority.
pub fn recorded(reader: &Reader) -> Result<Recorded, StoreError> {
    let Some(record) = reader.last(&Kind::AUTHORITY)? else {
        return Ok(Recorded::Nothing);
    };
    let seq = record.seq;
    Ok(
        serde_json::from_str(&record.body).map_or(Recorded::Unreadable { seq }, |authority| {
            Recorded::Authority {
                seq,
                authority: Box::new(authority),
            }
        }),
    )
}
