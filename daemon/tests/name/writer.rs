//! Small writers of DNS messages and `ClientHello`s, apart from the parsers under test.

/// Standard query with recursion desired.
pub const QUERY: u16 = 0x0100;
/// Response to it, recursion available, no error.
pub const RESPONSE: u16 = 0x8180;

/// A resource record to be written.
#[derive(Debug, Clone)]
pub struct Record {
    pub name: &'static str,
    pub kind: u16,
    pub class: u16,
    pub ttl: u32,
    pub data: Data,
}

#[derive(Debug, Clone)]
pub enum Data {
    Raw(Vec<u8>),
    Name(&'static str),
}

impl Record {
    pub fn a(name: &'static str, ttl: u32, octets: [u8; 4]) -> Self {
        Self::raw(name, 1, ttl, octets.to_vec())
    }

    pub fn aaaa(name: &'static str, ttl: u32, octets: [u8; 16]) -> Self {
        Self::raw(name, 28, ttl, octets.to_vec())
    }

    pub fn cname(name: &'static str, ttl: u32, target: &'static str) -> Self {
        Self::named(name, 5, ttl, target)
    }

    pub fn ptr(name: &'static str, ttl: u32, target: &'static str) -> Self {
        Self::named(name, 12, ttl, target)
    }

    pub fn raw(name: &'static str, kind: u16, ttl: u32, data: Vec<u8>) -> Self {
        Self {
            name,
            kind,
            class: 1,
            ttl,
            data: Data::Raw(data),
        }
    }

    fn named(name: &'static str, kind: u16, ttl: u32, target: &'static str) -> Self {
        Self {
            name,
            kind,
            class: 1,
            ttl,
            data: Data::Name(target),
        }
    }
}

/// Writes a message; every name suffix that was written before becomes a compression pointer.
pub fn dns(id: u16, flags: u16, questions: &[(&str, u16)], answers: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [
        id,
        flags,
        count(questions.len()),
        count(answers.len()),
        0,
        0,
    ] {
        out.extend(field.to_be_bytes());
    }
    let mut known = Vec::new();
    for (name, kind) in questions {
        push_name(&mut out, &mut known, name);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
    }
    for record in answers {
        push_name(&mut out, &mut known, record.name);
        out.extend(record.kind.to_be_bytes());
        out.extend(record.class.to_be_bytes());
        out.extend(record.ttl.to_be_bytes());
        let length_at = out.len();
        out.extend([0, 0]);
        match &record.data {
            Data::Raw(data) => out.extend(data),
            Data::Name(target) => push_name(&mut out, &mut known, target),
        }
        let len = count(out.len() - length_at - 2).to_be_bytes();
        out[length_at..length_at + 2].copy_from_slice(&len);
    }
    out
}

/// The message behind its two bytes of length.
pub fn dns_over_tcp(message: &[u8]) -> Vec<u8> {
    vector(2, message)
}

/// Writes a plain name, without escapes in it.
fn push_name(out: &mut Vec<u8>, known: &mut Vec<(String, u16)>, name: &str) {
    let mut rest = name;
    while !rest.is_empty() {
        if let Some((_, at)) = known.iter().find(|(suffix, _)| suffix == rest) {
            out.extend((0xc000 | at).to_be_bytes());
            return;
        }
        known.push((rest.to_owned(), count(out.len())));
        let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
        out.extend(vector(1, label.as_bytes()));
        rest = tail;
    }
    out.push(0);
}

fn count(len: usize) -> u16 {
    len.try_into().expect("a small message")
}

/// Bytes with their length before them, in `width` bytes.
pub fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len().to_be_bytes();
    [&len[len.len() - width..], bytes].concat()
}

