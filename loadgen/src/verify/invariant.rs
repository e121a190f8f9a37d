//! An invariant: a name that stays the same between versions, whether it holds, and the evidence.

use std::fmt::Write;

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
    list: Vec<Checked>,
}

/// An invariant, and how often it was checked.
#[derive(Debug)]
struct Checked {
    invariant: Invariant,
    times: u64,
}

impl Invariants {
    /// Notes a check: broken if there is a counter-example, else holding with what `checked` says.
    pub fn check(&mut self, name: &'static str, counter_example: Option<String>, checked: impl FnOnce() -> String) {
        let holds = counter_example.is_none();
        match (self.list.iter_mut().find(|known| known.invariant.name == name), counter_example) {
            (Some(known), Some(evidence)) if known.invariant.holds => {
                known.times += 1;
                (known.invariant.holds, known.invariant.evidence) = (false, evidence);
            }
            (Some(known), _) => known.times += 1,
            (None, evidence) => {
                let evidence = evidence.unwrap_or_else(checked);
                self.list.push(Checked { invariant: Invariant { name, holds, evidence }, times: 1 });
            }
        }
    }

    /// What was checked, in the order of the first checks; of one that holds for many sales the first speaks for all.
    #[must_use]
    pub fn into_list(self) -> Vec<Invariant> {
        let told = |Checked { mut invariant, times }: Checked| {
            if invariant.holds && times > 1 {
                let more = times - 1;
                let sales = if more == 1 { "sale" } else { "sales" };
                write!(invariant.evidence, "; and so for {more} more {sales}").expect("writing to a string can't fail");
            }
            invariant
        };
        self.list.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sale_speaks_for_all_and_the_first_broken_one_against_them() {
        let mut invariants = Invariants::default();
        for sale in ["a", "b", "c"] {
            invariants.check("holds", None, || format!("{sale} is right"));
            invariants.check("breaks", (sale != "a").then(|| format!("{sale} is wrong")), || "right".to_owned());
        }
        let list = invariants.into_list();
        let told: Vec<_> = list.iter().map(|invariant| (invariant.holds, invariant.evidence.as_str())).collect();
        assert_eq!(told, [(true, "a is right; and so for 2 more sales"), (false, "b is wrong")]);
    }
}
