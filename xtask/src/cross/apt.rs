//! Packages of Debian, from the archive that this machine's apt is set up for.
//!
//! In: the name of a package, the suite it is in, the version wanted. Out: its files, unpacked in
//! the cache. apt works in a folder of its own there: neither root nor a change of the machine's
//! package lists is needed, and what it fetches is checked against the archive's signature.

use std::{fs, path::Path, process::Command};

use super::cache::{self, Cache, told};
use crate::steps::{Outcome, output, run_command};

/// The keys that Debian signs its archive with (package `debian-archive-keyring`).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Most that is read from a program's answer.
const LINES_MAX: usize = 10_000;

/// A Debian archive and the suite that this machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    uri: String,
    /// The suite of this machine.
    pub suite: String,
}

impl Archive {
    /// The archive of this machine.
    pub fn of_this_machine() -> Result<Self, String> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !is_debian(&release) {
            return Err(
                "this needs Debian, whose packages it uses; elsewhere install rustup's targets and \
                 the NDK (docs/building.md)"
                    .to_owned(),
            );
        }
        let answer = output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        Self::parse(&answer).ok_or_else(|| {
            "apt knows no Debian archive: expected an entry of component `main` in \
             /etc/apt/sources.list or /etc/apt/sources.list.d"
                .to_owned()
        })
    }

    /// What makes apt take packages of another suite of this archive as well, for this machine:
    /// options, and a folder for its lists. What the machine is set up for stays as it is.
    pub fn with_suite(&self, suite: &str, folder: &Path) -> Result<Vec<String>, String> {
        cache::create(&folder.join("lists/partial"))?;
        let entry = |suite: &str| format!("deb [signed-by={KEYRING}] {} {suite} main\n", self.uri);
        let sources = folder.join("sources.list");
        cache::write(&sources, &(entry(&self.suite) + &entry(suite)))?;
        let settings = [
            format!("Dir::State::lists={}", folder.join("lists").display()),
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(settings
            .into_iter()
            .flat_map(|setting| ["-o".to_owned(), setting])
            .collect())
    }

    /// The first entry of a whole suite; those for updates and security have a dash in their names.
    fn parse(index_targets: &str) -> Option<Self> {
        index_targets.lines().take(LINES_MAX).find_map(|line| {
            let mut words = line.split_whitespace();
            let (uri, suite) = (words.next()?, words.next()?);
            (words.next() == Some("main") && !suite.contains('-')).then(|| Self {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
            })
        })
    }
}

/// The package index of one suite, for arm64.
#[derive(Debug)]
pub struct Index {
    options: Vec<String>,
    suite: String,
}

impl Index {
    /// Fetches the index of a suite.
    pub fn fetch(archive: &Archive, suite: &str, cache: &Cache) -> Result<Self, String> {
        let folder = cache.path("apt").join(suite);
        for inner in ["lists/partial", "archives/partial"] {
            cache::create(&folder.join(inner))?;
        }
        let sources = format!("deb [signed-by={KEYRING}] {} {suite} main\n", archive.uri);
        cache::write(&folder.join("sources.list"), &sources)?;
        cache::write(&folder.join("status"), "")?;
        let index = Self {
            options: options(&folder),
            suite: suite.to_owned(),
        };
        println!("package index of {suite}");
        run_command(index.apt("apt-get").args(["update", "-qq"]))?;
        Ok(index)
    }

    /// apt or one of its tools, in our folder.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    /// The version of a package for which `is_wanted` says yes.
    pub fn version(
        &self,
        package: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, String> {
        let answer = output(self.apt("apt-cache").args(["madison", package]))?;
        let versions = versions(&answer, package);
        Ok(versions.into_iter().find(|version| is_wanted(version)))
    }

    /// The first package that another one cannot do without: a metapackage's real one.
    pub fn depends(&self, package: &str) -> Result<Option<String>, String> {
        let answer = output(self.apt("apt-cache").args(["depends", package]))?;
        let mut found = answer
            .lines()
            .take(LINES_MAX)
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(found.next().map(str::to_owned))
    }

    /// The files of a package, unpacked in the cache as `packages/<package>`.
    pub fn unpack(&self, package: &str, version: &str, cache: &Cache) -> Outcome {
        println!("{package} {version} from {}", self.suite);
        let download = cache.path("download");
        cache::create(&download)?;
        let mut fetch = self.apt("apt-get");
        fetch.args(["download", "-qq", &format!("{package}={version}")]);
        run_command(fetch.current_dir(&download))?;
        let file = downloaded(&download, package)?;
        cache::create(&cache.path("packages"))?;
        cache.piece(&unpacked(package), |folder| {
            run_command(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder))
        })?;
        fs::remove_file(&file).map_err(|error| told("remove", &file, &error))
    }
}

