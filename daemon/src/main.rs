//! The program `sakshi`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    sakshi::cli::main()
}
