//! Android's numbering of users and apps (`system/core` `android_filesystem_config.h`, and
//! `Process.java`/`UserHandle.java` of the framework).
//!
//! In: a UID as the kernel gives it. Out: the Android user, the app id, what kind of thing the app
//! id stands for, and the platform's own name for it. Nothing here needs an inventory.

/// UIDs per Android user: `uid = user * 100_000 + appid`.
pub const PER_USER: u32 = 100_000;

/// First app id of installed apps; below are the platform's own.
pub const APP_START: u32 = 10_000;

/// App id of the system server and of the packages that share its UID.
pub const SYSTEM: u32 = 1000;

/// App id under which netd resolves names of its own (DNS over TLS and HTTPS, and all DNS before
/// Android 11).
pub const DNS: u32 = 1051;

/// App id of the resolver that serves tethered devices.
pub const DNS_TETHER: u32 = 1052;

/// App id of `nobody`.
const NOBODY: u32 = 9999;

/// App id of the daemon of the platform's own VPNs.
pub const VPN: u32 = 1016;

/// App id under which clatd translates IPv4 packets on an IPv6-only network.
pub const CLAT: u32 = 1029;

/// The kernel's overflow UID: it could not say which.
pub const OVERFLOW: u32 = 65_534;

/// Whether a UID is the platform's own, of whichever Android user.
pub const fn is_platform(uid: u32) -> bool {
    uid % PER_USER < APP_START && uid != OVERFLOW
}

/// First app id of SDK sandboxes; the app's own is this much lower than its sandbox's.
const SDK_SANDBOX_START: u32 = 20_000;
const SDK_SANDBOX_OFFSET: u32 = SDK_SANDBOX_START - APP_START;

/// What an app id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AppId {
    /// A part of the platform (0–9998).
    Platform(u32),
    /// `nobody` (9999): deliberately no one.
    Nobody,
    /// An installed app, or several that share a UID (10000–19999).
    App(u32),
    /// The SDK sandbox process of an app (20000–29999).
    SdkSandbox {
        /// App id of the app that the sandbox belongs to.
        app: u32,
    },
    /// An isolated process forked from an app's own zygote (90000–98999); which app is in no file.
    AppZygoteIsolated(u32),
    /// An isolated process (99000–99999); which app is in no file.
    Isolated(u32),
    /// The kernel's overflow UID 65534: it could not say which.
    Overflow,
    /// A number that Android gives to no process (group ids, gaps between ranges).
    Unassigned(u32),
}

impl AppId {
    /// What a UID's app id stands for.
    pub const fn of(uid: u32) -> Self {
        if uid == OVERFLOW {
            return Self::Overflow;
        }
        match appid(uid) {
            NOBODY => Self::Nobody,
            id @ 0..=9998 => Self::Platform(id),
            id @ 10_000..=19_999 => Self::App(id),
            id @ 20_000..=29_999 => Self::SdkSandbox {
                app: id - SDK_SANDBOX_OFFSET,
            },
            id @ 90_000..=98_999 => Self::AppZygoteIsolated(id),
            id @ 99_000..=99_999 => Self::Isolated(id),
            id => Self::Unassigned(id),
        }
    }

    /// The app id under which its app is installed: of an SDK sandbox its app's, else its own.
    pub const fn of_its_app(self) -> u32 {
        match self {
            Self::Platform(id)
            | Self::App(id)
            | Self::SdkSandbox { app: id }
            | Self::AppZygoteIsolated(id)
            | Self::Isolated(id)
            | Self::Unassigned(id) => id,
            Self::Nobody => NOBODY,
            Self::Overflow => OVERFLOW,
        }
    }
}

/// Android user of a UID (0 is the first, always present one).
pub const fn user(uid: u32) -> u32 {
    uid / PER_USER
}

/// App id of a UID: the same for every user.
pub const fn appid(uid: u32) -> u32 {
    uid % PER_USER
}

/// Whether a UID is an isolated process's, for any user: it is the process's own, and in no file.
pub const fn is_isolated(uid: u32) -> bool {
    matches!(
        AppId::of(uid),
        AppId::AppZygoteIsolated(_) | AppId::Isolated(_)
    )
}

/// Whether a UID is a resolver's, for any user: what it sends, it may send for an app.
pub const fn is_resolver(uid: u32) -> bool {
    matches!(appid(uid), DNS | DNS_TETHER)
}

/// The platform's own name of an app id below 10000, as `id` prints it; none where AOSP gives
/// it none, as in the ranges left to vendors (2900–2999, 5000–5999).
pub fn android_name(appid: u32) -> Option<&'static str> {
    NAMES
        .binary_search_by_key(&appid, |&(id, _)| id)
        .ok()
        .and_then(|at| NAMES.get(at))
        .map(|&(_, name)| name)
}

