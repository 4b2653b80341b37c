//! Validation: known traffic on the kernel at hand, and how often the daemon was right about it.
//!
//! In: a seed. Out: a report with its hash: what was sent, what was concluded, the errors with bounds,
//! the limits. The traffic crosses a virtual cable between two network namespaces; nothing leaves the
//! machine. `docs/validation/README.md` says what it proves and what not.

pub mod bound;
mod judge;
mod network;
pub mod part;
pub mod plan;
pub mod record;
pub mod report;
pub mod truth;
mod wire;

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufRead as _, BufReader, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

pub use judge::{Score, Scores};

use self::{part::Told, report::Report};
use crate::{
    evidence::{StoreError, canonical::CanonicalError},
    platform::{
        clock::{Clock, SystemClock},
        command::{CommandError, OWN_PROGRAM},
    },
};

/// The report, canonical JSON: the hash is of this file.
pub const REPORT_JSON: &str = "validation.json";
/// The same for people.
pub const REPORT_TEXT: &str = "validation.txt";
/// What was sent, a flow a line.
pub const TRUTH: &str = "truth.jsonl";
/// The case in which the daemon kept what it saw.
const CASE: &str = "case";
/// The inventory that it was given.
const INVENTORY: &str = "inventory";

/// Why a validation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("{what}: {source}; run it as root, on a kernel with network namespaces and veth")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A command of the system failed.
    #[error("{0}; the scenario needs `ip` with veth")]
    Command(#[from] CommandError),
    /// The daemon did not watch, or did not end well.
    #[error("the daemon did not work: {0}; see what `sakshi doctor` says")]
    Daemon(String),
    /// A part did not do its work.
    #[error("{0}; what was said above tells why")]
    Unexpected(String),
    /// A text between two parts cannot be read.
    #[error("what a part said cannot be read ({0}); this is an error of the program")]
    Json(serde_json::Error),
    /// The folder of the report is there.
    #[error("{0} is there already; choose another folder with -o")]
    Exists(PathBuf),
    /// A file that is to be recorded is no report.
    #[error("{path} is no report of `sakshi validate`: {why}; give its {REPORT_JSON}", path = .path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The case cannot be read.
    #[error("the case of the validation: {0}")]
    Case(#[from] StoreError),
    /// The report cannot be written as canonical JSON.
    #[error("the report: {0}")]
    Canonical(#[from] CanonicalError),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn json(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// What to validate, and where the report goes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the report, which is made; none: one named after the time.
    pub dir: Option<PathBuf>,
    /// Flows to send.
    pub flows: u32,
    /// Seed of what is sent.
    pub seed: u64,
    /// Whether the case is kept beside the report.
    pub keep: bool,
    /// What the daemon is started with beside its case and inventory.
    pub run: Vec<String>,
}

/// A validation that was done.
#[derive(Debug)]
pub struct Done {
    /// Folder with the report.
    pub dir: PathBuf,
    /// The report.
    pub report: Report,
    /// As it stands in [`REPORT_JSON`].
    pub json: String,
}

/// A child that ends when it is dropped.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        // Already ended in the good case; then both calls only say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends, watches, compares, and writes the report.
pub fn run(config: &Config) -> Result<Done, Error> {
    let now = SystemClock.now();
    let dir = config.dir.clone().unwrap_or_else(|| {
        let time: String = now
            .to_string()
            .chars()
            .take_while(|letter| *letter != '.')
            .filter(char::is_ascii_alphanumeric)
            .collect();
        PathBuf::from(format!("sakshi-validation-{time}Z"))
    });
    make_folder(&dir)?;
    let told = scenario(config, &dir)?;
    let judgement = judge::judge(&dir.join(CASE), &told)?;
    let mut truth = String::new();
    for sent in &told.sent {
        truth += &crate::evidence::canonical::to_canonical(sent)?;
        truth.push('\n');
    }
    write(&dir.join(TRUTH), &truth)?;
    let report = Report::new(config, now, &judgement, &truth, &dir.join(CASE))?;
    let json = crate::evidence::canonical::to_canonical(&report)?;
    write(&dir.join(REPORT_JSON), &json)?;
    write(&dir.join(REPORT_TEXT), &report.text(&json))?;
    if !config.keep {
        for inner in [CASE, INVENTORY] {
            let path = dir.join(inner);
            fs::remove_dir_all(&path).map_err(Error::io(format!("removing {}", path.display())))?;
        }
    }
    Ok(Done { dir, report, json })
}

fn make_folder(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(dir.to_owned()),
            _ => Error::io(format!("making {}", dir.display()))(error),
        })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
}

/// The daemon watches while the senders send; gives what was sent.
fn scenario(config: &Config, dir: &Path) -> Result<Told, Error> {
    let inventory = dir.join(INVENTORY);
    fs::create_dir(&inventory).map_err(Error::io(format!("making {}", inventory.display())))?;
    for (name, text) in truth::inventory() {
        write(&inventory.join(name), &text)?;
    }
    let (internet, mut lines) = start(&["internet".to_owned(), dir.display().to_string()])?;
    let mut ready = String::new();
    lines
        .read_line(&mut ready)
        .map_err(Error::io("listening to the Internet's part"))?;
    if ready.trim() != "ready" {
        return Err(Error::Unexpected(
            "the part that answers did not start".to_owned(),
        ));
    }
    let mut words = vec![
        "handset".to_owned(),
        internet.0.id().to_string(),
        config.flows.to_string(),
        config.seed.to_string(),
        dir.display().to_string(),
    ];
    words.extend(config.run.iter().cloned());
    let (mut handset, mut said) = start(&words)?;
    let mut told = String::new();
    said.read_to_string(&mut told)
        .map_err(Error::io("listening to the handset's part"))?;
    let status = handset
        .0
        .wait()
        .map_err(Error::io("waiting for the handset's part"))?;
    if !status.success() {
        return Err(Error::Unexpected(format!(
            "the part that watches ended with {status}"
        )));
    }
    serde_json::from_str(&told).map_err(Error::Json)
}

/// Starts this program in a network namespace of its own.
fn start(words: &[String]) -> Result<(Part, BufReader<ChildStdout>), Error> {
    let program = fs::read_link(OWN_PROGRAM).map_err(Error::io("finding this program"))?;
    let mut child = Command::new("unshare")
        .arg("-n")
        .arg(program)
        .arg(part::COMMAND)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::io("starting `unshare`"))?;
    let pipe = child.stdout.take();
    let part = Part(child);
    let pipe = pipe.ok_or_else(|| Error::Unexpected("no pipe to a part".to_owned()))?;
    Ok((part, BufReader::new(pipe)))
}

/// SHA-256 of the program that runs.
fn own_hash() -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(OWN_PROGRAM)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(Error::io("reading this program"))?;
    Ok(crate::evidence::Hash::of(&bytes).to_string())
}
