//! What is sent: drawn from a seed, so that the same seed sends the same again.
//!
//! In: how many flows, and the seed. Out: a [`Plan`]: for each sender its steps in order. Half is TCP
//! and half IPv6 on the average; each flow has an address of its own, so that a name learnt for one
//! names no other.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::{
    truth::{FIRST_APP, PER_USER, RANGES, SENDERS, Sender},
    wire,
};

/// Fewer flows bound nothing that is worth saying: 0 of 300 is 1 % at most.
pub const FLOWS_MIN: u32 = 300;
/// What a technician gets without asking.
pub const FLOWS_DEFAULT: u32 = 600;
/// Questions have local ports of their own; there are not more.
pub const FLOWS_MAX: u32 = 10_000;
/// The seed of a run that names none.
pub const SEED_DEFAULT: u64 = 0x5a4b_0005;

/// The resolver, which is the router as well.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 43, 1);
/// Its IPv6 address.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x43, 0, 0, 0, 0, 1);
/// DNS.
pub const PORT_DNS: u16 = 53;
/// HTTP.
pub const PORT_HTTP: u16 = 80;
/// TLS.
pub const PORT_TLS: u16 = 443;
/// Whatever else is sent.
pub const PORT_PLAIN: u16 = 4_000;
/// Questions leave from here on, each from a port of its own: their other end is always the same.
const QUESTION_PORTS: u16 = 10_000;
/// Most datagrams of a flow.
const DATAGRAMS_MAX: u64 = 8;
/// Most bytes of a payload: with any header it fits every link.
const BYTES_MAX: u64 = 1_000;

/// What is sent in one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A question to the resolver, over UDP.
    Question,
    /// The start of TLS, which names the server.
    Tls,
    /// A request of HTTP, which names the server.
    Http,
    /// Bytes over TCP that name nobody.
    Tcp,
    /// Datagrams that name nobody.
    Udp,
}

impl What {
    /// Whether it goes over TCP.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Tls | Self::Http | Self::Tcp)
    }
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub number: u32,
    /// Whose it is.
    pub uid: u32,
    /// Whether a privileged process makes the socket and gives it to that UID, as Android's resolver
    /// does.
    pub given: bool,
    /// What is sent.
    pub what: What,
    /// To where.
    pub to: SocketAddr,
    /// Local port, where it must be a certain one; 0: any.
    pub port: u16,
    /// The name by which the sender knows the other side; what is asked for in a question.
    pub name: String,
    /// Whether that name, as the other side's, was to be seen by a witness of the packets: in the flow
    /// itself or in an answer before it.
    pub name_is_visible: bool,
    /// Datagrams; 0 for TCP, where the kernel decides.
    pub datagrams: u64,
    /// Payload bytes of each datagram; over TCP of all together.
    pub bytes: u64,
}

/// What is sent, by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Questions that the resolver asks for others, before anything else.
    pub resolver: Vec<Step>,
    /// Steps of each sender, in the order of [`SENDERS`].
    pub senders: Vec<Vec<Step>>,
}

/// Numbers from a seed (`SplitMix64`, Steele, Lea and Flood 2014): small, and the same everywhere.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small: how much likelier small ones are does not matter.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(u64::try_from(from.len()).ok()?.max(1));
        from.get(usize::try_from(at).ok()?).copied()
    }
}

impl Plan {
    /// Draws it: `flows` beside the questions that resolve their names.
    pub fn draw(flows: u32, seed: u64) -> Self {
        let mut draw = Draw {
            numbers: Numbers(seed),
            used: BTreeSet::new(),
            next: 1,
        };
        let mut plan = Self {
            resolver: Vec::new(),
            senders: SENDERS.iter().map(|_| Vec::new()).collect(),
        };
        for number in 0..flows {
            let at = usize::try_from(number).unwrap_or(0) % SENDERS.len();
            if let (Some(sender), Some(steps)) = (SENDERS.get(at), plan.senders.get_mut(at)) {
                draw.flow(sender, &mut plan.resolver, steps);
            }
        }
        plan
    }

    /// Every step, in the order of their numbers.
    pub fn steps(&self) -> Vec<&Step> {
        let mut all: Vec<&Step> = self
            .senders
            .iter()
            .flatten()
            .chain(&self.resolver)
            .collect();
        all.sort_by_key(|step| step.number);
        all
    }
}

struct Draw {
    numbers: Numbers,
    used: BTreeSet<IpAddr>,
    next: u32,
}

