//! Which handset this is, by its own account, for the record `device`.
//!
//! In: Android's properties (asked for with `getprop`, else read from its files), what the
//! bootloader told the kernel, and the kernel's own files. Out: [`DeviceFacts`], each with where it
//! was read. What is said nowhere is null.

use std::path::Path;

use super::{Probes, Tried, below, files};
use crate::{
    evidence::device::{DeviceFacts, Fact},
    platform::machine,
    time::Timestamp,
};

/// Files of Android's properties, as `init` reads them.
const PROPERTY_FILES: [&str; 4] = [
    "/system/build.prop",
    "/vendor/build.prop",
    "/product/build.prop",
    "/default.prop",
];
/// What the bootloader told the kernel: Android 12 and later, and before.
const BOOT_FILES: [&str; 2] = ["/proc/bootconfig", "/proc/cmdline"];
/// Begins the names of `init`'s properties that come from the bootloader.
const BOOT_PROPERTY: &str = "ro.boot.";
/// Longest value that is kept, in bytes; Android's own have at most 92, read-only ones more.
const VALUE_MAX: usize = 1024;

/// Texts that hold properties, each with its name.
struct Sources {
    listed: String,
    files: Vec<(&'static str, String)>,
    boot: Vec<(&'static str, String)>,
}

impl Sources {
    fn read(root: &Path, probes: &Probes) -> Self {
        let listed = match &probes.properties {
            Tried::Works(text) => text.clone(),
            Tried::Refused | Tried::Absent | Tried::Fails { .. } => String::new(),
        };
        let read = |paths: &[&'static str]| {
            let text = |path: &&'static str| Some((*path, files::text(&below(root, path)).ok()?));
            paths.iter().filter_map(text).collect()
        };
        let (files, boot) = if probes.android {
            (read(&PROPERTY_FILES), read(&BOOT_FILES))
        } else {
            (Vec::new(), Vec::new())
        };
        Self {
            listed,
            files,
            boot,
        }
    }

    /// A property, from the first source that says it.
    fn property(&self, name: &str) -> Fact {
        if let Some(value) = files::properties(&self.listed, &[name]).remove(name) {
            return fact(&value, format!("getprop {name}"));
        }
        for (path, text) in &self.files {
            if let Some(value) = files::build_property(text, name) {
                return fact(value, format!("{path} {name}"));
            }
        }
        let Some(parameter) = name.strip_prefix(BOOT_PROPERTY) else {
            return Fact::default();
        };
        let parameter = format!("androidboot.{parameter}");
        for (path, text) in &self.boot {
            if let Some(value) = files::boot_parameter(text, &parameter) {
                return fact(value, format!("{path} {parameter}"));
            }
        }
        Fact::default()
    }
}

fn fact(value: &str, read_from: String) -> Fact {
    let end = (0..=VALUE_MAX.min(value.len()))
        .rev()
        .find(|end| value.is_char_boundary(*end))
        .unwrap_or(0);
    Fact::new(value.get(..end).unwrap_or_default(), read_from)
}

/// What the machine below `root` says of itself; how it was rooted is for a person to say.
pub fn device_facts(root: &Path, probes: &Probes, now: Timestamp) -> DeviceFacts {
    let sources = Sources::read(root, probes);
    let abi = sources.property("ro.product.cpu.abi");
    DeviceFacts {
        at: now,
        is_android: probes.android,
        fingerprint: sources.property("ro.build.fingerprint"),
        manufacturer: sources.property("ro.product.manufacturer"),
        model: sources.property("ro.product.model"),
        build_type: sources.property("ro.build.type"),
        build_tags: sources.property("ro.build.tags"),
        security_patch: sources.property("ro.build.version.security_patch"),
        verified_boot: sources.property("ro.boot.verifiedbootstate"),
        bootloader: sources.property("ro.boot.vbmeta.device_state"),
        selinux: selinux(root),
        rooted: Fact::default(),
        kernel: Fact::new(probes.release.clone(), "uname -r"),
        abi: if abi.value.is_some() {
            abi
        } else {
            Fact::new(machine::architecture(), "uname -m")
        },
    }
}

/// The mode of `SELinux`, as the kernel says.
fn selinux(root: &Path) -> Fact {
    const ENFORCE: &str = "/sys/fs/selinux/enforce";
    let path = below(root, ENFORCE);
    match files::word(&path).as_deref() {
        Some("1") => Fact::new("enforcing", ENFORCE),
        Some("0") => Fact::new("permissive", ENFORCE),
        _ if path.try_exists().is_ok_and(|there| !there) => Fact::new("absent", ENFORCE),
        _ => Fact::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::tests::well;

    #[test]
    fn each_fact_says_where_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (path, text) in [
            ("sys/fs/selinux/enforce", "1"),
            (
                "system/build.prop",
                "# made\nro.build.type=user\nro.build.fingerprint=from/file\nro.product.model=\n",
            ),
            (
                "proc/bootconfig",
                "androidboot.verifiedbootstate = \"orange\"\nandroidboot.x = \"y\"\n",
            ),
            (
                "proc/cmdline",
                "quiet androidboot.vbmeta.device_state=unlocked ro\n",
            ),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut probes = well();
        probes.properties = Tried::Works("[ro.build.fingerprint]: [maker/x]\n".to_owned());
        let facts = device_facts(root, &probes, Timestamp::from_micros(7));
        assert_eq!(
            facts.fingerprint,
            Fact::new("maker/x", "getprop ro.build.fingerprint")
        );
        assert_eq!(
            facts.build_type,
            Fact::new("user", "/system/build.prop ro.build.type")
        );
        assert_eq!(
            facts.verified_boot,
            Fact::new("orange", "/proc/bootconfig androidboot.verifiedbootstate")
        );
        assert_eq!(
            facts.bootloader,
            Fact::new("unlocked", "/proc/cmdline androidboot.vbmeta.device_state")
        );
        assert_eq!(
            facts.selinux,
            Fact::new("enforcing", "/sys/fs/selinux/enforce")
        );
        assert_eq!((facts.model, facts.rooted), Default::default());
        // Elsewhere nothing of Android is looked for.
        probes.android = false;
        probes.properties = Tried::Absent;
        let facts = device_facts(root, &probes, Timestamp::from_micros(7));
        assert_eq!((facts.build_type, facts.verified_boot), Default::default());
        assert!(facts.abi.value.is_some());
    }
}
