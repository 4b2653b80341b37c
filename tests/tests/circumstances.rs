//! What the lab states of the network, what a name is for, and how old a list may be: through the
//! real program, into a case and out of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sakshi_tests::{
    daemon::{self, text},
    sample,
};
use serde_json::Value;
use tempfile::TempDir;

const RULES: &str = r#"
schema = 1
id = "asks"
version = "1"
title = "Asks what is tested"
home = ["IN"]

[[rule]]
id = "ABR-001"
title = "Destination outside India"
kind = "destination"
severity = "low"
when = { payload = true, country_not = ["@home"] }
min_grade = "low"

[[rule]]
id = "ADS-001"
title = "Somebody who advertises"
kind = "destination"
severity = "low"
when = { category = ["advertising"] }
undeterminable = "ignore"

[[rule]]
id = "HIG-001"
title = "Known well"
kind = "destination"
severity = "low"
when = { grade = ["high"] }
"#;

struct Room {
    dir: TempDir,
    rules: PathBuf,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        sample::write(dir.path()).expect("written");
        let rules = dir.path().join("asks.toml");
        fs::write(&rules, RULES).expect("written");
        Self { dir, rules }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Inspects the sample's own capture by the rules above.
    fn case(&self, name: &str, more: &[&str]) -> PathBuf {
        let case = self.path(name);
        let capture = self.path("phone.pcapng");
        let fixed = ["inspect", text(&capture), "--case", text(&case)];
        let rules = ["--rules", text(&self.rules)];
        daemon::output(fixed.iter().chain(&rules).chain(more).copied()).expect("inspected");
        case
    }
}

fn records(case: &Path, kind: &str) -> Vec<Value> {
    let all = daemon::export(case, "records").expect("records");
    all.into_iter()
        .filter(|record| record["kind"] == kind)
        .map(|mut record| record["body"].take())
        .collect()
}

/// Outcomes of a rule.
fn outcomes(case: &Path, rule: &str) -> Vec<String> {
    let found = daemon::export(case, "findings").expect("findings");
    found
        .iter()
        .filter(|row| row["rule"] == rule)
        .map(|row| row["outcome"].as_str().expect("a text").to_owned())
        .collect()
}

fn replays_the_same(case: &Path) {
    daemon::output(["verify", text(case), "--replay"]).expect("the same findings");
}

#[test]
fn an_egress_that_is_stated_abroad_steers_and_is_on_record() {
    let room = Room::new();
    let at_home = room.case(
        "home",
        &["--egress", "IN", "--operator", "Jio", "--network", "mobile"],
    );
    let stated = &records(&at_home, "session")[0]["circumstances"];
    assert_eq!(stated["egress"], "IN");
    assert_eq!(stated["operator"], "Jio");
    assert_eq!(stated["network"], "mobile");
    assert!(outcomes(&at_home, "ABR-001").contains(&"finding".to_owned()));
    let abroad = room.case("abroad", &["--egress", "SG"]);
    let said = outcomes(&abroad, "ABR-001");
    assert!(!said.is_empty());
    assert!(
        said.iter().all(|outcome| outcome == "needs_review"),
        "{said:?}"
    );
    let contacts = records(&abroad, "contact");
    assert!(contacts.iter().all(|contact| {
        let steered = contact["steered"].as_str().unwrap_or_default();
        steered.contains("going out in SG, as the lab states")
    }));
    for case in [&at_home, &abroad] {
        replays_the_same(case);
    }
    // Judged anew by the same rules, the same contacts need review.
    let anew = daemon::output([
        "judge",
        text(&abroad),
        "--rules",
        text(&room.rules),
        "--format",
        "jsonl",
    ]);
    let anew = anew.expect("judged");
    let rows = anew
        .lines()
        .skip(1)
        .map(|row| daemon::json(row).expect("JSON"));
    let rows: Vec<Value> = rows.filter(|row| row["rule"] == "ABR-001").collect();
    assert_eq!(rows.len(), said.len());
    assert!(rows.iter().all(|row| row["outcome"] == "needs_review"));
    let none = room.case("none", &[]);
    assert!(records(&none, "session")[0].get("circumstances").is_none());
    let capture = room.path("phone.pcapng");
    let wrong = daemon::sakshi(["inspect", text(&capture), "--dry-run", "--egress", "india"])
        .output()
        .expect("it runs");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("such as IN"));
}

