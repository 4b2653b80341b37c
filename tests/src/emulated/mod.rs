//! The emulated handset: Debian's arm64 kernel in qemu, laid out like a phone, on which the phone's
//! own binary runs.
//!
//! In: the files that `cargo xtask handset` built. Out: cases that were written there, taken out,
//! verified and judged on this machine. [`guest`] runs inside, everything else outside; this file
//! holds what both sides agree on. Every outcome says that it comes from a virtual handset.

pub mod disk;
pub mod guest;
pub mod judge;
pub mod machine;
pub mod power;
pub mod usage;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::traces::Moment;

/// Where the programs lie: where a technician pushes them.
pub const PROGRAMS: &str = "/data/local/tmp";
/// Where the cases lie.
pub const CASES: &str = "/data/sakshi";
/// The same, seen from the root of the data partition.
pub const CASES_ON_DISK: &str = "/sakshi";
/// What the guest says of a whole run, beside the cases.
pub const REPORT: &str = "report.json";
/// What was there at the moments of the power cuts, a line each, beside the cases.
pub const TRACES: &str = "traces.jsonl";
/// Folder of the validation's report, beside the cases.
pub const VALIDATION: &str = "validation";
/// Start of each line on the console that is meant for the other side.
pub const MARK: &str = "@@ ";
/// The kernel parameter that names the scenario.
pub const PARAMETER: &str = "sakshi.scenario=";

/// What the guest does after it has booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Degraded watches, an idle one, and the demo's scenes.
    Watch,
    /// Watches under load until the power is cut.
    Load,
    /// Cleans up after a power cut.
    Clean,
    /// Goes on with that case, and ends in order.
    Close,
    /// Validates on its kernel.
    Validate,
}

impl Scenario {
    /// Its name in the kernel's command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Load => "load",
            Self::Clean => "clean",
            Self::Close => "close",
            Self::Validate => "validate",
        }
    }

    /// The one that a kernel's command line names.
    pub fn from_command_line(line: &str) -> Option<Self> {
        let name = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(PARAMETER))?;
        let all = [
            Self::Watch,
            Self::Load,
            Self::Clean,
            Self::Close,
            Self::Validate,
        ];
        all.into_iter().find(|scenario| scenario.name() == name)
    }
}

/// The watches of [`Scenario::Watch`], in their order; each has a case of its name.
pub mod stage {
    /// No NFLOG in the kernel, no bpffs.
    pub const NO_NFLOG: &str = "no-nflog";
    /// NFLOG, but no `iptables`.
    pub const NO_IPTABLES: &str = "no-iptables";
    /// NFLOG and `iptables`, but no bpffs.
    pub const NO_BPFFS: &str = "no-bpffs";
    /// Everything that a phone has.
    pub const WATCH: &str = "watch";
    /// A watch that is killed.
    pub const CRASH: &str = "crash";
    /// The case of the power cuts.
    pub const POWER: &str = "power";
}

/// What a watch came to, as the guest saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Its name, and that of its case.
    pub name: String,
    /// What `status` called degraded.
    pub degraded: Vec<String>,
    /// How packets were watched, as `status` says.
    pub capture: String,
    /// What `stop` came to.
    pub summary: Value,
    /// What `doctor` said before the start.
    pub doctor: Value,
}

/// What the idle watch came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleReport {
    /// Packets that left any interface from before the daemon's start until its idle time was over.
    pub sent: u64,
    /// What the daemon used meanwhile.
    pub usage: usage::Usage,
}

/// Moments at which it is looked what a watch has left.
pub mod moment {
    /// Before the first watch.
    pub const BEFORE: &str = "before";
    /// A stage has ended in order; its name follows.
    pub const STOPPED: &str = "stopped: ";
    /// The daemon was killed.
    pub const CRASHED: &str = "after a crash";
    /// It was cleaned up after that.
    pub const CLEANED: &str = "after a crash and clean";
    /// Booted after a power cut.
    pub const POWER_CUT: &str = "after a power cut";
    /// It was cleaned up after that.
    pub const CUT_CLEANED: &str = "after a power cut and clean";
    /// The next watch has begun and ended after that.
    pub const CUT_STOPPED: &str = "after a power cut, the next start and stop";
}

/// What the guest says of a run of [`Scenario::Watch`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Release of its kernel.
    pub kernel: String,
    /// Its machine, as `uname -m` prints it.
    pub machine: String,
    /// The watches.
    pub stages: Vec<StageReport>,
    /// Of the last watch, before anybody sent.
    pub idle: IdleReport,
    /// Of the last watch, after everybody had sent.
    pub loaded: usage::Usage,
    /// What was there before the first watch, after each, and after one that was killed.
    pub moments: Vec<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_scenario_among_other_parameters() {
        let line = "console=ttyAMA0 quiet sakshi.scenario=load panic=-1\n";
        assert_eq!(Scenario::from_command_line(line), Some(Scenario::Load));
        assert_eq!(Scenario::from_command_line("quiet"), None);
        assert_eq!(Scenario::from_command_line("sakshi.scenario=x"), None);
    }
}
