//! What a case says of its authority, in a line.
//!
//! In: the last `authority` record. Out: text for people, below every output.

use super::table::plain;
use crate::evidence::authority::Recorded;

/// The line; without a line break at its end.
pub fn line(recorded: &Recorded) -> String {
    let authority = match recorded {
        Recorded::Authority { authority, .. } => authority,
        Recorded::Nothing => {
            return "no authority recorded: the case does not say whose handset this is and by \
                    whose order; record it with `sakshi case authority CASE`"
                .to_owned();
        }
        Recorded::Unreadable { seq } => {
            return format!(
                "no authority recorded that this version can read (record {seq}): use the version \
                 that wrote it, or a later one"
            );
        }
    };
    let mut text = format!(
        "authority: {} of {}; handset of {}; examiner {}",
        authority.order.reference, authority.order.date, authority.owner, authority.examiner.name,
    );
    if !authority.persona_is_the_labs {
        text.push_str("; persona, SIM or accounts are NOT the lab's own");
    }
    if authority.sample {
        text.insert_str(0, "SAMPLE, made up for a demonstration: ");
    }
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_says_so() {
        for nothing in [Recorded::Nothing, Recorded::Unreadable { seq: 3 }] {
            assert!(line(&nothing).starts_with("no authority recorded"));
        }
    }
}
