//! Sets, watches, mends and removes our rules, by iptables and ip6tables.
//!
//! In: a [`Plan`]. Out: rules in the kernel, their counters, and what was found wrong. Everything
//! here runs child processes and may take seconds when the lock is held: never call it from the
//! capture thread.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    listing::Listing,
    plan::{self, CHAIN_PROBE, Family, Feature, JUMPS, Plan, Rule},
};
use crate::{
    capture::degradation::{Degradation, Weakness},
    platform::{
        command::{self, CommandError, Invocation, Output},
        machine,
    },
};

/// Seconds that iptables may wait for its lock.
pub const LOCK_WAIT_SECONDS: &str = "5";
/// How long one command may take in all.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);
/// Exit code of iptables for a lock that is held (`RESOURCE_PROBLEM`).
const EXIT_RESOURCE_PROBLEM: i32 = 4;

/// Names of the commands, so that a machine with several variants can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// For IPv4; with `-restore` behind it, its restore command.
    pub v4: String,
    /// For IPv6.
    pub v6: String,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            v4: "iptables".into(),
            v6: "ip6tables".into(),
        }
    }
}

impl Commands {
    /// The IPv4 command of this name, and its IPv6 twin (`iptables-legacy`, `ip6tables-legacy`).
    pub fn named(v4: &str) -> Self {
        let (folder, name) = v4
            .rsplit_once('/')
            .map_or(("", v4), |(folder, name)| (folder, name));
        let twin = name.replacen("ip", "ip6", 1);
        let v6 = if folder.is_empty() {
            twin
        } else {
            format!("{folder}/{twin}")
        };
        Self {
            v4: v4.to_owned(),
            v6,
        }
    }

    pub(super) fn name(&self, family: Family) -> &str {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Why rules could not be set, read or removed. Shown as its cause, then its remedy.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// No such command.
    NoCommand {
        /// Its name.
        command: String,
    },
    /// We may not.
    NotPermitted,
    /// Another program holds the lock.
    LockHeld {
        /// The command that waited.
        command: String,
    },
    /// The kernel, or the command, does not know the NFLOG target.
    NoTarget {
        /// What it said.
        source: CommandError,
    },
    /// The command failed for a reason of its own.
    Command {
        /// What was run and what it said.
        #[from]
        source: CommandError,
    },
    /// Something of ours is still there after removal.
    NotRemoved {
        /// Chains that remain.
        what: String,
    },
}

impl RulesError {
    /// What failed.
    pub fn cause(&self) -> String {
        match self {
            Self::NoCommand { command } => format!("`{command}` was not found"),
            Self::NotPermitted => "packet filter rules need root (CAP_NET_ADMIN)".to_owned(),
            Self::LockHeld { command } => format!(
                "another program has held the lock of `{command}` for more than \
                 {LOCK_WAIT_SECONDS} s"
            ),
            Self::NoTarget { source } => {
                format!("the packet filter has no NFLOG target ({source})")
            }
            Self::Command { source } => source.to_string(),
            Self::NotRemoved { what } => {
                format!("rules of ours are still there after their removal: {what}")
            }
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoCommand { .. } => {
                "install iptables (with ip6tables), or put the folder where it lies into PATH"
            }
            Self::NotPermitted => "start it as root",
            Self::LockHeld { .. } => "end that program, or try again",
            Self::NoTarget { .. } => {
                "use a kernel with CONFIG_NETFILTER_XT_TARGET_NFLOG, or load its module xt_NFLOG"
            }
            Self::Command { .. } => {
                "see whether the kernel has the filter table and the NFLOG target"
            }
            Self::NotRemoved { .. } => "run `sakshi clean`",
        }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.remedy())
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All is in place.
    Intact,
    /// Somebody's rules stand behind a jump of ours: nothing is missed, and moving ours behind an
    /// ACCEPT would miss much, so it stays.
    JumpNotLast,
    /// A jump is missing, or there are several; our chains are as they were.
    JumpsWrong,
    /// Rules of ours are missing or changed.
    Damaged,
}

/// A look at our rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The worst that was found, in either family.
    pub finding: Finding,
    /// Packets that the rules counted, per group, both families together.
    pub counts: BTreeMap<u16, u64>,
}

