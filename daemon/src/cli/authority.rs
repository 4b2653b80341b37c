//! `sakshi case` and `sakshi custody`: what a person states, and the line about it in other outputs.
//!
//! In: a terminal or a file. Out: records. Questions go to standard error, so that standard output
//! holds the answer alone.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    path::Path,
};

use super::{
    Failure, Outcome,
    args::{CaseCommand, CustodyArgs},
    output::{self, Stdout, say},
};
use crate::{
    evidence::{
        Head, Kind, Reader,
        authority::{Authority, Custody, Recorded, recorded},
        canonical::to_canonical,
    },
    platform::clock::{Clock as _, SystemClock},
    report::{authority::line, table},
    session::{
        SessionError,
        authority::{
            ANSWER_MAX, Answer, Answers, FILE_BYTES_MAX, LIST_MAX, Need, QUESTIONS, Question,
            hand_over, is_free, new_case, plain_text, read, record, template,
        },
    },
};

/// Makes a case, or records its authority.
pub fn case(command: CaseCommand) -> Result<Outcome, Failure> {
    let said = match command {
        CaseCommand::New { dir, from } => {
            is_free(&dir)?;
            let (id, head) = new_case(&dir, &stated(from.as_deref())?)?;
            format!("case {id} in {}; authority {}", dir.display(), of(head))
        }
        CaseCommand::Authority {
            case, show: true, ..
        } => return show(&case),
        CaseCommand::Authority { case, from, .. } => {
            // Before questions are asked: is there a case to put the answers into?
            drop(Reader::open(&case)?);
            let head = record(&case, &stated(from.as_deref())?)?;
            format!("authority {}", of(head))
        }
        CaseCommand::Template => template(),
    };
    let mut out = Stdout::open();
    out.line(said.trim_end())?;
    out.close()?;
    Ok(Outcome::Done)
}

fn of(head: Head) -> String {
    format!(
        "recorded: record {} vouches for it, hash {}",
        head.seq, head.hash
    )
}

/// What is recorded, as JSON; the answer is no where nothing is.
fn show(case: &Path) -> Result<Outcome, Failure> {
    match recorded(&Reader::open(case)?)? {
        Recorded::Authority { authority, .. } => {
            let mut out = Stdout::open();
            out.line(to_canonical(&authority)?)?;
            out.close()?;
            Ok(Outcome::Done)
        }
        other => {
            say(line(&other));
            Ok(Outcome::No)
        }
    }
}

/// What a file says, or somebody answers.
fn stated(from: Option<&Path>) -> Result<Authority, Failure> {
    let now = SystemClock.now();
    let Some(path) = from else {
        let answers = ask_all(&mut io::stdin().lock(), &mut io::stderr())?;
        return answers
            .authority(SystemClock.now())
            .ok_or_else(|| "not every question was answered: nothing was recorded".into());
    };
    let failed = |source| SessionError::Read {
        path: path.to_owned(),
        source,
    };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut text = String::new();
    // One byte more than is read, so that a longer file is told from one of that length.
    input
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(read(&path.display().to_string(), &text, now).map_err(SessionError::from)?)
}

/// Asks every question until its answer can be used.
fn ask_all(from: &mut impl BufRead, to: &mut impl Write) -> Result<Answers, Failure> {
    writeln!(
        to,
        "What a case must have to count. Where something is not known, press Enter if that is \
         offered. Nothing is recorded before the end."
    )?;
    let mut answers = Answers::default();
    for question in QUESTIONS
        .iter()
        .filter(|question| question.need != Need::InFile)
    {
        if let Some(answer) = ask(question, from, to)? {
            answers.put(question, answer);
        }
    }
    Ok(answers)
}

/// Asks one question; none where it is left out.
fn ask(
    question: &Question,
    from: &mut impl BufRead,
    to: &mut impl Write,
) -> Result<Option<Answer>, Failure> {
    let hint = match (question.need, question.is_list()) {
        (Need::Answer, _) => "",
        (Need::AnswerOrUnknown, false) => " (Enter: not known)",
        (Need::AnswerOrUnknown, true) => {
            " (one a line, an empty line ends; `none` for none; Enter: not known)"
        }
        (Need::Nothing | Need::InFile, _) => " (Enter: none)",
    };
    let mut texts = Vec::new();
    loop {
        write!(to, "{}{hint}: ", question.ask)?;
        to.flush()?;
        let typed = next_line(question, from)?;
        let typed = typed.trim();
        if typed.is_empty() && question.need != Need::Answer {
            return Ok(match (question.need, texts.is_empty()) {
                (_, false) => Some(Answer::Texts(texts)),
                (Need::AnswerOrUnknown, true) => Some(Answer::Unknown),
                (_, true) => None,
            });
        }
        if question.is_list() && typed == "none" && texts.is_empty() {
            return Ok(Some(Answer::Texts(texts)));
        }
        match question.check(typed) {
            Ok(Answer::Text(text)) if question.is_list() => {
                texts.push(text);
                if texts.len() == LIST_MAX {
                    return Ok(Some(Answer::Texts(texts)));
                }
            }
            Ok(answer) => return Ok(Some(answer)),
            Err(wrong) => writeln!(to, "  {}: {}", wrong.message, wrong.help)?,
        }
    }
}

