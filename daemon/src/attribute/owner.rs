//! The owner of a flow, concluded from what the kernel said.
//!
//! In: the UID that came with packets and the answers to lookups. Out: a [`Conclusion`] with its
//! basis. What the kernel said is kept beside what was concluded, and unknown is allowed: when two
//! answers disagree and nothing explains it, nobody is named.

use serde::{Deserialize, Serialize};

use super::uid;

/// How an owner is known, in the order in which it is believed. An open enumeration: readers must
/// accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// Read off the packet's own socket on its way out, `fchown` included.
    XtBpf,
    /// `NFULA_UID` of a packet of the flow: the creator of the socket.
    Nflog,
    /// The kernel's answer to a lookup at the first packet, `fchown` included.
    SockDiag,
    /// The UID came with a packet and is an isolated process's; which app's, Android itself says.
    Android,
    /// The UID came with a packet and is an isolated process's; which app's, its name in `/proc`
    /// says.
    Process,
    /// What `PCAPdroid` wrote beside a packet: its own lookup.
    Pcapdroid,
    /// Apple's PKTAP header in front of a packet: a process, and no UID.
    Pktap,
    /// Two answers disagree and nothing explains it, or two lookups of one five-tuple do: nobody is
    /// named.
    Disputed,
    /// Nothing said whose it is.
    None,
}

impl Basis {
    /// The key that stands in records and rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XtBpf => "xt_bpf",
            Self::Nflog => "nflog",
            Self::SockDiag => "sock_diag",
            Self::Android => "android",
            Self::Process => "process",
            Self::Pcapdroid => "pcapdroid",
            Self::Pktap => "pktap",
            Self::Disputed => "disputed",
            Self::None => "none",
        }
    }
}

/// What was read off a flow's own socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighted {
    /// The kernel's number of the socket.
    pub cookie: u64,
    /// Its owner at the flow's first packet.
    pub first_uid: u32,
    /// Its owner later on, where it was given to another.
    pub uid: u32,
}

/// What a lookup by five-tuple found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookedUp {
    /// The owner.
    pub uid: u32,
    /// The kernel's number of the socket that was found.
    pub cookie: Option<u64>,
}

/// What the kernel said about one flow's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// What was read off its socket.
    pub sighted: Option<Sighted>,
    /// UID that came with a packet.
    pub reported: Option<u32>,
    /// What a lookup gave; none when there was no lookup or it found nothing.
    pub looked_up: Option<LookedUp>,
    /// Who else had the five-tuple that was looked up: which packet was whose cannot be told.
    pub rival: Option<Rival>,
}

/// Another owner of a five-tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// A later lookup gave this other UID.
    Known(u32),
    /// Another socket had the five-tuple, and no lookup found it.
    Unknown,
}

/// Who owns a flow, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conclusion {
    /// The owner; none when unknown or disputed.
    pub uid: Option<u32>,
    /// How it is known.
    pub basis: Basis,
    /// The socket's creator, where it is not the owner; where the owner is disputed, the UID that
    /// was given first.
    pub creator_uid: Option<u32>,
    /// The other UID that was given, where the owner is disputed; none where the other is not known.
    pub disputed_uid: Option<u32>,
    /// A platform UID on a resolver's socket, and nothing said for whom.
    pub may_act_for_app: bool,
}

impl Conclusion {
    /// Nothing was said.
    pub const UNKNOWN: Self = Self {
        uid: None,
        basis: Basis::None,
        creator_uid: None,
        disputed_uid: None,
        may_act_for_app: false,
    };
}

impl Default for Conclusion {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// Ports on which the platform's resolver speaks for apps: DNS, and DNS over TLS (RFC 7858).
pub const RESOLVER_PORTS: [u16; 2] = [53, 853];

impl Evidence {
    /// Concludes the owner of a flow to `remote_port`.
    ///
    /// netd opens DNS sockets as root and gives them to the app by `fchown`; NFLOG reports the
    /// creator and ignores that, the socket itself and a lookup show it. Only a privileged process
    /// can give a socket away. So where the platform's UID and another one were read of the same
    /// socket, the other one is the owner. A lookup asks by five-tuple, so outside a resolver's port
    /// its answer may be of a socket that came later: without the socket's cookie, two different
    /// answers name nobody. A rival had the five-tuple too; where the flow's own socket is known, the
    /// rival's packets are another flow.
    pub fn conclude(self, remote_port: Option<u16>) -> Conclusion {
        let resolver = remote_port.is_some_and(|port| RESOLVER_PORTS.contains(&port));
        match self.sighted {
            Some(sighted) => self.conclude_sighted(sighted),
            None => self.conclude_unsighted(resolver),
        }
    }

