//! Reading a folder with the package manager's files.
//!
//! In: `/data/system`, or a copy of it (an *inventory folder*). Out: an [`Inventory`], what was
//! wrong with its files, and the files themselves as they were read, so that a case can keep them.
//!
//! A folder may hold `packages.list`, `packages.xml`, `users/userlist.xml` (or `userlist.xml`) and
//! `preload-folders.txt`. Each may be missing or broken; the others are used.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    App, Inventory,
    class::{Evidence, classify},
    packages_list::{self, Listed, PackagesList},
    packages_xml::{self, Package, PackagesXml, hex},
    preload_folders::{self, PreloadFolders},
    problem::{InventoryError, InventoryProblem, PROBLEMS_MAX, Position},
    user_list,
};

/// A larger file is not read; `packages.xml` of a full handset has about 5 MB.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

const PACKAGES_LIST: &str = "packages.list";
const PACKAGES_XML: &str = "packages.xml";
const USER_LISTS: [&str; 2] = ["users/userlist.xml", "userlist.xml"];
const PRELOAD_FOLDERS: &str = "preload-folders.txt";
/// Every file and folder that is looked at, by its name within the folder.
pub(super) const FILES: [&str; 6] = [
    PACKAGES_LIST,
    PACKAGES_XML,
    USER_LISTS[0],
    USER_LISTS[1],
    PRELOAD_FOLDERS,
    "users",
];

/// A file that the inventory rests on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    /// Its path within the folder.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of its content, lower-case hex.
    pub sha256: String,
    /// Its content as it was read; empty in an inventory that was stored and read back.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl PartialEq for Source {
    /// The same file: name, length and hash.
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.size, &self.sha256) == (&other.name, other.size, &other.sha256)
    }
}

impl Eq for Source {}

impl Inventory {
    /// Reads a copy of `/data/system`; preload folders are known from its `preload-folders.txt`.
    ///
    /// # Errors
    /// Only if the folder itself cannot be read. All else is a problem beside an inventory that
    /// is as good as its files.
    pub fn read(dir: &Path) -> Result<(Self, Vec<InventoryProblem>), InventoryError> {
        read(dir, None)
    }

    /// Reads `data/system` below `root` (`/` on the handset), and looks itself into the preload
    /// folders of the system partitions below `root`; what it saw there is a source named
    /// `preload-folders.txt`.
    ///
    /// # Errors
    /// As [`Inventory::read`].
    pub fn read_device(root: &Path) -> Result<(Self, Vec<InventoryProblem>), InventoryError> {
        read(&root.join("data/system"), Some(root))
    }

    /// The same from files in memory, each with its name within the folder.
    pub fn from_files(files: &[(&str, &[u8])]) -> (Self, Vec<InventoryProblem>) {
        let open = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            found
                .map(|(_, bytes)| Some(bytes.to_vec()))
                .ok_or(io::Error::from(io::ErrorKind::NotFound))
        };
        read_all(&open, &[], None)
    }
}

fn read(
    dir: &Path,
    device: Option<&Path>,
) -> Result<(Inventory, Vec<InventoryProblem>), InventoryError> {
    if let Err(cause) = fs::read_dir(dir) {
        let path = dir.to_owned();
        return Err(InventoryError { path, cause });
    }
    let open = |name: &str| read_file(&dir.join(name));
    Ok(read_all(&open, &user_folders(dir), device))
}

fn read_all(
    open: &dyn Fn(&str) -> io::Result<Option<Vec<u8>>>,
    user_folders: &[u32],
    device: Option<&Path>,
) -> (Inventory, Vec<InventoryProblem>) {
    let mut folder = Folder {
        open,
        sources: Vec::new(),
        problems: Vec::new(),
    };
    let list = folder.packages_list();
    let xml = folder.packages_xml();
    let mut users = folder.users();
    users.extend(list.apps.iter().map(|app| app.user));
    users.extend(user_folders);
    let preloads = match device {
        Some(root) => Some(folder.scan_preloads(root)),
        None => folder.listed_preloads(),
    };
    let Folder {
        sources,
        mut problems,
        ..
    } = folder;
    let (apps, without_uid) = assemble(&list, &xml, preloads.as_ref(), &mut problems);
    let inventory = Inventory::new(apps, users, without_uid, sources);
    (inventory, problems)
}

/// A folder that is being read.
struct Folder<'a> {
    /// The content of a file; none if it is too large.
    open: &'a dyn Fn(&str) -> io::Result<Option<Vec<u8>>>,
    sources: Vec<Source>,
    problems: Vec<InventoryProblem>,
}

