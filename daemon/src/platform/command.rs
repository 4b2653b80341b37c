//! Runs a command of the system and waits for it, for a bounded time.
//!
//! In: program, arguments, text for its standard input, a time limit. Out: what it wrote, or a
//! typed error that says what was run and how it ended.

use std::{
    fmt,
    io::{self, Read, Write},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::clock::{Clock, SystemClock};

/// The program that runs, whatever its file is called and wherever it has gone.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Asks `run` to stay when the process that started it, and its terminal, end.
pub const STAY: &str = "--stay";

/// Bytes of a command's output that are kept; the rest is read and thrown away.
pub const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The first pause between two looks at a running child; each is twice as long as the one before.
const LOOK_FIRST: Duration = Duration::from_millis(2);
/// The longest.
const LOOK_MAX: Duration = Duration::from_millis(32);

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// Name or path of the program.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [&'a str],
    /// Text for its standard input.
    pub stdin: Option<&'a str>,
    /// How long it may take.
    pub timeout: Duration,
}

impl fmt::Display for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        for arg in self.args {
            if arg.contains(' ') {
                write!(f, " '{arg}'")?;
            } else {
                write!(f, " {arg}")?;
            }
        }
        Ok(())
    }
}

/// What a command that succeeded wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Why a command gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program does not exist.
    #[error("`{program}` was not found; install it, or name its path in the configuration")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// It could not be started or talked to.
    #[error("`{command}` could not be run: {source}")]
    Io {
        /// What was run.
        command: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It took longer than allowed, and was ended.
    #[error(
        "`{command}` did not end within {seconds} s and was stopped; see whether something holds \
         what it waits for"
    )]
    TimedOut {
        /// What was run.
        command: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// It ended with an error.
    #[error("`{command}` failed ({}): {stderr}", exit_text(*code))]
    Failed {
        /// What was run.
        command: String,
        /// Exit code; none when a signal ended it.
        code: Option<i32>,
        /// What it wrote on standard error, trimmed.
        stderr: String,
    },
}

fn exit_text(code: Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".into(), |code| format!("exit {code}"))
}

/// Runs a command to its end.
pub fn run(invocation: &Invocation<'_>) -> Result<Output, CommandError> {
    let failed = |source| CommandError::Io {
        command: invocation.to_string(),
        source,
    };
    let mut child = Command::new(invocation.program)
        .args(invocation.args)
        .stdin(if invocation.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CommandError::NotFound {
                program: invocation.program.to_owned(),
            },
            _ => failed(source),
        })?;
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), invocation.stdin) {
        let text = text.to_owned();
        // A child that ends without reading breaks the pipe; its exit code tells why.
        thread::spawn(move || pipe.write_all(text.as_bytes()).ok());
    }
    let status = wait(&mut child, invocation.timeout).map_err(failed)?;
    let Some(status) = status else {
        return Err(CommandError::TimedOut {
            command: invocation.to_string(),
            seconds: invocation.timeout.as_secs(),
        });
    };
    let stdout = collect(stdout);
    let stderr = collect(stderr);
    if status.success() {
        return Ok(Output { stdout, stderr });
    }
    Err(CommandError::Failed {
        command: invocation.to_string(),
        code: status.code(),
        stderr: stderr.trim().to_owned(),
    })
}

/// Leaves the session of whoever started us, so that no hang-up of theirs reaches us. Where we lead
/// one already, nothing changes.
pub fn stay() {
    let _ = rustix::process::setsid();
}

/// Has the kernel send this process `signal` when its parent ends, however it does; for children that
/// must not be left behind. Where the parent has gone already, this process ends.
pub fn end_with_parent(signal: Signal) {
    let parent = getppid();
    // A kernel that refuses leaves us to the pipes, which break when the parent ends.
    let _ = set_parent_process_death_signal(Some(signal));
    // It may have gone before we asked: then the machine's first process has taken us over.
    let orphaned = parent.is_none_or(Pid::is_init);
    if orphaned || getppid() != parent {
        std::process::exit(1);
    }
}

/// Waits for a child. None when the time ran out; it is then killed and reaped.
pub fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let limit = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
    let deadline = SystemClock.monotonic_nanos().saturating_add(limit);
    let mut pause = LOOK_FIRST;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if SystemClock.monotonic_nanos() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = LOOK_MAX.min(pause * 2);
    }
}

fn read_in_background(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        // What was read before an error still helps; the exit code decides about success.
        let _ = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
        kept
    })
}

fn collect(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: Option<&str>, timeout: Duration) -> Result<Output, CommandError> {
        run(&Invocation {
            program: "sh",
            args: &["-c", script],
            stdin,
            timeout,
        })
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn passes_input_and_keeps_both_outputs() {
        let output = shell("cat; echo warn >&2", Some("a\nb\n"), LONG).unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), ("a\nb\n", "warn\n"));
    }

    #[test]
    fn tells_what_failed_and_how() {
        let error = shell("echo no table >&2; exit 3", None, LONG).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c 'echo no table >&2; exit 3'` failed (exit 3): no table"
        );
    }

    #[test]
    fn ends_what_takes_too_long() {
        let error = shell("exec sleep 600", None, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn names_a_missing_program() {
        let error = run(&Invocation {
            program: "/nonexistent/iptables",
            args: &[],
            stdin: None,
            timeout: LONG,
        })
        .unwrap_err();
        assert!(error.to_string().contains("was not found"), "{error}");
    }

    #[test]
    fn survives_a_child_that_ignores_its_input() {
        let text = "x".repeat(1 << 20);
        assert!(shell("exit 0", Some(&text), LONG).is_ok());
    }
}
