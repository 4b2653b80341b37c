//! Reads public captures and compares packets and flows with what tshark counted.
//!
//! In: the folder that the environment variable `SAKSHI_CAPTURES` names, with a `names.jsonl` of
//! `{path, packets, flows}` beside the captures. Out: a failure where packet counts differ in any
//! file, or flow counts in more than 5 %; and the list of differing files, which
//! `docs/capture-comparison.md` explains. Without the variable it says that it did not run.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use sakshi::{
    capture::file::{CaptureFile, Next},
    flow::{Ended, FlowTable},
    input::{Batch, Input},
    packet::dissect,
};

#[derive(serde::Deserialize)]
struct Expected {
    path: PathBuf,
    packets: u64,
    flows: u64,
}

#[derive(Debug, Default)]
struct Found {
    packets: u64,
    flows: u64,
    counted: u64,
    replaced: usize,
    idle: usize,
    unparsed: BTreeMap<&'static str, u64>,
    damage: Option<String>,
}

fn read(path: &Path) -> Found {
    let mut found = Found::default();
    let mut file = match CaptureFile::open_path(path, 0) {
        Ok(file) => file,
        Err(error) => {
            found.damage = Some(error.to_string());
            return found;
        }
    };
    let mut table = FlowTable::<()>::new(Vec::new());
    let mut batch = Batch::new();
    loop {
        batch.clear();
        let next = file.next(&mut batch);
        for input in batch.iter() {
            let Input::Packet(packet) = input else {
                continue;
            };
            found.packets += 1;
            match dissect(packet.link, packet.data, packet.original_len) {
                Ok(view) => {
                    table.tick(packet.at);
                    table.count(&packet, &view);
                }
                Err(reason) => *found.unparsed.entry(reason.key()).or_default() += 1,
            }
        }
        if let Next::End(damage) = next {
            found.damage = damage.map(|damage| damage.to_string());
            break;
        }
    }
    let mut flows = Vec::new();
    table.drain_ended(&mut flows);
    let (mut left, ids) = table.finish();
    flows.extend(ids.into_iter().filter_map(|id| left.end(id).cloned()));
    let because = |why| flows.iter().filter(|flow| flow.ended == Some(why)).count();
    found.flows = flows.len() as u64;
    found.replaced = because(Ended::Replaced);
    found.idle = because(Ended::Idle);
    let counts = flows
        .iter()
        .map(|flow| flow.out.packets + flow.seen_in.packets);
    found.counted = counts.sum();
    found
}

#[test]
fn public_captures_have_the_packets_and_flows_that_tshark_counted() {
    let Some(folder) = env::var_os("SAKSHI_CAPTURES").map(PathBuf::from) else {
        println!("not run: SAKSHI_CAPTURES names no folder of public captures");
        return;
    };
    let list = fs::read_to_string(folder.join("names.jsonl")).unwrap();
    let (mut files, mut packets_differ, mut flows_differ) = (0, 0, 0);
    for line in list.lines() {
        let expected: Expected = serde_json::from_str(line).unwrap();
        let found = read(&folder.join(&expected.path));
        let unparsed: u64 = found.unparsed.values().sum();
        assert_eq!(
            found.counted + unparsed,
            found.packets,
            "{:?}",
            expected.path
        );
        files += 1;
        packets_differ += u32::from(found.packets != expected.packets);
        flows_differ += u32::from(found.flows != expected.flows);
        if (found.packets, found.flows) != (expected.packets, expected.flows) {
            println!(
                "{}: packets {} of {}, flows {} of {}, {found:?}",
                expected.path.display(),
                found.packets,
                expected.packets,
                found.flows,
                expected.flows,
            );
        }
    }
    println!("{files} files; packets differ in {packets_differ}, flows in {flows_differ}");
    assert_eq!(packets_differ, 0, "every packet of every file is read");
    assert!(
        flows_differ * 20 <= files,
        "flows agree in 95 % of the files"
    );
}
