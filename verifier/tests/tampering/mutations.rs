//! Whatever is changed without the private keys is noticed, and nothing crashes the verifier.
//!
//! A signed case and its bundle, written here from the format, are changed at random: values, rows,
//! tails, files, bytes, with the chain made anew or not. `SAKSHI_MUTATIONS` says how many changes
//! are tried, `SAKSHI_SEED` where chance begins.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OpenFlags};
use sakshi_verifier::{
    ExpectedHead, Verification, VerifyError, verify, verify_against, verify_bundle,
};

use crate::{
    change::{Bench, Chance, Must, mutate_bundle},
    writer::{Row, Writer, part_name, schema},
};

/// Changes that are tried of each, unless it is said.
const MUTATIONS: usize = 250;

/// Makes a case from a number, sealed or not.
pub type Sample = fn(u8, bool) -> Writer;

/// Makers of cases, and whether sealed.
pub const SAMPLES: [(Sample, bool); 4] = [
    (Writer::sample, false),
    (Writer::sample, true),
    (Writer::in_parts, false),
    (Writer::in_parts, true),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn mutations() -> usize {
    number("SAKSHI_MUTATIONS").map_or(MUTATIONS, |number| usize::try_from(number).unwrap())
}

fn seed() -> u64 {
    number("SAKSHI_SEED").unwrap_or(20_261_128)
}

/// The head that left the handset: that of the last checkpoint.
fn head(case: &Writer) -> ExpectedHead {
    let last = case.rows.last().unwrap();
    assert_eq!(last.kind, "checkpoint");
    ExpectedHead {
        seq: last.seq,
        hash: last.hash[..16].to_vec(),
        case: None,
    }
}

/// What the result is called; a folder that is no case any more cannot be called intact either.
fn verdict(result: Result<Verification, VerifyError>) -> &'static str {
    match result {
        Ok(Verification::Intact(_)) => "intact",
        Ok(Verification::Incomplete(_)) => "incomplete",
        Ok(Verification::Damaged(_)) => "damaged",
        Err(VerifyError::NotACase(_) | VerifyError::NotABundle(_) | VerifyError::Newer { .. }) => {
            "refused"
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn rows(dir: &Path) -> Option<Vec<Row>> {
    let mut all = Vec::new();
    for part in 1.. {
        let path = dir.join(part_name(part));
        if !path.exists() {
            break;
        }
        all.extend(part_rows(&path, part)?);
    }
    Some(all)
}

fn part_rows(path: &Path, part: usize) -> Option<Vec<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    let mut statement = connection
        .prepare("SELECT seq, kind, body, attachment, prev, hash FROM record ORDER BY seq")
        .ok()?;
    let rows = statement.query_map([], |row| {
        Ok(Row {
            seq: row.get(0)?,
            kind: row.get(1)?,
            body: row.get(2)?,
            attachment: row.get(3)?,
            prev: row.get(4)?,
            hash: row.get(5)?,
            part,
        })
    });
    rows.ok()?.collect::<Result<_, _>>().ok()
}

/// What is wrong with what the verifier says of a change.
fn judge(dir: &Path, case: &Writer, what: &str, must: Must) -> Result<&'static str, String> {
    let with_head = verdict(verify_against(dir, Some(head(case)), &mut |_| ()));
    let without = verdict(verify(dir, &mut |_| ()));
    let noticed = |verdict| matches!(verdict, "damaged" | "refused");
    let fine = match must {
        Must::Damaged => noticed(with_head) && noticed(without),
        Must::DamagedWithHead => noticed(with_head),
        Must::NotIntact => without != "intact" && with_head != "intact",
        Must::DamagedOrSame => noticed(without) || rows(dir).is_some_and(|rows| rows == case.rows),
    };
    if fine {
        return Ok(without);
    }
    Err(format!("{what}: {without}, with a head {with_head}"))
}

fn try_cases(sample: Sample, sealed: bool) {
    let schema = schema();
    let (case, other) = (sample(7, sealed), sample(8, sealed));
    let bench = Bench {
        case: &case,
        other: &other,
        schema: &schema,
    };
    let mut chance = Chance(seed() + u64::from(sealed));
    let mut complaints = Vec::new();
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..mutations() {
        let dir = tempfile::tempdir().unwrap();
        let (what, must) = bench.mutate(dir.path(), &mut chance);
        match judge(dir.path(), &case, &what, must) {
            Ok(verdict) => *said.entry(verdict).or_default() += 1,
            Err(complaint) => complaints.push(complaint),
        }
    }
    println!(
        "{} changes, sealed {sealed}; without a head: {said:?}",
        mutations()
    );
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn every_change_of_an_open_case_is_noticed() {
    try_cases(Writer::sample, false);
}

#[test]
fn every_change_of_a_sealed_case_is_noticed() {
    try_cases(Writer::sample, true);
}

#[test]
fn every_change_of_an_open_case_of_several_parts_is_noticed() {
    try_cases(Writer::in_parts, false);
}

#[test]
fn every_change_of_a_sealed_case_of_several_parts_is_noticed() {
    try_cases(Writer::in_parts, true);
}

#[test]
fn every_change_of_a_bundle_is_noticed() {
    try_bundles(Writer::sample);
}

#[test]
fn every_change_of_a_bundle_of_several_parts_is_noticed() {
    try_bundles(Writer::in_parts);
}

fn try_bundles(sample: Sample) {
    let schema = schema();
    let [one, other] = [7, 8].map(|salt| {
        let dir = tempfile::tempdir().unwrap();
        let case = sample(salt, true);
        case.write(dir.path(), &schema);
        case.bundle(dir.path())
    });
    let verified = |bytes: &[u8]| {
        let total = bytes.len() as u64;
        verdict(verify_bundle(
            bytes,
            Path::new("bundle"),
            total,
            None,
            &mut |_| (),
        ))
    };
    assert_eq!((verified(&one), verified(&other)), ("intact", "intact"));
    let mut chance = Chance(seed());
    let mut complaints = Vec::new();
    let mut tried = 0;
    while tried < mutations() {
        let (what, bytes) = mutate_bundle(&one, &other, &mut chance);
        if bytes == one {
            continue;
        }
        tried += 1;
        let verdict = verified(&bytes);
        // Without its beginning it does not pass for a bundle at all.
        if !matches!(verdict, "damaged" | "refused") {
            complaints.push(format!("{what}: {verdict}"));
        }
    }
    println!("{tried} changes of a bundle of {} bytes", one.len());
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn what_was_not_changed_is_intact_and_a_head_tells_an_older_state() {
    let schema = schema();
    for (sample, sealed) in SAMPLES {
        let dir = tempfile::tempdir().unwrap();
        let case = sample(7, sealed);
        case.write(dir.path(), &schema);
        let Ok(Verification::Intact(found)) =
            verify_against(dir.path(), Some(head(&case)), &mut |_| ())
        else {
            panic!("{:#?}", verify(dir.path(), &mut |_| ()));
        };
        assert!(found.compared && found.ended && found.sealed.is_some() == sealed);
        assert_eq!(found.records, case.rows.len() as u64);
        assert_eq!(found.signed.unwrap().behind, 0);
        assert!(found.unlisted.is_empty());
        // Another case with the same number of records is not the one.
        let other = sample(8, sealed);
        let verified = verify_against(dir.path(), Some(head(&other)), &mut |_| ());
        assert_eq!(verdict(verified), "damaged");
    }
}

#[test]
fn a_cut_tail_is_incomplete_and_says_so() {
    let schema = schema();
    for sample in [Writer::sample as Sample, Writer::in_parts] {
        cut_tails(sample, &schema);
    }
}

fn cut_tails(sample: Sample, schema: &[String]) {
    let case = sample(7, false);
    for kept in 1..case.rows.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut cut = sample(7, false);
        cut.cut(kept);
        // A segment that no record drops yet is still there.
        cut.files
            .insert("packets/000001.pcapng".to_owned(), vec![1 ^ 7; 700]);
        cut.write(dir.path(), schema);
        let verification = verify(dir.path(), &mut |_| ()).unwrap();
        let expected = if kept == 3 { 0 } else { 4 };
        assert_eq!(
            verification.exit_code(),
            expected,
            "{kept}: {verification:#?}"
        );
        let text = sakshi_verifier::text::text(&verification);
        assert!(text.contains("Give --head"), "{text}");
        let with_head = verify_against(dir.path(), Some(head(&case)), &mut |_| ());
        assert_eq!(verdict(with_head), "damaged");
    }
}
