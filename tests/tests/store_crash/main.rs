//! A store that is killed, loses its power, finds its disk full or broken, keeps what it
//! acknowledged, and the verifier tells how it ended.
//!
//! The store writes on a disk that forgets what was not synced (`disk`), which the real kernel has
//! mounted (`mount`). `SAKSHI_CRASHES` says how often it ends badly (1000 for the full run).

mod disk;
mod mount;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use sakshi_tests::{is_root, program, seed::Seed};

use self::{
    disk::{Disk, Fault, Loss},
    mount::Mount,
};

/// Bad ends of a normal run.
const CRASHES: u64 = 48;
/// Bad ends of one case, so that cases stay small.
const CRASHES_OF_A_CASE: u64 = 12;
/// Latest moment of an end after the first acknowledgement, in milliseconds.
const END_AFTER_MS_MAX: u64 = 120;
/// Bytes that a disk which fills up has left, at most.
const FREE_MAX: u64 = 600_000;
/// Writes and syncs that a disk which breaks does before, at most.
const OPERATIONS_MAX: u64 = 400;
/// How long a writer may take to begin or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a writer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order.
    Stop,
    /// By `kill -9`; the machine goes on.
    Kill,
    /// With the machine's power, and all that was not synced.
    Power,
    /// With the machine's power, and any part of what was not synced.
    PowerTorn,
    /// On a full disk.
    Full,
    /// On a disk that reports errors, and is taken out and read elsewhere.
    Broken,
}

const ENDS: [End; 6] = [
    End::Stop,
    End::Kill,
    End::Power,
    End::PowerTorn,
    End::Full,
    End::Broken,
];

/// Whether a disk can be mounted here; says in one line why not, and in CI that fails.
fn possible() -> bool {
    let reason = if !is_root() {
        "needs root to mount"
    } else if !Path::new("/dev/fuse").exists() {
        "needs /dev/fuse"
    } else {
        return true;
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "store_crash must run in CI, but it {reason}"
    );
    println!("store_crash did not run: it {reason}");
    false
}

fn crashes() -> u64 {
    let asked = std::env::var("SAKSHI_CRASHES").ok();
    asked.map_or(CRASHES, |text| {
        text.parse().expect("SAKSHI_CRASHES is a number")
    })
}

/// A running writer and what it said.
struct Writer {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Writer {
    fn start(case: &Path) -> Self {
        let mut child = Command::new(program("evidence-writer"))
            .arg(case)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("evidence-writer is built");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for the first acknowledgement; says why there is none.
    fn first(&self, acknowledged: &mut Vec<String>) -> Result<(), String> {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .map_err(|_| "it ended without a word".to_owned())?;
            if let Some(reason) = line.strip_prefix("gone: ") {
                return Err(reason.to_owned());
            }
            if line != "ready" {
                acknowledged.push(line);
                return Ok(());
            }
        }
    }

    /// Waits until it has ended, and takes in what else was acknowledged. Gives the reason, if the
    /// store gave up.
    fn finish(mut self, acknowledged: &mut Vec<String>) -> Option<String> {
        let mut reason = None;
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            match line.strip_prefix("gone: ") {
                Some(text) => reason = Some(text.to_owned()),
                None if line != "ready" => acknowledged.push(line),
                None => {}
            }
        }
        self.child.wait().expect("it has ended");
        reason
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
    }
}

/// What is known of a case by its databases alone.
struct Notes {
    /// The texts of all notes.
    texts: BTreeSet<String>,
    /// The kind of the last record.
    last: String,
    /// How many parts the database has.
    parts: usize,
}

/// Reads the parts in their order, and changes none.
fn notes(case: &Path) -> Notes {
    let mut notes = Notes {
        texts: BTreeSet::new(),
        last: String::new(),
        parts: 0,
    };
    loop {
        let name = match notes.parts {
            0 => "evidence.db".to_owned(),
            before => format!("evidence-{:06}.db", before + 1),
        };
        if !case.join(&name).exists() {
            assert!(notes.parts > 0, "no database");
            return notes;
        }
        notes.parts += 1;
        read_part(case, &name, &mut notes);
    }
}

