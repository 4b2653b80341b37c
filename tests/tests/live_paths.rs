//! By which way packets leave, as the real daemon sees it: interfaces come and go under way, an app
//! sends into a tunnel, another device's packets are passed on. And what of the time was watched.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    process::Command,
};

use sakshi_tests::{
    daemon::{self, Daemon, text},
    handset::{Error, Handset, Result, cast, network, places, script::Action},
    live_possible, wait,
};
use serde_json::Value;

/// The internet's end of the cable, which plays a device that is tethered to the handset.
const TETHERED: &str = "192.168.43.1";
/// An address that the tethered device sends to by way of the handset.
const BEYOND: &str = "203.0.113.77";
/// Packets that it sends.
const PASSED_ON: u64 = 20;
/// Upper bound for the daemon to hear of an interface.
const HEARD_MAX: std::time::Duration = std::time::Duration::from_secs(20);

fn ip(handset: &Handset, line: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(line.split(' '));
    handset.output(&mut command).map(drop)
}

/// A tunnel that takes what is sent to the host in Singapore.
fn make_tunnel(handset: &Handset) -> Result<()> {
    let host = places::SINGAPORE.v4(places::DISCARD).ip();
    ip(handset, "tuntap add dev tun0 mode tun")?;
    ip(handset, "addr add 10.8.0.2/24 dev tun0")?;
    ip(handset, "link set tun0 up")?;
    ip(handset, &format!("route add {host}/32 dev tun0"))
}

/// Lets the handset pass packets on, and a device send by way of it.
fn tether(handset: &Handset) -> Result<()> {
    let set = |key: &str, value: &str| {
        std::fs::write(format!("/proc/sys/net/ipv4/{key}"), value)
            .map_err(Error::io(format!("setting {key}")))
    };
    handset.network().in_handset(|| {
        set("ip_forward", "1")?;
        set("conf/all/send_redirects", "0")?;
        set("conf/wan0/send_redirects", "0")
    })??;
    handset.network().in_internet(|| {
        let route = format!("route add {BEYOND}/32 via {}", network::HANDSET_V4);
        let status = Command::new("ip").args(route.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "{route}");
        let socket = UdpSocket::bind((TETHERED, 0)).map_err(Error::io("binding"))?;
        // Twice passed on, it would come back to the handset.
        socket.set_ttl(2).map_err(Error::io("setting the TTL"))?;
        for _ in 0..PASSED_ON {
            let to: SocketAddr = format!("{BEYOND}:9").parse().expect("an address");
            socket
                .send_to(b"tethered", to)
                .map_err(Error::io("sending"))?;
        }
        Ok(())
    })?
}

fn send(handset: &Handset, app: &cast::App, host: &places::Host) {
    let datagrams = Action::Udp {
        to: host.v4(places::DISCARD),
        bytes: 32,
        packets: 3,
        answered: false,
    };
    handset.run_app(app.uid(), &[datagrams]).expect("an app");
}

/// Waits until the case tells so many records of a kind about an interface.
fn wait_for(case: &std::path::Path, happening: &str, name: &str, count: usize) {
    let told = wait::until(HEARD_MAX, || {
        let found = interfaces(case)
            .iter()
            .filter(|body| body["happening"] == happening && body["interface"]["name"] == name)
            .count();
        (found >= count).then_some(())
    });
    assert!(told.is_some(), "{name} was not told as {happening}");
}

fn bodies(records: Vec<Value>, kind: &str) -> Vec<Value> {
    let of_kind = records.into_iter().filter(|record| record["kind"] == kind);
    of_kind.map(|mut record| record["body"].take()).collect()
}

/// What is told of interfaces, without the handset's addresses, also while it is watched.
fn interfaces(case: &std::path::Path) -> Vec<Value> {
    bodies(
        daemon::export(case, "records").expect("records"),
        "interface",
    )
}

#[test]
fn ways_are_told_and_passed_on_packets_are_nobodys() {
    if !live_possible("ways_are_told_and_passed_on_packets_are_nobodys") {
        return;
    }
    let handset = Handset::start().expect("a virtual handset");
    let case = handset.dir().join("case");
    let daemon = Daemon::start(&handset, &case, &[]).expect("the daemon watches");
    send(&handset, &cast::PUSH, &places::MUMBAI);
    make_tunnel(&handset).expect("a tunnel");
    send(&handset, &cast::WEATHER, &places::SINGAPORE);
    wait_for(&case, "added", "tun0", 1);
    // The tunnel is replaced by another one of the same name.
    ip(&handset, "link del tun0").expect("it is gone");
    make_tunnel(&handset).expect("another tunnel");
    wait_for(&case, "added", "tun0", 2);
    send(&handset, &cast::CHAT, &places::SINGAPORE);
    tether(&handset).expect("packets are passed on");
    daemon.stop().expect("a summary");
    daemon::verify(&case).expect("intact evidence");

    let records = daemon::export_unredacted(&case, "records").expect("records");
    check_interfaces(&bodies(records, "interface"));
    check_flows(&daemon::export_unredacted(&case, "flows").expect("flows"));
    let coverage = daemon::output(["coverage", text(&case), "--format", "jsonl"]);
    check_coverage(&daemon::json(coverage.expect("a statement").trim()).expect("JSON"));
    let page = daemon::output(["coverage", text(&case)]).expect("a page");
    assert!(page.contains("no contact with X was recorded"), "{page}");
    println!("{page}");
}

