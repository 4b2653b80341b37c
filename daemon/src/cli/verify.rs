//! `sakshi verify`: what the verifier finds, on this program's output. It is a crate of its own, so
//! that others can build it alone; nothing of what it decides is here.

use std::path::Path;

use sakshi_verifier::{Stage, VerifyError, text, verify_against};

use super::{
    Failure, Outcome,
    args::{TextOrJson, VerifyArgs},
    authority::standing,
    output::{self, Stdout, say},
    replay,
};
use crate::evidence::Reader;

/// Says whether the evidence is intact and, if it is asked, whether its journal gives the same
/// findings again.
pub fn verify(args: VerifyArgs) -> Result<Outcome, Failure> {
    if args.replay {
        check_replayed(&args)?;
    }
    let bar = output::progress(0, "verifying");
    let mut stage = Stage::Records;
    let verification = verify_against(&args.case, args.head, &mut |progress| {
        if progress.stage != stage {
            stage = progress.stage;
            bar.reset();
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let verification = verification.map_err(|error: VerifyError| Failure::from(error))?;
    let mut out = Stdout::open();
    match args.format {
        TextOrJson::Json => out.line(text::json(&verification))?,
        TextOrJson::Text => out.text(text::text(&verification))?,
    }
    // A damaged case may not say; what is damaged is told above.
    if let Ok(standing) = Reader::open(&args.case)
        .map_err(Failure::from)
        .and_then(|reader| standing(&reader))
    {
        match args.format {
            TextOrJson::Text => out.line(standing)?,
            TextOrJson::Json => say(standing),
        }
    }
    out.close()?;
    let verified = match verification.exit_code() {
        0 => Outcome::Done,
        1 => Outcome::No,
        code => Outcome::Other(code),
    };
    if verified == Outcome::No || !args.replay {
        return Ok(verified);
    }
    match replay_of(&args.case, args.format)? {
        Outcome::Done => Ok(verified),
        different => Ok(different),
    }
}

fn replay_of(path: &Path, format: TextOrJson) -> Result<Outcome, Failure> {
    // A bundle is unpacked for it, into a temporary folder.
    #[cfg(feature = "lab")]
    if !path.is_dir() {
        let source = crate::paper::source::Source::open(path)?;
        return replay::replay(source.dir(), format);
    }
    replay::replay(path, format)
}

/// Whether the journal can be read a second time: said before the verification, which takes long.
fn check_replayed(args: &VerifyArgs) -> Result<(), Failure> {
    let lab = cfg!(feature = "lab");
    let path = &args.case;
    let piped = path == Path::new("-");
    if !piped && (path.is_dir() || !path.exists() || lab && path.is_file()) {
        return Ok(());
    }
    let detail = if lab {
        "`--replay` reads twice: name a case's folder, or a bundle that is a file"
    } else {
        "this build feeds the journal of a case's folder through, not of a bundle: do that on a PC"
    };
    Err(detail.to_owned().into())
}
