//! The shim's JNI functions, called from this machine's JVM as Android's Java would: with what is
//! right, with null, with what is hostile, and from several threads at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::{Handset, places, script::Action},
    live_possible, program, wait,
};
use serde_json::Value;

/// What calls them; prints a line for each answer.
const CALLER: &str = r#"
import org.sakshi.Shim;

public final class Caller {
    static String[] facts(String... words) { return words; }

    static void say(String what, Object answer) {
        System.out.println(what + "=" + answer);
    }

    public static void main(String[] words) throws Exception {
        System.load(words[0]);
        String folder = words[1];
        say("version", Shim.version());
        say("sha256", Shim.sha256("abc".getBytes("UTF-8")));
        say("sha256_null", Shim.sha256(null));
        say("good", Shim.tell(folder, "screen", facts("value", "on", "label", "\u0905\u092a\u0928\u093e \uD83D\uDE00")));
        say("listens", Shim.listens(folder));
        say("listens_null", Shim.listens(null));
        say("listens_nowhere", Shim.listens("/no/such\u0000"));
        say("empty", Shim.tell(folder, "screen", facts()));
        say("null_folder", Shim.tell(null, "screen", facts()));
        say("null_topic", Shim.tell(folder, null, facts()));
        say("null_facts", Shim.tell(folder, "screen", null));
        say("null_value", Shim.tell(folder, "screen", facts("value", null)));
        say("odd", Shim.tell(folder, "screen", facts("value")));
        say("topic", Shim.tell(folder, "\"}\n{\"command\":\"stop\"}", facts()));
        say("injected", Shim.tell(folder, "screen", facts("value", "\"}\n{\"command\":\"stop\"}\n\u0000")));
        say("surrogate", Shim.tell(folder, "screen", facts("value", "a\uD800b")));
        say("long", Shim.tell(folder, "screen", facts("value", new String(new char[60000]).replace('\0', 'x'))));
        say("huge", Shim.tell(folder, "screen", facts("value", new String(new char[8 << 20]).replace('\0', 'x'))));
        String[] many = new String[100000];
        java.util.Arrays.fill(many, "a");
        say("many", Shim.tell(folder, "screen", many));
        say("nowhere", Shim.tell("/no/such/folder\u0000", "screen", facts()));
        Thread[] threads = new Thread[8];
        final int[] good = new int[threads.length];
        for (int i = 0; i < threads.length; i++) {
            final int mine = i;
            threads[i] = new Thread(() -> {
                for (int n = 0; n < 10; n++) {
                    String why = Shim.tell(folder, "thread", facts("of", "" + mine, "n", "" + n));
                    if (why == null) { good[mine]++; } else { say("thread", why); }
                    Shim.sha256(new byte[mine * 1000]);
                }
            });
            threads[i].start();
        }
        int sum = 0;
        for (int i = 0; i < threads.length; i++) { threads[i].join(); sum += good[i]; }
        say("threads", sum);
    }
}
"#;

fn jvm_possible(test: &str) -> bool {
    let there = Command::new("javac").arg("-version").output();
    if there.is_ok_and(|output| output.status.success()) {
        return live_possible(test);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} must run in CI, but javac was not found"
    );
    println!("{test} did not run: javac was not found (apt-get install default-jdk-headless)");
    false
}

fn library() -> PathBuf {
    program("libsakshi_android_shim.so")
}

/// A UID of which the shim tells who holds it, and one of which it does not.
const HELD: u32 = 99_001;
const NOT_TOLD: u32 = 99_002;
/// Upper bound for the shim to look, tell, or end: it looks every five seconds.
const SHIM_MAX: Duration = Duration::from_mins(1);

