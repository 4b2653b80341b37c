//! Ends of sockets: to whose flow they belong, and what they say of it.

use sakshi::{
    evidence::body::{Closes, Flow, FlowState, Record, RttBasis},
    input::{Event, SocketClosed, SocketProto},
};

use crate::stream::{HANDSET, Kind, Sent, Witness, at, core, tcp, udp};

const SERVER: &str = "13.228.10.20:443";
const PORT: u16 = 40_000;
const APP: Option<u32> = Some(10_050);
const OTHER_APP: Option<u32> = Some(10_055);

fn closed(millis: i64, bytes_acked: u64) -> SocketClosed {
    SocketClosed {
        at: at(millis),
        proto: SocketProto::Tcp,
        local: format!("{HANDSET}:{PORT}").parse().unwrap(),
        remote: SERVER.parse().unwrap(),
        cookie: Some(408),
        bytes_acked: Some(bytes_acked),
        bytes_received: Some(8),
        min_rtt_us: Some(2_500),
    }
}

fn packet(millis: i64, uid: Option<u32>, kind: Kind) -> Sent {
    tcp(millis, uid, PORT, SERVER, kind, b"")
}

/// What a stream comes to: its flows in the order of their starts, and how ends were booked.
fn flows(inputs: impl FnOnce(&mut Witness)) -> (Vec<Flow>, Option<Closes>) {
    let mut witness = Witness::new(core(""));
    inputs(&mut witness);
    witness.finish();
    let flow = |record: &Record| match record {
        Record::Flow(flow) => Some((**flow).clone()),
        _ => None,
    };
    let closes = witness.core.summary().closes;
    (witness.records.iter().filter_map(flow).collect(), closes)
}

const fn booked(joined: u64, unmatched: u64) -> Closes {
    Closes { joined, unmatched }
}

#[test]
fn the_end_of_a_socket_gives_its_totals_and_confirms_delivery() {
    let (flows, closes) = flows(|witness| {
        witness.see(&packet(0, APP, Kind::Syn));
        witness.hear(&Event::SocketClosed(closed(50, 102)));
    });
    let [flow] = flows.try_into().unwrap();
    assert_eq!(
        (flow.bytes_acked, flow.bytes_received),
        (Some(102), Some(8))
    );
    assert_eq!(
        (flow.socket_closed, flow.socket_cookie),
        (Some(at(50)), Some(408))
    );
    assert_eq!(flow.packets_out, 1, "what was counted stays as it was");
    assert_eq!(
        flow.state,
        FlowState::Closed,
        "one SYN was seen, and answered"
    );
    assert_eq!(
        (flow.rtt_us, flow.rtt_basis),
        (Some(2_500), Some(RttBasis::TcpMinRtt))
    );
    assert_eq!(closes.unwrap(), booked(1, 0));
}

#[test]
fn a_socket_that_nobody_answered_was_only_an_attempt() {
    let (flows, _) = flows(|witness| {
        witness.see(&packet(0, APP, Kind::Syn));
        witness.hear(&Event::SocketClosed(SocketClosed {
            min_rtt_us: None,
            ..closed(50, 0)
        }));
    });
    assert_eq!(flows[0].state, FlowState::Attempted);
    assert_eq!((flows[0].bytes_acked, flows[0].rtt_us), (Some(0), None));
}

#[test]
fn without_its_end_a_flow_has_no_totals() {
    let (flows, closes) = flows(|witness| witness.see(&packet(0, APP, Kind::Syn)));
    let [flow] = flows.try_into().unwrap();
    assert_eq!((flow.bytes_acked, flow.bytes_received), (None, None));
    assert_eq!((flow.socket_closed, flow.rtt_basis), (None, None));
    assert_eq!(closes, None, "not 0: nothing was told");
}

#[test]
fn no_round_trip_for_a_repeated_or_unseen_syn() {
    for kinds in [&[Kind::Syn, Kind::Syn][..], &[Kind::Ack]] {
        let (flows, _) = flows(|witness| {
            for (kind, millis) in kinds.iter().zip([0, 1000]) {
                witness.see(&packet(millis, APP, *kind));
            }
            witness.hear(&Event::SocketClosed(closed(2000, 102)));
        });
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].bytes_acked, Some(102));
        assert_eq!(
            (flows[0].rtt_us, flows[0].rtt_basis),
            (None, None),
            "{kinds:?}"
        );
    }
}

