//! The handbook (`docs/rules.md`) says what the engine does.

use sakshi_rules::RuleSet;
use sakshi_rules::cases::{check_cases, parse_cases};
use sakshi_rules::contact::{AppClass, AppProtocol, Grade, NameSource, PlaceStatus, Proto};
use sakshi_rules::declare::{BrandFile, ClaimTest, ResultSays};
use sakshi_rules::rule_set::{ClaimKind, OwnerState, RuleKind, Severity, Status, Undeterminable};
use sakshi_rules::vocabulary::{WHEN_KEYS, Word};

const HANDBOOK: &str = include_str!("../../docs/rules.md");

/// The examples in TOML, in order.
fn examples() -> Vec<&'static str> {
    let blocks = HANDBOOK.split("```toml\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .collect()
}

#[test]
fn every_key_and_word_is_explained() {
    fn check<W: Word>() {
        for (word, _) in W::ALL {
            assert!(
                HANDBOOK.contains(&format!("`{word}`")),
                "`{word}` is not in docs/rules.md"
            );
        }
    }
    for key in WHEN_KEYS {
        assert!(
            HANDBOOK.contains(&format!("\n| `{key}` |")),
            "`{key}` is not in docs/rules.md"
        );
    }
    check::<AppClass>();
    check::<AppProtocol>();
    check::<ClaimKind>();
    check::<ClaimTest>();
    check::<ResultSays>();
    check::<Grade>();
    check::<NameSource>();
    check::<OwnerState>();
    check::<PlaceStatus>();
    check::<Proto>();
    check::<RuleKind>();
    check::<Severity>();
    check::<Status>();
    check::<Undeterminable>();
}

#[test]
fn the_examples_work_together() {
    let examples = examples();
    let [set, groups, asks, exception, cases, brand] = examples.as_slice() else {
        panic!("{} examples", examples.len());
    };
    let text = [*set, *groups, *asks, *exception].join("\n");
    let brand = BrandFile::parse("docs/rules.md", brand).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(brand.statements.len(), 1);
    let set =
        RuleSet::parse("docs/rules.md", &text, &[brand]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(set.brands().len(), 1);
    assert_eq!(set.exceptions().len(), 1);
    let cases = parse_cases("docs/rules.md", cases).unwrap_or_else(|error| panic!("{error}"));
    let failures = check_cases(&set, &cases);
    // The page shows one case only; the rule's other one is left to the reader.
    let failures: Vec<String> = failures
        .iter()
        .map(ToString::to_string)
        .filter(|failure| failure.contains("LAB-001"))
        .collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].contains("no case that does not match"),
        "{failures:?}"
    );
}

#[test]
fn the_error_that_is_shown_is_the_one_that_is_printed() {
    let broken = examples()[0].replace("country =", "contry =");
    let error = RuleSet::parse("my-set.toml", &broken, &[])
        .expect_err("a bad key")
        .to_string();
    let shown: Vec<&str> = error.lines().take(4).collect();
    assert!(HANDBOOK.contains(&shown.join("\n")), "{error}");
}
