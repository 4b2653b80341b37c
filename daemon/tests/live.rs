//! Live capture in network namespaces without an uplink. Needs root, `ip` and iptables; without
//! them each test says that it was not run, except where `CI` is set: there it fails.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsFd, unix::fs::fchown},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    process::Uid,
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_res_uid},
};
use sakshi::{
    capture::{
        degradation::Weakness,
        live::{CaptureWay, LiveBatches, LiveCapture, LiveConfig, LiveTotals, clean},
        nflog::{
            rules::{Commands, Finding, leftovers},
            socket::{Delivery, GroupSocket},
        },
    },
    input::{Event, Gap, GapCause, Input, OwnerFact, Vantage},
    platform::clock::{Clock, SystemClock},
};

const VARIANTS: [&str; 2] = ["legacy", "nft"];
const TOOLS: [&str; 3] = ["ip", "iptables-legacy", "iptables-nft"];
const PEER4: &str = "10.77.0.1";
const PEER6: &str = "fd77::1";
/// A port of the peer at which nobody listens.
const NOBODY: &str = "10.77.0.1:9";
/// Packets of the tests that send as fast as they can.
const FLOOD: usize = 20_000;

/// A handset's and its peer's namespace, joined by a veth pair; deleted at the end.
struct Lab {
    handset: String,
    peer: String,
}

static LABS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// None, with a line that says why, where this cannot be tested.
    fn new(test: &str) -> Option<Self> {
        Self::build(test, true)
    }

    /// A lab in which the kernel sends nothing of its own: no neighbour discovery, no multicast
    /// reports.
    fn without_ipv6(test: &str) -> Option<Self> {
        Self::build(test, false)
    }

    fn build(test: &str, ipv6: bool) -> Option<Self> {
        let able = rustix::process::geteuid().is_root()
            && TOOLS
                .iter()
                .all(|tool| Command::new(tool).arg("-V").output().is_ok());
        if !able {
            let why = format!("{test} needs root and {}", TOOLS.join(", "));
            assert!(std::env::var_os("CI").is_none(), "{why}");
            println!("not run: {why}");
            return None;
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("sk{}n{number}{end}", std::process::id());
        let lab = Self {
            handset: name("h"),
            peer: name("p"),
        };
        let Self { handset, peer } = &lab;
        for namespace in [handset, peer] {
            run("ip", &["netns", "add", namespace]);
            if !ipv6 {
                inside(namespace, silence);
            }
        }
        let link = format!("link add v0 netns {handset} type veth peer name v0 netns {peer}");
        run("ip", &link.split(' ').collect::<Vec<_>>());
        for (namespace, v4, v6) in [
            (handset, "10.77.0.2/24", "fd77::2/64"),
            (peer, "10.77.0.1/24", "fd77::1/64"),
        ] {
            let v6 = format!("addr add {v6} dev v0 nodad");
            for line in [
                "link set lo up",
                &format!("addr add {v4} dev v0"),
                if ipv6 { &v6 } else { "link set lo up" },
                "link set v0 up",
            ] {
                let mut args = vec!["-n", namespace];
                args.extend(line.split(' '));
                run("ip", &args);
            }
        }
        Some(lab)
    }

    fn on_handset<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.handset, body)
    }

    fn on_peer<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.peer, body)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.handset, &self.peer] {
            let _ = Command::new("ip")
                .args(["netns", "del", namespace])
                .status();
        }
    }
}

/// Runs `body` on a thread of its own inside a namespace. Its threads and children are inside too.
fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    on_thread(|| {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body()
    })
}

/// Does something on a thread that runs as `uid`.
fn as_uid<T: Send>(uid: u32, body: impl FnOnce() -> T + Send) -> T {
    on_thread(|| {
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).unwrap();
        body()
    })
}

