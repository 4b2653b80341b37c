//! Broken rule files: what each message says. `tests/broken/NAME.toml` is the file, `NAME.txt` the
//! message; `SAKSHI_BLESS=1` writes the messages anew, for a person to read over.

use std::fs;
use std::path::{Path, PathBuf};

use sakshi_rules::RuleSet;
use sakshi_rules::declare::{BrandFile, asked_by_built_in};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let entries = fs::read_dir(folder).expect("the folder of broken files");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_message_says_where_and_what_to_do() {
    let files = files();
    assert!(files.len() >= 40, "{} files", files.len());
    let bless = std::env::var_os("SAKSHI_BLESS").is_some();
    let asked = asked_by_built_in().iter();
    let brands: Vec<BrandFile> = asked
        .map(|(name, text)| BrandFile::parse(name, text).expect("a sound file"))
        .collect();
    let mut wrong = Vec::new();
    for path in files {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("a broken file");
        // A brand's file is called so, whatever is wrong with it.
        let broken = if name.starts_with("declaration-") {
            BrandFile::parse(&name, &text).err()
        } else {
            RuleSet::parse(&name, &text, &brands).err()
        };
        let Some(error) = broken else {
            panic!("{name} is not broken");
        };
        let message = format!("{error}\n");
        assert!(message.starts_with(&format!("{name}:")), "{message}");
        let expected = path.with_extension("txt");
        if bless {
            fs::write(&expected, &message).expect("to write the message");
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(message.as_str()) {
            wrong.push(message);
        }
    }
    assert!(
        wrong.is_empty(),
        "messages have changed:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn line_and_column_are_exact() {
    let text = "schema = 1\nid = \"i\"\nversion = \"1\"\ntitle = \"t\"\nhome = [\"IN\"]\n\
                [[rule]]\nid = \"R\"\ntitle = \"t\"\nkind = \"owner\"\nseverity = \"low\"\n\
                when = { payload = true, contry = [\"IN\"] }\n";
    let error = RuleSet::parse("f.toml", text, &[]).expect_err("a bad key");
    let at: Vec<(usize, usize)> = error.problems.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(at, [(11, 26)]);
}

#[test]
fn a_flood_of_problems_is_cut_and_counted() {
    let keys: Vec<String> = (0..200).map(|index| format!("k{index} = 1\n")).collect();
    let text = format!("schema = 1\n{}", keys.concat());
    let error = RuleSet::parse("f.toml", &text, &[]).expect_err("bad keys");
    assert_eq!(error.problems.len(), sakshi_rules::problem::PROBLEMS_MAX);
    assert!(error.more > 100, "{}", error.more);
    assert!(
        error
            .to_string()
            .ends_with(&format!("and {} more", error.more))
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let text = "#".repeat(sakshi_rules::parse::SET_BYTES_MAX + 1);
    let error = RuleSet::parse("f.toml", &text, &[]).expect_err("too large");
    assert!(error.to_string().contains("too large"), "{error}");
}