/// The piece of the cache that has a package's files.
pub fn unpacked(package: &str) -> String {
    format!("packages/{package}")
}

/// What makes apt work in our folder, for arm64, without what we don't need.
fn options(folder: &Path) -> Vec<String> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let settings = [
        format!("Dir::State={}", folder.display()),
        format!("Dir::State::lists={}", inside("lists")),
        format!("Dir::State::status={}", inside("status")),
        format!("Dir::Cache={}", folder.display()),
        format!("Dir::Etc::sourcelist={}", inside("sources.list")),
        "Dir::Etc::sourceparts=-".to_owned(),
        "APT::Architecture=arm64".to_owned(),
        "APT::Architectures=arm64".to_owned(),
        // Its own user may not write in ours.
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ];
    settings
        .into_iter()
        .flat_map(|setting| ["-o".to_owned(), setting])
        .collect()
}

/// The versions of a package in an answer of `apt-cache madison`, newest first.
fn versions(madison: &str, package: &str) -> Vec<String> {
    madison
        .lines()
        .take(LINES_MAX)
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let of_package = columns.next() == Some(package);
            let version = columns.next().filter(|version| !version.is_empty())?;
            let is_binary = columns.next()?.ends_with("Packages");
            (of_package && is_binary).then(|| version.to_owned())
        })
        .collect()
}

/// Whether a version of Debian's is made from the given version of the makers.
pub fn is_upstream(version: &str, upstream: &str) -> bool {
    let without_epoch = version.split_once(':').map_or(version, |(_, rest)| rest);
    without_epoch
        .strip_prefix(upstream)
        .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

fn is_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID="))
        .any(|id| id.trim_matches('"') == "debian")
}

/// The file of a package in a folder.
fn downloaded(folder: &Path, package: &str) -> Result<std::path::PathBuf, String> {
    let prefix = format!("{package}_");
    fs::read_dir(folder)
        .map_err(|error| told("read", folder, &error))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".deb")
        })
        .ok_or_else(|| format!("apt-get fetched no {prefix}….deb into {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_whole_suite_of_the_archive() {
        let targets = "http://a.example/debian-security/ bookworm-security main\n\
                       http://a.example/debian/ bookworm-updates main\n\
                       http://a.example/debian/ bookworm contrib\n\
                       http://a.example/debian/ bookworm main\n";
        let archive = Archive::parse(targets).expect("an archive");
        assert_eq!(archive.uri, "http://a.example/debian/");
        assert_eq!(archive.suite, "bookworm");
        assert_eq!(Archive::parse(""), None);
        assert_eq!(Archive::parse("http://a.example/debian/\n"), None);
    }

    #[test]
    fn reads_the_versions_of_a_package() {
        let madison = "  rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://a.example trixie-backports/main arm64 Packages\n\
                       rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://a.example trixie-backports/main arm64 Packages\n\
                       rustc | 1.95.0+dfsg1-2~bpo13+1 | http://a.example trixie-backports/main Sources\n\
                       rust-src |\n\nN: note\n";
        let found = versions(madison, "rust-src");
        assert_eq!(found, ["1.96.1+dfsg1-2~bpo13+1", "1.95.0+dfsg1-2~bpo13+1"]);
        let same = |version: &&String| is_upstream(version, "1.95.0");
        assert_eq!(found.iter().find(same), found.get(1));
    }

    #[test]
    fn a_version_is_of_its_makers_version_only() {
        assert!(is_upstream("1.95.0+dfsg1-2", "1.95.0"));
        assert!(is_upstream("1:1.95.0-1", "1.95.0"));
        assert!(!is_upstream("1.95.01-1", "1.95.0"));
        assert!(!is_upstream("1.95.0", "1.95.0"), "a native package");
        assert!(!is_upstream("1.96.0-1", "1.95.0"));
    }

    #[test]
    fn knows_debian_from_its_children() {
        assert!(is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_debian(""));
    }
}
