//! Lines for Android's log, through the socket of its daemon (`logd`).
//!
//! In: a line. Out: a datagram as AOSP's liblog writes it (`logd_writer.cpp`, `log.h`): the log's
//! number, our thread, the time, then priority, tag and text. Where there is no such socket nothing
//! happens; where it is full the line is lost: the log is for people, evidence is in the case.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use crate::time::Timestamp;

/// Where `logd` listens.
pub const SOCKET: &str = "/dev/socket/logdw";
/// What our lines are called.
const TAG: &[u8] = b"sakshi\0";
/// `LOG_ID_MAIN`.
const MAIN: u8 = 0;
/// Longest text with priority and tag (`LOGGER_ENTRY_MAX_PAYLOAD`), in bytes; more is cut off.
const PAYLOAD_MAX: usize = 4_068;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// How grave a line is, as Android numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Priority {
    /// As it should be.
    Info = 4,
    /// Not as it should be, and the work goes on.
    Warning = 5,
    /// The work ends.
    Error = 6,
}

/// Android's log.
#[derive(Debug)]
pub struct Logcat {
    from: Option<UnixDatagram>,
    to: PathBuf,
}

impl Logcat {
    /// For the daemon that listens at `to`, if one does.
    pub fn at(to: &Path) -> Self {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        Self {
            from: to.exists().then(open).and_then(Result::ok),
            to: to.to_owned(),
        }
    }

    /// Writes a line; never waits.
    pub fn write(&self, at: Timestamp, priority: Priority, text: &str) {
        if let Some(socket) = &self.from {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            // It may have gone, or be full: then the line is lost.
            let _ = socket.send_to(&entry(at, thread, priority, text), &self.to);
        }
    }
}

fn entry(at: Timestamp, thread: i32, priority: Priority, text: &str) -> Vec<u8> {
    let nanos = at.as_nanos();
    let number = |value: i64| u32::try_from(value).unwrap_or(0).to_le_bytes();
    let room = PAYLOAD_MAX - 1 - TAG.len() - 1;
    let mut entry = vec![MAIN];
    // The lower half of the number, as liblog does.
    entry.extend(thread.to_le_bytes().iter().take(2));
    entry.extend(number(nanos.div_euclid(NANOS_PER_SECOND)));
    entry.extend(number(nanos.rem_euclid(NANOS_PER_SECOND)));
    entry.push(priority as u8);
    entry.extend(TAG);
    let text = &text[..text.floor_char_boundary(room)];
    // A zero would end the text for a reader.
    entry.extend(text.bytes().map(|byte| byte.max(1)));
    entry.push(0);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_liblog_writes_it() {
        let at = Timestamp::from_nanos(1_700_000_000_123_456_789);
        let entry = entry(at, 0x0001_0203, Priority::Warning, "a\0b");
        let mut expected = vec![0, 0x03, 0x02];
        expected.extend(1_700_000_000_u32.to_le_bytes());
        expected.extend(123_456_789_u32.to_le_bytes());
        expected.extend(b"\x05sakshi\0a\x01b\0");
        assert_eq!(entry, expected);
    }

    #[test]
    fn a_long_text_is_cut_off_between_characters() {
        let entry = entry(Timestamp::default(), 1, Priority::Info, &"é".repeat(5_000));
        let payload = &entry[11..];
        assert!(payload.len() <= PAYLOAD_MAX && payload.len() > PAYLOAD_MAX - 3);
        let text = &payload[8..payload.len() - 1];
        assert!(std::str::from_utf8(text).is_ok());
    }

    #[test]
    fn where_nobody_listens_nothing_happens() {
        let log = Logcat::at(Path::new("/no/such/socket"));
        assert!(log.from.is_none());
        log.write(Timestamp::default(), Priority::Error, "lost");
    }
}
