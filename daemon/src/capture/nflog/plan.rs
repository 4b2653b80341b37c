//! Which packets are logged to which group, as rules of iptables.
//!
//! In: a [`Plan`] and the [`Feature`]s that this machine offers. Out: rules as lists of words, the
//! same for legacy and nft, and the text that iptables-restore takes. Pure.
//!
//! Each packet is logged once: a chain ends at its first NFLOG rule that matches, by a goto or a
//! RETURN behind it.

use std::fmt::Write as _;

use crate::capture::degradation::{Degradation, Weakness};

/// Chain at OUTPUT.
pub const CHAIN_OUT: &str = "sakshi_out";
/// Chain of the system UIDs' packets.
pub const CHAIN_SYSTEM: &str = "sakshi_sys";
/// Chain at INPUT.
pub const CHAIN_IN: &str = "sakshi_in";
/// Chain that logs what the chain at INPUT chose.
pub const CHAIN_IN_LOG: &str = "sakshi_inlog";
/// Chain in which a feature is tried.
pub const CHAIN_PROBE: &str = "sakshi_probe";
/// Every chain of ours, those first that jump into others.
pub const CHAINS: [&str; 5] = [CHAIN_OUT, CHAIN_IN, CHAIN_SYSTEM, CHAIN_IN_LOG, CHAIN_PROBE];

/// Destination ports on which payload is often readable, so that whole packets are wanted: FTP,
/// telnet, SMTP, HTTP, POP3, IMAP, submission, MQTT, XMPP, and the usual HTTP alternatives. At
/// most 15 fit one multiport match.
pub const CLEARTEXT_PORTS: &str = "21,23,25,80,110,143,587,1883,5222,8000,8008,8080,8081,8088,8888";
/// Bytes of any other packet that are copied.
pub const COPY_BYTES: u32 = 4096;
/// Packets of a flow, inbound, that count as its first replies.
pub const FIRST_REPLIES: u32 = 8;
/// Flows that the first-replies table can hold. A full table makes the kernel drop packets, so it
/// is far larger than what a handset opens within [`FIRST_REPLIES_EXPIRE_MS`].
pub const FIRST_REPLIES_FLOWS_MAX: u32 = 262_144;
/// How long the first-replies table remembers a silent flow, in milliseconds.
pub const FIRST_REPLIES_EXPIRE_MS: u32 = 10_000;
/// Highest app id of the system's own UIDs (`AID_APP_START` is one more).
const SYSTEM_APPID_MAX: u32 = 9_999;
/// UIDs per Android user.
const UIDS_PER_USER: u32 = crate::attribute::uid::PER_USER;

/// Internet protocol version of a set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, by iptables.
    V4,
    /// IPv6, by ip6tables.
    V6,
}

/// A match of the kernel that a rule needs and that a kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// `-m owner`.
    Owner,
    /// `-m multiport`.
    Multiport,
    /// `-m bpf`, to tell QUIC's long headers.
    Bpf,
    /// `-m u32`, in its place.
    U32,
    /// `-m hashlimit`, to tell the first replies of a flow.
    Hashlimit,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Owner,
        Self::Multiport,
        Self::Bpf,
        Self::U32,
        Self::Hashlimit,
    ];
}

/// The groups that packets are logged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Packets of system UIDs, delivered one by one.
    pub system: u16,
    /// Every other outbound packet and the chosen inbound ones, delivered in batches. They share a
    /// group so that the kernel keeps their order: an answer never comes before its question.
    pub apps: u16,
}

/// What is to be logged where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Numbers of the Android users.
    pub users: Vec<u32>,
    /// The groups.
    pub groups: Groups,
    /// Packets that the batched groups gather.
    pub threshold: u32,
}

/// A rule: its chain, and the words behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Chain that it belongs to.
    pub chain: &'static str,
    /// Its words.
    pub words: Vec<String>,
}

impl Rule {
    fn new(chain: &'static str, text: &str) -> Self {
        Self {
            chain,
            words: text.split(' ').map(str::to_owned).collect(),
        }
    }

    /// A rule whose match takes one word with spaces in it.
    fn quoted(chain: &'static str, head: &str, word: &str, tail: &str) -> Self {
        let mut rule = Self::new(chain, head);
        rule.words.push(word.to_owned());
        rule.words.extend(tail.split(' ').map(str::to_owned));
        rule
    }
}

/// The rules of our chains, in order.
pub fn rules(plan: &Plan, family: Family, features: &[Feature]) -> Vec<Rule> {
    let mut rules = outbound(plan, features);
    rules.extend(inbound(plan, family, features));
    rules
}

