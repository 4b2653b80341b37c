//! The project's own commands: `cargo xtask demo`, `test`, `bench`, `cross`, `handset`, `bpf`, `data`.
//!
//! In: the workspace, on a machine as fresh as can be. Out: exit code 0 when all is well, 1 when
//! something is not, 2 for wrong use. It depends on nothing (`data`
//! apart), so that it is built in a moment.

mod bpf;
mod cross;
mod data;
mod handset;
mod prerequisites;
mod shim;
mod steps;

use std::process::ExitCode;

const HELP: &str = "\
The project's own commands.

Usage: cargo xtask <command>

  demo [--keep] [--record] [--bless]   see the real daemon find what a virtual handset's apps send
  test                                 everything that must pass before a change goes in
  bench capture [--rate N …]           what capturing loses and costs (root, release build)
  bench places [FOLDER]                how fast a place is found, beside maxminddb (release build)
  bench names [--packets N …]          what reading names costs, beside tcpdump and tshark (release build)
  cross [musl] [android] [--compare]   build what runs on the phone (docs/building.md)
  cross --tests [--all]                the unit tests (all: the slow ones too) on arm64, emulated
  cross --stand-in                     build the shim with a folder that looks like an NDK
  handset [--power-cuts N] [--validate] [--bless]  boot the phone's binary on a virtual handset
  shim                                 build the Java part of what runs in Android (needs a JDK: default-jdk-headless)
  bpf                                  compile the program that reads owners in the kernel
  data DBIP.tgz [--aws FILE] [--check] rebuild the embedded location data (docs/data.md)
  help                                 this text

What is missing (cargo-nextest, cargo-deny; as root on Debian: iproute2, iptables, clang, tshark, poppler-utils,
openssl, python3-venv; adb for the tests of the way over a cable, default-jdk-headless for those of the shim;
a Python with DuckDB in target/python) is installed.
Where CI is set, a missing prerequisite fails; elsewhere a line says what did not run and why.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo", options @ ..] => steps::demo(options),
        ["test"] => steps::test(),
        ["bench", "places", ..] => {
            data::bench(arguments.get(2..).unwrap_or_default()).map_err(|error| error.to_string())
        }
        ["bench", options @ ..] => steps::bench(options),
        ["cross", options @ ..] => cross::run(options),
        ["handset", options @ ..] => handset::run_handset(options),
        ["bpf"] => bpf::compile(),
        ["shim"] => shim::build(),
        ["data", ..] => {
            data::run(arguments.get(1..).unwrap_or_default()).map_err(|error| error.to_string())
        }
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask: unknown command `{}`\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
