//! Tables that a tired technician can read.
//!
//! In: folded rows. Out: text; colour only when asked for (standard output is a terminal).

use comfy_table::{Cell, ContentArrangement, Table, presets};
use sakshi_rules::contact::Grade;

use super::fold::FindingRow;
use crate::evidence::{
    authority::Custody,
    body::{self, Basis, ProcessBasis},
};

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether colour may be used.
    pub colour: bool,
    /// Columns of the terminal; none: do not wrap.
    pub width: Option<u16>,
}

/// An empty table of lines, as wide as the terminal.
fn ruled(style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = style.width {
        table.set_width(width);
    }
    table
}

/// The findings as a table, worst first.
pub fn findings(rows: &[FindingRow], style: Style) -> String {
    let mut rows: Vec<&FindingRow> = rows.iter().collect();
    rows.sort_by_key(|row| (outcome_rank(&row.outcome), severity_rank(&row.severity)));
    let mut table = ruled(style);
    table.set_header([
        "Outcome",
        "Rule",
        "App (UID)",
        "Reached",
        "Place",
        "Flows",
        "Sent",
        "First (local)",
        "Why",
    ]);
    for row in rows {
        table.add_row(vec![
            Cell::new(row.outcome.replace('_', " ")),
            cell(&format!("{}\n{}", row.rule, row.severity)),
            cell(&format!(
                "{}{}",
                owner(&row.owner),
                charged(&row.charged_to)
            )),
            cell(&reached(row)),
            cell(&place(&row.place)),
            Cell::new(row.flows),
            Cell::new(bytes(row.bytes_out)),
            Cell::new(row.first.local()),
            cell(&row.reason),
        ]);
    }
    let text = table.to_string();
    if style.colour {
        text.lines().map(painted).collect::<Vec<_>>().join("\n")
    } else {
        text
    }
}

/// Who had what, as a table in the order of the records.
pub fn custody(rows: &[Custody], style: Style) -> String {
    let mut table = ruled(style);
    table.set_header([
        "When (local)",
        "Thing",
        "Received from",
        "Handed to",
        "Seal",
        "Remark",
        "Recorded by",
    ]);
    let text = |text: &Option<String>| cell(text.as_deref().unwrap_or(""));
    for row in rows {
        table.add_row(vec![
            Cell::new(row.when.local()),
            cell(row.item.as_deref().unwrap_or("handset")),
            text(&row.received_from),
            text(&row.handed_to),
            text(&row.seal),
            text(&row.remark),
            cell(&row.who),
        ]);
    }
    table.to_string()
}

/// A cell whose text cannot steer a terminal: names come from what apps sent and from files of the
/// handset, so control characters are shown by their codes (`\u{1b}`).
pub(super) fn cell(text: &str) -> Cell {
    Cell::new(plain(text))
}

/// A text whose control characters are shown by their codes.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\n' {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

fn outcome_rank(outcome: &str) -> u8 {
    match outcome {
        "finding" => 0,
        "needs_review" => 1,
        _ => 2,
    }
}

fn severity_rank(severity: &str) -> u8 {
    match severity {
        "high" => 0,
        "medium" => 1,
        "low" => 2,
        _ => 3,
    }
}

/// A row's first line with its outcome in bold red or yellow (ECMA-48); other lines as they are.
fn painted(line: &str) -> String {
    for (outcome, colour) in [("finding", "1;31"), ("needs review", "33")] {
        if let Some(rest) = line
            .strip_prefix(' ')
            .and_then(|line| line.strip_prefix(outcome))
        {
            return format!(" \x1b[{colour}m{outcome}\x1b[0m{rest}");
        }
    }
    line.to_owned()
}

/// An owner in one cell: apps, class and UID, or that it is unknown.
pub fn owner(owner: &body::Owner) -> String {
    let Some(uid) = owner.uid else {
        return match (owner.basis, &owner.process) {
            (Basis::Disputed, _) => "disputed".to_owned(),
            (_, Some(process)) => format!("{}\nno UID", process_text(owner, process)),
            (_, None) => "unknown".to_owned(),
        };
    };
    let who = match (owner.name.as_deref(), owner.apps.as_slice()) {
        (Some(name), _) if owner.role.is_some() => format!("{name} (a resolver, no app)"),
        (Some(name), []) => format!("{name} (platform)"),
        (Some(name), apps) => format!("{name} (the platform, {} packages)", apps.len()),
        (None, []) => owner
            .note
            .clone()
            .unwrap_or_else(|| "no package known".to_owned()),
        (None, apps) => apps.join("\n"),
    };
    let mut text = format!("{who}\n{} · UID {uid}", class(owner));
    if let Some(process) = &owner.process {
        text.extend(["\n", &process_text(owner, process)]);
    }
    if owner.may_act_for_app {
        text.push_str("\nmay act for an app");
    }
    if let Some(user) = owner.user.filter(|user| *user != 0) {
        text.extend([" · user ", &user.to_string()]);
    }
    text
}

/// Whom netd charges for what the owner sent, a line for each.
fn charged(to: &[body::ChargedTo]) -> String {
    let line = |charged: &body::ChargedTo| {
        let mut text = format!("\ncharged to UID {}", charged.uid);
        let who = charged.name.clone().unwrap_or(charged.apps.join(", "));
        if !who.is_empty() {
            text.extend([" (", &who, ")"]);
        }
        if let Some(tag) = &charged.tag_name {
            text.extend([", tag ", tag]);
        }
        text + ", by netd's tag"
    };
    to.iter().map(line).collect()
}