fn outbound(plan: &Plan, features: &[Feature]) -> Vec<Rule> {
    let Groups { system, apps } = plan.groups;
    let mut rules = vec![Rule::new(CHAIN_OUT, "-o lo -j RETURN")];
    if features.contains(&Feature::Owner) {
        for user in &plan.users {
            let first = user.saturating_mul(UIDS_PER_USER);
            let last = first.saturating_add(SYSTEM_APPID_MAX);
            rules.push(Rule::new(
                CHAIN_OUT,
                &format!("-m owner --uid-owner {first}-{last} -g {CHAIN_SYSTEM}"),
            ));
        }
    }
    for (chain, group, threshold) in [(CHAIN_OUT, apps, plan.threshold), (CHAIN_SYSTEM, system, 1)]
    {
        let log = format!("-j NFLOG --nflog-group {group} --nflog-threshold {threshold}");
        if features.contains(&Feature::Multiport) {
            let cleartext = format!("-p tcp -m multiport --dports {CLEARTEXT_PORTS}");
            rules.push(Rule::new(chain, &format!("{cleartext} {log}")));
            rules.push(Rule::new(chain, &format!("{cleartext} -j RETURN")));
        }
        rules.push(Rule::new(
            chain,
            &format!("{log} --nflog-size {COPY_BYTES}"),
        ));
    }
    rules
}

fn inbound(plan: &Plan, family: Family, features: &[Feature]) -> Vec<Rule> {
    let mut rules = vec![Rule::new(CHAIN_IN, "-i lo -j RETURN")];
    for chosen in [
        "-p udp -m udp --sport 53",
        "-p tcp -m tcp --sport 53",
        "-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK",
        "-p tcp -m tcp --tcp-flags RST RST",
        "-p tcp -m tcp --tcp-flags FIN FIN",
    ] {
        rules.push(Rule::new(CHAIN_IN, &format!("{chosen} -g {CHAIN_IN_LOG}")));
    }
    // Errors: unreachable, source quench, time exceeded, parameter problem (RFC 792); unreachable,
    // too big, time exceeded, parameter problem (RFC 4443).
    let (icmp, errors): (&str, &[u8]) = match family {
        Family::V4 => ("-p icmp -m icmp --icmp-type", &[3, 4, 11, 12]),
        Family::V6 => ("-p ipv6-icmp -m icmp6 --icmpv6-type", &[1, 2, 3, 4]),
    };
    for error in errors {
        rules.push(Rule::new(
            CHAIN_IN,
            &format!("{icmp} {error} -g {CHAIN_IN_LOG}"),
        ));
    }
    let quic = if features.contains(&Feature::Bpf) {
        Some(Feature::Bpf)
    } else {
        features.contains(&Feature::U32).then_some(Feature::U32)
    };
    let last = features
        .contains(&Feature::Hashlimit)
        .then_some(Feature::Hashlimit);
    for feature in [quic, last].into_iter().flatten() {
        rules.push(feature_rule(
            feature,
            family,
            CHAIN_IN,
            &format!("-g {CHAIN_IN_LOG}"),
        ));
    }
    rules.push(Rule::new(
        CHAIN_IN_LOG,
        &format!(
            "-j NFLOG --nflog-group {} --nflog-threshold {}",
            plan.groups.apps, plan.threshold
        ),
    ));
    rules
}

/// The rule that stands or falls with a feature; also what is tried to see whether it is there.
pub fn feature_rule(feature: Feature, family: Family, chain: &'static str, tail: &str) -> Rule {
    match feature {
        Feature::Owner => Rule::new(chain, &format!("-m owner --uid-owner 0-9999 {tail}")),
        Feature::Multiport => Rule::new(
            chain,
            &format!("-p tcp -m multiport --dports {CLEARTEXT_PORTS} {tail}"),
        ),
        // The first payload bit of a long header is 1 (RFC 9000, section 17.2). Classic BPF from
        // the IP header on: IPv4 finds the UDP header by the header length, IPv6 assumes no
        // extension header, as QUIC has none in practice.
        Feature::Bpf => Rule::quoted(
            chain,
            "-p udp -m udp --sport 443 -m bpf --bytecode",
            match family {
                Family::V4 => "5,177 0 0 0,80 0 0 8,69 0 1 128,6 0 0 65535,6 0 0 0",
                Family::V6 => "4,48 0 0 48,69 0 1 128,6 0 0 65535,6 0 0 0",
            },
            tail,
        ),
        Feature::U32 => Rule::new(
            chain,
            &format!(
                "-p udp -m udp --sport 443 -m u32 --u32 {} {tail}",
                match family {
                    Family::V4 => "0>>22&0x3C@8>>31=1",
                    Family::V6 => "48>>31=1",
                }
            ),
        ),
        Feature::Hashlimit => Rule::new(
            chain,
            &format!(
                "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst {FIRST_REPLIES} \
                 --hashlimit-mode srcip,srcport,dstport --hashlimit-name {chain} \
                 --hashlimit-htable-max {FIRST_REPLIES_FLOWS_MAX} \
                 --hashlimit-htable-expire {FIRST_REPLIES_EXPIRE_MS} {tail}"
            ),
        ),
    }
}

