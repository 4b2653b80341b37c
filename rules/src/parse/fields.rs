//! Reading one TOML table, key by key, without stopping at the first problem.
//!
//! In: a table with byte ranges, and the keys that it may have. Out: typed values; what is wrong
//! goes into the [`Reader`], and the caller goes on with the next key. Why not serde's derive:
//! `docs/decisions/0040-rule-files-are-walked.md`. Other files that people write are read with the
//! same walk (`docs/decisions/0165-one-walk-for-files-of-people.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::LIST_ENTRIES_MAX;
use crate::day::Day;
use crate::glob::Glob;
use crate::problem::{PROBLEMS_MAX, Problem, TomlError};
use crate::vocabulary::{Word, help_for, is_country, nearest};

/// A value with its byte range.
pub type Value<'a> = Spanned<DeValue<'a>>;
/// Named lists (`@name`) that a set defines.
pub(super) type Groups = BTreeMap<String, Vec<String>>;

/// Collects what is wrong with one file.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    problems: Vec<(usize, Problem)>,
    more: usize,
}

impl<'a> Reader<'a> {
    /// For a file with this text; nothing is wrong yet.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            problems: Vec::new(),
            more: 0,
        }
    }

    /// Notes a problem at a byte range.
    pub fn report(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.problems.len() < PROBLEMS_MAX {
            let at = span.start;
            let problem = Problem::at(self.text, span, message.into(), help.into());
            self.problems.push((at, problem));
        } else {
            self.more += 1;
        }
    }

    /// The reader back, or the error if anything was wrong so far.
    pub fn sound(mut self, file: &str) -> Result<Self, TomlError> {
        if self.problems.is_empty() {
            return Ok(self);
        }
        self.problems.sort_by_key(|(at, _)| *at);
        let problems = self
            .problems
            .into_iter()
            .map(|(_, problem)| problem)
            .collect();
        Err(TomlError {
            file: file.to_owned(),
            problems,
            more: self.more,
        })
    }
}

/// One table of the file.
#[derive(Debug)]
pub struct Fields<'a> {
    /// What the table is, for messages: `` `[[rule]]` ``.
    what: &'static str,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Fields<'a> {
    /// A table whose keys have all been checked against `allowed`.
    pub fn open(
        reader: &mut Reader<'_>,
        value: &'a Value<'a>,
        what: &'static str,
        allowed: &[&str],
    ) -> Option<Self> {
        let Some(entries) = value.get_ref().as_table() else {
            wrong_type(
                reader,
                value,
                what,
                "a table",
                "write the keys below a header, or in { }",
            );
            return None;
        };
        Some(Self::of(reader, entries, value.span(), what, allowed))
    }

    /// As [`open`](Self::open), for a table at hand.
    pub fn of(
        reader: &mut Reader<'_>,
        entries: &'a DeTable<'a>,
        span: Range<usize>,
        what: &'static str,
        allowed: &[&str],
    ) -> Self {
        for key in entries.keys() {
            let typed = key.get_ref();
            if !allowed.contains(&typed.as_ref()) {
                let help = help_for(typed, allowed.iter().copied(), "allowed here");
                reader.report(key.span(), format!("unknown key `{typed}` in {what}"), help);
            }
        }
        Self {
            what,
            span,
            entries,
        }
    }

    /// Where the table stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A key's value, if it is there.
    pub fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.entries
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    /// A key's value; its absence is a problem.
    pub(super) fn required(&self, reader: &mut Reader<'_>, key: &str) -> Option<&'a Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("`{key}` is missing in {}", self.what);
            reader.report(
                self.span.clone(),
                message,
                format!("add a line `{key} = …`"),
            );
        }
        value
    }

    /// Every name in the table with its value, in the order of the file.
    pub(super) fn in_order(&self) -> Vec<(&'a Spanned<toml::de::DeString<'a>>, &'a Value<'a>)> {
        let mut all: Vec<_> = self.entries.iter().collect();
        all.sort_by_key(|(name, _)| name.span().start);
        all
    }

    /// A text that must be there.
    pub(super) fn text(&self, reader: &mut Reader<'_>, key: &str) -> Option<String> {
        let value = self.required(reader, key)?;
        read_text(reader, value, key)
    }

    /// A text that may be absent.
    pub(super) fn text_if_any(&self, reader: &mut Reader<'_>, key: &str) -> Option<String> {
        read_text(reader, self.get(key)?, key)
    }

    /// A word of a closed list that must be there.
    pub(super) fn word<W: Word>(&self, reader: &mut Reader<'_>, key: &str) -> Option<W> {
        let value = self.required(reader, key)?;
        read_word(reader, value, key)
    }

    /// A word of a closed list, with what its absence means.
    pub(super) fn word_or<W: Word>(&self, reader: &mut Reader<'_>, key: &str, absent: W) -> W {
        self.get(key)
            .and_then(|value| read_word(reader, value, key))
            .unwrap_or(absent)
    }

    /// A day that must be there.
    pub(super) fn day(&self, reader: &mut Reader<'_>, key: &str) -> Option<Day> {
        let value = self.required(reader, key)?;
        read_day(reader, value, key)
    }

    /// A day that may be absent.
    pub(super) fn day_if_any(&self, reader: &mut Reader<'_>, key: &str) -> Option<Day> {
        read_day(reader, self.get(key)?, key)
    }

    /// The tables of `[[key]]`; none when absent.
    pub(super) fn tables(&self, reader: &mut Reader<'_>, key: &str) -> &'a [Value<'a>] {
        let Some(value) = self.get(key) else {
            return &[];
        };
        let hint = format!("write `[[{key}]]` above it, or a list of {{ }}");
        read_array(
            reader,
            value,
            &format!("`{key}`"),
            "a list of tables",
            &hint,
        )
        .map_or(&[], |array| array)
    }
}

