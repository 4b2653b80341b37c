//! Hands inputs on to the pipeline, many at a time, and never waits for it.
//!
//! In: packets and events from a capture thread. Out: [`Batch`]es through a bounded channel. When
//! the channel is full the current batch is kept and filled; when that is full too, its packets are
//! dropped and counted, and the count follows as a [`Gap`]. Gaps and other events are never
//! dropped, except facts of owners, processes and charges and closed sockets, which go with their packets.

use std::{
    sync::mpsc::{Receiver, SyncSender, TrySendError},
    thread,
    time::Duration,
};

use crate::{
    input::{Batch, Event, Gap, GapCause, Input, Packet},
    platform::clock::Clock,
    time::Timestamp,
};

/// Batches that wait for the pipeline at most (16 MiB of packets).
pub const QUEUE_BATCHES_MAX: usize = 64;
/// How long a packet waits in a batch at most.
pub const BATCH_NANOS_MAX: i64 = 20_000_000;
/// How long the last batch may wait for room in the channel.
const LAST_BATCH_NANOS_MAX: i64 = 5_000_000_000;
/// How often the last batch is offered.
const LAST_BATCH_EVERY: Duration = Duration::from_millis(5);
/// Where gaps of ours are said to have happened.
const PLACE: &str = "queue to the pipeline";

/// Packets that were dropped and not yet told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    packets: u64,
    from: Timestamp,
    to: Timestamp,
}

/// The sending end.
pub(crate) struct Outbox {
    batches: SyncSender<Batch>,
    returns: Receiver<Batch>,
    batch: Batch,
    /// Monotonic time of the first input in the batch.
    since: i64,
    dropped: Option<Dropped>,
    dropped_total: u64,
    gone: bool,
}

impl Outbox {
    pub(crate) fn new(batches: SyncSender<Batch>, returns: Receiver<Batch>) -> Self {
        Self {
            batches,
            returns,
            batch: Batch::new(),
            since: 0,
            dropped: None,
            dropped_total: 0,
            gone: false,
        }
    }

    pub(crate) fn push_packet(&mut self, packet: &Packet<'_>, clock: &dyn Clock) {
        self.make_room(clock);
        self.batch.push_packet(packet);
    }

    pub(crate) fn push_event(&mut self, event: Event, clock: &dyn Clock) {
        self.make_room(clock);
        self.batch.push_event(event);
    }

    fn make_room(&mut self, clock: &dyn Clock) {
        if self.batch.is_full() {
            self.flush(clock);
        }
        if self.batch.is_empty() {
            self.since = clock.monotonic_nanos();
        }
    }

    /// Sends the batch if its first input has waited long enough.
    pub(crate) fn flush_if_due(&mut self, clock: &dyn Clock) {
        if self.nanos_left(clock) == Some(0) {
            self.flush(clock);
        }
    }

    /// Nanoseconds until the batch is due; none when there is nothing to send.
    pub(crate) fn nanos_left(&self, clock: &dyn Clock) -> Option<i64> {
        if self.batch.is_empty() && self.dropped.is_none() {
            return None;
        }
        let waited = clock.monotonic_nanos().saturating_sub(self.since);
        Some(BATCH_NANOS_MAX.saturating_sub(waited).max(0))
    }

    /// Offers the batch; drops its packets only if it is full and there is no room.
    fn flush(&mut self, clock: &dyn Clock) {
        if let Some(dropped) = self.dropped.take() {
            self.batch.push_event(Event::Gap(Gap {
                at: clock.now(),
                cause: GapCause::QueueFull,
                from: Some(dropped.from),
                to: Some(dropped.to),
                packets: Some(dropped.packets),
                place: PLACE.into(),
                detail: "the evidence store did not keep up, so packets were dropped before they \
                         were looked at"
                    .into(),
            }));
        }
        if self.batch.is_empty() {
            return;
        }
        let next = self.returns.try_recv().unwrap_or_default();
        match self
            .batches
            .try_send(std::mem::replace(&mut self.batch, next))
        {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) if !batch.is_full() => self.batch = batch,
            Err(TrySendError::Full(batch)) => self.drop_packets(&batch),
            Err(TrySendError::Disconnected(batch)) => {
                self.gone = true;
                self.drop_packets(&batch);
            }
        }
    }

    /// Counts a batch's packets as dropped and keeps its events. Gaps of one cause and place become
    /// one, so that what is kept stays small however long the pipeline stands still.
    fn drop_packets(&mut self, batch: &Batch) {
        self.batch.clear();
        let mut gaps: Vec<Gap> = Vec::new();
        for input in batch.iter() {
            match input {
                Input::Packet(packet) => {
                    self.dropped_total += 1;
                    self.count_dropped(1, packet.at, packet.at);
                }
                Input::Event(
                    Event::OwnerFact(_)
                    | Event::ProcessFact(_)
                    | Event::ChargeFact(_)
                    | Event::SocketClosed(_),
                ) => {}
                Input::Event(Event::Gap(gap)) if gap.cause == GapCause::QueueFull => {
                    let (from, to) = (gap.from.unwrap_or(gap.at), gap.to.unwrap_or(gap.at));
                    self.count_dropped(gap.packets.unwrap_or(0), from, to);
                }
                Input::Event(Event::Gap(gap)) => merge(&mut gaps, gap),
                Input::Event(event) => self.batch.push_event(event.clone()),
            }
        }
        for gap in gaps {
            self.batch.push_event(Event::Gap(gap));
        }
    }

    fn count_dropped(&mut self, packets: u64, from: Timestamp, to: Timestamp) {
        let dropped = self.dropped.get_or_insert(Dropped {
            packets: 0,
            from,
            to,
        });
        dropped.packets = dropped.packets.saturating_add(packets);
        dropped.from = dropped.from.min(from);
        dropped.to = dropped.to.max(to);
    }

    /// Sends what is left; waits a bounded time for room, since nothing is captured any more.
    pub(crate) fn finish(mut self, clock: &dyn Clock) -> u64 {
        let start = clock.monotonic_nanos();
        loop {
            self.flush(clock);
            let waited = clock.monotonic_nanos().saturating_sub(start);
            let sent = self.batch.is_empty() && self.dropped.is_none();
            if sent || self.gone || waited > LAST_BATCH_NANOS_MAX {
                return self.dropped_total
                    + u64::try_from(self.batch.packets()).unwrap_or(u64::MAX);
            }
            thread::sleep(LAST_BATCH_EVERY);
        }
    }
}

