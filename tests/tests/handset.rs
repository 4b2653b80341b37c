//! The virtual handset itself: it must be trusted before the daemon is judged on it.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use sakshi_tests::{
    handset::{
        Handset, cast, places,
        script::{Action, Proto},
    },
    live_possible, scenes,
};

fn handset(test: &str) -> Option<Handset> {
    live_possible(test).then(|| Handset::start().expect("a virtual handset"))
}

#[test]
fn plays_every_scene_of_the_demo() {
    let Some(handset) = handset("plays_every_scene_of_the_demo") else {
        return;
    };
    for scene in scenes::all() {
        let sent = scene
            .play(&handset)
            .unwrap_or_else(|error| panic!("{}: {error}", scene.title));
        let asked = usize::from(scene.asks.is_some());
        assert_eq!(sent.len(), scene.actions.len() + asked, "{}", scene.title);
    }
}

#[test]
fn an_app_runs_under_its_uid_and_a_resolver_socket_belongs_to_the_app() {
    let Some(handset) = handset("an_app_runs_under_its_uid") else {
        return;
    };
    let touch = Action::TcpTouch {
        to: places::SINGAPORE.v6(places::DISCARD),
    };
    let uid = cast::PUSH.uid_for(cast::SECOND_USER);
    let sent = handset.run_app(uid, &[touch]).expect("an app");
    assert_eq!((sent[0].uid, sent[0].proto), (1_010_050, Proto::Tcp));
    assert!(sent[0].local.ip().to_string().starts_with("2001:db8:43:"));

    let asks = Action::Resolve {
        name: places::CHINA.name.to_owned(),
        ipv6: true,
        resolver: places::RESOLVER.v6(places::DNS),
        over: Proto::Tcp,
        on_behalf_of: Some(10_055),
    };
    let sent = handset.run_app(0, &[asks]).expect("a resolver");
    assert_eq!((sent[0].uid, sent[0].remote.port()), (10_055, places::DNS));
}

#[test]
fn many_short_flows_are_all_told() {
    const COUNT: u64 = 400;
    let Some(handset) = handset("many_short_flows_are_all_told") else {
        return;
    };
    let to: Vec<SocketAddr> = vec![
        places::MUMBAI.v4(places::ECHO),
        places::MUMBAI.v6(places::ECHO),
    ];
    let flows = Action::Flows {
        count: COUNT,
        parallel: 4,
        to: to.clone(),
        seed: 1,
        open_ms: 0,
    };
    let sent = handset.run_app(10_060, &[flows]).expect("an app");
    assert_eq!(sent.len() as u64, COUNT);
    for proto in [Proto::Tcp, Proto::Udp] {
        for remote in &to {
            assert!(
                sent.iter()
                    .any(|flow| flow.proto == proto && flow.remote == *remote),
                "{proto:?} to {remote}"
            );
        }
    }
}

#[test]
fn the_handset_is_silent_when_no_app_runs_and_has_no_way_out() {
    let Some(handset) = handset("the_handset_is_silent") else {
        return;
    };
    let count = || handset.network().sent_by_interfaces().expect("counters");
    let before = count();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(count(), before, "the kernel itself sent packets");

    let beyond = Action::TcpTouch {
        to: SocketAddr::from(([9, 9, 9, 9], 443)),
    };
    let error = handset
        .run_app(10_060, &[beyond])
        .expect_err("an address that no host of the virtual internet has");
    assert!(error.to_string().contains("unreachable"), "{error}");
}

#[test]
fn nothing_is_left_behind() {
    if !live_possible("nothing_is_left_behind") {
        return;
    }
    let mine = format!("sakshi-vh-{}-", std::process::id());
    let named = || {
        fs::read_dir("/run/netns").map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&mine))
                .count()
        })
    };
    let others = named();
    let handset = Handset::start().expect("a virtual handset");
    let dir = handset.dir().to_owned();
    assert_eq!(named(), others + 2);
    drop(handset);
    assert_eq!(named(), others);
    assert!(!dir.exists());
}

#[test]
fn what_a_dead_process_left_is_removed_at_the_next_start() {
    if !live_possible("what_a_dead_process_left_is_removed") {
        return;
    }
    let mut short = Command::new("true")
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let pid = short.id();
    short.wait().expect("its end");
    let left = format!("sakshi-vh-{pid}-0-handset");
    let added = Command::new("ip").args(["netns", "add", &left]).status();
    assert!(added.expect("ip").success());
    let path = Path::new("/run/netns").join(&left);
    assert!(path.exists());
    let _handset = Handset::start().expect("a virtual handset");
    assert!(!path.exists());
}
