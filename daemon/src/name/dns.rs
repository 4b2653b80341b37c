//! DNS messages: the questions asked and the answers given (RFC 1035).
//!
//! In: a UDP payload, or the bytes of a TCP stream with its length prefix. Out: a [`DnsMessage`]
//! that keeps every record that parsed and says where it stopped. The authority and additional
//! sections are not read. Why this is written by hand: `docs/decisions/0060-dns-by-hand.md`.

mod service;

use std::{fmt, net::IpAddr, sync::Arc};

use smallvec::SmallVec;

use super::{
    NAME_BYTES_MAX, Probe,
    bytes::{Reader, Short},
    text,
};

pub use service::{ECH_NAMES_MAX, HINTS_MAX, Service};

/// Bytes of a header (RFC 1035 section 4.1.1).
const HEADER_BYTES: usize = 12;
/// Questions kept of a message; then reading stops with [`Flaw::TooMany`].
pub const QUESTIONS_MAX: usize = 32;
/// Answers kept of a message; then reading stops with [`Flaw::TooMany`].
pub const ANSWERS_MAX: usize = 256;
/// Compression pointers followed for one name: one before each label of the longest name.
const POINTERS_MAX: usize = 127;

/// Record types (IANA, DNS resource record types).
pub mod record_type {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// The canonical name of an alias.
    pub const CNAME: u16 = 5;
    /// A name for an address, by a question in `in-addr.arpa` or `ip6.arpa`.
    pub const PTR: u16 = 12;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// A service binding of any protocol (RFC 9460).
    pub const SVCB: u16 = 64;
    /// A service binding of HTTPS.
    pub const HTTPS: u16 = 65;
    /// A question for every type.
    pub const ANY: u16 = 255;
}

/// Class IN, without the bit that mDNS uses for its own ends (RFC 6762 sections 10.2, 18.12).
const CLASS_IN: u16 = 1;
const CLASS_MASK: u16 = 0x7fff;

/// Which protocol speaks the DNS format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DnsKind {
    /// DNS to a resolver, port 53.
    Unicast,
    /// Multicast DNS, port 5353 (RFC 6762): names of the local link.
    Mdns,
    /// Link-local multicast name resolution, port 5355 (RFC 4795): names of the local link.
    Llmnr,
}

impl DnsKind {
    /// The protocol of a remote port, if it is one of the three.
    pub const fn of_port(port: u16) -> Option<Self> {
        match port {
            53 => Some(Self::Unicast),
            5353 => Some(Self::Mdns),
            5355 => Some(Self::Llmnr),
            _ => None,
        }
    }
}

/// A DNS message, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsMessage {
    /// Identifier that joins question and answer.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Kind of query; 0 is the standard one.
    pub opcode: u8,
    /// Response code of the header; 0 is success. The upper bits of EDNS are not read.
    pub rcode: u8,
    /// Whether the sender cut it to fit (TC).
    pub truncated: bool,
    /// What was asked.
    pub questions: SmallVec<[Question; 1]>,
    /// What was answered.
    pub answers: SmallVec<[Answer; 2]>,
    /// Where reading ended before the end of the answers; none when all were read.
    pub stopped: Option<Stopped>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Name asked for: lower case, no trailing dot, `.` for the root, escaped as in RFC 1035.
    pub name: Arc<str>,
    /// Record type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
}

/// One record of the answer section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Name that the record belongs to, written like [`Question::name`].
    pub name: Arc<str>,
    /// Time to live, in seconds, as sent.
    pub ttl: u32,
    /// What it says.
    pub data: AnswerData,
}

/// The data of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerData {
    /// A or AAAA of class IN.
    Address(IpAddr),
    /// CNAME of class IN.
    Cname(Arc<str>),
    /// HTTPS or SVCB of class IN.
    Service(Box<Service>),
    /// Another type or class; the type.
    Other(u16),
    /// A, AAAA, CNAME, HTTPS or SVCB whose data contradicts its type; the type.
    Malformed(u16),
}

/// A section of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Questions.
    Question,
    /// Answers.
    Answer,
}

