//! Which packets the kernel hands over, as classic BPF programs (Linux `Documentation/networking/
//! filter.rst`; a packet begins with its IP header, since the socket is a cooked one).
//!
//! In: nothing. Out: [`Filter`]s to attach. They take what the chains of NFLOG take
//! ([`plan`](crate::capture::nflog::plan)), as far as a filter without memory can tell:
//!
//! - outbound everything of IP but what passes a loopback; whole on cleartext ports of TCP, else
//!   [`COPY_BYTES`];
//! - inbound what names and proves: source port 53, SYN+ACK, RST, FIN, ICMP errors, long headers of
//!   QUIC, all whole; and of other UDP the first bytes, of which the reader keeps a flow's first.
//!
//! Not as there: what a server sends on a TCP connection between SYN+ACK and FIN is not taken;
//! later fragments and packets with extension headers of IPv6 are taken outbound only, since they
//! are not put together here; a packet of somebody whom we route for is taken when it leaves.

use std::{io, os::fd::AsFd};

use socket2::{SockFilter, SockRef};

use crate::capture::nflog::plan::{CLEARTEXT_PORTS, COPY_BYTES};

/// Snap length that means: all of it.
const WHOLE: u32 = 0x0004_0000;
/// Bytes of a datagram that only counts as a reply: its headers and a little more.
const REPLY_BYTES: u32 = 128;
/// Bytes of a packet whose owner is asked for at once: its headers (60 of IPv4, 20 of TCP).
pub(super) const ENDS_BYTES: u16 = 96;
/// Instructions at most (`BPF_MAXINSNS` is 4096); jumps reach 255.
const INSTRUCTIONS_MAX: usize = 256;

// Instruction codes of `linux/filter.h`: class | size or operation | mode or source.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
/// Half word at X and an offset.
const LOAD_HALF_AT_X: u16 = 0x48;
/// Byte at X and an offset.
const LOAD_BYTE_AT_X: u16 = 0x50;
/// X becomes four times the low half of the byte: the length of an IPv4 header.
const LOAD_X_HEADER: u16 = 0xb1;
/// X becomes a number.
const LOAD_X: u16 = 0x01;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offset at which the kernel answers what no packet holds (`SKF_AD_OFF`).
const ANCILLARY: u32 = 0xffff_f000;
const PROTOCOL: u32 = ANCILLARY;
const PACKET_TYPE: u32 = ANCILLARY + 4;
const HARDWARE: u32 = ANCILLARY + 28;

const ARPHRD_LOOPBACK: u32 = 772;
const ETH_P_IP: u32 = 0x0800;
const ETH_P_IPV6: u32 = 0x86dd;
const PACKET_OTHERHOST: u32 = 3;
const PACKET_OUTGOING: u32 = 4;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
const FIN_RST: u32 = 0x05;
const SYN: u32 = 0x02;
const SYN_ACK: u32 = 0x12;
/// More than the offset 0 of an IPv4 fragment.
const FRAGMENT_OFFSET: u32 = 0x1fff;

/// A line of a program: an instruction, or a place to jump to.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// An operation and its operand.
    Do(u16, u32),
    /// A comparison with a number, and where to go when it holds and when not.
    If(u16, u32, &'static str, &'static str),
    /// A name for the line that follows.
    Here(&'static str),
}
use Line::{Do, Here, If};

/// A jump to the line that follows.
const ON: &str = "on";

/// A program to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Code, jump if true, jump if false, operand.
    instructions: Vec<(u16, u8, u8, u32)>,
}

impl Filter {
    /// What the ring takes.
    pub fn ring() -> io::Result<Self> {
        Self::assemble(&ring_lines())
    }

    /// What opens a flow: outgoing SYN and UDP, cut behind its ports.
    pub fn openings() -> io::Result<Self> {
        Self::assemble(&opening_lines())
    }