impl Folder<'_> {
    fn packages_list(&mut self) -> PackagesList {
        let lost = "version and installer of apps that packages.xml does not have";
        let Some(bytes) = self.file(&[PACKAGES_LIST], lost) else {
            return PackagesList::default();
        };
        let mut found = packages_list::parse(bytes);
        let flaws = std::mem::take(&mut found.flaws);
        self.problems.extend(flaws.into_problems(PACKAGES_LIST));
        found
    }

    fn packages_xml(&mut self) -> PackagesXml {
        let lost = "code paths, flags and signers, so the class of most apps is unknown";
        let Some(bytes) = self.file(&[PACKAGES_XML], lost) else {
            return PackagesXml::default();
        };
        let mut xml = packages_xml::parse(bytes);
        let flaws = std::mem::take(&mut xml.flaws);
        self.problems.extend(flaws.into_problems(PACKAGES_XML));
        self.damaged(PACKAGES_XML, xml.stopped.take(), xml.len());
        xml
    }

    fn users(&mut self) -> Vec<u32> {
        let lost = "which Android users exist; user 0 and those with a folder are taken";
        let mut users = vec![0];
        if let Some(bytes) = self.file(&USER_LISTS, lost) {
            let found = user_list::parse(bytes);
            let name = self.sources.last().map_or("", |source| &source.name);
            let name = name.to_owned();
            self.damaged(&name, found.stopped, found.users.len());
            users.extend(found.users);
        }
        users
    }

    fn listed_preloads(&mut self) -> Option<PreloadFolders> {
        let lost = "deletable preloads cannot be told from apps that the user installed";
        let bytes = self.file(&[PRELOAD_FOLDERS], lost)?;
        let mut preloads = preload_folders::parse(bytes);
        let flaws = std::mem::take(&mut preloads.flaws);
        self.problems.extend(flaws.into_problems(PRELOAD_FOLDERS));
        Some(preloads)
    }

    fn scan_preloads(&mut self, root: &Path) -> PreloadFolders {
        let (listing, unread) = preload_folders::scan(root);
        let more = unread.len().saturating_sub(PROBLEMS_MAX);
        for unread in unread.into_iter().take(PROBLEMS_MAX) {
            self.problems.push(InventoryProblem::Unreadable {
                file: unread.path,
                cause: unread.cause,
                lost: "deletable preloads in it".to_owned(),
            });
        }
        self.more(PRELOAD_FOLDERS, more);
        let preloads = preload_folders::parse(listing.as_bytes());
        self.keep(PRELOAD_FOLDERS, listing.into_bytes());
        preloads
    }

    /// The content of the first of `names` that is there, kept as a source.
    fn file(&mut self, names: &[&str], lost: &str) -> Option<&[u8]> {
        let lost = lost.to_owned();
        for name in names {
            let file = (*name).to_owned();
            match (self.open)(name) {
                Ok(Some(bytes)) => return Some(self.keep(name, bytes)),
                Ok(None) => {
                    let max = FILE_BYTES_MAX;
                    self.problems
                        .push(InventoryProblem::TooLarge { file, max, lost });
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let cause = error.to_string();
                    self.problems
                        .push(InventoryProblem::Unreadable { file, cause, lost });
                    return None;
                }
            }
        }
        let file = names.first().map(|name| (*name).to_owned())?;
        self.problems.push(InventoryProblem::Missing { file, lost });
        None
    }

    fn keep(&mut self, name: &str, bytes: Vec<u8>) -> &[u8] {
        let source = Source {
            name: name.to_owned(),
            size: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            bytes,
        };
        self.sources.push(source);
        self.sources
            .last()
            .map(|source| source.bytes.as_slice())
            .unwrap_or_default()
    }

    fn damaged(&mut self, file: &str, stopped: Option<(Position, String)>, used: usize) {
        if let Some((at, what)) = stopped {
            self.problems.push(InventoryProblem::Damaged {
                file: file.to_owned(),
                at,
                what,
                used: used as u64,
            });
        }
    }

    fn more(&mut self, file: &str, count: usize) {
        if count > 0 {
            self.problems.push(InventoryProblem::More {
                file: file.to_owned(),
                count: count as u64,
            });
        }
    }
}

/// The content of a regular file; none if it is too large.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes))
}

/// Users that have a folder of their own (`users/10`).
fn user_folders(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir.join("users")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What the files say of one package.
#[derive(Default)]
struct Entries<'a> {
    listed: Option<&'a Listed>,
    package: Option<&'a Package>,
    updated: Option<&'a Package>,
}

