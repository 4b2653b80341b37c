//! Conditions on where the endpoint is.
//!
//! An endpoint on the handset's own network (private, link-local, multicast …) is at no place, and
//! every question about one is answered *no*. A place that is not locatable, not known or in
//! conflict gives *not known*, with what is known instead.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Answer;
use crate::contact::{Contact, Grade, Place};
use crate::glob::Glob;
use crate::token::country_token;

/// Sources that a reason lists.
const SOURCES_SHOWN_MAX: usize = 4;

pub(super) fn country(contact: &Contact, wanted: &BTreeSet<String>) -> Answer {
    match located(contact) {
        Ok(Some(country)) => {
            Answer::yes_if(wanted.contains(country), || place_text(&contact.place))
        }
        Ok(None) => Answer::No,
        Err(why) => Answer::NotKnown(why),
    }
}

pub(super) fn country_not(
    contact: &Contact,
    excluded: &BTreeSet<String>,
    home: &BTreeSet<String>,
) -> Answer {
    match located(contact) {
        Ok(Some(country)) => Answer::yes_if(!excluded.contains(country), || {
            let list: Vec<&str> = excluded.iter().map(String::as_str).collect();
            let list = list.join(", ");
            let list = match (excluded == home, home.len()) {
                (true, 1) => format!("{list} is home"),
                (true, _) => format!("{list} are home"),
                (false, _) => format!("outside {list}"),
            };
            format!("{list}; {}", place_text(&contact.place))
        }),
        Ok(None) => Answer::No,
        Err(why) => Answer::NotKnown(why),
    }
}

pub(super) fn provider(contact: &Contact, wanted: &BTreeSet<String>) -> Answer {
    known_or_located(contact, contact.place.provider.as_deref(), |provider| {
        wanted.contains(&provider.to_ascii_lowercase())
    })
}

pub(super) fn region(contact: &Contact, wanted: &BTreeSet<Glob>) -> Answer {
    known_or_located(contact, contact.place.region.as_deref(), |region| {
        wanted.iter().any(|glob| glob.matches(region))
    })
}

/// A part of the place that may be known alone (of anycast, the provider is). Where the place is
/// known and this part is not, the address is in no provider's list: a *no*.
fn known_or_located(contact: &Contact, part: Option<&str>, fits: impl Fn(&str) -> bool) -> Answer {
    match (part, located(contact)) {
        (_, Ok(None)) | (None, Ok(Some(_))) => Answer::No,
        (Some(part), _) => Answer::yes_if(fits(part), || place_text(&contact.place)),
        (None, Err(why)) => Answer::NotKnown(why),
    }
}

pub(super) fn organisation(contact: &Contact, wanted: &BTreeSet<Glob>) -> Answer {
    if is_local(contact.endpoint.located_addr()) {
        return Answer::No;
    }
    match &contact.place.organisation {
        Some(name) => Answer::yes_if(wanted.iter().any(|glob| glob.matches(name)), || {
            format!("organisation {name}")
        }),
        None => Answer::NotKnown(format!(
            "no source names the organisation of {}",
            contact.endpoint.located_addr()
        )),
    }
}

pub(super) fn asn(contact: &Contact, wanted: &BTreeSet<u32>) -> Answer {
    if is_local(contact.endpoint.located_addr()) {
        return Answer::No;
    }
    match contact.place.asn {
        Some(asn) => Answer::yes_if(wanted.contains(&asn), || format!("AS{asn}")),
        None => Answer::NotKnown(format!(
            "no source names the AS of {}",
            contact.endpoint.located_addr()
        )),
    }
}

pub(super) fn known(contact: &Contact, wanted: bool) -> Answer {
    match located(contact) {
        Ok(Some(_)) => Answer::yes_if(wanted, || place_text(&contact.place)),
        Ok(None) => Answer::yes_if(!wanted, || "an address of the local network".into()),
        Err(why) => Answer::yes_if(!wanted, || why),
    }
}