#[test]
fn a_resolver_that_was_heard_stands_with_its_place() {
    let room = Room::new();
    let case = room.case("case", &[]);
    let contacts = records(&case, "contact");
    let named = contacts.iter().filter(|contact| {
        let names = contact["endpoint"]["names"].as_array().expect("names");
        let own = &contact["endpoint"]["name"];
        names
            .iter()
            .any(|name| name["source"] == "resolved" && name["name"] == *own)
    });
    let named: Vec<&Value> = named.collect();
    assert!(!named.is_empty());
    for contact in named {
        assert!(contact["resolvers"][0]["addr"].is_string(), "{contact}");
    }
}

#[test]
fn a_list_of_domains_says_what_a_name_is_for() {
    let room = Room::new();
    let list = room.path("ads.txt");
    fs::write(&list, "0.0.0.0 static.sample.example\n").expect("written");
    let data = room.path("data");
    daemon::output([
        "data",
        "add",
        "--dir",
        text(&data),
        text(&list),
        "--published",
        "2026-11-01",
        "--licence",
        "unknown",
        "--category",
        "advertising",
    ])
    .expect("added");
    let places = data.join("places.bin");
    let case = room.case("case", &["--data", text(&places)]);
    let contacts = records(&case, "contact");
    let listed = contacts
        .iter()
        .filter(|contact| contact["endpoint"]["categories"][0] == "advertising");
    let names: Vec<&Value> = listed.map(|contact| &contact["endpoint"]["name"]).collect();
    assert!(!names.is_empty());
    assert!(names.iter().all(|name| **name == "static.sample.example"));
    // Every other contact says that the list was asked.
    assert!(
        contacts
            .iter()
            .all(|contact| contact["endpoint"]["categories"].is_array())
    );
    assert_eq!(outcomes(&case, "ADS-001").len(), names.len());
    replays_the_same(&case);
    let without = room.case("without", &[]);
    assert!(
        records(&without, "contact")[0]["endpoint"]
            .get("categories")
            .is_none()
    );
    assert_eq!(outcomes(&without, "ADS-001"), Vec::<String>::new());
}

#[test]
fn a_place_is_graded_by_the_age_that_the_new_rules_allow() {
    let room = Room::new();
    // The built-in list of AWS is older at the capture than the 180 days that a set allows by itself.
    let case = room.case("case", &[]);
    assert_eq!(outcomes(&case, "HIG-001"), Vec::<String>::new());
    let lenient = room.path("lenient.toml");
    let text_of = RULES.replace(
        "home = [\"IN\"]",
        "home = [\"IN\"]\nmax_place_age_days = 4000",
    );
    fs::write(&lenient, text_of).expect("written");
    let before = daemon::state(&case);
    let judged = |rules: &Path| {
        let list = daemon::output([
            "judge",
            text(&case),
            "--rules",
            text(rules),
            "--format",
            "jsonl",
        ]);
        let list = list.expect("judged");
        let rows: Vec<Value> = list
            .lines()
            .map(|row| daemon::json(row).expect("JSON"))
            .collect();
        let high = rows.iter().filter(|row| row["rule"] == "HIG-001").count();
        (rows[0].clone(), high)
    };
    let (heading, high) = judged(&lenient);
    assert!(high > 0);
    assert_eq!(heading["max_place_age_days"], 4000);
    assert_eq!(heading["graded_anew"], high);
    assert_eq!(heading["graded_as_recorded"], 0);
    let (heading, high) = judged(&room.rules);
    assert_eq!((high, &heading["graded_anew"]), (0, &Value::from(0)));
    assert_eq!(daemon::state(&case), before, "judging changed the case");
}
