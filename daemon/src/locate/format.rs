//! A location file: from bytes to a [`Dataset`].
//!
//! In: bytes in the layout of `docs/data.md`. Out: the tables, or an error that says where and
//! what was expected. Every length and index is checked; no input makes it panic or allocate more
//! than [`PAYLOAD_MAX`] allows.

use std::io::ErrorKind;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{
    LocateError,
    dataset::{
        CloudPrefix, CountryCode, DATABASES_MAX, Dataset, DomainList, Location, NO_COUNTRY,
        Organisation, ProviderList, Row, SOURCES_MAX, Source, SpreadPrefix, Systems, SystemsRead,
    },
    prefix::Prefix,
    reader::Reader,
};
use crate::time::Timestamp;

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"SAKSHILO";
/// Layout that this code reads and writes.
pub const VERSION: u16 = 2;
/// Bytes before the payload: magic, version, how it is packed, payload length.
pub const HEADER_LEN: usize = 15;
/// Longest payload accepted, in bytes; a longer one is an error.
pub const PAYLOAD_MAX: u32 = 32 * 1024 * 1024;
/// The payload stands as it is, its CRC-32 (u32, little-endian) before it: quick to load.
pub const PLAIN: u8 = 0;
/// The payload is in zlib format: small.
pub const ZLIB: u8 = 1;
/// Most services of a cloud: a prefix has one bit for each.
pub const SERVICES_MAX: usize = 64;
/// Longest text accepted, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Stands for a difference of 0 where the number of trailing zero bits is written.
pub const NO_DIFFERENCE: u8 = 255;

/// Reads a whole file.
pub fn decode(file: &[u8]) -> Result<Dataset, LocateError> {
    let (header, packed) = file
        .split_at_checked(HEADER_LEN)
        .ok_or(LocateError::NotOurs)?;
    let mut header = Reader::new(header);
    if header.take(MAGIC.len())? != MAGIC {
        return Err(LocateError::NotOurs);
    }
    let version = u16::from_le_bytes(header.array()?);
    if version != VERSION {
        return Err(LocateError::Version(version));
    }
    let packing = header.byte()?;
    let len = u32::from_le_bytes(header.array()?);
    if len > PAYLOAD_MAX {
        return Err(LocateError::TooLong(len));
    }
    match packing {
        PLAIN => decode_payload(plain(packed, len)?),
        ZLIB => decode_payload(&inflate(packed, len, file.len())?),
        _ => Err(header.damaged("a packing that this layout has")),
    }
}

/// The payload as it stands, held against its CRC-32.
fn plain(packed: &[u8], len: u32) -> Result<&[u8], LocateError> {
    let (stated, payload) = packed.split_first_chunk().unwrap_or((&[0; 4], &[]));
    if u32::try_from(payload.len()) != Ok(len) {
        return Err(LocateError::Length {
            expected: len,
            found: payload.len(),
        });
    }
    let mut crc = Crc::new();
    crc.update(payload);
    if crc.sum() == u32::from_le_bytes(*stated) {
        Ok(payload)
    } else {
        Err(LocateError::Checksum)
    }
}

/// All at once into the space that is needed, which is quicker than bit by bit through a window.
fn inflate(packed: &[u8], len: u32, total: usize) -> Result<Vec<u8>, LocateError> {
    let expected = usize::try_from(len).unwrap_or(usize::MAX);
    let mut payload = Vec::with_capacity(expected.saturating_add(1));
    let mut inflate = Decompress::new(true);
    let status = inflate
        .decompress_vec(packed, &mut payload, FlushDecompress::Finish)
        .map_err(|error| LocateError::Inflate(error.into()))?;
    if status != Status::StreamEnd && payload.len() <= expected {
        return Err(LocateError::Inflate(ErrorKind::UnexpectedEof.into()));
    }
    if payload.len() != expected {
        return Err(LocateError::Length {
            expected: len,
            found: payload.len(),
        });
    }
    let read = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
    let rest = packed.len().saturating_sub(read);
    if rest != 0 {
        return Err(LocateError::Damaged {
            offset: total - rest,
            expected: "the end of the file",
        });
    }
    Ok(payload)
}

