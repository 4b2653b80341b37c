//! A small handset's traffic in two captures, with the inventory and the rules to judge it by.
//!
//! In: nothing. Out: files, the same bytes each time ([`write()`]). They hold one of everything that
//! an export tells apart: owners of every class, a shared UID, a second user, a resolver's socket,
//! an unknown owner; names of every source that this version reads; IPv4, IPv6, ICMP, fragments,
//! packets that cannot be dissected, a name that a spreadsheet takes for a formula. The names are
//! under `.example` (RFC 2606); the addresses are real ones of the places they stand for.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use simple_dns::{CLASS, Name, Packet, Question, ResourceRecord, TYPE, rdata::RData};

use crate::{
    capture_writer::{
        self as writer, ETHERNET, Hook, NFLOG, Pcapng, RAW_IP, Tcp, client_hello, fragments, udp,
    },
    handset::dns,
    inventory_writer::{
        self, Encoding, FLAG_SYSTEM, FLAG_UPDATED_SYSTEM_APP, Model, Package, SharedUser, Updated,
    },
};

/// The rules.
pub const RULES: &str = include_str!("../cases/golden/rules.toml");
/// What the made-up vendor says.
pub const BRAND: &str = include_str!("../cases/golden/sample-vendor.toml");
/// The package whose name a spreadsheet would take for a formula.
pub const FORMULA: &str = "=cmd|calc!A0";

/// 2026-11-24T04:00:00Z, in nanoseconds since the Unix epoch.
const BEGIN: u64 = 1_795_492_800_000_000_000;
/// Between two packets of a conversation: 20 ms and a rest that microseconds drop.
const STEP: u64 = 20_000_123;
/// Between two conversations.
const PAUSE: u64 = 7_000_000_000;

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The captures: the handset's own (pcapng, NFLOG and raw IP), and a gateway's (pcap, Ethernet).
    pub captures: [PathBuf; 2],
    /// The folder with the inventory.
    pub inventory: PathBuf,
    /// The rule file.
    pub rules: PathBuf,
    /// The brand's file that it asks.
    pub brand: PathBuf,
}

impl Sample {
    /// The files as they lie in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            captures: [dir.join("phone.pcapng"), dir.join("gateway.pcap")],
            inventory: dir.join("inventory"),
            rules: dir.join("rules.toml"),
            brand: dir.join("sample-vendor.toml"),
        }
    }

    /// Arguments that inspect the captures into the case `case`.
    pub fn inspect(&self, case: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let [phone, gateway] = &self.captures;
        vec![
            "inspect".to_owned(),
            text(phone),
            text(gateway),
            "--case".to_owned(),
            text(case),
            "--inventory".to_owned(),
            text(&self.inventory),
            "--rules".to_owned(),
            text(&self.rules),
            "--rules".to_owned(),
            text(&self.brand),
            "--handset".to_owned(),
            GATEWAY_HANDSET.to_owned(),
            "--format".to_owned(),
            "json".to_owned(),
        ]
    }
}

/// Writes the files into `dir`.
///
/// # Errors
/// What the file system says.
pub fn write(dir: &Path) -> io::Result<Sample> {
    let sample = Sample::in_dir(dir);
    fs::write(&sample.captures[0], phone())?;
    fs::write(&sample.captures[1], gateway())?;
    fs::write(&sample.rules, RULES)?;
    fs::write(&sample.brand, BRAND)?;
    inventory_writer::write_folder(&apps(), Encoding::Text, &sample.inventory)?;
    let list = sample.inventory.join("packages.list");
    // One line that cannot be read: the inventory is used as far as it goes, and a gap says so.
    fs::write(&list, fs::read_to_string(&list)? + "com.sample.torn 100\n")?;
    Ok(sample)
}

/// Address of the handset behind the gateway.
pub const GATEWAY_HANDSET: &str = "192.168.43.7";
const PHONE: &str = "192.168.43.100";
const PHONE_V6: &str = "2405:200:1::100";
const RESOLVER: &str = "49.45.0.1:53";
const SINGAPORE: &str = "13.228.10.20:443";
const SINGAPORE_V6: &str = "[2406:da18:10::20]:443";
const MUMBAI: &str = "13.126.30.40:443";
const CHINA: &str = "1.180.18.20:80";
const CHINA_V6: &str = "[240e:18:20::20]:123";
const MULTICAST: &str = "224.0.0.251:5353";
const CDN: &str = "104.16.20.30:443";

/// App ids.
const PUSH: u32 = 10_050;
const WEATHER: u32 = 10_051;
const MARKET: u32 = 10_053;
const GAMES: u32 = 10_054;
const CHAT: u32 = 10_055;
const SHARED: u32 = 10_056;
const CALC: u32 = 10_057;
const ROOT: u32 = 0;
const SYSTEM: u32 = 1000;
const SECOND_USER: u32 = 1_000_000;

pub(crate) fn package(name: &str, code_path: &str, flags: i32, uid: u32) -> Package {
    Package {
        name: name.to_owned(),
        code_path: code_path.to_owned(),
        flags,
        version: 42,
        user_id: i32::try_from(uid).expect("an app id"),
        signers: vec![b"certificate of Sample Vendor".to_vec()],
        ..Package::default()
    }
}

