//! `timestamp`: trusted time for a bundle, carried by a person. Nothing is sent.
//!
//! In: a bundle or its manifest, an answer, roots. Out: a request; whether the answer holds (exit
//! code 1: it does not).

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::{
    Failure, Outcome,
    args::TimestampCommand,
    output::{Stdout, say},
};
use crate::{
    paper::{source::manifest_hash, visible, when::both},
    report::coverage::text::seconds,
    stamp::{
        answer::{ANSWER_MAX, Answer},
        check::{Stamp, check, matches_hash},
        request::request,
    },
};

/// Longest file of roots that is read, in bytes; a longer one is refused.
const ROOTS_MAX: usize = 4 * 1024 * 1024;

/// Asks for a stamp, keeps it, checks it.
pub fn timestamp(command: TimestampCommand) -> Result<Outcome, Failure> {
    match command {
        TimestampCommand::Request { of, output } => ask(&of, &output),
        TimestampCommand::Attach { of, answer } => attach(&of, &answer),
        TimestampCommand::Verify { of, answer, roots } => {
            let answer = answer.unwrap_or_else(|| beside(&of));
            verify(&of, &answer, &roots)
        }
    }
}

/// Where the answer for a bundle is kept: its name and `.tsr`.
fn beside(of: &Path) -> PathBuf {
    let mut name = of.as_os_str().to_owned();
    name.push(".tsr");
    PathBuf::from(name)
}

fn ask(of: &Path, output: &Path) -> Result<Outcome, Failure> {
    let hash = manifest_hash(of)?;
    let request = request(*hash.as_bytes())?;
    fs::write(output, request).map_err(|error| {
        format!(
            "{} cannot be written: {error}; check its folder, and the space that is left there",
            output.display()
        )
    })?;
    say(format_args!(
        "request for the manifest's SHA-256 {hash} is in {0}; send it to a time stamping authority \
         (Content-Type: application/timestamp-query), and give its answer to `sakshi timestamp attach`",
        output.display()
    ));
    Ok(Outcome::Done)
}

fn attach(of: &Path, answer: &Path) -> Result<Outcome, Failure> {
    let hash = manifest_hash(of)?;
    let bytes = bounded(answer, ANSWER_MAX)?;
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", answer.display());
    let read = Answer::parse(&bytes).map_err(|error| named(&error))?;
    matches_hash(&read, *hash.as_bytes()).map_err(|error| named(&error))?;
    let to = beside(of);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&to)
        .and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
    written.map_err(|error| {
        format!(
            "{} cannot be written: {error}; an answer that is there is not replaced, move it away first",
            to.display()
        )
    })?;
    say(format_args!(
        "the answer is in {}; whether it holds: `sakshi timestamp verify`",
        to.display()
    ));
    Ok(Outcome::Done)
}

fn verify(of: &Path, answer: &Path, roots: &Path) -> Result<Outcome, Failure> {
    let hash = manifest_hash(of)?;
    let bytes = bounded(answer, ANSWER_MAX)?;
    let roots = bounded(roots, ROOTS_MAX)?;
    let checked = match Answer::parse(&bytes) {
        Ok(answer) => check(&answer, *hash.as_bytes(), &roots).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut out = Stdout::open();
    let outcome = match checked {
        Ok(stamp) => {
            out.text(told(&stamp))?;
            Outcome::Done
        }
        Err(why) => {
            out.line(format_args!(
                "the timestamp does NOT hold: {}",
                visible(&why)
            ))?;
            Outcome::No
        }
    };
    out.close()?;
    Ok(outcome)
}

fn told(stamp: &Stamp) -> String {
    let accuracy = stamp.accuracy_us.map_or_else(
        || "not said".to_owned(),
        |us| format!("{} either way", seconds(us)),
    );
    format!(
        "the timestamp holds: the manifest was there at\n\
         time       {}\n\
         accuracy   {accuracy}\n\
         authority  {}\n\
         serial     {}\n\
         policy     {}\n\
         Checked offline, as of that time: no list of revoked certificates was asked.\n",
        both(stamp.time),
        visible(&stamp.authority),
        stamp.serial,
        stamp.policy
    )
}

/// A file of at most `max` bytes.
fn bounded(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(bound).read_to_end(&mut bytes))
        .map_err(|error| {
            format!(
                "{} cannot be read: {error}; check that it is there and that you may read it",
                path.display()
            )
        })?;
    if bytes.len() > max {
        return Err(format!(
            "{} has more than {max} bytes: this is another kind of file",
            path.display()
        )
        .into());
    }
    Ok(bytes)
}
