//! What the narrow chain at INPUT takes, and how much of a packet is kept.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
};

use sakshi::{
    capture::live::LiveConfig,
    input::{Input, Vantage},
};

use crate::lab::*;

/// The capture by rules of one of the two, or by a packet socket.
fn config_of(way: &str) -> LiveConfig {
    match way {
        PACKET => packet_config(),
        variant => config(variant),
    }
}

/// Sends `count` datagrams from the peer's `port` to a socket of the handset.
fn answer(lab: &Lab, from: &str, to: SocketAddr, first_byte: u8, count: usize) {
    lab.on_peer(|| {
        let socket = UdpSocket::bind(from).unwrap();
        for _ in 0..count {
            socket.send_to(&[first_byte; 40], to).unwrap();
        }
    });
}

/// How many inbound packets of the peer are seen when it sends so.
fn inbound(lab: &Lab, variant: &str, v6: bool, port: u16, first_byte: u8, count: usize) -> usize {
    let (own, peer) = if v6 {
        ("[fd77::2]:0", format!("[{PEER6}]:{port}"))
    } else {
        ("10.77.0.2:0", format!("{PEER4}:{port}"))
    };
    let (stream, totals) = lab.on_handset(|| {
        // Open, so that no error goes back.
        let socket = UdpSocket::bind(own).unwrap();
        let to = socket.local_addr().unwrap();
        capture(&config_of(variant), |_| {
            answer(lab, &peer, to, first_byte, count);
        })
    });
    if variant != PACKET {
        check_sums(&stream, &totals);
    }
    let version = if v6 { 6 } else { 4 };
    stream
        .packets
        .iter()
        .filter(|seen| seen.vantage == Vantage::Input && seen.version == version)
        .filter(|seen| seen.protocol == 17)
        .count()
}

#[test]
fn takes_what_names_and_proves_and_little_else() {
    let Some(lab) = Lab::new("takes_what_names_and_proves_and_little_else") else {
        return;
    };
    for variant in VARIANTS.into_iter().chain([PACKET]) {
        for v6 in [false, true] {
            let seen = |port, first| inbound(&lab, variant, v6, port, first, 20);
            assert_eq!(seen(53, 0x40), 20, "{variant} {v6}: every DNS answer");
            assert_eq!(seen(443, 0xc0), 20, "{variant} {v6}: every long header");
            assert_eq!(seen(3478, 0xc0), 8, "{variant} {v6}: the first replies");
            // A filter without memory leaves out what proves nothing that the handshake did not.
            let short = if variant == PACKET { 0 } else { 8 };
            assert_eq!(seen(443, 0x40), short, "{variant} {v6}: short headers");
        }
    }
}

#[test]
fn keeps_whole_packets_on_cleartext_ports_only() {
    let Some(lab) = Lab::new("keeps_whole_packets_on_cleartext_ports_only") else {
        return;
    };
    let ways = ["legacy", PACKET];
    let cases = ways.map(|way| [(way, 80, true), (way, 8443, false)]);
    for (way, port, whole) in cases.into_iter().flatten() {
        let listener = lab.on_peer(|| TcpListener::bind((PEER4, port)).unwrap());
        let reader = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        });
        let (report, longest) = mpsc::channel();
        lab.on_handset(|| {
            let started = start(&config_of(way));
            let batches = started.batches;
            let watcher = thread::spawn(move || {
                while let Some(batch) = batches.recv() {
                    for input in batch.iter() {
                        if let Input::Packet(packet) = input {
                            let kept = u32::try_from(packet.data.len()).unwrap();
                            report.send((packet.original_len, kept)).unwrap();
                        }
                    }
                }
            });
            as_uid(10_050, || {
                let mut stream = TcpStream::connect((PEER4, port)).unwrap();
                stream.write_all(&vec![b'x'; 2_000_000]).unwrap();
            });
            started.capture.stop().unwrap();
            watcher.join().unwrap();
        });
        assert_eq!(reader.join().unwrap(), 2_000_000);
        let (original, kept) = longest.iter().max().unwrap();
        assert!(original > 4096, "segmentation offload gives long packets");
        assert_eq!(kept, if whole { original } else { 4096 });
    }
}
