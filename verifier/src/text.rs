//! A verification in words, and as JSON: for `sakshi-verifier` and `sakshi verify` alike.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    signatures::Checkpoint,
    verify::{Damaged, Found, Verification},
};

/// What people read: lines, the first of which begins with the result.
pub fn text(verification: &Verification) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = match verification {
        Verification::Intact(found) => {
            let sealed = if found.sealed.is_some() {
                ", sealed"
            } else {
                ""
            };
            writeln!(
                text,
                "intact: {} records{sealed}, the last one is {} with hash {}",
                found.records, found.head.seq, found.head.hash,
            )
        }
        Verification::Incomplete(found) => writeln!(
            text,
            "incomplete: nothing is wrong with {} records, but nothing vouches for the end; the \
             last one is {} with hash {}",
            found.records, found.head.seq, found.head.hash,
        ),
        Verification::Damaged(damaged) => return damaged_text(damaged),
    };
    for line in remarks(found(verification)) {
        text.extend([line.as_str(), "\n"]);
    }
    text
}

fn found(verification: &Verification) -> Option<&Found> {
    match verification {
        Verification::Intact(found) | Verification::Incomplete(found) => Some(found),
        Verification::Damaged(_) => None,
    }
}

fn remarks(found: Option<&Found>) -> Vec<String> {
    let Some(found) = found else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if let Some(bundle) = &found.bundle {
        lines.push(format!(
            "bundle: {} files, {} bytes, SHA-256 of its manifest {}",
            bundle.files, bundle.bytes, bundle.manifest
        ));
        for name in &bundle.unchecked {
            lines.push(format!(
                "its manifest also lists {name}, which this build does not check"
            ));
        }
    }
    match &found.signed {
        None => lines.push("not signed: only its own hashes hold it together".to_owned()),
        Some(signed) => {
            lines.push(match &signed.last {
                Some(last) => format!(
                    "signed: {} checkpoints, the last one is {}",
                    signed.checkpoints,
                    checkpoint_text(last)
                ),
                None => "its first checkpoint is missing: its creation was interrupted, or it was cut off".to_owned(),
            });
            if signed.behind > 0 {
                lines.push(format!(
                    "{} records stand behind the last checkpoint",
                    signed.behind
                ));
            }
        }
    }
    if let Some(at) = &found.sealed {
        lines.push(format!("sealed: {at}"));
    }
    if !found.ended {
        lines.push(
            "the last session has no stop record: the daemon still runs, or it was killed"
                .to_owned(),
        );
    }
    for name in &found.unlisted {
        lines.push(format!("not part of the evidence: {name}"));
    }
    lines.push(if found.compared {
        "it has the head that was given: up to there nothing was cut off, put back or made anew"
            .to_owned()
    } else {
        "What this cannot show: an older state of the case that was put back, or records cut from \
         its end, leave no trace in what remains. Give --head with a head that left the handset."
            .to_owned()
    });
    lines
}

fn checkpoint_text(checkpoint: &Checkpoint) -> String {
    match &checkpoint.at {
        Some(at) => format!("record {} of {at}", checkpoint.head.seq),
        None => format!("record {}", checkpoint.head.seq),
    }
}

fn damaged_text(damaged: &Damaged) -> String {
    let mut text = format!(
        "DAMAGED: {} damages among {} records\n",
        damaged.total, damaged.records
    );
    for damage in &damaged.damages {
        text.extend(["  ", &damage.to_string(), "\n"]);
    }
    let listed = damaged.damages.len() as u64;
    if damaged.total > listed {
        let _ = writeln!(text, "  and {} more", damaged.total - listed);
    }
    let _ = match &damaged.good {
        Some(good) => writeln!(
            text,
            "The records up to the checkpoint {} are as they were signed.",
            checkpoint_text(good)
        ),
        None => writeln!(
            text,
            "No signed checkpoint stands before the first damaged record."
        ),
    };
    text
}

/// The same for programs.
pub fn json(verification: &Verification) -> Value {
    let checkpoint = |checkpoint: &Checkpoint| {
        json!({
            "seq": checkpoint.head.seq,
            "hash": checkpoint.head.hash,
            "at": checkpoint.at,
        })
    };
    let found_json = |result: &str, found: &Found| {
        json!({
            "result": result,
            "records": found.records,
            "seq": found.head.seq,
            "hash": found.head.hash,
            "ended": found.ended,
            "sealed": found.sealed,
            "signed": found.signed.as_ref().map(|signed| json!({
                "checkpoints": signed.checkpoints,
                "last": signed.last.as_ref().map(checkpoint),
                "behind": signed.behind,
            })),
            "compared": found.compared,
            "unlisted": found.unlisted,
            "bundle": found.bundle.as_ref().map(|bundle| json!({
                "files": bundle.files,
                "bytes": bundle.bytes,
                "manifest": bundle.manifest,
                "unchecked": bundle.unchecked,
            })),
        })
    };
    match verification {
        Verification::Intact(found) => found_json("intact", found),
        Verification::Incomplete(found) => found_json("incomplete", found),
        Verification::Damaged(damaged) => json!({
            "result": "damaged",
            "records": damaged.records,
            "total": damaged.total,
            "damages": damaged.damages.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "good": damaged.good.as_ref().map(checkpoint),
        }),
    }
}
