//! Patterns with `*`.
//!
//! In: a pattern and a text. Out: whether the whole text matches, without regard to ASCII case.
//! `*` stands for any run of characters, dots included, and also for none. There is no other
//! special character. Why by hand: `docs/decisions/0041-small-matchers-by-hand.md`.

/// Longest pattern, in bytes: a DNS name has at most 253.
pub(crate) const PATTERN_BYTES_MAX: usize = 255;

/// A pattern, kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glob(String);

impl Glob {
    /// A pattern, or the reason why the text is none.
    pub(crate) fn new(pattern: &str) -> Result<Self, &'static str> {
        if pattern.is_empty() {
            return Err("an empty pattern matches nothing");
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err("a pattern has at most 255 bytes");
        }
        Ok(Self(pattern.to_ascii_lowercase()))
    }

    /// The pattern, in lower case.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text matches. At most pattern times text steps.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let pattern = self.0.as_bytes();
        let text = text.as_bytes();
        let (mut p, mut t) = (0, 0);
        // Where to go on when the characters after the last star did not fit.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(byte) = text.get(t) {
            match pattern.get(p) {
                Some(b'*') => {
                    p += 1;
                    retry = Some((p, t));
                }
                Some(expected) if *expected == byte.to_ascii_lowercase() => {
                    p += 1;
                    t += 1;
                }
                _ => match retry {
                    Some((after_star, from)) => {
                        p = after_star;
                        t = from + 1;
                        retry = Some((after_star, from + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(p).all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).expect("a pattern").matches(text)
    }

    #[test]
    fn a_star_stands_for_any_run() {
        assert!(check("com.oppo.*", "com.oppo.market"));
        assert!(check("com.oppo.*", "com.oppo."));
        assert!(check("*", ""));
        assert!(check("*.heytap*.com", "a.b.heytapmobile.com"));
        assert!(check("a*b*c", "aXbYbZc"));
        assert!(check("Amazon*", "AMAZON-02"));
    }

    #[test]
    fn the_whole_text_must_match() {
        assert!(!check("com.oppo.*", "com.oppo"));
        assert!(!check("com.oppo", "com.oppo.market"));
        assert!(!check("*.example", "example"));
        assert!(!check("a*b*c", "aXbYbZ"));
        assert!(!check("com?oppo", "com.oppo"));
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = "*a".repeat(PATTERN_BYTES_MAX / 2);
        assert!(!check(&pattern, &"a".repeat(100)));
        assert!(Glob::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Glob::new("").is_err());
    }
}
