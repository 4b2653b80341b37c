//! An app inventory with broken or missing files: it is used as far as it goes, and what is lost is
//! a gap of the case.

use std::{fs, path::Path};

use sakshi_tests::{
    daemon::text,
    inventory_writer::{Encoding, FLAG_SYSTEM, Model, Package, write_folder},
};

use super::{COULD_NOT, DONE, Place, check, made};

fn model() -> Model {
    let package = |name: &str, user_id| Package {
        name: name.to_owned(),
        code_path: format!("/system/app/{name}"),
        flags: FLAG_SYSTEM,
        version: 36,
        user_id,
        ..Package::default()
    };
    Model {
        packages: vec![
            package("com.sample.one", 10_100),
            package("com.sample.two", 10_101),
        ],
        users: vec![0],
        ..Model::default()
    }
}

/// What the gaps say of an inventory that `spoil` has been at.
fn problems(encoding: Encoding, spoil: impl FnOnce(&Path)) -> Vec<String> {
    let place = Place::new();
    let inventory = place.at("system");
    write_folder(&model(), encoding, &inventory).expect("an inventory");
    spoil(&inventory);
    let capture = place.file("sample.pcap", made::sample());
    let case = place.at("case");
    let mut command = place.sakshi(["inspect", text(&capture), "--format", "json"]);
    command.args(["--case", text(&case), "--inventory", text(&inventory)]);
    let said = check(&mut command, DONE, &[]);
    assert_eq!(said.count("packets"), made::PACKETS as u64);
    place
        .gaps(&case)
        .into_iter()
        .map(|(cause, place, detail)| {
            assert_eq!((&*cause, &*place), ("degraded", "inventory"), "{detail}");
            detail
        })
        .collect()
}

/// The one problem there is, which names the file and each of `says`.
fn one_problem(encoding: Encoding, says: &[&str], spoil: impl FnOnce(&Path)) {
    let problems = problems(encoding, spoil);
    let [problem] = problems.as_slice() else {
        panic!("expected one problem: {problems:#?}");
    };
    for part in says {
        assert!(problem.contains(part), "expected {part:?} in: {problem}");
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let old = fs::read_to_string(path).expect("a text file");
    assert!(old.contains(from), "{from:?} is not in {old}");
    fs::write(path, old.replacen(from, to, 1)).expect("written");
}

fn cut(path: &Path, share: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes.truncate(bytes.len() * share / 100);
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_sound_inventory_leaves_no_gap() {
    for encoding in [Encoding::Text, Encoding::Abx] {
        assert_eq!(problems(encoding, |_| {}), Vec::<String>::new());
    }
}

#[test]
fn a_cut_packages_xml_names_the_place_of_the_cut() {
    let says = [
        "packages.xml",
        "byte ",
        "entries before it are used",
        "Copy the file again",
    ];
    for encoding in [Encoding::Text, Encoding::Abx] {
        for share in [10, 50, 90] {
            one_problem(encoding, &says, |dir| cut(&dir.join("packages.xml"), share));
        }
    }
}

#[test]
fn a_packages_xml_that_is_none_is_said() {
    for bytes in [
        &b""[..],
        b"no xml",
        b"ABX\x01ruled out",
        b"<packages><package",
        &[0xff; 64],
    ] {
        one_problem(Encoding::Text, &["packages.xml"], |dir| {
            fs::write(dir.join("packages.xml"), bytes).expect("written");
        });
    }
}

#[test]
fn a_packages_xml_with_a_bad_number_names_the_line_and_what_it_costs() {
    let problems = problems(Encoding::Text, |dir| {
        replace(
            &dir.join("packages.xml"),
            "userId=\"10100\"",
            "userId=\"ten\"",
        );
    });
    let [number, cost] = problems.as_slice() else {
        panic!("expected two problems: {problems:#?}");
    };
    assert!(number.starts_with("packages.xml, line 9 "), "{number}");
    assert!(number.contains("userId of <package> is not"), "{number}");
    assert!(cost.contains("com.sample.one"), "{cost}");
    assert!(cost.ends_with("is not used"), "{cost}");
}

#[test]
fn a_broken_packages_list_names_the_line() {
    one_problem(Encoding::Abx, &["packages.list, line 1 "], |dir| {
        replace(
            &dir.join("packages.list"),
            "com.sample.one 10100",
            "com.sample.one many",
        );
    });
}

#[test]
fn a_missing_file_is_said_with_what_is_lost() {
    for file in ["packages.list", "packages.xml"] {
        let problems = problems(Encoding::Abx, |dir| {
            fs::remove_file(dir.join(file)).expect("removed");
        });
        let said = format!("{file} is missing: ");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&said)),
            "{problems:?}"
        );
    }
}

#[test]
fn a_missing_folder_is_refused() {
    let place = Place::new();
    let capture = place.file("sample.pcap", made::sample());
    let missing = place.at("nowhere");
    let mut command = place.try_case(&capture);
    command.args(["--inventory", text(&missing)]);
    check(
        &mut command,
        COULD_NOT,
        &[
            "the inventory folder",
            text(&missing),
            "cannot be read: No such file",
            "Give a copy of /data/system",
        ],
    );
}

#[test]
fn a_file_instead_of_the_folder_is_refused() {
    let place = Place::new();
    let capture = place.file("sample.pcap", made::sample());
    let mut command = place.try_case(&capture);
    command.args(["--inventory", text(&capture)]);
    check(
        &mut command,
        COULD_NOT,
        &["the inventory folder", "Not a directory"],
    );
}
