//! `ClientHello` messages as phones send them.

use crate::random::Random;

/// Longest fragment of a record that is written.
const FRAGMENT_BYTES_MAX: usize = 1 << 14;

/// What a hello offers.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// Server name, where there is one.
    pub sni: Option<&'a str>,
    /// Application protocols.
    pub alpn: &'a [&'a str],
    /// A key share of X25519MLKEM768 beside that of X25519: the hello outgrows a segment.
    pub hybrid: bool,
    /// An extension as of an encrypted hello (GREASE or not: it looks the same).
    pub ech: bool,
    /// Transport parameters of QUIC; without them the hello has a session ID, as over TCP.
    pub quic: bool,
}

impl Hello<'_> {
    /// The handshake message.
    ///
    /// # Panics
    /// When a name or an offer is too long for its length field.
    pub fn message(&self, random: &mut Random) -> Vec<u8> {
        let body = self.body(None, random);
        let len = u32::try_from(body.len()).expect("a small hello");
        let mut message = (1 << 24 | len).to_be_bytes().to_vec();
        message.extend(body);
        message
    }

    /// The body of the message as DTLS has it, with a cookie or an empty one.
    ///
    /// # Panics
    /// As for the message.
    pub fn datagram_body(&self, cookie: &[u8], random: &mut Random) -> Vec<u8> {
        self.body(Some(cookie), random)
    }

    fn body(&self, cookie: Option<&[u8]>, random: &mut Random) -> Vec<u8> {
        let mut body = if cookie.is_some() {
            vec![0xfe, 0xfd]
        } else {
            vec![3, 3]
        };
        body.extend(random.bytes(32));
        let session = if self.quic { 0 } else { 32 };
        vector8(&mut body, &random.bytes(session));
        if let Some(cookie) = cookie {
            vector8(&mut body, cookie);
        }
        let grease = grease(random);
        let mut suites = grease.to_be_bytes().to_vec();
        for suite in [
            0x1301_u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
        ] {
            suites.extend(suite.to_be_bytes());
        }
        vector16(&mut body, &suites);
        vector8(&mut body, &[0]);
        let mut extensions = self.extensions(grease, random);
        random.shuffle(&mut extensions);
        let mut block = Vec::new();
        for (kind, data) in extensions {
            block.extend(kind.to_be_bytes());
            vector16(&mut block, &data);
        }
        vector16(&mut body, &block);
        body
    }

    fn extensions(&self, grease: u16, random: &mut Random) -> Vec<(u16, Vec<u8>)> {
        let mut all = vec![
            (grease, Vec::new()),
            (23, Vec::new()),
            (10, vec![0, 6, 0x11, 0xec, 0, 0x1d, 0, 0x17]),
            (13, vec![0, 8, 4, 3, 8, 4, 4, 1, 5, 3]),
            (43, vec![4, 3, 4, 3, 3]),
            (45, vec![1, 1]),
            (5, vec![1, 0, 0, 0, 0]),
            (18, Vec::new()),
            (27, vec![2, 0, 2]),
        ];
        if let Some(name) = self.sni {
            let mut entry = vec![0];
            vector16(&mut entry, name.as_bytes());
            all.push((0, prefixed16(&entry)));
        }
        let mut offers = Vec::new();
        for alpn in self.alpn {
            vector8(&mut offers, alpn.as_bytes());
        }
        all.push((16, prefixed16(&offers)));
        let mut shares = grease.to_be_bytes().to_vec();
        shares.extend([0, 1, 0]);
        if self.hybrid {
            shares.extend(0x11ec_u16.to_be_bytes());
            vector16(&mut shares, &random.bytes(1216));
        }
        shares.extend(0x1d_u16.to_be_bytes());
        vector16(&mut shares, &random.bytes(32));
        all.push((51, prefixed16(&shares)));
        if self.ech {
            // Outer hello, HKDF-SHA256, AES-128-GCM, an identifier, a key, a payload.
            let mut ech = vec![0, 0, 1, 0, 1, random.bytes(1)[0]];
            vector16(&mut ech, &random.bytes(32));
            let len = 144 + 32 * random.below(4);
            vector16(&mut ech, &random.bytes(len));
            all.push((0xfe0d, ech));
        }
        if self.quic {
            // Idle timeout, data and streams allowed, the connection ID at the beginning.
            let mut parameters = vec![1, 4, 0x80, 0, 0x75, 0x30];
            parameters.extend([4, 4, 0x80, 0x98, 0x96, 0x80, 8, 2, 0x40, 0x64, 0x0f, 8]);
            parameters.extend(random.bytes(8));
            all.push((57, parameters));
        }
        all
    }
}

/// A `ServerHello` of TLS 1.3 that chooses the suite `1301`; `hybrid` has a key of 1,120 bytes.
///
/// # Panics
/// Never: it is short enough.
pub fn server_hello(hybrid: bool, random: &mut Random) -> Vec<u8> {
    let share = if hybrid { 1_120 } else { 32 };
    let mut body = vec![3, 3];
    body.extend(random.bytes(32));
    vector8(&mut body, &random.bytes(32));
    body.extend([0x13, 1, 0]);
    let mut key = if hybrid {
        vec![0x11, 0xec]
    } else {
        vec![0, 0x1d]
    };
    vector16(&mut key, &random.bytes(share));
    let mut extensions = vec![0, 43, 0, 2, 3, 4, 0, 51];
    vector16(&mut extensions, &key);
    vector16(&mut body, &extensions);
    let mut message = vec![2, 0];
    vector16(&mut message, &body);
    message
}

/// A handshake message in records of at most `size` bytes.
pub fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for fragment in message.chunks(size.clamp(1, FRAGMENT_BYTES_MAX)) {
        stream.extend([22, 3, 1]);
        vector16(&mut stream, fragment);
    }
    stream
}

fn grease(random: &mut Random) -> u16 {
    let nibble = u16::try_from(random.below(16)).unwrap_or_default();
    0x0a0a | nibble << 12 | nibble << 4
}

/// Appends a vector with a one-byte length.
///
/// # Panics
/// When it is longer than that allows.
pub fn vector8(into: &mut Vec<u8>, bytes: &[u8]) {
    into.push(u8::try_from(bytes.len()).expect("a short vector"));
    into.extend(bytes);
}

/// Appends a vector with a two-byte length.
///
/// # Panics
/// When it is longer than that allows.
pub fn vector16(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(
        u16::try_from(bytes.len())
            .expect("a short vector")
            .to_be_bytes(),
    );
    into.extend(bytes);
}

fn prefixed16(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    vector16(&mut out, bytes);
    out
}
