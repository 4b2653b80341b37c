//! DTLS: what a client's hello says in clear (RFC 6347, RFC 9147).
//!
//! In: the datagrams that the handset sends in one flow. Out: a [`ClientHello`]. A hello may be in
//! fragments, over several records and datagrams, in any order. Datagrams of other protocols on the same
//! sockets (STUN, RTP: RFC 7983) are told apart by their first bytes.

use super::{
    Probe,
    bytes::{Reader, Short},
    pieces::Pieces,
    tls::{self, ClientHello},
};

/// Records looked at in one datagram.
pub const RECORDS_MAX: usize = 16;
/// Datagrams of a hello that is not whole; then it is read as far as it goes.
pub const DATAGRAMS_MAX: u8 = 16;

const HEADER_BYTES: usize = 13;
/// Bytes of a handshake message's header without the place of the fragment.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// DTLS 1.0 and 1.2; 1.3 says 1.2 in its first records.
const VERSIONS: [u16; 2] = [0xfeff, 0xfefd];
/// Content types: change of the cipher, alert, handshake, data.
const CONTENT: std::ops::RangeInclusive<u8> = 20..=23;

/// A hello that is read from a flow's datagrams.
#[derive(Debug, Default)]
pub struct Opening {
    /// Number of the message whose fragments are held, and its length.
    message: Option<(u16, usize)>,
    pieces: Pieces,
    datagrams: u8,
}

/// Whether a datagram begins with a record of DTLS.
pub fn is_record(datagram: &[u8]) -> bool {
    let &[content, high, low, ..] = datagram else {
        return false;
    };
    let Some(&[len_high, len_low]) = datagram.get(HEADER_BYTES - 2..HEADER_BYTES) else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    CONTENT.contains(&content)
        && VERSIONS.contains(&u16::from_be_bytes([high, low]))
        && (1..=tls::ENCRYPTED_BYTES_MAX).contains(&len)
}

/// Whether a datagram is STUN's (RFC 8489 section 5), which comes before DTLS on the same socket.
pub fn is_stun(datagram: &[u8]) -> bool {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    datagram.first().is_some_and(|&first| first < 4) && datagram.get(4..8) == Some(&COOKIE)
}

impl Opening {
    /// Reads a datagram; `cut` says that the capture does not have all of it.
    ///
    /// *No* where what is sent is no hello: the handset is the server, or the flow was joined late.
    pub fn datagram(&mut self, datagram: &[u8], cut: bool) -> Probe<ClientHello> {
        self.datagrams = self.datagrams.saturating_add(1);
        let mut reader = Reader::new(datagram);
        for _ in 0..RECORDS_MAX {
            if reader.is_empty() {
                break;
            }
            match self.record(&mut reader) {
                Ok(Probe::NotYet) => {}
                Ok(read) => return read,
                Err(Short { .. }) => break,
            }
        }
        if cut || self.datagrams >= DATAGRAMS_MAX {
            self.cut()
        } else {
            Probe::NotYet
        }
    }

    /// Reads what is there of a hello of which no more will come.
    pub fn cut(&self) -> Probe<ClientHello> {
        match tls::datagram_hello(self.pieces.contiguous()) {
            Some(mut hello) => {
                hello.damaged = true;
                Probe::Yes(hello)
            }
            None => Probe::No,
        }
    }

    /// Bytes held.
    pub fn bytes_held(&self) -> usize {
        size_of::<Self>() + self.pieces.bytes_held()
    }

    fn record(&mut self, reader: &mut Reader<'_>) -> Result<Probe<ClientHello>, Short> {
        let content = reader.u8()?;
        let version = reader.u16()?;
        let epoch = reader.u16()?;
        reader.take(6)?;
        let len = usize::from(reader.u16()?);
        if !VERSIONS.contains(&version) || content != HANDSHAKE || epoch != 0 {
            return Ok(Probe::No);
        }
        // What is there of the last record, where the capture cut it.
        let there = len.min(reader.rest().len());
        let mut record = Reader::new(reader.take(there)?);
        while !record.is_empty() {
            let read = self.fragment(&mut record)?;
            if read != Probe::NotYet {
                return Ok(read);
            }
        }
        Ok(Probe::NotYet)
    }

    /// A fragment of a handshake message (RFC 6347 section 4.2.2).
    fn fragment(&mut self, record: &mut Reader<'_>) -> Result<Probe<ClientHello>, Short> {
        if record.u8()? != CLIENT_HELLO {
            return Ok(Probe::No);
        }
        let len = u24(record)?;
        let number = record.u16()?;
        let (at, fragment_len) = (u24(record)?, u24(record)?);
        if at.saturating_add(fragment_len) > len {
            return Ok(Probe::No);
        }
        // A further hello, with the server's cookie, takes the place of one that is not whole.
        if self.message != Some((number, len)) {
            self.message = Some((number, len));
            self.pieces = Pieces::default();
        }
        let there = fragment_len.min(record.rest().len());
        if self.pieces.insert(at, record.take(there)?).is_err() {
            return Ok(self.cut());
        }
        if self.pieces.contiguous().len() < len {
            return Ok(Probe::NotYet);
        }
        let hello = tls::datagram_hello(self.pieces.contiguous());
        Ok(hello.map_or(Probe::No, Probe::Yes))
    }
}

fn u24(reader: &mut Reader<'_>) -> Result<usize, Short> {
    let high = usize::from(reader.u8()?);
    Ok(high << 16 | usize::from(reader.u16()?))
}
