//! `sakshi certificate`: drafts of the Schedule to section 63(4)(c), as PDF and as text.
//!
//! Through the real program, and through poppler's `pdftotext` and `pdfinfo`, which read the PDFs as
//! another program would. In CI their absence fails; elsewhere a line says what did not run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sakshi_tests::{
    bundle_writer,
    daemon::{self, Daemon, text},
    handset::Handset,
    live_possible, sample,
};
use tempfile::TempDir;

/// Whether poppler's programs are here.
fn poppler(test: &str) -> bool {
    let there = Command::new("pdftotext").arg("-v").output().is_ok();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "{test} must run in CI, but pdftotext (Debian: poppler-utils) is not here"
    );
    if !there {
        println!("{test} did not run: pdftotext (Debian: poppler-utils) is not here");
    }
    there
}

fn inspected(case: &Path, dir: &Path) {
    let sample = sample::write(dir).expect("written");
    daemon::output(sample.inspect(case).iter().map(String::as_str)).expect("inspected");
}

/// A sample case whose authority says `stated` of the demo's.
fn stated(stated: impl Fn(String) -> String) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    let from = dir.path().join("authority.toml");
    let demo = fs::read_to_string(demo).expect("the demo's authority");
    fs::write(&from, stated(demo)).expect("written");
    daemon::output(["case", "new", text(&case), "--from", text(&from)]).expect("prepared");
    inspected(&case, dir.path());
    (dir, case)
}

/// The drafts by name.
fn drafts(of: &Path, language: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let to = dir.path().join("drafts");
    daemon::output([
        "certificate",
        text(of),
        "-o",
        text(&to),
        "--language",
        language,
    ])
    .expect("drafted");
    fs::read_dir(&to)
        .expect("the drafts")
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a draft"))
        })
        .collect()
}

/// What `pdftotext` reads, words parted by single blanks.
fn read(pdf: &[u8]) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("draft.pdf");
    fs::write(&path, pdf).expect("written");
    let mut command = Command::new("pdftotext");
    let output = command
        .args(["-layout", text(&path), "-"])
        .output()
        .expect("pdftotext ran");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "", "the PDF is not well-formed");
    words(&String::from_utf8_lossy(&output.stdout))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn contains(all: &str, parts: &[&str]) {
    for part in parts {
        assert!(all.contains(part), "{part} is not in:\n{all}");
    }
}

#[test]
fn one_draft_for_each_device_in_each_language_and_the_same_bytes_again() {
    let (_dir, case) = stated(|demo| demo);
    let both = drafts(&case, "both");
    let names: Vec<&str> = both.keys().map(String::as_str).collect();
    let mut expected = vec!["hashes.sha256".to_owned()];
    for device in ["phone", "pc"] {
        for language in ["en", "hi"] {
            for kind in ["pdf", "rtf", "txt"] {
                expected.push(format!("certificate-{device}-{language}.{kind}"));
            }
        }
    }
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(both, drafts(&case, "both"), "the same bytes");
    let english = drafts(&case, "en");
    assert!(english.keys().all(|name| !name.contains("-hi")));
    assert!(
        english
            .iter()
            .all(|(name, bytes)| both.get(name) == Some(bytes))
    );
}

#[test]
fn the_hash_report_is_what_sha256sum_computes() {
    let (dir, case) = stated(|demo| demo);
    let drafts = drafts(&case, "en");
    let list = dir.path().join("hashes.sha256");
    let hashes = &drafts["hashes.sha256"];
    fs::write(&list, hashes).expect("written");
    let checked = Command::new("sha256sum")
        .args(["-c", "--strict", text(&list)])
        .current_dir(&case)
        .output()
        .expect("sha256sum ran");
    assert!(checked.status.success(), "{checked:?}");
    let lines = String::from_utf8_lossy(hashes).into_owned();
    assert!(lines.contains("evidence.db") && !lines.contains("case.lock"));
    let txt = String::from_utf8_lossy(&drafts["certificate-phone-en.txt"]).into_owned();
    for line in lines.lines() {
        let (hash, path) = line.split_once("  ").expect("a line of sha256sum");
        contains(&txt, &[hash, path]);
    }
    contains(
        &txt,
        &[&bundle_writer::sha256(hashes), "The case is not sealed"],
    );
}

