//! Which country a host's name says, by tokens of regions in it (`india.`, `-in`, `drcn`).
//!
//! In: a name in lower case. Out: the token and its country, or nothing. The tokens are data
//! (`rules/data/name-tokens.csv`); a name is a hint that its owner chose, so that one that disagrees
//! with the address is a fact to be looked at, and never a place.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The tokens: where in a name, the token, the domain it counts below, the country.
const TOKENS: &str = include_str!("../data/name-tokens.csv");

/// The lines of the table, split once: each new contact's name is held against all of them.
static LINES: LazyLock<Vec<Line>> =
    LazyLock::new(|| TOKENS.lines().skip(1).filter_map(Line::parse).collect());

/// Which part of a label a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The label alone.
    Label,
    /// Its first or last part between hyphens.
    Part,
}

/// A line of the table.
#[derive(Debug)]
struct Line {
    place: Place,
    token: &'static str,
    below: &'static str,
    country: &'static str,
}

impl Line {
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split(',');
        let place = match columns.next()? {
            "label" => Place::Label,
            "part" => Place::Part,
            _ => return None,
        };
        Some(Self {
            place,
            token: columns.next()?,
            below: columns.next()?,
            country: columns.next()?,
        })
    }

    fn fits(&self, label: &str) -> bool {
        let token = self.token;
        if self.place == Place::Label || label.len() <= token.len() {
            return label == token;
        }
        let first = label
            .strip_prefix(token)
            .is_some_and(|rest| rest.starts_with('-'));
        let last = label
            .strip_suffix(token)
            .and_then(|rest| rest.strip_suffix('-'));
        first
            || last.is_some_and(|word| {
                let word = word.rsplit('-').next().unwrap_or(word);
                !VERBS.contains(&word)
            })
    }

    fn is_above(&self, name: &str) -> bool {
        self.below.is_empty()
            || name
                .strip_suffix(self.below)
                .is_some_and(|rest| rest.ends_with('.'))
    }
}

/// Words whose last part is no region (`sign-in`, `log-in`).
const VERBS: [&str; 14] = [
    "add", "all", "built", "check", "drop", "linked", "log", "lock", "opt", "plug", "sign",
    "single", "trade", "walk",
];

/// A token of a name, with the country that it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameToken {
    /// The token as it stands in the name.
    pub token: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
}

/// The country that a name says: of its narrowest label that holds a token. The last two labels are
/// the owner's own domain, and say nothing (`example.in` may be anywhere).
pub fn country_token(name: &str) -> Option<NameToken> {
    let (above, _) = name.rsplit_once('.')?;
    let (own, _) = above.rsplit_once('.')?;
    own.split('.').find_map(|label| {
        let line = LINES
            .iter()
            .find(|line| line.fits(label) && line.is_above(name))?;
        Some(NameToken {
            token: line.token.to_owned(),
            country: line.country.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::country_token;

    #[test]
    fn names_say_countries_by_their_tokens() {
        let of = |name: &str| country_token(name).map(|found| found.country);
        for (name, country) in [
            ("tracking.india.miui.com", Some("IN")),
            ("dragate-in.heytapmobile.com", Some("IN")),
            ("in-stsdk.vivoglobal.com", Some("IN")),
            ("metrics-drcn.dt.dbankcloud.cn", Some("CN")),
            ("api-sg.example.com", Some("SG")),
            ("obs.ap-southeast-3.myhuaweicloud.com", Some("SG")),
            ("s3.ap-southeast-3.amazonaws.com", Some("ID")),
            ("bucket.s3.ap-south-1.amazonaws.com", Some("IN")),
            ("sign-in.example.com", None),
            ("ap-southeast-3.example.com", None),
            ("notamazonaws.com", None),
            ("example.in", None),
            ("www.example.co.in", None),
            ("indiana.example.com", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(of(name).as_deref(), country, "{name}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_whole() {
        for line in super::TOKENS.lines().skip(1) {
            let columns: Vec<&str> = line.split(',').collect();
            let [place, token, _, country] = columns.as_slice() else {
                panic!("{line}")
            };
            assert!(
                ["label", "part"].contains(place) && !token.is_empty(),
                "{line}"
            );
            assert!(super::Line::parse(line).is_some(), "{line}");
            assert!(country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()));
        }
    }
}
