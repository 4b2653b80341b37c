//! `sakshi seal` against the tools that others have: `tar`, `sha256sum`, `age`. A bundle is whole,
//! signed and the same each time; a sealed case takes nothing more; an interruption costs nothing.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use ed25519_compact::{PublicKey, Signature};
use sakshi::{
    evidence::{
        Hash, Reader, Signing, Store,
        bundle::{SealedBody, Tool},
    },
    time::Timestamp,
};
use sakshi_tests::{daemon, sample};
use serde_json::Value;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn demo_authority() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml")
}

/// A signed case with authority and an inspection in it.
fn case() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    daemon::output([
        "case",
        "new",
        text(&case),
        "--from",
        text(&demo_authority()),
    ])
    .expect("a case");
    let arguments = sample::write(dir.path()).expect("written").inspect(&case);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    (dir, case)
}

fn run(arguments: &[&str]) -> Output {
    daemon::sakshi(arguments.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// Seals into a file; gives its bytes.
fn sealed(case: &Path, to: &Path, more: &[&str]) -> Vec<u8> {
    let arguments = [&["seal", text(case), "-o", text(to)], more].concat();
    daemon::output(arguments).expect("sealed");
    fs::read(to).expect("the bundle")
}

/// What a command is refused with; nothing else may happen.
#[track_caller]
fn refused(arguments: &[&str], says: &str) {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {error}");
    assert!(error.contains(says), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty());
}

/// What a tool of the system prints, which must be there.
#[track_caller]
fn tool(program: &str, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

fn copy(from: &Path, to: &Path) {
    tool("cp", &["-a", text(from), text(to)], Path::new("/"));
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("hex");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

/// Opens a bundle with `tar`, and holds it against its manifest with the tools of the system.
#[track_caller]
fn opened(bundle: &Path, to: &Path) -> Value {
    fs::create_dir(to).expect("a folder");
    let dir = to.parent().expect("a folder");
    tool("tar", &["-xf", text(bundle), "-C", text(to)], dir);
    let manifest = json(&to.join("manifest.json"));
    let mut names = vec!["manifest.json", "manifest.sig"];
    let mut sums = Vec::new();
    for file in manifest["files"].as_array().expect("files") {
        let name = file["path"].as_str().expect("a path");
        sums.push(format!(
            "{}  {name}\n",
            file["sha256"].as_str().expect("a hash")
        ));
        let bytes = fs::metadata(to.join(name)).expect("a file").len();
        assert_eq!(file["bytes"], bytes);
        names.push(name);
    }
    let listed = tool("tar", &["-tf", text(bundle)], dir);
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    assert!(names[2..].is_sorted(), "{names:?}");
    fs::write(to.join("sums"), sums.concat()).expect("written");
    tool("sha256sum", &["--check", "--strict", "--quiet", "sums"], to);
    let verbose = tool(
        "tar",
        &["--numeric-owner", "--utc", "-tvf", text(bundle)],
        dir,
    );
    for line in verbose.lines() {
        assert!(line.starts_with("-rw-r--r-- 0/0 "), "{line}");
        assert!(line.contains("1970-01-01 00:00"), "{line}");
    }

    let signature = json(&to.join("manifest.sig"));
    assert_eq!(signature["algorithm"], "ed25519");
    let mut message = b"sakshi manifest 1\n".to_vec();
    message.extend(Hash::of(&fs::read(to.join("manifest.json")).expect("a file")).as_bytes());
    let key = PublicKey::from_slice(&hex(&signature["public"])).expect("a key");
    let signed = Signature::from_slice(&hex(&signature["signature"])).expect("a signature");
    key.verify(&message, &signed).expect("it is the manifest's");
    let last = daemon::export(&to.join("case"), "records").expect("records");
    let last = last.last().expect("a record");
    assert_eq!(last["body"]["manifest"], signature["public"]);
    assert_eq!(last["body"]["next"], Value::Null);
    assert_eq!(
        (&manifest["head"]["seq"], &manifest["head"]["hash"]),
        (&last["seq"], &last["hash"])
    );
    manifest
}

#[test]
fn tar_and_sha256sum_open_a_bundle_and_it_is_the_case() {
    let (dir, case) = case();
    let bundle = dir.path().join("case.tar");
    let before = daemon::export(&case, "records").expect("records").len();
    let out = daemon::output([
        "seal",
        text(&case),
        "-o",
        text(&bundle),
        "--also",
        "sha1,md5",
    ])
    .expect("sealed");
    let hash = tool("sha256sum", &[text(&bundle)], dir.path());
    assert!(
        out.contains(hash.split(' ').next().expect("a hash")),
        "{out}"
    );
    assert!(out.contains("SAMPLE, made up"), "{out}");

    let to = dir.path().join("opened");
    let manifest = opened(&bundle, &to);
    for (key, program) in [("sha1", "sha1sum"), ("md5", "md5sum")] {
        for file in manifest["files"].as_array().expect("files") {
            let found = tool(program, &[file["path"].as_str().expect("a path")], &to);
            assert!(found.starts_with(file[key].as_str().expect("a hash")));
        }
    }
    assert_eq!(manifest["format"], "sakshi-bundle");
    assert_eq!(manifest["tool"]["version"], env!("CARGO_PKG_VERSION"));
    let program = tool("sha256sum", &[text(&sakshi_tests::program("sakshi"))], &to);
    assert!(program.starts_with(manifest["tool"]["sha256"].as_str().expect("a hash")));
    // The whole case, no key, no lock, and nothing that it says is another.
    let inside = to.join("case");
    for absent in ["signing.key", "case.lock", "evidence.db-wal"] {
        assert!(!inside.join(absent).exists(), "{absent}");
    }
    daemon::verify(&inside).expect("intact evidence");
    let records = daemon::export(&inside, "records").expect("records");
    assert_eq!(records.len(), before + 2);
    assert_eq!(records[before]["kind"], "sealed");
    assert_eq!(records[before]["body"]["at"], manifest["sealed"]);
    for what in ["findings", "flows"] {
        let of = |case: &Path| daemon::export_text(case, what, "jsonl").expect("an export");
        assert_eq!(of(&inside), of(&case), "{what}");
    }
}

#[test]
fn a_bundle_is_verified_as_it_is_and_with_a_byte_changed() {
    let (dir, case) = case();
    let bundle = dir.path().join("bundle.tar");
    let mut bytes = sealed(&case, &bundle, &["--also", "sha1,md5"]);
    let output = run(&["verify", text(&bundle)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("intact: ") && said.contains("sealed: "),
        "{said}"
    );
    let output = run(&["verify", text(&case)]);
    assert_eq!(output.status.code(), Some(0), "the folder as well");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&bundle, bytes).expect("written");
    assert_eq!(run(&["verify", text(&bundle)]).status.code(), Some(1));
}

#[test]
fn sealing_again_writes_the_same_bytes() {
    let (dir, case) = case();
    let first = sealed(&case, &dir.path().join("first.tar"), &["--also", "md5"]);
    let database = fs::read(case.join("evidence.db")).expect("the database");
    let again = sealed(&case, &dir.path().join("again.tar"), &[]);
    assert!(first == again);
    let piped = run(&["seal", text(&case), "-o", "-"]);
    assert!(piped.status.success() && piped.stdout == first);
    assert!(database == fs::read(case.join("evidence.db")).expect("the database"));
    // A bundle is not written over, and a changed file is in none.
    let taken = dir.path().join("first.tar");
    refused(
        &["seal", text(&case), "-o", text(&taken)],
        "is there already",
    );
    let rules = case.join("session-1/rules");
    let rules = fs::read_dir(rules).expect("rules").next().expect("one");
    let rules = rules.expect("an entry").path();
    let mut changed = fs::read(&rules).expect("the rules");
    changed[0] ^= 1;
    fs::write(&rules, changed).expect("changed");
    let new = dir.path().join("new.tar");
    refused(&["seal", text(&case), "-o", text(&new)], "sakshi verify");
    assert!(!new.exists());
}

#[test]
fn a_sealed_case_takes_nothing_more() {
    let (dir, case) = case();
    sealed(&case, &dir.path().join("case.tar"), &[]);
    assert!(!case.join("signing.key").exists());
    let records = || daemon::export(&case, "records").expect("records").len();
    let before = records();
    let authority = demo_authority();
    let capture = sample::write(dir.path()).expect("written").inspect(&case);
    let capture: Vec<&str> = capture.iter().map(String::as_str).collect();
    for arguments in [
        &["run", "--case", text(&case)][..],
        &["custody", text(&case), "--by", "A. Rao"],
        &["case", "authority", text(&case), "--from", text(&authority)],
        &capture,
    ] {
        refused(arguments, "is sealed and takes no more records");
    }
    assert_eq!(records(), before);
    daemon::verify(&case).expect("intact evidence");
    let head = daemon::output(["head", text(&case), "--format", "json"]).expect("a head");
    assert_eq!(daemon::json(&head).expect("JSON")["reason"], "seal");
}

#[test]
fn what_may_not_be_sealed_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bundle = dir.path().join("case.tar");
    let at = |case: &Path, says: &str| {
        refused(&["seal", text(case), "-o", text(&bundle)], says);
        assert!(!bundle.exists());
    };
    let inspected = dir.path().join("inspected");
    let arguments = sample::write(dir.path())
        .expect("written")
        .inspect(&inspected);
    daemon::output(arguments.iter().map(String::as_str)).expect("inspected");
    at(&inspected, "by whose order, so it is not sealed");
    let authority = demo_authority();
    let from = ["--from", text(&authority)];
    daemon::output([&["case", "authority", text(&inspected)], &from[..]].concat())
        .expect("recorded");
    at(&inspected, "cannot be sealed");
    let empty = dir.path().join("empty");
    daemon::output([&["case", "new", text(&empty)], &from[..]].concat()).expect("a case");
    at(&empty, "holds no session");

    let (_dir, case) = case();
    let lock = fs::File::open(case.join("case.lock")).expect("the lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    at(&case, "is locked");
    drop(lock);
    fs::write(case.join("manifest.sig"), "{}").expect("written");
    at(&case, "manifest.sig is not as the case's records say");
    fs::remove_file(case.join("manifest.sig")).expect("removed");
    let inside = case.join("case.tar");
    refused(
        &["seal", text(&case), "-o", text(&inside)],
        "lies in the case",
    );
    let nowhere = dir.path().join("no/case.tar");
    refused(
        &["seal", text(&case), "-o", text(&nowhere)],
        "check its folder",
    );
    let last = daemon::export(&case, "records").expect("records").pop();
    assert_eq!(last.expect("a record")["body"]["reason"], "stop");
    sealed(&case, &bundle, &[]);
}

/// Seals a case as a process does that ends before there is a bundle.
fn sealed_only(case: &Path) {
    let store = Store::open(case, &Signing::system()).expect("the case");
    let body = SealedBody {
        at: Timestamp::from_micros(1_795_513_311_000_000),
        session: 1,
        tool: Tool {
            sha256: Hash::ZERO,
            version: "0".to_owned(),
        },
    };
    store.seal(&body).expect("sealed");
}

#[test]
fn the_journal_of_a_bundle_gives_its_findings_again() {
    let (dir, case) = case();
    let bundle = dir.path().join("case.tar");
    sealed(&case, &bundle, &[]);
    let said = daemon::output(["verify", "--replay", text(&bundle)]).expect("the same");
    assert!(said.contains("replay identical"), "{said}");
    // What can be read only once is refused before anything else.
    refused(&["verify", "--replay", "-"], "reads twice");
}

#[test]
fn two_seals_at_once_make_one_bundle() {
    let (dir, case) = case();
    sealed_only(&case);
    let key = fs::File::open(case.join("signing.key")).expect("the key");
    rustix::fs::flock(&key, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let bundle = dir.path().join("case.tar");
    refused(
        &["seal", text(&case), "-o", text(&bundle)],
        "signing.key is locked",
    );
    assert!(!case.join("manifest.json").exists());
    drop(key);
    let running = ["sha1", "md5"].map(|also| {
        let bundle = dir.path().join(also);
        let arguments = ["seal", text(&case), "-o", text(&bundle), "--also", also];
        let child = daemon::sakshi(arguments.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        (bundle, child)
    });
    let ended = running.map(|(bundle, child)| (bundle, child.wait_with_output().expect("it ends")));
    let mut made = Vec::new();
    for (bundle, output) in ended {
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            daemon::output(["verify", text(&bundle)]).expect("intact");
            made.push(fs::read(bundle).expect("a bundle"));
        } else {
            assert!(error.contains("is locked"), "{error}");
        }
    }
    // Whoever is refused tries again, and gets what was made.
    made.push(sealed(&case, &bundle, &[]));
    made.dedup();
    assert_eq!(made.len(), 1);
    daemon::output(["verify", text(&bundle)]).expect("intact");
}

#[test]
fn an_interrupted_seal_goes_on_to_the_same_bundle() {
    let (dir, case) = case();
    sealed_only(&case);
    let at = |name: &str| dir.path().join(name);
    copy(&case, &at("before"));
    let bundle = sealed(&case, &at("a.tar"), &[]);
    opened(&at("a.tar"), &at("opened"));
    let key = at("before").join("signing.key");
    // The signature is torn, or whole and the key is still there, or the key is erased and there.
    for (name, torn, erased) in [
        ("torn", true, false),
        ("whole", false, false),
        ("erased", false, true),
    ] {
        let copied = at(name);
        copy(&case, &copied);
        fs::copy(&key, copied.join("signing.key")).expect("copied");
        if torn {
            fs::write(copied.join("manifest.sig"), "{\"alg").expect("torn");
        }
        if erased {
            fs::write(copied.join("signing.key"), [0; 8192]).expect("erased");
        }
        let again = sealed(&copied, &at(&format!("{name}.tar")), &[]);
        assert!(again == bundle, "{name}");
        assert!(!copied.join("signing.key").exists(), "{name}");
    }
    // Without key and signature no bundle can be made, and that is said.
    fs::remove_file(&key).expect("removed");
    let never = at("never.tar");
    refused(
        &["seal", text(&at("before")), "-o", text(&never)],
        "signing.key is missing",
    );
}

#[test]
fn a_seal_that_is_killed_at_any_moment_can_be_repeated() {
    let (dir, original) = case();
    let mut ends = [0, 0];
    for round in 0..24_u64 {
        let at = |name: &str| dir.path().join(format!("{name}-{round}"));
        let case = at("case");
        copy(&original, &case);
        let bundle = at("killed.tar");
        let mut child = daemon::sakshi(["seal", text(&case), "-o", text(&bundle)])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().expect("killed");
        let done = child.wait().expect("its end").success();
        ends[usize::from(done)] += 1;
        daemon::verify(&case).expect("intact evidence");
        let again = sealed(&case, &at("again.tar"), &[]);
        if done {
            assert!(again == fs::read(bundle).expect("the bundle"));
        }
        opened(&at("again.tar"), &at("opened"));
        assert!(!case.join("signing.key").exists());
    }
    println!("killed {}, done before {}", ends[0], ends[1]);
    assert!(ends[0] > 0, "none was interrupted");
}

#[test]
fn age_opens_what_was_piped_into_it() {
    let has = |program| Command::new(program).arg("--version").output().is_ok();
    if !has("age") || !has("age-keygen") {
        assert!(
            std::env::var_os("CI").is_none(),
            "age must be there in CI: on Debian, apt-get install age"
        );
        println!("not run: age is not here");
        return;
    }
    let (dir, case) = case();
    let key = dir.path().join("lab.key");
    tool("age-keygen", &["-o", text(&key)], dir.path());
    let public = tool("age-keygen", &["-y", text(&key)], dir.path());
    let encrypted = dir.path().join("case.tar.age");
    let mut seal = daemon::sakshi(["seal", text(&case), "-o", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut age = Command::new("age")
        .args(["-r", public.trim(), "-o", text(&encrypted)])
        .stdin(Stdio::piped())
        .spawn()
        .expect("age runs");
    let mut bundle = Vec::new();
    let mut out = seal.stdout.take().expect("its output");
    out.read_to_end(&mut bundle).expect("read");
    age.stdin
        .take()
        .expect("its input")
        .write_all(&bundle)
        .expect("piped");
    assert!(seal.wait().expect("its end").success());
    assert!(age.wait().expect("its end").success());
    let decrypted = dir.path().join("decrypted.tar");
    let arguments = [
        "-d",
        "-i",
        text(&key),
        "-o",
        text(&decrypted),
        text(&encrypted),
    ];
    tool("age", &arguments, dir.path());
    opened(&decrypted, &dir.path().join("opened"));
    let plain = sealed(&case, &dir.path().join("case.tar"), &[]);
    assert!(fs::read(&decrypted).expect("the bundle") == plain);
    assert!(Reader::open(&dir.path().join("opened/case")).is_ok());
}
