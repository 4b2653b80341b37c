//! `sakshi timestamp`: a request, an answer of a real authority, and whether it holds.
//!
//! `openssl` makes the root, the authority and its answers, and reads our request. In CI its absence
//! fails; elsewhere a line says what did not run.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sakshi_tests::{
    bundle_writer,
    daemon::{self, text},
    sample,
};
use tempfile::TempDir;

fn openssl_is_here(test: &str) -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "{test} must run in CI, but openssl is not here"
    );
    if !there {
        println!("{test} did not run: openssl is not here");
    }
    there
}

/// Runs openssl in `dir` and gives its output.
fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .output()
        .expect("openssl ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the authority is configured with.
const CONFIGURATION: &str = "\
[tsa]
default_tsa = tsa_one
[tsa_one]
dir = .
serial = ./serial
crypto_device = builtin
signer_cert = ./tsa.pem
certs = ./ca.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1, millisecs:500
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[good]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[server]
extendedKeyUsage = critical,serverAuth
[both]
extendedKeyUsage = critical,timeStamping,serverAuth
[open]
extendedKeyUsage = timeStamping
[none]
keyUsage = critical,digitalSignature
[req]
distinguished_name = name
[name]
";

/// A sealed bundle, and a folder in which authorities are made.
struct Lab {
    dir: TempDir,
    bundle: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let case = dir.path().join("case");
        let bundle = dir.path().join("case.tar");
        let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/demo/authority.toml");
        let prepare = ["case", "new", text(&case), "--from", text(&authority)];
        daemon::output(prepare).expect("prepared");
        let inspect = sample::write(dir.path()).expect("written").inspect(&case);
        daemon::output(inspect.iter().map(String::as_str)).expect("inspected");
        daemon::output(["seal", text(&case), "-o", text(&bundle)]).expect("sealed");
        Self { dir, bundle }
    }

    /// An authority whose key is of `kind`, whose certificate has the extensions `extensions`.
    fn authority(&self, name: &str, kind: &str, extensions: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).expect("made");
        fs::write(dir.join("ts.cnf"), CONFIGURATION).expect("written");
        for (who, subject) in [
            ("ca", "/O=Sample root"),
            ("tsa", "/O=Sample authority/CN=TSA"),
        ] {
            openssl(&dir, &format!("genpkey {kind} -out {who}.key"));
            let subject = subject.replace(' ', "_");
            openssl(
                &dir,
                &format!("req -new -config ts.cnf -key {who}.key -subj {subject} -out {who}.csr"),
            );
        }
        openssl(
            &dir,
            "x509 -req -in ca.csr -signkey ca.key -days 3650 -extfile ts.cnf -extensions root -out ca.pem",
        );
        openssl(
            &dir,
            &format!(
                "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 3650 -extfile ts.cnf -extensions {extensions} -out tsa.pem"
            ),
        );
        dir
    }

    fn request(&self) -> PathBuf {
        let path = self.dir.path().join("request.tsq");
        daemon::output([
            "timestamp",
            "request",
            text(&self.bundle),
            "-o",
            text(&path),
        ])
        .expect("a request");
        path
    }

    /// The authority's answer to a request.
    fn answer(authority: &Path, request: &Path) -> PathBuf {
        let request = text(request);
        openssl(
            authority,
            &format!("ts -reply -config ts.cnf -queryfile {request} -out answer.tsr"),
        );
        authority.join("answer.tsr")
    }

    fn verify(&self, answer: &Path, roots: &Path) -> (Option<i32>, String) {
        verify(&self.bundle, answer, roots)
    }
}

