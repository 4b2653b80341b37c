//! A stand-in for adb's server and a handset behind it, for Debian's real `adb` client.
//!
//! In: a way to start a shell's line on the handset. Out: a server on a port of this machine that
//! speaks what `OVERVIEW.TXT`, `SERVICES.TXT` and `SYNC.TXT` of AOSP's `packages/modules/adb`
//! describe: `host:` requests, `exec:`, and `sync:` with STAT, SEND and QUIT. The cable can be
//! broken within an answer.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::handset::{Error, Handset, Result};

/// Version of adb's server that Debian's client (1.0.41) wants.
const VERSION: u32 = 41;
/// Most bytes of a request's text.
const REQUEST_MAX: usize = 64 * 1024;
/// Questions for devices during which one is away after its cable broke.
const AWAY: u32 = 2;
/// Serial of the handset.
pub const SERIAL: &str = "R5VIRTUAL01";

/// Where the cable breaks.
#[derive(Debug, Clone)]
pub struct Cut {
    /// In the answer to the first line that has this in it.
    pub line: String,
    /// After this many bytes of the answer.
    pub after: usize,
}

/// Starts a line of the handset's shell.
type Start = Box<dyn Fn(&str) -> Result<Child> + Send + Sync>;

/// What the server knows.
struct Shared {
    devices: Mutex<Vec<(String, String)>>,
    cuts: Mutex<VecDeque<Cut>>,
    broken: Mutex<u32>,
    away: Mutex<u32>,
    lines: Mutex<Vec<String>>,
    start: Mutex<Option<Start>>,
}

/// The server; its thread ends with the process.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves one handset, on which `start` starts a line of its shell.
    pub fn start(start: impl Fn(&str) -> Result<Child> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("an adb server"))?;
        let port = listener.local_addr().map_err(Error::io("its port"))?.port();
        let shared = Arc::new(Shared {
            devices: Mutex::new(vec![(SERIAL.to_owned(), "device".to_owned())]),
            cuts: Mutex::default(),
            broken: Mutex::default(),
            away: Mutex::default(),
            lines: Mutex::default(),
            start: Mutex::new(Some(Box::new(start))),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A client that goes away concerns only itself.
                thread::spawn(move || drop(serve(client, &shared)));
            }
        });
        Ok(Self { port, shared })
    }

    /// Where `ADB_SERVER_SOCKET` must point.
    pub fn socket(&self) -> String {
        format!("tcp:127.0.0.1:{}", self.port)
    }

    /// Which devices are connected, and how.
    pub fn devices(&self, devices: &[(&str, &str)]) {
        *lock(&self.shared.devices) = devices
            .iter()
            .map(|(serial, state)| ((*serial).to_owned(), (*state).to_owned()))
            .collect();
    }

    /// Breaks the cable once more.
    pub fn cut(&self, line: &str, after: usize) {
        lock(&self.shared.cuts).push_back(Cut {
            line: line.to_owned(),
            after,
        });
    }

    /// How often it broke.
    pub fn broken(&self) -> u32 {
        *lock(&self.shared.broken)
    }

    /// The lines that were run on the handset.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.lines).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its thread stays; the handset must not, or the next test finds its network half removed.
        *lock(&self.shared.start) = None;
    }
}

/// The devices that are seen now.
fn seen(shared: &Shared) -> Vec<(String, String)> {
    let mut away = lock(&shared.away);
    if *away > 0 {
        *away -= 1;
        return Vec::new();
    }
    lock(&shared.devices).clone()
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let request = request(&mut client)?;
        if let Some(line) = request.strip_prefix("exec:") {
            return exec(client, line, shared);
        }
        if request == "sync:" {
            client.write_all(b"OKAY")?;
            return sync(&mut client);
        }
        if request == "host:version" {
            return okay(&mut client, &format!("{VERSION:04x}"));
        } else if request == "host:devices" {
            let mut list = String::new();
            for (serial, state) in seen(shared) {
                list.extend([&serial, "\t", &state, "\n"]);
            }
            return okay(&mut client, &list);
        } else if request.ends_with(":features") || request == "host:features" {
            return okay(&mut client, "");
        } else if request.starts_with("host:transport") || request.starts_with("host:tport") {
            let there = seen(shared)
                .iter()
                .any(|(serial, state)| request.ends_with(serial.as_str()) && state == "device");
            if !there {
                return fail(&mut client, "device not found");
            }
            client.write_all(b"OKAY")?;
            if request.starts_with("host:tport") {
                client.write_all(&1_u64.to_le_bytes())?;
            }
        } else {
            return fail(&mut client, "unknown host service");
        }
    }
}

