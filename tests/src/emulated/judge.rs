//! What came out of the emulated handset, judged on this machine.
//!
//! In: the cases that were taken out, the guest's report, what was to be found. Out: a list of
//! checks with what each came to, and the figures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{REPORT, Report, StageReport, moment, stage, usage::Usage};
use crate::{
    daemon::{self, text},
    expectation::{self, Difference, Row},
    handset::{Error, Result, script::Sent},
    owners,
    traces::Moment,
};

/// The exports that a replay of the journal gives again.
const REPLAYED: [&str; 3] = ["findings", "contacts", "flows"];
/// Resident memory of an idle daemon: 20 MiB, and what its tables need.
const RESIDENT_KIB_MAX: u64 = 20 * 1024;
/// What `build.prop` says that this is.
const VIRTUAL_MODEL: &str = "Sakshi virtual handset";
/// What a gap of a weaker watch is called.
const DEGRADED: &str = "degraded";

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was to be, with what it came to.
    pub what: String,
    /// Whether it was so.
    pub holds: bool,
}

/// Judges what was taken out.
#[derive(Debug)]
pub struct Judge {
    /// The folder of the cases.
    cases: PathBuf,
    /// Folder for the replayed ones.
    replays: PathBuf,
    /// Rows that are to be found.
    expected: PathBuf,
    checks: Vec<Check>,
}

impl Judge {
    /// Judges the cases in a folder; `work` is a folder for what is made meanwhile.
    pub fn new(cases: &Path, work: &Path, expected: &Path) -> Self {
        Self {
            cases: cases.to_owned(),
            replays: work.join("replayed"),
            expected: expected.to_owned(),
            checks: Vec::new(),
        }
    }

