//! Starting the handset's apps: real processes of the program `vh-app` under an app's UID.

use std::{
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use super::{Error, Handset, Result, network, script::Script, script::Sent};

/// Name of the program.
pub const PROGRAM: &str = "vh-app";

/// An app that is running.
#[derive(Debug)]
pub struct RunningApp {
    uid: u32,
    child: Child,
}

/// Starts the program under `uid` in the handset's namespace, called `name` if there is one, and
/// hands it the script.
pub(super) fn start(
    handset: &Handset,
    uid: u32,
    name: Option<&str>,
    script: &Script,
) -> Result<RunningApp> {
    let mut command = Command::new(handset.dir().join(PROGRAM));
    if let Some(name) = name {
        command.arg0(name);
    }
    command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .uid(uid)
        .gid(uid);
    let mut child = handset.spawn(&mut command)?;
    let json = serde_json::to_vec(script)
        .map_err(|error| Error::Unexpected(format!("writing a script: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(&json)
            .map_err(Error::io(format!("handing the script to app {uid}")))?;
    }
    Ok(RunningApp { uid, child })
}

impl RunningApp {
    /// Waits for its end and gives the flows that it says it made.
    pub fn finish(mut self) -> Result<Vec<Sent>> {
        let mut said = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout
                .read_to_string(&mut said)
                .map_err(Error::io(format!("reading from app {}", self.uid)))?;
        }
        let output = self
            .child
            .wait_with_output()
            .map_err(Error::io(format!("waiting for app {}", self.uid)))?;
        network::checked(
            Command::new(PROGRAM).arg(format!("(uid {})", self.uid)),
            &output,
        )?;
        said.lines()
            .map(|line| {
                serde_json::from_str(line)
                    .map_err(|error| Error::Unexpected(format!("app {}: {error}", self.uid)))
            })
            .collect()
    }

    /// Ends it where it stands; what it did until then is not told.
    pub fn abort(mut self) -> Result<()> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(Error::io(format!("ending app {}", self.uid)))
    }
}
