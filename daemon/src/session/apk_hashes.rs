//! The thread `apk`: SHA-256 of the APK files of preloaded apps, in the background.
//!
//! In: apps of the inventory, and what earlier sessions of the case have hashed. Out: an [`Apk`]
//! for each file, also for one that cannot be read. It runs at the lowest priority (nice 19, which
//! the kernel's I/O schedulers follow), rests as long as it works, reads in pieces of
//! [`CHUNK_BYTES`] and leaves nothing of what it read in the page cache. A file that was hashed in
//! an earlier session is not read again while package, version, path, length and time of change are
//! the same; one that was begun is begun anew.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::fs::Advice;
use sha2::{Digest, Sha256};

use super::SessionError;
use crate::{
    attribute::inventory::{App, AppClass},
    evidence::Hash,
    input::Apk,
    platform::clock::Clock,
    time::Timestamp,
};

/// Bytes read between two rests.
const CHUNK_BYTES: usize = 256 * 1024;
/// A larger file is not read, and that is recorded; Android refuses APKs of 4 GiB and more.
const APK_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// APK files of one folder: the base and its splits. Further ones are counted in a record.
const FILES_PER_FOLDER_MAX: usize = 128;
/// Hashes that wait for the pipeline; the thread waits while there are more.
const WAITING_MAX: usize = 16;
/// The lowest priority.
const NICE: i32 = 19;

/// A file that was hashed, as far as it can be told without reading it.
type Known = (String, Option<u64>, String, u64, Option<Timestamp>);

/// Where the code of an app lies, or of the version that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    package: String,
    version_code: Option<u64>,
    path: PathBuf,
}

/// The places that are to be hashed: those of apps that came with the handset.
pub fn jobs<'a>(apps: impl IntoIterator<Item = &'a App>) -> Vec<Job> {
    let shipped = |app: &&App| {
        matches!(
            app.class,
            AppClass::Preloaded | AppClass::UpdatedPreload | AppClass::DeletablePreload
        )
    };
    let places = |app: &'a App| {
        let paths: BTreeSet<&String> = app.code_path.iter().chain(&app.preload_path).collect();
        paths.into_iter().map(|path| Job {
            package: app.package.clone(),
            // The version that is installed; what an update replaced has another, which is not known.
            version_code: app
                .version_code
                .filter(|_| app.code_path.as_ref() == Some(path)),
            path: PathBuf::from(path),
        })
    };
    apps.into_iter().filter(shipped).flat_map(places).collect()
}

/// Whether any of the places is on this machine: a folder of copies was made elsewhere.
pub fn any_is_here(jobs: &[Job]) -> bool {
    jobs.iter().any(|job| job.path.exists())
}

/// Hashes files, and knows which it has hashed.
#[derive(Debug, Default)]
pub struct Hasher {
    known: BTreeSet<Known>,
}

impl Hasher {
    /// One that knows what earlier sessions of the case have hashed.
    pub fn new(earlier: impl IntoIterator<Item = Apk>) -> Self {
        let known = earlier.into_iter().filter_map(|apk| {
            apk.sha256.is_some().then_some((
                apk.package,
                apk.version_code,
                apk.path,
                apk.bytes?,
                apk.modified,
            ))
        });
        Self {
            known: known.collect(),
        }
    }

