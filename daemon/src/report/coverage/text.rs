//! The coverage statement as a page that a tired technician can read.
//!
//! In: a [`Coverage`]. Out: text, that ends with how "no contact with X" may be said.

use std::fmt::Write as _;

use super::{Coverage, Hole, Sum};
use crate::report::table::{bytes, plain};

/// Entries of a list that are shown; the rest is counted. `--format jsonl` has them all.
const SHOWN_MAX: usize = 8;

/// The page.
pub fn page(coverage: &Coverage) -> String {
    let mut page = Page::default();
    page.line("Coverage", &format!("case {}", coverage.case));
    let span = format!(
        "{} to {} ({})",
        coverage.from,
        coverage.to,
        seconds(coverage.span_us)
    );
    page.line("Span (UTC)", &span);
    page.gap();
    time(&mut page, coverage);
    page.gap();
    packets(&mut page, coverage);
    page.gap();
    flows(&mut page, coverage);
    page.gap();
    watch(&mut page, coverage);
    page.text
        .push_str("\nHow \"no contact with X\" may be said:\n");
    for sentence in &coverage.may_be_said {
        page.text.extend(["  ", sentence, "\n"]);
    }
    page.text
}

#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, label: &str, value: &str) {
        // A String takes all that is written.
        let _ = writeln!(self.text, "{label:<18}{}", plain(value));
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A list: its first entries, and how many more there are.
    fn list(&mut self, label: &str, entries: impl Iterator<Item = String>) {
        let mut more = 0;
        for (at, entry) in entries.enumerate() {
            match at {
                0 => self.line(label, &entry),
                _ if at < SHOWN_MAX => self.line("", &entry),
                _ => more += 1,
            }
        }
        if more > 0 {
            self.line("", &format!("and {more} more (--format jsonl has all)"));
        }
    }
}

fn time(page: &mut Page, coverage: &Coverage) {
    page.line("Watched", &known(coverage.watched_us, seconds));
    page.line("Not watched", &known(coverage.not_watched_us, seconds));
    page.list("", coverage.not_watched.iter().map(hole));
    let slept = match coverage.suspensions {
        0 => known(coverage.suspended_us, seconds),
        times => format!(
            "{} (told {times} times)",
            known(coverage.suspended_us, seconds)
        ),
    };
    page.line("Asleep", &slept);
    page.line("Rules missing", &known(coverage.rules_missing_us, seconds));
    page.line(
        "Reboots",
        &known(coverage.reboots, |count| count.to_string()),
    );
    page.list(
        "Clock set",
        coverage.clock_steps.iter().map(|step| {
            let way = if step.step_us < 0 { "back" } else { "forward" };
            let size = seconds(step.step_us.unsigned_abs());
            format!("{way} by {size}, to {}", step.at)
        }),
    );
}

fn packets(page: &mut Page, coverage: &Coverage) {
    let count = |count: u64| format!("{count} packets");
    page.line("Seen", &known(coverage.packets, count));
    page.line("Lost", &known(coverage.lost, count));
    match &coverage.unparsed {
        None => page.line("Not dissected", "not known for this span"),
        Some(reasons) if reasons.is_empty() => page.line("Not dissected", "0 packets"),
        Some(reasons) => page.list(
            "Not dissected",
            reasons
                .iter()
                .map(|(reason, count)| format!("{count} packets: {reason}")),
        ),
    }
    let counter = coverage.output_counter;
    page.line("Raw OUTPUT count", &known(counter, count));
}

fn flows(page: &mut Page, coverage: &Coverage) {
    let flows = &coverage.flows;
    let mut all = sum(flows.all);
    if flows.across > 0 {
        let _ = write!(all, "; {} reach beyond the span", flows.across);
    }
    if !coverage.flows_complete {
        all.push_str("; flows that have not ended are not counted");
    }
    page.line("Flows", &all);
    let by_basis = flows.by_basis.iter();
    page.list(
        "Owner known by",
        by_basis.map(|(basis, of)| format!("{basis}: {}", sum(*of))),
    );
    let share = flows.unattributed_bytes_ppm.map(|ppm| ppm.div_ceil(100));
    let share = known(share, |hundredths| {
        format!(
            "{}.{:02} % of the bytes",
            hundredths / 100,
            hundredths % 100
        )
    });
    page.line(
        "Owner not known",
        &format!("{}; {share}", sum(flows.unattributed)),
    );
    let by_via = flows.by_via.iter();
    page.list(
        "Left by",
        by_via.map(|(via, of)| format!("{via}: {}", sum(*of))),
    );
    page.line("Left, each once", &sum(flows.left_once));
}