/// A line of at most a bounded length; the end of the input is an error.
fn next_line(question: &Question, from: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = Vec::new();
    let max = ANSWER_MAX as u64 + 2;
    let mut bounded = from.by_ref().take(max);
    bounded.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(format!(
            "the input ended before `{}` was answered: nothing was recorded; answer on a terminal, \
             or fill in what `sakshi case template` prints and give it with --from",
            question.path
        )
        .into());
    }
    if line.len() as u64 == max && line.last() != Some(&b'\n') {
        // The rest of the line belongs to the same answer, which is too long already.
        while !line.ends_with(b"\n") {
            line.truncate(ANSWER_MAX + 1);
            let mut bounded = from.by_ref().take(max);
            if bounded.read_until(b'\n', &mut line)? == 0 {
                break;
            }
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Records that a thing changed hands, or lists such records.
pub fn custody(args: CustodyArgs) -> Result<Outcome, Failure> {
    if args.list {
        return list(&args.case);
    }
    let now = SystemClock.now();
    let Some(by) = given("--by", args.by)? else {
        return Err("say who records it, with --by NAME".into());
    };
    let custody = Custody {
        at: now,
        when: args.when.unwrap_or(now),
        who: by,
        received_from: given("--received-from", args.received_from)?,
        handed_to: given("--handed-to", args.handed_to)?,
        item: given("--item", args.item)?,
        seal: given("--seal", args.seal)?,
        remark: given("--remark", args.remark)?,
    };
    let head = hand_over(&args.case, &custody, now)?;
    let mut out = Stdout::open();
    out.line(format_args!("custody {}", of(head)))?;
    out.close()?;
    Ok(Outcome::Done)
}

/// What was given to an option, checked as an answer is.
pub fn given(option: &str, text: Option<String>) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match plain_text(&text, "write it out, or leave the option out") {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(wrong) => Err(format!("{option}: {}; {}", wrong.message, wrong.help).into()),
    }
}

fn list(case: &Path) -> Result<Outcome, Failure> {
    let mut rows: Vec<Custody> = Vec::new();
    for record in Reader::open(case)?.records(&[Kind::CUSTODY]) {
        let record = record?;
        let row = serde_json::from_str(&record.body)
            .map_err(|error| format!("record {} cannot be read: {error}", record.seq))?;
        rows.push(row);
    }
    let mut out = Stdout::open();
    if rows.is_empty() {
        out.line("No custody is recorded.")?;
    } else {
        out.line(table::custody(&rows, output::style()))?;
    }
    out.close()?;
    Ok(Outcome::Done)
}

/// What a case says of its authority, in one line that stands below every output.
pub fn standing(reader: &Reader) -> Result<String, Failure> {
    Ok(line(&recorded(reader)?))
}

/// The same for a case that was just written, on standard error.
pub fn say_standing(case: &Path) -> Result<(), Failure> {
    say(standing(&Reader::open(case)?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers to all questions that are asked on a terminal, in their order.
    const TYPED: &str = "FSL\n2027-01-31\nyes\n\nR. Menon\n\nMTNL Bhavan\nF.1(2)\n2026-11-02\n\n\
        A. Rao\nScientist C\nAcme\nX1\nblack\n\n490154203237519\n490154203237518\n\nretail\n\
        unlocked by the maker's tool\nINV-7\nnone\n\n";

    #[test]
    fn a_wrong_answer_is_asked_again() {
        let mut asked = Vec::new();
        let answers = ask_all(&mut TYPED.as_bytes(), &mut asked).unwrap();
        let asked = String::from_utf8(asked).unwrap();
        assert!(asked.contains("check digit"), "{asked}");
        let at = crate::time::Timestamp::from_micros(1);
        let authority = answers.authority(at).unwrap();
        assert_eq!(authority.person_in_charge.relation, None);
        assert_eq!(authority.device.imei.unwrap(), ["490154203237518"]);
        assert_eq!(authority.device.seals.unwrap(), [""; 0]);
        assert_eq!(authority.device.serial, None);
        assert_eq!(authority.device.invoice.as_deref(), Some("INV-7"));
    }

    #[test]
    fn an_input_that_ends_records_nothing_and_a_long_line_is_one_answer() {
        let short = TYPED.split_inclusive('\n').take(3).collect::<String>();
        let error = ask_all(&mut short.as_bytes(), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("`remarks`"), "{error}");
        let long = format!("{}\n{TYPED}", "x".repeat(3 * ANSWER_MAX));
        let mut asked = Vec::new();
        let answers = ask_all(&mut long.as_bytes(), &mut asked).unwrap();
        assert_eq!(answers.missing().map(|question| question.path), None);
        assert!(String::from_utf8_lossy(&asked).contains("too long"));
    }
}
