//! Whom preloaded apps reached that no declaration names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::claim::names_any;
use super::{EXAMPLES_MAX, Seen};
use crate::contact::{AppClass, AppProtocol, Contact};
use crate::declare::BrandFile;
use crate::glob::Glob;
use crate::judge::{located, who};

/// Somebody whom a preloaded app reached and no file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThirdParty {
    /// The endpoint's name; without one its organisation, provider or address.
    pub party: String,
    /// Organisation of the address or name, where known.
    pub organisation: Option<String>,
    /// Country, where known.
    pub country: Option<String>,
    /// The apps that reached it, sorted.
    pub apps: BTreeSet<String>,
    /// Contacts.
    pub contacts: u64,
    /// Flows.
    pub flows: u64,
    /// Names of contacts in the case, the first ones.
    pub examples: Vec<String>,
}

/// Only files of brands whose apps were seen count: that another maker names itself does not make
/// it known to this one's users.
pub(super) fn undeclared(files: &[BrandFile], seen: &[Seen]) -> Vec<ThirdParty> {
    let named: Vec<&Glob> = files
        .iter()
        .filter(|file| {
            seen.iter()
                .any(|seen| names_any(&seen.contact.owner, &file.packages))
        })
        .flat_map(|file| {
            let claims = file.statements.iter().flat_map(|said| &said.claims);
            file.own
                .iter()
                .chain(claims.flat_map(|claim| &claim.parties))
        })
        .collect();
    let mut found: BTreeMap<String, ThirdParty> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| counts(&seen.contact)) {
        let contact = &seen.contact;
        let party = party(contact);
        let organisation = contact.place.organisation.clone();
        let fits = |text: &str| named.iter().any(|glob| glob.matches(text));
        // A name says who is meant; without one, whose address it is.
        let known = match &contact.endpoint.name {
            Some(name) => fits(name),
            None => fits(&party) || contact.place.provider.as_deref().is_some_and(fits),
        };
        if known {
            continue;
        }
        let row = found.entry(party.clone()).or_insert_with(|| ThirdParty {
            party,
            organisation,
            country: contact.place.country.clone(),
            apps: BTreeSet::new(),
            contacts: 0,
            flows: 0,
            examples: Vec::new(),
        });
        row.contacts += 1;
        row.flows += seen.flows;
        row.apps.insert(who(&contact.owner));
        if row.examples.len() < EXAMPLES_MAX {
            row.examples.push(seen.label.clone());
        }
    }
    found.into_values().collect()
}

fn counts(contact: &Contact) -> bool {
    let preload = matches!(
        contact.owner.class,
        AppClass::Preloaded | AppClass::UpdatedPreload | AppClass::DeletablePreload
    );
    let local = matches!(located(contact), Ok(None));
    preload && contact.payload && !local && contact.endpoint.app_protocol != AppProtocol::Dns
}

fn party(contact: &Contact) -> String {
    let place = &contact.place;
    let named = contact.endpoint.name.as_ref();
    named
        .or(place.organisation.as_ref())
        .or(place.provider.as_ref())
        .cloned()
        .unwrap_or_else(|| contact.endpoint.located_addr().to_string())
}
