//! The ring of the packet socket: every packet is there or counted, and says when and where.

use std::{net::UdpSocket, sync::mpsc, thread, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sakshi::{
    capture::packet_socket::{
        block::frames,
        filter::Filter,
        ring::{BLOCK_BYTES, BLOCKS_MIN, RETIRE_MILLIS, Ring},
    },
    input::{Event, GapCause, Input, TimeBasis, Vantage},
};

use crate::lab::*;

/// Reads until nothing came for some of the kernel's intervals; how many packets there were.
fn drain(ring: &mut Ring) -> u64 {
    let mut read = 0;
    for _ in 0..10_000 {
        if let Some(block) = ring.next_block() {
            let all: Vec<_> = frames(block.body()).collect::<Result<_, _>>().unwrap();
            read += all.len() as u64;
            continue;
        }
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(RETIRE_MILLIS) * 10_000_000,
        };
        if poll(&mut [PollFd::new(ring, PollFlags::IN)], Some(&wait)).unwrap() == 0 {
            return read;
        }
    }
    panic!("the ring never ran dry");
}

#[test]
fn what_finds_no_room_in_the_ring_is_counted() {
    let Some(lab) = Lab::without_ipv6("what_finds_no_room_in_the_ring_is_counted") else {
        return;
    };
    lab.on_handset(|| {
        let mut ring = Ring::open(&Filter::ring().unwrap(), 1).unwrap();
        assert_eq!(ring.bytes(), BLOCKS_MIN * BLOCK_BYTES);
        let mut sums = (0, 0, 0);
        // Twice, so that the ring is seen to go on after it was full.
        for round in 1..=2_u64 {
            send_udp(NOBODY, FLOOD);
            let read = drain(&mut ring);
            let statistics = ring.statistics().unwrap();
            let packets = u64::from(statistics.packets);
            let drops = u64::from(statistics.drops);
            sums = (sums.0 + read, sums.1 + packets, sums.2 + drops);
            assert!(read > 0 && drops > 0, "round {round}: {read} {drops}");
            // ICMP errors of the peer are among them.
            assert_eq!(read + drops, packets, "round {round}");
            assert!(packets >= FLOOD as u64);
        }
        ring.close_intake().unwrap();
        send_udp(NOBODY, 100);
        assert_eq!(
            (drain(&mut ring), ring.statistics().unwrap().packets),
            (0, 0)
        );
        println!("read {}, counted {}, dropped {}", sums.0, sums.1, sums.2);
    });
}

#[test]
fn overload_of_the_packet_socket_is_counted_to_the_last_packet() {
    let Some(lab) = Lab::without_ipv6("overload_of_the_packet_socket_is_counted") else {
        return;
    };
    let config = sakshi::capture::live::LiveConfig {
        ring_bytes: 1,
        ..packet_config()
    };
    let (stream, totals) = lab.on_handset(|| {
        capture(&config, |_| {
            thread::scope(|scope| {
                for uid in [10_050, 10_051, 1000] {
                    scope.spawn(move || as_uid(uid, || send_udp(NOBODY, FLOOD)));
                }
            });
        })
    });
    let sent = |seen: &&Seen| seen.vantage == Vantage::Output;
    let received = stream.packets.iter().filter(sent).count();
    println!("received {received}, lost {}", totals.lost);
    assert_eq!(stream.packets.len() as u64, totals.received);
    assert_eq!(stream.lost() - totals.queue_dropped, totals.lost);
    // ICMP errors that found no room are among the lost ones, but none is there unless some packet
    // of ours was lost with it: together they are at least what was sent.
    let all = received as u64 + stream.lost();
    assert!(all >= 3 * FLOOD as u64, "{all}");
    if totals.lost == 0 {
        assert_eq!(received as u64 + totals.queue_dropped, 3 * FLOOD as u64);
    }
}

#[test]
fn packets_have_the_kernel_s_time_and_order_and_new_interfaces_are_seen() {
    let Some(lab) = Lab::without_ipv6("packets_have_the_kernel_s_time_and_order") else {
        return;
    };
    let answering = lab.on_peer(|| UdpSocket::bind((PEER4, 9)).unwrap());
    let (report, seen) = mpsc::channel();
    let (all, gaps) = lab.on_handset(move || {
        let started = start(&packet_config());
        let batches = started.batches;
        let reader = thread::spawn(move || {
            let mut gaps = Vec::new();
            while let Some(batch) = batches.recv() {
                for input in batch.iter() {
                    match input {
                        // What comes after all was seen interests nobody.
                        Input::Packet(packet) => {
                            let _ = report.send((packet.at, packet.time_basis, packet.vantage));
                        }
                        Input::Event(Event::Gap(gap)) => gaps.push(gap.clone()),
                        Input::Event(_) => {}
                    }
                }
            }
            gaps
        });
        let socket = UdpSocket::bind("10.77.0.2:0").unwrap();
        socket.send_to(b"question", (PEER4, 9)).unwrap();
        let mut buffer = [0; 64];
        let (_, from) = answering.recv_from(&mut buffer).unwrap();
        answering.send_to(b"reply", from).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.recv(&mut buffer).unwrap();
        // An interface that comes later.
        for line in [
            "link add v9 type veth peer name v8",
            "addr add 10.99.0.1/24 dev v9",
            "link set v9 up",
            "link set v8 up",
            "neigh add 10.99.0.9 lladdr 02:00:00:00:00:09 dev v9",
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>());
        }
        let mut all: Vec<_> = seen.iter().take(2).collect();
        // What is sent before the kernel has noticed that the new link is up is not sent.
        let later = (0..1_000).find_map(|_| {
            send_udp("10.99.0.9:9", 1);
            seen.recv_timeout(Duration::from_millis(10)).ok()
        });
        all.extend(later);
        started.capture.stop().unwrap();
        (all, reader.join().unwrap())
    });
    // The other end of the new pair lies here too, and what comes in there is for somebody else.
    let vantages: Vec<Vantage> = all.iter().map(|packet| packet.2).collect();
    assert_eq!(vantages, [Vantage::Output, Vantage::Input, Vantage::Output]);
    assert!(all.iter().all(|packet| packet.1 == TimeBasis::Kernel));
    assert!(all.is_sorted_by_key(|packet| packet.0));
    assert!(
        gaps.iter().all(|gap| gap.cause != GapCause::KernelLoss),
        "{gaps:?}"
    );
}