    fn conclude_sighted(self, sighted: Sighted) -> Conclusion {
        // An answer about another socket says nothing of this one.
        let looked_up = self
            .looked_up
            .filter(|found| found.cookie == Some(sighted.cookie))
            .map(|found| found.uid);
        let said = [Some(sighted.first_uid), self.reported, looked_up];
        let other = |uid: u32| said.into_iter().flatten().find(|said| *said != uid);
        // Given away after the last packet that was reported: only the lookup saw it.
        let given =
            looked_up.filter(|found| uid::is_platform(sighted.uid) && *found != sighted.uid);
        let (owner, basis) = match given {
            Some(given) => (given, Basis::SockDiag),
            None => (sighted.uid, Basis::XtBpf),
        };
        let creator = match given {
            Some(_) => Some(self.reported.unwrap_or(sighted.uid)),
            None => other(owner),
        };
        let explained = said
            .into_iter()
            .flatten()
            .all(|said| said == owner || uid::is_platform(said));
        match creator {
            Some(creator) if !explained => Conclusion {
                uid: None,
                basis: Basis::Disputed,
                creator_uid: Some(said_by_app(said, owner).unwrap_or(creator)),
                disputed_uid: Some(owner),
                may_act_for_app: false,
            },
            creator => Conclusion {
                creator_uid: creator,
                may_act_for_app: uid::is_resolver(owner),
                ..named(owner, basis)
            },
        }
    }

