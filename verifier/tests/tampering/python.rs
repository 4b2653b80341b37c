//! A verifier in Python that was written from `docs/evidence-format.md` alone says the same as this
//! one, of cases and bundles that are whole, cut and changed.
//!
//! `SAKSHI_PYTHON` names the interpreter (`python3` without it). Where there is none the test is
//! left out, in CI it fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use sakshi_verifier::{Verification, verify};

use crate::{
    change::{Bench, Chance, mutate_bundle},
    mutations::SAMPLES,
    writer::{Writer, golden, schema},
};

/// Changes that both are asked of, of each sort.
const MUTATIONS: usize = 24;

/// The interpreter; none where there is none and that may be.
fn python() -> Option<PathBuf> {
    let python = env::var_os("SAKSHI_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let found = Command::new(&python).arg("--version").output();
    match found {
        Ok(output) if output.status.success() => Some(python),
        other => {
            let missing = format!("{} does not run: {other:?}", python.display());
            assert!(env::var_os("CI").is_none(), "{missing}");
            println!("left out: {missing}");
            None
        }
    }
}

/// What Python says: exit code and text.
fn theirs(python: &Path, path: &Path) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/verifier.py");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(failed, "", "{}", path.display());
    (output.status.code().unwrap(), said)
}

/// What this one says, as an exit code; a folder that is refused is not intact.
fn ours(path: &Path) -> i32 {
    verify(path, &mut |_| ()).map_or(1, |found: Verification| found.exit_code().into())
}

/// What is wrong when both do not agree. What SQLite itself calls damaged depends on its version,
/// so of raw bytes only the answer counts that nothing a record says has changed.
fn compare(python: &Path, path: &Path, what: &str) -> Option<String> {
    let (code, said) = theirs(python, path);
    let ours = ours(path);
    (code != ours).then(|| format!("{what}: {ours} here, there {code} {said}"))
}

#[test]
fn both_agree_on_the_golden_cases() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in ["signed", "rolled"] {
        let case = dir.path().join(name);
        copy(&golden(name).join("case"), &case);
        let bundle = golden(name).join("bundle.tar");
        for path in [&case, &bundle] {
            assert_eq!(theirs(&python, path), (0, "intact\n".to_owned()));
            assert_eq!(ours(path), 0);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn both_agree_on_changed_cases_and_bundles() {
    let Some(python) = python() else { return };
    let schema = schema();
    let mut complaints = Vec::new();
    let mut chance = Chance(6);
    for (sample, sealed) in SAMPLES {
        let (case, other) = (sample(7, sealed), sample(8, sealed));
        let bench = Bench {
            case: &case,
            other: &other,
            schema: &schema,
        };
        for _ in 0..MUTATIONS {
            let dir = tempfile::tempdir().unwrap();
            let (what, _) = bench.mutate(dir.path(), &mut chance);
            complaints.extend(compare(&python, dir.path(), &what));
        }
    }
    let [one, other] = [7, 8].map(|salt| {
        let dir = tempfile::tempdir().unwrap();
        let case = Writer::in_parts(salt, true);
        case.write(dir.path(), &schema);
        case.bundle(dir.path())
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle");
    for _ in 0..MUTATIONS {
        let (what, bytes) = mutate_bundle(&one, &other, &mut chance);
        fs::write(&path, bytes).unwrap();
        complaints.extend(compare(&python, &path, &what));
    }
    assert_eq!(complaints, Vec::<String>::new());
}
