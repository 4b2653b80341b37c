//! `sakshi inspect`.

use std::path::Path;

use super::{Failure, Outcome, args::InspectArgs, authority::say_standing, output};
use crate::{
    evidence,
    session::{InspectConfig, inspect as inspect_captures},
};

/// Inspects captures, or only looks for names in them, shows progress, and says what could not be read.
pub fn inspect(args: &InspectArgs) -> Result<Outcome, Failure> {
    let config = InspectConfig {
        files: args.files.clone(),
        case: args.case.clone(),
        handset: args.handset.clone(),
        inventory: args.inventory.clone(),
        rules: args.rules.clone(),
        data: args.data.clone(),
        circumstances: args.circumstances.stated(),
    };
    let bar = output::progress(
        args.files.iter().map(|path| bytes_in(path)).sum(),
        "inspecting",
    );
    let inspected = inspect_captures(&config, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let inspected = inspected?;
    output::summary(&inspected.summary, args.format)?;
    if let Some(case) = &args.case {
        say_standing(case)?;
    }
    for unread in &inspected.unread {
        output::say(format_args!("sakshi: {}", unread.text));
    }
    match inspected
        .unread
        .iter()
        .filter(|unread| unread.whole)
        .count()
    {
        0 => Ok(Outcome::Done),
        count => Err(format!(
            "{count} of {} files could not be read at all",
            args.files.len()
        )
        .into()),
    }
}

/// Bytes that will be read, for the progress bar only.
fn bytes_in(path: &Path) -> u64 {
    if path.is_dir() {
        return evidence::database_bytes(path);
    }
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