/// Compiles the caller with the shim's own declaration of its functions.
fn compile(to: &Path) {
    let caller = to.join("Caller.java");
    fs::write(&caller, CALLER).expect("written");
    let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("../android-shim/java");
    let output = Command::new("javac")
        .args(["-encoding", "UTF-8", "-d"])
        .arg(to)
        .arg(java.join("org/sakshi/Shim.java"))
        .arg(&caller)
        .output()
        .expect("javac runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn what_java_tells_is_on_record_and_nothing_it_gives_breaks_the_daemon() {
    if !jvm_possible("what_java_tells_is_on_record_and_nothing_it_gives_breaks_the_daemon") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let classes = tempfile::tempdir().expect("a folder");
    compile(classes.path());
    let case = handset.dir().join("case");
    let mut command = daemon::sakshi(["run", "--capture", "nflog"]);
    command.args(["--inventory", daemon::text(&handset.inventory())]);
    let daemon = Daemon::start_command(&handset, &case, command).expect("the daemon watches");
    let folder = only_socket_of(&case, classes.path());
    let output = Command::new("java")
        .args(["-Xcheck:jni", "-Xmx256m", "-cp"])
        .arg(classes.path())
        .arg("Caller")
        .args([&library(), &folder])
        .output()
        .expect("java runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{said}{complained}");
    assert!(output.status.success(), "{complained}");
    let answer = |name: &str| {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(answer("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        answer("sha256"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    for recorded in ["good", "empty", "injected", "surrogate", "sha256_null"] {
        assert_eq!(answer(recorded), "null", "{recorded}");
    }
    for (refused, with) in [
        ("null_folder", "null is no word"),
        ("null_topic", "null is no word"),
        ("null_facts", "null is no word"),
        ("null_value", "null is no word"),
        ("odd", "no value"),
        ("topic", "did not take it"),
        ("long", "did not take it"),
        ("many", "too many"),
        ("nowhere", "no daemon listens"),
    ] {
        assert!(
            answer(refused).contains(with),
            "{refused}: {}",
            answer(refused)
        );
    }
    assert_ne!(answer("huge"), "null");
    assert_eq!(answer("threads"), "80");
    for (asked, listens) in [
        ("listens", "true"),
        ("listens_null", "false"),
        ("listens_nowhere", "false"),
    ] {
        assert_eq!(answer(asked), listens, "{asked}");
    }
    assert!(
        !complained.contains("FATAL") && !complained.contains("WARNING in native"),
        "{complained}"
    );
    daemon.stop().expect("a summary");
    what_is_on_record(&case);
}

/// What was acknowledged to Java, and nothing else; the same from the journal.
fn what_is_on_record(case: &Path) {
    daemon::verify(case).expect("intact evidence");
    let records = daemon::export(case, "records").expect("records");
    let told: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "observation")
        .collect();
    assert_eq!(told.len(), 84, "what was acknowledged, and nothing else");
    assert!(told.iter().all(|record| record["body"]["source"] == "shim"));
    assert_eq!(told[0]["body"]["facts"]["label"], "अपना 😀");
    let mut replay = daemon::sakshi(["verify", "--replay", daemon::text(case)]);
    assert!(
        replay.status().expect("runs").success(),
        "the same from the journal"
    );
}

/// A folder with the socket of this case alone: other tests' daemons have theirs beside it.
fn only_socket_of(case: &Path, dir: &Path) -> PathBuf {
    let meta = fs::read_to_string(case.join("case.json")).expect("a case");
    let id = daemon::json(&meta).expect("JSON")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let socket = Path::new("/run/sakshi").join(format!("{id}.sock"));
    let folder = dir.join("sockets");
    fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(socket, folder.join("one.sock")).expect("a link");
    folder
}

/// Every Java file below a folder.
fn java_files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            java_files(&path, all);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "java")
        {
            all.push(path);
        }
    }
}

/// The shim's own Java beside stand-ins for Android's classes, running in this machine's JVM.
struct Shim {
    child: Child,
    world: PathBuf,
}

impl Shim {
    fn start(room: &Path, folder: &Path, world: &[(&str, &str)]) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        java_files(&manifest.join("stand-in-android"), &mut sources);
        java_files(&manifest.join("../android-shim/java"), &mut sources);
        let classes = room.join("classes");
        let output = Command::new("javac")
            .args(["-encoding", "UTF-8", "-d"])
            .arg(&classes)
            .args(&sources)
            .output()
            .expect("javac runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let file = room.join("world");
        write_world(&file, world);
        let child = Command::new("java")
            .arg(format!("-Dworld={}", file.display()))
            .args(["-Xcheck:jni", "-cp"])
            .arg(&classes)
            .arg("org.sakshi.Main")
            .args([folder, &library()])
            .spawn()
            .expect("java runs");
        Self { child, world: file }
    }

