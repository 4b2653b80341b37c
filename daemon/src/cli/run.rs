//! Commands that change the machine: `run` and `clean`.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{
    Failure, Outcome,
    args::{CaptureChoice, CleanArgs, RunArgs},
    authority::{given, say_standing},
    output::{self, Stdout, say},
};
use crate::{
    capture::{
        live::{self, CaptureWay},
        nflog::rules::Commands,
    },
    control::{
        client::Connection,
        protocol::{Answer, Request},
        socket,
    },
    evidence::ROLL_BYTES,
    platform::{
        clock::{Clock as _, SystemClock},
        command,
        logcat::{Logcat, Priority},
        machine,
    },
    session::{RunConfig, SessionError, run as watch},
};

/// Says something on standard error and in Android's log.
struct Voice(Logcat);

impl Voice {
    fn say(&self, priority: Priority, line: fmt::Arguments<'_>) {
        self.log(priority, line);
        say(line);
    }

    fn log(&self, priority: Priority, line: fmt::Arguments<'_>) {
        self.0.write(SystemClock.now(), priority, &line.to_string());
    }
}

/// Watches live until told to stop.
pub fn run(args: RunArgs) -> Result<Outcome, Failure> {
    let voice = Voice(Logcat::at(&args.logcat));
    let outcome = run_aloud(args, &voice);
    if let Err(error) = &outcome {
        voice.log(Priority::Error, format_args!("{error}"));
    }
    outcome
}

fn run_aloud(args: RunArgs, voice: &Voice) -> Result<Outcome, Failure> {
    must_be_root("run")?;
    if args.end_with_parent {
        command::end_with_parent(rustix::process::Signal::TERM);
    }
    if args.stay {
        command::stay();
        machine::spare_from_low_memory();
    }
    let (running, _) = socket::found().map_err(SessionError::Control)?;
    nobody_watches_here(&running)?;
    let config = RunConfig {
        case: args.case,
        rules: args.rules,
        data: args.data,
        inventory: args.inventory,
        capture: match args.capture {
            CaptureChoice::Auto => CaptureWay::Auto,
            CaptureChoice::Nflog => CaptureWay::Nflog,
            CaptureChoice::Packet => CaptureWay::Packet,
        },
        receive_buffer: args.receive_buffer,
        commands: Commands::named(&args.iptables),
        bpffs: args.bpffs,
        packets_quota: args.packets_quota,
        roll_bytes: args.roll_bytes.unwrap_or(ROLL_BYTES),
        rooted: given("--rooted", args.rooted)?,
        probe: args.probe,
        circumstances: args.circumstances.stated(),
        validation: args.validation,
    };
    let summary = watch(&config, &(Arc::new(SystemClock) as _), &mut |status| {
        voice.say(
            Priority::Info,
            format_args!(
                "watching with {}; case {}, session {}",
                status.capture, status.case, status.session
            ),
        );
        for degraded in &status.degraded {
            voice.say(Priority::Warning, format_args!("degraded: {degraded}"));
        }
        say("end with `sakshi stop` or Ctrl-C");
    })?;
    voice.log(
        Priority::Info,
        format_args!(
            "stopped; {} packets, {} findings",
            summary.packets,
            summary.findings.unwrap_or_default()
        ),
    );
    output::summary(&summary, args.format)?;
    say_standing(&config.case)?;
    Ok(Outcome::Done)
}

/// Removes what a daemon that crashed has left behind.
pub fn clean(args: &CleanArgs) -> Result<Outcome, Failure> {
    must_be_root("clean")?;
    let (running, stale) = socket::found().map_err(SessionError::Control)?;
    nobody_watches_here(&running)?;
    for path in &stale {
        socket::remove(path);
    }
    let commands = Commands::named(&args.iptables);
    let rules = if live::clean(&commands, args.bpffs.as_deref())? {
        "packet rules and chains removed"
    } else {
        "no packet rule was left"
    };
    let mut out = Stdout::open();
    out.line(format_args!(
        "{rules}; control sockets removed: {}",
        stale.len()
    ))?;
    out.close()?;
    Ok(Outcome::Done)
}

/// There is one set of packet rules in a network namespace: a second daemon would take the first
/// one's away, and so would cleaning up.
fn nobody_watches_here(running: &[PathBuf]) -> Result<(), Failure> {
    let here = machine::network_namespace();
    for path in running {
        let status =
            Connection::at(path).and_then(|mut connection| connection.ask(&Request::Status));
        if let Ok(Answer::Status(status)) = status
            && status.network_namespace == here
        {
            return Err(format!(
                "a daemon is watching (process {}, case {}): end it with `sakshi stop` first",
                status.pid, status.case
            )
            .into());
        }
    }
    Ok(())
}

pub(super) fn must_be_root(command: &str) -> Result<(), Failure> {
    if machine::is_root() {
        return Ok(());
    }
    Err(format!("`sakshi {command}` needs root: packet rules and NFLOG are the kernel's; try it with sudo or su -c").into())
}
