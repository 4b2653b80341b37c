//! What reading names costs, beside other programs on the same capture: numbers to compare, never
//! verdicts.
//!
//! In: the programs beside this one, built for release; tcpdump, tshark and valgrind where they are
//! installed. Out: tables of processor time, memory and instructions. Run it with
//! `cargo xtask bench names`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use sakshi_tests::{
    daemon::text,
    handset::{Error, Result},
    wait::{self, Stopwatch},
};
use sakshi_workload::world::World;

/// Packets of the capture.
const PACKETS: u64 = 1_000_000;
/// Packets of the captures whose instructions are counted: their difference is what is counted.
const COUNTED: [u64; 2] = [50_000, 250_000];
/// Initials of the flood.
const FLOOD: u64 = 200_000;
/// Flows that live at once.
const LIVE: u64 = 100_000;
/// Times that each program is run, in turns; the least is shown, and the most.
const TIMES: usize = 7;
/// No run takes longer.
const RUN_MAX: Duration = Duration::from_mins(30);
/// Clock ticks a second of Linux's accounting, the same on every machine.
const TICKS: f64 = 100.0;

const HELP: &str = "\
Usage: cargo xtask bench names [--packets N] [--times N]

Makes captures of a mobile mix with known names, a flood of QUIC Initials, and many flows that live at
once, and prints what `sakshi inspect --dry-run` needs for them, and tcpdump and tshark.
";

fn main() -> ExitCode {
    let mut packets = PACKETS;
    let mut times = TIMES;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        match (word.as_str(), value) {
            ("--packets", Some(value)) => packets = value,
            ("--times", Some(value)) => times = usize::try_from(value).unwrap_or(TIMES).max(1),
            _ => {
                eprint!("{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    match bench(packets, times) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(3)
        }
    }
}

fn bench(packets: u64, times: usize) -> Result<()> {
    let dir = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
    let dir = dir.path();
    let start = start_alone(dir, times)?;
    // It may be over before anybody has looked at its memory; then none is taken off.
    let memory = if start.peak_mib < 1.0 {
        "its memory was not seen".to_owned()
    } else {
        format!("{:.1} MiB", start.peak_mib)
    };
    println!(
        "start alone: {:.3} s, {memory} (taken off where it says *without the start*)\n",
        start.seconds
    );
    mix(dir, packets, times)?;
    instructions(dir)?;
    flood(dir, &start, times)?;
    live_flows(dir, &start, times)
}

/// What `sakshi` needs before the first packet.
fn start_alone(dir: &Path, times: usize) -> Result<Used> {
    let none = dir.join("none.pcap");
    workload(&["--flows", "1"], &none)?;
    Ok(least(&runs(|| inspect(&none), times)?))
}

/// The mix, by each program.
fn mix(dir: &Path, packets: u64, times: usize) -> Result<()> {
    let capture = dir.join("mix.pcap");
    let said = workload(&["--packets", &packets.to_string()], &capture)?;
    let packets = count(&said);
    println!("mix: {said}, {} MB\n", size(&capture) / 1_000_000);
    println!("| program | CPU s | packets/s of CPU | peak MiB | against tcpdump |");
    println!("| --- | --: | --: | --: | --: |");
    let path = text(&capture);
    let tcpdump = || command("tcpdump", &["-n", "-r", path, "-w", "/dev/null"]);
    let tshark = || {
        let mut words = vec!["-r", path, "-T", "fields"];
        for field in [
            "tls.handshake.extensions_server_name",
            "dns.qry.name",
            "http.host",
        ] {
            words.extend(["-e", field]);
        }
        command("tshark", &words)
    };
    let (mut of_tcpdump, mut of_sakshi) = (Vec::new(), Vec::new());
    let has_tcpdump = installed("tcpdump");
    for _ in 0..times {
        if has_tcpdump {
            of_tcpdump.push(run(&mut tcpdump())?);
        }
        of_sakshi.push(run(&mut inspect(&capture))?);
    }
    let base = (!of_tcpdump.is_empty()).then(|| least(&of_tcpdump));
    let row = |program: &str, runs: &[Used]| {
        let best = least(runs);
        let worst = runs.iter().map(|used| used.seconds).fold(0.0, f64::max);
        let factor = base.as_ref().map_or("–".to_owned(), |base| {
            format!("{:.2}", best.seconds / base.seconds)
        });
        println!(
            "| {program} | {:.3}–{worst:.3} | {:.0} | {:.1} | {factor} |",
            best.seconds,
            whole(packets) / best.seconds,
            best.peak_mib
        );
    };
    if !of_tcpdump.is_empty() {
        row("tcpdump -w /dev/null", &of_tcpdump);
    }
    row("sakshi inspect --dry-run", &of_sakshi);
    let whole_case = || {
        let mut words = given(&capture);
        words.extend(["--case".to_owned(), text(&dir.join("case")).to_owned()]);
        let mut command = Command::new(sakshi_tests::program("sakshi"));
        command.args(words);
        command
    };
    row(
        "sakshi inspect --case, judged and kept",
        &runs(whole_case, 1)?,
    );
    if installed("tshark") {
        row("tshark, names only", &runs(tshark, 1)?);
    }
    let counted = counted_flows(&capture)?;
    fs::remove_file(&capture).map_err(Error::io("removing the capture"))?;
    println!("\nmade: {said}; counted: {counted} flows\n");
    Ok(())
}

/// Flows that `sakshi` counts: what is quick must be right, too.
fn counted_flows(capture: &Path) -> Result<u64> {
    let output = inspect(capture).args(["--format", "json"]).output();
    let output = output.map_err(Error::io("running sakshi"))?;
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Unexpected(format!("the summary: {error}")))?;
    let flows = summary["flows"].as_u64();
    flows.ok_or_else(|| Error::Unexpected(format!("no flows: {summary}")))
}