fn verify(of: &Path, answer: &Path, roots: &Path) -> (Option<i32>, String) {
    let output = run(&[
        "timestamp",
        "verify",
        text(of),
        "--answer",
        text(answer),
        "--roots",
        text(roots),
    ]);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn run(arguments: &[&str]) -> Output {
    daemon::sakshi(arguments.iter().copied())
        .output()
        .expect("the program ran")
}

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";

#[test]
fn openssl_reads_the_request_and_it_is_the_same_again() {
    if !openssl_is_here("the request for a timestamp") {
        return;
    }
    let lab = Lab::new();
    let request = lab.request();
    let bytes = fs::read(&request).expect("the request");
    assert_eq!(bytes, fs::read(lab.request()).expect("again"));
    let said = openssl(
        lab.dir.path(),
        &format!("ts -query -in {} -text", text(&request)),
    );
    assert!(said.contains("Hash Algorithm: sha256"), "{said}");
    assert!(said.contains("Certificate required: yes"), "{said}");
    // The hash is that of the manifest, which lies in the archive behind its header.
    let bundle = fs::read(&lab.bundle).expect("the bundle");
    let size = String::from_utf8_lossy(&bundle[124..135]).into_owned();
    let size = usize::from_str_radix(size.trim_end_matches('\0'), 8).expect("its size");
    let manifest = &bundle[512..512 + size];
    let hash = bundle_writer::sha256(manifest);
    let digits: String = said
        .lines()
        .filter_map(|line| line.trim().split_once(" - "))
        .filter_map(|(_, rest)| rest.split("   ").next())
        .flat_map(str::chars)
        .filter(char::is_ascii_hexdigit)
        .collect();
    assert!(digits.contains(&hash), "{hash} is not in {said}");
    // From the manifest alone it is the same.
    let path = lab.dir.path().join("manifest.json");
    fs::write(&path, manifest).expect("written");
    let other = lab.dir.path().join("other.tsq");
    daemon::output(["timestamp", "request", text(&path), "-o", text(&other)]).expect("asked");
    assert_eq!(bytes, fs::read(&other).expect("the request"));
}

#[test]
fn an_answer_of_each_kind_of_key_holds() {
    if !openssl_is_here("good timestamps") {
        return;
    }
    let lab = Lab::new();
    let request = lab.request();
    for (name, kind) in [("rsa", RSA), ("p256", P256), ("p384", P384)] {
        let authority = lab.authority(name, kind, "good");
        let answer = Lab::answer(&authority, &request);
        let (code, said) = lab.verify(&answer, &authority.join("ca.pem"));
        assert_eq!(code, Some(0), "{name}: {said}");
        for part in [
            "the timestamp holds",
            " IST (",
            "1.500 s either way",
            "CN=TSA",
            "1.2.3.4.1",
        ] {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
        let theirs = openssl(
            &authority,
            &format!(
                "ts -verify -queryfile {} -in answer.tsr -CAfile ca.pem",
                text(&request)
            ),
        );
        assert!(theirs.contains("OK") || theirs.is_empty(), "{theirs}");
    }
    // Kept beside the bundle, it is found; it is not replaced.
    let roots = lab.dir.path().join("rsa/ca.pem");
    let answer = lab.dir.path().join("rsa/answer.tsr");
    let attach = ["timestamp", "attach", text(&lab.bundle), text(&answer)];
    daemon::output(attach).expect("attached");
    let kept = lab.dir.path().join("case.tar.tsr");
    assert_eq!(fs::read(&kept).ok(), fs::read(&answer).ok());
    let error = daemon::output(attach).expect_err("not replaced");
    assert!(error.to_string().contains("is not replaced"), "{error}");
    let found = run(&[
        "timestamp",
        "verify",
        text(&lab.bundle),
        "--roots",
        text(&roots),
    ]);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    // A hash of SHA-1 for the certificate, as older authorities give it, and an authority in between.
    let authority = lab.dir.path().join("p256");
    let old = CONFIGURATION.replace("ess_cert_id_alg = sha256", "ess_cert_id_alg = sha1");
    fs::write(authority.join("ts.cnf"), old).expect("written");
    let answer = Lab::answer(&authority, &request);
    let (code, said) = lab.verify(&answer, &authority.join("ca.pem"));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_answer_for_something_else_does_not_hold() {
    if !openssl_is_here("a timestamp of something else") {
        return;
    }
    let lab = Lab::new();
    let authority = lab.authority("one", P256, "good");
    let other = lab.authority("other", P256, "good");
    let request = lab.request();
    let answer = Lab::answer(&authority, &request);
    let roots = authority.join("ca.pem");
    let refused = |answer: &Path, roots: &Path, why: &str| {
        let (code, said) = lab.verify(answer, roots);
        assert_eq!(code, Some(1), "{why}: {said}");
        assert!(
            said.contains("does NOT hold") && said.contains(why),
            "{why}: {said}"
        );
    };
    refused(&answer, &other.join("ca.pem"), "no chain leads");
    // Another hash was stamped.
    let wrong = lab.dir.path().join("wrong.tsq");
    openssl(
        lab.dir.path(),
        &format!(
            "ts -query -digest {} -sha256 -cert -out {}",
            "ab".repeat(32),
            text(&wrong)
        ),
    );
    let stamped = Lab::answer(&other, &wrong);
    refused(&stamped, &other.join("ca.pem"), "it stamps something else");
    let attached = run(&["timestamp", "attach", text(&lab.bundle), text(&stamped)]);
    assert_eq!(attached.status.code(), Some(3), "{attached:?}");
    // Without the certificate nobody can check it.
    let bare = lab.dir.path().join("bare.tsq");
    let hash = hash_in(&fs::read(&request).expect("the request"));
    openssl(
        lab.dir.path(),
        &format!("ts -query -digest {hash} -sha256 -out {}", text(&bare)),
    );
    refused(
        &Lab::answer(&authority, &bare),
        &roots,
        "certificate is not in it",
    );
    // The authority refuses an algorithm that it does not know.
    let sha1 = lab.dir.path().join("sha512.tsq");
    openssl(
        lab.dir.path(),
        &format!(
            "ts -query -digest {} -sha512 -out {}",
            "ab".repeat(64),
            text(&sha1)
        ),
    );
    refused(
        &Lab::answer(&other, &sha1),
        &roots,
        "the authority refused (status 2)",
    );
    let answer = Lab::answer(&authority, &request);
    let (code, said) = lab.verify(&answer, &lab.bundle);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the roots cannot be read"), "{said}");
}

/// The hash in our own request: behind its tag and length, before the last three bytes.
fn hash_in(request: &[u8]) -> String {
    let hash = &request[request.len() - 35..request.len() - 3];
    hex(hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn a_certificate_for_another_purpose_does_not_hold() {
    if !openssl_is_here("certificates for other purposes") {
        return;
    }
    let lab = Lab::new();
    let request = lab.request();
    let good = lab.authority("good", P256, "good");
    Lab::answer(&good, &request);
    for extensions in ["server", "both", "open", "none"] {
        // openssl makes no answer with such a certificate: it is put into a good authority's answer
        // in place of that one's, signed by the same key.
        let dir = lab.dir.path().join(extensions);
        fs::create_dir(&dir).expect("made");
        for file in ["ca.pem", "ca.key", "tsa.key", "tsa.csr", "ts.cnf"] {
            fs::copy(good.join(file), dir.join(file)).expect("copied");
        }
        openssl(
            &dir,
            &format!(
                "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 3650 -extfile ts.cnf -extensions {extensions} -out tsa.pem"
            ),
        );
        let answer = replaced(&lab, &good, &dir);
        let (code, said) = lab.verify(&answer, &good.join("ca.pem"));
        assert_eq!(code, Some(1), "{extensions}: {said}");
        let why = [
            "is not for time stamping alone",
            "not the one that the signer meant",
        ];
        assert!(
            why.iter().any(|why| said.contains(why)),
            "{extensions}: {said}"
        );
    }
}

/// The good authority's answer with the certificate of `dir`: the token is signed anew, as a CMS
/// message, with attributes that openssl gives it.
fn replaced(lab: &Lab, good: &Path, dir: &Path) -> PathBuf {
    let content = dir.join("content.der");
    openssl(
        good,
        &format!(
            "ts -reply -in answer.tsr -token_out -out {}",
            text(&dir.join("token.der"))
        ),
    );
    openssl(
        dir,
        &format!(
            "cms -verify -noverify -inform DER -in token.der -out {}",
            text(&content)
        ),
    );
    openssl(
        dir,
        "cms -sign -binary -nodetach -md sha256 -econtent_type 1.2.840.113549.1.9.16.1.4 -cades -in content.der -signer tsa.pem -inkey tsa.key -outform DER -out signed.der",
    );
    let token = fs::read(dir.join("signed.der")).expect("the token");
    let status = [0x30, 3, 2, 1, 0];
    let length = u16::try_from(status.len() + token.len())
        .expect("short")
        .to_be_bytes();
    let answer = [&[0x30, 0x82], length.as_slice(), &status, &token].concat();
    let path = lab.dir.path().join(format!(
        "{}.tsr",
        dir.file_name().and_then(|n| n.to_str()).unwrap_or("x")
    ));
    fs::write(&path, answer).expect("written");
    path
}

#[test]
fn no_changed_or_cut_answer_holds() {
    if !openssl_is_here("changed timestamps") {
        return;
    }
    let lab = Lab::new();
    let authority = lab.authority("one", P256, "good");
    let answer = fs::read(Lab::answer(&authority, &lab.request())).expect("the answer");
    let manifest = lab.dir.path().join("manifest.json");
    let bundle = fs::read(&lab.bundle).expect("the bundle");
    let end = bundle
        .windows(3)
        .position(|at| at == b"}\0\0")
        .expect("its end")
        + 1;
    fs::write(&manifest, &bundle[512..end]).expect("written");
    let roots = authority.join("ca.pem");
    let path = lab.dir.path().join("changed.tsr");
    let holds = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let (code, said) = verify(&manifest, &path, &roots);
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {said}");
        (code == Some(0)).then_some(said)
    };
    let said = holds(&answer).expect("it holds");
    for cut in (0..answer.len()).step_by(97) {
        assert_eq!(holds(&answer[..cut]), None, "cut to {cut} bytes");
    }
    let mut longer = answer.clone();
    longer.push(0);
    assert_eq!(holds(&longer), None);
    let changed = |at: usize| {
        let mut bytes = answer.clone();
        bytes[at] ^= 1;
        holds(&bytes)
    };
    // The hash, number and time that were stamped, and the signature, which is last.
    let hash = hash_in(&fs::read(lab.request()).expect("the request"));
    let imprint = answer
        .windows(32)
        .position(|part| hex(part) == hash)
        .expect("the hash");
    let end = answer.len();
    for at in (imprint..imprint + 50).chain(end - 60..end).step_by(7) {
        assert_eq!(changed(at), None, "byte {at} of {end} changed");
    }
    // Some bytes no signature covers, such as those of a certificate that the chain does not need;
    // they change nothing of what is said.
    for at in (0..end).step_by(13) {
        if let Some(other) = changed(at) {
            assert_eq!(other, said, "byte {at} of {end} changed");
        }
    }
}
