//! Conditions on when it was, on what the name is for, and on what is known of the place.

use std::collections::BTreeSet;

use super::Answer;
use super::place::{is_local, located};
use crate::contact::{Contact, Grade, PlaceStatus};
use crate::glob::Glob;
use crate::hours::{Hours, Offset, clock};

pub(super) fn hours(contact: &Contact, wanted: &BTreeSet<Hours>, offset: Offset) -> Answer {
    match contact.minute {
        Some(minute) => {
            let local = offset.local(minute);
            Answer::yes_if(wanted.iter().any(|hours| hours.contains(local)), || {
                format!("it was {} (UTC{offset})", clock(local))
            })
        }
        None => Answer::NotKnown("the time of the day is not known".into()),
    }
}

pub(super) fn screen(contact: &Contact, wanted: bool) -> Answer {
    let what = "whether the screen was on";
    observed(contact.screen_on, wanted, screen_text, what)
}

pub(super) fn screen_text(on: bool) -> &'static str {
    if on {
        "the screen was on"
    } else {
        "the screen was off"
    }
}

pub(super) fn idle(contact: &Contact, wanted: bool) -> Answer {
    let what = "whether the handset was idle (Doze)";
    observed(contact.idle, wanted, idle_text, what)
}

pub(super) fn idle_text(idle: bool) -> &'static str {
    if idle {
        "the handset was idle (Doze)"
    } else {
        "the handset was not idle (Doze)"
    }
}

fn observed(
    observed: Option<bool>,
    wanted: bool,
    text: fn(bool) -> &'static str,
    what: &str,
) -> Answer {
    match observed {
        Some(is) => Answer::yes_if(is == wanted, || text(is).into()),
        None => Answer::NotKnown(format!("{what} was not observed")),
    }
}

pub(super) fn category(contact: &Contact, wanted: &BTreeSet<Glob>) -> Answer {
    let Some(categories) = &contact.endpoint.categories else {
        return Answer::NotKnown("no list of domains was asked what the name is for".into());
    };
    let fitting: Vec<&str> = categories
        .iter()
        .map(String::as_str)
        .filter(|category| {
            let alone = category
                .split_once(" (")
                .map_or(*category, |(alone, _)| alone);
            let fits = |glob: &Glob| glob.matches(category) || glob.matches(alone);
            wanted.iter().any(fits)
        })
        .collect();
    if !fitting.is_empty() {
        return Answer::Yes(format!("the name is listed as {}", fitting.join(", ")));
    }
    if categories.is_empty() && contact.endpoint.name.is_none() && !is_local(contact.endpoint.addr)
    {
        return Answer::NotKnown(format!(
            "the name of {} is not known, and so not what it is for",
            contact.endpoint.addr
        ));
    }
    Answer::No
}

pub(super) fn place_status(contact: &Contact, wanted: &BTreeSet<PlaceStatus>) -> Answer {
    let (status, text) = status(contact);
    Answer::yes_if(wanted.contains(&status), || text)
}

/// What is known of the place, and how a reason says so.
pub(super) fn status(contact: &Contact) -> (PlaceStatus, String) {
    match (located(contact), contact.place.grade) {
        (Ok(None), _) => (
            PlaceStatus::Local,
            "an address of the local network".to_owned(),
        ),
        (Ok(Some(country)), _) => (PlaceStatus::Located, format!("located in {country}")),
        (Err(why), Grade::NotLocatable) => (PlaceStatus::NotLocatable, why),
        (Err(why), Grade::Conflict) => (PlaceStatus::Conflict, why),
        (Err(why), _) => (PlaceStatus::Unknown, why),
    }
}