fn apps() -> Model {
    let mut chat = package("org.example.chat", "/data/app/~~a==/chat-b==", 0, CHAT);
    chat.installer = Some("com.android.vending".to_owned());
    chat.signers = vec![b"certificate of a store's app".to_vec()];
    let updated = FLAG_SYSTEM | FLAG_UPDATED_SYSTEM_APP;
    let shared = |name: &str, path: &str| Package {
        shared: true,
        ..package(name, path, FLAG_SYSTEM, SHARED)
    };
    let games = package("com.sample.games", "/data/app/~~e==/games-f==", 0, GAMES);
    let market = "/data/app/~~c==/market-d==";
    Model {
        packages: vec![
            package(
                "com.sample.push",
                "/system/priv-app/Push",
                FLAG_SYSTEM,
                PUSH,
            ),
            package(
                "com.sample.weather",
                "/product/app/Weather",
                FLAG_SYSTEM,
                WEATHER,
            ),
            package("com.sample.market", market, updated, MARKET),
            games,
            chat,
            shared("com.sample.gallery", "/system/app/Gallery"),
            shared("com.sample.camera", "/product/priv-app/Camera"),
            package(FORMULA, "/system/app/Calc", FLAG_SYSTEM, CALC),
        ],
        updated: vec![Updated {
            name: "com.sample.market".to_owned(),
            code_path: "/system/app/Market".to_owned(),
            version: 41,
            user_id: i32::try_from(MARKET).expect("an app id"),
        }],
        shared_users: vec![SharedUser {
            name: "com.sample.shared".to_owned(),
            user_id: i32::try_from(SHARED).expect("an app id"),
        }],
        users: vec![0, 10],
        preloads: vec![(
            "/my_product/del-app/Games/Games.apk".to_owned(),
            "com.sample.games".to_owned(),
        )],
    }
}

/// Packets in order, each with its moment and whether the handset sent it.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) now: u64,
    packets: Vec<(u64, bool, Vec<u8>)>,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self {
            now: BEGIN,
            packets: Vec::new(),
        }
    }

    pub(crate) fn pass(&mut self, sent: bool, packet: Vec<u8>) {
        self.packets.push((self.now, sent, packet));
        self.now += STEP;
    }

    /// Hands over what was said so far; a pause follows.
    pub(crate) fn take(&mut self) -> Vec<(u64, bool, Vec<u8>)> {
        self.now += PAUSE;
        std::mem::take(&mut self.packets)
    }

    /// A question and its answer.
    fn resolve(&mut self, from: SocketAddr, name: &str, address: SocketAddr) {
        let question = dns::question(from.port(), name, address.is_ipv6()).expect("a name");
        self.pass(true, udp(from, at(RESOLVER), &question));
        self.pass(
            false,
            udp(at(RESOLVER), from, &answer(from.port(), name, address)),
        );
    }

    /// A connection on which the handset sends `request` and gets 1000 bytes.
    pub(crate) fn connect(&mut self, from: SocketAddr, to: SocketAddr, request: &[u8]) {
        let plain = Tcp {
            syn: false,
            fin: false,
            rst: false,
            seq: 1001,
            ack: Some(5001),
            payload: &[],
        };
        let syn = |seq, ack| Tcp {
            syn: true,
            seq,
            ack,
            ..plain
        };
        let sent = 1001 + u32::try_from(request.len()).expect("a small request");
        let out = [
            syn(1000, None),
            plain,
            Tcp {
                payload: request,
                ..plain
            },
        ];
        self.pass(true, out[0].packet(from, to));
        self.pass(false, syn(5000, Some(1001)).packet(to, from));
        self.pass(true, out[1].packet(from, to));
        self.pass(true, out[2].packet(from, to));
        let reply = Tcp {
            seq: 5001,
            ack: Some(sent),
            payload: &[0x17; 1000],
            ..plain
        };
        self.pass(false, reply.packet(to, from));
        let fin = Tcp {
            fin: true,
            seq: sent,
            ack: Some(6001),
            ..plain
        };
        self.pass(true, fin.packet(from, to));
        let fin = Tcp {
            fin: true,
            seq: 6001,
            ack: Some(sent + 1),
            ..plain
        };
        self.pass(false, fin.packet(to, from));
    }
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

pub(crate) fn phone_at(port: u16) -> SocketAddr {
    SocketAddr::new(PHONE.parse().expect("an address"), port)
}

fn phone_v6_at(port: u16) -> SocketAddr {
    SocketAddr::new(PHONE_V6.parse().expect("an address"), port)
}

