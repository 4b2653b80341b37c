//! `sakshi data refresh` against servers of this test's own: over TLS, cut in the middle, unchanged.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};
use sakshi_tests::{daemon, fuzz, wait};

/// What the server has: a file, and its tag.
type Shown = Arc<Mutex<(Vec<u8>, String)>>;

/// A server of one file, and what it was asked for.
struct Server {
    port: u16,
    shown: Shown,
    asked: Arc<Mutex<Vec<String>>>,
    /// Answers that are cut after this many bytes of the file; 0: none.
    cut_at: Arc<AtomicUsize>,
    /// The certificate, where it speaks TLS.
    certificate: Option<String>,
}

fn published(name: &str) -> Vec<u8> {
    fs::read(fuzz::corpus("published").join(name)).expect("a seed")
}

impl Server {
    fn start(tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (certificate, config) = if tls {
            let (pem, config) = own_certificate();
            (Some(pem), Some(config))
        } else {
            (None, None)
        };
        let server = Self {
            port,
            shown: Arc::new(Mutex::new((published("aws.json"), "\"one\"".to_owned()))),
            asked: Arc::default(),
            cut_at: Arc::default(),
            certificate,
        };
        let (shown, asked) = (Arc::clone(&server.shown), Arc::clone(&server.asked));
        let cut_at = Arc::clone(&server.cut_at);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shown = shown.lock().expect("shown").clone();
                let cut_at = cut_at.load(Ordering::SeqCst);
                let request = match &config {
                    Some(config) => secured(stream, config, &shown, cut_at),
                    None => answer(stream, &shown, cut_at),
                };
                asked.lock().expect("asked").push(request);
            }
        });
        server
    }

    fn url(&self) -> String {
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}/ip-ranges.json", self.port)
    }

    fn last_asked(&self) -> String {
        // The server notes it once it has answered, which the client does not wait for.
        let noted = || self.asked.lock().expect("asked").pop();
        wait::until(Duration::from_secs(30), noted).expect("a request")
    }

    fn show(&self, bytes: Vec<u8>, tag: &str) {
        *self.shown.lock().expect("shown") = (bytes, tag.to_owned());
    }
}

fn own_certificate() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.self_signed(&key).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a configuration");
    (certificate.pem(), Arc::new(config))
}

fn secured(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    shown: &(Vec<u8>, String),
    cut_at: usize,
) -> String {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    answer(StreamOwned::new(connection, stream), shown, cut_at)
}

/// Answers one request as RFC 9110 says, and gives what was asked.
fn answer(stream: impl Read + Write, (file, tag): &(Vec<u8>, String), cut_at: usize) -> String {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) | Err(_) => return request,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => request.push_str(&line.to_ascii_lowercase()),
        }
    }
    let header = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim().to_owned())
    };
    let mut out = stream.into_inner();
    if header("if-none-match").as_ref() == Some(tag) {
        let _ = write!(
            out,
            "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\nConnection: close\r\n\r\n"
        );
        return request;
    }
    let from = header("range")
        .filter(|_| header("if-range").as_ref() == Some(tag))
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        })
        .filter(|from| *from < file.len());
    let (status, first) = match from {
        Some(from) => (
            format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                file.len() - 1,
                file.len()
            ),
            from,
        ),
        None => ("200 OK".to_owned(), 0),
    };
    let rest = &file[first..];
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    );
    let sent = if cut_at > 0 {
        &rest[..cut_at.min(rest.len())]
    } else {
        rest
    };
    let _ = out.write_all(sent);
    let _ = out.flush();
    request
}

/// A list of the one source, and the call.
fn refresh(dir: &Path, server: &Server) -> Output {
    let list = dir.join("list.toml");
    fs::write(
        &list,
        format!("[[source]]\nname = \"aws\"\nurl = \"{}\"\n", server.url()),
    )
    .expect("written");
    let collection = dir.join("collection");
    let mut arguments = vec!["data", "refresh", "--dir", daemon::text(&collection)];
    arguments.extend(["--manifest", daemon::text(&list)]);
    let roots = dir.join("roots.pem");
    if let Some(certificate) = &server.certificate {
        fs::write(&roots, certificate).expect("written");
        arguments.extend(["--roots", daemon::text(&roots)]);
    }
    let mut command = daemon::sakshi(arguments);
    command.output().expect("sakshi runs")
}

#[track_caller]
fn heard(output: &Output, code: i32, says: &str) {
    let heard = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{heard}");
    assert!(heard.contains(says), "{heard}");
}

#[test]
fn a_file_is_fetched_over_tls_once_and_again_when_it_is_new() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let server = Server::start(true);
    heard(
        &refresh(dir, &server),
        0,
        "AWS's list, aws-ip-ranges 2026-08-20-18-00-00",
    );
    assert!(!server.last_asked().contains("if-none-match"));
    heard(&refresh(dir, &server), 0, "aws: not changed");
    assert!(server.last_asked().contains("if-none-match: \"one\""));
    let newer = String::from_utf8(published("aws.json")).expect("text");
    server.show(
        newer.replace("2026-08-20", "2026-08-27").into_bytes(),
        "\"two\"",
    );
    heard(
        &refresh(dir, &server),
        0,
        "aws-ip-ranges 2026-08-27-18-00-00",
    );
    let collection = dir.join("collection");
    let verify = ["data", "verify", "--dir", daemon::text(&collection)];
    let said = daemon::output(verify).expect("intact");
    assert_eq!(said.lines().count(), 3, "the older file stays: {said}");
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_believed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(true);
    let (other, _) = own_certificate();
    server.certificate = Some(other);
    heard(&refresh(dir.path(), &server), 1, "certificate");
    assert!(!dir.path().join("collection/places.bin").exists());
}

#[test]
fn a_fetch_that_was_cut_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let server = Server::start(false);
    server.cut_at.store(300, Ordering::SeqCst);
    heard(&refresh(dir, &server), 1, "ask again to go on");
    assert!(!server.last_asked().contains("range: bytes"));
    assert!(!dir.join("collection/places.bin").exists());
    server.cut_at.store(0, Ordering::SeqCst);
    heard(&refresh(dir, &server), 0, "aws: went on after 300 bytes");
    assert!(server.last_asked().contains("range: bytes=300-"));
}

#[test]
fn another_version_is_fetched_from_its_beginning() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let server = Server::start(false);
    server.cut_at.store(300, Ordering::SeqCst);
    heard(&refresh(dir, &server), 1, "ask again to go on");
    server.cut_at.store(0, Ordering::SeqCst);
    let newer = String::from_utf8(published("aws.json")).expect("text");
    server.show(
        newer.replace("2026-08-20", "2026-08-27").into_bytes(),
        "\"two\"",
    );
    let output = refresh(dir, &server);
    heard(&output, 0, "aws-ip-ranges 2026-08-27-18-00-00");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("went on"));
}
