//! Reads what `iptables -v -S` prints.
//!
//! In: its text, of the legacy or the nft variant. Out: chains and rules of a table, each rule with
//! its packet counter, and which rules decide about packets before ours see them. Lines of other
//! kinds are ignored: other people's rules are else none of our business.

use std::collections::BTreeMap;

use super::plan::{CHAIN_OUT, CHAIN_SYSTEM, CHAINS, JUMPS};

/// Rules read at most; a table with more is not one of a handset.
pub const RULES_MAX: usize = 65_536;

/// A rule as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRule {
    /// Chain that it stands in.
    pub chain: String,
    /// Everything behind the chain, counters taken out.
    pub text: String,
    /// Packets that it matched.
    pub packets: u64,
}

impl ListedRule {
    /// Where it sends a packet: a target, or a chain.
    pub fn target(&self) -> Option<&str> {
        let mut quoted = false;
        let mut words = self.text.split(' ').filter(|word| {
            // A word with spaces in it is quoted; what it holds is no option.
            let inside = quoted;
            quoted ^= word.matches('"').count() % 2 == 1;
            !inside && !word.starts_with('"')
        });
        words.find(|word| matches!(*word, "-j" | "-g"))?;
        words.next()
    }

    /// Whether it sees loopback only.
    fn is_of_loopback(&self) -> bool {
        ["-o lo", "-i lo"].iter().any(|only| {
            self.text
                .find(only)
                .is_some_and(|at| !self.text.get(..at).unwrap_or_default().ends_with("! "))
        })
    }

    /// The group that it logs to, for an NFLOG rule.
    pub fn nflog_group(&self) -> Option<u16> {
        let (_, target) = self.text.split_once("-j NFLOG")?;
        let mut words = target.split_whitespace();
        words.find(|word| *word == "--nflog-group")?;
        words.next()?.parse().ok()
    }
}

/// A filter table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Chains that somebody made, in the order listed.
    pub chains: Vec<String>,
    /// Rules, in the order listed.
    pub rules: Vec<ListedRule>,
}

impl Listing {
    /// Reads the text.
    pub fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        for line in text.lines() {
            if let Some(chain) = line.strip_prefix("-N ") {
                listing.chains.push(chain.trim().to_owned());
            } else if let Some(rule) = line.strip_prefix("-A ")
                && listing.rules.len() < RULES_MAX
                && let Some(rule) = listed_rule(rule)
            {
                listing.rules.push(rule);
            }
        }
        listing
    }

    /// Our chains that are there.
    pub fn our_chains(&self) -> impl Iterator<Item = &'static str> {
        CHAINS
            .into_iter()
            .filter(|ours| self.chains.iter().any(|chain| chain == ours))
    }

    /// Our rules within our chains, without counters: equal listings mean that nobody touched them.
    pub fn our_rules(&self) -> Vec<(&str, &str)> {
        self.rules
            .iter()
            .filter(|rule| CHAINS.contains(&rule.chain.as_str()))
            .map(|rule| (rule.chain.as_str(), rule.text.as_str()))
            .collect()
    }

    /// For each of [`JUMPS`]: how many jumps there are, and whether one is the chain's last rule.
    pub fn jumps(&self) -> [Jump; JUMPS.len()] {
        JUMPS.map(|(hook, chain)| {
            let wanted = format!("-j {chain}");
            let mut jump = Jump {
                count: 0,
                last: false,
            };
            for rule in self.rules.iter().filter(|rule| rule.chain == hook) {
                jump.last = rule.text == wanted;
                jump.count += usize::from(jump.last);
            }
            jump
        })
    }

    /// Rules that decide about packets of the network before our jump at `hook` sees them: in the
    /// hook itself, or in chains that are entered before.
    pub fn earlier_verdicts(&self, hook: &str) -> Vec<EarlierVerdict<'_>> {
        let Some((_, chain)) = JUMPS.into_iter().find(|(known, _)| *known == hook) else {
            return Vec::new();
        };
        let mut by_chain: BTreeMap<&str, Vec<&ListedRule>> = BTreeMap::new();
        for rule in &self.rules {
            by_chain.entry(&rule.chain).or_default().push(rule);
        }
        let mut entered = vec![hook];
        let mut found = Vec::new();
        // Each chain is entered once, so this ends.
        let mut at = 0;
        while let Some(chain_name) = entered.get(at).copied() {
            at += 1;
            let rules = by_chain.get(chain_name).map_or(&[][..], Vec::as_slice);
            for rule in rules {
                let Some(target) = rule.target() else {
                    continue;
                };
                if chain_name == hook && target == chain {
                    break;
                }
                if rule.is_of_loopback() {
                    continue;
                }
                if let Some(verdict) = verdict(target, chain_name == hook) {
                    found.push(EarlierVerdict { rule, verdict });
                } else if by_chain.contains_key(target) && !entered.contains(&target) {
                    entered.push(target);
                }
            }
        }
        found
    }

    /// Those of the earlier verdicts at either of our jumps that accept packets.
    pub fn earlier_accepts(&self) -> impl Iterator<Item = &ListedRule> {
        JUMPS
            .into_iter()
            .flat_map(|(hook, _)| self.earlier_verdicts(hook))
            .filter(|earlier| earlier.verdict == Verdict::Accepts)
            .map(|earlier| earlier.rule)
    }

    /// Packets that our rules at OUTPUT logged.
    pub fn sent(&self) -> u64 {
        self.rules
            .iter()
            .filter(|rule| [CHAIN_OUT, CHAIN_SYSTEM].contains(&rule.chain.as_str()))
            .filter(|rule| rule.nflog_group().is_some())
            .fold(0, |sum, rule| sum.saturating_add(rule.packets))
    }

    /// Whether anything of ours is there.
    pub fn has_ours(&self) -> bool {
        self.our_chains().next().is_some() || self.jumps().iter().any(|jump| jump.count > 0)
    }

    /// Adds, per group, the packets that our NFLOG rules counted.
    pub fn add_counts(&self, counts: &mut BTreeMap<u16, u64>) {
        for rule in &self.rules {
            if CHAINS.contains(&rule.chain.as_str())
                && let Some(group) = rule.nflog_group()
            {
                let sum = counts.entry(group).or_default();
                *sum = sum.saturating_add(rule.packets);
            }
        }
    }
}

