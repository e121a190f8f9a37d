//! The verdict: what was lost, in numbers and in words.

/// The most findings that are told in words.
const TOLD: usize = 20;

/// What was found wrong. Nothing, one hopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Orders that were acknowledged and are not there.
    pub missing: u64,
    /// Orders that are there more than once, and units that two have.
    pub twice: u64,
    /// Everything else.
    pub wrong: u64,
    /// The first findings, in words.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether nothing was lost.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.missing == 0 && self.twice == 0 && self.wrong == 0
    }

    /// `orders` that were acknowledged are missing.
    pub fn missing(&mut self, orders: u64, what: impl FnOnce() -> String) {
        if orders > 0 {
            self.missing += orders;
            self.tell("missing", what);
        }
    }

    /// Something is there twice.
    pub fn twice(&mut self, what: impl FnOnce() -> String) {
        self.twice += 1;
        self.tell("twice", what);
    }

    /// Something else is wrong.
    pub fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        self.tell("wrong", what);
    }

    /// Something is wrong unless `holds`.
    pub fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what);
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.twice += other.twice;
        self.wrong += other.wrong;
        self.findings.extend(other.findings);
        self.findings.truncate(TOLD);
    }

    fn tell(&mut self, kind: &str, what: impl FnOnce() -> String) {
        if self.findings.len() < TOLD {
            self.findings.push(format!("{kind}: {}", what()));
        }
    }
}
