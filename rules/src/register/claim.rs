//! One claim against the contacts of its time.

use std::collections::BTreeSet;

use super::parties::company;
use super::{ClaimRow, Counts, EXAMPLES_MAX, Example, NextStep, Seen, Standing};
use crate::contact::{AppProtocol, Contact, Grade, NameSource, NameStrength, Owner};
use crate::declare::{BrandFile, Claim, ClaimTest, ExternalResult, ResultSays, Statement};
use crate::glob::Glob;
use crate::judge::{is_at, located, place_text, signed_by, who};
use crate::rule_set::{ClaimKind, Status};
use crate::vocabulary::Word;

/// Whether a claim is about a sender.
enum Covered {
    /// By name and signer.
    Sure,
    /// By name; no signer is known, and a name can be imitated.
    ByName,
    /// It may be.
    Doubt(String),
    /// It is not.
    No,
}

/// What a contact says of a claim.
enum Sight {
    Agrees(String),
    Against(String),
    Elsewhere(String),
    Open(String),
}

pub(super) fn names_any(owner: &Owner, packages: &BTreeSet<Glob>) -> bool {
    let named = |name: &str| packages.iter().any(|glob| glob.matches(name));
    owner.packages.iter().any(|package| named(&package.name))
}

fn covered(owner: &Owner, file: &BrandFile, claim: &Claim) -> Covered {
    let globs = if claim.packages.is_empty() {
        &file.packages
    } else {
        &claim.packages
    };
    if owner.uid.is_none() || !names_any(owner, globs) {
        return Covered::No;
    }
    let all = owner
        .packages
        .iter()
        .all(|package| globs.iter().any(|glob| glob.matches(&package.name)));
    if !all {
        return Covered::Doubt("the UID is shared with packages that it is not about".to_owned());
    }
    if owner.may_act_for_app {
        return Covered::Doubt("the UID may act for an app on this socket".to_owned());
    }
    let signed: Vec<Option<bool>> = owner
        .packages
        .iter()
        .map(|package| signed_by(package, &file.signers))
        .collect();
    if file.signers.is_empty() || signed.contains(&None) {
        Covered::ByName
    } else if signed.iter().all(|signed| *signed == Some(true)) {
        Covered::Sure
    } else {
        Covered::Doubt(format!("it is not signed by {}", file.brand))
    }
}

pub(super) fn row(file: &BrandFile, said: &Statement, claim: &Claim, seen: &[&Seen]) -> ClaimRow {
    let mut counts = Counts::default();
    let mut examples: Vec<Example> = Vec::new();
    let in_traffic = claim.test == ClaimTest::Traffic;
    for seen in seen.iter().filter(|_| in_traffic) {
        let cover = covered(&seen.contact.owner, file, claim);
        if matches!(cover, Covered::No) {
            continue;
        }
        let Some(sight) = sight(&seen.contact, file, claim) else {
            continue;
        };
        let sight = weaken(sight, &seen.contact, claim, said, &cover);
        counts.contacts += 1;
        counts.flows += seen.flows;
        counts.by_name_only += u64::from(matches!(cover, Covered::ByName));
        let (count, answer, why) = match sight {
            Sight::Agrees(why) => (&mut counts.agree, "agrees", why),
            Sight::Against(why) => (&mut counts.against, "against", why),
            Sight::Elsewhere(why) => (&mut counts.elsewhere, "elsewhere", why),
            Sight::Open(why) => (&mut counts.open, "open", why),
        };
        *count += 1;
        if examples.iter().filter(|e| e.answer == answer).count() < EXAMPLES_MAX {
            examples.push(Example {
                contact: seen.label.clone(),
                answer,
                who: who(&seen.contact.owner),
                endpoint: endpoint_text(&seen.contact),
                why,
            });
        }
    }
    let standing = if in_traffic {
        standing(claim.kind, &counts)
    } else {
        by_results(claim)
    };
    ClaimRow {
        claim: claim.id.clone(),
        kind: claim.kind.word(),
        test: claim.test.word(),
        about: claim.about.clone(),
        standing,
        why: why(claim, standing, &counts),
        counts,
        examples,
        results: claim.results.iter().map(result_text).collect(),
        next: next(claim, standing),
    }
}

