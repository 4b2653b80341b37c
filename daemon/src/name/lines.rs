//! Protocols of command lines that may change to TLS: SMTP, IMAP, POP3, FTP; and MQTT's first packet.
//!
//! In: what a client sends. Out: which protocol it is, and whether a line asks for TLS. Reading stops
//! at the first command that is not needed for that, so that no password and no mail is read.

use sakshi_rules::contact::AppProtocol;

use super::Probe;

/// Longest command that is waited for, in bytes (RFC 5321 section 4.5.3.1.4 has 512).
const LINE_BYTES_MAX: usize = 512;
/// Commands of one client that are read.
pub const COMMANDS_MAX: u8 = 32;

/// Commands before TLS: SMTP (RFC 5321, 3207), IMAP (RFC 9051), POP3 (RFC 2449, 2595), FTP (RFC 2389,
/// 4217).
const HARMLESS: [&[u8]; 13] = [
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"NOOP",
    b"RSET",
    b"CAPABILITY",
    b"ID",
    b"CAPA",
    b"FEAT",
    b"SYST",
    b"OPTS",
    b"HOST",
    b"CLNT",
];

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its bytes, the end of the line included.
    pub len: usize,
    /// Whether TLS begins behind it, if the server agrees.
    pub asks_for_tls: bool,
}

/// Reads the next command; *no* where it is one that need not be read.
pub fn command(bytes: &[u8]) -> Probe<Command> {
    let Some((line, len)) = line(bytes) else {
        return if bytes.len() < LINE_BYTES_MAX {
            Probe::NotYet
        } else {
            Probe::No
        };
    };
    let mut words = words(line);
    let (Some(first), second) = (words.next(), words.next()) else {
        return Probe::No;
    };
    let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
    let begins_tls = |word: &[u8]| is(word, b"STARTTLS");
    let asks_for_tls = begins_tls(first)
        || is(first, b"STLS")
        || second.is_some_and(|second| {
            begins_tls(second)
                || (is(first, b"AUTH")
                    && [&b"TLS"[..], b"SSL", b"TLS-C", b"TLS-P"]
                        .iter()
                        .any(|kind| is(second, kind)))
        });
    let harmless = |word: &[u8]| HARMLESS.iter().any(|name| is(word, name));
    if asks_for_tls || harmless(first) || second.is_some_and(harmless) {
        Probe::Yes(Command { len, asks_for_tls })
    } else {
        Probe::No
    }
}

/// Which protocol a client's first line speaks, by its words; the port decides where two share them.
pub fn protocol(bytes: &[u8], port: u16) -> Probe<AppProtocol> {
    let printable = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\r' | b'\n');
    let Some((line, _)) = line(bytes) else {
        let possible = bytes.len() < LINE_BYTES_MAX && bytes.iter().all(printable);
        return if possible { Probe::NotYet } else { Probe::No };
    };
    let mut words = words(line);
    let (Some(first), second) = (words.next(), words.next()) else {
        return Probe::No;
    };
    let is_one_of =
        |word: &[u8], names: &[&[u8]]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let is_tag = first.len() <= 16 && first.iter().all(u8::is_ascii_alphanumeric);
    let imap: [&[u8]; 6] = [
        b"CAPABILITY",
        b"STARTTLS",
        b"ID",
        b"NOOP",
        b"LOGIN",
        b"AUTHENTICATE",
    ];
    Probe::Yes(match first {
        _ if is_one_of(first, &[b"EHLO", b"HELO", b"LHLO"]) => AppProtocol::Smtp,
        _ if is_one_of(first, &[b"CAPA", b"STLS"]) => AppProtocol::Pop3,
        _ if is_one_of(first, &[b"FEAT"]) => AppProtocol::Ftp,
        _ if second.is_some_and(|second| is_tag && is_one_of(second, &imap)) => AppProtocol::Imap,
        _ if is_one_of(first, &[b"AUTH"])
            && second.is_some_and(|kind| is_one_of(kind, &[b"TLS", b"SSL"])) =>
        {
            AppProtocol::Ftp
        }
        _ if is_one_of(first, &[b"USER"]) && port == 110 => AppProtocol::Pop3,
        _ if is_one_of(first, &[b"USER"]) && port == 21 => AppProtocol::Ftp,
        _ => return Probe::No,
    })
}

/// Whether bytes begin with MQTT's CONNECT (versions 3.1, 3.1.1 and 5). It names the client and, if
/// at all, a user, but no server: nothing of that is read.
pub fn is_mqtt_connect(bytes: &[u8]) -> bool {
    const CONNECT: u8 = 0x10;
    let Some((&CONNECT, rest)) = bytes.split_first() else {
        return false;
    };
    // The remaining length has one to four bytes, the last without its top bit.
    let Some(last) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else {
        return false;
    };
    let variable = rest.get(last + 1..).unwrap_or_default();
    variable.starts_with(b"\x00\x04MQTT") || variable.starts_with(b"\x00\x06MQIsdp")
}

/// The first line without its end, and its length with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let end = head.iter().position(|&byte| byte == b'\n')?;
    let line = head.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_tell_the_protocol() {
        for (line, port, expected) in [
            (&b"EHLO phone\r\n"[..], 587, Probe::Yes(AppProtocol::Smtp)),
            (b"a1 CAPABILITY\r\n", 143, Probe::Yes(AppProtocol::Imap)),
            (b"CAPA\r\n", 110, Probe::Yes(AppProtocol::Pop3)),
            (b"AUTH TLS\r\n", 21, Probe::Yes(AppProtocol::Ftp)),
            (b"USER me\r\n", 21, Probe::Yes(AppProtocol::Ftp)),
            (b"EHLO", 25, Probe::NotYet),
            (b"SSH-2.0-x\r\n", 22, Probe::No),
            (b"\x00\x01\n", 25, Probe::No),
        ] {
            assert_eq!(protocol(line, port), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn reading_stops_before_a_password() {
        assert_eq!(command(b"AUTH PLAIN AGEAYg==\r\n"), Probe::No);
        assert_eq!(command(b"PASS secret\r\n"), Probe::No);
        assert_eq!(command(b"a2 LOGIN me secret\r\n"), Probe::No);
        let asks = |line: &[u8]| command(line).yes().map(|command| command.asks_for_tls);
        assert_eq!(asks(b"STARTTLS\r\n"), Some(true));
        assert_eq!(asks(b"a3 starttls\r\n"), Some(true));
        assert_eq!(asks(b"auth tls\r\n"), Some(true));
        assert_eq!(asks(b"EHLO a\r\n"), Some(false));
    }

    #[test]
    fn mqtt_is_known_by_its_first_packet() {
        assert!(is_mqtt_connect(b"\x10\x10\x00\x04MQTT\x04\x02"));
        assert!(is_mqtt_connect(b"\x10\x80\x01\x00\x06MQIsdp"));
        assert!(!is_mqtt_connect(b"\x10\xff\xff\xff\xff\x00\x04MQTT"));
        assert!(!is_mqtt_connect(b"\x20\x02\x00\x00"));
    }
}