fn check_interfaces(told: &[Value]) {
    let of = |name: &str| -> Vec<&Value> {
        let named = |body: &&Value| body["interface"]["name"] == name;
        told.iter().filter(named).collect()
    };
    let wan = of("wan0");
    assert_eq!(wan[0]["happening"], "present");
    let interface = &wan[0]["interface"];
    assert_eq!(
        (&interface["kind"], &interface["up"]),
        (&"virtual".into(), &true.into())
    );
    assert_eq!(interface["default_ipv4"], true);
    assert_eq!(interface["default_ipv6"], true);
    let addresses = interface["addresses"].to_string();
    assert!(addresses.contains(network::HANDSET_V4), "{addresses}");
    assert!(addresses.contains(network::HANDSET_V6), "{addresses}");
    assert_eq!(of("lo")[0]["interface"]["kind"], "loopback");

    let tunnel = of("tun0");
    let happened: Vec<&str> = tunnel
        .iter()
        .filter_map(|body| body["happening"].as_str())
        .collect();
    let first: Vec<&str> = happened
        .iter()
        .copied()
        .filter(|it| *it != "changed")
        .collect();
    assert_eq!(first, ["added", "removed", "added"], "{happened:?}");
    assert!(
        tunnel
            .iter()
            .all(|body| body["interface"]["kind"] == "tunnel")
    );
    let last = &tunnel.last().expect("told")["interface"];
    assert_eq!(
        last["holders"],
        Value::from(Vec::<u32>::new()),
        "nobody has it open"
    );
    assert_ne!(last["index"], tunnel[0]["interface"]["index"]);
}

fn check_flows(flows: &[Value]) {
    let way = |app: &cast::App| -> Vec<(&Value, String)> {
        let own = |flow: &&Value| flow["owner"]["uid"] == app.uid();
        let way = |flow: &'_ Value| flow["interfaces"].to_string();
        flows
            .iter()
            .filter(own)
            .map(|flow| (&flow["via"], way(flow)))
            .collect()
    };
    let (direct, vpn): (Value, Value) = ("direct".into(), "vpn".into());
    assert_eq!(way(&cast::PUSH), [(&direct, r#"["wan0"]"#.to_owned())]);
    assert_eq!(way(&cast::WEATHER), [(&vpn, r#"["tun0"]"#.to_owned())]);
    assert_eq!(way(&cast::CHAT), [(&vpn, r#"["tun0"]"#.to_owned())]);
    for flow in flows {
        assert_ne!(
            flow["dst"], BEYOND,
            "what is passed on is not the handset's"
        );
        assert_ne!(flow["src"], TETHERED);
    }
}

fn check_coverage(coverage: &Value) {
    let number = |key: &str| coverage[key].as_u64().expect(key);
    let parts = [
        "watched_us",
        "not_watched_us",
        "suspended_us",
        "rules_missing_us",
    ];
    assert_eq!(parts.map(number).iter().sum::<u64>(), number("span_us"));
    assert!(number("watched_us") > 0 && number("not_watched_us") > 0);
    assert_eq!((number("lost"), number("reboots")), (0, 0));
    assert_eq!(coverage["flows_complete"], true);
    assert_eq!(coverage["flows"]["by_via"]["vpn"]["flows"], 2);
    let sums: BTreeMap<&str, &Value> = coverage["interfaces"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|sum| Some((sum["name"].as_str()?, sum)))
        .collect();
    let count = |name: &str, key: &str| sums[name][key].as_u64().expect(key);
    // The kernel counts what is passed on, the watch does not.
    let seen = sums["wan0"]["seen"]["packets_out"].as_u64().expect("seen");
    assert!(count("wan0", "tx_packets") >= seen + PASSED_ON, "{sums:?}");
    // Forwarded packets: the first sample is taken at the start.
    assert!(sums.contains_key("lo"), "{sums:?}");
}