/// What a rule in front of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lets packets go on their way, unseen by ours.
    Accepts,
    /// Drops or refuses them.
    Drops,
    /// Hands them to another process, which decides.
    Queues,
}

/// A rule that decides before ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierVerdict<'a> {
    /// The rule.
    pub rule: &'a ListedRule,
    /// What it does.
    pub verdict: Verdict,
}

/// What a target decides; none for a chain, and for targets after which a packet goes on. RETURN
/// decides only in a chain of the kernel, whose policy then applies.
fn verdict(target: &str, in_hook: bool) -> Option<Verdict> {
    match target {
        "ACCEPT" => Some(Verdict::Accepts),
        "RETURN" if in_hook => Some(Verdict::Accepts),
        "DROP" | "REJECT" => Some(Verdict::Drops),
        "QUEUE" | "NFQUEUE" => Some(Verdict::Queues),
        _ => None,
    }
}

/// How a jump of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How often it is there: once, if all is well.
    pub count: usize,
    /// Whether it is the last rule of its chain.
    pub last: bool,
}

/// `CHAIN … -c PACKETS BYTES …`; none without counters.
fn listed_rule(line: &str) -> Option<ListedRule> {
    let (chain, rest) = line.split_once(' ')?;
    let (before, counters) = if let Some(counters) = rest.strip_prefix("-c ") {
        ("", counters)
    } else {
        rest.split_once(" -c ")?
    };
    let mut parts = counters.splitn(3, ' ');
    let packets = parts.next()?.parse().ok()?;
    let _bytes: u64 = parts.next()?.parse().ok()?;
    let after = parts.next().unwrap_or_default();
    let text = match (before, after) {
        ("", text) | (text, "") => text.to_owned(),
        (before, after) => format!("{before} {after}"),
    };
    Some(ListedRule {
        chain: chain.to_owned(),
        text,
        packets,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // As iptables 1.8.9 prints it; the nft variant differs in the order of chains and of options.
    const LEGACY: &str = r#"-P INPUT ACCEPT -c 12 900
-P FORWARD ACCEPT -c 0 0
-P OUTPUT ACCEPT -c 40 5000
-N bw_OUTPUT
-N sakshi_in
-N sakshi_inlog
-N sakshi_out
-N sakshi_sys
-A INPUT -c 3 180 -j sakshi_in
-A OUTPUT -c 50 4000 -j bw_OUTPUT
-A OUTPUT -c 50 4000 -j sakshi_out
-A sakshi_in -i lo -c 0 0 -j RETURN
-A sakshi_in -p udp -m udp --sport 443 -m bpf --bytecode "5,177 0 0 0,80 0 0 8,69 0 1 128,6 0 0 65535,6 0 0 0" -c 1 1200 -g sakshi_inlog
-A sakshi_inlog -c 1 1200 -j NFLOG --nflog-group 102 --nflog-threshold 64
-A sakshi_out -o lo -c 9 99 -j RETURN
-A sakshi_out -m owner --uid-owner 0-9999 -c 7 777 -g sakshi_sys
-A sakshi_out -p tcp -m multiport --dports 80,8080 -c 11 1000 -j NFLOG --nflog-group 101 --nflog-threshold 64
-A sakshi_out -p tcp -m multiport --dports 80,8080 -c 11 1000 -j RETURN
-A sakshi_out -c 23 2000 -j NFLOG --nflog-group 101 --nflog-size 4096 --nflog-threshold 64
-A sakshi_sys -c 7 777 -j NFLOG --nflog-group 100 --nflog-size 4096 --nflog-threshold 1
"#;

    const NFT: &str = r"-P INPUT ACCEPT -c 0 0
-P FORWARD ACCEPT -c 0 0
-P OUTPUT ACCEPT -c 0 0
-N sakshi_out
-N sakshi_sys
-A OUTPUT -c 6 504 -j sakshi_out
-A OUTPUT -c 6 504 -j DROP
-A sakshi_out -c 6 504 -j NFLOG --nflog-group 101 --nflog-size 4096 --nflog-threshold 64
-A sakshi_out -c 0 0
";

    fn counts(text: &str) -> Vec<(u16, u64)> {
        let mut counts = BTreeMap::new();
        Listing::parse(text).add_counts(&mut counts);
        counts.into_iter().collect()
    }

    #[test]
    fn sums_our_nflog_rules_per_group() {
        assert_eq!(counts(LEGACY), [(100, 7), (101, 34), (102, 1)]);
        assert_eq!(counts(NFT), [(101, 6)]);
    }

    #[test]
    fn counts_only_our_chains() {
        assert_eq!(
            counts("-A other -c 5 5 -j NFLOG --nflog-group 101\n"),
            Vec::<(u16, u64)>::new()
        );
    }

    #[test]
    fn sees_where_the_jumps_stand() {
        let once_last = Jump {
            count: 1,
            last: true,
        };
        assert_eq!(Listing::parse(LEGACY).jumps(), [once_last; 2]);
        assert_eq!(
            Listing::parse(NFT).jumps(),
            [
                Jump {
                    count: 1,
                    last: false
                },
                Jump {
                    count: 0,
                    last: false
                }
            ]
        );
    }

    #[test]
    fn finds_what_decides_before_ours() {
        let text = r#"-A INPUT -i lo -c 0 0 -j ACCEPT
-A INPUT -s 192.0.2.1/32 -c 0 0 -j ACCEPT
-A INPUT -c 0 0 -j sakshi_in
-A OUTPUT -o lo -c 9 9 -j ACCEPT
-A OUTPUT ! -o lo -p tcp -c 1 1 -j ACCEPT
-A OUTPUT -m comment --comment "not -j DROP" -c 2 2 -j bw_OUTPUT
-A OUTPUT -c 3 3 -j LOG
-A OUTPUT -p udp -c 4 4 -j RETURN
-A OUTPUT -c 0 0 -j sakshi_out
-A OUTPUT -c 0 0 -j ACCEPT
-A bw_OUTPUT -c 0 0 -g bw_deep
-A bw_OUTPUT -c 0 0 -j RETURN
-A bw_deep -p icmp -c 5 5 -j REJECT --reject-with icmp-port-unreachable
-A bw_deep -c 0 0 -j bw_OUTPUT
-A elsewhere -c 0 0 -j DROP
"#;
        let listing = Listing::parse(text);
        let at = |hook| -> Vec<(Verdict, u64)> {
            listing
                .earlier_verdicts(hook)
                .iter()
                .map(|earlier| (earlier.verdict, earlier.rule.packets))
                .collect()
        };
        assert_eq!(
            at("OUTPUT"),
            [
                (Verdict::Accepts, 1),
                (Verdict::Accepts, 4),
                (Verdict::Drops, 5)
            ]
        );
        assert_eq!(at("INPUT"), [(Verdict::Accepts, 0)]);
        assert_eq!(listing.earlier_accepts().count(), 3);
        assert_eq!(at("FORWARD"), []);
    }

    #[test]
    fn counts_what_was_logged_at_output() {
        assert_eq!(Listing::parse(LEGACY).sent(), 41);
        assert_eq!(Listing::parse(NFT).sent(), 6);
    }

    #[test]
    fn equal_rules_have_equal_text_whatever_they_counted() {
        let later = LEGACY.replace("-c 23 2000", "-c 99 9000");
        assert_eq!(
            Listing::parse(LEGACY).our_rules(),
            Listing::parse(&later).our_rules()
        );
        let flushed = LEGACY.replace("-A sakshi_sys", "-A elsewhere");
        assert_ne!(
            Listing::parse(LEGACY).our_rules(),
            Listing::parse(&flushed).our_rules()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(-[AN] |-c |[0-9 a-z_]|\n){0,60}") {
            let listing = Listing::parse(&text);
            prop_assert!(listing.rules.len() + listing.chains.len() <= text.lines().count());
        }
    }
}