/// Where reading a message ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{section} {record} at byte {offset}: {flaw}")]
pub struct Stopped {
    /// In which section.
    pub section: Section,
    /// Index of the record within the section, from 0.
    pub record: usize,
    /// Where the record begins, in bytes from the start of the message.
    pub offset: usize,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The bytes end before a field does.
    #[error("field at byte {offset} needs {needed} bytes, {had} are left")]
    Short {
        /// Where the field begins.
        offset: usize,
        /// Bytes it needs.
        needed: usize,
        /// Bytes left.
        had: usize,
    },
    /// A label begins with neither a length nor a pointer (RFC 6891 section 5 retired the rest).
    #[error("label type {0:#04x} is not defined")]
    LabelType(u8),
    /// A name is longer than [`NAME_BYTES_MAX`].
    #[error("name is longer than {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// A pointer does not point to a prior place in the message (RFC 1035 section 4.1.4).
    #[error("compression pointer to byte {0} does not point back")]
    Pointer(usize),
    /// More pointers in a name than it can have labels.
    #[error("name has more than {POINTERS_MAX} compression pointers")]
    Pointers,
    /// The bound of the section is reached; the rest was not read.
    #[error("more records than are kept")]
    TooMany,
}

/// Why bytes are no DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Shorter than a header.
    #[error("DNS header needs {HEADER_BYTES} bytes, had {had}")]
    Header {
        /// Bytes that were there.
        had: usize,
    },
    /// The operation is not one that IANA assigned.
    #[error("DNS opcode {0} is not assigned")]
    Opcode(u8),
    /// A query that announces no record.
    #[error("DNS query announces no record")]
    NoRecord,
    /// Not even the first record could be read.
    #[error("DNS message holds no readable record: {0}")]
    Unreadable(Stopped),
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Question => "question",
            Self::Answer => "answer",
        })
    }
}

impl From<Short> for Flaw {
    fn from(short: Short) -> Self {
        let Short {
            offset,
            needed,
            had,
        } = short;
        Self::Short {
            offset,
            needed,
            had,
        }
    }
}

/// Header of a message (RFC 1035 section 4.1.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
}

impl Header {
    /// Reads a header and refuses what no DNS software sends.
    fn read(message: &[u8]) -> Result<Self, DnsError> {
        let had = message.len();
        let mut reader = Reader::new(message);
        let mut field = || reader.u16().map_err(|_| DnsError::Header { had });
        let (id, flags, questions, answers) = (field()?, field()?, field()?, field()?);
        let others = field()? | field()?;
        let header = Self {
            id,
            flags,
            questions,
            answers,
        };
        // Query, IQuery, Status, Notify, Update, DSO (IANA, DNS opcodes).
        if !matches!(header.opcode(), 0..=2 | 4..=6) {
            return Err(DnsError::Opcode(header.opcode()));
        }
        if !header.response() && questions | answers | others == 0 {
            return Err(DnsError::NoRecord);
        }
        Ok(header)
    }

    const fn response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    const fn opcode(self) -> u8 {
        (self.flags >> 11) as u8 & 0x0f
    }

    const fn rcode(self) -> u8 {
        (self.flags & 0x0f) as u8
    }

    const fn truncated(self) -> bool {
        self.flags & 0x0200 != 0
    }
}

/// Which DNS protocol a UDP payload is likely to speak: by its remote port and its header.
pub fn looks_like_dns(payload: &[u8], port: u16) -> Option<DnsKind> {
    let kind = DnsKind::of_port(port)?;
    Header::read(payload).is_ok().then_some(kind)
}

/// Reads the message of a UDP datagram.
///
/// Keeps every question and answer before the first that can't be read; [`DnsMessage::stopped`]
/// says where that was. Bytes behind the answers are left alone.
pub fn message(message: &[u8]) -> Result<DnsMessage, DnsError> {
    let header = Header::read(message)?;
    let mut parsed = DnsMessage {
        id: header.id,
        response: header.response(),
        opcode: header.opcode(),
        rcode: header.rcode(),
        truncated: header.truncated(),
        questions: SmallVec::new(),
        answers: SmallVec::new(),
        stopped: None,
    };
    if let Err(stopped) = read_sections(message, header, &mut parsed) {
        if stopped.record == 0 && parsed.questions.is_empty() {
            return Err(DnsError::Unreadable(stopped));
        }
        parsed.stopped = Some(stopped);
    }
    Ok(parsed)
}

/// A message of a TCP stream, and how many bytes of the stream it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpMessage {
    /// The message.
    pub message: DnsMessage,
    /// Bytes of the stream up to the next message, the length prefix included.
    pub consumed: usize,
}

