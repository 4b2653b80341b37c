//! Commands that talk to a running daemon: `status`, `stop`, `note`, `phase`.

use std::io::{self, Write};

use super::{
    Failure, Outcome,
    args::{NoteArgs, PhaseArgs, StatusArgs, Target, TextOrJson},
};
use crate::control::{
    client::{ClientError, Connection},
    protocol::{Answer, Request, Status},
};

/// Says how the daemon is doing.
pub fn status(args: &StatusArgs) -> Result<Outcome, Failure> {
    let mut connection = match Connection::open(args.target.case.as_deref()) {
        Ok(connection) => connection,
        Err(error @ ClientError::None) => {
            eprintln!("sakshi: {error}");
            return Ok(Outcome::No);
        }
        Err(error) => return Err(error.into()),
    };
    if args.follow {
        return follow(&mut connection, args.format);
    }
    let answer = connection.ask(&Request::Status)?;
    let mut out = io::stdout().lock();
    match (answer, args.format) {
        (Answer::Status(status), TextOrJson::Json) => {
            writeln!(out, "{}", serde_json::to_string(&*status)?)?;
        }
        (Answer::Status(status), TextOrJson::Text) => write!(out, "{}", status_text(&status))?,
        (other, _) => return Err(unexpected(&other)),
    }
    Ok(Outcome::Done)
}

fn follow(connection: &mut Connection, format: TextOrJson) -> Result<Outcome, Failure> {
    connection.send(&Request::Follow)?;
    let mut out = io::stdout().lock();
    while let Some(answer) = connection.next_answer()? {
        let Answer::Committed { seq, hash } = answer else {
            return Err(unexpected(&answer));
        };
        match format {
            TextOrJson::Json => {
                writeln!(out, "{}", serde_json::json!({ "seq": seq, "hash": hash }))?;
            }
            TextOrJson::Text => writeln!(out, "{seq} {hash}")?,
        }
        out.flush()?;
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
    println!("stopped");
    Ok(Outcome::Done)
}

/// Gives the daemon a remark.
pub fn note(args: NoteArgs) -> Result<Outcome, Failure> {
    committed(&args.target, &Request::Note { text: args.text }, "noted")
}

/// Tells the daemon that a phase begins.
pub fn phase(args: PhaseArgs) -> Result<Outcome, Failure> {
    let name = args.name.clone();
    committed(
        &args.target,
        &Request::Phase { name: args.name },
        &format!("phase {name} begins"),
    )
}

fn committed(target: &Target, request: &Request, what: &str) -> Result<Outcome, Failure> {
    match Connection::open(target.case.as_deref())?.ask(request)? {
        Answer::Committed { seq, hash } => println!("{what}: record {seq}, hash {hash}"),
        other => return Err(unexpected(&other)),
    }
    Ok(Outcome::Done)
}

fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Failed { reason } => reason.clone().into(),
        other => ClientError::Answer(format!("{other:?}")).into(),
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
         packets    {} ({lost} lost)\nflows      {}\ncontacts   {}\nfindings   {}\nrecord     {} {}\n",
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
        status.seq,
        status.hash,
    );
    for degraded in &status.degraded {
        text.extend(["degraded   ", degraded, "\n"]);
    }
    text
}
