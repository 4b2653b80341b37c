//! `sakshi verify`: what the verifier finds, on this program's output. It is a crate of its own, so
//! that others can build it alone; nothing of what it decides is here.

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
    match replay::replay(&args.case, args.format)? {
        Outcome::Done => Ok(verified),
        different => Ok(different),
    }
}
