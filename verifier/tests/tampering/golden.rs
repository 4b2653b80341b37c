//! Signed cases and their bundles that are checked in (`tests/cases/signed`, of one part, and
//! `tests/cases/rolled`, of three): later versions must read them as this one does. `SAKSHI_BLESS=1`
//! builds them again, from the writer of these tests.

use std::{fs, path::Path};

use sakshi_verifier::{Verification, verify};

use crate::writer::{AT, Writer, golden, schema};

/// What the cases are made of.
const SALT: u8 = 5;

fn bless(dir: &Path, case: &Writer) {
    let _ = fs::remove_dir_all(dir);
    let folder = dir.join("case");
    fs::create_dir_all(&folder).unwrap();
    case.write(&folder, &schema());
    fs::write(dir.join("bundle.tar"), case.bundle(&folder)).unwrap();
}

fn intact(path: &Path, case: &Writer, (records, checkpoints): (i64, u64)) {
    let verification = verify(path, &mut |_| ()).unwrap();
    let Verification::Intact(found) = verification else {
        panic!("{verification:#?}");
    };
    let last = case.rows.last().unwrap();
    assert_eq!(
        (found.records, found.head.seq),
        (records.cast_unsigned(), records)
    );
    assert_eq!(found.head.hash.as_bytes(), last.hash.as_slice());
    assert_eq!(found.signed.unwrap().checkpoints, checkpoints);
    assert_eq!(found.sealed.as_deref(), Some(AT));
    assert!(found.unlisted.is_empty());
}

fn try_golden(name: &str, case: &Writer, counts: (i64, u64)) {
    let dir = golden(name);
    if std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1") {
        bless(&dir, case);
    }
    intact(&dir.join("case"), case, counts);
    intact(&dir.join("bundle.tar"), case, counts);
}

#[test]
fn the_golden_case_and_its_bundle_are_intact() {
    try_golden("signed", &Writer::sample(SALT, true), (17, 5));
}

#[test]
fn the_golden_case_of_three_parts_and_its_bundle_are_intact() {
    try_golden("rolled", &Writer::in_parts(SALT, true), (21, 7));
}
