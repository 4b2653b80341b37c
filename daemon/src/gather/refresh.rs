//! Fetches published files at a person's command, on the lab's PC. The daemon never comes here.
//!
//! In: official addresses. Out: the files, whole, with their hashes. A fetch that was cut goes on
//! where it ended (RFC 9110 section 14), but only of the very same version (its entity tag); what
//! the server says has not changed is not fetched again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{GatherError, Official};

/// Longest file that is fetched, in bytes; a longer one is refused.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest wait for a connection, and for anything to come.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Folder of what is being fetched.
const PART_FOLDER: &str = "fetching";
/// Bytes that are moved at once.
const CHUNK: usize = 64 * 1024;
/// Certificates of the authorities that this machine trusts.
const ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// What a fetch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The file, and how many of its bytes were there from an earlier attempt.
    Whole {
        /// The file.
        bytes: Vec<u8>,
        /// Bytes that were not fetched again.
        resumed: u64,
        /// Tag of this version, where the server gave one.
        tag: Option<String>,
    },
    /// The server has the version that was fetched before.
    Unchanged,
}

/// Fetches files.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    folder: PathBuf,
}

impl Fetcher {
    /// Keeps parts below `dir`; trusts the certificates in `roots`, or those of this machine.
    pub fn new(dir: &Path, roots: Option<&Path>) -> Result<Self, GatherError> {
        let folder = dir.join(PART_FOLDER);
        fs::create_dir_all(&folder).map_err(GatherError::io(&folder))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::Specific(Arc::new(certificates(roots)?)))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(WAIT_MAX))
            .timeout_recv_response(Some(WAIT_MAX))
            .timeout_recv_body(Some(WAIT_MAX * 10))
            .user_agent(concat!("sakshi/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            folder,
        })
    }

    /// Fetches one file; `known` is the tag of the version that is there.
    pub fn fetch(&self, official: &Official, known: Option<&str>) -> Result<Fetched, GatherError> {
        let part = Part::of(&self.folder, official);
        let (have, tag) = part.begun();
        let mut request = self.agent.get(&official.url);
        if let (1.., Some(tag)) = (have, &tag) {
            request = request
                .header(header::RANGE, format!("bytes={have}-"))
                .header(header::IF_RANGE, tag);
        } else if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let mut response = request.call().map_err(|error| GatherError::Fetch {
            url: official.url.clone(),
            detail: error.to_string(),
        })?;
        let resumed = match response.status() {
            StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if begins_at(&response, have) => have,
            status => {
                part.remove()?;
                return Err(GatherError::Fetch {
                    url: official.url.clone(),
                    detail: format!("the server answered {status}"),
                });
            }
        };
        let tag = text(&response, header::ETAG);
        part.keep_tag(tag.as_deref())?;
        part.take(&mut response, resumed, &official.url)?;
        let bytes = fs::read(&part.file).map_err(GatherError::io(&part.file))?;
        part.remove()?;
        Ok(Fetched::Whole {
            bytes,
            resumed,
            tag,
        })
    }
}

fn text(response: &Response<Body>, name: header::HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Whether a partial answer goes on where the part ends.
fn begins_at(response: &Response<Body>, have: u64) -> bool {
    text(response, header::CONTENT_RANGE)
        .is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

fn certificates(roots: Option<&Path>) -> Result<Vec<Certificate<'static>>, GatherError> {
    let path = match roots {
        Some(path) => path,
        None => ROOTS
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .unwrap_or_else(|| Path::new(ROOTS[0])),
    };
    let pem = fs::read(path).map_err(GatherError::io(path))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(GatherError::Fetch {
            url: path.display().to_string(),
            detail: "no certificate of an authority in it; name one with --roots".to_owned(),
        });
    }
    Ok(certificates)
}

/// A file that is being fetched, with the tag of its version beside it.
struct Part {
    file: PathBuf,
    tag: PathBuf,
}

impl Part {
    fn of(folder: &Path, official: &Official) -> Self {
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        };
        let name: String = official.name.chars().map(plain).take(64).collect();
        Self {
            file: folder.join(format!("{name}.part")),
            tag: folder.join(format!("{name}.tag")),
        }
    }

    /// Bytes that are there, and the tag of the version that they are of.
    fn begun(&self) -> (u64, Option<String>) {
        let have = fs::metadata(&self.file).map_or(0, |found| found.len());
        let tag = fs::read_to_string(&self.tag).ok();
        (have, tag.filter(|tag| !tag.is_empty()))
    }

    fn keep_tag(&self, tag: Option<&str>) -> Result<(), GatherError> {
        // A weak tag does not promise the same bytes.
        let strong = tag.filter(|tag| !tag.starts_with("W/")).unwrap_or_default();
        fs::write(&self.tag, strong).map_err(GatherError::io(&self.tag))
    }

    fn take(
        &self,
        response: &mut Response<Body>,
        resumed: u64,
        url: &str,
    ) -> Result<(), GatherError> {
        let failed = |detail: String| GatherError::Fetch {
            url: url.to_owned(),
            detail,
        };
        let expected = response.body().content_length().map(|rest| rest + resumed);
        let mut file = if resumed > 0 {
            OpenOptions::new().append(true).open(&self.file)
        } else {
            File::create(&self.file)
        }
        .map_err(GatherError::io(&self.file))?;
        let mut body = response.body_mut().as_reader();
        let mut have = resumed;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(failed(format!(
                        "cut after {have} bytes: {error}; ask again to go on"
                    )));
                }
            };
            have += u64::try_from(read).unwrap_or(u64::MAX);
            if have > BYTES_MAX {
                return Err(failed(format!("more than {BYTES_MAX} bytes")));
            }
            file.write_all(chunk.get(..read).unwrap_or_default())
                .map_err(GatherError::io(&self.file))?;
        }
        if expected.is_some_and(|expected| expected != have) {
            return Err(failed(format!(
                "cut after {have} bytes; ask again to go on"
            )));
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), GatherError> {
        for path in [&self.file, &self.tag] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(GatherError::io(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