fn on_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// No IPv6 on what will be made in this namespace.
fn silence() {
    for which in ["all", "default"] {
        run(
            "sh",
            &[
                "-c",
                &format!("echo 1 > /proc/sys/net/ipv6/conf/{which}/disable_ipv6"),
            ],
        );
    }
}

fn commands(variant: &str) -> Commands {
    Commands {
        v4: format!("iptables-{variant}"),
        v6: format!("ip6tables-{variant}"),
    }
}

fn config(variant: &str) -> LiveConfig {
    LiveConfig {
        way: CaptureWay::Nflog,
        commands: commands(variant),
        // Tests look when they want to.
        check_every: Duration::from_hours(1),
        ..LiveConfig::default()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn send_udp(to: &str, count: usize) {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    for _ in 0..count {
        socket.send_to(b"probe", to).unwrap();
    }
}

/// A packet as the tests need it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: Option<u32>,
    vantage: Vantage,
    version: u8,
    frame: u64,
}

/// All that came out of a capture.
#[derive(Debug, Default)]
struct Stream {
    packets: Vec<Seen>,
    facts: Vec<OwnerFact>,
    gaps: Vec<Gap>,
}

impl Stream {
    fn lost(&self) -> u64 {
        self.gaps.iter().filter_map(|gap| gap.packets).sum()
    }

    fn of_uid(&self, uid: u32, version: u8) -> usize {
        self.packets
            .iter()
            .filter(|packet| packet.uid == Some(uid) && packet.version == version)
            .count()
    }
}

fn read_all(batches: &LiveBatches) -> Stream {
    let mut stream = Stream::default();
    while let Some(batch) = batches.recv() {
        for input in batch.iter() {
            match input {
                Input::Packet(packet) => stream.packets.push(Seen {
                    uid: packet.uid,
                    vantage: packet.vantage,
                    version: packet.data.first().map_or(0, |byte| byte >> 4),
                    frame: packet.frame,
                }),
                Input::Event(Event::OwnerFact(fact)) => stream.facts.push(fact.clone()),
                Input::Event(Event::Gap(gap)) => stream.gaps.push(gap.clone()),
                Input::Event(_) => {}
            }
        }
        batches.give_back(batch);
    }
    stream
}

/// Captures while `body` runs, and reads along.
fn capture(config: &LiveConfig, body: impl FnOnce(&LiveCapture)) -> (Stream, LiveTotals) {
    let started = LiveCapture::start(config, &clock()).unwrap();
    let batches = started.batches;
    let reader = thread::spawn(move || read_all(&batches));
    body(&started.capture);
    let totals = started.capture.stop().unwrap();
    (reader.join().unwrap(), totals)
}

/// What every capture must come to, whatever was lost.
fn check_sums(stream: &Stream, totals: &LiveTotals) {
    let counted: u64 = totals
        .groups
        .iter()
        .map(|group| group.counted.unwrap())
        .sum();
    let received = u64::try_from(stream.packets.len()).unwrap();
    assert_eq!(totals.queue_dropped, 0);
    assert_eq!(received, totals.received);
    assert_eq!(stream.lost(), totals.lost);
    assert_eq!(counted - received, stream.lost(), "{:?}", stream.gaps);
    let frames: Vec<u64> = stream.packets.iter().map(|packet| packet.frame).collect();
    assert_eq!(frames, (1..=received).collect::<Vec<_>>());
}

#[test]
fn packets_carry_the_uid_of_who_sent_them() {
    let Some(lab) = Lab::new("packets_carry_the_uid_of_who_sent_them") else {
        return;
    };
    let listener = lab.on_peer(|| TcpListener::bind((PEER4, 8443)).unwrap());
    for variant in VARIANTS {
        let (stream, totals) = lab.on_handset(|| {
            capture(&config(variant), |_| {
                for uid in [10_050, 10_051] {
                    as_uid(uid, || {
                        send_udp(NOBODY, 7);
                        send_udp(&format!("[{PEER6}]:9"), 5);
                    });
                }
                as_uid(10_052, || TcpStream::connect((PEER4, 8443)).unwrap());
                as_uid(1_010_050, || send_udp(NOBODY, 3));
                as_uid(1_001_000, || send_udp(NOBODY, 2));
            })
        });
        for uid in [10_050, 10_051] {
            assert_eq!((stream.of_uid(uid, 4), stream.of_uid(uid, 6)), (7, 5));
        }
        assert!(stream.of_uid(10_052, 4) >= 1, "{stream:?}");
        assert_eq!(stream.of_uid(1_010_050, 4), 3);
        assert_eq!(stream.of_uid(1_001_000, 4), 2);
        // The answers came through the chain at INPUT.
        let inbound = |seen: &&Seen| seen.vantage == Vantage::Input;
        assert!(stream.packets.iter().filter(inbound).count() >= 2);
        check_sums(&stream, &totals);
        assert_eq!(totals.lost, 0);
    }
    drop(listener);
}

#[test]
fn a_chowned_resolver_socket_is_its_app_s() {
    let Some(lab) = Lab::new("a_chowned_resolver_socket_is_its_app_s") else {
        return;
    };
    let resolver = SocketAddr::new(PEER4.parse::<IpAddr>().unwrap(), 53);
    // Somebody is there, but never answers: the sockets stay open and without an error.
    let silent = lab.on_peer(|| UdpSocket::bind(resolver).unwrap());
    let mut sockets = Vec::new();
    let (stream, _) = lab.on_handset(|| {
        capture(&config("legacy"), |_| {
            for (uid, connected) in [(10_055, true), (10_056, false)] {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                fchown(&socket, Some(uid), None).unwrap();
                if connected {
                    socket.connect(resolver).unwrap();
                    socket.send(b"question").unwrap();
                } else {
                    socket.send_to(b"question", resolver).unwrap();
                }
                sockets.push(socket);
            }
        })
    });
    assert_eq!(stream.of_uid(0, 4), 2, "{stream:?}");
    let owners: Vec<Option<u32>> = stream
        .facts
        .iter()
        .filter(|fact| fact.remote == resolver)
        .map(|fact| fact.uid)
        .collect();
    assert_eq!(owners, [Some(10_055), Some(10_056)]);
    drop((silent, sockets));
}

#[test]
fn overload_is_counted_to_the_last_packet() {
    let Some(lab) = Lab::without_ipv6("overload_is_counted_to_the_last_packet") else {
        return;
    };
    for variant in VARIANTS {
        let config = LiveConfig {
            receive_buffer_bytes: 4096,
            ..config(variant)
        };
        let (stream, totals) = lab.on_handset(|| {
            capture(&config, |_| {
                as_uid(10_050, || send_udp(NOBODY, FLOOD));
                as_uid(1000, || send_udp(NOBODY, FLOOD));
            })
        });
        check_sums(&stream, &totals);
        let outbound = |seen: &&Seen| seen.vantage == Vantage::Output;
        let received = stream.packets.iter().filter(outbound).count();
        let inbound_lost = totals.groups[2].lost;
        let lost = usize::try_from(totals.lost - inbound_lost).unwrap();
        println!(
            "{variant}: sent {}, received {received}, lost {lost}",
            2 * FLOOD
        );
        assert!(lost > 0);
        assert_eq!(received + lost, 2 * FLOOD);
        let of_kernel = |gap: &Gap| gap.cause == GapCause::KernelLoss;
        assert!(stream.gaps.iter().all(of_kernel));
    }
}

#[test]
fn the_buffers_that_are_used_hold_a_flood_or_count_it() {
    let Some(lab) = Lab::without_ipv6("the_buffers_that_are_used_hold_a_flood_or_count_it") else {
        return;
    };
    let (stream, totals) = lab.on_handset(|| {
        silence();
        capture(&config("legacy"), |_| {
            as_uid(10_050, || send_udp(NOBODY, FLOOD));
        })
    });
    check_sums(&stream, &totals);
    println!("sent {FLOOD}, lost {}", stream.lost());
    let lost = usize::try_from(totals.groups[1].lost).unwrap();
    assert_eq!(stream.of_uid(10_050, 4) + lost, FLOOD);
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
                (GapCause::RulesMissing, None),
                (GapCause::RulesMissing, None),
                (GapCause::Degraded, Some(0))
            ]
        );
        assert_eq!(totals.repairs, 2);
        check_sums(&stream, &totals);
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
            }
            let before = saved(variant);
            capture(&config(variant), |_| {
                let during = saved(variant);
                assert!(during.contains("-A OUTPUT -j bw_OUTPUT\n-A OUTPUT -j sakshi_out"));
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
            assert!(clean(&commands(variant)).unwrap());
            assert!(!clean(&commands(variant)).unwrap());
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
fn without_match(folder: &std::path::Path, name: &str, lacking: &str) -> String {
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
        let weaknesses: Vec<Weakness> = started
            .degradations
            .iter()
            .map(|degradation| degradation.weakness)
            .collect();
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
        assert_eq!(groups, [100, 102, 103]);

        let few = LiveConfig {
            groups: 101..=103,
            ..config("legacy")
        };
        let error = LiveCapture::start(&few, &clock()).err().unwrap();
        assert!(error.to_string().contains("groups 101 to 103"), "{error}");
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

#[test]
fn without_iptables_a_packet_socket_stands_in() {
    let Some(lab) = Lab::new("without_iptables_a_packet_socket_stands_in") else {
        return;
    };
    let config = LiveConfig {
        way: CaptureWay::Auto,
        commands: Commands {
            v4: "/nonexistent/iptables".into(),
            v6: "/nonexistent/ip6tables".into(),
        },
        ..LiveConfig::default()
    };
    let _silent = lab.on_peer(|| UdpSocket::bind((PEER4, 9)).unwrap());
    let (stream, why) = lab.on_handset(|| {
        let started = LiveCapture::start(&config, &clock()).unwrap();
        assert_eq!(started.capture.way(), CaptureWay::Packet);
        let batches = started.batches;
        let reader = thread::spawn(move || read_all(&batches));
        let socket = as_uid(10_050, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((PEER4, 9)).unwrap();
            socket.send(b"probe").unwrap();
            socket
        });
        started.capture.stop().unwrap();
        drop(socket);
        (reader.join().unwrap(), started.degradations)
    });
    assert_eq!(why[0].weakness, Weakness::PacketSocket);
    let named = why[0]
        .detail
        .contains("`/nonexistent/iptables` was not found");
    assert!(named, "{why:?}");
    let fact = stream
        .facts
        .iter()
        .find(|fact| fact.remote.port() == 9)
        .unwrap();
    assert_eq!(fact.uid, Some(10_050));
    let both = |packet: &Seen| packet.vantage == Vantage::Both && packet.version == 4;
    assert!(stream.packets.iter().any(both));
}

/// Packets that left the handset, by the interface's own count.
fn sent_by_interface() -> u64 {
    let text = run("ip", &["-s", "-j", "link", "show", "v0"]);
    let (_, tx) = text.split_once("\"tx\":").unwrap();
    let (_, count) = tx.split_once("\"packets\":").unwrap();
    count.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn the_daemon_sends_nothing() {
    let Some(lab) = Lab::without_ipv6("the_daemon_sends_nothing") else {
        return;
    };
    for way in [CaptureWay::Nflog, CaptureWay::Packet] {
        let sent = lab.on_handset(|| {
            let before = sent_by_interface();
            let config = LiveConfig {
                way,
                ..config("legacy")
            };
            capture(&config, |capture| {
                capture.check().unwrap();
            });
            sent_by_interface() - before
        });
        assert_eq!(sent, 0, "{way:?}");
    }
}
