//! Sets, watches, mends and removes our rules, by iptables and ip6tables.
//!
//! In: a [`Plan`]. Out: rules in the kernel, their counters, and what was found wrong. Everything
//! here runs child processes and may take seconds when the lock is held: never call it from the
//! capture thread.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    counter::{self, CHAIN_RAW, Counter},
    listing::{Listing, Verdict},
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
/// Earlier verdicts of a kind that are told one by one; more are told as a number.
const EARLIER_TOLD_MAX: usize = 8;

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
    /// Each family by itself, in the order of [`Rules::families`].
    pub families: Vec<FamilyCheck>,
}

/// A look at one family's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyCheck {
    /// What was found.
    pub finding: Finding,
    /// Packets that our rules at OUTPUT logged.
    pub sent: u64,
    /// Rules that decide before ours at OUTPUT, with their counters.
    pub earlier: Vec<(String, u64)>,
}

struct Installed {
    family: Family,
    features: Vec<Feature>,
    /// Our rules as listed right after they were set.
    baseline: Listing,
    /// Whether the independent counter could be set.
    counter: bool,
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
        // First, so that nothing is logged that it does not count.
        let counter = counter::install(&self.commands, family);
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
        weaker.extend(earlier_told(&baseline, name));
        if let Err(error) = &counter {
            weaker.push(Degradation::new(
                Weakness::NoIndependentCounter,
                format!(
                    "{name}: nothing in the raw table counts what is sent ({}), so what passes \
                     while our rules are gone is not counted",
                    error.cause()
                ),
            ));
        }
        self.installed.push(Installed {
            family,
            features,
            baseline,
            counter: counter.is_ok(),
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
        let _ = remove_rules(&self.commands, family);
        tried
    }

    /// Looks whether everything is in place and reads the counters.
    pub fn check(&self) -> Result<Check, RulesError> {
        let mut check = Check {
            finding: Finding::Intact,
            counts: BTreeMap::new(),
            families: Vec::new(),
        };
        for group in [self.plan.groups.system, self.plan.groups.apps] {
            check.counts.insert(group, 0);
        }
        for installed in &self.installed {
            let now = list(&self.commands, installed.family)?;
            now.add_counts(&mut check.counts);
            let family = family_check(&now, &installed.baseline);
            check.finding = worse(check.finding, family.finding.clone());
            check.families.push(family);
        }
        Ok(check)
    }

    /// How many families have rules of ours; they are numbered from 0, IPv4 first.
    pub fn families(&self) -> usize {
        self.installed.len()
    }

    /// Looks at the rules of one family; none if there is none of that number.
    pub fn check_family(&self, number: usize) -> Result<Option<FamilyCheck>, RulesError> {
        let Some(installed) = self.installed.get(number) else {
            return Ok(None);
        };
        let now = list(&self.commands, installed.family)?;
        Ok(Some(family_check(&now, &installed.baseline)))
    }

    /// Reads the independent counter of one family.
    pub fn counter(&self, number: usize) -> Result<Counter, RulesError> {
        match self.installed.get(number) {
            Some(installed) if installed.counter => counter::read(&self.commands, installed.family),
            _ => Ok(Counter::Missing),
        }
    }

    /// Sets the independent counter of one family anew, from 0.
    pub fn renew_counter(&self, number: usize) -> Result<(), RulesError> {
        let Some(installed) = self.installed.get(number) else {
            return Ok(());
        };
        counter::remove(&self.commands, installed.family)?;
        counter::install(&self.commands, installed.family)
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

    /// Removes our rules in the filter table; the independent counter goes on.
    pub fn remove_rules(&self) -> Result<(), RulesError> {
        families()
            .into_iter()
            .try_for_each(|family| remove_rules(&self.commands, family).map(drop))
    }

    /// Removes everything of ours.
    pub fn remove(&self) -> Result<(), RulesError> {
        remove(&self.commands).map(drop)
    }
}

fn family_check(now: &Listing, baseline: &Listing) -> FamilyCheck {
    let jumps = now.jumps();
    let finding = if now.our_rules() != baseline.our_rules() {
        Finding::Damaged
    } else if jumps.iter().any(|jump| jump.count != 1) {
        Finding::JumpsWrong
    } else if jumps.iter().any(|jump| !jump.last) {
        Finding::JumpNotLast
    } else {
        Finding::Intact
    };
    let earlier = now.earlier_verdicts("OUTPUT");
    FamilyCheck {
        finding,
        sent: now.sent(),
        earlier: earlier
            .iter()
            .map(|earlier| {
                let rule = earlier.rule;
                (format!("-A {} {}", rule.chain, rule.text), rule.packets)
            })
            .collect(),
    }
}

/// What other rules decide before ours, in a few sentences however many they are.
fn earlier_told(listing: &Listing, name: &str) -> Vec<Degradation> {
    let mut told = Vec::new();
    for (verdict, weakness, does) in [
        (
            Verdict::Accepts,
            Weakness::EarlierAccept,
            "accepts packets before ours see them, so those are missing",
        ),
        (
            Verdict::Drops,
            Weakness::EarlierDrop,
            "drops packets before ours see them, so what it refuses to send is not recorded",
        ),
        (
            Verdict::Queues,
            Weakness::EarlierDrop,
            "hands packets to another process before ours see them, so those may be missing",
        ),
    ] {
        let of_kind: Vec<_> = JUMPS
            .iter()
            .flat_map(|(hook, _)| listing.earlier_verdicts(hook))
            .filter(|earlier| earlier.verdict == verdict)
            .collect();
        for earlier in of_kind.iter().take(EARLIER_TOLD_MAX) {
            let rule = earlier.rule;
            told.push(Degradation::new(
                weakness,
                format!(
                    "{name}: the rule `-A {} {}` {does} ({} so far)",
                    rule.chain, rule.text, rule.packets
                ),
            ));
        }
        let more = of_kind.len().saturating_sub(EARLIER_TOLD_MAX);
        if more > 0 {
            told.push(Degradation::new(
                weakness,
                format!("{name}: each of {more} more rules {does}"),
            ));
        }
    }
    told
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
        if counter::is_there(commands, family)? {
            found.push(format!("{name} {CHAIN_RAW}"));
        }
    }
    Ok(found)
}

fn remove_family(commands: &Commands, family: Family) -> Result<bool, RulesError> {
    let rules = remove_rules(commands, family);
    // What fails in one table does not keep the other's rules there.
    let counter = counter::remove(commands, family);
    Ok(rules? | counter?)
}

fn remove_rules(commands: &Commands, family: Family) -> Result<bool, RulesError> {
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

pub(super) fn call(
    program: &str,
    args: &[&str],
    stdin: Option<&str>,
) -> Result<Output, RulesError> {
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
mod tests;
