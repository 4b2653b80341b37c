//! Reads public captures and compares the names in them with those that tshark found.
//!
//! In: the folder that the environment variable `SAKSHI_CAPTURES` names, with a `names.jsonl` beside
//! the captures: for each its tunnelled packets and names, each with the five-tuple of the packet that
//! carried it. Out: a failure where fewer than 99 % are found in captures of which less than a tenth
//! of the packets is tunnelled; and lists of the missing and of the further ones, which
//! `docs/names-comparison.md` explains. Without the variable it says that it did not run.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use sakshi::{
    attribute::inventory::Inventory,
    capture::file::{CaptureFile, Next},
    evidence::body::Record,
    input::{Batch, Input},
    locate::Atlas,
    packet::{Transport, dissect},
    pipeline::{Core, Setup},
};
use sakshi_rules::contact::NameSource;

/// Protocol, source, destination, name.
type Seen = (u8, (IpAddr, u16), (IpAddr, u16), String);

#[derive(serde::Deserialize)]
struct Expected {
    path: PathBuf,
    packets: u64,
    tunnelled_packets: u64,
    #[serde(default)]
    tls: Vec<Given>,
    #[serde(default)]
    quic: Vec<Given>,
    #[serde(default)]
    dns: Vec<Given>,
    #[serde(default)]
    http: Vec<Given>,
}

type Given = (String, IpAddr, u16, IpAddr, u16, String);

