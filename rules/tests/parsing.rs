//! Reading any text at all: a value or an error that can be shown, never a panic.

use proptest::prelude::*;
use sakshi_rules::RuleSet;
use sakshi_rules::cases::parse_cases;
use sakshi_rules::declare::read_embedded;

const SET: &str = include_str!("../sets/in-lab/set.toml");
const CASES: &str = include_str!("../sets/in-lab/cases.toml");

/// Reads it as both kinds of file and shows what was wrong.
fn check(text: &str) {
    let set = RuleSet::parse("f.toml", text, &[]).err();
    let cases = parse_cases("f.toml", text).err();
    for error in set.into_iter().chain(cases) {
        assert!(!error.problems.is_empty());
        assert!(error.to_string().starts_with("f.toml:"));
    }
}

/// The nearest character boundary not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_text_with_the_look_of_toml(
        text in "([a-z_]{1,9} = (\\[|\\{|\"|'|[0-9]|true|@|\\}|\\]|,|\\.| ){1,9}\n|\\[\\[?(rule|declaration|groups|exception)\\]?\\]\n){1,9}"
    ) {
        check(&text);
    }

    #[test]
    fn a_set_with_a_piece_replaced(
        at in 0..SET.len(),
        cut in 0usize..40,
        piece in prop_oneof![any::<String>(), "[\\[\\]{}\"'=,\\.@#\n 0-9a-z]{0,6}"],
    ) {
        let start = boundary(SET, at);
        let end = boundary(SET, at + cut).max(start);
        check(&format!("{}{piece}{}", &SET[..start], &SET[end..]));
    }

    #[test]
    fn cases_with_a_piece_cut_out(at in 0..CASES.len(), cut in 0usize..40) {
        let start = boundary(CASES, at);
        let end = boundary(CASES, at + cut).max(start);
        check(&format!("{}{}", &CASES[..start], &CASES[end..]));
    }
}

#[test]
fn deep_nesting_is_an_error() {
    check(&format!("home = {}", "[".repeat(100_000)));
    check(&format!("home = {}", "{a=".repeat(100_000)));
    check(&format!("{}a = 1", "a.".repeat(50_000)));
}

#[test]
fn the_seeds_of_the_fuzzer_are_read() {
    check(include_str!("../../tests/corpus/rule_set/broken.toml"));
    check(include_str!("../../tests/corpus/rule_set/cut.toml"));
    let whole = include_str!("../../tests/corpus/rule_set/whole.toml");
    let brands = read_embedded().expect("sound files");
    let set =
        RuleSet::parse("whole.toml", whole, &brands).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((set.max_place_age_days(), set.byte_bounds()), (30, vec![1]));
}
