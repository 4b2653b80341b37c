//! The words that a rule file may use.
//!
//! In: a word that somebody typed. Out: what it means, or the words that are allowed and the one
//! that was probably meant.

use crate::contact::{AppClass, AppProtocol, Grade, NameSource, PlaceStatus, Proto};
use crate::declare::{ClaimTest, ResultSays};
use crate::judge::Outcome;
use crate::rule_set::{ClaimKind, OwnerState, RuleKind, Severity, Status, Undeterminable};

/// A closed list of words, each standing for one value.
pub trait Word: Copy + Ord + 'static {
    /// Every word with its meaning, in the order in which they are explained.
    const ALL: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("?", |(word, _)| word)
    }

    /// The value of a word.
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }
}

macro_rules! words {
    ($($kind:ident { $($word:literal => $value:ident),+ $(,)? })+) => {$(
        impl Word for $kind {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$value)),+];
        }
    )+};
}

words! {
    AppClass {
        "preloaded" => Preloaded,
        "updated_preload" => UpdatedPreload,
        "deletable_preload" => DeletablePreload,
        "user" => User,
        "system" => System,
        "unknown" => Unknown,
    }
    Proto { "tcp" => Tcp, "udp" => Udp, "icmp" => Icmp, "other" => Other }
    AppProtocol {
        "dns" => Dns,
        "http" => Http,
        "tls" => Tls,
        "dtls" => Dtls,
        "quic" => Quic,
        "smtp" => Smtp,
        "imap" => Imap,
        "pop3" => Pop3,
        "ftp" => Ftp,
        "xmpp" => Xmpp,
        "mqtt" => Mqtt,
        "socks" => Socks,
        "unknown" => Unknown,
    }
    NameSource {
        "tls" => Tls,
        "quic" => Quic,
        "ech_outer" => EchOuter,
        "http" => Http,
        "socks" => Socks,
        "xmpp" => Xmpp,
        "dns" => Dns,
        "mdns" => Mdns,
        "llmnr" => Llmnr,
        "resolved" => Resolved,
    }
    Grade {
        "none" => None,
        "not_locatable" => NotLocatable,
        "conflict" => Conflict,
        "low" => Low,
        "medium" => Medium,
        "high" => High,
    }
    PlaceStatus {
        "located" => Located,
        "not_locatable" => NotLocatable,
        "conflict" => Conflict,
        "unknown" => Unknown,
        "local" => Local,
    }
    OwnerState { "known" => Known, "unknown" => Unknown }
    Severity { "info" => Info, "low" => Low, "medium" => Medium, "high" => High }
    RuleKind {
        "destination" => Destination,
        "declaration" => Declaration,
        "cleartext" => Cleartext,
        "owner" => Owner,
    }
    ClaimKind {
        "path" => Path,
        "exclusive_path" => ExclusivePath,
        "third_party" => ThirdParty,
        "transit" => Transit,
        "consent" => Consent,
        "storage" => Storage,
        "retention" => Retention,
        "device_security" => DeviceSecurity,
        "procedure" => Procedure,
    }
    ClaimTest {
        "traffic" => Traffic,
        "payload" => Payload,
        "device_state" => DeviceState,
        "document" => Document,
        "none" => None,
    }
    ResultSays {
        "consistent" => Consistent,
        "contradicted" => Contradicted,
        "not_determinable" => NotDeterminable,
    }
    Status { "current" => Current, "historic" => Historic, "withdrawn" => Withdrawn }
    Undeterminable { "review" => Review, "ignore" => Ignore }
    Outcome { "finding" => Finding, "needs_review" => NeedsReview, "excepted" => Excepted }
}

/// Keys of `when`, in the order in which they are asked: the owner first, since that is known
/// best and excludes most.
pub const WHEN_KEYS: &[&str] = &[
    "owner",
    "app_class",
    "user",
    "package",
    "signer",
    "vendor",
    "phase",
    "time_of_day",
    "screen_on",
    "idle",
    "payload",
    "bytes_out_over",
    "port",
    "proto",
    "app_protocol",
    "cleartext",
    "name",
    "name_source",
    "category",
    "country",
    "country_not",
    "provider",
    "region",
    "organisation",
    "asn",
    "grade",
    "place_known",
    "place_status",
    "name_against_place",
    "outside_declaration",
];

/// Keys of `when` whose answer rests on where the endpoint is: `min_grade` guards these.
pub const PLACE_KEYS: &[&str] = &[
    "country",
    "country_not",
    "provider",
    "region",
    "name_against_place",
    "outside_declaration",
];

