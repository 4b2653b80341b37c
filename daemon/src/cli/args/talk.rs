//! What may be typed to talk to a running daemon.

use std::path::PathBuf;

use clap::Args;

use super::TextOrJson;

/// Which daemon is meant.
#[derive(Debug, Args)]
pub struct Target {
    /// Folder of its case; needed only when several daemons run.
    #[arg(long, value_name = "DIR")]
    pub case: Option<PathBuf>,
}

/// `sakshi status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
    /// Go on and print each commit's sequence number and hash.
    #[arg(long)]
    pub follow: bool,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `sakshi note`.
#[derive(Debug, Args)]
pub struct NoteArgs {
    /// The remark, 1 to 4,000 characters.
    #[arg(value_name = "TEXT")]
    pub text: String,
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
}

/// `sakshi phase`.
#[derive(Debug, Args)]
pub struct PhaseArgs {
    /// The phase's name, 1 to 4,000 characters.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
}
