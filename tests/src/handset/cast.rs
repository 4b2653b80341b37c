//! The apps of the virtual handset: one of each kind that the daemon must tell apart.
//!
//! Package names are invented; some begin as those of the vendors whose statements the rules know,
//! since a statement covers only its vendor's apps.

/// Flag of `packages.xml`: on a system partition (`ApplicationInfo.FLAG_SYSTEM`).
const SYSTEM: u32 = 1;
/// Flag of `packages.xml`: a system app that was updated (`FLAG_UPDATED_SYSTEM_APP`).
const UPDATED_SYSTEM: u32 = 1 << 7;

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
    pub flags: u32,
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
        flags: SYSTEM,
        installer: None,
    }
}

/// Preloaded on `/system`.
pub const PUSH: App = preloaded("com.heytap.vhpush", 10_050, "/system/priv-app/VhPush");
/// Preloaded on `/product`.
pub const WEATHER: App = preloaded("com.coloros.vhweather", 10_051, "/product/app/VhWeather");
/// Preloaded on a vendor's own partition.
pub const STATS: App = preloaded("com.oplus.vhstats", 10_052, "/my_product/app/VhStats");
/// Preloaded on `/system`, since updated through a store.
pub const MARKET: App = App {
    replaced_path: Some("/system/app/VhMarket"),
    flags: SYSTEM | UPDATED_SYSTEM,
    installer: Some("com.heytap.vhmarket"),
    ..preloaded(
        "com.heytap.vhmarket",
        10_053,
        "/data/app/~~dmgtbWFya2V0MDE=/com.heytap.vhmarket-dmgtMDAx",
    )
};
/// Copied to the data partition at first boot; only the preload folder tells.
pub const GAMES: App = App {
    flags: 0,
    ..preloaded(
        "com.oplus.vhgames",
        10_054,
        "/data/app/~~dmgtZ2FtZXMwMDE=/com.oplus.vhgames-dmgtMDAy",
    )
};
/// Installed by the user.
pub const CHAT: App = App {
    flags: 0,
    installer: Some("com.android.vending"),
    ..preloaded(
        "org.example.vhchat",
        10_055,
        "/data/app/~~dmgtY2hhdDAwMDE=/org.example.vhchat-dmgtMDAz",
    )
};
/// First package of a shared UID.
pub const SHARED_A: App = App {
    shared_user: Some("com.oppo.vhshared"),
    ..preloaded("com.oppo.vhgallery", 10_056, "/system/app/VhGallery")
};
/// Second package of the same shared UID.
pub const SHARED_B: App = App {
    shared_user: Some("com.oppo.vhshared"),
    ..preloaded("com.oppo.vhcamera", 10_056, "/product/priv-app/VhCamera")
};

/// Every app, in the order of their UIDs.
pub const APPS: &[App] = &[
    PUSH, WEATHER, STATS, MARKET, GAMES, CHAT, SHARED_A, SHARED_B,
];

/// Files in folders from which the first boot copies apps (`preload-folders.txt`).
pub const PRELOAD_FOLDERS: &[&str] = &["/my_product/del-app/com.oplus.vhgames"];

/// The second Android user of the handset.
pub const SECOND_USER: u32 = 10;
