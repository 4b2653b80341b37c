//! The apps on the handset and how each came there.
//!
//! In: `packages.list` and `packages.xml` (text or ABX). Out: an [`Inventory`] that tells which
//! apps a UID stands for and of which class they are.
//!
//! Which app is installed for which Android user is not read (`package-restrictions.xml`): a UID
//! names its user, and only an app that runs for a user can send under that UID.

mod abx;
mod class;
mod document;
mod history;
mod lines;
mod modified_utf8;
mod packages_list;
mod packages_xml;
mod preload_folders;
mod problem;
mod read;
mod stamps;
mod text;
mod user_list;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use sakshi_rules::contact::AppClass;

pub use self::{
    class::SYSTEM_PARTITIONS,
    history::{CHANGES_MAX, InventoryHistory, Version},
    problem::{InventoryError, InventoryProblem, PROBLEMS_MAX, Position},
    read::Source,
    stamps::Stamps,
};
use super::uid::{self, AppId};
use crate::input::InventoryChange;

/// An installed app, as the package manager's files describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Package name.
    pub package: String,
    /// App id: the UID within a user.
    pub appid: u32,
    /// Android's `versionCode`, where known.
    pub version_code: Option<u64>,
    /// Package that installed it, where known.
    pub installer: Option<String>,
    /// SHA-256 of each signer certificate, lower-case hex, sorted.
    pub signers: Vec<String>,
    /// Where its code lies, where known.
    pub code_path: Option<String>,
    /// Path on a system partition: of itself, or of the version that an update replaced.
    pub preload_path: Option<String>,
    /// Name of its shared user, where it has one.
    pub shared_user: Option<String>,
    /// How it came onto the handset.
    pub class: AppClass,
    /// Why it has that class, in plain words.
    pub class_reason: String,
}

/// The apps and Android users of a handset at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Inventory {
    /// Sorted by app id, then name; each name once.
    apps: Vec<App>,
    /// Sorted, each once.
    users: Vec<u32>,
    /// Sorted.
    without_uid: Vec<String>,
    sources: Vec<Source>,
}

/// An inventory as it was stored: what order it has is not relied on.
#[derive(Deserialize)]
struct Stored {
    apps: Vec<App>,
    users: Vec<u32>,
    without_uid: Vec<String>,
    sources: Vec<Source>,
}

impl From<Stored> for Inventory {
    fn from(stored: Stored) -> Self {
        Self::new(
            stored.apps,
            stored.users,
            stored.without_uid,
            stored.sources,
        )
    }
}

/// Whom a UID stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerApps<'a> {
    /// Android user.
    pub user: u32,
    /// App id within the user, as the UID has it.
    pub appid: u32,
    /// What kind of UID it is.
    pub kind: AppId,
    /// The platform's own name of the app id, where it has one.
    pub android_name: Option<&'static str>,
    /// Every app that may run under it, sorted by name; several if they share the UID. For an SDK
    /// sandbox, the app it belongs to.
    pub apps: Vec<&'a App>,
    /// [`AppClass::System`] for a platform UID, whichever packages share it; else the class that
    /// all apps have, and [`AppClass::Unknown`] if they differ or there is none. So a set of
    /// preloads of which one was updated is unknown here; ask [`OwnerApps::all_shipped`].
    pub class: AppClass,
    /// What must be said beside it, in plain words.
    pub note: Option<&'static str>,
}

impl<'a> OwnerApps<'a> {
    /// The same UID, of which something else than the inventory says which app it is.
    #[must_use]
    pub fn of_app(self, app: &'a App) -> Self {
        Self {
            apps: vec![app],
            class: app.class,
            note: None,
            ..self
        }
    }

    /// Whether there are apps and the vendor shipped each of them: preloaded, updated since, or
    /// deletable.
    pub fn all_shipped(&self) -> bool {
        let shipped = |app: &&App| {
            matches!(
                app.class,
                AppClass::Preloaded | AppClass::UpdatedPreload | AppClass::DeletablePreload
            )
        };
        !self.apps.is_empty() && self.apps.iter().all(shipped)
    }
}

impl Inventory {
    /// An inventory that knows nothing but user 0.
    pub fn empty() -> Self {
        Self::new(Vec::new(), vec![0], Vec::new(), Vec::new())
    }

