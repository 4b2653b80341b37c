//! `sakshi handset`: a technician's steps with a handset over adb.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use super::{
    Failure, Outcome,
    args::{HandsetArgs, HandsetCommand, HandsetStart, HandsetTarget, TextOrJson},
    output::{self, Stdout, say},
};
use crate::{
    handset::{
        adb::{Adb, Device},
        baseline::Baseline,
        error::HandsetError,
        phone::Phone,
        pull, work,
    },
    platform::clock::{Clock as _, SystemClock},
};

/// Does a step.
pub fn handset(args: HandsetArgs) -> Result<Outcome, Failure> {
    let HandsetArgs { target, command } = args;
    let (adb, device) = Adb::choose(&target.adb, target.serial.as_deref())?;
    let phone = Phone {
        adb,
        su: target.su.clone(),
        dir: target.dir.clone(),
        clock: &SystemClock,
        say: &|line| say(line),
    };
    if device.is_over_network() {
        say(
            "adb goes over the network: its own traffic will be among what is watched; use a cable",
        );
    }
    // The start records it for itself, as soon as there is a case.
    let speaks_to_the_watch = matches!(
        command,
        HandsetCommand::Note { .. }
            | HandsetCommand::Phase { .. }
            | HandsetCommand::Consent { .. }
            | HandsetCommand::Stop
    );
    if device.is_over_network() && speaks_to_the_watch {
        work::record_transport(&phone, &device)?;
    }
    step(&phone, &device, &target, command)
}

fn step(
    phone: &Phone<'_>,
    device: &Device,
    target: &HandsetTarget,
    command: HandsetCommand,
) -> Result<Outcome, Failure> {
    match command {
        HandsetCommand::Baseline { output } => baseline(phone, &output),
        HandsetCommand::Push {
            program,
            shim,
            library,
        } => {
            let told = work::push(phone, &program)?;
            if let (Some(shim), Some(library)) = (shim, library) {
                work::push_shim(phone, &shim, &library)?;
            }
            tell([told])
        }
        HandsetCommand::Doctor { format } => {
            let case = format!("{}/x", target.cases);
            shown(
                phone,
                &["doctor", "--case", &case, "--format", word(format)],
            )
        }
        HandsetCommand::Status { format } => shown(phone, &["status", "--format", word(format)]),
        HandsetCommand::Note { text } => shown(phone, &["note", "--", &text]),
        HandsetCommand::Phase { name } => shown(phone, &["phase", "--", &name]),
        HandsetCommand::Consent {
            package,
            notice,
            photo,
        } => consent(phone, (&package, &notice), photo.as_deref()),
        HandsetCommand::Start(start) => start_watch(phone, device, &target.cases, start),
        HandsetCommand::Stop => {
            work::compare_clocks(phone, "stop")?;
            work::stop(phone)?;
            work::end_shim(phone)?;
            tell(["stopped".to_owned()])
        }
        HandsetCommand::Pull { case, output } => {
            pulled(phone, &work::case_dir(&target.cases, &case)?, &output)
        }
        HandsetCommand::Clean {
            pulled,
            keep_cases,
            clean,
        } => {
            let mut words = vec!["clean"];
            words.extend(clean.iter().map(String::as_str));
            let cases = (target.cases.as_str(), keep_cases);
            tell(work::clean(phone, cases, &pulled, &words)?)
        }
    }
}

fn start_watch(
    phone: &Phone<'_>,
    device: &Device,
    cases: &str,
    start: HandsetStart,
) -> Result<Outcome, Failure> {
    let case = work::case_dir(cases, &start.case)?;
    work::make_room(phone, cases)?;
    if let Some(authority) = start.authority {
        work::make_case(phone, &case, &authority)?;
    }
    let mut words: Vec<String> = Vec::new();
    for rules in work::lend(phone, &start.rules)? {
        words.extend(["--rules".to_owned(), rules]);
    }
    words.extend(start.run);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let status = work::start(phone, &case, &words);
    work::take_back(phone)?;
    let status = status?;
    let told = after_start(phone, device, start.baseline.as_deref(), &status);
    told.map_err(|error| format!("the watch has begun, but: {error}").into())
}

