//! The owner of a flow, concluded from what the kernel said.
//!
//! In: the UID that came with packets and the answers to lookups. Out: a [`Conclusion`] with its
//! basis. What the kernel said is kept beside what was concluded, and unknown is allowed: when two
//! answers disagree and nothing explains it, nobody is named.

use serde::{Deserialize, Serialize};

use super::uid;

/// How an owner is known. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// `NFULA_UID` of a packet of the flow: the creator of the socket.
    Nflog,
    /// The kernel's answer to a lookup at the first packet, `fchown` included.
    SockDiag,
    /// The UID came with a packet and is an isolated process's; which app's, its name in `/proc`
    /// says.
    Process,
    /// What `PCAPdroid` wrote beside a packet: its own lookup.
    Pcapdroid,
    /// Apple's PKTAP header in front of a packet: a process, and no UID.
    Pktap,
    /// The creator and the lookup disagree on a socket that is not a resolver's, or two lookups of
    /// one five-tuple do: nobody is named.
    Disputed,
    /// Nothing said whose it is.
    None,
}

impl Basis {
    /// The key that stands in records and rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nflog => "nflog",
            Self::SockDiag => "sock_diag",
            Self::Process => "process",
            Self::Pcapdroid => "pcapdroid",
            Self::Pktap => "pktap",
            Self::Disputed => "disputed",
            Self::None => "none",
        }
    }
}

/// What the kernel said about one flow's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// UID that came with a packet.
    pub reported: Option<u32>,
    /// UID that a lookup gave; none when there was no lookup or it found nothing.
    pub looked_up: Option<u32>,
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
    /// A platform UID on a resolver's socket, and no lookup said for whom.
    pub may_act_for_app: bool,
}

/// Ports on which the platform's resolver speaks for apps: DNS, and DNS over TLS (RFC 7858).
pub const RESOLVER_PORTS: [u16; 2] = [53, 853];

impl Evidence {
    /// Concludes the owner of a flow to `remote_port`.
    ///
    /// netd opens DNS sockets as root and gives them to the app by `fchown`; NFLOG reports the
    /// creator and ignores that, a lookup sees it. So on a resolver's socket of a platform UID the
    /// lookup is believed; anywhere else two different answers mean that nobody is named.
    pub fn conclude(self, remote_port: Option<u16>) -> Conclusion {
        if let (Some(first), Some(rival)) = (self.looked_up, self.rival) {
            return match rival {
                Rival::Known(other) => disputed(first, Some(other)),
                Rival::Unknown => disputed(first, None),
            };
        }
        let resolver = remote_port.is_some_and(|port| RESOLVER_PORTS.contains(&port));
        match (self.reported, self.looked_up) {
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
            (None, None) => Conclusion {
                uid: None,
                basis: Basis::None,
                creator_uid: None,
                disputed_uid: None,
                may_act_for_app: false,
            },
        }
    }
}

/// Concludes the owner of a flow to `remote_port` of which another tool wrote `uid` beside the
/// packets: `basis` says which. Nothing stands beside it that could confirm or refute it.
pub const fn as_told(uid: Option<u32>, basis: Basis, remote_port: Option<u16>) -> Conclusion {
    let Some(uid) = uid else {
        return Conclusion {
            uid: None,
            basis: Basis::None,
            creator_uid: None,
            disputed_uid: None,
            may_act_for_app: false,
        };
    };
    let resolver = matches!(remote_port, Some(53 | 853));
    Conclusion {
        may_act_for_app: uid::is_resolver(uid) || (resolver && uid::is_platform(uid)),
        ..named(uid, basis)
    }
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
            reported,
            looked_up,
            rival: None,
        }
        .conclude(Some(port))
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
                    reported,
                    looked_up: Some(10_050),
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