/// The apps, and the names of packages that have no UID.
fn assemble(
    list: &PackagesList,
    xml: &PackagesXml,
    preloads: Option<&PreloadFolders>,
    problems: &mut Vec<InventoryProblem>,
) -> (Vec<App>, Vec<String>) {
    let mut contradictions = Vec::new();
    let mut by_name: BTreeMap<&str, Entries<'_>> = BTreeMap::new();
    for listed in &list.apps {
        let slot = &mut by_name.entry(&listed.package).or_default().listed;
        first_counts(
            slot,
            listed,
            &listed.package,
            PACKAGES_LIST,
            &mut contradictions,
        );
    }
    for package in &xml.packages {
        let slot = &mut by_name.entry(&package.name).or_default().package;
        first_counts(
            slot,
            package,
            &package.name,
            "<package>",
            &mut contradictions,
        );
    }
    for updated in &xml.updated {
        if let Entry::Occupied(mut entry) = by_name.entry(&updated.name) {
            let slot = &mut entry.get_mut().updated;
            first_counts(
                slot,
                updated,
                &updated.name,
                "<updated-package>",
                &mut contradictions,
            );
        } else {
            contradictions.push(InventoryProblem::Contradiction {
                package: updated.name.clone(),
                what: "packages.xml has an <updated-package> for it, but no file has the app \
                       itself; it is not used"
                    .to_owned(),
            });
        }
    }
    let mut apps = Vec::with_capacity(by_name.len());
    let mut without_uid = Vec::new();
    for (name, entries) in by_name {
        match appid(name, &entries, &mut contradictions) {
            Some(appid) => apps.push(app(name, appid, &entries, xml, preloads)),
            None => without_uid.push(name.to_owned()),
        }
    }
    report(contradictions, problems);
    (apps, without_uid)
}

/// Keeps the first [`PROBLEMS_MAX`] and counts the rest.
fn report(contradictions: Vec<InventoryProblem>, problems: &mut Vec<InventoryProblem>) {
    let more = contradictions.len().saturating_sub(PROBLEMS_MAX);
    problems.extend(contradictions.into_iter().take(PROBLEMS_MAX));
    if more > 0 {
        problems.push(InventoryProblem::More {
            file: PACKAGES_XML.to_owned(),
            count: more as u64,
        });
    }
}

/// As the package manager does with packages of the same name.
fn first_counts<'a, T>(
    slot: &mut Option<&'a T>,
    entry: &'a T,
    package: &str,
    place: &str,
    problems: &mut Vec<InventoryProblem>,
) {
    if slot.is_none() {
        *slot = Some(entry);
        return;
    }
    problems.push(InventoryProblem::Contradiction {
        package: package.to_owned(),
        what: format!("{place} has it more than once; the first counts"),
    });
}

/// The app id; `packages.xml` counts where the files differ.
fn appid(name: &str, entries: &Entries<'_>, problems: &mut Vec<InventoryProblem>) -> Option<u32> {
    let listed = entries.listed.map(|listed| listed.appid);
    let Some(package) = entries.package.and_then(|package| package.appid) else {
        return listed;
    };
    if let Some(listed) = listed.filter(|&listed| listed != package) {
        problems.push(InventoryProblem::Contradiction {
            package: name.to_owned(),
            what: format!(
                "packages.list says app id {listed}, packages.xml {package}, which counts; the \
                 files may have been copied at different times"
            ),
        });
    }
    Some(package)
}

fn app(
    name: &str,
    appid: u32,
    entries: &Entries<'_>,
    xml: &PackagesXml,
    preloads: Option<&PreloadFolders>,
) -> App {
    let package = entries.package;
    let listed = entries.listed;
    let verdict = classify(&Evidence {
        code_path: package.and_then(|package| package.code_path.as_deref()),
        flags: package.and_then(|package| package.flags),
        updated: entries.updated.is_some(),
        shipped_path: entries
            .updated
            .and_then(|updated| updated.code_path.as_deref()),
        listed_as_system: listed.is_some_and(|listed| listed.system),
        preload: preloads.and_then(|preloads| preloads.find(name)),
        preloads_listed: preloads.is_some(),
    });
    App {
        package: name.to_owned(),
        appid,
        version_code: package
            .and_then(|package| package.version_code)
            .or_else(|| listed.and_then(|listed| listed.version_code)),
        installer: package
            .and_then(|package| package.installer.clone())
            .or_else(|| listed.and_then(|listed| listed.installer.clone())),
        signers: package
            .map(|package| package.signers.clone())
            .unwrap_or_default(),
        code_path: package.and_then(|package| package.code_path.clone()),
        preload_path: verdict.preload_path,
        shared_user: package
            .filter(|package| package.shared)
            .and_then(|_| xml.shared_users.get(&appid).cloned()),
        class: verdict.class,
        class_reason: verdict.reason,
    }
}
