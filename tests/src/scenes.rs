//! What the demo's apps do: one scene for each thing that the daemon must tell apart.
//!
//! In: the tables of hosts and apps. Out: scenes in the order in which they are played. The rows
//! of `tests/cases/demo/expected.jsonl` follow from them; its README says which from which.

use std::{thread, time::Duration};

use crate::{
    daemon::Daemon,
    handset::{
        Handset, Result,
        cast::{self, App},
        places::{self, Host},
        script::{Action, Proto, Sent},
    },
};

/// Packets follow each other to the daemon; a scene's last ones get this time before a new phase.
const PHASE_MARGIN: Duration = Duration::from_millis(200);

/// UID of the process that asks resolvers for apps (netd).
const ROOT: u32 = 0;

/// What one app does.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Phase of the examination to which it belongs.
    pub phase: &'static str,
    /// In plain words, for the reader of the demo.
    pub title: &'static str,
    /// What the platform's resolver asks before, on a socket that it gives to the app.
    pub asks: Option<Action>,
    /// UID under which the app runs.
    pub uid: u32,
    /// What it does.
    pub actions: Vec<Action>,
}

/// The handset is left alone, as after its first start.
pub const IDLE: &str = "idle";
/// Somebody uses it.
pub const IN_USE: &str = "in-use";

/// All scenes.
pub fn all() -> Vec<Scene> {
    let mut scenes = idle();
    scenes.extend(in_use());
    scenes
}

/// Plays all scenes, each in its phase; `told` hears of each. Gives the flows that were made.
pub fn play_all(
    handset: &Handset,
    daemon: &Daemon,
    told: &mut dyn FnMut(&str),
) -> Result<Vec<Sent>> {
    let (mut phase, mut sent) = ("", Vec::new());
    for scene in all() {
        if scene.phase != phase {
            phase = scene.phase;
            thread::sleep(PHASE_MARGIN);
            daemon.phase(phase)?;
            told(&format!("phase {phase}"));
        }
        sent.extend(scene.play(handset)?);
        told(&format!("uid {}: {}", scene.uid, scene.title));
    }
    Ok(sent)
}

fn idle() -> Vec<Scene> {
    vec![
        scene(
            IDLE,
            "a preloaded app (/system) resolves a name and talks TLS to AWS Singapore",
            cast::PUSH.uid(),
            vec![
                tls(&places::SINGAPORE, false),
                tls(&places::SINGAPORE, true),
            ],
        )
        .after(asks_for(&cast::PUSH, &places::SINGAPORE)),
        scene(
            IDLE,
            "a preloaded app (/product) talks HTTP in clear to China",
            cast::WEATHER.uid(),
            vec![Action::Http {
                name: places::CHINA.name.to_owned(),
                to: places::CHINA.v4(places::HTTP),
            }],
        )
        .after(asks_for(&cast::WEATHER, &places::CHINA)),
        scene(
            IDLE,
            "a preloaded app (/my_product) sends datagrams to AWS Mumbai",
            cast::STATS.uid(),
            vec![Action::Udp {
                to: places::MUMBAI.v4(places::ECHO),
                bytes: 900,
                packets: 5,
                answered: true,
            }],
        )
        .after(asks_for(&cast::STATS, &places::MUMBAI)),
        scene(
            IDLE,
            "a system daemon asks a time server in China",
            cast::SYSTEM_UID,
            vec![Action::Udp {
                to: places::CHINA.v6(places::NTP),
                bytes: 48,
                packets: 1,
                answered: true,
            }],
        ),
    ]
}

fn in_use() -> Vec<Scene> {
    vec![
        scene(
            IN_USE,
            "an updated preload talks TLS to an anycast content network",
            cast::MARKET.uid(),
            vec![tls(&places::CDN, false)],
        )
        .after(asks_for(&cast::MARKET, &places::CDN)),
        scene(
            IN_USE,
            "a deletable preload talks TLS to China over IPv6",
            cast::GAMES.uid(),
            vec![tls(&places::CHINA, true)],
        ),
        scene(
            IN_USE,
            "an app that the user installed talks TLS to AWS Singapore: not a preload",
            cast::CHAT.uid(),
            vec![tls(&places::SINGAPORE, false)],
        )
        .after(asks_for(&cast::CHAT, &places::SINGAPORE)),
        scene(
            IN_USE,
            "two packages under one shared UID talk TLS to AWS Mumbai",
            cast::SHARED_A.uid(),
            vec![tls(&places::MUMBAI, false)],
        ),
        scene(
            IN_USE,
            "a second user's app talks TLS to AWS Singapore over IPv6",
            cast::PUSH.uid_for(cast::SECOND_USER),
            vec![tls(&places::SINGAPORE, true)],
        ),
    ]
}

fn scene(phase: &'static str, title: &'static str, uid: u32, actions: Vec<Action>) -> Scene {
    Scene {
        phase,
        title,
        asks: None,
        uid,
        actions,
    }
}

impl Scene {
    fn after(self, asks: Action) -> Self {
        Self {
            asks: Some(asks),
            ..self
        }
    }

    /// Plays it on a handset; gives the flows that the processes say they made.
    pub fn play(&self, handset: &Handset) -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        if let Some(asks) = &self.asks {
            sent.extend(handset.run_app(ROOT, std::slice::from_ref(asks))?);
        }
        sent.extend(handset.run_app(self.uid, &self.actions)?);
        Ok(sent)
    }
}

fn asks_for(app: &App, host: &Host) -> Action {
    Action::Resolve {
        name: host.name.to_owned(),
        ipv6: false,
        resolver: places::RESOLVER.v4(places::DNS),
        over: Proto::Udp,
        on_behalf_of: Some(app.uid()),
    }
}

fn tls(host: &Host, ipv6: bool) -> Action {
    let to = if ipv6 {
        host.v6(places::TLS)
    } else {
        host.v4(places::TLS)
    };
    Action::Tls {
        name: host.name.to_owned(),
        to,
    }
}