#[test]
fn facts_are_filled_in_and_what_a_person_must_say_is_not() {
    if !poppler("the certificate's text") {
        return;
    }
    let (_dir, case) = stated(|demo| demo);
    let drafts = drafts(&case, "both");
    let english = read(&drafts["certificate-phone-en.pdf"]);
    contains(
        &english,
        &[
            "DRAFT, not signed",
            "THE SCHEDULE [See section 63(4)(c)]",
            "PART A (To be filled by the Party)",
            "I, ____________(name) son/daughter/spouse of ____________(",
            "[x] Mobile",
            "Make & Model SAMPLE make SAMPLE virtual handset",
            "SAMPLE-0000",
            "SAMPLE/0000/2026, 24/11/2026",
            "FOR COUNSEL: the statement above speaks of regular use",
            "[ ] Owned [ ] Maintained [ ] Managed [ ] Operated",
            "[ ] SHA1 [x] SHA256 [ ] MD5",
            "Date (DD/MM/YYYY) ____________(DD/MM/YYYY)",
            "PART B (To be filled by the Expert)",
            "24/11/2026 09:30:00 IST (2026-11-24T04:00:00Z)",
            "SAMPLE: what this case says",
        ],
    );
    let (_, expert) = english.split_once("PART B").expect("Part B");
    let (expert, _) = expert.split_once("ENCLOSURE 1").expect("the enclosure");
    assert!(
        !expert.contains("[x]"),
        "Part B states something:\n{expert}"
    );
    assert!(!expert.contains("SAMPLE examiner"), "{expert}");
    contains(
        expert,
        &[
            "[ ] SHA256",
            "Designation ____________",
            "____________(yes / no)",
        ],
    );
    assert!(!english.to_lowercase().contains("violat"));
}

#[test]
fn hindi_says_the_same_and_of_the_computer_nothing_is_known() {
    if !poppler("the certificate in Hindi") {
        return;
    }
    let (_dir, case) = stated(|demo| demo);
    let drafts = drafts(&case, "both");
    let hindi = read(&drafts["certificate-phone-hi.pdf"]);
    contains(
        &hindi,
        &[
            "भारतीय साक्ष्य अधिनियम, 2023",
            "अनुसूची [धारा 63(4)(ग) देखिए]",
            "भाग क (पक्षकार द्वारा भरा जाए)",
            "भाग ख (विशेषज्ञ द्वारा भरा जाए)",
            "[x] मोबाइल",
            "हस्ताक्षर ____________(भरा जाए)",
            "24/11/2026 09:30:00 IST (2026-11-24T04:00:00Z)",
        ],
    );
    // Text and PDF say the same in other forms; the computer's own block is blank.
    let txt = words(&String::from_utf8_lossy(
        &drafts["certificate-phone-hi.txt"],
    ));
    contains(&txt, &["भाग ख (विशेषज्ञ द्वारा भरा जाए)", "[x] मोबाइल"]);
    let pc = read(&drafts["certificate-pc-en.pdf"]);
    contains(
        &pc,
        &[
            "[x] Computer / Storage Media",
            "Make & Model ____________(not recorded)",
            "this program knows nothing of how this computer was used",
        ],
    );
    assert!(!pc.contains("SAMPLE virtual handset"), "{pc}");
    assert!(!pc.to_lowercase().contains("violat"));
}

#[test]
fn without_authority_only_the_computer_is_certified_and_it_says_so() {
    if !poppler("the certificate without authority") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let case = dir.path().join("case");
    inspected(&case, dir.path());
    let drafts = drafts(&case, "both");
    assert!(!drafts.contains_key("certificate-phone-en.pdf"));
    for language in ["en", "hi"] {
        let said = read(&drafts[&format!("certificate-pc-{language}.pdf")]);
        contains(&said, &["no authority recorded"]);
    }
}

