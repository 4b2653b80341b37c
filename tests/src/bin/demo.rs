//! The demo: a virtual handset on which the real daemon finds what real processes send.
//!
//! In: `tests/cases/demo` and, as root, the network namespaces of this machine. Out: the table of
//! findings and a comparison with what was to be found; exit code 0 when they are the same, 1 when
//! not, 2 for wrong use, 3 when it could not run. Run it with `cargo xtask demo`.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon, export, text},
    expectation::{self, Difference, Row},
    handset::{self, Error, Handset, Result, inventory, places, script::Action},
    is_root, scenes,
    wait::Stopwatch,
};

/// NFLOG group of the recording: not one of the daemon's.
const RECORDING_GROUP: &str = "4242";
/// Time the recorder needs to begin, and to be given what the kernel still holds.
const RECORDING_MARGIN: Duration = Duration::from_secs(2);

const HELP: &str = "\
Usage: cargo xtask demo [--keep] [--record] [--bless]

As root: sets up a virtual handset, runs the real daemon on it, lets apps send, and compares what
was found with what was to be found. Without root: replays the capture that the project ships.

  --keep    keep the case and print where it lies
  --record  as root: record what the apps send as the capture that is shipped
  --bless   write what was found as what is to be found (read the change before you commit it)
";

/// What was typed.
#[derive(Debug, Default, Clone, Copy)]
struct Options {
    keep: bool,
    record: bool,
    bless: bool,
}

fn main() -> ExitCode {
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--keep" => options.keep = true,
            "--record" => options.record = true,
            "--bless" => options.bless = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            other => {
                eprintln!("demo: unknown option {other}\n\n{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    let outcome = if is_root() {
        live(options)
    } else {
        replay(options)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: could not run: {error}");
            ExitCode::from(3)
        }
    }
}

/// The demo on a live virtual handset.
fn live(options: Options) -> Result<bool> {
    println!(
        "Live demo on a virtual handset: two network namespaces without an uplink. The apps, their \
         traffic and the daemon are real; the internet is not, and no packet leaves this machine."
    );
    let missing = handset::missing_tools();
    if !missing.is_empty() {
        return Err(Error::Unexpected(format!(
            "not found: {} (on Debian: apt-get install iproute2 iptables)",
            missing.join(", ")
        )));
    }
    let steps = Steps::start();
    let mut handset = Handset::start()?;
    steps.done("the virtual handset and its internet are up");
    let recorder = options.record.then(|| record(&handset)).transpose()?;
    let case = handset.dir().join("case");
    prepare(&case)?;
    steps.done("the case says by whose leave: SAMPLE data, made up");
    let rules = rule_sets();
    let rules: Vec<&str> = rules
        .iter()
        .flat_map(|file| ["--rules", text(file)])
        .collect();
    let daemon = Daemon::start(&handset, &case, &rules)?;
    steps.done("the daemon watches");
    scenes::play_all(&handset, &daemon, &mut |what| steps.done(what))?;
    let summary = daemon.stop()?;
    steps.done(&format!("the daemon stopped: {summary}"));
    if let Some(recorder) = recorder {
        finish_recording(recorder)?;
        steps.done("the capture was recorded");
    }
    let same = examine(&case, &cases().join("expected.jsonl"), options, &steps)?
        && check_questions(&case, expected_questions(), &steps)?;
    if options.keep || !same {
        println!("The case is kept in {}", handset.keep_dir().display());
    }
    Ok(same)
}

/// The demo from the capture that the project ships.
fn replay(options: Options) -> Result<bool> {
    println!(
        "Replay, not live: without root there is no virtual handset, so this inspects the capture \
         that was recorded on one. Run it as root to see the daemon capture."
    );
    let capture = cases().join("demo.pcap");
    if !capture.is_file() {
        return Err(Error::Unexpected(format!(
            "{} is missing (record it as root with `cargo xtask demo --record`)",
            capture.display()
        )));
    }
    let steps = Steps::start();
    let mut dir = tempfile::Builder::new()
        .prefix("sakshi-demo-")
        .tempdir()
        .map_err(Error::io("making a temporary folder"))?;
    let (system, case) = (dir.path().join("system"), dir.path().join("case"));
    inventory::write(&system)?;
    prepare(&case)?;
    let [lab_rules, demo_rules, brand] = rule_sets();
    let summary = daemon::output([
        "inspect",
        text(&capture),
        "--case",
        text(&case),
        "--inventory",
        text(&system),
        "--rules",
        text(&lab_rules),
        "--rules",
        text(&demo_rules),
        "--rules",
        text(&brand),
        "--format",
        "json",
    ])?;
    steps.done(&format!("the capture was inspected: {}", summary.trim()));
    // A capture holds the creator of a socket only, and netd made these: they may act for an app.
    let netd = |asked: &Asked| Asked {
        uid: 0,
        may_act_for_app: true,
        ..asked.clone()
    };
    let asked: Vec<Asked> = expected_questions().iter().map(netd).collect();
    let expected = cases().join("expected.jsonl");
    let same =
        examine(&case, &expected, options, &steps)? && check_questions(&case, asked, &steps)?;
    if options.keep || !same {
        dir.disable_cleanup(true);
        println!("The case is kept in {}", dir.path().display());
    }
    Ok(same)
}

