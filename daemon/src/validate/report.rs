//! The report: what was done, what it came to, what it does not show.
//!
//! In: a judgement and the machine. Out: canonical JSON, and a text that says the same.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    Config, Error,
    judge::{Judgement, Score, Scores},
    own_hash,
    truth::{RANGES, SENDERS},
};
use crate::{
    evidence::{Hash, Kind, Reader, body::Session},
    platform::machine,
    time::Timestamp,
};

/// What names the format.
pub const FORMAT: &str = "sakshi-validation";
/// Its version.
pub const VERSION: u32 = 1;
/// Wrong owners, names and places, at most, for the report to say that it passed: 1 %.
pub const WRONG_AT_MOST_PPM: u64 = 10_000;
/// What was not said though it could have been known, or was lost, at most: 2 %.
pub const UNKNOWN_AT_MOST_PPM: u64 = 20_000;

/// What the figures do not show, whatever they are.
const LIMITS: [&str; 8] = [
    "The bounds hold for traffic drawn as this was, on this kernel, in this state; not for traffic of \
     another kind.",
    "The traffic crossed a virtual cable between two network namespaces: no modem, no radio, no driver \
     and no offload of a handset took part.",
    "The daemon ran in a namespace with packet rules of its own; a handset's netd, its VPNs and its \
     tethering were not there.",
    "Names are seen in DNS over UDP in clear, in a ClientHello of one segment and in HTTP/1; names in QUIC, \
     in encrypted DNS and in encrypted ClientHellos were not sent, so that nothing is shown of them.",
    "The place is where a published range stands. Whether the servers behind an address stand there, \
     and where data is kept, no figure says.",
    "Countries of ranges that are no cloud's are the registry's country of the holder.",
    "A name that no packet tells, an anycast address and an address of nobody cannot be known; they \
     count as open when nothing is said, and as wrong when something is.",
    "Load was light; what happens when the kernel drops packets is counted by other tests.",
];

/// Which program was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// Where it was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture.
    pub architecture: String,
    /// Which virtual machine it is; null: nothing says that it is one.
    pub virtual_machine: Option<String>,
    /// Whether the traffic stayed between namespaces: always, in this version.
    pub namespaces: bool,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// Version of the format.
    pub version: u32,
    /// When it was made.
    pub at: Timestamp,
    /// The program.
    pub tool: Tool,
    /// The machine.
    pub machine: Machine,
    /// How packets were watched.
    pub capture: String,
    /// Whether owners were read in the kernel as packets passed.
    pub exactness_layer: bool,
    /// Flows that were drawn.
    pub flows: u32,
    /// Seed that they were drawn from.
    pub seed: u64,
    /// What was sent, and by whom: SHA-256 of the file beside it.
    pub truth_sha256: String,
    /// Who sent.
    pub senders: Vec<SenderLine>,
    /// Ranges with their published places.
    pub places: Vec<PlaceLine>,
    /// How often it was right.
    pub scores: Scores,
    /// The bounds that it had to hold, in parts per million.
    pub required: Required,
    /// Flows by how their owner is known.
    pub by_basis: BTreeMap<String, u64>,
    /// Errors in plain words, the first of them.
    pub errors: Vec<String>,
    /// What it does not show.
    pub limits: Vec<String>,
    /// Head of the case in which the daemon kept what it saw.
    pub case_head: String,
    /// Whether nothing was wrong and the bounds hold.
    pub passed: bool,
}

/// A sender of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderLine {
    /// Its UID.
    pub uid: u32,
    /// Packages that run under it.
    pub packages: Vec<String>,
    /// In plain words.
    pub what: String,
}

/// A range of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceLine {
    /// The range.
    pub range: String,
    /// Its country; null: none may be named.
    pub country: Option<String>,
    /// Its provider's region.
    pub region: Option<String>,
    /// Who published it.
    pub source: String,
}

/// What had to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Required {
    /// Upper bound of wrong ones.
    pub wrong_at_most_ppm: u64,
    /// Upper bound of unknown and lost ones.
    pub unknown_at_most_ppm: u64,
}

