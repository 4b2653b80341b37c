//! The first file system of the handset, laid out like a phone.
//!
//! In: unpacked packages, the files of `tests/emulated`. Out: `kernel` and `initramfs` in a folder.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::{copy, kernel_package, modules};
use crate::{
    cross::{
        self,
        apt::unpacked,
        cache::{self, Cache, told},
        elf,
    },
    steps::{Outcome, run_command},
};

/// Folders that a phone has, some with what a vendor ships.
const FOLDERS: [&str; 20] = [
    "data",
    "dev",
    "lib/modules",
    "my_product/app/VhStats",
    "my_product/del-app/com.sample.games",
    "odm",
    "proc",
    "product/app/VhWeather",
    "product/priv-app/VhCamera",
    "run",
    "sys",
    "system/app/VhGallery",
    "system/app/VhMarket",
    "system/bin",
    "system/etc/netd",
    "system/priv-app/VhPush",
    "system_ext",
    "tmp",
    "usr/lib/aarch64-linux-gnu/xtables",
    "vendor",
];
/// Programs, where their package has them, and the names that they have on the handset.
const PROGRAMS: [(&str, &str, &[&str]); 3] = [
    ("busybox-static", "bin/busybox", &["busybox", "sh"]),
    (
        "iptables",
        "usr/sbin/xtables-legacy-multi",
        &[
            "xtables-legacy-multi",
            "iptables",
            "iptables-save",
            "iptables-restore",
            "ip6tables",
            "ip6tables-save",
            "ip6tables-restore",
        ],
    ),
    ("iproute2", "bin/ip", &["ip"]),
];
/// Where Debian's packages have libraries.
const LIBRARY_FOLDERS: [&str; 2] = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"];
/// Where the packet filter's extensions lie, in the package and on the handset.
const EXTENSIONS: &str = "usr/lib/aarch64-linux-gnu/xtables";
/// Files of `tests/emulated`, where they go, and whether they are programs.
const FILES: [(&str, &str, bool); 5] = [
    ("init", "init", true),
    ("getprop", "system/bin/getprop", true),
    ("build.prop", "system/build.prop", false),
    ("netd/ip.rules", "system/etc/netd/ip.rules", false),
    ("netd/ip6.rules", "system/etc/netd/ip6.rules", false),
];
/// Stands for an app's code where only its place matters.
const APK: &str = "my_product/del-app/com.sample.games/com.sample.games.apk";

/// Makes kernel and first file system.
pub fn make(cache: &Cache, folder: &Path) -> Outcome {
    let tree = folder.join("root");
    cache::remove(&tree)?;
    for inner in FOLDERS {
        cache::create(&tree.join(inner))?;
    }
    let mut wanted = BTreeSet::new();
    for (package, file, names) in PROGRAMS {
        let from = cache.path(&unpacked(package)).join(file);
        place_program(&from, &tree.join("system/bin"), names)?;
        needs(&from, &mut wanted)?;
    }
    extensions(cache, &tree, &mut wanted)?;
    libraries(cache, &tree, wanted)?;
    kernel(cache, folder, &tree)?;
    let shipped = cross::workspace().join("tests/emulated");
    for (from, to, is_program) in FILES {
        let to = tree.join(to);
        copy(&shipped.join(from), &to)?;
        let mode = if is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))
            .map_err(|error| told("set the mode of", &to, &error))?;
    }
    cache::write(&tree.join(APK), "a copy that the first boot installs\n")?;
    pack(&tree, &folder.join("initramfs"))
}

/// A program under its first name, and links to it under the others.
fn place_program(from: &Path, folder: &Path, names: &[&str]) -> Outcome {
    let Some((first, others)) = names.split_first() else {
        return Ok(());
    };
    copy(from, &folder.join(first))?;
    for other in others {
        let link = folder.join(other);
        symlink(first, &link).map_err(|error| told("link", &link, &error))?;
    }
    Ok(())
}

