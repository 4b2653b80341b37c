//! IP and transport headers of the outermost packet.
//!
//! In: a [`Network`]: bytes from the IP header on. Out: a [`View`]. Headers are sliced by
//! etherparse; lengths are those that the headers state, so that a truncated capture counts
//! right, and where the capture ends within a transport header, what is there is kept.

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, TcpHeaderSlice, UdpHeaderSlice,
    err::{ip_auth, ipv4, ipv6, tcp},
    ip_number,
};

use super::{
    Addresses, Icmp, Tcp, Transport, Udp, Unparsed, View,
    link::{Network, Version},
};

/// IPv6 extension headers that are followed; more is [`Unparsed::IpMalformed`] (RFC 8200 defines
/// an order of seven).
const EXTENSIONS_MAX: usize = 16;
/// Bytes of a TCP header up to and including its flags.
const TCP_FLAGS_END: usize = 14;
/// Bytes of an ICMP header, both versions.
const ICMP_HEADER_LEN: usize = 8;

/// The IP layer as read: what the transport layer is told.
#[derive(Debug, Clone, Copy)]
struct Ip<'a> {
    addresses: Addresses,
    total_len: u32,
    protocol: u8,
    /// Identification and whether the first bytes of the payload are missing.
    fragment: Option<(u32, bool)>,
    /// Captured bytes behind the IP headers, without link padding.
    bytes: &'a [u8],
    /// Bytes behind the IP headers on the wire.
    wire_len: u32,
    /// Offset of `bytes` in the packet's data.
    offset: usize,
}

