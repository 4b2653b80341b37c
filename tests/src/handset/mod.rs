//! The virtual handset: two network namespaces without an uplink, one the handset, one an internet
//! with hosts at real-looking addresses, and apps that are real processes under Android's UIDs.
//!
//! In: the tables of [`places`] and [`cast`]. Out: a network on which the real daemon captures real
//! packets. Everything is removed on drop; a guardian process does it when we are killed, and the
//! next start removes what a dead process left.

pub mod apps;
pub mod bpffs;
pub mod cast;
pub mod counter;
pub mod dns;
pub mod hosts;
pub mod inventory;
pub mod network;
pub mod places;
pub mod script;
pub mod tls;

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
};

use tempfile::TempDir;

use network::Network;

/// Programs of the system without which there is no virtual handset.
pub const TOOLS: [&str; 3] = ["ip", "iptables", "ip6tables"];

/// What can go wrong in the test machinery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` ended with {status}: {stderr}")]
    Command {
        /// The command as typed.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// Something answered otherwise than was to be expected.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// Wraps an I/O error with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Result of the test machinery.
pub type Result<T> = std::result::Result<T, Error>;

/// Which of [`TOOLS`] are missing on this machine.
pub fn missing_tools() -> Vec<&'static str> {
    let search: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    TOOLS
        .into_iter()
        .filter(|tool| !search.iter().any(|dir| dir.join(tool).is_file()))
        .collect()
}

/// A running virtual handset.
#[derive(Debug)]
pub struct Handset {
    network: Network,
    /// Dropped after the network: apps may still read from it.
    temporary: Option<TempDir>,
    dir: PathBuf,
    tls: tls::Authority,
}

impl Handset {
    /// Takes this machine itself, an emulated one, for the handset: only the internet gets a
    /// namespace. In `dir` lies the program of the apps; the app inventory is the machine's own.
    pub fn on_this_machine(dir: &Path) -> Result<Self> {
        let network = Network::start_on_this_machine(places::HOSTS)?;
        Self::with(network, None, dir.to_owned())
    }

    fn with(network: Network, temporary: Option<TempDir>, dir: PathBuf) -> Result<Self> {
        let tls = tls::Authority::new(places::HOSTS)?;
        network.in_internet(|| hosts::start(places::HOSTS, &tls))??;
        Ok(Self {
            network,
            temporary,
            dir,
            tls,
        })
    }

    /// Sets up the network, starts the hosts, writes the app inventory.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("sakshi-handset-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        // Apps run under other UIDs and must be able to read it.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))
            .map_err(Error::io("opening the temporary folder to the apps"))?;
        inventory::write(&dir.path().join("system"))?;
        let app = dir.path().join(apps::PROGRAM);
        let built = crate::program(apps::PROGRAM);
        std::fs::copy(&built, &app).map_err(Error::io(format!(
            "copying {} (build it with `cargo build -p sakshi-tests`)",
            built.display()
        )))?;
        let path = dir.path().to_owned();
        Self::with(Network::start(places::HOSTS)?, Some(dir), path)
    }

    /// A folder that goes away with the handset.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the app inventory lies (what `/data/system` is on a phone).
    pub fn inventory(&self) -> PathBuf {
        self.dir.join("system")
    }

    /// Keeps the folder after the handset is gone, and tells its path.
    pub fn keep_dir(&mut self) -> PathBuf {
        if let Some(temporary) = &mut self.temporary {
            temporary.disable_cleanup(true);
        }
        self.dir.clone()
    }

    /// The two namespaces.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Starts a program in the handset's namespace.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.network
            .in_handset(|| command.spawn())?
            .map_err(Error::io(format!("starting {command:?}")))
    }

    /// Runs a program in the handset's namespace to its end and gives its standard output.
    pub fn output(&self, command: &mut Command) -> Result<String> {
        let output = self
            .network
            .in_handset(|| command.output())?
            .map_err(Error::io(format!("running {command:?}")))?;
        network::checked(command, &output)
    }

    /// Starts an app under `uid` that does what the script says.
    pub fn start_app(&self, uid: u32, actions: &[script::Action]) -> Result<apps::RunningApp> {
        let script = script::Script {
            trusted_certificate: self.tls.certificate().to_vec(),
            actions: actions.to_vec(),
        };
        apps::start(self, uid, None, &script)
    }

    /// The same, with a process that calls itself `name`.
    pub fn start_process(
        &self,
        uid: u32,
        name: &str,
        actions: &[script::Action],
    ) -> Result<apps::RunningApp> {
        let script = script::Script {
            trusted_certificate: self.tls.certificate().to_vec(),
            actions: actions.to_vec(),
        };
        apps::start(self, uid, Some(name), &script)
    }

    /// Runs an app under `uid` to its end and gives the flows that it says it made.
    pub fn run_app(&self, uid: u32, actions: &[script::Action]) -> Result<Vec<script::Sent>> {
        self.start_app(uid, actions)?.finish()
    }
}