/// Adds the libraries that a file wants.
fn needs(file: &Path, wanted: &mut BTreeSet<String>) -> Outcome {
    let bytes = fs::read(file).map_err(|error| told("read", file, &error))?;
    let elf = elf::read(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
    wanted.extend(elf.needed);
    Ok(())
}

/// All extensions of the packet filter: which are wanted is the daemon's affair.
fn extensions(cache: &Cache, tree: &Path, wanted: &mut BTreeSet<String>) -> Outcome {
    let from = cache.path(&unpacked("iptables")).join(EXTENSIONS);
    for entry in fs::read_dir(&from).map_err(|error| told("read", &from, &error))? {
        let file = entry.map_err(|error| told("read", &from, &error))?;
        // Links among them lead to their like, which fs::copy follows.
        copy(&file.path(), &tree.join(EXTENSIONS).join(file.file_name()))?;
        needs(&file.path(), wanted)?;
    }
    Ok(())
}

/// Copies libraries until nothing is wanted any more.
fn libraries(cache: &Cache, tree: &Path, mut wanted: BTreeSet<String>) -> Outcome {
    let folder = tree.join("lib/aarch64-linux-gnu");
    cache::create(&folder)?;
    while let Some(name) = wanted.pop_first() {
        let place = folder.join(&name);
        if place.exists() {
            continue;
        }
        let from = find_library(cache, &name)?;
        copy(&from, &place)?;
        needs(&from, &mut wanted)?;
    }
    let loader = tree.join("lib/ld-linux-aarch64.so.1");
    symlink("aarch64-linux-gnu/ld-linux-aarch64.so.1", &loader)
        .map_err(|error| told("link", &loader, &error))
}

fn find_library(cache: &Cache, name: &str) -> Result<PathBuf, String> {
    super::PACKAGES
        .iter()
        .flat_map(|package| {
            LIBRARY_FOLDERS.map(|folder| cache.path(&unpacked(package)).join(folder).join(name))
        })
        .find(|path| path.exists())
        .ok_or_else(|| format!("no package of the handset's brings {name}: add it to PACKAGES"))
}

/// The kernel, and those of its modules that are on the list.
fn kernel(cache: &Cache, folder: &Path, tree: &Path) -> Outcome {
    let package = kernel_package(cache)?;
    let release = only_entry(&package.join("lib/modules"))?;
    let modules_folder = package.join("lib/modules").join(&release);
    let image = package.join(format!("boot/vmlinuz-{release}"));
    copy(&image, &folder.join("kernel"))?;
    let mut depmod = Command::new("depmod");
    run_command(depmod.arg("-b").arg(&package).arg(&release))?;
    let read = |name: &str| {
        let path = modules_folder.join(name);
        fs::read_to_string(&path).map_err(|error| told("read", &path, &error))
    };
    let list = cross::workspace().join("tests/emulated/modules");
    let list = fs::read_to_string(&list).map_err(|error| told("read", &list, &error))?;
    let groups = modules::resolve(&list, &read("modules.dep")?, &read("modules.builtin")?)?;
    for (group, files) in groups {
        let mut names = String::new();
        for file in files {
            let name = place_module(&modules_folder.join(&file), &tree.join("lib/modules"))?;
            names += &(name + "\n");
        }
        cache::write(&tree.join(format!("lib/modules/{group}.list")), &names)?;
    }
    Ok(())
}

/// Copies a module; one that is compressed is unpacked, so that any shell can load it.
fn place_module(from: &Path, folder: &Path) -> Result<String, String> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let to = folder.join(name.as_ref());
    copy(from, &to)?;
    match name.strip_suffix(".xz") {
        None => Ok(name.into_owned()),
        Some(plain) => {
            run_command(Command::new("xz").args(["-d", "-f"]).arg(&to))?;
            Ok(plain.to_owned())
        }
    }
}

/// The name of the one thing in a folder.
fn only_entry(folder: &Path) -> Result<String, String> {
    let mut entries = fs::read_dir(folder).map_err(|error| told("read", folder, &error))?;
    match (entries.next(), entries.next()) {
        (Some(Ok(entry)), None) => Ok(entry.file_name().to_string_lossy().into_owned()),
        _ => Err(format!("expected one folder in {}", folder.display())),
    }
}

/// Packs a tree as the kernel wants it (newc), compressed a little.
fn pack(tree: &Path, to: &Path) -> Outcome {
    const SCRIPT: &str = "cd \"$1\" && find . | LC_ALL=C sort | \
        cpio --quiet -o -H newc -R 0:0 --reproducible | gzip -n -1 >\"$2\"";
    let mut shell = Command::new("sh");
    shell.args(["-ec", SCRIPT, "pack"]).arg(tree);
    run_command(shell.arg(absolute(to)?))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| told("find", path, &error))
}
