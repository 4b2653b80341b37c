//! The functions of Android's C library that the phone's files may ask for.
//!
//! In: `xtask/cross/bionic-api24.txt`, one symbol and its library a line. Out: what a file asks for
//! beyond that. A function that came with a later Android would make the dynamic linker refuse the
//! file on an older phone, which no build shows.

use std::{collections::BTreeMap, fs};

use super::{cache::told, scripts};

/// The libraries of Android that may be wanted.
pub const LIBRARIES: [&str; 4] = ["libc.so", "libm.so", "libdl.so", "liblog.so"];
/// The file.
const FILE: &str = "bionic-api24.txt";

/// The list: symbol to library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols(BTreeMap<String, &'static str>);

impl Symbols {
    /// Reads the project's list.
    pub fn load() -> Result<Self, String> {
        let path = scripts().join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| told("read", &path, &error))?;
        Self::parse(&text)
    }

    /// Reads a list; it has to be sorted, so that a change is seen in one place.
    fn parse(text: &str) -> Result<Self, String> {
        let mut symbols = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("{FILE} line {number}: {what}: `{line}`");
            let entry = line.split_once(' ').and_then(|(symbol, library)| {
                let known = LIBRARIES.into_iter().find(|known| *known == library)?;
                Some((symbol, known))
            });
            let (symbol, library) = entry.ok_or_else(|| {
                let libraries = LIBRARIES.join(", ");
                wrong(&format!("expected a symbol, a space, one of {libraries}"))
            })?;
            let is_later = symbols
                .last_key_value()
                .is_none_or(|(last, _): (&String, _)| last.as_str() < symbol);
            if !is_later {
                return Err(wrong("not in order, or twice"));
            }
            symbols.insert(symbol.to_owned(), library);
        }
        Ok(Self(symbols))
    }

    /// The symbols of a library.
    pub fn of(&self, library: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(_, of)| **of == library)
            .map(|(symbol, _)| symbol.as_str())
    }

    /// Those of the given symbols that are not in the list.
    pub fn beyond<'a>(&self, imports: &'a [String]) -> Vec<&'a str> {
        imports
            .iter()
            .filter(|symbol| !self.0.contains_key(*symbol))
            .map(String::as_str)
            .collect()
    }

    /// The symbols of the list that none of the given ones is.
    pub fn unused(&self, imports: &[String]) -> Vec<&str> {
        self.0
            .keys()
            .filter(|symbol| !imports.contains(symbol))
            .map(String::as_str)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# comment\n\nabort libc.so\nceil libm.so\n";

    #[test]
    fn names_what_is_new_and_what_is_no_longer_used() {
        let list = Symbols::parse(LIST).expect("a list");
        let imports = ["abort".to_owned(), "copy_file_range".to_owned()];
        assert_eq!(list.beyond(&imports), ["copy_file_range"]);
        assert_eq!(list.unused(&imports), ["ceil"]);
        assert_eq!(list.of("libm.so").collect::<Vec<_>>(), ["ceil"]);
    }

    #[test]
    fn refuses_a_list_that_is_not_in_order() {
        for text in ["b libc.so\na libc.so\n", "a libc.so\na libm.so\n"] {
            let error = Symbols::parse(text).expect_err("not in order");
            assert!(error.contains("line 2: not in order"), "{error}");
        }
        let error = Symbols::parse("abort libz.so\n").expect_err("unknown library");
        assert!(error.contains("line 1: expected a symbol"), "{error}");
        assert!(error.contains("libz.so"), "{error}");
    }

    #[test]
    fn the_projects_list_is_in_order() {
        let list = Symbols::load().expect("the list");
        assert!(list.of("libc.so").any(|symbol| symbol == "__errno"));
        // These would say that SQLite was compiled for musl.
        assert_eq!(
            list.of("libc.so")
                .find(|symbol| *symbol == "__errno_location"),
            None
        );
    }
}
