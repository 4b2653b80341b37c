//! Folders from which the first boot copies apps into `/data/app`, where the user can delete them.
//!
//! In: a listing (`preload-folders.txt`), or the system partitions of the handset itself. Out:
//! which package has a copy in such a folder. A copied app carries no system flag, so this is the
//! only thing that tells it from an app that the user installed.
//!
//! The listing has one path a line, and after a tab the package name where it is known. Without
//! one, a path tells of the package whose name a folder below the preload folder or the APK file
//! bears; vendors do not always name them so, and what bears another name is not told of. Lines
//! that begin with `#` are remarks.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{class, lines, problem::Flaws};

/// Names of such folders, by vendors: OPPO, realme and `OnePlus` `del-app`, Huawei `delapp`,
/// Xiaomi `data-app`, Samsung and others `preload`.
const FOLDERS: [&str; 5] = ["data-app", "del-app", "delapp", "preload", "preload-app"];
/// A preload folder lies at most this deep below its partition.
const FOLDER_DEPTH_MAX: usize = 2;
/// An APK lies at most this deep below its preload folder.
const APK_DEPTH_MAX: usize = 3;
/// Entries of folders that a scan looks at; the folders after that are reported as unread.
const SCAN_ENTRIES_MAX: usize = 50_000;

/// Copies of apps in preload folders.
#[derive(Debug, Default)]
pub(super) struct PreloadFolders {
    by_package: BTreeMap<String, String>,
    pub(super) flaws: Flaws,
}

impl PreloadFolders {
    /// Path of a package's copy; the first of the listing if there are several.
    pub(super) fn find(&self, package: &str) -> Option<&str> {
        self.by_package.get(package).map(String::as_str)
    }

    fn add(&mut self, package: &str, path: &str) {
        self.by_package
            .entry(package.to_owned())
            .or_insert_with(|| path.to_owned());
    }
}

/// Reads a listing.
pub(super) fn parse(bytes: &[u8]) -> PreloadFolders {
    let mut folders = PreloadFolders::default();
    for (at, line) in lines::numbered(bytes) {
        if line.starts_with(b"#") {
            continue;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            folders.flaws.push(at, "the path is not UTF-8");
            continue;
        };
        let (path, package) = match line.split_once('\t') {
            Some((path, package)) => (path, Some(package.trim())),
            None => (line.trim_end(), None),
        };
        let Some(below) = below_folder(path) else {
            let what = format!(
                "\"{path}\" is not an absolute path with a folder of preloads in it ({})",
                FOLDERS.join(", ")
            );
            folders.flaws.push(at, what);
            continue;
        };
        match package {
            Some(package) if !package.is_empty() => folders.add(package, path),
            _ => {
                for name in below.split('/') {
                    let name = name.strip_suffix(".apk").unwrap_or(name);
                    if name.contains('.') {
                        folders.add(name, path);
                    }
                }
            }
        }
    }
    folders
}

/// What follows the preload folder in a path outside `/data`.
fn below_folder(path: &str) -> Option<&str> {
    let mut rest = path.strip_prefix('/')?;
    if class::is_data(path) || class::has_dots(path) {
        return None;
    }
    while let Some((folder, below)) = rest.split_once('/') {
        if FOLDERS.contains(&folder) {
            return Some(below);
        }
        rest = below;
    }
    None
}

/// A folder that could not be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) path: String,
    pub(super) cause: String,
}

/// Lists the APKs in the preload folders of the system partitions below `root` (`/` on the
/// handset), in the form that [`parse`] reads, sorted. Symbolic links are not followed.
pub(super) fn scan(root: &Path) -> (String, Vec<Unread>) {
    let mut scan = Scan {
        root,
        apks: Vec::new(),
        unread: Vec::new(),
        entries_left: SCAN_ENTRIES_MAX,
    };
    for partition in class::SYSTEM_PARTITIONS {
        let path = root.join(partition.trim_start_matches('/'));
        if FOLDERS.contains(&partition.trim_start_matches('/')) {
            scan.apks(&path, APK_DEPTH_MAX);
        } else {
            scan.folders(&path, FOLDER_DEPTH_MAX);
        }
    }
    scan.apks.sort_unstable();
    let mut listing = String::new();
    for path in &scan.apks {
        listing.push_str(path);
        listing.push('\n');
    }
    (listing, scan.unread)
}

