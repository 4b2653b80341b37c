//! What is read of a client's Initials, sealed by another library.

use proptest::prelude::*;
use sakshi::name::{
    Probe,
    quic::{
        self, CONNECTIONS_MAX, CRYPTO_BYTES_MAX, DECRYPTIONS_MAX, Initials, Kind, Outcome, Read,
        Version,
        google::{self, GoogleHello},
    },
};
use sakshi_workload::{
    Hello, Random,
    initial::{self, Ids, Sealer, Version as Sealed, crypto_frame},
};

const NAME: &str = "www.example.com";
const FRAMES_BYTES: usize = 1150;

fn hello(name: &str, hybrid: bool) -> Vec<u8> {
    let offer = Hello {
        sni: Some(name),
        alpn: &["h3"],
        hybrid,
        ech: true,
        quic: true,
    };
    offer.message(&mut Random::new(7))
}

/// An Initial with these pieces of a hello, each from an offset to an offset.
fn packet(
    sealer: &Sealer,
    to: &[u8],
    number: u32,
    hello: &[u8],
    pieces: &[(usize, usize)],
) -> Vec<u8> {
    let mut frames = Vec::new();
    for &(from, end) in pieces {
        crypto_frame(&mut frames, from, &hello[from..end]);
    }
    frames.resize(frames.len().max(FRAMES_BYTES), 0);
    sealer.initial(Ids { to, from: b"me" }, &[], number, &frames)
}

fn names(read: &Read) -> Vec<&str> {
    let name = |hello: &quic::Hello| hello.hello.sni.clone();
    assert!(read.hellos.iter().all(|hello| name(hello).is_some()));
    read.hellos
        .iter()
        .filter_map(|hello| hello.hello.sni.as_deref())
        .collect()
}

#[test]
fn one_initial_says_all() {
    for (sealed, version) in [
        (Sealed::V1, Version::V1),
        (Sealed::V2, Version::V2),
        (Sealed::Draft29, Version::Draft(29)),
    ] {
        let id = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
        let hello = hello(NAME, false);
        let datagram = packet(&Sealer::new(sealed, id), id, 0, &hello, &[(0, hello.len())]);
        assert_eq!(quic::recognise(&datagram), Some(Kind::Readable));
        let mut flow = Initials::default();
        let read = flow.datagram(&datagram);
        assert_eq!((names(&read), read.outcome), (vec![NAME], Outcome::Settled));
        let [first] = read.hellos.as_slice() else {
            panic!("one hello")
        };
        assert_eq!(first.version, version);
        assert!(first.hello.alpn().eq(["h3"]));
        assert!(first.hello.ech && !first.hello.damaged);
        assert_eq!(flow.bytes_held(), 0);
        // Again: nothing new, and nothing is done for it.
        assert_eq!(flow.datagram(&datagram).outcome, Outcome::Ignored);
    }
}

#[test]
fn what_was_not_sealed_by_the_client_is_not_read() {
    let id = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
    let hello = hello(NAME, false);
    let datagram = packet(
        &Sealer::new(Sealed::V1, id),
        id,
        0,
        &hello,
        &[(0, hello.len())],
    );
    for at in [19, 100, datagram.len() - 1] {
        let mut forged = datagram.clone();
        forged[at] ^= 1;
        let read = Initials::default().datagram(&forged);
        assert!(read.hellos.is_empty(), "byte {at}");
    }
    // Cut short by a capture: its tag is not there.
    let read = Initials::default().datagram(&datagram[..600]);
    assert_eq!((read.hellos.len(), read.outcome), (0, Outcome::Ignored));
}

#[test]
fn several_initials_of_one_datagram_are_joined() {
    let id = b"12345678";
    let hello = hello(NAME, true);
    let sealer = Sealer::new(Sealed::V1, id);
    let middle = hello.len() / 2;
    let datagram = [
        packet(&sealer, id, 1, &hello, &[(middle, hello.len())]),
        packet(&sealer, id, 0, &hello, &[(0, middle)]),
    ]
    .concat();
    assert_eq!(names(&Initials::default().datagram(&datagram)), [NAME]);
}

#[test]
fn a_server_s_connection_id_keeps_the_keys() {
    let (id, chosen) = (b"12345678", b"of-the-server");
    let hello = hello(NAME, true);
    let sealer = Sealer::new(Sealed::V1, id);
    let mut flow = Initials::default();
    let first = flow.datagram(&packet(&sealer, id, 0, &hello, &[(0, 900)]));
    assert_eq!(first.outcome, Outcome::NotYet);
    assert!(flow.bytes_held() > 900);
    let second = flow.datagram(&packet(&sealer, chosen, 1, &hello, &[(900, hello.len())]));
    assert_eq!((names(&second), flow.bytes_held()), (vec![NAME], 0));
}