/// A rule without match and target, to be tried in the probe chain: it asks for nothing but the table.
pub fn plain_rule() -> Rule {
    Rule::new(CHAIN_PROBE, "-j RETURN")
}

/// A rule that asks for the NFLOG target, to be tried likewise.
pub fn target_rule(group: u16) -> Rule {
    Rule::new(CHAIN_PROBE, &format!("-j NFLOG --nflog-group {group}"))
}

/// Text for `iptables-restore --noflush`: makes our chains anew and jumps to them, all at once.
pub fn restore_text(rules: &[Rule]) -> String {
    let mut text = String::from("*filter\n");
    for chain in [CHAIN_OUT, CHAIN_SYSTEM, CHAIN_IN, CHAIN_IN_LOG] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    for rule in rules {
        append(&mut text, rule);
    }
    for (hook, chain) in JUMPS {
        let _ = writeln!(text, "-A {hook} -j {chain}");
    }
    text.push_str("COMMIT\n");
    text
}

/// Our jumps: from a chain of the kernel into one of ours.
pub const JUMPS: [(&str, &str); 2] = [("OUTPUT", CHAIN_OUT), ("INPUT", CHAIN_IN)];

/// Text that tries one rule.
pub fn probe_text(rule: &Rule) -> String {
    let mut text = format!("*filter\n:{CHAIN_PROBE} - [0:0]\n");
    append(&mut text, rule);
    text.push_str("COMMIT\n");
    text
}

fn append(text: &mut String, rule: &Rule) {
    let _ = write!(text, "-A {}", rule.chain);
    for word in &rule.words {
        let _ = if word.contains([' ', '>', '&']) {
            write!(text, " \"{word}\"")
        } else {
            write!(text, " {word}")
        };
    }
    text.push('\n');
}

/// What is lost without the features that `features` lacks.
pub fn weaknesses(features: &[Feature], family: Family) -> Vec<Degradation> {
    let version = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let mut found = Vec::new();
    let mut say = |weakness, text: &str| {
        found.push(Degradation::new(weakness, format!("{version}: {text}")));
    };
    if !features.contains(&Feature::Owner) {
        say(
            Weakness::NoOwnerMatch,
            "the kernel has no owner match, so packets of system services come in batches and \
             their sockets are not asked for whom they act",
        );
    }
    if !features.contains(&Feature::Multiport) {
        say(
            Weakness::NoWholeCleartext,
            "the kernel has no multiport match, so packets on cleartext ports are kept to 4096 \
             bytes like others",
        );
    }
    if !features.contains(&Feature::Bpf) && !features.contains(&Feature::U32) {
        say(
            Weakness::NoQuicAnswers,
            "the kernel has neither bpf nor u32 match, so answers of QUIC servers are not seen",
        );
    }
    if !features.contains(&Feature::Hashlimit) {
        say(
            Weakness::NoFirstReplies,
            "the kernel has no hashlimit match, so a server's first packets are seen only where \
             another rule takes them",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            users: vec![0, 10],
            groups: Groups {
                system: 100,
                apps: 101,
            },
            threshold: 64,
        }
    }

    #[test]
    fn gives_every_user_s_system_uids_to_the_unbatched_group() {
        let text = restore_text(&rules(&plan(), Family::V4, &Feature::ALL));
        assert!(text.contains("-A sakshi_out -m owner --uid-owner 0-9999 -g sakshi_sys\n"));
        assert!(text.contains("--uid-owner 1000000-1009999 -g sakshi_sys\n"));
    }

    #[test]
    fn ends_with_a_catch_all_that_asks_for_no_owner() {
        for features in [&Feature::ALL[..], &[]] {
            let rules = rules(&plan(), Family::V6, features);
            let last = rules.iter().rfind(|rule| rule.chain == CHAIN_OUT).unwrap();
            assert_eq!(
                last.words.join(" "),
                "-j NFLOG --nflog-group 101 --nflog-threshold 64 --nflog-size 4096"
            );
        }
    }

    #[test]
    fn says_what_a_bare_kernel_loses() {
        let lost: Vec<Weakness> = weaknesses(&[], Family::V4)
            .into_iter()
            .map(|degradation| degradation.weakness)
            .collect();
        assert_eq!(
            lost,
            [
                Weakness::NoOwnerMatch,
                Weakness::NoWholeCleartext,
                Weakness::NoQuicAnswers,
                Weakness::NoFirstReplies
            ]
        );
        assert!(weaknesses(&Feature::ALL, Family::V4).is_empty());
    }

    #[test]
    fn multiport_takes_the_cleartext_ports() {
        assert!(CLEARTEXT_PORTS.split(',').count() <= 15);
    }
}
