//! To whom a socket's traffic is charged, as Android's netd keeps it for each tagged socket.
//!
//! In: a value of netd's map of socket cookies. Out: a [`Charge`]. It is what a privileged process
//! told netd (`TrafficStats.setThreadStatsUid`: the download manager charges the app that asked for
//! the file), so it is an indicator, and never an owner.
//!
//! Sources, AOSP as in `LineageOS`: `UidTagValue` in `bpf_progs/netd.h` of
//! `android_packages_modules_Connectivity` (1d0a97b9) and in
//! `libnetdbpf/include/netdbpf/bpf_shared.h` of `android_system_netd` (f025d414): `u32 uid; u32 tag`
//! in the machine's byte order, 8 bytes, under a `u64` socket cookie. Who may charge another UID:
//! `BpfHandler::tagSocket` in `netd/BpfHandler.cpp` (4351010f). Tags: `TrafficStats.java`, "there is
//! no enforcement of these constants".

use serde::{Deserialize, Serialize};

use super::uid;

/// Bytes of a value.
pub const VALUE_BYTES: usize = 8;

/// Tag of netd's own resolver (`TAG_SYSTEM_DNS` in `bpf_progs/netd.c`).
const TAG_SYSTEM_DNS: u32 = 0xffff_ff82;

/// Tags with a meaning of their own (`TrafficStats.java`), sorted. An app may set them as well.
const TAG_NAMES: [(u32, &str); 7] = [
    (0xffff_ff01, "download"),
    (0xffff_ff02, "media"),
    (0xffff_ff03, "backup"),
    (0xffff_ff04, "restore"),
    (0xffff_ff05, "app_store"),
    (0xffff_ff42, "probe"),
    (TAG_SYSTEM_DNS, "dns"),
];

/// Whom netd charges for a socket's traffic, and under which tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charge {
    /// The UID that is charged.
    pub uid: u32,
    /// What the socket was tagged with; 0: nothing but the UID.
    pub tag: u32,
}

/// How a charge is known. An open enumeration: readers must accept further values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChargeBasis {
    /// Read from netd's map by the socket's cookie.
    #[default]
    NetdTag,
}

impl ChargeBasis {
    /// The word that stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetdTag => "netd_tag",
        }
    }
}

impl Charge {
    /// Reads a value of the map.
    pub const fn read(value: [u8; VALUE_BYTES]) -> Self {
        let [uid @ .., _, _, _, _] = value;
        let [_, _, _, _, tag @ ..] = value;
        Self {
            uid: u32::from_ne_bytes(uid),
            tag: u32::from_ne_bytes(tag),
        }
    }

    /// What Android uses the tag for; none for a tag of an app's own.
    pub fn tag_name(self) -> Option<&'static str> {
        TAG_NAMES
            .iter()
            .find(|(tag, _)| *tag == self.tag)
            .map(|(_, name)| *name)
    }

    /// Whether somebody else is charged than the socket's owner. netd tags each socket of its
    /// resolver with its own UID and lets the owner pay all the same (`bpf_traffic_account` in
    /// `bpf_progs/netd.c`): that charges nobody else.
    pub fn is_of_another(self, owner: Option<u32>) -> bool {
        let resolver = self.uid == uid::DNS && self.tag == TAG_SYSTEM_DNS;
        !resolver && owner != Some(self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_uid_and_then_the_tag() {
        let mut value = [0; VALUE_BYTES];
        value[..4].copy_from_slice(&10_123_u32.to_ne_bytes());
        value[4..].copy_from_slice(&0xffff_ff01_u32.to_ne_bytes());
        let charge = Charge::read(value);
        assert_eq!((charge.uid, charge.tag), (10_123, 0xffff_ff01));
        assert_eq!(charge.tag_name(), Some("download"));
        assert_eq!(Charge { tag: 7, ..charge }.tag_name(), None);
    }

    #[test]
    fn who_is_charged_for_its_own_traffic_is_no_other() {
        let charge = Charge {
            uid: 10_123,
            tag: 0,
        };
        assert!(charge.is_of_another(Some(10_012)));
        assert!(charge.is_of_another(None));
        assert!(!charge.is_of_another(Some(10_123)));
        let resolver = Charge {
            uid: uid::DNS,
            tag: TAG_SYSTEM_DNS,
        };
        assert!(!resolver.is_of_another(Some(10_123)));
    }
}
