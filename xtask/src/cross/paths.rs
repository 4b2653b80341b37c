//! Keeps the folders of this machine out of what is built.
//!
//! In: where cargo, the cache and the checkout are. Out: flags for rustc. Messages of panics name
//! the file that they come from; with these flags they do so in the same way wherever it was built,
//! so that the same source gives the same program in another checkout.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Separates flags where a path may have spaces.
const SEPARATOR: &str = "\u{1f}";

/// Flags for everything that is built for the phone.
pub fn neutral(cache: &Path) -> Vec<OsString> {
    let cargo = cargo_home(|name| std::env::var_os(name).map(PathBuf::from));
    let places = [
        (cargo, "/cargo"),
        (Some(cache.to_owned()), "/cache"),
        (Some(super::workspace()), "/sakshi"),
    ];
    places
        .into_iter()
        .filter_map(|(place, name)| Some(flag(&place?, name)))
        .collect()
}

fn flag(place: &Path, name: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(place);
    flag.push("=");
    flag.push(name);
    flag
}

/// Where cargo keeps the packages that it fetched.
fn cargo_home(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("CARGO_HOME").or_else(|| Some(variable("HOME")?.join(".cargo")))
}

/// Flags as `CARGO_ENCODED_RUSTFLAGS` wants them.
pub fn encoded(flags: &[OsString]) -> OsString {
    flags.join(OsStr::new(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_same_place_everywhere() {
        let flags = neutral(Path::new("/home/a b/cache"));
        let cache = "--remap-path-prefix=/home/a b/cache=/cache";
        assert!(flags.iter().any(|flag| flag == cache), "{flags:?}");
        let encoded = encoded(&[flag(Path::new("/a b"), "/c"), "-Cx".into()]);
        assert_eq!(encoded, "--remap-path-prefix=/a b=/c\u{1f}-Cx");
    }

    #[test]
    fn finds_cargos_packages() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/a"));
        assert_eq!(cargo_home(home), Some("/home/a/.cargo".into()));
        assert_eq!(cargo_home(|_| Some("/c".into())), Some("/c".into()));
        assert_eq!(cargo_home(|_| None), None);
    }
}
