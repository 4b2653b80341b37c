//! Checks that a text is canonical JSON, without making values of it.
//!
//! In: a text. Out: whether it is the one spelling that the format allows (its section *Canonical
//! JSON*), and the members of an object by their places in the text. Nothing is written here, so
//! this can agree with a writer by the specification only.

use std::{cmp::Ordering, ops::Range};

/// How deep arrays and objects may lie in each other.
const DEPTH_MAX: usize = 127;

/// Whether `text` is one canonical value and nothing else.
pub fn is_canonical(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value(0).is_some() && scanner.at == text.len()
}

/// The members of a canonical object: each key (as spelt between its quotes) and the place of the
/// whole member; none when the text is no canonical object.
pub(crate) fn members(text: &str) -> Option<Vec<(&str, Range<usize>)>> {
    let mut scanner = Scanner::new(text);
    let mut found = Vec::new();
    scanner.object(0, &mut |key, place| found.push((key, place)))?;
    (scanner.at == text.len()).then_some(found)
}

/// A canonical object without one of its members; none when it does not have it.
pub(crate) fn without(text: &str, key: &str) -> Option<String> {
    let members = members(text)?;
    let kept: Vec<&str> = members
        .iter()
        .filter(|(name, _)| *name != key)
        .filter_map(|(_, place)| text.get(place.clone()))
        .collect();
    (kept.len() + 1 == members.len()).then(|| format!("{{{}}}", kept.join(",")))
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, expected: &str) -> Option<()> {
        let found = self.text.as_bytes().get(self.at..)?;
        found.starts_with(expected.as_bytes()).then(|| {
            self.at += expected.len();
        })
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'n' => self.take("null"),
            b't' => self.take("true"),
            b'f' => self.take("false"),
            b'"' => self.string().map(|_| ()),
            b'[' => self.array(depth),
            b'{' => self.object(depth, &mut |_, _| ()),
            _ => self.integer(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.take("[")?;
        if self.take("]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(",").is_none() {
                return self.take("]");
            }
        }
    }

    fn object(&mut self, depth: usize, each: &mut dyn FnMut(&'a str, Range<usize>)) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.take("{")?;
        if self.take("}").is_some() {
            return Some(());
        }
        let mut last: Option<&str> = None;
        loop {
            let start = self.at;
            let key = self.string()?;
            if !is_key(key) {
                return None;
            }
            if last.is_some_and(|last| compare(last, key) != Ordering::Less) {
                return None;
            }
            last = Some(key);
            self.take(":")?;
            self.value(depth + 1)?;
            each(key, start..self.at);
            if self.take(",").is_none() {
                return self.take("}");
            }
        }
    }

    /// A string; gives what stands between its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take("\"")?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    let inside = self.text.get(start..self.at);
                    self.at += 1;
                    return inside;
                }
                b'\\' => self.escape()?,
                0x00..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// `\"`, `\\`, the five short ones, and `\u00xx` for what has no short one.
    fn escape(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r' => {
                self.at += 2;
                Some(())
            }
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                let spelt = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
                let code = u8::from_str_radix(digits.strip_prefix("00")?, 16).ok()?;
                let short = [0x08, 0x09, 0x0a, 0x0c, 0x0d].contains(&code);
                (spelt && code < 0x20 && !short && !digits.contains('+')).then(|| {
                    self.at += 6;
                })
            }
            _ => None,
        }
    }

    fn integer(&mut self) -> Option<()> {
        let start = self.at;
        let negative = self.take("-").is_some();
        let digits = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let number = self.text.get(start..self.at)?;
        let magnitude = self.text.get(digits..self.at)?;
        let spelt = magnitude == "0" && !negative || !magnitude.starts_with('0');
        let fits = if negative {
            number.parse::<i64>().is_ok()
        } else {
            number.parse::<u64>().is_ok()
        };
        (spelt && fits).then_some(())
    }
}

/// Whether what stands between quotes is a key: printable ASCII, of which `"` and `\` are escaped.
fn is_key(spelt: &str) -> bool {
    let mut bytes = spelt.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'\\' => matches!(bytes.next(), Some(b'"' | b'\\')),
            _ => (0x20..0x7f).contains(&byte),
        };
        if !allowed {
            return false;
        }
    }
    true
}

/// Compares two keys by what they say: the characters `"` and `\` are spelt with a `\` before them.
fn compare(one: &str, other: &str) -> Ordering {
    said(one).cmp(said(other))
}

fn said(key: &str) -> impl Iterator<Item = u8> {
    let mut bytes = key.bytes();
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_is_canonical() {
        for text in [
            "null",
            "0",
            "-9223372036854775808",
            "18446744073709551615",
            "{}",
            "[]",
            r#"{"":0," ":1,"B":-5,"a":[true,null,"x"],"aa":false}"#,
            r##"{"!":1,"\"":2,"#":3,"[":4,"\\":5,"]":6}"##,
            "\"€$\\u000f\\nA'B\\\"\\\\/\\b\\f\\r\\t\u{7f}ह\"",
        ] {
            assert!(is_canonical(text), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "{",
            "[1,]",
            "{,}",
            "-",
            "-0",
            "01",
            "1.0",
            "1e2",
            "+1",
            "18446744073709551616",
            "-9223372036854775809",
            "tru",
            r#"{"a": 1}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"\\":1,"[":2}"#,
            r#"{"a\n":1}"#,
            r#"{"a":1,}"#,
            r#""\u0041""#,
            r#""\/""#,
            r#""\u000F""#,
            r#""\u0008""#,
            r#""\u00+f""#,
            "\"\n\"",
            "\"\\u00é\"",
            r#"{"é":1}"#,
            "{\"\u{7f}\":1}",
            "1 1",
        ] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_canonical(&nested(DEPTH_MAX)));
        assert!(!is_canonical(&nested(DEPTH_MAX + 1)));
        assert!(!is_canonical(&"[".repeat(1_000_000)));
    }

    #[test]
    fn a_member_is_taken_out_with_its_comma() {
        let text = r#"{"a":{"c":1},"c":"}","z":[]}"#;
        assert_eq!(without(text, "a").as_deref(), Some(r#"{"c":"}","z":[]}"#));
        assert_eq!(
            without(text, "c").as_deref(),
            Some(r#"{"a":{"c":1},"z":[]}"#)
        );
        assert_eq!(
            without(text, "z").as_deref(),
            Some(r#"{"a":{"c":1},"c":"}"}"#)
        );
        assert_eq!(without(r#"{"a":1}"#, "a").as_deref(), Some("{}"));
        for text in [r#"{"b":1}"#, "[]", r#"{"a":1} "#] {
            assert_eq!(without(text, "a"), None, "{text}");
        }
    }
}