/// Notes that a value has the wrong type.
pub fn wrong_type(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    what: &str,
    expected: &str,
    help: &str,
) {
    let found = match value.get_ref().type_str() {
        "string" => "text",
        "array" => "a list",
        "table" => "a table",
        "boolean" => "true or false",
        "datetime" => "a date or time",
        _ => "a number",
    };
    reader.report(
        value.span(),
        format!("{what} is {found}, expected {expected}"),
        help,
    );
}

/// A list within its bound.
pub fn read_array<'a>(
    reader: &mut Reader<'_>,
    value: &'a Value<'a>,
    what: &str,
    expected: &str,
    help: &str,
) -> Option<&'a DeArray<'a>> {
    let Some(array) = value.get_ref().as_array() else {
        wrong_type(reader, value, what, expected, help);
        return None;
    };
    if array.len() > LIST_ENTRIES_MAX {
        let message = format!("{what} has {} entries", array.len());
        reader.report(
            value.span(),
            message,
            format!("at most {LIST_ENTRIES_MAX} are read"),
        );
        return None;
    }
    Some(array)
}

/// A text that is not empty.
pub fn read_text(reader: &mut Reader<'_>, value: &Value<'_>, key: &str) -> Option<String> {
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(
            reader,
            value,
            &format!("`{key}`"),
            "text",
            "put it in quotes: \"…\"",
        );
        return None;
    };
    if text.trim().is_empty() {
        reader.report(value.span(), format!("`{key}` is empty"), "write it out");
        return None;
    }
    Some(text.to_owned())
}

/// A word of a closed list.
pub(super) fn read_word<W: Word>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
) -> Option<W> {
    let text = read_text(reader, value, key)?;
    word_of(reader, value.span(), &text, key)
}

fn word_of<W: Word>(
    reader: &mut Reader<'_>,
    span: Range<usize>,
    text: &str,
    key: &str,
) -> Option<W> {
    let found = W::from_word(text);
    if found.is_none() {
        let help = help_for(text, W::ALL.iter().map(|(word, _)| *word), "allowed");
        reader.report(span, format!("unknown word \"{text}\" for `{key}`"), help);
    }
    found
}

/// A yes or no.
pub fn read_bool(reader: &mut Reader<'_>, value: &Value<'_>, key: &str) -> Option<bool> {
    let found = value.get_ref().as_bool();
    if found.is_none() {
        let help = "write true or false, without quotes";
        wrong_type(reader, value, &format!("`{key}`"), "true or false", help);
    }
    found
}

/// A whole number of a certain size.
pub(super) fn read_number<N: TryFrom<u64>>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    range: &str,
) -> Option<N> {
    let Some(integer) = value.get_ref().as_integer() else {
        let help = "write digits only, without quotes";
        wrong_type(reader, value, &format!("`{key}`"), "a whole number", help);
        return None;
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .and_then(|number| N::try_from(number).ok());
    if number.is_none() {
        let message = format!("`{key}` can't be {}", integer.as_str());
        reader.report(
            value.span(),
            message,
            format!("expected a whole number from {range}"),
        );
    }
    number
}

/// A day, in quotes or not.
pub fn read_day(reader: &mut Reader<'_>, value: &Value<'_>, key: &str) -> Option<Day> {
    let day = match value.get_ref() {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Datetime(datetime) => Day::from_datetime(datetime).ok(),
        _ => None,
    };
    if day.is_none() {
        let message = format!("`{key}` is not a day");
        reader.report(
            value.span(),
            message,
            "expected year-month-day, such as 2026-11-24",
        );
    }
    day
}

/// A list of whole numbers.
pub(super) fn read_numbers<N: TryFrom<u64> + Ord>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    range: &str,
) -> Option<BTreeSet<N>> {
    let help = format!("write `{key} = [ … ]`");
    let array = read_array(
        reader,
        value,
        &format!("`{key}`"),
        "a list of numbers",
        &help,
    )?;
    let numbers: BTreeSet<N> = array
        .iter()
        .filter_map(|entry| read_number(reader, entry, key, range))
        .collect();
    not_empty(reader, value, key, array.len()).then_some(numbers)
}