/// A `ClientHello` to be written.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    pub fn sni(self, name: &[u8]) -> Self {
        let entry = [&[0][..], &vector(2, name)].concat();
        self.extension(0, vector(2, &entry))
    }

    pub fn alpn(self, identifiers: &[&str]) -> Self {
        let list: Vec<u8> = identifiers
            .iter()
            .flat_map(|identifier| vector(1, identifier.as_bytes()))
            .collect();
        self.extension(16, vector(2, &list))
    }

    pub fn versions(self, versions: &[u16]) -> Self {
        let list: Vec<u8> = versions.iter().flat_map(|v| v.to_be_bytes()).collect();
        self.extension(43, vector(1, &list))
    }

    pub fn extension(mut self, kind: u16, body: Vec<u8>) -> Self {
        self.extensions.push((kind, body));
        self
    }

    /// The extension block, with its length.
    fn block(&self) -> Vec<u8> {
        let block: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &vector(2, body)].concat())
            .collect();
        vector(2, &block)
    }

    /// The handshake message, without records.
    pub fn message(&self) -> Vec<u8> {
        Self::message_with(&self.block())
    }

    /// A handshake message whose extension block is given as bytes.
    pub fn message_with(block: &[u8]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[0x5a; 32],
            &vector(1, &[7; 32]),
            &vector(2, &[0x13, 0x01, 0x13, 0x02]),
            &vector(1, &[0]),
            block,
        ]
        .concat();
        [&[1][..], &vector(3, &body)].concat()
    }

    /// The message in one record.
    pub fn record(&self) -> Vec<u8> {
        records(&self.message(), usize::MAX)
    }
}

/// A handshake message over records of at most `fragment` bytes.
pub fn records(message: &[u8], fragment: usize) -> Vec<u8> {
    message
        .chunks(fragment)
        .flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat())
        .collect()
}

/// The head of an XMPP stream to `push.example`.
pub const XMPP_HEAD: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='push.example' version='1.0'>";
/// A client's wish for TLS.
pub const XMPP_STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// An element of DER.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u16::try_from(body.len()).unwrap();
    [&[tag, 0x82][..], &len.to_be_bytes(), &body].concat()
}

/// A certificate in shape, without keys: names of its subjectAltName, and its common name.
pub fn certificate(names: &[&str], common: &str) -> Vec<u8> {
    let name = |common: &str| {
        let attribute = [
            &[6, 3, 0x55, 4, 3][..],
            &element(0x0c, &[common.as_bytes()]),
        ];
        element(0x30, &[&element(0x31, &[&element(0x30, &attribute)])])
    };
    let general: Vec<Vec<u8>> = names
        .iter()
        .map(|name| element(0x82, &[name.as_bytes()]))
        .collect();
    let general: Vec<&[u8]> = general.iter().map(Vec::as_slice).collect();
    let extension = element(
        0x30,
        &[
            &[6, 3, 0x55, 0x1d, 0x11],
            &element(4, &[&element(0x30, &general)]),
        ],
    );
    let extensions = if names.is_empty() {
        vec![]
    } else {
        element(0xa3, &[&element(0x30, &[&extension])])
    };
    let tbs = element(
        0x30,
        &[
            &element(0xa0, &[&[2, 1, 2]]),
            &[2, 1, 7],
            &element(0x30, &[&[6, 1, 9]]),
            &name("issuer.example"),
            &element(0x30, &[]),
            &name(common),
            &element(0x30, &[]),
            &extensions,
        ],
    );
    element(0x30, &[&tbs, &element(0x30, &[]), &[3, 1, 0]])
}

/// A handshake message.
pub fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector(3, body)].concat()
}

/// The body of a `ServerHello` that chose a version by its extension, where one is given.
pub fn server_hello(suite: u16, version: Option<u16>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    if let Some(version) = version {
        let extension = [&[0, 43][..], &vector(2, &version.to_be_bytes())].concat();
        body.extend(vector(2, &extension));
    }
    body
}

/// What a server of TLS 1.2 with this certificate says first.
pub fn server_messages(der: &[u8]) -> Vec<u8> {
    [
        handshake(2, &server_hello(0xc02f, None)),
        handshake(11, &vector(3, &vector(3, der))),
        handshake(14, &[]),
    ]
    .concat()
}
