//! The steps of each command, in order, each with the time it took.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{cross, handset, prerequisites, shim};

/// What a step comes to: nothing, or the reason why it failed.
pub type Outcome = Result<(), String>;

/// Upper bound for fetching the advisory database; without a network it may take for ever.
const FETCH_MAX: Duration = Duration::from_mins(2);
/// Pause between two looks at a child process.
const PAUSE: Duration = Duration::from_millis(200);

/// Builds the daemon and the demo, and runs it.
pub fn demo(options: &[&str]) -> Outcome {
    prerequisites::system_tools()?;
    build_demo()?;
    run_demo(options)
}

fn build_demo() -> Outcome {
    run(
        "cargo",
        &["build", "--quiet", "-p", "sakshi", "-p", "sakshi-tests"],
    )
}

/// Runs the demo's program, which cargo puts beside ours.
fn run_demo(options: &[&str]) -> Outcome {
    let me = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let demo = me.with_file_name("demo");
    run(&demo.to_string_lossy(), options)
}

/// Builds everything for release and runs a bench. Its figures decide nothing.
pub fn bench(options: &[&str]) -> Outcome {
    prerequisites::system_tools()?;
    let (bench, options) = match options {
        ["names", options @ ..] => ("bench-names", options),
        _ => ("bench", options),
    };
    let programs = [
        "build",
        "--release",
        "-p",
        "sakshi",
        "-p",
        "sakshi-tests",
        "-p",
        "sakshi-workload",
        "--bins",
    ];
    run("cargo", &programs)?;
    let me = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let target = me.parent().and_then(std::path::Path::parent);
    let bench = target
        .ok_or("the build folder has no parent")?
        .join("release")
        .join(bench);
    run(&bench.to_string_lossy(), options)
}

/// Everything that must pass before a change goes in.
pub fn test() -> Outcome {
    let mut report = Report::default();
    report.step("prerequisites", || {
        prerequisites::cargo_tools()?;
        prerequisites::system_tools()?;
        prerequisites::judges()
    })?;
    report.step("format", || run("cargo", &["fmt", "--all", "--check"]))?;
    report.step("lints", lints)?;
    report.step("licences, bans, sources", || {
        run("cargo", &["deny", "check", "licenses", "bans", "sources"])
    })?;
    report.step("advisories", advisories)?;
    report.step("build", || {
        run("cargo", &["build", "--workspace", "--bins", "--lib"])
    })?;
    report.step("tests", || run("cargo", &["nextest", "run", "--workspace"]))?;
    report.step("doc tests", || {
        run("cargo", &["test", "--quiet", "--workspace", "--doc"])
    })?;
    report.step("the shim's Java part", shim::build)?;
    report.step("demo", || run_demo(&[]))?;
    report.step("phone's program on a virtual handset", handset::test)?;
    cross::emulated_tests(&mut report)?;
    cross::stand_in_ndk(&mut report)?;
    report.print();
    Ok(())
}

fn lints() -> Outcome {
    let deny = ["--all-targets", "--", "-D", "warnings"];
    let mut all = vec!["clippy", "--workspace"];
    all.extend(deny);
    run("cargo", &all)?;
    let mut phone = vec!["clippy", "-p", "sakshi", "--no-default-features"];
    phone.extend(deny);
    run("cargo", &phone)
}

/// Known vulnerabilities: only where the database can be fetched, since it lies on the network.
fn advisories() -> Outcome {
    let mut fetch = Command::new("cargo");
    fetch.args(["deny", "fetch", "db"]);
    fetch.env("GIT_TERMINAL_PROMPT", "0");
    fetch.stdout(Stdio::null()).stderr(Stdio::null());
    if !ends_well_within(&mut fetch, FETCH_MAX) {
        println!("note: the advisory database could not be fetched: advisories were not checked");
        return Ok(());
    }
    run("cargo", &["deny", "check", "--disable-fetch", "advisories"])
}

/// Whether a program ends without an error in the given time; it is ended when not.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the wait for a real process; no result depends on it"
)]
fn ends_well_within(command: &mut Command, limit: Duration) -> bool {
    let Ok(mut child) = command.stdin(Stdio::null()).spawn() else {
        return false;
    };
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(PAUSE),
            Err(_) => return false,
        }
    }
    // It may have ended by itself in the meantime; then there is nothing to end.
    drop(child.kill());
    drop(child.wait());
    false
}

/// Runs a program whose output the reader sees; it gets no input.
pub fn run(program: &str, arguments: &[&str]) -> Outcome {
    run_command(Command::new(program).args(arguments))
}

/// Runs a program that is already described; its output goes to the reader, it gets no input.
pub fn run_command(command: &mut Command) -> Outcome {
    let line = line(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("could not run `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` ended with {status}"))
    }
}

/// Runs a program; what it writes to standard output. The rest is told only when it fails.
pub fn output(command: &mut Command) -> Result<String, String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not run `{line}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{line}` ended with {}: {told}", output.status))
}

/// A command as the reader would type it.
fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let words = command.get_args().map(|word| word.to_string_lossy());
    std::iter::once(program)
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// How long each step took.
#[derive(Debug, Default)]
pub struct Report(Vec<(&'static str, Duration)>);

impl Report {
    /// Does a step; the reader sees its name, and at the end how long it took.
    #[expect(
        clippy::disallowed_methods,
        reason = "tells the reader how long a step took; no result depends on it"
    )]
    pub fn step(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) -> Outcome {
        println!("── {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        self.0.push((name, took));
        if outcome.is_err() {
            self.print();
            println!("✗ {name} failed; what comes after it did not run");
        }
        outcome
    }

    /// Prints how long each step took.
    pub fn print(&self) {
        println!("──");
        for (name, took) in &self.0 {
            println!("{:7.1} s  {name}", took.as_secs_f32());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_is_absent_is_a_failure_with_its_name() {
        let failed = run("false", &["now"]).expect_err("false fails");
        assert!(failed.starts_with("`false now` ended with"), "{failed}");
        let absent = run("no-such-program", &[]).expect_err("absent");
        assert!(absent.contains("no-such-program"), "{absent}");
        assert_eq!(run("true", &[]), Ok(()));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let mut sleep = Command::new("sleep");
        assert!(!ends_well_within(
            sleep.arg("600"),
            Duration::from_millis(1)
        ));
        assert!(ends_well_within(
            &mut Command::new("true"),
            Duration::from_mins(1)
        ));
    }
}
