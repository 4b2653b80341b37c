//! `sakshi validate`: known traffic, and how often the daemon was right.

use clap::ValueEnum as _;

use super::{
    Failure, Outcome,
    args::{ValidateArgs, ValidatePart},
    output::{Stdout, say},
    run::must_be_root,
};
use crate::{
    evidence::Hash,
    platform::clock::{Clock as _, SystemClock},
    session::validation,
    validate::{
        self, Config,
        part::{self, HandsetConfig},
    },
};

/// Validates and says where the report is.
pub fn validate(args: &ValidateArgs) -> Result<Outcome, Failure> {
    must_be_root("validate")?;
    let way = args.capture.to_possible_value();
    let way = way.map_or_else(String::new, |way| way.get_name().to_owned());
    let mut run = vec!["--capture".to_owned(), way];
    for (option, value) in [
        ("--iptables", args.iptables.clone()),
        (
            "--bpffs",
            args.bpffs.as_ref().map(|dir| dir.display().to_string()),
        ),
    ] {
        if let Some(value) = value {
            run.extend([option.to_owned(), value]);
        }
    }
    say("sending known traffic between two network namespaces; nothing leaves this machine");
    let done = validate::run(&Config {
        dir: args.output.clone(),
        flows: args.flows,
        seed: args.seed,
        keep: args.keep,
        run,
    })?;
    let mut out = Stdout::open();
    out.text(done.report.text(&done.json))?;
    out.line(format_args!(
        "\n{}/{} SHA-256 {}",
        done.dir.display(),
        validate::REPORT_JSON,
        Hash::of(done.json.as_bytes())
    ))?;
    if let Some(case) = &args.into {
        let file = done.dir.join(validate::REPORT_JSON);
        let recorded = validation::record(case, &file, SystemClock.now())?;
        out.line(format_args!("recorded in {}", case.display()))?;
        for reservation in recorded.reservations() {
            out.line(format_args!("  {reservation}"))?;
        }
    }
    out.close()?;
    Ok(if done.report.passed {
        Outcome::Done
    } else {
        Outcome::No
    })
}

/// A process of a validation.
pub fn part(part: ValidatePart) -> Result<Outcome, Failure> {
    match part {
        ValidatePart::Internet { .. } => part::internet()?,
        ValidatePart::Send => part::send()?,
        ValidatePart::Handset {
            internet,
            flows,
            seed,
            dir,
            run,
        } => part::handset(&HandsetConfig {
            internet,
            dir,
            flows,
            seed,
            run,
        })?,
    }
    Ok(Outcome::Done)
}
