//! The situation that statements of a brand are held against: its preloaded apps reach Singapore,
//! Mumbai, a Thai border group inside the Singapore region, a content network, a Chinese host, and a
//! maker of antivirus software.
//!
//! In: nothing. Out: a capture, an inventory and a brand's file, the same bytes each time. What is
//! said in that file is made up but for the sentence of 2017; the addresses are real ones of the
//! places that they stand for, the days such that the built-in lists were recent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    capture_writer::{self as writer, Hook, NFLOG, Pcapng, client_hello},
    inventory_writer::{self, Encoding, FLAG_SYSTEM, Model, Package},
    sample::{Talk, at, http, package, phone_at},
};

/// What the handset's apps of the brand are signed with.
pub const CERTIFICATE: &[u8] = b"certificate of OPPO for this case";

/// 2026-01-15T04:00:00Z, in nanoseconds since the Unix epoch: the providers' lists are 76 days old.
const FIRST_DAY: u64 = 1_768_449_600_000_000_000;
/// Five days later: a later statement stands.
const LATER_DAY: u64 = FIRST_DAY + 5 * 86_400_000_000_000;

const CLOUD: u32 = 10_050;
const WEATHER: u32 = 10_051;
const SAFE: u32 = 10_052;

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct Files {
    /// The handset's capture.
    pub capture: PathBuf,
    /// The folder with the inventory.
    pub inventory: PathBuf,
}

/// Writes capture and inventory into `dir`.
///
/// # Errors
/// What the file system says.
pub fn write(dir: &Path) -> io::Result<Files> {
    let files = Files {
        capture: dir.join("phone.pcapng"),
        inventory: dir.join("inventory"),
    };
    fs::write(&files.capture, capture())?;
    inventory_writer::write_folder(&apps(), Encoding::Text, &files.inventory)?;
    Ok(files)
}

fn apps() -> Model {
    let app = |name: &str, path: &str, uid: u32| Package {
        signers: vec![CERTIFICATE.to_vec()],
        ..package(name, path, FLAG_SYSTEM, uid)
    };
    Model {
        packages: vec![
            app("com.heytap.cloud", "/system/priv-app/Cloud", CLOUD),
            app("com.coloros.weather", "/product/app/Weather", WEATHER),
            app("com.coloros.safecenter", "/system/app/Safe", SAFE),
        ],
        users: vec![0],
        ..Model::default()
    }
}

fn capture() -> Vec<u8> {
    let mut file = Pcapng::new();
    let log = file.interface(NFLOG, true);
    let mut talk = Talk::new();
    talk.now = FIRST_DAY;
    let mut port = 41_000;
    let mut say = |talk: &mut Talk, uid: u32, to: &str, request: &[u8]| {
        port += 1;
        talk.connect(phone_at(port), at(to), request);
        for (nanos, sent, packet) in talk.take() {
            let record = if sent {
                writer::nflog(Hook::Output, Some(uid), &packet)
            } else {
                writer::nflog(Hook::Input, None, &packet)
            };
            file.packet(log, nanos, &record, usize::MAX);
        }
    };
    let tls = |name: &str| client_hello(name.as_bytes());
    let first = [
        ("13.228.10.20:443", "ocloud-sg.heytapmobile.com"),
        ("13.126.30.40:443", "push-in.heytapmobile.com"),
        ("15.220.192.20:443", "obus.heytapmobile.com"),
        ("104.16.20.30:443", "static.oppo.com"),
    ];
    for (to, name) in first {
        say(&mut talk, CLOUD, to, &tls(name));
    }
    let weather = http("weather.coloros.com");
    say(&mut talk, WEATHER, "1.180.18.20:80", &weather);
    say(&mut talk, SAFE, "13.126.30.41:443", &tls("ff.avast.com"));
    talk.now = LATER_DAY;
    let later = tls("push-in.heytapmobile.com");
    say(&mut talk, CLOUD, "13.126.30.40:443", &later);
    file.finish()
}

/// The brand's file for this situation: the sentence of 2017, one that takes its place, and claims
/// that are made up. `signer` is the SHA-256 of [`CERTIFICATE`].
pub fn declaration(signer: &str) -> String {
    include_str!("../cases/claims/brand.toml").replace("SIGNER", signer)
}
