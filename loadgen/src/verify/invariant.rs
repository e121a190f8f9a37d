//! An invariant: a name that stays the same between versions, whether it holds, and the evidence.

use serde::Serialize;

/// Something that must be so in every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// The first counter-example; or what was checked.
    pub evidence: String,
}

/// Invariants as they are checked; one that is checked for many sales is broken by the first that breaks it.
#[derive(Debug, Default)]
pub struct Invariants {
    list: Vec<Invariant>,
}

impl Invariants {
    /// Notes a check: broken if there is a counter-example, else holding with what `checked` says.
    pub fn check(&mut self, name: &'static str, counter_example: Option<String>, checked: impl FnOnce() -> String) {
        let known = self.list.iter_mut().find(|invariant| invariant.name == name);
        match (known, counter_example) {
            (Some(known), Some(evidence)) if known.holds => (known.holds, known.evidence) = (false, evidence),
            (Some(_), _) => {}
            (None, Some(evidence)) => self.list.push(Invariant { name, holds: false, evidence }),
            (None, None) => self.list.push(Invariant { name, holds: true, evidence: checked() }),
        }
    }

    /// What was checked, in the order of the first checks.
    #[must_use]
    pub fn into_list(self) -> Vec<Invariant> {
        self.list
    }
}