#[test]
fn a_server_s_connection_id_is_believed_where_it_is_sealed() {
    let (id, chosen, other) = (b"12345678", b"of-the-server", b"of-nobody");
    let client = Sealer::new(Sealed::V1, id);
    let begin = |name: &str, to: &[u8]| {
        let hello = hello(name, false);
        packet(
            &Sealer::new(Sealed::V1, to),
            to,
            0,
            &hello,
            &[(0, hello.len())],
        )
    };
    let mut flow = Initials::default();
    assert_eq!(names(&flow.datagram(&begin(NAME, id))), [NAME]);
    let answer = |sealer: &Sealer, from: &[u8]| {
        let mut frames = Vec::new();
        crypto_frame(&mut frames, 0, &[2, 0, 4]);
        sealer.initial(Ids { to: b"me", from }, &[], 0, &frames)
    };
    // Somebody's, in clear: a connection that begins under that ID is one.
    let forged = answer(&Sealer::server(Sealed::V1, other), other);
    assert_eq!(flow.answer(&forged, false), (None, true));
    assert_eq!(
        names(&flow.datagram(&begin("other.example", other))),
        ["other.example"]
    );
    // The server's: what the client goes on with under its ID takes no keys from that.
    let mut flow = Initials::default();
    flow.datagram(&begin(NAME, id));
    let sealed = answer(&Sealer::server(Sealed::V1, id), chosen);
    assert_eq!(flow.answer(&sealed, false), (None, true));
    let on = client.initial(
        Ids {
            to: chosen,
            from: b"me",
        },
        &[],
        1,
        &[0; FRAMES_BYTES],
    );
    assert_eq!(flow.datagram(&on).outcome, Outcome::Ignored);
}

#[test]
fn a_compatible_version_has_keys_of_its_own() {
    let id = b"12345678";
    let hello = hello(NAME, true);
    let mut flow = Initials::default();
    flow.datagram(&packet(
        &Sealer::new(Sealed::V1, id),
        id,
        0,
        &hello,
        &[(0, 900)],
    ));
    let rest = packet(
        &Sealer::new(Sealed::V2, id),
        b"server",
        1,
        &hello,
        &[(900, hello.len())],
    );
    let read = flow.datagram(&rest);
    assert_eq!(names(&read), [NAME]);
    assert_eq!(read.hellos[0].version, Version::V2);
}

#[test]
fn after_a_retry_the_hello_begins_anew() {
    let (id, chosen) = (b"12345678", b"retry-with-this");
    let hello = hello(NAME, true);
    let mut flow = Initials::default();
    flow.datagram(&packet(
        &Sealer::new(Sealed::V1, id),
        id,
        0,
        &hello,
        &[(0, 900)],
    ));
    let again = Sealer::new(Sealed::V1, chosen);
    let ids = Ids {
        to: chosen,
        from: b"me",
    };
    let mut frames = Vec::new();
    crypto_frame(&mut frames, 0, &hello[..900]);
    flow.datagram(&again.initial(ids, &[7; 40], 1, &frames));
    frames.clear();
    crypto_frame(&mut frames, 900, &hello[900..]);
    let read = flow.datagram(&again.initial(ids, &[7; 40], 2, &frames));
    assert_eq!(names(&read), [NAME]);
}

#[test]
fn connections_that_share_a_socket_are_told_apart() {
    let mut flow = Initials::default();
    let names_of: Vec<String> = (0..2 * CONNECTIONS_MAX)
        .map(|number| format!("n{number}.example"))
        .collect();
    let mut found = Vec::new();
    for pair in names_of.chunks(2) {
        // Two at a time, each over two datagrams, mixed.
        let hellos: Vec<Vec<u8>> = pair.iter().map(|name| hello(name, true)).collect();
        for (from, to) in [(0, 800), (800, usize::MAX)] {
            for (name, hello) in pair.iter().zip(&hellos) {
                let id = format!("id-{name}");
                let sealer = Sealer::new(Sealed::V1, id.as_bytes());
                let piece = (from, to.min(hello.len()));
                let read = flow.datagram(&packet(&sealer, id.as_bytes(), 0, hello, &[piece]));
                found.extend(names(&read).into_iter().map(str::to_owned));
            }
        }
    }
    assert_eq!(found, names_of);
}

#[test]
fn a_flood_costs_what_the_bounds_allow() {
    let hello = hello(NAME, true);
    let mut flow = Initials::default();
    let mut read = Vec::new();
    for number in 0..200_u32 {
        let id = number.to_be_bytes();
        let sealer = Sealer::new(Sealed::V1, &id);
        read.push(
            flow.datagram(&packet(&sealer, &id, 0, &hello, &[(0, 900)]))
                .outcome,
        );
        assert!(flow.bytes_held() < CONNECTIONS_MAX * (CRYPTO_BYTES_MAX + 4096));
    }
    let told = read
        .iter()
        .filter(|&&outcome| outcome == Outcome::Exhausted);
    assert_eq!(told.count(), 1);
    let ignored = read.iter().filter(|&&outcome| outcome == Outcome::Ignored);
    assert!(ignored.count() >= 200 - usize::from(DECRYPTIONS_MAX));
    flow.give_up();
    assert!(!flow.awaits_more());
    assert_eq!(flow.bytes_held(), 0);
}

