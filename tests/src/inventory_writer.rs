//! Writes the package manager's files, as Android's `Settings` does, from one model.
//!
//! In: a [`Model`]: the apps of a virtual handset. Out: `packages.xml` as text
//! ([`write_text`]) and as ABX ([`write_abx`]), `packages.list` ([`write_list`]), and
//! `userlist.xml`; [`write_folder`] lays all of them out as an inventory folder. Both encodings of
//! `packages.xml` come from the same code, with the attribute types that Android 15 uses, so that
//! readers of either can be tested against each other.

use std::{collections::HashMap, fmt::Write as _, fs, io, path::Path};

/// `ApplicationInfo.FLAG_SYSTEM`.
pub const FLAG_SYSTEM: i32 = 1;
/// `ApplicationInfo.FLAG_UPDATED_SYSTEM_APP`.
pub const FLAG_UPDATED_SYSTEM_APP: i32 = 0x80;

/// The apps of a handset.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Installed packages.
    pub packages: Vec<Package>,
    /// System versions that updates replaced.
    pub updated: Vec<Updated>,
    /// Shared users that packages refer to by number.
    pub shared_users: Vec<SharedUser>,
    /// Android users.
    pub users: Vec<u32>,
    /// Path and package of each copy in a preload folder.
    pub preloads: Vec<(String, String)>,
}

/// A `<package>`.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Where its code lies.
    pub code_path: String,
    /// `publicFlags`.
    pub flags: i32,
    /// `version`.
    pub version: i64,
    /// `userId`, or `sharedUserId` if [`Package::shared`]; -1 for an APEX module.
    pub user_id: i32,
    /// Whether the id is a shared user's.
    pub shared: bool,
    /// Who installed it.
    pub installer: Option<String>,
    /// Certificates (DER) of its signers.
    pub signers: Vec<Vec<u8>>,
    /// Certificates of earlier signers.
    pub past_signers: Vec<Vec<u8>>,
}

/// An `<updated-package>`.
#[derive(Debug, Clone, Default)]
pub struct Updated {
    /// Package name.
    pub name: String,
    /// Where the shipped version lies.
    pub code_path: String,
    /// The shipped version.
    pub version: i64,
    /// `userId`.
    pub user_id: i32,
}

/// A `<shared-user>`.
#[derive(Debug, Clone, Default)]
pub struct SharedUser {
    /// Its name.
    pub name: String,
    /// Its app id.
    pub user_id: i32,
}

/// How Android stores its XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Up to Android 11, and later with `persist.sys.binary_xml` off.
    Text,
    /// Since Android 12.
    Abx,
}

/// Android 15, whose shape [`write_text`] and [`write_abx`] write.
const API_15: u32 = 35;
/// Android 12, the first that writes ABX.
const API_12: u32 = 31;

/// `packages.xml` as a release of Android writes it (API 28 is Android 9, 36 is Android 16).
pub fn write_release(model: &Model, api: u32) -> Vec<u8> {
    if api < API_12 {
        let mut text = Text::new();
        packages(model, api, &mut text);
        text.finish().into_bytes()
    } else {
        let mut abx = Abx::new();
        packages(model, api, &mut abx);
        abx.finish()
    }
}

/// `packages.xml` as text.
pub fn write_text(model: &Model) -> String {
    let mut text = Text::new();
    packages(model, API_15, &mut text);
    text.finish()
}

/// `packages.xml` as ABX.
///
/// # Panics
/// If a string or certificate is longer than the 65,535 bytes that ABX can hold.
pub fn write_abx(model: &Model) -> Vec<u8> {
    let mut abx = Abx::new();
    packages(model, API_15, &mut abx);
    abx.finish()
}

/// `packages.list`, with the fields that Android 15 writes; packages without a UID are left out.
pub fn write_list(model: &Model) -> String {
    let mut list = String::new();
    for package in model.packages.iter().filter(|package| package.user_id >= 0) {
        let Package {
            name,
            user_id,
            version,
            ..
        } = package;
        let system = package.flags & FLAG_SYSTEM != 0;
        let installer = match &package.installer {
            _ if system => "@system",
            Some(installer) => installer,
            None => "@null",
        };
        let _ = writeln!(
            list,
            "{name} {user_id} 0 /data/user/0/{name} default:targetSdkVersion=35 3003 0 {version} 1 {installer}"
        );
    }
    list
}

