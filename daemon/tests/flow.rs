//! The flow table at its boundary: packets in, flows out, by the rules of `docs/flows.md`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use sakshi::{
    flow::{Counts, Ended, Flow, FlowState, FlowTable, FlowTimeouts, FrameRef, Observed, RttBasis},
    input::{LinkType, Packet, TimeBasis, Vantage},
    packet::{Addresses, Icmp, Tcp, Transport, Udp, View},
    time::Timestamp,
};

const PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const START_MS: i64 = 1_700_000_000_000;

/// A table under test, with a clock that the test moves.
struct Run {
    table: FlowTable<u32>,
    at_ms: i64,
    frame: u64,
    vantage: Vantage,
    basis: TimeBasis,
    uid: Option<u32>,
}

impl Run {
    fn new() -> Self {
        Self::with(FlowTable::new(Vec::new()))
    }

    fn with(table: FlowTable<u32>) -> Self {
        Self {
            table,
            at_ms: START_MS,
            frame: 0,
            vantage: Vantage::Both,
            basis: TimeBasis::File,
            uid: None,
        }
    }

    fn observe(&mut self, view: &View<'_>) -> Observed {
        self.frame += 1;
        let packet = Packet {
            at: Timestamp::from_micros(self.at_ms * 1000),
            time_basis: self.basis,
            link: LinkType::RawIp,
            vantage: self.vantage,
            uid: self.uid,
            interface: None,
            original_len: view.ip_len,
            source: 0,
            frame: self.frame,
            data: &[],
        };
        self.at_ms += 10;
        self.table.tick(packet.at);
        self.table.count(&packet, view)
    }

    fn ended(&mut self) -> Vec<Flow<u32>> {
        let mut flows = Vec::new();
        self.table.drain_ended(&mut flows);
        flows
    }

    fn finish(mut self) -> Vec<Flow<u32>> {
        let mut flows = self.ended();
        let (mut left, ids) = self.table.finish();
        flows.extend(ids.into_iter().filter_map(|id| left.end(id).cloned()));
        flows.sort_by_key(|flow| flow.id);
        flows
    }
}

fn addresses(src: IpAddr, dst: IpAddr) -> Addresses {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Addresses::v4(src.octets(), dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Addresses::v6(src.octets(), dst.octets()),
        _ => panic!("a packet has addresses of one family"),
    }
}

fn view(src: IpAddr, dst: IpAddr, protocol: u8, transport: Transport<'_>) -> View<'_> {
    View {
        addresses: addresses(src, dst),
        ip_len: 100,
        protocol,
        transport,
        fragment_id: None,
        headers_len: 0,
    }
}

/// A TCP packet of the phone (`out`) or the host, with flags as letters: S, A, F, R, P (payload).
fn tcp(out: bool, flags: &str, seq: u32, ack: u32) -> View<'static> {
    let (src, dst, sport, dport) = if out {
        (PHONE, HOST, 4000, 443)
    } else {
        (HOST, PHONE, 443, 4000)
    };
    let transport = Transport::Tcp(Tcp {
        sport,
        dport,
        seq,
        ack,
        syn: flags.contains('S'),
        ack_flag: flags.contains('A'),
        fin: flags.contains('F'),
        rst: flags.contains('R'),
        payload_len: u32::from(flags.contains('P')) * 50,
        payload: &[],
    });
    view(src, dst, 6, transport)
}

fn udp(src: IpAddr, dst: IpAddr, sport: u16, dport: u16) -> View<'static> {
    let transport = Transport::Udp(Udp {
        sport,
        dport,
        payload_len: 72,
        payload: &[],
    });
    view(src, dst, 17, transport)
}

fn handshake(run: &mut Run, seq: u32) {
    run.observe(&tcp(true, "S", seq, 0));
    run.observe(&tcp(false, "SA", 900, seq.wrapping_add(1)));
    run.observe(&tcp(true, "A", seq.wrapping_add(1), 901));
}

