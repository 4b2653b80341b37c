//! The rule sets that are shipped, with their cases beside them.

use std::fs;
use std::path::{Path, PathBuf};

use sakshi_rules::cases::{CaseFailure, check_cases, parse_cases};
use sakshi_rules::declare::{BrandFile, asked_by_built_in, read_embedded};
use sakshi_rules::form;
use sakshi_rules::rule_set::RuleKind;
use sakshi_rules::{RuleSet, is_declaration};

fn folders() -> Vec<PathBuf> {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("sets");
    let entries = fs::read_dir(sets).expect("the folder of rule sets");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn read(folder: &Path, file: &str) -> (String, String) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).expect("a file of the set");
    (path.display().to_string(), text)
}

fn set_of(folder: &Path) -> RuleSet {
    let (file, text) = read(folder, "set.toml");
    let mut brands = read_embedded().unwrap_or_else(|error| panic!("{error}"));
    for entry in fs::read_dir(folder).expect("the set's folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a text");
        if is_declaration(&text) {
            let file = path.display().to_string();
            brands.push(BrandFile::parse(&file, &text).unwrap_or_else(|error| panic!("{error}")));
        }
    }
    RuleSet::parse(&file, &text, &brands).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_set_agrees_with_its_cases() {
    let folders = folders();
    assert!(folders.len() >= 2, "{folders:?}");
    for folder in folders {
        let set = set_of(&folder);
        let (file, text) = read(&folder, "cases.toml");
        let cases = parse_cases(&file, &text).unwrap_or_else(|error| panic!("{error}"));
        let failures = check_cases(&set, &cases);
        let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
        assert!(failures.is_empty(), "{file}:\n{}", failures.join("\n"));
    }
}

#[test]
fn a_rule_without_a_case_either_way_is_noticed() {
    for folder in folders() {
        let set = set_of(&folder);
        let (file, text) = read(&folder, "cases.toml");
        let cases = parse_cases(&file, &text).unwrap_or_else(|error| panic!("{error}"));
        for rule in set.rules() {
            let id = rule.id.clone();
            let matching: Vec<_> = cases
                .iter()
                .filter(|case| {
                    case.rule != id || case.expect == sakshi_rules::cases::Expected::None
                })
                .cloned()
                .collect();
            let expected = CaseFailure::NoMatchingCase { rule: id.clone() };
            assert_eq!(check_cases(&set, &matching), [expected]);
            let other: Vec<_> = cases
                .iter()
                .filter(|case| {
                    case.rule != id || case.expect != sakshi_rules::cases::Expected::None
                })
                .cloned()
                .collect();
            assert_eq!(
                check_cases(&set, &other),
                [CaseFailure::NoOtherCase { rule: id }]
            );
        }
    }
}

#[test]
fn a_wrong_case_is_noticed() {
    let set = set_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sets/in-lab"));
    let text = "schema = 1\n[[case]]\nname = \"n\"\nrule = \"CLR-001\"\nexpect = \"finding\"\n";
    let cases = parse_cases("cases.toml", text).expect("cases");
    let failures = check_cases(&set, &cases);
    assert_eq!(
        failures.first().map(ToString::to_string).as_deref(),
        Some("case \"n\": CLR-001 should say finding, and says nothing")
    );
}

#[test]
fn a_case_says_whether_the_handset_was_idle() {
    let rules = "schema = 1\nid = \"s\"\nversion = \"1\"\ntitle = \"t\"\nhome = [\"IN\"]\n\
        [[rule]]\nid = \"R\"\ntitle = \"t\"\nkind = \"owner\"\nseverity = \"low\"\n\
        when = { idle = true }\n";
    let set = RuleSet::parse("set.toml", rules, &[]).unwrap_or_else(|error| panic!("{error}"));
    let case = |expect: &str, given: &str| {
        format!("[[case]]\nname = \"{expect}\"\nrule = \"R\"\nexpect = \"{expect}\"\n{given}\n")
    };
    let text = [
        "schema = 1\n".to_owned(),
        case("finding", "given = { idle = true }"),
        case("none", "given = { idle = false }"),
        case("needs_review", "given = { screen_on = false }"),
    ]
    .concat();
    let cases = parse_cases("cases.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let failures = check_cases(&set, &cases);
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(failures, [""; 0]);
}

#[test]
fn a_bad_case_file_says_where() {
    let text = "schema = 1\n[[case]]\nname = \"n\"\nrule = \"R\"\nexpect = \"none\"\ngiven = { contry = \"IN\" }\n";
    let error = parse_cases("cases.toml", text)
        .expect_err("a bad key")
        .to_string();
    assert!(
        error.starts_with("cases.toml:6:11: unknown field `contry`, expected one of"),
        "{error}"
    );
}

#[test]
fn the_embedded_sets_parse_and_cite_no_provision_out_of_place() {
    let embedded = sakshi_rules::embedded();
    assert!(embedded.iter().any(|(name, _)| *name == "in-lab"));
    // The phone has these files only.
    let asked = asked_by_built_in().iter();
    let brands: Vec<BrandFile> = asked
        .map(|(name, text)| BrandFile::parse(name, text).expect("a sound file"))
        .collect();
    for (name, text) in embedded {
        let set = RuleSet::parse(name, text, &brands).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(set.id(), *name);
        assert_eq!(set.max_place_age_days(), 180);
        assert!(set.byte_bounds().is_empty());
        for rule in set.rules() {
            let about_place = matches!(rule.kind, RuleKind::Destination | RuleKind::Declaration);
            for reference in &rule.reference {
                assert!(
                    !about_place || !reference.text.contains("43A"),
                    "{}",
                    rule.id
                );
            }
        }
    }
}

/// Every brand that the ministry's letters or the matter name.
const BRANDS: usize = 19;

#[test]
fn every_brand_has_a_file_and_an_honest_note() {
    let files = sakshi_rules::declare::embedded();
    assert_eq!(files.len(), BRANDS);
    for (name, text) in files {
        let file = BrandFile::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert!(!file.note.is_empty(), "{name}");
        if file.statements.is_empty() {
            assert!(file.note.contains("No statement found"), "{name}");
        }
    }
}

#[test]
fn a_questionnaire_is_sound_whatever_the_brand_is_called() {
    for brand in ["OPPO", "a \"quoted\" \\ name\n"] {
        let text = form::questionnaire(brand);
        let file = BrandFile::parse("q.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        assert!(file.statements[0].claims.len() >= 10);
    }
}
