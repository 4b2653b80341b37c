//! Google's native development kit, where there is one.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Where the kit is said to be; the first that is set counts.
const VARIABLES: [&str; 2] = ["ANDROID_NDK_HOME", "ANDROID_NDK_ROOT"];
/// The file that names the kit's version.
const PROPERTIES: &str = "source.properties";

/// A kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ndk {
    /// Its folder.
    pub folder: PathBuf,
    /// Its version, such as `27.2.12479018`.
    pub version: String,
}

impl Ndk {
    /// The kit that the environment names. None is named: `None`; what is named is not a kit:
    /// an error, since somebody meant to use it.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, String> {
        let named = VARIABLES.iter().find_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, PathBuf::from(value)))
        });
        let Some((name, folder)) = named else {
            return Ok(None);
        };
        Self::at(&folder).map(Some).map_err(|reason| {
            format!(
                "{name}={} is not an NDK: {reason}; unset it to build without one",
                folder.display()
            )
        })
    }

    fn at(folder: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(folder.join(PROPERTIES))
            .map_err(|error| format!("{PROPERTIES}: {error}"))?;
        let version = revision(&text)
            .ok_or_else(|| format!("{PROPERTIES} has no line `Pkg.Revision = …`"))?;
        let prebuilt = folder.join("toolchains").join("llvm").join("prebuilt");
        let has_compiler = fs::read_dir(&prebuilt)
            .map_err(|error| format!("{}: {error}", prebuilt.display()))?
            .flatten()
            .any(|host| host.path().join("bin").join("clang").exists());
        if !has_compiler {
            return Err(format!("no bin/clang under {}", prebuilt.display()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            version: version.to_owned(),
        })
    }
}

/// The revision in a kit's properties.
fn revision(properties: &str) -> Option<&str> {
    properties
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "Pkg.Revision")
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A folder that looks like a kit.
    pub fn stand_in(folder: &Path) {
        let bin = folder.join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        fs::create_dir_all(&bin).expect("a folder");
        fs::write(bin.join("clang"), "").expect("a file");
        fs::write(
            folder.join(PROPERTIES),
            "Pkg.Desc = Android NDK\nPkg.Revision = 27.2.12479018\n",
        )
        .expect("a file");
    }

    fn named(name: &'static str, folder: &Path) -> impl Fn(&str) -> Option<OsString> {
        let folder = folder.as_os_str().to_owned();
        move |asked| (asked == name).then(|| folder.clone())
    }

    #[test]
    fn finds_what_the_environment_names() {
        let folder = std::env::temp_dir().join(format!("sakshi-ndk-{}", std::process::id()));
        stand_in(&folder);
        for name in VARIABLES {
            let ndk = Ndk::find(named(name, &folder))
                .expect("a kit")
                .expect("one");
            assert_eq!(ndk.version, "27.2.12479018");
            assert_eq!(ndk.folder, folder);
        }
        fs::remove_dir_all(folder.join("toolchains")).expect("removed");
        let error = Ndk::find(named(VARIABLES[0], &folder)).expect_err("no compiler");
        assert!(error.contains("is not an NDK"), "{error}");
        assert!(error.contains("prebuilt"), "{error}");
        fs::remove_dir_all(&folder).expect("removed");
        let error = Ndk::find(named(VARIABLES[1], &folder)).expect_err("no folder");
        assert!(error.starts_with("ANDROID_NDK_ROOT="), "{error}");
        assert_eq!(Ndk::find(|_| None), Ok(None));
        assert_eq!(Ndk::find(|_| Some(OsString::new())), Ok(None));
    }

    #[test]
    fn reads_the_revision() {
        assert_eq!(revision("Pkg.Revision=1.2\n"), Some("1.2"));
        assert_eq!(revision("Pkg.Revision =\n"), None);
        assert_eq!(revision("Pkg.Desc = Android NDK\n"), None);
    }
}
