//! Rule files that cannot be used: the error names the file as it was typed, the line, the column,
//! and the words that are allowed. Nothing is judged by half of a set.

use std::path::Path;

use sakshi_tests::daemon::text;

use super::{COULD_NOT, DONE, Place, Said, check, made};

/// A set that can be used, with the id of its name.
fn set(id: &str) -> String {
    format!(
        "schema = 1\nid = \"{id}\"\nversion = \"1\"\ntitle = \"For the test\"\nhome = [\"IN\"]\n\n\
         [[rule]]\nid = \"R-1\"\ntitle = \"Everything\"\nkind = \"destination\"\nseverity = \"low\"\n\
         when = {{ payload = true }}\n"
    )
}

fn inspect(place: &Place, rules: &[&Path], code: i32, says: &[&str]) -> Said {
    let capture = place.file("sample.pcap", made::sample());
    let mut command = place.try_case(&capture);
    for file in rules {
        command.args(["--rules", text(file)]);
    }
    check(&mut command, code, says)
}

#[test]
fn two_sound_sets_judge_together() {
    let place = Place::new();
    let one = place.file("one.toml", set("one"));
    let two = place.file("two.toml", set("two"));
    let said = inspect(&place, &[&one, &two], DONE, &[]);
    assert_eq!(said.count("findings"), 2 * said.count("contacts"));
}

#[test]
fn an_unknown_key_is_named_with_the_allowed_words() {
    let place = Place::new();
    let file = place.file(
        "lab.toml",
        set("lab").replace("payload = true", "contry = [\"CN\"]"),
    );
    inspect(
        &place,
        &[&file],
        COULD_NOT,
        &[
            &format!("{}:12:10: unknown key `contry`", file.display()),
            "did you mean `country`?",
            "allowed here: owner, app_class",
        ],
    );
}

#[test]
fn an_unknown_word_is_named_with_the_allowed_words() {
    let place = Place::new();
    let file = place.file("lab.toml", set("lab").replace("\"low\"", "\"lethal\""));
    inspect(
        &place,
        &[&file],
        COULD_NOT,
        &[&format!("{}:11:12: ", file.display()), "lethal", "medium"],
    );
}

#[test]
fn broken_toml_is_named_with_line_and_column() {
    let place = Place::new();
    let file = place.file("lab.toml", set("lab").replace("id = \"R-1\"", "id \"R-1\""));
    let says = [
        &format!("{}:8:4: not TOML: ", file.display()),
        "see toml.io",
    ];
    inspect(&place, &[&file], COULD_NOT, &says);
}

#[test]
fn the_second_file_is_named_when_it_is_the_bad_one() {
    let place = Place::new();
    let good = place.file("good.toml", set("good"));
    let bad = place.file("bad.toml", set("bad").replace("title", "titel"));
    inspect(
        &place,
        &[&good, &bad],
        COULD_NOT,
        &[&format!("{}:4:1: ", bad.display())],
    );
}

#[test]
fn a_file_of_no_text_or_of_nothing_is_refused() {
    let place = Place::new();
    let binary = place.file("binary.toml", [0xff, 0xfe, 0x00]);
    inspect(&place, &[&binary], COULD_NOT, &[text(&binary), "UTF-8"]);
    let empty = place.file("empty.toml", "");
    inspect(
        &place,
        &[&empty],
        COULD_NOT,
        &[&format!("{}:1:1: ", empty.display())],
    );
    let missing = place.at("missing.toml");
    inspect(
        &place,
        &[&missing],
        COULD_NOT,
        &[text(&missing), "No such file", "check the path"],
    );
}

#[test]
fn two_sets_of_one_id_are_refused() {
    let place = Place::new();
    let first = place.file("first.toml", set("lab"));
    let second = place.file("second.toml", set("lab").replace("R-1", "R-2"));
    let says = format!(
        "the rule sets {} and {} both have the id \"lab\": give each set an id of its own",
        first.display(),
        second.display()
    );
    inspect(&place, &[&first, &second], COULD_NOT, &[&says]);
    // The same file named twice is the same mistake.
    inspect(
        &place,
        &[&first, &first],
        COULD_NOT,
        &["both have the id \"lab\""],
    );
}

#[test]
fn a_bad_set_makes_no_case() {
    let place = Place::new();
    let capture = place.file("sample.pcap", made::sample());
    let bad = place.file("bad.toml", "schema = 1");
    let case = place.at("case");
    let arguments = [
        "inspect",
        text(&capture),
        "--case",
        text(&case),
        "--rules",
        text(&bad),
    ];
    check(&mut place.sakshi(arguments), COULD_NOT, &["bad.toml:1:1: "]);
    assert!(!case.exists());
}