/// Reads what is inside the packing.
pub fn decode_payload(payload: &[u8]) -> Result<Dataset, LocateError> {
    let mut reader = Reader::new(payload);
    let sources = reader.list(Reader::source)?;
    if sources.len() > SOURCES_MAX {
        return Err(reader.damaged("at most 256 sources"));
    }
    let files = sources.len();
    let countries = reader.countries()?;
    let databases = reader.list(|reader| reader.index(files))?;
    if databases.len() > DATABASES_MAX {
        return Err(reader.damaged("at most 8 country databases"));
    }
    let systems = reader.systems(files)?;
    let rows = reader.rows(countries.len(), databases.len(), systems.count())?;
    let ipv4 = reader.ranges(rows.len())?;
    let ipv6 = reader.ranges(rows.len())?;
    let lists = reader.list(|reader| reader.provider_list(files))?;
    let organisations = reader.list(|reader| reader.organisation(files))?;
    let spread = reader.prefixes(organisations.len(), 0, |prefix, organisation, _| {
        SpreadPrefix {
            prefix,
            organisation,
        }
    })?;
    let domains = reader.list(|reader| reader.domain_list(files))?;
    if !reader.rest.is_empty() {
        return Err(reader.damaged("the end of the data"));
    }
    Ok(Dataset {
        sources,
        countries,
        databases,
        systems,
        rows,
        ipv4,
        ipv6,
        lists,
        organisations,
        spread,
        domains,
    })
}

impl Reader<'_> {
    fn source(&mut self) -> Result<Source, LocateError> {
        let name = self.text()?;
        let version = self.text()?;
        let seconds: i64 = self.number("a time in seconds")?;
        let nanos = seconds
            .checked_mul(1_000_000_000)
            .ok_or_else(|| self.damaged("a time before the year 2262"))?;
        Ok(Source {
            name,
            version,
            published: Timestamp::from_nanos(nanos),
            file: self.text()?,
            sha256: hex(self.array::<32>()?),
            url: self.text()?,
            licence: self.text()?,
            attribution: self.text()?,
            passing: self.byte()? != 0,
        })
    }

    /// The first one is none, whatever the sources are.
    fn systems(&mut self, sources: usize) -> Result<Systems, LocateError> {
        let count = self.count()?;
        let mut systems = SystemsRead::new(count.min(self.rest.len() / 5));
        for _ in 0..count {
            let source = self.index(sources.max(1))?;
            let number = self.number("a system's number")?;
            let country = self.country()?;
            systems.push(source, number, country, self.bytes()?);
        }
        let systems = systems.finish();
        systems.ok_or_else(|| self.damaged("names of systems in UTF-8 before this"))
    }

    fn rows(
        &mut self,
        countries: usize,
        databases: usize,
        systems: usize,
    ) -> Result<Vec<Row>, LocateError> {
        let count = self.count()?;
        let systems = u32::try_from(systems).unwrap_or(u32::MAX);
        let mut rows = Vec::with_capacity(count.min(self.rest.len() / (databases + 1)));
        let own: [u8; DATABASES_MAX] =
            std::array::from_fn(|at| if at < databases { u8::MAX } else { 0 });
        let own = u64::from_le_bytes(own);
        for _ in 0..count {
            let mut row = Row::default();
            if let Some(bytes) = self.rest.first_chunk() {
                row.votes = (u64::from_le_bytes(*bytes) & own).to_le_bytes();
                self.skip(databases);
            } else {
                let votes = row.votes.iter_mut();
                votes
                    .zip(self.take(databases)?)
                    .for_each(|(vote, &byte)| *vote = byte);
            }
            // Behind those of the databases stand zeros.
            let last = row.votes.iter().fold(0, |last, &vote| last.max(vote));
            if usize::from(last) >= countries {
                return Err(self.damaged("a row of countries in their list"));
            }
            row.system = self.below(systems)?;
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(self.damaged("a row"));
        }
        Ok(rows)
    }

    fn provider_list(&mut self, sources: usize) -> Result<ProviderList, LocateError> {
        let source = self.index(sources)?;
        let key = self.text()?;
        let name = self.text()?;
        let locations = self.list(Self::location)?;
        let services = self.list(Self::text)?;
        if services.len() > SERVICES_MAX {
            return Err(self.damaged("at most 64 services"));
        }
        let prefixes = self.prefixes(
            locations.len(),
            services.len(),
            |prefix, location, services| CloudPrefix {
                prefix,
                location,
                services,
            },
        )?;
        Ok(ProviderList {
            source,
            key,
            name,
            locations,
            services,
            prefixes,
        })
    }

    fn domain_list(&mut self, sources: usize) -> Result<DomainList, LocateError> {
        let source = self.index(sources)?;
        let categories = self.list(Self::text)?;
        let mut last = String::new();
        let domains = self.list(|reader| {
            let domain = reader.text()?;
            if domain <= last {
                return Err(reader.damaged("rising names"));
            }
            last.clone_from(&domain);
            Ok((domain, reader.index(categories.len())?))
        })?;
        Ok(DomainList {
            source,
            categories,
            domains,
        })
    }

    fn country(&mut self) -> Result<CountryCode, LocateError> {
        let code: CountryCode = self.array()?;
        if code == NO_COUNTRY || code.iter().all(u8::is_ascii_uppercase) {
            Ok(code)
        } else {
            Err(self.damaged("a country code of two capital letters"))
        }
    }

    fn countries(&mut self) -> Result<Vec<CountryCode>, LocateError> {
        let list = self.list(Self::country)?;
        if list.first() != Some(&NO_COUNTRY) || list.len() > usize::from(u8::MAX) + 1 {
            return Err(self.damaged("1 to 256 country codes, the first empty"));
        }
        Ok(list)
    }

    fn location(&mut self) -> Result<Location, LocateError> {
        Ok(Location {
            region: self.text()?,
            border_group: self.text()?,
            country: self.country()?,
        })
    }

    fn organisation(&mut self, sources: usize) -> Result<Organisation, LocateError> {
        Ok(Organisation {
            source: self.index(sources)?,
            key: self.text()?,
            name: self.text()?,
            kind: self.text()?,
            document: self.text()?,
        })
    }

    /// Rising prefixes, each with an index below `owners` and `flags` bits.
    fn prefixes<T>(
        &mut self,
        owners: usize,
        flags: usize,
        entry: impl Fn(Prefix, u16, u64) -> T,
    ) -> Result<Vec<T>, LocateError> {
        let unknown = u32::try_from(flags)
            .ok()
            .and_then(|flags| u64::MAX.checked_shl(flags))
            .unwrap_or(0);
        let mut start = 0_u128;
        let mut last = None;
        self.list(|reader| {
            let shift = reader.byte()?;
            start = start
                .checked_add(reader.difference(shift)?)
                .ok_or_else(|| reader.damaged("a prefix within the address space"))?;
            let len = reader.byte()?;
            let prefix = Prefix::new(start, len)
                .filter(|&prefix| last < Some(prefix))
                .ok_or_else(|| reader.damaged("rising prefixes without host bits"))?;
            last = Some(prefix);
            let owner: u16 = reader.number("an index")?;
            let bits: u64 = reader.number("flags")?;
            if usize::from(owner) >= owners || bits & unknown != 0 {
                return Err(reader.damaged("an index and flags in their lists"));
            }
            Ok(entry(prefix, owner, bits))
        })
    }
}

