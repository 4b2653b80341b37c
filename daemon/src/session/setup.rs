//! What a session works with: rules, inventory, location data; and the case that keeps copies.
//!
//! In: paths. Out: a core's [`Setup`] and the bytes that go into the case, so that another lab can
//! judge with the very same.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sakshi_rules::RuleSet;

use super::{SessionError, rules::Rules};
use crate::{
    attribute::inventory::{Inventory, InventoryError, InventoryProblem},
    evidence::{CaseFiles, Hash, PLACES_FILE, canonical::to_canonical},
    input::{Gap, GapCause},
    locate::{Atlas, Source, format},
    time::Timestamp,
};

/// The inventory as it was understood, beside the copies of its sources.
pub const INVENTORY_FILE: &str = "inventory.json";

/// Rules, apps and places, and what the case keeps of them.
#[derive(Debug)]
pub struct Materials {
    /// Rule sets, in the order in which they apply.
    pub rules: Vec<RuleSet>,
    /// Apps on the handset.
    pub inventory: Inventory,
    /// What was wrong with the inventory's files.
    pub problems: Vec<InventoryProblem>,
    /// Location data.
    pub atlas: Arc<Atlas>,
    /// Copies for the case.
    pub files: CaseFiles,
}

/// Where the inventory comes from.
#[derive(Debug, Clone)]
pub enum InventoryFrom {
    /// A folder with copies of the package manager's files.
    Folder(PathBuf),
    /// The Android device that this runs on.
    Device,
    /// Nowhere: every app is unknown.
    Nowhere,
}

impl InventoryFrom {
    /// The folder that was named, else the device that this runs on, else nowhere.
    pub fn chosen(folder: Option<&Path>) -> Self {
        match folder {
            Some(dir) => Self::Folder(dir.to_owned()),
            None if Path::new("/data/system").is_dir() => Self::Device,
            None => Self::Nowhere,
        }
    }

    /// The folder in which the package manager's files lie; none where there are none.
    pub fn dir(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(dir) => Some(dir.clone()),
            Self::Device => Some(PathBuf::from("/data/system")),
            Self::Nowhere => None,
        }
    }
}

impl fmt::Display for InventoryFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Device => f.write_str("/data/system"),
            Self::Nowhere => f.write_str("nowhere"),
        }
    }
}

impl Materials {
    /// Loads everything. An inventory with broken files is used as far as it goes; the problems
    /// become gaps.
    /// Places are by `data`, or by what is built in.
    pub fn load(
        rules: &[PathBuf],
        inventory: &InventoryFrom,
        data: Option<&Path>,
    ) -> Result<Self, SessionError> {
        let rules = Rules::read(rules)?;
        let data = data.map_or_else(Data::built_in, Data::read)?;
        let (inventory, problems) = read_inventory(inventory)?;
        let files = CaseFiles {
            rules: rules.kept(),
            inventory: inventory_files(&inventory)?,
            data: to_canonical(&data.manifest)?.into_bytes(),
            places: data.kept,
        };
        Ok(Self {
            rules: rules.into_sets(),
            inventory,
            problems,
            atlas: Arc::new(data.atlas),
            files,
        })
    }
}

/// Location data, and what a case keeps of it.
struct Data {
    atlas: Atlas,
    manifest: Vec<Source>,
    /// The file, where it is not built in and its licences let it be kept.
    kept: Vec<u8>,
}

impl Data {
    fn built_in() -> Result<Self, SessionError> {
        let atlas = Atlas::embedded()?;
        Ok(Self {
            manifest: atlas.manifest().to_vec(),
            atlas,
            kept: Vec::new(),
        })
    }

    /// The manifest ends with the file itself, so that its hash is kept even where it may not be.
    fn read(path: &Path) -> Result<Self, SessionError> {
        let bytes = fs::read(path).map_err(|source| SessionError::Read {
            path: path.to_owned(),
            source,
        })?;
        let atlas = Atlas::from_bytes(&bytes)?;
        let mut manifest = atlas.manifest().to_vec();
        manifest.push(Source {
            name: "compiled".to_owned(),
            version: format::VERSION.to_string(),
            published: manifest
                .iter()
                .map(|source| source.published)
                .max()
                .unwrap_or_default(),
            file: PLACES_FILE.to_owned(),
            sha256: Hash::of(&bytes).to_string(),
            url: String::new(),
            licence: "as its sources".to_owned(),
            attribution: String::new(),
            passing: atlas.is_passing(),
        });
        let kept = if atlas.is_passing() {
            Vec::new()
        } else {
            bytes
        };
        Ok(Self {
            atlas,
            manifest,
            kept,
        })
    }
}

/// What a case keeps of an inventory: its sources as they were read, and what was understood.
pub fn inventory_files(inventory: &Inventory) -> Result<Vec<(String, Vec<u8>)>, SessionError> {
    let mut kept: Vec<(String, Vec<u8>)> = inventory
        .sources()
        .iter()
        .map(|source| (plain(&source.name), source.bytes.clone()))
        .collect();
    let understood = to_canonical(inventory)?.into_bytes();
    kept.push((INVENTORY_FILE.to_owned(), understood));
    Ok(kept)
}

/// Reads the inventory from where it comes from.
pub fn read_inventory(
    from: &InventoryFrom,
) -> Result<(Inventory, Vec<InventoryProblem>), InventoryError> {
    match from {
        InventoryFrom::Folder(dir) => Inventory::read(dir),
        InventoryFrom::Device => Inventory::read_device(Path::new("/")),
        InventoryFrom::Nowhere => Ok((Inventory::empty(), Vec::new())),
    }
}

/// What a broken or missing file of the inventory costs, as a gap. An inspection reads no clock:
/// its `at` is [`Timestamp::default`], and the beginning is not known.
pub fn problem_gap(problem: &InventoryProblem, at: Timestamp) -> Gap {
    Gap {
        at,
        cause: GapCause::Degraded,
        from: (at != Timestamp::default()).then_some(at),
        to: None,
        packets: None,
        place: "inventory".to_owned(),
        detail: problem.to_string(),
    }
}

/// A name without folders and without letters that a file name should not have.
pub(super) fn plain(name: &str) -> String {
    let last = name
        .rsplit('/')
        .next()
        .unwrap_or(name)
        .trim_start_matches('.');
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
            letter
        } else {
            '_'
        }
    };
    last.chars().map(letter).take(64).collect()
}