#[test]
fn a_frame_beyond_the_bound_ends_the_reading() {
    let id = b"12345678";
    let mut frames = Vec::new();
    crypto_frame(&mut frames, CRYPTO_BYTES_MAX, b"x");
    frames.resize(FRAMES_BYTES, 0);
    let ids = Ids { to: id, from: b"" };
    let mut flow = Initials::default();
    let read = flow.datagram(&Sealer::new(Sealed::V1, id).initial(ids, &[], 0, &frames));
    assert_eq!((read.outcome, flow.bytes_held()), (Outcome::Settled, 0));
}

#[test]
fn others_are_not_taken_for_it() {
    let mut random = Random::new(3);
    let ids = Ids {
        to: b"12345678",
        from: b"me",
    };
    assert_eq!(
        quic::recognise(&initial::short(b"12345678", 100, &mut random)),
        None
    );
    let asked = initial::reserved(ids, &mut random);
    assert_eq!(quic::recognise(&asked), Some(Kind::Negotiation));
    assert_eq!(quic::recognise(&asked[..500]), None);
    assert_eq!(quic::recognise(b"\xc0\x01\x02\x03\x04\x08"), None);
    let server = initial::handshake(Sealed::V1, ids, 900, &mut random);
    assert_eq!(
        Initials::default().datagram(&server).outcome,
        Outcome::Ignored
    );
}

/// A `CHLO` with these tags and values.
fn chlo(values: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut message = b"CHLO".to_vec();
    message.extend(u16::try_from(values.len()).unwrap().to_le_bytes());
    message.extend([0, 0]);
    let mut end = 0;
    for (tag, value) in values {
        end += u32::try_from(value.len()).unwrap();
        message.extend(*tag);
        message.extend(end.to_le_bytes());
    }
    for (_, value) in values {
        message.extend(*value);
    }
    message
}

#[test]
fn google_s_own_is_read_where_it_is_in_clear() {
    let message = chlo(&[
        (b"PAD\0", &[b'-'; 900]),
        (b"SNI\0", b"Www.Example.com"),
        (b"VER\0", b"Q043"),
    ]);
    let frame = [&[0xa0, 1, 4, 0][..], &message].concat();
    let q043 = [&b"\x0912345678Q043\x01"[..], &[7; 12], &frame].concat();
    let q046 = [&b"\xc3Q046\x5012345678\0\0\0\x01"[..], &[7; 12], &frame].concat();
    for datagram in [&q043, &q046] {
        assert_eq!(quic::recognise(datagram), Some(Kind::Google));
        let expected = GoogleHello {
            sni: Some("www.example.com".into()),
        };
        assert_eq!(google::hello(datagram), Probe::Yes(expected));
        assert_eq!(google::hello(&datagram[..60]), Probe::No);
    }
    let q050 = [&b"\xc3Q050\x0812345678\0"[..], &frame].concat();
    assert_eq!(quic::recognise(&q050), Some(Kind::Google));
    assert_eq!(google::hello(&q050), Probe::No);
    assert_eq!(google::version(b"\x0912345678QUIC"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However a hello is cut, shuffled, repeated and spread: the same name.
    #[test]
    fn the_same_hello_in_any_pieces(
        cuts in prop::collection::vec(1_usize..1900, 0..12),
        order in any::<u64>(),
        packets in 1_usize..4,
        hybrid in any::<bool>(),
    ) {
        let hello = hello(NAME, hybrid);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&at| at < hello.len()).collect();
        cuts.extend([0, hello.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<(usize, usize)> =
            cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let mut random = Random::new(order);
        // Some twice, some wider than they need to be.
        for at in 0..pieces.len() {
            let (from, to) = pieces[at];
            if random.percent(30) {
                pieces.push((from.saturating_sub(random.below(40)), to));
            }
        }
        random.shuffle(&mut pieces);
        let id = b"12345678";
        let sealer = Sealer::new(Sealed::V2, id);
        let mut flow = Initials::default();
        let mut found = Vec::new();
        for (number, some) in (0..).zip(pieces.chunks(pieces.len().div_ceil(packets))) {
            let read = flow.datagram(&packet(&sealer, id, number, &hello, some));
            found.extend(names(&read).into_iter().map(str::to_owned));
        }
        prop_assert_eq!(found, [NAME]);
        prop_assert_eq!(flow.bytes_held(), 0);
    }
}
