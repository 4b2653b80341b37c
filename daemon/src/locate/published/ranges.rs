//! Lists as text, one entry a line: `IPFire`'s two forms, systems, geofeeds, prefixes, names.
//!
//! In: text. Out: what it says; a line that does not fit is an error with its number, so that no
//! half of a file is taken for the whole.

use std::net::{IpAddr, Ipv4Addr};

use super::{Draft, PublishedError, Said, code, domains, entry, moment};
use crate::locate::{
    build::{Listed, Piece, Span},
    dataset::{CountryCode, Location, NO_COUNTRY, Organisation, System},
    prefix::{self, Prefix},
};

/// A line with its number.
type Line<'a> = (usize, &'a str);

/// Reads a text file of whichever kind its first entry shows.
pub(super) fn read(
    text: &str,
    file: &str,
    said: &Said,
    max: usize,
) -> Result<Draft, PublishedError> {
    let lines: Vec<Line<'_>> = (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.trim_end()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.len() > max {
        return Err(PublishedError::TooMany(max));
    }
    let &(_, first) = lines.first().ok_or(PublishedError::Empty)?;
    let commas: Vec<&str> = first.split(',').map(str::trim).collect();
    let stem = stem(file);
    if first.starts_with("net:") || first.starts_with("aut-num:") {
        return ipfire_dump(&lines, text);
    }
    match commas.as_slice() {
        [a, b, _] if bound(a).is_some() && bound(b).is_some() => ipfire(&lines, text),
        [a, b, _, ..] if bound(a).is_some() && bound(b).is_some() => systems(&lines, ',', stem),
        [prefix, ..] if commas.len() > 1 && block(prefix).is_some() => geofeed(&lines, stem, said),
        [one] if first.split('\t').count() >= 5 && !one.is_empty() => systems(&lines, '\t', stem),
        [one] if block(one).is_some() => prefixes(&lines, stem),
        _ => domains::names(&lines, stem, said),
    }
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// An address, or its number.
fn bound(text: &str) -> Option<u128> {
    let text = text.trim_matches('"');
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Some(prefix::key(addr));
    }
    let number: u128 = text.parse().ok()?;
    // Numbers below 2^32 are IPv4's: nothing of IPv6 that is routed is that low.
    Some(match u32::try_from(number) {
        Ok(bits) => prefix::key(IpAddr::V4(Ipv4Addr::from_bits(bits))),
        Err(_) => number,
    })
}

/// A prefix, or a single address.
fn block(text: &str) -> Option<Prefix> {
    Prefix::parse(text).or_else(|| {
        let addr: IpAddr = text.parse().ok()?;
        Some(Prefix::around(prefix::key(addr), 128))
    })
}

fn span(number: usize, first: &str, last: &str) -> Result<Span, PublishedError> {
    let at = format!("line {number}");
    let one = bound(first).ok_or_else(|| entry(&at, "a first address", first))?;
    let other = bound(last).ok_or_else(|| entry(&at, "a last address", last))?;
    if one > other {
        return Err(entry(at, "a last address not before the first", last));
    }
    Ok(Span {
        first: one,
        last: other,
    })
}

/// When the comment of an `IPFire` file says that it was generated
/// (`# Generated: Thu, 25 Jun 2026 04:33:59 GMT`).
fn generated(text: &str) -> Option<String> {
    let line = text
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .find_map(|line| line.split_once("Generated:"))?;
    let mut words = line.1.split_whitespace().skip(1);
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|&known| known == month)? + 1;
    let day: u8 = day.parse().ok()?;
    Some(format!("{year}-{month:02}-{day:02}"))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn ipfire_draft(text: &str, pieces: Vec<Piece>) -> Draft {
    let version = generated(text);
    Draft {
        kind: "IPFire's text",
        name: "ipfire-location".to_owned(),
        published: version.as_deref().and_then(moment),
        version,
        licence: Some("CC-BY-SA-4.0"),
        attribution: "IPFire Location Database (https://location.ipfire.org)",
        url: "https://location.ipfire.org/",
        pieces,
        ..Draft::default()
    }
}

