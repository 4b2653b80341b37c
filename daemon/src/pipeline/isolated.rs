//! Whose an isolated process is, as Android itself says it through the shim.
//!
//! In: observations of topic `isolated`. Out: the package that held such a UID while a flow was there;
//! none where nobody or several packages may have held it. Android gives the UID of a process that
//! has ended to another one later, so what was told is good for a time only.

use std::collections::BTreeMap;

use super::{Core, mark_ready};
use crate::{
    attribute::uid,
    input::{Observation, SHIM},
    time::Timestamp,
};

/// What such an observation is about.
const TOPIC: &str = "isolated";
/// Holders that are remembered; a phone runs some tens of isolated processes at once.
pub const HOLDERS_MAX: usize = 4096;
/// The shim looks every five seconds; a process may have run for two looks before it was seen.
const LOOKS_NANOS: i64 = 10_000_000_000;
/// The shim tells of each process again after five minutes; after two such times without a word of it
/// nothing is known.
const STALE_NANOS: i64 = 600_000_000_000;

/// A process that held an isolated UID.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its package; none: several share the process.
    pub(super) package: Option<String>,
    /// What Android calls the process.
    pub(super) process: String,
    seen: Timestamp,
    told: Timestamp,
    gone: Option<Timestamp>,
}

/// The holders of isolated UIDs.
#[derive(Debug, Default)]
pub(super) struct Isolated {
    holders: BTreeMap<u32, Vec<Holder>>,
    count: usize,
}

impl Isolated {
    /// Notes what was told; gives the UID that it was about. What finds no room is unknown, as
    /// everything was before the shim.
    fn note(&mut self, told: &Observation) -> Option<u32> {
        let fact = |name: &str| told.facts.get(name).map(String::as_str);
        let uid = fact("uid")?.parse().ok()?;
        if !uid::is_isolated(uid) {
            return None;
        }
        let holders = self.holders.entry(uid).or_default();
        let last = holders.last_mut().filter(|last| last.gone.is_none());
        if fact("happening") == Some("gone") {
            last?.gone = Some(told.at);
            return Some(uid);
        }
        let (process, packages) = (fact("process")?, fact("packages")?);
        let package = Some(packages).filter(|text| !text.is_empty() && !text.contains(' '));
        match last {
            Some(last) if last.process == process && last.package.as_deref() == package => {
                last.told = told.at;
                return Some(uid);
            }
            // Another one: the shim did not see the end of the first.
            Some(last) => last.gone = Some(told.at),
            None => {}
        }
        if self.count < HOLDERS_MAX {
            self.count += 1;
            holders.push(Holder {
                package: package.map(str::to_owned),
                process: process.to_owned(),
                seen: told.at,
                told: told.at,
                gone: None,
            });
        }
        Some(uid)
    }

    /// The only process that may have held a UID during this time; several name nobody.
    pub(super) fn holder(&self, uid: u32, from: Timestamp, to: Timestamp) -> Option<&Holder> {
        let after = |at: Timestamp, nanos: i64| at.as_nanos().saturating_add(nanos);
        let mut may_be = self.holders.get(&uid)?.iter().filter(|holder| {
            let end = holder
                .gone
                .map_or_else(|| after(holder.told, STALE_NANOS), Timestamp::as_nanos);
            after(to, LOOKS_NANOS) >= holder.seen.as_nanos() && from.as_nanos() <= end
        });
        match (may_be.next(), may_be.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

impl Core {
    /// Takes what the shim says of an isolated process; its flows are looked at anew.
    pub(super) fn observation(&mut self, told: &Observation) {
        if told.source != SHIM || told.topic != TOPIC {
            return;
        }
        let Some(uid) = self.isolated.note(told) else {
            return;
        };
        for id in self.table.open() {
            if let Some(flow) = self.table.get_mut(id)
                && flow.user.settled.is_some()
                && super::settle::conclude(flow).uid == Some(uid)
            {
                mark_ready(flow, &mut self.ready);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: i64, words: &[(&str, &str)]) -> Observation {
        let facts = words
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Observation {
            at: Timestamp::from_micros(at * 1_000_000),
            source: SHIM.to_owned(),
            topic: TOPIC.to_owned(),
            facts: facts.collect(),
        }
    }

    fn seen(at: i64, packages: &str) -> Observation {
        let words = [("uid", "99001"), ("process", "p"), ("packages", packages)];
        told(at, &words)
    }

    fn package(isolated: &Isolated, from: i64, to: i64) -> Option<&str> {
        let second = |at: i64| Timestamp::from_micros(at * 1_000_000);
        let holder = isolated.holder(99_001, second(from), second(to))?;
        holder.package.as_deref()
    }

    #[test]
    fn a_holder_is_known_from_two_looks_before_it_was_seen_until_it_was_gone() {
        let mut isolated = Isolated::default();
        isolated.note(&seen(100, "a"));
        isolated.note(&told(200, &[("uid", "99001"), ("happening", "gone")]));
        assert_eq!(package(&isolated, 91, 91), Some("a"));
        assert_eq!(package(&isolated, 80, 89), None, "somebody's before it");
        assert_eq!(
            package(&isolated, 200, 300),
            Some("a"),
            "it began before the end"
        );
        assert_eq!(package(&isolated, 201, 300), None);
    }

    #[test]
    fn two_holders_name_nobody_and_silence_ends_what_was_told() {
        let mut isolated = Isolated::default();
        isolated.note(&seen(100, "a"));
        isolated.note(&seen(400, "a"));
        assert_eq!(package(&isolated, 1_000, 1_000), Some("a"));
        assert_eq!(
            package(&isolated, 1_001, 1_001),
            None,
            "no word for ten minutes"
        );
        isolated.note(&seen(1_100, "b"));
        assert_eq!(
            package(&isolated, 1_099, 1_200),
            None,
            "the one or the other"
        );
        assert_eq!(package(&isolated, 1_150, 1_200), Some("b"));
        isolated.note(&seen(1_300, "b c"));
        assert_eq!(package(&isolated, 1_350, 1_350), None, "it is of several");
    }

    #[test]
    fn what_is_no_isolated_uid_or_lacks_a_fact_is_passed_over() {
        let mut isolated = Isolated::default();
        for words in [
            &[("uid", "10050"), ("process", "p"), ("packages", "a")][..],
            &[("uid", "x"), ("process", "p"), ("packages", "a")],
            &[("uid", "99001"), ("process", "p")],
            &[("uid", "99001"), ("happening", "gone")],
            &[],
        ] {
            assert_eq!(isolated.note(&told(1, words)), None, "{words:?}");
        }
        assert_eq!(isolated.count, 0);
    }
}
