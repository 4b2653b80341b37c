//! Round-trip times against a host that answers late: never shorter than its delay, whatever the
//! daemon was doing meanwhile, and none where it is not known which of two SYNs was answered.
//!
//! This kernel has no way to delay packets, so the host is a thread: it reads the frames at the far
//! end of a cable of its own and writes the answers when their time has come.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use etherparse::{PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender};
use sakshi_tests::{
    daemon::{self, Daemon, sakshi, text},
    handset::{Handset, script::Action},
    live_possible, wait,
};
use serde_json::Value;

/// How late the host answers.
const DELAY: Duration = Duration::from_millis(40);
/// Where it is, and the handset's end of that cable.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const HANDSET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Link addresses: the host's is not that of the cable's end, so that no kernel answers for it.
const HOST_MAC: [u8; 6] = [2, 0, 0x5e, 0x33, 0x64, 7];
const HANDSET_MAC: [u8; 6] = [2, 0, 0x5e, 0x33, 0x64, 1];
/// A port that answers each SYN.
const PROMPT: u16 = 80;
/// A port that hears the second SYN only.
const DEAF: u16 = 81;
/// Pause between two looks at whether the host is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Upper bound for all flows to be on record.
const RECORDED_MAX: Duration = Duration::from_secs(20);

/// The host: answers what comes to it, late.
struct Host {
    frames: Box<dyn DataLinkReceiver>,
    answers: Box<dyn DataLinkSender>,
    deaf_to: Option<u32>,
}

impl Host {
    /// Opens the far end of the cable; call it where that end is.
    fn on(device: &str) -> Self {
        let interfaces = datalink::interfaces();
        let device = interfaces
            .iter()
            .find(|interface| interface.name == device)
            .expect("the far end of the cable");
        let config = Config {
            read_timeout: Some(LOOK_EVERY),
            ..Config::default()
        };
        let Ok(Channel::Ethernet(answers, frames)) = datalink::channel(device, config) else {
            panic!("no channel at the far end");
        };
        Self {
            frames,
            answers,
            deaf_to: None,
        }
    }

    fn serve(mut self, ended: &AtomicBool) {
        while !ended.load(Ordering::Relaxed) {
            let answer = match self.frames.next() {
                Ok(frame) => answer(frame, &mut self.deaf_to),
                Err(error) if error.kind() == ErrorKind::TimedOut => None,
                Err(error) => panic!("reading frames: {error}"),
            };
            if let Some(answer) = answer {
                thread::sleep(DELAY);
                let sent = self.answers.send_to(&answer, None);
                sent.expect("a channel that sends").expect("an answer");
            }
        }
    }
}

/// What a TCP host says to a frame: SYN+ACK, the acknowledgement of what came, or nothing.
fn answer(frame: &[u8], deaf_to: &mut Option<u32>) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        return None;
    };
    let said = tcp.to_header();
    if tcp.destination_port() == DEAF && said.syn && deaf_to.is_none() {
        *deaf_to = Some(said.sequence_number);
        return None;
    }
    let payload = u32::try_from(tcp.payload().len()).ok()?;
    let taken = payload + u32::from(said.syn) + u32::from(said.fin);
    if taken == 0 || said.rst {
        return None;
    }
    let acknowledged = said.sequence_number.wrapping_add(taken);
    let sequence = if said.syn {
        1_000
    } else {
        said.acknowledgment_number
    };
    let mut header = TcpHeader::new(said.destination_port, said.source_port, sequence, 65_000);
    header.ack = true;
    header.acknowledgment_number = acknowledged;
    (header.syn, header.fin) = (said.syn, said.fin);
    let builder = PacketBuilder::ethernet2(HOST_MAC, HANDSET_MAC)
        .ipv4(HOST.octets(), HANDSET.octets(), 64)
        .tcp_header(header);
    let mut bytes = Vec::with_capacity(builder.size(0));
    builder.write(&mut bytes, &[]).ok()?;
    Some(bytes)
}

/// A cable between the handset and where the internet is, of which no kernel owns the far end.
fn lay_cable(handset: &Handset) {
    let mac = |octets: [u8; 6]| octets.map(|octet| format!("{octet:02x}")).join(":");
    let run = |line: String| {
        let mut command = Command::new("ip");
        command.args(line.split(' '));
        handset.output(&mut command).expect(&line);
    };
    run(format!(
        "link add slow0 address {} type veth peer name slow1",
        mac(HANDSET_MAC)
    ));
    for device in ["slow0", "slow1"] {
        run(format!("link set {device} addrgenmode none up"));
    }
    run(format!("addr add {HANDSET}/24 dev slow0"));
    run(format!(
        "neigh replace {HOST} lladdr {} nud permanent dev slow0",
        mac(HOST_MAC)
    ));
}

/// Watches an app that touches both ports; the flows, by port.
fn watched(capture: &str) -> [Value; 2] {
    let handset = Handset::start().expect("a virtual handset");
    lay_cable(&handset);
    let case = handset.dir().join("case");
    let inventory = handset.inventory();
    let command = sakshi(["run", "--inventory", text(&inventory), "--capture", capture]);
    let daemon = Daemon::start_command(&handset, &case, command).expect("a daemon");
    let ended = AtomicBool::new(false);
    let network = handset.network();
    thread::scope(|scope| {
        let host = network.in_handset(|| Host::on("slow1")).expect("a host");
        scope.spawn(|| host.serve(&ended));
        let touches = [PROMPT, DEAF].map(|port| Action::TcpTouch {
            to: SocketAddr::from((HOST, port)),
        });
        let done = handset.run_app(10_050, &touches);
        let recorded = wait::until(RECORDED_MAX, || {
            let status = daemon.status().expect("a status");
            (status["flows"].as_u64() >= Some(2)).then_some(())
        });
        // An end is held for the packets before it.
        thread::sleep(Duration::from_secs(1));
        ended.store(true, Ordering::Relaxed);
        done.expect("an app that reached the host");
        recorded.expect("both flows seen");
    });
    daemon.stop().expect("a summary");
    daemon::verify(&case).expect("intact evidence");
    let flows = daemon::export(&case, "flows").expect("flows");
    [PROMPT, DEAF].map(|port| {
        let flow = flows.iter().find(|flow| flow["dport"] == port);
        println!("{capture}: {flow:?}");
        flow.expect("a flow").clone()
    })
}

fn check(capture: &str, basis: &str) {
    let [prompt, deaf] = watched(capture);
    let delay = u64::try_from(DELAY.as_micros()).expect("a short delay");
    assert_eq!(prompt["rtt_basis"], basis, "{prompt}");
    assert!(prompt["rtt_us"].as_u64() >= Some(delay), "{prompt}");
    assert!(deaf["packets_out"].as_u64() >= Some(3), "{deaf}");
    assert!(
        deaf["rtt_us"].is_null() && deaf["rtt_basis"].is_null(),
        "{deaf}"
    );
}

#[test]
fn what_tcp_measured_is_no_shorter_than_the_delay() {
    if live_possible("what_tcp_measured_is_no_shorter_than_the_delay") {
        check("nflog", "tcp_min_rtt");
    }
}

#[test]
fn handshakes_on_the_packet_socket_are_no_shorter_than_the_delay() {
    if live_possible("handshakes_on_the_packet_socket_are_no_shorter_than_the_delay") {
        check("packet", "kernel");
    }
}