struct Installed {
    family: Family,
    features: Vec<Feature>,
    /// Our rules as listed right after they were set.
    baseline: Listing,
}

/// Our rules in the kernel. Dropping this leaves them there: call [`Rules::remove`].
pub struct Rules {
    commands: Commands,
    plan: Plan,
    installed: Vec<Installed>,
}

impl Rules {
    /// Removes what an earlier run left, then sets the rules. Says what this machine lacks.
    pub fn install(commands: Commands, plan: Plan) -> Result<(Self, Vec<Degradation>), RulesError> {
        if !machine::may_administer_network() {
            return Err(RulesError::NotPermitted);
        }
        remove(&commands)?;
        let mut rules = Self {
            commands,
            plan,
            installed: Vec::new(),
        };
        let mut degradations = Vec::new();
        for family in families() {
            match rules.install_family(family) {
                Ok(weaker) => degradations.extend(weaker),
                Err(error) => {
                    // Half of our rules is worse than none; the first error is the one to tell.
                    let _ = remove(&rules.commands);
                    return Err(error);
                }
            }
        }
        if !machine::has_ipv6() {
            degradations.push(Degradation::new(
                Weakness::NoIpv6,
                "this machine has no IPv6, so no IPv6 rules were set; IPv6 that is switched on \
                 later is not seen",
            ));
        }
        Ok((rules, degradations))
    }

    fn install_family(&mut self, family: Family) -> Result<Vec<Degradation>, RulesError> {
        let mut features = Feature::ALL.to_vec();
        if let Err(error) = self.set(family, &features) {
            if !matches!(
                error,
                RulesError::Command {
                    source: CommandError::Failed { .. }
                }
            ) {
                return Err(error);
            }
            self.has_target(family)?;
            features.retain(|feature| self.offers(family, *feature));
            if features == Feature::ALL {
                return Err(error);
            }
            self.set(family, &features)?;
        }
        let mut weaker = plan::weaknesses(&features, family);
        let baseline = list(&self.commands, family)?;
        let name = self.commands.name(family);
        weaker.extend(baseline.earlier_accepts().map(|rule| {
            Degradation::new(
                Weakness::EarlierAccept,
                format!(
                    "{name}: the rule `-A {} {}` accepts packets before ours see them, so those \
                     are missing",
                    rule.chain, rule.text
                ),
            )
        }));
        self.installed.push(Installed {
            family,
            features,
            baseline,
        });
        Ok(weaker)
    }

    fn set(&self, family: Family, features: &[Feature]) -> Result<(), RulesError> {
        let rules = plan::rules(&self.plan, family, features);
        restore(&self.commands, family, &plan::restore_text(&rules), || {
            single_commands(&rules)
        })
    }

    /// Tells a missing NFLOG target, without which there is nothing to fall back to here, from
    /// whatever else the rules may be refused for.
    fn has_target(&self, family: Family) -> Result<(), RulesError> {
        if self.takes(family, &plan::plain_rule()).is_err() {
            // Not even an empty rule is taken: the table itself is not there.
            return Ok(());
        }
        match self.takes(family, &plan::target_rule(self.plan.groups.apps)) {
            Err(RulesError::Command { source }) => Err(RulesError::NoTarget { source }),
            taken => taken,
        }
    }

    fn offers(&self, family: Family, feature: Feature) -> bool {
        let rule = plan::feature_rule(feature, family, CHAIN_PROBE, "-j RETURN");
        self.takes(family, &rule).is_ok()
    }