    /// Hashes the files of a place that are new, and gives each to `tell`; false when `rest`, which
    /// is asked after each piece, or `tell` wanted no more.
    pub fn hash(
        &mut self,
        job: &Job,
        now: &dyn Fn() -> Timestamp,
        rest: &mut dyn FnMut() -> bool,
        tell: &mut dyn FnMut(Apk) -> bool,
    ) -> bool {
        let (files, problem) = match apk_files(&job.path) {
            Ok((files, 0)) => (files, None),
            Ok((files, more)) => (files, Some(format!("{more} more APK files are not hashed"))),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        for path in files {
            match self.hash_file(job, &path, rest) {
                Ok(Some(apk)) => {
                    if !tell(Apk { at: now(), ..apk }) {
                        return false;
                    }
                }
                Ok(None) => {}
                Err(Stopped) => return false,
            }
        }
        problem.is_none_or(|problem| {
            tell(Apk {
                at: now(),
                problem: Some(problem),
                ..of(job, &job.path)
            })
        })
    }

    /// None for a file that is known.
    fn hash_file(
        &mut self,
        job: &Job,
        path: &Path,
        rest: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Apk>, Stopped> {
        let mut apk = of(job, path);
        let found = match open(path) {
            Ok(found) => found,
            Err(error) => {
                apk.problem = Some(error.to_string());
                return Ok(Some(apk));
            }
        };
        let (file, bytes, modified) = found;
        (apk.bytes, apk.modified) = (Some(bytes), modified);
        let key = (
            apk.package.clone(),
            apk.version_code,
            apk.path.clone(),
            bytes,
            modified,
        );
        if self.known.contains(&key) {
            return Ok(None);
        }
        match digest(&file, bytes, rest)? {
            Ok(hash) => {
                apk.sha256 = Some(hash.to_string());
                self.known.insert(key);
            }
            Err(problem) => apk.problem = Some(problem),
        }
        Ok(Some(apk))
    }
}

/// There was no time to read to the end.
struct Stopped;

fn of(job: &Job, path: &Path) -> Apk {
    Apk {
        at: Timestamp::default(),
        package: job.package.clone(),
        version_code: job.version_code,
        path: path.display().to_string(),
        bytes: None,
        modified: None,
        sha256: None,
        problem: None,
    }
}

/// The APK files of a place, sorted: itself, or those in it (`base.apk` and its splits); and how
/// many more there are.
fn apk_files(path: &Path) -> io::Result<(Vec<PathBuf>, usize)> {
    if !fs::metadata(path)?.is_dir() {
        return Ok((vec![path.to_owned()], 0));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "apk"));
    if files.is_empty() {
        return Err(io::Error::other("the folder holds no APK file"));
    }
    files.sort();
    let more = files.len().saturating_sub(FILES_PER_FOLDER_MAX);
    files.truncate(FILES_PER_FOLDER_MAX);
    Ok((files, more))
}

/// A regular file with its length and when it was changed.
fn open(path: &Path) -> io::Result<(File, u64, Option<Timestamp>)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let found = file.metadata()?;
    if found.len() > APK_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {APK_BYTES_MAX} bytes and was not read"
        )));
    }
    let modified = found
        .mtime()
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(found.mtime_nsec() / 1000));
    Ok((file, found.len(), modified.map(Timestamp::from_micros)))
}

/// SHA-256 of a file that has `expected` bytes, or what is wrong with it.
fn digest(
    mut file: &File,
    expected: u64,
    rest: &mut dyn FnMut() -> bool,
) -> Result<Result<Hash, String>, Stopped> {
    let mut sha = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut done = 0_u64;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error.to_string())),
        };
        sha.update(buffer.get(..read).unwrap_or_default());
        done += read as u64;
        // Only a hint: without it the cache holds what nobody reads again.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
        if done > expected {
            break;
        }
        if !rest() {
            return Err(Stopped);
        }
    }
    if done != expected {
        return Ok(Err("its length changed while it was read".to_owned()));
    }
    Ok(Ok(Hash::from_sha256(sha)))
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct ApkHashes {
    jobs: Option<Sender<Vec<Job>>>,
    hashed: Receiver<Apk>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ApkHashes {
    /// Starts the thread; `first` is what it begins with.
    pub fn start(
        mut hasher: Hasher,
        first: Vec<Job>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SessionError> {
        let (jobs, more) = mpsc::channel();
        let (done, results) = mpsc::sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, clock) = (Arc::clone(&stop), Arc::clone(clock));
        let work = move || {
            // Without it the thread still rests as long as it works.
            let _ = rustix::process::nice(NICE);
            let mut pause = Pause::new(&*clock, &stopped);
            let mut tell = |apk| done.send(apk).is_ok();
            let mut todo = first;
            loop {
                for job in &todo {
                    let now = || clock.now();
                    if !hasher.hash(job, &now, &mut || pause.rest(), &mut tell) {
                        return;
                    }
                }
                match more.recv() {
                    Ok(next) => todo = next,
                    Err(_) => return,
                }
            }
        };
        let thread = thread::Builder::new()
            .name("apk".to_owned())
            .spawn(work)
            .map_err(|source| SessionError::Machine {
                what: "the APK thread could not be started",
                source,
            })?;
        Ok(Self {
            jobs: Some(jobs),
            hashed: results,
            stop,
            thread: Some(thread),
        })
    }

    /// Adds what changed.
    pub fn add(&self, jobs: Vec<Job>) {
        if let Some(sender) = &self.jobs {
            // A thread that has ended was told to.
            let _ = sender.send(jobs);
        }
    }

    /// A file that was hashed and not yet taken.
    pub fn next(&self) -> Option<Apk> {
        self.hashed.try_recv().ok()
    }
}

impl Drop for ApkHashes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        // A thread that waits for room ends when nobody takes its hashes any more.
        let (_, closed) = mpsc::sync_channel(0);
        self.hashed = closed;
        if let Some(thread) = self.thread.take() {
            // It ends after the piece it reads; a panic of it ended the process already.
            let _ = thread.join();
        }
    }
}

