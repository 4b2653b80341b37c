//! The handset's end of the lab's PC: a command of this program, its output in frames.
//!
//! In: the words of a command. Out: its answer on standard output ([`super::frame`]). adb gives
//! neither the exit code nor a standard error of its own, and breaks off when the cable does; so
//! each answer says its end itself, and a long one can be asked for again from any byte on.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    client::Connection,
    frame::{CHUNK_MAX, Ending, Frame, Opening},
    protocol::{Answer, Request},
    socket,
};
use crate::{
    evidence::Hash,
    platform::{
        clock::Clock,
        command::{OWN_PROGRAM, STAY},
        machine,
    },
};

/// Bytes of standard error that are handed on; the rest is passed over.
const ERR_MAX: u64 = CHUNK_MAX as u64;
/// Looks at a daemon that is starting, and the pause between two of them: a minute in all.
const LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(200);

/// Writes the answer's opening: what the handset's clock says, before anything else.
fn open(out: &mut dyn Write, clock: &dyn Clock) -> io::Result<()> {
    Frame::Opening(Opening {
        at_nanos: clock.now().as_nanos(),
        uid: machine::effective_uid(),
    })
    .write(out)
}

/// Runs a command of this program to its end. Of its output, the first `skip` bytes are hashed and
/// not sent.
pub fn answer(words: &[OsString], skip: u64, clock: &dyn Clock) -> io::Result<()> {
    let mut out = io::stdout().lock();
    open(&mut out, clock)?;
    out.flush()?;
    let mut child = Command::new(OWN_PROGRAM)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let errors = child.stderr.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut kept = Vec::new();
            // What was read before an error still helps; the exit code decides.
            let _ = pipe.by_ref().take(ERR_MAX).read_to_end(&mut kept);
            let _ = io::copy(&mut pipe, &mut io::sink());
            kept
        })
    });
    let (mut sha, mut bytes) = (Sha256::new(), 0_u64);
    if let Some(mut pipe) = child.stdout.take() {
        let mut buffer = vec![0; CHUNK_MAX];
        loop {
            let read = pipe.read(&mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            sha.update(piece);
            let skipped = usize::try_from(skip.saturating_sub(bytes)).unwrap_or(usize::MAX);
            bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if let Some(rest) = piece.get(skipped..).filter(|rest| !rest.is_empty()) {
                Frame::Out(rest.to_vec()).write(&mut out)?;
                out.flush()?;
            }
        }
    }
    let errors = errors.and_then(|reader| reader.join().ok());
    let ending = Ending {
        code: code(child.wait()?),
        bytes,
        sha256: Hash::from_sha256(sha),
    };
    end(&mut out, errors.unwrap_or_default(), ending)
}

/// Starts a daemon that stays when the cable goes, and answers when it watches: what
/// `status --format json` would say; or when it has ended, what it said. `log` takes what it says.
pub fn start(words: &[OsString], log: &Path, clock: &dyn Clock) -> io::Result<()> {
    let mut out = io::stdout().lock();
    open(&mut out, clock)?;
    out.flush()?;
    let said = || OpenOptions::new().create(true).append(true).open(log);
    let before = said()?.metadata()?.len();
    let mut child = Command::new(OWN_PROGRAM)
        .args(words)
        .arg(STAY)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(said()?)
        .stderr(said()?)
        .spawn()?;
    let (answer, status) = watching(&mut child)?;
    let text = answer.map_or_else(String::new, |line| line + "\n");
    let mut kept = fs::read(log)?;
    kept.drain(..usize::try_from(before).unwrap_or(0).min(kept.len()));
    kept.truncate(CHUNK_MAX);
    Frame::Out(text.clone().into_bytes()).write(&mut out)?;
    let ending = Ending {
        code: status.map_or(u8::from(text.is_empty()) * 3, code),
        bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
        sha256: Hash::of(text.as_bytes()),
    };
    end(&mut out, kept, ending)
}

/// Waits until the child says that it watches, or has ended, or for [`LOOKS`].
fn watching(child: &mut Child) -> io::Result<(Option<String>, Option<ExitStatus>)> {
    for _ in 0..LOOKS {
        if let Some(status) = child.try_wait()? {
            return Ok((None, Some(status)));
        }
        let (running, _) = socket::found()?;
        for path in running {
            let status = Connection::at_within(&path, PAUSE * 10)
                .and_then(|mut connection| connection.ask(&Request::Status));
            if let Ok(Answer::Status(status)) = status
                && status.pid == child.id()
            {
                return Ok((serde_json::to_string(&*status).ok(), None));
            }
        }
        thread::sleep(PAUSE);
    }
    Ok((None, None))
}

fn code(status: ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

fn end(out: &mut dyn Write, errors: Vec<u8>, ending: Ending) -> io::Result<()> {
    Frame::Err(errors).write(out)?;
    Frame::Ending(ending).write(out)?;
    out.flush()
}
