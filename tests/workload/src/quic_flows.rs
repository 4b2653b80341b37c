//! Flows over QUIC, in the shapes that clients, servers and networks give them.

use crate::{
    flows::{Made, Maker},
    hello::{Hello, server_hello},
    initial::{Ids, Sealer, Version, crypto_frame, handshake, negotiation, reserved, retry, short},
    truth::Source,
    wire::{Ends, Way, Wire},
};

/// Bytes of a client's first datagrams.
const DATAGRAM_BYTES: usize = 1250;
/// Bytes of frames in such a datagram, beside the largest header and the tag.
const FRAMES_BYTES: usize = 1150;

/// One connection as it is written.
struct Talk {
    ends: Ends,
    now: u64,
    wires: Vec<Wire>,
}

impl Talk {
    fn push(&mut self, way: Way, payload: &[u8]) {
        self.wires.push(Wire {
            at: self.now,
            bytes: self.ends.datagram(way, payload),
        });
        self.now += 60;
    }
}

/// The shape of a client's first flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// In order, one frame a datagram.
    Plain,
    /// Frames shuffled among pings and padding, over all datagrams.
    Scrambled,
    /// Several Initials in a datagram.
    Coalesced,
    /// Datagrams twice, the last first.
    Repeated,
}

impl Maker<'_> {
    pub(crate) fn quic(&mut self, at: u64) -> Made {
        if self.random.percent(3) {
            return self.quic_port_used_again(at);
        }
        let server = self.world.server(self.random);
        let ends = self.ends(&server, 443);
        let mut talk = Talk {
            ends,
            now: at,
            wires: Vec::new(),
        };
        let kind = self.connection(&mut talk, &server.name);
        let names = [(server.name.as_str(), Source::Quic)];
        let flow = self.truth("udp", ends, kind, &names, &talk.wires);
        Made {
            wires: talk.wires,
            flows: vec![flow],
        }
    }

    /// Two connections on one socket; UDP has no end, so that they are one flow.
    fn quic_port_used_again(&mut self, at: u64) -> Made {
        let (first, second) = self.world.neighbours(self.random);
        let ends = self.ends(&first, 443);
        let mut talk = Talk {
            ends,
            now: at,
            wires: Vec::new(),
        };
        self.connection(&mut talk, &first.name);
        talk.now += 3_000_000;
        self.connection(&mut talk, &second.name);
        let names = [
            (first.name.as_str(), Source::Quic),
            (second.name.as_str(), Source::Quic),
        ];
        let flow = self.truth("udp", ends, "quic_twice", &names, &talk.wires);
        Made {
            wires: talk.wires,
            flows: vec![flow],
        }
    }

    fn connection(&mut self, talk: &mut Talk, name: &str) -> &'static str {
        let version = match self.random.below(100) {
            0..78 => Version::V1,
            78..93 => Version::V2,
            _ => Version::Draft29,
        };
        let len = self.random.range(8, 21);
        let mut id = self.random.bytes(len);
        let own_len = if self.random.percent(50) { 0 } else { 8 };
        let own = self.random.bytes(own_len);
        let round_trip = self.round_trip();
        let hello = Hello {
            sni: Some(name),
            alpn: &["h3"],
            hybrid: self.random.percent(60),
            ech: self.random.percent(40),
            quic: true,
        }
        .message(self.random);
        let detour = self.random.below(100);
        if detour < 3 {
            self.negotiated(talk, version, &id, &own);
            talk.now += round_trip;
        }
        let shape = match self.random.below(10) {
            0..4 => Shape::Plain,
            4..8 => Shape::Scrambled,
            8 => Shape::Coalesced,
            _ => Shape::Repeated,
        };
        self.flight(
            talk,
            (version, shape),
            Ids {
                to: &id,
                from: &own,
            },
            &[],
            &hello,
        );
        talk.now += round_trip;
        if (3..7).contains(&detour) {
            id = self.retried(talk, (version, shape), &own, &hello);
            talk.now += round_trip;
        }
        // A server may go on in version 2 with a client that began in version 1 (RFC 9368).
        let negotiated = version == Version::V1 && (7..10).contains(&detour);
        let version = if negotiated { Version::V2 } else { version };
        self.established(talk, version, &id, &own);
        match (detour, shape) {
            (0..3, _) => "quic_negotiation",
            (3..7, _) => "quic_retry",
            _ if negotiated => "quic_compatible_version",
            (_, Shape::Plain) => "quic",
            (_, Shape::Scrambled) => "quic_scrambled",
            (_, Shape::Coalesced) => "quic_coalesced",
            (_, Shape::Repeated) => "quic_repeated",
        }
    }

    /// A version that the server does not speak, and its offer of another one.
    fn negotiated(&mut self, talk: &mut Talk, version: Version, id: &[u8], own: &[u8]) {
        talk.push(Way::Out, &reserved(Ids { to: id, from: own }, self.random));
        let back = Ids { to: own, from: id };
        talk.push(Way::In, &negotiation(back, &[version], self.random));
    }

    /// The server's wish for a token, and the hello again with it; the connection ID from there on.
    fn retried(
        &mut self,
        talk: &mut Talk,
        shape: (Version, Shape),
        own: &[u8],
        hello: &[u8],
    ) -> Vec<u8> {
        let token = self.random.bytes(60);
        let chosen = self.random.bytes(18);
        let back = Ids {
            to: own,
            from: &chosen,
        };
        talk.push(Way::In, &retry(shape.0, back, &token, self.random));
        let ids = Ids {
            to: &chosen,
            from: own,
        };
        self.flight(talk, shape, ids, &token, hello);
        chosen
    }

    /// A client's first flight: its hello in as many Initials as it takes.
    fn flight(
        &mut self,
        talk: &mut Talk,
        (version, shape): (Version, Shape),
        ids: Ids<'_>,
        token: &[u8],
        hello: &[u8],
    ) {
        let sealer = Sealer::new(version, ids.to);
        let piece = match shape {
            Shape::Plain | Shape::Repeated => FRAMES_BYTES - token.len() - 40,
            Shape::Scrambled => self.random.range(80, 400),
            Shape::Coalesced => 500 - token.len(),
        };
        let mut pieces: Vec<(usize, &[u8])> = hello
            .chunks(piece)
            .enumerate()
            .map(|(at, bytes)| (at * piece, bytes))
            .collect();
        if shape == Shape::Scrambled {
            self.random.shuffle(&mut pieces);
        }
        let room = match shape {
            Shape::Coalesced => 520,
            _ => FRAMES_BYTES - token.len(),
        };
        let mut payloads: Vec<Vec<u8>> = vec![Vec::new()];
        for (offset, bytes) in pieces {
            let mut frames = Vec::new();
            if shape == Shape::Scrambled {
                frames.resize(self.random.below(4), 0);
                frames.extend(self.random.percent(50).then_some(1));
            }
            crypto_frame(&mut frames, offset, bytes);
            let last = payloads.last_mut().expect("one");
            if last.len() + frames.len() > room {
                payloads.push(frames);
            } else {
                last.extend(frames);
            }
        }
        let mut packets: Vec<Vec<u8>> = Vec::new();
        for (number, mut frames) in (0..).zip(payloads) {
            frames.resize(frames.len().max(room), 0);
            packets.push(sealer.initial(ids, token, number, &frames));
        }
        let mut datagrams: Vec<Vec<u8>> = match shape {
            Shape::Coalesced => packets.chunks(2).map(<[_]>::concat).collect(),
            _ => packets,
        };
        if shape == Shape::Repeated {
            datagrams.reverse();
            datagrams = datagrams
                .iter()
                .flat_map(|one| [one.clone(), one.clone()])
                .collect();
        }
        for datagram in &datagrams {
            debug_assert!(datagram.len() <= DATAGRAM_BYTES + 100, "{}", datagram.len());
            talk.push(Way::Out, datagram);
        }
    }

    /// A server's hello in one Initial or two, with a Handshake packet behind it.
    fn greeting(&mut self, talk: &mut Talk, version: Version, id: &[u8], back: Ids<'_>) {
        let sealer = Sealer::server(version, id);
        let message = server_hello(self.random.percent(40), self.random);
        let mut pieces: Vec<(usize, &[u8])> =
            (0..).step_by(1_000).zip(message.chunks(1_000)).collect();
        if self.random.percent(30) {
            pieces.reverse();
        }
        let mut datagrams = Vec::new();
        for (number, (at, bytes)) in (0..).zip(pieces) {
            // An ACK of the client's first packet.
            let mut frames = vec![2, 0, 0, 0, 0];
            crypto_frame(&mut frames, at, bytes);
            datagrams.push(sealer.initial(back, &[], number, &frames));
        }
        if let Some(last) = datagrams.last_mut() {
            last.extend(handshake(version, back, 100, self.random));
        }
        for datagram in datagrams {
            talk.push(Way::In, &datagram);
        }
    }

    /// What follows: the server's answer under an ID of its choice, the client's acknowledgement
    /// under that, and data.
    fn established(&mut self, talk: &mut Talk, version: Version, id: &[u8], own: &[u8]) {
        let chosen = self.random.bytes(8);
        let back = Ids {
            to: own,
            from: &chosen,
        };
        self.greeting(talk, version, id, back);
        let ids = Ids {
            to: &chosen,
            from: own,
        };
        // An ACK of the server's first packet, as if its delay were nothing.
        let mut frames = vec![2, 0, 0, 0, 0];
        frames.resize(40, 0);
        let acknowledged = Sealer::new(version, id).initial(ids, &[], 7, &frames);
        let mut datagram = [
            acknowledged,
            handshake(version, ids, 120, self.random),
            short(&chosen, 200, self.random),
        ]
        .concat();
        datagram.resize(datagram.len().max(1200), 0);
        talk.push(Way::Out, &datagram);
        talk.now += self.pause();
        for number in 0..self.amount() {
            let (way, to, len) = match number % 3 {
                0 | 1 => (Way::In, own, 1200),
                _ => (Way::Out, &chosen[..], 30),
            };
            let from = self.random.below(self.noise.len() - len);
            let mut payload = short(to, 0, self.random);
            payload.extend(&self.noise[from..from + len]);
            talk.push(way, &payload);
            if self.random.percent(10) {
                talk.now += self.pause();
            }
        }
    }
}
