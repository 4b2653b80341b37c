//! `/data/system/packages.list`: one app a line, six space-separated fields or more.
//!
//! In: bytes. Out: the apps, and a flaw for each line that is not as Android writes it. Fields:
//! name, UID, debuggable, data folder, `SELinux` info, group ids or `none`; then, since Android 10
//! and 11, profileable by shell, version code, profileable, installer. There is no code path.

use super::{
    lines,
    packages_xml::NAME_BYTES_MAX,
    problem::{Flaws, Position},
};
use crate::attribute::uid;

/// Fields that every version of Android writes.
const FIELDS_MIN: usize = 6;
/// What Android writes as installer of an app that it counts as the system's.
const SYSTEM_INSTALLERS: [&str; 2] = ["@system", "@product"];

/// An app as `packages.list` knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) package: String,
    /// Android user that the UID names; 0 in what Android writes.
    pub(super) user: u32,
    pub(super) appid: u32,
    pub(super) version_code: Option<u64>,
    pub(super) installer: Option<String>,
    /// Whether the package manager counts it as the system's, where the file says.
    pub(super) system: bool,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct PackagesList {
    pub(super) apps: Vec<Listed>,
    pub(super) flaws: Flaws,
}

/// Reads the whole file; a line that cannot be read is a flaw, the others are used.
pub(super) fn parse(bytes: &[u8]) -> PackagesList {
    let mut list = PackagesList::default();
    for (at, line) in lines::numbered(bytes) {
        match app(line) {
            Ok(app) => list.apps.push(app),
            Err(what) => list.flaws.push(at, what),
        }
    }
    if bytes.is_empty() {
        let at = Position {
            byte: 0,
            line: Some(1),
        };
        list.flaws.push(at, "the file is empty");
    }
    list
}

fn app(line: &[u8]) -> Result<Listed, String> {
    let line = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 from column {}", error.valid_up_to() + 1))?;
    let fields: Vec<&str> = line.split(' ').collect();
    let [package, uid, _debuggable, _data, _seinfo, _gids, later @ ..] = fields.as_slice() else {
        let found = fields.len();
        return Err(format!(
            "{found} field(s), expected at least {FIELDS_MIN} separated by single spaces"
        ));
    };
    if package.is_empty() {
        return Err("the package name is empty".to_owned());
    }
    if package.len() > NAME_BYTES_MAX {
        return Err(format!(
            "the package name has {} bytes, expected at most {NAME_BYTES_MAX}",
            package.len()
        ));
    }
    let uid: u32 = uid
        .parse()
        .map_err(|_| format!("\"{uid}\" is not a UID (field 2 of {package})"))?;
    let installer = later.get(3).copied().unwrap_or("@null");
    Ok(Listed {
        package: (*package).to_owned(),
        user: uid::user(uid),
        appid: uid::appid(uid),
        version_code: later.get(1).and_then(|version| version.parse().ok()),
        installer: (!installer.starts_with('@') && installer.len() <= NAME_BYTES_MAX)
            .then(|| installer.to_owned()),
        system: SYSTEM_INSTALLERS.contains(&installer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_shapes_of_android_9_to_16() {
        let list = parse(
            b"com.a 10050 0 /data/user/0/com.a default:targetSdkVersion=28 3003,3002\n\
              com.b 10051 0 /data/user/0/com.b platform:privapp:targetSdkVersion=30 none 0 42\n\
              com.c 10052 1 /data/user/0/com.c default none 0 4294967297 1 com.android.vending\n\
              com.d 1000 0 /data/user_de/0/com.d platform none 0 36 1 @system more\r\n",
        );
        assert_eq!(list.flaws, Flaws::default());
        let versions: Vec<_> = list.apps.iter().map(|app| app.version_code).collect();
        assert_eq!(
            versions,
            [None, Some(42), Some(4_294_967_297), Some(36)],
            "{list:?}"
        );
        let installers: Vec<_> = list.apps.iter().map(|app| &app.installer).collect();
        let vending = Some("com.android.vending".to_owned());
        assert_eq!(installers, [&None, &None, &vending, &None]);
        let system: Vec<_> = list.apps.iter().map(|app| app.system).collect();
        assert_eq!(system, [false, false, false, true]);
    }

    #[test]
    fn a_broken_line_is_named_and_the_rest_is_used() {
        let list = parse(b"com.a 10050 0 /d s none\ncom.b 1005\n\ncom.c x 0 /d s none\n\xff 1 2 3 4 5\n 1 0 /d s none\ncom.z 10059 0 /d s none");
        let names: Vec<_> = list.apps.iter().map(|app| app.package.as_str()).collect();
        assert_eq!(names, ["com.a", "com.z"]);
        let problems: Vec<_> = list
            .flaws
            .into_problems("packages.list")
            .map(|problem| problem.to_string())
            .collect();
        assert_eq!(
            problems,
            [
                "packages.list, line 2 (byte 24): 2 field(s), expected at least 6 separated by single spaces",
                "packages.list, line 4 (byte 36): \"x\" is not a UID (field 2 of com.c)",
                "packages.list, line 5 (byte 56): not UTF-8 from column 1",
                "packages.list, line 6 (byte 68): the package name is empty",
            ]
        );
    }

    #[test]
    fn more_problems_than_are_kept_are_counted() {
        let list = parse(&b"broken\n".repeat(250));
        let problem = list.flaws.into_problems("packages.list").last().unwrap();
        assert_eq!(problem.to_string(), "packages.list: 150 more problem(s)");
    }
}
