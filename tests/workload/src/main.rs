//! `sakshi-workload`: writes a capture and the truth about it.

use std::{
    fs::File,
    io::{self, BufWriter},
    process::ExitCode,
};

use sakshi_workload::{
    Format, Plan,
    flood::{self, Spread},
    make,
};

const HELP: &str = "\
Makes captures with known names.

Usage: sakshi-workload [--seed N] [--flows N] [--packets N] [--data N] [--every MICROS] CAPTURE TRUTH
       sakshi-workload --flood one|many [--seed N] [--packets N] CAPTURE

CAPTURE is pcapng where its name ends so, else pcap; TRUTH is JSON lines.
--data N: packets with data after a flow's names, on average. --every: time between flows.
--flood: Initials of QUIC with random connection IDs, from one socket or each from another.
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("sakshi-workload: {reason}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Vec<String>) -> Result<String, String> {
    let mut plan = Plan::default();
    let (mut flows, mut packets, mut spread) = (None, None, None);
    let mut paths = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            let wrong = |_| format!("{argument} takes a number, not `{value}`");
            value.parse::<u64>().map_err(wrong)
        };
        match argument.as_str() {
            "--seed" => plan.seed = number()?,
            "--flows" => flows = Some(number()?),
            "--packets" => packets = Some(number()?),
            "--data" => plan.data_packets = usize::try_from(number()?).unwrap_or_default(),
            "--every" => plan.every = number()?,
            "--flood" => {
                spread = match arguments.next().as_deref() {
                    Some("one") => Some(Spread::OneFlow),
                    Some("many") => Some(Spread::ManyFlows),
                    _ => return Err("--flood takes `one` or `many`".to_owned()),
                }
            }
            _ => paths.push(argument),
        }
    }
    if flows.is_some() || packets.is_some() {
        plan.flows = flows.unwrap_or(u64::MAX);
        plan.packets = packets.unwrap_or(u64::MAX);
    }
    let create = |path: &String| {
        File::create(path)
            .map(BufWriter::new)
            .map_err(|error| format!("{path}: {error}"))
    };
    let failed = |error: io::Error| error.to_string();
    match (spread, paths.as_slice()) {
        (Some(spread), [capture]) => {
            let count = packets.unwrap_or(200_000);
            flood::make(plan.seed, count, spread, create(capture)?).map_err(failed)?;
            Ok(format!("{count} packets"))
        }
        (None, [capture, truth]) => {
            if capture.ends_with(".pcapng") {
                plan.format = Format::Pcapng;
            }
            let totals = make(&plan, create(capture)?, create(truth)?).map_err(failed)?;
            Ok(format!(
                "{} packets, {} flows",
                totals.packets, totals.flows
            ))
        }
        _ => Err("the paths are missing".to_owned()),
    }
}