fn merge(gaps: &mut Vec<Gap>, gap: &Gap) {
    let same = gaps.iter_mut().find(|kept| {
        kept.cause == gap.cause
            && kept.place == gap.place
            && kept.packets.is_some() == gap.packets.is_some()
    });
    let Some(kept) = same else {
        gaps.push(gap.clone());
        return;
    };
    kept.packets = kept
        .packets
        .zip(gap.packets)
        .map(|(a, b)| a.saturating_add(b));
    kept.from = kept.from.zip(gap.from).map(|(a, b)| a.min(b));
    kept.to = kept.to.zip(gap.to).map(|(a, b)| a.max(b));
    kept.at = kept.at.max(gap.at);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        input::{LinkType, TimeBasis, Vantage},
        platform::clock::SystemClock,
    };

    fn packet(frame: u64) -> Packet<'static> {
        Packet {
            at: Timestamp::from_micros(i64::try_from(frame).unwrap()),
            time_basis: TimeBasis::Receive,
            link: LinkType::RawIp,
            vantage: Vantage::Output,
            uid: None,
            interface: None,
            original_len: 20,
            source: 0,
            frame,
            data: &[0x45; 20],
        }
    }

    fn loss(packets: u64) -> Event {
        Event::Gap(Gap {
            at: Timestamp::from_micros(5),
            cause: GapCause::KernelLoss,
            from: None,
            to: None,
            packets: Some(packets),
            place: "nflog group 101".into(),
            detail: String::new(),
        })
    }

    #[test]
    fn what_is_dropped_is_counted_and_no_gap_is_lost() {
        let (batches, received) = mpsc::sync_channel(1);
        let (_returns, returned) = mpsc::sync_channel(1);
        let mut outbox = Outbox::new(batches, returned);
        let sent = 5 * u64::try_from(Batch::INPUTS_MAX).unwrap();
        for frame in 1..=sent {
            outbox.push_packet(&packet(frame), &SystemClock);
            if frame % 1000 == 0 {
                outbox.push_event(loss(3), &SystemClock);
            }
        }
        let dropped = outbox.dropped_total;
        assert!(dropped > 0);
        let reader = thread::spawn(move || {
            let (mut seen, mut queue, mut kernel) = (0, 0, 0);
            for batch in received {
                for input in batch.iter() {
                    match input {
                        Input::Packet(_) => seen += 1,
                        Input::Event(Event::Gap(gap)) => match gap.cause {
                            GapCause::QueueFull => queue += gap.packets.unwrap(),
                            _ => kernel += gap.packets.unwrap(),
                        },
                        Input::Event(_) => {}
                    }
                }
            }
            (seen, queue, kernel)
        });
        assert_eq!(outbox.finish(&SystemClock), dropped);
        let (seen, queue, kernel) = reader.join().unwrap();
        assert_eq!((seen + queue, queue), (sent, dropped));
        assert_eq!(kernel, sent / 1000 * 3);
    }

    #[test]
    fn a_slow_pipeline_loses_nothing_while_the_batch_has_room() {
        let (batches, received) = mpsc::sync_channel(1);
        let (_returns, returned) = mpsc::sync_channel(1);
        let mut outbox = Outbox::new(batches, returned);
        for frame in 1..=100 {
            outbox.push_packet(&packet(frame), &SystemClock);
            outbox.flush(&SystemClock);
        }
        assert_eq!(outbox.dropped_total, 0);
        assert_eq!(received.recv().unwrap().packets(), 1);
        outbox.flush(&SystemClock);
        assert_eq!(received.recv().unwrap().packets(), 99);
    }
}
