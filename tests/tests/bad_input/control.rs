//! Talking to a daemon that is not there, and commands that need root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    process::Command,
};

use sakshi_tests::{daemon::text, is_root, live_possible, program};

use super::{COULD_NOT, NO, Place, check, room::Room};

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

/// The folder of the sockets keeps others out; if it did not, the daemon would.
#[test]
fn a_daemon_does_not_listen_to_somebody_else() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };
    if !live_possible("a_daemon_does_not_listen_to_somebody_else") {
        return;
    }
    let room = Room::open("size=64m,mode=700");
    let watch = room.watch(&room.disk("case"), []);
    let folder = room.place().at("sockets");
    assert_eq!(
        fs::metadata(&folder).expect("a folder").mode() & 0o777,
        0o700
    );
    let socket = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sock")
        })
        .expect("a socket");
    // Opened to all, as it never is, so that only the daemon is asked.
    for path in [&room.place().at(""), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open to all");
    }
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("open to all");
    let me = std::env::current_exe().expect("this program");
    let copy = room.place().at("asker");
    fs::copy(me, &copy).expect("a copy that everybody can read");
    let ask = |uid: u32| {
        let mut command = Command::new(&copy);
        command
            .args(["control::asks_a_socket", "--exact", "--nocapture"])
            .env(ASKED, &socket)
            .uid(uid)
            .gid(uid);
        let output = command.output().expect("it ran");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(
        ask(0).contains("answered: {\"answer\":\"status\""),
        "{}",
        ask(0)
    );
    let foreign = ask(NOBODY);
    assert!(foreign.contains("answered: nothing"), "{foreign}");
    // It watches on.
    let mut stream = UnixStream::connect(&socket).expect("a connection");
    stream
        .write_all(b"{\"command\":\"status\"}\n")
        .expect("asked");
    assert!(stream.read(&mut [0; 1]).expect("an answer") > 0);
    check(&mut room.sakshi(["stop"]), 0, &[]);
    watch.ends(0, &[]);
}

/// Names the socket that [`asks_a_socket`] asks.
const ASKED: &str = "SAKSHI_TEST_ASKED_SOCKET";

/// Not a test by itself: run again by the one above, under another UID.
#[test]
fn asks_a_socket() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };
    let Some(socket) = std::env::var_os(ASKED) else {
        return;
    };
    let mut stream = UnixStream::connect(socket).expect("a connection");
    // A daemon that hangs up at once may be faster than we write.
    drop(stream.write_all(b"{\"command\":\"status\"}\n"));
    let mut answer = [0; 4096];
    match stream.read(&mut answer) {
        Ok(read) if read > 0 => {
            println!("answered: {}", String::from_utf8_lossy(&answer[..read]));
        }
        _ => println!("answered: nothing"),
    }
}
