//! Shapes of `packages.xml`: every release's, and those that nobody's package manager writes.

use std::fmt::Write as _;

use sakshi::attribute::inventory::{AppClass, Inventory, InventoryProblem};
use sakshi_tests::{
    handset::inventory::model,
    inventory_writer::{write_abx, write_release},
};

/// Android 9 to 16.
const RELEASES: std::ops::RangeInclusive<u32> = 28..=36;

fn read(xml: &[u8]) -> (Inventory, Vec<String>) {
    let (inventory, problems) = Inventory::from_files(&[("packages.xml", xml)]);
    let of_xml = |problem: &InventoryProblem| !matches!(problem, InventoryProblem::Missing { .. });
    let problems = problems.iter().filter(|problem| of_xml(problem));
    (inventory, problems.map(ToString::to_string).collect())
}

#[test]
fn every_release_gives_the_same_apps() {
    let (expected, problems) = read(&write_abx(&model()));
    assert_eq!(problems, [""; 0]);
    let classes = |inventory: &Inventory| -> Vec<AppClass> {
        inventory.apps().iter().map(|app| app.class).collect()
    };
    for class in [
        AppClass::Preloaded,
        AppClass::UpdatedPreload,
        AppClass::User,
    ] {
        assert!(classes(&expected).contains(&class), "{class:?}");
    }
    for api in RELEASES {
        let (inventory, problems) = read(&write_release(&model(), api));
        assert_eq!(problems, [""; 0], "API {api}");
        assert_eq!(inventory.apps(), expected.apps(), "API {api}");
    }
}

/// ABX, byte by byte: what a serialiser would refuse to write.
struct Abx(Vec<u8>);

impl Abx {
    fn new() -> Self {
        Self(b"ABX\0\x10".to_vec())
    }

    fn utf(mut self, text: &str) -> Self {
        let length = u16::try_from(text.len()).expect("a text that ABX can hold");
        self.0.extend(length.to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    /// A string that is new to the pool.
    fn pooled(mut self, text: &str) -> Self {
        self.0.extend([0xff, 0xff]);
        self.utf(text)
    }

    fn start(mut self, name: &str) -> Self {
        self.0.push(0x32);
        self.pooled(name)
    }

    fn end(mut self, name: &str) -> Self {
        self.0.push(0x33);
        self.pooled(name)
    }

    fn string(mut self, name: &str, value: &str) -> Self {
        self.0.push(0x2f);
        self.pooled(name).utf(value)
    }

    /// An attribute with any type tag and value.
    fn raw(mut self, tag: u8, name: &str, value: &[u8]) -> Self {
        self.0.push(tag | 0x0f);
        let mut attribute = self.pooled(name);
        attribute.0.extend(value);
        attribute
    }

    fn int(self, name: &str, value: i32) -> Self {
        self.raw(0x60, name, &value.to_be_bytes())
    }

    /// A sound package: what stands before the damage is to be kept.
    fn sound(self) -> Self {
        self.start("packages")
            .start("package")
            .string("name", "com.sound")
            .string("codePath", "/system/app/Sound")
            .int("userId", 10_001)
            .end("package")
    }

    fn finish(self) -> Vec<u8> {
        let mut ended = self.end("packages");
        ended.0.push(0x11);
        ended.0
    }
}

/// Reads what is hostile behind a sound package, and says what was wrong; the sound one is kept.
#[track_caller]
fn behind_a_sound_one(xml: &[u8]) -> (Inventory, Vec<String>) {
    let (inventory, problems) = read(xml);
    let sound = inventory
        .app("com.sound")
        .expect("what stood before is kept");
    assert_eq!(sound.class, AppClass::Preloaded);
    (inventory, problems)
}

#[test]
fn wrong_type_tags_cost_an_entry_and_not_the_file() {
    let package = |abx: Abx| {
        abx.start("package")
            .string("name", "com.x")
            .string("codePath", "/data/app/x")
    };
    let float = 1.5_f32.to_be_bytes();
    let xml = package(Abx::new().sound())
        .raw(0xa0, "userId", &float)
        .end("package");
    let xml = package(xml)
        .raw(0xc0, "publicFlags", &[])
        .int("userId", 10_002)
        .end("package")
        // A name that is a number is no name.
        .start("package")
        .int("name", 5)
        .int("userId", 10_003)
        .end("package");
    let (inventory, problems) = behind_a_sound_one(&xml.finish());
    let x = inventory.app("com.x").expect("the second is used");
    assert_eq!((x.appid, x.class), (10_002, AppClass::User));
    let said = |what: &str| problems.iter().any(|problem| problem.contains(what));
    assert!(
        said("userId of <package> is not an integer"),
        "{problems:?}"
    );
    assert!(said("publicFlags of <package> is not an integer"));
    assert!(said("<package> without a name"));
}

#[test]
fn a_type_that_a_token_cannot_have_stops_there() {
    // A start tag with the type of an integer.
    let mut xml = Abx::new().sound();
    xml.0.push(0x62);
    let (_, problems) = behind_a_sound_one(&xml.pooled("package").finish());
    assert!(
        problems[0].contains("ABX token 0x62 cannot have type"),
        "{problems:?}"
    );
}

#[test]
fn a_string_that_the_pool_does_not_have_stops_there() {
    for index in [0x00ff_u16, 0xfffe] {
        let mut xml = Abx::new().sound();
        xml.0.push(0x32);
        xml.0.extend(index.to_be_bytes());
        let (_, problems) = behind_a_sound_one(&xml.finish());
        let what = format!("string {index} of the pool is referred to, which holds");
        assert!(problems[0].contains(&what), "{problems:?}");
        assert!(problems[0].contains("(byte ") || problems[0].contains("byte "));
    }
}

#[test]
fn depth_bombs_are_refused_in_both_encodings() {
    let mut abx = Abx::new().sound();
    let mut text = String::from(
        "<packages><package name='com.sound' codePath='/system/app/Sound' userId='10001'/>",
    );
    for _ in 0..100_000 {
        abx = abx.start("a");
        text.push_str("<a>");
    }
    for xml in [abx.0, text.into_bytes()] {
        let (_, problems) = behind_a_sound_one(&xml);
        assert!(
            problems[0].contains("nested deeper than 64"),
            "{problems:?}"
        );
    }
}

#[test]
fn huge_strings_are_no_names() {
    let huge = "x".repeat(65_535);
    let abx = Abx::new()
        .sound()
        .start("package")
        .string("name", &huge)
        .int("userId", 10_002)
        .end("package")
        .start("package")
        .string("name", "com.path")
        .string("codePath", &huge)
        .string("installer", &huge)
        .int("userId", 10_003)
        .end("package")
        .finish();
    let text = format!(
        "<packages><package name='com.sound' codePath='/system/app/Sound' userId='10001'/>\
         <package name='{huge}' userId='10002'/>\
         <package name='com.path' codePath='{huge}' installer='{huge}' userId='10003'/></packages>"
    );
    for xml in [&abx[..], text.as_bytes()] {
        let (inventory, problems) = behind_a_sound_one(xml);
        assert_eq!(inventory.apps().len(), 2);
        let path = inventory.app("com.path").expect("its name is sound");
        assert_eq!((&path.code_path, &path.installer), (&None, &None));
        assert_eq!(path.class, AppClass::Unknown);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.len() < 200));
        assert!(problems[0].contains("65535 bytes, expected at most 255"));
    }
    let line = format!("{huge} 10002 0 /data default none 0 1 1 @null\n");
    let (inventory, problems) = Inventory::from_files(&[("packages.list", line.as_bytes())]);
    assert!(inventory.apps().is_empty());
    assert!(
        problems[0].to_string().contains("65535 bytes"),
        "{problems:?}"
    );
}

