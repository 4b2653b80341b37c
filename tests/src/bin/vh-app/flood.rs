//! Datagrams as fast as the machine can send them, or at a rate.
//!
//! In: an [`Action::Flood`]. Out: traffic that is bounded in count and in time, and how much each
//! socket sent. The rate is kept by looking at the clock after every few packets: how fast it
//! really was is measured by whoever asked for it.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use sakshi_tests::handset::script::Action;

use super::{Result, udp_socket};

/// Packets between two looks at the clock.
const BURST: u64 = 32;

/// Sends; `say` is told what each socket sent.
pub fn run(action: &Action, say: impl Fn(SocketAddr, SocketAddr, u64) -> Result<()>) -> Result<()> {
    let Action::Flood {
        to,
        bytes,
        threads,
        packets,
        rate,
        seconds,
    } = action
    else {
        return Err("not a flood".into());
    };
    let limits = Limits {
        packets: *packets,
        pause: Duration::from_nanos(
            (1_000_000_000 * BURST * threads)
                .checked_div(*rate)
                .unwrap_or(0),
        ),
        time: Duration::from_secs(*seconds),
    };
    let sent: Vec<io::Result<(SocketAddr, u64)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..*threads)
            .map(|_| scope.spawn(|| send(*to, *bytes, &limits)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                let panicked = |_| Err(io::Error::other("a thread of the flood panicked"));
                thread.join().unwrap_or_else(panicked)
            })
            .collect()
    });
    sent.into_iter().try_for_each(|sent| {
        let (local, count) = sent?;
        say(local, *to, count)
    })
}

/// Where a thread ends.
struct Limits {
    packets: u64,
    /// Time that a burst takes at the least.
    pause: Duration,
    time: Duration,
}

#[expect(
    clippy::disallowed_methods,
    reason = "paces and bounds a load generator; no verdict of a test depends on it"
)]
fn send(to: SocketAddr, bytes: usize, limits: &Limits) -> io::Result<(SocketAddr, u64)> {
    let socket = udp_socket(to)?;
    socket.connect(to)?;
    let payload = vec![b'.'; bytes];
    let start = Instant::now();
    let mut due = Duration::ZERO;
    let mut sent = 0;
    while sent < limits.packets && start.elapsed() < limits.time {
        for _ in 0..BURST.min(limits.packets - sent) {
            socket.send(&payload)?;
            sent += 1;
        }
        due += limits.pause;
        if let Some(early) = due.checked_sub(start.elapsed()) {
            thread::sleep(early);
        }
    }
    Ok((socket.local_addr()?, sent))
}
