//! The questions that a case has to answer to count, once for the terminal, the file and the
//! template.
//!
//! In: answers. Out: [`Answers`], and from a whole set of them an [`Authority`].

use std::{collections::BTreeMap, fmt::Write as _};

use sakshi_rules::day::Day;

use crate::{
    evidence::authority::{Authority, Build, Device, Examiner, Order, PersonInCharge},
    time::Timestamp,
};

/// Longest answer, in bytes.
pub const ANSWER_MAX: usize = 2000;
/// Most values of a list.
pub const LIST_MAX: usize = 64;
/// What somebody writes who does not know.
pub const UNKNOWN: &str = "unknown";

/// Whether a question has to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must be.
    Answer,
    /// It must be, but the answer may be that it is not known.
    AnswerOrUnknown,
    /// It may be left out.
    Nothing,
    /// It may be left out, and is asked in a file only.
    InFile,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Text,
    /// A day.
    Day,
    /// Texts, none of them where there are none.
    Texts,
    /// IMEIs.
    Imeis,
    /// `retail`, `engineering`, or unknown.
    Build,
    /// True or false.
    YesNo,
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Table and key in a file: `device.make`; without a dot, of the document itself.
    pub path: &'static str,
    /// What is asked.
    pub ask: &'static str,
    /// Whether it must be answered.
    pub need: Need,
    /// What the answer is.
    pub form: Form,
}

const fn question(path: &'static str, ask: &'static str, need: Need, form: Form) -> Question {
    Question {
        path,
        ask,
        need,
        form,
    }
}

/// Every question: those of the document first, then table by table.
pub const QUESTIONS: &[Question] = &[
    question("owner", "Owner of the handset", Need::Answer, Form::Text),
    question(
        "retention_until",
        "Last day on which the evidence is kept (year-month-day)",
        Need::Answer,
        Form::Day,
    ),
    question(
        "persona_is_the_labs",
        "Are persona, SIM and accounts on the handset the lab's own? (yes or no)",
        Need::Answer,
        Form::YesNo,
    ),
    question("remarks", "Remarks", Need::Nothing, Form::Text),
    question(
        "sample",
        "Made up for a demonstration: every output will say so",
        Need::InFile,
        Form::YesNo,
    ),
    question(
        "person_in_charge.name",
        "Person in lawful control of the handset: name",
        Need::Answer,
        Form::Text,
    ),
    question(
        "person_in_charge.relation",
        "Son, daughter or spouse of",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "person_in_charge.residing_or_employed_at",
        "Residing or employed at",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "order.reference",
        "Order or letter that asks for the examination: its number",
        Need::Answer,
        Form::Text,
    ),
    question(
        "order.date",
        "Its day (year-month-day)",
        Need::Answer,
        Form::Day,
    ),
    question(
        "order.issued_by",
        "Issued by",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question("examiner.name", "Examiner: name", Need::Answer, Form::Text),
    question(
        "examiner.designation",
        "Examiner: designation",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question("device.make", "Handset: make", Need::Answer, Form::Text),
    question("device.model", "Handset: model", Need::Answer, Form::Text),
    question(
        "device.colour",
        "Handset: colour",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "device.serial",
        "Handset: serial number",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "device.imei",
        "Handset: IMEIs, 15 digits each, as *#06# shows them",
        Need::AnswerOrUnknown,
        Form::Imeis,
    ),
    question(
        "device.build",
        "Handset: kind of build (retail, engineering or unknown)",
        Need::Answer,
        Form::Build,
    ),
    question(
        "device.rooted",
        "How it was rooted",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "device.invoice",
        "Invoice, or other proof of where it comes from",
        Need::AnswerOrUnknown,
        Form::Text,
    ),
    question(
        "device.seals",
        "Marks of the seals that it came with",
        Need::AnswerOrUnknown,
        Form::Texts,
    ),
    question(
        "device.other",
        "Other identifiers and relevant information",
        Need::Nothing,
        Form::Text,
    ),
];

impl Question {
    /// Its table, empty for the document, and its key.
    pub fn place(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// What its table is called in messages.
    pub fn table_name(&self) -> &'static str {
        match self.place().0 {
            "person_in_charge" => "`[person_in_charge]`",
            "order" => "`[order]`",
            "examiner" => "`[examiner]`",
            "device" => "`[device]`",
            _ => "the file",
        }
    }

    /// Whether the answer is a list.
    pub const fn is_list(&self) -> bool {
        matches!(self.form, Form::Texts | Form::Imeis)
    }

    /// Takes one typed text for an answer, of a list one of its values.
    pub fn check(&self, text: &str) -> Result<Answer, Wrong> {
        let text = plain_text(text, self.what_else())?;
        match self.form {
            Form::Build if text == UNKNOWN => Ok(Answer::Text(text.to_owned())),
            _ if text == UNKNOWN => match self.need {
                Need::AnswerOrUnknown => Ok(Answer::Unknown),
                _ => Err(Wrong::new(
                    "without it no case counts",
                    "find it out before the examination",
                )),
            },
            Form::Text | Form::Texts => Ok(Answer::Text(text.to_owned())),
            Form::Day => text
                .parse::<Day>()
                .map(|day| Answer::Text(day.to_string()))
                .map_err(|_| {
                    Wrong::new(
                        "it is not a day",
                        "expected year-month-day, such as 2026-11-24",
                    )
                }),
            Form::Imeis => imei(text).map(Answer::Text),
            Form::Build if ["retail", "engineering"].contains(&text) => {
                Ok(Answer::Text(text.to_owned()))
            }
            Form::Build => Err(Wrong::new(
                "it is no kind of build",
                "write retail, engineering or unknown",
            )),
            Form::YesNo => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" => Ok(Answer::YesNo(true)),
                "no" | "false" => Ok(Answer::YesNo(false)),
                _ => Err(Wrong::new("it is neither yes nor no", "write yes or no")),
            },
        }
    }

    /// What to do about an answer that is not there.
    pub const fn what_else(&self) -> &'static str {
        match self.need {
            Need::Answer => "write it out: without it no case counts",
            Need::AnswerOrUnknown => "write it out, or \"unknown\"",
            Need::Nothing | Need::InFile => "write it out, or leave it out",
        }
    }
}

