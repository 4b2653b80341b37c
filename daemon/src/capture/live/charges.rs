//! Whom netd charges for the sockets that the layer reads.
//!
//! In: owner facts of the layer, as they come. Out: a [`ChargeFact`] for each socket that is tagged,
//! and for each other charge that it gets. The capture thread asks: a look is one system call that
//! waits for nothing, beside the three that a new socket costs anyway, and each moment later netd
//! may have forgotten the socket.
//!
//! A socket is looked for when its first packet is read, and again before its flow is settled: after
//! [`AGAIN_NANOS`] and once more. One that is tagged is then looked for every [`EVERY_NANOS`], since
//! a pooled connection may be charged to one app after another; one that is not, when the layer
//! reports it again. netd forgets a socket when it is destroyed: one that is over before its first
//! packet was read shows no charge.

use std::{collections::VecDeque, net::SocketAddr};

use crate::{
    attribute::charge::{Charge, ChargeBasis},
    capture::exactness::{TagMap, TagMapError},
    input::{ChargeFact, Event, FactBasis, Gap, GapCause, OwnerFact, SocketProto},
    time::Timestamp,
};

/// Waits before the second and the third look; a flow is settled after five seconds.
const AGAIN_NANOS: [i64; 2] = [1_000_000_000, 3_000_000_000];
/// Wait between the looks for a tagged socket.
const EVERY_NANOS: i64 = 30_000_000_000;
/// How long a socket is looked for; the layer reports one that still sends after as long.
const WATCHED_NANOS: i64 = 300_000_000_000;
/// Sockets that wait for their next look; one more has had its only one, which is counted.
const WATCHED_MAX: usize = 16_384;
/// Looks of each kind in one turn of the thread; what is due beyond waits for the next.
const LOOKS_PER_TURN_MAX: usize = 256;
/// Those that had only one look are told this often.
const TOLD_EVERY_NANOS: i64 = 60_000_000_000;
/// How gaps name this.
const PLACE: &str = "charges by netd";

/// Says whom netd charges for a socket.
pub(crate) trait Tags {
    /// None where it is not tagged, or is gone.
    fn charge_of(&self, cookie: u64) -> Result<Option<Charge>, TagMapError>;
}

impl Tags for TagMap {
    fn charge_of(&self, cookie: u64) -> Result<Option<Charge>, TagMapError> {
        Self::charge_of(self, cookie)
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) monotonic: i64,
}

/// A socket that is looked for again.
#[derive(Debug, Clone, Copy)]
struct Watched {
    due: i64,
    since: i64,
    proto: SocketProto,
    local: SocketAddr,
    remote: SocketAddr,
    cookie: u64,
    last: Option<Charge>,
}

/// Looks for sockets in netd's map.
pub(crate) struct ChargeWatch<T = TagMap> {
    tags: T,
    /// By the kind of their next look; each kind waits equally long, so the first is due first.
    waiting: [VecDeque<Watched>; AGAIN_NANOS.len() + 1],
    turned_away: u64,
    told_at: i64,
    /// Whether the last look failed, so that a lasting failure is told once.
    failed: bool,
}

impl<T: Tags> ChargeWatch<T> {
    pub(crate) fn new(tags: T) -> Self {
        Self {
            tags,
            waiting: Default::default(),
            turned_away: 0,
            told_at: i64::MIN,
            failed: false,
        }
    }

    /// Looks for the socket of a fact.
    pub(crate) fn sighted(&mut self, fact: &OwnerFact, moment: Moment, out: &mut dyn FnMut(Event)) {
        let (FactBasis::XtBpf, Some(cookie)) = (fact.basis, fact.cookie) else {
            return;
        };
        let mut socket = Watched {
            due: 0,
            since: moment.monotonic,
            proto: fact.proto,
            local: fact.local,
            remote: fact.remote,
            cookie,
            last: None,
        };
        self.look(&mut socket, moment, out);
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        if waiting >= WATCHED_MAX {
            self.turned_away += 1;
        } else {
            self.wait(0, socket, moment.monotonic);
        }
    }

