//! A rooted handset with our program on it: commands there, through a cable that may break.
//!
//! In: the words of a command. Out: its answer, and between which bounds the handset's clock is off.
//! Where the connection breaks, it is waited for; a command is given again only where that does no
//! harm, and a long output goes on from the byte that it had reached.

use std::{io::BufReader, thread, time::Duration};

use super::{
    adb::{Adb, complaint},
    clock::Bounds,
    error::HandsetError,
};
use crate::{
    control::frame::{Ending, Frame, Frames, Opening},
    platform::clock::Clock,
};

/// Looks for a handset that has gone, and the pause between two: two minutes in all, long enough to
/// plug a cable in again or for a phone to restart its adbd.
const LOOKS: u32 = 240;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest answer that is kept in memory, in bytes; more is cut off.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its standard output, or what was not skipped or handed on of it.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// Exit code, length and hash of the whole output.
    pub ending: Ending,
    /// How far the handset's clock is off.
    pub clock: Bounds,
}

/// A rooted handset.
pub struct Phone<'a> {
    /// adb, for it.
    pub adb: Adb,
    /// The command that gives root: it takes one line as its last word.
    pub su: String,
    /// Folder of our program there.
    pub dir: String,
    /// This PC's clock.
    pub clock: &'a dyn Clock,
    /// Told when the connection breaks and when it is back.
    pub say: &'a dyn Fn(&str),
}

/// A word for a POSIX shell.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Phone<'_> {
    /// Our program there.
    pub fn program(&self) -> String {
        format!("{}/sakshi", self.dir)
    }

    /// A line of the root shell there.
    fn as_root(&self, line: &str) -> String {
        format!("{} {}", self.su, quoted(line))
    }

    /// Runs a line of the root shell to its end; what it says. For the little that is done without
    /// our program.
    pub fn root_shell(&self, line: &str) -> Result<String, HandsetError> {
        self.adb.shell(&self.as_root(line))
    }

    /// Gives a command once.
    pub fn ask_once(&self, options: &[&str], words: &[&str]) -> Result<Answer, HandsetError> {
        let mut out = Vec::new();
        let mut keep = |bytes: &[u8]| {
            let room = ANSWER_MAX.saturating_sub(out.len());
            out.extend(bytes.iter().take(room));
            Ok(())
        };
        let mut answer = self.exchange(options, words, &mut keep)?;
        answer.out = String::from_utf8_lossy(&out).into_owned();
        Ok(answer)
    }

    /// Gives a command, again where the connection broke: for those that may be given twice.
    pub fn ask(&self, words: &[&str]) -> Result<Answer, HandsetError> {
        loop {
            match self.ask_once(&[], words) {
                Err(HandsetError::Dropped(said)) => self.wait(&said)?,
                other => return other,
            }
        }
    }

    /// The same; an exit code other than 0 is an error.
    pub fn done(&self, words: &[&str]) -> Result<Answer, HandsetError> {
        success(words, self.ask(words)?)
    }

    /// Hands on the output of a command from byte `from` on, until the connection breaks.
    pub fn stream(
        &self,
        words: &[&str],
        from: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), HandsetError>,
    ) -> Result<Answer, HandsetError> {
        let from = from.to_string();
        success(words, self.exchange(&["--skip", &from], words, sink)?)
    }

    /// Waits for a handset that has gone.
    pub fn wait(&self, said: &str) -> Result<(), HandsetError> {
        (self.say)(&format!(
            "the connection to {} broke; waiting for it ({said})",
            self.adb.serial
        ));
        for _ in 0..LOOKS {
            thread::sleep(PAUSE);
            if self.adb.is_there() {
                (self.say)("it is back");
                return Ok(());
            }
        }
        Err(HandsetError::Gone {
            seconds: (PAUSE * LOOKS).as_secs(),
            said: said.to_owned(),
        })
    }

    fn exchange(
        &self,
        options: &[&str],
        words: &[&str],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), HandsetError>,
    ) -> Result<Answer, HandsetError> {
        let mut line = quoted(&self.program()) + " control --stdio";
        for word in options.iter().chain(&["--"]).chain(words) {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        let before = self.clock.now();
        let mut child = self.adb.start(&self.as_root(&line))?;
        let pipe = child
            .stdout
            .take()
            .ok_or_else(|| HandsetError::Dropped("adb has no standard output".to_owned()))?;
        let mut frames = Frames::new(BufReader::new(pipe));
        let mut read = Read::default();
        let outcome = loop {
            match frames.next_frame() {
                Ok(Some(Frame::Opening(opening))) => {
                    let bounds = Bounds::of(opening.at_nanos, before, self.clock.now());
                    read.opening = Some((opening, bounds));
                }
                Ok(Some(Frame::Out(bytes))) => {
                    if let Err(error) = sink(&bytes) {
                        break Err(error);
                    }
                }
                Ok(Some(Frame::Err(bytes))) => read.err.extend(bytes),
                Ok(Some(Frame::Ending(ending))) => read.ending = Some(ending),
                Ok(None) => break Ok(()),
                Err(error) => break Err(HandsetError::Adb(error)),
            }
        };
        if outcome.is_err() {
            // It may have ended by itself.
            let _ = child.kill();
        }
        let said = complaint(&mut child);
        // Its exit code says less than the answer.
        let _ = child.wait();
        outcome?;
        read.answer(&frames.foreign(), said)
    }
}