/// A process's name; of what `PCAPdroid` wrote, that it is an app's.
fn process_text(owner: &body::Owner, process: &str) -> String {
    let what = match owner.process_basis {
        Some(ProcessBasis::Pcapdroid) => "called",
        _ => "process",
    };
    match &owner.process_acts_for {
        Some(other) => format!("{what} {process}, for {other}"),
        None => format!("{what} {process}"),
    }
}

fn class(owner: &body::Owner) -> &'static str {
    use sakshi_rules::contact::AppClass;
    match owner.class {
        AppClass::Preloaded => "preloaded",
        AppClass::UpdatedPreload => "updated preload",
        AppClass::DeletablePreload => "deletable preload",
        AppClass::User => "user-installed",
        AppClass::System => "system",
        AppClass::Unknown => "class unknown",
    }
}

/// What was reached, and the way there where it is not the plain one.
fn reached(row: &FindingRow) -> String {
    let mut text = endpoint(&row.endpoint);
    if let Some(inside) = row.endpoint.embedded_ipv4 {
        text.extend(["\nNAT64 to ", &inside.to_string()]);
    }
    match row.via {
        Some(body::Via::Vpn) => text.push_str("\nvia a VPN"),
        Some(body::Via::VpnOuter) => text.push_str("\noutside of a VPN that this app holds"),
        _ => {}
    }
    if let Some(hidden) = row.names_hidden {
        text.extend(["\n", &hidden.text()]);
    }
    text
}

fn endpoint(endpoint: &body::Endpoint) -> String {
    let addr = match endpoint.port {
        Some(port) => std::net::SocketAddr::new(endpoint.addr, port).to_string(),
        None => endpoint.addr.to_string(),
    };
    match &endpoint.name {
        Some(name) => format!("{name}\n{addr}"),
        None => addr,
    }
}

fn place(place: &sakshi_rules::contact::Place) -> String {
    let grade = match place.grade {
        Grade::None => "unknown",
        Grade::NotLocatable => "not locatable",
        Grade::Conflict => "conflict",
        Grade::Low => "low",
        Grade::Medium => "medium",
        Grade::High => "high",
    };
    let mut parts: Vec<&str> = Vec::new();
    parts.extend(place.country.as_deref());
    match (&place.provider, &place.region, &place.organisation) {
        (Some(provider), Some(region), _) => parts.extend([provider.as_str(), region.as_str()]),
        (_, _, Some(organisation)) => parts.push(organisation),
        (Some(provider), None, None) => parts.push(provider),
        _ => {}
    }
    if parts.is_empty() {
        grade.to_owned()
    } else {
        format!("{}\n{grade}", parts.join(" "))
    }
}

/// Bytes with a unit, for reading; exports hold the exact number.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = count;
    let mut unit = 0;
    while scaled >= 10_240 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    format!("{scaled} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(
            cell("a\u{1b}[2Jb\u{9b}c\nd").content(),
            "a\\u{1b}[2Jb\\u{9b}c\nd"
        );
    }

    fn unknown() -> body::Owner {
        body::Owner {
            uid: None,
            user: None,
            basis: Basis::None,
            apps: Vec::new(),
            class: sakshi_rules::contact::AppClass::Unknown,
            process: None,
            process_basis: None,
            process_acts_for: None,
            name: None,
            note: None,
            role: None,
            creator_uid: None,
            disputed_uid: None,
            may_act_for_app: false,
        }
    }

    #[test]
    fn a_process_stands_beside_what_is_known_of_the_owner() {
        assert_eq!(owner(&unknown()), "unknown");
        let told = body::Owner {
            basis: Basis::Pktap,
            process: Some("mDNSResponder".to_owned()),
            process_basis: Some(ProcessBasis::Pktap),
            process_acts_for: Some("Chat".to_owned()),
            ..unknown()
        };
        assert_eq!(owner(&told), "process mDNSResponder, for Chat\nno UID");
        let isolated = body::Owner {
            uid: Some(99_001),
            basis: Basis::Nflog,
            note: Some("isolated, app unknown".to_owned()),
            ..unknown()
        };
        let text = owner(&isolated);
        assert!(text.starts_with("isolated, app unknown\n"), "{text}");
    }

    #[test]
    fn who_is_charged_stands_below_the_owner() {
        let to = body::ChargedTo {
            uid: 10_123,
            user: 0,
            apps: vec!["com.example".to_owned()],
            class: sakshi_rules::contact::AppClass::User,
            name: None,
            note: None,
            tag: 0xffff_ff01,
            tag_name: Some("download".to_owned()),
            basis: body::ChargeBasis::NetdTag,
            since: None,
        };
        assert_eq!(
            charged(&[to]),
            "\ncharged to UID 10123 (com.example), tag download, by netd's tag"
        );
        assert_eq!(charged(&[]), "");
    }

    #[test]
    fn the_outcome_is_painted_where_a_row_begins() {
        assert_eq!(painted(" finding   x"), " \u{1b}[1;31mfinding\u{1b}[0m   x");
        assert_eq!(painted("   finding"), "   finding");
    }
}