/// `userlist.xml`.
pub fn write_user_list(model: &Model, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Text => {
            let mut text = Text::new();
            users(model, &mut text);
            text.finish().into_bytes()
        }
        Encoding::Abx => {
            let mut abx = Abx::new();
            users(model, &mut abx);
            abx.finish()
        }
    }
}

/// Lays out an inventory folder: `packages.list`, `packages.xml`, `users/userlist.xml` and
/// `preload-folders.txt`.
///
/// # Errors
/// What the file system says.
pub fn write_folder(model: &Model, encoding: Encoding, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("users"))?;
    fs::write(folder.join("packages.list"), write_list(model))?;
    let xml = match encoding {
        Encoding::Text => write_text(model).into_bytes(),
        Encoding::Abx => write_abx(model),
    };
    fs::write(folder.join("packages.xml"), xml)?;
    fs::write(
        folder.join("users/userlist.xml"),
        write_user_list(model, encoding),
    )?;
    let mut listing = String::new();
    for (path, package) in &model.preloads {
        let _ = writeln!(listing, "{path}\t{package}");
    }
    fs::write(folder.join("preload-folders.txt"), listing)
}

/// What both encodings can write.
trait Sink {
    fn start(&mut self, name: &str);
    fn end(&mut self, name: &str);
    fn string(&mut self, name: &str, value: &str);
    fn interned(&mut self, name: &str, value: &str);
    fn int(&mut self, name: &str, value: i32);
    fn long(&mut self, name: &str, value: i64);
    fn long_hex(&mut self, name: &str, value: i64);
    fn bytes_hex(&mut self, name: &str, value: &[u8]);
    fn boolean(&mut self, name: &str, value: bool);
    fn float(&mut self, name: &str, value: f32);
}

fn packages(model: &Model, api: u32, sink: &mut dyn Sink) {
    sink.start("packages");
    sink.start("version");
    sink.int("sdkVersion", i32::try_from(api).expect("a small number"));
    sink.string("fingerprint", "example/example:15/AP3A/1:user/release-keys");
    sink.end("version");
    sink.start("permissions");
    sink.start("item");
    sink.interned("name", "android.permission.INTERNET");
    sink.interned("package", "android");
    sink.end("item");
    sink.end("permissions");
    let mut certificates = Certificates::default();
    for each in &model.packages {
        package(each, api, &mut certificates, sink);
    }
    for each in &model.updated {
        sink.start("updated-package");
        sink.string("name", &each.name);
        sink.string("codePath", &each.code_path);
        sink.long_hex("ft", 0x0195_0000_0000);
        sink.long("version", each.version);
        sink.int("userId", each.user_id);
        sink.end("updated-package");
    }
    for each in &model.shared_users {
        sink.start("shared-user");
        sink.string("name", &each.name);
        sink.int("userId", each.user_id);
        sink.end("shared-user");
    }
    sink.end("packages");
}

fn package(package: &Package, api: u32, certificates: &mut Certificates, sink: &mut dyn Sink) {
    sink.start("package");
    sink.string("name", &package.name);
    sink.string("codePath", &package.code_path);
    sink.int("publicFlags", package.flags);
    sink.int("privateFlags", -1_946_152_952);
    sink.long_hex("ft", 0x0195_0000_0000);
    sink.long("version", package.version);
    let id = if package.shared {
        "sharedUserId"
    } else {
        "userId"
    };
    sink.int(id, package.user_id);
    if let Some(installer) = &package.installer {
        sink.string("installer", installer);
    }
    of_release(api, sink);
    sink.start("sigs");
    sink.int("count", count(package.signers.len()));
    sink.int("schemeVersion", 3);
    certificates.write(&package.signers, false, sink);
    if !package.past_signers.is_empty() {
        sink.start("pastSigs");
        sink.int("count", count(package.past_signers.len()));
        certificates.write(&package.past_signers, true, sink);
        sink.end("pastSigs");
    }
    sink.end("sigs");
    sink.start("proper-signing-keyset");
    sink.long("identifier", 1);
    sink.end("proper-signing-keyset");
    sink.end("package");
}

