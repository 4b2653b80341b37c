//! Output that cannot be written, and words that are not understood.

use std::{fs, process::Command};

use sakshi_tests::daemon::text;

use super::{COULD_NOT, DONE, Place, WRONG_USE, check, judge};

/// Runs a command whose standard output or error nobody reads.
fn unheard(command: &mut Command, stdout: bool, stderr: bool) -> std::process::Output {
    let broken = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    command.stdin(std::process::Stdio::null());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    if stdout {
        command.stdout(broken());
    }
    if stderr {
        command.stderr(broken());
    }
    command
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("its end")
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let place = Place::new();
    let case = place.case();
    let capture = place.at("sample.pcap");
    let commands: [&[&str]; 8] = [
        &["findings", text(&case)],
        &["verify", text(&case)],
        &["export", text(&case), "--what", "records"],
        &[
            "export",
            text(&case),
            "--what",
            "records",
            "--format",
            "csv",
        ],
        &["export", text(&case), "--what", "findings"],
        &["inspect", text(&capture), "--dry-run"],
        &["inspect", text(&capture), "--dry-run", "--format", "json"],
        &["--help"],
    ];
    for words in commands {
        let output = unheard(&mut place.sakshi(words.iter().copied()), true, false);
        let said = judge(&words.join(" "), &output, DONE, &[]);
        // What goes beside an export is no complaint.
        let complaint = said
            .stderr
            .lines()
            .find(|line| !line.starts_with("no authority recorded"));
        assert_eq!(complaint, None, "{words:?}");
    }
}

#[test]
fn standard_error_that_nobody_reads_changes_nothing() {
    let place = Place::new();
    let missing = place.at("missing");
    let output = unheard(&mut place.sakshi(["findings", text(&missing)]), false, true);
    judge("findings", &output, COULD_NOT, &[]);
    let cut = place.file("cut.pcap", &super::made::sample()[..50]);
    let output = unheard(&mut place.try_inspect(&cut), false, true);
    let said = judge("inspect", &output, DONE, &[]);
    assert_eq!(said.count("packets"), 0);
}

#[test]
fn a_full_device_as_output_is_said() {
    let place = Place::new();
    let case = place.case();
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    for words in [
        &["findings"][..],
        &["verify"],
        &["export", "--what", "records"],
    ] {
        let mut command = place.sakshi(words.iter().copied());
        command.arg(&case).stdout(full());
        let output = command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output);
        let says = ["standard output cannot be written: No space left"];
        judge(
            &format!("{command:?}"),
            &output.expect("its end"),
            COULD_NOT,
            &says,
        );
    }
    let export = |to: &str, code, says: &[&str]| {
        let arguments = ["export", text(&case), "--what", "records", "-o", to];
        check(&mut place.sakshi(arguments), code, says);
    };
    export(
        "/dev/full",
        COULD_NOT,
        &["/dev/full cannot be written: No space left"],
    );
    export("/dev/null", DONE, &["rows in /dev/null"]);
    export(
        "/nonexistent/x",
        COULD_NOT,
        &["/nonexistent/x cannot be written", "check its folder"],
    );
    export(
        text(&place.at("")),
        COULD_NOT,
        &["cannot be written: Is a directory"],
    );
}

#[test]
fn a_case_that_cannot_be_read_costs_no_earlier_export() {
    let place = Place::new();
    let earlier = place.file("flows.jsonl", "earlier");
    let missing = place.at("missing");
    let arguments = [
        "export",
        text(&missing),
        "--what",
        "flows",
        "-o",
        text(&earlier),
    ];
    check(&mut place.sakshi(arguments), COULD_NOT, &["does not exist"]);
    assert_eq!(
        fs::read_to_string(&earlier).expect("still there"),
        "earlier"
    );
}

#[test]
fn an_export_never_lands_in_the_case() {
    let place = Place::new();
    let case = place.case();
    std::os::unix::fs::symlink(case.join("evidence.db"), place.at("link")).expect("a link");
    let database = fs::read(case.join("evidence.db")).expect("the database");
    for target in [
        case.join("evidence.db"),
        case.join("flows.jsonl"),
        place.at("link"),
    ] {
        let arguments = [
            "export",
            text(&case),
            "--what",
            "flows",
            "-o",
            text(&target),
        ];
        check(
            &mut place.sakshi(arguments),
            COULD_NOT,
            &["lies in the case", "a file elsewhere"],
        );
    }
    assert_eq!(
        fs::read(case.join("evidence.db")).expect("the database"),
        database
    );
    check(place.sakshi(["verify"]).arg(&case), DONE, &[]);
}

#[test]
fn wrong_use_is_told_apart_from_what_cannot_be_done() {
    let place = Place::new();
    let wrong: [&[&str]; 13] = [
        &["frobnicate"],
        &["run"],
        &["run", "--case", "x", "--capture", "magic"],
        &["inspect", "x.pcap"],
        &["inspect", "--dry-run"],
        &["inspect", "x.pcap", "--dry-run", "--case", "x"],
        &["inspect", "x.pcap", "--dry-run", "--handset", "nowhere"],
        &["inspect", "x.pcap", "--dry-run", "--rules", "x.toml"],
        &["inspect", "x.pcap", "--dry-run", "--operator", "x"],
        &["export", "x"],
        &["export", "x", "--what", "secrets"],
        &["note"],
        &["verify", "x", "y"],
    ];
    for words in wrong {
        check(
            &mut place.sakshi(words.iter().copied()),
            WRONG_USE,
            &["try '--help'"],
        );
    }
    check(&mut place.sakshi([]), WRONG_USE, &["Usage:", "Examples:"]);
    let says = [
        "invalid value 'secrets'",
        "findings, contacts, flows, gaps, records",
    ];
    check(
        &mut place.sakshi(["export", "x", "--what", "secrets"]),
        WRONG_USE,
        &says,
    );
}