    /// Takes nothing.
    pub fn nothing() -> Self {
        Self {
            instructions: vec![(RETURN, 0, 0, 0)],
        }
    }

    /// Puts it in the place of the socket's filter.
    pub fn attach(&self, socket: &impl AsFd) -> io::Result<()> {
        let program: Vec<SockFilter> = self
            .instructions
            .iter()
            .map(|&(code, yes, no, operand)| SockFilter::new(code, yes, no, operand))
            .collect();
        SockRef::from(socket).attach_filter(&program)
    }

    fn assemble(lines: &[Line]) -> io::Result<Self> {
        let wrong =
            |name: &str| io::Error::other(format!("the packet filter jumps wrongly: {name}"));
        let at_most = |at: usize| at < INSTRUCTIONS_MAX;
        let mut places = Vec::new();
        let mut at = 0;
        for line in lines {
            match line {
                Here(name) => places.push((*name, at)),
                _ => at += 1,
            }
        }
        let mut instructions = Vec::with_capacity(at);
        for line in lines {
            let following = instructions.len() + 1;
            let jump = |name: &str| {
                if name == ON {
                    return Ok(0);
                }
                let place = places.iter().find(|(place, _)| *place == name);
                let forward = place.and_then(|(_, at)| at.checked_sub(following));
                forward
                    .and_then(|forward| u8::try_from(forward).ok())
                    .ok_or_else(|| wrong(name))
            };
            instructions.push(match *line {
                Here(_) => continue,
                Do(code, operand) => (code, 0, 0, operand),
                If(code, operand, yes, no) => (code, jump(yes)?, jump(no)?, operand),
            });
        }
        if !at_most(instructions.len()) {
            return Err(wrong("it is too long"));
        }
        Ok(Self { instructions })
    }
}

/// Whether every datagram from this port that [`Filter::ring`] takes is one that names or proves.
pub const fn takes_all_from(port: u16) -> bool {
    matches!(port, 53 | 443)
}

/// What both programs begin with: IP that passes no loopback.
fn family_lines() -> Vec<Line> {
    vec![
        Do(LOAD_WORD, HARDWARE),
        If(JUMP_EQUAL, ARPHRD_LOOPBACK, "nothing", ON),
        Do(LOAD_WORD, PROTOCOL),
        If(JUMP_EQUAL, ETH_P_IP, "v4", ON),
        If(JUMP_EQUAL, ETH_P_IPV6, "v6", "nothing"),
    ]
}

fn ring_lines() -> Vec<Line> {
    let mut lines = family_lines();
    lines.extend([
        Here("v4"),
        // The transport header is where X says; a later fragment has none.
        Do(LOAD_X_HEADER, 0),
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, PACKET_OUTGOING, "v4 out", ON),
        If(JUMP_EQUAL, PACKET_OTHERHOST, "nothing", ON),
        Do(LOAD_HALF, 6),
        If(JUMP_SET, FRAGMENT_OFFSET, "nothing", ON),
        Do(LOAD_BYTE, 9),
        If(JUMP_EQUAL, ICMP, "icmp", "in"),
        Here("icmp"),
        Do(LOAD_BYTE_AT_X, 0),
        // Unreachable, source quench, time exceeded, parameter problem (RFC 792).
        If(JUMP_EQUAL, 3, "whole", ON),
        If(JUMP_EQUAL, 4, "whole", ON),
        If(JUMP_EQUAL, 11, "whole", ON),
        If(JUMP_EQUAL, 12, "whole", "nothing"),
        Here("v4 out"),
        Do(LOAD_HALF, 6),
        If(JUMP_SET, FRAGMENT_OFFSET, "cut", ON),
        Do(LOAD_BYTE, 9),
        If(JUMP_EQUAL, TCP, "tcp out", "cut"),
        Here("v6"),
        Do(LOAD_X, 40),
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, PACKET_OUTGOING, "v6 out", ON),
        If(JUMP_EQUAL, PACKET_OTHERHOST, "nothing", ON),
        Do(LOAD_BYTE, 6),
        If(JUMP_EQUAL, ICMPV6, "icmpv6", "in"),
        Here("icmpv6"),
        Do(LOAD_BYTE_AT_X, 0),
        // Unreachable, too big, time exceeded, parameter problem (RFC 4443).
        If(JUMP_EQUAL, 1, "whole", ON),
        If(JUMP_EQUAL, 2, "whole", ON),
        If(JUMP_EQUAL, 3, "whole", ON),
        If(JUMP_EQUAL, 4, "whole", "nothing"),
        Here("v6 out"),
        Do(LOAD_BYTE, 6),
        If(JUMP_EQUAL, TCP, "tcp out", "cut"),
    ]);
    lines.extend(inbound_lines());
    lines.extend([Here("tcp out"), Do(LOAD_HALF_AT_X, 2)]);
    let ports = CLEARTEXT_PORTS
        .split(',')
        .filter_map(|port| port.parse().ok());
    lines.extend(ports.map(|port| If(JUMP_EQUAL, port, "whole", ON)));
    lines.extend([
        Here("cut"),
        Do(RETURN, COPY_BYTES),
        Here("whole"),
        Do(RETURN, WHOLE),
        Here("nothing"),
        Do(RETURN, 0),
    ]);
    lines
}

