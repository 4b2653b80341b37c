//! How an app came onto the handset, and the evidence for it.
//!
//! In: what the files say of one app. Out: its class, the reason in plain words, and its path on a
//! system partition. Never concluded from a package name.

use sakshi_rules::contact::AppClass;

/// Partitions that the vendor ships and the user cannot write: AOSP's, then vendors' own (OPPO,
/// realme and `OnePlus` `my_*` and `oppo_*`, Xiaomi `mi_ext`, Samsung `prism`, `optics`, `omr`,
/// Huawei `hw_product`, `version`, Transsion `tr_*`; `cust` and `preload` are used by several).
pub const SYSTEM_PARTITIONS: [&str; 38] = [
    "/apex",
    "/odm",
    "/oem",
    "/product",
    "/system",
    "/system_ext",
    "/vendor",
    "/cust",
    "/hw_product",
    "/mi_ext",
    "/my_bigball",
    "/my_carrier",
    "/my_company",
    "/my_custom",
    "/my_engineering",
    "/my_heytap",
    "/my_manifest",
    "/my_odm",
    "/my_operator",
    "/my_preload",
    "/my_product",
    "/my_region",
    "/my_stock",
    "/my_version",
    "/omr",
    "/oppo_engineering",
    "/oppo_product",
    "/oppo_version",
    "/optics",
    "/preload",
    "/prism",
    "/tr_carrier",
    "/tr_company",
    "/tr_mi",
    "/tr_preload",
    "/tr_product",
    "/tr_region",
    "/version",
];

/// Where apps are installed by the user or a store: the data partition, or adopted storage.
const DATA_FOLDERS: [&str; 3] = ["/data", "/mnt/expand", "/mnt/asec"];

/// `ApplicationInfo.FLAG_SYSTEM`.
const FLAG_SYSTEM: i64 = 1;
/// `ApplicationInfo.FLAG_UPDATED_SYSTEM_APP`.
const FLAG_UPDATED_SYSTEM_APP: i64 = 0x80;

/// What the files say of one app.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence<'a> {
    pub(super) code_path: Option<&'a str>,
    pub(super) flags: Option<i64>,
    /// Whether `packages.xml` has an `updated-package` entry.
    pub(super) updated: bool,
    /// The path in that entry.
    pub(super) shipped_path: Option<&'a str>,
    /// Whether `packages.list` names the system as its installer.
    pub(super) listed_as_system: bool,
    /// Its copy in a preload folder.
    pub(super) preload: Option<&'a str>,
    /// Whether preload folders were listed at all.
    pub(super) preloads_listed: bool,
}

/// What follows from the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: AppClass,
    pub(super) reason: String,
    /// Path on a system partition: its own, or that of the version it came with.
    pub(super) preload_path: Option<String>,
}

/// Judges the evidence; the strongest comes first.
pub(super) fn classify(evidence: &Evidence<'_>) -> Verdict {
    let verdict = |class, reason: String, preload_path: Option<&str>| Verdict {
        class,
        reason,
        preload_path: preload_path.map(str::to_owned),
    };
    if let Some(verdict) = by_partition_or_entry(evidence, verdict) {
        return verdict;
    }
    let path = evidence.code_path.unwrap_or("not known");
    let flag = |bit| evidence.flags.is_some_and(|flags| flags & bit != 0);
    if flag(FLAG_UPDATED_SYSTEM_APP) {
        let reason = format!("flag UPDATED_SYSTEM_APP (0x80) is set; code path {path}");
        return verdict(AppClass::UpdatedPreload, reason, None);
    }
    if flag(FLAG_SYSTEM) {
        let reason = format!("flag SYSTEM (1) is set; code path {path}");
        return verdict(AppClass::Preloaded, reason, None);
    }
    if evidence.listed_as_system {
        let reason = "packages.list names the system as installer; whether it was updated since \
                      is not known";
        return verdict(AppClass::Preloaded, reason.to_owned(), None);
    }
    if let Some(copy) = evidence.preload {
        let reason = format!("no system flag, code path {path}, but shipped in {copy}");
        return verdict(AppClass::DeletablePreload, reason, Some(copy));
    }
    match evidence.code_path {
        Some(path) if is_data(path) && evidence.preloads_listed => {
            let reason =
                format!("code path {path}, no system flag, in no preload folder that was listed");
            verdict(AppClass::User, reason, None)
        }
        Some(path) if is_data(path) => {
            let reason = format!(
                "code path {path}, no system flag; preload folders were not listed, so a deletable \
                 preload cannot be told apart"
            );
            verdict(AppClass::User, reason, None)
        }
        Some(path) => {
            let reason = format!("code path {path} is on no partition that is known");
            verdict(AppClass::Unknown, reason, None)
        }
        None => {
            let reason = "no file that was read has its code path or flags";
            verdict(AppClass::Unknown, reason.to_owned(), None)
        }
    }
}