    /// Tries a rule in a chain that nothing jumps to.
    fn takes(&self, family: Family, rule: &Rule) -> Result<(), RulesError> {
        let tried = restore(&self.commands, family, &plan::probe_text(rule), || {
            vec![vec!["-N".into(), CHAIN_PROBE.into()], appended(rule)]
        });
        // The chain is gone again if the whole text was refused.
        let _ = remove_family(&self.commands, family);
        tried
    }

    /// Looks whether everything is in place and reads the counters.
    pub fn check(&self) -> Result<Check, RulesError> {
        let mut check = Check {
            finding: Finding::Intact,
            counts: BTreeMap::new(),
        };
        for group in [self.plan.groups.system, self.plan.groups.apps] {
            check.counts.insert(group, 0);
        }
        for installed in &self.installed {
            let now = list(&self.commands, installed.family)?;
            now.add_counts(&mut check.counts);
            let jumps = now.jumps();
            let finding = if now.our_rules() != installed.baseline.our_rules() {
                Finding::Damaged
            } else if jumps.iter().any(|jump| jump.count != 1) {
                Finding::JumpsWrong
            } else if jumps.iter().any(|jump| !jump.last) {
                Finding::JumpNotLast
            } else {
                Finding::Intact
            };
            check.finding = worse(check.finding, finding);
        }
        Ok(check)
    }

    /// Puts each jump that is missing or repeated once at the end of its chain; our chains and their
    /// counters stay.
    pub fn mend_jumps(&self) -> Result<(), RulesError> {
        for installed in &self.installed {
            let jumps = list(&self.commands, installed.family)?.jumps();
            if jumps.iter().all(|jump| jump.count == 1) {
                continue;
            }
            let mut lines = drop_jumps(jumps.map(|jump| jump.count));
            lines.extend(JUMPS.map(|(hook, chain)| words(&["-A", hook, "-j", chain])));
            run_lines(&self.commands, installed.family, lines)?;
        }
        Ok(())
    }

    /// Sets everything anew, with counters from 0. Remove and drain first.
    pub fn reinstall(&mut self) -> Result<(), RulesError> {
        for at in 0..self.installed.len() {
            let Some((family, features)) = self
                .installed
                .get(at)
                .map(|installed| (installed.family, installed.features.clone()))
            else {
                break;
            };
            self.set(family, &features)?;
            let baseline = list(&self.commands, family)?;
            if let Some(installed) = self.installed.get_mut(at) {
                installed.baseline = baseline;
            }
        }
        Ok(())
    }

    /// Takes the jumps away, so that nothing more is logged; chains and counters stay to be read.
    pub fn remove_jumps(&self) -> Result<(), RulesError> {
        for installed in &self.installed {
            let jumps = list(&self.commands, installed.family)?.jumps();
            let lines = drop_jumps(jumps.map(|jump| jump.count));
            run_lines(&self.commands, installed.family, lines)?;
        }
        Ok(())
    }

    /// Removes everything of ours.
    pub fn remove(&self) -> Result<(), RulesError> {
        remove(&self.commands).map(drop)
    }
}

