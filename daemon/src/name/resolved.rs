//! Which names answers gave to addresses, and until when that is to be believed.
//!
//! In: DNS responses with their time and who asked. Out: the names an address may have at a
//! moment. An address that two names share has two candidates, and none of them is certain: a
//! phone's resolver answers from its cache without a packet, so that somebody else's name may be
//! the one meant. An address that is only hinted at (RFC 9460 section 7.3) makes a candidate too: a
//! client need not use it.
//!
//! It also remembers under which names encrypted hellos were offered (ECH), for a hello with the
//! extension says nothing of that by itself.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use super::dns::{Answer, AnswerData, DnsMessage, Question, record_type};
use crate::time::Timestamp;

/// Addresses remembered; beyond that, the one learnt longest ago is evicted, and counted.
pub const ADDRESSES_MAX: usize = 8192;
/// Names remembered of an address; beyond that, the oldest is evicted, and counted.
pub const NAMES_PER_ADDRESS_MAX: usize = 16;
/// Names remembered under which encrypted hellos were offered; beyond that, the one learnt longest
/// ago is evicted, and counted.
pub const COVERING_NAMES_MAX: usize = 1024;
/// Aliases followed from a question to its addresses.
pub const CHAIN_MAX: usize = 16;
/// Longest name that is learnt, in bytes of its text. A name escaped to more than this is no
/// host's, and bounds on the table's memory need one on its names.
pub const NAME_TEXT_MAX: usize = 255;
/// Seconds that a name outlives its TTL. The phone's resolver hands an answer out until its TTL
/// ends, and the app connects a while after it was told.
pub const GRACE_SECONDS: u32 = 60;
/// Longest TTL believed, in seconds: seven days (RFC 8767 section 4).
pub const TTL_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A name that an answer gave to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name asked for; aliases between it and the address are left out.
    pub name: Arc<str>,
    /// When the answer came.
    pub at: Timestamp,
    /// When it stops being believed: the shortest TTL on the way, and [`GRACE_SECONDS`].
    pub expires: Timestamp,
    /// UID that asked, where known.
    pub asked_by: Option<u32>,
    /// Who answered.
    pub by: IpAddr,
    /// The packet that held the answer: the index of its source, and its number there.
    pub packet: (u16, u64),
    /// Whether the address was only hinted at.
    pub hint: bool,
}

impl ResolvedName {
    fn valid(&self, at: Timestamp) -> bool {
        self.at <= at && at < self.expires
    }
}

/// What an address is called at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution<'a> {
    /// No answer is known to have named it.
    None,
    /// All answers that are still believed agree on one name.
    One(&'a ResolvedName),
    /// Several names, of which none is certain, or one that is only hinted at: those asked for by the same UID first, then the
    /// latest first.
    Candidates(Vec<&'a ResolvedName>),
}

/// Names of one address, oldest first.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// Number of the touch that was its last.
    touched: u64,
    names: Vec<ResolvedName>,
}

type Entries = HashMap<IpAddr, Entry, foldhash::fast::RandomState>;

/// The names that an address may have at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Believed<'a> {
    /// Oldest first; some are not believed at that moment.
    names: &'a [ResolvedName],
    at: Timestamp,
}

impl<'a> Believed<'a> {
    /// These names, the latest learnt first.
    pub fn iter(self) -> impl Iterator<Item = &'a ResolvedName> {
        let names = self.names.iter().rev();
        names.filter(move |name| name.valid(self.at))
    }

    /// What the address is called, for somebody of a UID.
    pub fn endpoint_name(self, uid: Option<u32>) -> Resolution<'a> {
        let mut names = self.iter();
        let Some(latest) = names.next() else {
            return Resolution::None;
        };
        let own = |name: &ResolvedName| uid.is_some() && name.asked_by == uid;
        // Most addresses have one name.
        if !latest.hint && names.all(|name| name.name == latest.name && !own(name)) {
            return Resolution::One(latest);
        }
        let mut candidates: Vec<&ResolvedName> = Vec::new();
        for pass_own in [true, false] {
            for name in self.iter().filter(|name| own(name) == pass_own) {
                if !candidates.iter().any(|known| known.name == name.name) {
                    candidates.push(name);
                }
            }
        }
        match candidates.as_slice() {
            [one] if !one.hint => Resolution::One(one),
            _ => Resolution::Candidates(candidates),
        }
    }
}

