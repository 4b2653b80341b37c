//! Asks the kernel for its network interfaces, and hears of their changes (`rtnetlink(7)`).
//!
//! In: datagrams of `NETLINK_ROUTE`. Out: the few values of each message that say by which way a
//! packet leaves. Attributes that are not needed are passed over unread, so that what a vendor's
//! kernel puts there costs nothing; `docs/decisions/0140-rtnetlink-values-by-hand.md` has the why.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddr, protocols::NETLINK_ROUTE};
use rustix::{
    io::Errno,
    net::{RecvFlags, sockopt},
};

/// Datagrams of one answer that are read at most.
const ANSWER_DATAGRAMS_MAX: usize = 4096;
/// The kernel sends dumps in datagrams of up to 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// How long an answer may take; the kernel answers within the request's own system call.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest name of an interface or of a kind of link that is taken, in bytes (`IFNAMSIZ` is 16).
const NAME_BYTES_MAX: usize = 64;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

/// Lengths of `struct ifinfomsg`, `ifaddrmsg` and `rtmsg`.
const LINK_LEN: usize = 16;
const ADDRESS_LEN: usize = 8;
const ROUTE_LEN: usize = 12;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_STATS64: u16 = 23;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// Length of `struct rtnexthop`.
const NEXT_HOP_LEN: usize = 8;
/// Next hops of one route that are read at most.
const NEXT_HOPS_MAX: usize = 64;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;

/// The groups of a socket that hears of changes: links, addresses, routes (`RTMGRP_…`).
const GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;

/// Why the kernel could not be asked about its interfaces.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// A call failed.
    #[error("rtnetlink: {step}: {source}; interfaces and their changes are not known")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The answer did not end.
    #[error("rtnetlink: the kernel's answer did not end")]
    NoAnswer,
}

/// The kernel's counters of a link (`struct rtnl_link_stats64`, its first four values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkCount {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// What a message of a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Its name; empty where the message has none.
    pub name: String,
    /// Hardware type (`ARPHRD_…`).
    pub hardware_type: u16,
    /// How it was made (`tun`, `veth`).
    pub kind: Option<String>,
    /// Whether it is up.
    pub up: bool,
    /// Its counters.
    pub count: Option<LinkCount>,
}

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMessage {
    /// A link is there, as it says.
    Link(Link),
    /// A link is gone.
    LinkGone {
        /// Its index.
        index: u32,
    },
    /// An address is there, or gone.
    Address {
        /// Index of its link.
        index: u32,
        /// The address.
        addr: IpAddr,
        /// Length of its prefix, in bits.
        prefix_len: u8,
        /// Whether it is there.
        there: bool,
    },
    /// A default route is there, or gone.
    DefaultRoute {
        /// Indices of the links that it goes by.
        links: Vec<u32>,
        /// Whether it is one of IPv6.
        ipv6: bool,
        /// Whether it is there.
        there: bool,
    },
    /// A message of a kind that is not needed.
    Other,
}

impl NetlinkDeserializable for RouteMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match header.message_type {
            RTM_NEWLINK => link(payload),
            RTM_DELLINK => Ok(Self::LinkGone {
                index: native_u32(payload, 4).ok_or_else(|| short("a link"))?,
            }),
            RTM_NEWADDR | RTM_DELADDR => address(payload, header.message_type == RTM_NEWADDR),
            RTM_NEWROUTE | RTM_DELROUTE => route(payload, header.message_type == RTM_NEWROUTE),
            _ => Ok(Self::Other),
        }
    }
}

fn link(payload: &[u8]) -> Result<RouteMessage, DecodeError> {
    let family = payload.first().ok_or_else(|| short("a link"))?;
    if *family != 0 {
        // A bridge's port or the like: the same link told from another side, without its name.
        return Ok(RouteMessage::Other);
    }
    let (Some(hardware_type), Some(index), Some(flags)) = (
        native_u16(payload, 2),
        native_u32(payload, 4),
        native_u32(payload, 8),
    ) else {
        return Err(short("a link"));
    };
    let mut link = Link {
        index,
        name: String::new(),
        hardware_type,
        kind: None,
        up: flags & IFF_UP != 0,
        count: None,
    };
    for attribute in NlasIterator::new(payload.get(LINK_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            IFLA_IFNAME => link.name = text(attribute.value()),
            IFLA_LINKINFO => link.kind = info_kind(attribute.value()),
            IFLA_STATS64 => link.count = count(attribute.value()),
            _ => {}
        }
    }
    Ok(RouteMessage::Link(link))
}