struct Scan<'a> {
    root: &'a Path,
    apks: Vec<String>,
    unread: Vec<Unread>,
    entries_left: usize,
}

impl Scan<'_> {
    fn folders(&mut self, folder: &Path, depth: usize) {
        for entry in self.entries(folder) {
            let name = entry.path.file_name().unwrap_or_default();
            if !entry.is_folder {
                continue;
            }
            if FOLDERS.iter().any(|folder| name == *folder) {
                self.apks(&entry.path, APK_DEPTH_MAX);
            } else if depth > 1 {
                self.folders(&entry.path, depth - 1);
            }
        }
    }

    fn apks(&mut self, folder: &Path, depth: usize) {
        for entry in self.entries(folder) {
            if entry.is_folder {
                if depth > 1 {
                    self.apks(&entry.path, depth - 1);
                }
            } else if entry.path.extension().is_some_and(|kind| kind == "apk") {
                match self.shown(&entry.path) {
                    Some(path) if !path.contains(['\n', '\t']) => self.apks.push(path),
                    _ => self.refuse(&entry.path, "its name cannot be listed"),
                }
            }
        }
    }

    /// What a folder holds, in the order of names; nothing if it is not there.
    fn entries(&mut self, folder: &Path) -> Vec<Found> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.refuse(folder, &error.to_string());
                }
                return found;
            }
        };
        for entry in entries {
            if self.entries_left == 0 {
                self.refuse(folder, "the scan's bound of entries is reached");
                break;
            }
            self.entries_left -= 1;
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok((path, kind)) => found.push(Found {
                    path,
                    is_folder: kind.is_dir(),
                }),
                Err(error) => self.refuse(folder, &error.to_string()),
            }
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        found
    }

    fn refuse(&mut self, path: &Path, cause: &str) {
        let path = self
            .shown(path)
            .unwrap_or_else(|| path.display().to_string());
        let cause = cause.to_owned();
        self.unread.push(Unread { path, cause });
    }

    /// A path as the handset shows it: absolute, without our root.
    fn shown(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(self.root).ok()?;
        Some(format!("/{}", below.to_str()?))
    }
}

struct Found {
    path: PathBuf,
    is_folder: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_packages_by_statement_and_by_name() {
        let folders = parse(
            b"# listed by hand\n\
              /my_stock/del-app/Notes/Notes.apk\tcom.example.notes\n\
              /product/data-app/com.example.video/base.apk\r\n\
              /my_heytap/del-app/com.example.mail.apk\n",
        );
        assert_eq!(folders.flaws, Flaws::default());
        let found = ["com.example.notes", "com.example.video", "com.example.mail"]
            .map(|package| folders.find(package));
        assert_eq!(
            found,
            [
                Some("/my_stock/del-app/Notes/Notes.apk"),
                Some("/product/data-app/com.example.video/base.apk"),
                Some("/my_heytap/del-app/com.example.mail.apk"),
            ]
        );
        assert_eq!(folders.find("Notes"), None);
    }

    #[test]
    fn lines_that_are_no_preload_are_named() {
        let folders = parse(
            b"del-app/com.a.apk\n/data/app/del-app/com.a.apk\n/system/app/com.a.apk\n/x/../del-app/com.a.apk\n/x/del-app/\xff\n",
        );
        assert_eq!(folders.find("com.a"), None);
        assert_eq!(folders.flaws.into_problems("x").count(), 5);
    }
}
