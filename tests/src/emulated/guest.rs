//! What runs on the emulated handset after it has booted.
//!
//! In: the scenario of the kernel's command line, the daemon and the apps' program in
//! [`PROGRAMS`]. Out: cases, a report and the apps' own word on the data partition, and marked
//! lines on the console.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    CASES, IdleReport, MARK, PROGRAMS, REPORT, Report, Scenario, StageReport, TRACES, VALIDATION,
    moment, stage, usage::Usage,
};
use crate::{
    daemon::{self, Daemon, sakshi},
    handset::{
        Error, Handset, Result, cast, places,
        script::{Action, Sent},
    },
    scenes,
    seed::Seed,
    traces::{Moment, Places, Traces},
    wait::Stopwatch,
};

/// Rule sets, as they are pushed beside the programs.
const RULES: [&str; 3] = ["in-lab.toml", "demo.toml", "sample-vendor.toml"];
/// How long the daemon is watched while nobody sends: several checks of its rules and commits.
const IDLE: Duration = Duration::from_secs(12);
/// What the daemon does at its start is over after this time.
const SETTLED: Duration = Duration::from_secs(2);
/// UIDs that make short flows at the same time, beside the scenes.
const BUSY: [u32; 4] = [10_050, 10_054, 10_055, 1_010_050];
/// Flows of each.
const FLOWS: u64 = 50;
/// Flows that the load makes if nobody cuts the power.
const ENDLESS: u64 = 1_000_000;
/// The power is cut before that, or the test has failed.
const CUT_MAX: Duration = Duration::from_mins(3);
/// Pause between two looks at what was acknowledged.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Says something to the machine outside.
fn say(what: &str) {
    println!("{MARK}{what}");
}

/// Does what the kernel's command line names.
pub fn run() -> Result<()> {
    let line = fs::read_to_string("/proc/cmdline").map_err(Error::io("reading /proc/cmdline"))?;
    let scenario = Scenario::from_command_line(&line).ok_or_else(|| {
        Error::Unexpected(format!("no scenario in the kernel's command line: {line}"))
    })?;
    fs::create_dir_all(CASES).map_err(Error::io(format!("making {CASES}")))?;
    say(&format!("booted for {}", scenario.name()));
    if scenario == Scenario::Validate {
        // It makes namespaces of its own.
        validate()?;
        say("done");
        return Ok(());
    }
    let handset = Handset::on_this_machine(Path::new(PROGRAMS))?;
    say("network up");
    match scenario {
        Scenario::Watch => watch(&handset)?,
        Scenario::Load => load(&handset)?,
        Scenario::Clean => clean_up()?,
        Scenario::Close => close(&handset)?,
        Scenario::Validate => {}
    }
    say("done");
    Ok(())
}

/// Where the case of a stage lies.
fn case(name: &str) -> PathBuf {
    Path::new(CASES).join(name)
}

/// `sakshi run` as a technician types it, with the rules of the lab.
fn run_command() -> Command {
    let mut command = sakshi(["run"]);
    for rules in RULES {
        command.arg("--rules").arg(Path::new(PROGRAMS).join(rules));
    }
    command
}

fn watch(handset: &Handset) -> Result<()> {
    let mut report = Report {
        kernel: first_line(Command::new("uname").arg("-r"))?,
        machine: first_line(Command::new("uname").arg("-m"))?,
        ..Report::default()
    };
    report.moments.push(look(moment::BEFORE)?);
    let small = |name: &str, command: Command, report: &mut Report| {
        report.stages.push(small_stage(handset, name, command)?);
        let looked = look(&format!("{}{name}", moment::STOPPED))?;
        report.moments.push(looked);
        Ok::<_, Error>(())
    };
    small(stage::NO_NFLOG, run_command(), &mut report)?;
    load_modules("nflog")?;
    let mut without_iptables = run_command();
    // A folder in which there is no program.
    without_iptables.env("PATH", CASES);
    small(stage::NO_IPTABLES, without_iptables, &mut report)?;
    small(stage::NO_BPFFS, run_command(), &mut report)?;
    mount_bpffs()?;
    whole_watch(handset, &mut report)?;
    let looked = look(&format!("{}{}", moment::STOPPED, stage::WATCH))?;
    report.moments.push(looked);
    crash(handset, &mut report)?;
    let json = serde_json::to_vec_pretty(&report)
        .map_err(|error| Error::Unexpected(format!("writing the report: {error}")))?;
    let path = Path::new(CASES).join(REPORT);
    fs::write(&path, json).map_err(Error::io(format!("writing {}", path.display())))
}