/// A list of texts, groups replaced by what they stand for; each with the place where it or its
/// group is typed.
pub(super) fn read_texts(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<Vec<(Range<usize>, String)>> {
    let help = match value.get_ref().as_str() {
        Some(text) => format!("write `{key} = [\"{text}\"]`"),
        None => format!("write `{key} = [\"…\"]`"),
    };
    let array = read_array(reader, value, &format!("`{key}`"), "a list of texts", &help)?;
    let mut texts = Vec::new();
    for entry in array {
        let Some(text) = read_text(reader, entry, key) else {
            continue;
        };
        match text.strip_prefix('@') {
            None => texts.push((entry.span(), text)),
            Some(name) => match groups.get(name) {
                Some(members) => {
                    texts.extend(members.iter().map(|member| (entry.span(), member.clone())));
                }
                None => unknown_group(reader, entry.span(), name, groups),
            },
        }
    }
    not_empty(reader, value, key, array.len()).then_some(texts)
}

fn unknown_group(reader: &mut Reader<'_>, span: Range<usize>, name: &str, groups: &Groups) {
    let known: Vec<String> = groups.keys().map(|group| format!("@{group}")).collect();
    let typed = format!("@{name}");
    let help = help_for(
        &typed,
        known.iter().map(String::as_str),
        "groups of this set",
    );
    reader.report(span, format!("unknown group `{typed}`"), help);
}

fn not_empty(reader: &mut Reader<'_>, value: &Value<'_>, key: &str, entries: usize) -> bool {
    if entries == 0 {
        let help = "an empty list matches nothing: fill it, or remove the key";
        reader.report(value.span(), format!("`{key}` is an empty list"), help);
    }
    entries > 0
}

/// A list of words of a closed list.
pub(super) fn read_words<W: Word>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<BTreeSet<W>> {
    let texts = read_texts(reader, value, key, groups)?;
    let words = texts
        .into_iter()
        .filter_map(|(span, text)| word_of(reader, span, &text, key));
    Some(words.collect())
}

/// A list of patterns.
pub(super) fn read_globs(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<BTreeSet<Glob>> {
    let texts = read_texts(reader, value, key, groups)?;
    let globs = texts.into_iter().filter_map(|(span, text)| {
        Glob::new(&text)
            .map_err(|why| reader.report(span, format!("`{key}` has a bad pattern"), why))
            .ok()
    });
    Some(globs.collect())
}

/// A list of country codes.
pub(super) fn read_countries(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<BTreeSet<String>> {
    let texts = read_texts(reader, value, key, groups)?;
    let codes = texts
        .into_iter()
        .filter(|(span, code)| check_country(reader, span, code));
    Some(codes.map(|(_, code)| code).collect())
}

/// Whether a text is a country code; a problem if not.
pub(super) fn check_country(reader: &mut Reader<'_>, span: &Range<usize>, code: &str) -> bool {
    let known = is_country(code);
    if !known {
        let upper = code.to_ascii_uppercase();
        let hint = nearest(code, ["GB"].into_iter())
            .filter(|_| code == "UK")
            .map(str::to_owned)
            .or_else(|| is_country(&upper).then_some(upper));
        let help = match hint {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "expected two capital letters of ISO 3166-1, such as IN or SG".to_owned(),
        };
        reader.report(
            span.clone(),
            format!("\"{code}\" is not a country code"),
            help,
        );
    }
    known
}

/// A list of SHA-256 values in lower-case hex.
pub(super) fn read_sha256(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    key: &str,
    groups: &Groups,
) -> Option<BTreeSet<String>> {
    let texts = read_texts(reader, value, key, groups)?;
    let hashes = texts.into_iter().filter(|(span, text)| {
        let good = text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !good {
            let help = "expected the 64 digits 0-9 and a-f of the certificate's SHA-256, in lower \
                        case and without colons";
            reader.report(span.clone(), format!("`{key}` has no SHA-256"), help);
        }
        good
    });
    Some(hashes.map(|(_, hash)| hash).collect())
}
