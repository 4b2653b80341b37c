//! The apps on the handset and how each came there.
//!
//! In: `packages.list` and `packages.xml` (text or ABX). Out: an [`Inventory`] that tells which
//! apps a UID stands for and of which class they are.

use serde::{Deserialize, Serialize};

pub use sakshi_rules::contact::AppClass;

/// An installed app, as the package manager's files describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Package name.
    pub package: String,
    /// App id: the UID within a user.
    pub appid: u32,
    /// Android's `versionCode`, where known.
    pub version_code: Option<u64>,
    /// Package that installed it, where known.
    pub installer: Option<String>,
    /// SHA-256 of each signer certificate, lower-case hex, sorted.
    pub signers: Vec<String>,
    /// Where its code lies, where known.
    pub code_path: Option<String>,
    /// Path on a system partition: of itself, or of the version that an update replaced.
    pub preload_path: Option<String>,
    /// Name of its shared user, where it has one.
    pub shared_user: Option<String>,
    /// How it came onto the handset.
    pub class: AppClass,
    /// Why it has that class, in plain words.
    pub class_reason: String,
}
