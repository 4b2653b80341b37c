//! Targets of what the doctor reads: a kernel's configuration, and the little files of `/proc`.

use std::path::Path;

use sakshi::doctor::{
    files::{self, LINES_MAX},
    kernel_config::{self, OPTIONS},
};

/// Properties that are asked for.
const PROPERTIES: [&str; 2] = ["ro.build.fingerprint", "ro.product.model"];

/// `/proc/config.gz`, or the plain text.
pub(super) fn kernel_config(data: &[u8]) {
    match kernel_config::parse(data) {
        Ok(options) => assert_eq!(options.len(), OPTIONS.len(), "each option is told"),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Each small file, as if this were its text.
pub(super) fn machine_files(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let groups = files::nflog_groups(&text);
    assert!(groups.is_sorted());
    for names in [
        files::default_routes_v4(&text),
        files::default_routes_v6(&text),
    ] {
        assert!(names.is_sorted() && names.len() <= LINES_MAX);
        assert!(names.iter().all(|name| !name.is_empty()));
    }
    let mounts = files::mounts(&text);
    assert!(mounts.len() <= LINES_MAX);
    if let Some(mount) = files::mount_of(&mounts, Path::new("/data/x")) {
        assert!(Path::new("/data/x").starts_with(&mount.on));
    }
    let _ = files::lock_holder(&text, (0, 0x1a), 5678);
    let found = [
        files::build_property(&text, PROPERTIES[0]),
        files::boot_parameter(&text, "androidboot.verifiedbootstate"),
    ];
    assert!(found.iter().flatten().all(|value| !value.is_empty()));
    let properties = files::properties(&text, &PROPERTIES);
    assert!(properties.len() <= PROPERTIES.len());
    assert!(properties.values().all(|value| !value.is_empty()));
}
