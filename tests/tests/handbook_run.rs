//! A second person's test: every command of `docs/handbook.md`, in order, as it is printed there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use sakshi_tests::{
    adb::{Tethered, adb_possible},
    daemon, program,
};

/// A command of the handbook and the lines that it shows below it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands in blocks marked `console`.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step {
                command: command.to_owned(),
                shown: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut().filter(|_| inside) {
            step.shown.push(line.to_owned());
        }
    }
    steps
}

/// Whether an answer has the pieces of a shown line, in order; `…` stands for anything.
fn shows(answer: &str, line: &str) -> bool {
    let mut rest = answer;
    line.split('…').map(str::trim).all(|piece| {
        rest.find(piece).is_some_and(|at| {
            rest = &rest[at + piece.len()..];
            true
        })
    })
}

/// `sakshi` as the reader has it, but for the folders on the handset, which lie elsewhere here.
fn install(phone: &Tethered, bin: &Path) {
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = handset ]; then shift; exec {0} handset --dir {1} --cases {2} \
         \"$@\"; fi\nexec {0} \"$@\"\n",
        daemon::text(&program("sakshi")),
        phone.path("sakshi"),
        phone.path("cases"),
    );
    let file = bin.join("sakshi");
    fs::write(&file, script).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("opened");
}

fn type_in(phone: &Tethered, bin: &Path, desk: &Path, command: &str) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("sh")
        .args(["-c", command])
        .current_dir(desk)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("ADB_SERVER_SOCKET", phone.server.socket())
        .output()
        .expect("a shell")
}

/// What a person does between the commands.
fn by_hand(phone: &Tethered, desk: &Path, command: &str) {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo");
    if command.contains("handset baseline") {
        phone.root().expect("rooted");
    } else if command.contains("case template") {
        fs::copy(cases.join("authority.toml"), desk.join("case-17.toml")).expect("filled in");
    }
}

#[test]
fn every_command_of_the_handbook_works_as_printed() {
    if !adb_possible("every_command_of_the_handbook_works_as_printed") {
        return;
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(manifest.join("../docs/handbook.md")).expect("the handbook");
    let phone = Tethered::start().expect("a tethered handset");
    let room = tempfile::tempdir().expect("a folder");
    let (bin, desk) = (room.path().join("bin"), room.path().join("desk"));
    for dir in [&bin, &desk] {
        fs::create_dir(dir).expect("a folder");
    }
    install(&phone, &bin);
    fs::copy(program("sakshi"), desk.join("sakshi-handset")).expect("the program");
    fs::copy(
        manifest.join("cases/demo/demo.pcap"),
        desk.join("gateway.pcap"),
    )
    .expect("a capture");
    let steps = steps(&text);
    assert!(steps.len() > 12, "{} commands", steps.len());
    for step in &steps {
        let output = type_in(&phone, &bin, &desk, &step.command);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        println!("$ {}\n{all}", step.command);
        assert!(output.status.success(), "{}: {all}", step.command);
        for line in &step.shown {
            assert!(
                shows(&out, line),
                "{}: {line:?} is not in: {out}",
                step.command
            );
        }
        by_hand(&phone, &desk, &step.command);
    }
    let left: Vec<_> = fs::read_dir(phone.path("."))
        .expect("the handset")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_shown_line_is_found_in_order_only() {
    assert!(shows("7 facts in x, SHA-256 ab", "… facts in x, SHA-256 …"));
    assert!(!shows(
        "SHA-256 ab, 7 facts in x",
        "… facts in x, SHA-256 …"
    ));
    let text = "```console\n$ a b\nseen …\n```\n```text\n$ c\n```\n";
    let expected = Step {
        command: "a b".to_owned(),
        shown: vec!["seen …".to_owned()],
    };
    assert_eq!(steps(text), [expected]);
}
