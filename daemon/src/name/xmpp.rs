//! XMPP: whom a client's stream is to, and where it changes to TLS (RFC 6120).
//!
//! In: what a client sends. Out: the `to` of its stream head, and the length of a `starttls` element.

use std::sync::Arc;

use super::{Probe, text};

/// Longest head and longest element that is waited for, in bytes.
const HEAD_BYTES_MAX: usize = 4096;

/// A stream's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHead {
    /// The domain it is to (RFC 6120 section 4.7.2).
    pub to: Option<Arc<str>>,
    /// Bytes of the head.
    pub len: usize,
}

/// Reads the head that a stream begins with, its XML declaration included.
pub fn stream_head(bytes: &[u8]) -> Probe<StreamHead> {
    let head = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let declaration = match leading(head, b"<?xml") {
        Probe::Yes(()) => match head.windows(2).position(|pair| pair == b"?>") {
            Some(end) => end + 2,
            None => return unless_full(bytes),
        },
        Probe::NotYet => return Probe::NotYet,
        Probe::No => 0,
    };
    let rest = head.get(declaration..).unwrap_or_default();
    let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    let start = declaration + spaces.count();
    let tag = head.get(start..).unwrap_or_default();
    match leading(tag, b"<stream:stream") {
        Probe::Yes(()) => {}
        Probe::NotYet => return unless_full(bytes),
        Probe::No => return Probe::No,
    }
    let Some(end) = tag.iter().position(|&byte| byte == b'>') else {
        return unless_full(bytes);
    };
    let tag = tag.get(..end).unwrap_or_default();
    Probe::Yes(StreamHead {
        to: attribute(tag, b"to").and_then(text::host_name),
        len: start + end + 1,
    })
}

/// What closes a `starttls` element that is not empty.
const CLOSING: &[u8] = b"</starttls>";

/// Reads a `starttls` element (RFC 6120 section 5.4.2.1) and returns its length.
pub fn starttls(bytes: &[u8]) -> Probe<usize> {
    let head = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let spaces = head
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let tag = head.get(spaces..).unwrap_or_default();
    match leading(tag, b"<starttls") {
        Probe::Yes(()) => {}
        Probe::NotYet => return unless_full(bytes),
        Probe::No => return Probe::No,
    }
    let Some(end) = tag.iter().position(|&byte| byte == b'>') else {
        return unless_full(bytes);
    };
    if tag.get(..end).is_some_and(|tag| tag.ends_with(b"/")) {
        return Probe::Yes(spaces + end + 1);
    }
    match tag.windows(CLOSING.len()).position(|part| part == CLOSING) {
        Some(at) => Probe::Yes(spaces + at + CLOSING.len()),
        None => unless_full(bytes),
    }
}

/// Whether bytes begin with a text, as far as there are any.
fn leading(bytes: &[u8], text: &[u8]) -> Probe<()> {
    if bytes.starts_with(text) {
        Probe::Yes(())
    } else if text.starts_with(bytes) {
        Probe::NotYet
    } else {
        Probe::No
    }
}

const fn unless_full<T>(bytes: &[u8]) -> Probe<T> {
    if bytes.len() < HEAD_BYTES_MAX {
        Probe::NotYet
    } else {
        Probe::No
    }
}

/// The value of an attribute of a tag.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = tag;
    loop {
        let equals = rest.iter().position(|&byte| byte == b'=')?;
        let key = rest.get(..equals)?.trim_ascii();
        let key = key.rsplit(u8::is_ascii_whitespace).next().unwrap_or(key);
        let value = rest.get(equals + 1..)?.trim_ascii_start();
        let (&quote, value) = value.split_first()?;
        if !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let end = value.iter().position(|&byte| byte == quote)?;
        if key == name {
            return value.get(..end);
        }
        rest = value.get(end + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' \
        xmlns:stream=\"http://etherx.jabber.org/streams\" to='Push.Example' version='1.0'>";

    #[test]
    fn whom_a_stream_is_to() {
        let head = stream_head(HEAD).yes().unwrap();
        assert_eq!(head.to.as_deref(), Some("push.example"));
        assert_eq!(head.len, HEAD.len());
        for end in 0..HEAD.len() {
            assert_eq!(stream_head(&HEAD[..end]), Probe::NotYet, "{end}");
        }
        assert_eq!(stream_head(b"<html>"), Probe::No);
        let nobody = stream_head(b"<stream:stream from='a'>").yes().unwrap();
        assert_eq!(nobody.to, None);
    }

    #[test]
    fn where_tls_begins() {
        let short = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03";
        assert_eq!(starttls(short), Probe::Yes(short.len() - 2));
        let long = b"\n<starttls xmlns='x'></starttls>";
        assert_eq!(starttls(long), Probe::Yes(long.len()));
        assert_eq!(starttls(b"<auth>"), Probe::No);
    }
}
