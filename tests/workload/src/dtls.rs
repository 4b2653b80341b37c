//! DTLS as apps speak it: hellos in fragments, over records and datagrams, behind STUN on the same
//! socket.

use crate::{
    flows::{Made, Maker},
    hello::{Hello, vector16},
    random::Random,
    truth::Source,
    wire::{Way, Wire},
};

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const SERVER_HELLO: u8 = 2;

/// A handshake message in records of one fragment each, of at most `size` bytes; record numbers go on
/// from `first`.
///
/// # Panics
/// When the message is longer than its length field.
pub fn records(kind: u8, number: u16, body: &[u8], size: usize, first: u64) -> Vec<Vec<u8>> {
    let u24 = |number: usize| {
        let number = u32::try_from(number).expect("a small message");
        number.to_be_bytes()[1..].to_vec()
    };
    let record = |(at, fragment): (usize, &[u8])| {
        let mut message = vec![kind];
        message.extend(u24(body.len()));
        message.extend(number.to_be_bytes());
        message.extend(u24(at * size));
        message.extend(u24(fragment.len()));
        message.extend(fragment);
        let mut record = vec![22, 0xfe, 0xfd, 0, 0];
        record.extend(&(first + at as u64).to_be_bytes()[2..]);
        vector16(&mut record, &message);
        record
    };
    body.chunks(size).enumerate().map(record).collect()
}

/// A hello's records, for tests.
pub fn hello_records(
    hello: &Hello<'_>,
    cookie: &[u8],
    size: usize,
    random: &mut Random,
) -> Vec<Vec<u8>> {
    records(
        CLIENT_HELLO,
        0,
        &hello.datagram_body(cookie, random),
        size,
        0,
    )
}

/// A question of STUN (RFC 8489), as a call sends it before anything else.
pub fn stun(random: &mut Random) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42];
    message.extend(random.bytes(12));
    message.extend([0, 0x24, 0, 4]);
    message.extend(random.bytes(4));
    message
}

/// Data that only the ends can read.
fn data(len: usize, random: &mut Random) -> Vec<u8> {
    let mut record = vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9];
    vector16(&mut record, &random.bytes(len));
    record
}

impl Maker<'_> {
    /// A conversation: a hello, most often again with the server's cookie, then data.
    pub(crate) fn dtls(&mut self, at: u64) -> Made {
        let server = self.world.server(self.random);
        let port = *self.random.pick(&[443, 853, 3478, 5684, 40_001]);
        let ends = self.ends(&server, port);
        let says_name = self.random.percent(80);
        let hello = Hello {
            sni: says_name.then_some(server.name.as_str()),
            alpn: &["webrtc"],
            hybrid: self.random.percent(40),
            ech: false,
            quic: false,
        };
        let mut wires = Vec::new();
        let mut now = at;
        let mut push = |now: &mut u64, way: Way, payload: &[u8]| {
            let bytes = ends.datagram(way, payload);
            wires.push(Wire { at: *now, bytes });
            *now += 60;
        };
        for _ in 0..self.random.below(3) * 10 {
            push(&mut now, Way::Out, &stun(self.random));
            now += self.pause();
        }
        let kind = self.dtls_hello(&hello, &mut |payload| push(&mut now, Way::Out, payload));
        now += self.round_trip();
        let cookie = [&[0xfe, 0xfd, 20][..], &self.random.bytes(20)].concat();
        let verify = records(HELLO_VERIFY_REQUEST, 0, &cookie, 100, 0).concat();
        push(&mut now, Way::In, &verify);
        let again = hello.datagram_body(&cookie[3..], self.random);
        for record in records(CLIENT_HELLO, 1, &again, 1_200, 9) {
            push(&mut now, Way::Out, &record);
        }
        now += self.round_trip();
        let greeting = self.random.bytes(80);
        let greeting = records(SERVER_HELLO, 1, &greeting, 100, 1).concat();
        push(&mut now, Way::In, &greeting);
        for number in 0..self.amount() {
            let way = if number % 3 == 0 { Way::Out } else { Way::In };
            push(&mut now, way, &data(300, self.random));
        }
        let names = [(server.name.as_str(), Source::Tls)];
        let names = names.get(..usize::from(says_name)).unwrap_or_default();
        let flow = self.truth("udp", ends, kind, names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    /// The first hello, in one of the shapes that it comes in.
    fn dtls_hello(&mut self, hello: &Hello<'_>, send: &mut impl FnMut(&[u8])) -> &'static str {
        match self.random.below(4) {
            0 => {
                // All records in few datagrams.
                let records = hello_records(hello, &[], 150, self.random);
                for some in records.chunks(6) {
                    send(&some.concat());
                }
                "dtls_records"
            }
            1 => {
                let mut records = hello_records(hello, &[], 300, self.random);
                self.random.shuffle(&mut records);
                for record in records {
                    send(&record);
                    send(&record);
                }
                "dtls_shuffled"
            }
            _ => {
                let records = hello_records(hello, &[], 1_200, self.random);
                for record in &records {
                    send(record);
                }
                "dtls"
            }
        }
    }
}
