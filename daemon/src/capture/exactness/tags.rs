//! netd's map of tagged sockets, read where the layer tells the cookies of sockets.
//!
//! In: the folder of a BPF file system, socket cookies. Out: a [`Charge`] for each socket that is
//! tagged. The map is netd's: it is opened where it is pinned and asked for single keys, never
//! made, changed or pinned.
//!
//! Where it lies: `COOKIE_TAG_MAP_PATH` in `bpf_progs/netd.h` of `android_packages_modules_Connectivity`
//! (1d0a97b9; Android 13 and later), in `libnetdbpf/include/netdbpf/bpf_shared.h` of
//! `android_system_netd` (f025d414; Android 10 to 12) and, with `struct UidTag` of the same layout,
//! in Android 9's `libbpf/include/bpf/BpfUtils.h`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use aya::maps::{HashMap, Map, MapData, MapError, MapInfo, MapType};

use super::program::chain;
use crate::attribute::charge::{Charge, VALUE_BYTES};

/// Where the map is looked for in a BPF file system, newest Android first.
pub const TAG_MAPS: [&str; 3] = [
    "netd_shared/map_netd_cookie_tag_map",
    "map_netd_cookie_tag_map",
    "traffic_cookie_tag_map",
];
/// Bytes of a key: a socket cookie.
const KEY_BYTES: u32 = 8;

/// Why whom netd charges cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum TagMapError {
    /// There is none.
    #[error(
        "there is no map of tagged sockets in {} ({} is looked for): this is no Android, or one \
         that keeps it elsewhere", .0.display(), TAG_MAPS.join(", ")
    )]
    Absent(PathBuf),
    /// It cannot be opened or asked.
    #[error("netd's map of tagged sockets at {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// It is not what we know how to read.
    #[error(
        "netd's map of tagged sockets at {} is {found}; a hash map with keys and values of 8 bytes \
         was expected, so nothing is read from it", path.display()
    )]
    Shape {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        found: String,
    },
}

/// The map, open. Nothing here writes to it.
#[derive(Debug)]
pub struct TagMap {
    path: PathBuf,
    entries: HashMap<MapData, u64, [u8; VALUE_BYTES]>,
}

impl TagMap {
    /// Opens the map in a BPF file system.
    pub fn find(bpffs: &Path) -> Result<Self, TagMapError> {
        for name in TAG_MAPS {
            let path = bpffs.join(name);
            match fs::symlink_metadata(&path) {
                Ok(_) => return Self::open(path),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => {
                    let why = error.to_string();
                    return Err(TagMapError::Unreadable { path, why });
                }
            }
        }
        Err(TagMapError::Absent(bpffs.to_owned()))
    }

    fn open(path: PathBuf) -> Result<Self, TagMapError> {
        let unreadable = |error: MapError| TagMapError::Unreadable {
            path: path.clone(),
            why: chain(&error),
        };
        let data = MapData::from_pin(&path).map_err(unreadable)?;
        let info = data.info().map_err(unreadable)?;
        let map = match info.map_type() {
            Ok(MapType::Hash) => Map::HashMap(data),
            Ok(MapType::LruHash) => Map::LruHashMap(data),
            _ => return Err(misshapen(path, &info)),
        };
        if info.key_size() != KEY_BYTES || u32::try_from(VALUE_BYTES) != Ok(info.value_size()) {
            return Err(misshapen(path, &info));
        }
        let entries = map.try_into().map_err(unreadable)?;
        Ok(Self { path, entries })
    }

    /// Where it is pinned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whom netd charges for a socket; none where the socket is not tagged, or is gone. One system
    /// call.
    pub fn charge_of(&self, cookie: u64) -> Result<Option<Charge>, TagMapError> {
        match self.entries.get(&cookie, 0) {
            Ok(value) => Ok(Some(Charge::read(value))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(TagMapError::Unreadable {
                path: self.path.clone(),
                why: chain(&error),
            }),
        }
    }
}

fn misshapen(path: PathBuf, info: &MapInfo) -> TagMapError {
    let kind = info.map_type().map_or_else(
        |_| "a map of a kind unknown here".to_owned(),
        |kind| format!("a map of kind {kind:?}"),
    );
    TagMapError::Shape {
        path,
        found: format!(
            "{kind} with keys of {} and values of {} bytes",
            info.key_size(),
            info.value_size()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_map_is_absent_and_what_is_no_map_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let error = TagMap::find(folder.path()).unwrap_err();
        assert!(matches!(error, TagMapError::Absent(_)), "{error}");
        let nowhere = folder.path().join("nowhere");
        let error = TagMap::find(&nowhere).unwrap_err();
        assert!(matches!(error, TagMapError::Absent(_)), "{error}");
        fs::write(folder.path().join(TAG_MAPS[1]), "no map").unwrap();
        let error = TagMap::find(folder.path()).unwrap_err();
        assert!(matches!(error, TagMapError::Unreadable { .. }), "{error}");
    }
}
