//! `sakshi-verifier`: says whether a case or a bundle is intact, and nothing else.
//!
//! Exit codes: 0 intact, 1 damaged, 2 wrong use, 3 it could not be told, 4 incomplete.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt,
};
use sakshi_verifier::{
    ExpectedHead, Progress, Stage, Verification, read_expected, text, verify_against,
};

const HELP: &str = "\
Says whether evidence of Sakshi is intact. Changes nothing, sends nothing.

Usage: sakshi-verifier [OPTIONS] CASE|BUNDLE|-

  CASE                folder of a case; BUNDLE: a file that `sakshi seal` wrote; -: a bundle from
                      standard input
      --head HEAD     a head that left the handset: the code from paper, the text of the QR code, or
                      the path of a checkpoint file. Without one, an older state that was put back,
                      or records cut from the end, cannot be noticed
      --format FORMAT how the result is shown: text, json [default: text]
  -h, --help          this text
  -V, --version       version

Exit codes: 0 intact, 1 damaged, 2 wrong use, 3 it could not be told, 4 incomplete (nothing is
wrong, but nothing vouches for the end).

Examples:
  sakshi-verifier case-17
  sakshi-verifier case-17 --head 00000-00376-XJWVT-FS8X1-AXKMZ-0R87H-VJ8R4-Z25M7
  age --decrypt -i lab.key case-17.age | sakshi-verifier -
";

/// Wrong use.
const USAGE: u8 = 2;
/// It could not be told.
const FAILED: u8 = 3;

struct Arguments {
    path: PathBuf,
    head: Option<ExpectedHead>,
    as_json: bool,
}

enum Wish {
    Verify(Arguments),
    Say(String),
}

fn main() -> ExitCode {
    let wish = match arguments() {
        Ok(wish) => wish,
        Err(error) => {
            complain(&format!("{error}; see `sakshi-verifier --help`"));
            return ExitCode::from(USAGE);
        }
    };
    let (said, code) = match wish {
        Wish::Say(text) => (text, 0),
        Wish::Verify(arguments) => match run(arguments) {
            Ok(result) => result,
            Err(error) => {
                complain(&error);
                return ExitCode::from(FAILED);
            }
        },
    };
    let mut out = io::stdout().lock();
    match out.write_all(said.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("standard output: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// A complaint that cannot be written has nobody to read it.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "sakshi-verifier: {text}");
}

fn arguments() -> Result<Wish, String> {
    let mut parser = lexopt::Parser::from_env();
    let (mut path, mut head, mut as_json) = (None, None, false);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Wish::Say(HELP.to_owned())),
            Short('V') | Long("version") => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Wish::Say(format!("sakshi-verifier {version}\n")));
            }
            Long("head") => {
                let value = parser.value().and_then(ValueExt::string).map_err(text)?;
                head = Some(read_expected(&value)?);
            }
            Long("format") => {
                let value = parser.value().and_then(ValueExt::string).map_err(text)?;
                as_json = match value.as_str() {
                    "json" => true,
                    "text" => false,
                    other => return Err(format!("{other:?} is no format: text or json")),
                };
            }
            Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let path = path.ok_or("name a case or a bundle")?;
    Ok(Wish::Verify(Arguments {
        path,
        head,
        as_json,
    }))
}

fn run(arguments: Arguments) -> Result<(String, u8), String> {
    let mut bar = Bar::new();
    let verification = verify_against(&arguments.path, arguments.head, &mut |progress| {
        bar.show(progress);
    });
    bar.clear();
    let verification: Verification = verification.map_err(|error| error.to_string())?;
    let said = if arguments.as_json {
        format!("{}\n", text::json(&verification))
    } else {
        text::text(&verification)
    };
    Ok((said, verification.exit_code()))
}

/// A line on the terminal that says how far it is; nothing elsewhere.
struct Bar {
    shown: Option<(Stage, u64)>,
    on: bool,
}

impl Bar {
    fn new() -> Self {
        Self {
            shown: None,
            on: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, progress: Progress) {
        let percent = (progress.done.saturating_mul(100))
            .checked_div(progress.total)
            .unwrap_or(progress.done >> 20);
        if !self.on || self.shown == Some((progress.stage, percent)) {
            return;
        }
        self.shown = Some((progress.stage, percent));
        let (what, unit) = match progress.stage {
            Stage::Bundle => ("reading the bundle", "MiB"),
            Stage::Records => ("checking records", "%"),
            Stage::Files => ("hashing files", "%"),
        };
        let _ = write!(io::stderr(), "\r\x1b[K{what}: {percent} {unit}");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