/// Keeps a consent step; a photograph is lent to the handset for as long as that takes.
fn consent(
    phone: &Phone<'_>,
    (package, notice): (&str, &str),
    photo: Option<&Path>,
) -> Result<Outcome, Failure> {
    let lent = photo.map(|photo| work::lend_photo(phone, photo));
    let lent = lent.transpose()?;
    let mut words = vec!["consent"];
    if let Some(lent) = &lent {
        words.extend(["--screenshot", lent]);
    }
    words.extend(["--", package, notice]);
    let outcome = shown(phone, &words);
    if lent.is_some() {
        work::take_back(phone)?;
    }
    outcome
}

const fn word(format: TextOrJson) -> &'static str {
    match format {
        TextOrJson::Text => "text",
        TextOrJson::Json => "json",
    }
}

/// What is recorded as soon as the watch runs.
fn after_start(
    phone: &Phone<'_>,
    device: &Device,
    baseline: Option<&Path>,
    status: &str,
) -> Result<Outcome, Failure> {
    work::record_transport(phone, device)?;
    work::compare_clocks(phone, "start")?;
    let mut lines = Vec::new();
    if !work::start_shim(phone)? {
        lines.push(
            "without the shim: what only Android knows (screen, foreground app, Doze, network, \
             settings, its own view of packages) is not recorded, and the case says so"
                .to_owned(),
        );
    }
    if let Some(file) = baseline {
        let count = work::record_baseline(phone, file)?;
        lines.push(format!(
            "{count} things differ from the baseline; they are on record"
        ));
    }
    let status: serde_json::Value = serde_json::from_str(status)?;
    let text = |name: &str| status[name].as_str().unwrap_or("unknown").to_owned();
    lines.push(format!(
        "watching with {}; case {}, session {}",
        text("capture"),
        text("case"),
        status["session"]
    ));
    for degraded in status["degraded"].as_array().into_iter().flatten() {
        lines.push(format!(
            "degraded: {}",
            degraded.as_str().unwrap_or_default()
        ));
    }
    lines.push("the cable may go; end with `sakshi handset stop`".to_owned());
    tell(lines)
}

/// A command of the handset, shown as it answers.
fn shown(phone: &Phone<'_>, words: &[&str]) -> Result<Outcome, Failure> {
    let answer = phone.ask(words)?;
    if !answer.err.is_empty() {
        say(&answer.err);
    }
    let mut out = Stdout::open();
    out.text(&answer.out)?;
    out.close()?;
    Ok(match answer.ending.code {
        0 => Outcome::Done,
        1 => Outcome::No,
        code => Outcome::Other(code),
    })
}

fn tell(lines: impl IntoIterator<Item = String>) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    lines.into_iter().try_for_each(|line| out.line(line))?;
    out.close()?;
    Ok(Outcome::Done)
}

fn baseline(phone: &Phone<'_>, output: &Path) -> Result<Outcome, Failure> {
    let baseline = Baseline::take(&phone.adb, SystemClock.now())?;
    let (text, hash) = baseline.to_text()?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|source| HandsetError::File {
        path: output.to_owned(),
        source,
    })?;
    let count: usize = baseline
        .facts
        .values()
        .map(std::collections::BTreeMap::len)
        .sum();
    let mut lines = vec![format!(
        "{count} facts in {}, SHA-256 {hash}",
        output.display()
    )];
    let incomplete = baseline.incomplete.iter();
    lines.extend(incomplete.map(|(kind, why)| format!("incomplete: {kind}: {why}")));
    tell(lines)
}

fn pulled(phone: &Phone<'_>, case: &str, output: &Path) -> Result<Outcome, Failure> {
    let bar = output::progress(0, "pulling");
    let pulled = pull::pull(phone, case, output, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let pulled = pulled?;
    let drops = match pulled.drops {
        0 => String::new(),
        drops => format!(", the connection broke {drops} times"),
    };
    let mut lines: Vec<String> = pulled.said.lines().map(str::to_owned).collect();
    lines.push(format!(
        "{}: {} bytes, SHA-256 {}, as the handset hashed it{drops}",
        output.display(),
        pulled.bytes,
        pulled.sha256
    ));
    tell(lines)
}
