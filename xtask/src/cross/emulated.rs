//! Runs the unit tests on the phone's processor, emulated.
//!
//! In: the workspace, qemu's user emulation, the toolchain of the static program. Out: what nextest
//! says of each test that failed, and how many ran; by name and with the reason those that were left
//! out. The emulator passes system calls on to this machine's kernel, and knows neither packet
//! sockets nor netfilter's log nor socket diagnosis: what needs them is tested on a virtual handset.

use std::process::{Command, Stdio};

use super::{
    cache::{self, Cache},
    comparison::EMULATOR,
    target::Target,
    target_folder,
    toolchain::{self, Toolchain},
    workspace,
};
use crate::{
    prerequisites,
    steps::{Outcome, Report, output, run_command},
};

/// Which tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those beside the code: part of `cargo xtask test`.
    Unit,
    /// Also those of a package's folder `tests`, which take minutes.
    All,
}

impl Scope {
    /// What cargo is to build.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Unit => &["--lib"],
            Self::All => &["--lib", "--tests"],
        }
    }

    /// The entries of the list that concern it.
    fn left_out(self) -> Vec<LeftOut> {
        let entries = LEFT_OUT.into_iter();
        entries
            .filter(|entry| self == Self::All || !entry.binary.contains("::"))
            .collect()
    }
}

/// The packages whose tests run.
const PACKAGES: [&str; 2] = ["sakshi", "sakshi-rules"];
/// The folder of cargo's profile `dev`: third-party crates optimised a little, ours not at all.
const PROFILE_FOLDER: &str = "debug";

/// Tests that cannot pass under the emulator.
#[derive(Debug, Clone, Copy)]
struct LeftOut {
    /// The binary, as nextest names it: the package for unit tests, else `package::file`.
    binary: &'static str,
    /// Their names; none means all of the binary. Each has to exist, so that who renames one is
    /// told.
    tests: &'static [&'static str],
    /// Why not.
    reason: &'static str,
}

/// The tests that do not run.
const LEFT_OUT: [LeftOut; 3] = [
    LeftOut {
        binary: "sakshi",
        tests: &[
            "attribute::sock_diag::tests::does_not_choose_between_two",
            "attribute::sock_diag::tests::finds_a_connected_udp_socket",
            "attribute::sock_diag::tests::finds_a_tcp_socket_and_no_other",
            "attribute::sock_diag::tests::finds_a_v4_connection_of_a_v6_socket",
            "attribute::sock_diag::tests::finds_a_wildcard_udp_socket_of_either_family",
            "capture::live::closes::tests::loopback_and_unconnected_sockets_are_passed_over",
            "capture::live::closes::tests::overruns_are_told_together",
            "capture::live::closes::tests::what_is_held_goes_in_order_and_none_is_lost",
            "capture::live::lookup::tests::asks_once_until_the_tuple_is_old_or_opens_anew",
            "capture::live::lookup::tests::says_that_it_found_nobody",
        ],
        reason: "ask the kernel for sockets (NETLINK_SOCK_DIAG)",
    },
    LeftOut {
        binary: "sakshi::evidence",
        tests: &["writing::kill_leaves_everything_acknowledged"],
        reason: "starts itself, which the kernel of another processor cannot",
    },
    LeftOut {
        binary: "sakshi::live",
        tests: &[],
        reason: "capture from namespaces (packet sockets, NFLOG)",
    },
];

/// Builds and runs the tests; what is missing for it fails where CI is set, else it is a line.
pub fn run(scope: Scope, report: &mut Report) -> Outcome {
    match prepare(report) {
        Ok(toolchain) => report.step("unit tests on arm64 (emulated)", || test(scope, &toolchain)),
        Err(reason) => prerequisites::absent(&format!("unit tests on arm64 did not run: {reason}")),
    }
}

fn prepare(report: &mut Report) -> Result<Toolchain, String> {
    prerequisites::programs(&[EMULATOR])?;
    prerequisites::cargo_tool("nextest")?;
    let cache = Cache::open()?;
    toolchain::prepare_tests(&cache, report)
}

fn test(scope: Scope, toolchain: &Toolchain) -> Outcome {
    println!("{}", toolchain.describe());
    if toolchain.std_is_new() {
        // Cargo does not see that the standard library is another one.
        let folder = target_folder().join(Target::Musl.triple());
        cache::remove(&folder.join(PROFILE_FOLDER))?;
    }
    let mut list = nextest(scope, toolchain, &["list", "--message-format", "oneline"]);
    // Cargo says there what it builds.
    let listed = output(list.stderr(Stdio::inherit()))?;
    let entries = scope.left_out();
    for (test, reason) in left_out(&entries, &listed)? {
        println!("left out: {test}: {reason}");
    }
    let filter = filter(&entries);
    run_command(&mut nextest(
        scope,
        toolchain,
        &["run", "--filterset", &filter],
    ))
}

