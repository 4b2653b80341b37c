//! The program that reads owners in the kernel comes from its source.
//!
//! The committed object is compiled anew and compared: byte for byte where clang is the one that
//! made it (`daemon/bpf/compiler`), else by all that another version may not change: licence, maps,
//! program, and which helpers of the kernel are called. `cargo xtask bpf` makes the object.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use aya_obj::Object;
use sakshi::capture::exactness::{INBOX_MAX, KEY_BYTES, OBJECT, VALUE_BYTES};

/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// What the program may ask of the kernel: `map_lookup_elem`, `map_update_elem`, `ktime_get_ns`,
/// `skb_load_bytes`, `get_socket_cookie`, `get_socket_uid` (linux/bpf.h). All are in Linux 4.14.
const HELPERS: [i32; 6] = [1, 2, 5, 26, 46, 47];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/bpf")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a file of daemon/bpf")
}

/// First line of what clang says of itself; none where there is no clang.
fn clang() -> Option<String> {
    let output = Command::new("clang").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(said.lines().next()?.to_owned())
}

fn compiled() -> Vec<u8> {
    let out = tempfile::tempdir().expect("a folder");
    let object = out.path().join("owner.bpf.o");
    let mut command = Command::new("clang");
    let output = command
        .current_dir(folder())
        .args(text("flags").split_whitespace())
        .args(["owner.bpf.c", "-o"])
        .arg(&object)
        .output()
        .expect("clang runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    std::fs::read(object).expect("an object")
}

/// Licence, maps (name, type, sizes, entries), programs, helpers.
type Outline = (
    String,
    BTreeSet<(String, [u32; 4])>,
    BTreeSet<String>,
    BTreeSet<i32>,
);

fn outline(object: &[u8]) -> Outline {
    let object = Object::parse(object).expect("an object of BPF");
    let map = |(name, map): (&String, &aya_obj::Map)| {
        let sizes = [map.key_size(), map.value_size(), map.max_entries()];
        (name.clone(), [map.map_type(), sizes[0], sizes[1], sizes[2]])
    };
    let helpers = object
        .functions
        .values()
        .flat_map(|function| &function.instructions)
        .filter(|instruction| instruction.code == CALL)
        .map(|instruction| instruction.imm)
        .collect();
    (
        object.license.to_string_lossy().into_owned(),
        object.maps.iter().map(map).collect(),
        object.programs.keys().cloned().collect(),
        helpers,
    )
}

#[test]
fn the_object_comes_from_the_source() {
    let Some(clang) = clang() else {
        assert!(std::env::var_os("CI").is_none(), "clang is needed in CI");
        println!("the_object_comes_from_the_source did not run: not found: clang");
        return;
    };
    let fresh = compiled();
    if clang == text("compiler").trim() {
        assert!(
            fresh == OBJECT,
            "daemon/bpf/owner.bpf.o: run `cargo xtask bpf`"
        );
        println!("byte for byte the same, by {clang}");
    } else {
        assert_eq!(outline(&fresh), outline(OBJECT));
        println!("the same maps and helpers, by {clang}");
    }
}

#[test]
fn the_object_is_what_an_old_kernel_takes_and_the_daemon_reads() {
    let (licence, maps, programs, helpers) = outline(OBJECT);
    assert_eq!(licence, "GPL v2");
    assert_eq!(helpers, BTreeSet::from(HELPERS));
    assert_eq!(programs, BTreeSet::from(["sakshi_owner".to_owned()]));
    let [key, value, entries] =
        [KEY_BYTES, VALUE_BYTES, INBOX_MAX].map(|size| u32::try_from(size).expect("a small size"));
    let inbox = ("inbox".to_owned(), [1, key, value, entries]);
    assert!(maps.contains(&inbox), "{maps:?}");
    assert_eq!(maps.len(), 3);
}
