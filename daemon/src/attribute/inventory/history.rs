//! The apps over time: whom a UID stood for when a flow began.
//!
//! In: the first inventory and its changes, in order. Out: descriptions of UIDs as of a version, so
//! that an app which is uninstalled, updated or followed by another under the same UID does not
//! rewrite what was true before. Of each change only what it replaced is kept.

use std::collections::{BTreeSet, VecDeque};

use super::{App, Inventory, OwnerApps};
use crate::{attribute::uid::AppId, input::InventoryChange};

/// Changes that are remembered; of a flow older than that, the apps are unknown.
pub const CHANGES_MAX: usize = 512;

/// Counts changes of the inventory, from 0.
pub type Version = u32;

/// What a change replaced.
#[derive(Debug)]
struct Past {
    /// The last version in which this was so.
    version: Version,
    /// Packages that came, went or changed.
    packages: BTreeSet<String>,
    /// App ids that they have or had.
    appids: BTreeSet<u32>,
    /// Every app that these app ids stood for.
    apps: Inventory,
}

/// An inventory with what it was before.
#[derive(Debug)]
pub struct InventoryHistory {
    now: Inventory,
    version: Version,
    past: VecDeque<Past>,
    /// Answers for versions that are forgotten.
    nothing: Inventory,
}

impl InventoryHistory {
    /// A history that begins with these apps, as version 0.
    pub fn new(first: Inventory) -> Self {
        Self {
            now: first,
            version: 0,
            past: VecDeque::new(),
            nothing: Inventory::empty(),
        }
    }

    /// The version that holds now.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes over a change. Gives the app ids that stand for other packages than before: what is
    /// sent under them from now on is not sent by whom it was.
    pub fn apply(&mut self, change: &InventoryChange) -> BTreeSet<u32> {
        let changed = change.changed.iter().map(|app| &app.package);
        let packages: BTreeSet<String> = changed.chain(&change.removed).cloned().collect();
        let before = self.now.apps.iter();
        let appids: BTreeSet<u32> = before
            .filter(|app| packages.contains(&app.package))
            .chain(&change.changed)
            .map(|app| app.appid)
            .collect();
        let replaced = appids.iter().flat_map(|appid| self.now.with_appid(*appid));
        let apps = Inventory::new(
            replaced.cloned().collect(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
        );
        self.now.apply(change);
        let moved = appids
            .iter()
            .copied()
            .filter(|appid| names(&apps, *appid).ne(names(&self.now, *appid)))
            .collect();
        if self.past.len() >= CHANGES_MAX {
            self.past.pop_front();
        }
        self.past.push_back(Past {
            version: self.version,
            packages,
            appids,
            apps,
        });
        self.version += 1;
        moved
    }

    /// Whom a UID stood for in a version.
    pub fn describe(&self, uid: u32, version: Version) -> OwnerApps<'_> {
        let appid = AppId::of(uid).of_its_app();
        self.inventory_at(version, |past| past.appids.contains(&appid))
            .describe(uid)
    }

    /// The app of that name in a version.
    pub fn app(&self, package: &str, version: Version) -> Option<&App> {
        self.inventory_at(version, |past| past.packages.contains(package))
            .app(package)
    }

    /// The inventory that answers for a version: what the first change after it that concerns the
    /// question replaced, or today's.
    fn inventory_at(&self, version: Version, concerns: impl Fn(&Past) -> bool) -> &Inventory {
        let oldest = self.past.front().map_or(self.version, |past| past.version);
        if version < oldest {
            return &self.nothing;
        }
        self.past
            .iter()
            .filter(|past| past.version >= version)
            .find(|past| concerns(past))
            .map_or(&self.now, |past| &past.apps)
    }
}

fn names(inventory: &Inventory, appid: u32) -> impl Iterator<Item = &str> {
    let apps = inventory.with_appid(appid).iter();
    apps.map(|app| app.package.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attribute::inventory::AppClass, time::Timestamp};

    fn app(package: &str, appid: u32, version_code: u64) -> App {
        App {
            package: package.to_owned(),
            appid,
            version_code: Some(version_code),
            installer: None,
            signers: Vec::new(),
            code_path: None,
            preload_path: None,
            shared_user: None,
            class: AppClass::User,
            class_reason: String::new(),
        }
    }

    fn history(apps: Vec<App>) -> InventoryHistory {
        InventoryHistory::new(Inventory::new(apps, vec![0], Vec::new(), Vec::new()))
    }

    fn change(changed: Vec<App>, removed: &[&str]) -> InventoryChange {
        InventoryChange {
            at: Timestamp::default(),
            since: None,
            changed,
            removed: removed.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn described(history: &InventoryHistory, uid: u32, version: Version) -> Vec<(&str, u64)> {
        let owner = history.describe(uid, version);
        let shown = |app: &&'_ App| app.version_code.unwrap_or_default();
        let apps = owner.apps.into_iter();
        apps.map(|app| (app.package.as_str(), shown(&app)))
            .collect()
    }

    #[test]
    fn each_version_keeps_what_was_true_in_it() {
        let mut history = history(vec![app("a", 10_001, 1), app("b", 10_002, 1)]);
        let moved = history.apply(&change(vec![app("a", 10_001, 2)], &[]));
        assert!(moved.is_empty(), "an update is the same app");
        let moved = history.apply(&change(vec![], &["a"]));
        assert_eq!(moved, BTreeSet::from([10_001]));
        let moved = history.apply(&change(vec![app("c", 10_001, 7)], &[]));
        assert_eq!(moved, BTreeSet::from([10_001]));
        for (version, apps) in [
            (0, vec![("a", 1)]),
            (1, vec![("a", 2)]),
            (2, vec![]),
            (3, vec![("c", 7)]),
        ] {
            assert_eq!(described(&history, 10_001, version), apps, "{version}");
            assert_eq!(
                described(&history, 20_001, version),
                apps,
                "an SDK sandbox's app, {version}"
            );
            assert_eq!(described(&history, 1_010_002, version), [("b", 1)]);
            let named = history.app("a", version).is_some();
            assert_eq!(named, version < 2);
        }
    }

    #[test]
    fn an_app_that_takes_another_uid_leaves_its_old_one() {
        let mut history = history(vec![app("a", 10_001, 1)]);
        let moved = history.apply(&change(vec![app("a", 10_009, 1)], &[]));
        assert_eq!(moved, BTreeSet::from([10_001, 10_009]));
        assert_eq!(described(&history, 10_001, 0), [("a", 1)]);
        assert_eq!(described(&history, 10_001, 1), []);
        assert_eq!(described(&history, 10_009, 0), []);
        assert_eq!(described(&history, 10_009, 1), [("a", 1)]);
    }

    #[test]
    fn what_is_forgotten_is_unknown_and_not_todays() {
        let mut history = history(vec![app("a", 10_001, 0), app("b", 10_002, 0)]);
        for version in 1..=CHANGES_MAX as u64 + 1 {
            history.apply(&change(vec![app("a", 10_001, version)], &[]));
        }
        assert_eq!(described(&history, 10_001, 0), []);
        assert_eq!(described(&history, 10_002, 0), []);
        assert_eq!(described(&history, 10_001, 1), [("a", 1)]);
        assert_eq!(described(&history, 10_002, 1), [("b", 0)]);
    }
}