fn info_kind(nested: &[u8]) -> Option<String> {
    NlasIterator::new(nested)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == IFLA_INFO_KIND)
        .map(|attribute| text(attribute.value()))
}

fn count(value: &[u8]) -> Option<LinkCount> {
    Some(LinkCount {
        rx_packets: native_u64(value, 0)?,
        tx_packets: native_u64(value, 8)?,
        rx_bytes: native_u64(value, 16)?,
        tx_bytes: native_u64(value, 24)?,
    })
}

fn address(payload: &[u8], there: bool) -> Result<RouteMessage, DecodeError> {
    let (Some(&[family, prefix_len]), Some(index)) =
        (payload.first_chunk::<2>(), native_u32(payload, 4))
    else {
        return Err(short("an address"));
    };
    let (mut own, mut peer) = (None, None);
    for attribute in NlasIterator::new(payload.get(ADDRESS_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            IFA_LOCAL => own = ip(family, attribute.value()),
            IFA_ADDRESS => peer = ip(family, attribute.value()),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end's.
    Ok(own
        .or(peer)
        .map_or(RouteMessage::Other, |addr| RouteMessage::Address {
            index,
            addr,
            prefix_len,
            there,
        }))
}

fn route(payload: &[u8], there: bool) -> Result<RouteMessage, DecodeError> {
    let (Some(&[family, prefix_len]), Some(kind), Some(flags)) = (
        payload.first_chunk::<2>(),
        payload.get(7),
        native_u32(payload, 8),
    ) else {
        return Err(short("a route"));
    };
    let wanted = prefix_len == 0 && *kind == RTN_UNICAST && flags & RTM_F_CLONED == 0;
    if !wanted || !matches!(family, AF_INET | AF_INET6) {
        return Ok(RouteMessage::Other);
    }
    let mut links = Vec::new();
    for attribute in NlasIterator::new(payload.get(ROUTE_LEN..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            RTA_OIF => links.extend(native_u32(attribute.value(), 0)),
            RTA_MULTIPATH => links.extend(next_hops(attribute.value())),
            _ => {}
        }
    }
    Ok(RouteMessage::DefaultRoute {
        links,
        ipv6: family == AF_INET6,
        there,
    })
}

/// Links of the next hops in an `RTA_MULTIPATH` (`struct rtnexthop`: length, …, index).
fn next_hops(mut rest: &[u8]) -> Vec<u32> {
    let mut links = Vec::new();
    while links.len() < NEXT_HOPS_MAX {
        let (Some(len), Some(index)) = (native_u16(rest, 0), native_u32(rest, 4)) else {
            break;
        };
        links.push(index);
        let step = usize::from(len).max(NEXT_HOP_LEN).next_multiple_of(4);
        rest = rest.get(step..).unwrap_or_default();
    }
    links
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        AF_INET6 => <[u8; 16]>::try_from(value)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// A text that ends with a zero byte; what is not printable ASCII becomes `?`, so that a name
/// steers no terminal.
fn text(value: &[u8]) -> String {
    value
        .iter()
        .take(NAME_BYTES_MAX)
        .take_while(|byte| **byte != 0)
        .map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '?',
        })
        .collect()
}

fn short(what: &str) -> DecodeError {
    DecodeError::from(format!("the message of {what} is too short"))
}

fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn native_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What a datagram says of interfaces, in its order; an error for each message that cannot be read.
pub fn changes(datagram: &[u8]) -> impl Iterator<Item = Result<RouteMessage, DecodeError>> {
    messages(datagram).filter_map(|message| match message.map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(message)) => Some(Ok(message)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// Reads the messages of a datagram in their order. One that cannot be read is an error of its own;
/// reading ends behind it when its length cannot be trusted.
fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteMessage>, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let says = native_u32(rest, 0)
            .and_then(|len| usize::try_from(len).ok())
            .and_then(|len| len.checked_next_multiple_of(4))
            .filter(|len| *len > 0)
            .unwrap_or(usize::MAX);
        let message = NetlinkMessage::<RouteMessage>::deserialize(rest);
        rest = rest.get(says..).unwrap_or_default();
        Some(message)
    })
}

