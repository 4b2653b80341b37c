//! Whom preloaded apps reached that no declaration names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::claim::names_any;
use super::{EXAMPLES_MAX, Seen};
use crate::contact::{AppClass, AppProtocol, Contact};
use crate::declare::BrandFile;
use crate::glob::Glob;
use crate::judge::{located, who};

/// How it is known who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// A list of domains names the company.
    List,
    /// The domain that the name is below: whoever holds it.
    Domain,
    /// No name is known: whose address it is.
    Address,
}

impl KnownBy {
    /// As people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::List => "by a list of domains",
            Self::Domain => "by the domain",
            Self::Address => "by the address, no name is known",
        }
    }
}

/// Somebody whom a preloaded app reached and no file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThirdParty {
    /// The company, as a list of domains names it; else the domain; without a name the address's
    /// organisation, provider or the address itself.
    pub party: String,
    /// How that is known.
    pub known_by: KnownBy,
    /// Names of hosts, sorted, the first ones.
    pub hosts: BTreeSet<String>,
    /// Organisations of the addresses, where known: they may be those of a cloud that it hires.
    pub organisations: BTreeSet<String>,
    /// Countries, where known.
    pub countries: BTreeSet<String>,
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
    let mut found: BTreeMap<(String, KnownBy), ThirdParty> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| counts(&seen.contact)) {
        let contact = &seen.contact;
        let fits = |text: &str| named.iter().any(|glob| glob.matches(text));
        // A name says who is meant; without one, whose address it is.
        let known = match &contact.endpoint.name {
            Some(name) => fits(name) || company(contact).is_some_and(fits),
            None => [&contact.place.organisation, &contact.place.provider]
                .into_iter()
                .flatten()
                .any(|of| fits(of)),
        };
        if known {
            continue;
        }
        let (party, known_by) = party(contact);
        let row = found
            .entry((party.clone(), known_by))
            .or_insert_with(|| ThirdParty {
                party,
                known_by,
                hosts: BTreeSet::new(),
                organisations: BTreeSet::new(),
                countries: BTreeSet::new(),
                apps: BTreeSet::new(),
                contacts: 0,
                flows: 0,
                examples: Vec::new(),
            });
        row.contacts += 1;
        row.flows += seen.flows;
        row.apps.insert(who(&contact.owner));
        row.organisations.extend(contact.place.organisation.clone());
        row.countries.extend(contact.place.country.clone());
        if row.hosts.len() < EXAMPLES_MAX {
            row.hosts.extend(contact.endpoint.name.clone());
        }
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

/// The company that a list of domains puts behind what it says of the name: `advertising (Example
/// Inc.)`.
pub(super) fn company(contact: &Contact) -> Option<&str> {
    let said = contact.endpoint.categories.iter().flatten();
    let mut companies = said.filter_map(|category| {
        let (_, company) = category.split_once(" (")?;
        company.strip_suffix(')')
    });
    companies.next()
}

fn party(contact: &Contact) -> (String, KnownBy) {
    if let Some(company) = company(contact) {
        return (company.to_owned(), KnownBy::List);
    }
    if let Some(name) = &contact.endpoint.name {
        return (domain(name).to_owned(), KnownBy::Domain);
    }
    let place = &contact.place;
    let of = place.organisation.as_ref().or(place.provider.as_ref());
    let of = of.map_or_else(|| contact.endpoint.located_addr().to_string(), Clone::clone);
    (of, KnownBy::Address)
}

/// Labels under which registries of countries let others register (`co.in`, `com.cn`).
const SECOND_LEVEL: [&str; 14] = [
    "ac", "co", "com", "edu", "firm", "gen", "go", "gov", "ind", "ne", "net", "nic", "or", "org",
];

/// The domain that somebody registered, as far as its form tells: two labels, or three where a
/// country's registry sells below a second one.
fn domain(name: &str) -> &str {
    let dots: Vec<usize> = name.rmatch_indices('.').map(|(at, _)| at).collect();
    let second = dots.first().map(|last| {
        let from = dots.get(1).map_or(0, |at| at + 1);
        name.get(from..*last).unwrap_or_default()
    });
    let country = dots.first().is_some_and(|last| name.len() - last == 3);
    let labels = if country && second.is_some_and(|label| SECOND_LEVEL.contains(&label)) {
        3
    } else {
        2
    };
    dots.get(labels - 1)
        .and_then(|at| name.get(at + 1..))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn a_domain_is_what_somebody_registered() {
        for (name, registered) in [
            ("ff.avast.com", "avast.com"),
            ("avast.com", "avast.com"),
            ("com", "com"),
            ("", ""),
            ("a.b.example.co.in", "example.co.in"),
            ("example.co.in", "example.co.in"),
            ("co.in", "co.in"),
            ("api.example.in", "example.in"),
            ("www.baidu.com.cn", "baidu.com.cn"),
            ("a.com.example", "com.example"),
        ] {
            assert_eq!(domain(name), registered, "{name}");
        }
    }
}
