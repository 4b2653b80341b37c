//! Reads the answers from a TOML file and tells everything that is wrong with it at once.
//!
//! In: the text of a file. Out: an [`Authority`], or line, column and remedy of each problem. The
//! walk is the one of rule files.

use sakshi_rules::{
    TomlError,
    parse::{
        document,
        fields::{Fields, Reader, Value, read_array, read_bool, read_day, wrong_type},
    },
};

use super::form::{Answer, Answers, Form, LIST_MAX, Need, QUESTIONS, Question, UNKNOWN};
use crate::{evidence::authority::Authority, time::Timestamp};

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Reads the file named `file` with this text; it is recorded at `at`.
pub fn read(file: &str, text: &str, at: Timestamp) -> Result<Authority, TomlError> {
    let mut reader = Reader::new(text);
    if text.len() > FILE_BYTES_MAX {
        let help = "such a file has at most 256 KiB; `sakshi case template` prints one";
        reader.report(0..0, "the file is too large", help);
        reader = reader.sound(file)?;
    }
    let document = document(&mut reader, text);
    let mut reader = reader.sound(file)?;
    let mut keys: Vec<&str> = Vec::new();
    for (table, key) in QUESTIONS.iter().map(Question::place) {
        let name = if table.is_empty() { key } else { table };
        if !keys.contains(&name) {
            keys.push(name);
        }
    }
    let whole = Fields::of(&mut reader, document.get_ref(), 0..0, "the file", &keys);
    let mut answers = Answers::default();
    for table in keys {
        read_table(&mut reader, &whole, table, &mut answers);
    }
    let mut reader = reader.sound(file)?;
    if let Some(authority) = answers.authority(at) {
        return Ok(authority);
    }
    // What is missing was reported above, so that this is not reached; it is told, not assumed.
    let missing = answers
        .missing()
        .map_or("an answer", |question| question.path);
    reader.report(
        0..0,
        format!("`{missing}` is missing"),
        "see `sakshi case template`",
    );
    reader.sound(file)?;
    Err(TomlError {
        file: file.to_owned(),
        problems: Vec::new(),
        more: 1,
    })
}

/// Reads the questions of a table, or the one question of the document that has this key.
fn read_table(
    reader: &mut Reader<'_>,
    whole: &Fields<'_>,
    table: &'static str,
    answers: &mut Answers,
) {
    if let Some(single) = QUESTIONS.iter().find(|question| question.path == table) {
        match whole.get(table) {
            Some(value) => read_answer(reader, single, value, answers),
            None => absent(reader, single, 0..0, "the file"),
        }
        return;
    }
    let asked: Vec<&Question> = QUESTIONS
        .iter()
        .filter(|question| question.place().0 == table)
        .collect();
    let keys: Vec<&str> = asked.iter().map(|question| question.place().1).collect();
    let named = match asked.first() {
        Some(first) => first.table_name(),
        None => return,
    };
    let Some(value) = whole.get(table) else {
        reader.report(
            0..0,
            format!("the table {named} is missing"),
            format!("add {named} with {}", keys.join(", ")),
        );
        return;
    };
    let Some(fields) = Fields::open(reader, value, named, &keys) else {
        return;
    };
    for question in asked {
        match fields.get(question.place().1) {
            Some(value) => read_answer(reader, question, value, answers),
            None => absent(reader, question, fields.span(), named),
        }
    }
}

fn absent(reader: &mut Reader<'_>, question: &Question, span: std::ops::Range<usize>, place: &str) {
    let key = question.place().1;
    let help = match question.need {
        Need::Answer => format!("add a line `{key} = …`: {}", question.ask),
        Need::AnswerOrUnknown => {
            format!("add a line `{key} = …`, or \"unknown\": {}", question.ask)
        }
        Need::Nothing | Need::InFile => return,
    };
    reader.report(span, format!("`{key}` is missing in {place}"), help);
}

fn read_answer(
    reader: &mut Reader<'_>,
    question: &Question,
    value: &Value<'_>,
    answers: &mut Answers,
) {
    let key = question.place().1;
    let answer = match question.form {
        Form::YesNo => read_bool(reader, value, key).map(Answer::YesNo),
        // A day may be written without quotes.
        Form::Day if !value.get_ref().is_str() => {
            read_day(reader, value, key).map(|day| Answer::Text(day.to_string()))
        }
        Form::Texts | Form::Imeis => read_list(reader, question, value),
        Form::Text | Form::Build | Form::Day => read_one(reader, question, value),
    };
    if let Some(answer) = answer {
        answers.put(question, answer);
    }
}