/// Whether a token in the endpoint's name says another country than the address. A name that says
/// none, or that is not known, says no other one.
pub(super) fn named_elsewhere(contact: &Contact, wanted: bool) -> Answer {
    let name = contact.endpoint.name.as_deref();
    let Some((name, said)) = name.and_then(|name| Some((name, country_token(name)?))) else {
        return Answer::yes_if(!wanted, || "the name says no country".into());
    };
    let says = format!("the name {name} says {} ({})", said.country, said.token);
    match located(contact) {
        Ok(Some(country)) if country != said.country => {
            Answer::yes_if(wanted, || format!("{says}; {}", place_text(&contact.place)))
        }
        Ok(_) => Answer::yes_if(!wanted, || format!("{says}, and the address no other")),
        Err(why) => Answer::NotKnown(format!("{says}; {why}")),
    }
}

/// The country, `None` for the local network, or why it is not known.
pub(crate) fn located(contact: &Contact) -> Result<Option<&str>, String> {
    let place = &contact.place;
    let addr = contact.endpoint.located_addr();
    if is_local(addr) {
        return Ok(None);
    }
    if let (Some(steered), Some(_)) = (&contact.steered, &place.country) {
        return Err(format!("{steered}; {}", place_text(place)));
    }
    match (place.grade, &place.country) {
        (Grade::None, _) => Err(format!("no source knows where {addr} is")),
        (Grade::NotLocatable, _) => Err(format!("not locatable ({})", instead(place))),
        (Grade::Conflict, _) => Err(format!("sources disagree on the place: {}", votes(place))),
        (_, Some(country)) => Ok(Some(country)),
        (_, None) => Err(format!("no source names a country for {addr}")),
    }
}

/// What is known of an address that is not locatable: `anycast: Cloudflare`.
fn instead(place: &Place) -> String {
    let says = place
        .basis
        .first()
        .map_or("anycast or content network", |basis| &basis.says);
    match place.organisation.as_deref().or(place.provider.as_deref()) {
        Some(organisation) if !says.contains(organisation) => format!("{says}: {organisation}"),
        _ => says.to_owned(),
    }
}

fn votes(place: &Place) -> String {
    let votes: Vec<String> = place
        .basis
        .iter()
        .take(SOURCES_SHOWN_MAX)
        .map(|basis| format!("{} says {}", basis.source, basis.says))
        .collect();
    if votes.is_empty() {
        "no source is named".into()
    } else {
        votes.join(", ")
    }
}

/// The place and what it rests on: `place SG (aws ap-southeast-1, grade medium, list aged 389
/// days)`.
pub(crate) fn place_text(place: &Place) -> String {
    let country = place.country.as_deref().unwrap_or("not known");
    let mut parts = Vec::new();
    match (&place.provider, &place.region) {
        (Some(provider), Some(region)) => parts.push(format!("{provider} {region}")),
        (Some(provider), None) => parts.push(provider.clone()),
        (None, Some(region)) => parts.push(region.clone()),
        (None, None) => {
            parts.extend(
                place
                    .basis
                    .first()
                    .map(|basis| format!("by {}", basis.source)),
            );
        }
    }
    parts.push(format!("grade {}", grade_text(place.grade)));
    parts.extend(place.basis.first().map(|basis| match basis.age_days {
        1 => "list aged 1 day".to_owned(),
        age @ 0.. => format!("list aged {age} days"),
        age => format!("list {} days younger than the contact", age.unsigned_abs()),
    }));
    format!("place {country} ({})", parts.join(", "))
}

pub(super) fn grade_text(grade: Grade) -> &'static str {
    match grade {
        Grade::None => "none",
        Grade::NotLocatable => "not locatable",
        Grade::Conflict => "conflict",
        Grade::Low => "low",
        Grade::Medium => "medium",
        Grade::High => "high",
    }
}

/// Addresses of the network that the handset is on, which no list of places can hold. Shared
/// address space (100.64.0.0/10) is the operator's and not among them.
pub(super) fn is_local(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}
