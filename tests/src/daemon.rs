//! The real daemon, run on a virtual handset and talked to through its own command line.
//!
//! In: the program `sakshi`. Out: its status, its exports, its exit codes. Tests know the daemon
//! only through this file, so that a change of the command line is one change here.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    handset::{Error, Handset, Result},
    wait,
};

/// Upper bound for the daemon to say that it watches.
const START_MAX: Duration = Duration::from_secs(30);
/// Upper bound for the daemon to end after it was asked to.
const STOP_MAX: Duration = Duration::from_mins(1);
/// What `status` says in `state` when packets are being captured.
const WATCHING: &str = "watching";

/// The program `sakshi` with arguments.
pub fn sakshi<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(crate::program("sakshi"));
    command.args(arguments);
    command
}

/// Runs `sakshi` to its end and gives its standard output.
pub fn output<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let mut command = sakshi(arguments);
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: format!("{command:?}"),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// What a case holds of one kind (`findings`, `contacts`, `flows`, `gaps`, `records`).
pub fn export(case: &Path, what: &str) -> Result<Vec<Value>> {
    export_text(case, what, "jsonl")?
        .lines()
        .map(json)
        .collect()
}

/// The same with what is personal; the case takes a record of it. Nobody may be writing it.
pub fn export_unredacted(case: &Path, what: &str) -> Result<Vec<Value>> {
    export_text_unredacted(case, what)?
        .lines()
        .map(json)
        .collect()
}

/// The same as it is written, in JSON Lines.
pub fn export_text_unredacted(case: &Path, what: &str) -> Result<String> {
    let by = ["--unredacted", "--by", "a test"];
    output(["export", text(case), "--what", what].into_iter().chain(by))
}

/// What can be exported.
pub const EXPORTS: [&str; 5] = ["findings", "contacts", "flows", "gaps", "records"];

/// An export as it is written, byte for byte; `format` is `jsonl` or `csv`.
pub fn export_text(case: &Path, what: &str, format: &str) -> Result<String> {
    output(["export", text(case), "--what", what, "--format", format])
}

/// A line of the findings export without where packets are kept: a replay of a journal keeps none.
/// Keys are sorted, and `kind` stands behind `kept`.
pub fn without_kept(line: &str) -> String {
    match (line.find("\"kept\":["), line.find("],\"kind\":")) {
        (Some(from), Some(to)) => format!("{}{}", &line[..from], &line[to..]),
        _ => line.to_owned(),
    }
}

/// Whether the evidence of a case is intact; the error says what `verify` said.
pub fn verify(case: &Path) -> Result<()> {
    let mut command = sakshi(["verify", text(case)]);
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::Unexpected(format!(
        "the evidence is not intact: {said}"
    )))
}

/// Whether nothing of a case is damaged; the end of one whose daemon was killed need not be vouched
/// for (exit code 4).
pub fn not_damaged(case: &Path) -> Result<()> {
    let mut command = sakshi(["verify", text(case)]);
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    if matches!(output.status.code(), Some(0 | 4)) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::Unexpected(format!(
        "the evidence is damaged: {said}"
    )))
}

/// Removes what a daemon that died left in the handset's packet filter.
pub fn clean(handset: &Handset) -> Result<()> {
    handset.output(&mut sakshi(["clean"])).map(drop)
}

/// Every file of a folder with its bytes, for a comparison with what it was before.
///
/// # Panics
/// If one cannot be read.
pub fn state(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the folder")
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.path(), fs::read(entry.path()).expect("its bytes")))
        .collect();
    files.sort();
    files
}

/// A path as an argument.
///
/// # Panics
/// When it is not UTF-8, which no path of the tests is.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of the tests are UTF-8")
}

/// Reads a line of JSON.
pub fn json(line: &str) -> Result<Value> {
    serde_json::from_str(line).map_err(|error| Error::Unexpected(format!("{error} in: {line}")))
}

/// A daemon that watches a handset.
#[derive(Debug)]
pub struct Daemon {
    case: PathBuf,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A record that the daemon acknowledged: it is committed, and stays whatever happens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Acknowledged {
    /// Sequence number of the record.
    pub seq: u64,
    /// Its hash, lower-case hex.
    pub hash: String,
}

/// Listens to what the daemon acknowledges.
#[derive(Debug)]
pub struct Follower {
    child: Child,
    heads: Arc<Mutex<Vec<Acknowledged>>>,
    reader: JoinHandle<()>,
}

impl Daemon {
    /// Starts `sakshi run` with NFLOG on the handset and waits until it says that it watches.
    pub fn start(handset: &Handset, case: &Path, more: &[&str]) -> Result<Self> {
        let inventory = handset.inventory();
        let mut command = sakshi(["run", "--inventory", text(&inventory)]);
        command.args(["--capture", "nflog"]).args(more);
        Self::start_command(handset, case, command)
    }

