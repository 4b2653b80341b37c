//! The thread `inventory`: notices that the package manager's files changed.
//!
//! In: where the inventory comes from, and what it was at the start. Out: [`News`]: a newer
//! inventory, or that the files cannot be read any more. A look costs a few `stat(2)`; files are
//! read and parsed only when they may have changed. A file that is read while it is being replaced
//! is looked at again; what stays unreadable for [`TORN_LOOKS_MAX`] looks is said.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    SessionError,
    setup::{InventoryFrom, read_inventory},
};
use crate::{
    attribute::inventory::{Inventory, InventoryProblem, Stamps},
    platform::clock::Clock,
    time::Timestamp,
};

/// How often the files are looked at: an app that takes over a UID is known this soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks that a torn file is given to become whole.
pub const TORN_LOOKS_MAX: u32 = 5;
/// News that wait for the pipeline; the thread looks no further while there are more.
const NEWS_MAX: usize = 4;

/// What a look found.
#[derive(Debug)]
pub struct News {
    /// When it was noticed.
    pub at: Timestamp,
    /// The last look at which everything was as known.
    pub since: Timestamp,
    /// What it is.
    pub what: What,
}

/// What is new.
#[derive(Debug)]
pub enum What {
    /// The files say something else.
    Newer {
        /// What they say now.
        inventory: Box<Inventory>,
        /// What is wrong with them and was not before.
        problems: Vec<InventoryProblem>,
    },
    /// The files cannot be read as they could before; why.
    Unreadable(String),
    /// They can be read again and say the same as before.
    Readable,
}

/// Compares the files with what is known of them.
#[derive(Debug)]
pub struct Watcher {
    from: InventoryFrom,
    dir: PathBuf,
    stamps: Option<Stamps>,
    known: Inventory,
    problems: Vec<InventoryProblem>,
    as_known: Timestamp,
    torn_looks: u32,
    said: bool,
}

impl Watcher {
    /// A watcher of what was read at the start; none where there is nothing to watch. `stamps` are
    /// of before that reading, so that a change during it is not missed.
    pub fn new(
        from: &InventoryFrom,
        stamps: Option<Stamps>,
        known: Inventory,
        problems: Vec<InventoryProblem>,
        now: Timestamp,
    ) -> Option<Self> {
        Some(Self {
            from: from.clone(),
            dir: from.dir()?,
            stamps,
            known,
            problems,
            as_known: now,
            torn_looks: 0,
            said: false,
        })
    }

    /// Looks once.
    pub fn look(&mut self, now: Timestamp) -> Option<News> {
        let stamps = Stamps::of(&self.dir);
        if self.stamps.as_ref() == Some(&stamps) {
            if !self.said {
                self.as_known = now;
            }
            return None;
        }
        let read = read_inventory(&self.from);
        let replaced = Stamps::of(&self.dir) != stamps;
        let torn = match &read {
            Err(error) => Some(error.to_string()),
            Ok((_, problems)) => self.worse(problems),
        };
        match (torn, read) {
            (Some(why), _) => self.torn(why, stamps, now),
            // What was read may be of two moments: the next look reads again.
            (None, Ok(_)) if replaced => None,
            (None, Ok((newer, problems))) => self.whole(newer, problems, stamps, now),
            (None, Err(_)) => None,
        }
    }

    /// What makes the files poorer than they were.
    fn worse(&self, problems: &[InventoryProblem]) -> Option<String> {
        let new = problems.iter().find(|problem| {
            let loses = matches!(
                problem,
                InventoryProblem::Missing { .. }
                    | InventoryProblem::Unreadable { .. }
                    | InventoryProblem::TooLarge { .. }
                    | InventoryProblem::Damaged { .. }
            );
            loses && self.is_new(problem)
        });
        new.map(ToString::to_string)
    }

    fn is_new(&self, problem: &InventoryProblem) -> bool {
        !self.problems.iter().any(|known| known.is_like(problem))
    }

    fn torn(&mut self, why: String, stamps: Stamps, now: Timestamp) -> Option<News> {
        self.torn_looks = self.torn_looks.saturating_add(1);
        if self.torn_looks < TORN_LOOKS_MAX {
            return None;
        }
        // From here on only another change is worth a look.
        self.stamps = Some(stamps);
        if std::mem::replace(&mut self.said, true) {
            return None;
        }
        Some(self.news(now, What::Unreadable(why)))
    }

    fn whole(
        &mut self,
        newer: Inventory,
        problems: Vec<InventoryProblem>,
        stamps: Stamps,
        now: Timestamp,
    ) -> Option<News> {
        let was_said = std::mem::take(&mut self.said);
        self.torn_looks = 0;
        self.stamps = Some(stamps);
        let what = if newer.sources() == self.known.sources() {
            was_said.then_some(What::Readable)
        } else {
            let fresh = problems.iter().filter(|problem| self.is_new(problem));
            let fresh = fresh.cloned().collect();
            self.known = newer.clone();
            Some(What::Newer {
                inventory: Box::new(newer),
                problems: fresh,
            })
        };
        self.problems = problems;
        let news = what.map(|what| self.news(now, what));
        self.as_known = now;
        news
    }

