//! One flow of each kind: its packets and the truth about it.

use crate::{
    dns::{self, Answer, Asked},
    hello::{Hello, records, server_hello},
    random::Random,
    truth::{Flow, Said, Source},
    wire::{Ends, SEGMENT_BYTES, Tcp, Way, Wire},
    world::{Server, World},
};

/// Microseconds between the last packet of a conversation and the next on the same five-tuple.
const REUSE_AFTER: u64 = 2_000_000;
/// Answers of a resolver live so long that none expires within a capture of this size.
const PAUSE_MAX: usize = 20_000;

/// A made flow: packets from a moment on, and the truth; two of them where a port is used again.
#[derive(Debug, Default)]
pub struct Made {
    /// Packets by their moments, in microseconds since 1970.
    pub wires: Vec<Wire>,
    /// Flows as they have to be told apart.
    pub flows: Vec<Flow>,
}

/// Where flows come from.
#[derive(Debug)]
pub struct Maker<'a> {
    /// Choices.
    pub random: &'a mut Random,
    /// Servers and sockets.
    pub world: &'a mut World,
    /// Noise for payloads that nobody reads.
    pub noise: &'a [u8],
    /// Packets with data after what names the flow, on average.
    pub data_packets: usize,
}

impl Maker<'_> {
    /// A flow of the mix: DNS 38 %, TLS 32 %, QUIC 18 %, HTTP 4 %, the rest other UDP and refused
    /// connections.
    pub fn flow(&mut self, at: u64) -> Made {
        match self.random.below(100) {
            0..37 => self.dns(at),
            37 => self.dns_over_tcp(at),
            38..70 => self.tls(at),
            70..88 => self.quic(at),
            88..91 => self.http(at),
            91 => self.further_hosts(at),
            92..95 => self.other_udp(at),
            95..97 => self.dtls(at),
            _ => self.refused(at),
        }
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        let from = self.random.below(self.noise.len() - len);
        self.noise[from..from + len].to_vec()
    }

    pub(crate) fn ends(&mut self, server: &Server, port: u16) -> Ends {
        let family = World::family(self.random);
        Ends {
            handset: self.world.socket(family),
            server: (server.addresses[family], port).into(),
        }
    }

    pub(crate) fn numbers(&mut self) -> (u32, u32) {
        (self.random.word(), self.random.word())
    }

    pub(crate) fn round_trip(&mut self) -> u64 {
        5_000 + self.random.below(80_000) as u64
    }

    pub(crate) fn pause(&mut self) -> u64 {
        100 + self.random.below(PAUSE_MAX) as u64
    }

    /// How many packets with data follow.
    pub(crate) fn amount(&mut self) -> usize {
        self.random.below(2 * self.data_packets + 1)
    }

    pub(crate) fn truth(
        &self,
        proto: &str,
        ends: Ends,
        kind: &str,
        names: &[(&str, Source)],
        wires: &[Wire],
    ) -> Flow {
        let mut names: Vec<Said> = names
            .iter()
            .map(|(name, source)| Said {
                name: (*name).to_owned(),
                source: *source,
            })
            .collect();
        names.sort();
        names.dedup();
        let chosen = ["tls", "quic"]
            .iter()
            .any(|handshake| kind.starts_with(handshake));
        Flow {
            proto: proto.to_owned(),
            handset: ends.handset,
            server: ends.server,
            start: wires.iter().map(|wire| wire.at).min().unwrap_or_default(),
            kind: kind.to_owned(),
            names,
            server_names: self.world.names_of(ends.server.ip()),
            suite: chosen.then(|| "1301".to_owned()),
            packets: wires.len() as u64,
        }
    }

    fn dns(&mut self, at: u64) -> Made {
        let server = self.world.server(self.random);
        let family = World::family(self.random);
        let ends = Ends {
            handset: self.world.socket(family),
            server: World::resolver(family),
        };
        let asked = match self.random.below(100) {
            0..45 => Asked::A,
            45..75 => Asked::Aaaa,
            75..97 => Asked::Https,
            _ => Asked::Ptr,
        };
        let name = match asked {
            Asked::Ptr => "10.0.18.198.in-addr.arpa".to_owned(),
            _ => server.name.clone(),
        };
        let query = dns::query(&name, asked, self.random);
        let mut wires = vec![Wire {
            at,
            bytes: ends.datagram(Way::Out, &query),
        }];
        let mut then = at;
        if self.random.percent(2) {
            // Asked again for want of an answer.
            then += 1_000_000;
            wires.push(Wire {
                at: then,
                bytes: ends.datagram(Way::Out, &query),
            });
        }
        if !self.random.percent(3) {
            then += self.round_trip();
            wires.push(Wire {
                at: then,
                bytes: ends.datagram(Way::In, &self.answer(&query, &server, asked)),
            });
        }
        let flow = self.truth("udp", ends, "dns", &[(&name, Source::Dns)], &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    fn answer(&mut self, query: &[u8], server: &Server, asked: Asked) -> Vec<u8> {
        let alias = server.alias.as_deref();
        let [v4, v6] = server.addresses;
        let hints = [v4, v6];
        let ech = self.random.percent(30);
        let (alias, addresses, service): (_, &[_], _) = match asked {
            Asked::A => (alias, &[v4], None),
            Asked::Aaaa => (alias, &[v6], None),
            Asked::Https => (None, &[], Some((&hints[..], ech))),
            Asked::Ptr => (None, &[], None),
        };
        dns::answer(
            query,
            &Answer {
                alias,
                addresses,
                service,
            },
        )
    }

    /// Two questions on one connection, sent together.
    fn dns_over_tcp(&mut self, at: u64) -> Made {
        let servers = [
            self.world.server(self.random),
            self.world.server(self.random),
        ];
        let family = World::family(self.random);
        let ends = Ends {
            handset: self.world.socket(family),
            server: World::resolver(family),
        };
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.open();
        let (mut questions, mut answers) = (Vec::new(), Vec::new());
        for server in &servers {
            let query = dns::query(&server.name, Asked::A, self.random);
            crate::hello::vector16(&mut questions, &query);
            let answer = self.answer(&query, server, Asked::A);
            crate::hello::vector16(&mut answers, &answer);
        }
        tcp.send(Way::Out, &questions);
        tcp.pause(self.pause());
        tcp.send(Way::In, &answers);
        tcp.close();
        let (wires, _) = tcp.finish();
        let names = [
            (servers[0].name.as_str(), Source::Dns),
            (servers[1].name.as_str(), Source::Dns),
        ];
        let flow = self.truth("tcp", ends, "dns_tcp", &names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    fn tls(&mut self, at: u64) -> Made {
        if self.random.percent(4) {
            return self.tls_port_used_again(at);
        }
        let server = self.world.server(self.random);
        let port = if self.random.percent(95) { 443 } else { 5228 };
        let ends = self.ends(&server, port);
        let ((wires, _), kind) = self.tls_conversation(at, ends, Some(&server.name));
        let name = [(server.name.as_str(), Source::Tls)];
        let names: &[_] = if kind == "tls_without_sni" {
            &[]
        } else {
            &name
        };
        let flow = self.truth("tcp", ends, kind, names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    /// The same five-tuple twice, for two names of one address.
    fn tls_port_used_again(&mut self, at: u64) -> Made {
        let (first, second) = self.world.neighbours(self.random);
        let ends = self.ends(&first, 443);
        let mut made = Made::default();
        let mut at = at;
        for server in [first, second] {
            let ((wires, last), kind) = self.tls_conversation(at, ends, Some(&server.name));
            let name = [(server.name.as_str(), Source::Tls)];
            let names: &[_] = if kind == "tls_without_sni" {
                &[]
            } else {
                &name
            };
            made.flows
                .push(self.truth("tcp", ends, kind, names, &wires));
            made.wires.extend(wires);
            at = last + REUSE_AFTER;
        }
        made
    }

    fn tls_conversation(
        &mut self,
        at: u64,
        ends: Ends,
        name: Option<&str>,
    ) -> ((Vec<Wire>, u64), &'static str) {
        let shape = self.random.below(100);
        let hello = Hello {
            sni: name.filter(|_| shape >= 2),
            alpn: &["h2", "http/1.1"],
            hybrid: shape >= 45,
            ech: self.random.percent(40),
            quic: false,
        };
        let message = hello.message(self.random);
        let record_size = match shape {
            90..96 => self.random.range(50, 400),
            _ => usize::MAX,
        };
        let stream = records(&message, record_size);
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.open();
        let (pieces, kind) = self.pieces(shape, stream.len());
        tcp.send_pieces(&stream, &pieces);
        tcp.pause(self.pause());
        let greeting = records(&server_hello(false, self.random), usize::MAX);
        tcp.send(Way::In, &greeting);
        tcp.send(Way::In, &self.application_data(2400));
        tcp.send(Way::Out, &[20, 3, 3, 0, 1, 1]);
        tcp.send(Way::Out, &self.application_data(400));
        self.data(&mut tcp);
        if self.random.percent(80) {
            tcp.close();
        }
        (tcp.finish(), kind)
    }

    fn application_data(&mut self, len: usize) -> Vec<u8> {
        let mut data = records(&self.noise(len), usize::MAX);
        data[0] = 23;
        data
    }

    pub(crate) fn data(&mut self, tcp: &mut Tcp) {
        for number in 0..self.amount() {
            match number % 3 {
                0 | 1 => {
                    let noise = self.noise(SEGMENT_BYTES);
                    tcp.send(Way::In, &noise);
                }
                _ => tcp.acknowledge(Way::Out),
            }
            if self.random.percent(10) {
                tcp.pause(self.pause());
            }
        }
    }

    /// The segments that a hello's stream is sent in.
    fn pieces(&mut self, shape: usize, len: usize) -> (Vec<(usize, usize)>, &'static str) {
        let mut pieces: Vec<(usize, usize)> = (0..len)
            .step_by(SEGMENT_BYTES)
            .map(|from| (from, (from + SEGMENT_BYTES).min(len)))
            .collect();
        let kind = match shape {
            0..2 => "tls_without_sni",
            2..45 => "tls",
            45..75 => "tls_hybrid",
            75..83 => {
                pieces.reverse();
                "tls_out_of_order"
            }
            83..87 => {
                // Each segment twice.
                pieces = pieces.iter().flat_map(|piece| [*piece, *piece]).collect();
                "tls_repeated"
            }
            87..90 => {
                // The second begins within the first.
                let middle = len / 2;
                pieces = vec![(0, middle + 50), (middle - 50, len)];
                pieces = cut(&pieces);
                "tls_overlapping"
            }
            90..96 => "tls_records",
            _ => {
                let size = self.random.range(100, 300);
                pieces = (0..len)
                    .step_by(size)
                    .map(|from| (from, (from + size).min(len)))
                    .collect();
                self.random.shuffle(&mut pieces);
                "tls_small_segments"
            }
        };
        (pieces, kind)
    }

    fn http(&mut self, at: u64) -> Made {
        let server = self.world.server(self.random);
        let ends = self.ends(&server, 80);
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.open();
        let request = format!(
            "GET /generate_204?{} HTTP/1.1\r\nUser-Agent: {}\r\nHost: {}\r\nAccept: */*\r\n\r\n",
            self.random.word(),
            "Dalvik/2.1.0 (Linux; U; Android 14)",
            server.name
        );
        let (pieces, kind) = if self.random.percent(20) {
            let middle = self.random.range(20, request.len() - 10);
            (vec![(0, middle), (middle, request.len())], "http_split")
        } else {
            (vec![(0, request.len())], "http")
        };
        tcp.send_pieces(request.as_bytes(), &pieces);
        tcp.pause(self.pause());
        tcp.send(
            Way::In,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        );
        self.data(&mut tcp);
        tcp.close();
        let (wires, _) = tcp.finish();
        let names = [(server.name.as_str(), Source::Http)];
        let flow = self.truth("tcp", ends, kind, &names, &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    fn further_hosts(&mut self, at: u64) -> Made {
        if self.random.percent(50) {
            self.http_kept(at)
        } else {
            self.http2(at)
        }
    }

    fn other_udp(&mut self, at: u64) -> Made {
        let server = self.world.server(self.random);
        let (port, len, kind) = match self.random.below(4) {
            0 => (123, 48, "ntp"),
            1 => (3478, 56, "stun"),
            2 => (51_820, 148, "wireguard"),
            _ => (40_000, 200, "udp"),
        };
        let ends = self.ends(&server, port);
        let mut wires = Vec::new();
        let mut then = at;
        for number in 0..=self.amount() {
            let mut payload = self.noise(len);
            payload[0] = match kind {
                "ntp" => 0x23,
                "stun" => 0,
                "wireguard" => 4,
                _ => payload[0] & 0x3f,
            };
            let way = if number % 2 == 0 { Way::Out } else { Way::In };
            wires.push(Wire {
                at: then,
                bytes: ends.datagram(way, &payload),
            });
            then += self.pause();
        }
        let flow = self.truth("udp", ends, kind, &[], &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }

    fn refused(&mut self, at: u64) -> Made {
        let server = self.world.server(self.random);
        let ends = self.ends(&server, 443);
        let mut tcp = Tcp::new(ends, at, self.round_trip(), self.numbers());
        tcp.refused();
        let (wires, _) = tcp.finish();
        let flow = self.truth("tcp", ends, "refused", &[], &wires);
        Made {
            wires,
            flows: vec![flow],
        }
    }
}

/// Pieces that are no longer than a segment.
fn cut(pieces: &[(usize, usize)]) -> Vec<(usize, usize)> {
    pieces
        .iter()
        .flat_map(|&(from, to)| {
            (from..to)
                .step_by(SEGMENT_BYTES)
                .map(move |at| (at, (at + SEGMENT_BYTES).min(to)))
        })
        .collect()
}