    /// Starts a `sakshi run` that is described but for its case.
    pub fn start_command(handset: &Handset, case: &Path, mut command: Command) -> Result<Self> {
        command.args(["--case", text(case), "--format", "json"]);
        let beside = |name: &str| case.with_extension(name);
        let (stdout, stderr) = (beside("stdout"), beside("stderr"));
        let file = |path: &Path| {
            File::create(path).map_err(Error::io(format!("making {}", path.display())))
        };
        command
            .stdin(Stdio::null())
            .stdout(file(&stdout)?)
            .stderr(file(&stderr)?);
        let mut daemon = Self {
            case: case.to_owned(),
            child: handset.spawn(&mut command)?,
            stdout,
            stderr,
        };
        let started = wait::until(START_MAX, || {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                return Some(Err(
                    daemon.complaint(&format!("ended with {status} at start"))
                ));
            }
            let status = daemon.status().ok()?;
            (status.get("state")?.as_str()? == WATCHING).then_some(Ok(()))
        });
        match started {
            Some(Ok(())) => Ok(daemon),
            Some(Err(error)) => Err(error),
            None => Err(daemon.complaint("did not say that it watches")),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says of itself.
    pub fn status(&self) -> Result<Value> {
        json(output(self.control("status", &["--format", "json"]))?.trim())
    }

    /// Begins a phase of the examination.
    pub fn phase(&self, name: &str) -> Result<()> {
        output(self.control("phase", &[name])).map(drop)
    }

    /// Writes a remark into the case.
    pub fn note(&self, remark: &str) -> Result<()> {
        output(self.control("note", &[remark])).map(drop)
    }

    /// Asks it to stop, waits for its end and gives its summary.
    pub fn stop(mut self) -> Result<Value> {
        output(self.control("stop", &[]))?;
        let status = wait::until(STOP_MAX, || self.child.try_wait().transpose())
            .ok_or_else(|| self.complaint("did not end after it was asked to stop"))?
            .map_err(Error::io("waiting for the daemon"))?;
        if !status.success() {
            return Err(self.complaint(&format!("ended with {status}")));
        }
        let summary =
            fs::read_to_string(&self.stdout).map_err(Error::io("reading the daemon's summary"))?;
        json(summary.trim())
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(Error::io("killing the daemon"))
    }

    /// Begins to listen to what it acknowledges.
    pub fn follow(&self) -> Result<Follower> {
        let mut command = sakshi(self.control("status", &["--follow", "--format", "json"]));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io(format!("starting {command:?}")))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Error::Unexpected("the follower has no output".to_owned()))?;
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::result::Result::ok)
            {
                // The last line may be torn when the daemon is killed.
                if let Ok(head) = serde_json::from_str(&line)
                    && let Ok(mut heads) = kept.lock()
                {
                    heads.push(head);
                }
            }
        });
        Ok(Follower {
            child,
            heads,
            reader,
        })
    }

    fn control<'a>(&'a self, command: &'a str, more: &'a [&'a str]) -> Vec<&'a str> {
        let mut arguments = vec![command, "--case", text(&self.case)];
        arguments.extend(more);
        arguments
    }

    fn complaint(&self, what: &str) -> Error {
        let said = fs::read_to_string(&self.stderr).unwrap_or_default();
        Error::Unexpected(format!("the daemon {what}; it said:\n{}", said.trim()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended in the good case; then both calls only say so.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Follower {
    /// How much was acknowledged so far.
    pub fn count(&self) -> usize {
        self.heads.lock().map_or(0, |heads| heads.len())
    }

    /// What was acknowledged after the first `told`.
    pub fn since(&self, told: usize) -> Vec<Acknowledged> {
        self.heads.lock().map_or_else(
            |_| Vec::new(),
            |heads| heads.get(told..).unwrap_or_default().to_vec(),
        )
    }

    /// Everything that was acknowledged until the daemon's end.
    pub fn finish(mut self) -> Result<Vec<Acknowledged>> {
        // It ends by itself with the daemon; if the daemon lives, it must be ended.
        let ended = wait::until(Duration::from_secs(5), || self.child.try_wait().transpose());
        if ended.is_none() {
            self.child
                .kill()
                .map_err(Error::io("ending the follower"))?;
        }
        self.child
            .wait()
            .map_err(Error::io("waiting for the follower"))?;
        drop(self.reader.join());
        self.heads
            .lock()
            .map(|heads| heads.clone())
            .map_err(|_| Error::Unexpected("the follower's reader panicked".to_owned()))
    }
}
