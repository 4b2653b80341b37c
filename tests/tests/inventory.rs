//! The app inventory, read from the files that Android writes, whole and broken.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use proptest::prelude::*;
use sakshi::attribute::inventory::{AppClass, Inventory, InventoryProblem};
use sakshi_tests::inventory_writer::{
    Encoding, FLAG_SYSTEM, FLAG_UPDATED_SYSTEM_APP, Model, Package, SharedUser, Updated, write_abx,
    write_folder, write_list, write_text,
};
use sha2::{Digest, Sha256};

fn package(name: &str, code_path: &str, flags: i32, user_id: i32) -> Package {
    Package {
        name: name.to_owned(),
        code_path: code_path.to_owned(),
        flags,
        version: 36,
        user_id,
        signers: vec![b"vendor certificate".to_vec()],
        ..Package::default()
    }
}

/// One app of each class, two that share a UID, and an APEX module.
fn handset() -> Model {
    let mut store = package("com.store.player", "/data/app/~~a==/p-b==", 0, 10_103);
    store.installer = Some("com.android.vending".to_owned());
    store.signers = vec![b"store certificate".to_vec()];
    let mut sharing = package("com.oppo.b", "/my_heytap/app/B", FLAG_SYSTEM, 10_104);
    sharing.shared = true;
    let updated_flags = FLAG_SYSTEM | FLAG_UPDATED_SYSTEM_APP;
    Model {
        packages: vec![
            package("android", "/system/framework", FLAG_SYSTEM, 1000),
            package(
                "com.oppo.market",
                "/my_stock/app/Market",
                FLAG_SYSTEM,
                10_100,
            ),
            package(
                "com.oppo.browser",
                "/data/app/~~c==/b-d==",
                updated_flags,
                10_101,
            ),
            package("com.oppo.notes", "/data/app/~~e==/n-f==", 0, 10_102),
            store,
            sharing.clone(),
            Package {
                name: "com.oppo.a".to_owned(),
                ..sharing
            },
            package(
                "com.android.tzdata",
                "/apex/com.android.tzdata",
                FLAG_SYSTEM,
                -1,
            ),
        ],
        updated: vec![Updated {
            name: "com.oppo.browser".to_owned(),
            code_path: "/product/app/Browser".to_owned(),
            version: 30,
            user_id: 10_101,
        }],
        shared_users: vec![SharedUser {
            name: "oppo.uid.shared & more".to_owned(),
            user_id: 10_104,
        }],
        users: vec![0, 10],
        preloads: vec![(
            "/my_stock/del-app/Notes/Notes.apk".to_owned(),
            "com.oppo.notes".to_owned(),
        )],
    }
}

fn read(model: &Model, encoding: Encoding) -> (Inventory, Vec<InventoryProblem>) {
    let folder = tempfile::tempdir().unwrap();
    write_folder(model, encoding, folder.path()).unwrap();
    Inventory::read(folder.path()).unwrap()
}