/// A text that is not empty, has no control character and is not too long, trimmed; `what_else`
/// says what to do about an empty one.
pub fn plain_text<'a>(text: &'a str, what_else: &str) -> Result<&'a str, Wrong> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Wrong::new("it is empty", what_else));
    }
    if text.len() > ANSWER_MAX {
        let help = format!("at most {ANSWER_MAX} bytes are kept");
        return Err(Wrong::new("it is too long", help));
    }
    if text.chars().any(char::is_control) {
        let help = "write it in one line of plain text";
        return Err(Wrong::new("it has control characters", help));
    }
    Ok(text)
}

/// Fifteen digits of which the last is the check digit (3GPP TS 23.003, annex B: Luhn).
fn imei(text: &str) -> Result<String, Wrong> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|letter| !matches!(letter, ' ' | '-' | '/'))
        .map(|letter| letter.to_digit(10))
        .collect::<Option<_>>()
        .unwrap_or_default();
    if digits.len() != 15 {
        return Err(Wrong::new(
            "it is no IMEI",
            "expected 15 digits, as *#06# shows them; other identifiers go into `other`",
        ));
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    if !sum.is_multiple_of(10) {
        return Err(Wrong::new(
            "its check digit does not fit: a digit is wrong",
            "compare it with *#06#; a number that is really so goes into `other`",
        ));
    }
    Ok(digits.iter().map(ToString::to_string).collect())
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Wrong {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// A checked answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is not known.
    Unknown,
    /// Text, or a word.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// Yes or no.
    YesNo(bool),
}

/// Answers by the paths of their questions.
#[derive(Debug, Clone, Default)]
pub struct Answers(BTreeMap<&'static str, Answer>);

impl Answers {
    /// Keeps a checked answer.
    pub fn put(&mut self, question: &Question, answer: Answer) {
        self.0.insert(question.path, answer);
    }

    /// The first question that must be answered and is not.
    pub fn missing(&self) -> Option<&'static Question> {
        QUESTIONS.iter().find(|question| {
            matches!(question.need, Need::Answer | Need::AnswerOrUnknown)
                && !self.0.contains_key(question.path)
        })
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.0.get(path) {
            Some(Answer::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn texts(&self, path: &str) -> Option<Vec<String>> {
        match self.0.get(path) {
            Some(Answer::Texts(texts)) => Some(texts.clone()),
            _ => None,
        }
    }

    fn yes(&self, path: &str) -> Option<bool> {
        match self.0.get(path) {
            Some(Answer::YesNo(yes)) => Some(*yes),
            _ => None,
        }
    }

    /// The authority that they make, none while one is missing; recorded at `at`.
    pub fn authority(&self, at: Timestamp) -> Option<Authority> {
        let build = match self.text("device.build")?.as_str() {
            "retail" => Build::Retail,
            "engineering" => Build::Engineering,
            _ => Build::Unknown,
        };
        Some(Authority {
            at,
            owner: self.text("owner")?,
            person_in_charge: PersonInCharge {
                name: self.text("person_in_charge.name")?,
                relation: self.text("person_in_charge.relation"),
                residing_or_employed_at: self.text("person_in_charge.residing_or_employed_at"),
            },
            order: Order {
                reference: self.text("order.reference")?,
                date: self.text("order.date")?,
                issued_by: self.text("order.issued_by"),
            },
            examiner: Examiner {
                name: self.text("examiner.name")?,
                designation: self.text("examiner.designation"),
                notified: None,
            },
            device: Device {
                make: self.text("device.make")?,
                model: self.text("device.model")?,
                colour: self.text("device.colour"),
                serial: self.text("device.serial"),
                imei: self.texts("device.imei"),
                other: self.text("device.other"),
                build,
                rooted: self.text("device.rooted"),
                invoice: self.text("device.invoice"),
                seals: self.texts("device.seals"),
            },
            retention_until: self.text("retention_until")?,
            persona_is_the_labs: self.yes("persona_is_the_labs")?,
            remarks: self.text("remarks"),
            sample: self.yes("sample").unwrap_or_default(),
        })
    }
}

/// A file to fill in.
pub fn template() -> String {
    let mut text =
        "# What a case must have to count. Write the answers between the quotes; what is \
                    not known is \"unknown\".\n# Then: sakshi case new DIR --from FILE\n"
            .to_owned();
    let mut table = "";
    for question in QUESTIONS {
        let (its_table, key) = question.place();
        if its_table != table {
            table = its_table;
            // Writing to a text cannot fail.
            let _ = write!(text, "\n[{table}]");
        }
        let (value, more) = match question.form {
            Form::Text | Form::Build | Form::Day => ("\"\"", ""),
            Form::Texts | Form::Imeis => ("[\"\"]", "; [] for none"),
            Form::YesNo => ("\"\"", "; true or false"),
        };
        let (off, need) = match question.need {
            Need::Answer => ("", "must be known"),
            Need::AnswerOrUnknown => ("", "or \"unknown\""),
            Need::Nothing | Need::InFile => ("# ", "may be left out"),
        };
        let _ = write!(
            text,
            "\n# {} ({need}{more}).\n{off}{key} = {value}\n",
            question.ask
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> &'static Question {
        QUESTIONS
            .iter()
            .find(|question| question.path == path)
            .unwrap()
    }

    #[test]
    fn an_imei_is_checked_by_its_last_digit() {
        let imei = of("device.imei");
        let good = Answer::Text("490154203237518".to_owned());
        assert_eq!(imei.check("49-015420-323751-8"), Ok(good));
        assert!(imei.check("490154203237519").is_err());
        assert!(imei.check("49015420323751").is_err());
        assert!(imei.check("x").is_err());
        assert_eq!(imei.check("unknown"), Ok(Answer::Unknown));
    }

    #[test]
    fn what_must_be_known_cannot_be_unknown() {
        assert!(of("owner").check("unknown").is_err());
        assert!(of("owner").check("  ").is_err());
        assert!(of("owner").check("a\u{1b}[31m").is_err());
        assert_eq!(of("device.colour").check(" unknown "), Ok(Answer::Unknown));
        assert!(of("order.date").check("31.12.2026").is_err());
        assert!(of("persona_is_the_labs").check("perhaps").is_err());
        let unknown = Answer::Text("unknown".to_owned());
        assert_eq!(of("device.build").check("unknown"), Ok(unknown));
    }

    #[test]
    fn tables_follow_each_other_as_toml_wants_it() {
        let mut tables: Vec<&str> = QUESTIONS
            .iter()
            .map(|question| question.place().0)
            .collect();
        tables.dedup();
        let mut once = tables.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(tables.len(), once.len(), "{tables:?}");
        assert_eq!(tables.first(), Some(&""));
    }
}