    /// Looks for those that are due.
    pub(crate) fn turn(&mut self, moment: Moment, out: &mut dyn FnMut(Event)) {
        for kind in 0..self.waiting.len() {
            for _ in 0..LOOKS_PER_TURN_MAX {
                let due = |socket: &mut Watched| socket.due <= moment.monotonic;
                let first = self.waiting.get_mut(kind);
                let Some(mut socket) = first.and_then(|kind| kind.pop_front_if(due)) else {
                    break;
                };
                let was_tagged = socket.last.is_some();
                let is_tagged = self.look(&mut socket, moment, out);
                let last = AGAIN_NANOS.len();
                // What is no longer there is over; what never was is reported again by the layer.
                let over = !is_tagged && (was_tagged || kind + 1 >= last);
                if !over && moment.monotonic.saturating_sub(socket.since) < WATCHED_NANOS {
                    self.wait((kind + 1).min(last), socket, moment.monotonic);
                }
            }
        }
        if moment.monotonic.saturating_sub(self.told_at) >= TOLD_EVERY_NANOS {
            self.tell(moment, out);
        }
    }

    /// Looks once more for all that wait: their flows are settled now.
    pub(crate) fn finish(mut self, moment: Moment, out: &mut dyn FnMut(Event)) {
        for kind in std::mem::take(&mut self.waiting) {
            for mut socket in kind {
                self.look(&mut socket, moment, out);
            }
        }
        self.tell(moment, out);
    }

    fn wait(&mut self, kind: usize, mut socket: Watched, monotonic: i64) {
        let nanos = AGAIN_NANOS.get(kind).copied().unwrap_or(EVERY_NANOS);
        socket.due = monotonic.saturating_add(nanos);
        if let Some(waiting) = self.waiting.get_mut(kind) {
            waiting.push_back(socket);
        }
    }

    /// Whether it is tagged; a charge that is new is told.
    fn look(&mut self, socket: &mut Watched, moment: Moment, out: &mut dyn FnMut(Event)) -> bool {
        let charge = match self.tags.charge_of(socket.cookie) {
            Ok(charge) => charge,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    out(gap(GapCause::Degraded, moment.now, error.to_string()));
                }
                // It may be again, and what was known stands.
                return socket.last.is_some();
            }
        };
        self.failed = false;
        let Some(charge) = charge else {
            return false;
        };
        if socket.last.replace(charge) != Some(charge) {
            out(Event::ChargeFact(ChargeFact {
                at: moment.now,
                proto: socket.proto,
                local: socket.local,
                remote: socket.remote,
                cookie: socket.cookie,
                charge,
                basis: ChargeBasis::NetdTag,
            }));
        }
        true
    }

    fn tell(&mut self, moment: Moment, out: &mut dyn FnMut(Event)) {
        if self.turned_away == 0 {
            return;
        }
        let turned_away = std::mem::take(&mut self.turned_away);
        self.told_at = moment.monotonic;
        out(gap(
            GapCause::TableFull,
            moment.now,
            format!(
                "{turned_away} sockets were looked for once only in netd's map of tags, because \
                 the table was full; whom they were charged to later is not known"
            ),
        ));
    }
}

