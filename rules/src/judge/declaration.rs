//! Whether a contact is outside what a vendor said.
//!
//! Two questions: does the statement cover the sender, and does it name the place? *Outside* needs
//! a sure yes to the first and a sure no to the second.

use super::Answer;
use super::owner::{names, signed_by, who};
use super::place::{located, place_text};
use crate::contact::{AppClass, Contact, Owner, Package, Place};
use crate::day::Day;
use crate::rule_set::{AllowedPlace, Declaration, Vendor};

pub(super) fn outside(contact: &Contact, said: &Declaration, day: Option<Day>) -> Answer {
    // A statement says nothing of the time before it, nor of that after which another stands.
    let stands = |day| said.said_on <= day && said.superseded_on.is_none_or(|end| day < end);
    if day.is_some_and(|day| !stands(day)) {
        return Answer::No;
    }
    let covered = covers(&contact.owner, &said.of);
    if covered == Answer::No {
        return Answer::No;
    }
    let elsewhere = elsewhere(contact, said);
    let label = format!(
        "{} said on {}: \"{}\"",
        said.of.brand, said.said_on, said.words
    );
    match (covered, elsewhere) {
        (_, Answer::No) | (Answer::No, _) => Answer::No,
        (Answer::Yes(who), Answer::Yes(place)) => Answer::Yes(format!(
            "{label}; it covers {who}; it does not name {place}"
        )),
        (Answer::NotKnown(why), Answer::Yes(place)) => {
            Answer::NotKnown(format!("{why}; {label}; it does not name {place}"))
        }
        (Answer::Yes(who), Answer::NotKnown(why)) => {
            Answer::NotKnown(format!("{why}; {label}; it covers {who}"))
        }
        (Answer::NotKnown(who), Answer::NotKnown(place)) => {
            Answer::NotKnown(format!("{place}; {who}; {label}"))
        }
    }
}

/// Whether the sender is an app of one of these vendors, as their files say.
pub(super) fn vendor(owner: &Owner, wanted: &[Vendor]) -> Answer {
    let mut doubt = Answer::No;
    for of in wanted {
        match covers(owner, of) {
            Answer::Yes(who) => return Answer::Yes(format!("app of {}: {who}", of.brand)),
            Answer::NotKnown(why) if doubt == Answer::No => {
                doubt = Answer::NotKnown(format!("whether it is an app of {}: {why}", of.brand));
            }
            _ => {}
        }
    }
    doubt
}

/// Whether every package that may have sent is of these.
fn covers(owner: &Owner, of: &Vendor) -> Answer {
    let Some(uid) = owner.uid else {
        return Answer::No;
    };
    if owner.packages.is_empty() {
        return match owner.class {
            AppClass::System => Answer::No,
            _ => Answer::NotKnown(format!(
                "the inventory knows no package of UID {uid}, so whether the statement covers it \
                 can't be told"
            )),
        };
    }
    let named: Vec<&Package> = owner.packages.iter().filter(|p| is_named(p, of)).collect();
    if named.is_empty() {
        return Answer::No;
    }
    if named.len() < owner.packages.len() {
        return Answer::NotKnown(format!(
            "UID {uid} is shared by {}, of which the statement covers only {}",
            names(owner.packages.iter()),
            names(named.into_iter())
        ));
    }
    if owner.may_act_for_app {
        return Answer::NotKnown(format!("UID {uid} may act for an app on this socket"));
    }
    if of.signers.is_empty() {
        return Answer::NotKnown(format!(
            "the statement covers {} by name only: no signer of {}'s is known, and a name can be \
             imitated",
            who(owner),
            of.brand
        ));
    }
    let doubtful = named
        .iter()
        .filter(|p| signed_by(p, &of.signers) != Some(true));
    let doubtful = names(doubtful.copied());
    if doubtful.is_empty() {
        return Answer::Yes(format!("{} by name and signer", who(owner)));
    }
    Answer::NotKnown(format!(
        "{doubtful} is not known to be signed by {}",
        of.brand
    ))
}

fn is_named(package: &Package, of: &Vendor) -> bool {
    of.packages.iter().any(|glob| glob.matches(&package.name))
}

/// Whether the place is none of those that the statement names.
fn elsewhere(contact: &Contact, said: &Declaration) -> Answer {
    let place = &contact.place;
    match located(contact) {
        Ok(None) => return Answer::No,
        Err(why) => return Answer::NotKnown(why),
        Ok(Some(_)) => {}
    }
    let mut open = None;
    for allowed in &said.allow {
        match is_at(place, allowed) {
            Some(true) => return Answer::No,
            None => open = Some(allowed),
            Some(false) => {}
        }
    }
    match open {
        None => Answer::Yes(place_text(place)),
        Some(_) => Answer::NotKnown(format!(
            "no source says enough to tell {} from a place that the statement names",
            place_text(place)
        )),
    }
}

/// Whether the place is an allowed one; none when what differs is not known.
pub(crate) fn is_at(place: &Place, allowed: &AllowedPlace) -> Option<bool> {
    let parts = [
        (&allowed.country, &place.country),
        (&allowed.provider, &place.provider),
        (&allowed.region, &place.region),
    ];
    let mut sure = true;
    for (wanted, found) in parts {
        match (wanted, found) {
            (None, _) => {}
            (Some(wanted), Some(found)) if wanted.eq_ignore_ascii_case(found) => {}
            (Some(_), Some(_)) => return Some(false),
            (Some(_), None) => sure = false,
        }
    }
    sure.then_some(true)
}