/// Dissects from the IP header on.
pub(super) fn dissect(network: Network<'_>) -> Result<View<'_>, Unparsed> {
    let nibble = network.bytes.first().ok_or(Unparsed::IpTruncated)? >> 4;
    let ip = match (network.version, nibble) {
        (Version::V4 | Version::Nibble, 4) => v4(network)?,
        (Version::V6 | Version::Nibble, 6) => v6(network)?,
        (Version::Nibble, _) => return Err(Unparsed::NotIp),
        _ => return Err(Unparsed::IpMalformed),
    };
    let (transport, header_len) = transport(&ip)?;
    Ok(View {
        addresses: ip.addresses,
        ip_len: ip.total_len,
        protocol: ip.protocol,
        transport,
        fragment_id: ip.fragment.map(|(id, _)| id),
        headers_len: ip.offset + header_len,
    })
}

#[inline]
fn v4(network: Network<'_>) -> Result<Ip<'_>, Unparsed> {
    let header = Ipv4HeaderSlice::from_slice(network.bytes).map_err(|error| match error {
        ipv4::HeaderSliceError::Len(_) => Unparsed::IpTruncated,
        ipv4::HeaderSliceError::Content(_) => Unparsed::IpMalformed,
    })?;
    let header_len = header.slice().len();
    let ip_len = match header.total_len() {
        // A segmentation offload packet of more than 64 KiB, or one seen before the length is set.
        0 => network.wire_len.max(len_u32(network.bytes)),
        stated => u32::from(stated),
    };
    let mut ip = Ip {
        addresses: Addresses::v4(header.source(), header.destination()),
        total_len: ip_len,
        protocol: header.protocol().0,
        fragment: header.is_fragmenting_payload().then(|| {
            let later = header.fragments_offset().value() != 0;
            (u32::from(header.identification()), later)
        }),
        bytes: network.bytes,
        wire_len: ip_len,
        offset: network.offset,
    };
    cut(&mut ip, ip_len);
    advance(&mut ip, header_len)?;
    let later_fragment = matches!(ip.fragment, Some((_, true)));
    if ip.protocol == ip_number::AUTH.0 && !later_fragment {
        ip.protocol = authentication(&mut ip)?;
    }
    Ok(ip)
}

#[inline]
fn v6(network: Network<'_>) -> Result<Ip<'_>, Unparsed> {
    let header = Ipv6HeaderSlice::from_slice(network.bytes).map_err(|error| match error {
        ipv6::HeaderSliceError::Len(_) => Unparsed::IpTruncated,
        ipv6::HeaderSliceError::Content(_) => Unparsed::IpMalformed,
    })?;
    let header_len = header.slice().len();
    let ip_len = match header.payload_length() {
        // A jumbogram (RFC 2675) or a segmentation offload packet of more than 64 KiB.
        0 if header.next_header() != ip_number::IPV6_NO_NEXT_HEADER => {
            network.wire_len.max(len_u32(network.bytes))
        }
        stated => u32::from(stated) + 40,
    };
    let mut ip = Ip {
        addresses: Addresses::v6(header.source(), header.destination()),
        total_len: ip_len,
        protocol: header.next_header().0,
        fragment: None,
        bytes: network.bytes,
        wire_len: ip_len,
        offset: network.offset,
    };
    cut(&mut ip, ip_len);
    advance(&mut ip, header_len)?;
    extensions(&mut ip)?;
    Ok(ip)
}

/// Walks the extension headers; stops at a fragment that is not the first, since what follows
/// there is no header.
fn extensions(ip: &mut Ip<'_>) -> Result<(), Unparsed> {
    for _ in 0..EXTENSIONS_MAX {
        match etherparse::IpNumber(ip.protocol) {
            ip_number::IPV6_FRAG => {
                let header = Ipv6FragmentHeaderSlice::from_slice(ip.bytes)
                    .map_err(|_| short(ip, 8, Unparsed::IpTruncated, Unparsed::IpMalformed))?;
                ip.protocol = header.next_header().0;
                if header.is_fragmenting_payload() {
                    let later = header.fragment_offset().value() != 0;
                    ip.fragment = Some((header.identification(), later));
                }
                advance(ip, header.slice().len())?;
                if matches!(ip.fragment, Some((_, true))) {
                    return Ok(());
                }
            }
            ip_number::AUTH => ip.protocol = authentication(ip)?,
            number if Ipv6RawExtHeaderSlice::header_type_supported(number) => {
                let header = Ipv6RawExtHeaderSlice::from_slice(ip.bytes).map_err(|error| {
                    let needed = error.required_len;
                    short(ip, needed, Unparsed::IpTruncated, Unparsed::IpMalformed)
                })?;
                ip.protocol = header.next_header().0;
                advance(ip, header.slice().len())?;
            }
            _ => return Ok(()),
        }
    }
    Err(Unparsed::IpMalformed)
}

/// Passes an authentication header (RFC 4302); returns the protocol behind it.
fn authentication(ip: &mut Ip<'_>) -> Result<u8, Unparsed> {
    let header = IpAuthHeaderSlice::from_slice(ip.bytes).map_err(|error| match error {
        ip_auth::HeaderSliceError::Len(len) => {
            let needed = len.required_len;
            short(ip, needed, Unparsed::IpTruncated, Unparsed::IpMalformed)
        }
        ip_auth::HeaderSliceError::Content(_) => Unparsed::IpMalformed,
    })?;
    let next = header.next_header().0;
    advance(ip, header.slice().len())?;
    Ok(next)
}

/// Takes off what is not of the IP packet: link padding and trailers.
#[inline]
fn cut(ip: &mut Ip<'_>, ip_len: u32) {
    let end = usize::try_from(ip_len).unwrap_or(usize::MAX);
    ip.bytes = ip.bytes.get(..end).unwrap_or(ip.bytes);
}

/// Passes a header of `len` bytes.
#[inline]
fn advance(ip: &mut Ip<'_>, len: usize) -> Result<(), Unparsed> {
    let len_on_wire = u32::try_from(len).map_err(|_| Unparsed::IpMalformed)?;
    ip.wire_len = ip
        .wire_len
        .checked_sub(len_on_wire)
        .ok_or(Unparsed::IpMalformed)?;
    ip.bytes = ip.bytes.get(len..).ok_or(Unparsed::IpTruncated)?;
    ip.offset += len;
    Ok(())
}

/// A header of `needed` bytes is not there: the capture's fault if the wire had it.
fn short(ip: &Ip<'_>, needed: usize, truncated: Unparsed, malformed: Unparsed) -> Unparsed {
    if usize::try_from(ip.wire_len).is_ok_and(|wire_len| wire_len >= needed) {
        truncated
    } else {
        malformed
    }
}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The transport header and its captured length.
#[inline]
fn transport<'a>(ip: &Ip<'a>) -> Result<(Transport<'a>, usize), Unparsed> {
    if let Some((id, true)) = ip.fragment {
        return Ok((Transport::Fragment { id }, 0));
    }
    match etherparse::IpNumber(ip.protocol) {
        ip_number::TCP => tcp(ip),
        ip_number::UDP => udp(ip),
        ip_number::ICMP if !ip.addresses.is_v6() => icmp(ip),
        ip_number::IPV6_ICMP if ip.addresses.is_v6() => icmp(ip),
        _ => Ok((Transport::Other, 0)),
    }
}

fn transport_short(ip: &Ip<'_>, needed: usize) -> Unparsed {
    short(
        ip,
        needed,
        Unparsed::TransportTruncated,
        Unparsed::TransportMalformed,
    )
}

#[inline]
fn tcp<'a>(ip: &Ip<'a>) -> Result<(Transport<'a>, usize), Unparsed> {
    let header = match TcpHeaderSlice::from_slice(ip.bytes) {
        Ok(header) => header,
        Err(tcp::HeaderSliceError::Content(_)) => return Err(Unparsed::TransportMalformed),
        Err(tcp::HeaderSliceError::Len(len)) => return tcp_cut(ip, len.required_len),
    };
    let header_len = header.slice().len();
    let tcp = Tcp {
        sport: header.source_port(),
        dport: header.destination_port(),
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        syn: header.syn(),
        ack_flag: header.ack(),
        fin: header.fin(),
        rst: header.rst(),
        payload_len: ip.wire_len.saturating_sub(len_u32(header.slice())),
        payload: ip.bytes.get(header_len..).unwrap_or_default(),
    };
    Ok((Transport::Tcp(tcp), header_len))
}

/// A TCP header that the capture or the first fragment cut off behind its flags.
fn tcp_cut<'a>(ip: &Ip<'a>, needed: usize) -> Result<(Transport<'a>, usize), Unparsed> {
    let reason = transport_short(ip, needed);
    if reason == Unparsed::TransportMalformed && ip.fragment.is_none() {
        return Err(reason);
    }
    let Some(
        &[
            s0,
            s1,
            d0,
            d1,
            q0,
            q1,
            q2,
            q3,
            a0,
            a1,
            a2,
            a3,
            offset,
            flags,
        ],
    ) = ip.bytes.first_chunk::<TCP_FLAGS_END>()
    else {
        return Err(reason);
    };
    let header_len = u32::from(offset >> 4) * 4;
    if header_len < 20 {
        return Err(Unparsed::TransportMalformed);
    }
    let tcp = Tcp {
        sport: u16::from_be_bytes([s0, s1]),
        dport: u16::from_be_bytes([d0, d1]),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        syn: flags & 0x02 != 0,
        ack_flag: flags & 0x10 != 0,
        fin: flags & 0x01 != 0,
        rst: flags & 0x04 != 0,
        payload_len: ip.wire_len.saturating_sub(header_len),
        payload: &[],
    };
    Ok((Transport::Tcp(tcp), ip.bytes.len()))
}

