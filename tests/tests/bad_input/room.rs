//! A room of its own for a test as root: network and mount namespaces that nobody else sees, with a
//! small file system, and a daemon in it.
//!
//! In: mount options. Out: commands that run in the room, and the room's files. A process holds the
//! namespaces open until its standard input closes, so that nothing is left when a test is killed.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sakshi_tests::{daemon::text, wait};

use super::{Place, Said, check, judge};

/// Upper bound for the daemon to say that it watches, and to end.
const DAEMON_MAX: Duration = Duration::from_mins(1);

/// The namespaces.
pub struct Room {
    place: Place,
    holder: Child,
    stdin: Option<ChildStdin>,
}

impl Room {
    /// Opens a room with a tmpfs of these options mounted on its disk.
    pub fn open(options: &str) -> Self {
        const SCRIPT: &str =
            "ip link set lo up && mount -t tmpfs -o \"$1\" none \"$2\" && echo ready && exec cat";
        let place = Place::new();
        fs::create_dir(place.at("disk")).expect("a folder");
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--propagation",
                "private",
                "sh",
                "-c",
                SCRIPT,
                "sh",
            ])
            .args([options, text(&place.at("disk"))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a room");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the room could not be furnished");
        let stdin = holder.stdin.take();
        Self {
            place,
            holder,
            stdin,
        }
    }

    /// The room's test folder, which is everybody's.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A path on the room's disk, as the room sees it.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.place.at("disk").join(name)
    }

    /// The same, as everybody sees it while the room is open.
    pub fn seen(&self, name: &str) -> PathBuf {
        let path = self.disk(name);
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap_or(&path))
    }

    /// A command that runs in the room.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.holder.id().to_string(),
                "--mount",
                "--net",
                "--",
            ])
            .arg(program)
            .env("SAKSHI_RUNTIME_DIR", self.place.at("sockets"));
        command
    }

    /// `sakshi` in the room.
    pub fn sakshi<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(&sakshi_tests::program("sakshi"));
        command.args(arguments);
        command
    }

    /// Runs a system's command in the room.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(Path::new(program));
        check(command.args(arguments), 0, &[]).stdout
    }

    /// Runs `work` in a thread that lives in the room's network.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("the room");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("inside");
                work()
            });
            thread.join().expect("done")
        })
    }

    /// Starts `sakshi run` in the room and waits until it watches.
    pub fn watch<'a>(&self, case: &Path, more: impl IntoIterator<Item = &'a str>) -> Watch {
        let mut command = self.sakshi(["run", "--format", "json", "--case", text(case)]);
        command.args(more);
        self.watch_by(command)
    }

    /// The same with a command that was changed.
    pub fn watch_by(&self, mut command: Command) -> Watch {
        let errors = self.place.at("stderr");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a file"))
            .spawn()
            .expect("a daemon");
        let mut watch = Watch {
            child: Some(child),
            errors,
        };
        let watching = wait::until(DAEMON_MAX, || {
            if let Some(Ok(Some(_))) = watch.child.as_mut().map(Child::try_wait) {
                return Some(false);
            }
            let status = self.sakshi(["status", "--format", "json"]).output().ok()?;
            status.status.success().then_some(true)
        });
        let said = fs::read_to_string(&watch.errors).unwrap_or_default();
        assert_eq!(watching, Some(true), "the daemon does not watch: {said}");
        watch
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Its standard input closes, and with it ends what holds the namespaces.
        self.stdin = None;
        drop(self.holder.wait());
    }
}

/// A daemon that watches.
pub struct Watch {
    child: Option<Child>,
    errors: PathBuf,
}

impl Watch {
    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Waits for its end: with `code`, and each of `says`.
    pub fn ends(mut self, code: i32, says: &[&str]) -> Said {
        let mut child = self.child.take().expect("it ends once");
        let ended = wait::until(DAEMON_MAX, || child.try_wait().transpose());
        if ended.is_none() {
            drop(child.kill());
        }
        let output = child.wait_with_output().expect("its output");
        let output = Output {
            stderr: self.said().into_bytes(),
            ..output
        };
        judge("the daemon", &output, code, says)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Only when a test failed while it ran.
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
