//! The evidence store: records, their chain, the journal, verification.
