//! How far a verification is, for whoever waits.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A bundle is read; counted in bytes.
    Bundle,
    /// Records are checked.
    Records,
    /// Files are hashed; counted in bytes.
    Files,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, as far as it is known; 0 when it is not.
    pub total: u64,
}

/// Who is told.
pub type Report<'a> = &'a mut dyn FnMut(Progress);
