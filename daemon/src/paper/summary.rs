//! One page in plain words: which handset, by whose leave, when, what was watched, what was found,
//! what could not be determined, and how all this is checked.
//!
//! In: [`Facts`]. Out: sections, which `text` and `html` lay out. It states facts and indicators;
//! people decide.

use std::collections::BTreeMap;

use sakshi_rules::contact::Grade;

use super::{
    Block, Section,
    facts::Facts,
    source::Source,
    troubles::What,
    when::{both, day},
};
use crate::{
    evidence::{
        authority::{Authority, Recorded},
        body::Owner,
        device::{DeviceFacts, Fact},
        head::code,
    },
    report::{
        authority,
        coverage::{Coverage, text::seconds},
        fold::FindingRow,
        table::bytes,
    },
};

/// Findings that the page shows; the rest is counted, and `sakshi findings` has them all.
const FOUND_MAX: usize = 12;
/// Phases that the page shows; the rest is counted.
const PHASES_MAX: usize = 12;
/// What stands where something is not known.
const UNKNOWN: &str = "not known";

/// The page.
pub fn summary(facts: &Facts, source: &Source) -> Vec<Section> {
    vec![
        case(facts, source),
        device(facts),
        authorised(facts),
        when(facts),
        coverage(facts),
        found(facts),
        undetermined(facts),
        check(facts, source),
    ]
}

fn field(label: &str, value: impl Into<String>) -> (String, String) {
    (label.to_owned(), value.into())
}

fn known(value: Option<&str>) -> String {
    value.unwrap_or(UNKNOWN).to_owned()
}

fn case(facts: &Facts, source: &Source) -> Section {
    let how = match (facts.watched, facts.sessions.is_empty()) {
        (true, _) => "packets were watched on the handset as they were sent",
        (false, true) => "nothing was watched yet",
        (false, false) => "captures that somebody else made were read",
    };
    let mut fields = vec![
        field("Case", facts.meta.id.as_str()),
        field("How", how),
        field("Made by", facts.meta.tool.as_str()),
        field(
            "Created",
            facts.meta.created.map_or(UNKNOWN.to_owned(), both),
        ),
    ];
    if let Some(bundle) = source.bundle() {
        let sealed = bundle.manifest.sealed.map_or(UNKNOWN.to_owned(), both);
        fields.push(field("Sealed", sealed));
    } else {
        let sealed = if facts.sealed {
            "yes"
        } else {
            "no: records can still be added"
        };
        fields.push(field("Sealed", sealed));
    }
    let mut blocks = Vec::new();
    if facts.authority().is_some_and(|authority| authority.sample) {
        blocks.push(Block::Paragraph(
            "SAMPLE: what this case says of people and handset was made up for a demonstration."
                .to_owned(),
        ));
    }
    blocks.push(Block::Fields(fields));
    Section {
        title: "Summary of a case",
        blocks,
    }
}

fn device(facts: &Facts) -> Section {
    let mut fields = Vec::new();
    match facts.authority() {
        Some(authority) => stated(authority, &mut fields),
        None => fields.push(field("As stated", "nobody stated which handset this is")),
    }
    match &facts.device {
        Some(device) => by_its_own_account(device, &mut fields),
        None => fields.push(field(
            "By its own account",
            "not read: no session watched on it",
        )),
    }
    Section {
        title: "Device",
        blocks: vec![Block::Fields(fields)],
    }
}

fn stated(authority: &Authority, fields: &mut Vec<(String, String)>) {
    let device = &authority.device;
    let imei = match device.imei.as_deref() {
        None => UNKNOWN.to_owned(),
        Some([]) => "it has none".to_owned(),
        Some(imei) => imei.join(", "),
    };
    fields.extend([
        field(
            "Make and model",
            format!("{} {}", device.make, device.model),
        ),
        field("Colour", known(device.colour.as_deref())),
        field("Serial number", known(device.serial.as_deref())),
        field("IMEI", imei),
        field("Software", device.build.as_str()),
        field("Rooted", known(device.rooted.as_deref())),
    ]);
}

