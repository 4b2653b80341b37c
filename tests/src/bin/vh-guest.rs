//! What the emulated handset runs once it has booted (`sakshi_tests::emulated::guest`).
//!
//! In: the kernel's command line. Out: marked lines on the console, the last of them `done`, or
//! `failed` with the reason.

use std::process::ExitCode;

use sakshi_tests::emulated::{MARK, guest};

fn main() -> ExitCode {
    match guest::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, so that the other side sees all of it.
            let reason = error.to_string().replace('\n', " | ");
            println!("{MARK}failed: {reason}");
            ExitCode::FAILURE
        }
    }
}
