//! What changes around the packets: interfaces, and clocks through their port.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use sakshi::{
    capture::live::{CaptureWay, LiveCapture, LiveConfig},
    input::{Event, GapCause, InterfaceHappening, InterfaceKind},
    platform::clock::{Clock, SystemClock},
    time::Timestamp,
};

use crate::lab::*;

const SECOND_NANOS: i64 = 1_000_000_000;
/// Looks of the capture thread at the clocks come at least ten times a second.
const LOOK: Duration = Duration::from_millis(400);

/// The kernel's clocks, set and slept upon by the test.
#[derive(Debug, Default)]
struct Hands {
    set: AtomicI64,
    slept: AtomicI64,
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        let moved = self.set.load(Ordering::SeqCst) + self.slept.load(Ordering::SeqCst);
        SystemClock.now().plus_nanos(moved)
    }

    fn monotonic_nanos(&self) -> i64 {
        SystemClock.monotonic_nanos()
    }

    fn boottime_nanos(&self) -> i64 {
        SystemClock.monotonic_nanos() + self.slept.load(Ordering::SeqCst)
    }
}

#[test]
fn sleep_and_a_set_clock_are_told_apart() {
    for way in [CaptureWay::Nflog, CaptureWay::Packet] {
        let Some(lab) = Lab::without_ipv6("sleep_and_a_set_clock_are_told_apart") else {
            return;
        };
        let hands = Arc::new(Hands::default());
        let clock: Arc<dyn Clock> = hands.clone();
        let stream = lab.on_handset(|| {
            let config = LiveConfig {
                way,
                ..config("legacy")
            };
            let started = LiveCapture::start(&config, &clock).unwrap();
            let batches = started.batches;
            let reader = thread::spawn(move || read_all(&batches));
            thread::sleep(LOOK);
            hands.slept.fetch_add(90 * SECOND_NANOS, Ordering::SeqCst);
            thread::sleep(LOOK);
            hands.set.fetch_sub(3_600 * SECOND_NANOS, Ordering::SeqCst);
            thread::sleep(LOOK);
            started.capture.stop().unwrap();
            reader.join().unwrap()
        });
        let slept: Vec<u64> = stream
            .surroundings
            .iter()
            .filter_map(|event| match event {
                Event::Suspension(slept) => Some(slept.suspended_us),
                _ => None,
            })
            .collect();
        let [slept] = slept[..] else {
            panic!("{way:?}: {slept:?}");
        };
        // The two clocks of a look are read one after the other, so that the difference of two looks
        // is off, either way, by the time between two readings: as long as the reader was not run.
        assert!(
            (85_000_000..95_000_000).contains(&slept),
            "{way:?}: {slept}"
        );
        let steps: Vec<i64> = stream
            .gaps
            .iter()
            .filter(|gap| gap.cause == GapCause::ClockStep)
            .filter_map(|gap| Some(gap.to?.nanos_since(gap.from?) / SECOND_NANOS))
            .collect();
        assert!(matches!(steps[..], [-3600 | -3599]), "{way:?}: {steps:?}");
    }
}

