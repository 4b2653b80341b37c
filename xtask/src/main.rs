//! The project's own commands: `cargo xtask data`.

use std::process::ExitCode;

mod data;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((command, rest)) if command == "data" => data::run(rest),
        _ => Err("usage: cargo xtask data".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