    fn world(&self, world: &[(&str, &str)]) {
        write_world(&self.world, world);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // Already ended in the good case; then both calls only say so.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whole or not at all: the shim may be reading it.
fn write_world(file: &Path, world: &[(&str, &str)]) {
    let mut lines = String::new();
    for (name, value) in world {
        lines.extend([*name, "=", *value, "\n"]);
    }
    let new = file.with_extension("new");
    fs::write(&new, lines).expect("written");
    fs::rename(&new, file).expect("renamed");
}

fn observed(case: &Path, topic: &str) -> Vec<Value> {
    let records = daemon::export(case, "records").expect("records");
    let of = |record: &&Value| record["kind"] == "observation" && record["body"]["topic"] == topic;
    let facts = records.iter().filter(of);
    facts
        .map(|record| record["body"]["facts"].clone())
        .collect()
}

/// Waits until the shim has told something.
fn wait_for(case: &Path, topic: &str, name: &str, value: &str) {
    let told = wait::until(SHIM_MAX, || {
        let all = observed(case, topic);
        all.iter().any(|facts| facts[name] == value).then_some(())
    });
    assert!(
        told.is_some(),
        "{topic} was not told with {name} {value}: {:?}",
        observed(case, topic)
    );
}

fn send(handset: &Handset, uid: u32) {
    let datagrams = Action::Udp {
        to: places::SINGAPORE.v4(places::ECHO),
        bytes: 64,
        packets: 3,
        answered: true,
    };
    handset.run_app(uid, &[datagrams]).expect("an app");
}

#[test]
fn what_only_android_knows_is_told_as_it_happens_and_names_isolated_processes() {
    if !jvm_possible("what_only_android_knows_is_told_as_it_happens") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let room = tempfile::tempdir().expect("a folder");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    let folder = only_socket_of(&case, room.path());
    let mut world = vec![
        ("screen", "on"),
        ("users", "0;10"),
        (
            "packages.0",
            "com.sample.push 10050 1001 Push;com.gone 10099 1 Gone",
        ),
        ("packages.10", "com.sample.push 1010050 1001 off"),
        (
            "processes",
            "10050 700 com.sample.push com.sample.push;99001 711 com.sample.push:web com.sample.push",
        ),
        ("private_dns_mode", "throws"),
        ("doze", "on"),
    ];
    let mut shim = Shim::start(room.path(), &folder, &world);
    // The last that the first look tells.
    wait_for(&case, "isolated", "uid", "99001");
    wait_for(&case, "package", "user", "10");
    send(&handset, HELD);
    send(&handset, NOT_TOLD);
    // The process ends, an app is removed, the screen goes off, the handset is idle no more.
    world[0].1 = "off";
    world[6].1 = "off";
    world[2].1 = "com.sample.push 10050 1002 Push";
    world[4].1 = "10050 700 com.sample.push com.sample.push";
    shim.world(&world);
    wait_for(&case, "isolated", "happening", "gone");
    wait_for(&case, "package", "happening", "removed");
    send(&handset, HELD);
    world[4].1 = "throws";
    shim.world(&world);
    wait_for(&case, "isolated", "unknown", &refusal("processes"));
    daemon.stop().expect("a summary");
    let ended = wait::until(SHIM_MAX, || shim.child.try_wait().transpose());
    let status = ended.expect("it ends when no daemon listens").expect("it");
    assert!(status.success(), "{status}");
    what_android_told(&case);
    whose_the_flows_are(&case);
    daemon::verify(&case).expect("intact evidence");
    daemon::output(["verify", "--replay", daemon::text(&case)]).expect("the same");
}

/// The held UID's flow is its app's; after its holder has gone, and where nobody told, nobody's.
fn whose_the_flows_are(case: &Path) {
    let flows = daemon::export_unredacted(case, "flows").expect("flows");
    let owners: Vec<_> = flows
        .iter()
        .filter(|flow| flow["dst"] == places::SINGAPORE.v4(places::ECHO).ip().to_string())
        .map(|flow| {
            let owner = &flow["owner"];
            (
                owner["uid"].as_u64(),
                owner["basis"].as_str().unwrap_or_default(),
                owner["apps"].to_string(),
            )
        })
        .collect();
    let held = Some(u64::from(HELD));
    assert_eq!(owners.len(), 3, "{owners:?}");
    let push = owners.iter().filter(|owner| owner.1 == "android");
    let push: Vec<_> = push.collect();
    assert!(
        push.len() == 1 && push[0].0 == held && push[0].2.contains("com.sample.push"),
        "{owners:?}"
    );
    let unknown = owners
        .iter()
        .filter(|owner| owner.2 == "[]")
        .map(|owner| owner.0);
    let mut unknown: Vec<_> = unknown.collect();
    unknown.sort_unstable();
    // What was not told, and what was sent after the process had ended.
    assert_eq!(unknown, [held, Some(u64::from(NOT_TOLD))], "{owners:?}");
}

fn refusal(name: &str) -> String {
    format!("java.lang.SecurityException: {name} is not for you")
}

/// Each thing once, and again when it is another; what is refused is unknown, with why.
fn what_android_told(case: &Path) {
    let values = |topic: &str, name: &str| -> Vec<String> {
        let all = observed(case, topic);
        let texts = all.iter().filter_map(|facts| facts[name].as_str());
        texts.map(str::to_owned).collect()
    };
    assert_eq!(values("screen", "value"), ["on", "off"]);
    // The words that a contact's `idle` is read from.
    assert_eq!(values("doze", "value"), ["true", "false"]);
    assert_eq!(values("users", "value"), ["0:19 10:48"]);
    assert_eq!(
        values("private_dns", "unknown"),
        [refusal("private_dns_mode")]
    );
    assert_eq!(values("location", "unknown"), ["not set"]);
    assert_eq!(values("isolated", "packages"), ["com.sample.push"; 2]);
    let mut packages: Vec<_> = observed(case, "package")
        .iter()
        .map(|facts| {
            let text = |name: &str| facts[name].as_str().unwrap_or("-").to_owned();
            [
                text("package"),
                text("user"),
                text("version_code"),
                text("happening"),
            ]
            .join(" ")
        })
        .collect();
    packages.sort();
    assert_eq!(
        packages,
        [
            "com.gone 0 - removed",
            "com.gone 0 1 -",
            "com.sample.push 0 1001 -",
            "com.sample.push 0 1002 -",
            "com.sample.push 10 - -",
        ]
    );
}
