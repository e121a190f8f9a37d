//! Exit codes: what a script or a CI job may rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Exit {
    /// Everything held.
    Good = 0,
    /// It could not run to its end: a file, a journal or a server was not usable.
    CouldNotRun = 1,
    /// The command line or the scenario is wrong.
    Usage = 2,
    /// The generator was too slow: the latencies are not the target's.
    GeneratorLimited = 4,
    /// The shop sold wrong, or an acknowledged sale is missing.
    InvariantBroken = 99,
    /// Stopped by hand; the report was written all the same.
    Interrupted = 105,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
