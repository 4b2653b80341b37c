//! The folder: published files, the list of them, and what was compiled from them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Fetched, Fetcher, GatherError, Official};
use crate::{
    evidence::canonical::to_canonical,
    locate::{
        build::Builder,
        dataset::Source,
        embedded_dataset, encode,
        format::{self, PLAIN},
        published::{self, Found, Said},
    },
    time::Timestamp,
};

/// The list of files.
const LIST_FILE: &str = "collection.json";
/// Folder of the files as they were published.
const FILES_FOLDER: &str = "files";
/// What is made from them.
pub const PLACES_FILE: &str = "places.bin";
/// Version of the list.
const LIST_VERSION: u32 = 1;
/// Digits of its SHA-256 that a kept file's name begins with.
const NAME_DIGITS: usize = 16;

/// A file of the collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Name in the folder of files.
    pub kept: String,
    /// Name as it was given.
    pub file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// What kind it is, in words.
    pub kind: String,
    /// Name of the source, as it stands in a place's basis.
    pub name: String,
    /// The publisher's version.
    pub version: String,
    /// When it was published.
    pub published: Timestamp,
    /// Licence.
    pub licence: String,
    /// Whether the licence forbids keeping old versions.
    pub passing: bool,
    /// Where it is published.
    pub url: String,
    /// Provider key of a geofeed, where one was said.
    pub provider: Option<String>,
    /// Category of names, where one was said.
    pub category: Option<String>,
    /// The server's tag of this version, where it was fetched.
    #[serde(default)]
    pub tag: Option<String>,
    /// Name of the source that took its place; none while it is in use.
    pub replaced_by: Option<String>,
}