/// A bounded table from addresses to names. Its worst case, every bound reached by hostile names,
/// is some 45 MiB; a phone's day takes a few.
#[derive(Debug, Clone, Default)]
pub struct ResolvedNames {
    /// Never iterated: its order is random.
    entries: Entries,
    /// Addresses with the numbers of their touches, oldest first. All but an address's last touch are
    /// over; they are swept out when they are more than the others may be.
    order: VecDeque<(u64, IpAddr)>,
    touches: u64,
    evicted: u64,
    /// Names that cover encrypted hellos, with when that stops being believed; oldest first.
    covering: Vec<(Box<str>, Timestamp)>,
}

impl ResolvedNames {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns from a response to a standard query that succeeded; anything else teaches nothing.
    ///
    /// Give it unicast DNS only, and only responses to a query that was seen: link-local names are
    /// another name space, and anybody can send a response nobody asked for. It has one question
    /// (RFC 9619). From that, if it asks for addresses (A, AAAA, ANY), aliases are followed within
    /// the answer to the addresses at their end, which get the *question's* name. A PTR answer
    /// names no address: whoever holds an address writes its PTR as they like.
    /// `by` sent the response, and `packet` is the one that held it.
    pub fn learn(
        &mut self,
        message: &DnsMessage,
        at: Timestamp,
        asked_by: Option<u32>,
        by: IpAddr,
        packet: (u16, u64),
    ) {
        let [question] = message.questions.as_slice() else {
            return;
        };
        let succeeded = message.response && message.opcode == 0 && message.rcode == 0;
        if succeeded && asks_for_service(question) {
            self.learn_service(message, question, at, asked_by, by, packet);
        }
        if !succeeded || !asks_for_addresses(question) || question.name.len() > NAME_TEXT_MAX {
            return;
        }
        let name = &question.name;
        for_each_address(&question.name, &message.answers, |addr, ttl| {
            self.insert(
                addr,
                ResolvedName {
                    name: Arc::clone(name),
                    at,
                    expires: expiry(at, ttl),
                    asked_by,
                    by,
                    packet,
                    hint: false,
                },
            );
        });
    }

    /// Learns what service bindings say: which names cover encrypted hellos, and which addresses the
    /// name asked for may have. Of SVCB the hints are not learnt: what is asked there has the service
    /// in its name (`_dns.resolver.arpa`) and is no host's.
    fn learn_service(
        &mut self,
        message: &DnsMessage,
        question: &Question,
        at: Timestamp,
        asked_by: Option<u32>,
        by: IpAddr,
        packet: (u16, u64),
    ) {
        let of_host = question.qtype == record_type::HTTPS && question.name.len() <= NAME_TEXT_MAX;
        let name = &question.name;
        for answer in &message.answers {
            let AnswerData::Service(service) = &answer.data else {
                continue;
            };
            let expires = expiry(at, believed_ttl(answer.ttl));
            for covering in &service.ech_names {
                self.learn_covering(covering, at, expires);
            }
            for &addr in service.hints.iter().filter(|_| of_host) {
                let known = self.names(addr, at).any(|known| known.name == *name);
                if !known {
                    let hinted = ResolvedName {
                        name: Arc::clone(name),
                        at,
                        expires,
                        asked_by,
                        by,
                        packet,
                        hint: true,
                    };
                    self.insert(addr, hinted);
                }
            }
        }
    }

    fn learn_covering(&mut self, name: &str, at: Timestamp, expires: Timestamp) {
        if name.len() > NAME_TEXT_MAX {
            return;
        }
        self.covering
            .retain(|(known, until)| **known != *name && at < *until);
        if self.covering.len() == COVERING_NAMES_MAX {
            self.covering.remove(0);
            self.evicted += 1;
        }
        self.covering.push((name.into(), expires));
    }

