//! What happens to the packet filter rules of the machine.

use std::{collections::BTreeMap, path::Path};

use sakshi::{
    capture::{
        degradation::Weakness,
        live::{CaptureWay, LiveCapture, LiveConfig, Started, clean},
        nflog::{
            rules::{Commands, Finding, leftovers},
            socket::{Delivery, GroupSocket},
        },
    },
    input::GapCause,
};

use crate::lab::*;

/// What is weaker than it should be, without what depends on the machine's BPF file system.
fn weaknesses(started: &Started) -> Vec<Weakness> {
    started
        .degradations
        .iter()
        .map(|degradation| degradation.weakness)
        .filter(|weakness| !matches!(weakness, Weakness::NoExactOwners | Weakness::NoCharges))
        .collect()
}

#[test]
fn rules_that_vanish_are_set_anew_with_a_gap() {
    let Some(lab) = Lab::without_ipv6("rules_that_vanish_are_set_anew_with_a_gap") else {
        return;
    };
    for variant in VARIANTS {
        let iptables = format!("iptables-{variant}");
        let probe = |count| as_uid(10_050, || send_udp(NOBODY, count));
        let (stream, totals) = lab.on_handset(|| {
            capture(&config(variant), |capture| {
                probe(10);
                assert_eq!(capture.check().unwrap(), Some(Finding::Intact));
                run(&iptables, &["-w", "-F", "sakshi_out"]);
                probe(1000);
                assert_eq!(capture.check().unwrap(), Some(Finding::Damaged));
                probe(20);
                run(&iptables, &["-w", "-F", "OUTPUT"]);
                probe(1000);
                assert_eq!(capture.check().unwrap(), Some(Finding::JumpsWrong));
                probe(30);
                run(&iptables, &["-w", "-A", "OUTPUT", "-j", "ACCEPT"]);
                assert_eq!(capture.check().unwrap(), Some(Finding::JumpNotLast));
                probe(40);
                assert_eq!(capture.check().unwrap(), Some(Finding::JumpNotLast));
            })
        });
        assert_eq!(stream.of_uid(10_050, 4), 100);
        let gaps: Vec<(GapCause, Option<u64>)> = stream
            .gaps
            .iter()
            .map(|gap| (gap.cause, gap.packets))
            .collect();
        assert_eq!(
            gaps,
            [
                (GapCause::RulesMissing, Some(1000)),
                (GapCause::RulesMissing, Some(1000)),
                (GapCause::Degraded, Some(0))
            ]
        );
        assert_eq!(totals.repairs, 2);
        check_sums(&stream, &totals);
        let tally = totals.tally.unwrap();
        assert_eq!((tally.counter, tally.missed), (Some(2100), 2000));
        assert_eq!((tally.received, tally.lost), (100, 0));
    }
}

