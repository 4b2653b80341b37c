//! Runs the static program under an emulator and compares what it finds with what ours finds.
//!
//! In: the static program, qemu's user emulation, the capture that the demo ships. Out: nothing
//! when every export is the same byte for byte and each program finds the other's case intact; an
//! error that names the first difference. The emulator has no packet sockets, no NFLOG and no
//! socket diagnosis, so this says nothing about live capture.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{cache, workspace};
use crate::{
    prerequisites,
    steps::{Outcome, output, run},
};

/// The emulator, and its package.
pub const EMULATOR: (&str, &str) = ("qemu-aarch64-static", "qemu-user-static");
/// What a case is asked for.
const EXPORTS: [&str; 5] = ["findings", "contacts", "flows", "gaps", "records"];
/// The forms of an export.
const FORMATS: [&str; 2] = ["jsonl", "csv"];

/// A program, and the case that it made.
struct Side {
    program: Vec<PathBuf>,
    case: PathBuf,
}

impl Side {
    /// Runs the program; what it writes to standard output.
    fn run(&self, words: &[&str], paths: &[&Path]) -> Result<String, String> {
        let mut parts = self.program.iter();
        let program = parts.next().ok_or("no program")?;
        output(Command::new(program).args(parts).args(words).args(paths))
    }

    fn export(&self, what: &str, format: &str) -> Result<String, String> {
        let words = ["export", "--what", what, "--format", format];
        self.run(&words, &[&self.case])
    }
}

/// Compares the static program with this machine's, which is built for it.
pub fn compare(phone: &Path) -> Outcome {
    prerequisites::programs(&[EMULATOR])?;
    run("cargo", &["build", "--quiet", "--package", "sakshi"])?;
    let folder = super::target_folder().join("comparison");
    cache::remove(&folder)?;
    cache::create(&folder)?;
    let host = Side {
        program: vec![super::target_folder().join("debug").join("sakshi")],
        case: folder.join("host"),
    };
    let phone = Side {
        program: vec![PathBuf::from(EMULATOR.0), phone.to_owned()],
        case: folder.join("phone"),
    };
    let capture = workspace().join("tests/cases/demo/demo.pcap");
    for side in [&host, &phone] {
        side.run(&["inspect", "--case"], &[&side.case, &capture])?;
    }
    for (what, format) in pairs() {
        let (ours, theirs) = (host.export(what, format)?, phone.export(what, format)?);
        if ours != theirs {
            let file = |side: &str| folder.join(format!("{side}.{what}.{format}"));
            cache::write(&file("host"), &ours)?;
            cache::write(&file("phone"), &theirs)?;
            let (ours, theirs) = (file("host"), file("phone"));
            return Err(format!(
                "{} and {} differ",
                ours.display(),
                theirs.display()
            ));
        }
        println!("same: {what} as {format}, {} bytes", ours.len());
    }
    // Each trusts the other's evidence, and comes to the same findings from its journal.
    let words = ["verify", "--replay"];
    host.run(&words, &[&phone.case])?;
    phone.run(&words, &[&host.case])?;
    println!("same: findings from each other's journal");
    cache::remove(&folder)
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPORTS
        .into_iter()
        .flat_map(|what| FORMATS.into_iter().map(move |format| (what, format)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_export_is_compared_in_every_form() {
        assert_eq!(pairs().count(), EXPORTS.len() * FORMATS.len());
        assert!(pairs().any(|pair| pair == ("records", "csv")));
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let side = Side {
            program: vec!["false".into()],
            case: "/case".into(),
        };
        let error = side.export("flows", "csv").expect_err("false fails");
        assert!(error.contains("`false export --what flows"), "{error}");
    }
}
