//! What people see: terminals, progress, summaries.

use std::{
    error::Error,
    fmt,
    io::{self, BufWriter, IsTerminal, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failure, args::TextOrJson};
use crate::{
    evidence::{
        body::{ByName, Summary},
        canonical::to_canonical,
    },
    report::table::Style,
};

/// Columns of a table where no terminal says how many it has.
const WIDTH_DEFAULT: u16 = 160;

/// How tables are drawn on standard output.
pub fn style() -> Style {
    let terminal = io::stdout().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Style {
        colour: terminal && !no_colour,
        width: Some(terminal.then(width).flatten().unwrap_or(WIDTH_DEFAULT)),
    }
}

fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .map(|size| size.ws_col)
        .filter(|columns| *columns >= 40)
}

/// A progress bar on standard error; invisible where that is no terminal.
pub fn progress(bytes: u64, what: &'static str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target((bytes > 0).then_some(bytes), target);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written: {0}")]
pub struct StdoutError(#[from] io::Error);

/// Standard output for one answer; [`Stdout::close`] says whether all of it was taken.
#[derive(Debug)]
pub struct Stdout(BufWriter<io::StdoutLock<'static>>);

impl Stdout {
    /// Takes standard output.
    pub fn open() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a text.
    pub fn text(&mut self, text: impl fmt::Display) -> Result<(), StdoutError> {
        Ok(write!(self.0, "{text}")?)
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), StdoutError> {
        Ok(writeln!(self.0, "{line}")?)
    }

    /// Writes what is still held back.
    pub fn close(mut self) -> Result<(), StdoutError> {
        Ok(self.0.flush()?)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Says something beside the answer, on standard error. When nobody can hear it, the work goes on:
/// a daemon does not end because its terminal has gone.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a session's summary.
pub fn summary(summary: &Summary, format: TextOrJson) -> Result<(), Failure> {
    let mut out = Stdout::open();
    match format {
        TextOrJson::Json => out.line(to_canonical(summary)?)?,
        TextOrJson::Text => out.text(summary_text(summary))?,
    }
    out.close()?;
    Ok(())
}

fn summary_text(summary: &Summary) -> String {
    let mut lines = Lines::default();
    lines.add("packets", summary.packets);
    for (reason, count) in &summary.unparsed {
        lines.add("", format!("{count} not dissected: {reason}"));
    }
    lines.add("flows", summary.flows);
    if let Some(named) = &summary.by_name {
        lines.names(named);
    }
    if let Some(contacts) = summary.contacts {
        lines.add("contacts", contacts);
    }
    match summary.findings {
        Some(findings) => lines.add(
            "findings",
            format!("{findings} (those that need review included)"),
        ),
        None => lines.add("judged", "nothing: --case DIR judges, and keeps the result"),
    }
    match summary.lost {
        Some(lost) => lines.add("lost", format!("{lost} packets")),
        None => lines.add(
            "lost",
            "unknown: some loss could not be counted, see the gaps",
        ),
    }
    for count in summary.files.iter().filter(|_| summary.files.len() > 1) {
        lines.add(
            "",
            format!(
                "{}: {} packets, {} flows",
                count.file, count.packets, count.flows
            ),
        );
    }
    lines.0
}

/// Lines with labels before them.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, value: impl fmt::Display) {
        // A text takes whatever is written.
        let _ = fmt::Write::write_fmt(&mut self.0, format_args!("{label:<11}{value}\n"));
    }

    /// Flows by what names their other end, and gaps.
    fn names(&mut self, named: &ByName) {
        for (count, what) in [
            (named.said, "say the name of their other end"),
            (named.asked, "ask for names"),
            (named.resolved, "have a name by an answer before them"),
            (named.candidates, "have several such names, none certain"),
            (named.unnamed, "have no name"),
            (named.hidden, "of all these hide names (DoT, DoH, DoQ, ECH)"),
        ] {
            self.add("", format!("{count} {what}"));
        }
        let where_told = match named.gaps {
            0 => "",
            _ => " (a case tells them one by one)",
        };
        self.add("gaps", format!("{}{where_told}", named.gaps));
    }
}

/// Whether an error only says that the reader of our output has gone, as after `| head`.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<StdoutError>()
        .is_some_and(|StdoutError(error)| error.kind() == io::ErrorKind::BrokenPipe)
}
