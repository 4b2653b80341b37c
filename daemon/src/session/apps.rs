//! What a live watch learns of the apps while it runs.
//!
//! In: the threads `inventory` and `apk`. Out: events for the core, and each version of the
//! inventory's files for the case, before the records that rest on it.

use std::sync::Arc;

use super::{
    SessionError,
    apk_hashes::{self, ApkHashes, Hasher},
    engine::Engine,
    inventory_watch::{InventoryWatch, News, Watcher, What},
    setup::{InventoryFrom, inventory_files, problem_gap},
};
use crate::{
    attribute::inventory::{Inventory, InventoryProblem, Stamps},
    evidence::StoreSender,
    input::{
        Apk, CONSENT, Event, Gap, GapCause, Input, InventoryChange, Observation, PACKAGE,
        VERSION_CODE,
    },
    platform::clock::Clock,
    time::Timestamp,
};

/// Versions of the inventory's files that a session keeps; changes go on to be recorded.
pub const VERSIONS_MAX: u32 = 64;

/// What was read of the apps at the start.
#[derive(Debug)]
pub struct AppsAtStart {
    /// Where it comes from.
    pub from: InventoryFrom,
    /// How the files looked before they were read.
    pub stamps: Option<Stamps>,
    /// What they say.
    pub inventory: Inventory,
    /// What is wrong with them.
    pub problems: Vec<InventoryProblem>,
    /// APK files that earlier sessions of the case have hashed.
    pub hashed: Vec<Apk>,
}

/// The threads that look at apps, and what is known.
#[derive(Debug)]
pub struct Apps {
    watch: Option<InventoryWatch>,
    apks: Option<ApkHashes>,
    /// That APK files are not hashed here; said once, with the first look.
    unhashed: Option<Gap>,
    inventory: Inventory,
    versions: u32,
}

impl Apps {
    /// Starts the threads.
    pub fn start(start: AppsAtStart, clock: &Arc<dyn Clock>) -> Result<Self, SessionError> {
        let AppsAtStart {
            from,
            stamps,
            inventory,
            problems,
            hashed,
        } = start;
        let now = clock.now();
        let watch = Watcher::new(&from, stamps, inventory.clone(), problems, now)
            .map(|watcher| InventoryWatch::start(watcher, clock))
            .transpose()?;
        let jobs = apk_hashes::jobs(inventory.apps());
        let here = matches!(from, InventoryFrom::Device) || apk_hashes::any_is_here(&jobs);
        let unhashed = (!here && !jobs.is_empty()).then(|| unhashed(now));
        let apks = here
            .then(|| ApkHashes::start(Hasher::new(hashed), jobs, clock))
            .transpose()?;
        Ok(Self {
            watch,
            apks,
            unhashed,
            inventory,
            versions: 0,
        })
    }

    /// Hands on what was learnt since the last call.
    pub fn look(&mut self, engine: &mut Engine, store: &StoreSender) -> Result<(), SessionError> {
        if let Some(gap) = self.unhashed.take() {
            engine.feed(&Input::Event(&Event::Gap(gap)))?;
        }
        while let Some(news) = self.watch.as_ref().and_then(InventoryWatch::next) {
            for event in self.take(news, engine, store)? {
                engine.feed(&Input::Event(&event))?;
            }
        }
        while let Some(apk) = self.apks.as_ref().and_then(ApkHashes::next) {
            engine.feed(&Input::Event(&Event::Apk(apk)))?;
        }
        Ok(())
    }

    /// A consent step with the version that its app has now; absent where it is not known.
    pub fn with_version(&self, mut told: Observation) -> Observation {
        if told.topic == CONSENT
            && let Some(package) = told.facts.get(PACKAGE)
            && let Some(app) = self.inventory.app(package)
            && let Some(code) = app.version_code
        {
            told.facts.insert(VERSION_CODE.to_owned(), code.to_string());
        }
        told
    }

    fn take(
        &mut self,
        news: News,
        engine: &mut Engine,
        store: &StoreSender,
    ) -> Result<Vec<Event>, SessionError> {
        let News { at, since, what } = news;
        let gap = |detail: String, from, to| {
            Event::Gap(Gap {
                at,
                cause: GapCause::Degraded,
                from: Some(from),
                to,
                packets: None,
                place: "inventory".to_owned(),
                detail,
            })
        };
        let (inventory, problems) = match what {
            What::Unreadable(why) => {
                let detail =
                    format!("{why}; until it can be read again, the apps are those of before");
                return Ok(vec![gap(detail, since, None)]);
            }
            What::Readable => {
                let detail = "the inventory can be read again, and says what it said before";
                return Ok(vec![gap(detail.to_owned(), since, Some(at))]);
            }
            What::Newer {
                inventory,
                problems,
            } => (*inventory, problems),
        };
        let mut events: Vec<Event> = problems
            .iter()
            .map(|problem| Event::Gap(problem_gap(problem, at)))
            .collect();
        let (changed, removed) = self.inventory.diff(&inventory);
        if changed.is_empty() && removed.is_empty() {
            self.inventory = inventory;
            return Ok(events);
        }
        if self.versions < VERSIONS_MAX {
            self.versions += 1;
            // What was said before the change is recorded before its files.
            let (drafts, urgency) = engine.take()?;
            store.append(drafts, urgency)?;
            store.append_inventory(self.versions, inventory_files(&inventory)?)?;
        } else if self.versions == VERSIONS_MAX {
            self.versions += 1;
            events.push(too_many_versions(at));
        }
        if let Some(apks) = &self.apks {
            apks.add(apk_hashes::jobs(&changed));
        }
        self.inventory = inventory;
        events.push(Event::InventoryChange(InventoryChange {
            at,
            since: Some(since),
            changed,
            removed,
        }));
        Ok(events)
    }
}

fn unhashed(at: Timestamp) -> Gap {
    Gap {
        at,
        cause: GapCause::Degraded,
        from: Some(at),
        to: None,
        packets: None,
        place: "apk".to_owned(),
        detail: "no preloaded app's code is on this machine (the inventory is a copy), so their \
                 APK files are not hashed"
            .to_owned(),
    }
}

fn too_many_versions(at: Timestamp) -> Event {
    Event::Gap(Gap {
        at,
        cause: GapCause::TableFull,
        from: Some(at),
        to: None,
        packets: None,
        place: "inventory".to_owned(),
        detail: format!(
            "the inventory changed more than {VERSIONS_MAX} times in this session: further \
             versions of its files are not kept, the changes go on to be recorded"
        ),
    })
}
