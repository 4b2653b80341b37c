//! Parts A and B.
//!
//! In: what is drafted from, the device, the language. Out: the form, with its enclosures.

use super::{
    Device, Drafted, Language,
    enclosures::{hash_report, period},
    words::Words,
};
use crate::{
    evidence::{authority::Authority, device::Fact},
    paper::{
        form::{Form, Piece, Run, blank, text},
        when::day,
    },
};

/// Which of the Schedule's boxes stands for a device.
const fn source_box(device: Device) -> usize {
    match device {
        Device::Pc => 0,
        Device::Phone => 2,
    }
}

pub(super) fn form(drafted: &Drafted<'_>, device: Device, language: Language) -> Form {
    let words = language.words();
    let called = match device {
        Device::Phone => words.phone,
        Device::Pc => words.pc,
    };
    let mut pieces = vec![
        Piece::Flag(words.draft.to_owned()),
        Piece::Title(words.act.to_owned()),
        Piece::Title(words.schedule.to_owned()),
        Piece::Title(words.certificate.to_owned()),
        Piece::Paragraph(text(called)),
    ];
    let facts = drafted.facts;
    match facts.authority() {
        Some(authority) if authority.sample => pieces.push(Piece::Flag(words.sample.to_owned())),
        Some(_) => {}
        None => pieces.push(Piece::Flag(words.no_authority.to_owned())),
    }
    part_a(drafted, device, words, &mut pieces);
    pieces.push(Piece::NewPage);
    part_b(drafted, device, words, &mut pieces);
    pieces.push(Piece::NewPage);
    hash_report(drafted, words, &mut pieces);
    pieces.push(Piece::NewPage);
    period(facts, words, &mut pieces);
    Form {
        title: format!("{}: {}", words.certificate, called),
        language: language.code(),
        foot: format!("{} {}", words.case, facts.meta.id),
        pieces,
    }
}

fn part_a(drafted: &Drafted<'_>, device: Device, words: &Words, pieces: &mut Vec<Piece>) {
    pieces.push(Piece::Heading(words.part_a.to_owned()));
    affirm(words, pieces);
    if let Some(authority) = drafted.facts.authority() {
        let person = &authority.person_in_charge;
        let known = |value: &Option<String>| {
            value
                .clone()
                .unwrap_or_else(|| words.not_recorded.to_owned())
        };
        pieces.push(Piece::Paragraph(text(format!(
            "{} {}; {}: {}; {}: {}",
            words.recorded,
            person.name,
            words.hint_relation,
            known(&person.relation),
            words.hint_address,
            known(&person.residing_or_employed_at)
        ))));
    }
    pieces.push(Piece::Paragraph(text(words.produced)));
    pieces.push(ticks(&words.sources, Some(source_box(device)), false));
    device_block(drafted, device, words, pieces);
    pieces.push(Piece::Paragraph(text(words.control)));
    let flag = match device {
        Device::Phone => words.for_counsel,
        Device::Pc => words.for_counsel_pc,
    };
    pieces.push(Piece::Flag(flag.to_owned()));
    pieces.push(Piece::Paragraph(text(words.source_is)));
    pieces.push(ticks(&words.relations, None, true));
    pieces.push(Piece::Paragraph(text(words.by_me)));
    pieces.push(Piece::Paragraph(vec![
        Run::Text(words.hash.to_owned()),
        Run::Text(format!("hashes.sha256: {}", drafted.list_hash())),
    ]));
    pieces.push(Piece::Paragraph(text(words.algorithm)));
    let given = |of: fn(&crate::paper::source::HashedFile) -> bool| drafted.files.iter().any(of);
    pieces.push(Piece::Ticks(
        vec![
            (given(|file| file.sha1.is_some()), "SHA1".to_owned()),
            (true, "SHA256".to_owned()),
            (given(|file| file.md5.is_some()), "MD5".to_owned()),
            (false, words.hash_other.to_owned()),
        ],
        false,
    ));
    pieces.push(Piece::Paragraph(text(words.hash_enclosed)));
    signed(words, false, pieces);
}

fn part_b(drafted: &Drafted<'_>, device: Device, words: &Words, pieces: &mut Vec<Piece>) {
    pieces.push(Piece::Heading(words.part_b.to_owned()));
    affirm(words, pieces);
    pieces.push(Piece::Paragraph(text(words.obtained)));
    pieces.push(ticks(&words.sources, None, true));
    device_block(drafted, device, words, pieces);
    pieces.push(Piece::Paragraph(vec![
        Run::Text(words.hash.to_owned()),
        Run::Blank(words.expert_hash.to_owned()),
    ]));
    pieces.push(Piece::Paragraph(text(words.algorithm)));
    pieces.push(ticks(
        &["SHA1", "SHA256", "MD5", words.hash_other],
        None,
        true,
    ));
    pieces.push(Piece::Paragraph(text(words.hash_enclosed)));
    signed(words, true, pieces);
    pieces.push(Piece::Field(
        words.notified.to_owned(),
        blank(&words.yes_no.join(" / ")),
    ));
    pieces.push(Piece::Flag(words.notified_flag.to_owned()));
}

