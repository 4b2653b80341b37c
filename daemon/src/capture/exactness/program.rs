//! The program in the kernel and its maps, through the aya crate.
//!
//! In: the object compiled from `bpf/owner.bpf.c`. Out: a loaded program that can be pinned, and an
//! [`Inbox`] of what it saw.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, MapError},
    programs::SocketFilter,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    Home, LayerError,
    sighting::{KEY_BYTES, Sighting, VALUE_BYTES},
};
use crate::{
    input::{Event, Gap, GapCause},
    platform::clock::Clock,
    time::Timestamp,
};

/// The compiled program, as it is committed.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/owner.bpf.o");
/// Sightings that wait in the kernel at most (`INBOX_MAX` of the program).
pub const INBOX_MAX: usize = 16_384;
/// Name of the program in the object.
const PROGRAM: &str = "sakshi_owner";
/// How gaps name the layer.
pub(crate) const PLACE: &str = "owners by xt_bpf";

/// The loaded program.
pub(super) struct Program {
    ebpf: Ebpf,
}

impl Program {
    /// Loads it; nothing runs it yet.
    pub(super) fn load() -> Result<(Self, Inbox), LayerError> {
        // Before Linux 5.11 maps count as locked memory.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        // Where it matters and is not allowed, the load fails and says so.
        let _ = setrlimit(Resource::Memlock, unlimited);
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .load(OBJECT)
            .map_err(|error| refused(&error))?;
        let program: &mut SocketFilter = ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| not_in("program", PROGRAM))?
            .try_into()
            .map_err(|error| refused(&error))?;
        program.load().map_err(|error| refused(&error))?;
        let mut map = |name| ebpf.take_map(name).ok_or_else(|| not_in("map", name));
        let (inbox, counts) = (map("inbox")?, map("counts")?);
        let inbox = Inbox {
            sightings: inbox.try_into().map_err(|error| refused(&error))?,
            counts: counts.try_into().map_err(|error| refused(&error))?,
            reported: 0,
            no_room: 0,
            failed: false,
            keys: Vec::new(),
            read: Vec::new(),
        };
        Ok((Self { ebpf }, inbox))
    }

    /// Pins it, so that a rule can name it.
    pub(super) fn pin(&mut self, home: &Home) -> Result<(), LayerError> {
        home.prepare()?;
        let program = self
            .ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| not_in("program", PROGRAM))?;
        program.pin(home.pin()).map_err(|error| LayerError::Pin {
            path: home.pin().to_owned(),
            source: std::io::Error::other(chain(&error)),
        })
    }
}

/// What the program saw and nobody has read yet.
pub struct Inbox {
    sightings: HashMap<MapData, [u8; KEY_BYTES], [u8; VALUE_BYTES]>,
    counts: Array<MapData, [u64; 2]>,
    /// The program's counters at the last look.
    reported: u64,
    no_room: u64,
    /// Whether reading failed, so that a lasting failure is told once.
    failed: bool,
    keys: Vec<[u8; KEY_BYTES]>,
    read: Vec<Sighting>,
}

impl Inbox {
    /// Empties it into `out`, in the order of the kernel's time. Costs one system call where nothing
    /// is new. What was read is before any packet that is received from now on, and of each packet
    /// that was received before, it was here in time.
    pub fn empty(&mut self, clock: &dyn Clock, out: &mut dyn FnMut(Event)) {
        let now = clock.now();
        match self.take(out, now, clock.monotonic_nanos()) {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    out(gap(
                        GapCause::Degraded,
                        now,
                        format!(
                            "sockets that were read cannot be fetched: {}",
                            chain(&error)
                        ),
                    ));
                }
            }
        }
    }

    fn take(
        &mut self,
        out: &mut dyn FnMut(Event),
        now: Timestamp,
        monotonic_nanos: i64,
    ) -> Result<(), MapError> {
        let [reported, no_room] = self.counts.get(&0, 0)?;
        if no_room != self.no_room {
            let more = no_room.wrapping_sub(self.no_room);
            self.no_room = no_room;
            out(gap(
                GapCause::TableFull,
                now,
                format!(
                    "{more} packets of sockets that were new found no room to be reported; their \
                     owners rest on what else is known until the socket sends again"
                ),
            ));
        }
        if reported == self.reported {
            return Ok(());
        }
        self.reported = reported;
        self.keys.clear();
        // The map holds no more; what comes in meanwhile is counted, and read the next time.
        let mut outcome = Ok(());
        for key in self.sightings.keys().take(INBOX_MAX) {
            match key {
                Ok(key) => self.keys.push(key),
                Err(error) => outcome = Err(error),
            }
        }
        self.read.clear();
        for key in &self.keys {
            match self.sightings.get(key, 0) {
                Ok(value) => self.read.extend(Sighting::read(key, &value)),
                Err(error) => outcome = Err(error),
            }
            if let Err(error) = self.sightings.remove(key) {
                outcome = Err(error);
            }
        }
        self.read
            .sort_unstable_by_key(|sighting| (sighting.at_nanos, sighting.cookie));
        for sighting in self.read.drain(..) {
            let fact = sighting.to_fact(now, monotonic_nanos);
            out(Event::OwnerFact(fact));
        }
        outcome
    }
}

fn gap(cause: GapCause, now: Timestamp, detail: String) -> Event {
    Event::Gap(Gap::uncounted(cause, now, PLACE, detail))
}

fn refused(error: &dyn std::error::Error) -> LayerError {
    LayerError::Refused(chain(error))
}

fn not_in(what: &str, name: &str) -> LayerError {
    LayerError::Refused(format!("the object has no {what} `{name}`"))
}

/// An error with its causes; of the verifier's log, the last lines say it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    const LINES_MAX: usize = 4;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES_MAX)..)
        .unwrap_or_default()
        .join("; ")
}
