//! `/data/system/packages.xml`, as the package manager's `Settings` writes it (Android 9 to 16).
//!
//! In: bytes, text or ABX. Out: packages, the system versions that updates replaced
//! (`updated-package`), shared users, and what was wrong. Read are `name`, `codePath`,
//! `publicFlags` (before Android 6 `flags`), `version`, `userId` or `sharedUserId`, `installer`,
//! and the certificates. A certificate stands in full where it first occurs
//! (`<cert index="3" key="3082…"/>`), later by index only; those of `pastSigs` and of the
//! installer count for the index, but are no signers of the app. Unknown elements and attributes
//! are passed over.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::{
    document::{Document, Element, Event, Stop},
    problem::{Flaws, Position},
};
use crate::attribute::uid;

/// Longest name of a package or shared user, in bytes: Android allows 255 for a package's, since a
/// folder must bear it.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Longest code path, in bytes (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;
/// Certificates have indices below this; Android gives one to each new certificate in turn.
const CERTIFICATES_MAX: i64 = 65_536;

/// A package, or the system version of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// None for what has no UID: an APEX module.
    pub(super) appid: Option<u32>,
    /// Whether the UID is a shared user's.
    pub(super) shared: bool,
    pub(super) code_path: Option<String>,
    pub(super) flags: Option<i64>,
    pub(super) version_code: Option<u64>,
    pub(super) installer: Option<String>,
    /// SHA-256 of each signer certificate, lower-case hex, sorted.
    pub(super) signers: Vec<String>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct PackagesXml {
    pub(super) packages: Vec<Package>,
    pub(super) updated: Vec<Package>,
    /// Names of shared users by app id.
    pub(super) shared_users: BTreeMap<u32, String>,
    pub(super) flaws: Flaws,
    /// Where and why reading stopped before the end.
    pub(super) stopped: Option<(Position, String)>,
}

impl PackagesXml {
    /// Entries that were read.
    pub(super) fn len(&self) -> usize {
        self.packages.len() + self.updated.len() + self.shared_users.len()
    }
}

/// Reads as much of the file as can be read.
pub(super) fn parse(bytes: &[u8]) -> PackagesXml {
    let mut document = match Document::new(bytes) {
        Ok(document) => document,
        Err(stop) => {
            return PackagesXml {
                stopped: Some((
                    position(bytes, &mut (0, 0), stop.at, false),
                    stop.to_string(),
                )),
                ..PackagesXml::default()
            };
        }
    };
    let mut reading = Reading::new(bytes, document.is_text());
    let end = loop {
        match document.next() {
            Ok(Event::Start(element)) => reading.start(&element),
            Ok(Event::End) => reading.end(),
            Ok(Event::Eof) => break None,
            Err(stop) => break Some(stop),
        }
    };
    reading.finish(end)
}

/// Where we are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Packages,
    Package,
    UpdatedPackage,
    SharedUser,
    /// Certificates that sign the package we are in.
    Signers,
    /// Certificates that do not, but have an index.
    OtherCertificates,
    Elsewhere,
}

struct Reading<'a> {
    bytes: &'a [u8],
    is_text: bool,
    /// Bytes and line ends before the last position that was asked for.
    counted: (usize, u64),
    places: Vec<Place>,
    /// The package that has begun and not ended, and whether it is fit for use.
    package: Option<Package>,
    certificates: BTreeMap<i64, String>,
    found: PackagesXml,
}

impl<'a> Reading<'a> {
    fn new(bytes: &'a [u8], is_text: bool) -> Self {
        Self {
            bytes,
            is_text,
            counted: (0, 0),
            places: Vec::new(),
            package: None,
            certificates: BTreeMap::new(),
            found: PackagesXml::default(),
        }
    }

    fn start(&mut self, element: &Element<'_>) {
        let place = self.place_of(element);
        match place {
            Place::Package | Place::UpdatedPackage => self.package = self.begin_package(element),
            Place::SharedUser => self.shared_user(element),
            _ => {}
        }
        self.places.push(place);
    }

