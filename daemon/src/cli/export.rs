//! `sakshi export`: what a case holds, for other programs. It changes no byte of the case, but for
//! the record that unredacted data was taken out.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{
    Failure, Outcome,
    args::{ExportArgs, FilterArgs, FormatChoice, WhatChoice},
    authority::{given, standing},
    output::{Stdout, StdoutError, say},
};
use crate::{
    evidence::{Reader, StoreError, body},
    platform::{
        clock::{Clock as _, SystemClock},
        machine,
    },
    report::{
        export::{ExportError, Format, Wanted, What, check, export as export_rows},
        filter::Filter,
    },
    session::{
        SessionError,
        taken_out::{BESIDE, Noted, note_export},
    },
};

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            app: args.app,
            country: args.country,
            rule: args.rule,
            phase: args.phase,
            since: args.since,
            until: args.until,
        }
    }
}

/// Says which values that were asked for nothing has; then the answer is no.
pub fn say_unknown(unknown: &[String]) -> Outcome {
    unknown.iter().for_each(say);
    if unknown.is_empty() {
        Outcome::Done
    } else {
        Outcome::No
    }
}

/// Writes an export.
pub fn export(args: ExportArgs) -> Result<Outcome, Failure> {
    let by = given("--by", args.by)?;
    let (path, case) = (args.output, args.case);
    let wanted = Wanted {
        what: match args.what {
            WhatChoice::Findings => What::Findings,
            WhatChoice::Contacts => What::Contacts,
            WhatChoice::Flows => What::Flows,
            WhatChoice::Gaps => What::Gaps,
            WhatChoice::Records => What::Records,
            #[cfg(feature = "lab")]
            WhatChoice::Packets => What::Packets,
        },
        format: match args.format {
            FormatChoice::Jsonl => Format::Jsonl,
            FormatChoice::Csv => Format::Csv,
            #[cfg(feature = "lab")]
            FormatChoice::Parquet => Format::Parquet,
            #[cfg(feature = "lab")]
            FormatChoice::Pcapng => Format::Pcapng,
        },
        filter: args.filter.into(),
        unredacted: args.unredacted,
    };
    check(&wanted)?;
    if path.is_none() && wanted.format.is_binary() {
        return Err(format!(
            "{} is no text for a terminal: name a file with -o",
            wanted.format.as_str()
        )
        .into());
    }
    // Opened before the output: a case that cannot be read must not cost an earlier export.
    let mut reader = Reader::open(&case)?;
    say(standing(&reader)?);
    let file = path
        .as_deref()
        .map(|path| create(path, &case))
        .transpose()?;
    if let Some(by) = by {
        drop(reader);
        let export = taken(&wanted, by, path.as_deref());
        note(&case, &export, path.as_deref())?;
        reader = Reader::open(&case)?;
    }
    let Some((path, file)) = path.zip(file) else {
        let mut out = Stdout::open();
        let exported = export_rows(&reader, &wanted, &mut out).map_err(of_stdout)?;
        out.close()?;
        return Ok(say_unknown(&exported.unknown));
    };
    let mut to = BufWriter::new(file);
    let exported = export_rows(&reader, &wanted, &mut to).map_err(|error| match error {
        ExportError::Write(error) => unwritten(&path, &error).into(),
        other => Failure::from(other),
    })?;
    let file = to
        .into_inner()
        .map_err(|error| unwritten(&path, error.error()))?;
    sync(&path, &file)?;
    say(format_args!("{} rows in {}", exported.rows, path.display()));
    Ok(say_unknown(&exported.unknown))
}

fn unwritten(path: &Path, error: &io::Error) -> String {
    format!(
        "{} cannot be written: {error}; check its folder, and the space that is left there",
        path.display()
    )
}

/// Makes the file of an export, which must not lie in the case.
fn create(path: &Path, case: &Path) -> Result<File, Failure> {
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    Ok(File::create(path).map_err(|error| unwritten(path, &error))?)
}

/// Puts a file on the disk; a pipe or a device has nothing to be put there.
fn sync(path: &Path, file: &File) -> Result<(), Failure> {
    let synced = file.metadata().and_then(|found| {
        if found.is_file() {
            file.sync_all()
        } else {
            Ok(())
        }
    });
    Ok(synced.map_err(|error| unwritten(path, &error))?)
}

/// What the case says of unredacted data that is taken out.
fn taken(wanted: &Wanted, by: String, output: Option<&Path>) -> body::Export {
    body::Export {
        at: SystemClock.now(),
        by,
        uid: machine::effective_uid(),
        what: wanted.what.as_str().to_owned(),
        format: wanted.format.as_str().to_owned(),
        filters: wanted.filter.given_values(),
        output: output.map(|path| path.display().to_string()),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Before the first row goes out: a record in the case, else a file beside the data.
fn note(case: &Path, export: &body::Export, output: Option<&Path>) -> Result<(), Failure> {
    let noted = note_export(case, export).map_err(|error| match error {
        SessionError::Store(error @ StoreError::Locked(_)) => Failure::from(format!(
            "{error}; an unredacted export is recorded in the case, which only one process can \
             write; without --unredacted it can be exported now"
        )),
        other => other.into(),
    })?;
    match noted {
        Noted::Recorded(head) => {
            say(format_args!(
                "unredacted: the case says so in record {}, hash {}",
                head.seq, head.hash
            ));
        }
        Noted::Beside(why, text) => {
            let Some(output) = output else {
                return Err(format!(
                    "the case takes no record of an unredacted export, since {}: name a file with -o, \
                     so that the record can stand beside it",
                    why.as_str()
                )
                .into());
            };
            let mut name = OsString::from(output);
            name.push(BESIDE);
            let path = PathBuf::from(name);
            let mut file = create(&path, case)?;
            writeln!(file, "{text}").map_err(|error| unwritten(&path, &error))?;
            sync(&path, &file)?;
            say(format_args!(
                "unredacted: the case takes no record, since {}; {} says so",
                why.as_str(),
                path.display()
            ));
        }
    }
    Ok(())
}

/// Whether a file, which need not exist, would lie below a folder, links followed.
pub fn lies_in(path: &Path, folder: &Path) -> bool {
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return false,
    };
    let resolved: io::Result<PathBuf> = fs::canonicalize(path).or_else(|_| fs::canonicalize(above));
    match (resolved, fs::canonicalize(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// A reader of our output that has gone is told from a case that cannot be read.
fn of_stdout(error: ExportError) -> Failure {
    match error {
        ExportError::Write(error) => StdoutError::from(error).into(),
        other => other.into(),
    }
}