/// Instructions a packet, by callgrind.
fn instructions(dir: &Path) -> Result<()> {
    if !installed("valgrind") {
        println!("instructions: not counted, for valgrind is not installed\n");
        return Ok(());
    }
    let mut counts = Vec::new();
    for packets in COUNTED {
        let capture = dir.join("counted.pcap");
        let said = workload(&["--packets", &packets.to_string()], &capture)?;
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(sakshi_tests::program("sakshi"))
            .args(arguments(&capture));
        let output = valgrind.output().map_err(Error::io("running valgrind"))?;
        let said_by_valgrind = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = said_by_valgrind
            .lines()
            .find_map(|line| line.split_once("Collected : "))
            .and_then(|(_, number)| number.trim().parse::<u64>().ok())
            .ok_or_else(|| Error::Unexpected(format!("valgrind said: {said_by_valgrind}")))?;
        counts.push((count(&said), collected));
    }
    if let [(few, less), (many, more)] = counts[..] {
        let each = whole(more - less) / whole(many - few);
        println!(
            "instructions: {each:.0} a packet (callgrind, {few} and {many} packets; valgrind has no \
             SHA instructions, so that keys cost more there)\n"
        );
    }
    Ok(())
}

/// Initials with random connection IDs.
fn flood(dir: &Path, start: &Used, times: usize) -> Result<()> {
    println!("flood of {FLOOD} Initials, without the start\n");
    println!("| from | µs of CPU each | MiB |");
    println!("| --- | --: | --: |");
    for (spread, what) in [("one", "one socket"), ("many", "a socket each")] {
        let capture = dir.join("flood.pcap");
        let number = FLOOD.to_string();
        workload(&["--flood", spread, "--packets", &number], &capture)?;
        let used = least(&runs(|| inspect(&capture), times)?);
        println!(
            "| {what} | {:.2} | {:.1} |",
            (used.seconds - start.seconds) * 1e6 / whole(FLOOD),
            used.peak_mib - start.peak_mib
        );
    }
    println!();
    Ok(())
}

