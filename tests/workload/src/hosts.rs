//! Connections in clear that ask for several hosts, one after the other: HTTP/1 with bodies between
//! its requests, and HTTP/2 with prior knowledge or behind an upgrade.

use std::fmt::Write as _;

use crate::{
    flows::{Made, Maker},
    truth::Source,
    wire::{Tcp, Way},
};

/// What a client of HTTP/2 sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests of one connection over HTTP/2, as a client writes them.
#[derive(Debug, Default)]
pub struct Requests {
    /// Hosts that the receiver's table holds, the oldest first.
    table: Vec<String>,
    streams: u32,
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small frame");
    let mut bytes = len.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Frames that a client begins with: its settings, and room for what it is sent.
pub fn settings() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
    [settings, frame(8, 0, 0, &[0, 15, 0, 1])].concat()
}

/// The Huffman code (RFC 7541 appendix B) of a host's letters.
fn code(letter: u8) -> (u32, u32) {
    const FIVE: &[u8] = b"012aceiost";
    const SIX: &[u8] = b" %-./3456789=A_bdfghlmnpru";
    const SEVEN: &[u8] = b"jkqvwxyz";
    let of = |letters: &[u8], first: u32, bits: u32| {
        let at = letters.iter().position(|other| *other == letter)?;
        Some((first + u32::try_from(at).ok()?, bits))
    };
    of(FIVE, 0, 5)
        .or_else(|| of(SIX, 0x14, 6))
        .or_else(|| of(SEVEN, 0x74, 7))
        .expect("a letter of a host")
}

fn coded(text: &str) -> Vec<u8> {
    let mut bits = String::new();
    for letter in text.bytes() {
        let (code, len) = code(letter);
        let len = usize::try_from(len).expect("few bits");
        write!(bits, "{code:0len$b}").expect("a String takes all");
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).expect("bits");
    (0..bits.len()).step_by(8).map(byte).collect()
}

fn text(into: &mut Vec<u8>, huffman: bool, text: &str) {
    let bytes = if huffman { coded(text) } else { text.into() };
    let len = u8::try_from(bytes.len()).expect("a short host");
    assert!(len < 0x7f, "a short host");
    into.push(len | u8::from(huffman) << 7);
    into.extend(bytes);
}

impl Requests {
    /// A request for a host, with a body of so many bytes. A host that the table holds is pointed to.
    ///
    /// # Panics
    /// When the host is too long for this writer.
    pub fn request(&mut self, host: &str, body: usize, huffman: bool, split: bool) -> Vec<u8> {
        let stream = 2 * self.streams + 1;
        self.streams += 1;
        let mut block = vec![if body == 0 { 0x82 } else { 0x83 }, 0x86, 0x84];
        if let Some(at) = self.table.iter().rev().position(|known| known == host) {
            block.push(0x80 | u8::try_from(62 + at).expect("a small table"));
        } else {
            block.push(0x41);
            text(&mut block, huffman, host);
            self.table.push(host.to_owned());
        }
        // A field that is never kept.
        block.extend([0x10, 1, b'x']);
        text(&mut block, huffman, "sample");
        let (end_headers, end_stream) = (4, u8::from(body == 0));
        let mut bytes = if split {
            let (first, second) = block.split_at(5);
            let first = frame(1, end_stream, stream, first);
            [first, frame(9, end_headers, stream, second)].concat()
        } else {
            let prioritised = [&[0, 0, 0, 0, 15][..], &block].concat();
            frame(1, end_headers | end_stream | 0x20, stream, &prioritised)
        };
        if body > 0 {
            // What it holds looks like a request.
            let mut data = frame(1, 4, 1, b"\x82\x41\x02no");
            data.resize(body, b'.');
            bytes.extend(frame(0, 1, stream, &data));
        }
        bytes
    }
}

impl Maker<'_> {
    /// A kept connection of HTTP/1: two to four hosts of one address, and bodies between them.
    pub(crate) fn http_kept(&mut self, at: u64) -> Made {
        let (first, second) = self.world.neighbours(self.random);
        let ends = self.ends(&first, 80);
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.open();
        for number in 0..self.random.range(2, 5) {
            let host = [&first.name, &second.name][number % 2];
            let body =
                "GET / HTTP/1.1\r\nHost: no.example\r\n\r\n".repeat(1 + self.random.below(60));
            let request = match self.random.below(3) {
                0 => format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                1 => format!(
                    "POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
                _ => {
                    let (one, two) = body.split_at(20);
                    format!(
                        "PUT /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: {host}\r\n\r\n\
                         {:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\nDigest: z\r\n\r\n",
                        one.len(),
                        two.len()
                    )
                }
            };
            tcp.send(Way::Out, request.as_bytes());
            tcp.pause(self.round_trip());
            tcp.send(Way::In, b"HTTP/1.1 204 No Content\r\n\r\n");
            tcp.pause(self.pause());
        }
        tcp.close();
        let (wires, _) = tcp.finish();
        let names = [
            (first.name.as_str(), Source::Http),
            (second.name.as_str(), Source::Http),
        ];
        let flow = self.truth("tcp", ends, "http_kept", &names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    /// A connection of HTTP/2 in clear, with prior knowledge or behind an upgrade.
    pub(crate) fn http2(&mut self, at: u64) -> Made {
        let (first, second) = self.world.neighbours(self.random);
        let ends = self.ends(&first, 8080);
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.open();
        let upgrades = self.random.percent(30);
        if upgrades {
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
                first.name
            );
            tcp.send(Way::Out, request.as_bytes());
            tcp.pause(self.round_trip());
            tcp.send(Way::In, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        }
        let mut stream = [PREFACE, &settings()].concat();
        let mut requests = Requests::default();
        for number in 0..self.random.range(2, 6) {
            let host = [&first.name, &second.name][number % 2];
            let body = if self.random.percent(50) {
                0
            } else {
                self.random.range(20, 5_000)
            };
            let (huffman, split) = (self.random.percent(70), self.random.percent(30));
            stream.extend(requests.request(host, body, huffman, split));
        }
        let pieces = self.any_pieces(stream.len());
        tcp.send_pieces(&stream, &pieces);
        tcp.pause(self.pause());
        tcp.send(Way::In, &frame(4, 0, 0, &[]));
        self.data(&mut tcp);
        tcp.close();
        let (wires, _) = tcp.finish();
        let names = [
            (first.name.as_str(), Source::Http),
            (second.name.as_str(), Source::Http),
        ];
        let kind = if upgrades { "http2_upgrade" } else { "http2" };
        let flow = self.truth("tcp", ends, kind, &names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    /// Segments of some size, perhaps in another order.
    fn any_pieces(&mut self, len: usize) -> Vec<(usize, usize)> {
        let size = self.random.range(200, 1_300);
        let mut pieces: Vec<(usize, usize)> = (0..len)
            .step_by(size)
            .map(|from| (from, (from + size).min(len)))
            .collect();
        if self.random.percent(30) {
            self.random.shuffle(&mut pieces);
        }
        pieces
    }
}
