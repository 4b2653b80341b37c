//! Talking to a daemon that is not there, and commands that need root.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use sakshi_tests::{daemon::text, is_root, program};

use super::{COULD_NOT, NO, Place, check};

/// `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn without_a_daemon_status_answers_no_and_the_others_could_not() {
    let place = Place::new();
    let case = place.case();
    let says = [
        "no daemon is running",
        "start one with `sakshi run --case DIR`",
    ];
    for target in [&[][..], &["--case", text(&case)]] {
        for (words, code) in [
            (&["status"][..], NO),
            (&["status", "--follow"], NO),
            (&["stop"], COULD_NOT),
            (&["note", "remark"], COULD_NOT),
            (&["phase", "idle"], COULD_NOT),
        ] {
            check(
                &mut place.sakshi(words.iter().chain(target).copied()),
                code,
                &says,
            );
        }
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let place = Place::new();
    for (command, code) in [("status", 1), ("stop", 3), ("note", 3), ("phase", 3)] {
        let said = check(&mut place.sakshi([command, "--help"]), 0, &[]);
        let text = format!("Exit code {code}: ");
        assert!(said.stdout.contains(&text), "{}", said.stdout);
    }
}

#[test]
fn a_target_that_is_no_case_is_named() {
    let place = Place::new();
    let nowhere = place.at("nowhere");
    for words in [&["status"][..], &["stop"], &["note", "x"], &["phase", "x"]] {
        let mut command = place.sakshi(words.iter().copied());
        let says = [text(&nowhere), "does not exist"];
        check(command.args(["--case", text(&nowhere)]), COULD_NOT, &says);
    }
}

#[test]
fn a_text_of_no_or_of_too_many_characters_is_refused() {
    let place = Place::new();
    for (text, characters) in [
        ("", 0),
        (" \n", 0),
        (&"x".repeat(5_000), 5_000),
        (&"ü".repeat(60_000), 60_000),
    ] {
        let says = [
            &format!("1 to 4000 characters and this one has {characters}"),
            "shorter ones",
        ];
        check(&mut place.sakshi(["note", text]), COULD_NOT, &says);
        check(&mut place.sakshi(["phase", text]), COULD_NOT, &says);
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let place = Place::new();
    let folder = place.at("sockets");
    fs::create_dir(&folder).expect("a folder");
    drop(std::os::unix::net::UnixListener::bind(folder.join("0.sock")).expect("a socket"));
    place.file("sockets/1.sock", "no socket");
    check(&mut place.sakshi(["status"]), NO, &["no daemon is running"]);
}

#[test]
fn a_folder_of_sockets_that_is_a_file_is_named() {
    let place = Place::new();
    let folder = place.file("sockets", "a file");
    check(
        &mut place.sakshi(["status"]),
        COULD_NOT,
        &[text(&folder), "Not a directory"],
    );
}

/// A daemon that hangs up in the middle of an answer, or answers nonsense.
#[test]
fn an_answer_that_is_none_is_said() {
    use std::io::{Read as _, Write as _};
    for (answer, says) in [
        (&b""[..], "the connection was closed"),
        (b"{\"answer\":", "not understood"),
        (b"\xff\xff\n", ""),
    ] {
        let place = Place::new();
        let folder = place.at("sockets");
        fs::create_dir(&folder).expect("a folder");
        let listener =
            std::os::unix::net::UnixListener::bind(folder.join("0.sock")).expect("a socket");
        let server = std::thread::spawn(move || {
            // The first connection only asks whether somebody listens.
            for stream in listener.incoming().take(2) {
                let mut stream = stream.expect("a connection");
                let mut asked = [0; 64];
                if stream.read(&mut asked).expect("a request") > 0 {
                    stream.write_all(answer).expect("an answer");
                }
            }
        });
        check(&mut place.sakshi(["note", "remark"]), COULD_NOT, &[says]);
        server.join().expect("served");
    }
}

#[test]
fn run_and_clean_need_root() {
    let place = Place::new();
    let copy = place.at("sakshi");
    fs::copy(program("sakshi"), &copy).expect("a copy that everybody can read");
    fs::set_permissions(place.at(""), fs::Permissions::from_mode(0o755)).expect("open to all");
    let case = place.at("case");
    for (words, name) in [
        (&["run", "--case", text(&case)][..], "run"),
        (&["clean"], "clean"),
    ] {
        let mut command = Command::new(&copy);
        command
            .args(words)
            .env("SAKSHI_RUNTIME_DIR", place.at("sockets"));
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let says = [&format!("`sakshi {name}` needs root"), "sudo or su -c"];
        check(&mut command, COULD_NOT, &says);
    }
    assert!(!case.exists());
}

#[test]
fn a_case_of_somebody_else_is_refused() {
    if !is_root() {
        println!("not run: only root can become somebody else");
        return;
    }
    let place = Place::new();
    let case = place.case();
    let copy = place.at("sakshi");
    fs::copy(program("sakshi"), &copy).expect("a copy that everybody can read");
    fs::set_permissions(place.at(""), fs::Permissions::from_mode(0o755)).expect("open to all");
    for words in [
        &["findings"][..],
        &["verify"],
        &["export", "--what", "flows"],
    ] {
        let mut command = Command::new(&copy);
        command.args(words).arg(&case).uid(NOBODY).gid(NOBODY);
        check(
            &mut command,
            COULD_NOT,
            &["permission denied", "run as the case's owner"],
        );
    }
}
