//! The exactness layer never stands in the way of others that change the packet filter.
//!
//! With iptables-legacy a rule whose pinned program is gone makes every change of its table fail, for
//! everybody. So a second program changes the raw table all the while that the daemon is started,
//! killed, cleaned up after and stopped, and must never fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sakshi_tests::{
    daemon::{self, Daemon, sakshi, text},
    handset::{
        Handset, Result,
        bpffs::Bpffs,
        places,
        script::{Action, Short},
    },
    live_possible, wait,
};

/// Rounds of start, run, kill, clean, start, kill, start, stop.
const ROUNDS: usize = 3;
/// The variant that a phone has.
const IPTABLES: &str = "iptables-legacy";
/// Upper bound for the daemon to put its pin or rule back.
const MENDED_MAX: Duration = Duration::from_secs(20);

/// Changes the raw table of both families again and again.
struct Committer {
    child: Child,
    stop: PathBuf,
    log: PathBuf,
}

const COMMITS: &str = r#"
rule="PREROUTING -s 192.0.2.1 -j ACCEPT"
rule6="PREROUTING -s 2001:db8::1 -j ACCEPT"
while [ ! -e "$STOP" ]; do
  for change in -A -D; do
    iptables-legacy -w 20 -t raw $change $rule 2>&1 && echo ok || echo "FAILED: $change v4"
    ip6tables-legacy -w 20 -t raw $change $rule6 2>&1 && echo ok || echo "FAILED: $change v6"
  done
done
"#;

impl Committer {
    fn start(handset: &Handset) -> Self {
        let (stop, log) = (handset.dir().join("enough"), handset.dir().join("commits"));
        let file = fs::File::create(&log).expect("a log");
        let mut command = Command::new("sh");
        command
            .args(["-c", COMMITS])
            .env("STOP", &stop)
            .stdin(Stdio::null())
            .stdout(file);
        let child = handset.spawn(&mut command).expect("a second program");
        Self { child, stop, log }
    }

    /// How many changes it made; panics when one failed.
    fn finish(mut self) -> usize {
        fs::write(&self.stop, "").expect("a file");
        self.child.wait().expect("its end");
        let said = fs::read_to_string(&self.log).expect("what it said");
        let failed: Vec<&str> = said.lines().filter(|line| *line != "ok").collect();
        assert!(failed.is_empty(), "changes that failed: {failed:#?}");
        said.lines().count()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Already ended in the good case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn start(handset: &Handset, case: &Path, bpffs: &Bpffs) -> Daemon {
    let more = ["--iptables", IPTABLES, "--bpffs", text(bpffs.path())];
    Daemon::start(handset, case, &more).expect("the daemon watches")
}

fn clean(handset: &Handset, bpffs: &Bpffs) -> Result<String> {
    let more = [
        "clean",
        "--iptables",
        IPTABLES,
        "--bpffs",
        text(bpffs.path()),
    ];
    handset.output(&mut sakshi(more))
}

/// The raw tables of both families.
fn raw(handset: &Handset) -> String {
    ["iptables-legacy", "ip6tables-legacy"]
        .map(|program| {
            let mut command = Command::new(program);
            handset
                .output(command.args(["-w", "-t", "raw", "-S"]))
                .expect("the raw table")
        })
        .concat()
}

fn change(handset: &Handset, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(IPTABLES);
    handset.output(command.args(["-w", "-t", "raw"]).args(arguments))
}

fn some_traffic(handset: &Handset) {
    let flows = Action::ShortFlows {
        count: 20,
        kinds: vec![Short::Connect, Short::Send],
        to: vec![places::SINGAPORE.v4(places::ECHO)],
        resolvers: Vec::new(),
        on_behalf_of: Vec::new(),
        ports: 20_000..20_001,
        pause_us: 0,
        seed: 1,
    };
    handset.run_app(10_050, &[flows]).expect("an app");
}

fn assert_in_place(handset: &Handset, bpffs: &Bpffs) {
    let rules = raw(handset);
    let [pin] = bpffs.pins().try_into().expect("one pin");
    assert_eq!(
        rules.matches("-A OUTPUT -j sakshi_owner").count(),
        2,
        "{rules}"
    );
    assert_eq!(
        rules
            .matches(&format!("--object-pinned {}", pin.display()))
            .count(),
        2
    );
}

fn assert_gone(handset: &Handset, bpffs: &Bpffs) {
    assert!(!raw(handset).contains("sakshi"));
    assert_eq!(bpffs.pins(), Vec::<PathBuf>::new());
}

#[test]
fn nobody_else_s_change_of_the_table_ever_fails() {
    if !live_possible("nobody_else_s_change_of_the_table_ever_fails") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let case = handset.dir().join("case");
    let committer = Committer::start(&handset);
    for _ in 0..ROUNDS {
        let daemon = start(&handset, &case, &bpffs);
        some_traffic(&handset);
        daemon.kill().expect("its end");
        assert_in_place(&handset, &bpffs);
        clean(&handset, &bpffs).expect("a clean machine");
        assert_gone(&handset, &bpffs);

        start(&handset, &case, &bpffs).kill().expect("its end");
        assert_in_place(&handset, &bpffs);
        let daemon = start(&handset, &case, &bpffs);
        assert_in_place(&handset, &bpffs);
        some_traffic(&handset);
        daemon.stop().expect("a summary");
        assert_gone(&handset, &bpffs);
    }
    let commits = committer.finish();
    println!("changes by another program: {commits}");
    assert!(commits > 0);
    daemon::verify(&case).expect("intact evidence");
}

#[test]
fn a_rule_or_a_pin_that_vanishes_is_put_back_and_told() {
    if !live_possible("a_rule_or_a_pin_that_vanishes_is_put_back_and_told") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let case = handset.dir().join("case");
    let daemon = start(&handset, &case, &bpffs);
    change(&handset, &["-F", "OUTPUT"]).expect("a flush");
    wait::until(MENDED_MAX, || {
        let jumps = raw(&handset).matches("-A OUTPUT -j sakshi_owner").count();
        (jumps == 2).then_some(())
    })
    .expect("the rule again");
    let [pin] = bpffs.pins().try_into().expect("one pin");
    fs::remove_file(pin).expect("a pin less");
    wait::until(MENDED_MAX, || (!bpffs.pins().is_empty()).then_some(())).expect("the pin again");
    change(&handset, &["-A", "PREROUTING", "-j", "ACCEPT"]).expect("a change that succeeds");
    daemon.stop().expect("a summary");
    assert_gone(&handset, &bpffs);
    let gaps = daemon::export(&case, "gaps").expect("gaps");
    let told = gaps
        .iter()
        .filter(|gap| gap["cause"] == "degraded" && gap["place"] == "owners by xt_bpf")
        .count();
    assert_eq!(told, 2, "{gaps:?}");
}

#[test]
fn clean_helps_also_where_somebody_removed_the_pin_alone() {
    if !live_possible("clean_helps_also_where_somebody_removed_the_pin_alone") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let bpffs = Bpffs::mount(&handset).expect("a BPF file system");
    let daemon = start(&handset, &handset.dir().join("case"), &bpffs);
    daemon.kill().expect("its end");
    let [pin] = bpffs.pins().try_into().expect("one pin");
    fs::remove_file(pin).expect("a pin less");
    let rule = ["-A", "PREROUTING", "-j", "ACCEPT"];
    let error = change(&handset, &rule).expect_err("the trap that all this is about");
    println!("without the pin: {error}");
    clean(&handset, &bpffs).expect("a clean machine");
    assert_gone(&handset, &bpffs);
    change(&handset, &rule).expect("a change that succeeds");
}