/// Reads the first message of a TCP stream: two bytes of length before it (RFC 7766 section 8).
///
/// *No* when the length or the header can't be DNS's, so a stream that is something else is not
/// waited for. At most 65,537 bytes are ever needed.
pub fn tcp_message(stream: &[u8]) -> Probe<TcpMessage> {
    let mut reader = Reader::new(stream);
    let Ok(len) = reader.u16() else {
        return Probe::NotYet;
    };
    let len = usize::from(len);
    if len < HEADER_BYTES {
        return Probe::No;
    }
    match reader.take(len) {
        Ok(bytes) => message(bytes).map_or(Probe::No, |message| {
            Probe::Yes(TcpMessage {
                message,
                consumed: reader.offset(),
            })
        }),
        Err(_) => match Header::read(reader.rest()) {
            Ok(_) | Err(DnsError::Header { .. }) => Probe::NotYet,
            Err(_) => Probe::No,
        },
    }
}

fn read_sections(message: &[u8], header: Header, into: &mut DnsMessage) -> Result<(), Stopped> {
    let mut reader = Reader::at(message, HEADER_BYTES);
    let mut written = Written::default();
    for record in 0..usize::from(header.questions) {
        let offset = reader.offset();
        let stop = |flaw| Stopped {
            section: Section::Question,
            record,
            offset,
            flaw,
        };
        if record == QUESTIONS_MAX {
            return Err(stop(Flaw::TooMany));
        }
        let question = read_question(message, &mut reader, &mut written).map_err(stop)?;
        into.questions.push(question);
    }
    for record in 0..usize::from(header.answers) {
        let offset = reader.offset();
        let stop = |flaw| Stopped {
            section: Section::Answer,
            record,
            offset,
            flaw,
        };
        if record == ANSWERS_MAX {
            return Err(stop(Flaw::TooMany));
        }
        let answer = read_answer(message, &mut reader, &mut written).map_err(stop)?;
        into.answers.push(answer);
    }
    Ok(())
}

fn read_question<'a>(
    message: &'a [u8],
    reader: &mut Reader<'a>,
    written: &mut Written,
) -> Result<Question, Flaw> {
    let name = written.owner(message, reader)?;
    let (qtype, qclass) = (reader.u16()?, reader.u16()?);
    Ok(Question {
        name,
        qtype,
        qclass,
    })
}

fn read_answer<'a>(
    message: &'a [u8],
    reader: &mut Reader<'a>,
    written: &mut Written,
) -> Result<Answer, Flaw> {
    let name = written.owner(message, reader)?;
    let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let len = usize::from(reader.u16()?);
    let start = reader.offset();
    let data = reader.take(len)?;
    let data = if class & CLASS_MASK == CLASS_IN {
        read_data(message, kind, start, data, written)
    } else {
        AnswerData::Other(kind)
    };
    Ok(Answer { name, ttl, data })
}

/// Names that were written out lately, by where they begin: what points to one of them is that one, and
/// most owners of answers do. The question's, and the latest alias's target.
#[derive(Debug, Default)]
struct Written {
    question: Option<(usize, Arc<str>)>,
    alias: Option<(usize, Arc<str>)>,
}

impl Written {
    /// The name at the reader, which moves behind it.
    fn owner<'a>(&mut self, message: &'a [u8], reader: &mut Reader<'a>) -> Result<Arc<str>, Flaw> {
        if let Some(known) = self.pointed_to(reader.rest()) {
            reader.take(2)?;
            return Ok(known);
        }
        let (name, text) = read_text(message, reader)?;
        if self.question.is_none() && name.may_be_pointed_to() {
            self.question = Some((name.start, Arc::clone(&text)));
        }
        Ok(text)
    }

    /// What a name that is nothing but a pointer points to.
    fn pointed_to(&self, rest: &[u8]) -> Option<Arc<str>> {
        let &[high @ 0xc0..=0xff, low, ..] = rest else {
            return None;
        };
        let target = usize::from(high & 0x3f) << 8 | usize::from(low);
        let known = [&self.question, &self.alias].into_iter().flatten();
        known
            .filter(|(at, _)| *at == target)
            .map(|(_, text)| Arc::clone(text))
            .next()
    }
}

