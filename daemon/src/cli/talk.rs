//! Commands that talk to a running daemon: `status`, `stop`, `note`, `phase`.

use super::{
    Failure, Outcome,
    args::{NoteArgs, PhaseArgs, StatusArgs, Target, TextOrJson},
    output::{Stdout, say},
};
use crate::control::{
    client::{ClientError, Connection},
    protocol::{Answer, PHASE_NAME, REMARK, Request, Status, checked_text},
};

/// Says how the daemon is doing.
pub fn status(args: &StatusArgs) -> Result<Outcome, Failure> {
    let mut connection = match Connection::open(args.target.case.as_deref()) {
        Ok(connection) => connection,
        Err(error @ ClientError::None) => {
            say(format_args!("sakshi: {error}"));
            return Ok(Outcome::No);
        }
        Err(error) => return Err(error.into()),
    };
    if args.follow {
        return follow(&mut connection, args.format);
    }
    let answer = connection.ask(&Request::Status)?;
    let mut out = Stdout::open();
    match (answer, args.format) {
        (Answer::Status(status), TextOrJson::Json) => out.line(serde_json::to_string(&*status)?)?,
        (Answer::Status(status), TextOrJson::Text) => out.text(status_text(&status))?,
        (other, _) => return Err(unexpected(&other)),
    }
    out.close()?;
    Ok(Outcome::Done)
}

fn follow(connection: &mut Connection, format: TextOrJson) -> Result<Outcome, Failure> {
    connection.send(&Request::Follow)?;
    while let Some(answer) = connection.next_answer()? {
        let Answer::Committed { seq, hash } = answer else {
            return Err(unexpected(&answer));
        };
        let mut out = Stdout::open();
        match format {
            TextOrJson::Json => out.line(serde_json::json!({ "seq": seq, "hash": hash }))?,
            TextOrJson::Text => out.line(format_args!("{seq} {hash}"))?,
        }
        out.close()?;
    }
    Ok(Outcome::Done)
}

/// Asks the daemon to end, and returns when it has.
pub fn stop(target: &Target) -> Result<Outcome, Failure> {
    let mut connection = Connection::open(target.case.as_deref())?;
    match connection.ask(&Request::Stop)? {
        Answer::Stopping => {}
        other => return Err(unexpected(&other)),
    }
    // The daemon closes the connection when everything is written.
    while connection.next_answer()?.is_some() {}
    answer("stopped")
}

/// Gives the daemon a remark.
pub fn note(args: NoteArgs) -> Result<Outcome, Failure> {
    checked_text(&args.text, REMARK)?;
    committed(&args.target, &Request::Note { text: args.text }, "noted")
}

/// Tells the daemon that a phase begins.
pub fn phase(args: PhaseArgs) -> Result<Outcome, Failure> {
    checked_text(&args.name, PHASE_NAME)?;
    let name = args.name.clone();
    committed(
        &args.target,
        &Request::Phase { name: args.name },
        &format!("phase {name} begins"),
    )
}

pub(super) fn committed(
    target: &Target,
    request: &Request,
    what: &str,
) -> Result<Outcome, Failure> {
    committed_by(
        &mut Connection::open(target.case.as_deref())?,
        request,
        what,
    )
}

pub(super) fn committed_by(
    connection: &mut Connection,
    request: &Request,
    what: &str,
) -> Result<Outcome, Failure> {
    match connection.ask(request)? {
        Answer::Committed { seq, hash } => answer(&format!("{what}: record {seq}, hash {hash}")),
        other => Err(unexpected(&other)),
    }
}

fn answer(line: &str) -> Result<Outcome, Failure> {
    let mut out = Stdout::open();
    out.line(line)?;
    out.close()?;
    Ok(Outcome::Done)
}

fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Failed { reason } => reason.clone().into(),
        other => ClientError::Answer(format!("{other:?}")).into(),
    }
}

fn kept_text(status: &Status) -> String {
    let Status {
        packets_kept,
        packets_bytes,
        packets_quota,
        ..
    } = status;
    match packets_quota {
        0 => "no packets (--packets-quota 0)".to_owned(),
        _ => format!("{packets_kept} packets, {packets_bytes} of {packets_quota} bytes"),
    }
}

fn status_text(status: &Status) -> String {
    let lost = status
        .lost
        .map_or_else(|| "unknown".to_owned(), |lost| lost.to_string());
    let phase = if status.phase.is_empty() {
        "none yet"
    } else {
        &status.phase
    };
    let mut text = format!(
        "{} since {}\ncase       {} (session {}, process {})\ncapture    {}\nphase      {phase}\n\
         packets    {} ({lost} lost)\nflows      {}\ncontacts   {}\nfindings   {}\nkept       {}\nrecord     {} {}\n",
        status.state,
        status.since.local(),
        status.case,
        status.session,
        status.pid,
        status.capture,
        status.packets,
        status.flows,
        status.contacts,
        status.findings,
        kept_text(status),
        status.seq,
        status.hash,
    );
    if let Some(bytes) = status.bytes_written {
        text.extend(["written    ", &bytes.to_string(), " bytes to storage\n"]);
    }
    for degraded in &status.degraded {
        text.extend(["degraded   ", degraded, "\n"]);
    }
    text
}