/// A request: four hex digits, and as many bytes.
fn request(client: &mut TcpStream) -> io::Result<String> {
    let mut digits = [0; 4];
    client.read_exact(&mut digits)?;
    let text = std::str::from_utf8(&digits).map_err(io::Error::other)?;
    let length = usize::from_str_radix(text, 16).map_err(io::Error::other)?;
    let mut bytes = vec![0; length.min(REQUEST_MAX)];
    client.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn okay(client: &mut TcpStream, text: &str) -> io::Result<()> {
    client.write_all(format!("OKAY{:04x}{text}", text.len()).as_bytes())
}

fn fail(client: &mut TcpStream, why: &str) -> io::Result<()> {
    client.write_all(format!("FAIL{:04x}{why}", why.len()).as_bytes())
}

/// Runs a line; its two outputs come as one, and no exit code, as from Android's adbd.
fn exec(mut client: TcpStream, line: &str, shared: &Shared) -> io::Result<()> {
    client.write_all(b"OKAY")?;
    lock(&shared.lines).push(line.to_owned());
    let cut = {
        let mut cuts = lock(&shared.cuts);
        let is_next = cuts.front().is_some_and(|cut| line.contains(&cut.line));
        is_next.then(|| cuts.pop_front()).flatten()
    };
    let started = lock(&shared.start).as_ref().map(|start| start(line));
    let mut child = started
        .ok_or(io::ErrorKind::NotConnected)?
        .map_err(io::Error::other)?;
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (mut sent, mut buffer) = (0, [0; 16 * 1024]);
    loop {
        let read = pipe.read(&mut buffer)?;
        let mut piece = buffer.get(..read).unwrap_or_default();
        let room = cut.as_ref().map(|cut| cut.after.saturating_sub(sent));
        if let Some(room) = room.filter(|room| *room < piece.len()) {
            piece = &piece[..room];
            client.write_all(piece)?;
            *lock(&shared.away) = AWAY;
            *lock(&shared.broken) += 1;
            client.shutdown(Shutdown::Both)?;
            break;
        }
        if piece.is_empty() {
            client.shutdown(Shutdown::Both)?;
            break;
        }
        client.write_all(piece)?;
        sent += read;
    }
    drop(pipe);
    child.wait().map(drop)
}

fn sync(client: &mut TcpStream) -> io::Result<()> {
    loop {
        let (id, length) = head(client)?;
        match &id {
            b"STAT" => {
                let path = text(client, length)?;
                let meta = fs::metadata(path);
                let [mode, size] = meta.map_or([0, 0], |meta| {
                    let size = u32::try_from(meta.len()).unwrap_or(u32::MAX);
                    [meta.permissions().mode(), size]
                });
                client.write_all(b"STAT")?;
                for number in [mode, size, 0] {
                    client.write_all(&number.to_le_bytes())?;
                }
            }
            b"SEND" => {
                let path = text(client, length)?;
                let path = path.rsplit_once(',').map_or(&*path, |(path, _)| path);
                receive(client, Path::new(path))?;
            }
            _ => return Ok(()),
        }
    }
}

fn receive(client: &mut TcpStream, path: &Path) -> io::Result<()> {
    // A program that runs cannot be written over; adbd removes it first as well.
    let _ = fs::remove_file(path);
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    loop {
        let (id, length) = head(client)?;
        if &id == b"DONE" {
            client.write_all(b"OKAY\0\0\0\0")?;
            return Ok(());
        }
        io::copy(&mut client.take(u64::from(length)), &mut file)?;
    }
}

fn head(client: &mut TcpStream) -> io::Result<([u8; 4], u32)> {
    let (mut id, mut length) = ([0; 4], [0; 4]);
    client.read_exact(&mut id)?;
    client.read_exact(&mut length)?;
    Ok((id, u32::from_le_bytes(length)))
}

fn text(client: &mut TcpStream, length: u32) -> io::Result<String> {
    let mut bytes = Vec::new();
    client.take(u64::from(length)).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Android's programs as far as the way over adb needs them, as scripts.
const PROGRAMS: [(&str, &str); 6] = [
    (
        "su",
        "[ -e \"$(dirname \"$0\")/no-root\" ] && { echo 'Permission denied'; exit 1; }\nexec sh -c \"$2\"",
    ),
    (
        "getprop",
        "if [ -z \"$1\" ]; then cat \"$(dirname \"$0\")/properties\"; else\nsed -n \"s/^\\[$1\\]: \\[\\(.*\\)\\]$/\\1/p\" \"$(dirname \"$0\")/properties\"; fi",
    ),
    ("pm", "cat \"$(dirname \"$0\")/packages\""),
    // Where the shim would run; it hears nothing and tells nothing.
    ("app_process", "while :; do sleep 0.2; done"),
    ("screencap", "printf '\\211PNG a screen' >\"$2\""),
    ("settings", "echo \"$2_test=1\""),
];

/// A virtual handset that adb reaches.
pub struct Tethered {
    /// The handset.
    pub handset: Arc<Handset>,
    /// adb's server for it.
    pub server: Server,
    bin: PathBuf,
}

impl Tethered {
    /// Sets it up. Its shell's programs are scripts; its processes are real, in its namespace.
    pub fn start() -> Result<Self> {
        let handset = Arc::new(Handset::start()?);
        let bin = handset.dir().join("bin");
        fs::create_dir(&bin).map_err(Error::io("a folder for programs"))?;
        let tethered = Self {
            server: Server::start(starter(Arc::clone(&handset), &bin))?,
            handset,
            bin,
        };
        for (name, script) in PROGRAMS {
            tethered.write(name, &format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(tethered.bin.join(name), fs::Permissions::from_mode(0o755))
                .map_err(Error::io(name))?;
        }
        tethered.write("properties", &properties("green"))?;
        tethered.write("packages", PACKAGES)?;
        Ok(tethered)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.bin.join(name), text).map_err(Error::io(name))
    }

    /// Roots it: its bootloader is unlocked from now on, and there is a root manager.
    pub fn root(&self) -> Result<()> {
        self.write("properties", &properties("orange"))?;
        let manager = "package:/data/app/~~r==/com.root.manager-1/base.apk=com.root.manager \
                       versionCode:27 uid:10300\n";
        self.write("packages", &format!("{PACKAGES}{manager}"))
    }

    /// Whether its root manager says no.
    pub fn refuse_root(&self, refuse: bool) -> Result<()> {
        if refuse {
            return self.write("no-root", "");
        }
        fs::remove_file(self.bin.join("no-root")).map_err(Error::io("no-root"))
    }

    /// `sakshi handset` on the lab's PC, with the real `adb`.
    pub fn sakshi(&self, words: &[&str]) -> Command {
        let mut command = crate::daemon::sakshi(["handset"]);
        command.args([
            "--dir",
            &self.path("sakshi"),
            "--cases",
            &self.path("cases"),
        ]);
        command.args(words);
        command.env("ADB_SERVER_SOCKET", self.server.socket());
        command
    }

    /// A path on the handset.
    pub fn path(&self, name: &str) -> String {
        let path = self.handset.dir().join("phone").join(name);
        path.to_string_lossy().into_owned()
    }
}

const PACKAGES: &str =
    "package:/system/app/Store/Store.apk=com.example.store versionCode:7 uid:10050\n";

fn properties(boot: &str) -> String {
    format!(
        "[ro.boot.verifiedbootstate]: [{boot}]\n[ro.build.version.security_patch]: [2026-10-05]\n\
         [ro.crypto.state]: [encrypted]\n[ro.product.cpu.abi]: [x86_64]\n[sys.uptime]: [{boot}]\n"
    )
}

/// What starts a line of the handset's shell, in its namespace.
fn starter(
    handset: Arc<Handset>,
    bin: &Path,
) -> impl Fn(&str) -> Result<Child> + Send + Sync + use<> {
    let phone = handset.dir().join("phone");
    drop(fs::create_dir(&phone));
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    move |line| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .env("PATH", &path)
            .env("SAKSHI_RUNTIME_DIR", phone.join("runtime"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        handset.spawn(&mut command)
    }
}

/// Whether Debian's `adb` is here; says in one line that it is not, and fails in CI.
///
/// # Panics
/// In CI, when it is not.
pub fn adb_possible(test: &str) -> bool {
    let there = Command::new("adb")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if there {
        return crate::live_possible(test);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} must run in CI, but adb was not found"
    );
    println!("{test} did not run: adb was not found (apt-get install adb)");
    false
}
