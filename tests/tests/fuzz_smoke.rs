//! Every fuzz target on stable Rust: its seeds, and mutations of them that are the same each time.
//!
//! In: `tests/corpus/`. Out: a test for each target. This finds what libFuzzer would find in its
//! first second; `docs/fuzzing.md` says how to look longer, and decision 0090 why both exist.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use sakshi_tests::{
    fuzz::{INPUT_MAX, TARGETS, corpus, run},
    seed::Seed,
};

/// Executions of a target, its seeds included.
const EXECUTIONS: usize = 2_000;
/// Executions of targets that set up a whole core or its tables each time.
const EXECUTIONS_SLOW: usize = 1_000;
/// Most changes of one input.
const CHANGES_MAX: u64 = 6;
/// Most seeds of a target; more slow everybody down and find nothing.
const SEEDS_MAX: usize = 20;
/// Longest seed, in bytes.
const SEED_BYTES_MAX: usize = 4096;
/// Values that length fields and counters break at.
const EDGES: [u64; 9] = [0, 1, 4, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, u64::MAX];

macro_rules! targets {
    ($($name:ident: $executions:expr;)+) => {
        $(
            #[test]
            fn $name() {
                smoke(stringify!($name), $executions);
            }
        )+

        /// A target without a line above, or without a binary for libFuzzer, would not be run.
        #[test]
        fn every_target_is_run() {
            let mine = [$(stringify!($name)),+];
            let all: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, mine);
            let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap();
            let bins: Vec<&str> = manifest
                .lines()
                .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"))
                .filter_map(|line| line.strip_suffix(".rs\""))
                .collect();
            assert_eq!(bins, mine);
            for name in mine {
                let file = package.join(format!("fuzz_targets/{name}.rs"));
                let text = fs::read_to_string(file).unwrap();
                assert!(text.contains(&format!("run(\"{name}\", data)")), "{name}");
            }
        }
    };
}

targets! {
    dissect: EXECUTIONS;
    nflog_attributes: EXECUTIONS;
    pktap: EXECUTIONS;
    nflog_message: EXECUTIONS;
    nflog_listing: EXECUTIONS;
    sock_diag: EXECUTIONS;
    sock_destroy: EXECUTIONS;
    ring_block: EXECUTIONS;
    rtnetlink: EXECUTIONS;
    capture_file: EXECUTIONS;
    dns: EXECUTIONS;
    dns_tcp: EXECUTIONS;
    service: EXECUTIONS;
    dtls: EXECUTIONS;
    quic: EXECUTIONS;
    quic_frames: EXECUTIONS;
    gquic: EXECUTIONS;
    tls: EXECUTIONS;
    http: EXECUTIONS;
    http2: EXECUTIONS;
    identify: EXECUTIONS;
    server_flight: EXECUTIONS;
    certificate: EXECUTIONS;
    lines: EXECUTIONS;
    xmpp: EXECUTIONS;
    socks: EXECUTIONS;
    reading: EXECUTIONS;
    inventory_list: EXECUTIONS;
    inventory_xml: EXECUTIONS;
    inventory_users: EXECUTIONS;
    inventory_preloads: EXECUTIONS;
    rule_set: EXECUTIONS;
    rule_cases: EXECUTIONS;
    declaration: EXECUTIONS;
    places: EXECUTIONS;
    published: EXECUTIONS_SLOW;
    journal: EXECUTIONS;
    journal_inputs: EXECUTIONS_SLOW;
    canonical: EXECUTIONS;
    control_request: EXECUTIONS;
    control_frames: EXECUTIONS;
    segment_blocks: EXECUTIONS;
    kernel_config: EXECUTIONS;
    machine_files: EXECUTIONS;
    timestamp: EXECUTIONS;
    bundle: EXECUTIONS_SLOW;
    head: EXECUTIONS;
    verifier_canonical: EXECUTIONS;
    verifier_journal: EXECUTIONS;
    pipeline: EXECUTIONS_SLOW;
}

/// A folder without a target would be a corpus that nobody runs.
#[test]
fn every_corpus_has_a_target() {
    for entry in fs::read_dir(corpus("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = TARGETS.iter().any(|(target, _)| *target == name);
        assert!(known, "tests/corpus/{name} has no target of that name");
    }
}

fn smoke(target: &str, executions: usize) {
    let seeds = seeds(target);
    for seed in &seeds {
        execute(target, seed);
    }
    let mut random = Seed::printed(90);
    for _ in seeds.len()..executions {
        execute(target, &mutated(&seeds, &mut random));
    }
}

/// The seeds in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = corpus(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{target} has no corpus {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seed");
    assert!(
        paths.len() <= SEEDS_MAX,
        "{target} has {} seeds",
        paths.len()
    );
    paths
        .iter()
        .map(|path| {
            let bytes = fs::read(path).unwrap();
            assert!(bytes.len() <= SEED_BYTES_MAX, "{}", path.display());
            bytes
        })
        .collect()
}

/// Runs a target; shows the input that broke it, ready to become a seed.
fn execute(target: &str, data: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(target, data))) {
        println!(
            "{target} broke on {} bytes: {}",
            data.len(),
            data.escape_ascii()
        );
        std::panic::resume_unwind(panic);
    }
}

fn mutated(seeds: &[Vec<u8>], random: &mut Seed) -> Vec<u8> {
    let mut data = seeds[below(random, seeds.len())].clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        let other = &seeds[below(random, seeds.len())];
        change(&mut data, other, random);
    }
    data.truncate(INPUT_MAX);
    data
}

fn change(data: &mut Vec<u8>, other: &[u8], random: &mut Seed) {
    let at = below(random, data.len() + 1);
    match random.below(8) {
        0 => flip_bit(data, at, random),
        1 => data.truncate(at),
        2 => {
            let end = at + below(random, data.len() - at + 1);
            data.drain(at..end);
        }
        3 => data.insert(at, random.next_number().to_le_bytes()[0]),
        // A splice: the front of one seed, the back of another.
        4 => {
            data.truncate(at);
            let from = below(random, other.len() + 1);
            data.extend_from_slice(&other[from..]);
        }
        // A piece twice.
        5 => {
            let end = at + below(random, (data.len() - at).min(64) + 1);
            let piece = data[at..end].to_vec();
            data.splice(at..at, piece);
        }
        _ => tweak_integer(data, at, random),
    }
}

fn flip_bit(data: &mut [u8], at: usize, random: &mut Seed) {
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Changes an integer of 1, 2, 4 or 8 bytes as if it were a length: an edge, or a little more or
/// less than it was, in either byte order.
fn tweak_integer(data: &mut [u8], at: usize, random: &mut Seed) {
    let width = 1 << random.below(4);
    let Some(field) = data.get_mut(at..at + width) else {
        return;
    };
    let little = random.below(2) == 0;
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(field);
    if !little {
        bytes[..width].reverse();
    }
    let value = u64::from_le_bytes(bytes);
    let value = match random.below(3) {
        0 => EDGES[below(random, EDGES.len())],
        1 => value.wrapping_add(1 + random.below(8)),
        _ => value.wrapping_sub(1 + random.below(8)),
    };
    field.copy_from_slice(&value.to_le_bytes()[..width]);
    if !little {
        field.reverse();
    }
}

fn below(random: &mut Seed, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap()
}
