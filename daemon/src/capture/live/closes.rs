//! Hears from the kernel which sockets it destroys (the destroy groups of `NETLINK_SOCK_DIAG`).
//!
//! In: datagrams of a netlink socket that the capture thread polls beside its groups. Out:
//! [`SocketClosed`] events, each a moment after it was told, so that the packets before it come
//! first. What found no room in the socket's buffer is a gap.

use std::{collections::VecDeque, io, os::fd::AsFd};

use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::RecvFlags,
};

use crate::{
    attribute::sock_destroy::{ClosedSocket, GROUPS, closed_sockets},
    capture::nflog::socket::size_receive_buffer,
    input::{Event, Gap, GapCause, SocketClosed},
    platform::clock::Clock,
    time::Timestamp,
};

/// Receive buffer that is asked for, in bytes: some thousand closes.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Longest datagram: one socket with its `tcp_info`, with much room for later kernels.
const DATAGRAM_BYTES_MAX: usize = 8 * 1024;
/// Datagrams read before packets have their turn.
const DATAGRAMS_PER_TURN_MAX: usize = 64;
/// How long an end is held, in nanoseconds: packets before it wait in the kernel for up to 20 ms,
/// and as long in a batch of ours.
const HOLD_NANOS: i64 = 150_000_000;
/// Ends that are held at once; one more lets the oldest go early, which can only cost its flow the
/// totals.
pub const HELD_MAX: usize = 8192;
/// Overruns are told together, at most this often.
const TELL_EVERY_NANOS: i64 = 1_000_000_000;
/// How gaps name this part of the watch.
const PLACE: &str = "ends of sockets";

/// Why ends of sockets are not heard.
#[derive(Debug, thiserror::Error)]
#[error(
    "the kernel does not tell when it destroys sockets ({step}: {source}); flows lack closing \
     totals, and whether a flow was answered shows in its packets only"
)]
pub struct ClosesError {
    /// What was being done.
    step: &'static str,
    /// The kernel's answer.
    source: io::Error,
}

#[derive(Debug)]
struct Held {
    /// Monotonic time at which it goes.
    due: i64,
    closed: SocketClosed,
}

/// Overruns not told yet.
#[derive(Debug, Clone, Copy)]
struct Overruns {
    count: u64,
    from: Timestamp,
}

/// The socket and what is held.
pub(crate) struct CloseWatch {
    socket: Socket,
    buffer: Vec<u8>,
    held: VecDeque<Held>,
    overruns: Option<Overruns>,
    told_at: i64,
    last_read: Timestamp,
    broken: bool,
}

impl CloseWatch {
    /// Joins the four groups in the network namespace of the calling thread.
    pub(crate) fn open(clock: &dyn Clock) -> Result<Self, ClosesError> {
        let failed = |step| move |source| ClosesError { step, source };
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed("open"))?;
        socket.bind_auto().map_err(failed("bind"))?;
        size_receive_buffer(&socket, RECEIVE_BUFFER_BYTES)
            .map_err(|errno| failed("receive buffer")(errno.into()))?;
        for group in GROUPS {
            socket
                .add_membership(group)
                .map_err(failed("join a group"))?;
        }
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            held: VecDeque::new(),
            overruns: None,
            told_at: 0,
            last_read: clock.now(),
            broken: false,
        })
    }

    /// What to wait for; none once the socket has failed.
    pub(crate) fn poll_fd(&self) -> Option<PollFd<'_>> {
        (!self.broken).then(|| PollFd::new(&self.socket, PollFlags::IN))
    }

    /// Reads what waits, and gives `each` what is due.
    pub(crate) fn turn(&mut self, clock: &dyn Clock, each: &mut dyn FnMut(Event)) {
        let (now, monotonic) = (clock.now(), clock.monotonic_nanos());
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            if self.broken || !self.read(now, monotonic, each) {
                break;
            }
        }
        self.release(monotonic, each);
        self.tell(now, monotonic, each);
    }

    /// Gives `each` everything that is held: no packet comes any more.
    pub(crate) fn finish(mut self, clock: &dyn Clock, each: &mut dyn FnMut(Event)) {
        self.turn(clock, each);
        self.release(i64::MAX, each);
        self.told_at = 0;
        self.tell(clock.now(), i64::MAX, each);
    }

    /// Reads one datagram; false when nothing waits.
    fn read(&mut self, now: Timestamp, monotonic: i64, each: &mut dyn FnMut(Event)) -> bool {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let len = match rustix::net::recv(self.socket.as_fd(), &mut self.buffer[..], flags) {
            Ok((_, len)) => len,
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {
                self.last_read = now;
                return false;
            }
            Err(Errno::NOBUFS) => {
                self.overrun();
                return true;
            }
            Err(errno) => {
                self.broken = true;
                each(self.gap(
                    now,
                    None,
                    format!("{errno}; ends of sockets are no longer heard"),
                ));
                return false;
            }
        };
        let Some(datagram) = self.buffer.get(..len) else {
            // Longer than any that is known: what it held is not read.
            self.overrun();
            return true;
        };
        let mut unread = false;
        let mut read = Vec::new();
        for closed in closed_sockets(datagram) {
            match closed {
                Ok(closed) if concerns_the_network(&closed) => read.push(closed),
                Ok(_) => {}
                Err(_) => unread = true,
            }
        }
        if unread {
            self.overrun();
        }
        for closed in read {
            self.hold(closed, now, monotonic, each);
        }
        true
    }

    fn hold(
        &mut self,
        closed: ClosedSocket,
        now: Timestamp,
        monotonic: i64,
        each: &mut dyn FnMut(Event),
    ) {
        if self.held.len() >= HELD_MAX
            && let Some(oldest) = self.held.pop_front()
        {
            each(Event::SocketClosed(oldest.closed));
        }
        self.held.push_back(Held {
            due: monotonic.saturating_add(HOLD_NANOS),
            closed: SocketClosed {
                at: now,
                proto: closed.proto,
                local: closed.local,
                remote: closed.remote,
                cookie: closed.cookie,
                bytes_acked: closed.bytes_acked,
                bytes_received: closed.bytes_received,
                min_rtt_us: closed.min_rtt_us,
            },
        });
    }

    fn release(&mut self, monotonic: i64, each: &mut dyn FnMut(Event)) {
        while let Some(held) = self.held.pop_front_if(|held| held.due <= monotonic) {
            each(Event::SocketClosed(held.closed));
        }
    }

    fn overrun(&mut self) {
        let from = self.last_read;
        let overruns = self.overruns.get_or_insert(Overruns { count: 0, from });
        overruns.count = overruns.count.saturating_add(1);
    }

    fn tell(&mut self, now: Timestamp, monotonic: i64, each: &mut dyn FnMut(Event)) {
        if monotonic.saturating_sub(self.told_at) < TELL_EVERY_NANOS {
            return;
        }
        let Some(overruns) = self.overruns.take() else {
            return;
        };
        self.told_at = monotonic;
        let detail = format!(
            "the kernel dropped messages about ends of sockets, {} times; flows of this span may \
             lack closing totals, no packet is missing",
            overruns.count
        );
        each(self.gap(now, Some(overruns.from), detail));
    }

    fn gap(&self, now: Timestamp, from: Option<Timestamp>, detail: String) -> Event {
        Event::Gap(Gap {
            at: now,
            cause: GapCause::Degraded,
            from: from.or(Some(self.last_read)),
            to: from.map(|_| now),
            packets: Some(0),
            place: PLACE.into(),
            detail,
        })
    }
}

