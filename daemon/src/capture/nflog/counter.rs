//! The independent counter: rules in raw OUTPUT that only count what leaves this machine.
//!
//! In: the commands. Out: how many packets passed, whatever became of our rules in the filter
//! table. netd flushes its chains there and never touches raw; what passed here and was neither
//! seen nor lost was missed. Everything here runs child processes.

use super::{
    listing::Listing,
    plan::Family,
    rules::{Commands, RulesError, call, restore, words},
};
use crate::platform::command::CommandError;

/// Chain of the counter, in the raw table.
pub const CHAIN_RAW: &str = "sakshi_raw";
/// The kernel's chain that jumps into it.
const HOOK: &str = "OUTPUT";
/// Its rules: loopback is not watched, and what follows has no target, so that it only counts.
const RULES: [&str; 2] = ["-o lo -j RETURN", ""];

/// What a reading gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// This machine's raw table is missing or cannot be used: nothing counts.
    Missing,
    /// Somebody removed or changed the counter.
    Gone,
    /// Packets so far.
    Counted(u64),
}

/// Sets the counter, from 0, in front of whatever else is in raw OUTPUT.
pub(super) fn install(commands: &Commands, family: Family) -> Result<(), RulesError> {
    let mut text = format!("*raw\n:{CHAIN_RAW} - [0:0]\n");
    let mut single = vec![words(&["-t", "raw", "-N", CHAIN_RAW])];
    for rule in RULES {
        let line = format!("-A {CHAIN_RAW} {rule}");
        let mut line: Vec<&str> = line.split_whitespace().collect();
        text.push_str(&line.join(" "));
        text.push('\n');
        line.splice(..0, ["-t", "raw"]);
        single.push(words(&line));
    }
    text.push_str(&["-I", HOOK, "1 -j", CHAIN_RAW].join(" "));
    text.push_str("\nCOMMIT\n");
    single.push(words(&["-t", "raw", "-I", HOOK, "1", "-j", CHAIN_RAW]));
    restore(commands, family, &text, || single)
}

/// Reads the counter.
pub(super) fn read(commands: &Commands, family: Family) -> Result<Counter, RulesError> {
    Ok(counter(&list(commands, family)?))
}

fn counter(raw: &Listing) -> Counter {
    let mut rules = raw.rules.iter().filter(|rule| rule.chain == CHAIN_RAW);
    let texts = rules.clone().map(|rule| rule.text.as_str());
    if jumps(raw) != 1 || !texts.eq(RULES) {
        return Counter::Gone;
    }
    rules
        .next_back()
        .map_or(Counter::Gone, |rule| Counter::Counted(rule.packets))
}

fn jumps(raw: &Listing) -> usize {
    raw.rules
        .iter()
        .filter(|rule| rule.chain == HOOK && rule.target() == Some(CHAIN_RAW))
        .count()
}

/// Whether anything of it is there.
pub(super) fn is_there(commands: &Commands, family: Family) -> Result<bool, RulesError> {
    match list(commands, family) {
        Ok(raw) => Ok(has_ours(&raw)),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn has_ours(raw: &Listing) -> bool {
    jumps(raw) > 0 || raw.chains.iter().any(|chain| chain == CHAIN_RAW)
}

/// Removes it. Says whether it was there.
pub(super) fn remove(commands: &Commands, family: Family) -> Result<bool, RulesError> {
    let raw = match list(commands, family) {
        Ok(raw) => raw,
        Err(error) if is_absence(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    if !has_ours(&raw) {
        return Ok(false);
    }
    let mut lines = vec![words(&["-D", HOOK, "-j", CHAIN_RAW]); jumps(&raw)];
    if raw.chains.iter().any(|chain| chain == CHAIN_RAW) {
        lines.push(words(&["-F", CHAIN_RAW]));
        lines.push(words(&["-X", CHAIN_RAW]));
    }
    let mut text = String::from("*raw\n");
    for line in &lines {
        text.push_str(&line.join(" "));
        text.push('\n');
    }
    text.push_str("COMMIT\n");
    restore(commands, family, &text, || {
        for line in &mut lines {
            line.splice(..0, words(&["-t", "raw"]));
        }
        lines
    })?;
    Ok(true)
}

/// A raw table that cannot be listed was never one that we could have set rules in.
const fn is_absence(error: &RulesError) -> bool {
    matches!(
        error,
        RulesError::Command {
            source: CommandError::Failed { .. }
        }
    )
}

fn list(commands: &Commands, family: Family) -> Result<Listing, RulesError> {
    let args = [
        "-w",
        super::rules::LOCK_WAIT_SECONDS,
        "-t",
        "raw",
        "-v",
        "-S",
    ];
    call(commands.name(family), &args, None).map(|output| Listing::parse(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "-P OUTPUT ACCEPT -c 40 5000
-N sakshi_raw
-A OUTPUT -c 43 5180 -j sakshi_raw
-A sakshi_raw -o lo -c 3 180 -j RETURN
-A sakshi_raw -c 40 5000
";

    #[test]
    fn counts_what_does_not_stay_on_this_machine() {
        assert_eq!(counter(&Listing::parse(SET)), Counter::Counted(40));
    }

    #[test]
    fn what_somebody_changed_does_not_count() {
        for (old, new) in [
            ("-A OUTPUT -c 43 5180 -j sakshi_raw\n", ""),
            (
                "-A OUTPUT -c 43 5180 -j sakshi_raw\n",
                "-A OUTPUT -c 1 1 -j sakshi_raw\n-A OUTPUT -c 2 2 -j sakshi_raw\n",
            ),
            ("-A sakshi_raw -o lo -c 3 180 -j RETURN\n", ""),
            ("-A sakshi_raw -c 40 5000\n", ""),
        ] {
            let listing = Listing::parse(&SET.replacen(old, new, 1));
            assert_eq!(counter(&listing), Counter::Gone, "{old}");
            assert!(has_ours(&listing));
        }
        assert!(!has_ours(&Listing::parse("-P OUTPUT ACCEPT -c 1 1\n")));
    }
}
