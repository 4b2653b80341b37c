//! `head`: the last checkpoint in forms that leave the handset. It changes no byte of the case.

use std::{fs::File, io::Write, path::Path};

use qrcodegen::{QrCode, QrCodeEcc};

use super::{
    Failure, Outcome,
    args::{HeadArgs, TextOrJson},
    authority::standing,
    export::lies_in,
    output::{self, Stdout, say},
};
use crate::evidence::{
    Reader,
    canonical::to_canonical,
    head::{HeadFile, last_head},
};

/// Light modules around a QR code, as its standard (ISO/IEC 18004) wants them.
const QUIET: i32 = 4;
/// Black on white, whatever the terminal's own colours are.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// Shows or writes the head.
pub fn head(args: &HeadArgs) -> Result<Outcome, Failure> {
    let reader = Reader::open(&args.case)?;
    let standing = standing(&reader)?;
    let Some(head) = last_head(&reader)? else {
        return Err(format!(
            "{} has no signed checkpoint: an inspection is not signed, since it can be made again \
             from its input; `sakshi verify` tells its last hash",
            args.case.display()
        )
        .into());
    };
    if let Some(path) = &args.output {
        write_file(path, &args.case, &head)?;
        say(format_args!("record {} is in {}", head.seq, path.display()));
    }
    let mut out = Stdout::open();
    match args.format {
        TextOrJson::Json => {
            say(standing);
            out.line(to_canonical(&head)?)?;
        }
        TextOrJson::Text => {
            let waiting = reader.head()?.seq - head.seq;
            out.text(text(&head, waiting))?;
            out.line(standing)?;
        }
    }
    if args.qr {
        out.text(qr(&head, output::style().colour)?)?;
    }
    out.close()?;
    Ok(Outcome::Done)
}

fn text(head: &HeadFile, waiting: i64) -> String {
    let mut lines = vec![
        format!("case     {}", head.case),
        format!("record   {}", head.seq),
        format!("hash     {}", head.hash),
    ];
    lines.extend(head.at.map(|at| format!("made     {at}")));
    lines.extend(head.code.as_ref().map(|code| format!("code     {code}")));
    if waiting > 0 {
        lines.push(format!(
            "{waiting} later records wait for the next checkpoint."
        ));
    }
    lines.push(
        "Note the code where nobody who holds the handset can change it. Who is root on the handset \
         can forge what no head has left it for.\n"
            .to_owned(),
    );
    lines.join("\n")
}

fn write_file(path: &Path, case: &Path, head: &HeadFile) -> Result<(), Failure> {
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, where it would vouch for nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    let line = to_canonical(head)? + "\n";
    File::create(path)
        .and_then(|mut file| {
            file.write_all(line.as_bytes())?;
            if file.metadata()?.is_file() {
                file.sync_all()?;
            }
            Ok(())
        })
        .map_err(|error| {
            format!(
                "{} cannot be written: {error}; check its folder, and the space that is left there",
                path.display()
            )
        })?;
    Ok(())
}

/// A QR code of two modules a character. Without colour, light modules are drawn and dark ones left
/// out, as it has to be on a dark terminal.
fn qr(head: &HeadFile, colour: bool) -> Result<String, Failure> {
    let code = head
        .code
        .as_deref()
        .ok_or("the record's number is too large for a code: use `-o FILE`")?;
    let content = format!("SAKSHI-HEAD:1:{}:{code}", head.case.to_uppercase());
    let qr = QrCode::encode_text(&content, QrCodeEcc::Medium)
        .map_err(|error| format!("the QR code cannot be made: {error}"))?;
    let mut text = String::new();
    let range = -QUIET..qr.size() + QUIET;
    for y in range.clone().step_by(2) {
        if colour {
            text.push_str(BLACK_ON_WHITE);
        }
        for x in range.clone() {
            let drawn = |y| qr.get_module(x, y) == colour;
            text.push(match (drawn(y), drawn(y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        if colour {
            text.push_str(RESET);
        }
        text.push('\n');
    }
    Ok(text)
}