    fn place_of(&mut self, element: &Element<'_>) -> Place {
        let name: &str = &element.name;
        match (self.places.last(), name) {
            (None, "packages") => Place::Packages,
            (None, _) => {
                let what = format!("the root element is <{name}>, expected <packages>");
                self.flaw(element.at, what);
                Place::Elsewhere
            }
            (Some(Place::Packages), "package") => Place::Package,
            (Some(Place::Packages), "updated-package") => Place::UpdatedPackage,
            (Some(Place::Packages), "shared-user") => Place::SharedUser,
            (Some(Place::Package | Place::UpdatedPackage), "sigs") => Place::Signers,
            (Some(Place::SharedUser), "sigs")
            | (Some(Place::Package | Place::UpdatedPackage), "install-initiator-sigs")
            | (Some(Place::Signers | Place::OtherCertificates), "pastSigs") => {
                Place::OtherCertificates
            }
            (Some(&place @ (Place::Signers | Place::OtherCertificates)), "cert") => {
                self.certificate(element, place == Place::Signers);
                Place::Elsewhere
            }
            _ => Place::Elsewhere,
        }
    }

    fn end(&mut self) {
        let Some(place) = self.places.pop() else {
            return;
        };
        let found = match place {
            Place::Package => &mut self.found.packages,
            Place::UpdatedPackage => &mut self.found.updated,
            _ => return,
        };
        if let Some(mut package) = self.package.take() {
            package.signers.sort_unstable();
            package.signers.dedup();
            found.push(package);
        }
    }

    fn begin_package(&mut self, element: &Element<'_>) -> Option<Package> {
        let Some(name) = element.text("name") else {
            self.flaw(element.at, format!("<{}> without a name", element.name));
            return None;
        };
        if name.len() > NAME_BYTES_MAX {
            let what = format!(
                "the name of <{}> has {} bytes, expected at most {NAME_BYTES_MAX}; it is not used",
                element.name,
                name.len()
            );
            self.flaw(element.at, what);
            return None;
        }
        let shared = self.integer(element, "sharedUserId");
        let own = self.integer(element, "userId");
        let Some(number) = shared.or(own) else {
            let what = format!("{name} has neither userId nor sharedUserId, and is not used");
            self.flaw(element.at, what);
            return None;
        };
        let appid = u32::try_from(number).ok();
        if appid.is_some_and(|appid| appid >= uid::PER_USER) {
            let what = format!("{name} has user id {number}, expected less than 100000");
            self.flaw(element.at, what);
            return None;
        }
        let flags = self.integer(element, "publicFlags");
        let version = self.integer(element, "version");
        Some(Package {
            name: name.to_owned(),
            appid,
            shared: shared.is_some(),
            code_path: self.text(element, "codePath", PATH_BYTES_MAX),
            flags: flags.or_else(|| self.integer(element, "flags")),
            version_code: version.and_then(|version| u64::try_from(version).ok()),
            installer: self.text(element, "installer", NAME_BYTES_MAX),
            signers: Vec::new(),
        })
    }

    fn shared_user(&mut self, element: &Element<'_>) {
        let appid = self
            .integer(element, "userId")
            .and_then(|number| u32::try_from(number).ok());
        match (self.text(element, "name", NAME_BYTES_MAX), appid) {
            (Some(name), Some(appid)) => {
                self.found.shared_users.entry(appid).or_insert(name);
            }
            _ => self.flaw(element.at, "<shared-user> without a name or a userId"),
        }
    }

    fn certificate(&mut self, element: &Element<'_>, signs: bool) {
        let index = self.integer(element, "index");
        let Some(index) = index.filter(|index| (0..CERTIFICATES_MAX).contains(index)) else {
            self.flaw(element.at, "<cert> without an index from 0 to 65535");
            return;
        };
        match element.bytes("key") {
            Ok(Some(key)) => {
                self.certificates.insert(index, hex(&Sha256::digest(&key)));
            }
            Ok(None) => {}
            Err(_) => self.flaw(
                element.at,
                "key of <cert> is not an even count of hex digits",
            ),
        }
        match self.certificates.get(&index) {
            Some(certificate) if signs => {
                if let Some(package) = &mut self.package {
                    package.signers.push(certificate.clone());
                }
            }
            Some(_) => {}
            None => {
                let what = format!("certificate {index} is referred to before it is given");
                self.flaw(element.at, what);
            }
        }
    }

    /// A text attribute of at most `max` bytes; a longer one is a flaw, and not used.
    fn text(&mut self, element: &Element<'_>, name: &str, max: usize) -> Option<String> {
        let text = element.text(name)?;
        if text.len() > max {
            let what = format!(
                "{name} of <{}> has {} bytes, expected at most {max}; it is not used",
                element.name,
                text.len()
            );
            self.flaw(element.at, what);
            return None;
        }
        Some(text.to_owned())
    }

