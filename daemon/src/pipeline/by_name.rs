//! Flows by what names their other end, where nothing but names is asked for.
//!
//! In: flows that have ended, the table of resolved names, records that nobody reads. Out: counts.

use super::{Flow, names, settle};
use crate::{
    evidence::body::{ByName, Record},
    name::resolved::{Resolution, ResolvedNames},
};

/// Counts a flow that has ended.
pub(super) fn note(by_name: &mut ByName, flow: &Flow, resolved: &ResolvedNames) {
    let count = match names::own(flow) {
        Some(_) => &mut by_name.said,
        None if names::asks(flow) => &mut by_name.asked,
        None => match names::believed(flow, resolved).endpoint_name(settle::conclude(flow).uid) {
            Resolution::One(_) => &mut by_name.resolved,
            Resolution::Candidates(_) => &mut by_name.candidates,
            Resolution::None => &mut by_name.unnamed,
        },
    };
    *count += 1;
    by_name.hidden += u64::from(names::names_hidden(flow).is_some());
}

/// Counts the gaps among records.
pub(super) fn note_gaps(by_name: &mut ByName, records: &[Record]) {
    let gaps = records
        .iter()
        .filter(|record| matches!(record, Record::Gap(_)));
    by_name.gaps += u64::try_from(gaps.count()).unwrap_or(u64::MAX);
}