fn watch(page: &mut Page, coverage: &Coverage) {
    page.list(
        "Sessions",
        coverage.sessions.iter().map(|session| {
            let (number, capture, ended) = (session.session, &session.capture, &session.ended);
            format!(
                "{number} ({capture}): {} to {}, {ended}",
                session.from, session.to
            )
        }),
    );
    page.line("Rule repairs", &coverage.rule_repairs.to_string());
    page.line("Interface changes", &coverage.interface_changes.to_string());
    page.list(
        "Kernel's counts",
        coverage.interfaces.iter().map(|interface| {
            format!(
                "{}: sent {} packets, {}; seen in flows by it alone: {}",
                interface.name,
                known(interface.tx_packets, |count| count.to_string()),
                known(interface.tx_bytes, bytes),
                sum(interface.seen)
            )
        }),
    );
    page.line("netd's counts", "not read");
    page.list(
        "Weaker watch",
        coverage
            .degraded
            .iter()
            .map(|weaker| format!("{}: {}", weaker.place, weaker.detail)),
    );
}

/// How "no contact with X" may be said of the span. Never more than what the numbers bear.
pub(super) fn may_be_said(coverage: &Coverage) -> Vec<String> {
    let watched = match coverage.watched_us {
        Some(us) if us > 0 => us,
        _ => {
            return vec![
                "It may not be said: nothing was watched in this span as it was sent.".to_owned(),
            ];
        }
    };
    let mut said = vec![format!(
        "\"Between {} and {} ({}), of which {} were watched, no contact with X was recorded.\"",
        coverage.from,
        coverage.to,
        seconds(coverage.span_us),
        seconds(watched)
    )];
    said.push("With it must be said:".to_owned());
    let not_watched = coverage.not_watched_us.unwrap_or(0);
    let skipped = coverage.rules_missing_us.unwrap_or(0);
    if not_watched + skipped > 0 {
        let unseen = seconds(not_watched.saturating_add(skipped));
        said.push(format!("- of {unseen} nothing can be said: not watched"));
    }
    if coverage.suspended_us.unwrap_or(0) > 0 {
        said.push(format!(
            "- the handset was asleep for {}; what modem or Wi-Fi sent by themselves is not seen",
            known(coverage.suspended_us, seconds)
        ));
    }
    match coverage.lost {
        Some(0) => {}
        Some(lost) => said.push(format!("- {lost} packets are known to be lost")),
        None => said.push("- packets were lost, and how many is not known".to_owned()),
    }
    let unattributed = coverage.flows.unattributed;
    if unattributed.flows > 0 {
        said.push(format!(
            "- whose {} flows were ({}) is not known: of one app it may be said only without them",
            unattributed.flows,
            bytes(unattributed.bytes_out)
        ));
    }
    if !coverage.flows_complete {
        said.push("- flows that have not ended are not counted yet".to_owned());
    }
    let outer = coverage.flows.by_via.get("vpn_outer");
    if outer.is_some_and(|sum| sum.flows > 0) {
        said.push(
            "- what a VPN's own flows carried further is seen only as its inner flows".to_owned(),
        );
    }
    if !coverage.degraded.is_empty() {
        let count = coverage.degraded.len();
        said.push(format!(
            "- the watch was weaker than it should be in {count} respects, see above"
        ));
    }
    said.push(
        "- X was looked for by names and addresses as the flows show them; a name that is encrypted \
         or shares an address is not seen"
            .to_owned(),
    );
    said.push(
        "- tethered devices, and what modem or Wi-Fi send past the kernel, are not watched"
            .to_owned(),
    );
    said
}

fn hole(hole: &Hole) -> String {
    let why = hole.why.replace('_', " ");
    format!("{} to {}: {} ({why})", hole.from, hole.to, seconds(hole.us))
}

fn sum(sum: Sum) -> String {
    let (flows, packets) = (sum.flows, sum.packets_out);
    format!(
        "{flows} flows, {packets} packets, {} sent",
        bytes(sum.bytes_out)
    )
}

fn known<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "not known".to_owned(), show)
}

/// A time in microseconds for reading: with three decimals, and hours where there are any.
pub fn seconds(us: u64) -> String {
    let millis = us / 1_000;
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    let exact = format!("{}.{:03} s", millis / 1_000, millis % 1_000);
    match (hours, minutes) {
        (0, 0) => exact,
        (0, _) => format!("{minutes} min {} s ({exact})", rest / 1_000),
        _ => format!("{hours} h {minutes} min {} s ({exact})", rest / 1_000),
    }
}