#[test]
fn what_others_decide_before_ours_is_told_and_explains_the_sums() {
    let Some(lab) = Lab::without_ipv6("what_others_decide_before_ours_is_told") else {
        return;
    };
    for variant in VARIANTS {
        let iptables = format!("iptables-{variant}");
        let rule = |line: &str| run(&iptables, &line.split(' ').collect::<Vec<_>>());
        let probe = |to, count| as_uid(10_050, || send_udp(to, count));
        let (weak, stream, totals) = lab.on_handset(|| {
            rule("-w -N fw_OUTPUT");
            rule("-w -A OUTPUT -j fw_OUTPUT");
            rule("-w -A fw_OUTPUT -p udp --dport 10 -j ACCEPT");
            rule("-w -A fw_OUTPUT -p udp --dport 11 -j DROP");
            let started = start(&config(variant));
            let weak = weaknesses(&started);
            let batches = started.batches;
            let reader = std::thread::spawn(move || read_all(&batches));
            let capture = started.capture;
            let look = || assert_eq!(capture.check().unwrap(), Some(Finding::Intact));
            look();
            probe(NOBODY, 5);
            probe("10.77.0.1:10", 7);
            // A firewall that drops refuses the sender too, which is not the point here.
            as_uid(10_050, || {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                (0..9).for_each(|_| drop(socket.send_to(b"x", "10.77.0.1:11")));
            });
            look();
            look();
            // A hole in which the other rules decided nothing still has its count.
            rule("-w -F sakshi_out");
            probe(NOBODY, 50);
            assert_eq!(capture.check().unwrap(), Some(Finding::Damaged));
            // One in which they may have has none.
            rule("-w -F sakshi_out");
            probe(NOBODY, 60);
            probe("10.77.0.1:10", 3);
            assert_eq!(capture.check().unwrap(), Some(Finding::Damaged));
            let totals = capture.stop().unwrap();
            rule("-w -F OUTPUT");
            rule("-w -F fw_OUTPUT");
            rule("-w -X fw_OUTPUT");
            (weak, reader.join().unwrap(), totals)
        });
        assert_eq!(weak, [Weakness::EarlierAccept, Weakness::EarlierDrop]);
        check_sums(&stream, &totals);
        let tally = totals.tally.unwrap();
        assert_eq!((tally.counter, tally.received), (Some(134), 5), "{tally:?}");
        assert_eq!((tally.elsewhere, tally.missed), (16, 50));
        assert_eq!(tally.unattributed, 63);
        assert_eq!(stream.in_gaps(GapCause::DecidedEarlier), 16);
        let holes: Vec<Option<u64>> = stream
            .gaps
            .iter()
            .filter(|gap| gap.cause == GapCause::RulesMissing)
            .map(|gap| gap.packets)
            .collect();
        assert_eq!(holes, [Some(50), None]);
        let told = |text: &str| stream.gaps.iter().any(|gap| gap.detail.contains(text));
        assert!(told("at most 63 packets"), "{:?}", stream.gaps);
        assert!(
            told("`-A fw_OUTPUT -p udp -m udp --dport 11 -j DROP` 9"),
            "{:?}",
            stream.gaps
        );
    }
}

/// The raw table is somebody's to flush too: then there is no total, and that is said.
#[test]
fn a_counter_that_vanishes_is_set_anew_and_gives_no_total() {
    let Some(lab) = Lab::without_ipv6("a_counter_that_vanishes_is_set_anew") else {
        return;
    };
    for variant in VARIANTS {
        let iptables = format!("iptables-{variant}");
        let probe = |count| as_uid(10_050, || send_udp(NOBODY, count));
        let (stream, totals) = lab.on_handset(|| {
            capture(&config(variant), |capture| {
                assert_eq!(capture.check().unwrap(), Some(Finding::Intact));
                run(&iptables, &["-w", "-t", "raw", "-F"]);
                probe(10);
                assert_eq!(capture.check().unwrap(), Some(Finding::Intact));
                assert_eq!(capture.check().unwrap(), Some(Finding::Intact));
                run(&iptables, &["-w", "-F", "OUTPUT"]);
                probe(20);
                assert_eq!(capture.check().unwrap(), Some(Finding::JumpsWrong));
            })
        });
        check_sums(&stream, &totals);
        let tally = totals.tally.unwrap();
        assert_eq!(
            (tally.counter, tally.received, tally.missed),
            (None, 10, 20)
        );
        let gaps: Vec<(GapCause, Option<u64>)> = stream
            .gaps
            .iter()
            .map(|gap| (gap.cause, gap.packets))
            .collect();
        assert_eq!(
            gaps,
            [
                (GapCause::Degraded, Some(0)),
                (GapCause::RulesMissing, Some(20))
            ]
        );
    }
}