fn worse(a: Finding, b: Finding) -> Finding {
    let rank = |finding: &Finding| match finding {
        Finding::Intact => 0,
        Finding::JumpNotLast => 1,
        Finding::JumpsWrong => 2,
        Finding::Damaged => 3,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// The families that this machine has.
pub(super) fn families() -> Vec<Family> {
    if machine::has_ipv6() {
        vec![Family::V4, Family::V6]
    } else {
        vec![Family::V4]
    }
}

/// Removes every rule of ours, also those of a run that crashed. Says whether there were any. What
/// fails for one family does not keep the other's rules there; the first error is told.
pub fn remove(commands: &Commands) -> Result<bool, RulesError> {
    let results: Vec<Result<bool, RulesError>> = families()
        .into_iter()
        .map(|family| remove_family(commands, family))
        .collect();
    results
        .into_iter()
        .try_fold(false, |removed, result| Ok(removed | result?))
}

/// Our chains that are there, as `family chain`; empty when the phone is as it was found.
pub fn leftovers(commands: &Commands) -> Result<Vec<String>, RulesError> {
    let mut found = Vec::new();
    for family in families() {
        let listing = list(commands, family)?;
        let name = commands.name(family);
        found.extend(listing.our_chains().map(|chain| format!("{name} {chain}")));
    }
    Ok(found)
}

fn remove_family(commands: &Commands, family: Family) -> Result<bool, RulesError> {
    let listing = list(commands, family)?;
    if !listing.has_ours() {
        return Ok(false);
    }
    let mut lines = drop_jumps(listing.jumps().map(|jump| jump.count));
    let chains: Vec<&str> = listing.our_chains().collect();
    lines.extend(chains.iter().map(|chain| words(&["-F", chain])));
    lines.extend(chains.iter().map(|chain| words(&["-X", chain])));
    run_lines(commands, family, lines)?;
    let after = list(commands, family)?;
    if after.has_ours() {
        let what: Vec<&str> = after.our_chains().collect();
        return Err(RulesError::NotRemoved {
            what: what.join(", "),
        });
    }
    Ok(true)
}

fn drop_jumps(counts: [usize; JUMPS.len()]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for ((hook, chain), count) in JUMPS.into_iter().zip(counts) {
        for _ in 0..count {
            lines.push(words(&["-D", hook, "-j", chain]));
        }
    }
    lines
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn appended(rule: &Rule) -> Vec<String> {
    let mut line = words(&["-A", rule.chain]);
    line.extend_from_slice(&rule.words);
    line
}

/// The same as [`plan::restore_text`], one command a line.
fn single_commands(rules: &[Rule]) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = [
        plan::CHAIN_OUT,
        plan::CHAIN_SYSTEM,
        plan::CHAIN_IN,
        plan::CHAIN_IN_LOG,
    ]
    .map(|chain| words(&["-N", chain]))
    .to_vec();
    lines.extend(rules.iter().map(appended));
    lines.extend(JUMPS.map(|(hook, chain)| words(&["-A", hook, "-j", chain])));
    lines
}

/// Runs plain lines (no word with a space) through restore, or one by one without it.
fn run_lines(
    commands: &Commands,
    family: Family,
    lines: Vec<Vec<String>>,
) -> Result<(), RulesError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut text = String::from("*filter\n");
    for line in &lines {
        text.push_str(&line.join(" "));
        text.push('\n');
    }
    text.push_str("COMMIT\n");
    restore(commands, family, &text, || lines)
}

/// All or nothing by iptables-restore; where that is missing, command by command.
pub(super) fn restore(
    commands: &Commands,
    family: Family,
    text: &str,
    single: impl FnOnce() -> Vec<Vec<String>>,
) -> Result<(), RulesError> {
    let name = format!("{}-restore", commands.name(family));
    let args = ["--noflush", "-w", LOCK_WAIT_SECONDS];
    match call(&name, &args, Some(text)) {
        Ok(_) => Ok(()),
        Err(RulesError::NoCommand { .. }) => {
            for line in single() {
                let mut args = vec!["-w", LOCK_WAIT_SECONDS];
                args.extend(line.iter().map(String::as_str));
                call(commands.name(family), &args, None)?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn list(commands: &Commands, family: Family) -> Result<Listing, RulesError> {
    list_table(commands, family, "filter")
}

/// What the command says of its version.
pub(super) fn version(commands: &Commands, family: Family) -> Result<String, RulesError> {
    call(commands.name(family), &["-V"], None).map(|output| output.stdout)
}

/// The rules of one table.
pub(super) fn list_table(
    commands: &Commands,
    family: Family,
    table: &str,
) -> Result<Listing, RulesError> {
    let args = ["-w", LOCK_WAIT_SECONDS, "-t", table, "-v", "-S"];
    call(commands.name(family), &args, None).map(|output| Listing::parse(&output.stdout))
}

/// A look at the filter table for somebody in a hurry: `program` waits a second for its lock and
/// may take `timeout` in all.
pub fn look(program: &str, timeout: Duration) -> Result<Listing, RulesError> {
    let ran = command::run(&Invocation {
        program,
        args: &["-w", "1", "-v", "-S"],
        stdin: None,
        timeout,
    });
    ran.map(|output| Listing::parse(&output.stdout))
        .map_err(|error| told(program, error))
}

fn call(program: &str, args: &[&str], stdin: Option<&str>) -> Result<Output, RulesError> {
    command::run(&Invocation {
        program,
        args,
        stdin,
        timeout: COMMAND_TIMEOUT,
    })
    .map_err(|error| told(program, error))
}

/// Tells the errors apart that have a remedy of their own.
fn told(program: &str, error: CommandError) -> RulesError {
    match error {
        CommandError::NotFound { program } => RulesError::NoCommand { command: program },
        CommandError::Failed { ref stderr, .. }
            if stderr.contains("Permission denied") || stderr.contains("you must be root") =>
        {
            RulesError::NotPermitted
        }
        CommandError::Failed {
            code: Some(EXIT_RESOURCE_PROBLEM),
            ref stderr,
            ..
        } if stderr.contains("xtables lock") => RulesError::LockHeld {
            command: program.to_owned(),
        },
        source => RulesError::Command { source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_missing_command() {
        let commands = Commands {
            v4: "/nonexistent/iptables".into(),
            v6: "/nonexistent/ip6tables".into(),
        };
        let error = leftovers(&commands).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`/nonexistent/iptables` was not found; install iptables"),
            "{error}"
        );
    }

    /// What `leftovers` says when iptables ends like this.
    fn told(script: &str) -> String {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iptables");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let name = path.to_str().unwrap().to_owned();
        let commands = Commands {
            v4: name.clone(),
            v6: name,
        };
        leftovers(&commands).unwrap_err().to_string()
    }

    #[test]
    fn tells_a_held_lock_from_a_missing_right() {
        let held = told(
            "echo 'Another app is currently holding the xtables lock; still 0s 0us time ahead' \
             >&2; exit 4",
        );
        assert!(
            held.starts_with("another program has held the lock"),
            "{held}"
        );
        let denied = told(
            "echo 'Could not fetch rule set: Permission denied (you must be root)' >&2; exit 4",
        );
        assert!(
            denied.starts_with("packet filter rules need root"),
            "{denied}"
        );
        let other = told("echo 'can not initialize iptables table `filter`' >&2; exit 3");
        assert!(
            other.contains("(exit 3)") && other.contains("NFLOG target"),
            "{other}"
        );
    }

    #[test]
    fn a_kernel_without_the_target_is_told_from_one_without_the_table() {
        use std::os::unix::fs::PermissionsExt;

        let target = "grep -q NFLOG && { echo 'No chain/target/match by that name' >&2; exit 2; }; \
                      exit 0";
        let table = "echo \"can't initialize iptables table `filter'\" >&2; exit 3";
        for (script, starts) in [
            (target, "the packet filter has no NFLOG target"),
            (table, "`"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in [("iptables", "exit 0"), ("iptables-restore", script)] {
                let path = folder.path().join(name);
                std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            let mut rules = Rules {
                commands: Commands::named(folder.path().join("iptables").to_str().unwrap()),
                plan: Plan {
                    users: vec![0],
                    groups: plan::Groups {
                        system: 100,
                        apps: 101,
                    },
                    threshold: 64,
                },
                installed: Vec::new(),
            };
            let told = rules.install_family(Family::V4).unwrap_err().to_string();
            assert!(told.starts_with(starts), "{told}");
            assert!(told.contains("NFLOG target"), "{told}");
        }
    }

    #[test]
    fn drops_every_jump_that_was_found() {
        let lines: Vec<String> = drop_jumps([2, 0])
            .iter()
            .map(|line| line.join(" "))
            .collect();
        assert_eq!(lines, ["-D OUTPUT -j sakshi_out"; 2]);
    }
}