/// A socket that was connected to another machine: one that never was has no flow that it names,
/// and loopback is not watched.
fn concerns_the_network(closed: &ClosedSocket) -> bool {
    let remote = closed.remote;
    !remote.ip().is_unspecified() && remote.port() != 0 && !remote.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::{input::SocketProto, platform::clock::SystemClock};

    fn told(watch: &mut CloseWatch) -> Vec<Event> {
        let mut events = Vec::new();
        watch.turn(&SystemClock, &mut |event| events.push(event));
        events
    }

    #[test]
    fn what_is_held_goes_in_order_and_none_is_lost() {
        let mut watch = CloseWatch::open(&SystemClock).unwrap();
        let closed = |port: u16| ClosedSocket {
            proto: SocketProto::Udp,
            local: ([192, 0, 2, 1], port).into(),
            remote: ([192, 0, 2, 2], 53).into(),
            cookie: None,
            bytes_acked: None,
            bytes_received: None,
            min_rtt_us: None,
        };
        let mut ports = Vec::new();
        let mut each = |event: Event| {
            if let Event::SocketClosed(closed) = event {
                ports.push(closed.local.port());
            }
        };
        let now = Timestamp::default();
        for port in 0..=u16::try_from(HELD_MAX).unwrap() {
            watch.hold(closed(port), now, i64::from(port), &mut each);
        }
        watch.release(HOLD_NANOS, &mut each);
        watch.release(HOLD_NANOS + 2, &mut each);
        assert_eq!(ports, [0, 1, 2], "the first for want of room");
    }

    #[test]
    fn overruns_are_told_together() {
        let mut watch = CloseWatch::open(&SystemClock).unwrap();
        watch.overrun();
        watch.overrun();
        let gaps: Vec<Gap> = told(&mut watch)
            .into_iter()
            .filter_map(|event| match event {
                Event::Gap(gap) => Some(gap),
                _ => None,
            })
            .collect();
        assert_eq!(gaps.len(), 1);
        assert!(gaps[0].detail.contains("2 times"), "{}", gaps[0].detail);
        assert_eq!(gaps[0].packets, Some(0));
        watch.overrun();
        assert!(told(&mut watch).is_empty(), "told less than a second ago");
    }

    #[test]
    fn loopback_and_unconnected_sockets_are_passed_over() {
        let mut watch = CloseWatch::open(&SystemClock).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:9").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        drop(UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut events = Vec::new();
        watch.turn(&SystemClock, &mut |event| events.push(event));
        watch.release(i64::MAX, &mut |event| events.push(event));
        let ours = |event: &Event| matches!(event, Event::SocketClosed(closed) if closed.local.port() == port);
        assert!(!events.iter().any(ours));
    }
}