    /// Looks at everything of a run of the scenario *watch*; gives the guest's report as well.
    pub fn watch(mut self, bless: bool) -> Result<(Report, Vec<Check>)> {
        let path = self.cases.join(REPORT);
        let json = fs::read(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        let report: Report = serde_json::from_slice(&json)
            .map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())))?;
        self.check(
            format!("the guest is arm64: {} {}", report.machine, report.kernel),
            report.machine == "aarch64",
        );
        for name in [
            stage::NO_NFLOG,
            stage::NO_IPTABLES,
            stage::NO_BPFFS,
            stage::WATCH,
        ] {
            self.stage(name, &report)?;
        }
        self.findings(bless)?;
        self.check(
            format!("packets that the daemon sent: {}", report.idle.sent),
            report.idle.sent == 0,
        );
        self.checks.extend(as_before(&report.moments));
        let resident = report.idle.usage.resident_kib;
        self.check(
            format!("resident memory, idle: {resident} KiB of at most {RESIDENT_KIB_MAX}"),
            (1..=RESIDENT_KIB_MAX).contains(&resident),
        );
        Ok((report, self.checks))
    }

    fn check(&mut self, what: String, holds: bool) {
        self.checks.push(Check { what, holds });
    }

    fn stage(&mut self, name: &str, report: &Report) -> Result<()> {
        let found = report.stages.iter().find(|found| found.name == name);
        let Some(found) = found else {
            self.check(format!("{name}: the guest did not report"), false);
            return Ok(());
        };
        let case = self.cases.join(name);
        self.intact(name, &case);
        self.owners(name, &case)?;
        self.replay(name, &case)?;
        self.doctor(name, &case, found)?;
        match name {
            stage::WATCH => self.by_nflog(name, found),
            stage::NO_BPFFS => {
                self.by_nflog(name, found);
                self.without_the_layer(name, &case, found)?;
            }
            _ => self.fallback(name, &case, found)?,
        }
        Ok(())
    }

    fn by_nflog(&mut self, name: &str, found: &StageReport) {
        self.check(
            format!("{name}: capture by {}, nothing lost", found.capture),
            found.capture == "nflog" && found.summary["lost"] == 0,
        );
    }

    fn intact(&mut self, name: &str, case: &Path) {
        match daemon::verify(case) {
            Ok(()) => self.check(format!("{name}: the evidence is intact"), true),
            Err(error) => self.check(format!("{name}: {error}"), false),
        }
    }

    /// No flow has an owner that did not send it; with NFLOG all have the right one.
    fn owners(&mut self, name: &str, case: &Path) -> Result<()> {
        let truth = read_truth(&case.with_extension("truth.jsonl"))?;
        let flows = daemon::export_unredacted(case, "flows")?;
        let comparison = owners::compare(&truth, &owners::recorded(&flows));
        let by_nflog = [stage::WATCH, stage::NO_BPFFS].contains(&name);
        let all_owned = !by_nflog || comparison.owned == comparison.made;
        let holds = comparison.made > 0
            && comparison.wrong.is_empty()
            && comparison.unrecorded.is_empty()
            && all_owned;
        self.check(format!("{name}: {comparison}"), holds);
        if name == stage::WATCH {
            let is_read = |flow: &&Value| flow["owner"]["basis"] == "xt_bpf";
            let read = flows.iter().filter(is_read).count();
            self.check(
                format!("{name}: owners of {read} flows read off their sockets in the kernel"),
                read >= comparison.made,
            );
        }
        Ok(())
    }

    /// This machine's program, fed with the journal, comes to the same.
    fn replay(&mut self, name: &str, case: &Path) -> Result<()> {
        let again = self.replays.join(name);
        fs::create_dir_all(&self.replays)
            .map_err(Error::io(format!("making {}", self.replays.display())))?;
        daemon::output(["inspect", text(case), "--case", text(&again)])?;
        let verified = daemon::output(["verify", "--replay", text(case)]);
        self.check(
            format!("{name}: verify --replay here finds what was found there"),
            verified.is_ok(),
        );
        let mut same = true;
        for what in REPLAYED {
            let [first, second] =
                [case, &again].map(|case| daemon::export_text(case, what, "jsonl"));
            let lines = |text: String| text.lines().map(daemon::without_kept).collect::<Vec<_>>();
            same &= lines(first?) == lines(second?);
        }
        self.check(
            format!("{name}: replayed here, the same {}", REPLAYED.join(", ")),
            same,
        );
        Ok(())
    }

    /// What `doctor` said beforehand, and what the daemon wrote into the case of its own
    /// examination, are right and say that this is no phone.
    fn doctor(&mut self, name: &str, case: &Path, found: &StageReport) -> Result<()> {
        let records = daemon::export(case, "records")?;
        let recorded = records.iter().find(|record| record["kind"] == "doctor");
        let recorded = recorded.map_or(Value::Null, |record| record["body"].clone());
        let mut wrong = Vec::new();
        for (key, wanted) in wanted(name) {
            for (from, examination) in [("doctor", &found.doctor), ("case", &recorded)] {
                let said = verdict(examination, key).unwrap_or("nothing");
                if said != wanted {
                    wrong.push(format!("{key} is {said} by the {from}, not {wanted}"));
                }
            }
        }
        if !recorded.to_string().contains(VIRTUAL_MODEL) {
            wrong.push(format!("the case does not name a {VIRTUAL_MODEL}"));
        }
        let what = if wrong.is_empty() {
            "the examination says what is there, and is in the case".to_owned()
        } else {
            wrong.join("; ")
        };
        self.check(format!("{name}: {what}"), wrong.is_empty());
        Ok(())
    }

    /// The layer is refused with its reason, and the watch goes on with what NFLOG says.
    fn without_the_layer(&mut self, name: &str, case: &Path, found: &StageReport) -> Result<()> {
        let said = degraded(case, found, "there is no BPF file system")?;
        let what = said.as_deref().unwrap_or("the refusal is not on record");
        self.check(format!("{name}: {what}"), said.is_some());
        let flows = daemon::export(case, "flows")?;
        let read = flows.iter().any(|flow| flow["owner"]["basis"] == "xt_bpf");
        self.check(
            format!("{name}: no owner is said to be read in the kernel"),
            !read && !flows.is_empty(),
        );
        Ok(())
    }

    /// The weaker way is named in the status and is a gap of the case.
    fn fallback(&mut self, name: &str, case: &Path, found: &StageReport) -> Result<()> {
        let said = degraded(case, found, "NFLOG")?;
        let holds = found.capture == "packet" && said.is_some();
        let what = said.as_deref().unwrap_or("the fallback is not on record");
        self.check(format!("{name}: {what}"), holds);
        let contacts = daemon::export(case, "contacts")?;
        self.check(
            format!("{name}: {} contacts all the same", contacts.len()),
            contacts.len() >= 2,
        );
        Ok(())
    }

    /// The rows of the last watch are those that were to be found.
    fn findings(&mut self, bless: bool) -> Result<()> {
        let case = self.cases.join(stage::WATCH);
        let found: Vec<Row> = daemon::export(&case, "findings")?
            .iter()
            .map(Row::from_finding)
            .collect::<Result<_>>()?;
        if bless {
            expectation::write(&self.expected, &found)?;
        }
        let difference = Difference::between(&expectation::read(&self.expected)?, &found);
        let what = if difference.is_empty() {
            format!("all {} rows are as expected, none extra", found.len())
        } else {
            format!("rows differ from what was to be found:\n{difference}")
        };
        self.check(what, difference.is_empty() && !found.is_empty());
        Ok(())
    }
}