/// nextest for the phone's processor.
fn nextest(scope: Scope, toolchain: &Toolchain, words: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.arg("nextest").args(words).args(scope.words());
    cargo.args(["--locked", "--no-default-features"]);
    cargo.arg("--target-dir").arg(target_folder());
    cargo.args(toolchain.target_words());
    for package in PACKAGES {
        cargo.args(["-p", package]);
    }
    cargo.current_dir(workspace());
    toolchain.equip(&mut cargo);
    let triple = Target::Musl.triple().replace('-', "_").to_uppercase();
    cargo.env(format!("CARGO_TARGET_{triple}_RUNNER"), EMULATOR.0);
    cargo
}

/// The tests of the list, each with the reason; nextest's has a line `binary name` for each test.
/// An entry that means none is an error.
fn left_out<'a>(list: &[LeftOut], tests: &'a str) -> Result<Vec<(&'a str, &'static str)>, String> {
    let mut found = Vec::new();
    let mut gone = Vec::new();
    for entry in list {
        let of_binary: Vec<_> = tests
            .lines()
            .filter_map(|line| Some((line, line.split_once(' ')?)))
            .filter(|(_, (binary, _))| *binary == entry.binary)
            .collect();
        if entry.tests.is_empty() {
            found.extend(of_binary.iter().map(|(line, _)| (*line, entry.reason)));
            if of_binary.is_empty() {
                gone.push(entry.binary.to_owned());
            }
        }
        for wanted in entry.tests {
            match of_binary.iter().find(|(_, (_, name))| name == wanted) {
                Some((line, _)) => found.push((*line, entry.reason)),
                None => gone.push(format!("{} {wanted}", entry.binary)),
            }
        }
    }
    if gone.is_empty() {
        return Ok(found);
    }
    Err(format!(
        "no such test: {}; was it renamed? The list is LEFT_OUT in {}",
        gone.join(", "),
        file!()
    ))
}

/// What nextest is to run: all that is not on the list.
fn filter(list: &[LeftOut]) -> String {
    let mut filter = String::from("all()");
    for entry in list {
        let binary = format!("binary_id(={})", entry.binary);
        let names: Vec<_> = entry
            .tests
            .iter()
            .map(|name| format!("test(={name})"))
            .collect();
        filter.push_str(" - (");
        filter.push_str(&binary);
        if !names.is_empty() {
            filter.push_str(" & (");
            filter.push_str(&names.join(" | "));
            filter.push(')');
        }
        filter.push(')');
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [LeftOut; 2] = [
        LeftOut {
            binary: "a",
            tests: &["x::one", "x::two"],
            reason: "no socket",
        },
        LeftOut {
            binary: "a::live",
            tests: &[],
            reason: "no packets",
        },
    ];

    #[test]
    fn every_test_that_is_left_out_has_a_reason() {
        let tests = "a x::one\na x::three\na x::two\na::live y\na::live z\nb x::one\n";
        let expected = [
            ("a x::one", "no socket"),
            ("a x::two", "no socket"),
            ("a::live y", "no packets"),
            ("a::live z", "no packets"),
        ];
        assert_eq!(left_out(&LIST, tests).as_deref(), Ok(&expected[..]));
        assert_eq!(
            filter(&LIST),
            "all() - (binary_id(=a) & (test(=x::one) | test(=x::two))) - (binary_id(=a::live))"
        );
        assert_eq!(filter(&[]), "all()");
    }

    #[test]
    fn unit_tests_are_not_asked_for_the_names_of_others() {
        assert_eq!(Scope::All.left_out().len(), LEFT_OUT.len());
        let unit = Scope::Unit.left_out();
        assert!(
            unit.iter().all(|entry| entry.binary == "sakshi"),
            "{unit:?}"
        );
        assert!(!unit.is_empty());
    }

    #[test]
    fn a_name_that_is_no_test_any_more_is_told() {
        let error = left_out(&LIST, "a x::one\nb x::two\n").expect_err("two are gone");
        assert!(
            error.starts_with("no such test: a x::two, a::live;"),
            "{error}"
        );
        assert!(error.contains("emulated.rs"), "{error}");
    }
}