impl Expected {
    fn kinds(&self) -> [(&'static str, &[Given]); 4] {
        [
            ("tls", &self.tls),
            ("quic", &self.quic),
            ("dns", &self.dns),
            ("http", &self.http),
        ]
    }
}

/// A name as tshark writes it, as we write it.
fn ours(kind: &str, name: &str) -> String {
    let name = if kind == "http" {
        let host = name.rsplit('@').next().unwrap();
        match host.strip_prefix('[') {
            Some(literal) => literal.split(']').next().unwrap(),
            None => host.rsplit_once(':').map_or(host, |(host, _)| host),
        }
    } else {
        name
    };
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

/// Both directions are one flow.
fn key(protocol: u8, one: (IpAddr, u16), other: (IpAddr, u16), name: String) -> Seen {
    let (low, high) = if one < other {
        (one, other)
    } else {
        (other, one)
    };
    (protocol, low, high, name)
}

/// What a capture holds.
#[derive(Default)]
struct Found {
    /// Names, with the packet that says each.
    seen: BTreeMap<Seen, (NameSource, u64)>,
    /// The outermost ends of datagrams.
    datagrams: BTreeMap<u64, [(IpAddr, u16); 2]>,
}

impl Found {
    /// Where a name was seen inside tunnels. Of what is there tshark tells the outermost addresses, and
    /// we those inside: it is between the same ports, or of datagrams in datagrams, of which it tells the
    /// outermost ports too, in a packet between these.
    fn inside(&self, wanted: &Seen) -> Vec<&Seen> {
        let ports = |seen: &Seen| {
            let (low, high) = (seen.1.1, seen.2.1);
            (low.min(high), low.max(high))
        };
        let outermost = |frame: &u64| {
            let ends: Option<&[(IpAddr, u16); 2]> = self.datagrams.get(frame);
            ends.is_some_and(|ends| ends.contains(&wanted.1) && ends.contains(&wanted.2))
        };
        let is_it = |(key, (_, frame)): &(&Seen, &(NameSource, u64))| {
            (key.0, &key.3) == (wanted.0, &wanted.3)
                && (ports(key) == ports(wanted) || outermost(frame))
        };
        self.seen.iter().filter(is_it).map(|(key, _)| key).collect()
    }

    fn note_datagram(&mut self, input: &Input<'_>) {
        if let Input::Packet(packet) = input
            && let Ok(view) = dissect(packet.link, packet.data, packet.original_len)
            && let Transport::Udp(udp) = view.transport
        {
            let ends = [(view.src(), udp.sport), (view.dst(), udp.dport)];
            self.datagrams.insert(packet.frame, ends);
        }
    }
}

fn read(path: &Path, atlas: &Arc<Atlas>) -> Found {
    let mut found = Found::default();
    let mut core = Core::new(Setup {
        session: 1,
        handset: Vec::new(),
        inventory: Inventory::from_files(&[]).0,
        rules: Vec::new(),
        atlas: Arc::clone(atlas),
        sources: vec!["file".to_owned()],
        egress: None,
    });
    let mut records = Vec::new();
    if let Ok(mut file) = CaptureFile::open_path(path, 0) {
        let mut batch = Batch::new();
        loop {
            batch.clear();
            let next = file.next(&mut batch);
            for input in batch.iter() {
                core.feed(&input, &mut records);
                found.note_datagram(&input);
            }
            if let Next::End(_) = next {
                break;
            }
        }
    }
    core.finish(&mut records);
    for record in records {
        let Record::Flow(flow) = record else {
            continue;
        };
        let (Some(sport), Some(dport)) = (flow.sport, flow.dport) else {
            continue;
        };
        for name in flow.names {
            if name.source == NameSource::Resolved {
                continue;
            }
            let frame = name.packet.map_or(0, |packet| packet.frame);
            let key = key(
                flow.protocol,
                (flow.src, sport),
                (flow.dst, dport),
                name.name,
            );
            found.seen.insert(key, (name.source, frame));
        }
    }
    found
}

#[test]
fn public_captures_have_the_names_that_tshark_found() {
    let Some(folder) = env::var_os("SAKSHI_CAPTURES").map(PathBuf::from) else {
        println!("not run: SAKSHI_CAPTURES names no folder of public captures");
        return;
    };
    let list = fs::read_to_string(folder.join("names.jsonl")).unwrap();
    let atlas = Arc::new(Atlas::embedded().unwrap());
    // Found and expected, by kind and whether tunnelled.
    let mut counts: BTreeMap<(bool, &str), (u64, u64)> = BTreeMap::new();
    let mut further = 0;
    for line in list.lines() {
        let expected: Expected = serde_json::from_str(line).unwrap();
        let tunnelled = expected.tunnelled_packets * 10 >= expected.packets;
        let found = read(&folder.join(&expected.path), &atlas);
        let mut wanted = BTreeSet::new();
        for (kind, names) in expected.kinds() {
            for (proto, src, sport, dst, dport, name) in names {
                let protocol = if proto == "tcp" { 6 } else { 17 };
                let key = key(protocol, (*src, *sport), (*dst, *dport), ours(kind, name));
                let count = counts.entry((tunnelled, kind)).or_default();
                count.1 += 1;
                let inside = if tunnelled {
                    found.inside(&key)
                } else {
                    Vec::new()
                };
                if found.seen.contains_key(&key) || !inside.is_empty() {
                    wanted.extend(inside.into_iter().cloned());
                    count.0 += 1;
                } else {
                    let mark = if tunnelled { "tunnelled " } else { "" };
                    println!(
                        "{mark}missing: {} {kind} {proto} {src}:{sport} {dst}:{dport} {name}",
                        expected.path.display()
                    );
                }
                wanted.insert(key);
            }
        }
        for (key, (source, frame)) in found.seen.iter().filter(|(key, _)| !wanted.contains(*key)) {
            further += 1;
            let (protocol, one, other, name) = key;
            println!(
                "further: {} frame {frame} {source:?} {protocol} {one:?} {other:?} {name}",
                expected.path.display()
            );
        }
    }
    for ((tunnelled, kind), (found, all)) in &counts {
        println!("tunnelled {tunnelled}, {kind}: {found} of {all}");
    }
    println!("{further} names that tshark did not find");
    let plain = counts.iter().filter(|((tunnelled, _), _)| !tunnelled);
    let (found, all) = plain.fold((0, 0), |sum, (_, count)| (sum.0 + count.0, sum.1 + count.1));
    println!("{found} of {all} where less than a tenth is tunnelled");
    assert!(found * 100 >= all * 99, "99 % of the names are found");
}
