//! The command that is run, for every way to build.

use std::path::Path;

use super::*;

fn words(command: &Command) -> Vec<String> {
    command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn has(words: &[String], wanted: &[&str]) -> bool {
    words.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_folder_that_looks_like_an_ndk_is_built_with() {
    let folder = std::env::temp_dir().join(format!("sakshi-kit-{}", std::process::id()));
    ndk::tests::stand_in(&folder);
    let environment = |name: &str| (name == "ANDROID_NDK_ROOT").then(|| folder.clone().into());
    let ndk = Ndk::find(environment).expect("a kit").expect("one");
    std::fs::remove_dir_all(&folder).expect("removed");

    let toolchain = Toolchain::for_test(Target::Android, Some(&ndk));
    let command = build_command(Target::Android.products(), &toolchain);
    let words = words(&command);
    let start = ["ndk", "-t", "arm64-v8a", "--platform", "24", "build"];
    assert!(has(words.get(..6).unwrap_or_default(), &start), "{words:?}");
    assert!(has(&words, &["--profile", PROFILE]), "{words:?}");
    assert!(has(&words, &["-p", "sakshi-android-shim"]), "{words:?}");
    assert!(!has(&words, &["--target"]), "cargo-ndk says it: {words:?}");
    let told = command
        .get_envs()
        .any(|(name, value)| name == "ANDROID_NDK_HOME" && value == Some(folder.as_os_str()));
    assert!(told, "cargo-ndk is told which kit");
}

#[test]
fn without_one_cargo_is_told_of_our_scripts() {
    let toolchain = Toolchain::for_test(Target::Musl, None);
    let command = build_command(Target::Musl.products(), &toolchain);
    let words = words(&command);
    assert_eq!(words.first().map(String::as_str), Some("build"));
    assert!(
        has(&words, &["--target", Target::Musl.triple()]),
        "{words:?}"
    );
    assert!(
        has(&words, &["--no-default-features"]),
        "the lab's part stays out"
    );
    assert!(!has(&words, &["-p", "sakshi-android-shim"]), "{words:?}");
    assert_eq!(command.get_current_dir(), Some(workspace().as_path()));
    let foreign = command.get_envs().find(|(name, _)| *name == "RUSTFLAGS");
    assert_eq!(foreign.map(|(_, value)| value), Some(None), "is taken away");
    assert!(Path::new(&scripts()).is_dir());
}

#[test]
fn understands_what_is_asked_for() {
    let both = vec![Target::Musl, Target::Android];
    let wish = |targets, compares| {
        Ok(Wish {
            targets,
            only_shim: false,
            compares,
        })
    };
    assert_eq!(Wish::parse(&[]), wish(both, false));
    let words = ["musl", "--compare"];
    assert_eq!(Wish::parse(&words), wish(vec![Target::Musl], true));
    let error = Wish::parse(&["ios"]).expect_err("no such target");
    assert!(error.contains("`ios`; expected `musl`"), "{error}");
    let wish = Wish::parse(&["shim"]).expect("one file");
    assert_eq!(wish.targets, [Target::Android]);
    let files: Vec<_> = wish.products(Target::Android);
    let files: Vec<_> = files.iter().map(|product| product.file).collect();
    assert_eq!(files, ["libsakshi_android_shim.so"]);
    Wish::parse(&["shim", "musl"]).expect_err("shim goes alone");
    let error = Wish::parse(&["--faster"]).expect_err("no such option");
    assert!(error.contains("`--faster`; expected --compare"), "{error}");
}