/// Reads the data of a record of class IN; `start` is where it begins in the message.
fn read_data(
    message: &[u8],
    kind: u16,
    start: usize,
    data: &[u8],
    written: &mut Written,
) -> AnswerData {
    let read = match kind {
        record_type::A => <[u8; 4]>::try_from(data)
            .ok()
            .map(|octets| AnswerData::Address(octets.into())),
        record_type::AAAA => <[u8; 16]>::try_from(data)
            .ok()
            .map(|octets| AnswerData::Address(octets.into())),
        record_type::CNAME => {
            let mut reader = Reader::at(message, start);
            read_text(message, &mut reader)
                .ok()
                .filter(|_| reader.offset() == start + data.len())
                .map(|(name, text)| {
                    if name.may_be_pointed_to() {
                        written.alias = Some((start, Arc::clone(&text)));
                    }
                    AnswerData::Cname(text)
                })
        }
        record_type::HTTPS | record_type::SVCB => service::read(data)
            .ok()
            .map(|service| AnswerData::Service(Box::new(service))),
        _ => Some(AnswerData::Other(kind)),
    };
    read.unwrap_or(AnswerData::Malformed(kind))
}

/// A name that was walked to its end without a flaw; not yet text.
#[derive(Debug, Clone, Copy)]
struct WireName<'a> {
    message: &'a [u8],
    start: usize,
    /// Bytes it would have without compression.
    len: usize,
    /// Pointers in it.
    pointers: usize,
}

impl<'a> WireName<'a> {
    /// Whether a name with one pointer more is one still.
    const fn may_be_pointed_to(self) -> bool {
        self.pointers < POINTERS_MAX
    }

    fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut labels = Labels::new(self.message, self.start);
        std::iter::from_fn(move || labels.next().ok().flatten())
    }
}

/// Walks the name at the reader, writes it out, and moves the reader behind it.
fn read_text<'a>(
    message: &'a [u8],
    reader: &mut Reader<'a>,
) -> Result<(WireName<'a>, Arc<str>), Flaw> {
    let start = reader.offset();
    let mut labels = Labels::new(message, start);
    let mut plain = text::Plain::default();
    let mut is_plain = true;
    while let Some(label) = labels.next()? {
        is_plain = is_plain && plain.push(label);
    }
    *reader = Reader::at(message, labels.end());
    let name = WireName {
        message,
        start,
        len: labels.len,
        pointers: labels.pointers,
    };
    let text = if is_plain {
        plain.text()
    } else {
        text::of_labels(name.labels())
    };
    Ok((name, text))
}

/// The labels of a name, pointers followed. Each pointer must lead to before the place where the
/// labels it ends began, so a walk can't loop; length and pointers are bounded besides.
#[derive(Debug)]
struct Labels<'a> {
    message: &'a [u8],
    reader: Reader<'a>,
    /// Where the current run of labels began.
    run: usize,
    pointers: usize,
    /// Bytes of the name so far, without compression.
    len: usize,
    /// Where the name ends in the message: behind its first pointer, if it has one.
    end: Option<usize>,
}

impl<'a> Labels<'a> {
    const fn new(message: &'a [u8], start: usize) -> Self {
        Self {
            message,
            reader: Reader::at(message, start),
            run: start,
            pointers: 0,
            len: 0,
            end: None,
        }
    }

    /// The next label, or none at the end of the name.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Flaw> {
        loop {
            let first = self.reader.u8()?;
            match first >> 6 {
                0b00 => {
                    self.len += 1 + usize::from(first);
                    if self.len > NAME_BYTES_MAX {
                        return Err(Flaw::NameLength);
                    }
                    let label = self.reader.take(usize::from(first))?;
                    return Ok((!label.is_empty()).then_some(label));
                }
                0b11 => self.follow(first)?,
                _ => return Err(Flaw::LabelType(first)),
            }
        }
    }

    fn follow(&mut self, first: u8) -> Result<(), Flaw> {
        let target = usize::from(first & 0x3f) << 8 | usize::from(self.reader.u8()?);
        self.end.get_or_insert(self.reader.offset());
        self.pointers += 1;
        if self.pointers > POINTERS_MAX {
            return Err(Flaw::Pointers);
        }
        if target >= self.run {
            return Err(Flaw::Pointer(target));
        }
        self.run = target;
        self.reader = Reader::at(self.message, target);
        Ok(())
    }

    fn end(&self) -> usize {
        self.end.unwrap_or(self.reader.offset())
    }
}