fn ticks(labels: &[&str], ticked: Option<usize>, open: bool) -> Piece {
    let boxes = labels.iter().enumerate();
    Piece::Ticks(
        boxes
            .map(|(at, label)| (Some(at) == ticked, (*label).to_owned()))
            .collect(),
        open,
    )
}

fn affirm(words: &Words, pieces: &mut Vec<Piece>) {
    let [before, relation, address, behind] = words.affirm;
    pieces.push(Piece::Paragraph(vec![
        Run::Text(before.to_owned()),
        Run::Blank(words.hint_name.to_owned()),
        Run::Text(relation.to_owned()),
        Run::Blank(words.hint_relation.to_owned()),
        Run::Text(address.to_owned()),
        Run::Blank(words.hint_address.to_owned()),
        Run::Text(behind.to_owned()),
    ]));
}

fn signed(words: &Words, expert: bool, pieces: &mut Vec<Piece>) {
    let mut field = |label: &str, hint: &str| {
        pieces.push(Piece::Field(label.to_owned(), blank(hint)));
    };
    field(words.name, words.to_fill);
    if expert {
        field(words.designation, words.to_fill);
    }
    field(words.signature, words.to_fill);
    field(words.date, words.hint_date);
    field(words.time, words.hint_time);
    field(words.place, words.to_fill);
}

/// The device, as recorded; what is not is left to a person.
fn device_block(drafted: &Drafted<'_>, device: Device, words: &Words, pieces: &mut Vec<Piece>) {
    let authority = drafted
        .facts
        .authority()
        .filter(|_| device == Device::Phone);
    let stated = authority.map(|authority| &authority.device);
    let or_blank = |value: Option<String>| match value {
        Some(value) => text(value),
        None => blank(words.not_recorded),
    };
    let mut field = |label: &str, runs| pieces.push(Piece::Field(label.to_owned(), runs));
    field(words.other, blank(words.to_fill));
    field(
        words.make_model,
        or_blank(stated.map(|device| format!("{} {}", device.make, device.model))),
    );
    field(
        words.colour,
        or_blank(stated.and_then(|device| device.colour.clone())),
    );
    field(
        words.serial,
        or_blank(stated.and_then(|device| device.serial.clone())),
    );
    let imei = stated.and_then(|device| device.imei.as_ref());
    let identifiers = imei.map(|imei| match imei.as_slice() {
        [] => words.none.to_owned(),
        some => format!("IMEI {}", some.join(", ")),
    });
    field(words.identifiers, or_blank(identifiers));
    let mut runs = Vec::new();
    for line in relevant(drafted, authority, device, words) {
        runs.extend([Run::Text(line), Run::Break]);
    }
    runs.pop();
    field(words.relevant, runs);
}

/// What else is known of the device and the record, a line each.
fn relevant(
    drafted: &Drafted<'_>,
    authority: Option<&Authority>,
    device: Device,
    words: &Words,
) -> Vec<String> {
    let facts = drafted.facts;
    let mut lines = vec![
        format!("{}: {}", words.case, facts.meta.id),
        format!("{}: {}", words.tool, facts.meta.tool),
    ];
    if device == Device::Pc {
        return lines;
    }
    if let Some(authority) = authority {
        let order = &authority.order;
        lines.push(format!(
            "{}: {}, {}",
            words.order,
            order.reference,
            day(&order.date)
        ));
        let stated = &authority.device;
        let seals = stated.seals.as_ref().map(|seals| seals.join(", "));
        for (label, value) in [
            (words.rooted, &stated.rooted),
            (words.invoice, &stated.invoice),
            (words.seals, &seals.filter(|seals| !seals.is_empty())),
            (words.relevant, &stated.other),
        ] {
            lines.extend(value.as_ref().map(|value| format!("{label}: {value}")));
        }
    }
    if let Some(own) = &facts.device {
        let known = |fact: &Fact| {
            fact.value
                .clone()
                .unwrap_or_else(|| words.not_known.to_owned())
        };
        for (label, fact) in [
            (words.build, &own.fingerprint),
            (words.patch, &own.security_patch),
            (words.verified_boot, &own.verified_boot),
            (words.bootloader, &own.bootloader),
            (words.selinux, &own.selinux),
            (words.kernel, &own.kernel),
        ] {
            lines.push(format!("{label}: {}", known(fact)));
        }
    }
    lines
}