    fn new(
        apps: Vec<App>,
        mut users: Vec<u32>,
        mut without_uid: Vec<String>,
        sources: Vec<Source>,
    ) -> Self {
        users.sort_unstable();
        users.dedup();
        without_uid.sort_unstable();
        without_uid.dedup();
        Self {
            apps: in_order(apps),
            users,
            without_uid,
            sources,
        }
    }

    /// Every app, sorted by app id, then name.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// The app of that name.
    pub fn app(&self, package: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.package == package)
    }

    /// App ids of installed apps that several packages share.
    pub fn shared_appids(&self) -> BTreeSet<u32> {
        let pairs = self.apps.windows(2);
        pairs
            .filter_map(|pair| match pair {
                [one, other] if one.appid == other.appid => Some(one.appid),
                _ => None,
            })
            .collect()
    }

    /// Android users of the handset, sorted; 0 is always there.
    pub fn users(&self) -> &[u32] {
        &self.users
    }

    /// Packages that have no UID and send nothing of their own: APEX modules.
    pub fn without_uid(&self) -> &[String] {
        &self.without_uid
    }

    /// The files it rests on, with their content where it was just read.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Whom a UID stands for. Unknown is an answer: an isolated process's app is in no file.
    pub fn describe(&self, uid: u32) -> OwnerApps<'_> {
        let kind = AppId::of(uid);
        let appid = uid::appid(uid);
        let (apps, note) = match kind {
            AppId::Platform(_) | AppId::Nobody => (self.with_appid(appid), None),
            AppId::App(app) | AppId::SdkSandbox { app } => {
                let apps = self.with_appid(app);
                let absent = apps.is_empty();
                (
                    apps,
                    absent.then_some("no app of the inventory has this UID"),
                )
            }
            AppId::AppZygoteIsolated(_) | AppId::Isolated(_) => {
                (&[][..], Some("isolated, app unknown"))
            }
            AppId::Overflow => (&[][..], Some("the kernel could not say which UID")),
            AppId::Unassigned(_) => (&[][..], Some("Android gives this UID to no app")),
        };
        let class = match kind {
            AppId::Platform(_) | AppId::Nobody => AppClass::System,
            _ => common_class(apps),
        };
        OwnerApps {
            user: uid::user(uid),
            appid,
            kind,
            android_name: uid::android_name(appid),
            apps: apps.iter().collect(),
            class,
            note,
        }
    }

    fn with_appid(&self, appid: u32) -> &[App] {
        let start = self.apps.partition_point(|app| app.appid < appid);
        let end = self.apps.partition_point(|app| app.appid <= appid);
        self.apps.get(start..end).unwrap_or_default()
    }

    /// Takes over a change: apps that are new or differ, and packages that are gone.
    pub fn apply(&mut self, change: &InventoryChange) {
        let gone: BTreeSet<&str> = change.removed.iter().map(String::as_str).collect();
        let apps = std::mem::take(&mut self.apps)
            .into_iter()
            .filter(|app| !gone.contains(app.package.as_str()))
            .chain(change.changed.iter().cloned())
            .collect();
        self.apps = in_order(apps);
    }

    /// What must be applied to this inventory's apps to get those of `newer`: apps that are new
    /// or differ, in the order of app id and name, and names that are gone, sorted.
    pub fn diff(&self, newer: &Self) -> (Vec<App>, Vec<String>) {
        let by_name = |inventory: &'_ Self| -> BTreeMap<String, App> {
            let apps = inventory.apps.iter().cloned();
            apps.map(|app| (app.package.clone(), app)).collect()
        };
        let (before, after) = (by_name(self), by_name(newer));
        let changed = newer
            .apps
            .iter()
            .filter(|app| before.get(&app.package) != Some(*app))
            .cloned()
            .collect();
        let removed = before
            .into_keys()
            .filter(|package| !after.contains_key(package))
            .collect();
        (changed, removed)
    }
}

/// The class that all have; unknown if they differ or there is none.
fn common_class(apps: &[App]) -> AppClass {
    match apps {
        [first, rest @ ..] if rest.iter().all(|app| app.class == first.class) => first.class,
        _ => AppClass::Unknown,
    }
}