#[test]
fn a_connection_from_syn_to_fin_is_one_flow() {
    let mut run = Run::new();
    handshake(&mut run, u32::MAX);
    run.observe(&tcp(true, "AP", 1, 901));
    run.observe(&tcp(false, "AF", 901, 51));
    run.observe(&tcp(true, "AF", 51, 902));
    run.observe(&tcp(false, "A", 902, 52));
    let [flow] = run.finish().try_into().unwrap();
    assert_eq!(
        (flow.state, flow.ended),
        (FlowState::Closed, Some(Ended::Finished))
    );
    assert_eq!(
        (flow.tuple().local.addr, flow.tuple().remote.port),
        (PHONE, Some(443))
    );
    assert_eq!(
        flow.out,
        Counts {
            packets: 4,
            bytes: 400
        }
    );
    assert_eq!(
        flow.received(),
        Some(Counts {
            packets: 3,
            bytes: 300
        })
    );
    assert_eq!(flow.rtt(), Some((10_000, RttBasis::File)));
    assert!(flow.payload_out);
    assert_eq!(
        flow.frames().map(FrameRef::frame).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
}

#[test]
fn no_handshake_time_after_a_repeated_syn_or_from_times_of_receipt() {
    let mut run = Run::new();
    run.observe(&tcp(true, "S", 1, 0));
    handshake(&mut run, 1);
    assert_eq!(run.finish()[0].rtt(), None);
    let mut run = Run::new();
    run.basis = TimeBasis::Receive;
    handshake(&mut run, 1);
    assert_eq!(run.finish()[0].rtt(), None);
}

#[test]
fn a_new_syn_begins_a_flow_only_where_the_old_one_is_spent() {
    // Refused: the next attempt is another flow.
    let mut run = Run::new();
    run.observe(&tcp(true, "S", 1, 0));
    run.observe(&tcp(false, "RA", 0, 2));
    assert!(!run.observe(&tcp(true, "S", 1, 0)).is_new);
    assert!(run.observe(&tcp(true, "S", 77, 0)).is_new);
    assert_eq!(run.ended()[0].ended, Some(Ended::Replaced));
    // Answered with data: likewise. Unanswered: a new attempt of the same flow.
    let mut run = Run::new();
    run.observe(&tcp(true, "S", 1, 0));
    assert!(!run.observe(&tcp(true, "S", 77, 0)).is_new);
    handshake(&mut run, 77);
    run.observe(&tcp(true, "AP", 78, 901));
    assert!(run.observe(&tcp(true, "S", 5, 0)).is_new);
    assert_eq!(run.finish().len(), 2);
}

#[test]
fn another_owner_begins_another_flow() {
    let mut run = Run::new();
    run.vantage = Vantage::Output;
    let packet = udp(PHONE, HOST, 4000, 53);
    run.observe(&packet);
    run.uid = Some(10_001);
    assert!(!run.observe(&packet).is_new);
    run.uid = None;
    assert!(!run.observe(&packet).is_new);
    run.uid = Some(10_002);
    assert!(run.observe(&packet).is_new);
    let flows = run.finish();
    assert_eq!(
        flows.iter().map(|flow| flow.uid).collect::<Vec<_>>(),
        [Some(10_001), Some(10_002)]
    );
    assert_eq!(flows[0].out.packets, 3);
    assert_eq!(flows[0].received(), None);
}

#[test]
fn an_output_only_flow_is_answered_once_it_acknowledges() {
    let mut run = Run::new();
    run.vantage = Vantage::Output;
    let syn = run.observe(&tcp(true, "S", 1, 0)).flow;
    assert_eq!(run.table.get(syn).unwrap().state, FlowState::Attempted);
    run.observe(&tcp(true, "A", 2, 901));
    assert_eq!(run.table.get(syn).unwrap().state, FlowState::Answered);
}

#[test]
fn direction_is_by_vantage_then_address_then_syn_then_port_then_first_sender() {
    let reply = udp(HOST, PHONE, 53, 4000);
    let mut run = Run::new();
    assert!(!run.observe(&reply).outbound, "from a system port");
    let mut run = Run::new();
    assert!(run.observe(&udp(HOST, PHONE, 5300, 4000)).outbound);
    assert!(run.observe(&udp(HOST, PHONE, 123, 123)).outbound);
    let mut run = Run::with(FlowTable::new(vec![PHONE]));
    assert!(!run.observe(&reply).outbound);
    let mut run = Run::new();
    run.vantage = Vantage::Input;
    assert!(!run.observe(&reply).outbound);
    let mut run = Run::new();
    assert!(!run.observe(&tcp(false, "SA", 1, 1)).outbound);
    assert!(run.observe(&tcp(true, "A", 1, 1)).outbound);
}

#[test]
fn later_fragments_join_their_first() {
    let mut run = Run::new();
    let first = View {
        fragment_id: Some(9),
        ..udp(PHONE, HOST, 4000, 53)
    };
    let later = View {
        fragment_id: Some(9),
        ..view(PHONE, HOST, 17, Transport::Fragment { id: 9 })
    };
    let stray = View {
        fragment_id: Some(8),
        ..view(PHONE, HOST, 17, Transport::Fragment { id: 8 })
    };
    let flow = run.observe(&first).flow;
    assert_eq!(run.observe(&later).flow, flow);
    let other = run.observe(&stray).flow;
    assert_ne!(other, flow);
    assert_eq!(run.table.get(other).unwrap().tuple().local.port, None);
}

#[test]
fn icmp_flows_have_addresses_only() {
    let mut run = Run::new();
    let icmp = |kind| {
        Transport::Icmp(Icmp {
            kind,
            code: 0,
            error: false,
        })
    };
    let asked = run.observe(&view(PHONE, HOST, 1, icmp(8))).flow;
    assert_eq!(run.observe(&view(HOST, PHONE, 1, icmp(0))).flow, asked);
    assert_eq!(run.table.get(asked).unwrap().state, FlowState::Answered);
}

#[test]
fn idle_flows_end_and_ids_are_not_reused() {
    let mut run = Run::new();
    let first = run.observe(&udp(PHONE, HOST, 4000, 53)).flow;
    run.table.get_mut(first).unwrap().user = 5;
    let idle_s = i64::from(FlowTimeouts::default().udp_s);
    run.table
        .tick(Timestamp::from_micros((START_MS + idle_s * 1000) * 1000));
    assert_eq!(run.table.len(), 1);
    run.table.tick(Timestamp::from_micros(
        (START_MS + idle_s * 1000 + 1) * 1000,
    ));
    let [flow] = run.ended().try_into().unwrap();
    assert_eq!((flow.ended, flow.user), (Some(Ended::Idle), 5));
    let second = run.observe(&udp(PHONE, HOST, 4000, 53)).flow;
    assert_ne!(second, first);
    assert!(run.table.get(first).is_none());
    assert!(second.ordinal() > first.ordinal());
}

#[test]
fn a_clock_that_steps_back_neither_ends_flows_nor_keeps_them_for_ever() {
    let mut run = Run::new();
    run.observe(&udp(PHONE, HOST, 4000, 53));
    run.at_ms -= 3_600_000;
    assert!(!run.observe(&udp(PHONE, HOST, 4000, 53)).is_new);
    run.at_ms += 1_300_000;
    assert!(run.observe(&udp(PHONE, HOST, 4000, 53)).is_new);
}

#[test]
fn a_full_table_ends_the_idlest_flow_and_counts_it() {
    let mut run = Run::with(FlowTable::with_limits(
        Vec::new(),
        FlowTimeouts::default(),
        2,
    ));
    run.observe(&udp(PHONE, HOST, 1, 53));
    run.observe(&tcp(true, "S", 1, 0));
    run.observe(&udp(PHONE, HOST, 1, 53));
    run.observe(&udp(PHONE, HOST, 2, 53));
    let [flow] = run.ended().try_into().unwrap();
    assert_eq!(
        (flow.tuple().protocol, flow.ended),
        (6, Some(Ended::TableFull))
    );
    assert_eq!((run.table.len(), run.table.evicted()), (2, 1));
}

#[test]
fn a_socket_finds_its_flow_in_either_direction() {
    let mut run = Run::new();
    let flow = run.observe(&udp(PHONE, HOST, 4000, 53)).flow;
    let (local, remote) = (SocketAddr::new(PHONE, 4000), SocketAddr::new(HOST, 53));
    assert_eq!(run.table.find(17, local, remote), Some(flow));
    assert_eq!(run.table.find(17, remote, local), Some(flow));
    assert_eq!(run.table.find(6, local, remote), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_packet_is_in_exactly_one_flow(
        packets in prop::collection::vec(
            (0..4_u16, any::<bool>(), "[SAFRP]{0,3}", 0..3_u32, -100_000..2_000_000_i64,
             prop::option::of(0..2_u32)),
            1..120,
        ),
        flows_max in 1..6_usize,
    ) {
        let limits = FlowTimeouts::default();
        let mut run = Run::with(FlowTable::with_limits(Vec::new(), limits, flows_max));
        let count = packets.len() as u64;
        let mut fresh = 0;
        for (port, out, flags, seq, step_ms, uid) in packets {
            run.at_ms += step_ms;
            run.uid = uid;
            let mut view = tcp(out, &flags, seq, 0);
            if port > 0 {
                let host = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
                view = if out {
                    udp(PHONE, host, port, 53)
                } else {
                    udp(host, PHONE, 53, port)
                };
            }
            fresh += u64::from(run.observe(&view).is_new);
            prop_assert!(run.table.len() <= flows_max);
        }
        let flows = run.finish();
        let counted: u64 = flows.iter().map(|flow| flow.out.packets + flow.seen_in.packets).sum();
        prop_assert_eq!(counted, count);
        prop_assert_eq!(flows.len() as u64, fresh);
        prop_assert!(flows.is_sorted_by_key(|flow| flow.id));
    }
}