/// A question for everything of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    /// Links with their counters.
    Links,
    /// Addresses.
    Addresses,
    /// Routes.
    Routes,
}

impl NetlinkSerializable for Dump {
    fn message_type(&self) -> u16 {
        match self {
            Self::Links => RTM_GETLINK,
            Self::Addresses => RTM_GETADDR,
            Self::Routes => RTM_GETROUTE,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Links => LINK_LEN,
            Self::Addresses => ADDRESS_LEN,
            Self::Routes => ROUTE_LEN,
        }
    }

    /// Everything of every family.
    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

/// What a look at the socket of changes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing waits.
    Nothing,
    /// A datagram of this length.
    Datagram(usize),
    /// Changes were lost (`ENOBUFS`): what is known is to be asked for anew.
    Overrun,
}

/// Two sockets of the network namespace in which they were opened: one that hears of changes, and
/// one for questions. Needs no privilege; an Android app may not bind it, root may.
pub struct RouteSocket {
    changes: Netlink,
    questions: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
}

impl RouteSocket {
    /// Opens both.
    pub fn open() -> Result<Self, RouteError> {
        let mut changes = Netlink::new(NETLINK_ROUTE).map_err(failed("open"))?;
        changes
            .bind(&NetlinkAddr::new(0, GROUPS))
            .map_err(failed("hear of changes"))?;
        let mut questions = Netlink::new(NETLINK_ROUTE).map_err(failed("open"))?;
        questions.bind_auto().map_err(failed("bind"))?;
        questions
            .connect(&NetlinkAddr::new(0, 0))
            .map_err(failed("connect"))?;
        sockopt::set_socket_timeout(&questions, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|errno| failed("set a timeout")(errno.into()))?;
        Ok(Self {
            changes,
            questions,
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            sequence: 0,
        })
    }

    /// Gives everything of a kind to `each`; says how many messages could not be read.
    pub fn dump(
        &mut self,
        dump: Dump,
        mut each: impl FnMut(RouteMessage),
    ) -> Result<u64, RouteError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(dump));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.questions.send(&bytes, 0).map_err(failed("ask"))?;
        let mut unread = 0;
        for _ in 0..ANSWER_DATAGRAMS_MAX {
            let Some(len) = receive(self.questions.as_fd(), &mut self.buffer, RecvFlags::empty())?
            else {
                return Err(RouteError::NoAnswer);
            };
            for message in messages(self.buffer.get(..len).unwrap_or_default()) {
                let Ok(message) = message else {
                    unread += 1;
                    continue;
                };
                if message.header.sequence_number != self.sequence {
                    // The late answer to a question that timed out.
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => each(inner),
                    NetlinkPayload::Done(_) => return Ok(unread),
                    NetlinkPayload::Error(error) => return Err(failed("ask")(error.to_io())),
                    _ => {}
                }
            }
        }
        Err(RouteError::NoAnswer)
    }

    /// Takes the next datagram of changes into `buffer`, without waiting.
    pub fn hear(&self, buffer: &mut [u8]) -> Result<Heard, RouteError> {
        match receive(self.changes.as_fd(), buffer, RecvFlags::DONTWAIT) {
            Ok(Some(len)) => Ok(Heard::Datagram(len)),
            Ok(None) => Ok(Heard::Nothing),
            Err(RouteError::Io { source, .. })
                if Errno::from_io_error(&source) == Some(Errno::NOBUFS) =>
            {
                Ok(Heard::Overrun)
            }
            Err(error) => Err(error),
        }
    }

    /// A buffer for [`RouteSocket::hear`].
    pub fn buffer() -> Vec<u8> {
        vec![0; DATAGRAM_BYTES_MAX]
    }
}

impl AsFd for RouteSocket {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}

