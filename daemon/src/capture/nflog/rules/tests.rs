//! Rules against what a listing says, without a packet filter.

use super::*;

#[test]
fn names_the_missing_command() {
    let commands = Commands {
        v4: "/nonexistent/iptables".into(),
        v6: "/nonexistent/ip6tables".into(),
    };
    let error = leftovers(&commands).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`/nonexistent/iptables` was not found; install iptables"),
        "{error}"
    );
}

/// What `leftovers` says when iptables ends like this.
fn told(script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iptables");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = path.to_str().unwrap().to_owned();
    let commands = Commands {
        v4: name.clone(),
        v6: name,
    };
    leftovers(&commands).unwrap_err().to_string()
}

#[test]
fn tells_a_held_lock_from_a_missing_right() {
    let held = told(
        "echo 'Another app is currently holding the xtables lock; still 0s 0us time ahead' \
         >&2; exit 4",
    );
    assert!(
        held.starts_with("another program has held the lock"),
        "{held}"
    );
    let denied =
        told("echo 'Could not fetch rule set: Permission denied (you must be root)' >&2; exit 4");
    assert!(
        denied.starts_with("packet filter rules need root"),
        "{denied}"
    );
    let other = told("echo 'can not initialize iptables table `filter`' >&2; exit 3");
    assert!(
        other.contains("(exit 3)") && other.contains("NFLOG target"),
        "{other}"
    );
}

#[test]
fn a_kernel_without_the_target_is_told_from_one_without_the_table() {
    use std::os::unix::fs::PermissionsExt;

    let target = "grep -q NFLOG && { echo 'No chain/target/match by that name' >&2; exit 2; }; \
                  exit 0";
    let table = "echo \"can't initialize iptables table `filter'\" >&2; exit 3";
    for (script, starts) in [
        (target, "the packet filter has no NFLOG target"),
        (table, "`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("iptables", "exit 0"), ("iptables-restore", script)] {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut rules = Rules {
            commands: Commands::named(folder.path().join("iptables").to_str().unwrap()),
            plan: Plan {
                users: vec![0],
                groups: plan::Groups {
                    system: 100,
                    apps: 101,
                },
                threshold: 64,
            },
            installed: Vec::new(),
        };
        let told = rules.install_family(Family::V4).unwrap_err().to_string();
        assert!(told.starts_with(starts), "{told}");
        assert!(told.contains("NFLOG target"), "{told}");
    }
}

#[test]
fn drops_every_jump_that_was_found() {
    let lines: Vec<String> = drop_jumps([2, 0])
        .iter()
        .map(|line| line.join(" "))
        .collect();
    assert_eq!(lines, ["-D OUTPUT -j sakshi_out"; 2]);
}