/// Lower-case hex.
pub fn hex(bytes: [u8; 32]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Atlas, encode, sample},
        *,
    };

    #[test]
    fn gives_back_what_was_written() {
        let data = sample::dataset();
        assert_eq!(decode(&encode::encode(&data, ZLIB).unwrap()).unwrap(), data);
    }

    #[test]
    fn says_what_is_wrong_with_the_header() {
        let file = encode::encode(&sample::dataset(), ZLIB).unwrap();
        assert!(matches!(decode(b""), Err(LocateError::NotOurs)));
        assert!(matches!(
            decode(b"PK\x03\x04 not ours"),
            Err(LocateError::NotOurs)
        ));
        let mut newer = file.clone();
        newer[8] = 9;
        assert!(matches!(decode(&newer), Err(LocateError::Version(9))));
        let mut long = file.clone();
        long[11..15].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decode(&long), Err(LocateError::TooLong(u32::MAX))));
        let mut short = file.clone();
        short[11..15].copy_from_slice(&7_u32.to_le_bytes());
        assert!(matches!(
            decode(&short),
            Err(LocateError::Length { expected: 7, .. })
        ));
        let cut = &file[..file.len() - 1];
        assert!(matches!(decode(cut), Err(LocateError::Inflate(_))));
    }

    #[test]
    fn refuses_what_follows_the_end() {
        let mut payload = encode::payload(&sample::dataset()).unwrap();
        let end = payload.len();
        payload.push(0);
        assert!(matches!(
            decode_payload(&payload),
            Err(LocateError::Damaged { offset, .. }) if offset == end
        ));
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_a_dataset_that_round_trips(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut payload = encode::payload(&sample::dataset()).unwrap();
            for (place, byte) in changes {
                let place = place.index(payload.len());
                payload[place] = byte;
            }
            if let Ok(data) = decode_payload(&payload) {
                let again = encode::payload(&data).unwrap();
                prop_assert_eq!(&decode_payload(&again).unwrap(), &data);
                let atlas = Atlas::new(data);
                for addr in ["20.1.1.1", "30.1.1.1", "40.1.1.1", "2600::1", "64:ff9b::1e01:1"] {
                    // A change may name another holder; it is found, and the same each time.
                    let locate = || atlas.locate(addr.parse().unwrap(), Timestamp::default(), 180);
                    prop_assert_eq!(locate(), locate());
                }
            }
            let cut = cut.index(payload.len());
            prop_assert!(decode_payload(&payload[..cut]).is_err());
        }

        #[test]
        fn damaged_files_never_give_other_content(
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut file = encode::encode(&sample::dataset(), ZLIB).unwrap();
            let place = place.index(file.len());
            file[place] = byte;
            // Adler-32 lets no other content through.
            if let Ok(data) = decode(&file) {
                prop_assert_eq!(data, sample::dataset());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode_payload(&bytes);
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
