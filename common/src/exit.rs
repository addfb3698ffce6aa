//! Exit codes of every program, and errors that carry one.

/// What a program tells its caller by its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It worked.
    Ok = 0,
    /// Something failed that no other code names.
    Failure = 1,
    /// The command line or a configuration file is wrong.
    Usage = 2,
    /// Credentials or certificates were refused.
    Auth = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// Something is in the way: a taken port, a locked directory, a state that forbids it.
    Conflict = 5,
    /// The input is not valid.
    Validation = 6,
    /// It did not happen in time.
    Timeout = 7,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}
