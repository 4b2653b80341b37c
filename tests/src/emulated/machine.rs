//! The emulator: one boot of the handset, and what it says on its console.
//!
//! In: kernel, initramfs, the image of the data partition. Out: the marked lines of the console in
//! order; everything else goes to a log. The machine has no network device. It is ended when it is
//! dropped, which on its disk is what a power cut is on a phone's: what the guest had not flushed is
//! gone.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::{MARK, PARAMETER, Scenario};
use crate::{
    daemon::text,
    handset::{Error, Result},
    wait,
};

/// The emulator's program.
pub const PROGRAM: &str = "qemu-system-aarch64";
/// Longest silence on the console before the machine counts as hung.
const SILENCE_MAX: Duration = Duration::from_mins(3);
/// A machine that was told to power off is gone by then.
const OFF_MAX: Duration = Duration::from_mins(1);
/// What the guest's last line is.
const DONE: &str = "done";
/// What a line that tells a failure begins with.
const FAILED: &str = "failed: ";

/// What is booted.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Compressed archive of the first file system.
    pub initramfs: PathBuf,
    /// Raw image of the data partition; written to.
    pub disk: PathBuf,
    /// Where the console is logged; appended to.
    pub log: PathBuf,
}

/// A machine that runs.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Boot {
    /// Switches the machine on.
    pub fn start(&self, scenario: Scenario) -> Result<Machine> {
        let mut child = self
            .command(scenario)
            .spawn()
            .map_err(Error::io(format!("starting {PROGRAM}")))?;
        let console = child
            .stdout
            .take()
            .ok_or_else(|| Error::Unexpected("the emulator has no console".to_owned()))?;
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io(format!("opening {}", self.log.display())))?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // A console is bytes: the kernel may write anything on it.
            for line in BufReader::new(console)
                .split(b'\n')
                .map_while(std::result::Result::ok)
            {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                // A log that cannot be written must not keep the machine from being heard.
                drop(writeln!(log, "{line}"));
                if let Some(marked) = line.strip_prefix(MARK)
                    && sender.send(marked.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Ok(Machine {
            child,
            lines,
            log: self.log.clone(),
        })
    }

    fn command(&self, scenario: Scenario) -> Command {
        let append = format!(
            "console=ttyAMA0 quiet panic=-1 audit=0 {PARAMETER}{}",
            scenario.name()
        );
        let drive = format!(
            "if=none,id=data,format=raw,cache=writeback,file={}",
            text(&self.disk)
        );
        let mut command = Command::new(PROGRAM);
        command
            .args(["-machine", "virt,gic-version=3", "-cpu", "cortex-a57"])
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "768"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-nic", "none"])
            .args(["-drive", &drive, "-device", "virtio-blk-pci,drive=data"])
            .args(["-kernel", text(&self.kernel)])
            .args(["-initrd", text(&self.initramfs)])
            .args(["-append", &append])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

impl Machine {
    /// The next marked line; none when the console was closed.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => match line.strip_prefix(FAILED) {
                Some(reason) => Err(self.complaint(reason)),
                None => Ok(Some(line)),
            },
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(self.complaint("was silent for too long")),
        }
    }

    /// Hears it to its power-off, and that it has done all.
    pub fn run_to_end(mut self, told: &mut dyn FnMut(&str)) -> Result<()> {
        let mut last = String::new();
        while let Some(line) = self.next_line()? {
            told(&line);
            last = line;
        }
        wait::until(OFF_MAX, || self.child.try_wait().transpose())
            .ok_or_else(|| self.complaint("did not power off"))?
            .map_err(Error::io("waiting for the emulator"))?;
        if last == DONE {
            return Ok(());
        }
        Err(self.complaint(&format!("ended after \"{last}\"")))
    }

    /// Cuts the power: the emulator is killed where it stands. Gives the lines that were said.
    pub fn cut_power(mut self) -> Result<Vec<String>> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(Error::io("cutting the emulated handset's power"))?;
        // The reader ends with the console; what it has read until then was said.
        Ok(self.lines.iter().collect())
    }

    fn complaint(&self, what: &str) -> Error {
        Error::Unexpected(format!(
            "the emulated handset {what}; its console is in {}",
            self.log.display()
        ))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Already off in the good case; then both calls only say so.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
