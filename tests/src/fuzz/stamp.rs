//! Targets of trusted time: what an authority answers.

use sakshi::stamp::{
    answer::{ANSWER_MAX, Answer, AnswerError},
    check::{check, matches_hash},
};

/// The answer of a time stamping authority.
pub(super) fn timestamp(data: &[u8]) {
    let answer = match Answer::parse(data) {
        Ok(answer) => answer,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(error == AnswerError::TooLong, data.len() > ANSWER_MAX);
            return;
        }
    };
    assert_eq!(Answer::parse(data).as_ref(), Ok(&answer), "the same again");
    assert!(answer.serial.bytes().all(|digit| digit.is_ascii_hexdigit()));
    // Nothing that comes without a root holds, whatever it is for.
    let hash = [0; 32];
    let checked = check(&answer, hash, b"");
    assert!(checked.is_err());
    if matches_hash(&answer, hash).is_err() {
        assert_eq!(checked.err(), matches_hash(&answer, hash).err());
    }
}
