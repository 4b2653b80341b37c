//! `summary` and `certificate`: what a case says on paper.
//!
//! In: a case or a bundle. Out: text on standard output, files where they are asked for, never
//! within the case.

use std::{fs, path::Path};

use super::{
    Failure, Outcome,
    args::{CertificateArgs, LanguageChoice, SummaryArgs},
    export::lies_in,
    output::{Stdout, say},
};
use crate::{
    paper::{
        certificate::{Drafted, Language},
        facts::Facts,
        html, pdf, plain,
        source::Source,
        summary::summary as sections,
        text,
    },
    report::authority,
};

/// Shows a summary in plain words.
pub fn summary(args: &SummaryArgs) -> Result<Outcome, Failure> {
    let source = Source::open(&args.from)?;
    let sections = sections(&Facts::read(&source)?, &source);
    if let Some(path) = &args.html {
        write(path, html::page(&sections).as_bytes(), &args.from)?;
    }
    let mut out = Stdout::open();
    out.text(text::page(&sections))?;
    out.close()?;
    Ok(Outcome::Done)
}

/// Drafts the certificate.
pub fn certificate(args: &CertificateArgs) -> Result<Outcome, Failure> {
    let source = Source::open(&args.from)?;
    let facts = Facts::read(&source)?;
    let drafted = Drafted::new(&facts, &source)?;
    let languages: &[Language] = match args.language {
        LanguageChoice::En => &[Language::English],
        LanguageChoice::Hi => &[Language::Hindi],
        LanguageChoice::Both => &[Language::English, Language::Hindi],
    };
    let mut written = vec![(
        "hashes.sha256".to_owned(),
        drafted.hashes().as_bytes().to_vec(),
    )];
    for device in drafted.devices() {
        for language in languages {
            let form = drafted.form(device, *language);
            let name = format!("certificate-{}-{}", device.as_str(), language.code());
            written.push((format!("{name}.pdf"), pdf::render(&form)?));
            written.push((format!("{name}.txt"), plain::text(&form).into_bytes()));
            written.push((format!("{name}.rtf"), plain::rtf(&form).into_bytes()));
        }
    }
    if lies_in(&args.output.join("any"), &args.from) || lies_in(&args.output, &args.from) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a folder elsewhere",
            args.output.display()
        )
        .into());
    }
    fs::create_dir_all(&args.output).map_err(|error| {
        format!(
            "{} cannot be made: {error}; name a folder that you may write to",
            args.output.display()
        )
    })?;
    for (name, bytes) in written {
        write(&args.output.join(name), &bytes, &args.from)?;
    }
    say(authority::line(&facts.recorded));
    say(
        "Drafts: nothing is signed, and what a person must say is blank. A lawyer must look at them.",
    );
    Ok(Outcome::Done)
}

/// Writes a file that must not lie in the case.
fn write(path: &Path, bytes: &[u8], case: &Path) -> Result<(), Failure> {
    if lies_in(path, case) {
        return Err(format!(
            "{} lies in the case, where reading changes nothing: name a file elsewhere",
            path.display()
        )
        .into());
    }
    fs::write(path, bytes).map_err(|error| {
        format!(
            "{} cannot be written: {error}; check its folder, and the space that is left there",
            path.display()
        )
    })?;
    say(format_args!("written: {}", path.display()));
    Ok(())
}