impl Item {
    fn said(&self) -> Said {
        Said {
            name: Some(self.name.clone()),
            version: Some(self.version.clone()),
            published: Some(self.published),
            licence: Some(self.licence.clone()),
            url: Some(self.url.clone()),
            provider: self.provider.clone(),
            category: self.category.clone(),
            passing: self.passing,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    files: Vec<Item>,
}

/// A file in memory.
#[derive(Debug)]
pub struct Given {
    /// Its name.
    pub file: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is said of it.
    pub said: Said,
    /// The server's tag of this version, where it was fetched.
    pub tag: Option<String>,
}

/// What adding a file came to.
#[derive(Debug)]
pub struct Added {
    /// Its line in the list.
    pub item: Item,
    /// What a person should look at.
    pub notes: Vec<String>,
    /// Sources whose place it took.
    pub gone: Vec<String>,
    /// Old files that were deleted, as their licence asks.
    pub deleted: Vec<String>,
}

/// What asking an official address came to.
#[derive(Debug)]
pub enum Refreshed {
    /// The version that is in use.
    Unchanged,
    /// A newer one, and how many of its bytes were there from an earlier attempt.
    Added(Box<Added>, u64),
    /// Neither.
    Failed(GatherError),
}

/// How a file of the collection, or what was made from it, stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As it was added.
    Intact,
    /// Not there.
    Missing,
    /// Other bytes than were added.
    Changed,
}

/// A collection on disk.
#[derive(Debug)]
pub struct Collection {
    dir: PathBuf,
    items: Vec<Item>,
}

impl Collection {
    /// Opens a folder's collection; an empty one where there is none yet.
    pub fn open(dir: &Path) -> Result<Self, GatherError> {
        let path = dir.join(LIST_FILE);
        let items = match fs::read(&path) {
            Ok(bytes) => {
                let list: List =
                    serde_json::from_slice(&bytes).map_err(|error| GatherError::List {
                        path: path.clone(),
                        detail: error.to_string(),
                    })?;
                if list.version != LIST_VERSION {
                    let detail = format!("version {}, expected {LIST_VERSION}", list.version);
                    return Err(GatherError::List { path, detail });
                }
                list.files
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(GatherError::Io { path, source }),
        };
        Ok(Self {
            dir: dir.to_owned(),
            items,
        })
    }

    /// The files, in the order in which they were added.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Where the compiled file is.
    pub fn places(&self) -> PathBuf {
        self.dir.join(PLACES_FILE)
    }

    /// Adds files, of which the same is said, and compiles anew. Nothing is changed when one of them
    /// cannot be used.
    pub fn add(&mut self, paths: &[PathBuf], said: &Said) -> Result<Vec<Added>, GatherError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let bytes = fs::read(path).map_err(GatherError::io(path))?;
            let file = path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            );
            files.push(Given {
                file,
                bytes,
                said: said.clone(),
                tag: None,
            });
        }
        self.add_read(files)
    }

    /// Fetches what is official and adds what is new. Each file that is whole is added before the next
    /// one is asked for; what each came to is told as it comes.
    pub fn refresh(
        &mut self,
        officials: &[Official],
        fetcher: &Fetcher,
        tell: &mut dyn FnMut(&Official, &Refreshed),
    ) {
        for official in officials {
            let known = self
                .in_use()
                .find(|item| item.url == official.url)
                .and_then(|item| item.tag.clone());
            let refreshed = match fetcher.fetch(official, known.as_deref()) {
                Ok(Fetched::Unchanged) => Refreshed::Unchanged,
                Ok(Fetched::Whole {
                    bytes,
                    resumed,
                    tag,
                }) => {
                    let given = Given {
                        file: official.file(),
                        bytes,
                        said: official.said(),
                        tag,
                    };
                    match self.add_fetched(given) {
                        Ok(Some(added)) => Refreshed::Added(Box::new(added), resumed),
                        Ok(None) => Refreshed::Unchanged,
                        Err(error) => Refreshed::Failed(error),
                    }
                }
                Err(error) => Refreshed::Failed(error),
            };
            tell(official, &refreshed);
        }
    }

    /// None where the very same bytes are in use.
    fn add_fetched(&mut self, given: Given) -> Result<Option<Added>, GatherError> {
        let sha256 = sha256(&given.bytes);
        if self.in_use().any(|item| item.sha256 == sha256) {
            return Ok(None);
        }
        Ok(self.add_read(vec![given])?.pop())
    }

    /// The same for files in memory.
    pub fn add_read(&mut self, files: Vec<Given>) -> Result<Vec<Added>, GatherError> {
        let mut builder = self.builder()?;
        let mut items = self.items.clone();
        let mut all = Vec::with_capacity(files.len());
        let folder = self.dir.join(FILES_FOLDER);
        let mut kept = Vec::with_capacity(files.len());
        for Given {
            file,
            bytes,
            said,
            tag,
        } in files
        {
            let found = read(&bytes, &file, &said)?;
            let item = Item {
                tag,
                ..item_of(&found, file, &said)
            };
            let gone = builder.add(found.source, found.pieces)?;
            let mut deleted = Vec::new();
            for old in &mut items {
                if old.replaced_by.is_none() && gone.contains(&old.name) {
                    old.replaced_by = Some(item.name.clone());
                    if old.passing && old.kept != item.kept {
                        deleted.push(old.file.clone());
                    }
                }
            }
            items.push(item.clone());
            kept.push((folder.join(&item.kept), bytes));
            all.push(Added {
                item,
                notes: found.notes,
                gone,
                deleted,
            });
        }
        let compiled = encode::encode(&builder.finish()?, PLAIN)?;
        fs::create_dir_all(&folder).map_err(GatherError::io(&folder))?;
        for (path, bytes) in kept {
            write(&path, &bytes)?;
        }
        self.items = items;
        self.delete_what_must_go()?;
        write(&self.places(), &compiled)?;
        let list = List {
            version: LIST_VERSION,
            files: self.items.clone(),
        };
        write(&self.dir.join(LIST_FILE), to_canonical(&list)?.as_bytes())?;
        Ok(all)
    }

    /// Deletes replaced files whose licence asks for it.
    fn delete_what_must_go(&self) -> Result<(), GatherError> {
        let in_use: BTreeSet<&str> = self.in_use().map(|item| item.kept.as_str()).collect();
        for item in &self.items {
            let must_go = item.passing && item.replaced_by.is_some();
            if must_go && !in_use.contains(item.kept.as_str()) {
                let path = self.dir.join(FILES_FOLDER).join(&item.kept);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(GatherError::Io {
                            path,
                            source: error,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The files in use, read anew on top of what is built in.
    fn builder(&self) -> Result<Builder, GatherError> {
        let mut builder = Builder::from_dataset(embedded_dataset()?);
        for item in self.in_use() {
            let path = self.dir.join(FILES_FOLDER).join(&item.kept);
            let bytes = fs::read(&path).map_err(GatherError::io(&path))?;
            let found = read(&bytes, &item.file, &item.said())?;
            builder.add(found.source, found.pieces)?;
        }
        Ok(builder)
    }

    fn in_use(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.replaced_by.is_none())
    }

    /// Each file that should be there with how it stands, and the compiled file last: it is made
    /// again and compared.
    pub fn verify(&self) -> Result<Vec<(String, Standing)>, GatherError> {
        if self.items.is_empty() {
            return Err(GatherError::Nothing(self.dir.clone()));
        }
        let mut seen = BTreeSet::new();
        let mut standing = Vec::new();
        for item in &self.items {
            let was_deleted = item.passing && item.replaced_by.is_some();
            if was_deleted || !seen.insert(&item.kept) {
                continue;
            }
            let path = self.dir.join(FILES_FOLDER).join(&item.kept);
            let how = match fs::read(&path) {
                Ok(bytes) if sha256(&bytes) == item.sha256 => Standing::Intact,
                Ok(_) => Standing::Changed,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::Missing,
                Err(source) => return Err(GatherError::Io { path, source }),
            };
            standing.push((item.kept.clone(), how));
        }
        let intact = standing.iter().all(|(_, how)| *how == Standing::Intact);
        let compiled = match fs::read(self.places()) {
            // Without its files it cannot be made again.
            Ok(_) if !intact => Standing::Changed,
            Ok(bytes) if bytes == encode::encode(&self.builder()?.finish()?, PLAIN)? => {
                Standing::Intact
            }
            Ok(_) => Standing::Changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::Missing,
            Err(source) => {
                return Err(GatherError::Io {
                    path: self.places(),
                    source,
                });
            }
        };
        standing.push((PLACES_FILE.to_owned(), compiled));
        Ok(standing)
    }
}

fn read(bytes: &[u8], file: &str, said: &Said) -> Result<Found, GatherError> {
    published::read(bytes, file, said, published::ENTRIES_MAX).map_err(|source| {
        GatherError::Published {
            file: file.to_owned(),
            source,
        }
    })
}

fn item_of(found: &Found, file: String, said: &Said) -> Item {
    let Source {
        name,
        version,
        published,
        sha256,
        url,
        licence,
        passing,
        ..
    } = found.source.clone();
    let digits = sha256.get(..NAME_DIGITS).unwrap_or(&sha256);
    Item {
        kept: format!("{digits}-{}", plain(&file)),
        file,
        kind: found.kind.to_owned(),
        sha256,
        name,
        version,
        published,
        licence,
        passing,
        url,
        provider: said.provider.clone(),
        category: said.category.clone(),
        tag: None,
        replaced_by: None,
    }
}

/// A name without letters that a file name should not have.
fn plain(name: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
            letter
        } else {
            '_'
        }
    };
    name.chars().map(letter).take(64).collect()
}

fn sha256(bytes: &[u8]) -> String {
    format::hex(Sha256::digest(bytes).into())
}

/// Writes beside and renames, so that a half-written file is never taken for a whole one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), GatherError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes).map_err(GatherError::io(&beside))?;
    fs::rename(&beside, path).map_err(GatherError::io(path))
}