fn by_its_own_account(device: &DeviceFacts, fields: &mut Vec<(String, String)>) {
    let value = |fact: &Fact| known(fact.value.as_deref());
    fields.extend([
        field("Build", value(&device.fingerprint)),
        field("Security patch", value(&device.security_patch)),
        field("Verified boot", value(&device.verified_boot)),
        field("Bootloader", value(&device.bootloader)),
        field("SELinux", value(&device.selinux)),
        field("Kernel", value(&device.kernel)),
    ]);
}

fn authorised(facts: &Facts) -> Section {
    let Some(authority) = facts.authority() else {
        let line = match facts.recorded {
            Recorded::Unreadable { .. } => authority::line(&facts.recorded),
            _ => "no authority recorded: the case does not say whose handset this is and by whose \
                  order"
                .to_owned(),
        };
        return Section {
            title: "Authority",
            blocks: vec![Block::Paragraph(line)],
        };
    };
    let order = &authority.order;
    let by = order.issued_by.as_deref();
    let persona = if authority.persona_is_the_labs {
        "persona, SIM and accounts are the lab's own"
    } else {
        "persona, SIM or accounts are NOT the lab's own"
    };
    let fields = vec![
        field(
            "Order or letter",
            format!("{} of {}", order.reference, day(&order.date)),
        ),
        field("Issued by", known(by)),
        field("Owner of the handset", authority.owner.as_str()),
        field("Person in charge", authority.person_in_charge.name.as_str()),
        field("Examiner", authority.examiner.name.as_str()),
        field("Accounts", persona),
        field("Kept until", day(&authority.retention_until)),
    ];
    Section {
        title: "Authority",
        blocks: vec![Block::Fields(fields)],
    }
}

fn when(facts: &Facts) -> Section {
    let mut fields = match facts.period {
        Some((from, to)) => vec![field("From", both(from)), field("To", both(to))],
        None => vec![field("Period", "not known: nothing was seen")],
    };
    fields.push(field("Sessions", facts.sessions.len().to_string()));
    let mut phases: Vec<String> = facts
        .phases
        .iter()
        .take(PHASES_MAX)
        .map(|phase| format!("{} from {}", phase.name, both(phase.from)))
        .collect();
    let more = facts.phases.len().saturating_sub(PHASES_MAX);
    if more > 0 {
        phases.push(format!("and {more} more"));
    }
    let mut blocks = vec![Block::Fields(fields)];
    if phases.is_empty() {
        blocks.push(Block::Paragraph("No phase was told.".to_owned()));
    } else {
        blocks.push(Block::Paragraph("Phases of the examination:".to_owned()));
        blocks.push(Block::List(phases));
    }
    Section {
        title: "Period and phases",
        blocks,
    }
}

fn coverage(facts: &Facts) -> Section {
    let blocks = match (&facts.coverage, facts.watched) {
        (Some(coverage), true) => vec![Block::Fields(watched(coverage))],
        (Some(coverage), false) => vec![
            Block::Paragraph(
                "Captures were read, which do not say what they cover: of what they do not show \
                 nothing can be said."
                    .to_owned(),
            ),
            Block::Fields(seen(coverage)),
        ],
        (None, _) => vec![Block::Paragraph("Nothing was watched.".to_owned())],
    };
    Section {
        title: "Coverage",
        blocks,
    }
}

fn count(count: Option<u64>, what: &str) -> String {
    count.map_or(UNKNOWN.to_owned(), |count| format!("{count} {what}"))
}

fn time(us: Option<u64>) -> String {
    us.map_or(UNKNOWN.to_owned(), seconds)
}