/// Flows that all live at the end of the capture.
fn live_flows(dir: &Path, start: &Used, times: usize) -> Result<()> {
    let capture = dir.join("live.pcap");
    let words = [
        "--every",
        "100",
        "--data",
        "1",
        "--flows",
        &LIVE.to_string(),
    ];
    let said = workload(&words, &capture)?;
    let used = least(&runs(|| inspect(&capture), times)?);
    println!(
        "{said} within 10 s, all live: {:.1} MiB, {:.1} MiB without the start",
        used.peak_mib,
        used.peak_mib - start.peak_mib
    );
    Ok(())
}

/// Has a capture made; gives what the maker said.
fn workload(words: &[&str], capture: &Path) -> Result<String> {
    let mut maker = Command::new(sakshi_tests::program("sakshi-workload"));
    maker.args(words).arg(capture);
    if !words.contains(&"--flood") {
        maker.arg("/dev/null");
    }
    let output = maker.output().map_err(Error::io("making a capture"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Unexpected(stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The packets that the maker says.
fn count(said: &str) -> u64 {
    said.split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn arguments(capture: &Path) -> Vec<String> {
    let mut words = given(capture);
    words.push("--dry-run".to_owned());
    words
}

/// What `sakshi` is told of a capture, whatever becomes of it.
fn given(capture: &Path) -> Vec<String> {
    let mut words = vec!["inspect".to_owned(), text(capture).to_owned()];
    for addr in World::handset() {
        words.extend(["--handset".to_owned(), addr.to_string()]);
    }
    words
}

fn inspect(capture: &Path) -> Command {
    let mut command = Command::new(sakshi_tests::program("sakshi"));
    command.args(arguments(capture));
    command
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir: PathBuf| dir.join(program).is_file())
}

/// What a process used.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// Processor time, user and system, of all threads.
    seconds: f64,
    /// The most memory it had.
    peak_mib: f64,
}

fn least(runs: &[Used]) -> Used {
    let by_time = |one: &&Used, other: &&Used| one.seconds.total_cmp(&other.seconds);
    let none = Used {
        seconds: 0.0,
        peak_mib: 0.0,
    };
    runs.iter().min_by(by_time).copied().unwrap_or(none)
}

fn runs(of: impl Fn() -> Command, times: usize) -> Result<Vec<Used>> {
    (0..times).map(|_| run(&mut of())).collect()
}

fn run(command: &mut Command) -> Result<Used> {
    let watch = Stopwatch::start();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::io(format!("running {command:?}")))?;
    let mut peak_mib = 0.0;
    // Its figures are read until it has ended and before it is reaped: then they are complete.
    let seconds = wait::until(RUN_MAX, || {
        if let Some(peak) = peak(&child) {
            peak_mib = peak;
        }
        processor_seconds(&child)
    });
    let status = child.wait().map_err(Error::io("waiting for a program"))?;
    match seconds {
        Some(seconds) if status.success() => Ok(Used { seconds, peak_mib }),
        _ => Err(Error::Unexpected(format!(
            "{command:?}: {status} after {:?}",
            watch.elapsed()
        ))),
    }
}

fn peak(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(whole(kib) / 1024.0)
}

/// Processor time of a process that has ended and was not reaped; none while it runs.
fn processor_seconds(child: &Child) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    if *fields.first()? != "Z" {
        return None;
    }
    // Fields 14 and 15 of the line, of which two are before the bracket.
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let in_ticks = whole(ticks(11)? + ticks(12)?) / TICKS;
    // Ticks are cut off, each of the two; the scheduler's own sum is not, and is that of one thread.
    let sum = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).ok();
    let nanos = sum.and_then(|sum| sum.split(' ').next()?.parse::<u64>().ok());
    Some(nanos.map_or(in_ticks, |nanos| in_ticks.max(whole(nanos) / 1e9)))
}

#[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
fn whole(count: u64) -> f64 {
    count as f64
}