    fn news(&self, at: Timestamp, what: What) -> News {
        News {
            at,
            since: self.as_known,
            what,
        }
    }
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct InventoryWatch {
    news: Receiver<News>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl InventoryWatch {
    /// Starts the thread.
    pub fn start(mut watcher: Watcher, clock: &Arc<dyn Clock>) -> Result<Self, SessionError> {
        let (sender, news) = mpsc::sync_channel(NEWS_MAX);
        let (stop, stopped) = mpsc::channel();
        let clock = Arc::clone(clock);
        let thread = thread::Builder::new()
            .name("inventory".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    if let Some(news) = watcher.look(clock.now())
                        && sender.send(news).is_err()
                    {
                        return;
                    }
                }
            })
            .map_err(|source| SessionError::Machine {
                what: "the inventory thread could not be started",
                source,
            })?;
        Ok(Self {
            news,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was noticed and not yet taken.
    pub fn next(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

impl Drop for InventoryWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that waits for room ends when nobody takes its news any more.
        let (_, closed) = mpsc::sync_channel(0);
        self.news = closed;
        if let Some(thread) = self.thread.take() {
            // It ends at the next look at the latest; a panic of it ended the process already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const ONE: &str = "com.a 10001 0 /data/user/0/com.a default 3003 0 1 1 @system\n";
    const TWO: &str = "com.b 10001 0 /data/user/0/com.b default 3003 0 1 1 @system\n";

    /// Replaces a file as the package manager does.
    fn replace(dir: &Path, name: &str, text: &str) {
        let next = dir.join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, dir.join(name)).unwrap();
    }

    fn watcher(dir: &Path) -> Watcher {
        let from = InventoryFrom::Folder(dir.to_owned());
        let stamps = Stamps::of(dir);
        let (known, problems) = read_inventory(&from).unwrap();
        Watcher::new(&from, Some(stamps), known, problems, at(0)).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_change_is_told_once_with_the_look_before_it() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), "packages.list", ONE);
        let mut watcher = watcher(dir.path());
        assert!(watcher.look(at(1)).is_none());
        replace(dir.path(), "packages.list", TWO);
        let news = watcher.look(at(2)).unwrap();
        assert_eq!((news.at, news.since), (at(2), at(1)));
        let What::Newer { inventory, .. } = news.what else {
            panic!("{:?}", news.what);
        };
        assert_eq!(inventory.apps()[0].package, "com.b");
        assert!(watcher.look(at(3)).is_none());
        replace(dir.path(), "packages.list", TWO);
        assert!(watcher.look(at(4)).is_none(), "the same content is no news");
    }

    #[test]
    fn a_file_that_is_gone_for_a_moment_is_no_news() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), "packages.list", ONE);
        let mut watcher = watcher(dir.path());
        fs::remove_file(dir.path().join("packages.list")).unwrap();
        for look in 1..i64::from(TORN_LOOKS_MAX) {
            assert!(watcher.look(at(look)).is_none());
        }
        replace(dir.path(), "packages.list", ONE);
        assert!(watcher.look(at(9)).is_none());
    }

    #[test]
    fn what_was_wrong_before_is_neither_news_nor_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        // The file lacks its end and an id, today and tomorrow.
        let broken = |names: &[&str]| {
            let apps = names
                .iter()
                .map(|name| format!("<package name='{name}' userId='10001'/>"));
            let apps: String = apps.collect();
            format!("<packages>{apps}<package name='x'/>")
        };
        replace(dir.path(), "packages.list", ONE);
        replace(dir.path(), "packages.xml", &broken(&["com.a"]));
        let mut watcher = watcher(dir.path());
        replace(dir.path(), "packages.xml", &broken(&["com.a", "com.c"]));
        let What::Newer {
            inventory,
            problems,
        } = watcher.look(at(1)).unwrap().what
        else {
            panic!("no newer inventory");
        };
        assert_eq!(problems, []);
        assert!(inventory.app("com.c").is_some());
    }

    #[test]
    fn what_stays_unreadable_is_said_once_and_so_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), "packages.list", ONE);
        let xml = "<packages><package name='com.a' codePath='/system/app/A' userId='10001'/>";
        replace(dir.path(), "packages.xml", &format!("{xml}</packages>"));
        let mut watcher = watcher(dir.path());
        replace(dir.path(), "packages.xml", xml);
        let news: Vec<News> = (1..20).filter_map(|look| watcher.look(at(look))).collect();
        let [news] = news.as_slice() else {
            panic!("{news:?}");
        };
        assert_eq!(news.since, at(0));
        let What::Unreadable(why) = &news.what else {
            panic!("{:?}", news.what);
        };
        assert!(why.starts_with("packages.xml, line 1"), "{why}");
        replace(dir.path(), "packages.xml", &format!("{xml}</packages>"));
        let news = watcher.look(at(20)).unwrap();
        assert!(matches!(news.what, What::Readable), "{:?}", news.what);
        assert_eq!(news.since, at(0), "since then nothing is known");
        assert!(watcher.look(at(21)).is_none());
    }
}
