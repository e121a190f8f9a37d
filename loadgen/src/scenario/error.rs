//! Why a scenario can't be played, in words that say what to do next.

use crate::arrivals::trace::TraceError;

use super::builtin::built_ins;

/// How alike a name must be to be suggested, between 0 and 1.
const ALIKE: f64 = 0.7;

/// Why a scenario can't be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// No built-in scenario and no file has that name.
    #[error("no scenario is called {name:?}: {hint}")]
    Unknown {
        /// The name as given.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// The file can't be read.
    #[error("can't read the scenario {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file isn't TOML, has an unknown key, or a value that isn't what the key takes.
    #[error("{file}: {message}")]
    Toml {
        /// The file.
        file: String,
        /// Line, column, the line itself and what was expected.
        message: String,
    },
    /// Every value is well-formed, but they contradict each other.
    #[error("{file}:{line}: {problem}")]
    Rule {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A trace can't be replayed.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl ScenarioError {
    /// Whether the machine is to blame (a file that can't be read) and not what the user wrote.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Trace(TraceError::Open { .. }))
    }
}

/// The error for a name that nothing has, with the names that are near it.
pub(super) fn unknown(name: &str) -> ScenarioError {
    let names = built_ins().iter().map(|(name, _)| *name);
    let alike =
        |known: &&str| known.contains(name) || name.contains(known) || strsim::jaro_winkler(known, name) >= ALIKE;
    let near: Vec<&str> = names.clone().filter(alike).collect();
    let hint = match near.as_slice() {
        [] => format!("there are {}, or give the path of a .toml file", names.collect::<Vec<_>>().join(", ")),
        near => format!("did you mean {}? `loadgen list` shows all", near.join(" or ")),
    };
    ScenarioError::Unknown { name: name.to_owned(), hint }
}
