//! What is built with what.

use std::path::Path;

use super::*;

fn ndk() -> Ndk {
    Ndk {
        folder: "/ndk".into(),
        version: "27.2".to_owned(),
    }
}

fn toolchain(target: Target, linking: Linking, sysroot: Option<&str>) -> Toolchain {
    Toolchain {
        target,
        linking,
        sysroot: sysroot.map(PathBuf::from),
        purpose: Purpose::Phone,
        std_is_new: false,
        lld: "/rust/rust-lld".into(),
        cache: "/cache".into(),
    }
}

#[test]
fn uses_the_ndk_for_android_where_there_is_one() {
    let ndk = ndk();
    for has_std in [false, true] {
        let chosen = choose(Target::Android, Some(&ndk), has_std, false);
        assert_eq!(chosen, Linking::Ndk(ndk.clone()));
        let chosen = choose(Target::Android, None, has_std, false);
        assert_eq!(chosen, Linking::Debian);
    }
    // The static file has no use for it.
    let chosen = choose(Target::Musl, Some(&ndk), true, false);
    assert_eq!(chosen, Linking::Debian);
}

#[test]
fn uses_rustups_musl_only_when_it_is_complete() {
    assert_eq!(choose(Target::Musl, None, true, true), Linking::Rustup);
    assert_eq!(choose(Target::Musl, None, true, false), Linking::Debian);
    assert_eq!(choose(Target::Musl, None, false, true), Linking::Debian);
}

#[test]
fn without_rustup_the_standard_library_and_the_start_files_are_ours() {
    let toolchain = toolchain(Target::Musl, Linking::Debian, Some("/a b/sysroot"));
    let expected = ["--sysroot", "/a b/sysroot", "-Clink-self-contained=no"];
    assert_eq!(toolchain.own_flags(), expected);
}

#[test]
fn what_rustup_and_the_ndk_bring_needs_no_flag() {
    let none: [OsString; 0] = [];
    let with_ndk = toolchain(Target::Android, Linking::Ndk(ndk()), None);
    assert_eq!(with_ndk.own_flags(), none);
    assert_eq!(
        with_ndk.environment(),
        [("ANDROID_NDK_HOME".to_owned(), OsString::from("/ndk"))]
    );
    let with_rustup = toolchain(Target::Musl, Linking::Rustup, None);
    assert_eq!(with_rustup.own_flags(), none);
}

#[test]
fn every_script_that_cargo_is_told_of_is_there() {
    for target in [Target::Musl, Target::Android] {
        let scripts: Vec<_> = toolchain(target, Linking::Debian, None)
            .environment()
            .into_iter()
            .filter(|(name, _)| name.starts_with("CC_") || name.ends_with("_LINKER"))
            .collect();
        assert_eq!(scripts.len(), 2);
        for (name, path) in scripts {
            assert!(Path::new(&path).is_file(), "{name}={}", path.display());
        }
    }
}
