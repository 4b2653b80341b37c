//! Debian's, or anybody's, `adb`, as a program on the search path.
//!
//! In: words. Out: what it says, and which handset is meant. Nothing of a handset is trusted to be
//! there the next moment.

use std::{
    io::{self, Read as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::error::HandsetError;
use crate::platform::command::{self, CommandError, Invocation};

/// Longest wait for an answer of adb's own, in which it may have to start its server.
const ADB_MAX: Duration = Duration::from_mins(1);
/// Longest wait for a file to be pushed.
const PUSH_MAX: Duration = Duration::from_mins(10);
/// Lines of `adb devices` that are read.
const DEVICES_MAX: usize = 64;

/// A handset as `adb devices` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its serial; over Wi-Fi an address and port, or a service's name.
    pub serial: String,
    /// `device`, `unauthorized`, `offline`, …
    pub state: String,
}

impl Device {
    /// Whether adb itself goes over the network, which is then part of what is watched.
    pub fn is_over_network(&self) -> bool {
        self.serial.contains(':') || self.serial.contains("._adb")
    }
}

/// The devices in what `adb devices` says.
pub fn parse_devices(text: &str) -> Vec<Device> {
    text.lines()
        .filter(|line| !line.starts_with('*') && !line.starts_with("List of"))
        .filter_map(|line| line.split_once('\t'))
        .map(|(serial, state)| Device {
            serial: serial.trim().to_owned(),
            state: state.trim().to_owned(),
        })
        .filter(|device| !device.serial.is_empty())
        .take(DEVICES_MAX)
        .collect()
}

/// adb, for one handset.
#[derive(Debug, Clone)]
pub struct Adb {
    program: String,
    /// The handset that is meant.
    pub serial: String,
}

impl Adb {
    /// The handset of this serial, or the only one.
    pub fn choose(program: &str, serial: Option<&str>) -> Result<(Self, Device), HandsetError> {
        let text = run(program, &["devices"], ADB_MAX)?;
        let mut devices = parse_devices(&text);
        if let Some(serial) = serial {
            devices.retain(|device| device.serial == serial);
        }
        let Some(device) = devices.pop() else {
            return Err(HandsetError::NoDevice(text.trim().to_owned()));
        };
        if !devices.is_empty() {
            devices.push(device);
            let mut all: Vec<String> = devices.into_iter().map(|one| one.serial).collect();
            all.sort();
            return Err(HandsetError::Several(all));
        }
        match device.state.as_str() {
            "device" => {}
            "unauthorized" => return Err(HandsetError::Unauthorised(device.serial)),
            _ => {
                return Err(HandsetError::Offline {
                    serial: device.serial,
                    state: device.state,
                });
            }
        }
        let adb = Self {
            program: program.to_owned(),
            serial: device.serial.clone(),
        };
        Ok((adb, device))
    }

    /// Whether the handset answers now.
    pub fn is_there(&self) -> bool {
        run(&self.program, &["devices"], ADB_MAX).is_ok_and(|text| {
            parse_devices(&text)
                .iter()
                .any(|device| device.serial == self.serial && device.state == "device")
        })
    }

    /// Copies a file onto the handset, as adb's own user there.
    pub fn push(&self, from: &str, to: &str) -> Result<(), HandsetError> {
        run(
            &self.program,
            &["-s", &self.serial, "push", from, to],
            PUSH_MAX,
        )
        .map(drop)
    }

    /// Starts a line of the handset's shell; its standard output comes as it is.
    pub fn start(&self, line: &str) -> Result<Child, HandsetError> {
        Command::new(&self.program)
            .args(["-s", &self.serial, "exec-out", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| not_run(&self.program, error))
    }

    /// Runs a line of the handset's shell, as adb's own user, to its end.
    pub fn shell(&self, line: &str) -> Result<String, HandsetError> {
        let words = ["-s", self.serial.as_str(), "exec-out", line];
        run(&self.program, &words, ADB_MAX)
    }
}

/// What adb says on its standard error; it has ended.
pub fn complaint(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(pipe) = &mut child.stderr {
        // Words for a person: what could be read will do.
        let _ = pipe.take(4_096).read_to_string(&mut text);
    }
    text.trim().to_owned()
}

fn not_run(program: &str, error: io::Error) -> HandsetError {
    match error.kind() {
        io::ErrorKind::NotFound => HandsetError::NoAdb(program.to_owned()),
        _ => HandsetError::Adb(error),
    }
}

fn run(program: &str, args: &[&str], timeout: Duration) -> Result<String, HandsetError> {
    let invocation = Invocation {
        program,
        args,
        stdin: None,
        timeout,
    };
    match command::run(&invocation) {
        Ok(output) => Ok(output.stdout),
        Err(CommandError::NotFound { program }) => Err(HandsetError::NoAdb(program)),
        Err(CommandError::Io { source, .. }) => Err(HandsetError::Adb(source)),
        Err(CommandError::Failed { stderr, .. }) => Err(HandsetError::Dropped(stderr)),
        Err(error @ CommandError::TimedOut { .. }) => Err(HandsetError::Dropped(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_the_network_is_noticed() {
        let text = "* daemon started successfully\nList of devices attached\nR58M123\tdevice\n\
                    192.168.1.5:5555\toffline\nadb-R5-x._adb-tls-connect._tcp\tunauthorized\n\n";
        let devices = parse_devices(text);
        let read: Vec<_> = devices
            .iter()
            .map(|one| (one.state.as_str(), one.is_over_network()))
            .collect();
        assert_eq!(
            read,
            [("device", false), ("offline", true), ("unauthorized", true)]
        );
        assert_eq!(parse_devices("garbage\n\t\n"), []);
    }
}
