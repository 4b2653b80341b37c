//! `sakshi verify --replay`: does the journal give the same findings again?

use std::path::Path;

use super::{
    Failure, Outcome,
    args::TextOrJson,
    output::{self, Stdout},
};
use crate::session::{Compared, Difference, compare_case};

/// Feeds a case's journal through the pipeline again, and says whether its findings are the same.
pub fn replay(case: &Path, format: TextOrJson) -> Result<Outcome, Failure> {
    let bar = output::progress(0, "feeding the journal again");
    let compared = compare_case(case, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let compared = compared?;
    let mut out = Stdout::open();
    match format {
        TextOrJson::Json => out.line(json(&compared))?,
        TextOrJson::Text => out.text(text(&compared))?,
    }
    out.close()?;
    Ok(if compared.differences.is_empty() {
        Outcome::Done
    } else {
        Outcome::No
    })
}

fn word(compared: &Compared) -> &'static str {
    if compared.differences.is_empty() {
        "identical"
    } else {
        "different"
    }
}

fn json(compared: &Compared) -> serde_json::Value {
    serde_json::json!({
        "replay": word(compared),
        "sessions": compared.sessions,
        "findings": compared.findings,
        "other_data": compared.other_data,
        "differences": compared.differences,
        "untold": compared.untold,
    })
}

fn text(compared: &Compared) -> String {
    let mut text = format!(
        "replay {}: {} findings of {} sessions, their owners, names, places and verdicts compared\n",
        word(compared),
        compared.findings,
        compared.sessions,
    );
    for one in &compared.differences {
        let Difference {
            of,
            rule,
            what,
            recorded,
            replayed,
        } = one;
        let line =
            format!("{of} {rule}: {what} was recorded as {recorded}, the replay says {replayed}\n");
        text.push_str(&line);
    }
    if compared.untold > 0 {
        let further = compared.untold.to_string();
        text.extend(["and ", &further, " further differences\n"]);
    }
    if compared.other_data {
        text.push_str(
            "a session was recorded with other location data than this program has: places may \
             differ for that\n",
        );
    }
    text
}