#[test]
fn names_and_ids_that_occur_twice_are_said() {
    let package = |name: &str, uid: u32, path: &str| {
        format!("<package name='{name}' codePath='{path}' userId='{uid}'/>")
    };
    let mut xml = String::from("<packages>");
    xml += &package("com.sound", 10_001, "/system/app/Sound");
    xml += &package("com.sound", 10_009, "/data/app/other");
    // Two that are no shared user's, under one id: whoever sends is one of both.
    xml += &package("com.second", 10_001, "/data/app/second");
    xml += "<updated-package name='com.second' codePath='/system/app/Second' userId='10001'/>\
            <updated-package name='com.second' codePath='/system/app/Third' userId='10001'/>\
            <updated-package name='com.nobody' codePath='/system/app/Nobody' userId='10005'/>\
            </packages>";
    let (inventory, problems) = behind_a_sound_one(xml.as_bytes());
    let owner = inventory.describe(10_001);
    assert_eq!(owner.apps.len(), 2);
    assert_eq!(owner.class, AppClass::Unknown, "they differ");
    assert!(inventory.describe(10_009).apps.is_empty());
    let said = |what: &str| problems.iter().any(|problem| problem.contains(what));
    assert!(
        said("com.sound: <package> has it more than once"),
        "{problems:?}"
    );
    assert!(said("com.second: <updated-package> has it more than once"));
    assert!(said(
        "com.nobody: packages.xml has an <updated-package> for it"
    ));
}

#[test]
fn references_that_go_round_or_nowhere_name_no_signer() {
    // A certificate by an index that only a later one gives, and by its own.
    let xml = "<packages>\
        <package name='com.sound' codePath='/system/app/Sound' userId='10001'>\
        <sigs count='1'><cert index='0' key='61'/></sigs></package>\
        <package name='com.round' codePath='/data/app/r' userId='10002'>\
        <sigs count='2'><cert index='1'/><cert index='2'><cert index='2'/></cert></sigs></package>\
        <package name='com.later' codePath='/data/app/l' userId='10003'>\
        <sigs count='1'><cert index='1' key='62'/></sigs></package></packages>";
    let (inventory, problems) = behind_a_sound_one(xml.as_bytes());
    let signers = |name: &str| inventory.app(name).expect("an app").signers.len();
    assert_eq!((signers("com.sound"), signers("com.round")), (1, 0));
    assert_eq!(signers("com.later"), 1);
    let mut said = String::new();
    for problem in &problems {
        writeln!(said, "{problem}").expect("a String takes every byte");
    }
    for index in [1, 2] {
        let what = format!("certificate {index} is referred to before it is given");
        assert!(said.contains(&what), "{said}");
    }
}