fn read_part(case: &Path, name: &str, notes: &mut Notes) {
    let copy = tempfile::tempdir().expect("a folder");
    for name in [name, &format!("{name}-wal")] {
        if let Ok(bytes) = fs::read(case.join(name)) {
            fs::write(copy.path().join(name), bytes).expect("a copy");
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection =
        Connection::open_with_flags(copy.path().join(name), flags).expect("a database");
    let mut statement = connection
        .prepare("SELECT json_extract(body, '$.text') FROM record WHERE kind = 'note'")
        .expect("a table");
    let texts = statement.query_map([], |row| row.get(0)).expect("rows");
    for text in texts {
        notes.texts.insert(text.expect("a text"));
    }
    notes.last = connection
        .query_row(
            "SELECT kind FROM record ORDER BY seq DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .expect("a record");
}

/// What `sakshi verify` says: its exit code and its words.
fn verdict(case: &Path) -> (i32, String) {
    let output = Command::new(program("sakshi"))
        .arg("verify")
        .arg(case)
        .output()
        .expect("sakshi is built");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// A disk in its folder.
struct Place {
    disk: Arc<Mutex<Disk>>,
    folder: PathBuf,
    mount: Option<Mount>,
}

impl Place {
    fn new(folder: &Path) -> Self {
        let mut place = Self {
            disk: Arc::new(Mutex::new(Disk::new())),
            folder: folder.to_owned(),
            mount: None,
        };
        place.mount();
        place
    }

    fn mount(&mut self) {
        self.mount = None;
        self.mount = Some(Mount::new(&self.disk, &self.folder).expect("mounted"));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Disk) -> T) -> T {
        change(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn case(&self) -> PathBuf {
        self.folder.join("case")
    }
}

/// One session that ends as `end` says. Adds what was acknowledged.
fn session(place: &mut Place, end: End, seed: &mut Seed, acknowledged: &mut Vec<String>) {
    let mut writer = Writer::start(&place.case());
    if let Err(reason) = writer.first(acknowledged) {
        panic!("the writer did not begin: {reason}");
    }
    match end {
        End::Full => place.with(|disk| disk.set_fault(Fault::Full(seed.below(FREE_MAX)))),
        End::Broken => place.with(|disk| disk.set_fault(Fault::Broken(seed.below(OPERATIONS_MAX)))),
        End::Stop | End::Kill | End::Power | End::PowerTorn => {
            thread::sleep(Duration::from_millis(seed.below(END_AFTER_MS_MAX)));
        }
    }
    match end {
        End::Stop => writer.stop(),
        End::Kill | End::Power | End::PowerTorn => writer.kill(),
        End::Full | End::Broken => {}
    }
    let reason = writer.finish(acknowledged);
    match end {
        End::Full => {
            let reason = reason.expect("a full disk ends the writer");
            assert!(reason.contains("no space left"), "{reason}");
        }
        End::Broken => assert!(reason.is_some(), "a broken disk ends the writer"),
        End::Stop => assert_eq!(reason, None),
        End::Kill | End::Power | End::PowerTorn => {}
    }
    // What the kernel still holds of the files goes with the mount, as with the power.
    place.mount = None;
    match end {
        End::Power | End::Broken => place.with(|disk| disk.lose_power(Loss::All, seed)),
        End::PowerTorn => place.with(|disk| disk.lose_power(Loss::Some, seed)),
        End::Full => place.with(|disk| disk.set_fault(Fault::None)),
        End::Stop | End::Kill => {}
    }
    place.mount();
}

/// Holds the case against what is known of it.
fn check(place: &Place, end: End, acknowledged: &[String]) -> usize {
    let Notes { texts, last, parts } = notes(&place.case());
    let gone: Vec<_> = acknowledged
        .iter()
        .filter(|text| !texts.contains(*text))
        .collect();
    assert!(gone.is_empty(), "acknowledged, but gone: {gone:?}");
    // A session that did not end is incomplete, whatever its last record is.
    let expected = if end == End::Stop { 0 } else { 4 };
    let (code, said) = verdict(&place.case());
    assert_eq!(code, expected, "last record {last}: {said}");
    parts
}

#[test]
fn what_was_acknowledged_survives_every_end() {
    if !possible() {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0007);
    let folder = tempfile::tempdir().expect("a folder");
    let (mut done, total) = (0, crashes());
    let mut counted = [0_u64; ENDS.len()];
    let mut most_parts = 0;
    while done < total {
        let mut place = Place::new(folder.path());
        let mut acknowledged = Vec::new();
        let mut parts = 0;
        for _ in 0..CRASHES_OF_A_CASE.min(total - done) {
            let index = usize::try_from(seed.below(ENDS.len() as u64)).unwrap_or(0);
            let end = ENDS[index];
            counted[index] += 1;
            done += 1;
            println!("{done}: {end:?}");
            session(&mut place, end, &mut seed, &mut acknowledged);
            parts = check(&place, end, &acknowledged);
        }
        let count = acknowledged.len();
        println!("{count} acknowledged in this case, in {parts} parts");
        most_parts = most_parts.max(parts);
    }
    for (end, count) in ENDS.iter().zip(counted) {
        println!("{end:?}: {count}");
    }
    assert!(most_parts > 1, "no database was rolled");
}