/// `16777216,16777471,AU`, as Tor ships it; `??` is not known.
fn ipfire(lines: &[Line<'_>], text: &str) -> Result<Draft, PublishedError> {
    let mut countries: Vec<(Span, CountryCode)> = Vec::with_capacity(lines.len());
    for &(number, line) in lines {
        let at = format!("line {number}");
        let mut parts = line.split(',');
        let (Some(first), Some(last), Some(country), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(entry(at, "first address, last address, country", line));
        };
        let span = span(number, first, last)?;
        let country = match country.trim_matches('"') {
            "??" | "" => NO_COUNTRY,
            text => match code(text) {
                Some(code) => code,
                // `T1`, `A1` … stand for proxies and satellites.
                None if text.len() == 2 => NO_COUNTRY,
                None => return Err(entry(at, "a country code of two letters", text)),
            },
        };
        countries.push((span, country));
    }
    let only_ipv6 = countries.iter().all(|(span, _)| span.last >> 32 != 0xffff);
    let mut draft = ipfire_draft(text, vec![Piece::Countries(countries)]);
    if only_ipv6 {
        // The two families are two files: one does not take the other's place.
        draft.name.push_str("-ipv6");
    }
    Ok(draft)
}

/// Blocks of `key: value` lines, as `location export` writes them. Each begins with `net:` or
/// `aut-num:`.
fn ipfire_dump(lines: &[Line<'_>], text: &str) -> Result<Draft, PublishedError> {
    let mut dump = Dump::default();
    for &(number, line) in lines {
        let at = format!("line {number}");
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| entry(&at, "a key and a value", line))?;
        dump.line(at, key.trim(), value.trim())?;
    }
    Ok(ipfire_draft(text, dump.pieces()))
}

#[derive(Default)]
struct Dump {
    networks: Vec<(Prefix, CountryCode, u32, bool)>,
    names: std::collections::BTreeMap<u32, String>,
    system: Option<u32>,
}

impl Dump {
    fn line(&mut self, at: String, key: &str, value: &str) -> Result<(), PublishedError> {
        let number = |value: &str| value.trim_start_matches("AS").parse::<u32>().ok();
        match key {
            "net" => {
                let prefix = block(value).ok_or_else(|| entry(at, "a prefix", value))?;
                self.networks.push((prefix, NO_COUNTRY, 0, false));
                self.system = None;
            }
            "aut-num" => {
                let asn = number(value).ok_or_else(|| entry(at, "a system's number", value))?;
                // Within a network: who announces it. Alone: a system, whose name follows.
                if value.starts_with("AS") {
                    self.system = Some(asn);
                } else if let Some(last) = self.networks.last_mut() {
                    last.2 = asn;
                }
            }
            "country" => {
                if let (None, Some(last)) = (self.system, self.networks.last_mut()) {
                    last.1 = code(value).unwrap_or(NO_COUNTRY);
                }
            }
            "name" => {
                if let Some(asn) = self.system {
                    self.names.insert(asn, value.to_owned());
                }
            }
            "is-anycast" => {
                if let Some(last) = self.networks.last_mut() {
                    last.3 = ["yes", "1", "true"].contains(&value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn pieces(self) -> Vec<Piece> {
        let known = self
            .networks
            .iter()
            .filter(|(_, country, ..)| *country != NO_COUNTRY);
        let countries: Vec<_> = known
            .map(|&(prefix, country, ..)| (Span::from(prefix), country))
            .collect();
        let announced = self.networks.iter().filter(|(_, _, asn, _)| *asn != 0);
        let systems: Vec<_> = announced
            .map(|&(prefix, _, number, _)| {
                let name = self.names.get(&number).cloned().unwrap_or_default();
                let system = System {
                    source: 0,
                    number,
                    country: NO_COUNTRY,
                    name,
                };
                (Span::from(prefix), system)
            })
            .collect();
        let anycast = self.networks.iter().filter(|(.., anycast)| *anycast);
        let anycast: Vec<Prefix> = anycast.map(|&(prefix, ..)| prefix).collect();
        let mut pieces = Vec::new();
        if !countries.is_empty() {
            pieces.push(Piece::Countries(countries));
        }
        if !systems.is_empty() {
            pieces.push(Piece::Systems(systems));
        }
        if !anycast.is_empty() {
            pieces.push(Piece::Spread(vec![(nobody(), anycast)]));
        }
        pieces
    }
}

/// Who a list speaks for that names nobody.
fn nobody() -> Organisation {
    Organisation {
        source: 0,
        key: String::new(),
        name: String::new(),
        kind: "anycast".to_owned(),
        document: String::new(),
    }
}

/// `1.0.0.0,1.0.0.255,13335,"Cloudflare, Inc."`, or with tabs and the country of registration
/// before the name.
fn systems(lines: &[Line<'_>], comma: char, stem: &str) -> Result<Draft, PublishedError> {
    let mut found = Vec::with_capacity(lines.len());
    for &(number, line) in lines {
        let at = || format!("line {number}");
        let mut parts = line.splitn(if comma == ',' { 4 } else { 5 }, comma);
        let (Some(first), Some(last), Some(asn)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(entry(at(), "addresses and a system's number", line));
        };
        let asn: u32 = asn
            .trim_start_matches("AS")
            .parse()
            .map_err(|_| entry(at(), "a system's number", asn))?;
        let country = if comma == ',' {
            NO_COUNTRY
        } else {
            parts.next().and_then(code).unwrap_or(NO_COUNTRY)
        };
        let name = parts.next().unwrap_or_default().trim_matches('"');
        if asn == 0 {
            continue;
        }
        let system = System {
            source: 0,
            number: asn,
            country,
            name: name.replace("\"\"", "\""),
        };
        found.push((span(number, first, last)?, system));
    }
    Ok(Draft {
        kind: "list of systems",
        name: stem.to_owned(),
        pieces: vec![Piece::Systems(found)],
        ..Draft::default()
    })
}

/// `192.0.2.0/24,US,US-AL,Alabaster,` (RFC 8805): the operator's own word.
fn geofeed(lines: &[Line<'_>], stem: &str, said: &Said) -> Result<Draft, PublishedError> {
    let key = said.provider.clone().unwrap_or_else(|| stem.to_owned());
    let mut found = Vec::with_capacity(lines.len());
    for &(number, line) in lines {
        let at = || format!("line {number}");
        let mut parts = line.split(',').map(str::trim);
        let text = parts.next().unwrap_or_default();
        let prefix = block(text).ok_or_else(|| entry(at(), "a prefix without host bits", text))?;
        let country = parts.next().unwrap_or_default();
        if country.is_empty() {
            // The operator asks that nothing be concluded (RFC 8805 section 2.1.1.2).
            continue;
        }
        let country =
            code(country).ok_or_else(|| entry(at(), "a country code of two letters", country))?;
        let (region, city) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let region = [region, city]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let region = if region.is_empty() {
            country.iter().map(|&byte| char::from(byte)).collect()
        } else {
            region
        };
        found.push(Listed {
            prefix,
            location: Location {
                border_group: region.clone(),
                region,
                country,
            },
            service: String::new(),
        });
    }
    Ok(Draft {
        kind: "geofeed (RFC 8805)",
        name: format!("geofeed-{key}"),
        pieces: vec![Piece::Regions {
            name: key.clone(),
            key,
            lines: found,
        }],
        ..Draft::default()
    })
}

/// One prefix a line: addresses that answer from many places.
fn prefixes(lines: &[Line<'_>], stem: &str) -> Result<Draft, PublishedError> {
    let found = lines
        .iter()
        .map(|&(number, line)| {
            let text = line.split([' ', '\t', '#', ';']).next().unwrap_or(line);
            block(text)
                .ok_or_else(|| entry(format!("line {number}"), "a prefix without host bits", line))
        })
        .collect::<Result<Vec<Prefix>, PublishedError>>()?;
    Ok(Draft {
        kind: "list of anycast prefixes",
        name: stem.to_owned(),
        pieces: vec![Piece::Spread(vec![(nobody(), found)])],
        ..Draft::default()
    })
}