/// Words that people type for another one.
const SYNONYMS: &[(&str, &str)] = &[
    ("UK", "GB"),
    ("brand", "vendor"),
    ("bytes", "bytes_out_over"),
    ("claim", "outside_declaration"),
    ("class", "app_class"),
    ("confidence", "grade"),
    ("critical", "high"),
    ("domain", "name"),
    ("domain_category", "category"),
    ("doze", "idle"),
    ("host", "name"),
    ("hostname", "name"),
    ("min_confidence", "min_grade"),
    ("owner_class", "app_class"),
    ("preload", "preloaded"),
    ("protocol", "proto"),
    ("references", "reference"),
    ("screen", "screen_on"),
    ("time", "time_of_day"),
    ("transport", "proto"),
    ("uid", "user"),
];

/// Letters that may differ between what was typed and what was meant.
const TYPOS_MAX: usize = 2;
/// Longest word that is compared, in bytes; longer ones are not typing errors.
const COMPARED_BYTES_MAX: usize = 64;

/// The word that was probably meant.
pub(crate) fn nearest<'w>(
    typed: &str,
    allowed: impl Iterator<Item = &'w str> + Clone,
) -> Option<&'w str> {
    if let Some((_, meant)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == typed)
        && let Some(word) = allowed.clone().find(|word| word == meant)
    {
        return Some(word);
    }
    allowed
        .map(|word| (distance(typed, word), word))
        .filter(|(distance, word)| *distance <= TYPOS_MAX && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Fewest insertions, deletions, exchanges and swaps of neighbours that make one word the other
/// (optimal string alignment), without regard to ASCII case.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > COMPARED_BYTES_MAX || b.len() > COMPARED_BYTES_MAX {
        return usize::MAX;
    }
    let a: Vec<char> = a.to_ascii_lowercase().chars().collect();
    let b: Vec<char> = b.to_ascii_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let exchange = last[j] + usize::from(left != right);
            let mut best = exchange.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Help that names what was probably meant and all that is allowed.
pub(crate) fn help_for<'w>(
    typed: &str,
    allowed: impl Iterator<Item = &'w str> + Clone,
    label: &str,
) -> String {
    let list: Vec<&str> = allowed.clone().collect();
    let list = if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    };
    match nearest(typed, allowed) {
        Some(word) => format!("did you mean `{word}`? {label}: {list}"),
        None => format!("{label}: {list}"),
    }
}

/// ISO 3166-1 alpha-2 codes, and `XK`, which location sources use for Kosovo.
pub(crate) fn is_country(code: &str) -> bool {
    code.len() == 2
        && code.bytes().all(|byte| byte.is_ascii_uppercase())
        && COUNTRIES
            .split_ascii_whitespace()
            .any(|known| known == code)
}

const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA \
    ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised() {
        let keys = || WHEN_KEYS.iter().copied();
        assert_eq!(nearest("contry", keys()), Some("country"));
        assert_eq!(nearest("ap_pclass", keys()), Some("app_class"));
        assert_eq!(nearest("Package", keys()), Some("package"));
        assert_eq!(nearest("host", keys()), Some("name"));
        assert_eq!(nearest("owner_class", keys()), Some("app_class"));
        assert_eq!(nearest("direction", keys()), None);
        assert_eq!(nearest(&"x".repeat(10_000), keys()), None);
    }

    #[test]
    fn every_word_has_one_meaning() {
        fn check<W: Word + std::fmt::Debug>() {
            for (word, value) in W::ALL {
                assert_eq!(W::from_word(word), Some(*value));
                assert_eq!(value.word(), *word);
            }
        }
        check::<AppClass>();
        check::<AppProtocol>();
        check::<ClaimKind>();
        check::<ClaimTest>();
        check::<ResultSays>();
        check::<Grade>();
        check::<NameSource>();
        check::<Outcome>();
        check::<OwnerState>();
        check::<PlaceStatus>();
        check::<Proto>();
        check::<RuleKind>();
        check::<Severity>();
        check::<Status>();
        check::<Undeterminable>();
    }

    #[test]
    fn the_country_list_is_whole() {
        assert_eq!(COUNTRIES.split_ascii_whitespace().count(), 250);
        assert!(is_country("IN") && is_country("HK") && is_country("XK"));
        assert!(!is_country("UK") && !is_country("EU") && !is_country("in") && !is_country(""));
    }
}
