//! `seal`: closes a case for good and writes its bundle to a file or to standard output.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    path::Path,
    sync::Arc,
};

use super::{
    Failure, Outcome,
    args::SealArgs,
    authority::standing,
    export::lies_in,
    output::{self, Stdout, say},
};
use crate::{
    evidence::{
        Hash, Reader,
        bundle::{Also, Bundle, BundleError},
        head,
    },
    platform::clock::{Clock, SystemClock},
    session,
};

/// Seals, writes and says what to note.
pub fn seal(args: &SealArgs) -> Result<Outcome, Failure> {
    let to_stdout = args.output == Path::new("-");
    // Opened before anything is sealed: a bundle that cannot be written must be known by then.
    let file = if to_stdout {
        None
    } else {
        Some(create(&args.output, &args.case)?)
    };
    let written = write(args, file);
    if written.is_err() && !to_stdout {
        // Half a bundle is none. If this fails, the archive's missing end and the manifest tell.
        let _ = fs::remove_file(&args.output);
    }
    let (bundle, hash) = written?;
    let manifest = bundle.manifest();
    let mut lines = vec![
        format!("sealed   {}", manifest.sealed),
        format!("case     {}", manifest.case),
        format!("record   {}", manifest.head.seq),
        format!("hash     {}", manifest.head.hash),
    ];
    lines.extend(head::code(manifest.head).map(|code| format!("code     {code}")));
    lines.push(format!(
        "bundle   {hash} (SHA-256), {} files",
        manifest.files.len()
    ));
    lines.push(standing(&Reader::open(&args.case)?)?);
    if to_stdout {
        lines.iter().for_each(say);
    } else {
        let mut out = Stdout::open();
        lines.iter().try_for_each(|line| out.line(line))?;
        out.close()?;
    }
    Ok(Outcome::Done)
}

fn write(args: &SealArgs, file: Option<File>) -> Result<(Bundle, Hash), Failure> {
    let bar = output::progress(0, "sealing");
    let mut progress = |bytes| bar.inc(bytes);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bundle = session::seal(&args.case, also(args), &clock, &mut progress)?;
    let hash = if let Some(file) = file {
        let named = |error: io::Error| BundleError::Write(error);
        let mut out = BufWriter::new(file);
        let hash = bundle.write(&mut out, &mut progress)?;
        let file = out
            .into_inner()
            .map_err(|error| named(error.into_error()))?;
        if file.metadata().map_err(named)?.is_file() {
            file.sync_all().map_err(named)?;
        }
        hash
    } else {
        // Also a reader that has gone is a failure here: half a bundle is none.
        bundle.write(&mut Stdout::open(), &mut progress)?
    };
    bar.finish_and_clear();
    Ok((bundle, hash))
}

/// Makes the file; one that is there is not written over, since it may be a bundle that counts.
fn create(path: &Path, case: &Path) -> Result<File, Failure> {
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, which is what is sealed: name a file elsewhere",
            path.display()
        )
        .into());
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is there already: name a new file", path.display()).into()
            }
            _ => format!(
                "{} cannot be written: {error}; check its folder",
                path.display()
            )
            .into(),
        })
}

#[cfg(feature = "lab")]
fn also(args: &SealArgs) -> Also {
    use super::args::AlsoChoice;
    Also {
        sha1: args.also.contains(&AlsoChoice::Sha1),
        md5: args.also.contains(&AlsoChoice::Md5),
    }
}

#[cfg(not(feature = "lab"))]
fn also(_args: &SealArgs) -> Also {
    Also::default()
}