/// What of TCP and UDP that is received names or proves. A holds the protocol, X where its header is.
fn inbound_lines() -> Vec<Line> {
    vec![
        Here("in"),
        If(JUMP_EQUAL, UDP, "udp in", ON),
        If(JUMP_EQUAL, TCP, ON, "nothing"),
        Do(LOAD_HALF_AT_X, 0),
        If(JUMP_EQUAL, 53, "whole", ON),
        Do(LOAD_BYTE_AT_X, 13),
        If(JUMP_SET, FIN_RST, "whole", ON),
        Do(AND, SYN_ACK),
        If(JUMP_EQUAL, SYN_ACK, "whole", "nothing"),
        Here("udp in"),
        Do(LOAD_HALF_AT_X, 0),
        If(JUMP_EQUAL, 53, "whole", ON),
        If(JUMP_EQUAL, 443, ON, "reply"),
        // The first payload bit of a long header is 1 (RFC 9000, section 17.2).
        Do(LOAD_BYTE_AT_X, 8),
        If(JUMP_SET, 0x80, "whole", "nothing"),
        Here("reply"),
        Do(RETURN, REPLY_BYTES),
    ]
}

fn opening_lines() -> Vec<Line> {
    let mut lines = family_lines();
    lines.extend([
        Here("v4"),
        Do(LOAD_X_HEADER, 0),
        Do(LOAD_HALF, 6),
        If(JUMP_SET, FRAGMENT_OFFSET, "nothing", ON),
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, PACKET_OUTGOING, ON, "nothing"),
        Do(LOAD_BYTE, 9),
        If(JUMP_EQUAL, UDP, "ends", "tcp"),
        Here("v6"),
        Do(LOAD_X, 40),
        Do(LOAD_WORD, PACKET_TYPE),
        If(JUMP_EQUAL, PACKET_OUTGOING, ON, "nothing"),
        Do(LOAD_BYTE, 6),
        If(JUMP_EQUAL, UDP, "ends", "tcp"),
        // Here A holds the protocol.
        Here("tcp"),
        If(JUMP_EQUAL, TCP, ON, "nothing"),
        Do(LOAD_BYTE_AT_X, 13),
        Do(AND, SYN_ACK),
        If(JUMP_EQUAL, SYN, "ends", "nothing"),
        Here("ends"),
        Do(RETURN, u32::from(ENDS_BYTES)),
        Here("nothing"),
        Do(RETURN, 0),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, PacketBuilder, ip_number};

    use super::*;

    /// What surrounds a packet.
    #[derive(Clone, Copy)]
    struct Around {
        packet_type: u32,
        hardware: u32,
    }

    const OUT: Around = Around {
        packet_type: PACKET_OUTGOING,
        hardware: 1,
    };
    const IN: Around = Around {
        packet_type: 0,
        hardware: 1,
    };

    /// Runs a program as the kernel does (`net/core/filter.c`): a load beyond the end returns 0.
    fn run(filter: &Filter, packet: &[u8], around: Around) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
        let load = |offset: u32, len: usize| -> Option<u32> {
            match offset {
                PROTOCOL => {
                    return Some(if packet[0] >> 4 == 4 {
                        ETH_P_IP
                    } else {
                        ETH_P_IPV6
                    });
                }
                PACKET_TYPE => return Some(around.packet_type),
                HARDWARE => return Some(around.hardware),
                _ => {}
            }
            let start = offset as usize;
            let bytes = packet.get(start..start + len)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
            )
        };
        loop {
            let (code, yes, no, operand) = filter.instructions[at];
            at += 1;
            let loaded = match code {
                LOAD_WORD => load(operand, 4),
                LOAD_HALF => load(operand, 2),
                LOAD_BYTE => load(operand, 1),
                LOAD_HALF_AT_X => load(x + operand, 2),
                LOAD_BYTE_AT_X => load(x + operand, 1),
                LOAD_X_HEADER => {
                    x = 4 * u32::from(packet[operand as usize] & 0xf);
                    continue;
                }
                LOAD_X => {
                    x = operand;
                    continue;
                }
                AND => Some(a & operand),
                JUMP_EQUAL | JUMP_SET => {
                    let holds = if code == JUMP_EQUAL {
                        a == operand
                    } else {
                        a & operand != 0
                    };
                    at += usize::from(if holds { yes } else { no });
                    continue;
                }
                RETURN => return operand,
                other => panic!("unknown code {other:#x}"),
            };
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
        }
    }

    fn ip(v6: bool) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        if v6 {
            PacketBuilder::ipv6([1; 16], [2; 16], 64)
        } else {
            PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64)
        }
    }

    fn udp(v6: bool, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        ip(v6)
            .udp(sport, dport)
            .write(&mut packet, payload)
            .unwrap();
        packet
    }

    /// A segment with these flag bits in its header.
    fn tcp(v6: bool, sport: u16, dport: u16, flags: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        ip(v6)
            .tcp(sport, dport, 1, 1)
            .write(&mut packet, b"data")
            .unwrap();
        let header = if v6 { 40 } else { 20 };
        packet[header + 13] = flags;
        packet
    }

    #[test]
    fn outbound_takes_all_and_cleartext_whole() {
        let filter = Filter::ring().unwrap();
        for v6 in [false, true] {
            assert_eq!(run(&filter, &tcp(v6, 1, 80, 0x10), OUT), WHOLE);
            assert_eq!(run(&filter, &tcp(v6, 1, 8888, 0x10), OUT), WHOLE);
            assert_eq!(run(&filter, &tcp(v6, 80, 443, 0x10), OUT), COPY_BYTES);
            assert_eq!(run(&filter, &udp(v6, 1, 80, b""), OUT), COPY_BYTES);
            let mut other = Vec::new();
            let number = if v6 {
                ip_number::IPV6_ICMP
            } else {
                IpNumber(47)
            };
            ip(v6).write(&mut other, number, &[128, 0]).unwrap();
            assert_eq!(run(&filter, &other, OUT), COPY_BYTES);
        }
        let mut fragment = tcp(false, 1, 80, 0x10);
        fragment[7] = 1;
        assert_eq!(run(&filter, &fragment, OUT), COPY_BYTES);
    }

    #[test]
    fn inbound_takes_what_names_and_proves() {
        let filter = Filter::ring().unwrap();
        let seen = |packet: &[u8]| run(&filter, packet, IN);
        for v6 in [false, true] {
            assert_eq!(seen(&udp(v6, 53, 1, b"answer")), WHOLE);
            assert_eq!(seen(&tcp(v6, 53, 1, 0x10)), WHOLE);
            for (flags, expected) in [(0x12, WHOLE), (0x14, WHOLE), (0x11, WHOLE), (0x18, 0)] {
                assert_eq!(seen(&tcp(v6, 443, 1, flags)), expected, "{flags:#x}");
            }
            assert_eq!(seen(&tcp(v6, 443, 1, 0x02)), 0, "a connection to us");
            assert_eq!(seen(&udp(v6, 443, 1, &[0xc0; 9])), WHOLE);
            assert_eq!(seen(&udp(v6, 443, 1, &[0x40; 9])), 0);
            assert_eq!(seen(&udp(v6, 443, 1, b"")), 0);
            assert_eq!(seen(&udp(v6, 3478, 1, b"reply")), REPLY_BYTES);
        }
        let icmp = |v6: bool, kind: u8| {
            let mut packet = Vec::new();
            let number = if v6 {
                ip_number::IPV6_ICMP
            } else {
                ip_number::ICMP
            };
            ip(v6).write(&mut packet, number, &[kind, 0, 0, 0]).unwrap();
            run(&filter, &packet, IN)
        };
        for (v6, errors) in [(false, [3, 4, 11, 12]), (true, [1, 2, 3, 4])] {
            for kind in 0..=255 {
                let expected = if errors.contains(&kind) { WHOLE } else { 0 };
                assert_eq!(icmp(v6, kind), expected, "{v6} {kind}");
            }
        }
        let mut fragment = udp(false, 53, 1, b"answer");
        fragment[7] = 1;
        assert_eq!(seen(&fragment), 0);
    }

    #[test]
    fn options_of_ipv4_move_the_ports() {
        let filter = Filter::ring().unwrap();
        let mut packet = udp(false, 53, 1, b"answer");
        packet[0] = 0x46;
        packet.splice(20..20, [0; 4]);
        assert_eq!(run(&filter, &packet, IN), WHOLE);
    }

    #[test]
    fn loopback_and_other_hosts_packets_are_left_out() {
        let (ring, openings) = (Filter::ring().unwrap(), Filter::openings().unwrap());
        let packet = udp(false, 53, 53, b"x");
        let looped = Around {
            hardware: ARPHRD_LOOPBACK,
            ..OUT
        };
        let other = Around {
            packet_type: PACKET_OTHERHOST,
            ..IN
        };
        for filter in [&ring, &openings, &Filter::nothing()] {
            assert_eq!(run(filter, &packet, looped), 0);
            assert_eq!(run(filter, &packet, other), 0);
        }
    }

    #[test]
    fn openings_are_outgoing_syn_and_udp() {
        let filter = Filter::openings().unwrap();
        for v6 in [false, true] {
            assert_eq!(
                run(&filter, &udp(v6, 1, 2, b""), OUT),
                u32::from(ENDS_BYTES)
            );
            assert_eq!(
                run(&filter, &tcp(v6, 1, 2, 0x02), OUT),
                u32::from(ENDS_BYTES)
            );
            assert_eq!(run(&filter, &tcp(v6, 1, 2, 0x12), OUT), 0);
            assert_eq!(run(&filter, &tcp(v6, 1, 2, 0x10), OUT), 0);
            assert_eq!(run(&filter, &udp(v6, 1, 2, b""), IN), 0);
        }
    }

    #[test]
    fn a_jump_to_nowhere_or_back_is_refused() {
        assert!(Filter::assemble(&[If(JUMP_EQUAL, 1, "where", ON)]).is_err());
        let back = [Here("back"), Do(LOAD_X, 1), If(JUMP_EQUAL, 1, "back", ON)];
        assert!(Filter::assemble(&back).is_err());
    }
}