#[test]
fn texts_of_people_stay_texts_and_stay_on_the_page() {
    if !poppler("the certificate of hostile texts") {
        return;
    }
    let long = "0123456789abcdef".repeat(100);
    let (_dir, case) = stated(|demo| {
        demo.replace("SAMPLE virtual handset", &long)
            .replace("SAMPLE-0000", "\u{202e}0000 (x) \u{5d0}\u{1f600} {\\\\rtf")
            .replace("SAMPLE person in charge", "क्षत्रिय श्रीमती <b>")
    });
    let drafts = drafts(&case, "both");
    let said = read(&drafts["certificate-phone-en.pdf"]);
    assert!(!said.contains('\u{202e}'));
    contains(
        &said,
        &[
            "\\u{202e}0000 (x) \\u{5d0}\\u{1f600} {\\rtf",
            "क्षत्रिय श्रीमती <b>",
        ],
    );
    let whole: String = said.split_whitespace().collect();
    let parts = long.as_bytes().chunks(16).count();
    assert!(whole.matches("0123456789abcdef").count() >= parts, "{said}");
    let rtf = String::from_utf8(drafts["certificate-phone-en.rtf"].clone()).expect("ASCII");
    assert!(rtf.is_ascii() && rtf.contains("\\{\\\\rtf"), "{rtf}");
    // Every word lies within the page's margins (595 × 842 points).
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in drafts
        .iter()
        .filter(|(_, bytes)| bytes.starts_with(b"%PDF"))
    {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        let boxes = Command::new("pdftotext")
            .args(["-bbox", text(&path), "-"])
            .output()
            .expect("pdftotext ran");
        let boxes = String::from_utf8_lossy(&boxes.stdout).into_owned();
        let mut words = 0;
        for line in boxes.lines().filter(|line| line.contains("<word ")) {
            words += 1;
            let at = |key: &str| -> f64 {
                let (_, rest) = line.split_once(&format!("{key}=\"")).expect("a side");
                rest.split('"')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a number")
            };
            assert!(at("xMin") > 50.0 && at("xMax") < 545.0, "{name}: {line}");
            assert!(at("yMin") > 30.0 && at("yMax") < 825.0, "{name}: {line}");
        }
        assert!(words > 300, "{name}: {words} words");
    }
}

#[test]
fn a_sealed_bundle_gives_the_same_and_its_other_hashes() {
    if !poppler("the certificate of a bundle") {
        return;
    }
    let (dir, case) = stated(|demo| demo);
    let bundle = dir.path().join("case.tar");
    daemon::output(["seal", text(&case), "-o", text(&bundle), "--also", "sha1"]).expect("sealed");
    let before = fs::read(&bundle).expect("the bundle");
    let hash = bundle_writer::sha256(&before);
    let drafts = drafts(&bundle, "en");
    assert_eq!(
        fs::read(&bundle).ok(),
        Some(before),
        "the bundle was changed"
    );
    let list = String::from_utf8_lossy(&drafts["hashes.sha256"]).into_owned();
    assert!(list.starts_with(&format!("{hash}  case.tar\n")), "{list}");
    assert!(list.contains("  case/evidence.db\n"), "{list}");
    let said = read(&drafts["certificate-phone-en.pdf"]);
    contains(
        &said,
        &[
            "[x] SHA1 [x] SHA256 [ ] MD5",
            "SHA1 ",
            &hash,
            "Last signed checkpoint: ",
        ],
    );
    assert!(!said.contains("not sealed"), "{said}");
    let page = daemon::output(["summary", text(&bundle)]).expect("a summary");
    contains(&page, &["Its code for paper", "Manifest's SHA-256", &hash]);
    assert!(!page.contains("not signed"), "{page}");
}

#[test]
fn every_time_of_not_working_is_listed() {
    if !live_possible("the certificate of a watch with gaps") || !poppler("the same") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let watch = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    // Told only when it is committed, and the session's beginning with it.
    watch.phase("idle").expect("a phase");
    watch.kill().expect("killed");
    daemon::clean(&handset).expect("cleaned");
    let watch = Daemon::start(&handset, &case, &[]).expect("it watches again");
    watch.stop().expect("stopped");
    let drafts = drafts(&case, "both");
    let said = read(&drafts["certificate-phone-en.pdf"]);
    contains(
        &said,
        &[
            "the tool did not run",
            "a session ended without its closing record",
            "Sessions 2",
            "no authority recorded",
            "Kernel: ",
            "Make & Model ____________(not recorded)",
        ],
    );
    let gaps = daemon::export(&case, "gaps").expect("gaps");
    assert!(!gaps.is_empty());
    let txt = String::from_utf8_lossy(&drafts["certificate-phone-en.txt"]).into_owned();
    for gap in gaps {
        let detail = gap["detail"].as_str().expect("a detail");
        contains(&txt, &[detail]);
    }
    let hindi = read(&drafts["certificate-phone-hi.pdf"]);
    contains(&hindi, &["उपकरण नहीं चल रहा था"]);
    let inside = daemon::output(["certificate", text(&case), "-o", text(&case.join("drafts"))]);
    let error = inside.expect_err("refused").to_string();
    assert!(error.contains("lies in the case"), "{error}");
    assert!(!case.join("drafts").exists());
}
