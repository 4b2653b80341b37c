//! Who sent, what was lost, and what stands in for NFLOG.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::fchown,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use sakshi::{
    capture::{
        degradation::Weakness,
        live::{CaptureWay, LiveCapture, LiveConfig},
        nflog::rules::Commands,
    },
    input::{Gap, GapCause, Vantage},
};

use crate::lab::*;

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
                // At once, so that the groups compete to the last packet.
                thread::scope(|scope| {
                    scope.spawn(|| as_uid(10_050, || send_udp(NOBODY, FLOOD)));
                    scope.spawn(|| as_uid(1000, || send_udp(NOBODY, FLOOD)));
                });
            })
        });
        check_sums(&stream, &totals);
        let outbound = |seen: &&Seen| seen.vantage == Vantage::Output;
        let received = stream.packets.iter().filter(outbound).count();
        // Answers that say so were lost too; only what was sent is summed up here.
        let tally = totals.tally.unwrap();
        let lost = usize::try_from(tally.lost).unwrap();
        println!(
            "{variant}: sent {}, received {received}, lost {lost}",
            2 * FLOOD
        );
        assert!(lost > 0);
        assert_eq!(received + lost, 2 * FLOOD);
        assert_eq!(tally.counter, Some(2 * FLOOD as u64), "{tally:?}");
        let of_kernel = |gap: &Gap| gap.cause == GapCause::KernelLoss;
        assert!(stream.gaps.iter().all(of_kernel));
    }
}

/// Ends the senders, also when the test fails.
struct EndsSenders<'a>(&'a AtomicBool);

impl Drop for EndsSenders<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_stop_under_load_adds_up() {
    let Some(lab) = Lab::without_ipv6("a_stop_under_load_adds_up") else {
        return;
    };
    for variant in VARIANTS {
        let ended = AtomicBool::new(false);
        lab.on_handset(|| {
            thread::scope(|scope| {
                let _ends = EndsSenders(&ended);
                for uid in [10_050, 10_051] {
                    let ended = &ended;
                    scope.spawn(move || {
                        as_uid(uid, || {
                            while !ended.load(Ordering::Relaxed) {
                                send_udp(NOBODY, 100);
                            }
                        });
                    });
                }
                for receive_buffer_bytes in [8192, 16 * 1024 * 1024] {
                    let config = LiveConfig {
                        receive_buffer_bytes,
                        ..config(variant)
                    };
                    let (stream, totals) = capture(&config, |_| send_udp(NOBODY, FLOOD));
                    println!(
                        "{variant}: {} lost, {} received",
                        totals.lost, totals.received
                    );
                    // Packets that were received but not counted would make this underflow.
                    check_sums(&stream, &totals);
                }
            });
        });
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
    let sent = |packet: &Seen| packet.vantage == Vantage::Output && packet.version == 4;
    assert!(stream.packets.iter().any(sent));
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