#[test]
fn an_end_long_before_the_flow_began_is_not_its_own() {
    let told = |millis| {
        flows(|witness| {
            witness.see(&packet(1000, APP, Kind::Syn));
            witness.hear(&Event::SocketClosed(closed(millis, 102)));
        })
    };
    let (flows, closes) = told(890);
    assert_eq!(
        (flows[0].bytes_acked, flows[0].state),
        (None, FlowState::Attempted)
    );
    assert_eq!(closes.unwrap(), booked(0, 1));
    // Its first packet was stamped when it was received: a short flow is over by then.
    let (flows, closes) = told(980);
    assert_eq!(
        (flows[0].bytes_acked, closes.unwrap()),
        (Some(102), booked(1, 0))
    );
}

#[test]
fn an_end_of_no_known_flow_is_counted() {
    let (flows, closes) = flows(|witness| {
        witness.hear(&Event::SocketClosed(closed(50, 102)));
        witness.see(&packet(60, APP, Kind::Syn));
        witness.finish();
        witness.hear(&Event::SocketClosed(closed(70, 102)));
    });
    assert_eq!(flows[0].bytes_acked, None);
    assert_eq!(closes.unwrap(), booked(0, 2));
}

#[test]
fn after_its_end_the_same_ports_are_another_flow() {
    // Nobody answered the first, so that without its end the second SYN would be its repetition.
    let (flows, closes) = flows(|witness| {
        witness.see(&packet(0, APP, Kind::Syn));
        witness.hear(&Event::SocketClosed(closed(50, 0)));
        let mut again = packet(60, APP, Kind::Syn);
        again.bytes[24..28].copy_from_slice(&77_u32.to_be_bytes());
        witness.see(&again);
        witness.hear(&Event::SocketClosed(closed(90, 31)));
    });
    let acked: Vec<Option<u64>> = flows.iter().map(|flow| flow.bytes_acked).collect();
    assert_eq!(acked, [Some(0), Some(31)]);
    assert_eq!(closes.unwrap(), booked(2, 0));
}

#[test]
fn ends_on_reused_ports_that_could_be_either_s_are_nobody_s() {
    let reuse = |ends: &[i64]| {
        flows(|witness| {
            witness.see(&packet(0, APP, Kind::Syn));
            witness.see(&packet(100, OTHER_APP, Kind::Syn));
            for (end, bytes) in ends.iter().zip([11, 22]) {
                witness.hear(&Event::SocketClosed(closed(*end, bytes)));
            }
        })
    };
    let acked = |flows: &[Flow]| -> Vec<Option<u64>> {
        flows.iter().map(|flow| flow.bytes_acked).collect()
    };
    // Told after the second began: it may be the first one's, told late.
    let (flows, closes) = reuse(&[110]);
    assert_eq!(
        (acked(&flows), closes.unwrap()),
        (vec![None, None], booked(0, 1))
    );
    // The next one can only be the second's.
    let (flows, closes) = reuse(&[110, 150]);
    assert_eq!(
        (acked(&flows), closes.unwrap()),
        (vec![None, Some(22)], booked(1, 1))
    );
    // The first one's, held back behind the second's packets: told before the second began.
    let (flows, closes) = reuse(&[90, 150]);
    assert_eq!(
        (acked(&flows), closes.unwrap()),
        (vec![None, Some(22)], booked(1, 1))
    );
}

#[test]
fn a_datagram_socket_has_an_end_and_no_totals() {
    let (flows, _) = flows(|witness| {
        witness.see(&udp(0, APP, PORT, SERVER, false, b"question"));
        witness.hear(&Event::SocketClosed(SocketClosed {
            proto: SocketProto::Udp,
            bytes_acked: None,
            bytes_received: None,
            min_rtt_us: None,
            ..closed(50, 0)
        }));
    });
    let [flow] = flows.try_into().unwrap();
    assert_eq!((flow.socket_closed, flow.bytes_acked), (Some(at(50)), None));
    assert_eq!(flow.state, FlowState::Attempted, "an end confirms nothing");
}
