//! Lists of names: hosts files, plain lists, and `AdGuard`'s file of companies.
//!
//! In: lines or parsed JSON. Out: names with a category each.

use serde_json::Value;

use super::{Draft, PublishedError, Said, entry, moment};
use crate::locate::build::Piece;

/// Longest name (RFC 1035 section 2.3.4), in bytes.
const NAME_BYTES_MAX: usize = 253;
/// What a hosts file sends names to.
const NOWHERE: [&str; 4] = ["0.0.0.0", "127.0.0.1", "::", "::1"];
/// Names that a hosts file has of the machine itself.
const OWN: [&str; 5] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "0.0.0.0",
];

/// `0.0.0.0 name` or `name` or `*.name` or `||name^`, one a line. The category is said by the
/// person who adds it, or it is the file's name.
pub(super) fn names(
    lines: &[(usize, &str)],
    stem: &str,
    said: &Said,
) -> Result<Draft, PublishedError> {
    let category = said.category.clone().unwrap_or_else(|| stem.to_owned());
    let mut found = Vec::with_capacity(lines.len());
    for &(number, line) in lines {
        if line.starts_with('!') || line.starts_with('[') {
            continue;
        }
        let line = line.split('#').next().unwrap_or(line).trim();
        let mut words = line.split_whitespace().peekable();
        words.next_if(|word| NOWHERE.contains(word));
        for word in words {
            if OWN.contains(&word) || word.starts_with("ip6-") {
                continue;
            }
            let word = word.trim_start_matches("||").trim_end_matches('^');
            let name = word.trim_start_matches("*.").trim_end_matches('.');
            if !is_name(name) {
                return Err(entry(format!("line {number}"), "a domain name", word));
            }
            found.push((name.to_ascii_lowercase(), category.clone()));
        }
    }
    if found.is_empty() {
        return Err(PublishedError::Empty);
    }
    Ok(Draft {
        kind: "list of names",
        name: stem.to_owned(),
        pieces: vec![Piece::Domains(found)],
        ..Draft::default()
    })
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.contains('.')
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
}

/// `trackers.json` of `AdGuard`'s companiesdb: domains of services, services with categories and
/// companies. A category becomes `advertising (Example Inc.)` where the company is told.
pub(super) fn companies(value: &Value, max: usize) -> Result<Draft, PublishedError> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let mut found = Vec::new();
    let domains = value.get("trackerDomains").and_then(Value::as_object);
    for (domain, service) in domains.into_iter().flatten() {
        if found.len() >= max {
            return Err(PublishedError::TooMany(max));
        }
        let at = format!("the domain {domain:?}");
        if !is_name(domain) {
            return Err(entry(at, "a domain name", domain));
        }
        let key = service
            .as_str()
            .ok_or_else(|| entry(&at, "the key of a service", &service.to_string()))?;
        let service = value.get("trackers").and_then(|all| all.get(key));
        let of = |field: &str| service.and_then(|service| service.get(field));
        let category = of("categoryId")
            .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned))
            .and_then(|id| text(value.get("categories").and_then(|all| all.get(&id))))
            .unwrap_or_else(|| "not told".to_owned());
        let company = text(of("companyId")).or_else(|| text(of("name")));
        let category = match company {
            Some(company) => format!("{category} ({company})"),
            None => category,
        };
        found.push((domain.to_ascii_lowercase(), category));
    }
    if found.is_empty() {
        return Err(PublishedError::Empty);
    }
    let updated = text(value.get("timeUpdated"));
    Ok(Draft {
        kind: "AdGuard's file of companies",
        name: "adguard-companies".to_owned(),
        published: updated.as_deref().and_then(moment),
        version: updated,
        licence: Some("CC-BY-SA-4.0"),
        attribution: "AdGuard companiesdb",
        url: "https://github.com/AdguardTeam/companiesdb",
        pieces: vec![Piece::Domains(found)],
        ..Draft::default()
    })
}
