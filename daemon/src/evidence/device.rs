//! Record `device`: which handset this is, by its own account, and in which state it was watched.
//!
//! In: files and properties of the machine. Out: a record's body, behind the `doctor` record of a
//! live session. Each fact says where it was read; what was not read is null.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What was read; null: it is not known.
    pub value: Option<String>,
    /// Where (`getprop ro.build.fingerprint`, `/sys/fs/selinux/enforce`); null: nowhere.
    pub read_from: Option<String>,
}

impl Fact {
    /// A value and where it was read.
    pub fn new(value: impl Into<String>, read_from: impl Into<String>) -> Self {
        Self {
            value: Some(value.into()),
            read_from: Some(read_from.into()),
        }
    }
}

/// Record `device`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// When it was read.
    pub at: Timestamp,
    /// Whether this is an Android device.
    pub is_android: bool,
    /// Name of the build, as its maker gave it (`ro.build.fingerprint`).
    pub fingerprint: Fact,
    /// Maker (`ro.product.manufacturer`).
    pub manufacturer: Fact,
    /// Model (`ro.product.model`).
    pub model: Fact,
    /// `user` as it is sold, `userdebug`, `eng` (`ro.build.type`).
    pub build_type: Fact,
    /// Keys that the build was signed with (`ro.build.tags`).
    pub build_tags: Fact,
    /// Level of security patches (`ro.build.version.security_patch`).
    pub security_patch: Fact,
    /// `green`, `yellow`, `orange`, `red` (`ro.boot.verifiedbootstate`).
    pub verified_boot: Fact,
    /// `locked`, `unlocked` (`ro.boot.vbmeta.device_state`).
    pub bootloader: Fact,
    /// Mode of `SELinux`: `enforcing`, `permissive`, `absent`.
    pub selinux: Fact,
    /// How the handset was rooted, as somebody stated it.
    pub rooted: Fact,
    /// Release of the kernel.
    pub kernel: Fact,
    /// Binary interface of programs (`ro.product.cpu.abi`).
    pub abi: Fact,
}