impl Draw {
    fn flow(&mut self, sender: &Sender, for_others: &mut Vec<Step>, own: &mut Vec<Step>) {
        let address = self.address();
        let what = match self.numbers.below(10) {
            0..=1 => What::Tls,
            2..=3 => What::Http,
            4 => What::Tcp,
            _ => What::Udp,
        };
        let own_name = matches!(what, What::Tls | What::Http);
        // A third of the others has a name that no packet tells.
        let resolved = !own_name && self.numbers.below(3) > 0;
        let name = if resolved {
            wire::resolvable_name(address)
        } else {
            format!("s{}.validate.example", self.next)
        };
        if resolved {
            let given = is_app(sender.uid) && self.numbers.below(2) == 0;
            let question = self.question(sender.uid, given, &name, address.is_ipv6());
            if given {
                for_others.push(question);
            } else {
                own.push(question);
            }
        }
        let port = match what {
            What::Tls => PORT_TLS,
            What::Http => PORT_HTTP,
            What::Question | What::Tcp | What::Udp => PORT_PLAIN,
        };
        let datagrams = if what == What::Udp {
            1 + self.numbers.below(DATAGRAMS_MAX)
        } else {
            0
        };
        let drawn = 1 + self.numbers.below(BYTES_MAX);
        let step = Step {
            number: self.number(),
            uid: sender.uid,
            given: false,
            what,
            to: SocketAddr::new(address, port),
            port: 0,
            name,
            name_is_visible: own_name || resolved,
            datagrams,
            bytes: drawn,
        };
        let bytes = u64::try_from(step.payload().len()).unwrap_or(drawn);
        own.push(Step { bytes, ..step });
    }

    fn question(&mut self, uid: u32, given: bool, name: &str, ipv6: bool) -> Step {
        let number = self.number();
        let router = if self.numbers.below(2) == 0 {
            IpAddr::V4(ROUTER_V4)
        } else {
            IpAddr::V6(ROUTER_V6)
        };
        let asked = wire::question(0, name, ipv6).len();
        Step {
            number,
            uid,
            given,
            what: What::Question,
            to: SocketAddr::new(router, PORT_DNS),
            // There are at most as many numbers as ports: see FLOWS_MAX.
            port: QUESTION_PORTS.saturating_add(u16::try_from(number).unwrap_or(0)),
            name: name.to_owned(),
            name_is_visible: false,
            datagrams: 1,
            bytes: u64::try_from(asked).unwrap_or(0),
        }
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// An address that no flow had before.
    fn address(&mut self) -> IpAddr {
        let ipv6 = self.numbers.below(2) == 0;
        let family: Vec<_> = RANGES
            .iter()
            .filter(|range| range.first.is_ipv6() == ipv6)
            .collect();
        loop {
            let host = u128::from(self.numbers.next()) << 64 | u128::from(self.numbers.next());
            let Some(range) = self.numbers.one_of(&family) else {
                return IpAddr::V4(ROUTER_V4);
            };
            let address = range.address(host);
            if self.used.insert(address) {
                return address;
            }
        }
    }
}

impl Step {
    /// What is sent in each datagram, over TCP in all.
    pub fn payload(&self) -> Vec<u8> {
        match self.what {
            What::Question => {
                let ipv6 = self.name.len() > wire::resolvable_name(ROUTER_V4.into()).len();
                wire::question(self.port, &self.name, ipv6)
            }
            What::Tls => wire::client_hello(&self.name),
            What::Http => wire::request(&self.name),
            What::Tcp | What::Udp => vec![b'.'; usize::try_from(self.bytes).unwrap_or(0)],
        }
    }
}

/// Whether Android's resolver would ask for it: it asks for apps.
const fn is_app(uid: u32) -> bool {
    let in_user = uid % PER_USER;
    in_user >= FIRST_APP && in_user < 20_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_another_one_another() {
        let plan = Plan::draw(FLOWS_DEFAULT, SEED_DEFAULT);
        assert_eq!(plan, Plan::draw(FLOWS_DEFAULT, SEED_DEFAULT));
        assert_ne!(plan, Plan::draw(FLOWS_DEFAULT, SEED_DEFAULT + 1));
    }

    #[test]
    fn every_kind_is_in_the_smallest_plan() {
        let plan = Plan::draw(FLOWS_MIN, SEED_DEFAULT);
        let steps = plan.steps();
        for what in [What::Question, What::Tls, What::Http, What::Tcp, What::Udp] {
            for ipv6 in [false, true] {
                assert!(
                    steps
                        .iter()
                        .any(|step| step.what == what && step.to.is_ipv6() == ipv6),
                    "{what:?}, IPv6: {ipv6}"
                );
            }
        }
        for sender in &SENDERS {
            assert!(steps.iter().any(|step| step.uid == sender.uid));
        }
        assert!(!plan.resolver.is_empty());
        assert!(
            steps
                .iter()
                .any(|step| !step.name_is_visible && step.what != What::Question)
        );
    }

    #[test]
    fn the_largest_plan_has_a_port_for_each_question() {
        let plan = Plan::draw(FLOWS_MAX, 1);
        let ports: Vec<u16> = plan
            .steps()
            .iter()
            .filter(|step| step.what == What::Question)
            .map(|step| step.port)
            .collect();
        let unique: BTreeSet<&u16> = ports.iter().collect();
        assert_eq!(unique.len(), ports.len());
    }
}
