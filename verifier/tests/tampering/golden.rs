//! A signed case and its bundle that are checked in (`tests/cases/signed`): later versions must
//! read them as this one does. `SAKSHI_BLESS=1` builds them again, from the writer of these tests.

use std::{fs, path::Path};

use sakshi_verifier::{Verification, verify};

use crate::writer::{Writer, golden, schema};

/// What the case is made of.
const SALT: u8 = 5;

fn bless() {
    let dir = golden();
    let _ = fs::remove_dir_all(&dir);
    let case = Writer::sample(SALT, true);
    let folder = dir.join("case");
    fs::create_dir_all(&folder).unwrap();
    case.write(&folder, &schema());
    fs::write(dir.join("bundle.tar"), case.bundle(&folder)).unwrap();
}

fn intact(path: &Path) {
    let verification = verify(path, &mut |_| ()).unwrap();
    let Verification::Intact(found) = verification else {
        panic!("{verification:#?}");
    };
    let case = Writer::sample(SALT, true);
    let last = case.rows.last().unwrap();
    assert_eq!((found.records, found.head.seq), (17, 17));
    assert_eq!(found.head.hash.as_bytes(), last.hash.as_slice());
    assert_eq!(found.signed.unwrap().checkpoints, 5);
    assert_eq!(found.sealed.as_deref(), Some(crate::writer::AT));
}

#[test]
fn the_golden_case_and_its_bundle_are_intact() {
    if std::env::var_os("SAKSHI_BLESS").is_some_and(|value| value == "1") {
        bless();
    }
    intact(&golden().join("case"));
    intact(&golden().join("bundle.tar"));
}