fn gap(cause: GapCause, now: Timestamp, detail: String) -> Event {
    Event::Gap(Gap::uncounted(cause, now, PLACE, detail))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, rc::Rc};

    use super::*;

    /// What netd keeps; none: it cannot be read.
    type Kept = Rc<RefCell<Option<BTreeMap<u64, Charge>>>>;

    impl Tags for Kept {
        fn charge_of(&self, cookie: u64) -> Result<Option<Charge>, TagMapError> {
            match &*self.borrow() {
                Some(kept) => Ok(kept.get(&cookie).copied()),
                None => Err(TagMapError::Unreadable {
                    path: PathBuf::from("map"),
                    why: "gone".to_owned(),
                }),
            }
        }
    }

    const SECOND: i64 = 1_000_000_000;

    fn fact(cookie: u64) -> OwnerFact {
        OwnerFact {
            at: Timestamp::default(),
            proto: SocketProto::Tcp,
            local: "192.168.43.100:40000".parse().unwrap(),
            remote: "13.228.10.20:443".parse().unwrap(),
            uid: Some(10_012),
            inode: 0,
            basis: FactBasis::XtBpf,
            cookie: Some(cookie),
            kernel_nanos: Some(1),
            opening: Some(1),
        }
    }

    const fn charge(uid: u32) -> Charge {
        Charge { uid, tag: 1 }
    }

    fn at(monotonic: i64) -> Moment {
        Moment {
            now: Timestamp::from_nanos(monotonic),
            monotonic,
        }
    }

    struct Bench {
        kept: Kept,
        watch: ChargeWatch<Kept>,
        told: Vec<Event>,
    }

    impl Bench {
        fn new() -> Self {
            let kept = Kept::new(RefCell::new(Some(BTreeMap::new())));
            Self {
                watch: ChargeWatch::new(Rc::clone(&kept)),
                kept,
                told: Vec::new(),
            }
        }

        fn set(&self, cookie: u64, charge: Option<Charge>) {
            let mut kept = self.kept.borrow_mut();
            let kept = kept.as_mut().unwrap();
            match charge {
                Some(charge) => kept.insert(cookie, charge),
                None => kept.remove(&cookie),
            };
        }

        fn sighted(&mut self, cookie: u64, monotonic: i64) {
            let told = &mut self.told;
            self.watch
                .sighted(&fact(cookie), at(monotonic), &mut |event| told.push(event));
        }

        fn turn(&mut self, monotonic: i64) {
            let told = &mut self.told;
            self.watch
                .turn(at(monotonic), &mut |event| told.push(event));
        }

        /// UIDs that were told since the last call.
        fn charged(&mut self) -> Vec<u32> {
            let told = self.told.drain(..);
            told.filter_map(|event| match event {
                Event::ChargeFact(fact) => Some(fact.charge.uid),
                _ => None,
            })
            .collect()
        }

        fn waiting(&self) -> usize {
            self.watch.waiting.iter().map(VecDeque::len).sum()
        }
    }

    #[test]
    fn a_charge_is_told_once_and_another_one_again() {
        let mut bench = Bench::new();
        bench.set(7, Some(charge(10_123)));
        bench.sighted(7, 0);
        assert_eq!(bench.charged(), [10_123]);
        bench.turn(SECOND);
        bench.turn(4 * SECOND);
        assert_eq!(bench.charged(), [] as [u32; 0]);
        bench.set(7, Some(charge(10_124)));
        bench.turn(33 * SECOND);
        assert_eq!(bench.charged(), [] as [u32; 0]);
        bench.turn(34 * SECOND);
        assert_eq!(bench.charged(), [10_124]);
        bench.set(7, None);
        bench.turn(64 * SECOND);
        assert_eq!((bench.charged(), bench.waiting()), (Vec::new(), 0));
    }

    #[test]
    fn a_tag_that_comes_before_the_flow_is_settled_is_seen() {
        let mut bench = Bench::new();
        bench.sighted(7, 0);
        bench.turn(SECOND);
        bench.set(7, Some(charge(10_123)));
        bench.turn(4 * SECOND);
        assert_eq!(bench.charged(), [10_123]);
    }

    #[test]
    fn what_is_never_tagged_is_given_up_and_looked_for_at_its_next_report() {
        let mut bench = Bench::new();
        bench.sighted(7, 0);
        bench.turn(SECOND);
        bench.turn(4 * SECOND);
        assert_eq!(bench.waiting(), 0);
        bench.set(7, Some(charge(10_123)));
        bench.sighted(7, WATCHED_NANOS);
        assert_eq!(bench.charged(), [10_123]);
    }

    #[test]
    fn at_the_end_all_that_wait_are_looked_for() {
        let mut bench = Bench::new();
        bench.sighted(7, 0);
        bench.set(7, Some(charge(10_123)));
        let told = &mut bench.told;
        bench.watch.finish(at(1), &mut |event| told.push(event));
        assert!(
            matches!(told.as_slice(), [Event::ChargeFact(_)]),
            "{told:?}"
        );
    }

    #[test]
    fn a_map_that_fails_is_told_once() {
        let mut bench = Bench::new();
        *bench.kept.borrow_mut() = None;
        bench.sighted(7, 0);
        bench.sighted(8, 0);
        bench.turn(SECOND);
        let [Event::Gap(gap)] = bench.told.as_slice() else {
            panic!("{:?}", bench.told);
        };
        assert_eq!((gap.cause, gap.place.as_str()), (GapCause::Degraded, PLACE));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told() {
        let mut bench = Bench::new();
        let sockets = u64::try_from(WATCHED_MAX).unwrap() + 3;
        for cookie in 1..=sockets {
            bench.sighted(cookie, 0);
        }
        bench.turn(0);
        let [Event::Gap(gap)] = bench.told.as_slice() else {
            panic!("{:?}", bench.told);
        };
        assert_eq!(gap.cause, GapCause::TableFull);
        assert!(gap.detail.starts_with("3 sockets"), "{}", gap.detail);
    }

    #[test]
    fn a_lookup_s_cookie_is_not_looked_for() {
        let mut bench = Bench::new();
        bench.set(7, Some(charge(10_123)));
        let asked = OwnerFact {
            basis: FactBasis::SockDiag,
            ..fact(7)
        };
        let told = &mut bench.told;
        bench
            .watch
            .sighted(&asked, at(0), &mut |event| told.push(event));
        assert_eq!(bench.charged(), [] as [u32; 0]);
    }
}
