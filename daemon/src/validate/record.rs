//! Record `validation`: the report that belongs to a case.
//!
//! In: the bytes of a report, and the kernel of the session that it is to speak for. Out: a record's
//! body, which says when it came from another kernel, another program or a virtual machine.

use std::{fs, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    report::{FORMAT, Report, VERSION},
};
use crate::{
    evidence::{Hash, canonical::is_canonical},
    time::Timestamp,
};

/// A larger report is refused; one has some 15 KiB.
const REPORT_BYTES_MAX: u64 = 1024 * 1024;

/// Record `validation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// When it was recorded.
    pub at: Timestamp,
    /// SHA-256 of the report's file.
    pub sha256: String,
    /// Kernel of the session that it stands behind; null: the case has none yet.
    pub kernel: Option<String>,
    /// Whether the report was made on a kernel of that release and on that architecture; null: the
    /// case has no session yet.
    pub same_kernel: Option<bool>,
    /// Whether the report was made by the very program that records it.
    pub same_program: bool,
    /// Whether the report says that it was made on a virtual machine.
    pub on_virtual_machine: bool,
    /// The report.
    pub report: Report,
}

impl Validation {
    /// Takes a report from its file.
    pub fn read(path: &Path, kernel: Option<String>, now: Timestamp) -> Result<Self, Error> {
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|file| file.take(REPORT_BYTES_MAX).read_to_string(&mut text))
            .map_err(Error::io(format!("reading {}", path.display())))?;
        Self::of(&text, kernel, now).map_err(|why| Error::NotAReport {
            path: path.to_owned(),
            why,
        })
    }

    /// Takes a report from its text; the error says what it is not.
    pub fn of(text: &str, kernel: Option<String>, now: Timestamp) -> Result<Self, String> {
        if !is_canonical(text) {
            return Err("it is not canonical JSON of one report, as it was written".to_owned());
        }
        let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if report.format != FORMAT || report.version != VERSION {
            return Err(format!(
                "its format is {} {}, not {FORMAT} {VERSION}",
                report.format, report.version
            ));
        }
        let own = super::own_hash().map_err(|error| error.to_string())?;
        Ok(Self {
            at: now,
            sha256: Hash::of(text.as_bytes()).to_string(),
            same_kernel: kernel
                .as_ref()
                .map(|kernel| *kernel == report.machine.kernel),
            kernel,
            same_program: report.tool.sha256 == own,
            on_virtual_machine: report.machine.virtual_machine.is_some(),
            report,
        })
    }

    /// What keeps it from speaking for the session, in plain words.
    pub fn reservations(&self) -> Vec<String> {
        let machine = &self.report.machine;
        let other_kernel = (self.same_kernel != Some(true)).then(|| match &self.kernel {
            Some(kernel) => format!("made on kernel {}, not on {kernel}", machine.kernel),
            None => "the case has no session yet that it could speak for".to_owned(),
        });
        let virtual_machine = machine
            .virtual_machine
            .as_ref()
            .map(|name| format!("made on a virtual machine ({name})"));
        let other_program =
            (!self.same_program).then(|| "made by another build of the program".to_owned());
        let failed = (!self.report.passed).then(|| "it was not passed".to_owned());
        [other_kernel, virtual_machine, other_program, failed]
            .into_iter()
            .flatten()
            .collect()
    }
}
