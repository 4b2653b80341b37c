//! Benches of the real daemon on a virtual handset: numbers to compare, never verdicts.
//!
//! In: root, and the programs beside this one, built for release. Out: a table of what was sent,
//! received, lost and told, and of what it cost. Run it with `cargo xtask bench capture`.

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{Error, Handset, Result, network::HANDSET_V4, places, script::Action},
    is_root,
    wait::Stopwatch,
};
use serde_json::Value;

/// Packets a second that are asked of the generator.
const RATES: [u64; 2] = [200_000, 400_000];
/// How long each run sends.
const SECONDS: u64 = 10;
/// Times that everything is repeated.
const REPETITIONS: u32 = 3;
/// Threads of the generator.
const THREADS: u64 = 2;
/// Payload of a datagram.
const BYTES: usize = 100;
/// Port at which a socket waits that nobody reads.
const SILENT: u16 = 4_000;
/// Who sends.
const UID: u32 = 10_050;
/// What was sent last is on its way for this long at most.
const MARGIN: Duration = Duration::from_secs(1);

const HELP: &str = "\
Usage: cargo xtask bench capture [--rate N] [--seconds N] [--times N]

As root: floods a virtual handset with datagrams while the daemon watches by NFLOG and by the packet
socket, and while tcpdump writes to /dev/null, and prints what was lost and what it cost.
";