/// What has been read of an answer.
#[derive(Default)]
struct Read {
    opening: Option<(Opening, Bounds)>,
    err: Vec<u8>,
    ending: Option<Ending>,
}

impl Read {
    fn answer(self, foreign: &str, said: String) -> Result<Answer, HandsetError> {
        let Some((opening, clock)) = self.opening else {
            return Err(no_answer(foreign, said));
        };
        if opening.uid != 0 {
            let who = format!("it ran as UID {}", opening.uid);
            return Err(HandsetError::NoRoot(who));
        }
        let err = String::from_utf8_lossy(&self.err).trim().to_owned();
        let ending = self.ending.ok_or(HandsetError::Dropped(said))?;
        Ok(Answer {
            out: String::new(),
            err,
            ending,
            clock,
        })
    }
}

/// Why nothing came: the shell's complaint tells, else the connection broke.
fn no_answer(foreign: &str, said: String) -> HandsetError {
    let absent = ["not found", "inaccessible", "No such file"];
    let refused = ["denied", "not allowed", "incorrect"];
    let says = |words: &[&str]| words.iter().any(|word| foreign.contains(word));
    let of_ours = foreign.contains("/sakshi");
    if foreign.is_empty() {
        HandsetError::Dropped(said)
    } else if says(&absent) && of_ours {
        HandsetError::NotPushed(foreign.to_owned())
    } else if says(&absent) || says(&refused) {
        HandsetError::NoRoot(foreign.to_owned())
    } else {
        HandsetError::Dropped(format!("{foreign} {said}"))
    }
}

fn success(words: &[&str], answer: Answer) -> Result<Answer, HandsetError> {
    match answer.ending.code {
        0 => Ok(answer),
        code => Err(HandsetError::Refused {
            command: words.join(" "),
            code,
            said: if answer.err.is_empty() {
                answer.out
            } else {
                answer.err
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shells_complaint_tells_what_is_missing() {
        let of = |text: &str| no_answer(text, String::new());
        assert!(matches!(of(""), HandsetError::Dropped(_)));
        assert!(matches!(
            of("/system/bin/sh: su: inaccessible or not found"),
            HandsetError::NoRoot(_)
        ));
        assert!(matches!(of("Permission denied"), HandsetError::NoRoot(_)));
        assert!(matches!(
            of("sh: /data/local/tmp/sakshi/sakshi: not found"),
            HandsetError::NotPushed(_)
        ));
        assert!(matches!(
            of("sh: 1: /x/sakshi: Permission denied"),
            HandsetError::NoRoot(_)
        ));
    }

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quoted("a'b c"), r"'a'\''b c'");
    }
}