/// A watch in which one app talks to two places.
fn small_stage(handset: &Handset, name: &str, command: Command) -> Result<StageReport> {
    let doctor = doctor(command.get_envs())?;
    let daemon = Daemon::start_command(handset, &case(name), command)?;
    let status = daemon.status()?;
    say(&format!("stage {name}"));
    let actions = [
        Action::Http {
            name: places::CHINA.name.to_owned(),
            to: places::CHINA.v4(places::HTTP),
        },
        Action::Udp {
            to: places::SINGAPORE.v6(places::ECHO),
            bytes: 300,
            packets: 5,
            answered: true,
        },
    ];
    write_truth(name, &handset.run_app(cast::WEATHER.uid(), &actions)?)?;
    Ok(stage_report(name, &status, daemon.stop()?, doctor))
}

/// The watch with everything that a phone has: idle first, then the scenes and some load.
fn whole_watch(handset: &Handset, report: &mut Report) -> Result<()> {
    let doctor = doctor(run_command().get_envs())?;
    let before = handset.network().sent_by_interfaces()?;
    let daemon = Daemon::start_command(handset, &case(stage::WATCH), run_command())?;
    let status = daemon.status()?;
    say("stage watch, idle");
    daemon.note("nobody sends")?;
    thread::sleep(SETTLED);
    let (watch, start) = (Stopwatch::start(), Usage::of(daemon.pid())?);
    thread::sleep(IDLE);
    let seconds = watch.elapsed().as_secs_f64();
    report.idle = IdleReport {
        usage: Usage::of(daemon.pid())?.since(start, seconds),
        sent: handset.network().sent_by_interfaces()? - before,
    };
    say("scenes");
    let mut sent = scenes::play_all(handset, &daemon, &mut |title| say(title))?;
    sent.extend(busy(handset)?);
    write_truth(stage::WATCH, &sent)?;
    report.loaded = Usage::of(daemon.pid())?;
    let summary = daemon.stop()?;
    report
        .stages
        .push(stage_report(stage::WATCH, &status, summary, doctor));
    Ok(())
}

/// A watch that is killed where it stands, and what cleans up after it.
fn crash(handset: &Handset, report: &mut Report) -> Result<()> {
    say("stage crash");
    let daemon = Daemon::start_command(handset, &case(stage::CRASH), run_command())?;
    daemon.kill()?;
    report.moments.push(look(moment::CRASHED)?);
    run_checked(&mut sakshi(["clean"]))?;
    report.moments.push(look(moment::CLEANED)?);
    daemon::not_damaged(&case(stage::CRASH))
}

/// Short flows of several apps at once.
fn busy(handset: &Handset) -> Result<Vec<Sent>> {
    say("short flows of several apps");
    let mut seed = Seed::new(0x5a4b_0010);
    let apps: Vec<_> = BUSY
        .iter()
        .map(|uid| handset.start_app(*uid, &[flows(FLOWS, seed.next_number())]))
        .collect::<Result<_>>()?;
    let sent: Vec<Vec<Sent>> = apps
        .into_iter()
        .map(crate::handset::apps::RunningApp::finish)
        .collect::<Result<_>>()?;
    Ok(sent.concat())
}

fn flows(count: u64, seed: u64) -> Action {
    Action::Flows {
        count,
        parallel: 2,
        to: vec![
            places::SINGAPORE.v4(places::ECHO),
            places::MUMBAI.v6(places::ECHO),
        ],
        seed,
        open_ms: 0,
    }
}

/// Watches under load and tells what is acknowledged, until somebody cuts the power.
fn load(handset: &Handset) -> Result<()> {
    as_on_a_phone()?;
    let case = case(stage::POWER);
    if !case.exists() {
        write_moment(&look(moment::BEFORE)?)?;
    }
    let daemon = Daemon::start_command(handset, &case, run_command())?;
    let follower = daemon.follow()?;
    // The moment is part of the seed: a load like another each time.
    let seed = u64::from(std::process::id());
    let app = handset.start_app(BUSY[0], &[flows(ENDLESS, seed)])?;
    say("under load");
    let watch = Stopwatch::start();
    let mut told = 0;
    while watch.elapsed() < CUT_MAX {
        for head in follower.since(told) {
            say(&format!("ack {} {}", head.seq, head.hash));
            told += 1;
        }
        thread::sleep(LOOK_EVERY);
    }
    app.abort()?;
    Err(Error::Unexpected("nobody cut the power".to_owned()))
}

/// Everything that a phone has; control sockets lie on the data partition there, so they outlast a
/// power cut.
fn as_on_a_phone() -> Result<()> {
    load_modules("nflog")?;
    mount_bpffs()
}

