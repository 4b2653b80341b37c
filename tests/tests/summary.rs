//! `sakshi summary`: one page in plain words, as text and as HTML.
//!
//! Through the real program: cases with and without authority, a bundle, a watch with a gap, and
//! texts of people that try to be more than texts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sakshi_tests::{
    bundle_writer,
    daemon::{self, Daemon, text},
    handset::Handset,
    live_possible, sample,
};
use tempfile::TempDir;

const NOTHING: &str = "no authority recorded";
const TITLES: [&str; 8] = [
    "Summary of a case",
    "Device",
    "Authority",
    "Period and phases",
    "Coverage",
    "What was found",
    "What could not be determined",
    "How to check it",
];

/// An inspected case in a folder of its own.
fn inspected() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sample = sample::write(dir.path()).expect("written");
    let case = dir.path().join("case");
    daemon::output(sample.inspect(&case).iter().map(String::as_str)).expect("inspected");
    (dir, case)
}

fn demo_authority() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
    fs::read_to_string(path).expect("the demo's authority")
}

/// The page as text and as HTML, each the same twice.
fn pages(of: &Path, dir: &Path) -> (String, String) {
    let html = dir.join("page.html");
    let page = || {
        let said = daemon::output(["summary", text(of), "--html", text(&html)]).expect("a summary");
        (said, fs::read_to_string(&html).expect("the page"))
    };
    let pages = page();
    assert_eq!(pages, page(), "the same bytes again");
    pages
}

#[test]
fn an_inspection_without_authority_says_what_it_is_and_what_it_is_not() {
    let (dir, case) = inspected();
    let before = daemon::state(&case);
    let (said, html) = pages(&case, dir.path());
    assert_eq!(daemon::state(&case), before, "reading changed the case");
    for title in TITLES {
        assert!(said.contains(title), "{title} is not in:\n{said}");
        assert!(html.contains(&format!(">{title}</h")), "{title}");
    }
    for part in [
        NOTHING,
        "nobody stated which handset",
        "captures that somebody else made",
        "do not say what they cover",
        "need review",
        "who sent is not known",
        " IST (2026-11-24T04:00:",
        "sakshi verify",
        "not signed",
    ] {
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(part), "{part} is not in:\n{said}");
    }
    assert!(!said.to_lowercase().contains("violat"), "{said}");
    for outside in ["http:", "https:", "<script", " src=", " href=", "url("] {
        assert!(!html.contains(outside), "{outside} in the page");
    }
    let head = daemon::export(&case, "records").expect("records");
    let hash = head.last().and_then(|record| record["hash"].as_str());
    assert!(said.contains(hash.expect("a hash")));
    let error = daemon::output(["summary", text(&case), "--html", text(&case.join("p.html"))])
        .expect_err("refused within the case");
    assert!(error.to_string().contains("lies in the case"), "{error}");
}

#[test]
fn what_people_wrote_is_shown_and_does_nothing() {
    let (dir, case) = inspected();
    let from = dir.path().join("authority.toml");
    let hostile = "<img src=x onerror=alert(1)> & \u{202e}gnorw\u{2066} ";
    let long = "abcdefghij".repeat(40);
    let stated = demo_authority()
        .replace("SAMPLE person in charge", hostile)
        .replace("SAMPLE virtual handset", &long)
        .replace("SAMPLE authority", "सूचना प्रौद्योगिकी मंत्रालय");
    fs::write(&from, stated).expect("written");
    daemon::output(["case", "authority", text(&case), "--from", text(&from)]).expect("recorded");
    let (said, html) = pages(&case, dir.path());
    assert!(!said.contains(NOTHING));
    assert!(!said.contains('\u{202e}') && !html.contains('\u{202e}'));
    assert!(said.contains("\\u{202e}gnorw"), "{said}");
    assert!(
        html.contains("&lt;img src=x onerror=alert(1)&gt; &amp; \\u{202e}gnorw"),
        "{html}"
    );
    assert!(!html.contains("<img"));
    assert!(said.contains(&long) && html.contains(&long));
    assert!(said.contains("सूचना प्रौद्योगिकी मंत्रालय"), "{said}");
    assert!(said.contains("SAMPLE: what this case says"), "{said}");
}

#[test]
fn a_bundle_says_what_its_case_says_and_a_changed_one_is_refused() {
    let (dir, case) = inspected();
    let bundle = dir.path().join("case.tar");
    bundle_writer::write(&case, &bundle).expect("a bundle");
    let before = fs::read(&bundle).expect("its bytes");
    let (of_case, _) = pages(&case, dir.path());
    let (of_bundle, _) = pages(&bundle, dir.path());
    assert_eq!(fs::read(&bundle).expect("its bytes"), before);
    let found = |page: &str| {
        let from = page.find("What was found").expect("found");
        let to = page.find("How to check").expect("check");
        page.get(from..to).map(str::to_owned)
    };
    assert_eq!(found(&of_case), found(&of_bundle));
    assert!(of_bundle.contains(&bundle_writer::sha256(&before)));
    assert!(of_bundle.contains("28/11/2026 17:30:00 IST"), "{of_bundle}");
    // A file that is not what the manifest says, one that is not named, one that leaves the folder.
    let refused = |bytes: &[u8]| {
        let path = dir.path().join("changed.tar");
        fs::write(&path, bytes).expect("written");
        daemon::output(["summary", text(&path)]).expect_err("refused")
    };
    let mut changed = before.clone();
    let at = changed
        .windows(16)
        .position(|window| window == b"SQLite format 3\0")
        .expect("the database");
    changed[at + 200] ^= 1;
    assert!(
        refused(&changed)
            .to_string()
            .contains("the bundle was changed")
    );
    let renamed = String::from_utf8_lossy(&before).into_owned();
    assert!(renamed.contains("case/rules/"));
    let name = before
        .windows(11)
        .rposition(|window| window == b"case/rules/")
        .expect("a rule file");
    let mut outside = before;
    outside[name..name + 11].copy_from_slice(b"case/../../");
    let error = refused(&outside).to_string();
    assert!(
        error.contains("is no bundle") || error.contains("no ordinary file"),
        "{error}"
    );
    assert!(refused(b"nothing").to_string().contains("is no bundle"));
    assert!(refused(b"").to_string().contains("is no bundle"));
}

#[test]
fn a_watch_with_a_gap_says_so() {
    if !live_possible("the summary of a watch with a gap") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let watch = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    watch.phase("idle <first>").expect("a phase");
    watch.kill().expect("killed");
    daemon::clean(&handset).expect("cleaned");
    let watch = Daemon::start(&handset, &case, &[]).expect("it watches again");
    let (running, _) = pages_once(&case, handset.dir());
    assert!(running.contains("Watched"), "{running}");
    watch.stop().expect("stopped");
    let (said, html) = pages(&case, handset.dir());
    for part in [
        "packets were watched on the handset",
        "idle <first> from ",
        "the tool did not run",
        "a session ended without its closing record",
        "How \"no contact with X\" may be said",
        "Kernel",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(html.contains("idle &lt;first&gt; from "), "{html}");
}

/// The pages of a case that grows meanwhile.
fn pages_once(of: &Path, dir: &Path) -> (String, String) {
    let html = dir.join("once.html");
    let said = daemon::output(["summary", text(of), "--html", text(&html)]).expect("a summary");
    (said, fs::read_to_string(&html).expect("the page"))
}