/// What is there at each moment is what was there before the first watch, but where a daemon has just
/// died: there the look must see something, or it is blind.
pub fn as_before(moments: &[Moment]) -> Vec<Check> {
    let before = moments.iter().find(|at| at.name == moment::BEFORE);
    let Some(before) = before.map(|before| &before.traces) else {
        return vec![Check {
            what: "it was not looked at what was there before".to_owned(),
            holds: false,
        }];
    };
    let looked = ["rules", "files", "processes"].map(|what| before.count(what));
    let seen = Check {
        what: format!(
            "before the first watch: {} rules and chains, {} files, {} processes",
            looked[0], looked[1], looked[2]
        ),
        holds: looked.iter().all(|count| *count > 0),
    };
    let others = moments.iter().filter(|at| at.name != moment::BEFORE);
    let compared = others.map(|at| {
        let difference = at.traces.since(before);
        let told = |with: &str| difference.iter().any(|line| line.starts_with(with));
        let (what, holds) = match at.name.as_str() {
            moment::CRASHED => (
                "rules and pins are left",
                told("rules, more") && told("pins, more"),
            ),
            // Rules and pins were in memory only.
            moment::POWER_CUT => (
                "the control socket's file is left",
                told("files, more") && !told("rules") && !told("pins"),
            ),
            _ => (
                "rules, pins, files, processes and sockets are as before",
                difference.is_empty(),
            ),
        };
        let what = if holds {
            format!("{}: {what}", at.name)
        } else {
            format!("{}, not so: {what}:\n{}", at.name, difference.join("\n"))
        };
        Check { what, holds }
    });
    std::iter::once(seen).chain(compared).collect()
}

/// What was there at the moments of the power cuts.
pub fn read_moments(path: &Path) -> Result<Vec<Moment>> {
    read_lines(path)
}

/// What the status called degraded and the case has as a gap, by a word in it.
fn degraded(case: &Path, found: &StageReport, word: &str) -> Result<Option<String>> {
    let gaps = daemon::export(case, "gaps")?;
    let is_recorded = |said: &str| {
        gaps.iter()
            .any(|gap| gap["cause"] == DEGRADED && gap["detail"] == said)
    };
    let mut said = found.degraded.iter();
    let said = said.find(|said| said.contains(word) && is_recorded(said));
    Ok(said.cloned())
}

/// What the apps said that they sent.
fn read_truth(path: &Path) -> Result<Vec<Sent>> {
    read_lines(path)
}

fn read_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let lines =
        fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
    lines
        .lines()
        .map(|line| {
            serde_json::from_str(line)
                .map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())))
        })
        .collect()
}

/// Figures for the reader.
pub fn figures(report: &Report) -> Vec<String> {
    let Usage {
        seconds,
        cpu_seconds,
        wakeups,
        resident_kib,
        peak_kib,
        anonymous_kib,
    } = report.idle.usage;
    let minute = 60.0 / seconds.max(f64::EPSILON);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of wake-ups is far below 2^52"
    )]
    let wakeups = wakeups as f64 * minute;
    vec![
        format!(
            "idle: resident {resident_kib} KiB ({anonymous_kib} KiB of it no file's), peak {peak_kib} KiB"
        ),
        format!(
            "idle: {:.2} s of processor time and {wakeups:.0} wake-ups a minute (of emulated processor time)",
            cpu_seconds * minute
        ),
        format!(
            "after the load: resident {} KiB, {:.2} s of processor time in all",
            report.loaded.resident_kib, report.loaded.cpu_seconds
        ),
    ]
}

/// The verdict on a line of an examination.
fn verdict<'a>(examination: &'a Value, key: &str) -> Option<&'a str> {
    let lines = examination["lines"].as_array()?;
    let line = lines.iter().find(|line| line["key"] == key)?;
    line["verdict"].as_str()
}

/// What an examination before a stage has to come to: what is missing is told, and only that.
fn wanted(name: &str) -> Vec<(&'static str, &'static str)> {
    const OK: &str = "ok";
    let (nflog, iptables, bpf) = match name {
        stage::NO_NFLOG => (DEGRADED, OK, DEGRADED),
        stage::NO_IPTABLES => (OK, DEGRADED, DEGRADED),
        stage::NO_BPFFS => (OK, OK, DEGRADED),
        _ => (OK, OK, OK),
    };
    vec![
        ("android", OK),
        ("bpf", bpf),
        ("inventory", OK),
        ("ip6tables", iptables),
        ("iptables", iptables),
        ("nflog", nflog),
        ("packet_socket", OK),
        ("preload_partitions", OK),
        ("privileges", OK),
        ("sock_diag", OK),
    ]
}