    fn conclude_unsighted(self, resolver: bool) -> Conclusion {
        if let (Some(first), Some(rival)) = (self.looked_up, self.rival) {
            return match rival {
                Rival::Known(other) => disputed(first.uid, Some(other)),
                Rival::Unknown => disputed(first.uid, None),
            };
        }
        match (self.reported, self.looked_up.map(|found| found.uid)) {
            (Some(creator), None) => Conclusion {
                may_act_for_app: (resolver && uid::is_platform(creator))
                    || uid::is_resolver(creator),
                ..named(creator, Basis::Nflog)
            },
            (Some(creator), Some(owner)) if creator == owner => Conclusion {
                may_act_for_app: uid::is_resolver(owner),
                ..named(creator, Basis::Nflog)
            },
            (Some(creator), Some(owner)) if resolver && uid::is_platform(creator) => Conclusion {
                creator_uid: Some(creator),
                may_act_for_app: uid::is_resolver(owner),
                ..named(owner, Basis::SockDiag)
            },
            (Some(creator), Some(owner)) => disputed(creator, Some(owner)),
            (None, Some(owner)) => Conclusion {
                may_act_for_app: uid::is_resolver(owner),
                ..named(owner, Basis::SockDiag)
            },
            (None, None) => Conclusion::UNKNOWN,
        }
    }
}

/// Concludes the owner of a flow to `remote_port` of which another tool wrote `uid` beside the
/// packets: `basis` says which. Nothing stands beside it that could confirm or refute it.
pub const fn as_told(uid: Option<u32>, basis: Basis, remote_port: Option<u16>) -> Conclusion {
    let Some(uid) = uid else {
        return Conclusion::UNKNOWN;
    };
    let resolver = matches!(remote_port, Some(53 | 853));
    Conclusion {
        may_act_for_app: uid::is_resolver(uid) || (resolver && uid::is_platform(uid)),
        ..named(uid, basis)
    }
}

/// The answer that stands against `owner` and that no giving away explains.
fn said_by_app(said: [Option<u32>; 3], owner: u32) -> Option<u32> {
    said.into_iter()
        .flatten()
        .find(|said| *said != owner && !uid::is_platform(*said))
}

const fn named(uid: u32, basis: Basis) -> Conclusion {
    Conclusion {
        uid: Some(uid),
        basis,
        creator_uid: None,
        disputed_uid: None,
        may_act_for_app: false,
    }
}

const fn disputed(first: u32, other: Option<u32>) -> Conclusion {
    Conclusion {
        uid: None,
        basis: Basis::Disputed,
        creator_uid: Some(first),
        disputed_uid: other,
        may_act_for_app: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclude(reported: Option<u32>, looked_up: Option<u32>, port: u16) -> Conclusion {
        Evidence {
            sighted: None,
            reported,
            looked_up: looked_up.map(|uid| LookedUp { uid, cookie: None }),
            rival: None,
        }
        .conclude(Some(port))
    }

    /// A socket with cookie 7 whose owner was first one and then another.
    fn sighted(
        uids: [u32; 2],
        reported: Option<u32>,
        looked_up: Option<(u32, u64)>,
        port: u16,
    ) -> Conclusion {
        Evidence {
            sighted: Some(Sighted {
                cookie: 7,
                first_uid: uids[0],
                uid: uids[1],
            }),
            reported,
            looked_up: looked_up.map(|(uid, cookie)| LookedUp {
                uid,
                cookie: Some(cookie),
            }),
            rival: None,
        }
        .conclude(Some(port))
    }

    #[test]
    fn the_socket_itself_is_believed_first() {
        let plain = sighted([10_050; 2], Some(10_050), None, 443);
        assert_eq!(plain, named(10_050, Basis::XtBpf));
        // An orphaned socket's data has no UID of its own.
        assert_eq!(sighted([10_050; 2], None, None, 443), plain);
    }

    #[test]
    fn a_socket_that_the_platform_gave_away_belongs_to_whom_it_was_given() {
        for (owner, port) in [
            (sighted([10_055; 2], Some(0), None, 53), 53),
            (sighted([0, 10_055], Some(0), None, 53), 53),
            (sighted([0, 10_055], None, None, 443), 443),
        ] {
            assert_eq!(
                (owner.uid, owner.basis, owner.creator_uid),
                (Some(10_055), Basis::XtBpf, Some(0)),
                "port {port}"
            );
            assert!(!owner.may_act_for_app);
        }
        let late = sighted([0; 2], Some(0), Some((10_055, 7)), 53);
        assert_eq!(
            (late.uid, late.basis, late.creator_uid),
            (Some(10_055), Basis::SockDiag, Some(0))
        );
    }

    #[test]
    fn a_lookup_that_found_another_socket_says_nothing() {
        let owner = sighted([10_055; 2], Some(0), Some((10_060, 8)), 53);
        assert_eq!((owner.uid, owner.basis), (Some(10_055), Basis::XtBpf));
    }

    #[test]
    fn two_apps_on_one_socket_name_nobody_and_are_both_kept() {
        let both = |owner: Conclusion| (owner.uid, owner.creator_uid, owner.disputed_uid);
        let passed_on = sighted([10_050, 10_051], Some(10_050), None, 443);
        assert_eq!(both(passed_on), (None, Some(10_050), Some(10_051)));
        let reported = sighted([10_051; 2], Some(10_050), None, 443);
        assert_eq!(both(reported), (None, Some(10_050), Some(10_051)));
        let taken = sighted([0; 2], Some(10_050), None, 443);
        assert_eq!(both(taken), (None, Some(10_050), Some(0)));
        let looked_up = sighted([10_051; 2], Some(0), Some((10_052, 7)), 53);
        assert_eq!(both(looked_up), (None, Some(10_052), Some(10_051)));
    }

    #[test]
    fn a_resolver_that_kept_its_socket_may_act_for_an_app() {
        assert!(sighted([1051; 2], Some(1051), None, 853).may_act_for_app);
        assert!(!sighted([0; 2], Some(0), None, 53).may_act_for_app);
    }

    #[test]
    fn an_app_is_known_by_what_came_with_its_packet() {
        assert_eq!(
            conclude(Some(10_050), None, 443),
            named(10_050, Basis::Nflog)
        );
    }

    #[test]
    fn a_resolver_socket_belongs_to_whom_it_was_given() {
        let owner = conclude(Some(0), Some(10_055), 53);
        assert_eq!(
            (owner.uid, owner.basis, owner.creator_uid),
            (Some(10_055), Basis::SockDiag, Some(0))
        );
        assert!(!owner.may_act_for_app);
    }

    #[test]
    fn a_resolver_socket_nobody_was_found_for_may_act_for_an_app() {
        let owner = conclude(Some(0), None, 53);
        assert_eq!(owner.uid, Some(0));
        assert!(owner.may_act_for_app);
        assert!(conclude(Some(1051), Some(1051), 853).may_act_for_app);
        assert!(!conclude(Some(0), Some(0), 53).may_act_for_app);
        // DNS over HTTPS: only the UID tells it from other traffic.
        assert!(conclude(Some(1051), None, 443).may_act_for_app);
        assert!(!conclude(Some(1000), None, 443).may_act_for_app);
    }

    #[test]
    fn two_answers_elsewhere_name_nobody_and_keep_both() {
        let owner = conclude(Some(1000), Some(10_055), 443);
        assert_eq!((owner.uid, owner.basis), (None, Basis::Disputed));
        assert_eq!(
            (owner.creator_uid, owner.disputed_uid),
            (Some(1000), Some(10_055))
        );
    }

    #[test]
    fn two_lookups_that_differ_name_nobody_and_are_kept() {
        for reported in [None, Some(0), Some(10_050)] {
            for (rival, other) in [(Rival::Known(10_051), Some(10_051)), (Rival::Unknown, None)] {
                let owner = Evidence {
                    sighted: None,
                    reported,
                    looked_up: Some(LookedUp {
                        uid: 10_050,
                        cookie: None,
                    }),
                    rival: Some(rival),
                }
                .conclude(Some(53));
                assert_eq!(owner, disputed(10_050, other));
            }
        }
    }

    #[test]
    fn nothing_said_is_unknown() {
        assert_eq!(conclude(None, None, 443).uid, None);
    }
}