    fn integer(&mut self, element: &Element<'_>, name: &str) -> Option<i64> {
        element.integer(name).unwrap_or_else(|_| {
            let what = format!("{name} of <{}> is not an integer", element.name);
            self.flaw(element.at, what);
            None
        })
    }

    fn flaw(&mut self, at: usize, what: impl Into<String>) {
        let at = position(self.bytes, &mut self.counted, at, self.is_text);
        self.found.flaws.push(at, what);
    }

    fn finish(mut self, stop: Option<Stop>) -> PackagesXml {
        if let Some(stop) = stop {
            let mut what = stop.to_string();
            let place = self
                .places
                .iter()
                .find(|place| matches!(place, Place::Package | Place::UpdatedPackage))
                .copied();
            if let (Some(mut package), Some(place)) = (self.package.take(), place) {
                // Its attributes are complete, its certificates may not be.
                package.signers.clear();
                let _ = write!(what, " (within {}: its signers are lost)", package.name);
                match place {
                    Place::UpdatedPackage => self.found.updated.push(package),
                    _ => self.found.packages.push(package),
                }
            }
            let at = position(self.bytes, &mut self.counted, stop.at, self.is_text);
            self.found.stopped = Some((at, what));
        }
        self.found
    }
}

/// Position of a byte. `counted` says how many line ends stand before which byte, so that a file
/// is counted through once; an offset before it is given without its line.
fn position(bytes: &[u8], counted: &mut (usize, u64), at: usize, is_text: bool) -> Position {
    let line = is_text
        .then(|| bytes.get(counted.0..at))
        .flatten()
        .map(|between| {
            let lines = between.split(|&byte| byte == b'\n').count() as u64;
            *counted = (at, counted.1 + lines - 1);
            counted.1 + 1
        });
    Position {
        byte: at as u64,
        line,
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_signers_and_installer_signers_are_no_signers() {
        let xml = br#"<packages>
            <package name="a" codePath="/data/app/a" publicFlags="0" version="1" userId="10001">
              <sigs count="1"><cert index="0" key="61"/>
                <pastSigs count="2"><cert index="1" key="62" flags="1"/><cert index="0" flags="1"/></pastSigs></sigs>
              <install-initiator-sigs count="1"><cert index="2" key="63"/></install-initiator-sigs>
            </package>
            <package name="b" codePath="/data/app/b" publicFlags="0" version="1" userId="10002">
              <sigs count="2"><cert index="2"/><cert index="1"/></sigs>
            </package></packages>"#;
        let found = parse(xml);
        assert_eq!(found.flaws, Flaws::default());
        let digest = |text: &str| hex(&Sha256::digest(text));
        assert_eq!(found.packages[0].signers, [digest("a")]);
        let mut both = vec![digest("b"), digest("c")];
        both.sort();
        assert_eq!(found.packages[1].signers, both);
    }

    #[test]
    fn says_which_line_is_wrong_and_uses_the_rest() {
        let xml = b"<packages>\n<package codePath='/x'/>\n<package name='a'/>\n\
            <package name='b' userId='many'/>\n<package name='c' userId='10003'>\n\
            <sigs><cert index='4'/></sigs></package>\n<package name='d' userId='123456'/></packages>";
        let found = parse(xml);
        assert_eq!(found.packages.len(), 1);
        let problems: Vec<_> = found
            .flaws
            .into_problems("packages.xml")
            .map(|problem| problem.to_string())
            .collect();
        assert_eq!(
            problems,
            [
                "packages.xml, line 2 (byte 11): <package> without a name",
                "packages.xml, line 3 (byte 36): a has neither userId nor sharedUserId, and is not used",
                "packages.xml, line 4 (byte 56): userId of <package> is not an integer",
                "packages.xml, line 4 (byte 56): b has neither userId nor sharedUserId, and is not used",
                "packages.xml, line 6 (byte 130): certificate 4 is referred to before it is given",
                "packages.xml, line 7 (byte 165): d has user id 123456, expected less than 100000",
            ]
        );
    }

    #[test]
    fn an_entity_bomb_is_refused_at_its_declaration() {
        let xml = b"<?xml version='1.0'?>\n<!DOCTYPE p [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]>\n<packages><package name='&b;' userId='10001'/></packages>";
        let (at, what) = parse(xml).stopped.unwrap();
        assert_eq!((at.byte, at.line), (22, Some(2)));
        assert!(what.contains("document type"), "{what}");
    }
}
