//! What the tests of live capture share: namespaces, senders, and a reader of the stream.

use std::{
    fs::File,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
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
        live::{CaptureWay, LiveBatches, LiveCapture, LiveConfig, LiveTotals, Started},
        nflog::rules::Commands,
    },
    input::{Event, Gap, GapCause, Input, OwnerFact, SocketClosed, Vantage},
    platform::clock::{Clock, SystemClock},
};

pub(crate) const VARIANTS: [&str; 2] = ["legacy", "nft"];
pub(crate) const TOOLS: [&str; 3] = ["ip", "iptables-legacy", "iptables-nft"];
pub(crate) const PEER4: &str = "10.77.0.1";
pub(crate) const PEER6: &str = "fd77::1";
/// A port of the peer at which nobody listens.
pub(crate) const NOBODY: &str = "10.77.0.1:9";
/// Packets of the tests that send as fast as they can.
pub(crate) const FLOOD: usize = 20_000;

/// A handset's and its peer's namespace, joined by a veth pair; deleted at the end.
pub(crate) struct Lab {
    handset: String,
    peer: String,
}

pub(crate) static LABS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// None, with a line that says why, where this cannot be tested.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::build(test, true)
    }

    /// A lab in which the kernel sends nothing of its own: no neighbour discovery, no multicast
    /// reports.
    pub(crate) fn without_ipv6(test: &str) -> Option<Self> {
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

    pub(crate) fn on_handset<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.handset, body)
    }

    pub(crate) fn on_peer<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
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
pub(crate) fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    on_thread(|| {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body()
    })
}

/// Does something on a thread that runs as `uid`.
pub(crate) fn as_uid<T: Send>(uid: u32, body: impl FnOnce() -> T + Send) -> T {
    on_thread(|| {
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(uid, uid, uid).unwrap();
        body()
    })
}

pub(crate) fn on_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// No IPv6 on what will be made in this namespace.
pub(crate) fn silence() {
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

pub(crate) fn commands(variant: &str) -> Commands {
    Commands {
        v4: format!("iptables-{variant}"),
        v6: format!("ip6tables-{variant}"),
    }
}

pub(crate) fn config(variant: &str) -> LiveConfig {
    LiveConfig {
        way: CaptureWay::Nflog,
        commands: commands(variant),
        // Tests look when they want to.
        check_every: Duration::from_hours(1),
        ..LiveConfig::default()
    }
}

/// The packet socket, where tests name a variant.
pub(crate) const PACKET: &str = "packet";

pub(crate) fn packet_config() -> LiveConfig {
    LiveConfig {
        way: CaptureWay::Packet,
        ..LiveConfig::default()
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub(crate) fn send_udp(to: &str, count: usize) {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    for _ in 0..count {
        socket.send_to(b"probe", to).unwrap();
    }
}

/// A packet as the tests need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) uid: Option<u32>,
    pub(crate) vantage: Vantage,
    pub(crate) version: u8,
    /// Protocol number of the IP header.
    pub(crate) protocol: u8,
    pub(crate) frame: u64,
}

/// All that came out of a capture.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) packets: Vec<Seen>,
    pub(crate) facts: Vec<OwnerFact>,
    pub(crate) gaps: Vec<Gap>,
    /// Ends of sockets, each with how many packets came before it.
    pub(crate) closed: Vec<(usize, SocketClosed)>,
    /// What was told of interfaces, their counters, and sleep.
    pub(crate) surroundings: Vec<Event>,
}

impl Stream {
    /// Packets in gaps of losses.
    pub(crate) fn lost(&self) -> u64 {
        self.in_gaps(GapCause::KernelLoss) + self.in_gaps(GapCause::QueueFull)
    }

    pub(crate) fn in_gaps(&self, cause: GapCause) -> u64 {
        let gaps = self.gaps.iter().filter(|gap| gap.cause == cause);
        gaps.filter_map(|gap| gap.packets).sum()
    }

    pub(crate) fn sent(&self) -> u64 {
        let sent = |seen: &&Seen| seen.vantage == Vantage::Output;
        u64::try_from(self.packets.iter().filter(sent).count()).unwrap()
    }

    pub(crate) fn of_uid(&self, uid: u32, version: u8) -> usize {
        self.packets
            .iter()
            .filter(|packet| packet.uid == Some(uid) && packet.version == version)
            .count()
    }
}

fn protocol(packet: &[u8]) -> u8 {
    let version = packet.first().map_or(0, |byte| byte >> 4);
    let at = if version == 4 { 9 } else { 6 };
    packet.get(at).copied().unwrap_or(0)
}

pub(crate) fn start(config: &LiveConfig) -> Started {
    LiveCapture::start(config, &clock()).unwrap()
}

pub(crate) fn read_all(batches: &LiveBatches) -> Stream {
    let mut stream = Stream::default();
    while let Some(batch) = batches.recv() {
        for input in batch.iter() {
            match input {
                Input::Packet(packet) => stream.packets.push(Seen {
                    uid: packet.uid,
                    vantage: packet.vantage,
                    version: packet.data.first().map_or(0, |byte| byte >> 4),
                    protocol: protocol(packet.data),
                    frame: packet.frame,
                }),
                Input::Event(Event::OwnerFact(fact)) => stream.facts.push(fact.clone()),
                Input::Event(Event::SocketClosed(closed)) => {
                    stream.closed.push((stream.packets.len(), closed.clone()));
                }
                Input::Event(Event::Gap(gap)) => stream.gaps.push(gap.clone()),
                // The sums are in the totals as well.
                Input::Event(Event::Tally(_)) => {}
                Input::Event(event) => stream.surroundings.push(event.clone()),
            }
        }
        batches.give_back(batch);
    }
    stream
}

/// Captures while `body` runs, and reads along.
pub(crate) fn capture(
    config: &LiveConfig,
    body: impl FnOnce(&LiveCapture),
) -> (Stream, LiveTotals) {
    let started = start(config);
    let batches = started.batches;
    let reader = thread::spawn(move || read_all(&batches));
    body(&started.capture);
    let totals = started.capture.stop().unwrap();
    (reader.join().unwrap(), totals)
}

/// What every capture must come to, whatever was lost.
pub(crate) fn check_sums(stream: &Stream, totals: &LiveTotals) {
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
    let tally = totals.tally.unwrap();
    assert_eq!(tally.received, stream.sent());
    if let Some(counter) = tally.counter {
        let parts = tally.missed + tally.elsewhere + tally.unattributed;
        assert_eq!(
            counter + tally.repeated,
            tally.received + tally.lost + parts,
            "{tally:?}"
        );
    }
    let frames: Vec<u64> = stream.packets.iter().map(|packet| packet.frame).collect();
    assert_eq!(frames, (1..=received).collect::<Vec<_>>());
}
