//! `sakshi distance`: holds round-trip times against the distance to the regions that servers are
//! said to be in. It changes no byte of a case.

use serde::Serialize;

use super::{Failure, Outcome, args::TextOrJsonl, data_args::DistanceArgs, output::Stdout};
use crate::{
    evidence::{
        Kind, Reader,
        body::{Flow, Via},
    },
    flow::RttBasis,
    locate::light::{Answer, Check, Regions},
};

/// A flow whose time was held against a distance.
#[derive(Serialize)]
struct Row<'a> {
    flow: &'a str,
    dst: std::net::IpAddr,
    provider: &'a str,
    region: &'a str,
    country: Option<&'a str>,
    rtt_us: u64,
    rtt_basis: Option<RttBasis>,
    via: Option<Via>,
    interfaces: &'a [String],
    #[serde(flatten)]
    check: Check,
}

/// What was looked at.
#[derive(Default)]
struct Counts {
    flows: u64,
    without_time: u64,
    without_region: u64,
    says_nothing: u64,
    refutes: u64,
}

/// Holds each flow's time against its place.
pub fn distance(args: &DistanceArgs) -> Result<Outcome, Failure> {
    let reader = Reader::open(&args.case)?;
    let regions = Regions::known();
    let mut counts = Counts::default();
    let mut out = Stdout::open();
    for record in reader.records(&[Kind::FLOW]) {
        let record = record?;
        let flow: Flow = serde_json::from_str(&record.body)
            .map_err(|error| format!("record {}: {error}; run `sakshi verify`", record.seq))?;
        counts.flows += 1;
        let Some(rtt_us) = flow.rtt_us else {
            counts.without_time += 1;
            continue;
        };
        let place = &flow.place;
        let stated = place.provider.as_deref().zip(place.region.as_deref());
        let checked =
            stated.and_then(|stated| Some((stated, regions.check(args.position, stated, rtt_us)?)));
        let Some(((provider, region), check)) = checked else {
            counts.without_region += 1;
            continue;
        };
        match check.answer {
            Answer::Refutes => counts.refutes += 1,
            Answer::SaysNothing => counts.says_nothing += 1,
        }
        let row = Row {
            flow: &flow.flow,
            dst: flow.dst,
            provider,
            region,
            country: place.country.as_deref(),
            rtt_us,
            rtt_basis: flow.rtt_basis,
            via: flow.via,
            interfaces: &flow.interfaces,
            check,
        };
        match args.format {
            TextOrJsonl::Jsonl => out.line(serde_json::to_string(&row)?)?,
            TextOrJsonl::Text if check.answer == Answer::Refutes => out.line(text(&row))?,
            TextOrJsonl::Text => {}
        }
    }
    if matches!(args.format, TextOrJsonl::Text) {
        out.line(format_args!(
            "{} flows: {} refute the region that the address is said to be in, {} say nothing, {} have \
             no time, {} no region whose place is known. A long time proves nothing; a proxy of the \
             operator answers in the server's stead: use it on the lab's own Wi-Fi.",
            counts.flows,
            counts.refutes,
            counts.says_nothing,
            counts.without_time,
            counts.without_region,
        ))?;
    }
    out.close()?;
    Ok(Outcome::Done)
}

fn text(row: &Row<'_>) -> String {
    let via = row.via.map_or("a way that is not known", Via::as_str);
    format!(
        "{}: {} is not in {} {}: {} km away, there and back at least {} us, answered in {} us (by {via}, {})",
        row.flow,
        row.dst,
        row.provider,
        row.region,
        row.check.km,
        row.check.least_us,
        row.rtt_us,
        row.interfaces.join(", "),
    )
}
