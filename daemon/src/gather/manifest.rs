//! The list of official addresses that `sakshi data refresh` asks.
//!
//! In: TOML, built in or a file of the lab's. Out: what to fetch, and what to say of each.

use serde::Deserialize;

use super::GatherError;
use crate::locate::published::Said;

/// The list that is built in.
const BUILT_IN: &str = include_str!("../../data/refresh.toml");
/// Most sources of a list.
const SOURCES_MAX: usize = 64;

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Official {
    /// Short name, to be asked for alone.
    pub name: String,
    /// Address: `https`, or `http` on the own machine.
    pub url: String,
    /// Licence, where the kind of file does not tell it.
    pub licence: Option<String>,
    /// Provider key of a geofeed.
    pub provider: Option<String>,
    /// Its licence forbids keeping old versions.
    #[serde(default)]
    pub old_versions_forbidden: bool,
}

impl Official {
    pub(super) fn said(&self) -> Said {
        Said {
            licence: self.licence.clone(),
            provider: self.provider.clone(),
            url: Some(self.url.clone()),
            passing: self.old_versions_forbidden,
            ..Said::default()
        }
    }

    /// The file's name, as the address ends.
    pub(super) fn file(&self) -> String {
        let path = self.url.split(['?', '#']).next().unwrap_or(&self.url);
        let last = path.rsplit('/').next().unwrap_or_default();
        let name = if last.is_empty() { &self.name } else { last };
        name.to_owned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    source: Vec<Official>,
}

/// Reads a list, or the one that is built in.
pub fn read(text: Option<&str>, file: &str) -> Result<Vec<Official>, GatherError> {
    let bad = |detail: String| GatherError::Manifest {
        file: file.to_owned(),
        detail,
    };
    let manifest: Manifest =
        toml::from_str(text.unwrap_or(BUILT_IN)).map_err(|error| bad(error.to_string()))?;
    if manifest.source.len() > SOURCES_MAX {
        return Err(bad(format!("more than {SOURCES_MAX} sources")));
    }
    for source in &manifest.source {
        let rest = source.url.strip_prefix("http://");
        let own = rest.is_some_and(|rest| {
            ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
                rest.strip_prefix(host)
                    .is_some_and(|rest| rest.starts_with([':', '/']))
            })
        });
        if !own && !source.url.starts_with("https://") {
            let url = &source.url;
            return Err(bad(format!(
                "{url}: expected an https address (http on this machine only)"
            )));
        }
    }
    Ok(manifest.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_can_be_read() {
        let sources = read(None, "built in").unwrap();
        assert!(sources.len() >= 3);
        assert_eq!(sources[0].file(), "ip-ranges.json");
    }

    #[test]
    fn only_encrypted_addresses_are_asked() {
        let list = |url: &str| format!("[[source]]\nname = \"x\"\nurl = \"{url}\"\n");
        for url in [
            "http://example.com/x",
            "http://127.0.0.1.example.com/x",
            "ftp://x/y",
            "http://localhostile/x",
        ] {
            let error = read(Some(&list(url)), "list.toml").unwrap_err();
            assert!(
                error.to_string().contains("expected an https address"),
                "{url}: {error}"
            );
        }
        for url in [
            "https://example.com/x",
            "http://127.0.0.1:8080/x",
            "http://[::1]/x",
        ] {
            assert_eq!(read(Some(&list(url)), "list.toml").unwrap()[0].file(), "x");
        }
        assert!(read(Some("[[source]]\nname = 1\n"), "list.toml").is_err());
    }
}
