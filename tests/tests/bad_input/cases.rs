//! Folders that are no case, cases of a later version, damaged ones, and ones in use.

use std::{fs, path::Path};

use rusqlite::Connection;
use sakshi_tests::daemon::text;

use super::{COULD_NOT, DONE, NO, Place, check, made};

/// The commands that read a case.
const READERS: [&[&str]; 4] = [
    &["findings"],
    &["export", "--what", "records"],
    &["verify"],
    &["inspect", "--dry-run"],
];

/// Every command that reads a case ends with `code` and says so.
fn readers(place: &Place, case: &Path, code: i32, says: &[&str]) {
    for words in READERS {
        let mut command = place.sakshi(words.iter().copied());
        check(command.arg(case), code, says);
    }
}

/// Changes the database behind the program's back, triggers or not.
fn tamper(case: &Path, sql: &str) {
    let database = Connection::open(case.join("evidence.db")).expect("the database");
    database.execute_batch(sql).expect("tampered with");
}

#[test]
fn a_missing_case_is_named() {
    let place = Place::new();
    let case = place.at("nowhere");
    for words in [
        &["findings"][..],
        &["export", "--what", "flows"],
        &["verify"],
    ] {
        let mut command = place.sakshi(words.iter().copied());
        let says = [text(&case), "does not exist", "check the path of the case"];
        check(command.arg(&case), COULD_NOT, &says);
    }
    let says = [text(&case), "cannot be read", "check the path"];
    check(&mut place.try_inspect(&case), COULD_NOT, &says);
}

#[test]
fn a_folder_or_a_file_that_is_no_case_is_named() {
    let place = Place::new();
    let empty = place.at("empty");
    fs::create_dir(&empty).expect("a folder");
    let says = [
        text(&empty),
        "is no case (it has no case.json)",
        "given to `--case`",
    ];
    readers(&place, &empty, COULD_NOT, &says);
    let file = place.file("file", "text");
    for words in [
        &["findings"][..],
        &["export", "--what", "gaps"],
        &["verify"],
    ] {
        let mut command = place.sakshi(words.iter().copied());
        check(command.arg(&file), COULD_NOT, &["is no case"]);
    }
}

#[test]
fn a_new_case_goes_only_into_a_new_or_an_empty_folder() {
    let place = Place::new();
    let capture = place.file("sample.pcap", made::sample());
    let into = |name: &str, code, says: &[&str]| {
        let case = place.at(name);
        check(
            &mut place.sakshi(["inspect", text(&capture), "--case", text(&case)]),
            code,
            says,
        );
    };
    fs::create_dir(place.at("full")).expect("a folder");
    place.file("full/letter.txt", "of somebody");
    into(
        "full",
        COULD_NOT,
        &["is not empty and is no case", "a new or an empty folder"],
    );
    assert!(
        !place.at("full/case.json").exists(),
        "nothing was put there"
    );
    place.file("file", "text");
    into("file", COULD_NOT, &["is a file, expected a folder"]);
    into(
        "no/such/parent",
        COULD_NOT,
        &["the folder above", "does not exist: make it first"],
    );
    fs::create_dir(place.at("empty")).expect("a folder");
    into("empty", DONE, &[]);
    into(
        "empty",
        COULD_NOT,
        &["is a case already: name a new folder"],
    );
}

#[test]
fn a_case_of_a_later_version_is_left_to_that_version() {
    let place = Place::new();
    let case = place.case();
    let before = fs::read(case.join("evidence.db")).expect("the database");
    tamper(&case, "PRAGMA user_version = 3");
    let says = [
        "evidence.db has schema version 3",
        "reads up to 2",
        "use the version that wrote it",
    ];
    readers(&place, &case, COULD_NOT, &says);

    fs::write(case.join("evidence.db"), before).expect("put back");
    let metadata = fs::read_to_string(case.join("case.json")).expect("the metadata");
    assert!(metadata.contains("\"version\": 2"), "{metadata}");
    place.file(
        "case/case.json",
        metadata.replace("\"version\": 2", "\"version\": 3"),
    );
    let says = [
        "case.json has schema version 3",
        "reads up to 2",
        "use the version that wrote it",
    ];
    readers(&place, &case, COULD_NOT, &says);
}