/// What one contact says, as far as places and names tell; none: it is not about the claim, since
/// nothing was sent, it stayed on the local network, or it asked a resolver, which the network
/// chooses and not the app.
fn sight(contact: &Contact, file: &BrandFile, claim: &Claim) -> Option<Sight> {
    let local = matches!(located(contact), Ok(None));
    if local || !contact.payload || contact.endpoint.app_protocol == AppProtocol::Dns {
        return None;
    }
    Some(match claim.kind {
        ClaimKind::Transit => transit(contact),
        ClaimKind::ThirdParty => third_party(contact, file, claim),
        _ => place(contact, claim),
    })
}

fn transit(contact: &Contact) -> Sight {
    let protocol = contact.endpoint.app_protocol.word();
    match contact.cleartext {
        Some(false) => Sight::Agrees(format!("payload is not readable in transit ({protocol})")),
        Some(true) if contact.tunnelled => Sight::Open(format!(
            "payload is readable on the handset ({protocol}), and goes through a VPN, which may hide it \
             on the way"
        )),
        Some(true) => Sight::Against(format!("payload is readable in transit ({protocol})")),
        None => Sight::Open("whether payload is readable in transit could not be told".to_owned()),
    }
}

fn third_party(contact: &Contact, file: &BrandFile, claim: &Claim) -> Sight {
    let Some(name) = contact.endpoint.name.as_deref() else {
        let addr = contact.endpoint.located_addr();
        return Sight::Open(format!("the name of {addr} is not known"));
    };
    let fits = |text: &str| {
        let mut named = claim.parties.iter().chain(&file.own);
        named.any(|glob| glob.matches(text))
    };
    let company = company(contact);
    if fits(name) || company.is_some_and(fits) {
        return Sight::Agrees(format!("{name} is named, or the brand's own"));
    }
    let of = company.map_or_else(String::new, |company| format!(" (of {company})"));
    let against = format!("{name}{of} is neither named nor the brand's own");
    if is_said(contact, name) {
        Sight::Against(against)
    } else {
        Sight::Open(format!(
            "the name was not said in the flow, an answer gave it to the address; {against}"
        ))
    }
}

/// Whether the flow itself said the name: what an answer elsewhere called the address may be another's.
fn is_said(contact: &Contact, name: &str) -> bool {
    contact.endpoint.names.iter().any(|known| {
        known.name == name
            && known.source.is_own()
            && known.source != NameSource::Resolved
            && known.strength.is_none_or(|how| how == NameStrength::Said)
    })
}

fn place(contact: &Contact, claim: &Claim) -> Sight {
    let shown = place_text(&contact.place);
    if let Err(why) = located(contact) {
        return Sight::Open(why);
    }
    let answers: Vec<Option<bool>> = claim
        .allow
        .iter()
        .map(|allowed| is_at(&contact.place, allowed))
        .collect();
    if answers.contains(&Some(true)) {
        if contact.place.grade < Grade::Medium {
            return Sight::Open(format!("{shown}, which is not known well enough"));
        }
        Sight::Agrees(shown)
    } else if answers.contains(&None) {
        Sight::Open(format!(
            "no source tells {shown} from a place that is named"
        ))
    } else {
        Sight::Against(format!("{shown}, which is not named"))
    }
}

/// What is against a claim counts as that only where nothing is in doubt.
fn weaken(
    sight: Sight,
    contact: &Contact,
    claim: &Claim,
    said: &Statement,
    cover: &Covered,
) -> Sight {
    if let Covered::Doubt(why) = cover {
        let (Sight::Agrees(text)
        | Sight::Against(text)
        | Sight::Elsewhere(text)
        | Sight::Open(text)) = sight;
        return Sight::Open(format!("{why}; {text}"));
    }
    let Sight::Against(text) = sight else {
        return sight;
    };
    let grade = contact.place.grade;
    if !claim.kind.can_be_contradicted() {
        return if grade < Grade::Medium {
            Sight::Open(format!("{text}, and not known well enough"))
        } else {
            Sight::Elsewhere(text)
        };
    }
    if matches!(cover, Covered::ByName) {
        let doubt = "covered by name only: no signer is known, and a name can be imitated";
        return Sight::Open(format!("{doubt}; {text}"));
    }
    if grade != Grade::High {
        return Sight::Open(format!(
            "{text}; the place has grade {}, and high is needed",
            grade.word()
        ));
    }
    if said.status == Status::Withdrawn {
        return Sight::Open(format!("the statement was withdrawn; {text}"));
    }
    Sight::Against(text)
}