/// Makes the case, with an authority that is marked as made up.
fn prepare(case: &Path) -> Result<()> {
    let authority = cases().join("authority.toml");
    daemon::output(["case", "new", text(case), "--from", text(&authority)]).map(drop)
}

/// Prints the findings, checks the evidence, compares with what was to be found.
fn examine(case: &Path, expected: &Path, options: Options, steps: &Steps) -> Result<bool> {
    let table = daemon::output(["findings", text(case)])?;
    println!("\n{table}");
    daemon::verify(case)?;
    steps.done("the evidence is intact");
    let found: Vec<Row> = export(case, "findings")?
        .iter()
        .map(Row::from_finding)
        .collect::<Result<_>>()?;
    if options.bless {
        expectation::write(expected, &found)?;
        steps.done(&format!("{} rows written as expected", found.len()));
    }
    if found.is_empty() {
        steps.failed("nothing was found at all");
        return Ok(false);
    }
    let difference = Difference::between(&expectation::read(expected)?, &found);
    if difference.is_empty() {
        steps.done(&format!(
            "all {} rows are as expected, none extra",
            found.len()
        ));
        return Ok(true);
    }
    steps.failed(&format!(
        "what was found differs from {}:\n{difference}",
        expected.display()
    ));
    Ok(false)
}

/// A question to the resolver, and for whom it counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    name: String,
    uid: u64,
    may_act_for_app: bool,
}

/// The questions that the scenes ask on sockets that netd made and gave to an app.
fn expected_questions() -> Vec<Asked> {
    let asks = scenes::all().into_iter().filter_map(|scene| scene.asks);
    asks.filter_map(|action| match action {
        Action::Resolve {
            name,
            on_behalf_of: Some(uid),
            ..
        } => Some(Asked {
            name,
            uid: uid.into(),
            may_act_for_app: false,
        }),
        _ => None,
    })
    .collect()
}

/// Compares who asked the resolver with who was to be found.
fn check_questions(case: &Path, mut expected: Vec<Asked>, steps: &Steps) -> Result<bool> {
    let flows = export(case, "flows")?;
    let mut found: Vec<Asked> = flows
        .iter()
        .filter(|flow| flow["dport"] == places::DNS)
        .map(|flow| Asked {
            name: flow["names"][0]["name"].as_str().unwrap_or("?").to_owned(),
            uid: flow["owner"]["uid"].as_u64().unwrap_or(u64::MAX),
            may_act_for_app: flow["owner"]["may_act_for_app"] == true,
        })
        .collect();
    expected.sort();
    found.sort();
    if found == expected {
        steps.done(&format!(
            "{} questions to the resolver have the owners that they were to have",
            found.len()
        ));
    } else {
        steps.failed(&format!(
            "questions to the resolver: expected {expected:?}, found {found:?}"
        ));
    }
    Ok(found == expected)
}

/// Records all packets of the handset with the UIDs that the kernel gives.
fn record(handset: &Handset) -> Result<Child> {
    for (program, chain, device) in [
        ("iptables", "OUTPUT", "-o"),
        ("iptables", "INPUT", "-i"),
        ("ip6tables", "OUTPUT", "-o"),
        ("ip6tables", "INPUT", "-i"),
    ] {
        let mut command = Command::new(program);
        command.args(["-w", "-A", chain, "!", device, "lo", "-j", "NFLOG"]);
        command.args(["--nflog-group", RECORDING_GROUP]);
        handset.output(&mut command)?;
    }
    let group = format!("nflog:{RECORDING_GROUP}");
    let file = cases().join("demo.pcap");
    let mut command = Command::new("tcpdump");
    command
        .args(["-Z", "root", "-U", "-i", &group, "-w", text(&file)])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let recorder = handset.spawn(&mut command)?;
    thread::sleep(RECORDING_MARGIN);
    Ok(recorder)
}

fn finish_recording(mut recorder: Child) -> Result<()> {
    thread::sleep(RECORDING_MARGIN);
    let pid = rustix::process::Pid::from_child(&recorder);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)
        .map_err(|errno| Error::io("ending tcpdump")(errno.into()))?;
    let status = recorder.wait().map_err(Error::io("waiting for tcpdump"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Unexpected(format!("tcpdump ended with {status}")))
    }
}

/// The built-in rule set, the one about the sample vendor, and what that vendor says.
fn rule_sets() -> [PathBuf; 3] {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/sets");
    [
        "in-lab/set.toml",
        "demo/set.toml",
        "demo/sample-vendor.toml",
    ]
    .map(|file| sets.join(file))
}

/// Where the data of this demo lies.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo")
}

/// Lines that say how far it got.
struct Steps {
    watch: Stopwatch,
    colour: bool,
}

impl Steps {
    fn start() -> Self {
        Self {
            watch: Stopwatch::start(),
            colour: std::io::stdout().is_terminal(),
        }
    }

    fn done(&self, what: &str) {
        self.line("✓", "32", what);
    }

    fn failed(&self, what: &str) {
        self.line("✗", "31", what);
    }

    fn line(&self, sign: &str, colour: &str, what: &str) {
        let seconds = self.watch.elapsed().as_secs_f32();
        if self.colour {
            println!("\u{1b}[{colour}m{sign}\u{1b}[0m {seconds:5.1} s  {what}");
        } else {
            println!("{sign} {seconds:5.1} s  {what}");
        }
    }
}
