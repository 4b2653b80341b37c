//! Conditions on what was reached, apart from where it is.

use std::collections::BTreeSet;

use super::Answer;
use crate::contact::{AppProtocol, Contact, Endpoint, NameSource};
use crate::glob::Glob;
use crate::vocabulary::Word;

pub(super) fn port(endpoint: &Endpoint, wanted: &BTreeSet<u16>) -> Answer {
    match endpoint.port {
        Some(port) => Answer::yes_if(wanted.contains(&port), || format!("port {port}")),
        None => Answer::No,
    }
}

pub(super) fn app_protocol(endpoint: &Endpoint, wanted: &BTreeSet<AppProtocol>) -> Answer {
    let protocol = endpoint.app_protocol;
    Answer::yes_if(wanted.contains(&protocol), || match protocol {
        AppProtocol::Dns => "it speaks DNS".into(),
        AppProtocol::Http => "it speaks HTTP".into(),
        AppProtocol::Tls => "it speaks TLS".into(),
        AppProtocol::Dtls => "it speaks DTLS".into(),
        AppProtocol::Quic => "it speaks QUIC".into(),
        AppProtocol::Smtp => "it speaks SMTP".into(),
        AppProtocol::Imap => "it speaks IMAP".into(),
        AppProtocol::Pop3 => "it speaks POP3".into(),
        AppProtocol::Ftp => "it speaks FTP".into(),
        AppProtocol::Xmpp => "it speaks XMPP".into(),
        AppProtocol::Socks => "it speaks SOCKS".into(),
        AppProtocol::Mqtt => "it speaks MQTT".into(),
        AppProtocol::Unknown => "its protocol is not recognised".into(),
    })
}

pub(super) fn cleartext(contact: &Contact, wanted: bool) -> Answer {
    match contact.cleartext {
        Some(true) => Answer::yes_if(wanted, || "payload is readable in transit".into()),
        Some(false) => Answer::yes_if(!wanted, || "payload is not readable in transit".into()),
        None => Answer::NotKnown("whether payload is readable in transit could not be told".into()),
    }
}

/// How many of several names that a connection said have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitting {
    /// One: what a rule looks for was said.
    One,
    /// Each: an exception excuses no name that nobody approved.
    Each,
}

/// Asks the endpoint's names. Without `sources`, a question to a resolver does not count: it is
/// not the endpoint's own name.
pub(super) fn name(
    endpoint: &Endpoint,
    patterns: Option<&BTreeSet<Glob>>,
    sources: Option<&BTreeSet<NameSource>>,
    fitting: Fitting,
) -> Answer {
    let counts = |source: NameSource| match sources {
        Some(sources) => sources.contains(&source),
        None => source.is_own(),
    };
    let mut names = BTreeSet::new();
    // Those of which it is not only one of several that may have been meant.
    let mut certain = BTreeSet::new();
    for name in endpoint.names.iter().filter(|name| counts(name.source)) {
        names.insert(name.name.as_str());
        if !name.is_candidate() {
            certain.insert(name.name.as_str());
        }
    }
    if let (Some(name), None) = (&endpoint.name, sources) {
        names = called(endpoint, name);
        certain.clone_from(&names);
    }
    let one_of = |names: &BTreeSet<&str>| shown("the name may be one of", names, sources);
    let Some(patterns) = patterns else {
        return match (certain.is_empty(), names.is_empty()) {
            (false, _) => Answer::Yes(shown("name", &certain, sources)),
            (true, false) => Answer::NotKnown(one_of(&names)),
            (true, true) => Answer::No,
        };
    };
    if names.is_empty() {
        // With `sources` the absence of such a name is a fact; without, the name is not known.
        return match sources {
            Some(_) => Answer::No,
            None => Answer::NotKnown(format!("the name of {} is not known", endpoint.addr)),
        };
    }
    let fits = |name: &&str| patterns.iter().any(|glob| glob.matches(name));
    let said: BTreeSet<&str> = certain.iter().copied().filter(fits).collect();
    if !names.iter().any(fits) {
        Answer::No
    } else if said.is_empty() || (certain.len() < names.len() && sources.is_none()) {
        // However many candidates fit, another name may have been meant: an answer from a cache is
        // not seen.
        Answer::NotKnown(one_of(&names))
    } else if fitting == Fitting::Each && said.len() < names.len() {
        Answer::NotKnown(shown("not each fits of", &names, sources))
    } else {
        // Names of a given source were all seen, so one that fits is enough.
        Answer::Yes(shown("name", &said, sources))
    }
}

/// The endpoint's name; with it, where a flow said it, what else was said: several hosts of one
/// connection are each asked for at that endpoint.
fn called<'a>(endpoint: &'a Endpoint, name: &'a str) -> BTreeSet<&'a str> {
    let said: BTreeSet<&str> = endpoint
        .names
        .iter()
        .filter(|said| said.source.is_said() && said.source.is_own())
        .map(|said| said.name.as_str())
        .collect();
    if said.contains(name) {
        said
    } else {
        BTreeSet::from([name])
    }
}

/// Names that a reason lists.
const NAMES_SHOWN_MAX: usize = 5;

fn shown(label: &str, names: &BTreeSet<&str>, sources: Option<&BTreeSet<NameSource>>) -> String {
    let list: Vec<&str> = names.iter().copied().take(NAMES_SHOWN_MAX).collect();
    let more = names.len() - list.len();
    let mut text = format!("{label} {}", list.join(", "));
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    if let Some(sources) = sources {
        let words: Vec<&str> = sources.iter().map(|source| source.word()).collect();
        text = format!("{text} (source: {})", words.join(", "));
    }
    text
}