impl Report {
    pub(super) fn new(
        config: &Config,
        at: Timestamp,
        judgement: &Judgement,
        truth: &str,
        case: &Path,
    ) -> Result<Self, Error> {
        let reader = Reader::open(case)?;
        let session = reader.last(&Kind::SESSION)?;
        let session = session.ok_or_else(|| Error::Unexpected("no session".to_owned()))?;
        let session: Session = serde_json::from_str(&session.body).map_err(Error::json)?;
        let scores = judgement.scores.clone();
        Ok(Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            at,
            tool: Tool {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                sha256: own_hash()?,
            },
            machine: Machine {
                kernel: machine::kernel_release(),
                architecture: machine::architecture(),
                virtual_machine: machine::virtual_machine(),
                namespaces: true,
            },
            capture: session.capture,
            exactness_layer: judgement.layer,
            flows: config.flows,
            seed: config.seed,
            truth_sha256: Hash::of(truth.as_bytes()).to_string(),
            senders: senders(),
            places: places(),
            passed: passed(&scores),
            scores,
            required: Required {
                wrong_at_most_ppm: WRONG_AT_MOST_PPM,
                unknown_at_most_ppm: UNKNOWN_AT_MOST_PPM,
            },
            by_basis: judgement.by_basis.clone(),
            errors: judgement.told.clone(),
            limits: LIMITS.iter().map(|&limit| limit.to_owned()).collect(),
            case_head: reader.head()?.hash.to_string(),
        })
    }

    /// For people; `json` is the report as it is hashed.
    pub fn text(&self, json: &str) -> String {
        let virtual_machine = self.machine.virtual_machine.as_deref();
        let mut text = format!(
            "Validation of Sakshi {}, {}\n\n\
             kernel     {} ({})\n\
             machine    {}\n\
             traffic    between two network namespaces of this kernel; nothing left it\n\
             watched    by {}{}\n\
             sent       {} flows, seed {}; {} senders, {} published ranges\n\
             program    SHA-256 {}\n\
             report     SHA-256 {}\n\n",
            self.tool.version,
            self.at,
            self.machine.kernel,
            self.machine.architecture,
            virtual_machine.map_or_else(
                || "nothing says that it is a virtual one".to_owned(),
                |name| format!("virtual: {name}")
            ),
            self.capture,
            if self.exactness_layer {
                ", owners read in the kernel as packets passed"
            } else {
                ", without the layer that reads owners in the kernel"
            },
            self.flows,
            self.seed,
            self.senders.len(),
            self.places.len(),
            self.tool.sha256,
            Hash::of(json.as_bytes()),
        );
        text += "            looked at     right  rightly open  unknown     wrong  \
                 wrong, 95 % bound  unknown, 95 % bound\n";
        for (label, score) in self.scores.labelled() {
            let _ = writeln!(
                text,
                "{label:<10} {:>10} {:>9} {:>13} {:>8} {:>9}  {:>17}  {:>19}",
                score.of,
                score.right,
                score.open,
                score.unknown,
                score.wrong,
                percent(score.wrong_at_most_ppm),
                percent(score.unknown_at_most_ppm),
            );
        }
        let _ = writeln!(
            text,
            "\n{}: nothing may be wrong, the bound of wrong ones is at most {}, of unknown ones {}.",
            if self.passed { "Passed" } else { "NOT PASSED" },
            percent(self.required.wrong_at_most_ppm),
            percent(self.required.unknown_at_most_ppm),
        );
        list(&mut text, "Errors", &self.errors);
        list(&mut text, "What this does not show", &self.limits);
        text
    }
}

impl Scores {
    /// Each with what it is about, in the order in which they are shown.
    pub fn labelled(&self) -> [(&'static str, &Score); 7] {
        [
            ("owner", &self.owner),
            ("name", &self.name),
            ("place", &self.place),
            ("flows", &self.flows),
            ("datagrams", &self.datagrams),
            ("bytes", &self.bytes),
            ("packets", &self.packets),
        ]
    }
}

fn passed(scores: &Scores) -> bool {
    scores.labelled().iter().all(|(_, score)| {
        score.wrong == 0
            && score.wrong_at_most_ppm <= WRONG_AT_MOST_PPM
            && score.unknown_at_most_ppm <= UNKNOWN_AT_MOST_PPM
    })
}

fn senders() -> Vec<SenderLine> {
    let line = |sender: &super::truth::Sender| SenderLine {
        uid: sender.uid,
        packages: sender
            .packages
            .iter()
            .map(|&name| name.to_owned())
            .collect(),
        what: sender.what.to_owned(),
    };
    SENDERS.iter().map(line).collect()
}

fn places() -> Vec<PlaceLine> {
    let line = |range: &super::truth::Range| PlaceLine {
        range: range.cidr(),
        country: range.country.map(str::to_owned),
        region: range.region.map(str::to_owned),
        source: range.source.to_owned(),
    };
    RANGES.iter().map(line).collect()
}

/// Parts per million as a percentage.
fn percent(ppm: u64) -> String {
    format!("{}.{:04} %", ppm / 10_000, ppm % 10_000)
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for line in lines {
        let _ = writeln!(text, "- {line}");
    }
}
