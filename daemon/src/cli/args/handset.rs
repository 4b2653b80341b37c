//! What may be typed to work with a handset over adb, and what the handset is told in turn.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
#[cfg(feature = "lab")]
use clap::Subcommand;

use super::Target;
#[cfg(feature = "lab")]
use super::TextOrJson;

/// `sakshi control`.
#[derive(Debug, Args)]
pub struct ControlArgs {
    /// Answer on standard output, in frames.
    #[arg(long, required = true)]
    pub stdio: bool,
    /// Bytes of its output that are hashed and not sent.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        conflicts_with = "detach"
    )]
    pub skip: u64,
    /// Let it stay, and take down in this file what it says.
    #[arg(long, value_name = "LOG")]
    pub detach: Option<PathBuf>,
    /// The words of a command.
    #[arg(last = true, required = true)]
    pub words: Vec<OsString>,
}

/// `sakshi observe`.
#[derive(Debug, Args)]
pub struct ObserveArgs {
    /// Who tells it.
    #[arg(long, value_name = "WORD")]
    pub source: String,
    /// What it is about.
    #[arg(long, value_name = "WORD")]
    pub topic: String,
    /// What is told.
    #[arg(value_name = "NAME=VALUE", value_parser = fact)]
    pub facts: Vec<(String, String)>,
    /// File that belongs to it; the case keeps a copy.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
}

/// `sakshi consent`.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// The app that asks.
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// What the notice says of its own version, and what was answered.
    #[arg(value_name = "TEXT")]
    pub notice: String,
    /// A picture of the screen; without it, it is taken with Android's `screencap`.
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,
    /// The command that takes a picture.
    #[arg(long, value_name = "NAME", hide = true, default_value = "screencap")]
    pub screencap: String,
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
}

fn fact(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "give a name, `=`, and a value".to_owned())
}

/// Which handset is meant, and where what lies on it.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct HandsetTarget {
    /// Serial of the handset, where several are connected (`adb devices`).
    #[arg(long, value_name = "SERIAL", global = true)]
    pub serial: Option<String>,
    /// The command that gives root on the handset; it takes one line as its last word.
    #[arg(long, value_name = "COMMAND", default_value = "su -c", global = true)]
    pub su: String,
    /// Folder of the program on the handset.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/data/local/tmp/sakshi",
        global = true
    )]
    pub dir: String,
    /// Folder of cases on the handset, for root alone.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/data/sakshi",
        global = true
    )]
    pub cases: String,
    /// The adb command.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "adb",
        hide = true,
        global = true
    )]
    pub adb: String,
}

/// `sakshi handset`.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct HandsetArgs {
    /// Which one.
    #[command(flatten)]
    pub target: HandsetTarget,
    /// What to do.
    #[command(subcommand)]
    pub command: HandsetCommand,
}

/// What a watch begins with.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct HandsetStart {
    /// Name of the case.
    #[arg(long, value_name = "NAME")]
    pub case: String,
    /// Filled template of `sakshi case template`, for a new case.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// What `baseline` kept; what differs now is recorded.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Rule set to judge by, or a brand's file that one asks; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// More for `sakshi run` on the handset.
    #[arg(last = true)]
    pub run: Vec<String>,
}

/// The steps.
#[cfg(feature = "lab")]
#[derive(Debug, Subcommand)]
pub enum HandsetCommand {
    /// Keep how the handset is before it is rooted: apps, patch level, verified boot, settings.
    Baseline {
        /// New file for it.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Put the program onto the handset.
    Push {
        /// The program, built for the handset (docs/building.md).
        #[arg(long, value_name = "FILE")]
        program: PathBuf,
        /// What runs in Android's Java (`cargo xtask shim`), to learn what only Android knows.
        #[arg(long, value_name = "FILE", requires = "library")]
        shim: Option<PathBuf>,
        /// Its library, built for the handset.
        #[arg(long, value_name = "FILE", requires = "shim")]
        library: Option<PathBuf>,
    },
    /// Say what the handset offers a watch and what it lacks. Exit code 1: something failed.
    Doctor {
        /// How the result is shown.
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Begin a watch that stays when the cable goes.
    Start(HandsetStart),
    /// Say how the watch is doing. Exit code 1: none runs.
    Status {
        /// How it is shown.
        #[arg(long, value_enum, default_value = "text")]
        format: TextOrJson,
    },
    /// Give the watch a remark for the record.
    Note {
        /// The remark.
        #[arg(value_name = "TEXT")]
        text: String,
    },
    /// Keep a consent step: the screen as it is now, the notice's version, the app's.
    Consent {
        /// The app that asks.
        #[arg(value_name = "PACKAGE")]
        package: String,
        /// What the notice says of its own version, and what was answered.
        #[arg(value_name = "TEXT")]
        notice: String,
        /// A photograph on this PC, where the screen forbids pictures.
        #[arg(long, value_name = "FILE")]
        photo: Option<PathBuf>,
    },
    /// Tell the watch that a phase of the examination begins.
    Phase {
        /// The phase's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// End the watch in order.
    Stop,
    /// Seal a case on the handset and bring its bundle here; goes on where it was interrupted.
    Pull {
        /// Name of the case.
        #[arg(long, value_name = "NAME")]
        case: String,
        /// New file for the bundle.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Take everything off the handset again.
    Clean {
        /// Bundle whose case on the handset may be removed, since this is its copy; may be repeated.
        #[arg(long, value_name = "BUNDLE")]
        pulled: Vec<PathBuf>,
        /// Leave the other cases there.
        #[arg(long)]
        keep_cases: bool,
        /// More for `sakshi clean` on the handset: what `start` was given for its packet filter.
        #[arg(last = true)]
        clean: Vec<String>,
    },
}
