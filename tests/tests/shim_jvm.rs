//! The shim's JNI functions, called from this machine's JVM as Android's Java would: with what is
//! right, with null, with what is hostile, and from several threads at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sakshi_tests::{
    daemon::{self, Daemon},
    handset::Handset,
    live_possible, program,
};

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