#[inline]
fn udp<'a>(ip: &Ip<'a>) -> Result<(Transport<'a>, usize), Unparsed> {
    let Ok(header) = UdpHeaderSlice::from_slice(ip.bytes) else {
        return udp_cut(ip);
    };
    let behind = ip.wire_len.saturating_sub(8);
    let payload_len = match header.length() {
        // Length 0: a jumbogram or an offload packet; the IP length counts (RFC 2675).
        0 => behind,
        1..=7 => return Err(Unparsed::TransportMalformed),
        stated => behind.min(u32::from(stated) - 8),
    };
    let captured = ip.bytes.get(8..).unwrap_or_default();
    let end = usize::try_from(payload_len).unwrap_or(usize::MAX);
    let udp = Udp {
        sport: header.source_port(),
        dport: header.destination_port(),
        payload_len,
        payload: captured.get(..end).unwrap_or(captured),
    };
    Ok((Transport::Udp(udp), 8))
}

/// A UDP header that the capture cut off behind its ports.
fn udp_cut<'a>(ip: &Ip<'a>) -> Result<(Transport<'a>, usize), Unparsed> {
    let reason = transport_short(ip, 8);
    match (reason, ip.bytes.first_chunk::<4>()) {
        (Unparsed::TransportTruncated, Some(&[s0, s1, d0, d1])) => {
            let udp = Udp {
                sport: u16::from_be_bytes([s0, s1]),
                dport: u16::from_be_bytes([d0, d1]),
                payload_len: ip.wire_len.saturating_sub(8),
                payload: &[],
            };
            Ok((Transport::Udp(udp), ip.bytes.len()))
        }
        _ => Err(reason),
    }
}

fn icmp<'a>(ip: &Ip<'a>) -> Result<(Transport<'a>, usize), Unparsed> {
    let Some(&[kind, code]) = ip.bytes.first_chunk::<2>() else {
        return Err(transport_short(ip, 2));
    };
    let error = if ip.addresses.is_v6() {
        // RFC 4443: types below 128 are error messages.
        kind < 128
    } else {
        // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    };
    let icmp = Icmp { kind, code, error };
    Ok((Transport::Icmp(icmp), ip.bytes.len().min(ICMP_HEADER_LEN)))
}
