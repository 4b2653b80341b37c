//! `sakshi doctor`.

use super::{
    Failure, Outcome,
    args::{DoctorArgs, TextOrJson},
    output::{self, Stdout},
};
use crate::{
    capture::nflog::rules::Commands,
    evidence::canonical::to_canonical,
    platform::clock::SystemClock,
    report::examination::examination as as_table,
    session::{ExamineConfig, examine},
};

/// Examines the machine and shows what was found. The answer is no when something failed.
pub fn doctor(args: &DoctorArgs) -> Result<Outcome, Failure> {
    let config = ExamineConfig {
        case: args.case.clone(),
        inventory: args.inventory.clone(),
        commands: Commands::named(&args.iptables),
    };
    let examination = examine(&config, &SystemClock)?;
    let mut out = Stdout::open();
    match args.format {
        TextOrJson::Json => out.line(to_canonical(&examination)?)?,
        TextOrJson::Text => out.text(as_table(&examination, output::style()))?,
    }
    out.close()?;
    Ok(if examination.counts.failed == 0 {
        Outcome::Done
    } else {
        Outcome::No
    })
}