/// The rules of both families, without comments and counters.
fn saved(variant: &str) -> String {
    let mut text = String::new();
    for command in ["iptables", "ip6tables"] {
        let rules = run(&format!("{command}-{variant}-save"), &[]);
        for line in rules.lines().filter(|line| !line.starts_with('#')) {
            text.push_str(line.split(" [").next().unwrap_or_default());
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_rules_are_left_as_they_were_found() {
    let Some(lab) = Lab::new("the_rules_are_left_as_they_were_found") else {
        return;
    };
    for variant in VARIANTS {
        lab.on_handset(|| {
            for command in ["iptables", "ip6tables"] {
                let command = format!("{command}-{variant}");
                run(&command, &["-w", "-N", "bw_OUTPUT"]);
                run(&command, &["-w", "-A", "OUTPUT", "-j", "bw_OUTPUT"]);
                run(&command, &["-w", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT"]);
                // On a phone netd has rules there; the kernel keeps an empty table otherwise.
                let netd = ["-w", "-t", "raw", "-A", "OUTPUT", "-p", "icmp"];
                run(&command, &netd);
            }
            let before = saved(variant);
            capture(&config(variant), |_| {
                let during = saved(variant);
                assert!(during.contains("-A OUTPUT -j bw_OUTPUT\n-A OUTPUT -j sakshi_out"));
                assert!(during.contains("-A OUTPUT -j sakshi_raw\n-A OUTPUT -p icmp"));
            });
            assert_eq!(saved(variant), before);

            // A run that crashed leaves its rules; the next start and `clean` take them away.
            let crashed = LiveCapture::start(&config(variant), &clock()).unwrap();
            std::mem::forget(crashed.capture);
            assert!(!leftovers(&commands(variant)).unwrap().is_empty());
            let again = LiveCapture::start(&config(variant), &clock()).unwrap();
            let jumps = saved(variant).matches("-A OUTPUT -j sakshi_out").count();
            assert_eq!(jumps, 2, "one a family");
            std::mem::forget(again.capture);
            assert!(clean(&commands(variant), None).unwrap());
            assert!(!clean(&commands(variant), None).unwrap());
            assert_eq!(saved(variant), before);
            assert!(leftovers(&commands(variant)).unwrap().is_empty());
        });
    }
}

#[test]
fn works_without_iptables_restore() {
    let Some(lab) = Lab::new("works_without_iptables_restore") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let link = |name: &str| {
        let target = run("sh", &["-c", &format!("command -v {name}-legacy")]);
        let path = folder.path().join(name);
        std::os::unix::fs::symlink(target.trim(), &path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let config = LiveConfig {
        commands: Commands {
            v4: link("iptables"),
            v6: link("ip6tables"),
        },
        ..config("legacy")
    };
    lab.on_handset(|| {
        let (stream, totals) = capture(&config, |_| {
            as_uid(10_050, || send_udp(NOBODY, 4));
        });
        assert_eq!(stream.of_uid(10_050, 4), 4);
        check_sums(&stream, &totals);
        assert!(!saved("legacy").contains("sakshi"));
    });
}

/// A command that refuses a match, as on a kernel that lacks it, and else passes on to the real one.
fn without_match(folder: &Path, name: &str, lacking: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    for suffix in ["", "-restore"] {
        let script = format!(
            "#!/bin/sh\ninput=$(mktemp)\ntrap 'rm -f \"$input\"' EXIT\n\
             if [ -n '{suffix}' ]; then cat > \"$input\"; fi\n\
             if grep -q '{lacking}' \"$input\"; then\n\
             echo \"Couldn't load match {lacking}\" >&2; exit 2\nfi\n\
             {name}-legacy{suffix} \"$@\" < \"$input\"\n"
        );
        let path = folder.join(format!("{name}{suffix}"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_match_that_the_kernel_lacks_is_told() {
    let Some(lab) = Lab::new("a_match_that_the_kernel_lacks_is_told") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = LiveConfig {
        commands: Commands {
            v4: without_match(folder.path(), "iptables", "hashlimit"),
            v6: without_match(folder.path(), "ip6tables", "m owner"),
        },
        ..config("legacy")
    };
    lab.on_handset(|| {
        let started = LiveCapture::start(&config, &clock()).unwrap();
        let weaknesses = weaknesses(&started);
        assert_eq!(
            weaknesses,
            [Weakness::NoFirstReplies, Weakness::NoOwnerMatch],
            "{:?}",
            started.degradations
        );
        let rules = saved("legacy");
        assert!(rules.contains("-m bpf") && !rules.contains("sakshi_probe"));
        started.capture.stop().unwrap();
        assert!(!saved("legacy").contains("sakshi"));
    });
}

#[test]
fn without_a_raw_table_holes_have_no_count() {
    let Some(lab) = Lab::without_ipv6("without_a_raw_table_holes_have_no_count") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = LiveConfig {
        commands: Commands {
            v4: without_raw(folder.path()),
            v6: "ip6tables-legacy".to_owned(),
        },
        ..config("legacy")
    };
    lab.on_handset(|| {
        let (stream, totals) = capture(&config, |capture| {
            run("iptables-legacy", &["-w", "-F", "OUTPUT"]);
            as_uid(10_050, || send_udp(NOBODY, 10));
            assert_eq!(capture.check().unwrap(), Some(Finding::JumpsWrong));
            as_uid(10_050, || send_udp(NOBODY, 5));
        });
        let tally = totals.tally.unwrap();
        assert_eq!((tally.counter, tally.received, tally.missed), (None, 5, 0));
        assert_eq!(stream.gaps.len(), 1);
        assert_eq!(stream.gaps[0].packets, None, "never 0 for unknown");
        let started = LiveCapture::start(&config, &clock()).unwrap();
        let weaknesses = weaknesses(&started);
        assert_eq!(weaknesses, [Weakness::NoIndependentCounter]);
        started.capture.stop().unwrap();
    });
}

/// A command for a kernel without the raw table, and else passes on to the real one.
fn without_raw(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;

    for suffix in ["", "-restore"] {
        let script = format!(
            "#!/bin/sh\ninput=$(mktemp)\ntrap 'rm -f \"$input\"' EXIT\n\
             if [ -n '{suffix}' ]; then cat > \"$input\"; fi\n\
             case \"$*\" in *'-t raw'*) refuse=1;; esac\n\
             if [ -n \"$refuse\" ] || grep -q '^[*]raw' \"$input\"; then\n\
             echo \"can't initialize iptables table raw: Table does not exist\" >&2; exit 3\nfi\n\
             iptables-legacy{suffix} \"$@\" < \"$input\"\n"
        );
        let path = folder.join(format!("iptables{suffix}"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder.join("iptables").to_str().unwrap().to_owned()
}

#[test]
fn a_taken_group_is_stepped_over() {
    let Some(lab) = Lab::new("a_taken_group_is_stepped_over") else {
        return;
    };
    lab.on_handset(|| {
        let delivery = Delivery {
            threshold: 1,
            flush_hundredths: 2,
            gather_bytes: 65_536,
            receive_buffer_bytes: 65_536,
        };
        let _taken = GroupSocket::open(101, &delivery).unwrap();
        let (_, totals) = capture(&config("legacy"), |_| {});
        let groups: Vec<u16> = totals.groups.iter().map(|group| group.group).collect();
        assert_eq!(groups, [100, 102]);

        let few = LiveConfig {
            groups: 101..=102,
            ..config("legacy")
        };
        let error = LiveCapture::start(&few, &clock()).err().unwrap();
        assert!(error.to_string().contains("groups 101 to 102"), "{error}");
        assert!(leftovers(&commands("legacy")).unwrap().is_empty());
    });
}

#[test]
fn without_privilege_it_says_so() {
    let Some(lab) = Lab::new("without_privilege_it_says_so") else {
        return;
    };
    let ways = [
        ("nflog", CaptureWay::Nflog),
        ("packet", CaptureWay::Packet),
        ("auto", CaptureWay::Auto),
    ];
    let errors: BTreeMap<&str, String> = lab.on_handset(|| {
        as_uid(2000, || {
            ways.into_iter()
                .map(|(name, way)| {
                    let config = LiveConfig {
                        way,
                        ..config("legacy")
                    };
                    let error = LiveCapture::start(&config, &clock()).err().unwrap();
                    (name, error.to_string())
                })
                .collect()
        })
    });
    assert!(errors["nflog"].contains("CAP_NET_ADMIN"), "{errors:?}");
    assert!(errors["packet"].contains("CAP_NET_RAW"), "{errors:?}");
    assert!(errors["auto"].contains("CAP_NET_RAW"), "{errors:?}");
}