/// Sorted by app id, then name; of apps with the same name the last counts.
fn in_order(apps: Vec<App>) -> Vec<App> {
    let by_name: BTreeMap<String, App> = apps
        .into_iter()
        .map(|app| (app.package.clone(), app))
        .collect();
    let mut apps: Vec<App> = by_name.into_values().collect();
    apps.sort_by_key(|app| app.appid);
    apps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn app(package: &str, appid: u32, class: AppClass) -> App {
        App {
            package: package.to_owned(),
            appid,
            version_code: Some(1),
            installer: None,
            signers: Vec::new(),
            code_path: None,
            preload_path: None,
            shared_user: None,
            class,
            class_reason: String::new(),
        }
    }

    fn inventory(apps: Vec<App>) -> Inventory {
        Inventory::new(apps, vec![0], Vec::new(), Vec::new())
    }

    fn names<'a>(owner: &OwnerApps<'a>) -> Vec<&'a str> {
        owner.apps.iter().map(|app| app.package.as_str()).collect()
    }

    #[test]
    fn a_shared_uid_is_a_set() {
        let inventory = inventory(vec![
            app("b", 10_050, AppClass::Preloaded),
            app("a", 10_050, AppClass::UpdatedPreload),
            app("c", 10_051, AppClass::User),
        ]);
        let owner = inventory.describe(1_010_050);
        assert_eq!((owner.user, owner.appid), (10, 10_050));
        assert_eq!(names(&owner), ["a", "b"]);
        assert_eq!(owner.class, AppClass::Unknown);
        assert!(owner.all_shipped());
        assert_eq!(inventory.describe(10_051).class, AppClass::User);
        assert!(!inventory.describe(10_051).all_shipped());
    }

    #[test]
    fn a_platform_uid_is_the_system_whatever_shares_it() {
        let inventory = inventory(vec![app("android", 1000, AppClass::Preloaded)]);
        let owner = inventory.describe(1000);
        assert_eq!(owner.class, AppClass::System);
        assert_eq!(owner.android_name, Some("system"));
        assert_eq!(names(&owner), ["android"]);
        assert_eq!(inventory.describe(0).class, AppClass::System);
    }

    #[test]
    fn a_sandbox_is_its_app_and_an_isolated_process_nobodys() {
        let inventory = inventory(vec![app("a", 10_050, AppClass::Preloaded)]);
        let sandbox = inventory.describe(20_050);
        assert_eq!(names(&sandbox), ["a"]);
        assert_eq!(sandbox.class, AppClass::Preloaded);
        let isolated = inventory.describe(99_001);
        assert_eq!(isolated.class, AppClass::Unknown);
        assert_eq!(isolated.note, Some("isolated, app unknown"));
        for uid in [10_099, 65_534, 55_000, u32::MAX] {
            let owner = inventory.describe(uid);
            assert_eq!((owner.class, owner.apps.len()), (AppClass::Unknown, 0));
            assert!(owner.note.is_some(), "uid {uid}");
        }
    }

    #[test]
    fn applying_a_difference_gives_the_newer_apps() {
        let older = inventory(vec![
            app("a", 10_001, AppClass::User),
            app("b", 10_002, AppClass::User),
            app("c", 10_003, AppClass::User),
        ]);
        let mut updated = app("c", 10_003, AppClass::User);
        updated.version_code = Some(2);
        let newer = inventory(vec![
            app("a", 10_001, AppClass::User),
            updated,
            app("d", 10_000, AppClass::User),
        ]);
        let (changed, removed) = older.diff(&newer);
        let names: Vec<_> = changed.iter().map(|app| app.package.as_str()).collect();
        assert_eq!(names, ["d", "c"]);
        assert_eq!(removed, ["b"]);
        let mut applied = older.clone();
        applied.apply(&InventoryChange {
            at: Timestamp::from_micros(0),
            since: None,
            changed,
            removed,
        });
        assert_eq!(applied, newer);
        assert_eq!(newer.diff(&newer), (vec![], vec![]));
    }

    #[test]
    fn a_stored_inventory_in_disorder_is_put_in_order() {
        let ordered = inventory(vec![
            app("a", 10_002, AppClass::User),
            app("b", 10_001, AppClass::User),
        ]);
        let mut value = serde_json::to_value(&ordered).unwrap();
        value["apps"].as_array_mut().unwrap().reverse();
        let read: Inventory = serde_json::from_value(value).unwrap();
        assert_eq!(read, ordered);
    }
}
