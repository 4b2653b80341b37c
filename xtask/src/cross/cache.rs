//! The cache outside the checkout, in which every piece is either whole or absent.
//!
//! In: a name and how to make it. Out: the folder of that name. A piece is made beside its place
//! and moved there when it is whole, so that an interrupted run goes on where it stopped.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::steps::Outcome;

/// The folder in the user's cache.
const FOLDER: &str = "sakshi-cross";

/// The cache; nobody else uses it while this value lives.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache of this user; waits while another run uses it.
    pub fn open() -> Result<Self, String> {
        let root = location(|name| std::env::var_os(name).map(PathBuf::from))
            .ok_or("no place for the cache: neither XDG_CACHE_HOME nor HOME is an absolute path")?;
        Self::at(root)
    }

    /// Opens the cache in a folder.
    pub fn at(root: PathBuf) -> Result<Self, String> {
        create(&root)?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|error| told("create", &path, &error))?;
        if lock.try_lock().is_err() {
            println!("another run uses the cache: waiting for it");
            lock.lock().map_err(|error| told("lock", &path, &error))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// The folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a piece is, or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether a piece is there.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The folder of a piece; `make` fills an empty one when it is not there.
    pub fn piece(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Outcome,
    ) -> Result<PathBuf, String> {
        let place = self.path(name);
        if !place.exists() {
            let partial = self.path(&format!("{name}.partial"));
            remove(&partial)?;
            create(&partial)?;
            make(&partial)?;
            fs::rename(&partial, &place).map_err(|error| told("move", &partial, &error))?;
        }
        Ok(place)
    }
}

/// Where the cache is, by the XDG base directory specification.
fn location(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let caches = variable("XDG_CACHE_HOME").filter(absolute).or_else(|| {
        let home = variable("HOME").filter(absolute)?;
        Some(home.join(".cache"))
    })?;
    Some(caches.join(FOLDER))
}

/// Makes a folder and those above it.
pub fn create(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| told("create", folder, &error))
}

/// Removes a folder with all in it, if it is there.
pub fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(told("remove", folder, &error))
        }
        _ => Ok(()),
    }
}

/// Writes a file.
pub fn write(file: &Path, text: &str) -> Outcome {
    fs::write(file, text).map_err(|error| told("write", file, &error))
}

/// What could not be done with a path, and why.
pub fn told(what: &str, path: &Path, error: &io::Error) -> String {
    format!("could not {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_where_the_user_wants_caches() {
        let place = |xdg: Option<&str>, home: Option<&str>| {
            location(|name| match name {
                "XDG_CACHE_HOME" => xdg.map(PathBuf::from),
                "HOME" => home.map(PathBuf::from),
                _ => None,
            })
        };
        let expected = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(Some("/c"), Some("/h")), expected("/c/sakshi-cross"));
        assert_eq!(place(None, Some("/h")), expected("/h/.cache/sakshi-cross"));
        // A relative path is to be ignored.
        assert_eq!(
            place(Some("c"), Some("/h")),
            expected("/h/.cache/sakshi-cross")
        );
        assert_eq!(place(None, None), None);
    }

    #[test]
    fn a_piece_is_whole_or_absent_and_made_once() {
        let root = std::env::temp_dir().join(format!("sakshi-cache-{}", std::process::id()));
        let cache = Cache::at(root.clone()).expect("a cache");
        let interrupted = cache.piece("piece", |folder| {
            write(&folder.join("half"), "")?;
            Err("no network".to_owned())
        });
        assert_eq!(interrupted, Err("no network".to_owned()));
        assert!(!cache.has("piece"));
        let made = cache
            .piece("piece", |folder| write(&folder.join("whole"), ""))
            .expect("made");
        assert!(made.join("whole").exists());
        assert!(!made.join("half").exists(), "left from the interrupted run");
        let again = cache.piece("piece", |_| Err("must not be made again".to_owned()));
        assert_eq!(again, Ok(made));
        remove(&root).expect("removed");
    }
}