struct Options {
    rates: Vec<u64>,
    seconds: u64,
    times: u32,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if !is_root() {
        eprintln!("bench: needs root for network namespaces");
        return ExitCode::from(3);
    }
    println!(
        "| by | asked/s | sent | sent/s | recorded | lost, told | not accounted for | CPU µs a packet, by thread | peak MiB |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --- | --: |");
    for _ in 0..options.times {
        for rate in &options.rates {
            for way in ["nflog", "packet", "tcpdump"] {
                match run(way, *rate, options.seconds) {
                    Ok(row) => println!("{row}"),
                    Err(error) => {
                        eprintln!("bench: {way} at {rate}: {error}");
                        return ExitCode::from(3);
                    }
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        rates: RATES.to_vec(),
        seconds: SECONDS,
        times: REPETITIONS,
    };
    if words.next()? != "capture" {
        return None;
    }
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--rate" => options.rates = vec![value.parse().ok()?],
            "--seconds" => options.seconds = value.parse().ok()?,
            "--times" => options.times = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

/// What a flood came to.
struct Flood {
    sent: u64,
    seconds: f64,
}

fn flood(handset: &Handset, rate: u64, seconds: u64) -> Result<Flood> {
    let action = Action::Flood {
        to: places::SINGAPORE.v4(SILENT),
        bytes: BYTES,
        threads: THREADS,
        packets: rate * seconds / THREADS,
        rate,
        // What cannot be sent that fast is sent for longer, up to here.
        seconds: 3 * seconds,
    };
    let watch = Stopwatch::start();
    let sent = handset.run_app(UID, &[action])?;
    let seconds = watch.elapsed().as_secs_f64();
    let sent = sent.iter().filter_map(|sent| sent.datagrams).sum();
    thread::sleep(MARGIN);
    Ok(Flood { sent, seconds })
}

/// One line of the table.
fn run(way: &str, rate: u64, seconds: u64) -> Result<String> {
    let handset = Handset::start()?;
    let silent = places::SINGAPORE.v4(SILENT);
    let _silent = handset
        .network()
        .in_internet(|| UdpSocket::bind(silent))?
        .map_err(Error::io("opening the silent socket"))?;
    let (flood, seen, told, cost) = if way == "tcpdump" {
        by_tcpdump(&handset, rate, seconds)?
    } else {
        by_daemon(&handset, way, rate, seconds)?
    };
    let missing = i128::from(flood.sent) - i128::from(seen) - i128::from(told);
    let threads: Vec<String> = cost
        .nanos
        .iter()
        .filter(|(_, nanos)| **nanos >= flood.sent * 10)
        .map(|(name, nanos)| format!("{name} {:.2}", per_packet(*nanos, flood.sent)))
        .collect();
    let sum = cost.nanos.values().sum();
    Ok(format!(
        "| {way} | {rate} | {} | {:.0} | {seen} | {told} | {missing} | {} = {:.2} | {:.1} |",
        flood.sent,
        whole(flood.sent) / flood.seconds,
        threads.join(" + "),
        per_packet(sum, flood.sent),
        whole(cost.peak_kib) / 1024.0,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
fn whole(count: u64) -> f64 {
    count as f64
}

fn per_packet(nanos: u64, packets: u64) -> f64 {
    whole(nanos) / 1000.0 / whole(packets.max(1))
}

/// What a process used so far.
struct Cost {
    /// Time on a processor by name of thread.
    nanos: BTreeMap<String, u64>,
    /// The most memory it had.
    peak_kib: u64,
}

fn cost(pid: u32) -> Result<Cost> {
    let what = || Error::io(format!("reading what process {pid} used"));
    let mut nanos = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).map_err(what())? {
        let path = task.map_err(what())?.path();
        // A thread may end meanwhile.
        if let (Ok(name), Ok(used)) = (
            fs::read_to_string(path.join("comm")),
            fs::read_to_string(path.join("schedstat")),
        ) {
            let used = used
                .split(' ')
                .next()
                .and_then(|used| used.parse::<u64>().ok());
            *nanos.entry(name.trim().to_owned()).or_insert(0) += used.unwrap_or(0);
        }
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(what())?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
    Ok(Cost {
        nanos,
        peak_kib: peak.unwrap_or(0),
    })
}

/// Sent, recorded, told as lost, cost.
type Outcome = (Flood, u64, u64, Cost);

fn by_daemon(handset: &Handset, way: &str, rate: u64, seconds: u64) -> Result<Outcome> {
    let case = handset.dir().join("case");
    let inventory = handset.inventory();
    let mut command = daemon::sakshi(["run", "--inventory", text(&inventory)]);
    command.args(["--capture", way]);
    let daemon = Daemon::start_command(handset, &case, command)?;
    let flood = flood(handset, rate, seconds)?;
    let cost = cost(daemon.pid())?;
    daemon.stop()?;
    let sum = |records: &[Value], key: &str| -> u64 {
        records
            .iter()
            .filter_map(|record| record[key].as_u64())
            .sum()
    };
    let mut flows = daemon::export(&case, "flows")?;
    flows.retain(|flow| flow["dport"] == SILENT);
    let mut gaps = daemon::export(&case, "gaps")?;
    gaps.retain(|gap| gap["cause"] == "kernel_loss" || gap["cause"] == "queue_full");
    Ok((
        flood,
        sum(&flows, "packets_out"),
        sum(&gaps, "packets"),
        cost,
    ))
}

fn by_tcpdump(handset: &Handset, rate: u64, seconds: u64) -> Result<Outcome> {
    let mut command = Command::new("tcpdump");
    let filter = format!("src host {HANDSET_V4} and udp dst port {SILENT}");
    command
        .args([
            "-n",
            "-i",
            "any",
            "-B",
            "8192",
            "-s",
            "4096",
            "-w",
            "/dev/null",
            &filter,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = handset.spawn(&mut command)?;
    thread::sleep(MARGIN);
    let flood = flood(handset, rate, seconds);
    let cost = cost(child.id());
    let said = end(&mut child)?;
    let figure = |what: &str| -> u64 {
        said.lines()
            .find_map(|line| line.strip_suffix(what)?.trim().parse().ok())
            .unwrap_or(0)
    };
    let dropped = figure("packets dropped by kernel");
    Ok((flood?, figure("packets captured"), dropped, cost?))
}

/// Asks tcpdump to end; what it says then.
fn end(child: &mut Child) -> Result<String> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)
        .map_err(|errno| Error::io("ending tcpdump")(errno.into()))?;
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        std::io::Read::read_to_string(stderr, &mut said)
            .map_err(Error::io("reading what tcpdump says"))?;
    }
    child.wait().map_err(Error::io("waiting for tcpdump"))?;
    Ok(said)
}