fn read_one(reader: &mut Reader<'_>, question: &Question, value: &Value<'_>) -> Option<Answer> {
    let key = question.place().1;
    let Some(text) = value.get_ref().as_str() else {
        let help = "put it in quotes: \"…\"";
        wrong_type(reader, value, &format!("`{key}`"), "text", help);
        return None;
    };
    question
        .check(text)
        .map_err(|wrong| {
            let message = format!("`{key}` cannot be used: {}", wrong.message);
            reader.report(value.span(), message, wrong.help);
        })
        .ok()
}

fn read_list(reader: &mut Reader<'_>, question: &Question, value: &Value<'_>) -> Option<Answer> {
    let key = question.place().1;
    if value.get_ref().as_str() == Some(UNKNOWN) && question.need == Need::AnswerOrUnknown {
        return Some(Answer::Unknown);
    }
    let help = format!("write `{key} = [\"…\"]`, [] for none, or \"unknown\"");
    let array = read_array(reader, value, &format!("`{key}`"), "a list of texts", &help)?;
    if array.len() > LIST_MAX {
        let message = format!("`{key}` has {} entries", array.len());
        reader.report(
            value.span(),
            message,
            format!("at most {LIST_MAX} are kept"),
        );
        return None;
    }
    let mut texts = Vec::new();
    for entry in array {
        match read_one(reader, question, entry) {
            Some(Answer::Text(text)) => texts.push(text),
            Some(_) => reader.report(
                entry.span(),
                format!("`{key}` has an entry that is unknown"),
                format!("write `{key} = \"unknown\"`, or leave the entry out"),
            ),
            None => {}
        }
    }
    Some(Answer::Texts(texts))
}

#[cfg(test)]
mod tests {
    use super::super::form::template;
    use super::*;
    use crate::evidence::authority::Build;

    const AT: Timestamp = Timestamp::from_micros(0);

    fn filled() -> String {
        let mut text = String::new();
        for line in template().lines() {
            let line = match line.split_once(" = ") {
                Some(("retention_until", _)) => "retention_until = 2027-01-31",
                Some(("date", _)) => "date = \"2026-11-02\"",
                Some(("persona_is_the_labs", _)) => "persona_is_the_labs = true",
                Some(("imei", _)) => "imei = [\"490154203237518\"]",
                Some(("seals", _)) => "seals = []",
                Some(("build", _)) => "build = \"retail\"",
                Some(("colour", _)) => "colour = \"unknown\"",
                _ => &line.replace("= \"\"", "= \"something\""),
            };
            text.extend([line, "\n"]);
        }
        text
    }

    #[test]
    fn a_filled_template_is_read() {
        let authority = read("a.toml", &filled(), AT).unwrap();
        assert_eq!(authority.retention_until, "2027-01-31");
        assert_eq!(authority.device.imei.unwrap(), ["490154203237518"]);
        assert_eq!(authority.device.seals.unwrap(), [""; 0]);
        assert_eq!(authority.device.colour, None);
        assert_eq!(authority.device.build, Build::Retail);
        assert!(authority.persona_is_the_labs);
        assert!(!authority.sample);
        assert_eq!(authority.remarks, None);
        assert_eq!(authority.examiner.notified, None);
    }

    #[test]
    fn an_empty_template_tells_every_question() {
        let error = read("a.toml", &template(), AT).unwrap_err();
        let must = QUESTIONS
            .iter()
            .filter(|question| matches!(question.need, Need::Answer | Need::AnswerOrUnknown));
        assert_eq!(error.problems.len(), must.count(), "{error}");
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_place() {
        let text = filled()
            .replace("490154203237518", "490154203237519")
            .replace(
                "persona_is_the_labs = true",
                "persona_is_the_labs = \"yes\"",
            )
            .replace("colour = \"unknown\"", "color = \"blue\"");
        let shown = read("a.toml", &text, AT).unwrap_err().to_string();
        for part in [
            "check digit",
            "compare it with *#06#",
            "`persona_is_the_labs` is text, expected true or false",
            "unknown key `color` in `[device]`",
            "`colour` is missing",
        ] {
            assert!(shown.contains(part), "{part} is not in:\n{shown}");
        }
        let line = text
            .lines()
            .position(|line| line.starts_with("imei"))
            .unwrap()
            + 1;
        assert!(shown.contains(&format!("a.toml:{line}:9:")), "{shown}");
    }
}
