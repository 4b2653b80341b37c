//! The verifier at its boundary: what is whole is intact, whatever is changed is noticed, and a second
//! verifier, written in Python from the format's text, says the same.

mod change;
mod golden;
mod mutations;
mod python;
mod writer;
