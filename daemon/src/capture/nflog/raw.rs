//! Our chain at raw OUTPUT, whose rule runs the program that reads owners.
//!
//! In: the path of the pinned program. Out: rules in the kernel, for IPv4 and IPv6. The rule has no
//! target and never matches: no packet goes another way because of it. Who sets it has pinned the
//! program before; who unpins it has removed the rule before.

use std::path::Path;

use super::{
    listing::Listing,
    plan::Family,
    rules::{Commands, RulesError, families, list_table, restore, version, words},
};

/// Our chain in the raw table, apart from that of the independent counter: it comes and goes with
/// the pin.
pub const CHAIN_RAW: &str = "sakshi_owner";
const TABLE: &str = "raw";
const HOOK: &str = "OUTPUT";

/// Our rules in the raw table. Dropping this leaves them there.
pub struct RawRules {
    commands: Commands,
    pin: String,
    /// Our rules of each family, as listed right after they were set.
    baseline: Vec<(Family, Vec<String>)>,
}

impl RawRules {
    /// Sets them; the program must be pinned.
    pub fn install(commands: &Commands, pin: &Path) -> Result<Self, RulesError> {
        let mut rules = Self {
            commands: commands.clone(),
            pin: pin.display().to_string(),
            baseline: Vec::new(),
        };
        for family in families() {
            rules.set(family)?;
            let listing = list_table(commands, family, TABLE)?;
            rules.baseline.push((family, ours(&listing)));
        }
        Ok(rules)
    }

    /// Whether nobody removed or changed them.
    pub fn is_intact(&self) -> Result<bool, RulesError> {
        for (family, baseline) in &self.baseline {
            let listing = list_table(&self.commands, *family, TABLE)?;
            if jumps(&listing) != 1 || ours(&listing) != *baseline {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets them anew.
    pub fn mend(&self) -> Result<(), RulesError> {
        remove(&self.commands)?;
        self.baseline
            .iter()
            .try_for_each(|(family, _)| self.set(*family))
    }

    fn set(&self, family: Family) -> Result<(), RulesError> {
        let run = ["-A", CHAIN_RAW, "-m", "bpf", "--object-pinned", &self.pin];
        let lines = [
            words(&["-A", CHAIN_RAW, "-o", "lo", "-j", "RETURN"]),
            words(&run),
            words(&["-A", HOOK, "-j", CHAIN_RAW]),
        ];
        let mut text = format!("*{TABLE}\n:{CHAIN_RAW} - [0:0]\n");
        for line in &lines {
            text.push_str(&line.join(" "));
            text.push('\n');
        }
        text.push_str("COMMIT\n");
        restore(&self.commands, family, &text, || {
            let mut single = vec![words(&["-N", CHAIN_RAW])];
            single.extend(lines);
            in_table(single)
        })
    }
}

/// Removes every rule of ours, also those of a run that crashed. Says whether there were any.
pub fn remove(commands: &Commands) -> Result<bool, RulesError> {
    let results: Vec<Result<bool, RulesError>> = families()
        .into_iter()
        .map(|family| remove_family(commands, family))
        .collect();
    results
        .into_iter()
        .try_fold(false, |removed, result| Ok(removed | result?))
}

/// Whether listing would make the table: the legacy variant makes one by looking at it, and what is
/// not there holds no rule of ours.
fn has_no_table(commands: &Commands, family: Family) -> bool {
    let names = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    let is_nft = || version(commands, family).is_ok_and(|version| version.contains("(nf_tables)"));
    // No file: the kernel has none of the legacy variant's tables.
    let names = std::fs::read_to_string(names).unwrap_or_default();
    !names.lines().any(|name| name == TABLE) && !is_nft()
}

fn remove_family(commands: &Commands, family: Family) -> Result<bool, RulesError> {
    if has_no_table(commands, family) {
        return Ok(false);
    }
    let listing = match list_table(commands, family, TABLE) {
        Ok(listing) => listing,
        // A kernel without this table holds nothing of ours in it.
        Err(RulesError::Command { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let jumps = jumps(&listing);
    let has_chain = listing.chains.iter().any(|chain| chain == CHAIN_RAW);
    if jumps == 0 && !has_chain {
        return Ok(false);
    }
    let mut lines = vec![words(&["-D", HOOK, "-j", CHAIN_RAW]); jumps];
    if has_chain {
        lines.push(words(&["-F", CHAIN_RAW]));
        lines.push(words(&["-X", CHAIN_RAW]));
    }
    let mut text = format!("*{TABLE}\n");
    for line in &lines {
        text.push_str(&line.join(" "));
        text.push('\n');
    }
    text.push_str("COMMIT\n");
    restore(commands, family, &text, || in_table(lines))?;
    let after = list_table(commands, family, TABLE)?;
    if after.chains.iter().any(|chain| chain == CHAIN_RAW) {
        return Err(RulesError::NotRemoved {
            what: CHAIN_RAW.to_owned(),
        });
    }
    Ok(true)
}

/// Commands for our table.
fn in_table(lines: Vec<Vec<String>>) -> Vec<Vec<String>> {
    lines
        .into_iter()
        .map(|line| [words(&["-t", TABLE]), line].concat())
        .collect()
}

fn jumps(listing: &Listing) -> usize {
    let wanted = format!("-j {CHAIN_RAW}");
    listing
        .rules
        .iter()
        .filter(|rule| rule.chain == HOOK && rule.text == wanted)
        .count()
}

/// Our chain's rules, without counters.
fn ours(listing: &Listing) -> Vec<String> {
    listing
        .rules
        .iter()
        .filter(|rule| rule.chain == CHAIN_RAW)
        .map(|rule| rule.text.clone())
        .collect()
}
