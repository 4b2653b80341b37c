//! The apps of the virtual handset: one of each kind that the daemon must tell apart.
//!
//! Package names, vendor and certificates are invented. Those of Sample Vendor are what the sample
//! statement of `rules/sets/demo` covers.

use crate::inventory_writer::{FLAG_SYSTEM, FLAG_UPDATED_SYSTEM_APP};

/// What Sample Vendor's apps are signed with; `rules/sets/demo` has its SHA-256.
pub const SAMPLE_CERTIFICATE: &[u8] = b"sakshi sample vendor certificate";
/// What apps of others are signed with.
pub const OTHER_CERTIFICATE: &[u8] = b"sakshi other certificate";

/// UIDs of each Android user: `uid = user * 100_000 + appid`.
const PER_USER: u32 = 100_000;

/// Platform UID of the system server (`AID_SYSTEM`).
pub const SYSTEM_UID: u32 = 1000;

/// An app as the package manager knows it.
#[derive(Debug, Clone, Copy)]
pub struct App {
    /// Package name.
    pub package: &'static str,
    /// UID of the first user.
    pub appid: u32,
    /// Where its code lies.
    pub code_path: &'static str,
    /// Where the version lies that an update replaced.
    pub replaced_path: Option<&'static str>,
    /// Name of its shared user.
    pub shared_user: Option<&'static str>,
    /// `publicFlags` of `packages.xml`.
    pub flags: i32,
    /// Certificate that it is signed with.
    pub certificate: &'static [u8],
    /// Package that installed it.
    pub installer: Option<&'static str>,
}

impl App {
    /// Its UID for an Android user.
    pub const fn uid_for(&self, user: u32) -> u32 {
        user * PER_USER + self.appid
    }

    /// Its UID for the first user.
    pub const fn uid(&self) -> u32 {
        self.appid
    }
}

const fn preloaded(package: &'static str, appid: u32, code_path: &'static str) -> App {
    App {
        package,
        appid,
        code_path,
        replaced_path: None,
        shared_user: None,
        flags: FLAG_SYSTEM,
        certificate: SAMPLE_CERTIFICATE,
        installer: None,
    }
}

/// Preloaded on `/system`.
pub const PUSH: App = preloaded("com.sample.push", 10_050, "/system/priv-app/VhPush");
/// Preloaded on `/product`.
pub const WEATHER: App = preloaded("com.sample.weather", 10_051, "/product/app/VhWeather");
/// Preloaded on a vendor's own partition.
pub const STATS: App = preloaded("com.sample.stats", 10_052, "/my_product/app/VhStats");
/// Preloaded on `/system`, since updated through a store.
pub const MARKET: App = App {
    replaced_path: Some("/system/app/VhMarket"),
    flags: FLAG_SYSTEM | FLAG_UPDATED_SYSTEM_APP,
    certificate: OTHER_CERTIFICATE,
    installer: Some("com.sample.market"),
    ..preloaded(
        "com.sample.market",
        10_053,
        "/data/app/~~dmgtbWFya2V0MDE=/com.sample.market-dmgtMDAx",
    )
};
/// Copied to the data partition at first boot; only the preload folder tells.
pub const GAMES: App = App {
    flags: 0,
    ..preloaded(
        "com.sample.games",
        10_054,
        "/data/app/~~dmgtZ2FtZXMwMDE=/com.sample.games-dmgtMDAy",
    )
};
/// Installed by the user.
pub const CHAT: App = App {
    flags: 0,
    certificate: OTHER_CERTIFICATE,
    installer: Some("com.android.vending"),
    ..preloaded(
        "org.example.chat",
        10_055,
        "/data/app/~~dmgtY2hhdDAwMDE=/org.example.chat-dmgtMDAz",
    )
};
/// First package of a shared UID.
pub const SHARED_A: App = App {
    shared_user: Some("com.sample.shared"),
    ..preloaded("com.sample.gallery", 10_056, "/system/app/VhGallery")
};
/// Second package of the same shared UID.
pub const SHARED_B: App = App {
    shared_user: Some("com.sample.shared"),
    ..preloaded("com.sample.camera", 10_056, "/product/priv-app/VhCamera")
};

/// Every app, in the order of their UIDs.
pub const APPS: &[App] = &[
    PUSH, WEATHER, STATS, MARKET, GAMES, CHAT, SHARED_A, SHARED_B,
];

/// Copies in folders from which the first boot installs apps, and whose they are.
pub const PRELOAD_FOLDERS: &[(&str, &str)] =
    &[("/my_product/del-app/SampleGames", "com.sample.games")];

/// The second Android user of the handset.
pub const SECOND_USER: u32 = 10;