/// None when nothing came in time.
fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> Result<Option<usize>, RouteError> {
    loop {
        return match rustix::net::recv(socket, &mut buffer[..], flags) {
            Ok((_, len)) => Ok(Some(len)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(failed("read")(errno.into())),
        };
    }
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> RouteError {
    move |source| RouteError::Io { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(body.len() + 16).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn only(datagram: &[u8]) -> RouteMessage {
        let mut all = messages(datagram);
        let message = all.next().unwrap().unwrap();
        assert!(all.next().is_none());
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => inner,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_tunnel_and_passes_over_the_rest() {
        let mut body = vec![0, 0];
        body.extend(0xfffe_u16.to_ne_bytes());
        body.extend(9_u32.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        body.extend([0xff; 4]);
        body.extend(attribute(IFLA_IFNAME, b"tun0\0"));
        body.extend(attribute(26, &[0xaa; 7]));
        body.extend(attribute(
            IFLA_LINKINFO,
            &attribute(IFLA_INFO_KIND, b"tun\0"),
        ));
        let stats: Vec<u8> = (1..=24_u64).flat_map(u64::to_ne_bytes).collect();
        body.extend(attribute(IFLA_STATS64, &stats));
        let link = Link {
            index: 9,
            name: "tun0".to_owned(),
            hardware_type: 0xfffe,
            kind: Some("tun".to_owned()),
            up: true,
            count: Some(LinkCount {
                rx_packets: 1,
                tx_packets: 2,
                rx_bytes: 3,
                tx_bytes: 4,
            }),
        };
        assert_eq!(only(&message(RTM_NEWLINK, &body)), RouteMessage::Link(link));
        assert_eq!(
            only(&message(RTM_DELLINK, &body)),
            RouteMessage::LinkGone { index: 9 }
        );
    }

    #[test]
    fn takes_the_own_end_of_a_point_to_point_link() {
        let mut body = vec![AF_INET, 32, 0, 0];
        body.extend(9_u32.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, &[192, 0, 0, 1]));
        body.extend(attribute(IFA_LOCAL, &[192, 0, 0, 4]));
        let expected = RouteMessage::Address {
            index: 9,
            addr: "192.0.0.4".parse().unwrap(),
            prefix_len: 32,
            there: true,
        };
        assert_eq!(only(&message(RTM_NEWADDR, &body)), expected);
    }

    #[test]
    fn reads_default_routes_of_one_and_several_links() {
        let mut body = vec![AF_INET6, 0, 0, 0, 254, 0, 0, RTN_UNICAST, 0, 0, 0, 0];
        body.extend(attribute(RTA_OIF, &7_u32.to_ne_bytes()));
        let expected = RouteMessage::DefaultRoute {
            links: vec![7],
            ipv6: true,
            there: false,
        };
        assert_eq!(only(&message(RTM_DELROUTE, &body)), expected);
        let hop = |index: u32| {
            let mut hop = 8_u16.to_ne_bytes().to_vec();
            hop.extend([0; 2]);
            hop.extend(index.to_ne_bytes());
            hop
        };
        let mut body = vec![AF_INET, 0, 0, 0, 254, 0, 0, RTN_UNICAST, 0, 0, 0, 0];
        body.extend(attribute(RTA_MULTIPATH, &[hop(3), hop(4)].concat()));
        let expected = RouteMessage::DefaultRoute {
            links: vec![3, 4],
            ipv6: false,
            there: true,
        };
        assert_eq!(only(&message(RTM_NEWROUTE, &body)), expected);
        // A route to a network is no default route.
        body[1] = 24;
        assert_eq!(only(&message(RTM_NEWROUTE, &body)), RouteMessage::Other);
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_the_next_is_read() {
        let mut datagram = message(RTM_NEWLINK, &[0; 6]);
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        datagram.extend(message(RTM_DELLINK, &[0; 8]));
        let read: Vec<bool> = messages(&datagram).map(|message| message.is_ok()).collect();
        assert_eq!(read, [false, true]);
    }

    #[test]
    fn asks_the_kernel_for_the_loopback() {
        let mut socket = RouteSocket::open().unwrap();
        let mut loopback = None;
        let unread = socket.dump(Dump::Links, |message| {
            if let RouteMessage::Link(link) = message
                && link.hardware_type == 772
            {
                loopback = Some(link);
            }
        });
        assert_eq!(unread.unwrap(), 0);
        let loopback = loopback.unwrap();
        assert_eq!((loopback.name.as_str(), loopback.index), ("lo", 1));
        assert!(loopback.count.is_some());
    }
}