/// Attributes that came and went, none of which says who an app is. An installer's own signers
/// stand before the app's.
fn of_release(api: u32, sink: &mut dyn Sink) {
    if api < 30 {
        sink.string("nativeLibraryPath", "/data/app-lib/x");
        sink.string("primaryCpuAbi", "arm64-v8a");
    }
    if api >= 30 {
        sink.string("installInitiator", "com.android.vending");
    }
    if api >= API_12 {
        sink.string("domainSetId", "6f1d2a35-5b0e-4a4f-8f5e-0d5f3b0d3a11");
        sink.float("loadingProgress", 1.0);
    }
    if api >= 33 {
        sink.int("packageSource", 2);
    }
    if api >= 34 {
        sink.string("updateOwner", "com.android.vending");
        sink.string("appMetadataFilePath", "/data/app/x/app.metadata");
    }
    if api >= API_15 {
        sink.boolean("isSdkLibrary", false);
    }
    if api > API_15 {
        sink.int("pageSizeCompat", 16);
        sink.int("baseRevisionCode", 0);
    }
    if api < API_12 {
        sink.start("perms");
        sink.start("item");
        sink.interned("name", "android.permission.INTERNET");
        sink.boolean("granted", true);
        sink.int("flags", 0);
        sink.end("item");
        sink.end("perms");
    }
}

fn users(model: &Model, sink: &mut dyn Sink) {
    sink.start("users");
    sink.int("nextSerialNumber", 12);
    for &user in &model.users {
        sink.start("user");
        sink.int(
            "id",
            i32::try_from(user).expect("a user number fits an int"),
        );
        sink.end("user");
    }
    sink.end("users");
}

fn count(length: usize) -> i32 {
    i32::try_from(length).expect("a test has fewer certificates")
}

/// Certificates in the order in which they were first written: later ones are given by index.
#[derive(Default)]
struct Certificates(Vec<Vec<u8>>);

impl Certificates {
    fn write(&mut self, certificates: &[Vec<u8>], past: bool, sink: &mut dyn Sink) {
        for certificate in certificates {
            sink.start("cert");
            if let Some(index) = self.0.iter().position(|written| written == certificate) {
                sink.int("index", count(index));
            } else {
                sink.int("index", count(self.0.len()));
                sink.bytes_hex("key", certificate);
                self.0.push(certificate.clone());
            }
            if past {
                sink.int("flags", 2);
            }
            sink.end("cert");
        }
    }
}

/// Text XML with a start and an end tag for each element.
struct Text {
    xml: String,
    /// Whether the last start tag still lacks its `>`.
    in_tag: bool,
}

impl Text {
    fn new() -> Self {
        Self {
            xml: "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n".to_owned(),
            in_tag: false,
        }
    }

    fn close_tag(&mut self) {
        if std::mem::take(&mut self.in_tag) {
            self.xml.push_str(">\n");
        }
    }

    fn finish(mut self) -> String {
        self.close_tag();
        self.xml
    }
}

impl Sink for Text {
    fn start(&mut self, name: &str) {
        self.close_tag();
        let _ = write!(self.xml, "<{name}");
        self.in_tag = true;
    }

    fn end(&mut self, name: &str) {
        self.close_tag();
        let _ = writeln!(self.xml, "</{name}>");
    }

    fn string(&mut self, name: &str, value: &str) {
        let _ = write!(self.xml, " {name}=\"");
        for character in value.chars() {
            match character {
                '&' => self.xml.push_str("&amp;"),
                '<' => self.xml.push_str("&lt;"),
                '>' => self.xml.push_str("&gt;"),
                '"' => self.xml.push_str("&quot;"),
                c if c.is_control() => {
                    let _ = write!(self.xml, "&#{};", u32::from(c));
                }
                c => self.xml.push(c),
            }
        }
        self.xml.push('"');
    }

