//! Hellos over DTLS, in the shapes that they come in.

use sakshi::{
    input::SocketProto,
    name::{Heard, Numbers, Reading, Shown, dtls::is_record},
};
use sakshi_rules::contact::{AppProtocol, NameSource};
use sakshi_workload::{
    Hello, Random,
    dtls::{hello_records, stun},
};

fn hello(sni: Option<&str>) -> Hello<'_> {
    Hello {
        sni,
        alpn: &["webrtc"],
        hybrid: true,
        ech: false,
        quic: false,
    }
}

#[derive(Default)]
struct Flow {
    reading: Reading,
    heard: Vec<Heard>,
}

impl Flow {
    fn send_cut(&mut self, datagram: &[u8], wire_len: usize) -> bool {
        let shown = Shown {
            proto: SocketProto::Udp,
            local_port: 40_000,
            remote_port: 40_001,
            outbound: true,
            names_only: false,
            tcp: Numbers::default(),
            wire_len: u32::try_from(wire_len).unwrap(),
            bytes: datagram,
        };
        self.reading.show(&shown, &mut self.heard).read
    }

    fn send(&mut self, datagram: &[u8]) -> bool {
        self.send_cut(datagram, datagram.len())
    }

    fn names(&self) -> Vec<&str> {
        let name = |heard| match heard {
            &Heard::Name(ref name, NameSource::Tls) => Some(&**name),
            _ => None,
        };
        self.heard.iter().filter_map(name).collect()
    }

    fn is_dtls(&self) -> bool {
        self.heard.contains(&Heard::Protocol(AppProtocol::Dtls))
    }
}

#[test]
fn fragments_in_any_order_make_a_hello() {
    let mut random = Random::new(1);
    for size in [1, 80, 600, 4_000] {
        let mut records = hello_records(
            &hello(Some("Media.Example")),
            b"cookie",
            size.max(100),
            &mut random,
        );
        random.shuffle(&mut records);
        let mut flow = Flow::default();
        for record in &records {
            assert!(flow.send(record));
            assert!(flow.is_dtls());
        }
        assert_eq!(flow.names(), ["media.example"]);
        assert_eq!((flow.reading.held(), flow.reading.is_answered()), (0, true));
        assert!(!flow.send(&records[0]), "nothing more is wanted");
    }
}

#[test]
fn versions_are_those_of_datagrams() {
    let mut flow = Flow::default();
    flow.send(&hello_records(&hello(None), &[], 4_000, &mut Random::new(2))[0]);
    let hello = flow.heard.iter().find_map(|heard| match heard {
        Heard::Hello(hello) => Some(hello),
        _ => None,
    });
    let hello = hello.expect("a hello");
    assert_eq!((&hello.sni, hello.damaged), (&None, false));
    assert!(hello.alpn().eq(["webrtc"]));
}

#[test]
fn a_call_looks_for_its_way_first() {
    let mut random = Random::new(3);
    let mut flow = Flow::default();
    for _ in 0..30 {
        assert!(
            flow.send(&stun(&mut random)),
            "it is counted, so it is kept"
        );
    }
    flow.send(&hello_records(&hello(Some("call.example")), &[], 4_000, &mut random)[0]);
    assert_eq!(flow.names(), ["call.example"]);
}

#[test]
fn a_hello_that_was_cut_or_never_whole_is_read_as_far_as_it_goes() {
    let mut random = Random::new(4);
    let plain = Hello {
        hybrid: false,
        ..hello(Some("cut.example"))
    };
    let records = hello_records(&plain, &[], 4_000, &mut random);
    let at = records[0]
        .windows(11)
        .position(|bytes| bytes == b"cut.example")
        .unwrap();
    let mut flow = Flow::default();
    flow.send_cut(&records[0][..at + 11], records[0].len());
    assert_eq!(flow.names(), ["cut.example"]);
    let mut flow = Flow::default();
    flow.send_cut(&records[0][..at], records[0].len());
    assert_eq!((flow.names().len(), flow.is_dtls()), (0, true));

    let records = hello_records(&plain, &[], at + 11, &mut random);
    let mut flow = Flow::default();
    flow.send(&records[0]);
    assert!(flow.reading.held() > 0);
    flow.reading.conclude(40_001, &mut flow.heard);
    assert_eq!(flow.reading.held(), 0);
}

#[test]
fn a_server_and_a_flow_joined_late_speak_dtls_and_name_nobody() {
    for (content, epoch, kind) in [(22, 0, 2), (22, 0, 3), (23, 1, 7), (21, 1, 0)] {
        let datagram = [
            &[content, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1, 0, 20, kind][..],
            &[0; 19],
        ]
        .concat();
        let mut flow = Flow::default();
        assert!(flow.send(&datagram));
        assert!(flow.is_dtls());
        assert_eq!(flow.names(), [""; 0]);
    }
    for other in [
        &b"\x16\x03\x03"[..],
        &[22, 0xfe, 0xfd],
        &[0x80; 40],
        &[22, 0xfe, 0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1],
    ] {
        assert!(!is_record(other));
    }
}
