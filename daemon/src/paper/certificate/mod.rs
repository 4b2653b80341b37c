//! Drafts of the certificate of the Schedule to section 63(4)(c) of the Bharatiya Sakshya Adhiniyam,
//! 2023: one for each source device, in English and in Hindi.
//!
//! In: what a case says, and its files with their hashes. Out: forms. Facts are filled in: the
//! device, the hashes, the period, every time at which something was not working properly. What a
//! person must say, all of Part B's statements, dates and signatures stay blank and marked.

mod build;
mod enclosures;
mod hindi;
mod words;

pub use self::words::Language;
use super::{
    facts::Facts,
    form::Form,
    source::{HashedFile, Source, SourceError},
};
use crate::evidence::Hash;

/// A device that a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The handset.
    Phone,
    /// The laboratory's computer, on which captures were judged or from which a copy is handed in.
    Pc,
}

impl Device {
    /// Its word in names of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Pc => "pc",
        }
    }
}

/// What is drafted from.
#[derive(Debug)]
pub struct Drafted<'a> {
    facts: &'a Facts,
    source: &'a Source,
    files: Vec<HashedFile>,
    list: String,
}

impl<'a> Drafted<'a> {
    /// Hashes the files.
    pub fn new(facts: &'a Facts, source: &'a Source) -> Result<Self, SourceError> {
        let archive = source.bundle().map(|bundle| bundle.archive.clone());
        let mut files: Vec<HashedFile> = archive.into_iter().collect();
        files.extend(source.files()?);
        let list = list(&files);
        Ok(Self {
            facts,
            source,
            files,
            list,
        })
    }

    /// The devices of which there is something to certify: the handset where one was watched or
    /// stated, and the computer on which this was judged or kept.
    pub fn devices(&self) -> Vec<Device> {
        let phone = self.facts.watched || self.facts.authority().is_some();
        phone
            .then_some(Device::Phone)
            .into_iter()
            .chain([Device::Pc])
            .collect()
    }

    /// The list of files with their SHA-256, as `sha256sum -c` reads it.
    pub fn hashes(&self) -> &str {
        &self.list
    }

    /// The draft for a device.
    pub fn form(&self, device: Device, language: Language) -> Form {
        build::form(self, device, language)
    }

    fn list_hash(&self) -> Hash {
        Hash::of(self.list.as_bytes())
    }
}

/// A line for each file; as GNU coreutils writes it, a name with a line break or backslash has both
/// escaped and a backslash before the line.
fn list(files: &[HashedFile]) -> String {
    let mut list = String::new();
    for file in files {
        let escaped = file
            .path
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        if escaped != file.path {
            list.push('\\');
        }
        list.extend([&file.sha256.to_string(), "  ", &escaped, "\n"]);
    }
    list
}
