//! `control` and `observe`: the handset's end of the lab's PC.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use super::{
    Failure, Outcome,
    args::{ConsentArgs, ControlArgs, ObserveArgs},
    talk::{committed, committed_by},
};
use crate::{
    control::{client::Connection, protocol::Request, socket, stdio},
    input::{CONSENT, PACKAGE, checked_observation},
    platform::{
        clock::SystemClock,
        command::{self, Invocation},
    },
};

/// Who tells of a consent step.
const TECHNICIAN: &str = "technician";
/// Longest wait for a picture of the screen.
const SCREENCAP_MAX: Duration = Duration::from_secs(20);

/// Runs a command of this program and answers in frames.
pub fn control(args: &ControlArgs) -> Result<Outcome, Failure> {
    match &args.detach {
        Some(log) => stdio::start(&args.words, log, &SystemClock)?,
        None => stdio::answer(&args.words, args.skip, &SystemClock)?,
    }
    Ok(Outcome::Done)
}

/// A consent step: the screen as it is, and what the notice says of itself.
pub fn consent(args: ConsentArgs) -> Result<Outcome, Failure> {
    let facts = BTreeMap::from([
        (PACKAGE.to_owned(), args.package),
        ("notice".to_owned(), args.notice),
        (
            "screen_from".to_owned(),
            screen_from(args.screenshot.is_some()),
        ),
    ]);
    checked_observation(TECHNICIAN, CONSENT, &facts)?;
    // Before the screen is taken: somebody must be there to take it into a case.
    let mut connection = Connection::open(args.target.case.as_deref())?;
    let (file, taken) = if let Some(file) = args.screenshot {
        (absolute(file)?, None)
    } else {
        let file = socket::folder().join(format!("screen-{}.png", std::process::id()));
        (file.clone(), Some(Taken::take(&args.screencap, file)?))
    };
    let request = Request::Observe {
        source: TECHNICIAN.to_owned(),
        topic: CONSENT.to_owned(),
        facts,
        file: Some(file),
    };
    let outcome = committed_by(&mut connection, &request, "consent step on record");
    drop(taken);
    outcome
}

fn screen_from(given: bool) -> String {
    if given { "a file" } else { "screencap" }.to_owned()
}

/// A picture of the screen; its file goes when this is dropped.
struct Taken(PathBuf);

impl Taken {
    fn take(program: &str, file: PathBuf) -> Result<Self, Failure> {
        let taken = Self(file);
        let invocation = Invocation {
            program,
            args: &["-p", &taken.0.to_string_lossy()],
            stdin: None,
            timeout: SCREENCAP_MAX,
        };
        command::run(&invocation).map_err(|error| {
            format!(
                "the screen cannot be taken: {error}; photograph it, and give the picture with \
                 --screenshot"
            )
        })?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // The case has its copy, or the step was refused.
        let _ = fs::remove_file(&self.0);
    }
}

/// The daemon may have been started elsewhere.
fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

/// Gives the running daemon what somebody beside the packets tells.
pub fn observe(args: ObserveArgs) -> Result<Outcome, Failure> {
    let facts = args.facts.into_iter().collect();
    checked_observation(&args.source, &args.topic, &facts)?;
    let request = Request::Observe {
        source: args.source,
        topic: args.topic,
        facts,
        file: args.file.map(absolute).transpose()?,
    };
    committed(&args.target, &request, "on record")
}