/// Removes what the power cut has left.
fn clean_up() -> Result<()> {
    as_on_a_phone()?;
    write_moment(&look(moment::POWER_CUT)?)?;
    run_checked(&mut sakshi(["clean"]))?;
    write_moment(&look(moment::CUT_CLEANED)?)
}

/// Goes on with the case of the power cuts and ends in order.
fn close(handset: &Handset) -> Result<()> {
    as_on_a_phone()?;
    write_moment(&look(moment::POWER_CUT)?)?;
    let case = case(stage::POWER);
    let daemon = Daemon::start_command(handset, &case, run_command())?;
    say("the daemon goes on with the case");
    daemon.stop()?;
    write_moment(&look(moment::CUT_STOPPED)?)?;
    daemon::verify(&case)?;
    say("the evidence is intact on the handset");
    Ok(())
}

/// Validates with everything that a phone has.
fn validate() -> Result<()> {
    load_modules("nflog")?;
    mount_bpffs()?;
    let dir = Path::new(CASES).join(VALIDATION);
    let mut command = sakshi(["validate", "--keep", "-o", daemon::text(&dir)]);
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    // 1: something was wrong, which the report says.
    match output.status.code() {
        Some(0 | 1) => say("validated"),
        _ => {
            return Err(Error::Unexpected(format!(
                "`sakshi validate` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
    }
    Ok(())
}

fn stage_report(name: &str, status: &Value, summary: Value, doctor: Value) -> StageReport {
    let degraded = status["degraded"].as_array().into_iter().flatten();
    StageReport {
        name: name.to_owned(),
        degraded: degraded
            .filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect(),
        capture: status["capture"].as_str().unwrap_or_default().to_owned(),
        summary,
        doctor,
    }
}

/// What `sakshi doctor` says, seen with the environment that the daemon will have.
fn doctor(environment: std::process::CommandEnvs<'_>) -> Result<Value> {
    let mut command = sakshi(["doctor", "--format", "json"]);
    for (key, value) in environment {
        command.env(key, value.unwrap_or_default());
    }
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    // 1: something failed, which is what two of the stages are for.
    match output.status.code() {
        Some(0 | 1) => daemon::json(String::from_utf8_lossy(&output.stdout).trim()),
        _ => Err(Error::Unexpected(format!(
            "`sakshi doctor` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// What the apps say that they sent, a line each.
fn write_truth(name: &str, sent: &[Sent]) -> Result<()> {
    let mut text = String::new();
    for flow in sent {
        let line = serde_json::to_string(flow)
            .map_err(|error| Error::Unexpected(format!("writing a flow: {error}")))?;
        text += &(line + "\n");
    }
    let path = case(name).with_extension("truth.jsonl");
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

/// Loads a group of kernel modules that the first process has left out.
fn load_modules(group: &str) -> Result<()> {
    let list = format!("/lib/modules/{group}.list");
    let names = fs::read_to_string(&list).map_err(Error::io(format!("reading {list}")))?;
    for name in names.lines() {
        run_checked(Command::new("insmod").arg(format!("/lib/modules/{name}")))?;
    }
    Ok(())
}

fn mount_bpffs() -> Result<()> {
    run_checked(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"])).map(drop)
}

/// What is there now, beside the cases.
fn look(name: &str) -> Result<Moment> {
    let places = Places {
        files: ["/data", "/run", "/tmp"].map(PathBuf::from).to_vec(),
        // The test's own: namespaces are named after processes. And the lock of whoever runs
        // `iptables` first after a boot.
        except: [CASES, "/run/netns", "/run/xtables.lock"]
            .map(PathBuf::from)
            .to_vec(),
        bpffs: "/sys/fs/bpf".into(),
        programs: "/".into(),
    };
    Ok(Moment {
        name: name.to_owned(),
        traces: Traces::look(&run_checked, &places)?,
    })
}

/// Writes it so that a later power cut does not take it.
fn write_moment(moment: &Moment) -> Result<()> {
    let path = Path::new(CASES).join(TRACES);
    let line = serde_json::to_string(moment)
        .map_err(|error| Error::Unexpected(format!("writing what was there: {error}")))?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| {
            writeln!(file, "{line}")?;
            file.sync_all()
        })
        .map_err(Error::io(format!("writing {}", path.display())))?;
    // The name of a new file as well.
    run_checked(&mut Command::new("sync")).map(drop)
}

fn first_line(command: &mut Command) -> Result<String> {
    let said = run_checked(command)?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

fn run_checked(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(Error::io(format!("running {command:?}")))?;
    crate::handset::network::checked(command, &output)
}