    /// Whether an answer that is believed at a moment offered encrypted hellos under this name. A
    /// hello that says it and has the extension may hide another name.
    pub fn covers(&self, name: &str, at: Timestamp) -> bool {
        self.covering
            .iter()
            .any(|(known, until)| **known == *name && at < *until)
    }

    /// The names that are believed at a moment, the latest learnt first. A name appears once for
    /// each UID that asked for it.
    pub fn names(&self, addr: IpAddr, at: Timestamp) -> impl Iterator<Item = &ResolvedName> {
        self.believed(addr, at).iter()
    }

    /// What is believed of an address at a moment, for whoever asks more than once.
    pub fn believed(&self, addr: IpAddr, at: Timestamp) -> Believed<'_> {
        let entry = self.entries.get(&addr);
        Believed {
            names: entry.map_or(&[], |entry| &entry.names),
            at,
        }
    }

    /// Names given up for want of room while they were still believed, since the start.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Addresses remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert(&mut self, addr: IpAddr, resolved: ResolvedName) {
        let now = resolved.at;
        self.touches += 1;
        self.order.push_back((self.touches, addr));
        let entry = self.entries.entry(addr).or_default();
        entry.touched = self.touches;
        // The same name from the same asker is renewed; what has expired is no loss.
        entry.names.retain(|known| {
            let renewed = known.name == resolved.name && known.asked_by == resolved.asked_by;
            !renewed && now < known.expires
        });
        if entry.names.len() == NAMES_PER_ADDRESS_MAX {
            entry.names.remove(0);
            self.evicted += 1;
        }
        entry.names.push(resolved);
        if self.entries.len() > ADDRESSES_MAX {
            self.evict_oldest(now);
        }
        if self.order.len() > 2 * ADDRESSES_MAX {
            let entries = &self.entries;
            self.order.retain(|touch| is_last(entries, *touch));
        }
    }

    fn evict_oldest(&mut self, now: Timestamp) {
        while let Some(touch) = self.order.pop_front() {
            if !is_last(&self.entries, touch) {
                continue;
            }
            if let Some(entry) = self.entries.remove(&touch.1) {
                let lost = entry.names.iter().filter(|name| now < name.expires);
                self.evicted += lost.map(|_| 1).sum::<u64>();
            }
            return;
        }
    }
}

/// Whether a touch is the last one of its address.
fn is_last(entries: &Entries, (number, addr): (u64, IpAddr)) -> bool {
    entries
        .get(&addr)
        .is_some_and(|entry| entry.touched == number)
}

fn asks_for_addresses(question: &Question) -> bool {
    matches!(
        question.qtype,
        record_type::A | record_type::AAAA | record_type::ANY
    )
}

fn asks_for_service(question: &Question) -> bool {
    matches!(question.qtype, record_type::HTTPS | record_type::SVCB)
}

/// Follows aliases from a name and hands over each address with the shortest TTL on its way.
fn for_each_address(name: &str, answers: &[Answer], mut each: impl FnMut(IpAddr, u32)) {
    let mut owner = name;
    let mut ttl_alias = TTL_SECONDS_MAX;
    for _ in 0..=CHAIN_MAX {
        let mut alias = None;
        for answer in answers.iter().filter(|answer| *answer.name == *owner) {
            let ttl = believed_ttl(answer.ttl).min(ttl_alias);
            match &answer.data {
                AnswerData::Address(addr) => each(*addr, ttl),
                AnswerData::Cname(target) => alias = alias.or(Some((target, ttl))),
                AnswerData::Service(_) | AnswerData::Other(_) | AnswerData::Malformed(_) => {}
            }
        }
        let Some((target, ttl)) = alias else {
            return;
        };
        (owner, ttl_alias) = (target, ttl);
    }
}

/// A TTL with its top bit set counts as 0 (RFC 2181 section 8); a long one is capped.
fn believed_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX.unsigned_abs() {
        0
    } else {
        ttl.min(TTL_SECONDS_MAX)
    }
}

fn expiry(at: Timestamp, ttl: u32) -> Timestamp {
    at.plus_nanos((i64::from(ttl) + i64::from(GRACE_SECONDS)) * NANOS_PER_SECOND)
}
