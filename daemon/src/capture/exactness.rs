//! The exactness layer: the owner read off the packet's own socket, by a program of ours in the
//! kernel that raw OUTPUT runs (`bpf/owner.bpf.c`).
//!
//! In: the commands that set rules, the folder of the BPF file system. Out: owner facts, through an
//! [`Inbox`] that the capture thread empties; and a machine left as it was found. The rule goes
//! before the pin, always: with iptables-legacy a rule whose pinned program is gone makes every
//! later change of its table fail, whoever makes it.

mod home;
mod program;
mod sighting;
mod tags;

use std::path::{Path, PathBuf};

use super::nflog::{
    raw::{self, RawRules},
    rules::{Commands, RulesError},
};

pub(crate) use program::PLACE;

pub use home::{BPFFS, Home};
pub use program::{INBOX_MAX, Inbox, OBJECT};
pub use sighting::{KEY_BYTES, Sighting, VALUE_BYTES};
pub use tags::{TAG_MAPS, TagMap, TagMapError};

use program::Program;

/// Why the layer is not there. The daemon goes on without it and says so.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// No BPF file system.
    #[error("there is no BPF file system at {}", .0.display())]
    NoBpffs(PathBuf),
    /// One that other processes do not see.
    #[error(
        "the BPF file system at {} is not the one that the first process sees, so a rule of ours \
         would keep others from changing their rules", .0.display()
    )]
    OthersView(PathBuf),
    /// `SELinux` lets netd not use it.
    #[error(
        "SELinux keeps netd from using a program that {ours} loaded, so a rule of ours would keep \
         netd from changing its own; to have it, let the policy allow `netd` to `prog_run` a `bpf` \
         of that context"
    )]
    NetdMayNot {
        /// Our own context.
        ours: String,
    },
    /// The kernel refuses the program.
    #[error("the kernel refuses the program: {0}")]
    Refused(String),
    /// A file of the pin.
    #[error("{}: {source}", path.display())]
    Pin {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The rule.
    #[error("the rule that runs the program: {0}")]
    Rules(#[from] RulesError),
}

/// The layer in the kernel. Dropping this leaves it there: call [`Layer::remove`].
pub struct Layer {
    program: Program,
    home: Home,
    rules: Option<RawRules>,
    commands: Commands,
}

/// What a look at the layer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// All is in place.
    Intact,
    /// The rule or the pin was missing, and was put right.
    Mended,
}

impl Layer {
    /// Removes what an earlier run left, and loads the program. Nothing runs it yet.
    pub fn load(commands: &Commands, bpffs: Option<&Path>) -> Result<(Self, Inbox), LayerError> {
        clean(commands, bpffs)?;
        let home = Home::find(bpffs)?;
        let (program, inbox) = Program::load()?;
        let layer = Self {
            program,
            home,
            rules: None,
            commands: commands.clone(),
        };
        Ok((layer, inbox))
    }

    /// Pins the program, then sets the rule that runs it.
    pub fn attach(&mut self) -> Result<(), LayerError> {
        self.program.pin(&self.home)?;
        match RawRules::install(&self.commands, self.home.pin()) {
            Ok(rules) => {
                self.rules = Some(rules);
                Ok(())
            }
            Err(error) => {
                // What was set of it is gone, or the pin must stay.
                raw::remove(&self.commands)?;
                self.home.unpin()?;
                Err(error.into())
            }
        }
    }

    /// Looks whether the pin and the rule are there, and puts them right.
    pub fn look(&mut self) -> Result<Look, LayerError> {
        let mut look = Look::Intact;
        if !self.home.pin().exists() {
            // Until it is there again nobody can change the table.
            self.program.pin(&self.home)?;
            look = Look::Mended;
        }
        if let Some(rules) = &mut self.rules
            && !rules.is_intact()?
        {
            rules.mend()?;
            look = Look::Mended;
        }
        Ok(look)
    }

    /// Takes the rule away, so that no more packets are looked at; the inbox can still be read.
    pub fn detach(&mut self) -> Result<(), LayerError> {
        raw::remove(&self.commands)?;
        self.rules = None;
        Ok(())
    }

    /// Removes the rule, then the pin.
    pub fn remove(mut self) -> Result<(), LayerError> {
        self.detach()?;
        self.home.unpin()
    }
}

/// Removes what a run that crashed left: the rule, then the pin. Says whether there was anything.
pub fn clean(commands: &Commands, bpffs: Option<&Path>) -> Result<bool, LayerError> {
    let home = Home::named(bpffs);
    let rule = match raw::remove(commands) {
        Ok(rule) => rule,
        Err(error) if home.pin().exists() => return Err(error.into()),
        Err(error) => {
            // Somebody removed the pin alone: no change of the table succeeds until one is there.
            let rescued = Program::load().and_then(|(mut program, _)| program.pin(&home));
            rescued.map_err(|_| error)?;
            raw::remove(commands)?
        }
    };
    let pin = home.pin().exists();
    home.unpin()?;
    Ok(rule || pin)
}
