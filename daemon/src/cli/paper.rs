//! `summary`: what a case says on paper.
//!
//! In: a case or a bundle. Out: text on standard output, files where they are asked for, never
//! within the case.

use std::{fs, path::Path};

use super::{
    Failure, Outcome,
    args::SummaryArgs,
    output::{Stdout, say},
    read::lies_in,
};
use crate::paper::{facts::Facts, html, source::Source, summary::summary as sections, text};

/// Shows a summary in plain words.
pub fn summary(args: &SummaryArgs) -> Result<Outcome, Failure> {
    let source = Source::open(&args.from)?;
    let sections = sections(&Facts::read(&source)?, &source);
    if let Some(path) = &args.html {
        write(path, html::page(&sections).as_bytes(), &args.from)?;
    }
    let mut out = Stdout::open();
    out.text(text::page(&sections))?;
    out.close()?;
    Ok(Outcome::Done)
}

/// Writes a file that must not lie in the case.
fn write(path: &Path, bytes: &[u8], case: &Path) -> Result<(), Failure> {
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    fs::write(path, bytes).map_err(|error| {
        format!(
            "{} cannot be written: {error}; check its folder, and the space that is left there",
            path.display()
        )
    })?;
    say(format_args!("written: {}", path.display()));
    Ok(())
}
