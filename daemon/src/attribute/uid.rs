//! Android's numbering of users and apps (`system/core` `android_filesystem_config.h`).

/// UIDs per Android user: `uid = user * 100_000 + appid`.
pub const PER_USER: u32 = 100_000;