#[test]
fn broken_metadata_is_named_with_its_place() {
    let place = Place::new();
    let case = place.case();
    for (bytes, says) in [
        (&b"{\"format\": "[..], "line 1 column"),
        (b"", "line 1 column 0"),
        (b"{\"format\":\"other\",\"version\":1,\"id\":\"\",\"created\":null,\"tool\":\"\",\"mode\":\"\"}", "format is \"other\""),
    ] {
        place.file("case/case.json", bytes);
        let mut command = place.sakshi(["findings"]);
        let says = ["case.json", says, "restore the file from a copy"];
        check(command.arg(&case), COULD_NOT, &says);
        // To the verifier it is damage, which is an answer.
        let said = check(place.sakshi(["verify"]).arg(&case), NO, &[]);
        assert!(said.stdout.contains("case.json"), "{}", said.stdout);
    }
}

#[test]
fn a_record_that_was_spoilt_is_named_by_every_reader_of_it() {
    let place = Place::new();
    let case = place.case();
    tamper(
        &case,
        "DROP TRIGGER record_is_not_changed; UPDATE record SET body = 'no json' WHERE kind = 'contact'",
    );
    for what in ["contacts", "findings", "records"] {
        let mut command = place.sakshi(["export", text(&case), "--what", what]);
        check(
            &mut command,
            COULD_NOT,
            &["record ", "(contact) cannot be read", "sakshi verify"],
        );
    }
    let says = ["(contact) cannot be read", "sakshi verify"];
    check(place.sakshi(["findings"]).arg(&case), COULD_NOT, &says);
    let said = check(place.sakshi(["verify"]).arg(&case), NO, &[]);
    assert!(said.stdout.starts_with("DAMAGED"), "{}", said.stdout);
}

#[test]
fn a_database_that_is_none_is_named() {
    let place = Place::new();
    let case = place.case();
    let whole = fs::read(case.join("evidence.db")).expect("the database");
    let says = ["evidence.db", "sakshi verify"];
    let spoilt = [
        b"not a database, but long enough to be looked at as one".to_vec(),
        {
            let mut bytes = whole.clone();
            bytes[100..200].fill(0xff);
            bytes
        },
    ];
    for bytes in spoilt {
        place.file("case/evidence.db", bytes);
        check(place.sakshi(["findings"]).arg(&case), COULD_NOT, &says);
        let mut command = place.sakshi(["export", text(&case), "--what", "flows"]);
        check(&mut command, COULD_NOT, &says);
        let said = check(place.sakshi(["verify"]).arg(&case), NO, &[]);
        assert!(said.stdout.starts_with("DAMAGED"), "{}", said.stdout);
    }
    // Cut in the middle of its pages.
    place.file("case/evidence.db", &whole[..whole.len() / 2]);
    let mut command = place.sakshi(["export", text(&case), "--what", "records"]);
    check(&mut command, COULD_NOT, &["evidence.db"]);
    check(place.sakshi(["verify"]).arg(&case), NO, &[]);
}

#[test]
fn a_case_without_a_database_says_when_nothing_was_lost() {
    let place = Place::new();
    let case = place.case();
    fs::remove_file(case.join("evidence.db")).expect("removed");
    let says = [
        "no evidence.db at all",
        "remove the folder and start again",
        "from a copy",
    ];
    check(place.sakshi(["findings"]).arg(&case), COULD_NOT, &says);
    check(&mut place.try_inspect(&case), COULD_NOT, &says);
    let said = check(place.sakshi(["verify"]).arg(&case), NO, &[]);
    assert!(said.stdout.contains("evidence.db") || said.stdout.contains("database"));
}

#[test]
fn a_copied_rule_set_that_was_spoilt_is_named() {
    let place = Place::new();
    let case = place.case();
    place.file("case/rules/in-lab.toml", "no rules");
    check(&mut place.try_case(&case), COULD_NOT, &["in-lab.toml:1:"]);
    fs::remove_file(case.join("rules/in-lab.toml")).expect("removed");
    check(
        &mut place.try_case(&case),
        COULD_NOT,
        &["in-lab.toml", "No such file"],
    );
}

#[test]
fn a_case_is_inspected_alone() {
    let place = Place::new();
    let case = place.case();
    let capture = place.at("sample.pcap");
    let mut command = place.try_inspect(&case);
    check(
        command.arg(capture),
        COULD_NOT,
        &["is a case: it is inspected alone"],
    );
}
