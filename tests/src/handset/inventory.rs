//! The virtual handset's `/data/system`: `packages.list`, `packages.xml` and the preload folders.
//!
//! In: the table of [`cast`](super::cast). Out: files as Android's package manager writes them.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    Error, Result,
    cast::{APPS, App, PRELOAD_FOLDERS},
};

/// The certificate that all apps of the cast are signed with: its bytes name it, no more.
const CERTIFICATE: &str = "73616b736869207669727475616c2068616e64736574";

/// Writes the inventory into `dir`, which is made.
pub fn write(dir: &Path) -> Result<()> {
    let failed = |what: &str| Error::io(format!("writing {what} to {}", dir.display()));
    fs::create_dir_all(dir).map_err(failed("the inventory"))?;
    for (name, text) in [
        ("packages.list", list(APPS)),
        ("packages.xml", xml(APPS)),
        ("preload-folders.txt", PRELOAD_FOLDERS.join("\n") + "\n"),
    ] {
        fs::write(dir.join(name), text).map_err(failed(name))?;
    }
    Ok(())
}

/// `packages.list`: name, UID, debuggable, data folder, seinfo, groups, and what later versions add.
fn list(apps: &[App]) -> String {
    let mut text = String::new();
    for app in apps {
        let App { package, appid, .. } = app;
        let installer = app.installer.unwrap_or("@system");
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "{package} {appid} 0 /data/user/0/{package} default:targetSdkVersion=34 3003 0 1001 1 \
             {installer}"
        );
    }
    text
}

fn xml(apps: &[App]) -> String {
    let mut text = "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n<packages>\n\
        <version sdkVersion=\"34\" databaseVersion=\"3\" fingerprint=\"sakshi/virtual/handset\" />\n"
        .to_owned();
    for app in apps {
        package(&mut text, app);
    }
    for app in apps.iter().filter(|app| app.replaced_path.is_some()) {
        let (name, appid) = (app.package, app.appid);
        let path = app.replaced_path.unwrap_or_default();
        _ = writeln!(
            text,
            "<updated-package name=\"{name}\" codePath=\"{path}\" ft=\"11e8f7d4c00\" \
             it=\"11e8f7d4c00\" ut=\"11e8f7d4c00\" version=\"1000\" userId=\"{appid}\" />"
        );
    }
    let mut shared: Vec<_> = apps
        .iter()
        .filter_map(|app| Some((app.shared_user?, app.appid)))
        .collect();
    shared.dedup();
    for (name, appid) in shared {
        _ = writeln!(
            text,
            "<shared-user name=\"{name}\" userId=\"{appid}\"><sigs count=\"1\" schemeVersion=\"3\">\
             <cert index=\"0\" /></sigs></shared-user>"
        );
    }
    text + "</packages>\n"
}

fn package(text: &mut String, app: &App) {
    let (name, path, flags, appid) = (app.package, app.code_path, app.flags, app.appid);
    let owner = if app.shared_user.is_some() {
        "sharedUserId"
    } else {
        "userId"
    };
    let installer = app
        .installer
        .map(|installer| format!(" installer=\"{installer}\""))
        .unwrap_or_default();
    // Android writes a certificate once, and refers to it by its index after that.
    let certificate = if name == APPS[0].package {
        format!("<cert index=\"0\" key=\"{CERTIFICATE}\" />")
    } else {
        "<cert index=\"0\" />".to_owned()
    };
    _ = writeln!(
        text,
        "<package name=\"{name}\" codePath=\"{path}\" publicFlags=\"{flags}\" privateFlags=\"0\" \
         ft=\"18bcfe56800\" ut=\"18bcfe56800\" version=\"2000\" {owner}=\"{appid}\"{installer}>\
         <sigs count=\"1\" schemeVersion=\"3\">{certificate}</sigs></package>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_app_into_both_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write(dir.path()).expect("written");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("a file");
        let (list, xml) = (read("packages.list"), read("packages.xml"));
        for app in APPS {
            assert!(list.contains(&format!("{} {} ", app.package, app.appid)));
            assert!(xml.contains(&format!("<package name=\"{}\"", app.package)));
        }
        assert_eq!(xml.matches(CERTIFICATE).count(), 1);
        assert_eq!(xml.matches("<updated-package").count(), 1);
        assert_eq!(xml.matches("<shared-user").count(), 1);
    }
}