fn standing(kind: ClaimKind, counts: &Counts) -> Standing {
    if counts.contacts == 0 {
        Standing::NotExercised
    } else if counts.against > 0 {
        Standing::Contradicted
    } else if kind == ClaimKind::Path && counts.agree > 0 {
        // It says that data goes there, not that none goes elsewhere.
        Standing::Consistent
    } else if counts.elsewhere > 0 {
        Standing::UnnamedPlace
    } else if counts.open > 0 {
        Standing::NotDeterminable
    } else {
        Standing::Consistent
    }
}

/// A claim that traffic does not test stands as attached results say.
fn by_results(claim: &Claim) -> Standing {
    let says = |wanted: ResultSays| claim.results.iter().any(|result| result.says == wanted);
    if says(ResultSays::Contradicted) && claim.kind.can_be_contradicted() {
        Standing::Contradicted
    } else if claim.results.is_empty() {
        match claim.test {
            ClaimTest::Document => Standing::NeedsDocument,
            _ => Standing::NotDeterminable,
        }
    } else if says(ResultSays::NotDeterminable) || says(ResultSays::Contradicted) {
        Standing::NotDeterminable
    } else {
        Standing::Consistent
    }
}

fn why(claim: &Claim, standing: Standing, counts: &Counts) -> String {
    match (claim.test, standing) {
        (ClaimTest::Traffic, Standing::NotExercised) => {
            "no app that it is about sent anything that it is about, in its time".to_owned()
        }
        (ClaimTest::Traffic, _) => format!(
            "of {} contacts {} are as it says, {} are not, {} went to a place that it does not \
             name, {} do not tell{}",
            counts.contacts,
            counts.agree,
            counts.against,
            counts.elsewhere,
            counts.open,
            match claim.kind {
                ClaimKind::Storage | ClaimKind::Retention =>
                    "; traffic shows where data goes first, never where it is kept",
                _ => "",
            }
        ),
        (_, _) if !claim.results.is_empty() => "as the attached results say".to_owned(),
        (ClaimTest::Document, _) => "a document decides, and none is attached".to_owned(),
        (ClaimTest::Payload, _) => {
            "what packets hold decides, and no result of such a test is attached".to_owned()
        }
        (ClaimTest::DeviceState, _) => {
            "the handset's state decides, and no result of such a test is attached".to_owned()
        }
        (ClaimTest::None, _) => "nothing that a lab can do tests it".to_owned(),
    }
}

fn next(claim: &Claim, standing: Standing) -> NextStep {
    match standing {
        Standing::Consistent => NextStep::NoAction,
        Standing::Contradicted => NextStep::Expert,
        Standing::UnnamedPlace | Standing::NeedsDocument => NextStep::AskTheVendor,
        Standing::NotExercised => NextStep::TestAgain,
        Standing::NotDeterminable => match claim.test {
            ClaimTest::None | ClaimTest::Document => NextStep::AskTheVendor,
            _ => NextStep::TestAgain,
        },
    }
}

fn result_text(result: &ExternalResult) -> String {
    format!(
        "{} of {}: {} (SHA-256 {})",
        result.title,
        result.on,
        result.says.word(),
        result.sha256
    )
}

pub(super) fn endpoint_text(contact: &Contact) -> String {
    let endpoint = &contact.endpoint;
    let port = endpoint.port.map(|port| format!(" port {port}"));
    format!(
        "{}{}{}",
        endpoint
            .name
            .as_ref()
            .map(|name| format!("{name} at "))
            .unwrap_or_default(),
        endpoint.located_addr(),
        port.unwrap_or_default()
    )
}