fn answer(id: u16, name: &str, address: SocketAddr) -> Vec<u8> {
    let name = Name::new(name).expect("a name");
    let (kind, data) = match address.ip() {
        IpAddr::V4(address) => (TYPE::A, RData::A(address.into())),
        IpAddr::V6(address) => (TYPE::AAAA, RData::AAAA(address.into())),
    };
    let mut reply = Packet::new_reply(id);
    reply.questions.push(Question::new(
        name.clone(),
        kind.into(),
        CLASS::IN.into(),
        false,
    ));
    reply
        .answers
        .push(ResourceRecord::new(name, CLASS::IN, 300, data));
    reply
        .build_bytes_vec_compressed()
        .expect("a message that fits")
}

pub(crate) fn http(host: &str) -> Vec<u8> {
    format!("GET /report?id=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sample\r\n\r\n").into_bytes()
}

/// What the handset's own kernel saw: through NFLOG, and for one app on its tunnel.
fn phone() -> Vec<u8> {
    let mut file = Pcapng::new();
    let log = file.interface(NFLOG, true);
    let tunnel = file.interface(RAW_IP, false);
    let mut talk = Talk::new();
    let logged = |file: &mut Pcapng, talk: &mut Talk, uid: u32| {
        for (nanos, sent, packet) in talk.take() {
            let record = if sent {
                writer::nflog(Hook::Output, Some(uid), &packet)
            } else {
                writer::nflog(Hook::Input, None, &packet)
            };
            file.packet(log, nanos, &record, usize::MAX);
        }
    };
    let tls = |talk: &mut Talk, from: SocketAddr, to: &str, name: &str| {
        talk.connect(from, at(to), &client_hello(name.as_bytes()));
    };

    talk.resolve(phone_at(40_001), "push.sample.example", at(SINGAPORE));
    logged(&mut file, &mut talk, ROOT);
    tls(
        &mut talk,
        phone_at(40_002),
        SINGAPORE,
        "push.sample.example",
    );
    logged(&mut file, &mut talk, PUSH);
    talk.resolve(phone_at(40_003), "weather.sample.example", at(CHINA));
    logged(&mut file, &mut talk, ROOT);
    talk.connect(phone_at(40_004), at(CHINA), &http("weather.sample.example"));
    logged(&mut file, &mut talk, WEATHER);
    tls(&mut talk, phone_at(40_005), CDN, "static.sample.example");
    logged(&mut file, &mut talk, MARKET);
    talk.pass(true, udp(phone_v6_at(40_006), at(CHINA_V6), &[0x23; 48]));
    talk.pass(false, udp(at(CHINA_V6), phone_v6_at(40_006), &[0x24; 48]));
    logged(&mut file, &mut talk, SYSTEM);
    tls(
        &mut talk,
        phone_at(40_007),
        MUMBAI,
        "gallery.sample.example",
    );
    logged(&mut file, &mut talk, SHARED);
    tls(
        &mut talk,
        phone_v6_at(40_008),
        SINGAPORE_V6,
        "push.sample.example",
    );
    logged(&mut file, &mut talk, SECOND_USER + PUSH);
    tls(&mut talk, phone_at(40_009), CHINA, "=hyperlink.example");
    logged(&mut file, &mut talk, CALC);
    // The same five-tuple under another UID: another flow.
    for (uid, bytes) in [(GAMES, 100), (PUSH, 200)] {
        talk.pass(true, udp(phone_at(40_010), at(MUMBAI), &vec![1; bytes]));
        logged(&mut file, &mut talk, uid);
    }
    tls(&mut talk, phone_v6_at(40_011), SINGAPORE_V6, "chat.example");
    for (nanos, _, packet) in talk.take() {
        file.packet(tunnel, nanos, &packet, 96);
    }
    talk.pass(true, udp(phone_at(40_012), at(SINGAPORE), &[3; 300]));
    logged(&mut file, &mut talk, CHAT);
    file.finish()
}

/// What a gateway saw of another handset: no owner, and traffic that is no TCP or UDP.
fn gateway() -> Vec<u8> {
    let handset: IpAddr = GATEWAY_HANDSET.parse().expect("an address");
    let from = |port| SocketAddr::new(handset, port);
    let mut talk = Talk::new();
    talk.resolve(from(50_001), "stats.sample.example", at(MUMBAI));
    talk.connect(
        from(50_002),
        at(MUMBAI),
        &client_hello(b"stats.sample.example"),
    );
    talk.pass(true, writer::echo(handset, at(CHINA).ip(), &[8; 56]));
    let question = dns::question(0, "printer.local", false).expect("a name");
    talk.pass(true, udp(from(5_353), at(MULTICAST), &question));
    for piece in fragments(from(50_003), at(CHINA), &[4; 2_000], 1_480) {
        talk.pass(true, piece);
    }
    let mut packets: Vec<(u64, Vec<u8>)> = talk
        .take()
        .into_iter()
        .map(|(nanos, _, packet)| (nanos, writer::ethernet(&packet)))
        .collect();
    // Neither is IP: an ARP request, and an IPv4 header that is cut off.
    let arp = [&[0xff; 6][..], &[2; 6], &[8, 6], &[0; 28]].concat();
    packets.push((talk.now, arp));
    packets.push((talk.now + STEP, writer::ethernet(&[0x45, 0, 0])));
    writer::pcap(ETHERNET, &packets)
}