#[test]
fn an_interface_that_is_replaced_is_another_one() {
    let Some(lab) = Lab::without_ipv6("an_interface_that_is_replaced_is_another_one") else {
        return;
    };
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
    let (first, stream) = lab.on_handset(|| {
        let started = start(&config("legacy"));
        let batches = started.batches;
        let reader = thread::spawn(move || read_all(&batches));
        for address in ["10.78.0.2/24", "10.79.0.2/24"] {
            ip("link add wlan0 type veth peer name ap0");
            ip("link set ap0 up");
            ip(&format!("addr add {address} dev wlan0"));
            ip("link set wlan0 up");
            ip("route add default dev wlan0");
            ip("link del wlan0");
        }
        started.capture.stop().unwrap();
        (started.first, reader.join().unwrap())
    });
    // What was there stands before the first packet, with its counters.
    let present = |name: &str| {
        first.iter().any(|event| match event {
            Event::Interface(change) => {
                change.happening == InterfaceHappening::Present && change.interface.name == name
            }
            _ => false,
        })
    };
    assert!(present("lo") && present("v0"), "{first:?}");
    assert!(
        matches!(first.last(), Some(Event::Counters(_))),
        "{first:?}"
    );
    assert!(matches!(
        stream.surroundings.last(),
        Some(Event::Counters(_))
    ));

    let told: Vec<_> = stream
        .surroundings
        .iter()
        .filter_map(|event| match event {
            Event::Interface(change) if change.interface.name == "wlan0" => Some(change),
            _ => None,
        })
        .collect();
    let of = |happening| -> Vec<u32> {
        let told = told.iter().filter(|change| change.happening == happening);
        told.map(|change| change.interface.index).collect()
    };
    let added = of(InterfaceHappening::Added);
    assert_eq!(added.len(), 2, "{told:?}");
    assert_ne!(added[0], added[1]);
    assert_eq!(of(InterfaceHappening::Removed), added);
    assert!(
        told.iter()
            .all(|it| it.interface.kind == InterfaceKind::Virtual)
    );
    // Each was told up with its own address at some time.
    for (index, address) in added.into_iter().zip(["10.78.0.2", "10.79.0.2"]) {
        let stood = told.iter().any(|it| {
            let own = |own: &sakshi::input::InterfaceAddress| own.addr.to_string() == address;
            it.interface.index == index && it.interface.up && it.interface.addresses.iter().any(own)
        });
        assert!(stood, "{address}: {told:?}");
    }
}

/// Changes that are made while nobody reads: more than the kernel keeps for us.
const UNREAD: u32 = 2000;

/// The kernel's clocks, on which the thread that follows the interfaces can be made to wait.
#[derive(Debug, Default)]
struct Stalling(AtomicBool);

impl Clock for Stalling {
    fn now(&self) -> Timestamp {
        let follows = thread::current().name() == Some("interfaces");
        while follows && self.0.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        SystemClock.now()
    }

    fn monotonic_nanos(&self) -> i64 {
        SystemClock.monotonic_nanos()
    }
}

#[test]
fn changes_that_were_lost_are_a_gap_and_what_is_there_is_asked_for_anew() {
    let test = "changes_that_were_lost_are_a_gap_and_what_is_there_is_asked_for_anew";
    let Some(lab) = Lab::without_ipv6(test) else {
        return;
    };
    let batch = tempfile::NamedTempFile::new().unwrap();
    let mut lines: Vec<String> = (0..UNREAD / 2)
        .map(|number| format!("10.80.{}.{}/32 dev v0", number / 250, number % 250 + 1))
        .flat_map(|what| [format!("addr add {what}"), format!("addr del {what}")])
        .collect();
    lines.push("link add wlan0 type veth peer name ap0\n".to_owned());
    std::fs::write(batch.path(), lines.join("\n")).unwrap();
    let stalling = Arc::new(Stalling::default());
    let clock: Arc<dyn Clock> = stalling.clone();
    let stream = lab.on_handset(|| {
        let started = LiveCapture::start(&config("legacy"), &clock).unwrap();
        let batches = started.batches;
        let reader = thread::spawn(move || read_all(&batches));
        stalling.0.store(true, Ordering::SeqCst);
        run("ip", &["-batch", batch.path().to_str().unwrap()]);
        stalling.0.store(false, Ordering::SeqCst);
        started.capture.stop().unwrap();
        reader.join().unwrap()
    });
    let [gap] = &stream.gaps[..] else {
        panic!("{:?}", stream.gaps);
    };
    assert_eq!((gap.cause, gap.packets), (GapCause::Degraded, Some(0)));
    assert_eq!(gap.place, "interfaces");
    assert!(gap.detail.contains("asked for anew"), "{}", gap.detail);
    let made = stream.surroundings.iter().any(|event| match event {
        Event::Interface(change) => {
            change.happening == InterfaceHappening::Added && change.interface.name == "wlan0"
        }
        _ => false,
    });
    assert!(
        made,
        "what was made meanwhile is told: {:?}",
        stream.surroundings.len()
    );
}
