//! A location file: from a [`Dataset`] to bytes.
//!
//! In: tables that the builder made. Out: the file in the layout of `docs/data.md`; the same
//! tables give the same bytes.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};

use super::{
    LocateError,
    dataset::{DATABASES_MAX, Dataset, Ranges, Source},
    format::{HEADER_LEN, MAGIC, NO_DIFFERENCE, PAYLOAD_MAX, PLAIN, VERSION, ZLIB},
    prefix::Prefix,
    steps::Address,
};

/// Writes a whole file, its payload [`PLAIN`] or [`ZLIB`].
pub fn encode(data: &Dataset, packing: u8) -> Result<Vec<u8>, LocateError> {
    let payload = payload(data)?;
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if len > PAYLOAD_MAX {
        return Err(LocateError::TooLong(len));
    }
    let mut file = Vec::with_capacity(HEADER_LEN);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.push(packing);
    file.extend_from_slice(&len.to_le_bytes());
    match packing {
        PLAIN => {
            let mut crc = Crc::new();
            crc.update(&payload);
            file.extend_from_slice(&crc.sum().to_le_bytes());
            file.extend_from_slice(&payload);
            Ok(file)
        }
        ZLIB => {
            let mut deflate = ZlibEncoder::new(file, Compression::best());
            deflate.write_all(&payload).map_err(LocateError::Inflate)?;
            deflate.finish().map_err(LocateError::Inflate)
        }
        _ => Err(LocateError::Unwritable("a packing that this layout has")),
    }
}

/// Writes what goes inside the packing.
pub fn payload(data: &Dataset) -> Result<Vec<u8>, LocateError> {
    let mut out = Vec::new();
    count(&mut out, data.sources.len());
    for entry in &data.sources {
        source(&mut out, entry)?;
    }
    count(&mut out, data.countries.len());
    for code in &data.countries {
        out.extend_from_slice(code);
    }
    count(&mut out, data.databases.len());
    for &database in &data.databases {
        varint(&mut out, database.into());
    }
    tables(&mut out, data)?;
    lists(&mut out, data)?;
    Ok(out)
}

/// Systems, rows and ranges.
fn tables(out: &mut Vec<u8>, data: &Dataset) -> Result<(), LocateError> {
    count(out, data.systems.count());
    for system in data.systems.iter() {
        varint(out, system.source.into());
        varint(out, system.number.into());
        out.extend_from_slice(&system.country);
        text(out, &system.name);
    }
    let votes = data.databases.len().min(DATABASES_MAX);
    count(out, data.rows.len());
    for row in &data.rows {
        out.extend_from_slice(row.votes.get(..votes).unwrap_or_default());
        varint(out, row.system.into());
    }
    ranges(out, &data.ipv4)?;
    ranges(out, &data.ipv6)
}

/// Providers' lists, organisations and names.
fn lists(out: &mut Vec<u8>, data: &Dataset) -> Result<(), LocateError> {
    count(out, data.lists.len());
    for list in &data.lists {
        varint(out, list.source.into());
        text(out, &list.key);
        text(out, &list.name);
        count(out, list.locations.len());
        for location in &list.locations {
            text(out, &location.region);
            text(out, &location.border_group);
            out.extend_from_slice(&location.country);
        }
        count(out, list.services.len());
        for name in &list.services {
            text(out, name);
        }
        let entries = list.prefixes.iter();
        prefixes(
            out,
            entries.map(|entry| (entry.prefix, entry.location, entry.services)),
        )?;
    }
    count(out, data.organisations.len());
    for organisation in &data.organisations {
        varint(out, organisation.source.into());
        text(out, &organisation.key);
        text(out, &organisation.name);
        text(out, &organisation.kind);
        text(out, &organisation.document);
    }
    let spread = data.spread.iter();
    prefixes(
        out,
        spread.map(|entry| (entry.prefix, entry.organisation, 0)),
    )?;
    count(out, data.domains.len());
    for list in &data.domains {
        varint(out, list.source.into());
        count(out, list.categories.len());
        for category in &list.categories {
            text(out, category);
        }
        count(out, list.domains.len());
        for (domain, category) in &list.domains {
            text(out, domain);
            varint(out, (*category).into());
        }
    }
    Ok(())
}

/// Unsigned LEB128.
fn varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn count(out: &mut Vec<u8>, value: usize) {
    varint(out, value as u128);
}

fn text(out: &mut Vec<u8>, value: &str) {
    count(out, value.len());
    out.extend_from_slice(value.as_bytes());
}

fn source(out: &mut Vec<u8>, source: &Source) -> Result<(), LocateError> {
    text(out, &source.name);
    text(out, &source.version);
    let seconds = source.published.as_nanos() / 1_000_000_000;
    varint(
        out,
        u128::try_from(seconds).map_err(|_| LocateError::Unwritable("a publication after 1970"))?,
    );
    text(out, &source.file);
    out.extend_from_slice(&bytes_of(&source.sha256)?);
    text(out, &source.url);
    text(out, &source.licence);
    text(out, &source.attribution);
    out.push(u8::from(source.passing));
    Ok(())
}

fn bytes_of(hex: &str) -> Result<[u8; 32], LocateError> {
    let bad = || LocateError::Unwritable("a SHA-256 of 64 hexadecimal digits");
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(bad());
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
    }
    Ok(bytes)
}

fn difference(shifts: &mut Vec<u8>, from: u128, to: u128) -> Result<Option<u128>, LocateError> {
    let value = to
        .checked_sub(from)
        .ok_or(LocateError::Unwritable("rising addresses"))?;
    if value == 0 {
        shifts.push(NO_DIFFERENCE);
        return Ok(None);
    }
    let shift = value.trailing_zeros();
    shifts.push(u8::try_from(shift).map_err(|_| LocateError::Unwritable("128-bit addresses"))?);
    Ok(Some((value >> shift) >> 1))
}

/// Writes the columns of a family.
pub(super) fn ranges<K: Address + Into<u128>>(
    out: &mut Vec<u8>,
    ranges: &Ranges<K>,
) -> Result<(), LocateError> {
    let many = ranges.steps.count();
    count(out, many);
    let mut shifts = Vec::with_capacity(many);
    let (mut odds, mut rows) = (Vec::new(), Vec::with_capacity(many));
    let mut last = 0;
    for (start, row) in ranges.iter() {
        let start = start.into();
        if let Some(odd) = difference(&mut shifts, last, start)? {
            varint(&mut odds, odd);
        }
        last = start;
        count(&mut rows, row);
    }
    out.extend_from_slice(&shifts);
    count(out, odds.len());
    out.extend_from_slice(&odds);
    count(out, rows.len());
    out.extend_from_slice(&rows);
    Ok(())
}

fn prefixes(
    out: &mut Vec<u8>,
    entries: impl ExactSizeIterator<Item = (Prefix, u16, u64)>,
) -> Result<(), LocateError> {
    count(out, entries.len());
    let mut last = 0;
    for (prefix, owner, flags) in entries {
        if let Some(odd) = difference(out, last, prefix.start())? {
            varint(out, odd);
        }
        last = prefix.start();
        out.push(prefix.bits());
        varint(out, u128::from(owner));
        varint(out, u128::from(flags));
    }
    Ok(())
}