fn watched(coverage: &Coverage) -> Vec<(String, String)> {
    let mut fields = vec![
        field(
            "Watched",
            format!(
                "{} of {}",
                time(coverage.watched_us),
                seconds(coverage.span_us)
            ),
        ),
        field("Not watched", time(coverage.not_watched_us)),
        field("Asleep", time(coverage.suspended_us)),
        field("Own rules missing", time(coverage.rules_missing_us)),
        field("Reboots", count(coverage.reboots, "between sessions")),
        field("Clock set", format!("{} times", coverage.clock_steps.len())),
    ];
    fields.extend(seen(coverage));
    fields
}

fn seen(coverage: &Coverage) -> Vec<(String, String)> {
    vec![
        field("Packets seen", count(coverage.packets, "")),
        field("Packets lost", count(coverage.lost, "")),
        field("Flows", coverage.flows.all.flows.to_string()),
    ]
    .into_iter()
    .map(|(label, value)| (label, value.trim_end().to_owned()))
    .collect()
}

fn found(facts: &Facts) -> Section {
    let of = |outcome: &str| -> Vec<&FindingRow> {
        let rows = facts.findings.iter();
        rows.filter(|row| row.outcome == outcome).collect()
    };
    let (findings, excepted) = (of("finding"), of("excepted"));
    let mut blocks = Vec::new();
    if findings.is_empty() {
        blocks.push(Block::Paragraph(
            "No finding. That says no more than the coverage above bears.".to_owned(),
        ));
    } else {
        blocks.push(Block::Paragraph(format!(
            "{} findings. Each is a fact or an indicator with its basis; people decide what follows.",
            findings.len()
        )));
        let mut entries: Vec<String> = findings
            .iter()
            .take(FOUND_MAX)
            .map(|row| finding(row))
            .collect();
        let more = findings.len().saturating_sub(FOUND_MAX);
        if more > 0 {
            entries.push(format!("and {more} more: `sakshi findings` lists them"));
        }
        blocks.push(Block::List(entries));
    }
    if !excepted.is_empty() {
        blocks.push(Block::Paragraph(format!(
            "{} more are covered by an exception of the rule set.",
            excepted.len()
        )));
    }
    Section {
        title: "What was found",
        blocks,
    }
}

/// A finding in a sentence.
fn finding(row: &FindingRow) -> String {
    let endpoint = &row.endpoint;
    let addr = match endpoint.port {
        Some(port) => std::net::SocketAddr::new(endpoint.addr, port).to_string(),
        None => endpoint.addr.to_string(),
    };
    let reached = match &endpoint.name {
        Some(name) => format!("{name} ({addr})"),
        None => addr,
    };
    let place = match (&row.place.country, &row.place.region) {
        (Some(country), Some(region)) => format!("in {country}, {region}"),
        (Some(country), None) => format!("in {country}"),
        (None, _) => "at a place that is not known".to_owned(),
    };
    format!(
        "{} ({}): {} reached {reached} {place}; {} flows, {} sent, first {}. {}",
        row.rule,
        row.kind,
        owner(&row.owner),
        row.flows,
        bytes(row.bytes_out),
        both(row.first),
        row.reason
    )
}

/// Who sent, in a few words.
fn owner(owner: &Owner) -> String {
    let Some(uid) = owner.uid else {
        return "somebody who is not known".to_owned();
    };
    match (owner.name.as_deref(), owner.apps.as_slice()) {
        (Some(name), _) => format!("the platform ({name}, UID {uid})"),
        (None, []) => format!("UID {uid}, no app known"),
        (None, [app]) => app.clone(),
        (None, apps) => format!("one of {} (UID {uid})", apps.join(", ")),
    }
}