/// Sorted by number, as `android_filesystem_config.h` lists them.
const NAMES: &[(u32, &str)] = &[
    (0, "root"),
    (1, "daemon"),
    (2, "bin"),
    (3, "sys"),
    (1000, "system"),
    (1001, "radio"),
    (1002, "bluetooth"),
    (1003, "graphics"),
    (1004, "input"),
    (1005, "audio"),
    (1006, "camera"),
    (1007, "log"),
    (1008, "compass"),
    (1009, "mount"),
    (1010, "wifi"),
    (1011, "adb"),
    (1012, "install"),
    (1013, "media"),
    (1014, "dhcp"),
    (1015, "sdcard_rw"),
    (VPN, "vpn"),
    (1017, "keystore"),
    (1018, "usb"),
    (1019, "drm"),
    (1020, "mdnsr"),
    (1021, "gps"),
    (1023, "media_rw"),
    (1024, "mtp"),
    (1026, "drmrpc"),
    (1027, "nfc"),
    (1028, "sdcard_r"),
    (CLAT, "clat"),
    (1030, "loop_radio"),
    (1031, "mediadrm"),
    (1032, "package_info"),
    (1033, "sdcard_pics"),
    (1034, "sdcard_av"),
    (1035, "sdcard_all"),
    (1036, "logd"),
    (1037, "shared_relro"),
    (1038, "dbus"),
    (1039, "tlsdate"),
    (1040, "mediaex"),
    (1041, "audioserver"),
    (1042, "metrics_coll"),
    (1043, "metricsd"),
    (1044, "webserv"),
    (1045, "debuggerd"),
    (1046, "mediacodec"),
    (1047, "cameraserver"),
    (1048, "firewall"),
    (1049, "trunks"),
    (1050, "nvram"),
    (DNS, "dns"),
    (DNS_TETHER, "dns_tether"),
    (1053, "webview_zygote"),
    (1054, "vehicle_network"),
    (1055, "media_audio"),
    (1056, "media_video"),
    (1057, "media_image"),
    (1058, "tombstoned"),
    (1059, "media_obb"),
    (1060, "ese"),
    (1061, "ota_update"),
    (1062, "automotive_evs"),
    (1063, "lowpan"),
    (1064, "hsm"),
    (1065, "reserved_disk"),
    (1066, "statsd"),
    (1067, "incidentd"),
    (1068, "secure_element"),
    (1069, "lmkd"),
    (1070, "llkd"),
    (1071, "iorapd"),
    (1072, "gpu_service"),
    (1073, "network_stack"),
    (1074, "gsid"),
    (1075, "fsverity_cert"),
    (1076, "credstore"),
    (1077, "external_storage"),
    (1078, "ext_data_rw"),
    (1079, "ext_obb_rw"),
    (1080, "context_hub"),
    (1081, "virtualizationservice"),
    (1082, "artd"),
    (1083, "uwb"),
    (1084, "thread_network"),
    (1085, "diced"),
    (1086, "dmesgd"),
    (1087, "jc_weaver"),
    (1088, "jc_strongbox"),
    (1089, "jc_identitycred"),
    (1090, "sdk_sandbox"),
    (1091, "security_log_writer"),
    (1092, "prng_seeder"),
    (1093, "uprobestats"),
    (2000, "shell"),
    (2001, "cache"),
    (2002, "diag"),
    (3001, "net_bt_admin"),
    (3002, "net_bt"),
    (3003, "inet"),
    (3004, "net_raw"),
    (3005, "net_admin"),
    (3006, "net_bw_stats"),
    (3007, "net_bw_acct"),
    (3009, "readproc"),
    (3010, "wakelock"),
    (3011, "uhid"),
    (3012, "readtracefs"),
    (9997, "everybody"),
    (9998, "misc"),
    (9999, "nobody"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_so_that_search_finds_them() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(android_name(1073), Some("network_stack"));
        assert_eq!(android_name(1031), Some("mediadrm"));
        assert_eq!(android_name(2950), None);
        assert_eq!(android_name(10_001), None);
    }

    #[test]
    fn splits_a_uid_of_a_second_user() {
        assert_eq!((user(1_010_123), appid(1_010_123)), (10, 10_123));
        assert_eq!(AppId::of(1_010_123), AppId::App(10_123));
        assert_eq!(AppId::of(1_001_000), AppId::Platform(SYSTEM));
    }

    #[test]
    fn tells_kinds_at_the_edges_of_their_ranges() {
        let kinds = [
            (0, AppId::Platform(0)),
            (9998, AppId::Platform(9998)),
            (9999, AppId::Nobody),
            (10_000, AppId::App(10_000)),
            (19_999, AppId::App(19_999)),
            (20_000, AppId::SdkSandbox { app: 10_000 }),
            (29_999, AppId::SdkSandbox { app: 19_999 }),
            (30_000, AppId::Unassigned(30_000)),
            (65_534, AppId::Overflow),
            (165_534, AppId::Unassigned(65_534)),
            (89_999, AppId::Unassigned(89_999)),
            (90_000, AppId::AppZygoteIsolated(90_000)),
            (98_999, AppId::AppZygoteIsolated(98_999)),
            (99_000, AppId::Isolated(99_000)),
            (99_999, AppId::Isolated(99_999)),
            (u32::MAX, AppId::Unassigned(67_295)),
        ];
        for (uid, kind) in kinds {
            assert_eq!(AppId::of(uid), kind, "uid {uid}");
        }
    }

    #[test]
    fn resolvers_are_resolvers_for_every_user() {
        for uid in [1051, 1052, 1_001_051] {
            assert!(is_resolver(uid), "uid {uid}");
        }
        for uid in [0, 1000, 1053, 10_051] {
            assert!(!is_resolver(uid), "uid {uid}");
        }
    }
}
