//! Rule sets, and the files of brands that they ask.
//!
//! In: texts of files that were named, and what is built in. Out: checked sets, and which texts a
//! case must keep so that they can be read again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sakshi_rules::{
    RuleSet,
    declare::{self, BrandFile},
    is_declaration,
};

use super::{SessionError, setup::plain};

/// Files that are built in: name and text.
type BuiltIn = &'static [(&'static str, &'static str)];

/// The brands' files that stand behind those that are named. The phone has those that its built-in
/// sets ask; another one is given with `--rules`.
#[cfg(feature = "lab")]
fn built_in_brands() -> BuiltIn {
    declare::embedded()
}

#[cfg(not(feature = "lab"))]
fn built_in_brands() -> BuiltIn {
    declare::asked_by_built_in()
}

/// A file with its text.
#[derive(Debug, Clone)]
pub struct RuleText {
    /// Its name in a case.
    pub kept: String,
    /// The file as it was named to us.
    pub file: String,
    /// What it holds.
    pub text: String,
}

/// What judges.
#[derive(Debug)]
pub struct Rules {
    /// The sets, each with its file, in the order in which they apply.
    pub sets: Vec<(RuleText, RuleSet)>,
    /// Files of brands that were named, and those built in that a set asks.
    pub brands: Vec<(RuleText, BrandFile)>,
}

impl Rules {
    /// Reads rule sets and brands' files, told apart by whether they name a brand. Without a set, the
    /// built-in ones judge; a brand without a file has the built-in one.
    pub fn read(paths: &[PathBuf]) -> Result<Self, SessionError> {
        let texts = paths.iter().enumerate().map(|(at, path)| {
            let text = fs::read_to_string(path).map_err(|source| SessionError::Read {
                path: path.clone(),
                source,
            })?;
            Ok(RuleText {
                kept: file_name(at, path),
                file: path.display().to_string(),
                text,
            })
        });
        let mut texts: Vec<RuleText> = texts.collect::<Result<_, SessionError>>()?;
        if texts.iter().all(|given| is_declaration(&given.text)) {
            texts.extend(sakshi_rules::embedded().iter().map(|(name, text)| {
                let name = format!("{name}.toml");
                RuleText {
                    kept: name.clone(),
                    file: name,
                    text: (*text).to_owned(),
                }
            }));
        }
        Self::checked(texts, built_in_brands())
    }

    /// Those that a case keeps: with nothing that is built in.
    pub fn recorded(texts: Vec<(String, String)>) -> Result<Self, SessionError> {
        let texts = texts.into_iter().map(|(name, text)| RuleText {
            kept: name.clone(),
            file: name,
            text,
        });
        Self::checked(texts.collect(), &[])
    }

    /// The sets alone.
    pub fn into_sets(self) -> Vec<RuleSet> {
        self.sets.into_iter().map(|(_, set)| set).collect()
    }

    /// Parses; an error names file, line and column. Findings name a set by its id, so that no two may
    /// have the same.
    fn checked(texts: Vec<RuleText>, built_in: BuiltIn) -> Result<Self, SessionError> {
        let (named, texts): (Vec<_>, Vec<_>) = texts
            .into_iter()
            .partition(|given| is_declaration(&given.text));
        let mut brands: Vec<(RuleText, BrandFile)> = Vec::new();
        for given in named {
            let brand = brand_of(&given)?;
            if let Some((first, _)) = brands.iter().find(|(_, other)| other.brand == brand.brand) {
                return Err(SessionError::BrandTwice {
                    brand: brand.brand,
                    first: first.file.clone(),
                    second: given.file,
                });
            }
            brands.push((given, brand));
        }
        let given = brands.len();
        for (name, text) in built_in {
            let built_in = RuleText {
                kept: (*name).to_owned(),
                file: (*name).to_owned(),
                text: (*text).to_owned(),
            };
            let brand = brand_of(&built_in)?;
            if !brands.iter().any(|(_, other)| other.brand == brand.brand) {
                brands.push((built_in, brand));
            }
        }
        let known: Vec<BrandFile> = brands.iter().map(|(_, brand)| brand.clone()).collect();
        let mut sets: Vec<(RuleText, RuleSet)> = Vec::with_capacity(texts.len());
        for given in texts {
            let set = RuleSet::parse(&given.file, &given.text, &known)
                .map_err(|error| SessionError::Rules(error.to_string()))?;
            if let Some((first, _)) = sets.iter().find(|(_, other)| other.id() == set.id()) {
                return Err(SessionError::RulesTwice {
                    id: set.id().to_owned(),
                    first: first.file.clone(),
                    second: given.file,
                });
            }
            sets.push((given, set));
        }
        let asked: BTreeSet<&str> = sets.iter().flat_map(|(_, set)| set.brands()).collect();
        let mut at = 0..;
        brands.retain(|(_, brand)| {
            at.next().is_some_and(|at| at < given) || asked.contains(brand.brand.as_str())
        });
        Ok(Self { sets, brands })
    }

    /// What a case keeps: every file that was named or is asked.
    pub fn kept(&self) -> Vec<(String, Vec<u8>)> {
        let sets = self.sets.iter().map(|(given, _)| given);
        let brands = self.brands.iter().map(|(given, _)| given);
        sets.chain(brands)
            .map(|given| (given.kept.clone(), given.text.clone().into_bytes()))
            .collect()
    }
}

fn brand_of(given: &RuleText) -> Result<BrandFile, SessionError> {
    BrandFile::parse(&given.file, &given.text)
        .map_err(|error| SessionError::Rules(error.to_string()))
}

/// The name that a rule file has in the case: its order, and what of its own name is plain.
fn file_name(at: usize, path: &Path) -> String {
    let own = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{:02}-{}", at + 1, plain(&own))
}