fn undetermined(facts: &Facts) -> Section {
    let mut entries = Vec::new();
    let review = facts
        .findings
        .iter()
        .filter(|row| row.outcome == "needs_review")
        .count();
    if review > 0 {
        entries.push(format!(
            "{review} contacts need review: a rule would apply if what is not known of them were so"
        ));
    }
    let contacts = &facts.contacts;
    let without = |entries: &mut Vec<String>, count: usize, what: &str| {
        if count > 0 {
            entries.push(format!("{count} of {} contacts: {what}", contacts.len()));
        }
    };
    let ownerless = contacts.iter().filter(|row| row.owner.uid.is_none());
    without(&mut entries, ownerless.count(), "who sent is not known");
    let nameless = contacts.iter().filter(|row| row.name.is_none());
    without(
        &mut entries,
        nameless.count(),
        "no name of what was reached is known",
    );
    let nowhere = contacts.iter().filter(|row| {
        matches!(
            row.place.grade,
            Grade::None | Grade::NotLocatable | Grade::Conflict
        )
    });
    without(
        &mut entries,
        nowhere.count(),
        "where the server stands cannot be said",
    );
    entries.extend(troubles(facts));
    if facts
        .coverage
        .as_ref()
        .is_some_and(|coverage| coverage.lost.is_none())
    {
        entries.push("how many packets were lost is not known".to_owned());
    }
    let mut blocks = vec![Block::List(entries)];
    if let Some(coverage) = facts.coverage.as_ref().filter(|_| facts.watched) {
        blocks.push(Block::Paragraph(
            "How \"no contact with X\" may be said:".to_owned(),
        ));
        blocks.push(Block::List(
            coverage
                .may_be_said
                .iter()
                .map(|sentence| sentence.trim_start_matches("- ").to_owned())
                .collect(),
        ));
    }
    Section {
        title: "What could not be determined",
        blocks,
    }
}

/// How often something did not work, by what it was.
fn troubles(facts: &Facts) -> Vec<String> {
    if facts.troubles.is_empty() {
        return vec!["no time is on record at which something did not work".to_owned()];
    }
    let mut kinds: BTreeMap<What, usize> = BTreeMap::new();
    for trouble in &facts.troubles {
        *kinds.entry(trouble.what).or_default() += 1;
    }
    kinds
        .into_iter()
        .map(|(what, count)| match count {
            1 => format!("once: {}", what.english()),
            _ => format!("{count} times: {}", what.english()),
        })
        .collect()
}

fn check(facts: &Facts, source: &Source) -> Section {
    let mut blocks = vec![Block::List(vec![
        "`sakshi verify`, or the small program `sakshi-verifier` that an auditor builds alone, \
         reads the case or bundle and says whether it is intact. It changes no byte of it."
            .to_owned(),
        "`sakshi head` gives the last signed checkpoint as a code for paper; `sakshi verify --head` \
         holds the case against it, and so notices one that was cut off or set back."
            .to_owned(),
        "`sakshi export` writes every record; docs/evidence-format.md is enough to write a \
         verifier from."
            .to_owned(),
    ])];
    let head = facts.head;
    let mut fields = vec![
        field("Last record", head.seq.to_string()),
        field("Its hash", head.hash.to_string()),
    ];
    if let Some(checkpoint) = facts.checkpoint {
        fields.push(field("Last checkpoint", checkpoint.seq.to_string()));
        fields.push(field("Its hash", checkpoint.hash.to_string()));
        if let Some(code) = code(checkpoint) {
            fields.push(field("Its code for paper", code));
        }
    }
    fields.push(field(
        "First public key",
        facts
            .key
            .clone()
            .unwrap_or_else(|| "none: this case is not signed".to_owned()),
    ));
    if let Some(bundle) = source.bundle() {
        fields.push(field("Bundle's SHA-256", bundle.archive.sha256.to_string()));
        fields.push(field(
            "Manifest's SHA-256",
            bundle.manifest_sha256.to_string(),
        ));
    }
    blocks.push(Block::Fields(fields));
    blocks.push(Block::Paragraph(
        "Compare these with what was noted elsewhere. Who was root on the handset can have made \
         anew whatever no such note was left of."
            .to_owned(),
    ));
    Section {
        title: "How to check it",
        blocks,
    }
}