fn by_partition_or_entry<'a>(
    evidence: &Evidence<'a>,
    verdict: impl Fn(AppClass, String, Option<&'a str>) -> Verdict,
) -> Option<Verdict> {
    if let Some(path) = evidence.code_path
        && let Some(partition) = system_partition(path)
    {
        let reason = format!("code path {path} is on the system partition {partition}");
        return Some(verdict(AppClass::Preloaded, reason, Some(path)));
    }
    if !evidence.updated {
        return None;
    }
    let reason = match evidence.shipped_path {
        Some(path) => format!("an updated-package entry keeps the shipped version at {path}"),
        None => "an updated-package entry stands for the shipped version".to_owned(),
    };
    let shipped = evidence.shipped_path;
    Some(verdict(AppClass::UpdatedPreload, reason, shipped))
}

/// The system partition that a path lies on.
fn system_partition(path: &str) -> Option<&'static str> {
    if has_dots(path) {
        return None;
    }
    SYSTEM_PARTITIONS
        .into_iter()
        .find(|partition| is_below(path, partition))
}

/// Whether a path lies where installed apps lie.
pub(super) fn is_data(path: &str) -> bool {
    !has_dots(path) && DATA_FOLDERS.iter().any(|folder| is_below(path, folder))
}

/// Whether a path has a component that stands for another place than it names.
pub(super) fn has_dots(path: &str) -> bool {
    path.split('/').any(|part| part == "." || part == "..")
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(evidence: &Evidence<'_>) -> (AppClass, String, Option<String>) {
        let verdict = classify(evidence);
        (verdict.class, verdict.reason, verdict.preload_path)
    }

    #[test]
    fn a_partition_is_a_whole_first_component() {
        assert_eq!(system_partition("/system/app/A"), Some("/system"));
        assert_eq!(system_partition("/system_ext/app/A"), Some("/system_ext"));
        assert_eq!(system_partition("/systemx/app/A"), None);
        assert_eq!(system_partition("/system/../data/app/A"), None);
        assert_eq!(system_partition("system/app/A"), None);
    }

    #[test]
    fn the_partition_outweighs_absent_flags() {
        let evidence = Evidence {
            code_path: Some("/my_heytap/app/Store"),
            flags: Some(0),
            ..Evidence::default()
        };
        assert_eq!(
            of(&evidence),
            (
                AppClass::Preloaded,
                "code path /my_heytap/app/Store is on the system partition /my_heytap".to_owned(),
                Some("/my_heytap/app/Store".to_owned())
            )
        );
    }

    #[test]
    fn an_update_is_known_by_entry_or_by_flag() {
        let path = Some("/data/app/~~x==/com.a-y==");
        let by_entry = Evidence {
            code_path: path,
            flags: Some(FLAG_SYSTEM | FLAG_UPDATED_SYSTEM_APP),
            updated: true,
            shipped_path: Some("/product/app/A"),
            ..Evidence::default()
        };
        let (class, reason, preload) = of(&by_entry);
        assert_eq!(class, AppClass::UpdatedPreload);
        assert!(reason.contains("/product/app/A"), "{reason}");
        assert_eq!(preload.as_deref(), Some("/product/app/A"));
        let by_flag = Evidence {
            updated: false,
            ..by_entry
        };
        let (class, reason, preload) = of(&by_flag);
        assert_eq!((class, preload), (AppClass::UpdatedPreload, None));
        assert!(reason.contains("0x80"), "{reason}");
    }

    #[test]
    fn without_a_listing_a_user_app_says_what_it_may_be() {
        let evidence = Evidence {
            code_path: Some("/data/app/com.a-1"),
            flags: Some(0),
            ..Evidence::default()
        };
        let (class, reason, _) = of(&evidence);
        assert_eq!(class, AppClass::User);
        assert!(reason.contains("cannot be told apart"), "{reason}");
        let listed = Evidence {
            preload: Some("/my_stock/del-app/com.a.apk"),
            preloads_listed: true,
            ..evidence
        };
        assert_eq!(of(&listed).0, AppClass::DeletablePreload);
    }

    #[test]
    fn nothing_known_is_unknown() {
        assert_eq!(of(&Evidence::default()).0, AppClass::Unknown);
        let elsewhere = Evidence {
            code_path: Some("/storage/emulated/0/a"),
            flags: Some(0),
            ..Evidence::default()
        };
        assert_eq!(of(&elsewhere).0, AppClass::Unknown);
    }
}