    fn interned(&mut self, name: &str, value: &str) {
        self.string(name, value);
    }

    fn int(&mut self, name: &str, value: i32) {
        self.string(name, &value.to_string());
    }

    fn long(&mut self, name: &str, value: i64) {
        self.string(name, &value.to_string());
    }

    fn long_hex(&mut self, name: &str, value: i64) {
        self.string(name, &format!("{value:x}"));
    }

    fn bytes_hex(&mut self, name: &str, value: &[u8]) {
        let hex = value.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        self.string(name, &hex);
    }

    fn boolean(&mut self, name: &str, value: bool) {
        self.string(name, &value.to_string());
    }

    fn float(&mut self, name: &str, value: f32) {
        self.string(name, &format!("{value:?}"));
    }
}

/// ABX, as `BinaryXmlSerializer` and `FastDataOutput` write it.
struct Abx {
    bytes: Vec<u8>,
    pool: HashMap<String, u16>,
}

impl Abx {
    fn new() -> Self {
        Self {
            bytes: b"ABX\0\x10".to_vec(),
            pool: HashMap::new(),
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0x11);
        self.bytes
    }

    fn counted(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("ABX holds at most 65,535 bytes a value");
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(bytes);
    }

    fn utf(&mut self, text: &str) {
        self.counted(&modified_utf8(text));
    }

    fn interned_utf(&mut self, text: &str) {
        if let Some(index) = self.pool.get(text) {
            self.bytes.extend(index.to_be_bytes());
            return;
        }
        self.bytes.extend([0xff, 0xff]);
        self.utf(text);
        if let Ok(index) = u16::try_from(self.pool.len())
            && index < u16::MAX
        {
            self.pool.insert(text.to_owned(), index);
        }
    }

    fn attribute(&mut self, tag: u8, name: &str) {
        self.bytes.push(tag | 0x0f);
        self.interned_utf(name);
    }
}

impl Sink for Abx {
    fn start(&mut self, name: &str) {
        self.bytes.push(0x32);
        self.interned_utf(name);
    }

    fn end(&mut self, name: &str) {
        self.bytes.push(0x33);
        self.interned_utf(name);
    }

    fn string(&mut self, name: &str, value: &str) {
        self.attribute(0x20, name);
        self.utf(value);
    }

    fn interned(&mut self, name: &str, value: &str) {
        self.attribute(0x30, name);
        self.interned_utf(value);
    }

    fn int(&mut self, name: &str, value: i32) {
        self.attribute(0x60, name);
        self.bytes.extend(value.to_be_bytes());
    }

    fn long(&mut self, name: &str, value: i64) {
        self.attribute(0x80, name);
        self.bytes.extend(value.to_be_bytes());
    }

    fn long_hex(&mut self, name: &str, value: i64) {
        self.attribute(0x90, name);
        self.bytes.extend(value.to_be_bytes());
    }

    fn bytes_hex(&mut self, name: &str, value: &[u8]) {
        self.attribute(0x40, name);
        self.counted(value);
    }

    fn boolean(&mut self, name: &str, value: bool) {
        self.attribute(if value { 0xc0 } else { 0xd0 }, name);
    }

    fn float(&mut self, name: &str, value: f32) {
        self.attribute(0xa0, name);
        self.bytes.extend(value.to_be_bytes());
    }
}

/// Java's form: NUL as `C0 80`, characters beyond the basic plane as two surrogates.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        match unit {
            0x01..=0x7f => bytes.push(low),
            0 | 0x80..=0x7ff => {
                bytes.extend([0xc0 | (high << 2) | (low >> 6), 0x80 | (low & 0x3f)]);
            }
            _ => bytes.extend([
                0xe0 | (high >> 4),
                0x80 | ((high & 0x0f) << 2) | (low >> 6),
                0x80 | (low & 0x3f),
            ]),
        }
    }
    bytes
}
