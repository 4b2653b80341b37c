//! The command line: one readable match from arguments to what is done.
//!
//! In: arguments. Out: text on standard output, errors with a remedy on standard error, and an exit
//! code: 0 done, 1 the answer is no, 2 wrong use, 3 could not, 4
//! (`verify`) incomplete.

mod args;
mod authority;
#[cfg(feature = "lab")]
mod claims;
mod control;
#[cfg(feature = "lab")]
mod data;
#[cfg(feature = "lab")]
mod data_args;
#[cfg(feature = "lab")]
mod distance;
mod doctor;
mod export;
#[cfg(feature = "lab")]
mod handset;
mod head;
mod inspect;
#[cfg(feature = "lab")]
mod judge;
mod output;
#[cfg(feature = "lab")]
mod paper;
mod read;
mod replay;
#[cfg(feature = "lab")]
mod rules;
mod run;
mod seal;
#[cfg(feature = "lab")]
mod stamp;
mod talk;
mod validate;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use crate::{platform::machine::android_zone, session::probe, time};

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done.
    Done,
    /// The answer is no.
    No,
    /// Neither: an exit code of its own, which the command documents.
    Other(u8),
}

/// Whatever kept a command from being done; shown with its remedy.
type Failure = Box<dyn std::error::Error>;

/// Runs the program.
pub fn main() -> ExitCode {
    // clap ends the process with 2 on wrong use, and with 0 on --help and --version.
    let cli = Cli::parse();
    if let Some(zone) = android_zone() {
        time::use_zone(&zone);
    }
    match dispatch(cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Other(code)) => ExitCode::from(code),
        Err(error) if output::is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("sakshi: {error}"));
            ExitCode::from(3)
        }
    }
}

fn dispatch(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Case(command) => authority::case(command),
        Command::Custody(args) => authority::custody(args),
        Command::Run(args) => run::run(args),
        #[cfg(feature = "lab")]
        Command::Rules(command) => rules::rules(command),
        #[cfg(feature = "lab")]
        Command::Claims(args) => claims::claims(&args),
        #[cfg(feature = "lab")]
        Command::Declaration(command) => claims::declaration(&command),
        #[cfg(feature = "lab")]
        Command::Judge(args) => judge::judge(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Findings(args) => read::findings(&args),
        Command::Export(args) => export::export(args),
        Command::Coverage(args) => read::coverage(&args),
        #[cfg(feature = "lab")]
        Command::Certificate(args) => paper::certificate(&args),
        #[cfg(feature = "lab")]
        Command::Summary(args) => paper::summary(&args),
        #[cfg(feature = "lab")]
        Command::Timestamp(command) => stamp::timestamp(command),
        #[cfg(feature = "lab")]
        Command::Data(command) => data::data(command),
        #[cfg(feature = "lab")]
        Command::Locate(args) => data::locate(&args),
        #[cfg(feature = "lab")]
        Command::Distance(args) => distance::distance(&args),
        Command::Seal(args) => seal::seal(&args),
        Command::Head(args) => head::head(&args),
        Command::Verify(args) => verify::verify(args),
        Command::Status(args) => talk::status(&args),
        Command::Stop(target) => talk::stop(&target),
        Command::Note(args) => talk::note(args),
        Command::Phase(args) => talk::phase(args),
        Command::Clean(args) => run::clean(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::ValidatePart(part) => validate::part(part),
        #[cfg(feature = "lab")]
        Command::Handset(args) => handset::handset(args),
        Command::Control(args) => control::control(&args),
        Command::Observe(args) => control::observe(args),
        Command::Consent(args) => control::consent(args),
        Command::ProbeSend { targets } => {
            probe::send_and_tell(&targets)?;
            Ok(Outcome::Done)
        }
    }
}
