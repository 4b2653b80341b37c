//! What is enclosed with a certificate: the hash report, the period, and every time at which
//! something was not working properly.
//!
//! In: what is drafted from. Out: pieces of the form.

use super::{Drafted, words::Words};
use crate::{
    paper::{
        facts::Facts,
        form::{Piece, text},
        when::{ist, utc},
    },
    report::coverage::text::seconds,
    time::Timestamp,
};

pub(super) fn hash_report(drafted: &Drafted<'_>, words: &Words, pieces: &mut Vec<Piece>) {
    pieces.push(Piece::Heading(words.hash_report.to_owned()));
    if drafted.source.bundle().is_none() && !drafted.facts.sealed {
        pieces.push(Piece::Flag(words.not_sealed.to_owned()));
    }
    pieces.push(Piece::Paragraph(text(format!(
        "{} {}",
        words.hash_list,
        drafted.list_hash()
    ))));
    let rows = drafted.files.iter().map(|file| {
        let mut hashes = format!("SHA256 {}", file.sha256);
        for (name, value) in [("SHA1", &file.sha1), ("MD5", &file.md5)] {
            if let Some(value) = value {
                hashes.extend(["\n", name, " ", value]);
            }
        }
        vec![
            file.path.clone(),
            format!("{} {}", file.bytes, words.bytes),
            hashes,
        ]
    });
    pieces.push(Piece::Table {
        head: [words.file, words.length, words.hash_value]
            .map(str::to_owned)
            .to_vec(),
        shares: vec![190, 110, 700],
        rows: rows.collect(),
    });
    let facts = drafted.facts;
    let mut record = |label: &str, head: crate::evidence::Head| {
        pieces.push(Piece::Paragraph(text(format!(
            "{label}: {}, {}",
            head.seq, head.hash
        ))));
    };
    record(words.head, facts.head);
    if let Some(checkpoint) = facts.checkpoint {
        record(words.checkpoint, checkpoint);
    }
}

pub(super) fn period(facts: &Facts, words: &Words, pieces: &mut Vec<Piece>) {
    pieces.push(Piece::Heading(words.period.to_owned()));
    let moment = |moment: Option<Timestamp>| match moment {
        Some(moment) => format!("{} ({})", ist(moment), utc(moment)),
        None => words.not_known.to_owned(),
    };
    let mut field = |label: &str, value: String| {
        pieces.push(Piece::Field(label.to_owned(), text(value)));
    };
    field(words.from, moment(facts.period.map(|(from, _)| from)));
    field(words.to, moment(facts.period.map(|(_, to)| to)));
    field(words.sessions, facts.sessions.len().to_string());
    if let Some(coverage) = facts.coverage.as_ref().filter(|_| facts.watched) {
        let known = |us: Option<u64>| us.map_or_else(|| words.not_known.to_owned(), seconds);
        field(words.watched, known(coverage.watched_us));
        field(
            words.asleep,
            format!(
                "{}; {} {}",
                known(coverage.suspended_us),
                coverage.suspensions,
                words.sleeps
            ),
        );
    }
    pieces.push(Piece::Heading(words.not_working.to_owned()));
    if !facts.watched {
        pieces.push(Piece::Flag(words.nothing_watched.to_owned()));
    }
    if facts.troubles.is_empty() {
        pieces.push(Piece::Paragraph(text(words.nothing_wrong)));
        return;
    }
    pieces.push(Piece::Paragraph(text(words.not_working_lead)));
    let cell = |moment: Option<Timestamp>| match moment {
        Some(moment) => format!("{}\n{}", ist(moment), utc(moment)),
        None => words.not_known.to_owned(),
    };
    let rows = facts.troubles.iter().map(|trouble| {
        let mut what = (words.what)(trouble.what).to_owned();
        if let Some(packets) = trouble.packets {
            what.extend(["\n", &packets.to_string(), " ", words.packets]);
        }
        what.push('\n');
        what.push_str(&trouble.detail);
        vec![cell(trouble.from), cell(trouble.to), what]
    });
    pieces.push(Piece::Table {
        head: words.columns.map(str::to_owned).to_vec(),
        shares: vec![240, 240, 520],
        rows: rows.collect(),
    });
}
