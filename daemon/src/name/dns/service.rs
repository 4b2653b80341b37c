//! Service bindings: what an HTTPS or SVCB record offers beside an address (RFC 9460).
//!
//! In: the data of a record. Out: a [`Service`], or none where it contradicts itself: a client must
//! not use such a record, so that nothing follows from it.

use std::{net::IpAddr, sync::Arc};

use super::{NAME_BYTES_MAX, Reader, Short, WireName, read_text, text};

/// Address hints kept of a record; those beyond are dropped, and [`Service::damaged`] says so.
pub const HINTS_MAX: usize = 32;
/// Names kept under which a record offers encrypted hellos; likewise.
pub const ECH_NAMES_MAX: usize = 8;

/// Parameters that are read (IANA, service parameter keys).
mod key {
    pub const IPV4_HINT: u16 = 4;
    pub const ECH: u16 = 5;
    pub const IPV6_HINT: u16 = 6;
}

/// Version of the one kind of configuration that is read (RFC 9849 section 4).
const ECH_VERSION: u16 = 0xfe0d;

/// What a service binding says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// 0 for an alias, else the rank among several.
    pub priority: u16,
    /// Name of the server that serves; `.` for the owner of the record.
    pub target: Arc<str>,
    /// Whether it offers encrypted hellos (ECH).
    pub ech: bool,
    /// The names that cover an encrypted hello: what a client then says in clear.
    pub ech_names: Vec<Arc<str>>,
    /// Addresses that the server may have.
    pub hints: Vec<IpAddr>,
    /// Part of it could not be read, or found no room.
    pub damaged: bool,
}

/// A record that contradicts itself.
pub(super) struct Malformed;

impl From<Short> for Malformed {
    fn from(_: Short) -> Self {
        Self
    }
}

/// Reads a record's data. Its target is never compressed (RFC 9460 section 2.2), so that the data
/// stands alone.
pub(super) fn read(data: &[u8]) -> Result<Service, Malformed> {
    let mut reader = Reader::new(data);
    let priority = reader.u16()?;
    let (name, target) = read_text(data, &mut reader).map_err(|_| Malformed)?;
    if !is_plain(name, &reader, data) {
        return Err(Malformed);
    }
    let mut service = Service {
        priority,
        target,
        ..Service::default()
    };
    let mut last = None;
    while !reader.is_empty() {
        let kind = reader.u16()?;
        let value = reader.vector16()?;
        if last.is_some_and(|last| kind <= last) {
            return Err(Malformed);
        }
        last = Some(kind);
        // An alias has no parameters that count (RFC 9460 section 2.4.2).
        if priority > 0 {
            read_parameter(kind, value, &mut service)?;
        }
    }
    Ok(service)
}

/// Whether a name was written out where it stands, without pointers.
fn is_plain(name: WireName<'_>, reader: &Reader<'_>, data: &[u8]) -> bool {
    let end = name.start + name.len;
    end == reader.offset() && end <= data.len() && name.len <= NAME_BYTES_MAX
}

fn read_parameter(kind: u16, value: &[u8], service: &mut Service) -> Result<(), Malformed> {
    match kind {
        key::IPV4_HINT => hints::<4>(value, service),
        key::IPV6_HINT => hints::<16>(value, service),
        key::ECH => {
            service.ech = true;
            service.damaged |= read_configurations(value, &mut service.ech_names).is_err();
            Ok(())
        }
        _ => Ok(()),
    }
}

fn hints<const LEN: usize>(value: &[u8], service: &mut Service) -> Result<(), Malformed>
where
    IpAddr: From<[u8; LEN]>,
{
    let (addresses, rest) = value.as_chunks::<LEN>();
    if addresses.is_empty() || !rest.is_empty() {
        return Err(Malformed);
    }
    for octets in addresses {
        if service.hints.len() == HINTS_MAX {
            service.damaged = true;
            break;
        }
        service.hints.push(IpAddr::from(*octets));
    }
    Ok(())
}

/// A list of configurations (RFC 9849 section 4); of each, the name that covers it.
fn read_configurations(value: &[u8], names: &mut Vec<Arc<str>>) -> Result<(), Malformed> {
    let mut outer = Reader::new(value);
    let mut list = Reader::new(outer.vector16()?);
    while !list.is_empty() {
        let version = list.u16()?;
        let contents = list.vector16()?;
        if version != ECH_VERSION {
            continue;
        }
        if names.len() == ECH_NAMES_MAX {
            return Err(Malformed);
        }
        names.push(public_name(contents)?);
    }
    if outer.is_empty() {
        Ok(())
    } else {
        Err(Malformed)
    }
}

fn public_name(contents: &[u8]) -> Result<Arc<str>, Malformed> {
    let mut reader = Reader::new(contents);
    // Identifier, key encapsulation, public key, cipher suites, longest name.
    reader.take(3)?;
    reader.vector16()?;
    reader.vector16()?;
    reader.take(1)?;
    text::host_name(reader.vector8()?).ok_or(Malformed)
}