fn from_xml(xml: &[u8]) -> (Inventory, Vec<InventoryProblem>) {
    Inventory::from_files(&[("packages.xml", xml)])
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// What stopped the reading of `packages.xml`.
fn damage(problems: &[InventoryProblem]) -> Option<String> {
    problems
        .iter()
        .find(|problem| matches!(problem, InventoryProblem::Damaged { file, .. } if file == "packages.xml"))
        .map(ToString::to_string)
}

#[test]
fn both_encodings_give_the_same_apps() {
    let model = handset();
    let (text, problems) = read(&model, Encoding::Text);
    assert_eq!(problems, []);
    let (abx, problems) = read(&model, Encoding::Abx);
    assert_eq!(problems, []);
    assert_eq!(text.apps(), abx.apps());
    assert_eq!(text.users(), [0, 10]);
    assert_eq!(abx.users(), [0, 10]);
    assert_eq!(abx.without_uid(), ["com.android.tzdata"]);
}

#[test]
fn each_app_has_its_class_and_says_why() {
    let (inventory, _) = read(&handset(), Encoding::Abx);
    for (name, class, evidence) in [
        (
            "com.oppo.market",
            AppClass::Preloaded,
            "partition /my_stock",
        ),
        (
            "com.oppo.browser",
            AppClass::UpdatedPreload,
            "/product/app/Browser",
        ),
        (
            "com.oppo.notes",
            AppClass::DeletablePreload,
            "/my_stock/del-app/",
        ),
        ("com.store.player", AppClass::User, "no system flag"),
    ] {
        let app = inventory.app(name).unwrap();
        assert_eq!(app.class, class, "{name}");
        assert!(app.class_reason.contains(evidence), "{}", app.class_reason);
    }
    let browser = inventory.app("com.oppo.browser").unwrap();
    assert_eq!(
        browser.preload_path.as_deref(),
        Some("/product/app/Browser")
    );
    let player = inventory.app("com.store.player").unwrap();
    assert_eq!(player.installer.as_deref(), Some("com.android.vending"));
    assert_eq!(player.version_code, Some(36));
}

#[test]
fn a_certificate_given_by_index_is_the_one_given_in_full() {
    let (inventory, _) = read(&handset(), Encoding::Text);
    let hex = sha256(b"vendor certificate");
    for name in ["android", "com.oppo.market", "com.oppo.a"] {
        assert_eq!(
            inventory.app(name).unwrap().signers,
            [hex.as_str()],
            "{name}"
        );
    }
}

#[test]
fn a_shared_uid_names_every_app_behind_it() {
    let (inventory, _) = read(&handset(), Encoding::Abx);
    let owner = inventory.describe(1_010_104);
    let names: Vec<_> = owner.apps.iter().map(|app| app.package.as_str()).collect();
    assert_eq!((owner.user, names), (10, vec!["com.oppo.a", "com.oppo.b"]));
    assert_eq!(owner.class, AppClass::Preloaded);
    let shared = owner.apps[0].shared_user.as_deref();
    assert_eq!(shared, Some("oppo.uid.shared & more"));
    let system = inventory.describe(1000);
    assert_eq!(system.class, AppClass::System);
    assert_eq!(system.apps[0].package, "android");
}

#[test]
fn sources_are_what_was_read() {
    let (inventory, _) = read(&handset(), Encoding::Abx);
    let names: Vec<_> = inventory
        .sources()
        .iter()
        .map(|source| &source.name)
        .collect();
    assert_eq!(
        names,
        [
            "packages.list",
            "packages.xml",
            "users/userlist.xml",
            "preload-folders.txt"
        ]
    );
    let xml = &inventory.sources()[1];
    assert_eq!(xml.bytes, write_abx(&handset()));
    assert_eq!(xml.sha256, sha256(&xml.bytes));
    let json = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
}

#[test]
fn a_missing_file_says_what_is_lost_and_the_other_is_used() {
    let list = write_list(&handset());
    let (inventory, problems) = Inventory::from_files(&[("packages.list", list.as_bytes())]);
    assert_eq!(inventory.apps().len(), 7);
    let market = inventory.app("com.oppo.market").unwrap();
    assert_eq!(market.class, AppClass::Preloaded, "@system says so");
    let player = inventory.app("com.store.player").unwrap();
    assert_eq!(player.class, AppClass::Unknown);
    let missing: Vec<_> = problems
        .iter()
        .filter_map(|problem| match problem {
            InventoryProblem::Missing { file, lost } => Some((file.as_str(), lost.is_empty())),
            _ => None,
        })
        .collect();
    assert_eq!(
        missing,
        [
            ("packages.xml", false),
            ("users/userlist.xml", false),
            ("preload-folders.txt", false)
        ]
    );
    let error = Inventory::read("/nonexistent".as_ref()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent"), "{error}");
}

#[test]
fn a_folder_in_place_of_a_file_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(&handset(), Encoding::Text, folder.path()).unwrap();
    fs::remove_file(folder.path().join("packages.xml")).unwrap();
    fs::create_dir(folder.path().join("packages.xml")).unwrap();
    let (inventory, problems) = Inventory::read(folder.path()).unwrap();
    assert_eq!(inventory.apps().len(), 7);
    assert!(problems.iter().any(|problem| matches!(
        problem,
        InventoryProblem::Unreadable { file, .. } if file == "packages.xml"
    )));
}

#[test]
fn on_the_device_preload_folders_are_looked_into() {
    let root = tempfile::tempdir().unwrap();
    let system = root.path().join("data/system");
    write_folder(&handset(), Encoding::Abx, &system).unwrap();
    let copy = root.path().join("my_stock/del-app/com.oppo.notes");
    fs::create_dir_all(&copy).unwrap();
    fs::write(copy.join("base.apk"), b"PK").unwrap();
    let (inventory, problems) = Inventory::read_device(root.path()).unwrap();
    assert_eq!(problems, []);
    let notes = inventory.app("com.oppo.notes").unwrap();
    assert_eq!(notes.class, AppClass::DeletablePreload);
    let path = "/my_stock/del-app/com.oppo.notes/base.apk";
    assert_eq!(notes.preload_path.as_deref(), Some(path));
    let listing = inventory.sources().last().unwrap();
    assert_eq!(listing.bytes, format!("{path}\n").as_bytes());
}

#[test]
fn a_file_cut_short_anywhere_is_a_problem_and_keeps_what_was_whole() {
    let model = handset();
    for whole in [write_abx(&model), write_text(&model).trim_end().into()] {
        let (all, problems) = from_xml(&whole);
        assert_eq!(damage(&problems), None);
        let mut kept = BTreeSet::new();
        for length in 0..whole.len() {
            let (inventory, problems) = from_xml(&whole[..length]);
            assert!(damage(&problems).is_some(), "cut at {length}");
            for app in inventory.apps() {
                let complete = all.app(&app.package).unwrap();
                assert_eq!(app.code_path, complete.code_path, "cut at {length}");
                assert!(app.signers.is_empty() || app.signers == complete.signers);
            }
            kept.insert(inventory.apps().len());
        }
        assert_eq!(kept, (0..=7).collect(), "apps are kept one by one");
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let text = write_text(&handset()).replace("</permissions>", "</permission>");
    let damage = damage(&from_xml(text.as_bytes()).1).unwrap();
    assert!(
        damage.starts_with("packages.xml, line 8 (byte "),
        "{damage}"
    );
}

#[test]
fn invalid_utf8_in_text_stops_there() {
    let mut text = write_text(&handset()).into_bytes();
    let at = text
        .windows(10)
        .position(|window| window == b"com.oppo.n")
        .unwrap();
    text[at] = 0xff;
    let (inventory, problems) = from_xml(&text);
    let damage = damage(&problems).unwrap();
    assert!(damage.contains(&format!("(byte {at})")), "{damage}");
    assert!(inventory.app("com.oppo.browser").is_some());
}

#[test]
fn a_name_beyond_the_basic_plane_is_the_same_in_both() {
    let mut model = handset();
    model.shared_users[0].name = "ओप्पो \u{1f600}".to_owned();
    let (text, _) = from_xml(write_text(&model).as_bytes());
    let (abx, _) = from_xml(&write_abx(&model));
    assert_eq!(text.apps(), abx.apps());
    let shared = abx.app("com.oppo.a").unwrap().shared_user.as_deref();
    assert_eq!(shared, Some("ओप्पो \u{1f600}"));
}

fn any_package() -> impl Strategy<Value = Package> {
    let path = prop_oneof![
        "/data/app/[a-z]{1,8}",
        "/(system|my_stock|vendor)/app/\\PC{0,8}"
    ];
    (
        ("[a-d]\\.\\PC{1,6}", path, any::<i32>(), any::<i64>()),
        (
            -1..20_000,
            any::<bool>(),
            proptest::option::of("\\PC{1,12}"),
        ),
        (
            proptest::collection::vec(proptest::collection::vec(0..3_u8, 1..3), 0..3),
            proptest::collection::vec(proptest::collection::vec(0..3_u8, 1..3), 0..2),
        ),
    )
        .prop_map(
            |((name, code_path, flags, version), (user_id, shared, installer), sigs)| Package {
                name,
                code_path,
                flags,
                version,
                user_id,
                shared,
                installer,
                signers: sigs.0,
                past_signers: sigs.1,
            },
        )
}

fn any_model() -> impl Strategy<Value = Model> {
    proptest::collection::vec(any_package(), 0..8).prop_map(|packages| {
        let updated = packages.iter().step_by(3).map(|package| Updated {
            name: package.name.clone(),
            code_path: "/product/app/X".to_owned(),
            version: 1,
            user_id: package.user_id,
        });
        Model {
            updated: updated.collect(),
            packages,
            ..Model::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn text_and_abx_of_one_model_agree(model in any_model()) {
        let (text, text_problems) = from_xml(write_text(&model).as_bytes());
        let (abx, abx_problems) = from_xml(&write_abx(&model));
        prop_assert_eq!(text.apps(), abx.apps());
        prop_assert_eq!(text.without_uid(), abx.without_uid());
        prop_assert_eq!(text_problems, abx_problems);
        let named: BTreeSet<_> = model.packages.iter().map(|package| &package.name).collect();
        prop_assert_eq!(abx.apps().len() + abx.without_uid().len(), named.len());
    }

    #[test]
    fn flipped_bytes_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        abx in any::<bool>(),
    ) {
        let mut bytes = if abx { write_abx(&handset()) } else { write_text(&handset()).into() };
        for (at, byte) in flips {
            *at.get_mut(&mut bytes) = byte;
        }
        let (inventory, _) = from_xml(&bytes);
        prop_assert!(inventory.apps().len() <= 8);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let abx = [b"ABX\0", &bytes[..]].concat();
        for xml in [&bytes, &abx] {
            let files = [
                ("packages.list", &bytes[..]),
                ("packages.xml", xml),
                ("userlist.xml", xml),
                ("preload-folders.txt", &bytes),
            ];
            let (inventory, problems) = Inventory::from_files(&files);
            prop_assert_eq!(inventory.sources().len(), 4);
            prop_assert!(!problems.is_empty());
        }
    }
}
