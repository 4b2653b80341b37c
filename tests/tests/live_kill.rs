//! A daemon that is killed loses nothing that it acknowledged, and leaves nothing behind for long.
//!
//! It is killed at random moments under load, again and again in the same case. `SAKSHI_KILLS`
//! says how often (50 for the full run).

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command, thread};

use sakshi_tests::{
    daemon::{self, Acknowledged, Daemon},
    handset::{Handset, Result, places, script::Action},
    live_possible,
    seed::Seed,
    wait,
};
use std::time::Duration;

/// Kills of a normal run.
const KILLS: u64 = 10;
/// Latest moment of a kill after the daemon began to watch, in milliseconds.
const KILL_AFTER_MS_MAX: u64 = 2500;
/// Flows that the load would make if nobody ended it.
const ENDLESS: u64 = 1_000_000;
/// Upper bound for the first acknowledgement of a session.
const FIRST_MAX: Duration = Duration::from_secs(20);

fn kills() -> u64 {
    let asked = std::env::var("SAKSHI_KILLS").ok();
    asked.map_or(KILLS, |text| {
        text.parse().expect("SAKSHI_KILLS is a number")
    })
}

/// What the daemon is started with: its database goes on in a next part so often that kills meet that
/// too.
const SMALL_PARTS: [&str; 2] = ["--roll-bytes", "100000"];

/// The rules of the handset's packet filter.
fn rules(handset: &Handset) -> Result<String> {
    let mut all = String::new();
    for program in ["iptables", "ip6tables"] {
        for table in ["filter", "mangle", "raw"] {
            all += &handset.output(Command::new(program).args(["-w", "-t", table, "-S"]))?;
        }
    }
    Ok(all)
}

/// What was acknowledged and is not in the case, or is another record there.
fn missing(acknowledged: &[Acknowledged], records: &BTreeMap<u64, String>) -> Vec<Acknowledged> {
    let held = |head: &&Acknowledged| records.get(&head.seq) != Some(&head.hash);
    acknowledged.iter().filter(held).cloned().collect()
}

fn records(case: &Path) -> BTreeMap<u64, String> {
    daemon::export(case, "records")
        .expect("records")
        .iter()
        .filter_map(|record| Some((record["seq"].as_u64()?, record["hash"].as_str()?.to_owned())))
        .collect()
}

fn unclean_stops(case: &Path) -> usize {
    let gaps = daemon::export(case, "gaps").expect("gaps");
    gaps.iter()
        .filter(|gap| gap["cause"] == "unclean_stop")
        .count()
}

/// One session: load, a random moment, the end. Gives what was acknowledged until then.
fn session(handset: &Handset, case: &Path, seed: &mut Seed) -> Vec<Acknowledged> {
    let daemon = Daemon::start(handset, case, &SMALL_PARTS).expect("the daemon watches");
    let follower = daemon.follow().expect("a follower");
    let to: Vec<SocketAddr> = vec![
        places::SINGAPORE.v4(places::ECHO),
        places::CHINA.v6(places::ECHO),
    ];
    let load = Action::Flows {
        count: ENDLESS,
        parallel: 4,
        to,
        seed: seed.next_number(),
        open_ms: 0,
    };
    let app = handset.start_app(10_050, &[load]).expect("the load");
    wait::until(FIRST_MAX, || (follower.count() > 0).then_some(()))
        .expect("an acknowledgement under load");
    thread::sleep(Duration::from_millis(seed.below(KILL_AFTER_MS_MAX)));
    daemon.kill().expect("killed");
    let acknowledged = follower.finish().expect("what was acknowledged");
    app.abort().expect("the load ended");
    acknowledged
}

#[test]
fn a_killed_daemon_keeps_what_it_acknowledged() {
    if !live_possible("a_killed_daemon_keeps_what_it_acknowledged") {
        return;
    }
    let mut seed = Seed::printed(0x5a4b_0005);
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let untouched = rules(&handset).expect("rules");
    let mut acknowledged = Vec::new();
    let kills = kills();
    for number in 1..=kills {
        let heads = session(&handset, &case, &mut seed);
        acknowledged.extend(heads);
        daemon::not_damaged(&case).unwrap_or_else(|error| panic!("after kill {number}: {error}"));
        let records = records(&case);
        let lost = missing(&acknowledged, &records);
        assert_eq!(lost, [], "acknowledged, but gone after kill {number}");
        println!(
            "kill {number}: {} acknowledged so far, {} records",
            acknowledged.len(),
            records.len()
        );
    }
    let left = rules(&handset).expect("rules");
    assert_ne!(left, untouched, "a killed daemon leaves rules to clean");
    daemon::clean(&handset).expect("cleaned");
    assert_eq!(rules(&handset).expect("rules"), untouched);

    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    daemon.stop().expect("a summary");
    let stops = u64::try_from(unclean_stops(&case)).expect("a small number");
    assert_eq!(
        stops, kills,
        "each unclean stop is a record of the next start"
    );
    assert_eq!(rules(&handset).expect("rules"), untouched);
    daemon::verify(&case).expect("intact evidence");
    let rolled = daemon::export(&case, "records").expect("records");
    let rolled = rolled.iter().filter(|record| record["kind"] == "rolled");
    let parts = rolled.count() + 1;
    println!("{parts} parts of the database");
    assert!(parts > 1, "too little was recorded to roll");
    daemon::output(["verify", "--replay", daemon::text(&case)]).expect("the same findings");
}

#[test]
fn a_missing_or_changed_record_is_seen() {
    let head = |seq, hash: &str| Acknowledged {
        seq,
        hash: hash.to_owned(),
    };
    let records = BTreeMap::from([(1, "a".to_owned()), (2, "b".to_owned())]);
    assert_eq!(missing(&[head(1, "a"), head(2, "b")], &records), []);
    assert_eq!(missing(&[head(2, "x")], &records), [head(2, "x")]);
    assert_eq!(missing(&[head(3, "c")], &records), [head(3, "c")]);
}
