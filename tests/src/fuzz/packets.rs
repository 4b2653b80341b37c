//! Targets of `packet` and `capture`: what the kernel and capture files give.

use std::{collections::BTreeMap, io::Cursor};

use sakshi::{
    attribute::{sock_destroy, sock_diag},
    capture::{
        file::{CaptureFile, Next},
        nflog::{
            listing::{Listing, RULES_MAX},
            message::{Message, messages},
        },
        packet_socket::block::frames,
        rtnetlink::{self, RouteMessage},
    },
    input::{Batch, Event, Input, LinkType},
    packet::{self, TUNNELS_MAX, Transport, View},
};

/// Link types in the order of the first byte of a `dissect` input.
const LINKS: [LinkType; 12] = [
    LinkType::RawIp,
    LinkType::Ethernet,
    LinkType::Null,
    LinkType::Loop,
    LinkType::Sll,
    LinkType::Sll2,
    LinkType::Ppp,
    LinkType::Nflog,
    LinkType::Other(10),
    LinkType::Other(104),
    LinkType::Pcapdroid,
    LinkType::Pktap,
];

/// The first byte picks the link type, the rest is a packet.
pub(super) fn dissect(data: &[u8]) {
    let Some((first, packet)) = data.split_first() else {
        return;
    };
    let Some(link) = LINKS.get(usize::from(*first)) else {
        return;
    };
    let captured_len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let Ok(view) = packet::dissect(*link, packet, captured_len) else {
        return;
    };
    lies_within(&view, packet);
    // What tunnels carry lies further behind each time.
    let mut outer = view;
    for _ in 0..TUNNELS_MAX {
        let Some(inside) = packet::inner(&outer, packet) else {
            return;
        };
        lies_within(&inside, packet);
        assert!(inside.headers_len > outer.headers_len);
        outer = inside;
    }
}

fn lies_within(view: &View<'_>, packet: &[u8]) {
    // What a header-only copy keeps must lie within the packet, its payload behind it.
    assert!(view.headers_len <= packet.len());
    let (payload, payload_len) = match view.transport {
        Transport::Tcp(tcp) => (tcp.payload, tcp.payload_len),
        Transport::Udp(udp) => (udp.payload, udp.payload_len),
        _ => return,
    };
    assert!(payload.len() <= packet.len() - view.headers_len);
    assert!(payload.len() <= usize::try_from(payload_len).expect("32 bits fit"));
    assert!(payload_len <= view.ip_len);
}

/// A record of link type 239.
pub(super) fn nflog_attributes(data: &[u8]) {
    if let Ok(found) = packet::nflog_attributes(data) {
        assert!(found.payload.len() <= found.payload_len);
        assert_eq!(
            data.get(found.payload_offset..)
                .map(|rest| &rest[..found.payload.len()]),
            Some(found.payload)
        );
    }
}

/// A record of link type 258.
pub(super) fn pktap(data: &[u8]) {
    if let Ok(header) = packet::pktap(data) {
        assert!(header.header_len <= data.len());
        assert!(header.process.len() <= 17 && header.effective.len() <= 17);
        assert!(!header.process.contains(&0) && header.pid != Some(0));
    }
}

/// A datagram of a netlink socket.
pub(super) fn nflog_message(data: &[u8]) {
    let mut count = 0;
    for message in messages(data) {
        count += 1;
        if let Ok(Message::Packet(packet)) = message {
            assert!(packet.payload.len() < data.len());
        }
    }
    // A header has 16 bytes; one more item says what is wrong with the rest.
    assert!(count <= data.len() / 16 + 1);
}

/// What `iptables -v -S` prints.
pub(super) fn nflog_listing(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let listing = Listing::parse(text);
    assert!(listing.rules.len() <= RULES_MAX);
    assert!(listing.rules.len() + listing.chains.len() <= text.lines().count());
    let mut counts = BTreeMap::new();
    listing.add_counts(&mut counts);
    assert!(listing.our_rules().len() <= listing.rules.len());
    // Each chain is entered once, however the rules jump.
    for hook in ["OUTPUT", "INPUT"] {
        assert!(listing.earlier_verdicts(hook).len() <= listing.rules.len());
    }
    assert!(
        listing
            .jumps()
            .iter()
            .all(|jump| !jump.last || jump.count > 0)
    );
}

/// A datagram of the kernel's socket tables.
pub(super) fn sock_diag(data: &[u8]) {
    // A message has a header of 16 bytes; one more item says what is wrong with the rest.
    assert!(sock_diag::messages(data).count() <= data.len() / 16 + 1);
}

/// A datagram of the groups that tell when the kernel destroys a socket.
pub(super) fn sock_destroy(data: &[u8]) {
    let read: Vec<_> = sock_destroy::closed_sockets(data)
        .filter_map(Result::ok)
        .collect();
    assert!(read.len() <= data.len() / 16 + 1);
    for closed in read {
        assert!(closed.min_rtt_us != Some(0) && closed.min_rtt_us != Some(u32::MAX));
        // The fields stand in this order: who says a later one says the earlier ones.
        assert!(closed.min_rtt_us.is_none() || closed.bytes_received.is_some());
        assert!(closed.bytes_received.is_none() || closed.bytes_acked.is_some());
    }
}

/// A block of a packet ring, behind its status word.
pub(super) fn ring_block(data: &[u8]) {
    let mut ended = false;
    let mut count = 0_u32;
    for frame in frames(data).take(data.len() + 1) {
        assert!(!ended, "nothing follows an error");
        match frame {
            Ok(frame) => {
                assert!(frame.data.len() < data.len());
                count += 1;
            }
            Err(error) => {
                assert_eq!(error.read, count);
                assert!(error.expected > count);
                ended = true;
            }
        }
    }
}

/// A datagram about the kernel's interfaces.
pub(super) fn rtnetlink(data: &[u8]) {
    let mut count = 0;
    for change in rtnetlink::changes(data) {
        count += 1;
        match change {
            Ok(RouteMessage::Link(link)) => {
                let kind = link.kind.unwrap_or_default();
                let printable = |text: &str| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
                assert!(printable(&link.name) && printable(&kind));
                assert!(link.name.len() + kind.len() <= data.len());
            }
            Ok(RouteMessage::DefaultRoute { links, .. }) => assert!(links.len() <= data.len() / 4),
            _ => {}
        }
    }
    // A message has a header of 16 bytes; one more item says what is wrong with the rest.
    assert!(count <= data.len() / 4 + 1);
}

/// A capture, plain or compressed.
pub(super) fn capture_file(data: &[u8]) {
    let Ok(mut file) = CaptureFile::open(Cursor::new(data.to_vec()), 0) else {
        return;
    };
    let mut batch = Batch::new();
    let mut frames = 0;
    loop {
        batch.clear();
        let next = file.next(&mut batch);
        for input in batch.iter() {
            let packet = match input {
                Input::Packet(packet) => packet,
                Input::Event(Event::AppName(_)) => continue,
                Input::Event(event) => panic!("a capture gives packets and names, not {event:?}"),
            };
            frames += 1;
            assert_eq!(packet.frame, frames);
        }
        match next {
            Next::More => assert!(!batch.is_empty()),
            Next::End(end) => {
                assert!(end.is_none_or(|damage| damage.frames == frames));
                break;
            }
        }
    }
    assert_eq!(file.frames(), frames);
    assert!(file.bytes_read() <= u64::try_from(data.len()).expect("64 bits fit"));
}