/// Rests as long as the work before took.
struct Pause<'a> {
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    since: i64,
}

impl<'a> Pause<'a> {
    /// Longest rest, so that a stop is not kept waiting.
    const NANOS_MAX: i64 = 100_000_000;

    fn new(clock: &'a dyn Clock, stop: &'a AtomicBool) -> Self {
        let since = clock.monotonic_nanos();
        Self { clock, stop, since }
    }

    /// False: end.
    fn rest(&mut self) -> bool {
        let worked = self.clock.monotonic_nanos().saturating_sub(self.since);
        let nanos = u64::try_from(worked.clamp(0, Self::NANOS_MAX)).unwrap_or(0);
        thread::sleep(Duration::from_nanos(nanos));
        self.since = self.clock.monotonic_nanos();
        !self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(class: AppClass, code_path: &Path) -> App {
        App {
            package: "com.a".to_owned(),
            appid: 10_001,
            version_code: Some(3),
            installer: None,
            signers: Vec::new(),
            code_path: Some(code_path.display().to_string()),
            preload_path: None,
            shared_user: None,
            class,
            class_reason: String::new(),
        }
    }

    /// Runs to the end, or until so many pieces were read.
    fn run(hasher: &mut Hasher, jobs: &[Job], mut pieces: usize) -> Vec<Apk> {
        let mut told = Vec::new();
        for job in jobs {
            let mut rest = || {
                pieces = pieces.saturating_sub(1);
                pieces > 0
            };
            let go_on = hasher.hash(job, &Timestamp::default, &mut rest, &mut |apk| {
                told.push(apk);
                true
            });
            if !go_on {
                break;
            }
        }
        told
    }

    #[test]
    fn base_and_splits_are_hashed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("base.apk", "b"), ("split_x.apk", "s"), ("base.odex", "o")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let jobs = jobs(&[
            app(AppClass::Preloaded, dir.path()),
            app(AppClass::User, dir.path()),
        ]);
        let told = run(&mut Hasher::default(), &jobs, usize::MAX);
        let hashes: Vec<_> = told.iter().map(|apk| apk.sha256.clone().unwrap()).collect();
        assert_eq!(
            hashes,
            [b"b", b"s"].map(|content| Hash::of(content).to_string())
        );
        assert!(told[0].path.ends_with("/base.apk"));
        assert_eq!((told[0].bytes, told[0].version_code), (Some(1), Some(3)));
    }

    #[test]
    fn a_later_session_goes_on_where_the_one_before_was_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let large = vec![7; 3 * CHUNK_BYTES];
        fs::write(dir.path().join("a.apk"), b"a").unwrap();
        fs::write(dir.path().join("b.apk"), &large).unwrap();
        let jobs = jobs(&[app(AppClass::UpdatedPreload, dir.path())]);
        let first = run(&mut Hasher::default(), &jobs, 3);
        assert_eq!(first.len(), 1, "stopped within the second file");
        let mut hasher = Hasher::new(first);
        let second = run(&mut hasher, &jobs, usize::MAX);
        let [only] = second.as_slice() else {
            panic!("{second:?}");
        };
        assert_eq!(only.sha256, Some(Hash::of(&large).to_string()));
        assert_eq!(run(&mut hasher, &jobs, usize::MAX), []);
        fs::write(dir.path().join("a.apk"), b"other").unwrap();
        let third = run(&mut hasher, &jobs, usize::MAX);
        assert_eq!(third[0].sha256, Some(Hash::of(b"other").to_string()));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let gone = jobs(&[app(AppClass::Preloaded, &dir.path().join("gone"))]);
        assert!(!any_is_here(&gone));
        let told = run(&mut Hasher::default(), &gone, usize::MAX);
        assert!(told[0].problem.as_ref().unwrap().contains("No such file"));
        assert_eq!((told[0].sha256.clone(), told[0].bytes), (None, None));
        let empty = jobs(&[app(AppClass::Preloaded, dir.path())]);
        assert!(any_is_here(&empty));
        let told = run(&mut Hasher::new(told), &empty, usize::MAX);
        let problem = told[0].problem.as_deref();
        assert_eq!(problem, Some("the folder holds no APK file"));
    }
}
